//! An order, pursued from its begin to the certificate: authorizations, challenges, the request, waiting.
//! [RFC 8555 section 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4),
//! [RFC 8739 section 2.2](https://www.rfc-editor.org/rfc/rfc8739#section-2.2)

use std::sync::Arc;

use watchfire_core::{Backoff, Instant};

use super::call::Call;
use super::error::{ClientError, PeerIncompatible, PeerMisbehaved};
use super::event::{Answer, CallId, ClientEvent, Provision, ProvisionId};
use super::{Client, Timer};
use crate::acme::challenge::key_authorization;
use crate::acme::{
    Authorization, AuthorizationStatus, ChallengeKind, ChallengeStatus, NewOrder, Order, OrderStatus, Problem,
    ProblemType,
};
use crate::csr::Csr;
use crate::error::ApiMisuse;
use crate::names;
use crate::now::Now;

/// What to obtain, and how.
#[derive(Debug, Clone)]
pub struct Obtain {
    order: NewOrder,
    csr: Arc<[u8]>,
    challenges: Vec<ChallengeKind>,
    resume: Option<String>,
    download: bool,
}

impl Obtain {
    /// A certificate for an order and a request (DER) that is for the same names. It is fetched at the end; the challenges
    /// that are met are dns-01, http-01 and tls-alpn-01, the first of them that the server offers.
    pub fn new(order: NewOrder, csr: impl Into<Arc<[u8]>>) -> Self {
        let challenges = vec![ChallengeKind::Dns01, ChallengeKind::Http01, ChallengeKind::TlsAlpn01];
        Self { order, csr: csr.into(), challenges, resume: None, download: true }
    }

    /// The same with these kinds of challenge, the preferred one first; all others are never met.
    #[must_use]
    pub fn with_challenges(mut self, kinds: impl IntoIterator<Item = ChallengeKind>) -> Self {
        self.challenges = kinds.into_iter().collect();
        self
    }

    /// The same without fetching the certificate: whoever wants it has the URL in the order.
    #[must_use]
    pub const fn without_download(mut self) -> Self {
        self.download = false;
        self
    }

    /// The same, going on with an order that was made before ([`ClientEvent::Placed`]), wherever it stands.
    #[must_use]
    pub fn resume(mut self, url: impl Into<String>) -> Self {
        self.resume = Some(url.into());
        self
    }

    /// [RFC 8555 section 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4): the names of the request are those of
    /// the order.
    fn is_for_its_names(&self, limits: &crate::Limits) -> bool {
        let Ok(csr) = Csr::decode(&self.csr, limits) else { return false };
        let mut found: Vec<Option<String>> = csr.dns_names().map(names::normalize).collect();
        let mut wanted: Vec<Option<String>> =
            self.order.identifiers.iter().map(|identifier| Some(identifier.value().to_owned())).collect();
        found.sort_unstable();
        found.dedup();
        wanted.sort_unstable();
        found == wanted
    }
}

/// An order that is pursued.
#[derive(Debug)]
pub(super) struct Pursuit {
    wanted: Obtain,
    until: Instant,
    backoff: Backoff,
    poll_at: Option<Instant>,
    url: String,
    order: Option<Box<Order>>,
    authorizations: Vec<Effort>,
    /// The call about the order itself that is not answered yet.
    about_order: Option<CallId>,
}

