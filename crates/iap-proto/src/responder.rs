//! The TCP responder's side of the setup. draft-ietf-idwg-iap-01 sections 3.1 to 3.3.
//!
//! The application is asked twice: whether to take the connection (knowing only clear text and the peer's address),
//! and whether to open the channel (knowing the peer's certificate).

use std::sync::Arc;

use bytes::Bytes;
use watchfire_core::{Eof, Instant, Machine, Output, OutputQueue, StreamMachine};

use crate::channel::{Channel, CloseReason, HeadBuffer, Step};
use crate::config::Config;
use crate::error::{ApiMisuse, Error, PeerIncompatible, PeerMisbehaved};
use crate::initiator::open;
use crate::message::{
    ChannelSetup, Connect, DataRole, Dialect, Form, Response, SetupRequest, Side, Status, TlsRole, Upgrade,
};
use crate::wire::Syntax;

/// What a [`Responder`] reports or asks for.
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "one Ready a connection; a box would only be in the way")]
pub enum ResponderEvent {
    /// Somebody wants a connection. Answer with [`Responder::accept_connect`] or [`Responder::refuse_connect`].
    /// Nothing in it is authenticated.
    Connect(Connect),
    /// Start TLS on this connection, and call [`Responder::tls_started`] when the handshake is done, or
    /// [`Responder::tls_failed`]. From then on the octets that go in and out of this machine are those inside TLS.
    StartTls {
        /// Which part of the handshake is this node's.
        role: TlsRole,
        /// Octets that already belong to TLS. Empty but with [`Compat::early_client_hello`](crate::Compat).
        received: Bytes,
    },
    /// The peer wants this node to play `role`, and this node can. Answer with [`Responder::accept_channel`] or
    /// [`Responder::refuse_channel`], by who the peer's certificate says it is.
    ChannelSetup {
        /// This node's role.
        role: DataRole,
    },
    /// The setup is done and this machine with it: go on with the channel.
    Ready(Channel),
    /// The end; nothing comes after it.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Is dialled and answers: the setup of a connection that the peer opened.
///
/// An initiator has to wait for each answer. One that did not is refused when its next octets come in the same call as
/// the request, or while the application decides; of a later call nobody can tell when it was sent.
#[derive(Debug)]
pub struct Responder {
    config: Arc<Config>,
    syntax: Syntax,
    out: OutputQueue<ResponderEvent>,
    head: HeadBuffer,
    deadline: Instant,
    tls_deadline: Instant,
    now: Instant,
    /// The one to answer in: that of CONNECT once it has come, or the one of ours that stands for it.
    dialect: Dialect,
    /// The one that CONNECT was written in; every later request must be in it as well.
    asked: Dialect,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    WaitConnect,
    DecideConnect,
    WaitUpgrade,
    TlsHandshake,
    WaitChannel,
    DecideChannel(DataRole),
    Done,
}

impl Responder {
    /// Waits for the CONNECT request of a connection that was just accepted.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        let deadline = now + config.timeouts.setup;
        Self {
            dialect: config.dialect(),
            asked: config.dialect(),
            syntax: Syntax::new(config.compat, config.limits),
            out: OutputQueue::new(config.limits.max_buffered),
            config,
            head: HeadBuffer::default(),
            deadline,
            tls_deadline: deadline,
            now,
            state: State::WaitConnect,
        }
    }

