//! What client and CA agree on. [RFC 8739 sections 3.1.1](https://www.rfc-editor.org/rfc/rfc8739#section-3.1.1) and
//! [3.2](https://www.rfc-editor.org/rfc/rfc8739#section-3.2)

use jsonbcd::{Object, Value};
use watchfire_core::UnixTime;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{Members, put};
use crate::time::format_rfc3339;

/// Days that a certificate of a web server should be valid at most, without the pad for clocks that are wrong
/// ([RFC 8739 section 4.1](https://www.rfc-editor.org/rfc/rfc8739#section-4.1)).
const WEB_DAYS: u64 = 4;

/// The `auto-renewal` of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AutoRenewal {
    /// The validity of the first certificate does not begin before; none for as soon as the order is authorized.
    pub start: Option<UnixTime>,
    /// The validity of the last certificate does not end behind.
    pub end: UnixTime,
    /// How long each certificate is valid at most, in seconds, without what it is early. Never 0.
    pub lifetime: u64,
    /// How much earlier the validity of each begins, in seconds.
    pub lifetime_adjust: u64,
    /// Whether everybody may fetch the certificate. None is what the document has as default: not.
    pub allow_certificate_get: Option<bool>,
}

impl AutoRenewal {
    /// Certificates of this lifetime, in seconds, until `end`.
    pub const fn new(end: UnixTime, lifetime: u64) -> Self {
        Self { start: None, end, lifetime, lifetime_adjust: 0, allow_certificate_get: None }
    }

    /// The same with a start.
    #[must_use]
    pub const fn with_start(mut self, start: UnixTime) -> Self {
        self.start = Some(start);
        self
    }

    /// The same with certificates that begin earlier by so many seconds.
    #[must_use]
    pub const fn with_lifetime_adjust(mut self, seconds: u64) -> Self {
        self.lifetime_adjust = seconds;
        self
    }

    /// The same with certificates that everybody may fetch, or not.
    #[must_use]
    pub const fn with_certificate_get(mut self, allowed: bool) -> Self {
        self.allow_certificate_get = Some(allowed);
        self
    }

    /// Reads the value of `auto-renewal`; `place` is where it stands.
    ///
    /// # Errors
    /// When the end date or the lifetime is missing, a date is not one of RFC 3339, a number is not whole or negative.
    pub fn from_value(value: Value, place: &str) -> Result<Self, DecodeError> {
        let mut members = Members::of(value, place)?;
        let start = members.time("start-date")?;
        let end = members.time("end-date")?.ok_or_else(|| members.missing("end-date"))?;
        let lifetime = members.integer("lifetime")?.ok_or_else(|| members.missing("lifetime"))?;
        if lifetime == 0 {
            return Err(members.error("lifetime", DecodeErrorKind::Expected("one second or more")));
        }
        let lifetime_adjust = members.integer("lifetime-adjust")?.unwrap_or(0);
        let allow_certificate_get = members.boolean("allow-certificate-get")?;
        Ok(Self { start, end, lifetime, lifetime_adjust, allow_certificate_get })
    }

    /// The value of `auto-renewal`.
    pub fn to_object(&self) -> Object {
        let mut object = Object::new();
        put(&mut object, "start-date", self.start.map(format_rfc3339));
        object.insert("end-date", format_rfc3339(self.end));
        object.insert("lifetime", self.lifetime);
        put(&mut object, "lifetime-adjust", (self.lifetime_adjust > 0).then_some(self.lifetime_adjust));
        put(&mut object, "allow-certificate-get", self.allow_certificate_get);
        object
    }

    /// What is allowed, and still unwise at this time.
    pub fn lint(&self, now: UnixTime) -> Vec<&'static str> {
        let far = self.start.is_some_and(|start| start.as_secs().saturating_sub(now.as_secs()) > 7 * 86_400);
        [
            (self.lifetime > WEB_DAYS * 86_400, "certificates of web servers should be valid for four days at most"),
            (far, "the start is more than a week away: order when it is near, not now"),
        ]
        .into_iter()
        .filter_map(|(holds, text)| holds.then_some(text))
        .collect()
    }
}

/// What a CA that speaks STAR says in the `meta` of its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StarMeta {
    /// The shortest lifetime, in seconds.
    pub min_lifetime: u64,
    /// The longest time between start and end, in seconds.
    pub max_duration: u64,
    /// Whether certificates can be fetched by everybody.
    pub allow_certificate_get: bool,
}

