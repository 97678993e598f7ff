//! One mitigation as the client knows it, and when it asks for it again.

use rand::RngExt as _;
use rand::rngs::StdRng;
use watchfire_core::{Duration, Instant};

use crate::body::{Lifetime, Scope, Status};

/// Between a refresh and the next one, while none is answered.
const AGAIN: Duration = Duration::from_secs(30);
/// How far a report may be from what we think before we think as it says: it travels, and is in whole seconds.
const SLACK: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Requesting,
    Active,
    /// Until then we must not ask.
    Waiting(Instant),
    Withdrawing,
    /// The server is winding it up.
    Terminating(Instant),
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) scope: Scope,
    pub(super) state: State,
    pub(super) status: Option<Status>,
    /// The server has, or had it.
    pub(super) granted: bool,
    /// A later request that takes its place once it is granted. Until then this one is in force and refreshed, but not
    /// asked for as at first.
    pub(super) overridden: Option<u32>,
    pub(super) expires: Option<Instant>,
    /// When a refresh is due; it stays so until one is answered.
    refresh: Option<Instant>,
    /// The application wants one, and it is not answered.
    renew: bool,
    /// When it was sent last in this session since it is due.
    sent: Option<Instant>,
}

impl Row {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            state: State::Requesting,
            status: None,
            granted: false,
            overridden: None,
            expires: None,
            refresh: None,
            renew: false,
            sent: None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.is_undecided() || self.state == State::Active
    }

    /// Asked for, and not granted yet.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.state, State::Requesting | State::Waiting(_))
    }

    /// The server has granted it: when it ends, and when to ask again before, which is at a quarter of its lifetime, 300 s
    /// at most, by chance a little earlier.
    pub(super) fn schedule(&mut self, rng: &mut StdRng, now: Instant, lifetime: Lifetime) {
        (self.expires, self.refresh, self.sent) = (None, None, None);
        if let Lifetime::Seconds(seconds) = lifetime {
            let whole = Duration::from_secs(u64::from(seconds));
            let before = whole.mul_f64(0.25).min(Duration::from_secs(300));
            let chance = before.mul_f64(f64::from(rng.random_range(0..=100u8)) / 400.0);
            self.expires = Some(now + whole);
            self.refresh = Some(now + whole.saturating_sub(before.saturating_add(chance)));
        }
    }

    /// The server reports how long it lasts. What it says goes; but the point of refreshing stays as it is while it is
    /// right.
    pub(super) fn reported(&mut self, rng: &mut StdRng, now: Instant, lifetime: Lifetime) {
        let expires = match lifetime {
            Lifetime::Seconds(seconds) => Some(now + Duration::from_secs(u64::from(seconds))),
            Lifetime::Indefinite => None,
        };
        let right = match (self.expires, expires) {
            (Some(known), Some(said)) => (known - said).max(said - known) <= SLACK,
            (known, said) => known == said,
        };
        if !right {
            self.schedule(rng, now, lifetime);
        }
    }

    /// The application wants it refreshed, for a new lifetime if there is one.
    pub(super) fn renew(&mut self, lifetime: Option<Lifetime>) {
        self.scope.lifetime = lifetime.or(self.scope.lifetime);
        (self.renew, self.sent) = (true, None);
    }

    /// A request for it was answered by a grant.
    pub(super) fn renewed(&mut self) {
        self.renew = false;
    }

    /// In a new session nothing was asked yet.
    pub(super) fn session_up(&mut self) {
        self.sent = None;
    }

    pub(super) fn asked(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// Whether it must be refreshed, though that may have been tried a moment ago.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.state == State::Active && (self.renew || self.refresh.is_some_and(|at| at <= now))
    }

    /// When to send a refresh.
    fn due(&self) -> Option<Instant> {
        let due = if self.renew { Some(Instant::ZERO) } else { self.refresh };
        let due = due.filter(|_| self.state == State::Active)?;
        Some(self.sent.map_or(due, |sent| due.max(sent + AGAIN)))
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|at| at <= now)
    }

    /// Its time is over, and nobody withdrew it: it is asked for as at first.
    pub(super) fn lapse(&mut self) {
        self.state = State::Requesting;
        (self.expires, self.refresh, self.renew, self.sent) = (None, None, false, None);
    }

    /// When something happens; to be sent only if that can be.
    pub(super) fn deadline(&self, can_send: bool) -> Option<Instant> {
        match self.state {
            State::Waiting(at) | State::Terminating(at) => Some(at),
            State::Active => [self.expires, self.due().filter(|_| can_send)].into_iter().flatten().min(),
            State::Requesting | State::Withdrawing => None,
        }
    }

    /// Whether it is at its end, or at that of a time to wait.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline(false).is_some_and(|at| at <= now)
    }
}
