//! Problem documents. [RFC 8555 section 6.7](https://www.rfc-editor.org/rfc/rfc8555#section-6.7),
//! [RFC 8739 section 6.5](https://www.rfc-editor.org/rfc/rfc8739#section-6.5),
//! [RFC 9115 section 6.5](https://www.rfc-editor.org/rfc/rfc9115#section-6.5)

use std::fmt;

use jsonbcd::{Object, Value};

use super::identifier::Identifier;
use crate::crypto::{KeyError, VerifyError};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::jose::{Algorithm, JwsError};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::template::Report;

const PREFIX: &str = "urn:ietf:params:acme:error:";

macro_rules! types {
    ($($(#[$doc:meta])* $variant:ident = $word:literal $status:literal,)*) => {
        /// A type of problem.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemType {
            $(#[doc = concat!("`", $word, "`")] $(#[$doc])* $variant,)*
            /// Another, by its URI.
            Other(String),
        }

        impl ProblemType {
            /// The type of this URI. `malformedRequest`, which RFC 8739 says and nobody registered, is `malformed`.
            pub fn from_uri(uri: &str) -> Self {
                match uri.strip_prefix(PREFIX) {
                    $(Some($word) => Self::$variant,)*
                    Some("malformedRequest") => Self::Malformed,
                    _ => Self::Other(uri.to_owned()),
                }
            }

            /// Its URI.
            pub fn uri(&self) -> String {
                match self {
                    $(Self::$variant => format!("{PREFIX}{}", $word),)*
                    Self::Other(uri) => uri.clone(),
                }
            }

            /// The status that belongs to it.
            pub const fn status(&self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Other(_) => 500,
                }
            }
        }
    };
}

types! {
    AccountDoesNotExist = "accountDoesNotExist" 400,
    AlreadyReplaced = "alreadyReplaced" 409,
    AlreadyRevoked = "alreadyRevoked" 400,
    AutoRenewalCanceled = "autoRenewalCanceled" 403,
    AutoRenewalCancellationInvalid = "autoRenewalCancellationInvalid" 400,
    AutoRenewalExpired = "autoRenewalExpired" 403,
    AutoRenewalRevocationNotSupported = "autoRenewalRevocationNotSupported" 403,
    BadCsr = "badCSR" 400,
    BadNonce = "badNonce" 400,
    BadPublicKey = "badPublicKey" 400,
    BadRevocationReason = "badRevocationReason" 400,
    BadSignatureAlgorithm = "badSignatureAlgorithm" 400,
    Caa = "caa" 403,
    Compound = "compound" 400,
    Connection = "connection" 400,
    Dns = "dns" 400,
    ExternalAccountRequired = "externalAccountRequired" 403,
    IncorrectResponse = "incorrectResponse" 403,
    InvalidContact = "invalidContact" 400,
    Malformed = "malformed" 400,
    OrderNotReady = "orderNotReady" 403,
    RateLimited = "rateLimited" 429,
    RejectedIdentifier = "rejectedIdentifier" 403,
    ServerInternal = "serverInternal" 500,
    Tls = "tls" 400,
    Unauthorized = "unauthorized" 403,
    UnknownDelegation = "unknownDelegation" 403,
    UnsupportedContact = "unsupportedContact" 400,
    UnsupportedIdentifier = "unsupportedIdentifier" 400,
    UserActionRequired = "userActionRequired" 403,
}

impl fmt::Display for ProblemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.uri();
        f.write_str(uri.strip_prefix(PREFIX).unwrap_or(&uri))
    }
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
#[non_exhaustive]
pub struct Problem {
    /// Its type.
    pub kind: ProblemType,
    /// The status of the response, if it differs from that of the type or was said.
    pub status: Option<u16>,
    /// What happened, for humans.
    pub detail: String,
    /// The problems with single identifiers that it is made of.
    pub subproblems: Vec<Subproblem>,
    /// The algorithms that the server takes, with `badSignatureAlgorithm`.
    pub algorithms: Box<[String]>,
    /// Members that are not known here.
    pub others: Object,
}

/// A problem with one identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subproblem {
    /// Its type.
    pub kind: ProblemType,
    /// What happened, for humans.
    pub detail: String,
    /// The identifier.
    pub identifier: Option<Identifier>,
}