impl StarMeta {
    /// Lifetimes from so many seconds on, orders over so many at most.
    pub const fn new(min_lifetime: u64, max_duration: u64, allow_certificate_get: bool) -> Self {
        Self { min_lifetime, max_duration, allow_certificate_get }
    }

    /// Reads the value of `auto-renewal` in `meta`; `place` is where it stands.
    ///
    /// # Errors
    /// When one of the two numbers is missing or none.
    pub fn from_value(value: Value, place: &str) -> Result<Self, DecodeError> {
        let mut members = Members::of(value, place)?;
        let min_lifetime = members.integer("min-lifetime")?.ok_or_else(|| members.missing("min-lifetime"))?;
        let max_duration = members.integer("max-duration")?.ok_or_else(|| members.missing("max-duration"))?;
        let allow_certificate_get = members.boolean("allow-certificate-get")?.unwrap_or(false);
        Ok(Self { min_lifetime, max_duration, allow_certificate_get })
    }

    /// The value of `auto-renewal` in `meta`.
    pub fn to_object(&self) -> Object {
        let mut object = Object::new();
        object.insert("min-lifetime", self.min_lifetime);
        object.insert("max-duration", self.max_duration);
        put(&mut object, "allow-certificate-get", self.allow_certificate_get.then_some(true));
        object
    }
}

/// What a CA does with values that it does not like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Adjusted {
    /// It refuses the order.
    #[default]
    Never,
    /// It changes them to the nearest that it likes, and says so in the order.
    Always,
}

/// What a CA takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StarPolicy {
    /// What the directory says.
    pub meta: StarMeta,
    /// Whether values are changed instead of refused.
    pub adjusted: Adjusted,
}

impl StarPolicy {
    /// Refuses what is outside of these.
    pub const fn new(meta: StarMeta) -> Self {
        Self { meta, adjusted: Adjusted::Never }
    }

    /// The same, with values changed instead of refused, or not.
    #[must_use]
    pub const fn with_adjusted(mut self, adjusted: Adjusted) -> Self {
        self.adjusted = adjusted;
        self
    }

    /// What the CA will do for an order with these values, made at this time: they are to be reflected in it.
    ///
    /// # Errors
    /// When it does not do them. An end that has passed, or is not behind the start, is never changed.
    pub fn accept(&self, asked: &AutoRenewal, now: UnixTime) -> Result<AutoRenewal, StarRefusal> {
        let mut agreed = *asked;
        let start = asked.start.unwrap_or(now);
        if asked.end <= now {
            return Err(StarRefusal::Ended);
        }
        if asked.end <= start {
            return Err(StarRefusal::EndBeforeStart);
        }
        let min = self.meta.min_lifetime.max(1);
        if asked.lifetime < min {
            if self.adjusted == Adjusted::Never {
                return Err(StarRefusal::Lifetime { min });
            }
            agreed.lifetime = min;
        }
        let max = self.meta.max_duration;
        // What has passed of the order is not asked for.
        let from = start.max(now);
        if asked.end.as_secs().abs_diff(from.as_secs()) > max {
            if self.adjusted == Adjusted::Never || max == 0 {
                return Err(StarRefusal::Duration { max });
            }
            agreed.end = UnixTime::from_secs(from.as_secs().saturating_add_unsigned(max));
        }
        agreed.lifetime_adjust = asked.lifetime_adjust.min(agreed.lifetime);
        agreed.allow_certificate_get = match asked.allow_certificate_get {
            Some(true) if !self.meta.allow_certificate_get => Some(false),
            other => other,
        };
        Ok(agreed)
    }
}

/// Why a CA does not take an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StarRefusal {
    /// It would go on for too long.
    #[error("from start to end there are more than {max} seconds")]
    Duration {
        /// The most, in seconds.
        max: u64,
    },
    /// It ends before it begins.
    #[error("the end date is not behind the start date")]
    EndBeforeStart,
    /// It has ended.
    #[error("the end date has passed")]
    Ended,
    /// The certificates would be too short-lived.
    #[error("the lifetime is below {min} seconds")]
    Lifetime {
        /// The least, in seconds.
        min: u64,
    },
}
