//! The TCP initiator's side of the setup. draft-ietf-idwg-iap-01 sections 3.1 to 3.3.
//!
//! ```text
//! CONNECT ─▶ 200 ─▶ Upgrade ─▶ 101 ─▶ (TLS) ─▶ IAP-Version, IAP-Role ─▶ 200 ─▶ Ready
//! ```

use std::sync::Arc;

use bytes::Bytes;
use watchfire_core::{Eof, Instant, Machine, Output, OutputQueue, StreamMachine};

use crate::channel::{Channel, CloseReason, HeadBuffer, Step};
use crate::config::Config;
use crate::error::{ApiMisuse, Error, PeerIncompatible, PeerMisbehaved};
use crate::message::{ChannelSetup, Connect, DataRole, Dialect, Host, Response, Side, Status, TlsRole, Upgrade};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::wire::Syntax;

/// What an [`Initiator`] reports or asks for.
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "one Ready a connection; a box would only be in the way")]
pub enum InitiatorEvent {
    /// The target accepted the connection. For the log.
    Connected {
        /// Proxies on the way, the one nearest to the target first. Hearsay, like everything in clear text.
        via: Vec<Host>,
    },
    /// Start TLS on this connection, and call [`Initiator::tls_started`] when the handshake is done and the peer's
    /// certificate is found good, or [`Initiator::tls_failed`]. From then on the octets that go in and out of this
    /// machine are those inside TLS.
    StartTls {
        /// Which part of the handshake is this node's.
        role: TlsRole,
        /// Octets that already belong to TLS: the peer's ClientHello, behind its 101. Empty when this node is the
        /// TLS client.
        received: Bytes,
    },
    /// The setup is done and this machine with it: go on with the channel.
    Ready(Channel),
    /// The end; nothing comes after it.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Dials and asks: drives the setup of a connection that this node opened.
///
/// Make one when TCP is connected; its first output is the CONNECT request.
///
/// Octets that stand behind the answer to CONNECT, or behind a 101 where TLS must follow from this side, end it. That
/// shows only while they come in the same call as the answer: of a later call nobody can tell when it was sent.
#[derive(Debug)]
pub struct Initiator {
    config: Arc<Config>,
    /// The first request, until it is sent.
    connect: Option<Connect>,
    dialect: Dialect,
    syntax: Syntax,
    role: DataRole,
    out: OutputQueue<InitiatorEvent>,
    head: HeadBuffer,
    deadline: Instant,
    tls_deadline: Instant,
    now: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    WaitConnectResponse,
    WaitUpgradeResponse,
    TlsHandshake,
    WaitChannelResponse,
    Done,
}

impl Initiator {
    /// Begins a setup with `target`, in which this node wants to be `role` in the data phase. Analyzers that send
    /// alerts and managers that fetch them are the usual cases: [`Initiator::for_alerts`].
    pub fn new(config: Arc<Config>, target: Host, role: DataRole, now: Instant) -> Self {
        let dialect = config.dialect();
        let deadline = now + config.timeouts.setup;
        let out = OutputQueue::new(config.limits.max_buffered);
        Self {
            connect: Some(Connect::new(dialect, target)),
            dialect,
            syntax: Syntax::new(config.compat, config.limits),
            config,
            role,
            out,
            head: HeadBuffer::default(),
            deadline,
            tls_deadline: deadline,
            now,
            state: State::WaitConnectResponse,
        }
    }

    /// Begins a setup for a channel that carries alerts: the analyzer is the sender, the manager the receiver.
    pub fn for_alerts(config: Arc<Config>, target: Host, now: Instant) -> Self {
        let role = if config.can_play(DataRole::Sender) && config.party == crate::Party::Analyzer {
            DataRole::Sender
        } else {
            DataRole::Receiver
        };
        Self::new(config, target, role, now)
    }

    /// Adds to CONNECT, before it is polled, the port dialled and who calls. Dialects 0.4 and 0.5 write both; 0.3 has
    /// neither.
    #[must_use]
    pub fn with_port_and_source(mut self, port: Option<u16>, source: Option<Host>) -> Self {
        if let Some(connect) = &mut self.connect {
            (connect.port, connect.source) = (port, source);
        }
        self
    }

    /// The TLS handshake is done, and the peer's certificate is that of somebody this node wants to talk to.
    ///
    /// # Errors
    /// When no handshake was asked for.
    pub fn tls_started(&mut self, now: Instant) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        if self.state != State::TlsHandshake {
            return Err(ApiMisuse::NotNow);
        }
        ChannelSetup::new(self.dialect, self.role).encode(self.out.buffer());
        self.state = State::WaitChannelResponse;
        Ok(())
    }

    /// The handshake failed, or the peer's certificate is not good. The TLS library has sent its alert; all that is
    /// left is to close.
    ///
    /// # Errors
    /// When no handshake was asked for.
    pub fn tls_failed(&mut self) -> Result<(), ApiMisuse> {
        if self.state != State::TlsHandshake {
            return Err(ApiMisuse::NotNow);
        }
        self.end(CloseReason::TlsFailed);
        Ok(())
    }

    /// Gives up.
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

