//! Certificates that are served here: fetched from the CA as its orders renew them, or ordered slot by slot.
//! [RFC 8739 section 3.3](https://www.rfc-editor.org/rfc/rfc8739#section-3.3)

use rand::RngExt as _;
use watchfire_core::UnixTime;

use super::config::Serving;
use super::event::Audit;
use super::server::star_expires;
use super::store::{ServedChain, Work};
use super::{Ido, is_idle};
use crate::acme::client::{ClientError, Obtain};
use crate::acme::renewal::{RenewalInfo, certificate_id};
use crate::acme::server::certificates::{Asker, chain_response, may_get};
use crate::acme::server::http::ResponseExt as _;
use crate::acme::server::id::Id;
use crate::acme::server::{OrderId, Request, Response, not_found};
use crate::acme::{NewOrder, OrderStatus, Problem, ProblemType};
use crate::certificate::{Certificate, encode_chain};
use crate::csr::Csr;
use crate::now::Now;
use crate::star::{CertificateHeaders, Look, RollTimer, Schedule, StarOrder, Task, cache_max_age};

/// The CA is asked after an order twice in the lifetime of a certificate; at least so many seconds lie between, and at
/// most so many.
const CHECK_MIN: u64 = 5;
const CHECK_MAX: u64 = 6 * 3600;

impl Ido {
    /// Answers whoever fetches a certificate.
    pub(super) fn serve(
        &mut self,
        now: Now,
        handle: &str,
        asker: Asker<'_>,
        request: &Request<'_>,
    ) -> Result<Response, Problem> {
        let missing = || not_found("there is no such certificate");
        let id =
            Id::from_text(handle).and_then(|handle| self.store.handles.get(&handle).copied()).ok_or_else(missing)?;
        let order = self.store.orders.get(&id).ok_or_else(missing)?;
        if asker.is_some_and(|(account, _)| order.account != *account) {
            return Err(missing());
        }
        let allowed = match order.auto_renewal {
            Some(agreed) => agreed.allow_certificate_get,
            None => order.certificate_get,
        };
        may_get(asker, allowed)?;
        // One that is being stopped is stopped here already.
        if order.status == OrderStatus::Canceled || order.stopping {
            return Err(Problem::new(ProblemType::AutoRenewalCanceled, "the order was canceled"));
        }
        if order.auto_renewal.is_some_and(|agreed| agreed.end <= now.unix) {
            return Err(Problem::new(ProblemType::AutoRenewalExpired, "the end date of the order has passed"));
        }
        let served = order.served.as_ref();
        let served = served.ok_or_else(|| Problem::new(ProblemType::OrderNotReady, "there is no certificate yet"))?;
        let left = |until: UnixTime| u64::try_from(until.as_secs().saturating_sub(now.unix.as_secs())).unwrap_or(0);
        let max_age = match (&order.emulated, order.look_at) {
            (Some(star), look_at) => {
                let next = star.current().map(|slot| cache_max_age(star.schedule(), &slot, now.unix));
                next.unwrap_or(0).min(look_at.map_or(u64::MAX, left))
            }
            (None, Some(at)) => left(at),
            (None, None) => left(served.not_after),
        };
        let leaf = served.chain.first().map(Vec::as_slice).unwrap_or_default();
        let chain = || encode_chain(served.chain.iter().map(Vec::as_slice));
        let mut response = chain_response(request, leaf, chain, max_age.min(left(served.not_after)));
        if order.auto_renewal.is_some() {
            for (name, value) in CertificateHeaders::of(served.not_before, served.not_after).fields() {
                response = response.with_header(name, value);
            }
        }
        Ok(response)
    }