    /// Takes the connection.
    ///
    /// # Errors
    /// When no CONNECT is waiting.
    pub fn accept_connect(&mut self, now: Instant) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        self.decide(State::DecideConnect)?;
        self.respond(Status::OK);
        self.state = State::WaitUpgrade;
        Ok(())
    }

    /// Refuses the connection: [`Status::FORBIDDEN`], [`Status::SERVICE_UNAVAILABLE`] and the like.
    ///
    /// # Errors
    /// When no CONNECT is waiting, or the status is no refusal.
    pub fn refuse_connect(&mut self, now: Instant, status: Status) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        self.decide(State::DecideConnect)?;
        self.refuse(Step::Connect, status)
    }

    /// The TLS handshake is done.
    ///
    /// # Errors
    /// When no handshake was asked for.
    pub fn tls_started(&mut self, now: Instant) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        self.decide(State::TlsHandshake)?;
        self.state = State::WaitChannel;
        Ok(())
    }

    /// The handshake failed. The TLS library has sent its alert; all that is left is to close.
    ///
    /// # Errors
    /// When no handshake was asked for.
    pub fn tls_failed(&mut self) -> Result<(), ApiMisuse> {
        self.decide(State::TlsHandshake)?;
        self.end(CloseReason::TlsFailed);
        Ok(())
    }

    /// Opens the channel: [`ResponderEvent::Ready`] follows.
    ///
    /// # Errors
    /// When no channel setup is waiting.
    pub fn accept_channel(&mut self, now: Instant) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        let State::DecideChannel(role) = self.state else { return Err(ApiMisuse::NotNow) };
        self.respond(Status::OK);
        self.state = State::Done;
        self.out.event(ResponderEvent::Ready(open(&self.config, self.dialect, role, self.now)));
        Ok(())
    }

    /// Refuses the channel: [`Status::FORBIDDEN`] when the certificate does not allow the role.
    ///
    /// # Errors
    /// When no channel setup is waiting, or the status is no refusal.
    pub fn refuse_channel(&mut self, now: Instant, status: Status) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        let State::DecideChannel(_) = self.state else { return Err(ApiMisuse::NotNow) };
        self.refuse(Step::Channel, status)
    }

    /// Gives up without a word.
    pub fn close(&mut self) {
        self.end(CloseReason::Finished);
    }

    /// TCP urgent data arrived, which section 6.2 forbids.
    ///
    /// # Errors
    /// Always: the connection is to be closed.
    pub fn handle_urgent_data(&mut self) -> Result<(), Error> {
        self.fail(PeerMisbehaved::UrgentData.into())
    }

    fn decide(&self, state: State) -> Result<(), ApiMisuse> {
        if self.state == state { Ok(()) } else { Err(ApiMisuse::NotNow) }
    }

    fn refuse(&mut self, step: Step, status: Status) -> Result<(), ApiMisuse> {
        if !status.is_refusal() {
            return Err(ApiMisuse::NotAnAnswer);
        }
        self.respond(status);
        self.end(CloseReason::Refused { step, status });
        Ok(())
    }

    fn respond(&mut self, status: Status) {
        Response::new(self.dialect, status).encode(self.out.buffer());
    }

    fn take_input(&mut self, input: &[u8]) -> Result<(), Error> {
        match self.state {
            State::WaitConnect | State::WaitUpgrade | State::WaitChannel => {}
            State::DecideConnect | State::DecideChannel(_) => return Err(PeerMisbehaved::Impatient.into()),
            State::TlsHandshake | State::Done => return Err(ApiMisuse::NotNow.into()),
        }
        let Some((head, taken)) = self.head.push(input, &self.syntax)? else { return Ok(()) };
        let rest = input.get(taken..).unwrap_or_default();
        let (request, _) = SetupRequest::decode_with(&head, &self.syntax)?;
        match (self.state, request) {
            (State::WaitConnect, SetupRequest::Connect(connect)) => self.take_connect(connect, rest),
            (State::WaitUpgrade, SetupRequest::Upgrade(upgrade)) => self.take_upgrade(upgrade, rest),
            (State::WaitChannel, SetupRequest::ChannelSetup(setup)) => self.take_channel_setup(setup, rest),
            (state, request) => {
                let expected = match state {
                    State::WaitConnect => "connect",
                    State::WaitUpgrade => "upgrade",
                    _ => "channel setup",
                };
                Err(PeerMisbehaved::UnexpectedRequest { expected, got: request.name() }.into())
            }
        }
    }

    fn take_connect(&mut self, connect: Connect, rest: &[u8]) -> Result<(), Error> {
        let asked = connect.dialect;
        // Only the 0.3 form promises that a higher minor version parses the same (section 1.6).
        let stands_for = |ours: &Dialect| {
            self.config.compat.higher_minor
                && ours.form == Form::Prefixed
                && asked.form == Form::Prefixed
                && ours.version.major == asked.version.major
                && ours.version.minor < asked.version.minor
        };
        let ours = &self.config.dialects;
        match ours.iter().find(|ours| **ours == asked).or_else(|| ours.iter().find(|ours| stands_for(ours))) {
            Some(dialect) => self.dialect = *dialect,
            None => return Err(PeerIncompatible::Version(asked.version).into()),
        }
        self.asked = asked;
        if !rest.is_empty() {
            return Err(PeerMisbehaved::Impatient.into());
        }
        let served = &self.config.served_names;
        if !served.is_empty() && !served.iter().any(|name| name.is_same(&connect.host)) {
            return Err(PeerIncompatible::Host.into());
        }
        self.state = State::DecideConnect;
        self.out.event(ResponderEvent::Connect(connect));
        Ok(())
    }

    fn take_upgrade(&mut self, upgrade: Upgrade, rest: &[u8]) -> Result<(), Error> {
        self.check_version(upgrade.dialect)?;
        let role = self.dialect.tls_role(self.config.party, Side::Responder);
        // Whoever waits for our 101 has nothing to say before it. As TLS client we speak first anyway.
        let early = role == TlsRole::Server && self.config.compat.early_client_hello;
        if !rest.is_empty() && !early {
            return Err(PeerMisbehaved::InjectedPlaintext.into());
        }
        if !self.config.tls {
            return Err(PeerIncompatible::NoCertificate.into());
        }
        self.respond(Status::SWITCHING_PROTOCOLS);
        self.state = State::TlsHandshake;
        self.tls_deadline = self.now + self.config.timeouts.tls_handshake;
        self.out.event(ResponderEvent::StartTls { role, received: Bytes::copy_from_slice(rest) });
        Ok(())
    }

    fn take_channel_setup(&mut self, setup: ChannelSetup, rest: &[u8]) -> Result<(), Error> {
        self.check_version(setup.dialect)?;
        let outside = self.asked.version;
        if setup.version != outside {
            return Err(PeerMisbehaved::VersionMismatch { outside, inside: setup.version }.into());
        }
        if !rest.is_empty() {
            return Err(PeerMisbehaved::Impatient.into());
        }
        let role = setup.role.opposite();
        if !self.config.can_play(role) {
            return Err(PeerIncompatible::Role.into());
        }
        self.state = State::DecideChannel(role);
        self.out.event(ResponderEvent::ChannelSetup { role });
        Ok(())
    }

    /// Every request of a setup is in the dialect of its first.
    fn check_version(&self, dialect: Dialect) -> Result<(), Error> {
        if dialect == self.asked {
            return Ok(());
        }
        let outside = self.asked.version;
        Err(PeerMisbehaved::VersionMismatch { outside, inside: dialect.version }.into())
    }

    fn end(&mut self, reason: CloseReason) {
        if self.state != State::Done {
            self.state = State::Done;
            self.out.event(ResponderEvent::Closed { reason });
        }
    }

    /// Answers with the status that tells the error, where there is still somebody to tell, and ends.
    fn fail(&mut self, error: Error) -> Result<(), Error> {
        let listening = !matches!(self.state, State::TlsHandshake | State::Done);
        if let Some(status) = error.status().filter(|_| listening) {
            self.respond(status);
        }
        self.end(CloseReason::Failed(error.clone()));
        Err(error)
    }

    fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Done => None,
            State::TlsHandshake => Some(self.deadline.min(self.tls_deadline)),
            _ => Some(self.deadline),
        }
    }
}

