//! From an order that is valid to certificates that are installed, one after the other.
//! [RFC 8739 section 3.3](https://www.rfc-editor.org/rfc/rfc8739#section-3.3)

use rand::RngExt as _;
use watchfire_core::UnixTime;

use super::{Installation, Ndc, NdcEnd, NdcError, NdcEvent, State, Wake};
use crate::acme::ProblemType;
use crate::acme::client::{Answer, ClientError, Fetched};
use crate::now::Now;
use crate::star::{AutoRenewal, Look, RollTimer};

impl Ndc {
    /// The timer of the order that is kept, as if its certificate had been installed now.
    pub(super) fn restart_timer(&mut self, now: Now) {
        let agreed = self.kept.order.as_ref().and_then(|order| order.auto_renewal);
        let mut timer = agreed.map(|agreed| RollTimer::new(&agreed, self.random.random()));
        if let (Some(timer), Some(not_after)) = (&mut timer, self.kept.installed) {
            let _ = timer.installed(now.unix, horizon(now, not_after, agreed));
            self.alarm_at = Some(late(timer.alarm_at(), agreed));
        }
        self.timer = timer;
    }

    /// Looks whether there is a newer certificate.
    pub(super) fn fetch(&mut self, now: Now) {
        let url = self.kept.order.as_ref().and_then(|order| order.certificate.clone());
        let Some(url) = url else { return self.find_delegation(now) };
        match self.client.fetch(now, url, self.kept.etag.clone()) {
            Ok(call) => self.state = State::Fetching(call),
            Err(error) => {
                // A URL that is not to be gone to will not become better.
                self.kept.order = None;
                self.fail(now, NdcError::Client(error));
            }
        }
    }

    pub(super) fn saw_certificate(&mut self, now: Now, result: Result<Answer, ClientError>) {
        match result {
            Ok(Answer::Certificate(fetched)) => self.consider(now, *fetched),
            Ok(_) => {
                self.last_failure = None;
                self.unchanged(now);
            }
            Err(error) => match error.problem().map(|problem| problem.kind.clone()) {
                Some(ProblemType::AutoRenewalCanceled) => self.canceled(now),
                Some(ProblemType::AutoRenewalExpired) => {
                    self.kept.order = None;
                    self.find_delegation(now);
                }
                _ => {
                    self.last_failure = Some(error.to_string());
                    if self.config.once || self.kept.installed.is_none() {
                        self.fail(now, NdcError::Client(error));
                    } else {
                        self.unchanged(now);
                    }
                }
            },
        }
    }

    fn consider(&mut self, now: Now, fetched: Fetched) {
        let leaf = fetched.chain.first().map(Vec::as_slice).unwrap_or_default();
        let (not_before, not_after) = match self.check(now, leaf) {
            Ok(validity) => validity,
            Err(wrong) => {
                self.last_failure = Some(wrong.to_string());
                if self.config.once || self.kept.installed.is_none() {
                    self.kept.order = None;
                    self.fail(now, NdcError::WrongCertificate(wrong));
                } else {
                    self.events.push_back(NdcEvent::Rejected(wrong));
                    self.unchanged(now);
                }
                return;
            }
        };
        let is_newer = self.kept.installed.is_none_or(|known| known < not_after);
        // The first certificate of a new order may run out before the one that is installed.
        let is_first = self.kept.order.as_ref().is_some_and(|order| !order.installed);
        self.last_failure = None;
        if !is_newer && !is_first {
            self.kept.etag = fetched.etag;
            self.unchanged(now);
            return;
        }
        self.kept.etag = fetched.etag;
        let hints_agree = fetched.hints.agree_with(not_before, not_after);
        let installation = Installation { chain: fetched.chain, not_before, not_after, hints_agree };
        self.installing = Some(installation.clone());
        self.state = State::Installing;
        self.events.push_back(NdcEvent::Install(installation));
    }

