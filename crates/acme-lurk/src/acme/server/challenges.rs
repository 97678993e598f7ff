//! Authorizations and challenges. [RFC 8555 section 7.5](https://www.rfc-editor.org/rfc/rfc8555#section-7.5)

use watchfire_core::UnixTime;

use super::event::CaEvent;
use super::http::{Response, ResponseExt as _};
use super::id::{AccountId, ChallengeId, Id, OrderId};
use super::store::{ChallengeEntry, NameEntry};
use super::{Ca, CaConfig, Problem, not_found};
use crate::acme::challenge::key_authorization;
use crate::acme::{
    Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeStatus, Identifier, OrderStatus,
};
use crate::crypto::PublicKey;
use crate::error::ApiMisuse;
use crate::json::Members;

impl Ca {
    /// Makes the authorizations of an order.
    pub(super) fn names_for(&mut self, identifiers: Vec<Identifier>) -> Box<[NameEntry]> {
        let trusted = self.config.trusted_identifiers;
        let status = if trusted { AuthorizationStatus::Valid } else { AuthorizationStatus::Pending };
        let mut names = Vec::with_capacity(identifiers.len());
        for identifier in identifiers {
            let id = self.desk.front.id();
            // Only the DNS shows who has a whole zone.
            let kinds = self.config.challenges.iter();
            let kinds =
                kinds.filter(|kind| !trusted && (!identifier.is_wildcard() || **kind == ChallengeKind::Dns01)).cloned();
            let front = &mut self.desk.front;
            let challenges = kinds.map(|kind| ChallengeEntry {
                id: ChallengeId(front.id()),
                kind,
                status: ChallengeStatus::Pending,
                token: front.id(),
                validated: None,
                error: None,
            });
            let challenges = challenges.collect();
            names.push(NameEntry { identifier, id, status, challenges });
        }
        names.into()
    }

    /// An authorization of this account: its order, and which of that order's it is.
    pub(super) fn authorization_of(&self, id: &str, account: &AccountId) -> Result<(OrderId, usize), Problem> {
        let missing = || not_found("this is not your authorization");
        let id = Id::from_text(id).ok_or_else(missing)?;
        let order = self.store.authorizations.get(&id).copied().ok_or_else(missing)?;
        let entry = self.store.orders.get(&order).filter(|entry| entry.account == *account).ok_or_else(missing)?;
        let at = entry.names.iter().position(|name| name.id == id).ok_or_else(missing)?;
        Ok((order, at))
    }

    pub(super) fn show_authorization(&self, order: &OrderId, at: usize) -> Result<Authorization, Problem> {
        let missing = || not_found("this is not your authorization");
        let entry = self.store.orders.get(order).ok_or_else(missing)?;
        let name = entry.names.get(at).ok_or_else(missing)?;
        let challenges = name.challenges.iter().map(|challenge| challenge.show(&self.config)).collect();
        let mut authorization = Authorization::new(&name.identifier, name.status, challenges);
        authorization.expires = Some(entry.expires);
        Ok(authorization)
    }

    /// Gives an authorization up, and with it an order that still needs it.
    pub(super) fn deactivate(&mut self, order: &OrderId, at: usize) {
        let Some(order) = self.store.orders.get_mut(order) else { return };
        if let Some(name) = order.names.get_mut(at) {
            name.status = AuthorizationStatus::Deactivated;
        }
        if matches!(order.status, OrderStatus::Pending | OrderStatus::Ready) {
            order.status = OrderStatus::Invalid;
        }
    }

