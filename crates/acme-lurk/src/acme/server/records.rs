//! What a CA keeps over a restart, as records.

use std::sync::Arc;

use jsonbcd::{Object, Value};
use watchfire_core::UnixTime;

use super::desk::{AccountEntry, AccountId, Desk};
use super::event::{CaEvent, ChallengeId, OrderId};
use super::store::{AuthorizationEntry, IssuedEntry, OrderEntry, SingleEntry};
use super::{Ca, CaConfig};
use crate::acme::challenge::key_authorization;
use crate::acme::{AccountStatus, AuthorizationStatus, Challenge, ChallengeStatus, Identifier, OrderStatus, Problem};
use crate::base64url;
use crate::crypto::{PublicKey, Verifier};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{self, Members, put};
use crate::record::{LIMITS, Record};
use crate::star::{AutoRenewal, Schedule, StarOrder, StarSnapshot};
use crate::time::format_rfc3339;

impl Ca {
    /// What has changed since this was called last. Keep it before anything is sent that was said since.
    #[must_use = "what is not kept is lost"]
    pub fn take_records(&mut self) -> Vec<Record> {
        let mut records = self.desk.take_records();
        for id in self.store.orders.take_changed() {
            let value = self.store.orders.get(&id).map(|order| self.encode_order(order));
            records.push(Record { name: format!("order/{id}"), value });
        }
        for serial in self.store.issued.take_changed() {
            let value = self.store.issued.get(&serial).map(|entry| encode_issued(entry));
            records.push(Record { name: format!("cert/{}", base64url::encode(&serial)), value });
        }
        records
    }

    /// A CA as it was when it gave these records, in any order. It goes on from there at once: look for events.
    ///
    /// # Errors
    /// When a record is none of ours, with its name.
    pub fn restore(
        config: Arc<CaConfig>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
        now: UnixTime,
        records: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, DecodeError> {
        let mut ca = Self::new(config, verifier, seed);
        let mut orders = Vec::new();
        for (name, value) in records {
            match name.split_once('/') {
                Some(("acct", id)) => ca.desk.restore_account(id, &value)?,
                Some(("order", id)) => orders.push((OrderId(id.into()), value)),
                Some(("cert", serial)) => {
                    let serial = base64url::decode(serial).ok_or_else(|| DecodeErrorKind::Base64.at(&*name))?;
                    let entry = read_issued(Members::decode(&value, &name, &LIMITS)?)?;
                    ca.store.restore_issued(serial.into(), entry);
                }
                _ => return Err(DecodeErrorKind::Expected("a record of a CA").at(name)),
            }
        }
        for (id, value) in orders {
            let members = Members::decode(&value, &format!("order/{id}"), &LIMITS)?;
            ca.restore_order(now, id, members)?;
        }
        ca.handle_timeout(now);
        Ok(ca)
    }

    fn encode_order(&self, order: &OrderEntry) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("account", &*order.account.0);
        object.insert("status", order.status.as_str());
        object.insert("expires", format_rfc3339(order.expires));
        object.insert("identifiers", Identifier::write_all(&order.identifiers));
        put(&mut object, "notBefore", order.validity.0.map(format_rfc3339));
        put(&mut object, "notAfter", order.validity.1.map(format_rfc3339));
        put(&mut object, "auto-renewal", order.auto_renewal.map(|agreed| agreed.to_object()));
        put(&mut object, "allow-certificate-get", order.certificate_get);
        put(&mut object, "error", order.error.as_deref().map(Problem::to_object));
        put(&mut object, "csr", order.csr.as_deref().map(base64url::encode));
        put(&mut object, "certificate", order.certificate.as_deref());
        put(&mut object, "leaf", order.leaf.as_deref().map(base64url::encode));
        if let Some((index, not_before, not_after)) = order.awaited {
            let mut awaited = Object::new();
            awaited.insert("index", index);
            awaited.insert("not-before", format_rfc3339(not_before));
            awaited.insert("not-after", format_rfc3339(not_after));
            object.insert("awaited", awaited);
        }
        if let Some((star, _)) = order.star.and_then(|id| self.store.book.get(id)) {
            object.insert("star", encode_star(star));
        }
        let authorizations = order.authorizations.iter().filter_map(|id| {
            let entry = self.store.authorizations.get(id)?;
            Some(Value::Object(encode_authorization(id, entry)))
        });
        object.insert("authorizations", Value::Array(authorizations.collect()));
        json::encode(&object)
    }