    /// The certificate of the last [`NdcEvent::Install`] is installed.
    pub fn installed(&mut self, now: Now) {
        if self.state != State::Installing {
            return;
        }
        let Some(installation) = self.installing.take() else { return };
        let (not_before, not_after) = (installation.not_before, installation.not_after);
        self.kept.installed = Some(not_after);
        if let Some(order) = &mut self.kept.order {
            order.installed = true;
        }
        (self.alarm_said, self.gap_said) = (false, false);
        self.backoff.reset();
        if self.config.once {
            return self.end(NdcEnd::Installed);
        }
        self.state = State::Resting;
        let agreed = self.kept.order.as_ref().and_then(|order| order.auto_renewal);
        let not_after = horizon(now, not_after, agreed);
        let life = not_after.as_secs().saturating_sub(not_before.as_secs()).max(0);
        let look = self.timer.as_mut().map(|timer| {
            let look = timer.installed(now.unix, not_after);
            (look, late(timer.alarm_at(), agreed))
        });
        match look {
            Some((Look::At(at) | Look::Alarm(at), alarm_at)) => {
                self.wake = Some(Wake::Fetch(at));
                self.alarm_at = Some(alarm_at);
            }
            // The last of its order, or one that nobody renews.
            Some((Look::Never, _)) | None => self.order_before(now, not_after, life / 3),
        }
    }

    /// Orders anew so many seconds before a certificate runs out, or in the middle of what is left of it.
    fn order_before(&mut self, now: Now, not_after: UnixTime, seconds: i64) {
        let left = not_after.as_secs().saturating_sub(now.unix.as_secs()).max(0);
        let early = seconds.min(left / 2);
        self.state = State::Resting;
        self.wake = Some(Wake::Order(UnixTime::from_secs(not_after.as_secs().saturating_sub(early))));
        self.alarm_at = Some(UnixTime::from_secs(not_after.as_secs().saturating_sub(early / 2)));
    }

    /// The certificate of the last [`NdcEvent::Install`] cannot be installed. It is offered again after a while.
    pub fn install_failed(&mut self, now: Now, detail: impl Into<String>) {
        if self.state != State::Installing {
            return;
        }
        self.installing = None;
        self.last_failure = Some(detail.into());
        self.kept.etag = None;
        self.unchanged(now);
    }

    /// There is no newer certificate yet. Who wanted one alone, and has it, is content unless a new order is due.
    fn unchanged(&mut self, now: Now) {
        self.await_next(now);
        let is_good = self.kept.installed.is_some_and(|until| until > now.unix);
        if self.config.once && is_good && matches!(self.state, State::Resting) {
            self.end(NdcEnd::Installed);
        }
    }

    fn await_next(&mut self, now: Now) {
        self.state = State::Resting;
        let agreed = self.kept.order.as_ref().and_then(|order| order.auto_renewal);
        // After a restart nothing says how long the certificate was good for: then the middle of what is left will do.
        let until = self.kept.installed.map(|until| horizon(now, until, agreed));
        let is_last = agreed.is_none_or(|agreed| until.is_some_and(|until| until >= agreed.end));
        let is_of_order = self.kept.order.as_ref().is_some_and(|order| order.installed);
        if let Some(not_after) = until.filter(|_| is_last && is_of_order) {
            return self.order_before(now, not_after, i64::MAX);
        }
        let Some(timer) = &mut self.timer else {
            let wait = self.backoff.next_delay();
            self.wake = Some(Wake::Again(now.instant + wait));
            return;
        };
        match timer.unchanged(now.unix, None) {
            Look::At(at) | Look::Alarm(at) => self.wake = Some(Wake::Fetch(at)),
            Look::Never => {}
        }
        self.watch(now);
    }

    pub(super) fn canceled(&mut self, now: Now) {
        self.kept.order = None;
        let not_after = self.kept.installed.filter(|until| *until > now.unix);
        self.end(NdcEnd::Canceled { not_after });
    }
}

/// Until when to count on a certificate. One that is good for longer than any that STAR makes comes from a CA that does
/// not speak it, and whoever stands in for that CA replaces it, and revokes it at the end of the order.
fn horizon(now: Now, not_after: UnixTime, agreed: Option<AutoRenewal>) -> UnixTime {
    match agreed {
        Some(agreed) if not_after > now.date_in(agreed.lifetime.saturating_mul(2)) => {
            now.date_in(agreed.lifetime).min(agreed.end)
        }
        Some(agreed) => not_after.min(agreed.end),
        None => not_after,
    }
}

/// When to tell somebody: an eighth of the lifetime behind the last moment at which the next certificate may appear, so
/// that a CA that uses its time to the end is no cause for alarm.
fn late(last_moment: UnixTime, agreed: Option<AutoRenewal>) -> UnixTime {
    let grace = agreed.map_or(0, |agreed| (agreed.lifetime / 8).max(1));
    UnixTime::from_secs(last_moment.as_secs().saturating_add_unsigned(grace))
}
