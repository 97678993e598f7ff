//! What is done with the CA for an order, and what its answers mean for the delegate.
//! [RFC 9115 sections 2.3.2](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.2),
//! [2.3.3](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.3)

use rand::RngExt as _;
use watchfire_core::Duration;

use super::config::Serving;
use super::event::{Audit, IdoEvent};
use super::server::{DAY, star_expires};
use super::store::Work;
use super::{Ido, is_idle};
use crate::acme::client::{Answer, CallId, Client, ClientError, ClientEvent, Obtain, PeerIncompatible};
use crate::acme::server::OrderId;
use crate::acme::{NewOrder, Order, OrderStatus, Problem, ProblemType};
use crate::error::ApiMisuse;
use crate::now::Now;

impl Ido {
    /// Makes, or finds, the account at the CA; and reads its directory.
    pub(super) fn want_account(&mut self, now: Now) {
        if self.account_call.is_some() || self.account_at.is_some() {
            return;
        }
        let call = match self.client.account() {
            Some(_) if self.client.directory().is_some() => return,
            Some(_) => self.client.read_directory(now),
            None => self.client.new_account(now, self.config.account.clone(), self.config.external.clone()),
        };
        match call {
            Ok(call) => self.account_call = Some(call),
            Err(error) => self.account_failed(now, &error),
        }
    }

    fn account_failed(&mut self, now: Now, error: &ClientError) {
        self.audit(None, Audit::Trouble { detail: error.to_string() });
        self.account_at = Some(now.instant + self.backoff.next_delay());
    }

    pub(super) fn heard(&mut self, now: Now, event: ClientEvent) {
        match event {
            ClientEvent::Exchange(exchange) => self.events.push_back(IdoEvent::Exchange(exchange)),
            ClientEvent::Abandon(id) => self.events.push_back(IdoEvent::Abandon(id)),
            ClientEvent::Provision(provision) => self.events.push_back(IdoEvent::Provision(provision)),
            ClientEvent::CleanUp(provision) => self.events.push_back(IdoEvent::CleanUp(provision)),
            ClientEvent::Placed { id, url, order } => self.placed(id, url, &order),
            ClientEvent::Answered { id, result } if self.account_call == Some(id) => {
                self.account_call = None;
                match result {
                    Ok(_) => self.backoff.reset(),
                    Err(error) => self.account_failed(now, &error),
                }
            }
            ClientEvent::Answered { id, result } => {
                let Some(order) = self.store.jobs.remove(&id) else { return };
                self.job_done(now, &order, result);
            }
        }
    }

    /// Does the next thing that an order wants.
    pub(super) fn work(&mut self, now: Now, id: &OrderId) {
        let Some(order) = self.store.orders.get(id) else { return };
        if is_idle(order.work) && order.retry_at.is_none() {
            match order.status {
                OrderStatus::Processing => self.request(now, id),
                OrderStatus::Valid if order.stopping => self.stop(now, id),
                OrderStatus::Canceled if order.revoking => self.stop(now, id),
                OrderStatus::Valid => self.refresh(now, id),
                OrderStatus::Invalid if order.discarding => {
                    let url = order.upstream.clone().unwrap_or_default();
                    self.job(now, id, Work::Discarding, |client| client.read_order(now, url));
                }
                _ => {}
            }
        }
        self.store.reschedule(now.unix, id);
    }

    /// Starts a call for an order.
    pub(super) fn job(
        &mut self,
        now: Now,
        id: &OrderId,
        work: Work,
        call: impl FnOnce(&mut Client) -> Result<CallId, ClientError>,
    ) {
        match call(&mut self.client) {
            Ok(call) => {
                self.store.jobs.insert(call, *id);
                if let Some(order) = self.store.orders.get_mut(id) {
                    order.work = work;
                }
            }
            Err(error) => self.try_again(now, id, &error),
        }
    }

