//! The socket for DTLS: all sessions on one. What an unknown address sends costs an HMAC and no memory, until it has
//! shown by a cookie that it hears us.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::peer::{Peer, Peers};
use crate::clock::sleep_until;
use crate::context::Security;
use crate::error::SecurityError;
use crate::hello::{APPLICATION_DATA, Cookies, Hello, RecordHeader, verify_request};
use crate::limits::Bucket;
use crate::link::{Arrived, Content as _, DatagramLink, Link, Wire};
use crate::trust::PeerSide;

/// What was seen at the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SocketStats {
    /// Datagrams that came.
    pub received: u64,
    /// Hellos that were answered by the request for a cookie, and forgotten.
    pub cookies: u64,
    /// Handshakes begun.
    pub handshakes: u64,
    /// Handshakes, or sessions, for which there was no room.
    pub refused: u64,
    /// Peers that were not let in, or did not finish.
    pub failed: u64,
    /// Datagrams that belong to nothing.
    pub stray: u64,
    /// Sessions that changed their address.
    pub moved: u64,
}

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    cookies: AtomicU64,
    handshakes: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    stray: AtomicU64,
    moved: AtomicU64,
}

fn more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One address.
#[derive(Debug, Default)]
struct Slot {
    session: Option<Up>,
    handshake: Option<Half>,
}

#[derive(Debug)]
struct Up {
    link: Arc<DatagramLink>,
    random: [u8; 32],
    peer: Arc<Peer>,
}

#[derive(Debug)]
struct Half {
    link: Arc<DatagramLink>,
    random: [u8; 32],
}

#[derive(Debug)]
struct State {
    slots: BTreeMap<SocketAddr, Slot>,
    /// Slots and handshakes of each address.
    addresses: BTreeMap<IpAddr, (usize, usize)>,
    handshakes: usize,
    cookies: Cookies,
    moves: Bucket,
}

