//! What delegates ask, and what they are answered.
//! [RFC 9115 sections 2.3.1](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.1) to
//! [2.3.4](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.4)

use watchfire_core::UnixTime;

use super::Ido;
use super::config::{DelegationRule, Serving};
use super::event::Audit;
use super::store::{Entry, Work};
use crate::acme::server::accounts::{must_be_get, page};
use crate::acme::server::desk::Desk;
use crate::acme::server::dispatch::{Path, Service};
use crate::acme::server::http::ResponseExt as _;
use crate::acme::server::id::AccountId;
use crate::acme::server::{OrderId, Request, Response, not_found};
use crate::acme::{
    Directory, Finalize, Identifier, IdentifierKind, NewOrder, Order, OrderStatus, Problem, ProblemType,
    encode_delegations,
};
use crate::csr::Csr;
use crate::now::Now;
use crate::star::{AutoRenewal, StarMeta, StarPolicy};
use crate::template::Checker;

/// For how long an order is kept behind its end, so that whoever asks is told what became of it.
pub(super) const DAY: u64 = 86_400;

impl Service for Ido {
    type Now = Now;

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    /// The directory, once the CA's is known: what it says of lifetimes is the CA's to say.
    fn show_directory(&self, now: Now) -> Response {
        match self.client.directory() {
            Some(_) => Response::json(200, self.directory().encode()),
            None => self.not_reached(now),
        }
    }

    fn fetched(&mut self, now: Now, path: Path<'_>, request: &Request<'_>) -> Option<Result<Response, Problem>> {
        match path {
            ("cert" | "star", Some(handle), None, _) => Some(self.serve(now, handle, None, request)),
            _ => None,
        }
    }

    fn keyed(&mut self, _: Now, path: Path<'_>, request: &Request<'_>) -> Option<Result<Response, Problem>> {
        let ("new-account", None, ..) = path else { return None };
        // Whoever may not delegate anything makes room for who may.
        let rules = &self.config.rules;
        let is_wanted = |thumbprint: &String| rules.values().any(|rule| rule.accounts.contains(thumbprint));
        Some(self.desk.new_account(request, is_wanted))
    }

    /// Nothing more is ordered for the account. What it has is its owner's to stop.
    fn deactivated(&mut self, now: Now, account: &AccountId) {
        let why = Problem::new(ProblemType::Unauthorized, "the account was deactivated");
        let mut goes_on = false;
        for id in self.desk.orders_of(account) {
            match self.store.orders.get(&id).map(|order| order.status) {
                Some(OrderStatus::Ready | OrderStatus::Processing) => {
                    self.give_up(now, &id, Some(&why), why.to_string());
                }
                Some(OrderStatus::Valid) => goes_on = true,
                _ => {}
            }
        }
        if goes_on {
            let account = self.thumbprint_of(account);
            self.audit(None, Audit::Deactivated { account });
        }
    }

    fn signed(
        &mut self,
        now: Now,
        path: Path<'_>,
        by: (&AccountId, &[u8]),
        request: &Request<'_>,
    ) -> Option<Result<Response, Problem>> {
        let (account, payload) = by;
        Some(match path {
            ("new-order", None, ..) => self.new_order(now, account, payload),
            ("acct", Some(id), Some("delegations"), after) => self.list(id, after, account, payload),
            ("delegation", Some(name), None, _) => self.delegation(name, account, payload),
            ("order", Some(id), None, _) => self.order(id, account, payload),
            ("order", Some(id), Some("finalize"), None) => self.finalize(now, id, account, payload),
            ("cert" | "star", Some(handle), None, _) => self.serve(now, handle, Some(by), request),
            _ => return None,
        })
    }
}

impl Ido {
    /// 503, until the CA has been asked again.
    fn not_reached(&self, now: Now) -> Response {
        let wait = self.account_at.map_or(0, |at| at.saturating_since(now.instant).as_micros());
        let secs = wait.div_ceil(1_000_000).max(1);
        let problem = Problem::new(ProblemType::ServerInternal, "the CA behind this server has not been reached yet");
        Response::problem(&problem.with_status(503)).with_header("retry-after", secs.to_string())
    }

