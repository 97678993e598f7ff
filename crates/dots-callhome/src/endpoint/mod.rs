//! The CoAP side of one session, for both roles: tokens, Message IDs, duplicates, repetitions, pacing, blocks, signals.
//! RFC 7252 section 4, RFC 7959, RFC 8323.

mod input;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Duration, Instant};

use crate::error::{Error, Limit, PeerMisbehaved};
use crate::limits::Limits;
use crate::params::SessionParams;
use crate::wire::{Block, Code, Csm, Message, MessageBuf, OptionNumber, Signal, Token, tcp, udp};

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "there are two")]
pub enum Transport {
    /// DTLS: each input is one datagram's content.
    Datagram,
    /// TLS over TCP.
    Stream,
}

/// What a request of ours was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    Put { mid: u32 },
    Efficacy { mid: u32 },
    Delete { mid: u32 },
    Redirect,
    Heartbeat,
    Status,
    Config,
    ConfigPut { sid: u32 },
    ConfigDelete,
}

/// How insistently it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Confirmable.
    Con,
    /// Non-confirmable, again and again until it is answered.
    Repeat,
    /// Non-confirmable, once.
    Once,
}

#[derive(Debug)]
struct Pending {
    ask: Ask,
    mode: Mode,
    message: MessageBuf,
    mid: u16,
    /// When it went out first; `None` while it waits for its turn.
    sent: Option<Instant>,
    attempts: u32,
    due: Instant,
    wait: Duration,
    acked: bool,
    body: Vec<u8>,
    etag: Vec<u8>,
    restarts: u8,
}

#[derive(Debug)]
struct Observing {
    ask: Ask,
    token: Token,
    last: Option<(u32, Instant)>,
}

#[derive(Debug)]
struct Seen {
    expires: Instant,
    answer: Option<Bytes>,
}

/// A body that is fetched in blocks.
#[derive(Debug)]
struct Snapshot {
    resource: Vec<u8>,
    etag: u32,
    body: Vec<u8>,
}

/// A request of the peer, to be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyTo {
    token: Token,
    con: Option<u16>,
}

impl ReplyTo {
    /// Whether the request was confirmable.
    pub(crate) const fn is_con(self) -> bool {
        self.con.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) ask: Ask,
    pub(crate) code: Code,
    pub(crate) payload: Cow<'a, [u8]>,
    pub(crate) max_age: Option<u64>,
    pub(crate) notification: bool,
    /// A notification whose rest must be fetched.
    pub(crate) truncated: bool,
}

#[derive(Debug)]
pub(crate) enum Input<'a> {
    Nothing,
    Request(ReplyTo, Message<'a>),
    Answer(Answer<'a>),
    /// An answer that nobody waits for, or not any more.
    Unexpected,
    /// The peer rejected a notification or a request.
    Rejected(Option<Ask>, u16),
    /// An answer cannot be had whole.
    Broken(Ask, Broken),
    /// The peer leaves, or wants us to leave.
    Goodbye {
        hold_off: Option<u32>,
    },
}

/// Why an answer in blocks cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is beyond [`Limits::body`].
    TooLarge,
    /// It was another one at each attempt.
    Unsteady,
}

/// What was noticed and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that are no CoAP.
    pub malformed: u64,
    /// Messages that came before.
    pub duplicates: u64,
    /// Answers and notifications that nobody waits for.
    pub unexpected: u64,
    /// Messages taken.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    transport: Transport,
    limits: Limits,
    rng: StdRng,
    next_mid: u16,
    params: SessionParams,
    pending: Vec<Pending>,
    observing: Vec<Observing>,
    seen: BTreeMap<u16, Seen>,
    /// The same in the order of arrival, with their ends.
    seen_order: VecDeque<(u16, Instant)>,
    out: VecDeque<Bytes>,
    stream: Vec<u8>,
    peer: Option<Csm>,
    rtt: Option<Duration>,
    last_paced: Option<Instant>,
    /// When a request for mitigation went out last as a datagram.
    last_put: Option<Instant>,
    snapshots: VecDeque<Snapshot>,
    pub(crate) stats: Stats,
    overflow: bool,
}

/// RFC 7252 section 4.8.2, with the defaults of CoAP.
const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
const NON_LIFETIME: Duration = Duration::from_secs(145);
/// RFC 9132 section 4.4: between messages to a peer whose round-trip time is not known.
const BLIND_GAP: Duration = Duration::from_secs(3);
const BLOCK: usize = 1024;
/// Bodies kept for who fetches them in blocks: those that were asked for last.
const SNAPSHOTS: usize = 4;
/// How long an answer may take on a stream.
const STREAM_WAIT: Duration = Duration::from_secs(60);

