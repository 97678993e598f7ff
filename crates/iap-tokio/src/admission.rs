//! Which addresses may connect, and how often at the same time. draft-ietf-idwg-iap-01 section 7.2.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The rule, and the connections there are. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    networks: Arc<[IpNet]>,
    most: usize,
    open: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A connection that was let in; dropped when it ends.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Admission,
    address: IpAddr,
}

/// A connection that came in, and whether it may stay.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) tcp: TcpStream,
    pub(crate) address: SocketAddr,
    /// To be kept while the connection lasts; none if its address is not known or has too many.
    pub(crate) admitted: Option<Place>,
}

/// What an admitted connection takes up: one of all places, and one of its address.
#[derive(Debug)]
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_address: Admitted,
}

impl Admission {
    /// Waits for a free place and then for a connection. None when it is over.
    pub(crate) async fn next(
        &self,
        listener: &TcpListener,
        places: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<Arrival> {
        let place = stop.run_until_cancelled(Arc::clone(places).acquire_owned()).await?.ok()?;
        loop {
            match stop.run_until_cancelled(listener.accept()).await? {
                Ok((tcp, address)) => {
                    let admitted = self.admit(address.ip());
                    if admitted.is_none() {
                        tracing::warn!(%address, "connection closed: its address is not allowed or has too many already");
                    }
                    let admitted = admitted.map(|admitted| Place { _of_all: place, _of_address: admitted });
                    return Some(Arrival { tcp, address, admitted });
                }
                Err(error) => {
                    // Usually no descriptor is free; one will be when a connection ends.
                    tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Lets in up to `most` connections at the same time from each address of `networks`, or of anywhere if there are
    /// none.
    pub(crate) fn new(networks: &[IpNet], most: usize) -> Self {
        Self { networks: networks.into(), most, open: Arc::default() }
    }

    /// Whether the address is in one of the networks.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&address))
    }

    /// Lets one more connection in, if the address is known and has not too many.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        if self.knows(address) { self.count(address) } else { None }
    }

    /// Counts one more connection, if the address has not too many.
    pub(crate) fn count(&self, address: IpAddr) -> Option<Admitted> {
        let address = address.to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Admitted { admission: self.clone(), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_its_places_back() {
        let admission = Admission::new(&[], 2);
        let first = admission.admit(ip("192.0.2.1")).unwrap();
        // The same address in its other spelling.
        let _second = admission.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert!(admission.admit(ip("192.0.2.1")).is_none());
        assert!(admission.admit(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(admission.admit(ip("192.0.2.1")).is_some());
        assert_eq!(admission.open.lock().unwrap().len(), 1, "addresses without connections are forgotten");
    }

    #[test]
    fn only_known_networks_are_let_in() {
        let admission = Admission::new(&["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()], 9);
        assert!(admission.admit(ip("192.0.2.77")).is_some());
        assert!(admission.admit(ip("::ffff:192.0.2.77")).is_some());
        assert!(admission.admit(ip("2001:db8::1")).is_some());
        assert!(admission.admit(ip("198.51.100.1")).is_none());
    }
}
