//! Which addresses may connect, and how often at the same time. draft-ietf-idwg-iap-01 section 7.2.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

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

impl Admission {
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
