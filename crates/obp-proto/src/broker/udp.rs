//! Datagrams (draft-hallambaker-wsconnect-08 section 8). What cannot be verified is never answered: whoever can write
//! somebody else's address on a packet must not be able to have answers sent there.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt as _;
use watchfire_core::{Datagram, Output, UnixTime};
use zeroize::Zeroizing;

use super::event::{BrokerTransmit, QueryId, Question};
use super::pending::{Asked, Pending, Reply, UdpReply};
use super::replies::Known;
use super::tickets::OpenTicket;
use super::{Broker, BrokerEvent};
use crate::ticket::{MAX_DATAGRAM_LEN, TicketContent};
use crate::uyfm::{Entries, Entry, OpenError, RequestPacket};
use crate::{Encoding, Status};

impl Broker {
    pub(super) fn datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.stats.datagrams = self.stats.datagrams.saturating_add(1);
        let counted = |count: &mut u64| *count = count.saturating_add(1);
        let Ok(packet) = RequestPacket::parse(datagram) else { return counted(&mut self.stats.malformed) };
        let time = self.clock.unix(self.now);
        let held = self.tickets.get(packet.ticket, &self.config.keys, &*self.config.provider, time);
        let Some(held) = held.filter(|held| held.open.may_query()) else {
            return counted(&mut self.stats.bad_ticket);
        };
        let open = Arc::clone(&held.open);
        let mac = match open.packets.open_request(&packet, &mut self.plain) {
            Ok(mac) => mac,
            Err(OpenError::Mac) => return counted(&mut self.stats.bad_mac),
            // Authentic, and not to be decrypted: a client that is broken. It gets no answer it could make sense of.
            Err(OpenError::Padding) => return counted(&mut self.stats.malformed),
        };
        let Some(transaction) = packet.transaction_id.first_chunk() else { return };
        let key = (*open.ticket_name(), *transaction);
        match self.replies.find(self.now, &key, &mac) {
            Known::Fresh => {}
            Known::Conflict => return counted(&mut self.stats.replayed),
            Known::Pending | Known::Enough => return counted(&mut self.stats.retransmitted),
            Known::Answered(packets) => {
                counted(&mut self.stats.retransmitted);
                for payload in packets {
                    let datagram = Datagram { to: from, payload: payload.clone() };
                    self.out.push_back(Output::Transmit(BrokerTransmit::Datagram(datagram)));
                }
                return;
            }
        }
        if !held.spend(self.now, self.config.rate) {
            return counted(&mut self.stats.rate_limited);
        }
        let moved = held.last_address.replace(from.ip()).is_some_and(|last| last != from.ip());
        if self.is_full() {
            // The client tries again, or another instance.
            return counted(&mut self.stats.overloaded);
        }
        self.replies.begin(self.now, key, mac);
        let plain = std::mem::take(&mut self.plain);
        let read = read(&plain).and_then(|read| match read {
            Read::Message(octets, encoding) => {
                let (asked, message) = self.question(octets, encoding.max(Encoding::JsonC))?;
                Ok((asked, Question::Message(message), encoding))
            }
            Read::Dns(messages) => Ok((Asked::Dns, Question::Dns(messages), Encoding::JsonB)),
        });
        self.plain = plain;
        let replacement = self.replacement(&open, moved, time);
        let encoding = read.as_ref().map_or(Encoding::JsonB, |(_, _, encoding)| *encoding);
        let client = Arc::clone(&open.identity);
        let reply = Reply::Udp(UdpReply { open, to: from, key, mac, encoding, replacement });
        match read {
            Ok((asked, question, _)) => {
                counted(&mut self.stats.accepted);
                self.ask(Pending { asked, reply }, |id| BrokerEvent::Query { id, client, question });
            }
            Err(status) => self.refuse(QueryId(self.next_id), Pending { asked: Asked::Unknown, reply }, status),
        }
    }

    /// A new ticket for a client whose old one expires soon, or was seen on another network.
    fn replacement(&mut self, open: &OpenTicket, moved: bool, now: UnixTime) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        let policy = self.config.replacement;
        let secs = |duration: watchfire_core::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let old = open.identity.content();
        let soon = old.expires.as_secs().saturating_sub(now.as_secs()) <= secs(policy.before_expiry);
        if policy.lifetime.is_zero() || !(soon || (moved && policy.on_new_address)) {
            return None;
        }
        let mut secret = Zeroizing::new(vec![0; old.secret.len()]);
        self.rng.fill(&mut secret[..]);
        let expires = UnixTime::from_secs(now.as_secs().saturating_add(secs(policy.lifetime)));
        let content = TicketContent { secret, issued: now, expires: expires.max(old.expires), ..old.clone() };
        let ticket = self.config.keys.seal(&content, self.rng.random()).ok()?;
        if ticket.len() > MAX_DATAGRAM_LEN {
            return None;
        }
        self.stats.replaced = self.stats.replaced.saturating_add(1);
        Some((ticket, content.secret))
    }
}

/// What a payload asks.
enum Read<'a> {
    Message(&'a [u8], Encoding),
    Dns(Vec<Bytes>),
}

/// Finds the question among the entries: one message, or DNS messages.
fn read(plain: &[u8]) -> Result<Read<'_>, Status> {
    let entries = Entries::decode(plain).ok_or(Status::SYNTAX)?;
    let (mut message, mut dns) = (None, Vec::new());
    for entry in entries {
        let found = match entry {
            Entry::Json(octets) => (octets, Encoding::Json),
            Entry::JsonC(octets) => (octets, Encoding::JsonB),
            Entry::Dns(octets) => {
                dns.push(Bytes::copy_from_slice(octets));
                continue;
            }
            _ => continue,
        };
        if message.replace(found).is_some() {
            return Err(Status::SYNTAX);
        }
    }
    match message {
        Some((octets, encoding)) if dns.is_empty() => Ok(Read::Message(octets, encoding)),
        None if !dns.is_empty() => Ok(Read::Dns(dns)),
        _ => Err(Status::SYNTAX),
    }
}
