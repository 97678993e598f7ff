//! Authorizations and challenges. [RFC 8555 sections 7.1.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.1.4),
//! [7.1.5](https://www.rfc-editor.org/rfc/rfc8555#section-7.1.5)

use std::fmt;

use jsonbcd::{Object, Value};
use watchfire_core::UnixTime;

use super::challenge::is_token;
use super::identifier::Identifier;
use super::problem::Problem;
use super::words;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::time::format_rfc3339;

words! {
    /// What an authorization is.
    AuthorizationStatus, "pending, valid, invalid, deactivated, expired or revoked", {
        /// A challenge waits to be met.
        Pending = "pending",
        /// A challenge was met.
        Valid = "valid",
        /// A challenge was not met.
        Invalid = "invalid",
        /// The client has given it up.
        Deactivated = "deactivated",
        /// Its time has passed.
        Expired = "expired",
        /// The server has taken it back.
        Revoked = "revoked",
    }
}

words! {
    /// What a challenge is.
    ChallengeStatus, "pending, processing, valid or invalid", {
        /// It waits for the client.
        Pending = "pending",
        /// The server is looking.
        Processing = "processing",
        /// It was met.
        Valid = "valid",
        /// It was not met.
        Invalid = "invalid",
    }
}

/// An authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorization {
    /// For what. Of wildcards the name behind the star.
    pub identifier: Identifier,
    /// What it is.
    pub status: AuthorizationStatus,
    /// Until when it is good.
    pub expires: Option<UnixTime>,
    /// The challenges, any of which will do.
    pub challenges: Vec<Challenge>,
    /// Whether it is for all names one level below the identifier.
    pub wildcard: bool,
    /// Members that are not known here.
    pub others: Object,
}

impl Authorization {
    /// One for an identifier of an order; a star is taken off, and said.
    pub fn new(identifier: &Identifier, status: AuthorizationStatus, challenges: Vec<Challenge>) -> Self {
        let wildcard = identifier.is_wildcard();
        Self { identifier: identifier.base(), status, expires: None, challenges, wildcard, others: Object::new() }
    }

    /// Reads an authorization.
    ///
    /// # Errors
    /// When a member is missing or of the wrong type.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "authorization", limits)?;
        let place = members.place("identifier");
        let identifier = members.take("identifier").ok_or_else(|| members.missing("identifier"))?;
        let identifier = Identifier::from_value(identifier, &place)?;
        let place = members.place("challenges");
        let challenges = members.array("challenges")?.unwrap_or_default().into_iter().enumerate();
        let challenges =
            challenges.map(|(at, value)| Challenge::read(Members::of(value, format!("{place}[{at}]"))?, limits));
        Ok(Self {
            identifier,
            status: AuthorizationStatus::read(&mut members, "status")?,
            expires: members.time("expires")?,
            challenges: challenges.collect::<Result<_, _>>()?,
            wildcard: members.boolean("wildcard")?.unwrap_or(false),
            others: members.rest(),
        })
    }

    /// The authorization as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("identifier", self.identifier.to_object());
        object.insert("status", self.status.as_str());
        put(&mut object, "expires", self.expires.map(format_rfc3339));
        let challenges = self.challenges.iter().map(|challenge| Value::Object(challenge.to_object()));
        object.insert("challenges", Value::Array(challenges.collect()));
        put(&mut object, "wildcard", self.wildcard.then_some(true));
        json::put_others(&mut object, &self.others);
        json::encode(&object)
    }
}

/// A kind of challenge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ChallengeKind {
    /// `http-01`: a file on the web server.
    Http01,
    /// `dns-01`: a record in the DNS.
    Dns01,
    /// `tls-alpn-01`: a certificate in a handshake.
    TlsAlpn01,
    /// Another, by its name.
    Other(String),
}

impl ChallengeKind {
    /// The kind of this name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "http-01" => Self::Http01,
            "dns-01" => Self::Dns01,
            "tls-alpn-01" => Self::TlsAlpn01,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Other(name) => name,
        }
    }

    /// Whether meeting it shows that somebody holds the DNS zone, and not only a server that the name leads to. For
    /// delegated names the server is the delegate's
    /// ([RFC 9115 section 7.4](https://www.rfc-editor.org/rfc/rfc9115#section-7.4)).
    pub fn proves_the_zone(&self) -> bool {
        *self == Self::Dns01
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Challenge {
    /// Its kind.
    pub kind: ChallengeKind,
    /// Where to say that it is met.
    pub url: String,
    /// What it is.
    pub status: ChallengeStatus,
    /// When it was met.
    pub validated: Option<UnixTime>,
    /// Why it was not.
    pub error: Option<Problem>,
    /// The token. The three kinds that are known have one.
    pub token: Option<String>,
    /// Members that are not known here.
    pub others: Object,
}

impl Challenge {
    /// One that waits for the client.
    pub fn new(kind: ChallengeKind, url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            kind,
            url: url.into(),
            status: ChallengeStatus::Pending,
            validated: None,
            error: None,
            token: Some(token.into()),
            others: Object::new(),
        }
    }

    /// Reads a challenge.
    ///
    /// # Errors
    /// When a member is missing or of the wrong type, or the token of a known kind is none.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        Self::read(Members::decode(body, "challenge", limits)?, limits)
    }

    pub(crate) fn read(mut members: Members, limits: &Limits) -> Result<Self, DecodeError> {
        let kind = ChallengeKind::from_name(&members.required_text("type")?);
        let place = members.place("error");
        let error = members.take("error").map(|value| Problem::from_value(value, &place)).transpose()?;
        let token = members.text("token")?;
        if !matches!(kind, ChallengeKind::Other(_)) && !token.as_deref().is_some_and(is_token) {
            let expected = DecodeErrorKind::Expected("base64url of 128 bits or more");
            return Err(members.error("token", expected));
        }
        Ok(Self {
            kind,
            url: members.url("url", limits)?.ok_or_else(|| members.missing("url"))?,
            status: ChallengeStatus::read(&mut members, "status")?,
            validated: members.time("validated")?,
            error,
            token,
            others: members.rest(),
        })
    }

    /// The challenge as JSON.
    pub fn encode(&self) -> Vec<u8> {
        json::encode(&self.to_object())
    }

    pub(crate) fn to_object(&self) -> Object {
        let mut object = Object::new();
        object.insert("type", self.kind.name());
        object.insert("url", self.url.as_str());
        object.insert("status", self.status.as_str());
        put(&mut object, "validated", self.validated.map(format_rfc3339));
        put(&mut object, "error", self.error.as_ref().map(Problem::to_object));
        put(&mut object, "token", self.token.as_deref());
        json::put_others(&mut object, &self.others);
        object
    }
}
