//! Certificates fetched, revoked and asked about.
//! [RFC 8555 sections 7.4.2](https://www.rfc-editor.org/rfc/rfc8555#section-7.4.2),
//! [7.6](https://www.rfc-editor.org/rfc/rfc8555#section-7.6),
//! [RFC 8739 sections 3.3, 3.4](https://www.rfc-editor.org/rfc/rfc8739#section-3.3),
//! [RFC 9115 section 2.3.5](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.5),
//! [RFC 9773](https://www.rfc-editor.org/rfc/rfc9773)

use sha2::{Digest as _, Sha256};
use watchfire_core::UnixTime;

use super::accounts::must_be_get;
use super::desk::Signer;
use super::event::CaEvent;
use super::http::{Request, Response, ResponseExt as _};
use super::id::{AccountId, Id, OrderId};
use super::issued::{IssuedEntry, Serial};
use super::store::OrderEntry;
use super::{Ca, Problem, ProblemType, not_found};
use crate::acme::renewal::{RenewalInfo, certificate_id};
use crate::base64url;
use crate::certificate::{Certificate, encode_chain};
use crate::error::DecodeErrorKind;
use crate::json::Members;
use crate::star::{CertificateHeaders, Served, cache_max_age, etag, is_not_modified};

pub(crate) type Asker<'a> = Option<(&'a AccountId, &'a [u8])>;

impl Ca {
    /// A certificate that is not renewed automatically.
    pub(super) fn certificate(
        &mut self,
        now: UnixTime,
        id: &str,
        asker: Asker<'_>,
        request: &Request<'_>,
    ) -> Result<Response, Problem> {
        let (_, order) = self.order_behind(id, asker, |order| order.star.is_none())?;
        may_get(asker, order.certificate_get)?;
        let leaf = order.leaf().ok_or_else(none_yet)?;
        let end = Certificate::decode(&leaf, &self.config.messages)?.not_after();
        let max_age = u64::try_from(end.as_secs().saturating_sub(now.as_secs())).unwrap_or(0);
        Ok(self.chain(&leaf, request, max_age))
    }

    /// The certificate of this moment of an order that is renewed automatically.
    pub(super) fn star_certificate(
        &mut self,
        now: UnixTime,
        id: &str,
        asker: Asker<'_>,
        request: &Request<'_>,
    ) -> Result<Response, Problem> {
        let (_, order) = self.order_behind(id, asker, |order| order.star.is_some())?;
        may_get(asker, order.auto_renewal.and_then(|agreed| agreed.allow_certificate_get))?;
        let star = order.star.ok_or_else(|| not_found("there is no such certificate"))?;
        let served = self.store.book.serve(now, star).map(|(served, _)| served);
        let slot = match served {
            Some(Served::Certificate(slot)) => slot,
            Some(Served::Canceled) => {
                return Err(Problem::new(ProblemType::AutoRenewalCanceled, "the order was canceled"));
            }
            Some(Served::Expired) => {
                return Err(Problem::new(ProblemType::AutoRenewalExpired, "the end date of the order has passed"));
            }
            _ => return Err(Problem::new(ProblemType::OrderNotReady, "there is no certificate yet")),
        };
        let (_, order) = self.order_behind(id, asker, |order| order.star.is_some())?;
        let schedule = self.store.book.get(star).map(|(order, _)| *order.schedule());
        let max_age = schedule.map_or(0, |schedule| cache_max_age(&schedule, &slot, now));
        let leaf = order.leaf().ok_or_else(none_yet)?;
        let mut response = self.chain(&leaf, request, max_age);
        let certificate = Certificate::decode(&leaf, &self.config.messages)?;
        let fields = CertificateHeaders::of(certificate.not_before(), certificate.not_after());
        response.headers.extend(fields.fields());
        Ok(response)
    }

    fn order_behind(
        &self,
        id: &str,
        asker: Asker<'_>,
        is_such: impl Fn(&OrderEntry) -> bool,
    ) -> Result<(OrderId, &OrderEntry), Problem> {
        let missing = || not_found("there is no such certificate");
        let id = Id::from_text(id).and_then(|id| self.store.certificates.get(&id).copied()).ok_or_else(missing)?;
        let order = self.store.orders.get(&id).filter(|order| is_such(order)).ok_or_else(missing)?;
        if asker.is_some_and(|(account, _)| order.account != *account) {
            return Err(missing());
        }
        Ok((id, order))
    }

    fn chain(&self, leaf: &[u8], request: &Request<'_>, max_age: u64) -> Response {
        chain_response(request, leaf, || [&*encode_chain([leaf]), &*self.config.issuers].concat(), max_age)
    }

