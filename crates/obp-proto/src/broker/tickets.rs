//! Tickets that were opened, with the keys made from them, so that opening them is paid once.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use watchfire_core::{Instant, UnixTime};

use super::config::RateLimit;
use crate::crypto::Provider;
use crate::session::SessionKey;
use crate::ticket::{KeyRing, Scope, TicketContent, TicketKind};
use crate::uyfm::PacketKeys;

/// Who asks: what the ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    content: TicketContent,
    ticket: [u8; 16],
}

impl Identity {
    /// The account, as `account@domain`; empty for an anonymous binding.
    pub fn account(&self) -> &str {
        &self.content.account
    }

    /// The binding, the same for all tickets that replace each other.
    pub fn binding(&self) -> &[u8; 16] {
        &self.content.binding
    }

    /// A name for the ticket: nothing that opens it, and different for each.
    pub fn ticket_name(&self) -> &[u8; 16] {
        &self.ticket
    }

    /// What the ticket is for.
    pub fn scope(&self) -> Scope {
        self.content.scope
    }

    /// All that the ticket says, its secret too.
    pub fn content(&self) -> &TicketContent {
        &self.content
    }
}

/// An opened ticket.
#[derive(Debug)]
pub(super) struct OpenTicket {
    pub(super) identity: Arc<Identity>,
    /// As it was sent, to be named in responses.
    pub(super) octets: Box<[u8]>,
    pub(super) session: SessionKey,
    pub(super) packets: PacketKeys,
}

/// An opened ticket, and what has been seen of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) open: Arc<OpenTicket>,
    pub(super) last_address: Option<IpAddr>,
    tokens: u64,
    filled: Instant,
}

impl Held {
    /// Takes one query off the rate; false when there is none left.
    pub(super) fn spend(&mut self, now: Instant, rate: Option<RateLimit>) -> bool {
        let Some(rate) = rate else { return true };
        // In millionths of a query: a microsecond brings `per_second` of them.
        const ONE: u64 = 1_000_000;
        let elapsed = u64::try_from((now - self.filled).as_micros()).unwrap_or(u64::MAX);
        let most = u64::from(rate.burst).saturating_mul(ONE);
        self.tokens = self.tokens.saturating_add(elapsed.saturating_mul(u64::from(rate.per_second))).min(most);
        self.filled = self.filled.max(now);
        match self.tokens.checked_sub(ONE) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// Opened tickets, in two generations: when the younger is full it becomes the older, and what is in use comes back.
#[derive(Debug)]
pub(super) struct Tickets {
    young: HashMap<Box<[u8]>, Held, Seeded>,
    old: HashMap<Box<[u8]>, Held, Seeded>,
    most: usize,
    revoked: BTreeMap<[u8; 16], UnixTime>,
    most_revoked: usize,
}

impl Tickets {
    pub(super) fn new(most: usize, most_revoked: usize, seed: u64) -> Self {
        let map = || HashMap::with_hasher(Seeded(seed));
        Self { young: map(), old: map(), most: most.max(1), revoked: BTreeMap::new(), most_revoked }
    }

    /// Opens a ticket, or finds it opened. None for one that is not ours, has expired, or was revoked.
    pub(super) fn get(
        &mut self,
        ticket: &[u8],
        keys: &KeyRing,
        provider: &dyn Provider,
        now: UnixTime,
    ) -> Option<&mut Held> {
        if !self.young.contains_key(ticket) {
            let held = match self.old.remove_entry(ticket) {
                Some(entry) => entry,
                None => (ticket.into(), open(ticket, keys, provider, now)?),
            };
            if self.young.len() >= self.most {
                self.old = std::mem::replace(&mut self.young, HashMap::with_hasher(*self.old.hasher()));
            }
            self.young.insert(held.0, held.1);
        }
        let held = self.young.get_mut(ticket)?;
        let content = &held.open.identity.content;
        let good = content.expires > now && !self.revoked.contains_key(&content.binding);
        good.then_some(held)
    }

    pub(super) fn forget_all(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// False when no more fit.
    pub(super) fn revoke(&mut self, binding: [u8; 16], until: UnixTime, now: UnixTime) -> bool {
        if self.revoked.len() >= self.most_revoked {
            self.revoked.retain(|_, until| *until > now);
        }
        if self.revoked.len() >= self.most_revoked && !self.revoked.contains_key(&binding) {
            return false;
        }
        let known = self.revoked.entry(binding).or_insert(until);
        *known = (*known).max(until);
        true
    }
}

fn open(ticket: &[u8], keys: &KeyRing, provider: &dyn Provider, now: UnixTime) -> Option<Held> {
    let content = keys.open(ticket, now).ok()?;
    let session = SessionKey::new(provider, &content.secret, &content.authentication)?;
    let packets = PacketKeys::new(provider, &content.secret, &content.authentication, &content.encryption).ok()?;
    // The tag that seals the ticket: nobody else can make another one with the same.
    let name = *ticket.last_chunk()?;
    let identity = Arc::new(Identity { content, ticket: name });
    let open = Arc::new(OpenTicket { identity, octets: ticket.into(), session, packets });
    Some(Held { open, last_address: None, tokens: u64::MAX, filled: Instant::ZERO })
}

impl OpenTicket {
    /// Whether it is for queries of a client that is bound.
    pub(super) fn may_query(&self) -> bool {
        let content = &self.identity.content;
        content.scope == Scope::Query && content.kind == TicketKind::Binding
    }
}

/// A hash that clients cannot foresee.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