    /// Asks the CA for the certificate of an order whose request fits.
    fn request(&mut self, now: Now, id: &OrderId) {
        let Some(order) = self.store.orders.get(id) else { return };
        // It may have been taken away since the order was made, or while this server was away.
        let is_proxied = match self.rule_for(&order.account, &order.delegation) {
            Ok(rule) => rule.upstream.is_some(),
            Err(gone) => return self.give_up(now, id, Some(&gone), gone.to_string()),
        };
        let Some(directory) = self.client.directory().cloned() else {
            self.job(now, id, Work::Directory, |client| client.read_directory(now));
            return;
        };
        let hands_through = self.config.serving == Serving::HandThrough;
        let lets_get = match order.auto_renewal {
            Some(_) => directory.meta.auto_renewal.map(|meta| meta.allow_certificate_get),
            None => Some(directory.meta.allow_certificate_get),
        };
        if order.emulated.is_some() || (order.auto_renewal.is_some() && lets_get.is_none() && self.may_emulate(id)) {
            self.emulate(now, id);
            return;
        }
        let fits = match lets_get {
            None => false,
            // One who stands between us and the CA need not say what the CA lets: its order will.
            Some(lets) => lets || !hands_through || is_proxied,
        };
        if !fits {
            self.refuse_get(now, id);
            return;
        }
        let Some(wanted) = self.obtain_for(id) else { return };
        self.job(now, id, Work::Obtaining, |client| client.obtain(now, wanted));
    }

    pub(super) fn may_emulate(&self, id: &OrderId) -> bool {
        let order = self.store.orders.get(id);
        let rule = order.and_then(|order| self.config.rules.get(&order.delegation));
        self.config.emulation.is_some() && rule.is_some_and(|rule| rule.upstream.is_none())
    }

    /// The order at the CA that belongs to one of a delegate.
    fn obtain_for(&self, id: &OrderId) -> Option<Obtain> {
        let order = self.store.orders.get(id)?;
        let own = self.config.serving == Serving::Own;
        let mut asked = NewOrder::new(order.identifiers.clone());
        asked.auto_renewal = order.auto_renewal;
        if let Some(agreed) = asked.auto_renewal.as_mut().filter(|_| own) {
            // We are the owner of that order, and fetch as such.
            agreed.allow_certificate_get = None;
        }
        asked.allow_certificate_get = order.certificate_get.filter(|_| !own);
        (asked.not_before, asked.not_after) = order.validity;
        // The delegation is ours, and no affair of the CA's; a proxy has another one in its place.
        asked.delegation = self.config.rules.get(&order.delegation).and_then(|rule| rule.upstream.clone());
        if asked.delegation.is_some() {
            asked.hops = order.hops.saturating_add(1);
        }
        let mut wanted = Obtain::new(asked, order.csr.clone()?).with_challenges(self.config.challenges.iter().cloned());
        if !own {
            wanted = wanted.without_download();
        }
        Some(match &order.upstream {
            Some(url) => wanted.resume(url.clone()),
            None => wanted,
        })
    }

    fn placed(&mut self, call: CallId, url: String, placed: &Order) {
        let Some(id) = self.store.jobs.get(&call).cloned() else { return };
        let Some(order) = self.store.orders.get_mut(&id) else { return };
        order.upstream = Some(url.clone());
        if let (Some(ours), Some(theirs), None) = (&mut order.auto_renewal, placed.auto_renewal, &order.emulated) {
            // What the CA has changed is what the delegate gets.
            let get = ours.allow_certificate_get;
            *ours = theirs;
            ours.allow_certificate_get = get;
        }
        self.audit(Some(&id), Audit::Placed { url });
    }

