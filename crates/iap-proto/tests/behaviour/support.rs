//! Scripted peers: bring a machine to where a test begins, tell it octets, see what it says.

use std::sync::Arc;

use bytes::Bytes;
use iap_proto::message::{Connect, Response};
use iap_proto::wire::{DecodeErrorKind, Syntax};
use iap_proto::{
    Channel, CloseReason, Compat, Config, DataRole, Dialect, Error, Host, Initiator, InitiatorEvent, Limits, MediaType,
    MessageId, Receiver, ReceiverEvent, Responder, ResponderEvent, Sender, SenderEvent, Status,
};
use watchfire_core::{Instant, Machine, Output, StreamMachine};

pub const CONNECT: &[u8] = b"IAP/0.3 CONNECT M.DOM.ORG\r\n\r\n";
pub const UPGRADE: &[u8] = b"IAP/0.3 Upgrade: TLS/1.0\r\n\r\n";
pub const AS_SENDER: &[u8] = b"IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: Sender\r\n\r\n";
pub const AS_RECEIVER: &[u8] = b"IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: Receiver\r\n\r\n";
pub const OK: &[u8] = b"IAP/0.3 200\r\n\r\n";
pub const SWITCH: &[u8] = b"IAP/0.3 101\r\n\r\n";

pub const T0: Instant = Instant::ZERO;

pub fn secs(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

pub fn host(name: &str) -> Host {
    name.parse().unwrap()
}

pub fn media(name: &str) -> MediaType {
    name.parse().unwrap()
}

pub fn status(code: u16) -> Status {
    Status::new(code).unwrap()
}

/// The response of 0.3 with this code.
pub fn answer(code: u16) -> Vec<u8> {
    format!("IAP/0.3 {code}\r\n\r\n").into_bytes()
}

/// An alert of 0.3 with this body.
pub fn alert(body: &[u8]) -> Vec<u8> {
    content("application/x-idef-alert", body)
}

pub fn content(media: &str, body: &[u8]) -> Vec<u8> {
    let mut octets = format!("Content-Type: {media}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    octets.extend_from_slice(body);
    octets.extend_from_slice(b"\r\n\r\n");
    octets
}

pub fn syntax(compat: Compat) -> Syntax {
    Syntax::new(compat, Limits::default())
}

pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// All that a machine says now.
#[derive(Debug)]
pub struct Said<E> {
    pub octets: Vec<u8>,
    pub events: Vec<E>,
    pub wake: Option<Instant>,
}

pub fn drain<M: Machine<Transmit = Bytes>>(machine: &mut M, now: Instant) -> Said<M::Event> {
    let mut said = Said { octets: Vec::new(), events: Vec::new(), wake: None };
    loop {
        match machine.poll_output(now) {
            Output::Transmit(octets) => said.octets.extend_from_slice(&octets),
            Output::Event(event) => said.events.push(event),
            Output::Timeout(wake) => {
                said.wake = wake;
                return said;
            }
        }
    }
}

/// Tells octets that must be taken, and drains.
pub fn tell<M: StreamMachine<Transmit = Bytes, Error = Error>>(
    machine: &mut M,
    now: Instant,
    octets: &[u8],
) -> Said<M::Event> {
    machine.handle_input(now, octets).unwrap_or_else(|error| panic!("{error} on {:?}", text(octets)));
    drain(machine, now)
}

/// Tells octets that must be refused; gives the error and the farewell.
pub fn tell_bad<M: StreamMachine<Transmit = Bytes, Error = Error>>(
    machine: &mut M,
    now: Instant,
    octets: &[u8],
) -> (Error, Said<M::Event>) {
    let error = machine.handle_input(now, octets).expect_err(&text(octets));
    assert!(machine.is_finished(), "an error is fatal");
    (error, drain(machine, now))
}

/// Where in a setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    Connect,
    DecideConnect,
    Upgrade,
    Tls,
    Channel,
    DecideChannel,
}

impl At {
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::DecideConnect, Self::Upgrade, Self::Tls, Self::Channel, Self::DecideChannel];
}

