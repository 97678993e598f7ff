//! Whole nodes for a `Pair`: setup, TLS, data phase and the application behind them; and a proxy in front of a node.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use iap_proto::{
    Channel, CloseReason, Config, DataRole, Host, Initiator, InitiatorEvent, MediaType, MessageId, Proxy, ProxyEvent,
    Receiver, ReceiverEvent, Responder, ResponderEvent, Sender, SenderEvent, Side, Status, TlsRole, Verdict,
};
use watchfire_core::{Eof, Instant, Machine as _, Output, StreamMachine as _};
use watchfire_testkit::{Link, LinkConfig, Node, Said};

use crate::fake_tls::{FakeTls, Heard};
use crate::support::host;

/// One end of a connection.
#[derive(Debug)]
pub struct Peer {
    stage: Stage,
    tls: Option<FakeTls>,
    said: VecDeque<Said>,
    pub tls_role: Option<TlsRole>,
    /// Alerts still to be sent.
    pub to_send: VecDeque<Vec<u8>>,
    /// Sent and not answered.
    pub in_flight: VecDeque<(MessageId, Vec<u8>)>,
    /// Answered 200.
    pub delivered: Vec<Vec<u8>>,
    /// Taken by the receiving application, before it answered.
    pub received: Vec<Vec<u8>>,
    pub reason: Option<CloseReason>,
}

#[derive(Debug)]
enum Stage {
    Initiator(Initiator),
    Responder(Responder),
    Sender(Sender),
    Receiver(Receiver),
    Over,
}

