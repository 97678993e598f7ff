//! Accounts. [RFC 8555 section 7.3](https://www.rfc-editor.org/rfc/rfc8555#section-7.3)

use std::collections::BTreeSet;
use std::ops::Bound;

use jsonbcd::Object;

use super::desk::{AccountEntry, Desk, Signer};
use super::http::{Request, Response, ResponseExt as _};
use super::id::{AccountId, OrderId};
use super::{Problem, ProblemType, not_found};
use crate::acme::{Account, AccountStatus, NewAccount};
use crate::crypto::PublicKey;
use crate::error::DecodeErrorKind;
use crate::jose::{Jws, Purpose, verify_external_account};
use crate::json::{self, Members};

/// URLs on a page of a list, and their octets, at most: what clients read without being told to. Ours takes arrays of 256
/// elements and answers of 64 KiB ([`crate::Limits`]).
const PAGE: (usize, usize) = (200, 32 * 1024);

impl Desk {
    /// Makes an account, or finds it. When there are as many as there may be, one is forgotten that has no order and is
    /// not wanted, by the thumbprint of its key.
    pub(crate) fn new_account(
        &mut self,
        request: &Request<'_>,
        is_wanted: impl Fn(&String) -> bool,
    ) -> Result<Response, Problem> {
        let (Signer::Key(key), payload) = self.open(request)? else {
            return Err(Problem::new(
                ProblemType::Malformed,
                "protected.kid: a new account signs with its key, by `jwk`",
            ));
        };
        let asked = NewAccount::decode(&payload, &self.limits.messages)?;
        if let Some(id) = self.keys.get(&key.thumbprint()).copied() {
            return if self.accounts.get(&id).is_some_and(|account| account.status == AccountStatus::Valid) {
                self.account_response(200, &id)
            } else {
                Err(Problem::new(ProblemType::Unauthorized, "the account was deactivated").with_status(401))
            };
        }
        if asked.only_return_existing {
            return Err(Problem::new(ProblemType::AccountDoesNotExist, "there is no account with this key"));
        }
        if self.config.terms_of_service.is_some() && !asked.terms_of_service_agreed {
            return Err(Problem::new(ProblemType::UserActionRequired, "the terms of service must be agreed to"));
        }
        let contact = self.contact(asked.contact.unwrap_or_default())?;
        if !self.config.external_accounts.is_empty() {
            let required = || Problem::new(ProblemType::ExternalAccountRequired, "externalAccountBinding is required");
            let binding = asked.external_account_binding.ok_or_else(required)?;
            let find = |kid: &str| self.config.external_accounts.get(kid).cloned();
            verify_external_account(&binding, request.url, &key, find, &self.limits.messages).map_err(|error| {
                let mut problem = Problem::from(error);
                problem.detail = format!("externalAccountBinding: {}", problem.detail);
                problem
            })?;
        }
        self.make_room(is_wanted);
        if self.accounts.len() >= self.limits.accounts {
            return Err(Problem::new(ProblemType::ServerInternal, "no more accounts are taken").with_status(503));
        }
        let id = AccountId(self.front.id());
        self.keys.insert(key.thumbprint(), id);
        let terms_agreed = asked.terms_of_service_agreed;
        let account = AccountEntry {
            key,
            status: AccountStatus::Valid,
            contact,
            terms_agreed,
            orders: BTreeSet::new(),
            open: BTreeSet::new(),
        };
        self.accounts.insert(id, Box::new(account));
        self.account_response(201, &id)
    }

    /// Shows an account, and changes it if the payload asks for it.
    pub(crate) fn account(&mut self, id: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        if AccountId::from_text(id) != Some(*account) {
            return Err(not_found("this is not your account"));
        }
        if !payload.is_empty() {
            let asked = NewAccount::decode(payload, &self.limits.messages)?;
            let contact = asked.contact.map(|contact| self.contact(contact)).transpose()?;
            let is_change = contact.is_some() || asked.deactivate;
            if is_change && let Some(entry) = self.accounts.get_mut(account) {
                if let Some(contact) = contact {
                    entry.contact = contact;
                }
                if asked.deactivate {
                    entry.status = AccountStatus::Deactivated;
                }
            }
        }
        self.account_response(200, account)
    }

    /// Lists the orders of an account, a page at a time: those behind `after`.
    pub(crate) fn account_orders(
        &self,
        id: &str,
        after: Option<&str>,
        account: &AccountId,
        payload: &[u8],
    ) -> Result<Response, Problem> {
        let entry = self.accounts.get(account).filter(|_| AccountId::from_text(id) == Some(*account));
        let entry = entry.ok_or_else(|| not_found("this is not your account"))?;
        must_be_get(payload)?;
        let begin = match after.map(OrderId::from_text) {
            None => Bound::Unbounded,
            Some(after) => Bound::Excluded(after.ok_or_else(|| not_found("there is no such page"))?),
        };
        let behind = entry.orders.range((begin, Bound::Unbounded));
        let (urls, last) = page(behind.map(|id| (id, self.config.url(&format!("/order/{id}")))));
        let mut object = Object::new();
        object.insert("orders", json::texts(&urls));
        let response = Response::json(200, json::encode(&object));
        let Some(last) = last else { return Ok(response) };
        let next = self.config.url(&format!("/acct/{id}/orders/{last}"));
        Ok(response.with_header("link", format!("<{next}>;rel=\"next\"")))
    }