    fn job_done(&mut self, now: Now, id: &OrderId, result: Result<Answer, ClientError>) {
        let Some(order) = self.store.orders.get_mut(id) else { return };
        let work = std::mem::replace(&mut order.work, Work::Nothing);
        if result.is_ok() {
            order.attempts = 0;
        }
        match (work, result) {
            // It was given up here meanwhile, and is to be given up there too.
            (_, Ok(Answer::Obtained { url, order: theirs, .. }))
                if order.status == OrderStatus::Invalid && theirs.auto_renewal.is_some() =>
            {
                self.job(now, id, Work::Discarding, |client| client.cancel(now, url));
            }
            (Work::Discarding, Ok(Answer::Order { url, order: theirs, .. })) => {
                match (theirs.status, theirs.auto_renewal) {
                    (OrderStatus::Valid, Some(_)) => {
                        self.job(now, id, Work::Discarding, |client| client.cancel(now, url));
                    }
                    (OrderStatus::Processing, _) => {
                        let waits = ClientError::TimedOut(Some("the CA still makes a certificate".to_owned()));
                        self.try_again(now, id, &waits);
                    }
                    // It has not got our request, and never will.
                    _ => order.discarding = false,
                }
            }
            (Work::Discarding, Err(ClientError::Problem(problem))) if is_final(&problem) => order.discarding = false,
            (Work::Obtaining, Ok(Answer::Obtained { order: theirs, certificate, .. })) => {
                let found = theirs.star_certificate.clone().or_else(|| theirs.certificate.clone());
                order.certificate = found;
                order.validity = (theirs.not_before.or(order.validity.0), theirs.not_after.or(order.validity.1));
                let expires = order.auto_renewal.map_or_else(|| now.date_in(90 * DAY), |agreed| star_expires(&agreed));
                order.expires = expires.max(theirs.expires.unwrap_or(expires).min(now.date_in(400 * DAY)));
                match certificate {
                    Some(fetched) => self.take(now, id, fetched.chain),
                    None => self.becomes_valid(id),
                }
            }
            (Work::Issuing(index), Ok(Answer::Obtained { certificate: Some(fetched), .. })) => {
                self.issued(now, id, index, fetched.chain);
            }
            (Work::Asking, Ok(Answer::RenewalInfo { info, retry_after })) => {
                self.told_when(now, id, Some((info, retry_after)));
            }
            (Work::Asking, _) => self.told_when(now, id, None),
            (Work::Fetching, Ok(Answer::Certificate(fetched))) => self.take(now, id, fetched.chain),
            (Work::Fetching, Err(error)) if is(&error, &ProblemType::AutoRenewalCanceled) => {
                self.becomes_canceled(now, id)
            }
            (Work::Fetching, Err(error)) if is(&error, &ProblemType::AutoRenewalExpired) => {
                // Its clock may be ahead of ours; nothing more comes of the order in any case.
                let end = order.auto_renewal.map_or(now.unix, |agreed| agreed.end);
                order.look_at = Some(end.max(now.date_in(600)));
            }
            (Work::Canceling, Ok(_)) => self.becomes_canceled(now, id),
            (Work::Checking, Ok(Answer::Order { order: theirs, .. })) if theirs.status == OrderStatus::Canceled => {
                self.becomes_canceled(now, id);
            }
            // It is asked again when its time comes.
            (Work::Checking, Err(error)) => self.audit(Some(id), Audit::Trouble { detail: error.to_string() }),
            (Work::Recalling, Ok(Answer::Certificate(fetched))) => {
                let leaf = fetched.chain.into_iter().next().unwrap_or_default();
                self.job(now, id, Work::Revoking, |client| client.revoke(now, leaf, 5, None));
            }
            (Work::Revoking, Ok(_)) => self.recalled(now, id),
            (Work::Revoking, Err(error)) if is(&error, &ProblemType::AlreadyRevoked) => self.recalled(now, id),
            (Work::Revoking, Err(ClientError::Problem(problem))) if is_final(&problem) => {
                self.audit(Some(id), Audit::NotCanceled { detail: problem.to_string() });
                self.recalled(now, id);
            }
            (Work::Directory, Ok(_)) | (_, Ok(_)) => {}
            (work, Err(error)) => self.job_failed(now, id, work, error),
        }
        self.work(now, id);
    }