impl Endpoint {
    pub(crate) fn new(transport: Transport, limits: Limits, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut endpoint = Self {
            transport,
            limits,
            next_mid: rng.random(),
            rng,
            params: SessionParams::default(),
            pending: Vec::new(),
            observing: Vec::new(),
            seen: BTreeMap::new(),
            seen_order: VecDeque::new(),
            out: VecDeque::new(),
            stream: Vec::new(),
            peer: None,
            rtt: None,
            last_paced: None,
            last_put: None,
            snapshots: VecDeque::new(),
            stats: Stats::default(),
            overflow: false,
        };
        if transport == Transport::Stream {
            // Whoever dialled must not wait for the other's CSM (RFC 8323 section 3.3); nobody here does.
            let size = u32::try_from(limits.message).unwrap_or(u32::MAX);
            endpoint.put_stream(&Csm { max_message_size: size, block_wise: true }.to_message());
        }
        endpoint
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    pub(crate) fn set_params(&mut self, params: SessionParams) {
        self.params = params;
    }

    pub(crate) fn poll(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    fn put_out(&mut self, octets: Vec<u8>) -> Bytes {
        let octets = Bytes::from(octets);
        if self.out.len() >= self.limits.queued.max(1) {
            self.out.pop_front();
            self.overflow = true;
        }
        self.stats.sent = self.stats.sent.saturating_add(1);
        self.out.push_back(octets.clone());
        octets
    }

    fn put_stream(&mut self, message: &MessageBuf) {
        let mut octets = Vec::new();
        message.encode_tcp(&mut octets);
        self.put_out(octets);
    }

    fn mid(&mut self) -> u16 {
        self.next_mid = self.next_mid.wrapping_add(1);
        self.next_mid
    }

    // --- requests of ours ---------------------------------------------------------------------------------------------

    /// Whether a message of this size can be sent.
    pub(crate) fn fits(&self, message: &MessageBuf) -> bool {
        match self.transport {
            // Eight octets of token are added later.
            Transport::Datagram => message.udp_len().saturating_add(8) <= self.limits.datagram,
            Transport::Stream => {
                let max = self.peer.unwrap_or_default().max_message_size;
                message.tcp_len().saturating_add(8) <= usize::try_from(max).unwrap_or(usize::MAX)
            }
        }
    }

    /// Queues a request; one for the same purpose that still waits is replaced. False when there are too many. There is
    /// one heartbeat at a time, which takes nobody's place.
    pub(crate) fn request(&mut self, now: Instant, ask: Ask, mode: Mode, message: MessageBuf) -> bool {
        self.pending.retain(|pending| pending.ask != ask);
        if self.room() == 0 && ask != Ask::Heartbeat {
            return false;
        }
        let token = self.token();
        let pending = Pending {
            ask,
            mode,
            message: message.with_token(token),
            mid: 0,
            sent: None,
            attempts: 0,
            due: now,
            wait: Duration::ZERO,
            acked: false,
            body: Vec::new(),
            etag: Vec::new(),
            restarts: 0,
        };
        self.pending.push(pending);
        self.flush(now);
        true
    }

    /// Six octets of chance that no other request of the session has.
    fn token(&mut self) -> Token {
        loop {
            let chance: [u8; 6] = self.rng.random();
            let token = Token::new(&chance).unwrap_or_default();
            let used = self.pending.iter().any(|pending| pending.message.token() == token)
                || self.observing.iter().any(|observing| observing.token == token);
            if !used {
                return token;
            }
        }
    }

    pub(crate) fn is_pending(&self, ask: Ask) -> bool {
        self.pending.iter().any(|pending| pending.ask == ask)
    }

    /// How many more requests may wait.
    pub(crate) fn room(&self) -> usize {
        let waiting = self.pending.iter().filter(|pending| pending.ask != Ask::Heartbeat).count();
        self.limits.requests.saturating_sub(waiting)
    }

    /// From when on no request for mitigation arrives that went out until now. A stream keeps the order: there what
    /// follows arrives behind it.
    pub(crate) fn puts_settle(&self) -> Instant {
        self.last_put.map_or(Instant::ZERO, |last| last + NON_LIFETIME)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Ask) -> bool) {
        self.pending.retain(|pending| keep(pending.ask));
    }

    pub(crate) fn is_observing(&self, ask: Ask) -> bool {
        self.observing.iter().any(|observing| observing.ask == ask)
    }

    pub(crate) fn stop_observing(&mut self, ask: Ask) {
        self.observing.retain(|observing| observing.ask != ask);
    }

    fn gap(&self) -> Duration {
        self.rtt.unwrap_or(BLIND_GAP).max(Duration::from_millis(1))
    }

    /// When the next message that no answer paces may go out.
    pub(crate) fn slot(&self) -> Instant {
        match self.last_paced {
            Some(last) if self.transport == Transport::Datagram => last + self.gap(),
            _ => Instant::ZERO,
        }
    }

    /// Sends what is due and may be sent.
    pub(crate) fn flush(&mut self, now: Instant) {
        loop {
            let slot = self.slot();
            let con_on_the_way = self.pending.iter().any(|p| p.mode == Mode::Con && p.sent.is_some() && !p.acked);
            let ready = |pending: &Pending| {
                pending.due <= now
                    && !pending.acked
                    && match pending.mode {
                        _ if self.transport == Transport::Stream => pending.sent.is_none(),
                        Mode::Con => pending.sent.is_some() || !con_on_the_way,
                        Mode::Repeat | Mode::Once => {
                            slot <= now && (pending.mode == Mode::Repeat || pending.sent.is_none())
                        }
                    }
            };
            let next = self.pending.iter().enumerate().filter(|(_, pending)| ready(pending));
            // A request for mitigation that was never sent goes first; then a heartbeat, which would be the next one by the
            // time that many repetitions are through; then whoever waits longest.
            let urgency = |pending: &Pending| {
                let rank = match pending.ask {
                    Ask::Put { .. } | Ask::Delete { .. } if pending.sent.is_none() => 0u8,
                    Ask::Heartbeat => 1,
                    _ => 2,
                };
                (rank, pending.due, pending.ask)
            };
            let Some((at, _)) = next.min_by_key(|(_, pending)| urgency(pending)) else { return };
            self.send(now, at);
        }
    }

    fn send(&mut self, now: Instant, at: usize) {
        let mid = self.mid();
        let (gap, params) = (self.gap(), self.params);
        let factor: u64 = params.ack_random_factor.hundredths().clamp(100, 1000);
        let chance = self.rng.random_range(100..=factor);
        let Some(pending) = self.pending.get_mut(at) else { return };
        let first = pending.sent.is_none();
        pending.sent.get_or_insert(now);
        pending.attempts = pending.attempts.saturating_add(1);
        let mut octets = Vec::new();
        if self.transport == Transport::Stream {
            pending.due = now + STREAM_WAIT;
            pending.message.encode_tcp(&mut octets);
        } else {
            let kind = if pending.mode == Mode::Con { udp::Type::Con } else { udp::Type::Non };
            // A repeated confirmable message is the same message; a repeated request has another Message ID.
            if first || pending.mode != Mode::Con {
                pending.mid = mid;
            }
            pending.wait = match pending.mode {
                Mode::Con if first => {
                    let millis = params.ack_timeout.hundredths().saturating_mul(10).saturating_mul(chance) / 100;
                    Duration::from_millis(millis.max(1))
                }
                Mode::Con => pending.wait.saturating_mul(2),
                Mode::Repeat => gap.max(BLIND_GAP),
                Mode::Once => params.interval().unwrap_or(Duration::from_secs(30)),
            };
            pending.due = now + pending.wait;
            pending.message.encode_udp(kind, pending.mid, &mut octets);
            if pending.mode != Mode::Con {
                self.last_paced = Some(now);
            }
            if matches!(pending.ask, Ask::Put { .. } | Ask::Efficacy { .. }) {
                self.last_put = Some(now);
            }
        }
        self.put_out(octets);
    }

    /// Sends again what waited too long; gives what will not be answered any more.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Ask> {
        while self.seen_order.front().is_some_and(|(_, expires)| *expires <= now) {
            self.forget_oldest();
        }
        let stream = self.transport == Transport::Stream;
        let most = u32::from(self.params.max_retransmit);
        let mut failed = Vec::new();
        self.pending.retain(|pending| {
            let over = pending.sent.is_some()
                && pending.due <= now
                && match pending.mode {
                    _ if stream => true,
                    Mode::Con => pending.acked || pending.attempts > most,
                    Mode::Repeat => false,
                    Mode::Once => true,
                };
            if over {
                failed.push(pending.ask);
            }
            !over
        });
        self.flush(now);
        failed
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let con_on_the_way = self.pending.iter().any(|p| p.mode == Mode::Con && p.sent.is_some() && !p.acked);
        self.pending
            .iter()
            .filter(|pending| !(pending.mode == Mode::Con && pending.sent.is_none() && con_on_the_way))
            .map(|pending| {
                let paced = self.transport == Transport::Datagram
                    && (pending.mode == Mode::Repeat || pending.mode == Mode::Once && pending.sent.is_none());
                if paced { pending.due.max(self.slot()) } else { pending.due }
            })
            .min()
    }

