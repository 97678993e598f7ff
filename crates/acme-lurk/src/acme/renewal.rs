//! When to renew, as the CA suggests it: ARI. [RFC 9773](https://www.rfc-editor.org/rfc/rfc9773)

use jsonbcd::Object;
use watchfire_core::UnixTime;

use crate::base64url;
use crate::certificate::Certificate;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::time::format_rfc3339;

/// How a CA calls a certificate: what stands behind `renewalInfo/`, and in `replaces`. None if the certificate does not
/// say which key has signed it. [Section 4.1](https://www.rfc-editor.org/rfc/rfc9773#section-4.1)
pub fn certificate_id(certificate: &Certificate<'_>) -> Option<String> {
    let key = base64url::encode(certificate.authority_key_id()?);
    Some(format!("{key}.{}", base64url::encode(certificate.serial())))
}

/// The answer of a CA. [Section 4.2](https://www.rfc-editor.org/rfc/rfc9773#section-4.2)
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewalInfo {
    /// The begin of the window.
    pub start: UnixTime,
    /// The end of the window, behind its begin.
    pub end: UnixTime,
    /// A page that says why.
    pub explanation_url: Option<String>,
}

impl RenewalInfo {
    /// Renew in this window; none if it is none.
    pub fn new(start: UnixTime, end: UnixTime) -> Option<Self> {
        (start < end).then_some(Self { start, end, explanation_url: None })
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// When there is no window, or its end is not behind its begin.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "renewalInfo", limits)?;
        let mut window = members.members("suggestedWindow")?.ok_or_else(|| members.missing("suggestedWindow"))?;
        let start = window.time("start")?.ok_or_else(|| window.missing("start"))?;
        let end = window.time("end")?.ok_or_else(|| window.missing("end"))?;
        let info = Self::new(start, end);
        let info = info.ok_or_else(|| window.error("end", DecodeErrorKind::Expected("a time behind the start")))?;
        Ok(Self { explanation_url: members.url("explanationURL", limits)?, ..info })
    }

    /// The answer as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut window = Object::new();
        window.insert("start", format_rfc3339(self.start));
        window.insert("end", format_rfc3339(self.end));
        let mut object = Object::new();
        object.insert("suggestedWindow", window);
        put(&mut object, "explanationURL", self.explanation_url.as_deref());
        json::encode(&object)
    }

    /// When to renew: a time in the window, spread evenly by a number that is drawn once for each certificate. One that
    /// has passed means now.
    pub fn choose(&self, random: u64) -> UnixTime {
        let width = self.end.as_secs().abs_diff(self.start.as_secs()).max(1);
        UnixTime::from_secs(self.start.as_secs().saturating_add_unsigned(random % width))
    }
}
