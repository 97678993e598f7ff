//! What a CA keeps over a restart, as records.

use std::sync::Arc;

use jsonbcd::{Object, Value};
use watchfire_core::UnixTime;

use super::desk::{AccountEntry, Desk};
use super::id::{AccountId, ChallengeId, Id, OrderId};
use super::issued::{IssuedEntry, Serial, SingleEntry};
use super::papers::Papers;
use super::store::{Awaited, ChallengeEntry, NameEntry, OrderEntry};
use super::{Ca, CaConfig};
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
            let value = self.store.issued.get(&serial).map(encode_issued);
            records.push(Record { name: format!("cert/{}", base64url::encode(serial.octets())), value });
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
                Some(("order", id)) => orders.push((OrderId(Id::from_record(id, &*name)?), value)),
                Some(("cert", serial)) => {
                    let serial = base64url::decode(serial).ok_or_else(|| DecodeErrorKind::Base64.at(&*name))?;
                    let entry = read_issued(Members::decode(&value, &name, &LIMITS)?)?;
                    let serial = Serial::new(&serial);
                    let serial = serial.ok_or_else(|| DecodeErrorKind::Expected("a serial number").at(&*name))?;
                    ca.store.issued.restore(serial, entry);
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
        object.insert("account", order.account.to_string());
        object.insert("status", order.status.as_str());
        object.insert("expires", format_rfc3339(order.expires));
        object.insert("identifiers", Identifier::write_all(order.names.iter().map(|name| &name.identifier)));
        put(&mut object, "notBefore", order.validity.0.map(format_rfc3339));
        put(&mut object, "notAfter", order.validity.1.map(format_rfc3339));
        put(&mut object, "auto-renewal", order.auto_renewal.map(|agreed| agreed.to_object()));
        put(&mut object, "allow-certificate-get", order.certificate_get);
        put(&mut object, "error", order.error.as_deref().map(Problem::to_object));
        put(&mut object, "csr", order.papers.as_ref().map(|papers| base64url::encode(papers.request())));
        put(&mut object, "certificate", order.certificate.map(|id| id.to_string()));
        put(&mut object, "leaf", order.leaf().map(base64url::encode));
        if let Some(awaited) = order.awaited.as_deref() {
            let mut inner = Object::new();
            inner.insert("index", awaited.index);
            inner.insert("not-before", format_rfc3339(awaited.not_before));
            inner.insert("not-after", format_rfc3339(awaited.not_after));
            object.insert("awaited", inner);
        }
        if let Some((star, _)) = order.star.and_then(|id| self.store.book.get(id)) {
            object.insert("star", encode_star(star));
        }
        let authorizations = order.names.iter().map(|name| Value::Object(self.encode_authorization(name)));
        object.insert("authorizations", Value::Array(authorizations.collect()));
        json::encode(&object)
    }

    fn restore_order(&mut self, now: UnixTime, id: OrderId, mut members: Members) -> Result<(), DecodeError> {
        let status = OrderStatus::read(&mut members, "status")?;
        let account = AccountId(required_id(&mut members, "account")?);
        let place = members.place("authorizations");
        let names = members.array("authorizations")?.unwrap_or_default().into_iter();
        let names = names.map(|value| read_authorization(Members::of(value, place.as_str())?));
        let names = names.collect::<Result<Box<[NameEntry]>, _>>()?;
        for name in &names {
            self.look_again(&account, name);
        }
        let star = members.members("star")?.map(read_star).transpose()?;
        let star = star.map(|order| self.store.book.restore(order, id));
        let awaited = members.members("awaited")?.map(|mut awaited| -> Result<_, DecodeError> {
            let mut time = |name: &str| awaited.time(name)?.ok_or_else(|| awaited.missing(name));
            let (not_before, not_after) = (time("not-before")?, time("not-after")?);
            let index = awaited.integer("index")?.unwrap_or(0);
            Ok(Box::new(Awaited { index, not_before, not_after }))
        });
        let papers = match (octets(&mut members, "csr")?, octets(&mut members, "leaf")?) {
            (Some(request), Some(leaf)) => Some(self.store.press.pack(&request, &leaf)),
            (request, _) => request.as_deref().map(Papers::new),
        };
        let order = OrderEntry {
            account,
            status,
            expires: members.time("expires")?.ok_or_else(|| members.missing("expires"))?,
            names,
            validity: (members.time("notBefore")?, members.time("notAfter")?),
            auto_renewal: read_auto_renewal(&mut members)?,
            certificate_get: members.boolean("allow-certificate-get")?,
            error: read_problem(&mut members)?.map(Box::new),
            papers,
            star,
            certificate: optional_id(&mut members, "certificate")?,
            awaited: awaited.transpose()?,
        };
        let again = order.awaited.as_deref().copied();
        let again = again.filter(|_| order.star.is_none() && order.status == OrderStatus::Processing);
        self.desk.opened(&order.account, &id);
        self.store.restore_order(id, order);
        match again {
            Some(awaited) if awaited.not_after > now => self.ask_for(&id, awaited),
            Some(awaited) => {
                let detail = "the certificate was not made in time: the server was away";
                let problem = Problem::new(super::ProblemType::ServerInternal, detail);
                self.issue_failed(now, &id, awaited.index, problem).expect("this certificate is waited for");
            }
            None => {}
        }
        Ok(())
    }

    fn encode_authorization(&self, name: &NameEntry) -> Object {
        let mut object = Object::new();
        object.insert("id", name.id.to_string());
        object.insert("identifier", name.identifier.to_object());
        object.insert("status", name.status.as_str());
        let challenges = name.challenges.iter().map(|challenge| {
            let mut object = challenge.show(&self.config).to_object();
            object.insert("id", challenge.id.to_string());
            Value::Object(object)
        });
        object.insert("challenges", Value::Array(challenges.collect()));
        object
    }

    /// Challenges that were being looked at are looked at again.
    fn look_again(&mut self, account: &AccountId, name: &NameEntry) {
        let Some(key) = self.desk.accounts.get(account).map(|account| &account.key) else { return };
        if name.status == AuthorizationStatus::Pending {
            let open = name.challenges.iter().filter(|challenge| challenge.status == ChallengeStatus::Processing);
            self.events.extend(open.map(|challenge| challenge.look(&name.identifier, key)));
        }
    }
}