impl Peer {
    fn new(stage: Stage, alerts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            stage,
            tls: None,
            said: VecDeque::new(),
            tls_role: None,
            to_send: alerts.into_iter().collect(),
            in_flight: VecDeque::new(),
            delivered: Vec::new(),
            received: Vec::new(),
            reason: None,
        }
    }

    pub fn initiator(config: Config, role: DataRole, alerts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let machine = Initiator::new(Arc::new(config), host("M.DOM.ORG"), role, Instant::ZERO);
        Self::new(Stage::Initiator(machine), alerts)
    }

    pub fn responder(config: Config, alerts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::new(Stage::Responder(Responder::new(Arc::new(config), Instant::ZERO)), alerts)
    }

    /// What was sent without an answer, or not at all: what another connection has to carry.
    pub fn left_over(&self) -> Vec<Vec<u8>> {
        self.in_flight.iter().map(|(_, body)| body).chain(&self.to_send).cloned().collect()
    }

    fn octets(&mut self, octets: impl Into<Bytes>) {
        let octets = octets.into();
        if !octets.is_empty() {
            self.said.push_back(Said::Octets(octets));
        }
    }

    fn start_tls(&mut self, now: Instant, role: TlsRole, received: &[u8]) {
        let (tls, hello) = FakeTls::start(role);
        self.tls_role = Some(role);
        self.tls = Some(tls);
        self.octets(hello);
        self.hear(now, received);
    }

    fn hear(&mut self, now: Instant, octets: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.plain(now, octets) };
        tls.push(octets);
        while let Some((heard, reply)) = self.tls.as_mut().unwrap().next() {
            self.octets(reply);
            match heard {
                Heard::Started => match &mut self.stage {
                    Stage::Initiator(machine) => machine.tls_started(now).unwrap(),
                    Stage::Responder(machine) => machine.tls_started(now).unwrap(),
                    other => panic!("a handshake in {other:?}"),
                },
                Heard::Octets(octets) => self.plain(now, &octets),
                Heard::Goodbye => self.end_of_stream(now, Eof::Closed),
            }
            self.pump(now);
        }
    }

    /// Octets for the machine. Its errors are told by its last event as well.
    fn plain(&mut self, now: Instant, octets: &[u8]) {
        let _ = match &mut self.stage {
            Stage::Initiator(machine) => machine.handle_input(now, octets),
            Stage::Responder(machine) => machine.handle_input(now, octets),
            Stage::Sender(machine) => machine.handle_input(now, octets),
            Stage::Receiver(machine) => machine.handle_input(now, octets),
            Stage::Over => Ok(()),
        };
    }

    fn end_of_stream(&mut self, now: Instant, eof: Eof) {
        let _ = match &mut self.stage {
            Stage::Initiator(machine) => machine.handle_eof(now, eof),
            Stage::Responder(machine) => machine.handle_eof(now, eof),
            Stage::Sender(machine) => machine.handle_eof(now, eof),
            Stage::Receiver(machine) => machine.handle_eof(now, eof),
            Stage::Over => Ok(()),
        };
    }

    /// Does all that the machine says, and all that the application wants.
    fn pump(&mut self, now: Instant) {
        loop {
            self.submit(now);
            let closed = match &mut self.stage {
                Stage::Initiator(machine) => match machine.poll_output(now) {
                    Output::Transmit(octets) => self.transmit(octets),
                    Output::Event(InitiatorEvent::StartTls { role, received }) => {
                        self.start_tls(now, role, &received);
                        None
                    }
                    Output::Event(InitiatorEvent::Ready(channel)) => self.open(channel),
                    Output::Event(InitiatorEvent::Closed { reason }) => Some(reason),
                    Output::Event(_) => None,
                    Output::Timeout(_) => return,
                },
                Stage::Responder(machine) => match machine.poll_output(now) {
                    Output::Transmit(octets) => self.transmit(octets),
                    Output::Event(ResponderEvent::Connect(_)) => {
                        machine.accept_connect(now).unwrap();
                        None
                    }
                    Output::Event(ResponderEvent::StartTls { role, received }) => {
                        self.start_tls(now, role, &received);
                        None
                    }
                    Output::Event(ResponderEvent::ChannelSetup { .. }) => {
                        machine.accept_channel(now).unwrap();
                        None
                    }
                    Output::Event(ResponderEvent::Ready(channel)) => self.open(channel),
                    Output::Event(ResponderEvent::Closed { reason }) => Some(reason),
                    Output::Event(_) => None,
                    Output::Timeout(_) => return,
                },
                Stage::Sender(machine) => match machine.poll_output(now) {
                    Output::Transmit(octets) => self.transmit(octets),
                    Output::Event(SenderEvent::Answered { id, verdict, .. }) => {
                        let (oldest, body) = self.in_flight.pop_front().unwrap();
                        assert_eq!((oldest, verdict), (id, Verdict::Delivered), "answers come in order");
                        self.delivered.push(body);
                        None
                    }
                    Output::Event(SenderEvent::Closed { reason }) => {
                        let kept: Vec<MessageId> = self.in_flight.iter().map(|(id, _)| *id).collect();
                        assert_eq!(machine.unconfirmed().collect::<Vec<_>>(), kept, "exactly what was not answered");
                        Some(reason)
                    }
                    Output::Event(_) => None,
                    Output::Timeout(_) => return,
                },
                Stage::Receiver(machine) => match machine.poll_output(now) {
                    Output::Transmit(octets) => self.transmit(octets),
                    Output::Event(ReceiverEvent::Content { id, body, .. }) => {
                        self.received.push(body.to_vec());
                        // After a broken stream there is nobody to answer.
                        let _ = machine.respond(now, id, Status::OK);
                        None
                    }
                    Output::Event(ReceiverEvent::Closed { reason }) => Some(reason),
                    Output::Event(_) => None,
                    Output::Timeout(_) => return,
                },
                Stage::Over => return,
            };
            if let Some(reason) = closed {
                if let Some(goodbye) = self.tls.as_ref().filter(|tls| tls.is_started()).map(FakeTls::goodbye) {
                    self.octets(goodbye);
                }
                self.said.push_back(Said::Note(reason.to_string()));
                self.reason = Some(reason);
                self.stage = Stage::Over;
            }
        }
    }

    fn transmit(&mut self, octets: Bytes) -> Option<CloseReason> {
        let octets = self.tls.as_ref().map_or_else(|| octets.clone(), |tls| tls.seal(&octets).into());
        self.octets(octets);
        None
    }

    fn open(&mut self, channel: Channel) -> Option<CloseReason> {
        self.said.push_back(Said::Note(format!("ready: {}", channel.role())));
        self.stage = match channel {
            Channel::Sender(sender) => Stage::Sender(sender),
            Channel::Receiver(receiver) => Stage::Receiver(receiver),
        };
        None
    }

    /// Sends as much as the window lets through, and finishes when all is answered.
    fn submit(&mut self, now: Instant) {
        let Stage::Sender(sender) = &mut self.stage else { return };
        while sender.free_window() > 0
            && let Some(body) = self.to_send.pop_front()
        {
            let id = sender.send_alert(now, &MediaType::IDEF_ALERT, &body).unwrap();
            self.in_flight.push_back((id, body));
        }
        if self.to_send.is_empty() && self.in_flight.is_empty() {
            sender.finish(now);
        }
    }
}

impl Node for Peer {
    fn poll(&mut self, now: Instant) -> Said {
        self.pump(now);
        if let Some(said) = self.said.pop_front() {
            return said;
        }
        let wake = match &mut self.stage {
            Stage::Initiator(machine) => machine.poll_output(now),
            Stage::Responder(machine) => return wait(machine.poll_output(now)),
            Stage::Sender(machine) => return wait(machine.poll_output(now)),
            Stage::Receiver(machine) => return wait(machine.poll_output(now)),
            Stage::Over => return Said::Done,
        };
        wait(wake)
    }

    fn input(&mut self, now: Instant, octets: &[u8]) {
        self.hear(now, octets);
        self.pump(now);
    }

    fn eof(&mut self, now: Instant, eof: Eof) {
        // Without a close_notify inside TLS, the end of the TCP stream is a truncation.
        let eof = if self.tls.is_some() { Eof::Truncated } else { eof };
        self.end_of_stream(now, eof);
        self.pump(now);
    }

