//! Accounts. [RFC 8555 sections 7.1.2](https://www.rfc-editor.org/rfc/rfc8555#section-7.1.2),
//! [7.3](https://www.rfc-editor.org/rfc/rfc8555#section-7.3),
//! [RFC 9115 section 2.3.1.1](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.1.1)

use jsonbcd::{Object, Value};

use super::words;
use crate::error::DecodeError;
use crate::json::{self, Members, put};
use crate::limits::Limits;

words! {
    /// What an account is.
    AccountStatus, "valid, deactivated or revoked", {
        /// It may be used.
        Valid = "valid",
        /// Its owner has given it up.
        Deactivated = "deactivated",
        /// The server has taken it away.
        Revoked = "revoked",
    }
}

/// An account, as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// What it is.
    pub status: AccountStatus,
    /// URIs of who is responsible.
    pub contact: Vec<String>,
    /// Whether the terms of service are agreed to.
    pub terms_of_service_agreed: Option<bool>,
    /// Where its orders are.
    pub orders: Option<String>,
    /// Where its delegations are: the server is an IdO, and the account an NDC's.
    pub delegations: Option<String>,
    /// Members that are not known here.
    pub others: Object,
}

impl Account {
    /// An account that may be used.
    pub const fn new(contact: Vec<String>) -> Self {
        Self {
            status: AccountStatus::Valid,
            contact,
            terms_of_service_agreed: None,
            orders: None,
            delegations: None,
            others: Object::new(),
        }
    }

    /// Reads an account.
    ///
    /// # Errors
    /// When it has no status, or a member is of the wrong type.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "account", limits)?;
        Ok(Self {
            status: AccountStatus::read(&mut members, "status")?,
            contact: members.texts("contact")?.unwrap_or_default(),
            terms_of_service_agreed: members.boolean("termsOfServiceAgreed")?,
            orders: members.url("orders", limits)?,
            delegations: members.url("delegations", limits)?,
            others: members.rest(),
        })
    }

    /// The account as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("status", self.status.as_str());
        put(&mut object, "contact", (!self.contact.is_empty()).then(|| json::texts(&self.contact)));
        put(&mut object, "termsOfServiceAgreed", self.terms_of_service_agreed);
        put(&mut object, "orders", self.orders.as_deref());
        put(&mut object, "delegations", self.delegations.as_deref());
        json::put_others(&mut object, &self.others);
        json::encode(&object)
    }
}

/// What newAccount, and an update of an account, ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NewAccount {
    /// URIs of who is responsible; none for no change.
    pub contact: Option<Vec<String>>,
    /// Whether the terms of service are agreed to.
    pub terms_of_service_agreed: bool,
    /// Only look for an account, do not make one.
    pub only_return_existing: bool,
    /// A JWS that binds the account to another one ([`crate::jose::verify_external_account`]), as JSON.
    pub external_account_binding: Option<Vec<u8>>,
    /// `deactivated` gives the account up. No other change is asked for so.
    pub deactivate: bool,
}

impl NewAccount {
    /// Reads the payload.
    ///
    /// # Errors
    /// When a member is of the wrong type, or a status other than `deactivated` is asked for.
    pub fn decode(payload: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(payload, "account", limits)?;
        let binding = members.members("externalAccountBinding")?.map(|binding| json::encode(&binding.rest()));
        let status = members.text("status")?;
        let deactivate = match status.as_deref() {
            None | Some("valid") => false,
            Some("deactivated") => true,
            Some(_) => return Err(members.error("status", crate::DecodeErrorKind::Expected("deactivated"))),
        };
        Ok(Self {
            contact: members.texts("contact")?,
            terms_of_service_agreed: members.boolean("termsOfServiceAgreed")?.unwrap_or(false),
            only_return_existing: members.boolean("onlyReturnExisting")?.unwrap_or(false),
            external_account_binding: binding,
            deactivate,
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        put(&mut object, "contact", self.contact.as_ref().map(json::texts));
        put(&mut object, "termsOfServiceAgreed", self.terms_of_service_agreed.then_some(true));
        put(&mut object, "onlyReturnExisting", self.only_return_existing.then_some(true));
        let binding = self.external_account_binding.as_deref();
        let binding: Option<Value> = binding.and_then(|binding| jsonbcd::text::from_slice(binding).ok());
        put(&mut object, "externalAccountBinding", binding);
        put(&mut object, "status", self.deactivate.then_some("deactivated"));
        json::encode(&object)
    }
}