    /// Does what a valid order wants by itself.
    pub(super) fn refresh(&mut self, now: Now, id: &OrderId) {
        let Some(order) = self.store.orders.get_mut(id) else { return };
        let is_out = order.served.as_ref().is_some_and(|served| served.not_after <= now.unix);
        let is_ended = order.auto_renewal.is_some_and(|agreed| agreed.end <= now.unix);
        if is_out && !order.gap_said && !is_ended && order.auto_renewal.is_some() {
            order.gap_said = true;
            self.audit(Some(id), Audit::Gap);
        }
        let Some(order) = self.store.orders.get_mut(id) else { return };
        if order.emulated.is_some() {
            self.follow_schedule(now, id);
            self.ask_when(now, id);
            return;
        }
        if is_ended {
            order.look_at = None;
            return;
        }
        let Some(agreed) = order.auto_renewal else { return };
        match self.config.serving {
            Serving::Own => {
                let is_due = order.look_at.is_none_or(|at| at <= now.unix);
                if let Some(url) = order.certificate.clone().filter(|_| is_due) {
                    self.job(now, id, Work::Fetching, |client| client.certificate(now, url));
                }
            }
            // Whoever has the key of our account may stop the order at the CA, and nobody tells us.
            Serving::HandThrough => {
                let is_due = order.look_at.is_some_and(|at| at <= now.unix);
                if is_due || order.look_at.is_none() {
                    order.look_at = Some(now.date_in((agreed.lifetime / 2).clamp(CHECK_MIN, CHECK_MAX)));
                }
                if let Some(url) = order.upstream.clone().filter(|_| is_due) {
                    self.job(now, id, Work::Checking, |client| client.read_order(now, url));
                }
            }
        }
    }

    /// A chain of the CA that is to be served here: looked at, and put in the place of the last.
    pub(super) fn take(&mut self, now: Now, id: &OrderId, chain: Vec<Vec<u8>>) {
        let validity = match self.check_leaf(now, id, &chain) {
            Ok(validity) => validity,
            Err(wrong) => {
                // Perhaps its clock is behind ours, or has just been set: ask again, but not at once.
                let wrong = ClientError::TimedOut(Some(format!("the certificate of the CA {wrong}")));
                self.try_again(now, id, &wrong);
                return;
            }
        };
        let seed = self.random.random();
        let Some(order) = self.store.orders.get_mut(id) else { return };
        // It came too late: the order is being stopped, and nothing of it is served.
        if order.stopping || order.status == OrderStatus::Canceled {
            return;
        }
        let is_new = order.served.as_ref().is_none_or(|served| served.chain != chain);
        if let Some(agreed) = order.auto_renewal {
            let timer = order.roll.get_or_insert_with(|| RollTimer::new(&agreed, seed));
            let look = if is_new { timer.installed(now.unix, validity.1) } else { timer.unchanged(now.unix, None) };
            order.look_at = match look {
                Look::At(at) | Look::Alarm(at) => Some(at),
                // Then its end is looked at.
                Look::Never => Some(agreed.end),
            };
        } else {
            order.expires = validity.1;
        }
        if is_new {
            self.put(id, chain, validity);
        }
    }

    /// Serves a chain from now on.
    fn put(&mut self, id: &OrderId, chain: Vec<Vec<u8>>, (not_before, not_after): (UnixTime, UnixTime)) {
        let Some(order) = self.store.orders.get_mut(id) else { return };
        order.served = Some(ServedChain { chain, not_before, not_after });
        order.gap_said = false;
        if order.handle.is_none() {
            let handle = self.desk.front.id();
            order.handle = Some(handle);
            self.store.handles.insert(handle, *id);
        }
        self.audit(Some(id), Audit::Issued { not_after });
        self.becomes_valid(id);
    }