    fn timeout(&mut self, now: Instant) {
        let _ = match &mut self.stage {
            Stage::Initiator(machine) => machine.handle_timeout(now),
            Stage::Responder(machine) => machine.handle_timeout(now),
            Stage::Sender(machine) => machine.handle_timeout(now),
            Stage::Receiver(machine) => machine.handle_timeout(now),
            Stage::Over => Ok(()),
        };
        self.pump(now);
    }
}

fn wait<T: std::fmt::Debug, E: std::fmt::Debug>(output: Output<T, E>) -> Said {
    match output {
        Output::Timeout(wake) => Said::Wait(wake),
        other => panic!("not drained: {other:?}"),
    }
}

/// A proxy and, behind two links of its own, the node it leads to.
#[derive(Debug)]
pub struct Via<N> {
    proxy: Proxy,
    piped: bool,
    pub inner: N,
    /// To the inner node, and from it.
    links: [Link; 2],
    said: VecDeque<Said>,
    inner_wake: Option<Instant>,
    inner_done: bool,
    outer_eof: Option<Eof>,
    over: bool,
}

impl<N: Node> Via<N> {
    pub fn new(name: &str, inner: N, link: LinkConfig, seed: u64) -> Self {
        let names: Arc<[Host]> = Arc::from([host(name)]);
        Self {
            proxy: Proxy::new(Arc::new(Config::manager()), names, Instant::ZERO),
            piped: false,
            inner,
            links: [Link::new(link.clone(), seed), Link::new(link, !seed)],
            said: VecDeque::new(),
            inner_wake: None,
            inner_done: false,
            outer_eof: None,
            over: false,
        }
    }

    fn ask_inner(&mut self, now: Instant) {
        loop {
            match self.inner.poll(now) {
                Said::Octets(octets) => self.links[1].send(now, octets),
                Said::Note(note) => self.said.push_back(Said::Note(note)),
                Said::Wait(wake) => {
                    self.inner_wake = wake;
                    return;
                }
                Said::Done => {
                    self.inner_wake = None;
                    self.inner_done = true;
                    return;
                }
            }
        }
    }

    fn ask_proxy(&mut self, now: Instant) {
        while !self.piped && !self.over {
            match self.proxy.poll_output(now) {
                Output::Transmit(transmit) => match transmit.to {
                    Side::Initiator => self.said.push_back(Said::Octets(transmit.octets)),
                    Side::Responder => self.links[0].send(now, transmit.octets),
                },
                Output::Event(ProxyEvent::Connect(_)) => self.proxy.accept(now).unwrap(),
                Output::Event(ProxyEvent::Dial) => self.proxy.dialled(now).unwrap(),
                Output::Event(ProxyEvent::Pipe { .. }) => self.piped = true,
                Output::Event(ProxyEvent::Closed { .. }) => self.over = true,
                Output::Event(other) => panic!("{other:?}"),
                Output::Timeout(_) => return,
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        self.ask_inner(now);
        self.ask_proxy(now);
        while let Some(octets) = self.links[0].receive(now) {
            self.inner.input(now, &octets);
            self.ask_inner(now);
        }
        if self.links[0].next_arrival().is_none()
            && let Some(eof) = self.outer_eof.take()
        {
            self.inner.eof(now, eof);
            self.ask_inner(now);
        }
        while let Some(octets) = self.links[1].receive(now) {
            if self.piped {
                self.said.push_back(Said::Octets(octets));
            } else {
                let _ = self.proxy.handle_input(now, Side::Responder, &octets);
                self.ask_proxy(now);
            }
        }
        self.over |= self.inner_done && self.links[1].next_arrival().is_none();
    }
}

impl<N: Node> Node for Via<N> {
    fn poll(&mut self, now: Instant) -> Said {
        self.advance(now);
        if let Some(said) = self.said.pop_front() {
            return said;
        }
        if self.over {
            return Said::Done;
        }
        Said::Wait(self.links.iter().filter_map(Link::next_arrival).chain(self.inner_wake).min())
    }

    fn input(&mut self, now: Instant, octets: &[u8]) {
        if self.piped {
            self.links[0].send(now, Bytes::copy_from_slice(octets));
        } else {
            let _ = self.proxy.handle_input(now, Side::Initiator, octets);
        }
        self.advance(now);
    }

    fn eof(&mut self, now: Instant, eof: Eof) {
        if !self.piped {
            let _ = self.proxy.handle_eof(now, Side::Initiator, eof);
            self.ask_proxy(now);
        }
        self.outer_eof = Some(eof);
        self.advance(now);
    }

    fn timeout(&mut self, now: Instant) {
        if self.inner_wake.is_some_and(|wake| wake <= now) {
            self.inner.timeout(now);
        }
        self.advance(now);
    }
}