/// The socket and all that is on it.
pub(super) struct Endpoint {
    socket: Arc<UdpSocket>,
    security: Security,
    peers: Arc<Peers>,
    state: Mutex<State>,
    counters: Counters,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl State {
    fn count(&mut self, ip: IpAddr, change: impl FnOnce(&mut (usize, usize))) {
        let count = self.addresses.entry(ip).or_default();
        change(count);
        if *count == (0, 0) {
            self.addresses.remove(&ip);
        }
    }

    fn slot(&mut self, at: SocketAddr) -> &mut Slot {
        if !self.slots.contains_key(&at) {
            self.count(at.ip(), |(slots, _)| *slots += 1);
        }
        self.slots.entry(at).or_default()
    }

    fn take_handshake(&mut self, at: SocketAddr, link: u64) -> Option<Half> {
        let half = self.slots.get_mut(&at)?.handshake.take_if(|half| half.link.id() == link)?;
        self.handshakes = self.handshakes.saturating_sub(1);
        self.count(at.ip(), |(_, handshakes)| *handshakes = handshakes.saturating_sub(1));
        Some(half)
    }

    fn tidy(&mut self, at: SocketAddr) {
        if self.slots.get(&at).is_some_and(|slot| slot.session.is_none() && slot.handshake.is_none()) {
            self.slots.remove(&at);
            self.count(at.ip(), |(slots, _)| *slots = slots.saturating_sub(1));
        }
    }
}

impl Endpoint {
    pub(super) fn new(socket: UdpSocket, security: Security, peers: Arc<Peers>) -> io::Result<Self> {
        let now = Instant::now();
        let state = State {
            slots: BTreeMap::new(),
            addresses: BTreeMap::new(),
            handshakes: 0,
            cookies: Cookies::new(now)?,
            moves: Bucket::new(peers.limits.moves_per_second, now),
        };
        let counters = Counters::default();
        Ok(Self { socket: Arc::new(socket), security, peers, state: Mutex::new(state), counters })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn stats(&self) -> SocketStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        SocketStats {
            received: read(&counters.received),
            cookies: read(&counters.cookies),
            handshakes: read(&counters.handshakes),
            refused: read(&counters.refused),
            failed: read(&counters.failed),
            stray: read(&counters.stray),
            moved: read(&counters.moved),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes datagrams until it is over. May run several times at once.
    pub(super) async fn listen(self: Arc<Self>) {
        let mut buffer = vec![0; self.peers.limits.datagram.clamp(512, 65535) + 1];
        // Before that is known once, nothing can be sent without waiting.
        let _ = self.socket.writable().await;
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut buffer) => received,
                () = self.peers.stop.cancelled() => return,
            };
            match received {
                // What fills the buffer was cut.
                Ok((length, from)) if length < buffer.len() => {
                    self.take(from, buffer.get(..length).unwrap_or_default());
                }
                Ok(_) => more(&self.counters.stray),
                // Some systems report here that an earlier datagram reached nobody.
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, from: SocketAddr, datagram: &[u8]) {
        more(&self.counters.received);
        let Some(header) = RecordHeader::read(datagram) else { return more(&self.counters.stray) };
        if let Some(hello) = Hello::read(datagram) {
            return self.hello(from, &hello, datagram);
        }
        let known = {
            let state = self.state();
            state.slots.get(&from).and_then(|slot| {
                let half = slot.handshake.as_ref().map(|half| Arc::clone(&half.link));
                let up = slot.session.as_ref().map(|up| (Arc::clone(&up.link), Arc::clone(&up.peer)));
                match (half, up) {
                    // Whoever begins anew says nothing else meanwhile; what it said before is still on the way.
                    (Some(_), Some((link, peer))) if header.content == APPLICATION_DATA => Some((link, Some(peer))),
                    (Some(half), _) => Some((half, None)),
                    (None, up) => up.map(|(link, peer)| (link, Some(peer))),
                }
            })
        };
        match known {
            Some((link, None)) => {
                let arrived = link.input(datagram);
                self.handshaking(from, &link, arrived);
            }
            Some((link, Some(peer))) => {
                let arrived = link.input(datagram);
                self.arrived(&link, &peer, arrived);
            }
            None => self.moved(from, &header, datagram),
        }
    }

    fn hello(self: &Arc<Self>, from: SocketAddr, hello: &Hello<'_>, datagram: &[u8]) {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(slot) = state.slots.get(&from) {
            // Said again, because our answer was lost.
            if let Some(half) = slot.handshake.as_ref().filter(|half| half.random == hello.random) {
                let link = Arc::clone(&half.link);
                drop(state);
                let arrived = link.input(datagram);
                return self.handshaking(from, &link, arrived);
            }
            if slot.session.as_ref().is_some_and(|up| up.random == hello.random) {
                return more(&self.counters.stray);
            }
        }
        if !state.cookies.check(from, hello) || hello.message_sequence != 1 || hello.sequence == 0 {
            if hello.message_sequence != 0 && hello.cookie.is_empty() {
                return more(&self.counters.stray);
            }
            let cookie = state.cookies.make(now, from, hello);
            drop(state);
            more(&self.counters.cookies);
            // If it cannot be sent, the hello is said again.
            let _ = self.socket.try_send_to(&verify_request(&cookie), from);
            return;
        }
        let limits = &self.peers.limits;
        let (slots, handshakes) = state.addresses.get(&from.ip()).copied().unwrap_or_default();
        let again = state.slots.get(&from).is_some_and(|slot| slot.handshake.is_some());
        let room = (again || state.handshakes < limits.handshakes && handshakes < limits.handshakes_per_address)
            && (slots < limits.sessions_per_address || state.slots.contains_key(&from))
            && self.peers.sessions.load(Ordering::Relaxed) < limits.sessions;
        if !room || self.peers.stop.is_cancelled() {
            return more(&self.counters.refused);
        }
        more(&self.counters.handshakes);
        let half = state.slots.get(&from).and_then(|slot| slot.handshake.as_ref()).map(|half| half.link.id());
        half.and_then(|half| state.take_handshake(from, half));
        state.handshakes += 1;
        state.count(from.ip(), |(_, handshakes)| *handshakes += 1);
        drop(state);
        // The place is taken; the cryptography is done without the lock.
        let engine = self.security.dtls().and_then(|dtls| dtls.accept(now.into_std(), hello));
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                tracing::debug!(address = %from, %error, "no handshake");
                let mut state = self.state();
                state.handshakes = state.handshakes.saturating_sub(1);
                state.count(from.ip(), |(_, handshakes)| *handshakes = handshakes.saturating_sub(1));
                return more(&self.counters.failed);
            }
        };
        let link = Arc::new(DatagramLink::new(Wire::Shared(Arc::clone(&self.socket)), engine, from));
        let mut state = self.state();
        let half = Half { link: Arc::clone(&link), random: hello.random };
        let before = state.slot(from).handshake.replace(half);
        if before.is_some() {
            // Another task has begun the same meanwhile.
            state.handshakes = state.handshakes.saturating_sub(1);
            state.count(from.ip(), |(_, handshakes)| *handshakes = handshakes.saturating_sub(1));
        }
        drop(state);
        let arrived = link.begin();
        self.handshaking(from, &link, arrived);
        let task = Arc::clone(self).watch(from, Arc::clone(&link));
        self.peers.tasks.spawn(task);
    }

    /// Repeats what is lost in a handshake, and ends it in time.
    async fn watch(self: Arc<Self>, from: SocketAddr, link: Arc<DatagramLink>) {
        let deadline = Instant::now() + self.security.handshake_timeout();
        loop {
            let due = link.wake().map_or(deadline, |wake| wake.min(deadline));
            tokio::select! {
                () = sleep_until(Some(due)) => {}
                () = self.peers.stop.cancelled() => return,
            }
            let mut state = self.state();
            let goes_on = state.slots.get(&from).and_then(|slot| slot.handshake.as_ref());
            if goes_on.is_none_or(|half| half.link.id() != link.id()) {
                return;
            }
            if Instant::now() >= deadline {
                state.take_handshake(from, link.id());
                state.tidy(from);
                return more(&self.counters.failed);
            }
            drop(state);
            let arrived = link.tick();
            self.handshaking(from, &link, arrived);
        }
    }

    /// What came of a handshake so far.
    fn handshaking(self: &Arc<Self>, from: SocketAddr, link: &Arc<DatagramLink>, arrived: Vec<Arrived>) {
        let mut rest = arrived.into_iter();
        while let Some(next) = rest.next() {
            match next {
                Arrived::Established(proof) => {
                    let identity = match self.security.judge(&proof, PeerSide::Client, None) {
                        Ok(identity) => identity,
                        Err(error) => {
                            tracing::info!(address = %from, %error, "no session");
                            link.close();
                            return self.failed(from, link);
                        }
                    };
                    let peer = match self.peers.find_or_make(&identity.name) {
                        Ok(peer) => peer,
                        Err(error) => {
                            tracing::warn!(address = %from, %error, "no session");
                            link.close();
                            return self.failed(from, link);
                        }
                    };
                    let mut state = self.state();
                    let Some(half) = state.take_handshake(from, link.id()) else { return };
                    let up = Up { link: Arc::clone(link), random: half.random, peer: Arc::clone(&peer) };
                    let before = state.slot(from).session.replace(up);
                    drop(state);
                    let old = peer.up(Link::Datagram(Arc::clone(link)), identity, link.is_resumed());
                    // Another peer had this address before.
                    if let Some(before) = before.filter(|before| !Arc::ptr_eq(&before.peer, &peer)) {
                        before.peer.ended(before.link.id(), None);
                    }
                    if let Some(old) = old {
                        self.forget(old.address(), old.id());
                    }
                    return self.arrived(link, &peer, rest.collect());
                }
                // Nothing that comes before is content of the session.
                Arrived::Data(_) => {}
                Arrived::Closed(why) => {
                    tracing::debug!(address = %from, ?why, "handshake failed");
                    return self.failed(from, link);
                }
            }
        }
    }

    fn failed(&self, from: SocketAddr, link: &DatagramLink) {
        more(&self.counters.failed);
        let mut state = self.state();
        state.take_handshake(from, link.id());
        state.tidy(from);
    }

    /// A session is over.
    fn forget(&self, at: SocketAddr, link: u64) {
        let mut state = self.state();
        if state.slots.get_mut(&at).is_some_and(|slot| slot.session.take_if(|up| up.link.id() == link).is_some()) {
            state.tidy(at);
        }
    }

    /// From time to time: sessions that ended elsewhere, and those of peers that are gone without a word and of whom
    /// nothing is asked.
    pub(super) async fn sweep(self: Arc<Self>) {
        let silence = self.peers.limits.silence;
        let every = (silence / 4).clamp(std::time::Duration::from_millis(100), std::time::Duration::from_secs(30));
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.peers.stop.cancelled() => return,
            }
            let sessions: Vec<(SocketAddr, Arc<DatagramLink>, Arc<Peer>)> = {
                let state = self.state();
                let up = state.slots.iter().filter_map(|(at, slot)| slot.session.as_ref().map(|up| (at, up)));
                up.map(|(at, up)| (*at, Arc::clone(&up.link), Arc::clone(&up.peer))).collect()
            };
            for (at, link, peer) in sessions {
                if link.silence() >= silence && !peer.is_mitigating() {
                    peer.ended(link.id(), Some(SecurityError::TimedOut));
                }
                if link.is_over() {
                    self.forget(at, link.id());
                }
            }
        }
    }

    fn arrived(&self, link: &Arc<DatagramLink>, peer: &Arc<Peer>, arrived: Vec<Arrived>) {
        for next in arrived {
            match next {
                Arrived::Data(content) => peer.arrived(link.id(), &content),
                Arrived::Closed(why) => {
                    peer.ended(link.id(), why);
                    self.forget(link.address(), link.id());
                }
                Arrived::Established(_) => {}
            }
        }
    }

    /// A record from an address that nobody has: a NAT may have given a peer another one. There is no connection ID
    /// that would say which, so the likely ones are tried: first of the same address, then those that are silent
    /// longest. Nobody is moved but by a record that authenticates, and that is newer than all before.
    fn moved(&self, from: SocketAddr, header: &RecordHeader, datagram: &[u8]) {
        let likely = |up: &Up| {
            let newest = up.link.newest();
            header.sequence > newest && header.sequence - newest <= 1 << 16
        };
        let mut state = self.state();
        if header.content != APPLICATION_DATA || header.epoch == 0 || !state.moves.take(Instant::now()) {
            drop(state);
            return more(&self.counters.stray);
        }
        let most = self.peers.limits.move_candidates;
        let mut candidates: Vec<(bool, u64, Arc<DatagramLink>, Arc<Peer>)> = state
            .slots
            .iter()
            .filter_map(|(at, slot)| slot.session.as_ref().filter(|up| likely(up)).map(|up| (at, up)))
            .map(|(at, up)| (at.ip() != from.ip(), up.link.heard(), Arc::clone(&up.link), Arc::clone(&up.peer)))
            .collect();
        drop(state);
        candidates.sort_by_key(|(elsewhere, heard, ..)| (*elsewhere, *heard));
        for (_, _, link, peer) in candidates.into_iter().take(most) {
            let old = link.address();
            let Some(arrived) = link.try_move(datagram, from) else { continue };
            if arrived.iter().any(|arrived| matches!(arrived, Arrived::Data(_))) {
                let mut state = self.state();
                let session = state.slots.get_mut(&old).and_then(|slot| slot.session.take());
                state.tidy(old);
                if let Some(session) = session {
                    state.slot(from).session = Some(session);
                }
                drop(state);
                more(&self.counters.moved);
                tracing::info!(peer = %peer.name(), %old, new = %from, "a peer has another address now");
                peer.moved(link.id(), old, from);
            }
            return self.arrived(&link, &peer, arrived);
        }
        more(&self.counters.stray);
    }
}
