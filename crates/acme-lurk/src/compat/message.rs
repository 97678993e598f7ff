//! What is registered, and what is said about it. draft-sheffer-acme-star-request-02 section 3.1

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonbcd::Object;
use watchfire_core::UnixTime;

use crate::base64url;
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::time::format_rfc3339;

const DAY: u64 = 86_400;

/// What a delegate asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The request for a certificate, DER. It is not looked at.
    pub csr: Vec<u8>,
    /// For how long certificates are to be renewed, in seconds; none for what the owner likes.
    pub duration: Option<u64>,
    /// How long each is valid, in seconds; none for what the owner likes.
    pub certificate_lifetime: Option<u64>,
}

impl Registration {
    /// With this request (DER).
    pub fn new(csr: impl Into<Vec<u8>>) -> Self {
        Self { csr: csr.into(), duration: None, certificate_lifetime: None }
    }

    /// Reads what was posted. `csr` is base64url of DER, or PEM as in draft-sheffer-acme-star-00, whose `lifetime` in
    /// days (1 to 1095) is the duration.
    ///
    /// # Errors
    /// When there is no request, or a number is none.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "registration", limits)?;
        let csr = members.required_text("csr")?;
        if csr.len() / 4 > limits.csr / 3 + 64 {
            return Err(members.error("csr", DecodeErrorKind::Limit(Limit::Csr(limits.csr))));
        }
        let octets = if csr.contains("-----") { from_pem(&csr) } else { base64url::decode(&csr) };
        let csr = octets.filter(|csr| !csr.is_empty());
        let csr =
            csr.ok_or_else(|| members.error("csr", DecodeErrorKind::Expected("a request in base64url or PEM")))?;
        let mut seconds = |name: &str| -> Result<Option<u64>, DecodeError> {
            let number = members.integer(name)?;
            if number == Some(0) {
                return Err(members.error(name, DecodeErrorKind::Expected("one second or more")));
            }
            Ok(number)
        };
        let (duration, certificate_lifetime) = (seconds("duration")?, seconds("certificate-lifetime")?);
        let days = members.integer("lifetime")?;
        if days.is_some_and(|days| !(1..=1095).contains(&days)) {
            return Err(members.error("lifetime", DecodeErrorKind::Expected("1 to 1095 days")));
        }
        let duration = duration.or_else(|| days.map(|days| days.saturating_mul(DAY)));
        Ok(Self { csr, duration, certificate_lifetime })
    }

    /// What is posted.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("csr", base64url::encode(&self.csr));
        put(&mut object, "duration", self.duration);
        put(&mut object, "certificate-lifetime", self.certificate_lifetime);
        json::encode(&object)
    }
}

/// The one block of PEM in a text, whichever of its two names it has.
fn from_pem(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let inside = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].into_iter().find_map(|name| {
        let begin = format!("-----BEGIN {name}-----");
        text.strip_prefix(&*begin)?.strip_suffix(&*format!("-----END {name}-----"))
    })?;
    STANDARD.decode(inside.split_ascii_whitespace().collect::<String>()).ok()
}

/// How far a registration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the drafts have these four, under several names")]
pub enum RegistrationStatus {
    /// It was taken.
    New,
    /// The CA is at it.
    Pending,
    /// There is a certificate.
    Success,
    /// There will be none.
    Failed,
}

impl RegistrationStatus {
    /// The word of star-request-02.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }

    /// From a word of any of the drafts and of the program that spoke them.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "new" => Self::New,
            "pending" | "wip" | "in progress" => Self::Pending,
            "success" | "valid" | "done" => Self::Success,
            "failed" => Self::Failed,
            _ => return None,
        })
    }

    /// Whether it will not change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// What is said about a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How far it has come.
    pub status: RegistrationStatus,
    /// Its name.
    pub id: Option<String>,
    /// When it was made.
    pub creation_date: Option<UnixTime>,
    /// For how long certificates are renewed, in seconds.
    pub duration: Option<u64>,
    /// How long each is valid, in seconds.
    pub certificate_lifetime: Option<u64>,
    /// Where the certificate of the moment is, when there is one.
    pub certificates: Option<String>,
    /// Why there will be none.
    pub reason: Option<String>,
}

impl Progress {
    /// This far.
    pub const fn new(status: RegistrationStatus) -> Self {
        Self {
            status,
            id: None,
            creation_date: None,
            duration: None,
            certificate_lifetime: None,
            certificates: None,
            reason: None,
        }
    }

    /// Reads what a name owner says.
    ///
    /// # Errors
    /// When the status is none, or it is success without a URL.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "registration", limits)?;
        let word = members.required_text("status")?;
        let status = RegistrationStatus::from_word(&word);
        let status = status.ok_or_else(|| {
            members.error("status", DecodeErrorKind::Expected("new, pending, success, failed, or what drafts call so"))
        })?;
        let days = members.integer("lifetime")?.map(|days| days.saturating_mul(DAY));
        let progress = Self {
            status,
            id: members.text("id")?,
            creation_date: members.time("creation-date")?,
            duration: members.integer("duration")?.or(days),
            certificate_lifetime: members.integer("certificate-lifetime")?,
            certificates: members.url("certificates", limits)?,
            reason: members.text("reason")?,
        };
        if status == RegistrationStatus::Success && progress.certificates.is_none() {
            return Err(members.missing("certificates"));
        }
        Ok(progress)
    }

    /// What is said, in the words of star-request-02.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        put(&mut object, "id", self.id.as_deref());
        put(&mut object, "certificate-lifetime", self.certificate_lifetime);
        put(&mut object, "creation-date", self.creation_date.map(format_rfc3339));
        put(&mut object, "duration", self.duration);
        object.insert("status", self.status.as_str());
        if self.status == RegistrationStatus::Success {
            // In days, rounded up, as the draft's example has it.
            put(&mut object, "lifetime", self.duration.map(|secs| secs.div_ceil(DAY)));
        }
        put(&mut object, "certificates", self.certificates.as_deref());
        put(&mut object, "reason", self.reason.as_deref());
        json::encode(&object)
    }
}

/// The body of a request of draft-sheffer-lurk-cert-delegation-00 section 3: a password for the PKCS #12 file that is
/// asked for. `random` must be just that: the file has a private key.
pub fn delegation_00_request(random: &[u8; 16]) -> Vec<u8> {
    let mut object = Object::new();
    object.insert("password", random.iter().map(|octet| format!("{octet:02x}")).collect::<String>());
    json::encode(&object)
}
