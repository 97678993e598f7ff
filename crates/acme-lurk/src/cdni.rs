//! How one CDN tells another which delegation to use. [RFC 9538 section 3](https://www.rfc-editor.org/rfc/rfc9538#section-3)

use jsonbcd::Object;
use watchfire_core::UnixTime;

use crate::acme::{Identifier, NewOrder};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::star::AutoRenewal;
use crate::time::parse_rfc3339;

/// The type of the metadata.
pub const METADATA_TYPE: &str = "MI.ACMEDelegationMethod";

/// `MI.ACMEDelegationMethod`: a delegation, and for when.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcmeDelegationMethod {
    /// The URL of the delegation.
    pub delegation: String,
    /// The begin of the time for which certificates are to be valid.
    pub start: UnixTime,
    /// Its end, behind the begin.
    pub end: UnixTime,
    /// How certificates are renewed; none for one that is not renewed.
    pub renewal: Option<Renewal>,
}

/// How certificates are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the document has these two")]
pub struct Renewal {
    /// `lifetime`, in seconds.
    pub lifetime: u64,
    /// `lifetime-adjust`, in seconds.
    pub lifetime_adjust: u64,
}

/// Which spellings are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Spelling {
    /// Those of the RFC.
    #[default]
    Strict,
    /// Those of the drafts before it too: names in any case and with or without hyphen, times of RFC 3339.
    Drafts,
}

impl AcmeDelegationMethod {
    /// A delegation for this time; none if the end is not behind the begin.
    pub fn new(delegation: impl Into<String>, start: UnixTime, end: UnixTime) -> Option<Self> {
        (start < end).then(|| Self { delegation: delegation.into(), start, end, renewal: None })
    }

    /// The same with certificates that are renewed automatically.
    #[must_use]
    pub const fn with_renewal(mut self, lifetime: u64, lifetime_adjust: u64) -> Self {
        self.renewal = Some(Renewal { lifetime, lifetime_adjust });
        self
    }

    /// Reads a `GenericMetadata` object of this type.
    ///
    /// # Errors
    /// When it is of another type, lacks the delegation or the window, or has only one of `lifetime` and
    /// `lifetime-adjust`.
    pub fn decode(body: &[u8], spelling: Spelling, limits: &Limits) -> Result<Self, DecodeError> {
        let mut outer = Members::decode(body, "metadata", limits)?;
        let kind = outer.required_text("generic-metadata-type")?;
        let is_kind = match spelling {
            Spelling::Strict => kind == METADATA_TYPE,
            Spelling::Drafts => plain(&kind) == plain(METADATA_TYPE),
        };
        if !is_kind {
            return Err(outer.error("generic-metadata-type", DecodeErrorKind::Expected(METADATA_TYPE)));
        }
        let value = outer.members("generic-metadata-value")?;
        let mut members = value.ok_or_else(|| outer.missing("generic-metadata-value"))?;
        if spelling == Spelling::Drafts {
            members = respelled(members, &["acme-delegation", "time-window", "lifetime", "lifetime-adjust"])?;
        }
        let delegation = members.url("acme-delegation", limits)?.ok_or_else(|| members.missing("acme-delegation"))?;
        let window = members.members("time-window")?.ok_or_else(|| members.missing("time-window"))?;
        let mut window = if spelling == Spelling::Drafts { respelled(window, &["start", "end"])? } else { window };
        let (start, end) = (time(&mut window, "start", spelling)?, time(&mut window, "end", spelling)?);
        let renewal = match (members.integer("lifetime")?, members.integer("lifetime-adjust")?) {
            (Some(0), _) => {
                return Err(members.error("lifetime", DecodeErrorKind::Expected("one second or more")));
            }
            (Some(lifetime), Some(lifetime_adjust)) => Some(Renewal { lifetime, lifetime_adjust }),
            (None, None) => None,
            (Some(_), None) => return Err(members.missing("lifetime-adjust")),
            (None, Some(_)) => return Err(members.missing("lifetime")),
        };
        let method = Self::new(delegation, start, end);
        let method = method.ok_or_else(|| window.error("end", DecodeErrorKind::Expected("a time behind the start")))?;
        Ok(Self { renewal, ..method })
    }

    /// The `GenericMetadata` object.
    pub fn encode(&self) -> Vec<u8> {
        let mut window = Object::new();
        window.insert("start", self.start.as_secs());
        window.insert("end", self.end.as_secs());
        let mut value = Object::new();
        value.insert("acme-delegation", self.delegation.as_str());
        value.insert("time-window", window);
        put(&mut value, "lifetime", self.renewal.map(|renewal| renewal.lifetime));
        put(&mut value, "lifetime-adjust", self.renewal.map(|renewal| renewal.lifetime_adjust));
        let mut object = Object::new();
        object.insert("generic-metadata-type", METADATA_TYPE);
        object.insert("generic-metadata-value", value);
        json::encode(&object)
    }

    /// The order that follows from it: the window is `start-date` and `end-date` if certificates are renewed
    /// automatically, otherwise `notBefore` and `notAfter`.
    pub fn order(&self, identifiers: Vec<Identifier>) -> NewOrder {
        let mut order = NewOrder::new(identifiers).with_delegation(self.delegation.clone());
        match self.renewal {
            Some(renewal) => {
                let agreed = AutoRenewal::new(self.end, renewal.lifetime).with_start(self.start);
                let agreed = agreed.with_lifetime_adjust(renewal.lifetime_adjust).with_certificate_get(true);
                order.auto_renewal = Some(agreed);
            }
            None => {
                (order.not_before, order.not_after) = (Some(self.start), Some(self.end));
                order.allow_certificate_get = Some(true);
            }
        }
        order
    }
}

/// Seconds since 1970, and in drafts a time of RFC 3339.
fn time(window: &mut Members, name: &str, spelling: Spelling) -> Result<UnixTime, DecodeError> {
    let value = window.take(name).ok_or_else(|| window.missing(name))?;
    let secs = value.as_i64().map(UnixTime::from_secs);
    let text = value.as_str().filter(|_| spelling == Spelling::Drafts).and_then(parse_rfc3339);
    secs.or(text).ok_or_else(|| window.error(name, DecodeErrorKind::Expected("seconds since 1970")))
}

fn plain(name: &str) -> String {
    name.chars().filter(|char| *char != '-').map(|char| char.to_ascii_lowercase()).collect()
}

/// The same members under the names of the RFC, as far as they have such. Two of the same name are refused.
fn respelled(members: Members, names: &[&str]) -> Result<Members, DecodeError> {
    let place = members.place("");
    let mut object = Object::new();
    for (name, value) in members.rest().iter() {
        let known = names.iter().find(|known| plain(known) == plain(name)).copied();
        if object.insert(known.unwrap_or(name), value.clone()).is_some() {
            return Err(DecodeErrorKind::Expected("each member once").at(format!("{place}{name}")));
        }
    }
    Members::of(object.into(), place.trim_end_matches('.'))
}
