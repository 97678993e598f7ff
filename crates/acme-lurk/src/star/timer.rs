//! When to look for the next certificate, on the side of whoever serves HTTPS with it. The times follow from
//! [RFC 8739 sections 3.3](https://www.rfc-editor.org/rfc/rfc8739#section-3.3) and
//! [3.5](https://www.rfc-editor.org/rfc/rfc8739#section-3.5).

use watchfire_core::{Backoff, Duration, UnixTime};

use super::auto_renewal::AutoRenewal;

/// When to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Look {
    /// Then.
    At(UnixTime),
    /// Then; and the next certificate should be there by now: tell somebody. Said once for each certificate.
    Alarm(UnixTime),
    /// Never: the last certificate of the order is installed.
    Never,
}

/// The timer of one order. The same seed gives the same times.
#[derive(Debug)]
pub struct RollTimer {
    lifetime: u64,
    /// How early the next certificate comes at least.
    early: u64,
    end: UnixTime,
    not_after: UnixTime,
    alarm_said: bool,
    backoff: Backoff,
}

impl RollTimer {
    /// A timer for an order with these values, those that the CA reflected. Nothing is installed yet.
    pub fn new(agreed: &AutoRenewal, seed: [u8; 32]) -> Self {
        let lifetime = agreed.lifetime.max(1);
        // Between looks there is at least a 64th of the lifetime, and at most an 8th or an hour.
        let min = (lifetime / 64).clamp(1, 600);
        let max = (lifetime / 8).clamp(1, 3600);
        let backoff = Backoff::new(Duration::from_secs(min.saturating_mul(2)), Duration::from_secs(max), seed);
        Self {
            lifetime,
            early: agreed.lifetime_adjust.min(lifetime).max(lifetime.div_ceil(2)),
            end: agreed.end,
            not_after: UnixTime::from_secs(i64::MIN),
            alarm_said: false,
            backoff,
        }
    }

    /// A certificate was installed, with this end of its validity. Says when to look for the next.
    ///
    /// `not_after` is that of the certificate itself, whatever header fields said.
    pub fn installed(&mut self, now: UnixTime, not_after: UnixTime) -> Look {
        self.not_after = not_after;
        self.alarm_said = false;
        self.backoff.reset();
        if not_after >= self.end {
            return Look::Never;
        }
        let first = before(not_after, self.early);
        if first > now { Look::At(first) } else { self.later(now, None) }
    }

    /// There was no newer certificate, or the request failed. `retry_after` is what the server asked for, in seconds; it
    /// is obeyed as long as that does not let the certificate run out.
    pub fn unchanged(&mut self, now: UnixTime, retry_after: Option<u64>) -> Look {
        let next = self.later(now, retry_after);
        let Look::At(at) = next else { return next };
        if !self.alarm_said && now >= self.alarm_at() {
            self.alarm_said = true;
            return Look::Alarm(at);
        }
        next
    }

    /// From when on the next certificate is late.
    pub fn alarm_at(&self) -> UnixTime {
        before(self.not_after, self.lifetime / 2)
    }

    fn later(&mut self, now: UnixTime, retry_after: Option<u64>) -> Look {
        let delay = self.backoff.next_delay();
        let delay = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1);
        let wanted = now.as_secs().saturating_add_unsigned(delay.max(retry_after.unwrap_or(0)));
        // Wait for the server, but not past the last quarter of the lifetime; and never not at all.
        let latest = before(self.not_after, self.lifetime / 4).as_secs();
        let soonest = now.as_secs().saturating_add_unsigned(delay);
        Look::At(UnixTime::from_secs(wanted.min(latest.max(soonest))))
    }
}

fn before(time: UnixTime, secs: u64) -> UnixTime {
    UnixTime::from_secs(time.as_secs().saturating_sub_unsigned(secs))
}
