//! When to ask whether a binding is confirmed. draft-hallambaker-wsconnect-08 section 3.3.

use watchfire_core::{Duration, Instant};

/// How long to wait before the next poll, `waited` after the binding was asked for: ten seconds during the first ten
/// minutes, half a minute during the next hour, five minutes during the next day, and an hour from then on.
pub fn interval(waited: Duration) -> Duration {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const FIRST: u64 = 10 * MINUTE;
    const SECOND: u64 = FIRST + HOUR;
    const THIRD: u64 = SECOND + 24 * HOUR;
    Duration::from_secs(match waited.as_secs() {
        0..FIRST => 10,
        FIRST..SECOND => 30,
        SECOND..THIRD => 5 * MINUTE,
        _ => HOUR,
    })
}

/// When to poll next: by the schedule, and not before the service lets us.
pub(crate) fn next(now: Instant, began: Instant, min_retry: Option<u32>) -> Instant {
    let least = Duration::from_secs(min_retry.unwrap_or(0).into());
    now + interval(now - began).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_that_of_the_draft() {
        for (waited, wait) in [
            (0, 10),
            (599, 10),
            (600, 30),
            (600 + 3599, 30),
            (600 + 3600, 300),
            (600 + 3600 + 86_399, 300),
            (600 + 3600 + 86_400, 3600),
            (u64::MAX, 3600),
        ] {
            assert_eq!(interval(Duration::from_secs(waited)), Duration::from_secs(wait), "{waited}");
        }
    }

    #[test]
    fn the_service_can_only_slow_it_down() {
        let at = Instant::from_secs;
        assert_eq!(next(at(5), at(0), None), at(15));
        assert_eq!(next(at(5), at(0), Some(0)), at(15));
        assert_eq!(next(at(5), at(0), Some(300)), at(305));
        assert_eq!(next(at(700), at(0), Some(10)), at(730));
        assert_eq!(next(at(5), at(0), Some(u32::MAX)), at(5 + u64::from(u32::MAX)));
    }
}
