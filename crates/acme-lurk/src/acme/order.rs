//! Orders. [RFC 8555 sections 7.1.3](https://www.rfc-editor.org/rfc/rfc8555#section-7.1.3),
//! [7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4),
//! [RFC 8739 section 3.1](https://www.rfc-editor.org/rfc/rfc8739#section-3.1),
//! [RFC 9115 section 2.3](https://www.rfc-editor.org/rfc/rfc9115#section-2.3)

use jsonbcd::{Object, Value};
use watchfire_core::UnixTime;

use super::identifier::Identifier;
use super::problem::Problem;
use super::words;
use crate::base64url;
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::star::AutoRenewal;
use crate::time::format_rfc3339;

words! {
    /// What an order is.
    OrderStatus, "pending, ready, processing, valid, invalid or canceled", {
        /// Identifiers wait to be authorized.
        Pending = "pending",
        /// The request for the certificate is waited for.
        Ready = "ready",
        /// The certificate is being made.
        Processing = "processing",
        /// There is a certificate.
        Valid = "valid",
        /// It failed.
        Invalid = "invalid",
        /// It is not renewed any more (RFC 8739).
        Canceled = "canceled",
    }
}

/// An order, as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// What it is.
    pub status: OrderStatus,
    /// Until when the server keeps it.
    pub expires: Option<UnixTime>,
    /// What the certificate is for. The order of the list means nothing.
    pub identifiers: Vec<Identifier>,
    /// The validity that was asked for.
    pub not_before: Option<UnixTime>,
    /// The validity that was asked for.
    pub not_after: Option<UnixTime>,
    /// Why it failed.
    pub error: Option<Problem>,
    /// Where the authorizations are.
    pub authorizations: Vec<String>,
    /// Where the request for the certificate goes.
    pub finalize: String,
    /// Where the certificate is.
    pub certificate: Option<String>,
    /// Where the certificate of this moment is, for those that are renewed automatically (RFC 8739).
    pub star_certificate: Option<String>,
    /// How certificates are renewed (RFC 8739).
    pub auto_renewal: Option<AutoRenewal>,
    /// The delegation that it uses (RFC 9115).
    pub delegation: Option<String>,
    /// Whether everybody may fetch the certificate, of those that are not renewed automatically (RFC 9115).
    pub allow_certificate_get: Option<bool>,
    /// The certificate that it replaces (RFC 9773).
    pub replaces: Option<String>,
    /// Members that are not known here.
    pub others: Object,
}

impl Order {
    /// An order of this status.
    pub const fn new(status: OrderStatus, identifiers: Vec<Identifier>, finalize: String) -> Self {
        Self {
            status,
            expires: None,
            identifiers,
            not_before: None,
            not_after: None,
            error: None,
            authorizations: Vec::new(),
            finalize,
            certificate: None,
            star_certificate: None,
            auto_renewal: None,
            delegation: None,
            allow_certificate_get: None,
            replaces: None,
            others: Object::new(),
        }
    }

    /// Reads an order.
    ///
    /// # Errors
    /// When status, identifiers or finalize are missing, or a member is of the wrong type. `authorizations` may be
    /// missing, because some servers leave an empty list out.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "order", limits)?;
        let place = members.place("error");
        let error = members.take("error").map(|value| Problem::from_value(value, &place)).transpose()?;
        Ok(Self {
            status: OrderStatus::read(&mut members, "status")?,
            expires: members.time("expires")?,
            identifiers: Identifier::read_all(&mut members, limits)?,
            not_before: members.time("notBefore")?,
            not_after: members.time("notAfter")?,
            error,
            authorizations: members.urls("authorizations", limits)?.unwrap_or_default(),
            finalize: members.url("finalize", limits)?.ok_or_else(|| members.missing("finalize"))?,
            certificate: members.url("certificate", limits)?,
            star_certificate: members.url("star-certificate", limits)?,
            auto_renewal: read_auto_renewal(&mut members)?,
            delegation: members.url("delegation", limits)?,
            allow_certificate_get: members.boolean("allow-certificate-get")?,
            replaces: members.text("replaces")?,
            others: members.rest(),
        })
    }

    /// The order as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("status", self.status.as_str());
        put(&mut object, "expires", self.expires.map(format_rfc3339));
        object.insert("identifiers", Identifier::write_all(&self.identifiers));
        put(&mut object, "notBefore", self.not_before.map(format_rfc3339));
        put(&mut object, "notAfter", self.not_after.map(format_rfc3339));
        put(&mut object, "error", self.error.as_ref().map(Problem::to_object));
        put(&mut object, "auto-renewal", self.auto_renewal.map(|star| star.to_object()));
        put(&mut object, "delegation", self.delegation.as_deref());
        put(&mut object, "allow-certificate-get", self.allow_certificate_get);
        object.insert("authorizations", json::texts(&self.authorizations));
        object.insert("finalize", self.finalize.as_str());
        put(&mut object, "certificate", self.certificate.as_deref());
        put(&mut object, "star-certificate", self.star_certificate.as_deref());
        put(&mut object, "replaces", self.replaces.as_deref());
        json::put_others(&mut object, &self.others);
        json::encode(&object)
    }

    /// Whether what may not change did not: identifiers and authorizations, in any order
    /// ([RFC 8555 section 7.1.3](https://www.rfc-editor.org/rfc/rfc8555#section-7.1.3)).
    pub fn is_still(&self, before: &Self) -> bool {
        fn sorted<T: Ord + Clone>(list: &[T]) -> Vec<T> {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        }
        sorted(&self.identifiers) == sorted(&before.identifiers)
            && sorted(&self.authorizations) == sorted(&before.authorizations)
    }
}

