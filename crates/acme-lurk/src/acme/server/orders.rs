//! Orders. [RFC 8555 section 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4),
//! [RFC 8739 section 3.1](https://www.rfc-editor.org/rfc/rfc8739#section-3.1)

use watchfire_core::UnixTime;

use super::event::{CaEvent, Issuance};
use super::http::{Response, ResponseExt as _};
use super::id::{AccountId, OrderId};
use super::papers::Papers;
use super::store::{Awaited, OrderEntry, renewals_a_day};
use super::{Ca, Problem, ProblemType, not_found};
use crate::acme::{Finalize, Identifier, IdentifierKind, NewOrder, Order, OrderStatus};
use crate::csr::Csr;
use crate::error::DecodeErrorKind;
use crate::json::Members;
use crate::names;
use crate::star::{Schedule, StarOrder};

/// For how long an order is kept behind its end, so that whoever asks is told what became of it.
const DAY: u64 = 86_400;

impl Ca {
    pub(super) fn new_order(
        &mut self,
        now: UnixTime,
        account: &AccountId,
        payload: &[u8],
    ) -> Result<Response, Problem> {
        let asked = NewOrder::decode(payload, &self.config.messages)?;
        let orders = &self.store.orders;
        let refused = self.desk.refuse_order(account, orders.len(), |id| {
            let status = orders.get(id).map(|order| order.status);
            matches!(status, Some(OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Processing))
        });
        if let Some(refused) = refused {
            return Ok(refused);
        }
        self.check_identifiers(&asked.identifiers)?;
        // A CA that does not speak STAR passes over what it does not know, as everybody does; clients see that it is not
        // reflected.
        let policy = self.config.star.filter(|_| asked.auto_renewal.is_some());
        let auto_renewal = match (policy, &asked.auto_renewal) {
            (Some(policy), Some(asked)) => {
                let refused = |refusal| Problem::new(ProblemType::Malformed, format!("auto-renewal: {refusal}"));
                Some(policy.accept(asked, now).map_err(refused)?)
            }
            _ => None,
        };
        match &auto_renewal {
            None => {
                self.validity(now, (asked.not_before, asked.not_after))?;
            }
            Some(agreed) => {
                let most = self.config.limits.renewals_a_day;
                if self.store.renewals(account).saturating_add(renewals_a_day(agreed)) > most {
                    let detail = format!("your orders would make more than {most} certificates a day by themselves");
                    let problem = Problem::new(ProblemType::RateLimited, detail);
                    return Ok(Response::problem(&problem).with_header("retry-after", "3600"));
                }
            }
        }
        let id = OrderId(self.desk.front.id());
        let expires = later(now, self.config.limits.pending_seconds);
        let order = OrderEntry {
            account: *account,
            status: if self.config.trusted_identifiers { OrderStatus::Ready } else { OrderStatus::Pending },
            expires,
            names: self.names_for(asked.identifiers),
            validity: (asked.not_before, asked.not_after),
            auto_renewal,
            certificate_get: asked
                .allow_certificate_get
                .filter(|_| self.config.certificate_get && auto_renewal.is_none()),
            error: None,
            papers: None,
            star: None,
            certificate: None,
            awaited: None,
        };
        self.desk.opened(account, &id);
        self.store.insert_order(id, order);
        self.order_response(201, &id)
    }

    /// Shows an order, or cancels it.
    pub(super) fn order(
        &mut self,
        now: UnixTime,
        id: &str,
        account: &AccountId,
        payload: &[u8],
    ) -> Result<Response, Problem> {
        let (id, _) = self.store.order_of(id, account).ok_or_else(|| not_found("this is not your order"))?;
        if !payload.is_empty() {
            let mut members = Members::decode(payload, "order", &self.config.messages)?;
            if members.required_text("status")? != "canceled" {
                return Err(members.error("status", DecodeErrorKind::Expected("canceled")).into());
            }
            self.cancel(now, &id)?;
        }
        self.order_response(200, &id)
    }

    /// [RFC 8739 section 3.1.2](https://www.rfc-editor.org/rfc/rfc8739#section-3.1.2)
    fn cancel(&mut self, now: UnixTime, id: &OrderId) -> Result<(), Problem> {
        let invalid = || {
            let detail = "only an order that is renewed automatically and is valid can be canceled";
            Problem::new(ProblemType::AutoRenewalCancellationInvalid, detail)
        };
        let order = self.store.orders.get(id).filter(|order| order.status == OrderStatus::Valid);
        let star = order.and_then(|order| order.star).ok_or_else(invalid)?;
        self.store.book.cancel(now, star).map_err(|_| invalid())?;
        let order = self.store.orders.get_mut(id).ok_or_else(invalid)?;
        order.status = OrderStatus::Canceled;
        order.awaited = None;
        let current = self.store.book.get(star).and_then(|(star, _)| star.current());
        // What is out there stays good until then, and whoever asks for more is told why there is none.
        let until = current.map_or(now, |slot| slot.not_after).max(later(now, DAY));
        self.store.keep_until(id, until);
        Ok(())
    }