    fn job_failed(&mut self, now: Now, id: &OrderId, work: Work, error: ClientError) {
        let is_waiting = self.store.orders.get(id).is_some_and(|order| order.status == OrderStatus::Processing);
        let is_request = match work {
            Work::Obtaining => true,
            Work::Issuing(_) => is_waiting,
            _ => false,
        };
        match error {
            ClientError::PeerIncompatible(PeerIncompatible::NoAutoRenewal) if is_request && self.may_emulate(id) => {
                self.emulate(now, id);
            }
            ClientError::PeerIncompatible(PeerIncompatible::NoAutoRenewal | PeerIncompatible::NoCertificateGet)
                if is_request =>
            {
                self.refuse_get(now, id)
            }
            ClientError::ApiMisuse(ApiMisuse::NoAccount) => {
                self.want_account(now);
                self.try_again(now, id, &error);
            }
            // The CA has decided.
            ClientError::Order(theirs) if is_request => {
                let refused = theirs.auto_renewal.is_some_and(|agreed| agreed.allow_certificate_get == Some(false))
                    || theirs.allow_certificate_get == Some(false);
                if refused {
                    self.refuse_get(now, id);
                } else {
                    let detail = ClientError::Order(theirs.clone()).to_string();
                    self.invalidate(now, id, theirs.error.as_ref(), detail);
                }
            }
            ClientError::Problem(problem) if is_request && is_final(&problem) => {
                let detail = problem.to_string();
                self.give_up(now, id, Some(&problem), detail);
            }
            ClientError::PeerIncompatible(_) | ClientError::PeerMisbehaved(_) if is_request => {
                self.give_up(now, id, None, error.to_string());
            }
            ClientError::Problem(problem)
                if matches!(work, Work::Canceling | Work::Recalling) && is_final(&problem) =>
            {
                self.audit(Some(id), Audit::NotCanceled { detail: problem.to_string() });
                if let Some(order) = self.store.orders.get_mut(id) {
                    (order.stopping, order.revoking) = (false, false);
                }
            }
            error => {
                let unixtime = now.unix;
                if let (Work::Issuing(_), Some(order)) = (work, self.store.orders.get_mut(id)) {
                    order.no_replaces |= is(&error, &ProblemType::AlreadyReplaced);
                    // Each slot has an order of its own.
                    if !matches!(error, ClientError::TimedOut(_) | ClientError::Provision { .. }) {
                        order.upstream = None;
                    }
                    if let Some(star) = &mut order.emulated {
                        star.failed(unixtime);
                    }
                }
                self.try_again(now, id, &error);
            }
        }
    }

    /// Something failed that may go well later.
    pub(super) fn try_again(&mut self, now: Now, id: &OrderId, error: &ClientError) {
        self.audit(Some(id), Audit::Trouble { detail: error.to_string() });
        let spread: u64 = self.random.random_range(0..1000);
        let Some(order) = self.store.orders.get_mut(id) else { return };
        let lifetime = order.auto_renewal.map_or(600, |agreed| agreed.lifetime);
        let most = (lifetime / 16).clamp(1, 600);
        let secs = 1_u64.checked_shl(order.attempts).unwrap_or(most).min(most);
        order.attempts = order.attempts.saturating_add(1).min(16);
        let at = now.instant + Duration::from_millis(secs.saturating_mul(1000).saturating_add(spread));
        order.retry_at = Some(at);
        self.store.retries.insert((at, *id));
    }

    /// The CA would not let the delegate fetch: the order ends before a challenge is met.
    fn refuse_get(&mut self, now: Now, id: &OrderId) {
        if let Some(order) = self.store.orders.get_mut(id) {
            match &mut order.auto_renewal {
                Some(agreed) => agreed.allow_certificate_get = Some(false),
                None => order.certificate_get = Some(false),
            }
        }
        let detail = "the CA does not let everybody fetch the certificate".to_owned();
        self.invalidate(now, id, None, detail);
    }

    /// Ends an order without certificate: nothing more is asked for it, and what the CA makes of it all the same is
    /// stopped there.
    pub(super) fn give_up(&mut self, now: Now, id: &OrderId, problem: Option<&Problem>, detail: String) {
        let Some(order) = self.store.orders.get(id) else { return };
        let is_there = order.upstream.is_some() && order.emulated.is_none();
        let calls: Vec<CallId> = self.store.jobs.iter().filter(|(_, of)| *of == id).map(|(call, _)| *call).collect();
        for call in calls {
            self.store.jobs.remove(&call);
            self.client.abandon(now, call);
        }
        self.invalidate(now, id, problem, detail);
        if let Some(order) = self.store.orders.get_mut(id) {
            order.discarding = is_there;
            if let Some(at) = order.retry_at.take() {
                self.store.retries.remove(&(at, *id));
            }
        }
        self.work(now, id);
    }

    /// The order has failed. The delegate is told the kind of problem, and nothing of what stands behind us.
    pub(super) fn invalidate(&mut self, now: Now, id: &OrderId, problem: Option<&Problem>, detail: String) {
        let kind = problem.map_or(ProblemType::ServerInternal, |problem| problem.kind.clone());
        let Some(order) = self.store.orders.get_mut(id) else { return };
        let mut told = Problem::new(kind, "the order of the name owner at the CA did not succeed");
        for sub in problem.map(|problem| &*problem.subproblems).unwrap_or_default() {
            if let Some(identifier) = sub.identifier.clone().filter(|known| order.identifiers.contains(known)) {
                told = told.with_subproblem(sub.kind.clone(), "refused by the CA", identifier);
            }
        }
        order.status = OrderStatus::Invalid;
        order.error = Some(told);
        order.expires = now.date_in(DAY);
        order.work = Work::Nothing;
        (order.stopping, order.revoking, order.look_at, order.emulated) = (false, false, None, None);
        self.audit(Some(id), Audit::Invalid { detail });
        self.store.reschedule(now.unix, id);
    }

