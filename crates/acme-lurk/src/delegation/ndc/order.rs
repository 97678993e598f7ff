//! From the directory to an order that is valid.

use std::collections::VecDeque;

use super::keep::KeptOrder;
use super::{Ndc, NdcError, NdcEvent, State, Unfit};
use crate::Limits;
use crate::acme::client::{Answer, Client, ClientError, Obtain, PeerIncompatible};
use crate::acme::{Delegation, Identifier, NewOrder, Order, OrderStatus};
use crate::csr::Csr;
use crate::now::Now;
use crate::star::AutoRenewal;
use crate::template::Checker;

impl Ndc {
    /// Starts a call of the client; when it cannot be made, that is as if it had failed.
    fn ask(
        &mut self,
        now: Now,
        state: impl FnOnce(crate::acme::client::CallId) -> State,
        call: impl FnOnce(&mut Client) -> Result<crate::acme::client::CallId, ClientError>,
    ) {
        match call(&mut self.client) {
            Ok(id) => self.state = state(id),
            Err(error) => self.fail(now, NdcError::Client(error)),
        }
    }

    pub(super) fn find_delegation(&mut self, now: Now) {
        self.ask(now, State::Directory, |client| client.read_directory(now));
    }

    pub(super) fn saw_directory(&mut self, now: Now, result: Result<Answer, ClientError>) {
        match result {
            Ok(Answer::Directory(directory)) if directory.meta.delegation_enabled => {
                let account = self.config.account.clone();
                self.ask(now, State::Account, |client| client.new_account(now, account, None));
            }
            Ok(_) => self.fail(now, NdcError::NoDelegation),
            Err(error) => self.fail(now, NdcError::Client(error)),
        }
    }

    pub(super) fn saw_account(&mut self, now: Now, result: Result<Answer, ClientError>) {
        let url = match result {
            Ok(Answer::Account { url, .. }) => url,
            Ok(_) => return,
            Err(error) => return self.fail(now, NdcError::Client(error)),
        };
        self.kept.account = Some(url);
        match self.config.delegation.clone() {
            Some(url) => self.read_next(now, VecDeque::from([url]), Vec::new()),
            None => self.ask(now, State::Listing, |client| client.delegations(now)),
        }
    }

    pub(super) fn saw_list(&mut self, now: Now, result: Result<Answer, ClientError>) {
        match result {
            Ok(Answer::Delegations(urls)) => self.read_next(now, urls.into(), Vec::new()),
            Ok(_) => {}
            Err(error) => self.fail(now, NdcError::Client(error)),
        }
    }

    fn read_next(&mut self, now: Now, mut rest: VecDeque<String>, unfit: Vec<(String, Unfit)>) {
        let Some(url) = rest.pop_front() else { return self.fail(now, NdcError::Unfit(unfit)) };
        self.kept.delegation = Some(url.clone());
        self.ask(now, |call| State::Reading { call, rest, unfit }, |client| client.delegation(now, url));
    }

    pub(super) fn saw_delegation(
        &mut self,
        now: Now,
        rest: VecDeque<String>,
        mut unfit: Vec<(String, Unfit)>,
        result: Result<Answer, ClientError>,
    ) {
        let delegation = match result {
            Ok(Answer::Delegation(delegation)) => delegation,
            Ok(_) => return,
            Err(error) => return self.fail(now, NdcError::Client(error)),
        };
        match self.request_for(&delegation) {
            Ok(csr) => {
                let auto_renewal = self.config.star.map(|star| {
                    AutoRenewal::new(now.date_in(star.duration), star.lifetime)
                        .with_lifetime_adjust(star.adjust)
                        .with_certificate_get(true)
                });
                self.kept.order = Some(KeptOrder { url: None, csr, auto_renewal, certificate: None, installed: false });
                self.pursue(now);
            }
            Err(why) => {
                unfit.push((self.kept.delegation.take().unwrap_or_default(), why));
                self.read_next(now, rest, unfit);
            }
        }
    }