impl Desk {
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        let changed = self.accounts.take_changed().into_iter();
        let record = |id: AccountId| {
            let value = self.accounts.get(&id).map(|entry| encode_account(entry));
            Record { name: format!("acct/{id}"), value }
        };
        changed.map(record).collect()
    }

    pub(crate) fn restore_account(&mut self, id: &str, value: &[u8]) -> Result<(), DecodeError> {
        let mut members = Members::decode(value, &format!("acct/{id}"), &LIMITS)?;
        let key = members.members("key")?.ok_or_else(|| members.missing("key"))?;
        let place = members.place("key");
        let key = PublicKey::from_jwk(&json::encode(&key.rest()), &LIMITS)?;
        let key = key.map_err(|_| DecodeErrorKind::Expected("a public key").at(place))?;
        let id = AccountId(Id::from_record(id, format!("acct/{id}"))?);
        let entry = AccountEntry {
            key,
            status: AccountStatus::read(&mut members, "status")?,
            contact: members.texts("contact")?.unwrap_or_default(),
            terms_agreed: members.boolean("terms-agreed")?.unwrap_or(false),
            orders: std::collections::BTreeSet::new(),
            open: std::collections::BTreeSet::new(),
        };
        self.keys.insert(entry.key.thumbprint(), id);
        self.accounts.restore(id, Box::new(entry));
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

fn read_authorization(mut members: Members) -> Result<NameEntry, DecodeError> {
    let id = required_id(&mut members, "id")?;
    let place = members.place("identifier");
    let identifier = members.take("identifier").ok_or_else(|| members.missing("identifier"))?;
    let identifier = Identifier::from_value(identifier, &place)?;
    let status = AuthorizationStatus::read(&mut members, "status")?;
    let place = members.place("challenges");
    let challenges = members.array("challenges")?.unwrap_or_default().into_iter();
    let challenges = challenges.map(|value| read_challenge(Members::of(value, place.as_str())?));
    Ok(NameEntry { identifier, id, status, challenges: challenges.collect::<Result<_, _>>()? })
}

fn read_challenge(mut members: Members) -> Result<ChallengeEntry, DecodeError> {
    let id = ChallengeId(required_id(&mut members, "id")?);
    let place = members.place("token");
    let challenge = Challenge::read(members, &LIMITS)?;
    Ok(ChallengeEntry {
        id,
        kind: challenge.kind,
        status: challenge.status,
        token: Id::from_record(&challenge.token.unwrap_or_default(), place)?,
        validated: challenge.validated,
        error: challenge.error.map(Box::new),
    })
}

pub(crate) fn required_id(members: &mut Members, name: &str) -> Result<Id, DecodeError> {
    Id::from_record(&members.required_text(name)?, members.place(name))
}

pub(crate) fn optional_id(members: &mut Members, name: &str) -> Result<Option<Id>, DecodeError> {
    members.text(name)?.map(|text| Id::from_record(&text, members.place(name))).transpose()
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
    let order = OrderId(required_id(&mut members, "order")?);
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
