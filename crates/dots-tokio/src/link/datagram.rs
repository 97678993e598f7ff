//! A DTLS association and the socket that it uses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::next_id;
use crate::error::SecurityError;
use crate::hello::{APPLICATION_DATA, RecordHeader};
use crate::identity::Proof;
use crate::security::{DatagramSecurity, Secured};

/// The socket.
#[derive(Debug)]
pub(crate) enum Wire {
    /// One for all sessions.
    Shared(Arc<UdpSocket>),
    /// One for this, connected.
    Own(Arc<UdpSocket>),
}

/// What came of a datagram.
#[derive(Debug)]
pub(crate) enum Arrived {
    Established(Proof),
    Data(Vec<u8>),
    Closed(Option<SecurityError>),
}

#[derive(Debug)]
pub(crate) struct DatagramLink {
    id: u64,
    wire: Wire,
    state: Mutex<State>,
    /// The highest sequence number of a record whose content was let through.
    newest: AtomicU64,
    /// When something was let through last, in milliseconds of `began`.
    heard: AtomicU64,
    began: Instant,
}

#[derive(Debug)]
struct State {
    engine: Box<dyn DatagramSecurity>,
    address: SocketAddr,
    wake: Option<std::time::Instant>,
    over: bool,
}

impl DatagramLink {
    pub(crate) fn new(wire: Wire, engine: Box<dyn DatagramSecurity>, address: SocketAddr) -> Self {
        Self {
            id: next_id(),
            wire,
            state: Mutex::new(State { engine, address, wake: None, over: false }),
            newest: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.state().address
    }

    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// When it was heard last.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// For how long nothing was.
    pub(crate) fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state().over
    }

    /// When it wants to be called again.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.state().wake.map(Instant::from_std)
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.state().engine.is_resumed()
    }

    /// Begins: sends what there is to send.
    pub(crate) fn begin(&self) -> Vec<Arrived> {
        self.drain(&mut self.state())
    }

    /// A datagram arrived from where the peer is.
    pub(crate) fn input(&self, datagram: &[u8]) -> Vec<Arrived> {
        let mut state = self.state();
        if state.over {
            return Vec::new();
        }
        state.engine.handle_datagram(Instant::now().into_std(), datagram);
        let arrived = self.drain(&mut state);
        self.note(datagram, &arrived);
        arrived
    }

    /// A datagram arrived from elsewhere. If it is this session's, and newer than all before, the peer has moved there
    /// (as RFC 9146 section 6 has it, without the connection ID that would say so beforehand).
    pub(crate) fn try_move(&self, datagram: &[u8], from: SocketAddr) -> Option<Vec<Arrived>> {
        let header = RecordHeader::read(datagram)?;
        if header.content != APPLICATION_DATA || header.epoch == 0 || header.sequence <= self.newest() {
            return None;
        }
        let mut state = self.state();
        if state.over {
            return None;
        }
        state.engine.handle_datagram(Instant::now().into_std(), datagram);
        let mut arrived = Vec::new();
        loop {
            match state.engine.poll() {
                Secured::Data(content) => {
                    // It authenticated: from here on answers go there.
                    state.address = from;
                    arrived.push(Arrived::Data(content));
                    arrived.append(&mut self.drain(&mut state));
                    self.note(datagram, &arrived);
                    return Some(arrived);
                }
                Secured::Idle(wake) => {
                    state.wake = wake;
                    return None;
                }
                // Nothing that does not authenticate ends a session; and what it makes the engine say goes where the
                // peer was.
                Secured::Closed(why) => {
                    state.over = true;
                    return Some(vec![Arrived::Closed(why)]);
                }
                Secured::Datagram(octets) => self.put(&state, &octets),
                Secured::Established(_) => {}
            }
        }
    }

    /// The time that was asked for has come.
    pub(crate) fn tick(&self) -> Vec<Arrived> {
        let mut state = self.state();
        if state.over {
            return Vec::new();
        }
        state.engine.handle_timeout(Instant::now().into_std());
        self.drain(&mut state)
    }

    pub(crate) fn send(&self, content: &[u8]) {
        let mut state = self.state();
        if state.over {
            return;
        }
        if let Err(error) = state.engine.seal(Instant::now().into_std(), content) {
            tracing::debug!(%error, octets = content.len(), "a message was not sent");
        }
        // Only the ways out matter here: what has arrived was taken down when it arrived.
        self.drain(&mut state);
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        if !state.over {
            state.engine.close(Instant::now().into_std());
            self.drain(&mut state);
            state.over = true;
        }
    }

    fn note(&self, datagram: &[u8], arrived: &[Arrived]) {
        if arrived.iter().any(|arrived| matches!(arrived, Arrived::Data(_)))
            && let Some(header) = RecordHeader::read(datagram)
        {
            self.newest.fetch_max(header.sequence, Ordering::Relaxed);
            let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.heard.fetch_max(since, Ordering::Relaxed);
        }
    }

    fn drain(&self, state: &mut State) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        loop {
            match state.engine.poll() {
                Secured::Datagram(octets) => self.put(state, &octets),
                Secured::Established(proof) => arrived.push(Arrived::Established(proof)),
                Secured::Data(content) => arrived.push(Arrived::Data(content)),
                Secured::Closed(why) => {
                    state.over = true;
                    arrived.push(Arrived::Closed(why));
                }
                Secured::Idle(wake) => {
                    state.wake = wake;
                    return arrived;
                }
            }
        }
    }

    /// A datagram for which the socket has no room is lost, as others are on the way.
    fn put(&self, state: &State, octets: &[u8]) {
        let sent = match &self.wire {
            Wire::Shared(socket) => socket.try_send_to(octets, state.address),
            Wire::Own(socket) => socket.try_send(octets),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "a datagram was not sent");
        }
    }
}
