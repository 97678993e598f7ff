//! How long a reputon is good for that does not say. [RFC 7071 section 5](https://www.rfc-editor.org/rfc/rfc7071#section-5)

use std::time::Duration;

use repute_proto::Reputon;
use watchfire_core::UnixTime;

/// Gives reputons without `expires` one: the fewer samples there are behind a rating, the sooner it ends, because new
/// ones change it the more.
///
/// The time is `most * n / (n + half_samples)` of a sample size `n`, and `least` where that is less or `n` is not
/// said. An end stays the same for half of that time, so that an answer (and its ETag) does too: what is left is between
/// one half and the whole. Those of different subjects come at different moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiryPolicy {
    /// For a subject of which little is known: 60 s.
    pub least: Duration,
    /// For one of which very much is known: one hour.
    pub most: Duration,
    /// The sample size that gets half of the most: 1 000.
    pub half_samples: u64,
}

impl Default for ExpiryPolicy {
    fn default() -> Self {
        Self { least: Duration::from_secs(60), most: Duration::from_secs(3_600), half_samples: 1_000 }
    }
}

impl ExpiryPolicy {
    /// How long a reputon of this sample size is good for.
    pub fn lifetime(&self, samples: Option<u64>) -> Duration {
        let (n, half) = (u128::from(samples.unwrap_or(0)), u128::from(self.half_samples.max(1)));
        let secs = u128::from(self.most.as_secs()) * n / (n + half);
        // At most `most`, which came from a u64.
        Duration::from_secs(u64::try_from(secs).unwrap_or(u64::MAX)).max(self.least)
    }

    /// Gives a reputon its end if it has none.
    pub fn apply(&self, reputon: &mut Reputon<'_>, now: UnixTime) {
        if reputon.expires.is_some() {
            return;
        }
        let now = u64::try_from(now.as_secs()).unwrap_or(0);
        // The next but one of the subject's moments, which are half a lifetime apart.
        let step = (self.lifetime(reputon.sample_size).as_secs() / 2).max(1);
        let hash = reputon.rated.bytes().fold(0_u64, |hash, octet| hash.wrapping_mul(31).wrapping_add(octet.into()));
        let phase = hash % step;
        let moments = now.saturating_add(phase) / step;
        reputon.expires = Some(moments.saturating_add(2).saturating_mul(step).saturating_sub(phase));
    }
}

#[cfg(test)]
mod tests {
    use repute_proto::Score;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn expires(policy: ExpiryPolicy, samples: Option<u64>, now: u64) -> u64 {
        let mut reputon = Reputon::new("r", "spam", "example.org", Score::ZERO);
        reputon.sample_size = samples;
        policy.apply(&mut reputon, UnixTime::from_secs(now.try_into().unwrap()));
        reputon.expires.unwrap()
    }

    #[test]
    fn little_data_expires_sooner() {
        let policy = ExpiryPolicy::default();
        let times = [None, Some(0), Some(1), Some(10), Some(100), Some(1_000), Some(1_000_000), Some(u64::MAX)];
        let times = times.map(|samples| policy.lifetime(samples).as_secs());
        assert_eq!(times, [60, 60, 60, 60, 327, 1_800, 3_596, 3_599]);
        for samples in [None, Some(3), Some(5_000), Some(u64::MAX)] {
            let lifetime = policy.lifetime(samples).as_secs();
            for now in NOW..NOW + 300 {
                let left = expires(policy, samples, now) - now;
                assert!(left <= lifetime && left >= lifetime / 2, "{left} of {lifetime}");
            }
        }
    }

    #[test]
    fn what_the_data_says_counts_and_answers_stay_the_same_for_a_while() {
        let policy = ExpiryPolicy::default();
        let mut reputon = Reputon::new("r", "spam", "example.org", Score::ZERO).with_expires(5);
        policy.apply(&mut reputon, UnixTime::from_secs(7));
        assert_eq!(reputon.expires, Some(5));
        let ends: std::collections::BTreeSet<_> =
            (NOW..NOW + 3_600).map(|now| expires(policy, Some(1_000), now)).collect();
        assert!(ends.len() <= 6, "{ends:?}");
        let odd = ExpiryPolicy { least: Duration::ZERO, most: Duration::MAX, half_samples: 0 };
        assert!(expires(odd, None, NOW) > NOW && expires(odd, Some(u64::MAX), u64::MAX / 4) > 0);
    }
}