    /// Ends what is going on for an account that was given up: nobody could stop it any more.
    /// [RFC 8555 section 7.3.6](https://www.rfc-editor.org/rfc/rfc8555#section-7.3.6)
    pub(super) fn end_orders(&mut self, now: UnixTime, account: &AccountId) {
        for id in self.desk.orders_of(account) {
            let Some(status) = self.store.orders.get(&id).map(|order| order.status) else { continue };
            match status {
                // One that is not renewed, or was canceled before, stays as it is.
                OrderStatus::Valid => drop(self.cancel(now, &id)),
                OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Processing => {
                    let Some(order) = self.store.orders.get_mut(&id) else { continue };
                    order.status = OrderStatus::Invalid;
                    let problem = Problem::new(ProblemType::Unauthorized, "the account was deactivated");
                    order.error = Some(Box::new(problem));
                    order.awaited = None;
                    if let Some(star) = order.star.take() {
                        self.store.book.remove(star);
                        self.store.keep_until(&id, later(now, DAY));
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn finalize(
        &mut self,
        now: UnixTime,
        id: &str,
        account: &AccountId,
        payload: &[u8],
    ) -> Result<Response, Problem> {
        let (id, order) = self.store.order_of(id, account).ok_or_else(|| not_found("this is not your order"))?;
        let csr = Finalize::decode(payload, &self.config.messages)?.csr;
        if order.papers.as_ref().is_some_and(|papers| papers.request() == csr) {
            // The same request again: the answer to the first one was lost.
            return self.order_response(200, &id);
        }
        if order.status != OrderStatus::Ready {
            let detail = format!("the order is {}", order.status);
            return Err(Problem::new(ProblemType::OrderNotReady, detail));
        }
        self.check_csr(&csr, account, order)?;
        let (auto_renewal, wanted) = (order.auto_renewal, order.validity);
        let mut expires = later(now, self.config.limits.pending_seconds);
        let mut awaited = None;
        let mut star = None;
        if let Some(agreed) = auto_renewal {
            let start = agreed.start.unwrap_or(now);
            let first = start.max(now);
            let refused = |error| Problem::new(ProblemType::Malformed, format!("auto-renewal: {error}"));
            let fraction = self.config.fraction;
            let schedule =
                Schedule::new(first, start.max(now), agreed.end, agreed.lifetime, agreed.lifetime_adjust, fraction);
            let entered = self.store.book.insert(StarOrder::new(schedule.map_err(refused)?), id);
            star = Some(entered.map_err(|_| Problem::new(ProblemType::ServerInternal, "no more orders are taken"))?);
            expires = later(agreed.end, DAY);
        } else {
            let (not_before, not_after) = self.validity(now, wanted)?;
            awaited = Some(Awaited { index: 0, not_before, not_after });
        }
        if let Some(order) = self.store.orders.get_mut(&id) {
            order.status = OrderStatus::Processing;
            order.papers = Some(Papers::new(&csr));
            order.star = star;
        }
        self.store.keep_until(&id, expires);
        if let Some(awaited) = awaited {
            self.ask_for(&id, awaited);
        }
        self.renew(now);
        self.order_response(200, &id)
    }

    /// Asks for a certificate of an order.
    pub(super) fn ask_for(&mut self, id: &OrderId, awaited: Awaited) {
        let Some(order) = self.store.orders.get_mut(id) else { return };
        let Some(csr) = order.papers.as_ref().map(|papers| papers.request().into()) else { return };
        order.awaited = Some(Box::new(awaited));
        let identifiers = order.identifiers();
        let Awaited { index, not_before, not_after } = awaited;
        self.events.push_back(CaEvent::Issue(Issuance { order: *id, index, csr, identifiers, not_before, not_after }));
    }

    fn check_identifiers(&self, identifiers: &[Identifier]) -> Result<(), Problem> {
        let mut problem = Problem::new(ProblemType::RejectedIdentifier, "certificates are not issued for these names");
        for identifier in identifiers {
            if *identifier.kind() != IdentifierKind::Dns {
                return Err(Problem::new(ProblemType::UnsupportedIdentifier, "identifiers are of type dns"));
            }
            let is_allowed = self.config.names.as_ref().is_none_or(|names| names.allows(identifier.value()));
            if !is_allowed {
                let kind = ProblemType::RejectedIdentifier;
                problem = problem.with_subproblem(kind, "certificates are not issued for it", identifier.clone());
            }
        }
        if problem.subproblems.is_empty() { Ok(()) } else { Err(problem) }
    }

    fn check_csr(&self, csr: &[u8], account: &AccountId, order: &OrderEntry) -> Result<(), Problem> {
        let bad = |detail: String| Problem::new(ProblemType::BadCsr, detail);
        let csr = Csr::decode(csr, &self.config.messages).map_err(|error| bad(error.to_string()))?;
        let key = csr.key().map_err(|error| bad(format!("csr.subjectPKInfo: {error}")))?;
        self.desk.verifier.check_key(key).map_err(|error| bad(format!("csr.subjectPKInfo: {error}")))?;
        csr.verify(&*self.desk.verifier).map_err(|error| bad(format!("csr.signature: {error}")))?;
        if self.desk.accounts.get(account).is_some_and(|account| account.key == *key) {
            return Err(bad("csr.subjectPKInfo: the key of the account is not to be used for certificates".into()));
        }
        let mut found: Vec<Option<String>> = csr.dns_names().map(names::normalize).collect();
        let mut wanted: Vec<Option<String>> =
            order.names.iter().map(|name| Some(name.identifier.value().to_owned())).collect();
        found.sort_unstable();
        found.dedup();
        wanted.sort_unstable();
        let is_other = |name: &crate::csr::AltName<'_>| !matches!(name, crate::csr::AltName::Dns(_));
        if found != wanted || csr.alt_names().unwrap_or_default().iter().any(is_other) {
            return Err(bad("the names in the request are not those of the order".into()));
        }
        Ok(())
    }

    /// The validity of a certificate that is not renewed automatically.
    fn validity(
        &self,
        now: UnixTime,
        (begin, end): (Option<UnixTime>, Option<UnixTime>),
    ) -> Result<(UnixTime, UnixTime), Problem> {
        let not_before = begin.unwrap_or(now);
        let not_after = end.unwrap_or_else(|| later(not_before, self.config.validity));
        let length = not_after.as_secs().checked_sub(not_before.as_secs()).and_then(|secs| u64::try_from(secs).ok());
        let fits = length.is_some_and(|length| (1..=self.config.validity).contains(&length)) && not_after > now;
        let detail =
            || format!("notBefore, notAfter: certificates are valid for {} seconds at most", self.config.validity);
        if fits { Ok((not_before, not_after)) } else { Err(Problem::new(ProblemType::Malformed, detail())) }
    }

    pub(super) fn order_response(&self, status: u16, id: &OrderId) -> Result<Response, Problem> {
        let entry = self.store.orders.get(id).ok_or_else(|| not_found("there is no such order"))?;
        let url = self.config.url(&format!("/order/{id}"));
        let mut order = Order::new(entry.status, entry.identifiers(), format!("{url}/finalize"));
        order.expires = Some(entry.expires);
        (order.not_before, order.not_after) = entry.validity;
        order.error = entry.error.as_deref().cloned();
        order.authorizations = entry.names.iter().map(|name| self.config.url(&format!("/authz/{}", name.id))).collect();
        order.auto_renewal = entry.auto_renewal;
        order.allow_certificate_get = entry.certificate_get;
        if let Some(certificate) =
            entry.certificate.filter(|_| entry.papers.as_ref().is_some_and(Papers::has_certificate))
        {
            match entry.star {
                Some(_) => order.star_certificate = Some(self.config.url(&format!("/star/{certificate}"))),
                None => order.certificate = Some(self.config.url(&format!("/cert/{certificate}"))),
            }
        }
        let response = Response::json(status, order.encode()).with_header("location", url);
        Ok(if entry.status == OrderStatus::Processing { response.with_header("retry-after", "1") } else { response })
    }

    /// Shows an authorization, or gives it up.
    pub(super) fn authorization(&mut self, id: &str, account: &AccountId, payload: &[u8]) -> Result<Response, Problem> {
        let (order, at) = self.authorization_of(id, account)?;
        if payload.is_empty() {
            return Ok(Response::json(200, self.show_authorization(&order, at)?.encode()));
        }
        let mut members = Members::decode(payload, "authorization", &self.config.messages)?;
        if members.required_text("status")? != "deactivated" {
            return Err(members.error("status", DecodeErrorKind::Expected("deactivated")).into());
        }
        self.deactivate(&order, at);
        Ok(Response::json(200, self.show_authorization(&order, at)?.encode()))
    }
}

fn later(time: UnixTime, secs: u64) -> UnixTime {
    UnixTime::from_secs(time.as_secs().saturating_add_unsigned(secs))
}