    /// [RFC 8555 section 7.3.5](https://www.rfc-editor.org/rfc/rfc8555#section-7.3.5)
    pub(crate) fn change_key(&mut self, url: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        let malformed = |detail: &str| Problem::new(ProblemType::Malformed, format!("keyChange: {detail}"));
        let inner = Jws::decode(payload, Purpose::KeyChange, &self.limits.messages)?;
        if inner.header().url() != url {
            return Err(malformed("the inner JWS is for another URL than the outer one"));
        }
        let (new, change) = inner.verify_own(&*self.verifier)?;
        let mut members = Members::decode(&change, "keyChange", &self.limits.messages)?;
        let named = members.required_text("account")?;
        let old = members.take("oldKey").ok_or_else(|| members.error("oldKey", DecodeErrorKind::Missing))?;
        let old = jsonbcd::text::to_vec(&old).map_err(|_| malformed("oldKey is no key"))?;
        let old = PublicKey::from_jwk(&old, &self.limits.messages)??;
        let missing = || not_found("there is no such account");
        let entry = self.accounts.get(account).ok_or_else(missing)?;
        if named != format!("{}/acct/{account}", self.config.base) {
            return Err(malformed("the account is not the one that signs"));
        }
        if old != entry.key {
            return Err(malformed("oldKey is not the key of the account"));
        }
        if let Some(other) = self.keys.get(&new.thumbprint()) {
            let problem = Problem::new(ProblemType::Malformed, "keyChange: the new key belongs to an account already");
            let location = self.config.url(&format!("/acct/{other}"));
            return Ok(Response::problem(&problem.with_status(409)).with_header("location", location));
        }
        // Only now: whoever is refused has changed nothing.
        let entry = self.accounts.get_mut(account).ok_or_else(missing)?;
        self.keys.remove(&entry.key.thumbprint());
        self.keys.insert(new.thumbprint(), *account);
        entry.key = new;
        self.account_response(200, account)
    }

    fn contact(&self, contact: Vec<String>) -> Result<Vec<String>, Problem> {
        if contact.len() > self.limits.contacts {
            let detail = format!("there are more than {} contacts", self.limits.contacts);
            return Err(Problem::new(ProblemType::InvalidContact, detail));
        }
        for uri in &contact {
            let Some(address) = uri.strip_prefix("mailto:") else {
                return Err(Problem::new(ProblemType::UnsupportedContact, "contacts are mailto: URIs"));
            };
            let is_one = address.len() <= 254
                && address
                    .split_once('@')
                    .is_some_and(|(local, domain)| !local.is_empty() && crate::names::normalize(domain).is_some())
                && !address.contains(['?', ',', ' ']);
            if !is_one {
                return Err(Problem::new(
                    ProblemType::InvalidContact,
                    "a contact is one address, without header fields",
                ));
            }
        }
        Ok(contact)
    }

    fn account_response(&self, status: u16, id: &AccountId) -> Result<Response, Problem> {
        let entry = self.accounts.get(id).ok_or_else(|| not_found("there is no such account"))?;
        let url = self.config.url(&format!("/acct/{id}"));
        let mut account = Account::new(entry.contact.clone());
        account.status = entry.status;
        account.terms_of_service_agreed = entry.terms_agreed.then_some(true);
        account.orders = Some(format!("{url}/orders"));
        account.delegations = self.limits.delegations.then(|| format!("{url}/delegations"));
        Ok(Response::json(status, account.encode()).with_header("location", url))
    }
}

/// The first URLs of a list, as many as stand on a page, and what stands behind the last of them if there are more.
pub(crate) fn page<T>(items: impl Iterator<Item = (T, String)>) -> (Vec<String>, Option<T>) {
    let (mut urls, mut octets, mut last) = (Vec::new(), 0_usize, None);
    for (item, url) in items {
        // Each is followed by two quotes and a comma.
        octets = octets.saturating_add(url.len()).saturating_add(3);
        if urls.len() >= PAGE.0 || (octets > PAGE.1 && last.is_some()) {
            return (urls, last);
        }
        urls.push(url);
        last = Some(item);
    }
    (urls, None)
}

/// A POST-as-GET has no payload.
pub(crate) fn must_be_get(payload: &[u8]) -> Result<(), Problem> {
    if payload.is_empty() {
        return Ok(());
    }
    Err(Problem::new(ProblemType::Malformed, "this can only be read: the payload must be empty"))
}