    pub(super) fn becomes_valid(&mut self, id: &OrderId) {
        let Some(order) = self.store.orders.get_mut(id) else { return };
        if order.status == OrderStatus::Processing {
            order.status = OrderStatus::Valid;
            order.error = None;
            self.audit(Some(id), Audit::Valid);
        }
    }

    /// Stops an order at the CA.
    fn stop(&mut self, now: Now, id: &OrderId) {
        let Some(order) = self.store.orders.get(id) else { return };
        let upstream = order.upstream.clone();
        match (order.auto_renewal.is_some() && order.emulated.is_none(), upstream) {
            (true, Some(url)) => self.job(now, id, Work::Canceling, |client| client.cancel(now, url)),
            (false, _) => {
                if order.emulated.is_some() && order.status == OrderStatus::Valid {
                    // It is stopped at once; the certificate that is out there is revoked if that is wanted.
                    let revokes = self.config.emulation.as_ref().is_none_or(|emulation| emulation.revoke);
                    let unix = now.unix;
                    if let Some(order) = self.store.orders.get_mut(id) {
                        if let Some(star) = &mut order.emulated {
                            let _ = star.cancel(unix);
                        }
                        order.revoking = revokes;
                    }
                    self.becomes_canceled(now, id);
                    if !revokes {
                        return;
                    }
                }
                let Some(order) = self.store.orders.get_mut(id) else { return };
                let leaf = order.to_revoke(now.unix);
                order.recalled.clone_from(&leaf);
                // One that was handed through is not known here.
                let url = order.certificate.clone().filter(|_| order.served.is_none() && order.emulated.is_none());
                match (leaf, url) {
                    (Some(leaf), _) => self.job(now, id, Work::Revoking, |client| client.revoke(now, leaf, 5, None)),
                    (None, Some(url)) => self.job(now, id, Work::Recalling, |client| client.certificate(now, url)),
                    (None, None) => self.revoked(now, id),
                }
            }
            (true, None) => self.becomes_canceled(now, id),
        }
    }

    fn becomes_canceled(&mut self, now: Now, id: &OrderId) {
        let Some(order) = self.store.orders.get_mut(id) else { return };
        order.status = OrderStatus::Canceled;
        order.stopping = false;
        order.look_at = None;
        // What is out there stays good until then, and whoever asks for more is told why there is none.
        let until = order.served.as_ref().map_or(now.unix, |served| served.not_after);
        let lifetime = order.auto_renewal.map_or(0, |agreed| agreed.lifetime.saturating_mul(2));
        order.expires = until.max(now.date_in(DAY.max(lifetime)));
        self.audit(Some(id), Audit::Canceled);
        self.store.reschedule(now.unix, id);
    }

    /// The CA has answered about a certificate; there may be more of them.
    fn recalled(&mut self, now: Now, id: &OrderId) {
        let Some(order) = self.store.orders.get_mut(id) else { return };
        if let Some(leaf) = order.recalled.take() {
            order.forget(&leaf);
        }
        if order.emulated.is_none() || order.to_revoke(now.unix).is_none() {
            self.revoked(now, id);
        }
    }

    fn revoked(&mut self, now: Now, id: &OrderId) {
        self.audit(Some(id), Audit::Revoked);
        let Some(order) = self.store.orders.get_mut(id) else { return };
        order.revoking = false;
        if order.status != OrderStatus::Canceled {
            self.becomes_canceled(now, id);
        }
    }
}

fn is(error: &ClientError, kind: &ProblemType) -> bool {
    error.problem().is_some_and(|problem| problem.kind == *kind)
}

/// Whether asking again would be answered the same.
fn is_final(problem: &Problem) -> bool {
    let passes = [ProblemType::RateLimited, ProblemType::ServerInternal, ProblemType::BadNonce];
    !passes.contains(&problem.kind) && problem.http_status() < 500
}