    fn restore_order(&mut self, now: UnixTime, id: OrderId, mut members: Members) -> Result<(), DecodeError> {
        let status = OrderStatus::read(&mut members, "status")?;
        let account = AccountId(members.required_text("account")?.into());
        let mut authorizations: Vec<Arc<str>> = Vec::new();
        let place = members.place("authorizations");
        for value in members.array("authorizations")?.unwrap_or_default() {
            let mut members = Members::of(value, place.as_str())?;
            let authorization: Arc<str> = members.required_text("id")?.into();
            let entry = self.read_authorization(&authorization, id.clone(), members)?;
            self.look_again(&account, &entry);
            self.store.authorizations.insert(authorization.clone(), Box::new(entry));
            authorizations.push(authorization);
        }
        let star = members.members("star")?.map(read_star).transpose()?;
        let star = star.and_then(|order| self.store.book.insert(order, id.clone()).ok());
        let awaited = members.members("awaited")?.map(|mut awaited| -> Result<_, DecodeError> {
            let mut time = |name: &str| awaited.time(name)?.ok_or_else(|| awaited.missing(name));
            let (not_before, not_after) = (time("not-before")?, time("not-after")?);
            Ok((awaited.integer("index")?.unwrap_or(0), not_before, not_after))
        });
        let order = OrderEntry {
            account,
            status,
            expires: members.time("expires")?.ok_or_else(|| members.missing("expires"))?,
            identifiers: Identifier::read_all(&mut members, &LIMITS)?,
            validity: (members.time("notBefore")?, members.time("notAfter")?),
            authorizations,
            auto_renewal: read_auto_renewal(&mut members)?,
            certificate_get: members.boolean("allow-certificate-get")?,
            error: read_problem(&mut members)?.map(Box::new),
            csr: octets(&mut members, "csr")?.map(Into::into),
            star,
            certificate: members.text("certificate")?.map(Into::into),
            leaf: octets(&mut members, "leaf")?.map(Into::into),
            awaited: awaited.transpose()?,
        };
        if let Some(certificate) = &order.certificate {
            self.store.certificates.insert(certificate.clone(), id.clone());
        }
        let again = order.awaited.filter(|_| order.star.is_none() && order.status == OrderStatus::Processing);
        self.desk.opened(&order.account, &id);
        self.store.restore_order(id.clone(), order);
        match again {
            Some((index, not_before, not_after)) if not_after > now => {
                self.ask_for(&id, index, not_before, not_after);
            }
            Some((index, ..)) => {
                let detail = "the certificate was not made in time: the server was away";
                let problem = Problem::new(super::ProblemType::ServerInternal, detail);
                self.issue_failed(now, &id, index, problem).expect("this certificate is waited for");
            }
            None => {}
        }
        Ok(())
    }

    fn read_authorization(
        &mut self,
        id: &Arc<str>,
        order: OrderId,
        mut members: Members,
    ) -> Result<AuthorizationEntry, DecodeError> {
        let place = members.place("identifier");
        let identifier = members.take("identifier").ok_or_else(|| members.missing("identifier"))?;
        let identifier = Identifier::from_value(identifier, &place)?;
        let status = AuthorizationStatus::read(&mut members, "status")?;
        let place = members.place("challenges");
        let mut challenges = Vec::new();
        for value in members.array("challenges")?.unwrap_or_default() {
            let mut members = Members::of(value, place.as_str())?;
            let challenge = ChallengeId(members.required_text("id")?.into());
            self.store.challenges.insert(challenge.clone(), id.clone());
            challenges.push((challenge, Challenge::read(members, &LIMITS)?));
        }
        Ok(AuthorizationEntry { order, identifier, status, challenges })
    }

    /// Challenges that were being looked at are looked at again.
    fn look_again(&mut self, account: &AccountId, entry: &AuthorizationEntry) {
        let Some(key) = self.desk.accounts.get(account).map(|account| account.key.clone()) else { return };
        for (id, challenge) in &entry.challenges {
            if challenge.status != ChallengeStatus::Processing || entry.status != AuthorizationStatus::Pending {
                continue;
            }
            let token = challenge.token.clone().unwrap_or_default();
            self.events.push_back(CaEvent::Validate {
                id: id.clone(),
                kind: challenge.kind.clone(),
                identifier: entry.identifier.base(),
                key_authorization: key_authorization(&token, &key),
                token,
            });
        }
    }
}