    /// Whether a certificate is for the request of the order, and valid.
    fn check_leaf(&self, now: Now, id: &OrderId, chain: &[Vec<u8>]) -> Result<(UnixTime, UnixTime), &'static str> {
        let limits = &self.config.messages;
        let order = self.store.orders.get(id).ok_or("is of no order")?;
        let csr = order.csr.as_deref().ok_or("is of no request")?;
        let csr = Csr::decode(csr, limits).map_err(|_| "is of no request")?;
        let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
        let leaf = Certificate::decode(leaf, limits).map_err(|_| "cannot be read")?;
        if leaf.spki() != csr.spki() {
            return Err("is for another key");
        }
        let names: Vec<String> = order.identifiers.iter().map(|identifier| identifier.value().to_owned()).collect();
        if !leaf.is_for_names(&names) {
            return Err("is for other names");
        }
        if leaf.not_after() <= now.unix {
            return Err("has run out");
        }
        Ok((leaf.not_before(), leaf.not_after()))
    }

    /// Begins a schedule of our own, or goes on with it: the CA does not speak STAR.
    pub(super) fn emulate(&mut self, now: Now, id: &OrderId) {
        let Some(emulation) = self.config.emulation.clone() else { return };
        let Some(order) = self.store.orders.get_mut(id) else { return };
        if order.emulated.is_none() {
            let Some(agreed) = order.auto_renewal else { return };
            order.upstream = None;
            let first = agreed.start.unwrap_or(now.unix).max(now.unix);
            let schedule =
                Schedule::new(first, first, agreed.end, agreed.lifetime, agreed.lifetime_adjust, emulation.fraction);
            match schedule {
                Ok(schedule) => order.emulated = Some(StarOrder::new(schedule)),
                Err(error) => {
                    self.invalidate(now, id, None, error.to_string());
                    return;
                }
            }
            order.expires = star_expires(&agreed);
        }
        self.follow_schedule(now, id);
    }

    /// Orders the certificate that is due.
    fn follow_schedule(&mut self, now: Now, id: &OrderId) {
        let Some(emulation) = self.config.emulation.clone() else { return };
        let Some(order) = self.store.orders.get_mut(id) else { return };
        let (Some(star), Some(csr)) = (&mut order.emulated, order.csr.clone()) else { return };
        let task = star.task(now.unix);
        let slot = match task {
            Some(Task::Issue(slot)) => slot,
            Some(Task::Expired) if order.status == OrderStatus::Processing => {
                self.invalidate(now, id, None, "the end date has passed, and no certificate was made".to_owned());
                return;
            }
            Some(Task::Expired) => {
                order.look_at = None;
                // What the CA has made is good for longer than the order: it ends with it.
                let is_longer = order.served.as_ref().is_some_and(|served| served.not_after > now.unix);
                if emulation.revoke && is_longer {
                    order.stopping = true;
                    self.work(now, id);
                }
                return;
            }
            Some(Task::Gap(_)) => return,
            // Certificates that are shorter than their slot are renewed within it.
            None => match star.current() {
                Some(slot) if order.look_at.is_some_and(|at| at <= now.unix) => slot,
                _ => return,
            },
        };
        star.hold(now.unix);
        let mut asked = NewOrder::new(order.identifiers.clone());
        asked.profile.clone_from(&emulation.profile);
        let says_when = self.client.directory().is_some_and(|directory| directory.renewal_info.is_some());
        if let Some(served) = order.served.as_ref().filter(|_| says_when && !order.no_replaces) {
            let leaf = served.chain.first().map(Vec::as_slice).unwrap_or_default();
            let leaf = Certificate::decode(leaf, &self.config.messages).ok();
            asked.replaces = leaf.and_then(|leaf| certificate_id(&leaf));
        }
        if emulation.validity {
            (asked.not_before, asked.not_after) = (Some(slot.not_before), Some(slot.not_after));
        }
        let challenges = self.config.challenges.iter().cloned();
        let mut wanted = Obtain::new(asked, csr).with_challenges(challenges);
        if let Some(url) = &order.upstream {
            wanted = wanted.resume(url.clone());
        }
        order.look_at = None;
        self.job(now, id, Work::Issuing(slot.index), |client| client.obtain(now, wanted));
    }

    /// Asks the CA when to renew, if it says such things and it is time to ask.
    fn ask_when(&mut self, now: Now, id: &OrderId) {
        let can = self.client.directory().is_some_and(|directory| directory.renewal_info.is_some());
        let Some(order) = self.store.orders.get(id).filter(|order| is_idle(order.work) && can) else { return };
        if order.ask_at.is_none_or(|at| at > now.unix) {
            return;
        }
        let leaf = order.served.as_ref().and_then(|served| served.chain.first().cloned()).unwrap_or_default();
        if let Some(order) = self.store.orders.get_mut(id) {
            order.ask_at = None;
        }
        let limits = self.config.messages;
        let Ok(leaf) = Certificate::decode(&leaf, &limits) else { return };
        // One that has no name cannot be asked about.
        if certificate_id(&leaf).is_some() {
            self.job(now, id, Work::Asking, |client| client.renewal_info(now, &leaf));
        }
    }

    /// What the CA says about when to renew: earlier than the schedule counts, later does not.
    pub(super) fn told_when(&mut self, now: Now, id: &OrderId, answer: Option<(RenewalInfo, Option<u64>)>) {
        let random = self.random.random();
        let Some(order) = self.store.orders.get_mut(id) else { return };
        let wait = match answer {
            Some((info, retry_after)) => {
                // However much in a hurry the CA is: an eighth of the lifetime lies between certificates.
                let pause = order.auto_renewal.map_or(60, |agreed| (agreed.lifetime / 8).max(1));
                let soonest = order.issued_at.map(|at| at.as_secs().saturating_add_unsigned(pause));
                let wanted = info.choose(random).max(UnixTime::from_secs(soonest.unwrap_or(i64::MIN)));
                let next = order.emulated.as_ref().and_then(StarOrder::wake);
                if next.is_none_or(|next| wanted < next) {
                    order.look_at = Some(order.look_at.map_or(wanted, |at| at.min(wanted)));
                }
                retry_after.unwrap_or(21_600).clamp(60, 86_400)
            }
            None => 3600,
        };
        order.ask_at = Some(now.date_in(wait));
    }

    /// A certificate of our own schedule was made.
    pub(super) fn issued(&mut self, now: Now, id: &OrderId, index: u64, chain: Vec<Vec<u8>>) {
        let checked = self.check_leaf(now, id, &chain);
        let Some(order) = self.store.orders.get_mut(id) else { return };
        // Each slot has an order of its own.
        order.upstream = None;
        let Some(star) = &mut order.emulated else { return };
        let (not_before, not_after) = match checked {
            Ok(validity) => validity,
            Err(wrong) => {
                star.failed(now.unix);
                self.audit(Some(id), Audit::Trouble { detail: format!("the certificate of the CA {wrong}") });
                return;
            }
        };
        if order.stopping || order.status != OrderStatus::Valid && order.status != OrderStatus::Processing {
            if let Some(leaf) = chain.into_iter().next() {
                order.supersede(now.unix, leaf);
            }
            return;
        }
        let is_again = star.current().is_some_and(|slot| slot.index == index);
        if !star.issued(now.unix, index) && !is_again {
            return;
        }
        let next = star.wake().unwrap_or(not_after);
        // One that runs out before half a lifetime behind the next is due would leave no time.
        let half = not_after.as_secs().saturating_sub(not_before.as_secs()) / 2;
        let middle = UnixTime::from_secs(not_before.as_secs().saturating_add(half));
        order.look_at = (not_after <= next || middle < next && not_after < star.schedule().end()).then_some(middle);
        (order.ask_at, order.issued_at) = (Some(now.unix), Some(now.unix));
        if let Some(leaf) = order.served.take().and_then(|served| served.chain.into_iter().next()) {
            order.supersede(now.unix, leaf);
        }
        self.put(id, chain, (not_before, not_after));
    }
}