    fn take_input(&mut self, input: &[u8]) -> Result<(), Error> {
        let mut input = input;
        while !input.is_empty() {
            match self.state {
                State::WaitConnectResponse | State::WaitUpgradeResponse | State::WaitChannelResponse => {
                    let Some((head, taken)) = self.head.push(input, &self.syntax)? else { return Ok(()) };
                    let (response, _) = Response::decode_with(&head, &self.syntax)?;
                    input = self.take_response(response, input.get(taken..).unwrap_or_default())?;
                }
                State::TlsHandshake | State::Done => return Err(ApiMisuse::NotNow.into()),
            }
        }
        Ok(())
    }

    /// Takes the response whose turn it is, and as much of `rest`, the octets behind it, as belongs to the next.
    fn take_response<'a>(&mut self, response: Response, rest: &'a [u8]) -> Result<&'a [u8], Error> {
        if response.dialect.version != self.dialect.version {
            return Err(PeerIncompatible::Version(response.dialect.version).into());
        }
        let (step, wanted) = match self.state {
            State::WaitConnectResponse => (Step::Connect, Status::OK),
            State::WaitUpgradeResponse => (Step::Upgrade, Status::SWITCHING_PROTOCOLS),
            _ => (Step::Channel, Status::OK),
        };
        if response.status != wanted {
            if response.status.code() / 100 <= 2 {
                return Err(PeerMisbehaved::UnexpectedStatus(response.status).into());
            }
            self.end(CloseReason::Refused { step, status: response.status });
            return Ok(&[]);
        }
        match step {
            Step::Connect => {
                // The responder speaks only when asked, and it has not been asked anything more.
                if !rest.is_empty() {
                    return Err(PeerMisbehaved::UnsolicitedResponse.into());
                }
                self.out.event(InitiatorEvent::Connected { via: response.via });
                Upgrade::new(self.dialect).encode(self.out.buffer());
                self.state = State::WaitUpgradeResponse;
            }
            Step::Upgrade => {
                let role = self.dialect.tls_role(self.config.party, Side::Initiator);
                // A TLS server never speaks first: what stands behind its 101 was put there by somebody else.
                if role == TlsRole::Client && !rest.is_empty() {
                    return Err(PeerMisbehaved::InjectedPlaintext.into());
                }
                self.state = State::TlsHandshake;
                self.tls_deadline = self.now + self.config.timeouts.tls_handshake;
                self.out.event(InitiatorEvent::StartTls { role, received: Bytes::copy_from_slice(rest) });
                return Ok(&[]);
            }
            Step::Channel => {
                let mut channel = open(&self.config, self.dialect, self.role, self.now);
                // A responder that is the sender may have alerts right behind its 200. An error in them is reported
                // by the channel itself, as its last event.
                let _ = match &mut channel {
                    Channel::Sender(_) if rest.is_empty() => Ok(()),
                    Channel::Sender(sender) => sender.handle_input(self.now, rest),
                    Channel::Receiver(receiver) => receiver.handle_input(self.now, rest),
                };
                self.state = State::Done;
                self.out.event(InitiatorEvent::Ready(channel));
                return Ok(&[]);
            }
        }
        Ok(rest)
    }

    fn end(&mut self, reason: CloseReason) {
        if self.state != State::Done {
            self.state = State::Done;
            self.connect = None;
            self.out.event(InitiatorEvent::Closed { reason });
        }
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
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

/// The machine of the data phase.
pub(crate) fn open(config: &Arc<Config>, dialect: Dialect, role: DataRole, now: Instant) -> Channel {
    match role {
        DataRole::Sender => Channel::Sender(Sender::new(Arc::clone(config), dialect, now)),
        DataRole::Receiver => Channel::Receiver(Receiver::new(Arc::clone(config), dialect, now)),
    }
}

impl Machine for Initiator {
    type Transmit = Bytes;
    type Event = InitiatorEvent;
    type Error = Error;

    fn poll_output(&mut self, _now: Instant) -> Output<Bytes, InitiatorEvent> {
        if let Some(connect) = self.connect.take() {
            connect.encode(self.out.buffer());
        }
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
            State::WaitConnectResponse => "waiting for the answer to connect",
            State::WaitUpgradeResponse => "waiting for the answer to upgrade",
            State::TlsHandshake => "in the tls handshake",
            State::WaitChannelResponse => "waiting for the answer to the channel setup",
            State::Done => "",
        }
    }

    fn is_finished(&self) -> bool {
        self.state == State::Done
    }
}

impl StreamMachine for Initiator {
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), Error> {
        self.now = self.now.max(now);
        if self.state == State::Done {
            return Err(ApiMisuse::Finished.into());
        }
        // An answer to a request that has not left yet answers nothing.
        if self.connect.is_some() && !input.is_empty() {
            return self.fail(PeerMisbehaved::UnsolicitedResponse.into());
        }
        self.take_input(input).or_else(|error| self.fail(error))
    }

    fn handle_eof(&mut self, now: Instant, _eof: Eof) -> Result<(), Error> {
        self.now = self.now.max(now);
        if self.state == State::Done { Ok(()) } else { self.fail(PeerMisbehaved::EarlyEof.into()) }
    }
}
