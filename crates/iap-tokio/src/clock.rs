//! From tokio's clock to the number that machines understand, and back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant as TokioInstant, Sleep};
use watchfire_core::Instant;

/// Counts microseconds since it was made. Follows tokio's clock, so a test that pauses that one pauses this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: TokioInstant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { epoch: TokioInstant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// Waits for `due`, for ever if there is none.
    pub(crate) async fn until(&self, due: Option<Instant>) {
        match due {
            Some(due) => tokio::time::sleep_until(self.at(due)).await,
            None => std::future::pending().await,
        }
    }

    fn at(&self, instant: Instant) -> TokioInstant {
        // The machine's far future may lie beyond what tokio can count.
        let wait = (instant - Instant::ZERO).min(std::time::Duration::from_secs(365 * 86_400));
        self.epoch + wait
    }
}

/// A timer that is armed again only when it would ring too late. Ringing too early is harmless (machines check the
/// time themselves), and deadlines that are pushed back with every message cost nothing this way.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, sleep: Box::pin(tokio::time::sleep_until(clock.epoch)), armed: None }
    }

    /// Ready once `due` has come, or some earlier instant that was asked for before.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        if self.armed.is_none_or(|armed| due < armed) {
            self.sleep.as_mut().reset(self.clock.at(due));
            self.armed = Some(due);
        }
        let rung = self.sleep.as_mut().poll(cx);
        if rung.is_ready() {
            self.armed = None;
        }
        rung
    }
}
