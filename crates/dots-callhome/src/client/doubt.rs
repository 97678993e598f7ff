//! What the server may have though nobody asks for it any more: a request that was taken back may arrive behind its
//! withdrawal, one that should take another's place may be refused, answers are lost, sessions break. So the server is
//! asked what it has (RFC 9132 section 4.4.2) and what is too much is withdrawn, until a report names nothing of the
//! kind and nothing that was sent before can arrive any more.

use std::collections::BTreeSet;

use super::*;
use crate::request::overlap;

/// How often a server is asked that does not come round, since it let go of something last. What it keeps then runs out by
/// its lifetime, unless the application gives rise to another doubt, or a new session does.
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

    fn extend(&mut self, until: Instant) {
        self.until = Some(self.until.map_or(until, |known| known.max(until)));
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

    /// The server has too much, as it says itself, asked or not.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.extend(now);
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
            // The next one begins anew.
            (self.until, self.due, self.rounds, self.fewest) = (None, None, 0, usize::MAX);
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
        if known && self.doubt.is_open() {
            self.doubt.extend(settled);
            // Nothing else may bring the next report about.
            self.doubt.hint(self.now);
        } else {
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

    /// The server said what it has, or what changed of it unless it was `asked`.
    pub(super) fn reported(&mut self, now: Instant, too_much: &[(u32, bool)], asked: bool) {
        if too_much.iter().any(|(_, held)| !held || !self.doubt.is_open()) {
            self.doubt.suspect(now);
        }
        if !asked {
            return;
        }
        let (held, unwanted): (Vec<_>, Vec<_>) = too_much.iter().partition(|(_, held)| *held);
        for (mid, _) in &unwanted {
            if self.doubt.goes_on() && !self.is_pending(Ask::Delete { mid: *mid }) {
                self.send_delete(now, *mid);
            }
        }
        self.doubt.answered(unwanted.len(), held.len());
    }
}

/// Whether the server mitigates, or will when the session is lost (status 8), and has not heard that it need not.
fn in_force(scope: &Scope) -> bool {
    !matches!(scope.status, Some(Status::ClientWithdrawn | Status::Terminated | Status::Withdrawn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::policy::AnySource;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn ask(doubt: &mut Doubt, now: Instant) -> bool {
        let due = doubt.take_due(now);
        if due {
            doubt.asked(now);
        }
        due
    }

    #[test]
    fn a_report_ends_it_that_was_asked_for_when_nothing_was_under_way() {
        let mut doubt = Doubt::new(at(0));
        doubt.open(at(10), at(155));
        assert!(ask(&mut doubt, at(10)));
        doubt.answered(0, 0);
        assert_eq!((doubt.is_open(), doubt.due()), (true, Some(at(155))));
        // Something else ended meanwhile, and was asked for later.
        doubt.extend(at(170));
        assert!(!ask(&mut doubt, at(154)));
        assert!(ask(&mut doubt, at(155)));
        doubt.answered(0, 0);
        assert!(ask(&mut doubt, at(170)));
        doubt.answered(0, 0);
        assert_eq!((doubt.is_open(), doubt.due()), (false, None));
    }

    #[test]
    fn what_waits_for_a_request_is_not_asked_for_until_there_is_a_hint() {
        let mut doubt = Doubt::new(at(0));
        doubt.open(at(10), at(10));
        assert!(ask(&mut doubt, at(10)));
        doubt.answered(0, 2);
        assert_eq!((doubt.is_open(), doubt.due()), (true, None));
        doubt.hint(at(500));
        assert_eq!(doubt.due(), Some(at(500)));
    }

    #[test]
    fn who_lets_go_of_some_is_asked_on_and_who_lets_go_of_none_is_not() {
        let mut doubt = Doubt::new(at(0));
        doubt.open(at(0), at(0));
        let (mut rounds, mut now) = (0, at(0));
        while let Some(due) = doubt.due() {
            now = due;
            if !ask(&mut doubt, now) {
                break;
            }
            rounds += 1;
            doubt.answered(30usize.saturating_sub(rounds).max(5), 0);
        }
        assert_eq!(rounds, 25 + 8, "at {now:?}");
        assert!(!doubt.goes_on());
        doubt.suspect(now);
        assert_eq!(doubt.due(), None, "it has been asked often enough");
        doubt.session_up(now);
        assert_eq!(doubt.due(), Some(now));
    }

    #[test]
    fn who_was_asked_often_is_asked_as_often_about_the_next() {
        let mut doubt = Doubt::new(at(0));
        doubt.open(at(0), at(0));
        for _ in 0..ROUNDS {
            let due = doubt.due().unwrap();
            assert!(ask(&mut doubt, due));
            doubt.answered(2, 0);
        }
        // The last one lets it close.
        doubt.answered(0, 0);
        assert_eq!((doubt.is_open(), doubt.due()), (false, None));
        doubt.suspect(at(5000));
        assert!(doubt.goes_on() && ask(&mut doubt, at(5000)));
        doubt.answered(2, 0);
        assert!(doubt.due().unwrap() - doubt.asked <= WAIT, "and not more rarely");
    }

    #[test]
    fn what_ends_within_a_doubt_is_asked_about_though_another_one_waits() {
        let config = ClientConfig::builder("c", "server").build().unwrap();
        let mut client = Client::new(Arc::new(config), AnySource, [0; 32], at(0));
        client.leave(1, false);
        assert!(ask(&mut client.doubt, at(0)));
        // One waits for a request that is not decided.
        client.doubt.answered(0, 1);
        assert_eq!(client.doubt.due(), None);
        client.now = at(100);
        client.leave(2, true);
        assert_eq!(client.doubt.due(), Some(at(100)));
    }

    #[test]
    fn what_begins_when_the_session_is_lost_is_in_force_as_much_as_what_began() {
        for code in 0..12 {
            let status = Some(Status::from_code(code));
            assert_eq!(in_force(&Scope { status, ..Scope::default() }), !(5..=7).contains(&code), "{code}");
        }
        assert!(in_force(&Scope::default()));
    }

    #[test]
    fn no_more_is_remembered_than_there_may_be_mitigations() {
        let limits = Limits::default().with_mitigations(3);
        let config = ClientConfig::builder("c", "server").with_limits(limits).build().unwrap();
        let mut client = Client::new(Arc::new(config), AnySource, [0; 32], at(0));
        (1..=9).for_each(|mid| client.leave(mid, false));
        assert_eq!(client.doubt.left, [7, 8, 9].into());
    }
}