/// A responder of 0.3, brought to `at` by the instant zero, in a setup that makes it `role`.
pub fn responder_for(config: Config, role: DataRole, at: At) -> Responder {
    let mut responder = Responder::new(Arc::new(config), T0);
    for step in At::ALL.into_iter().filter(|step| *step < at) {
        match step {
            At::Connect => responder.handle_input(T0, CONNECT).unwrap(),
            At::DecideConnect => responder.accept_connect(T0).unwrap(),
            At::Upgrade => responder.handle_input(T0, UPGRADE).unwrap(),
            At::Tls => responder.tls_started(T0).unwrap(),
            At::Channel => {
                let setup = if role == DataRole::Receiver { AS_SENDER } else { AS_RECEIVER };
                responder.handle_input(T0, setup).unwrap();
            }
            At::DecideChannel => {}
        }
        let _ = drain(&mut responder, T0);
    }
    responder
}

pub fn responder_at(config: Config, at: At) -> Responder {
    responder_for(config, DataRole::Receiver, at)
}

/// An initiator of 0.3 that wants to be `role`, brought to where it waits for the answer to `at`.
pub fn initiator_at(config: Config, role: DataRole, at: At) -> Initiator {
    let mut initiator = Initiator::new(Arc::new(config), host("M.DOM.ORG"), role, T0);
    let _ = drain(&mut initiator, T0);
    if at >= At::Upgrade {
        let _ = tell(&mut initiator, T0, OK);
    }
    if at >= At::Tls {
        let _ = tell(&mut initiator, T0, SWITCH);
    }
    if at >= At::Channel {
        initiator.tls_started(T0).unwrap();
        let _ = drain(&mut initiator, T0);
    }
    initiator
}

/// A sender in the data phase.
pub fn sender(config: Config) -> Sender {
    let mut initiator = initiator_at(config, DataRole::Sender, At::Channel);
    match tell(&mut initiator, T0, OK).events.pop() {
        Some(InitiatorEvent::Ready(channel)) => channel.into_sender().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A receiver in the data phase.
pub fn receiver(config: Config) -> Receiver {
    let mut responder = responder_at(config, At::DecideChannel);
    responder.accept_channel(T0).unwrap();
    match drain(&mut responder, T0).events.pop() {
        Some(ResponderEvent::Ready(Channel::Receiver(receiver))) => receiver,
        other => panic!("{other:?}"),
    }
}

/// The contents among these events.
pub fn contents(events: &[ReceiverEvent]) -> Vec<(MessageId, Bytes)> {
    let content = |event: &ReceiverEvent| match event {
        ReceiverEvent::Content { id, body, .. } => Some((*id, body.clone())),
        _ => None,
    };
    events.iter().filter_map(content).collect()
}

/// The answers among these events.
pub fn answers(events: &[SenderEvent]) -> Vec<(u64, u16)> {
    let answer = |event: &SenderEvent| match event {
        SenderEvent::Answered { id, status, .. } => Some((id.index(), status.code())),
        _ => None,
    };
    events.iter().filter_map(answer).collect()
}

/// The reason in a `Closed` event, which must be the last one.
pub trait Closed {
    fn reason(&self) -> Option<&CloseReason>;
}

macro_rules! closed {
    ($($event:ident)*) => {$(
        impl Closed for $event {
            fn reason(&self) -> Option<&CloseReason> {
                if let $event::Closed { reason } = self { Some(reason) } else { None }
            }
        }
    )*};
}
closed!(InitiatorEvent ResponderEvent SenderEvent ReceiverEvent);

pub fn close_reason<E: Closed + std::fmt::Debug>(events: &[E]) -> CloseReason {
    let closed = events.iter().filter(|event| event.reason().is_some()).count();
    assert_eq!(closed, 1, "one end: {events:?}");
    events.last().and_then(Closed::reason).unwrap_or_else(|| panic!("the end is last: {events:?}")).clone()
}

/// What kind of decoding error this is.
pub fn kind(error: &Error) -> DecodeErrorKind {
    match error {
        Error::InvalidMessage(error) => error.kind,
        other => panic!("{other:?}"),
    }
}

pub fn connect(to: &str, via: &[&str]) -> Connect {
    let mut connect = Connect::new(Dialect::V0_3, host(to));
    connect.via = via.iter().map(|name| host(name)).collect();
    connect
}

pub fn response(code: u16, via: &[&str]) -> Response {
    let mut response = Response::new(Dialect::V0_3, status(code));
    response.via = via.iter().map(|name| host(name)).collect();
    response
}
