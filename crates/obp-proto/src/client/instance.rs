//! The instances of a binding, and the order in which they are tried.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use watchfire_core::{Instant, UnixTime};

use super::Client;
use crate::crypto::Provider;
use crate::message::{Binary, Cryptographic, InstanceConnection, InstanceTransport, Name, Secret};
use crate::order::by_priority_and_weight;
use crate::service_connect::Binding;
use crate::session::Signer;
use crate::uyfm::PacketKeys;

/// The label of the service in bindings.
const SERVICE: &str = "omni-query";

/// One way to reach the broker.
#[derive(Debug)]
pub(super) struct Instance {
    /// Where in the binding it stands.
    pub(super) at: usize,
    pub(super) udp: bool,
    pub(super) name: Option<Name>,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    priority: u16,
    weight: u16,
    expires: Option<UnixTime>,
    pub(super) credentials: Arc<Credentials>,
    /// Tried last until then, because it did not answer.
    pub(super) down_until: Instant,
    /// Its ticket was refused.
    pub(super) refused: bool,
}

/// A ticket with its keys.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) ticket: Binary,
    pub(super) packets: PacketKeys,
    pub(super) signer: Signer,
}

/// Names an instance of one generation of the binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    generation: u32,
    index: usize,
}

impl Credentials {
    pub(super) fn new(provider: &dyn Provider, key: &Cryptographic) -> Option<Self> {
        let packets = PacketKeys::new(provider, key.secret.expose(), &key.authentication, &key.encryption).ok()?;
        Some(Self { ticket: key.ticket.clone(), packets, signer: Signer::new(provider, key)? })
    }
}

/// The instances of queries that can be used.
pub(super) fn usable(binding: &Binding, provider: &dyn Provider) -> Vec<Instance> {
    let instance = |(at, connection): (usize, &InstanceConnection)| {
        let key = connection.cryptographic.as_ref()?;
        if connection.service.as_deref().is_some_and(|label| label != SERVICE) {
            return None;
        }
        let udp = match connection.transport {
            Some(InstanceTransport::Udp) => true,
            None | Some(InstanceTransport::Http) => false,
            Some(_) => return None,
        };
        if connection.address.is_none() && connection.name.is_none() {
            return None;
        }
        let expires = [connection.expires, key.expires].into_iter().flatten().map(|date| date.to_unix()).min();
        Some(Instance {
            at,
            udp,
            name: connection.name.clone(),
            address: connection.address,
            port: connection.port?.get(),
            priority: connection.priority.unwrap_or_default(),
            weight: connection.weight.unwrap_or_default(),
            expires,
            credentials: Arc::new(Credentials::new(provider, key)?),
            down_until: Instant::ZERO,
            refused: false,
        })
    };
    binding.service.iter().enumerate().filter_map(instance).collect()
}

impl Client {
    /// The order for one query: those that answer before those that did not, datagrams before HTTP, then by priority,
    /// then by chance and weight.
    pub(super) fn plan(&mut self) -> VecDeque<Slot> {
        let now = self.clock.unix(self.now);
        let rank = |instance: &Instance| (instance.down_until > self.now, !instance.udp, instance.priority);
        let mut order: Vec<usize> = (0..self.instances.len()).collect();
        order.retain(|index| self.instances.get(*index).is_some_and(|instance| instance.is_good(now)));
        order.sort_by_key(|index| self.instances.get(*index).map(rank));
        for same in order.chunk_by_mut(|a, b| self.instances.get(*a).map(rank) == self.instances.get(*b).map(rank)) {
            let weight = |index: &usize| self.instances.get(*index).map_or(0, |instance| instance.weight);
            by_priority_and_weight(same, &mut self.rng, |index| (0, weight(index)));
        }
        order.into_iter().map(|index| Slot { generation: self.generation, index }).collect()
    }

    /// The instance, if the binding is still the same.
    pub(super) fn instance(&mut self, slot: Slot) -> Option<&mut Instance> {
        if slot.generation != self.generation {
            return None;
        }
        self.instances.get_mut(slot.index)
    }

    /// Whether a ticket could be used.
    pub(super) fn has_good_instance(&mut self) -> bool {
        let now = self.clock.unix(self.now);
        self.instances.iter().any(|instance| instance.is_good(now))
    }

    /// Goes on with another ticket and secret wherever `old` is in use.
    pub(super) fn adopt(&mut self, old: &Arc<Credentials>, ticket: &[u8], secret: &[u8]) -> bool {
        let mut adopted = false;
        for instance in &mut self.instances {
            if !Arc::ptr_eq(&instance.credentials, old) {
                continue;
            }
            let Some(connection) = self.binding.service.get_mut(instance.at) else { continue };
            let Some(key) = &connection.cryptographic else { continue };
            // The dates were those of the old ticket; nobody tells those of the new one.
            let (encryption, authentication) = (key.encryption.clone(), key.authentication.clone());
            let mut new = Cryptographic::new(Secret::from(secret), encryption, authentication, Binary::from(ticket));
            new.protocol.clone_from(&key.protocol);
            let Some(credentials) = Credentials::new(&*self.config.provider, &new) else { continue };
            connection.cryptographic = Some(new);
            connection.expires = None;
            instance.credentials = Arc::new(credentials);
            instance.expires = None;
            instance.refused = false;
            adopted = true;
        }
        self.told_to_rebind &= !adopted;
        adopted
    }
}

impl Instance {
    fn is_good(&self, now: UnixTime) -> bool {
        !self.refused && self.expires.is_none_or(|expires| now < expires)
    }
}
