//! One task for each mitigation that is, or was, in force: it brings the back end to where it is wanted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dots_callhome::MitigationId;
use dots_callhome::body::Lifetime;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::core::Core;
use super::mitigator::{MitigatorError, Order};
use super::{BackEndCall, CallHomeServerEvent};

/// What is wanted of it.
#[derive(Debug)]
pub(super) struct Work {
    want: Mutex<Want>,
    wake: Notify,
}

#[derive(Debug)]
struct Want {
    order: Order,
    in_force: bool,
    /// It was asked for again since the back end heard of it.
    refresh: bool,
}

/// How long is waited after a failure, and at most after many.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(60);

impl Work {
    pub(super) fn new(order: Order) -> Self {
        Self { want: Mutex::new(Want { order, in_force: true, refresh: false }), wake: Notify::new() }
    }

    fn want(&self) -> MutexGuard<'_, Want> {
        self.want.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is to be in force, again.
    pub(super) fn enforce(&self, order: Order) {
        let mut want = self.want();
        *want = Want { order, in_force: true, refresh: true };
        drop(want);
        self.wake.notify_one();
    }

    pub(super) fn extend(&self, lifetime: Lifetime) {
        let mut want = self.want();
        (want.order.lifetime, want.refresh) = (lifetime, true);
        drop(want);
        self.wake.notify_one();
    }

    pub(super) fn lift(&self) {
        self.want().in_force = false;
        self.wake.notify_one();
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.want().in_force
    }

    /// Until it is not wanted any more, and the back end agrees.
    pub(super) async fn run(self: Arc<Self>, id: MitigationId, core: Arc<Core>) {
        // Whether it is in force; unknown after a failure, and then it is treated as if it might be.
        let (mut installed, mut touched) = (false, false);
        let mut failures = 0;
        loop {
            let (order, in_force, refresh) = {
                let mut want = self.want();
                (want.order.clone(), want.in_force, std::mem::take(&mut want.refresh))
            };
            let done = match (in_force, installed) {
                (true, false) => {
                    touched = true;
                    let done = self.call(&core, BackEndCall::Start, &order).await;
                    installed = done;
                    // Not when it was given up meanwhile: then nobody asks.
                    core.enforced(id, done);
                    done
                }
                (true, true) if refresh => {
                    let done = self.call(&core, BackEndCall::Refresh, &order).await;
                    if !done {
                        installed = false;
                        core.enforced(id, false);
                    }
                    done
                }
                (true, true) => true,
                (false, _) if touched => {
                    let done = self.call(&core, BackEndCall::Stop, &order).await;
                    if done {
                        (installed, touched) = (false, false);
                    }
                    done
                }
                (false, _) => true,
            };
            if !in_force && done && core.is_done(id, &self) {
                return;
            }
            failures = if done { 0 } else { failures + 1 };
            let pause = match done {
                true => core.limits.report_every.max(Duration::from_millis(10)),
                false => RETRY.saturating_mul(1 << (failures - 1).min(4)).min(RETRY_MAX),
            };
            let until = Instant::now() + pause;
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.wake.notified() => continue,
                // What is in force stays so: the process ends, the attack does not.
                () = core.ended.cancelled() => return,
            }
            if installed && done {
                let report = timeout(core.limits.back_end, core.mitigator.report(&order)).await;
                match report {
                    Ok(Ok(report)) => core.report(id, report),
                    Ok(Err(error)) => tracing::debug!(mid = order.mid, %error, "no report from the back end"),
                    Err(_) => tracing::debug!(mid = order.mid, "no report from the back end in time"),
                }
            }
        }
    }

    async fn call(&self, core: &Core, what: BackEndCall, order: &Order) -> bool {
        // Nobody closes the semaphore.
        let Ok(_place) = core.calls.acquire().await else { return false };
        let mitigator = &core.mitigator;
        let calling = async {
            match what {
                BackEndCall::Start => mitigator.start(order).await,
                BackEndCall::Refresh => mitigator.refresh(order).await,
                BackEndCall::Stop => mitigator.stop(order).await,
            }
        };
        let outcome = timeout(core.limits.back_end, calling).await;
        match outcome.unwrap_or_else(|_| Err(MitigatorError::new("it took too long"))) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(peer = order.peer, mid = order.mid, call = ?what, %error, "the back end failed");
                core.tell(CallHomeServerEvent::BackEndFailed { id: order.id, mid: order.mid, call: what, error });
                false
            }
        }
    }
}