/// What newOrder asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewOrder {
    /// What the certificate is for.
    pub identifiers: Vec<Identifier>,
    /// The validity; none for what the server likes.
    pub not_before: Option<UnixTime>,
    /// The validity; none for what the server likes.
    pub not_after: Option<UnixTime>,
    /// How certificates are renewed (RFC 8739).
    pub auto_renewal: Option<AutoRenewal>,
    /// The delegation to use (RFC 9115).
    pub delegation: Option<String>,
    /// Whether everybody may fetch the certificate, of those that are not renewed automatically (RFC 9115).
    pub allow_certificate_get: Option<bool>,
    /// The certificate that it replaces (RFC 9773).
    pub replaces: Option<String>,
    /// The profile of certificates, by a name that the server has (draft-ietf-acme-profiles).
    pub profile: Option<String>,
    /// How many proxies have passed the order on: `delegation-hops`, which is ours, so that orders do not go in circles.
    pub hops: u64,
}

impl NewOrder {
    /// For these identifiers.
    pub const fn new(identifiers: Vec<Identifier>) -> Self {
        Self {
            identifiers,
            not_before: None,
            not_after: None,
            auto_renewal: None,
            delegation: None,
            allow_certificate_get: None,
            replaces: None,
            profile: None,
            hops: 0,
        }
    }

    /// The same, renewed automatically.
    #[must_use]
    pub const fn with_auto_renewal(mut self, auto_renewal: AutoRenewal) -> Self {
        self.auto_renewal = Some(auto_renewal);
        self
    }

    /// The same, under a delegation.
    #[must_use]
    pub fn with_delegation(mut self, url: impl Into<String>) -> Self {
        self.delegation = Some(url.into());
        self
    }

    /// Reads the payload. Members that are not known are passed over.
    ///
    /// # Errors
    /// When there are no identifiers, a member is of the wrong type, or `notBefore` or `notAfter` stand beside
    /// `auto-renewal`.
    pub fn decode(payload: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(payload, "order", limits)?;
        let order = Self {
            identifiers: Identifier::read_all(&mut members, limits)?,
            not_before: members.time("notBefore")?,
            not_after: members.time("notAfter")?,
            auto_renewal: read_auto_renewal(&mut members)?,
            delegation: members.url("delegation", limits)?,
            allow_certificate_get: members.boolean("allow-certificate-get")?,
            replaces: members.text("replaces")?,
            profile: members.text("profile")?,
            hops: members.integer("delegation-hops")?.unwrap_or(0),
        };
        for (name, time) in [("notBefore", order.not_before), ("notAfter", order.not_after)] {
            if time.is_some() && order.auto_renewal.is_some() {
                return Err(members.error(name, DecodeErrorKind::Forbidden("`auto-renewal` has the dates")));
            }
        }
        Ok(order)
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("identifiers", Identifier::write_all(&self.identifiers));
        if self.auto_renewal.is_none() {
            put(&mut object, "notBefore", self.not_before.map(format_rfc3339));
            put(&mut object, "notAfter", self.not_after.map(format_rfc3339));
        }
        put(&mut object, "auto-renewal", self.auto_renewal.map(|star| star.to_object()));
        put(&mut object, "delegation", self.delegation.as_deref());
        put(&mut object, "allow-certificate-get", self.allow_certificate_get);
        put(&mut object, "replaces", self.replaces.as_deref());
        put(&mut object, "profile", self.profile.as_deref());
        put(&mut object, "delegation-hops", (self.hops > 0).then_some(self.hops));
        json::encode(&object)
    }
}

/// What finalize asks for: a certification request, in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "it is this")]
pub struct Finalize {
    /// The request. It is not looked at.
    pub csr: Vec<u8>,
}

impl Finalize {
    /// Reads the payload.
    ///
    /// # Errors
    /// When there is no request, it is too long, or not base64url.
    pub fn decode(payload: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(payload, "finalize", limits)?;
        let text = members.required_text("csr")?;
        if text.len() / 4 > limits.csr / 3 {
            return Err(members.error("csr", DecodeErrorKind::Limit(Limit::Csr(limits.csr))));
        }
        let csr = base64url::decode(&text).ok_or_else(|| members.error("csr", DecodeErrorKind::Base64))?;
        Ok(Self { csr })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("csr", base64url::encode(&self.csr));
        json::encode(&object)
    }
}

fn read_auto_renewal(members: &mut Members) -> Result<Option<AutoRenewal>, DecodeError> {
    let place = members.place("auto-renewal");
    members.take("auto-renewal").map(|value: Value| AutoRenewal::from_value(value, &place)).transpose()
}