    fn directory(&self) -> Directory {
        let mut directory = self.config.desk.directory();
        directory.meta.delegation_enabled = true;
        directory.meta.auto_renewal = self.star_policy().map(|policy| policy.meta);
        let upstream_lets = self.client.directory().is_some_and(|directory| directory.meta.allow_certificate_get);
        directory.meta.allow_certificate_get = self.config.serving == Serving::Own || upstream_lets;
        if self.emulates() {
            directory.meta.others.insert("star-emulated", true);
        }
        directory
    }

    /// Whether STAR orders are ours to fulfil: the CA is known not to speak it, and we are to.
    pub(super) fn emulates(&self) -> bool {
        let is_star = self.client.directory().is_some_and(|directory| directory.meta.auto_renewal.is_some());
        self.config.emulation.is_some() && self.client.directory().is_some() && !is_star
    }

    /// What STAR orders are taken: what we take, and of that what the CA does. Everybody may fetch in all of them, as RFC
    /// 9115 wants it; where the CA does not let them, that is found out when it is asked.
    fn star_policy(&self) -> Option<StarPolicy> {
        let mut policy = match &self.config.emulation {
            Some(emulation) if self.emulates() => emulation.policy,
            _ => self.config.star?,
        };
        let theirs = self.client.directory().and_then(|directory| directory.meta.auto_renewal);
        let (min, max) = (policy.meta.min_lifetime, policy.meta.max_duration);
        policy.meta = match theirs {
            Some(theirs) => StarMeta::new(min.max(theirs.min_lifetime), max.min(theirs.max_duration), true),
            None => StarMeta::new(min, max, true),
        };
        Some(policy)
    }

    /// The delegations of an account, by the thumbprint of its key.
    fn rules_of(&self, thumbprint: String) -> impl Iterator<Item = &DelegationRule> {
        self.config.rules.values().filter(move |rule| rule.accounts.contains(&thumbprint))
    }

    pub(super) fn rule_for(&self, account: &AccountId, name: &str) -> Result<&DelegationRule, Problem> {
        let thumbprint = self.thumbprint_of(account);
        let unknown = || Problem::new(ProblemType::UnknownDelegation, "this account has no such delegation");
        let rule = self.config.rules.get(name).ok_or_else(unknown)?;
        if rule.accounts.contains(&thumbprint) { Ok(rule) } else { Err(unknown()) }
    }

    fn list(&self, id: &str, after: Option<&str>, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        if AccountId::from_text(id) != Some(*account) {
            return Err(not_found("this is not your account"));
        }
        must_be_get(payload)?;
        let rules = self.rules_of(self.thumbprint_of(account));
        let rules = rules.filter(|rule| after.is_none_or(|after| rule.name.as_str() > after));
        let (urls, last) = page(rules.map(|rule| (&rule.name, self.config.url(&format!("/delegation/{}", rule.name)))));
        let response = Response::json(200, encode_delegations(&urls));
        let Some(last) = last else { return Ok(response) };
        let next = self.config.url(&format!("/acct/{id}/delegations/{last}"));
        Ok(response.with_header("link", format!("<{next}>;rel=\"next\"")))
    }

    fn delegation(&self, name: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        let rule = self.rule_for(account, name)?;
        must_be_get(payload)?;
        Ok(Response::json(200, rule.delegation.encode()))
    }

    fn new_order(&mut self, now: Now, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        if self.client.directory().is_none() {
            return Ok(self.not_reached(now));
        }
        let order = match self.check_order(now, account, payload) {
            Ok(order) => order,
            Err(problem) => {
                self.refused(now, None, account, &problem);
                return Err(problem);
            }
        };
        let orders = &self.store.orders;
        let refused = self.desk.refuse_order(account, orders.len(), |id| {
            matches!(orders.get(id).map(|order| order.status), Some(OrderStatus::Ready | OrderStatus::Processing))
        });
        if let Some(refused) = refused {
            return Ok(refused);
        }
        let id = OrderId(self.desk.front.id());
        let what = Audit::Ordered {
            delegation: order.delegation.clone(),
            account: self.thumbprint_of(account),
            identifiers: order.identifiers.clone(),
        };
        self.audit(Some(&id), what);
        self.desk.opened(account, &id);
        self.store.orders.insert(id, Box::new(order));
        self.store.reschedule(now.unix, &id);
        self.order_response(201, &id)
    }

