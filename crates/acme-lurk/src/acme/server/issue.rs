//! Certificates that are made, and made again.

use sha2::{Digest as _, Sha256};
use watchfire_core::UnixTime;

use super::event::{CaEvent, OrderId};
use super::store::{IssuedEntry, Serial, SingleEntry};
use super::{Ca, Problem};
use crate::acme::OrderStatus;
use crate::certificate::Certificate;
use crate::csr::Csr;
use crate::error::ApiMisuse;
use crate::star::Task;

impl Ca {
    /// Asks for the certificates that are due.
    pub(super) fn renew(&mut self, now: UnixTime) {
        while let Some(event) = self.store.book.poll(now) {
            let Some((_, order)) = self.store.book.get(event.id) else { continue };
            let order = order.clone();
            match event.task {
                Task::Issue(slot) => self.ask_for(&order, slot.index, slot.not_before, slot.not_after),
                Task::Gap(_) => self.events.push_back(CaEvent::StarGap(order)),
                // The order stays valid; its certificate is not served any more.
                Task::Expired => {}
            }
        }
    }

    /// A certificate was made: `leaf` in DER, as it was asked for.
    ///
    /// # Errors
    /// When no certificate of this number is waited for, and when it is not the one: other dates, names, or key, or a
    /// serial number that was used. Nothing has changed then.
    pub fn issued(&mut self, now: UnixTime, id: &OrderId, index: u64, leaf: &[u8]) -> Result<(), ApiMisuse> {
        let order = self.store.orders.get(id).ok_or(ApiMisuse::NotAwaited)?;
        let awaited = order.awaited.filter(|(awaited, ..)| *awaited == index);
        let (_, not_before, not_after) = awaited.ok_or(ApiMisuse::NotAwaited)?;
        let limits = &self.config.messages;
        let certificate =
            Certificate::decode(leaf, limits).map_err(|_| ApiMisuse::WrongCertificate("it cannot be read"))?;
        if (certificate.not_before(), certificate.not_after()) != (not_before, not_after) {
            return Err(ApiMisuse::WrongCertificate("its validity"));
        }
        let csr = order.csr.clone().ok_or(ApiMisuse::NotAwaited)?;
        let csr = Csr::decode(&csr, limits).map_err(|_| ApiMisuse::NotAwaited)?;
        if csr.spki() != certificate.spki() {
            return Err(ApiMisuse::WrongCertificate("its key"));
        }
        let names: Vec<String> = order.identifiers.iter().map(|identifier| identifier.value().to_owned()).collect();
        if !certificate.is_for_names(&names) {
            return Err(ApiMisuse::WrongCertificate("its names"));
        }
        let serial: Serial = certificate.serial().into();
        if self.store.issued.contains_key(&serial) {
            return Err(ApiMisuse::WrongCertificate("its serial number was used"));
        }
        let star = order.star;
        if star.is_some_and(|star| !self.store.book.issued(now, star, index)) {
            return Err(ApiMisuse::NotAwaited);
        }
        let entry = IssuedEntry {
            order: id.clone(),
            not_after,
            single: star.is_none().then(|| {
                Box::new(SingleEntry { fingerprint: Sha256::digest(leaf).into(), not_before, revoked: false })
            }),
        };
        let url = order.certificate.clone().unwrap_or_else(|| self.desk.front.random().into());
        self.store.insert_issued(serial, entry);
        self.store.certificates.insert(url.clone(), id.clone());
        if let Some(order) = self.store.orders.get_mut(id) {
            order.status = OrderStatus::Valid;
            order.certificate = Some(url);
            order.leaf = Some(leaf.into());
            order.awaited = None;
        }
        if star.is_none() {
            self.store.keep_until(id, not_after);
        }
        Ok(())
    }

    /// A certificate could not be made. One that is renewed automatically is asked for again after a while; any other
    /// order is `invalid`, with this problem.
    ///
    /// # Errors
    /// When no certificate of this number is waited for.
    pub fn issue_failed(&mut self, now: UnixTime, id: &OrderId, index: u64, problem: Problem) -> Result<(), ApiMisuse> {
        let order = self.store.orders.get_mut(id).ok_or(ApiMisuse::NotAwaited)?;
        order.awaited.filter(|(awaited, ..)| *awaited == index).ok_or(ApiMisuse::NotAwaited)?;
        order.awaited = None;
        match order.star {
            Some(star) => self.store.book.failed(now, star),
            None => {
                order.status = OrderStatus::Invalid;
                order.error = Some(Box::new(problem));
            }
        }
        Ok(())
    }
}