    // --- answers of ours ----------------------------------------------------------------------------------------------

    pub(crate) fn reply(&mut self, to: ReplyTo, message: MessageBuf) {
        let message = message.with_token(to.token);
        if self.transport == Transport::Stream {
            return self.put_stream(&message);
        }
        let mut octets = Vec::new();
        match to.con {
            Some(mid) => message.encode_udp(udp::Type::Ack, mid, &mut octets),
            None => {
                let mid = self.mid();
                message.encode_udp(udp::Type::Non, mid, &mut octets);
            }
        }
        let octets = self.put_out(octets);
        if let Some(mid) = to.con
            && let Some(seen) = self.seen.get_mut(&mid)
        {
            seen.answer = Some(octets);
        }
    }

    /// Sends a notification, always non-confirmable (RFC 9132 section 4.4.2.1); gives its Message ID.
    pub(crate) fn notify(&mut self, now: Instant, token: Token, message: MessageBuf) -> u16 {
        let message = message.with_token(token);
        if self.transport == Transport::Stream {
            self.put_stream(&message);
            return 0;
        }
        let mid = self.mid();
        let mut octets = Vec::new();
        message.encode_udp(udp::Type::Non, mid, &mut octets);
        self.put_out(octets);
        self.last_paced = Some(now);
        mid
    }