    fn check_order(&self, now: Now, account: &AccountId, payload: &[u8]) -> Result<Entry, Problem> {
        let malformed = |detail: &str| Problem::new(ProblemType::Malformed, detail);
        let asked = NewOrder::decode(payload, &self.config.messages)?;
        let rule = match &asked.delegation {
            Some(url) => {
                let name = url.strip_prefix(self.config.base()).and_then(|path| path.strip_prefix("/delegation/"));
                self.rule_for(account, name.unwrap_or(""))?
            }
            None => {
                let mut rules = self.rules_of(self.thumbprint_of(account));
                let only = rules.next().filter(|_| self.config.inferred_delegation && rules.next().is_none());
                let detail = "the order says no delegation; they are listed where the account says `delegations`";
                only.ok_or_else(|| Problem::new(ProblemType::UnknownDelegation, detail))?
            }
        };
        if asked.hops >= self.config.limits.hops {
            return Err(malformed(
                "delegation-hops: the order has been passed on too often; perhaps it goes in circles",
            ));
        }
        check_identifiers(rule, &asked.identifiers)?;
        let mut agreed = None;
        if let Some(wanted) = &asked.auto_renewal {
            let policy =
                self.star_policy().ok_or_else(|| malformed("auto-renewal: certificates are not renewed here"))?;
            if self.config.serving == Serving::HandThrough && wanted.allow_certificate_get != Some(true) {
                return Err(malformed("auto-renewal.allow-certificate-get: must be true in a delegated order"));
            }
            let refused = |refusal| malformed(&format!("auto-renewal: {refusal}"));
            agreed = Some(policy.accept(wanted, now.unix).map_err(refused)?);
        } else if self.config.serving == Serving::HandThrough && asked.allow_certificate_get != Some(true) {
            return Err(malformed("allow-certificate-get: must be true in a delegated order"));
        }
        Ok(Entry {
            account: *account,
            delegation: rule.name.clone(),
            status: OrderStatus::Ready,
            expires: now.date_in(self.config.limits.pending_seconds),
            identifiers: asked.identifiers,
            validity: (asked.not_before, asked.not_after),
            auto_renewal: agreed,
            certificate_get: asked.allow_certificate_get.filter(|_| asked.auto_renewal.is_none()),
            hops: asked.hops,
            csr: None,
            error: None,
            upstream: None,
            certificate: None,
            handle: None,
            served: None,
            superseded: Vec::new(),
            recalled: None,
            emulated: None,
            stopping: false,
            revoking: false,
            discarding: false,
            work: Work::Nothing,
            retry_at: None,
            attempts: 0,
            roll: None,
            look_at: None,
            gap_said: false,
            ask_at: None,
            issued_at: None,
            no_replaces: false,
        })
    }

    fn order(&self, id: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        let (id, _) = self.store.order_of(id, account).ok_or_else(|| not_found("this is not your order"))?;
        if !payload.is_empty() {
            let detail = "a delegated order is stopped by the owner of the name: ask there";
            return Err(Problem::new(ProblemType::Unauthorized, detail));
        }
        self.order_response(200, &id)
    }

