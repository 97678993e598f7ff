//! What a name owner's server keeps over a restart, as records.

use std::sync::Arc;

use jsonbcd::Object;

use super::store::{Entry, ServedChain, Work};
use super::{Ido, IdoConfig};
use crate::acme::client::{ClientConfig, ClientError};
use crate::acme::server::OrderId;
use crate::acme::server::id::{AccountId, Id};
use crate::acme::server::records::{
    encode_star, octets, optional_id, read_auto_renewal, read_problem, read_star, required_id,
};
use crate::acme::{Identifier, OrderStatus, Problem};
use crate::base64url;
use crate::certificate::{decode_chain, encode_chain};
use crate::crypto::{Signer, Verifier};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{self, Members, put};
use crate::now::Now;
use crate::record::{LIMITS, Record};
use crate::time::format_rfc3339;

/// The record about the CA.
const UPSTREAM: &str = "upstream";

impl Ido {
    /// A server as it was when it gave these records, in any order. It goes on with every order from where it stood.
    ///
    /// # Errors
    /// When a record is none of ours, with its name; and as [`new`](Self::new).
    pub fn restore(
        config: Arc<IdoConfig>,
        upstream: Arc<ClientConfig>,
        key: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
        now: Now,
        records: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, ClientError> {
        let mut ido = Self::bare(config, upstream, key, verifier, seed)?;
        for (name, value) in records {
            match name.split_once('/') {
                Some(("acct", id)) => ido.desk.restore_account(id, &value)?,
                Some(("order", id)) => {
                    let order = read_order(Members::decode(&value, &name, &LIMITS)?)?;
                    ido.enter(OrderId(Id::from_record(id, &*name)?), order);
                }
                None if name == UPSTREAM => {
                    let mut members = Members::decode(&value, &name, &LIMITS)?;
                    let account = members.required_text("account")?;
                    // One of another CA, or made with another key, is of no use here.
                    let is_same = members.text("directory")?.as_deref() == Some(ido.client.config().directory())
                        && members.text("key")? == Some(ido.client.signer().public_key().thumbprint_text());
                    if is_same {
                        ido.upstream_kept = Some(account.clone());
                        ido.client = ido.client.with_account(account);
                    }
                }
                _ => return Err(DecodeErrorKind::Expected("a record of a name owner's server").at(name).into()),
            }
        }
        // Accounts may have come behind their orders.
        let orders: Vec<(OrderId, AccountId)> =
            ido.store.orders.iter().map(|(id, order)| (*id, order.account)).collect();
        ido.want_account(now);
        for (id, account) in orders {
            ido.desk.opened(&account, &id);
            ido.work(now, &id);
        }
        Ok(ido)
    }

    fn enter(&mut self, id: OrderId, order: Entry) {
        self.store.handles.extend(order.handle.map(|handle| (handle, id)));
        self.store.orders.restore(id, Box::new(order));
    }

    pub(super) fn changed_records(&mut self) -> Vec<Record> {
        let mut records = self.desk.take_records();
        for id in self.store.orders.take_changed() {
            let value = self.store.orders.get(&id).map(|order| encode_order(order));
            records.push(Record { name: format!("order/{id}"), value });
        }
        if self.client.account() != self.upstream_kept.as_deref()
            && let Some(account) = self.client.account()
        {
            self.upstream_kept = Some(account.to_owned());
            let mut object = Object::new();
            object.insert("account", account);
            object.insert("directory", self.client.config().directory());
            object.insert("key", self.client.signer().public_key().thumbprint_text());
            records.push(Record { name: UPSTREAM.to_owned(), value: Some(json::encode(&object)) });
        }
        records
    }
}

fn encode_order(order: &Entry) -> Vec<u8> {
    let mut object = Object::new();
    object.insert("account", order.account.to_string());
    object.insert("delegation", order.delegation.as_str());
    object.insert("status", order.status.as_str());
    object.insert("expires", format_rfc3339(order.expires));
    object.insert("identifiers", Identifier::write_all(&order.identifiers));
    put(&mut object, "notBefore", order.validity.0.map(format_rfc3339));
    put(&mut object, "notAfter", order.validity.1.map(format_rfc3339));
    put(&mut object, "auto-renewal", order.auto_renewal.map(|agreed| agreed.to_object()));
    put(&mut object, "allow-certificate-get", order.certificate_get);
    object.insert("hops", order.hops);
    put(&mut object, "csr", order.csr.as_deref().map(base64url::encode));
    put(&mut object, "error", order.error.as_ref().map(Problem::to_object));
    put(&mut object, "upstream", order.upstream.as_deref());
    put(&mut object, "certificate", order.certificate.as_deref());
    put(&mut object, "handle", order.handle.map(|handle| handle.to_string()));
    if let Some(served) = &order.served {
        let mut inner = Object::new();
        let pem = encode_chain(served.chain.iter().map(Vec::as_slice));
        inner.insert("chain", String::from_utf8_lossy(&pem).into_owned());
        inner.insert("not-before", format_rfc3339(served.not_before));
        inner.insert("not-after", format_rfc3339(served.not_after));
        object.insert("served", inner);
    }
    let superseded: Vec<String> = order.superseded.iter().map(base64url::encode).collect();
    put(&mut object, "superseded", (!superseded.is_empty()).then(|| json::texts(&superseded)));
    put(&mut object, "emulated", order.emulated.as_ref().map(encode_star));
    put(&mut object, "look-at", order.look_at.map(format_rfc3339));
    object.insert("stopping", order.stopping);
    object.insert("revoking", order.revoking);
    object.insert("discarding", order.discarding);
    json::encode(&object)
}

fn read_order(mut members: Members) -> Result<Entry, DecodeError> {
    let served = members.members("served")?.map(read_served).transpose()?;
    let superseded =
        members.texts("superseded")?.unwrap_or_default().iter().map(base64url::decode).collect::<Option<_>>();
    let superseded = superseded.ok_or_else(|| members.error("superseded", DecodeErrorKind::Base64))?;
    Ok(Entry {
        account: AccountId(required_id(&mut members, "account")?),
        delegation: members.required_text("delegation")?,
        status: OrderStatus::read(&mut members, "status")?,
        expires: members.time("expires")?.ok_or_else(|| members.missing("expires"))?,
        identifiers: Identifier::read_all(&mut members, &LIMITS)?,
        validity: (members.time("notBefore")?, members.time("notAfter")?),
        auto_renewal: read_auto_renewal(&mut members)?,
        certificate_get: members.boolean("allow-certificate-get")?,
        hops: members.integer("hops")?.unwrap_or(0),
        csr: octets(&mut members, "csr")?.map(Into::into),
        error: read_problem(&mut members)?,
        upstream: members.text("upstream")?,
        certificate: members.text("certificate")?,
        handle: optional_id(&mut members, "handle")?,
        served,
        superseded,
        recalled: None,
        emulated: members.members("emulated")?.map(read_star).transpose()?,
        stopping: members.boolean("stopping")?.unwrap_or(false),
        revoking: members.boolean("revoking")?.unwrap_or(false),
        discarding: members.boolean("discarding")?.unwrap_or(false),
        work: Work::Nothing,
        retry_at: None,
        attempts: 0,
        roll: None,
        look_at: members.time("look-at")?,
        gap_said: false,
        ask_at: None,
        issued_at: None,
        no_replaces: false,
    })
}

fn read_served(mut members: Members) -> Result<ServedChain, DecodeError> {
    let pem = members.required_text("chain")?;
    let mut time = |name: &str| members.time(name)?.ok_or_else(|| members.missing(name));
    let (not_before, not_after) = (time("not-before")?, time("not-after")?);
    Ok(ServedChain { chain: decode_chain(pem.as_bytes(), &LIMITS)?, not_before, not_after })
}