/// An authorization that is pursued.
#[derive(Debug)]
struct Effort {
    url: String,
    state: EffortState,
    /// What was provisioned for it.
    provision: Option<(Provision, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EffortState {
    /// A call is not answered yet.
    Asking(CallId),
    /// The driver provisions.
    Provisioning,
    /// It is looked at again later.
    Waiting,
    Valid,
}

impl Client {
    /// Obtains a certificate: makes an order or goes on with one, meets challenges ([`ClientEvent::Provision`]), sends
    /// the request, waits, and fetches the certificate. The answer is [`Answer::Obtained`].
    ///
    /// Before any challenge is met the order is looked at: if the server has left out that it is to be renewed
    /// automatically, or that everybody may fetch the certificate, the order is left to lapse
    /// ([`ClientError::PeerIncompatible`]). Servers pass over what they do not know, and would otherwise make a
    /// certificate of another kind.
    ///
    /// # Errors
    /// When too many calls wait, and when the names of order and request differ.
    pub fn obtain(&mut self, now: Now, wanted: Obtain) -> Result<CallId, ClientError> {
        self.check_room()?;
        if !wanted.is_for_its_names(&self.config.messages) {
            return Err(ClientError::ApiMisuse(ApiMisuse::OtherNames));
        }
        self.tell(now);
        let id = CallId(self.number());
        let until = now.instant + self.config.limits.order;
        self.timers.insert((until, Timer::Pursuit(id)));
        let call = match &wanted.resume {
            Some(url) => Call::Order(url.clone()),
            None => Call::NewOrder(Box::new(wanted.order.clone())),
        };
        let url = wanted.resume.clone().unwrap_or_default();
        let backoff = self.backoff();
        let pursuit = Pursuit {
            wanted,
            until,
            backoff,
            poll_at: None,
            url,
            order: None,
            authorizations: Vec::new(),
            about_order: None,
        };
        self.pursuits.insert(id, pursuit);
        self.ask_about_order(now, id, call);
        Ok(id)
    }

    /// A challenge is provisioned: the server may look now.
    pub fn provisioned(&mut self, now: Now, id: ProvisionId) {
        let Some(call) = self.provisions.get(&id).copied() else { return };
        let next = self.fresh_call();
        let Some(effort) = self.effort_of(call, id).filter(|effort| effort.state == EffortState::Provisioning) else {
            return;
        };
        let Some((_, url)) = &effort.provision else { return };
        let url = url.clone();
        effort.state = EffortState::Asking(next);
        self.begin(now, next, Some(call), Call::Challenge(url));
        self.pump(now);
    }

    /// A challenge cannot be provisioned: the order is given up.
    pub fn provision_failed(&mut self, now: Now, id: ProvisionId, detail: impl Into<String>) {
        let Some(call) = self.provisions.get(&id).copied() else { return };
        let Some(effort) = self.effort_of(call, id) else { return };
        let Some((provision, _)) = &effort.provision else { return };
        let identifier = provision.identifier.clone();
        self.give_up(now, call, ClientError::Provision { identifier, detail: detail.into() });
        self.pump(now);
    }

    fn effort_of(&mut self, call: CallId, id: ProvisionId) -> Option<&mut Effort> {
        let efforts = &mut self.pursuits.get_mut(&call)?.authorizations;
        efforts.iter_mut().find(|effort| effort.provision.as_ref().is_some_and(|(provision, _)| provision.id == id))
    }

    fn fresh_call(&mut self) -> CallId {
        CallId(self.number())
    }

    fn ask_about_order(&mut self, now: Now, id: CallId, call: Call) {
        let next = self.fresh_call();
        if let Some(pursuit) = self.pursuits.get_mut(&id) {
            pursuit.about_order = Some(next);
            self.begin(now, next, Some(id), call);
        }
    }

    /// A call that was made for an order is answered.
    pub(super) fn advance(&mut self, now: Now, id: CallId, call: CallId, result: Result<Answer, ClientError>) {
        let Some(pursuit) = self.pursuits.get_mut(&id) else { return };
        let is_about_order = pursuit.about_order == Some(call);
        if is_about_order {
            pursuit.about_order = None;
        }
        let effort = pursuit.authorizations.iter().position(|effort| effort.state == EffortState::Asking(call));
        match (result, effort) {
            (Ok(Answer::Order { url, order, retry_after }), None) if is_about_order => {
                self.look_at_order(now, id, url, order, retry_after);
            }
            (Ok(Answer::Certificate(certificate)), None) if is_about_order => {
                let (Some(order), url) = (pursuit.order.take(), pursuit.url.clone()) else { return };
                self.end(now, id, Ok(Answer::Obtained { url, order, certificate: Some(certificate) }));
            }
            (Ok(Answer::Authorization { authorization, retry_after }), Some(at)) => {
                self.look_at_authorization(now, id, at, &authorization, retry_after);
            }
            (Ok(Answer::Challenge(_)), Some(at)) => {
                // What became of it the authorization says.
                if let Some(effort) = pursuit.authorizations.get_mut(at) {
                    effort.state = EffortState::Waiting;
                }
                self.poll_later(now, id, None);
            }
            (Err(ClientError::Problem(problem)), None)
                if is_about_order && problem.kind == ProblemType::OrderNotReady && !pursuit.url.is_empty() =>
            {
                // It is not what it was when it was read: perhaps the request went through and the answer was lost.
                self.poll_later(now, id, None);
            }
            (Err(error), _) => self.give_up(now, id, error),
            (Ok(_), _) => {}
        }
    }

    fn look_at_order(&mut self, now: Now, id: CallId, url: String, order: Box<Order>, retry_after: Option<u64>) {
        let Some(pursuit) = self.pursuits.get_mut(&id) else { return };
        let fits = match &pursuit.order {
            Some(before) if !order.is_still(before) => Err(ClientError::PeerMisbehaved(PeerMisbehaved::OrderChanged)),
            Some(_) => Ok(()),
            None => check_order(&pursuit.wanted.order, &order),
        };
        let is_new = pursuit.order.is_none() && pursuit.wanted.resume.is_none();
        let is_first = pursuit.order.is_none();
        pursuit.url.clone_from(&url);
        pursuit.order = Some(order.clone());
        if is_new {
            self.events.push_back(ClientEvent::Placed { id, url: url.clone(), order: order.clone() });
        }
        // A server that breaks an order off says so in the order, and may say there too what it cannot do.
        if matches!(order.status, OrderStatus::Invalid | OrderStatus::Canceled) {
            self.give_up(now, id, ClientError::Order(order));
            return;
        }
        if let Err(error) = fits {
            self.give_up(now, id, error);
            return;
        }
        let Some(pursuit) = self.pursuits.get_mut(&id) else { return };
        match order.status {
            OrderStatus::Pending if is_first => {
                for url in &order.authorizations {
                    let next = self.fresh_call();
                    let effort = Effort { url: url.clone(), state: EffortState::Asking(next), provision: None };
                    if let Some(pursuit) = self.pursuits.get_mut(&id) {
                        pursuit.authorizations.push(effort);
                    }
                    self.begin(now, next, Some(id), Call::Authorization(url.clone()));
                }
                if order.authorizations.is_empty() {
                    self.poll_later(now, id, retry_after);
                }
            }
            OrderStatus::Pending | OrderStatus::Processing => self.poll_later(now, id, retry_after),
            OrderStatus::Ready => {
                let csr = Arc::clone(&pursuit.wanted.csr);
                // What was provisioned has done its work.
                self.clean_up(id);
                self.ask_about_order(now, id, Call::Finalize { order: url, url: order.finalize, csr });
            }
            OrderStatus::Valid => {
                let is_star = pursuit.wanted.order.auto_renewal.is_some();
                let found = if is_star { order.star_certificate.clone() } else { order.certificate.clone() };
                let Some(found) = found else {
                    self.give_up(now, id, ClientError::PeerMisbehaved(PeerMisbehaved::NoCertificate));
                    return;
                };
                if pursuit.wanted.download {
                    self.ask_about_order(now, id, Call::Certificate(found));
                } else {
                    self.end(now, id, Ok(Answer::Obtained { url, order, certificate: None }));
                }
            }
            OrderStatus::Invalid | OrderStatus::Canceled => {}
        }
    }

    fn look_at_authorization(
        &mut self,
        now: Now,
        id: CallId,
        at: usize,
        authorization: &Authorization,
        retry_after: Option<u64>,
    ) {
        let Some(pursuit) = self.pursuits.get_mut(&id) else { return };
        let Some(effort) = pursuit.authorizations.get_mut(at) else { return };
        match authorization.status {
            AuthorizationStatus::Valid => {
                effort.state = EffortState::Valid;
                if pursuit.authorizations.iter().all(|effort| effort.state == EffortState::Valid) {
                    let url = pursuit.url.clone();
                    self.ask_about_order(now, id, Call::Order(url));
                }
            }
            AuthorizationStatus::Pending if effort.provision.is_some() => {
                effort.state = EffortState::Waiting;
                self.poll_later(now, id, retry_after);
            }
            AuthorizationStatus::Pending => {
                let offered = &authorization.challenges;
                // One that the server looks at already was answered before a restart.
                if offered.iter().any(|challenge| challenge.status == ChallengeStatus::Processing) {
                    effort.state = EffortState::Waiting;
                    self.poll_later(now, id, retry_after);
                    return;
                }
                let mut wanted = pursuit.wanted.challenges.iter();
                let chosen = wanted.find_map(|kind| {
                    offered.iter().find(|known| known.kind == *kind && known.status == ChallengeStatus::Pending)
                });
                let identifier = authorization.identifier.clone();
                let Some((challenge, token)) = chosen.and_then(|chosen| Some((chosen, chosen.token.clone()?))) else {
                    let offered = offered.iter().map(|challenge| challenge.kind.clone()).collect();
                    let error = PeerIncompatible::NoChallenge { identifier, offered };
                    self.give_up(now, id, ClientError::PeerIncompatible(error));
                    return;
                };
                let key_authorization = key_authorization(&token, self.signer.public_key());
                let provision = ProvisionId(self.counter.saturating_add(1));
                self.counter = provision.0;
                let kind = challenge.kind.clone();
                let provision = Provision { id: provision, call: id, identifier, kind, token, key_authorization };
                self.provisions.insert(provision.id, id);
                effort.provision = Some((provision.clone(), challenge.url.clone()));
                effort.state = EffortState::Provisioning;
                self.events.push_back(ClientEvent::Provision(provision));
            }
            status => {
                let failed = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
                let problem = failed.unwrap_or_else(|| {
                    let detail = format!("the authorization of {} is {status}", authorization.identifier);
                    Problem::new(ProblemType::Unauthorized, detail)
                });
                self.give_up(now, id, problem.into());
            }
        }
    }

    /// Looks again later at whatever is not done.
    fn poll_later(&mut self, now: Now, id: CallId, retry_after: Option<u64>) {
        let Some(pursuit) = self.pursuits.get_mut(&id) else { return };
        if pursuit.poll_at.is_some() {
            return;
        }
        let at = Self::later(now, pursuit.backoff.next_delay(), retry_after);
        if at >= pursuit.until {
            let detail = format!("the order {} is not done, and the server wants more time", pursuit.url);
            self.give_up(now, id, ClientError::TimedOut(Some(detail)));
            return;
        }
        pursuit.poll_at = Some(at);
        self.timers.insert((at, Timer::Poll(id)));
    }

    pub(super) fn poll_pursuit(&mut self, now: Now, id: CallId) {
        let Some(pursuit) = self.pursuits.get_mut(&id) else { return };
        pursuit.poll_at = None;
        let efforts = pursuit.authorizations.iter().enumerate();
        let waiting: Vec<(usize, String)> = efforts
            .filter(|(_, effort)| effort.state == EffortState::Waiting)
            .map(|(at, effort)| (at, effort.url.clone()))
            .collect();
        let is_authorizing = pursuit.authorizations.iter().any(|effort| effort.state != EffortState::Valid);
        if !is_authorizing && pursuit.about_order.is_none() {
            let url = pursuit.url.clone();
            self.ask_about_order(now, id, Call::Order(url));
            return;
        }
        for (at, url) in waiting {
            let next = self.fresh_call();
            if let Some(effort) = self.pursuits.get_mut(&id).and_then(|pursuit| pursuit.authorizations.get_mut(at)) {
                effort.state = EffortState::Asking(next);
                self.begin(now, next, Some(id), Call::Authorization(url));
            }
        }
    }

    pub(super) fn pursuit_out_of_time(&mut self, now: Now, id: CallId) {
        self.give_up(now, id, ClientError::TimedOut(self.last_failure.clone()));
    }

    pub(super) fn give_up(&mut self, now: Now, id: CallId, error: ClientError) {
        self.end(now, id, Err(error));
    }

    fn clean_up(&mut self, id: CallId) {
        let Some(pursuit) = self.pursuits.get_mut(&id) else { return };
        for effort in &mut pursuit.authorizations {
            if let Some((provision, _)) = effort.provision.take() {
                self.provisions.remove(&provision.id);
                self.events.push_back(ClientEvent::CleanUp(provision));
            }
        }
    }

    /// A pursuit is over.
    fn end(&mut self, now: Now, id: CallId, result: Result<Answer, ClientError>) {
        self.clean_up(id);
        let Some(pursuit) = self.pursuits.remove(&id) else { return };
        self.timers.remove(&(pursuit.until, Timer::Pursuit(id)));
        if let Some(at) = pursuit.poll_at {
            self.timers.remove(&(at, Timer::Poll(id)));
        }
        self.events.push_back(ClientEvent::Answered { id, result });
        // What was still asked for it nobody waits for.
        let orphans: Vec<CallId> =
            self.calls.iter().filter(|(_, pending)| pending.owner == Some(id)).map(|(id, _)| *id).collect();
        for orphan in orphans {
            self.finish(now, orphan, Err(ClientError::TimedOut(None)));
        }
    }
}

/// Whether a new order is the one that was asked for, and does what it must.
fn check_order(asked: &NewOrder, order: &Order) -> Result<(), ClientError> {
    let other = |what| Err(ClientError::PeerMisbehaved(PeerMisbehaved::OtherOrder(what)));
    let (mut found, mut wanted) = (order.identifiers.clone(), asked.identifiers.clone());
    found.sort_unstable();
    wanted.sort_unstable();
    if found != wanted {
        return other("its identifiers are others");
    }
    if let Some(star) = &asked.auto_renewal {
        let Some(agreed) = &order.auto_renewal else {
            return Err(ClientError::PeerIncompatible(PeerIncompatible::NoAutoRenewal));
        };
        if star.allow_certificate_get == Some(true) && agreed.allow_certificate_get != Some(true) {
            return Err(ClientError::PeerIncompatible(PeerIncompatible::NoCertificateGet));
        }
    } else if order.auto_renewal.is_some() {
        return other("it is to be renewed automatically");
    }
    if asked.allow_certificate_get == Some(true) && order.allow_certificate_get != Some(true) {
        return Err(ClientError::PeerIncompatible(PeerIncompatible::NoCertificateGet));
    }
    if asked.delegation.is_some() {
        if order.delegation != asked.delegation {
            return other("its delegation is not reflected");
        }
        if order.status == OrderStatus::Pending || !order.authorizations.is_empty() {
            return other("a delegated order has nothing to authorize");
        }
    }
    Ok(())
}