    /// Puts the next block of a body that was begun, if that is asked for and still known: from the same snapshot, because
    /// the content changes by the second.
    pub(crate) fn put_next_block(&mut self, message: &mut MessageBuf, request: &Message<'_>, resource: &[u8]) -> bool {
        let Some(asked) = asked_block(request).filter(|block| block.number > 0) else { return false };
        let exponent = Block::exponent_for(self.body_room().min(asked.size()).min(BLOCK));
        let etag = request.option(OptionNumber::ETAG);
        let meant = |snapshot: &Snapshot| {
            snapshot.resource == resource && etag.is_none_or(|etag| etag == snapshot.etag.to_be_bytes())
        };
        // Of somebody who names another one, the last is what is meant.
        let at = self.snapshots.iter().position(meant);
        let at = at.or_else(|| self.snapshots.iter().position(|snapshot| snapshot.resource == resource));
        let Some(snapshot) = at.and_then(|at| self.snapshots.remove(at)) else { return false };
        put_block(message, &snapshot, asked.number, exponent);
        self.snapshots.push_front(snapshot);
        true
    }

    /// Octets of a body that one message takes.
    fn body_room(&self) -> usize {
        let room = match self.transport {
            Transport::Datagram => self.limits.datagram,
            Transport::Stream => usize::try_from(self.peer.unwrap_or_default().max_message_size).unwrap_or(usize::MAX),
        };
        room.saturating_sub(64)
    }

    /// Puts a body, or the block of it that was asked for, into a 2.05.
    pub(crate) fn put_body(
        &mut self,
        message: &mut MessageBuf,
        request: Option<&Message<'_>>,
        resource: &[u8],
        body: Vec<u8>,
    ) {
        let asked = request.and_then(asked_block);
        let (room, asked_size) = (self.body_room(), asked.map_or(usize::MAX, Block::size));
        if body.len() <= room.min(asked_size) && asked.is_none_or(|block| block.number == 0) {
            message.set_dots_payload(&body);
            return;
        }
        // Notifications make new ones while an older one is fetched.
        self.snapshots.truncate(SNAPSHOTS.saturating_sub(1));
        self.snapshots.push_front(Snapshot { resource: resource.to_vec(), etag: self.rng.random(), body });
        if let Some(snapshot) = self.snapshots.front() {
            let exponent = Block::exponent_for(room.min(asked_size).min(BLOCK));
            put_block(message, snapshot, asked.map_or(0, |block| block.number), exponent);
        }
    }
}

fn asked_block(request: &Message<'_>) -> Option<Block> {
    request.option(OptionNumber::BLOCK2).and_then(Block::decode)
}

fn put_block(message: &mut MessageBuf, snapshot: &Snapshot, number: u32, exponent: u8) {
    let (body, block) = (&snapshot.body, Block { number, more: false, exponent });
    let start = block.offset().min(body.len());
    let end = start.saturating_add(block.size()).min(body.len());
    message.push_option(OptionNumber::ETAG, &snapshot.etag.to_be_bytes());
    message.push_uint(OptionNumber::BLOCK2, Block { more: end < body.len(), ..block }.value());
    if number == 0 {
        message.push_uint(OptionNumber::SIZE2, body.len() as u64);
    }
    message.set_dots_payload(body.get(start..end).unwrap_or_default());
}
