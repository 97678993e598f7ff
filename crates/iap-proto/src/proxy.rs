//! The proxy: relays one CONNECT and its answer, then is a pipe. draft-ietf-idwg-iap-01 sections 2.3.1, 3.1, 5.2
//! and 7.5.
//!
//! A proxy has no certificate and no identity. It does not follow the address in the request but goes to its
//! configured next hop, so that it cannot be used to reach places its operator did not mean.

use std::sync::Arc;

use bytes::Bytes;
use watchfire_core::{Eof, Instant, Machine, Output, OutputQueue};

use crate::channel::{CloseReason, HeadBuffer, Step};
use crate::config::Config;
use crate::error::{ApiMisuse, Error, Limit, PeerMisbehaved};
use crate::message::{Connect, Dialect, Host, Response, SetupRequest, Side, Status};
use crate::wire::Syntax;

/// Octets for one of a proxy's two connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ProxyTransmit {
    /// The end of the way to send them to: the initiator, or the responder's side (the next hop).
    pub to: Side,
    /// The octets.
    pub octets: Bytes,
}

/// What a [`Proxy`] reports or asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyEvent {
    /// Somebody wants to pass. Answer with [`Proxy::accept`] or [`Proxy::refuse`], by where it comes from and where
    /// it wants to go.
    Connect(Connect),
    /// Dial the next hop, and call [`Proxy::dialled`] or [`Proxy::dial_failed`].
    Dial,
    /// From here on both connections are one pipe: send what is queued, then copy octets either way as they are,
    /// and hand on the end of each direction by itself. This machine is done.
    Pipe {
        /// Proxies between here and the target, the one nearest to the target first.
        via: Vec<Host>,
    },
    /// The end; nothing comes after it. Close both connections.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// One passage through a proxy.
///
/// Not a [`StreamMachine`](watchfire_core::StreamMachine), because it has two streams: octets come in by
/// [`handle_input`](Self::handle_input) and go out as [`ProxyTransmit`], each with the side they belong to.
#[derive(Debug)]
pub struct Proxy {
    config: Arc<Config>,
    syntax: Syntax,
    names: Arc<[Host]>,
    out: OutputQueue<ProxyEvent>,
    next_hop_out: Vec<u8>,
    head: HeadBuffer,
    connect: Option<Connect>,
    dialect: Dialect,
    deadline: Instant,
    now: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    WaitConnect,
    Decide,
    Dialling,
    WaitResponse,
    Done,
}

impl Proxy {
    /// A proxy known by `names`: the first is written into Via lines, and all of them are looked for in those that
    /// come in.
    pub fn new(config: Arc<Config>, names: Arc<[Host]>, now: Instant) -> Self {
        Self {
            syntax: Syntax::new(config.compat, config.limits),
            out: OutputQueue::new(config.limits.max_buffered),
            next_hop_out: Vec::new(),
            head: HeadBuffer::default(),
            connect: None,
            dialect: config.dialect(),
            deadline: now + config.timeouts.setup,
            config,
            names,
            now,
            state: State::WaitConnect,
        }
    }