impl Desk {
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        let changed = self.accounts.take_changed().into_iter();
        let record = |id: AccountId| {
            let value = self.accounts.get(&id).map(|entry| encode_account(entry));
            Record { name: format!("acct/{}", id.0), value }
        };
        changed.map(record).collect()
    }

    pub(crate) fn restore_account(&mut self, id: &str, value: &[u8]) -> Result<(), DecodeError> {
        let mut members = Members::decode(value, &format!("acct/{id}"), &LIMITS)?;
        let key = members.members("key")?.ok_or_else(|| members.missing("key"))?;
        let place = members.place("key");
        let key = PublicKey::from_jwk(&json::encode(&key.rest()), &LIMITS)?;
        let key = key.map_err(|_| DecodeErrorKind::Expected("a public key").at(place))?;
        let id = AccountId(id.into());
        let entry = AccountEntry {
            key,
            status: AccountStatus::read(&mut members, "status")?,
            contact: members.texts("contact")?.unwrap_or_default(),
            terms_agreed: members.boolean("terms-agreed")?.unwrap_or(false),
            orders: std::collections::BTreeSet::new(),
            open: std::collections::BTreeSet::new(),
        };
        self.keys.insert(entry.key.thumbprint(), id.clone());
        self.accounts.restore(id, entry);
        Ok(())
    }
}

fn encode_account(entry: &AccountEntry) -> Vec<u8> {
    let mut object = Object::new();
    let key: Value = jsonbcd::text::from_slice(entry.key.to_jwk().as_bytes()).expect("a JWK of ours is JSON");
    object.insert("key", key);
    object.insert("status", entry.status.as_str());
    object.insert("contact", json::texts(&entry.contact));
    object.insert("terms-agreed", entry.terms_agreed);
    json::encode(&object)
}

fn encode_authorization(id: &str, entry: &AuthorizationEntry) -> Object {
    let mut object = Object::new();
    object.insert("id", id);
    object.insert("identifier", entry.identifier.to_object());
    object.insert("status", entry.status.as_str());
    let challenges = entry.challenges.iter().map(|(id, challenge)| {
        let mut object = challenge.to_object();
        object.insert("id", id.to_string());
        Value::Object(object)
    });
    object.insert("challenges", Value::Array(challenges.collect()));
    object
}

fn encode_issued(entry: &IssuedEntry) -> Vec<u8> {
    let mut object = Object::new();
    object.insert("order", entry.order.to_string());
    object.insert("not-after", format_rfc3339(entry.not_after));
    object.insert("star", entry.single.is_none());
    if let Some(single) = &entry.single {
        object.insert("fingerprint", base64url::encode(single.fingerprint));
        object.insert("not-before", format_rfc3339(single.not_before));
        object.insert("revoked", single.revoked);
    }
    json::encode(&object)
}

fn read_issued(mut members: Members) -> Result<IssuedEntry, DecodeError> {
    let order = OrderId(members.required_text("order")?.into());
    let mut time = |name: &str| members.time(name)?.ok_or_else(|| members.missing(name));
    let not_after = time("not-after")?;
    if members.boolean("star")?.unwrap_or(false) {
        return Ok(IssuedEntry { order, not_after, single: None });
    }
    let mut time = |name: &str| members.time(name)?.ok_or_else(|| members.missing(name));
    let not_before = time("not-before")?;
    let fingerprint = octets(&mut members, "fingerprint")?.and_then(|octets| octets.try_into().ok());
    let fingerprint = fingerprint.ok_or_else(|| members.missing("fingerprint"))?;
    let revoked = members.boolean("revoked")?.unwrap_or(false);
    Ok(IssuedEntry { order, not_after, single: Some(Box::new(SingleEntry { fingerprint, not_before, revoked })) })
}

/// An order of a book, with its schedule.
pub(crate) fn encode_star(order: &StarOrder) -> Object {
    let snapshot = order.snapshot();
    let mut object = order.schedule().to_object();
    put(&mut object, "current", snapshot.current);
    object.insert("canceled", snapshot.canceled);
    object.insert("latest", format_rfc3339(snapshot.latest));
    object
}

pub(crate) fn read_star(mut members: Members) -> Result<StarOrder, DecodeError> {
    let schedule = Schedule::read(&mut members)?;
    let latest = members.time("latest")?.ok_or_else(|| members.missing("latest"))?;
    let canceled = members.boolean("canceled")?.unwrap_or(false);
    Ok(StarOrder::restore(schedule, StarSnapshot { current: members.integer("current")?, canceled, latest }))
}

pub(crate) fn octets(members: &mut Members, name: &str) -> Result<Option<Vec<u8>>, DecodeError> {
    let Some(text) = members.text(name)? else { return Ok(None) };
    base64url::decode(text).map(Some).ok_or_else(|| members.error(name, DecodeErrorKind::Base64))
}

pub(crate) fn read_auto_renewal(members: &mut Members) -> Result<Option<AutoRenewal>, DecodeError> {
    let place = members.place("auto-renewal");
    members.take("auto-renewal").map(|value| AutoRenewal::from_value(value, &place)).transpose()
}

pub(crate) fn read_problem(members: &mut Members) -> Result<Option<Problem>, DecodeError> {
    let place = members.place("error");
    members.take("error").map(|value| Problem::from_value(value, &place)).transpose()
}