impl Machine for Responder {
    type Transmit = Bytes;
    type Event = ResponderEvent;
    type Error = Error;

    fn poll_output(&mut self, _now: Instant) -> Output<Bytes, ResponderEvent> {
        let deadline = self.deadline();
        self.out.poll().unwrap_or(Output::Timeout(deadline))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.now = self.now.max(now);
        match self.deadline() {
            Some(deadline) if deadline <= self.now => {
                let reason = self.timeout_reason();
                self.fail(Error::TimedOut(reason))
            }
            _ => Ok(()),
        }
    }

    fn timeout_reason(&self) -> &'static str {
        match self.state {
            State::WaitConnect => "waiting for a connect request",
            State::DecideConnect => "deciding on the connect request",
            State::WaitUpgrade => "waiting for an upgrade request",
            State::TlsHandshake => "in the tls handshake",
            State::WaitChannel => "waiting for a channel setup request",
            State::DecideChannel(_) => "deciding on the channel setup request",
            State::Done => "",
        }
    }

    fn is_finished(&self) -> bool {
        self.state == State::Done
    }
}

impl StreamMachine for Responder {
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), Error> {
        self.now = self.now.max(now);
        match self.state {
            State::Done => return Err(ApiMisuse::Finished.into()),
            _ if input.is_empty() => return Ok(()),
            _ => {}
        }
        self.take_input(input).or_else(|error| self.fail(error))
    }

    fn handle_eof(&mut self, now: Instant, _eof: Eof) -> Result<(), Error> {
        self.now = self.now.max(now);
        if self.state == State::Done { Ok(()) } else { self.fail(PeerMisbehaved::EarlyEof.into()) }
    }
}