    /// Lets the request pass: [`ProxyEvent::Dial`] follows.
    ///
    /// # Errors
    /// When no CONNECT is waiting.
    pub fn accept(&mut self, now: Instant) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        if self.state != State::Decide {
            return Err(ApiMisuse::NotNow);
        }
        self.state = State::Dialling;
        self.deadline = self.now + self.config.timeouts.next_hop;
        self.out.event(ProxyEvent::Dial);
        Ok(())
    }

    /// Does not let the request pass.
    ///
    /// # Errors
    /// When no CONNECT is waiting, or the status is no refusal.
    pub fn refuse(&mut self, now: Instant, status: Status) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        if self.state != State::Decide {
            return Err(ApiMisuse::NotNow);
        }
        if !status.is_refusal() {
            return Err(ApiMisuse::NotAnAnswer);
        }
        self.refuse_with(status);
        Ok(())
    }

    /// The next hop is connected.
    ///
    /// # Errors
    /// When no dialling was asked for.
    pub fn dialled(&mut self, now: Instant) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        if self.state != State::Dialling {
            return Err(ApiMisuse::NotNow);
        }
        let Some(mut connect) = self.connect.take() else { return Err(ApiMisuse::NotNow) };
        connect.via.extend(self.names.first().cloned());
        connect.encode(&mut self.next_hop_out);
        self.state = State::WaitResponse;
        self.deadline = self.now + self.config.timeouts.next_hop;
        Ok(())
    }

    /// The next hop cannot be reached. The initiator is told by a 502.
    ///
    /// # Errors
    /// When no dialling was asked for.
    pub fn dial_failed(&mut self, now: Instant) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        if self.state != State::Dialling {
            return Err(ApiMisuse::NotNow);
        }
        self.refuse_with(Status::BAD_GATEWAY);
        Ok(())
    }

    /// Octets arrived from one side.
    ///
    /// # Errors
    /// Fatal; what there is to tell the initiator is queued.
    pub fn handle_input(&mut self, now: Instant, from: Side, input: &[u8]) -> Result<(), Error> {
        self.now = self.now.max(now);
        if self.state == State::Done {
            return Err(ApiMisuse::Finished.into());
        }
        if input.is_empty() {
            return Ok(());
        }
        let result = match from {
            Side::Initiator => self.take_request(input),
            Side::Responder => self.take_response(input),
        };
        result.or_else(|error| self.fail(error))
    }

    /// One side will send no more.
    ///
    /// # Errors
    /// Always, unless the machine is done: the setup is not, on either side.
    pub fn handle_eof(&mut self, now: Instant, from: Side, _eof: Eof) -> Result<(), Error> {
        self.now = self.now.max(now);
        match (self.state, from) {
            (State::Done, _) => Ok(()),
            (State::WaitResponse, Side::Responder) => self.bad_gateway(PeerMisbehaved::EarlyEof.into()),
            _ => self.fail(PeerMisbehaved::EarlyEof.into()),
        }
    }

    /// Gives up without a word.
    pub fn close(&mut self) {
        self.end(CloseReason::Finished);
    }

    fn take_request(&mut self, input: &[u8]) -> Result<(), Error> {
        if self.state != State::WaitConnect {
            return Err(PeerMisbehaved::Impatient.into());
        }
        let Some((head, taken)) = self.head.push(input, &self.syntax)? else { return Ok(()) };
        let (request, _) = SetupRequest::decode_with(&head, &self.syntax)?;
        // Answers are in the version of the request, whatever it is: new versions must be able to pass old proxies.
        self.dialect = request.dialect();
        let SetupRequest::Connect(connect) = request else {
            return Err(PeerMisbehaved::UnexpectedRequest { expected: "connect", got: request.name() }.into());
        };
        if connect.via.iter().any(|passed| self.names.iter().any(|name| name.is_same(passed))) {
            return Err(PeerMisbehaved::ViaLoop.into());
        }
        if connect.via.len() >= self.config.limits.via {
            return Err(Error::LimitExceeded(Limit::Via));
        }
        if taken < input.len() {
            return Err(PeerMisbehaved::Impatient.into());
        }
        self.connect = Some(connect.clone());
        self.state = State::Decide;
        self.out.event(ProxyEvent::Connect(connect));
        Ok(())
    }

    fn take_response(&mut self, input: &[u8]) -> Result<(), Error> {
        if self.state != State::WaitResponse {
            return Err(ApiMisuse::NotNow.into());
        }
        let response = match self.head.push(input, &self.syntax) {
            Ok(None) => return Ok(()),
            Ok(Some((head, taken))) => {
                Response::decode_with(&head, &self.syntax).map(|(response, _)| (response, taken))
            }
            Err(error) => Err(error),
        };
        let (mut response, taken) = match response {
            Ok(response) => response,
            Err(error) => return self.bad_gateway(error.into()),
        };
        let via = response.via.clone();
        if response.via.len() >= self.config.limits.via {
            return self.bad_gateway(Error::LimitExceeded(Limit::Via));
        }
        response.via.extend(self.names.first().cloned());
        // Written in the form the initiator used, even if a next hop of another age wrote its own.
        response.dialect = Dialect { version: response.dialect.version, form: self.dialect.form };
        response.encode(self.out.buffer());
        if response.status == Status::OK {
            self.out.transmit(input.get(taken..).unwrap_or_default());
            self.state = State::Done;
            self.out.event(ProxyEvent::Pipe { via });
        } else {
            self.end(CloseReason::Refused { step: Step::Connect, status: response.status });
        }
        Ok(())
    }

    fn refuse_with(&mut self, status: Status) {
        Response::new(self.dialect, status).encode(self.out.buffer());
        self.end(CloseReason::Refused { step: Step::Connect, status });
    }

    /// The next hop makes no sense: the initiator hears 502.
    fn bad_gateway(&mut self, error: Error) -> Result<(), Error> {
        self.fail_with(Some(Status::BAD_GATEWAY), error)
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        self.fail_with(error.status(), error)
    }

    fn fail_with(&mut self, status: Option<Status>, error: Error) -> Result<(), Error> {
        if self.state != State::Done {
            if let Some(status) = status {
                Response::new(self.dialect, status).encode(self.out.buffer());
            }
            self.end(CloseReason::Failed(error.clone()));
        }
        Err(error)
    }

    fn end(&mut self, reason: CloseReason) {
        if self.state != State::Done {
            self.state = State::Done;
            self.out.event(ProxyEvent::Closed { reason });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        (self.state != State::Done).then_some(self.deadline)
    }
}

impl Machine for Proxy {
    type Transmit = ProxyTransmit;
    type Event = ProxyEvent;
    type Error = Error;

    fn poll_output(&mut self, _now: Instant) -> Output<ProxyTransmit, ProxyEvent> {
        if !self.next_hop_out.is_empty() {
            let octets = Bytes::from(std::mem::take(&mut self.next_hop_out));
            return Output::Transmit(ProxyTransmit { to: Side::Responder, octets });
        }
        match self.out.poll() {
            Some(Output::Transmit(octets)) => Output::Transmit(ProxyTransmit { to: Side::Initiator, octets }),
            Some(Output::Event(event)) => Output::Event(event),
            Some(Output::Timeout(_)) | None => Output::Timeout(self.deadline()),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.now = self.now.max(now);
        let reason = self.timeout_reason();
        match self.state {
            _ if self.deadline().is_none_or(|deadline| deadline > self.now) => Ok(()),
            State::Dialling | State::WaitResponse => {
                self.fail_with(Some(Status::GATEWAY_TIMEOUT), Error::TimedOut(reason))
            }
            _ => self.fail(Error::TimedOut(reason)),
        }
    }

    fn timeout_reason(&self) -> &'static str {
        match self.state {
            State::WaitConnect => "waiting for a connect request",
            State::Decide => "deciding on the connect request",
            State::Dialling => "dialling the next hop",
            State::WaitResponse => "waiting for the next hop's answer",
            State::Done => "",
        }
    }

    fn is_finished(&self) -> bool {
        self.state == State::Done
    }
}
