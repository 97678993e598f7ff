//! Drives the machine of a CA: its requests, its time, its challenges and certificates.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acme_lurk::acme::server::{Ca, CaEvent, ChallengeId, Issuance, Request, Response};
use acme_lurk::acme::{Problem, ProblemType};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use watchfire_core::UnixTime;
use watchfire_hyper::Clock;

use super::Issuer;
use super::notice::{CaCounters, CaNotice};
use crate::Going;
use crate::keep::{Forgetful, Keeper};
use crate::ledger::{self, Kept, Ledger};
use crate::server::Site;
use crate::validate::{Validation, Validator};

type Observer = Box<dyn Fn(CaNotice<'_>) + Send + Sync>;

/// Looks at the clock at least so often: it may have been set.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// Puts a [`CaSite`] together.
#[must_use = "nothing happens before `start`"]
pub struct CaBuilder {
    ca: Ca,
    issuer: Box<dyn Issuer>,
    validator: Box<dyn Validator>,
    validations: usize,
    observer: Option<Observer>,
    keeper: Box<dyn Keeper>,
}

impl CaBuilder {
    /// How many challenges are looked at, and certificates made, at one time; more wait. 64.
    pub fn with_concurrency(mut self, most: usize) -> Self {
        self.validations = most;
        self
    }

    /// Keeps what must survive a restart here, before anybody is told. Without, nothing survives.
    pub fn with_keeper(mut self, keeper: impl Keeper) -> Self {
        self.keeper = Box::new(keeper);
        self
    }

    /// Calls this with what happens, for a log. It must not wait.
    pub fn on_notice(mut self, observer: impl Fn(CaNotice<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Starts: what is due is done, requests can be answered. Call it in a tokio runtime.
    pub fn start(self) -> CaSite {
        let inner = Arc::new(Inner {
            ca: Mutex::new(self.ca),
            issuer: self.issuer,
            validator: self.validator,
            places: Semaphore::new(self.validations.clamp(1, Semaphore::MAX_PERMITS)),
            observer: self.observer,
            ledger: Ledger::new(self.keeper),
            counters: Arc::default(),
            sooner: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let (stop, keep_time) = (inner.stop.clone(), keep_time(Arc::clone(&inner)));
        inner.tasks.spawn(async move { stop.run_until_cancelled(keep_time).await });
        let last = Arc::new(inner.stop.clone().drop_guard());
        CaSite { inner, _last: last }
    }
}

impl fmt::Debug for CaBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaBuilder").finish_non_exhaustive()
    }
}

/// A CA at work. Clones are the same CA, which ends with the last of them; [`shutdown`](Self::shutdown) waits for that.
#[derive(Clone)]
pub struct CaSite {
    inner: Arc<Inner>,
    /// What works for it has the rest, and not this.
    _last: Arc<DropGuard>,
}

struct Inner {
    ca: Mutex<Ca>,
    issuer: Box<dyn Issuer>,
    validator: Box<dyn Validator>,
    places: Semaphore,
    observer: Option<Observer>,
    ledger: Ledger,
    counters: Arc<CaCounters>,
    /// The machine may want to be called sooner than it said before.
    sooner: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl CaSite {
    /// A CA from its parts.
    pub fn builder(ca: Ca, issuer: impl Issuer, validator: impl Validator) -> CaBuilder {
        let (issuer, validator, keeper) = (Box::new(issuer), Box::new(validator), Box::new(Forgetful));
        CaBuilder { ca, issuer, validator, validations: 64, observer: None, keeper }
    }

    /// How many accounts and orders there are.
    pub fn len(&self) -> (usize, usize) {
        self.inner.lock().len()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Arc<CaCounters> {
        &self.inner.counters
    }

    /// Ends what is under way. Challenges that were being looked at stay open.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Site for CaSite {
    fn answer<'a>(&'a self, request: Request<'a>) -> Going<'a, Response> {
        let (mut response, kept) = {
            let mut ca = self.inner.lock();
            let response = ca.handle_request(Clock::wall(), &request);
            (response, self.inner.attend(&mut ca))
        };
        self.inner.sooner.notify_one();
        let kept = kept.filter(|_| ledger::promises(&request));
        Box::pin(async move {
            if let Some(kept) = kept
                && let Err(error) = kept.done().await
            {
                ledger::refuse(&mut response, &error);
            }
            response
        })
    }
}

impl fmt::Debug for CaSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaSite").finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Ca> {
        self.ca.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, notice: CaNotice<'_>) {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = &self.counters;
        match notice {
            CaNotice::Validated { result: Ok(()), .. } => &counters.validated,
            CaNotice::Validated { result: Err(_), .. } => &counters.validations_failed,
            CaNotice::Issued { .. } => &counters.issued,
            CaNotice::IssueFailed { .. } => &counters.issues_failed,
            CaNotice::Gap { .. } => &counters.gaps,
            CaNotice::NotKept { .. } => &counters.not_kept,
            CaNotice::Revoked { .. } => &counters.revoked,
        }
        .fetch_add(1, Relaxed);
        if let Some(observer) = &self.observer {
            observer(notice);
        }
    }

    /// Does what the machine asks for, and keeps what has changed.
    #[must_use = "it is not kept before this is waited for"]
    fn attend(self: &Arc<Self>, ca: &mut Ca) -> Option<Kept> {
        while let Some(event) = ca.poll_event() {
            let this = Arc::clone(self);
            let stop = self.stop.clone();
            match event {
                CaEvent::Validate { id, kind, identifier, token, key_authorization } => {
                    let validation = Validation::new(kind, identifier, token, key_authorization);
                    let work = async move { this.validate(id, validation).await };
                    self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
                }
                CaEvent::Issue(issuance) => {
                    let work = async move { this.issue(issuance).await };
                    self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
                }
                CaEvent::Revoked { certificate, reason } => {
                    self.tell(CaNotice::Revoked { certificate: &certificate, reason });
                }
                CaEvent::StarGap(order) => self.tell(CaNotice::Gap { order: &order }),
                _ => {}
            }
        }
        self.ledger.catch_up(ca.take_records())
    }

    /// Nobody is told now; who asks before it is kept waits too.
    async fn kept(&self, kept: Option<Kept>) {
        if let Some(kept) = kept
            && let Err(error) = kept.done().await
        {
            self.tell(CaNotice::NotKept { error: &error });
        }
    }

    async fn validate(self: Arc<Self>, id: ChallengeId, validation: Validation) {
        let result = {
            // Never closed.
            let _place = self.places.acquire().await.ok();
            self.validator.validate(&validation).await
        };
        let (identifier, kind) = (&validation.identifier, &validation.kind);
        self.tell(CaNotice::Validated { identifier, kind, result: result.as_ref().copied() });
        let kept = {
            let mut ca = self.lock();
            // The order may have gone meanwhile.
            let _ = ca.validated(Clock::wall(), &id, result);
            self.attend(&mut ca)
        };
        self.kept(kept).await;
    }

    async fn issue(self: Arc<Self>, issuance: Issuance) {
        let made = {
            let _place = self.places.acquire().await.ok();
            self.issuer.issue(&issuance).await
        };
        let (failure, kept) = {
            let mut ca = self.lock();
            let (order, index) = (&issuance.order, issuance.index);
            let taken = made.and_then(|leaf| {
                let taken = ca.issued(Clock::wall(), order, index, &leaf);
                taken.map_err(|misuse| Problem::new(ProblemType::ServerInternal, misuse.to_string()))
            });
            if let Err(problem) = &taken {
                // An order that was canceled meanwhile waits for nothing.
                let _ = ca.issue_failed(Clock::wall(), order, index, problem.clone());
            }
            (taken.err(), self.attend(&mut ca))
        };
        self.kept(kept).await;
        match &failure {
            None => self.tell(CaNotice::Issued { issuance: &issuance }),
            Some(problem) => self.tell(CaNotice::IssueFailed { issuance: &issuance, problem }),
        }
        self.sooner.notify_one();
    }
}

/// Calls the machine when it wants to be called.
async fn keep_time(inner: Arc<Inner>) -> Infallible {
    loop {
        let (wake, kept) = {
            let mut ca = inner.lock();
            ca.handle_timeout(Clock::wall());
            let kept = inner.attend(&mut ca);
            (ca.wake(), kept)
        };
        inner.kept(kept).await;
        let wait = wake.map_or(CLOCK_CHECK, until).min(CLOCK_CHECK);
        tokio::select! {
            () = inner.sooner.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How long it is until then; never nothing, so that a machine that cannot be satisfied does not spin.
fn until(then: UnixTime) -> Duration {
    let then = UNIX_EPOCH + Duration::from_secs(u64::try_from(then.as_secs()).unwrap_or(0));
    then.duration_since(SystemTime::now()).unwrap_or_default().max(Duration::from_millis(5))
}
