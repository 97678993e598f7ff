//! What the server may have though nobody asks for it any more: a request that was taken back may arrive behind its
//! withdrawal, one that should take another's place may be refused, answers are lost, sessions break. So the server is
//! asked what it has (RFC 9132 section 4.4.2) and what is too much is withdrawn, until a report names nothing of the
//! kind and nothing that was sent before can arrive any more.

use std::collections::BTreeSet;

use super::*;
use crate::request::overlap;

/// How often a server is asked that does not come round. What it keeps then runs out by its lifetime, unless the
/// application gives rise to another doubt, or a new session does.
const ROUNDS: u32 = 8;
/// Between the first two rounds; then twice as long each time.
const WAIT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Doubt {
    /// Mids that are no rows any more. Others than these and the rows are not ours to withdraw: an earlier life of this
    /// client may have asked for them.
    left: BTreeSet<u32>,
    /// It ends by a report that was asked for then or later; `None` when there is no doubt.
    until: Option<Instant>,
    /// When to ask; `None` while an answer, or the fate of a request, is awaited.
    due: Option<Instant>,
    asked: Instant,
    rounds: u32,
    /// The least that a report found too much.
    fewest: usize,
}

impl Doubt {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BTreeSet::new(), until: None, due: None, asked: now, rounds: 0, fewest: usize::MAX }
    }

    pub(super) fn is_open(&self) -> bool {
        self.until.is_some()
    }

    /// Whether it is open, and the server has not been asked too often.
    pub(super) fn goes_on(&self) -> bool {
        self.is_open() && self.rounds <= ROUNDS
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Begins a doubt, or begins it anew, that a report can end which is asked for at `until`.
    fn open(&mut self, now: Instant, until: Instant) {
        self.until = Some(until.max(now));
        (self.due, self.rounds, self.fewest) = (Some(now), 0, usize::MAX);
    }

    /// In a new session nothing of the one before arrives any more.
    pub(super) fn session_up(&mut self, now: Instant) {
        if self.is_open() {
            self.open(now, now);
        }
    }

    /// A hint that the next report may say something else.
    pub(super) fn hint(&mut self, now: Instant) {
        if self.is_open() && self.rounds < ROUNDS {
            let at = now.max(self.asked + self.wait());
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Something is too much, by what a report or an answer says that was not asked for here.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.until = Some(self.until.map_or(now, |until| until.max(now)));
        self.hint(now);
    }

    fn wait(&self) -> Duration {
        WAIT.saturating_mul(1 << self.rounds.saturating_sub(1).min(ROUNDS))
    }

    /// Whether the server is to be asked now.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.due = None;
        let patient = self.rounds < ROUNDS;
        self.rounds = self.rounds.saturating_add(1);
        patient
    }

    /// The server is asked.
    pub(super) fn asked(&mut self, now: Instant) {
        (self.asked, self.due) = (now, None);
    }

    /// It does not say what it has.
    pub(super) fn unanswered(&mut self, now: Instant) {
        if self.is_open() {
            let at = now + self.wait();
            self.due.get_or_insert(at);
        }
    }

    /// It says what it has: so many are withdrawn now, so many may be replaced by a request that is not decided yet.
    fn answered(&mut self, withdrawn: usize, held: usize) {
        let Some(until) = self.until else { return };
        if withdrawn > 0 {
            if withdrawn < self.fewest {
                (self.fewest, self.rounds) = (withdrawn, 0);
            }
            let at = self.asked + self.wait();
            self.due.get_or_insert(at);
        } else if held > 0 {
            // Whoever decides that request gives the hint.
        } else if self.asked >= until {
            (self.until, self.due) = (None, None);
            self.left.clear();
        } else {
            self.due.get_or_insert(until);
        }
    }
}

impl<P: ClientPolicy> Client<P> {
    /// From when on nothing arrives at the server that was sent until now.
    fn settled_at(&self) -> Instant {
        self.session.as_ref().map_or(self.now, |session| session.endpoint.puts_settle().max(self.now))
    }

    /// Something is not asked for any more, and the server knows or will say so: but what is under way may change that.
    pub(super) fn doubt_unless_settled(&mut self) {
        let settled = self.settled_at();
        if self.doubt.is_open() || settled > self.now {
            self.doubt.open(self.now, settled);
        }
    }

    /// A mitigation is no row any more, and may be at the server; `known`: as far as the server says, it is not.
    pub(super) fn leave(&mut self, mid: u32, known: bool) {
        let settled = self.settled_at();
        if known && !self.doubt.is_open() && settled <= self.now {
            return;
        }
        self.doubt.left.insert(mid);
        if self.doubt.left.len() > self.config.limits.mitigations {
            self.doubt.left.pop_first();
        }
        if !known || !self.doubt.is_open() {
            self.doubt.open(self.now, settled);
        }
    }

    /// What is in force of what we asked for once, and not now; with whether a request of ours that is not decided yet
    /// takes its place.
    pub(super) fn too_much(&self, scopes: &[Scope]) -> Vec<(u32, bool)> {
        let named = scopes.iter().filter(|scope| in_force(scope)).filter_map(|scope| Some((scope.mid?, scope)));
        named
            .filter(|(mid, _)| self.is_unwanted(*mid))
            .map(|(mid, scope)| {
                let mut later = self.rows.range(mid..).map(|(_, row)| row);
                (mid, later.any(|row| row.is_undecided() && overlap(&row.scope, scope, false)))
            })
            .collect()
    }

    /// Whether we asked for it once, and do not now.
    pub(super) fn is_unwanted(&self, mid: u32) -> bool {
        self.rows.get(&mid).map_or_else(|| self.doubt.left.contains(&mid), |row| !row.is_live())
    }

    /// The server said what it has, because it was asked.
    pub(super) fn reported(&mut self, now: Instant, too_much: &[(u32, bool)]) {
        let withdrawn = too_much.iter().filter(|(_, held)| !held);
        for (mid, _) in withdrawn.clone() {
            if !self.is_pending(Ask::Delete { mid: *mid }) {
                self.send_delete(now, *mid);
            }
        }
        let count = withdrawn.count();
        self.doubt.answered(count, too_much.len().saturating_sub(count));
    }
}

/// Whether the server mitigates, and has not heard that it need not.
fn in_force(scope: &Scope) -> bool {
    scope.status.is_none_or(|status| status.code() < Status::ClientWithdrawn.code())
}