    /// The request that a delegation wants. It is checked as the name owner will.
    fn request_for(&self, delegation: &Delegation) -> Result<Vec<u8>, Unfit> {
        let template = &delegation.csr_template;
        let plan = template.plan(&self.config.answers).map_err(Unfit::Plan)?;
        let mut wanted = self.config.names.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let mut planned = plan.dns.clone();
        planned.sort_unstable();
        if !wanted.is_empty() && planned != wanted {
            return Err(Unfit::Names(planned));
        }
        if !template.accepts_key(self.key.public_key()) {
            return Err(Unfit::Key(template.key_types().iter().map(ToString::to_string).collect()));
        }
        let csr = plan.build(&*self.key).map_err(Unfit::Build)?;
        // The name owner has a policy for what the template leaves open; we ask for what we want.
        let policy = |_: &str| true;
        let checker = Checker::new().with_identifiers(&planned).with_name_policy(&policy);
        let limits = &self.client.config().messages;
        let read = Csr::decode(&csr, limits).map_err(|_| Unfit::Names(planned.clone()))?;
        checker.check(template, &read, &*self.verifier).map_err(Unfit::Report)?;
        Ok(csr)
    }

    /// The names that stand in the request.
    pub(super) fn ordered_names(&self, limits: &Limits) -> Vec<String> {
        let Some(order) = &self.kept.order else { return Vec::new() };
        let Ok(csr) = Csr::decode(&order.csr, limits) else { return Vec::new() };
        csr.dns_names().map(str::to_owned).collect()
    }

    /// Makes the order that is planned, or goes on with it.
    pub(super) fn pursue(&mut self, now: Now) {
        let names = self.ordered_names(&self.client.config().messages);
        let Some(order) = &self.kept.order else { return };
        let identifiers: Vec<Identifier> = names.iter().filter_map(|name| Identifier::dns(name)).collect();
        let mut identifiers = identifiers;
        identifiers.sort_unstable();
        identifiers.dedup();
        let mut asked = NewOrder::new(identifiers);
        asked.delegation.clone_from(&self.kept.delegation);
        match order.auto_renewal {
            Some(agreed) => asked.auto_renewal = Some(agreed),
            None => asked.allow_certificate_get = Some(true),
        }
        let mut wanted = Obtain::new(asked, order.csr.clone()).with_challenges([]).without_download();
        if let Some(url) = &order.url {
            wanted = wanted.resume(url.clone());
        }
        self.ask(now, State::Ordering, |client| client.obtain(now, wanted));
    }

    pub(super) fn placed(&mut self, now: Now, url: String, order: &Order) {
        let lints = order.auto_renewal.map(|agreed| agreed.lint(now.unix)).unwrap_or_default();
        if let Some(kept) = &mut self.kept.order {
            kept.url = Some(url.clone());
        }
        self.events.push_back(NdcEvent::Ordered { url, lints });
    }

    pub(super) fn saw_order(&mut self, now: Now, result: Result<Answer, ClientError>) {
        match result {
            Ok(Answer::Obtained { order, .. }) => {
                let is_star = order.star_certificate.is_some();
                if let Some(kept) = &mut self.kept.order {
                    // What the CA has changed counts.
                    kept.auto_renewal = order.auto_renewal.filter(|_| is_star);
                    kept.certificate = if is_star { order.star_certificate } else { order.certificate };
                }
                self.backoff.reset();
                self.timer = None;
                self.kept.etag = None;
                self.restart_timer(now);
                self.fetch(now);
            }
            Ok(_) => {}
            Err(ClientError::Order(order)) => {
                self.kept.order = None;
                if order.status == OrderStatus::Canceled {
                    return self.canceled(now);
                }
                let star_get = order.auto_renewal.and_then(|agreed| agreed.allow_certificate_get);
                let refused = star_get == Some(false) || order.allow_certificate_get == Some(false);
                let error =
                    if refused { NdcError::NoCertificateGet } else { NdcError::Client(ClientError::Order(order)) };
                self.fail(now, error);
            }
            Err(ClientError::PeerIncompatible(PeerIncompatible::NoCertificateGet)) => {
                self.kept.order = None;
                self.fail(now, NdcError::NoCertificateGet);
            }
            Err(error) => {
                // One that is only slow is found again by its URL; one that is refused is not ours any more.
                if !matches!(error, ClientError::TimedOut(_)) {
                    self.kept.order = None;
                }
                self.fail(now, NdcError::Client(error));
            }
        }
    }
}