    fn finalize(&mut self, now: Now, id: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        let (id, order) = self.store.order_of(id, account).ok_or_else(|| not_found("this is not your order"))?;
        let csr = Finalize::decode(payload, &self.config.messages)?.csr;
        if order.csr.as_deref() == Some(&*csr) {
            // The same request again: the answer to the first one was lost.
            return self.order_response(200, &id);
        }
        if order.status != OrderStatus::Ready {
            return Err(Problem::new(ProblemType::OrderNotReady, format!("the order is {}", order.status)));
        }
        // Whoever may not use the delegation any more does not use it through an order from before.
        let rule = self.rule_for(account, &order.delegation)?;
        if let Err(problem) = self.check_csr(rule, order, &csr) {
            if !self.config.ready_kept
                && let Some(order) = self.store.orders.get_mut(&id)
            {
                order.status = OrderStatus::Invalid;
                order.error = Some(problem.clone());
                order.expires = now.date_in(DAY);
                self.store.reschedule(now.unix, &id);
            }
            self.refused(now, Some(&id), account, &problem);
            return Err(problem);
        }
        if let Some(order) = self.store.orders.get_mut(&id) {
            order.status = OrderStatus::Processing;
            order.csr = Some(csr.into());
            order.expires = now.date_in(self.config.limits.pending_seconds);
        }
        self.audit(Some(&id), Audit::Requested);
        self.work(now, &id);
        self.order_response(200, &id)
    }

    fn check_csr(&self, rule: &DelegationRule, order: &Entry, csr: &[u8]) -> Result<(), Problem> {
        let bad = |detail: String| Problem::new(ProblemType::BadCsr, detail).with_status(403);
        let csr = Csr::decode(csr, &self.config.messages).map_err(|error| bad(error.to_string()))?;
        let names: Vec<String> = order.identifiers.iter().map(|identifier| identifier.value().to_owned()).collect();
        let policy = |name: &str| rule.allows(name);
        let checker = Checker::new()
            .with_identifiers(&names)
            .with_name_policy(&policy)
            .with_signature_type(self.config.signature_type);
        checker.check(&rule.delegation.csr_template, &csr, &*self.desk.verifier)?;
        let key = csr.key().map_err(|error| bad(error.to_string()))?;
        if self.desk.has_key(key) || self.client.signer().public_key() == key {
            return Err(bad("key: that of an account is not to be used for certificates".into()));
        }
        Ok(())
    }

    pub(super) fn order_response(&self, status: u16, id: &OrderId) -> Result<Response, Problem> {
        let entry = self.store.orders.get(id).ok_or_else(|| not_found("there is no such order"))?;
        let url = self.config.url(&format!("/order/{id}"));
        let mut order = Order::new(entry.status, entry.identifiers.clone(), format!("{url}/finalize"));
        order.expires = Some(entry.expires);
        (order.not_before, order.not_after) = entry.validity;
        order.error.clone_from(&entry.error);
        order.delegation = Some(self.config.url(&format!("/delegation/{}", entry.delegation)));
        order.auto_renewal = entry.auto_renewal;
        order.allow_certificate_get = entry.certificate_get;
        if entry.emulated.is_some() {
            order.others.insert("star-emulated", true);
        }
        if matches!(entry.status, OrderStatus::Valid | OrderStatus::Canceled) {
            let is_star = entry.auto_renewal.is_some();
            let own = entry.handle;
            let own =
                own.map(|handle| self.config.url(&format!("/{}/{handle}", if is_star { "star" } else { "cert" })));
            let found = own.or_else(|| entry.certificate.clone());
            if is_star {
                order.star_certificate = found;
            } else {
                order.certificate = found;
            }
        }
        let response = Response::json(status, order.encode()).with_header("location", url);
        Ok(if entry.status == OrderStatus::Processing { response.with_header("retry-after", "1") } else { response })
    }
}

fn check_identifiers(rule: &DelegationRule, identifiers: &[Identifier]) -> Result<(), Problem> {
    let mut problem = Problem::new(ProblemType::RejectedIdentifier, "the delegation is not for these names");
    for identifier in identifiers {
        if *identifier.kind() != IdentifierKind::Dns {
            return Err(Problem::new(ProblemType::UnsupportedIdentifier, "identifiers are of type dns"));
        }
        if !rule.takes(identifier.value()) {
            let kind = ProblemType::RejectedIdentifier;
            problem = problem.with_subproblem(kind, "the delegation is not for it", identifier.clone());
        }
    }
    if problem.subproblems.is_empty() { Ok(()) } else { Err(problem) }
}

/// Until when a delegate can expect to be told about an order that is renewed automatically.
pub(super) fn star_expires(agreed: &AutoRenewal) -> UnixTime {
    UnixTime::from_secs(agreed.end.as_secs().saturating_add_unsigned(DAY))
}
