//! Authorizations and challenges. [RFC 8555 section 7.5](https://www.rfc-editor.org/rfc/rfc8555#section-7.5)

use std::sync::Arc;

use watchfire_core::UnixTime;

use super::desk::AccountId;
use super::event::{CaEvent, ChallengeId, OrderId};
use super::http::{Response, ResponseExt as _};
use super::store::AuthorizationEntry;
use super::{Ca, Problem, not_found};
use crate::acme::challenge::key_authorization;
use crate::acme::{
    Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeStatus, Identifier, OrderStatus,
};
use crate::error::ApiMisuse;
use crate::json::Members;

impl Ca {
    /// Makes the authorizations of an order.
    pub(super) fn authorizations_for(&mut self, order: &OrderId, identifiers: &[Identifier]) -> Vec<Arc<str>> {
        let mut urls = Vec::with_capacity(identifiers.len());
        for identifier in identifiers {
            let id: Arc<str> = self.desk.front.random().into();
            let mut challenges = Vec::new();
            let kinds = self.config.challenges.iter().filter(|kind| {
                // Only the DNS shows who has a whole zone.
                !self.config.trusted && (!identifier.is_wildcard() || **kind == ChallengeKind::Dns01)
            });
            for kind in kinds.cloned().collect::<Vec<_>>() {
                let challenge = ChallengeId(self.desk.front.random().into());
                let url = self.config.url(&format!("/chall/{challenge}"));
                let token = self.desk.front.random();
                self.store.challenges.insert(challenge.clone(), id.clone());
                challenges.push((challenge, Challenge::new(kind, url, token)));
            }
            let status = if self.config.trusted { AuthorizationStatus::Valid } else { AuthorizationStatus::Pending };
            let entry = AuthorizationEntry { order: order.clone(), identifier: identifier.clone(), status, challenges };
            self.store.authorizations.insert(id.clone(), Box::new(entry));
            urls.push(id);
        }
        urls
    }

    /// An authorization of this account, and its order.
    pub(super) fn authorization_of(
        &self,
        id: &str,
        account: &AccountId,
    ) -> Result<(OrderId, &AuthorizationEntry), Problem> {
        let entry = self.store.authorizations.get(id);
        let entry = entry.filter(|entry| self.store.order_of(&entry.order.0, account).is_some());
        entry.map(|entry| (entry.order.clone(), &**entry)).ok_or_else(|| not_found("this is not your authorization"))
    }

    pub(super) fn show_authorization(&self, entry: &AuthorizationEntry) -> Authorization {
        let challenges = entry.challenges.iter().map(|(_, challenge)| challenge.clone()).collect();
        let mut authorization = Authorization::new(&entry.identifier, entry.status, challenges);
        authorization.expires = self.store.orders.get(&entry.order).map(|order| order.expires);
        authorization
    }

    /// Gives an authorization up, and with it an order that still needs it.
    pub(super) fn deactivate(&mut self, id: &str, order: &OrderId) {
        if let Some(entry) = self.store.authorizations.get_mut(id) {
            entry.status = AuthorizationStatus::Deactivated;
            self.store.orders.touch(order);
        }
        if let Some(order) = self.store.orders.get_mut(order)
            && matches!(order.status, OrderStatus::Pending | OrderStatus::Ready)
        {
            order.status = OrderStatus::Invalid;
        }
    }

    /// Shows a challenge, or hears that it is met.
    pub(super) fn challenge(&mut self, id: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        let id = ChallengeId(id.into());
        let missing = || not_found("this is not your challenge");
        let authorization = self.store.challenges.get(&id).cloned().ok_or_else(missing)?;
        self.authorization_of(&authorization, account).map_err(|_| missing())?;
        let key = self.desk.accounts.get(account).map(|account| account.key.clone()).ok_or_else(missing)?;
        let is_answer = !payload.is_empty();
        if is_answer {
            Members::decode(payload, "challenge", &self.config.messages)?;
        }
        let entry = self.store.authorizations.get_mut(&authorization).ok_or_else(missing)?;
        let is_open = entry.status == AuthorizationStatus::Pending;
        let identifier = entry.identifier.base();
        let found = entry.challenges.iter_mut().find(|(known, _)| *known == id);
        let (_, challenge) = found.ok_or_else(missing)?;
        // Once: whoever says it again is told how it stands.
        if is_answer && is_open && challenge.status == ChallengeStatus::Pending {
            challenge.status = ChallengeStatus::Processing;
            self.store.orders.touch(&entry.order);
            let token = challenge.token.clone().unwrap_or_default();
            let key_authorization = key_authorization(&token, &key);
            let kind = challenge.kind.clone();
            self.events.push_back(CaEvent::Validate { id, kind, identifier, token, key_authorization });
        }
        let up = self.config.url(&format!("/authz/{authorization}"));
        let response = Response::json(200, challenge.encode());
        let response = response.with_header("link", format!("<{up}>;rel=\"up\""));
        let is_processing = challenge.status == ChallengeStatus::Processing;
        Ok(if is_processing { response.with_header("retry-after", "1") } else { response })
    }

    /// A challenge was looked at.
    ///
    /// # Errors
    /// When it does not wait for that: its order may be gone.
    pub fn validated(&mut self, now: UnixTime, id: &ChallengeId, result: Result<(), Problem>) -> Result<(), ApiMisuse> {
        let authorization = self.store.challenges.get(id).and_then(|id| self.store.authorizations.get_mut(id));
        let entry = authorization.filter(|entry| entry.status == AuthorizationStatus::Pending);
        let entry = entry.ok_or(ApiMisuse::NotAwaited)?;
        let challenge = entry.challenges.iter_mut().find(|(known, _)| known == id).map(|(_, challenge)| challenge);
        let challenge = challenge.filter(|challenge| challenge.status == ChallengeStatus::Processing);
        let challenge = challenge.ok_or(ApiMisuse::NotAwaited)?;
        match result {
            Ok(()) => {
                challenge.status = ChallengeStatus::Valid;
                challenge.validated = Some(now);
                entry.status = AuthorizationStatus::Valid;
                let kind = challenge.kind.clone();
                entry.challenges.retain(|(_, challenge)| challenge.kind == kind);
            }
            Err(problem) => {
                challenge.status = ChallengeStatus::Invalid;
                challenge.error = Some(problem);
                entry.status = AuthorizationStatus::Invalid;
            }
        }
        let order = entry.order.clone();
        self.store.orders.touch(&order);
        self.settle(&order);
        Ok(())
    }

    /// Makes an order ready or invalid, if its authorizations say so.
    fn settle(&mut self, id: &OrderId) {
        let Some(order) = self.store.orders.get_mut(id).filter(|order| order.status == OrderStatus::Pending) else {
            return;
        };
        let entries = order.authorizations.iter().filter_map(|id| self.store.authorizations.get(id));
        let statuses: Vec<AuthorizationStatus> = entries.map(|entry| entry.status).collect();
        if statuses.contains(&AuthorizationStatus::Invalid) {
            order.status = OrderStatus::Invalid;
            let detail = "an authorization of the order failed";
            order.error = Some(Box::new(Problem::new(super::ProblemType::Unauthorized, detail)));
        } else if statuses.iter().all(|status| *status == AuthorizationStatus::Valid) {
            order.status = OrderStatus::Ready;
        }
    }
}
