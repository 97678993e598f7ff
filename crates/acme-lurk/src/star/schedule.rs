//! Which certificate is made when, and for how long.
//! [RFC 8739 section 3.5](https://www.rfc-editor.org/rfc/rfc8739#section-3.5)

use jsonbcd::Object;
use watchfire_core::UnixTime;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::Members;
use crate::time::format_rfc3339;

/// The certificates of one order: each is valid until the next one's nominal renewal date, and begins earlier by a pad, so
/// that clients find it before they need it.
///
/// ```
/// use acme_lurk::star::{Fraction, Schedule};
/// use watchfire_core::UnixTime;
///
/// let (day, time) = (86_400, UnixTime::from_secs);
/// let schedule = Schedule::new(time(0), time(0), time(10 * day), 4 * 86_400, 3 * 86_400, Fraction::HALF)?;
/// assert_eq!(schedule.count(), 3);
/// let second = schedule.slot(1).unwrap();
/// assert_eq!((second.not_before, second.not_after), (time(day), time(8 * day)));
/// # Ok::<(), acme_lurk::star::ScheduleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Schedule {
    first: i64,
    earliest: i64,
    end: i64,
    /// Seconds, at least one.
    lifetime: u64,
    adjust: u64,
    fraction: Fraction,
}

/// One certificate of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Slot {
    /// Which: the first is 0.
    pub index: u64,
    /// The nominal renewal date.
    pub renewal: UnixTime,
    /// What goes into the certificate.
    pub not_before: UnixTime,
    /// What goes into the certificate.
    pub not_after: UnixTime,
    /// From when on it must be served.
    pub publish: UnixTime,
    /// Whether it is the last.
    pub is_last: bool,
}

/// The part of the lifetime by which a certificate is early at least: from one half to just below one, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fraction(u16);

impl Fraction {
    /// One half: what the document asks for at least.
    pub const HALF: Self = Self(500);

    /// So many thousandths: 500 to 999.
    pub const fn from_thousandths(thousandths: u16) -> Option<Self> {
        if thousandths >= 500 && thousandths < 1000 { Some(Self(thousandths)) } else { None }
    }

    /// In thousandths.
    pub const fn thousandths(self) -> u16 {
        self.0
    }
}

impl Default for Fraction {
    fn default() -> Self {
        Self::HALF
    }
}

impl Schedule {
    /// A schedule.
    ///
    /// `first` is when the first certificate is made, `earliest` what its validity may not begin before: the start date
    /// of the order, or when its authorizations were complete. `lifetime` and `adjust` are those of the order, in seconds.
    ///
    /// # Errors
    /// When there is no time between `first` and `end`, or no lifetime.
    pub fn new(
        first: UnixTime,
        earliest: UnixTime,
        end: UnixTime,
        lifetime: u64,
        adjust: u64,
        fraction: Fraction,
    ) -> Result<Self, ScheduleError> {
        if lifetime == 0 {
            return Err(ScheduleError::Lifetime);
        }
        if end <= first {
            return Err(ScheduleError::Ended);
        }
        let (first, earliest, end) = (first.as_secs(), earliest.as_secs().min(first.as_secs()), end.as_secs());
        Ok(Self { first, earliest, end, lifetime, adjust, fraction })
    }

    /// How many certificates there are: one at least.
    pub fn count(&self) -> u64 {
        let span = self.end.abs_diff(self.first);
        span.div_ceil(self.lifetime)
    }

    /// By how much each certificate but the first is early, in seconds: never more than the lifetime, and never less than
    /// its half.
    pub fn pad(&self) -> u64 {
        let wanted = self.adjust.min(self.lifetime);
        // Rounded up: what is published a second late is late.
        let part = (u128::from(self.lifetime) * u128::from(self.fraction.0)).div_ceil(1000);
        wanted.max(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// The end of the order.
    pub const fn end(&self) -> UnixTime {
        UnixTime::from_secs(self.end)
    }

    /// The nominal lifetime of each certificate, in seconds.
    pub const fn lifetime(&self) -> u64 {
        self.lifetime
    }

    /// The certificate of this number; none behind the last.
    pub fn slot(&self, index: u64) -> Option<Slot> {
        if index >= self.count() {
            return None;
        }
        let renewal = i128::from(self.first) + i128::from(index) * i128::from(self.lifetime);
        let end = i128::from(self.end);
        let early = renewal - i128::from(self.pad());
        let not_before = if index == 0 { early.max(i128::from(self.earliest)) } else { early };
        let publish = if index == 0 { renewal } else { not_before };
        Some(Slot {
            index,
            renewal: time(renewal),
            not_before: time(not_before),
            not_after: time((renewal + i128::from(self.lifetime)).min(end)),
            publish: time(publish),
            is_last: index + 1 == self.count(),
        })
    }

    /// The newest certificate that must be served at this time; none before the first.
    pub fn due(&self, now: UnixTime) -> Option<Slot> {
        let since = i128::from(now.as_secs()) - i128::from(self.first);
        if since < 0 {
            return None;
        }
        // The last one whose renewal date, less the pad, has come.
        let index = (since + i128::from(self.pad())) / i128::from(self.lifetime);
        let last = self.count().saturating_sub(1);
        self.slot(u64::try_from(index).unwrap_or(u64::MAX).min(last))
    }
}

impl Schedule {
    /// All of it, for a record.
    pub(crate) fn to_object(self) -> Object {
        let mut object = Object::new();
        object.insert("first", format_rfc3339(UnixTime::from_secs(self.first)));
        object.insert("earliest", format_rfc3339(UnixTime::from_secs(self.earliest)));
        object.insert("end", format_rfc3339(self.end()));
        object.insert("lifetime", self.lifetime);
        object.insert("adjust", self.adjust);
        object.insert("fraction", u64::from(self.fraction.0));
        object
    }

    /// From a record.
    pub(crate) fn read(members: &mut Members) -> Result<Self, DecodeError> {
        let mut time = |name: &str| members.time(name)?.ok_or_else(|| members.missing(name));
        let (first, earliest, end) = (time("first")?, time("earliest")?, time("end")?);
        let lifetime = members.integer("lifetime")?.unwrap_or(0);
        let adjust = members.integer("adjust")?.unwrap_or(0);
        let fraction = members.integer("fraction")?.and_then(|fraction| u16::try_from(fraction).ok());
        let fraction = fraction.and_then(Fraction::from_thousandths).unwrap_or_default();
        Self::new(first, earliest, end, lifetime, adjust, fraction)
            .map_err(|_| members.error("lifetime", DecodeErrorKind::Expected("a schedule")))
    }
}

/// A time between those of the order, which fit.
fn time(secs: i128) -> UnixTime {
    UnixTime::from_secs(i64::try_from(secs).unwrap_or(if secs < 0 { i64::MIN } else { i64::MAX }))
}

/// Why there is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The end is not behind the first certificate.
    #[error("the end date has passed before the first certificate")]
    Ended,
    /// The lifetime is nothing.
    #[error("the lifetime is nothing")]
    Lifetime,
}