    /// Revokes a certificate: for the account that has ordered it, or for whoever has its key.
    pub(super) fn revoke(&mut self, now: UnixTime, request: &Request<'_>) -> Result<Response, Problem> {
        let (signer, payload) = self.desk.open(request)?;
        let mut members = Members::decode(&payload, "revokeCert", &self.config.messages)?;
        let text = members.required_text("certificate")?;
        let der = base64url::decode(&text).ok_or_else(|| members.error("certificate", DecodeErrorKind::Base64))?;
        let reason = members.integer("reason")?.unwrap_or(0);
        let certificate = Certificate::decode(&der, &self.config.messages)?;
        let fingerprint: [u8; 32] = Sha256::digest(&der).into();
        let is_it = |entry: &&IssuedEntry| {
            let single = entry.single.as_ref();
            single.is_none_or(|single| single.fingerprint == fingerprint)
        };
        let missing = || not_found("this certificate is not of this CA, or has run out");
        let serial = Serial::new(certificate.serial()).ok_or_else(missing)?;
        let entry = self.store.issued.get(&serial).filter(is_it).ok_or_else(missing)?;
        let owner = self.store.orders.get(&entry.order).map(|order| &order.account);
        let may = match &signer {
            Signer::Account(account) => owner == Some(account),
            Signer::Key(key) => certificate.is_for_key(key),
        };
        if !may {
            let detail = "only the account that has ordered it, or its own key, can revoke a certificate";
            return Err(Problem::new(ProblemType::Unauthorized, detail));
        }
        let Some(single) = &entry.single else {
            let detail = "certificates that are renewed automatically are not revoked: cancel the order";
            return Err(Problem::new(ProblemType::AutoRenewalRevocationNotSupported, detail));
        };
        // The reasons of RFC 5280 section 5.3.1 that a certificate of a server can have: 7 is not used, and 8 is taken back.
        let reason = u8::try_from(reason).ok().filter(|reason| matches!(reason, 0..=6 | 9 | 10));
        let reason =
            reason.ok_or_else(|| Problem::new(ProblemType::BadRevocationReason, "reasons are 0 to 6, 9 and 10"))?;
        if single.revoked || entry.not_after <= now {
            return Err(Problem::new(ProblemType::AlreadyRevoked, "the certificate was revoked before"));
        }
        // Only now: whoever is refused has changed nothing.
        if let Some(single) = self.store.issued.get_mut(&serial).and_then(|entry| entry.single.as_mut()) {
            single.revoked = true;
        }
        self.events.push_back(CaEvent::Revoked { certificate: der, reason });
        Ok(Response::new(200))
    }

    /// When to renew a certificate: at two thirds of its life; now, if it was revoked.
    pub(super) fn renewal_info(&self, now: UnixTime, id: &str) -> Result<Response, Problem> {
        let missing = || not_found("there is no such certificate");
        let (_, serial) = id.split_once('.').ok_or_else(missing)?;
        let serial = base64url::decode(serial).ok_or_else(missing)?;
        let entry = Serial::new(&serial).and_then(|serial| self.store.issued.get(&serial)).ok_or_else(missing)?;
        let single = entry.single.as_ref().ok_or_else(missing)?;
        let leaf = self.store.orders.get(&entry.order).and_then(|order| order.leaf()).ok_or_else(missing)?;
        let certificate = Certificate::decode(&leaf, &self.config.messages)?;
        if certificate_id(&certificate).as_deref() != Some(id) {
            return Err(missing());
        }
        let life = entry.not_after.as_secs().saturating_sub(single.not_before.as_secs()).max(1);
        let start = if single.revoked {
            now.as_secs().saturating_sub(86_400)
        } else {
            single.not_before.as_secs().saturating_add(life / 3 * 2)
        };
        let end = start.saturating_add((life / 20).max(1));
        let info = RenewalInfo::new(UnixTime::from_secs(start), UnixTime::from_secs(end)).ok_or_else(missing)?;
        let hours = (life / 200).clamp(60, 21_600);
        Ok(Response::json(200, info.encode()).with_header("retry-after", hours.to_string()))
    }
}

fn none_yet() -> Problem {
    not_found("there is no certificate yet")
}

/// A chain, or word that it is the one that is known. `leaf` names this version of it.
pub(crate) fn chain_response(
    request: &Request<'_>,
    leaf: &[u8],
    chain: impl FnOnce() -> Vec<u8>,
    max_age: u64,
) -> Response {
    let tag = etag(leaf);
    let is_known = request.method != "POST" && request.if_none_match.is_some_and(|tags| is_not_modified(tags, &tag));
    let mut response = Response::new(if is_known { 304 } else { 200 });
    if !is_known {
        response.body = chain();
        response = response.with_header("content-type", "application/pem-certificate-chain");
    }
    let caching = if request.method == "POST" { "no-store".to_owned() } else { format!("public, max-age={max_age}") };
    response.with_header("etag", tag).with_header("cache-control", caching)
}

/// A POST-as-GET by the owner is always allowed; a GET by anybody if the order says so.
pub(crate) fn may_get(asker: Asker<'_>, allowed: Option<bool>) -> Result<(), Problem> {
    match asker {
        Some((_, payload)) => must_be_get(payload),
        None if allowed == Some(true) => Ok(()),
        None => {
            let problem =
                Problem::new(ProblemType::Malformed, "this certificate is not for GET: POST a signed request");
            Err(problem.with_status(405))
        }
    }
}
