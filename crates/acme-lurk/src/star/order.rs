//! One order on the side of the CA, from its first certificate on.
//! [RFC 8739 section 3.3](https://www.rfc-editor.org/rfc/rfc8739#section-3.3)

use watchfire_core::UnixTime;

use super::schedule::{Schedule, Slot};

/// An order whose certificates the CA renews.
///
/// Ask it what to do ([`task`](Self::task)), make the certificate, and tell it ([`issued`](Self::issued),
/// [`failed`](Self::failed)). After a time without power it asks for the certificate of that moment, never for those that
/// were missed; a clock that goes back makes it stand still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StarOrder {
    schedule: Schedule,
    /// The certificate behind the one that is served.
    next: u64,
    /// The latest time it was told.
    latest: UnixTime,
    /// The next certificate is not asked for before.
    not_before: UnixTime,
    attempts: u8,
    canceled: bool,
    gap_said: bool,
    expiry_said: bool,
}

/// What must be kept over a restart. Together with the CSR it is all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "stores write and read it")]
pub struct StarSnapshot {
    /// Which certificate is served.
    pub current: Option<u64>,
    /// Whether the order is canceled.
    pub canceled: bool,
    /// The latest time the order was told.
    pub latest: UnixTime,
}

/// What an order is at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StarState {
    /// It has certificates to come, or one that is served.
    Active,
    /// Its end has passed. Its status is still `valid`.
    Expired,
    /// It was canceled.
    Canceled,
}

/// What an order wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Make this certificate, with the CSR of the order.
    Issue(Slot),
    /// The certificate that is served has expired, and there is no newer one. Said once.
    Gap(Slot),
    /// The end has passed. Said once.
    Expired,
}

/// What a request for the certificate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Served {
    /// This certificate.
    Certificate(Slot),
    /// 403 `autoRenewalCanceled`.
    Canceled,
    /// 403 `autoRenewalExpired`.
    Expired,
    /// There is none yet.
    NotYet,
}

/// The order cannot be canceled: it is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only an order that is valid can be canceled")]
#[non_exhaustive]
pub struct CancelError;

const LONG_AGO: UnixTime = UnixTime::from_secs(i64::MIN);

impl StarOrder {
    /// An order without certificate yet.
    pub const fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            next: 0,
            latest: LONG_AGO,
            not_before: LONG_AGO,
            attempts: 0,
            canceled: false,
            gap_said: false,
            expiry_said: false,
        }
    }

    /// An order as it was.
    pub fn restore(schedule: Schedule, snapshot: StarSnapshot) -> Self {
        let mut order = Self::new(schedule);
        let current = snapshot.current.and_then(|index| schedule.slot(index));
        order.next = current.map_or(0, |slot| slot.index.saturating_add(1));
        order.canceled = snapshot.canceled;
        order.latest = snapshot.latest;
        order
    }

    /// What must be kept. Keep it before a certificate is shown to anybody.
    pub fn snapshot(&self) -> StarSnapshot {
        StarSnapshot { current: self.next.checked_sub(1), canceled: self.canceled, latest: self.latest }
    }

    /// The schedule.
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The certificate that is served.
    pub fn current(&self) -> Option<Slot> {
        self.schedule.slot(self.next.checked_sub(1)?)
    }

    /// What it is.
    pub fn state(&mut self, now: UnixTime) -> StarState {
        let now = self.tell(now);
        if self.canceled {
            StarState::Canceled
        } else if now >= self.schedule.end() {
            StarState::Expired
        } else {
            StarState::Active
        }
    }

    /// What is to be done now, if anything. The same certificate is asked for until it is there or its time has passed.
    pub fn task(&mut self, now: UnixTime) -> Option<Task> {
        match self.state(now) {
            StarState::Canceled => return None,
            StarState::Expired => {
                let is_news = !self.expiry_said;
                self.expiry_said = true;
                return is_news.then_some(Task::Expired);
            }
            StarState::Active => {}
        }
        let now = self.latest;
        if let Some(current) = self.current().filter(|current| current.not_after <= now && !self.gap_said) {
            self.gap_said = true;
            return Some(Task::Gap(current));
        }
        let due = self.schedule.due(now).filter(|due| self.next <= due.index)?;
        (self.not_before <= now).then_some(Task::Issue(due))
    }

    /// When [`task`](Self::task) may have something to say next; none when never again.
    pub fn wake(&self) -> Option<UnixTime> {
        if self.canceled || self.expiry_said {
            return None;
        }
        let next = self.schedule.slot(self.next).map(|slot| slot.publish.max(self.not_before));
        let gap = self.current().filter(|current| !current.is_last && !self.gap_said).map(|current| current.not_after);
        Some([next, gap].into_iter().flatten().fold(self.schedule.end(), Ord::min))
    }

    /// The certificate was made, and is kept. False when it is no use any more: the order was canceled meanwhile, or has
    /// a newer one. Throw it away then.
    #[must_use]
    pub fn issued(&mut self, now: UnixTime, index: u64) -> bool {
        self.tell(now);
        let is_slot = self.schedule.slot(index).is_some();
        if !is_slot || index < self.next || self.canceled {
            return false;
        }
        self.next = index.saturating_add(1);
        self.not_before = LONG_AGO;
        self.attempts = 0;
        self.gap_said = false;
        true
    }

    /// The certificate is being made: it is not asked for again for a quarter of the lifetime, a minute at most.
    pub fn hold(&mut self, now: UnixTime) {
        let now = self.tell(now);
        let pause = (self.schedule.lifetime() / 4).clamp(1, 60);
        self.not_before = UnixTime::from_secs(now.as_secs().saturating_add_unsigned(pause));
    }

    /// The certificate could not be made. It is asked for again after a while: longer each time, a sixteenth of the
    /// lifetime or five minutes at most, a second at least.
    pub fn failed(&mut self, now: UnixTime) {
        let now = self.tell(now);
        let most = (self.schedule.lifetime() / 16).clamp(1, 300);
        let pause = 1_u64.checked_shl(self.attempts.into()).unwrap_or(most).min(most);
        self.attempts = self.attempts.saturating_add(1).min(16);
        self.not_before = UnixTime::from_secs(now.as_secs().saturating_add_unsigned(pause));
    }

    /// Stops it. Nothing is made any more; certificates that are out there stay valid until [`StarOrder::current`] says.
    ///
    /// An order whose end has passed is still `valid`, and can be canceled.
    ///
    /// # Errors
    /// When it was canceled before, or has had no certificate yet: then its status is not `valid`.
    pub fn cancel(&mut self, now: UnixTime) -> Result<(), CancelError> {
        self.tell(now);
        if self.canceled || self.next == 0 {
            return Err(CancelError);
        }
        self.canceled = true;
        self.not_before = LONG_AGO;
        Ok(())
    }

    /// What a request for the certificate gets.
    pub fn serve(&mut self, now: UnixTime) -> Served {
        match (self.state(now), self.current()) {
            (StarState::Canceled, _) => Served::Canceled,
            (StarState::Expired, _) => Served::Expired,
            (_, Some(slot)) => Served::Certificate(slot),
            (_, None) => Served::NotYet,
        }
    }

    /// Takes the time in. It does not go back.
    fn tell(&mut self, now: UnixTime) -> UnixTime {
        self.latest = self.latest.max(now);
        self.latest
    }
}