impl Problem {
    /// A problem of this type.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let (subproblems, algorithms) = (Vec::new(), Box::default());
        Self { kind, status: None, detail: detail.into(), subproblems, algorithms, others: Object::new() }
    }

    /// The same with another status than that of the type.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same with a problem of one identifier.
    #[must_use]
    pub fn with_subproblem(mut self, kind: ProblemType, detail: impl Into<String>, identifier: Identifier) -> Self {
        self.subproblems.push(Subproblem { kind, detail: detail.into(), identifier: Some(identifier) });
        self
    }

    /// The status of the response that carries it.
    pub fn http_status(&self) -> u16 {
        self.status.unwrap_or_else(|| self.kind.status())
    }

    /// Reads a problem document.
    ///
    /// # Errors
    /// When it is no JSON object, or a known member is of the wrong type. Without type it is `about:blank`.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        Self::from_members(Members::decode(body, "problem", limits)?)
    }

    /// Reads a problem that stands in another document, at that place.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn from_value(value: Value, place: &str) -> Result<Self, DecodeError> {
        Self::from_members(Members::of(value, place)?)
    }

    fn from_members(mut members: Members) -> Result<Self, DecodeError> {
        let (kind, detail) = kind_and_detail(&mut members)?;
        let status = members.integer("status")?;
        let range = DecodeErrorKind::Expected("a status of HTTP");
        let status = status.map(|status| u16::try_from(status).ok().filter(|status| (100..600).contains(status)));
        let status = status.map(|status| status.ok_or_else(|| members.error("status", range))).transpose()?;
        let algorithms = members.texts("algorithms")?.unwrap_or_default().into();
        let mut subproblems = Vec::new();
        let place = members.place("subproblems");
        for (at, value) in members.array("subproblems")?.unwrap_or_default().into_iter().enumerate() {
            let mut members = Members::of(value, format!("{place}[{at}]"))?;
            let (kind, detail) = kind_and_detail(&mut members)?;
            let place = members.place("identifier");
            let identifier = members.take("identifier").map(|value| Identifier::from_value(value, &place));
            subproblems.push(Subproblem { kind, detail, identifier: identifier.transpose()? });
        }
        Ok(Self { kind, status, detail, subproblems, algorithms, others: members.rest() })
    }

    /// The document.
    pub fn encode(&self) -> Vec<u8> {
        json::encode(&self.to_object())
    }

    /// The problem as it stands in another document.
    pub fn to_object(&self) -> Object {
        let mut object = Object::new();
        object.insert("type", self.kind.uri());
        object.insert("detail", self.detail.as_str());
        object.insert("status", self.http_status());
        let algorithms = (!self.algorithms.is_empty()).then(|| json::texts(self.algorithms.iter()));
        put(&mut object, "algorithms", algorithms);
        let subproblems: Vec<Value> =
            self.subproblems.iter().map(|problem| Value::Object(problem.to_object())).collect();
        put(&mut object, "subproblems", (!subproblems.is_empty()).then_some(subproblems));
        for (name, value) in self.others.iter() {
            // An identifier stands in subproblems alone (section 6.7.1).
            if name != "identifier" && object.get(name).is_none() {
                object.insert(name, value.clone());
            }
        }
        object
    }
}

impl Subproblem {
    fn to_object(&self) -> Object {
        let mut object = Object::new();
        object.insert("type", self.kind.uri());
        object.insert("detail", self.detail.as_str());
        put(
            &mut object,
            "identifier",
            self.identifier.as_ref().map(|identifier| Value::Object(identifier.to_object())),
        );
        object
    }
}

fn kind_and_detail(members: &mut Members) -> Result<(ProblemType, String), DecodeError> {
    let kind = members.text("type")?.unwrap_or_else(|| "about:blank".to_owned());
    Ok((ProblemType::from_uri(&kind), members.text("detail")?.unwrap_or_default()))
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self::new(ProblemType::Malformed, error.to_string())
    }
}

impl From<JwsError> for Problem {
    fn from(error: JwsError) -> Self {
        let detail = error.to_string();
        match error {
            JwsError::Malformed(_) => Self::new(ProblemType::Malformed, detail),
            JwsError::UnsupportedAlgorithm(_) => {
                let mut problem = Self::new(ProblemType::BadSignatureAlgorithm, detail);
                problem.algorithms = Algorithm::ALL.into_iter().map(|algorithm| algorithm.name().to_owned()).collect();
                problem
            }
            JwsError::Key(error) => Self::from(error),
            JwsError::Signature(VerifyError::Unsupported | VerifyError::KeyMismatch) => {
                Self::new(ProblemType::BadSignatureAlgorithm, detail)
            }
            JwsError::Signature(_) => Self::new(ProblemType::Malformed, detail),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Self::new(ProblemType::BadPublicKey, error.to_string())
    }
}

/// What an IdO answers when a request does not fit its template: 403, whatever the type
/// ([RFC 9115 section 2.3.2](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.2)).
impl From<Report> for Problem {
    fn from(report: Report) -> Self {
        let kind = if report.is_about_identifiers() { ProblemType::RejectedIdentifier } else { ProblemType::BadCsr };
        let mut problem = Self::new(kind, report.to_string()).with_status(403);
        for violation in &report.violations {
            if let Some(identifier) = violation.identifier.as_deref().and_then(Identifier::dns) {
                problem = problem.with_subproblem(ProblemType::RejectedIdentifier, violation.to_string(), identifier);
            }
        }
        problem
    }
}