    /// Shows a challenge, or hears that it is met.
    pub(super) fn challenge(&mut self, id: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        let missing = || not_found("this is not your challenge");
        let id = ChallengeId::from_text(id).ok_or_else(missing)?;
        let order = self.store.challenges.get(&id).copied().ok_or_else(missing)?;
        let entry = self.store.orders.get_untracked(&order).filter(|entry| entry.account == *account);
        let entry = entry.ok_or_else(missing)?;
        let (name, at) = find(&mut entry.names, &id).ok_or_else(missing)?;
        let key = self.desk.accounts.get(account).map(|account| &account.key).ok_or_else(missing)?;
        let is_answer = !payload.is_empty();
        if is_answer {
            Members::decode(payload, "challenge", &self.config.messages)?;
        }
        let is_open = name.status == AuthorizationStatus::Pending;
        let challenge = name.challenges.get_mut(at).ok_or_else(missing)?;
        // Once: whoever says it again is told how it stands.
        let is_new = is_answer && is_open && challenge.status == ChallengeStatus::Pending;
        if is_new {
            challenge.status = ChallengeStatus::Processing;
            self.events.push_back(challenge.look(&name.identifier, key));
        }
        let is_processing = challenge.status == ChallengeStatus::Processing;
        let up = self.config.url(&format!("/authz/{}", name.id));
        let response = Response::json(200, challenge.show(&self.config).encode());
        let response = response.with_header("link", format!("<{up}>;rel=\"up\""));
        if is_new {
            self.store.orders.touch(&order);
        }
        Ok(if is_processing { response.with_header("retry-after", "1") } else { response })
    }

    /// A challenge was looked at.
    ///
    /// # Errors
    /// When it does not wait for that: its order may be gone.
    pub fn validated(&mut self, now: UnixTime, id: &ChallengeId, result: Result<(), Problem>) -> Result<(), ApiMisuse> {
        let order = self.store.challenges.get(id).copied().ok_or(ApiMisuse::NotAwaited)?;
        let entry = self.store.orders.get_untracked(&order).ok_or(ApiMisuse::NotAwaited)?;
        let (name, at) = find(&mut entry.names, id).ok_or(ApiMisuse::NotAwaited)?;
        let challenge = name.challenges.get_mut(at).filter(|one| one.status == ChallengeStatus::Processing);
        let challenge = challenge.filter(|_| name.status == AuthorizationStatus::Pending);
        let challenge = challenge.ok_or(ApiMisuse::NotAwaited)?;
        match result {
            Ok(()) => {
                challenge.status = ChallengeStatus::Valid;
                challenge.validated = Some(now);
                name.status = AuthorizationStatus::Valid;
                // What an authorization shows once it is valid is the challenge that was met.
                let met = challenge.clone();
                for other in name.challenges.iter().filter(|other| other.id != *id) {
                    self.store.challenges.remove(&other.id);
                }
                name.challenges = Box::new([met]);
            }
            Err(problem) => {
                challenge.status = ChallengeStatus::Invalid;
                challenge.error = Some(Box::new(problem));
                name.status = AuthorizationStatus::Invalid;
            }
        }
        self.store.orders.touch(&order);
        self.settle(&order);
        Ok(())
    }

    /// Makes an order ready or invalid, if its authorizations say so.
    fn settle(&mut self, id: &OrderId) {
        let Some(order) = self.store.orders.get_mut(id).filter(|order| order.status == OrderStatus::Pending) else {
            return;
        };
        if order.names.iter().any(|name| name.status == AuthorizationStatus::Invalid) {
            order.status = OrderStatus::Invalid;
            let detail = "an authorization of the order failed";
            order.error = Some(Box::new(Problem::new(super::ProblemType::Unauthorized, detail)));
        } else if order.names.iter().all(|name| name.status == AuthorizationStatus::Valid) {
            order.status = OrderStatus::Ready;
        }
    }
}

/// The identifier that a challenge is for, and where the challenge stands there.
fn find<'a>(names: &'a mut [NameEntry], id: &ChallengeId) -> Option<(&'a mut NameEntry, usize)> {
    names.iter_mut().find_map(|name| {
        let at = name.challenges.iter().position(|challenge| challenge.id == *id)?;
        Some((name, at))
    })
}

impl ChallengeEntry {
    pub(super) fn show(&self, config: &CaConfig) -> Challenge {
        let url = config.url(&format!("/chall/{}", self.id));
        let mut challenge = Challenge::new(self.kind.clone(), url, self.token.to_string());
        challenge.status = self.status;
        challenge.validated = self.validated;
        challenge.error = self.error.as_deref().cloned();
        challenge
    }

    /// What is asked for when it is to be looked at.
    pub(super) fn look(&self, identifier: &Identifier, key: &PublicKey) -> CaEvent {
        let token = self.token.to_string();
        CaEvent::Validate {
            id: self.id,
            kind: self.kind.clone(),
            identifier: identifier.base(),
            key_authorization: key_authorization(&token, key),
            token,
        }
    }
}
