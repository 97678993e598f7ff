//! What a delegate keeps over a restart.

use jsonbcd::{Object, Value};
use watchfire_core::UnixTime;

use crate::base64url;
use crate::crypto::PublicKey;
use crate::csr::{Csr, spki};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::names;
use crate::star::AutoRenewal;
use crate::time::format_rfc3339;

/// All that a delegate knows. Its two keys are kept by whoever has made them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Kept {
    pub(super) account: Option<String>,
    pub(super) delegation: Option<String>,
    pub(super) order: Option<KeptOrder>,
    /// Until when the certificate that is installed is good, of this order or of one before it.
    pub(super) installed: Option<UnixTime>,
    pub(super) etag: Option<String>,
}

/// An order that is pursued, or whose certificates are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptOrder {
    /// None until the server has made it.
    pub(super) url: Option<String>,
    pub(super) csr: Vec<u8>,
    pub(super) auto_renewal: Option<AutoRenewal>,
    /// Where the certificate is, when the order is valid.
    pub(super) certificate: Option<String>,
    /// Whether a certificate of it is installed.
    pub(super) installed: bool,
}

impl Kept {
    /// Forgets an order, and what is installed of it, that is for another key or other names than are wanted now.
    pub(super) fn drop_unless_for(&mut self, key: &PublicKey, names: &[String], limits: &Limits) {
        let Some(order) = &self.order else { return };
        let fits = Csr::decode(&order.csr, limits).is_ok_and(|csr| {
            let mut found: Vec<Option<String>> = csr.dns_names().map(names::normalize).collect();
            let mut wanted: Vec<Option<String>> = names.iter().cloned().map(Some).collect();
            [&mut found, &mut wanted].into_iter().for_each(|list| {
                list.sort_unstable();
                list.dedup();
            });
            csr.spki() == spki(key) && (names.is_empty() || found == wanted)
        });
        if !fits {
            (self.order, self.installed, self.etag) = (None, None, None);
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        put(&mut object, "account", self.account.as_deref());
        put(&mut object, "delegation", self.delegation.as_deref());
        if let Some(order) = &self.order {
            let mut inner = Object::new();
            put(&mut inner, "url", order.url.as_deref());
            inner.insert("csr", base64url::encode(&order.csr));
            put(&mut inner, "auto-renewal", order.auto_renewal.map(|agreed| agreed.to_object()));
            put(&mut inner, "certificate", order.certificate.as_deref());
            inner.insert("installed", order.installed);
            object.insert("order", inner);
        }
        put(&mut object, "installed", self.installed.map(format_rfc3339));
        put(&mut object, "etag", self.etag.as_deref());
        json::encode(&object)
    }

    pub(super) fn decode(octets: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(octets, "snapshot", limits)?;
        let order = members.members("order")?.map(|order| read_order(order, limits)).transpose()?;
        Ok(Self {
            account: members.url("account", limits)?,
            delegation: members.url("delegation", limits)?,
            order,
            installed: members.time("installed")?,
            etag: members.text("etag")?,
        })
    }
}

fn read_order(mut members: Members, limits: &Limits) -> Result<KeptOrder, DecodeError> {
    let csr = members.required_text("csr")?;
    let csr = base64url::decode(csr).ok_or_else(|| members.error("csr", DecodeErrorKind::Base64))?;
    let place = members.place("auto-renewal");
    let auto_renewal = members.take("auto-renewal").map(|value: Value| AutoRenewal::from_value(value, &place));
    Ok(KeptOrder {
        url: members.url("url", limits)?,
        csr,
        auto_renewal: auto_renewal.transpose()?,
        certificate: members.url("certificate", limits)?,
        installed: members.boolean("installed")?.unwrap_or(false),
    })
}
