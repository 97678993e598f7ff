//! Certificates that are made, and made again.

use sha2::{Digest as _, Sha256};
use watchfire_core::UnixTime;

use super::event::CaEvent;
use super::id::OrderId;
use super::issued::{IssuedEntry, Serial, SingleEntry};
use super::papers::Papers;
use super::store::Awaited;
use super::{Ca, Problem};
use crate::acme::OrderStatus;
use crate::certificate::Certificate;
use crate::csr::Csr;
use crate::error::ApiMisuse;
use crate::star::{Slot, Task};

impl Ca {
    /// Asks for the certificates that are due.
    pub(super) fn renew(&mut self, now: UnixTime) {
        while let Some(event) = self.store.book.poll(now) {
            let Some((_, order)) = self.store.book.get(event.id) else { continue };
            let order = *order;
            match event.task {
                Task::Issue(slot) => {
                    let Slot { index, not_before, not_after, .. } = slot;
                    self.ask_for(&order, Awaited { index, not_before, not_after });
                }
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
    /// serial number that was used or has more than 21 octets. Nothing has changed then.
    pub fn issued(&mut self, now: UnixTime, id: &OrderId, index: u64, leaf: &[u8]) -> Result<(), ApiMisuse> {
        let order = self.store.orders.get(id).ok_or(ApiMisuse::NotAwaited)?;
        let awaited = order.awaited.as_deref().filter(|awaited| awaited.index == index);
        let Awaited { not_before, not_after, .. } = *awaited.ok_or(ApiMisuse::NotAwaited)?;
        let limits = &self.config.messages;
        let certificate =
            Certificate::decode(leaf, limits).map_err(|_| ApiMisuse::WrongCertificate("it cannot be read"))?;
        if (certificate.not_before(), certificate.not_after()) != (not_before, not_after) {
            return Err(ApiMisuse::WrongCertificate("its validity"));
        }
        let request = order.papers.as_ref().map(Papers::request).ok_or(ApiMisuse::NotAwaited)?;
        let csr = Csr::decode(&request, limits).map_err(|_| ApiMisuse::NotAwaited)?;
        if csr.spki() != certificate.spki() {
            return Err(ApiMisuse::WrongCertificate("its key"));
        }
        let names: Vec<String> = order.names.iter().map(|name| name.identifier.value().to_owned()).collect();
        if !certificate.is_for_names(&names) {
            return Err(ApiMisuse::WrongCertificate("its names"));
        }
        let serial = Serial::new(certificate.serial());
        let serial = serial.ok_or(ApiMisuse::WrongCertificate("its serial number is too long"))?;
        if self.store.issued.get(&serial).is_some() {
            return Err(ApiMisuse::WrongCertificate("its serial number was used"));
        }
        let star = order.star;
        if star.is_some_and(|star| !self.store.book.issued(now, star, index)) {
            return Err(ApiMisuse::NotAwaited);
        }
        let entry = IssuedEntry {
            order: *id,
            not_after,
            single: star.is_none().then(|| {
                Box::new(SingleEntry { fingerprint: Sha256::digest(leaf).into(), not_before, revoked: false })
            }),
        };
        let url = order.certificate.unwrap_or_else(|| self.desk.front.id());
        self.store.issued.insert(serial, entry);
        self.store.certificates.insert(url, *id);
        if let Some(order) = self.store.orders.get_mut(id) {
            order.status = OrderStatus::Valid;
            order.certificate = Some(url);
            order.papers = Some(self.store.press.pack(&request, leaf));
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
        order.awaited.as_deref().filter(|awaited| awaited.index == index).ok_or(ApiMisuse::NotAwaited)?;
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
