//! The sender of the data phase. draft-ietf-idwg-iap-01 sections 3.4 and 3.5.
//!
//! Alerts go out as they are submitted, up to a window of unanswered ones; answers come back in the same order,
//! which is the only thing that ties an answer to its alert.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use watchfire_core::{Eof, Instant, Machine, Output, OutputQueue, StreamMachine};

use crate::channel::{CloseReason, HeadBuffer};
use crate::config::Config;
use crate::error::{ApiMisuse, Error, PeerIncompatible, PeerMisbehaved};
use crate::message::{ContentHeader, Dialect, Form, MediaType, Response, Status, Verdict};
use crate::wire::{Syntax, trailer};

/// Names one message within one connection: counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(crate) u64);

impl MessageId {
    /// How many messages came before it on this connection.
    pub const fn index(self) -> u64 {
        self.0
    }
}

/// What a [`Sender`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SenderEvent {
    /// The receiver answered this message. Answers come in the order of [`Sender::send_alert`].
    Answered {
        /// Which message.
        id: MessageId,
        /// What is to become of it.
        verdict: Verdict,
        /// The status itself.
        status: Status,
    },
    /// The end; nothing comes after it. Messages without an answer are
    /// [unconfirmed](Sender::unconfirmed): send them again on the next connection.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Sends alerts (or, at a manager, commands) and says what became of each.
///
/// Made by a setup, as part of its `Ready` event.
#[derive(Debug)]
pub struct Sender {
    config: Arc<Config>,
    dialect: Dialect,
    syntax: Syntax,
    out: OutputQueue<SenderEvent>,
    head: HeadBuffer,
    /// When each unanswered message was sent, oldest first.
    in_flight: VecDeque<Instant>,
    last_answer: Instant,
    oldest: u64,
    now: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// No new messages; waiting for the answers to the old ones.
    Finishing,
    Closed,
}

impl Sender {
    pub(crate) fn new(config: Arc<Config>, dialect: Dialect, now: Instant) -> Self {
        let syntax = Syntax::new(config.compat, config.limits);
        let out = OutputQueue::new(config.limits.max_buffered);
        Self {
            config,
            dialect,
            syntax,
            out,
            head: HeadBuffer::default(),
            in_flight: VecDeque::new(),
            last_answer: now,
            oldest: 0,
            now,
            state: State::Open,
        }
    }

    /// How many more messages may be sent before one is answered.
    pub fn free_window(&self) -> usize {
        match self.state {
            State::Open if !self.out.is_full() => self.config.window.get().saturating_sub(self.in_flight.len()),
            _ => 0,
        }
    }

    /// Sends one message. It is [padded](Config::padding) if so configured.
    ///
    /// # Errors
    /// When the window or the output is full, the body is above the limit, or the sender is finishing. Nothing has
    /// changed then.
    pub fn send_alert(&mut self, now: Instant, content_type: &MediaType, body: &[u8]) -> Result<MessageId, ApiMisuse> {
        self.now = self.now.max(now);
        let limit = self.config.limits.body;
        match self.state {
            State::Open => {}
            State::Finishing | State::Closed => return Err(ApiMisuse::Finished),
        }
        if self.in_flight.len() >= self.config.window.get() {
            return Err(ApiMisuse::WindowFull);
        }
        if self.out.is_full() {
            return Err(ApiMisuse::OutputFull);
        }
        if body.len() as u64 > limit {
            return Err(ApiMisuse::BodyTooLarge);
        }
        let padding = self.config.padding.octets(content_type, body.len(), limit);
        let content_length = (body.len() as u64).saturating_add(padding as u64);
        let out = self.out.buffer();
        out.reserve(body.len().saturating_add(padding).saturating_add(128));
        ContentHeader::new(content_type.clone(), content_length).encode(self.dialect, out);
        out.put_slice(body);
        out.put_bytes(b' ', padding);
        out.put_slice(trailer(self.dialect));
        let id = self.oldest.saturating_add(self.in_flight.len() as u64);
        self.in_flight.push_back(self.now);
        Ok(MessageId(id))
    }

    /// Messages sent and not answered, oldest first. Once closed: those to be sent again.
    pub fn unconfirmed(&self) -> impl Iterator<Item = MessageId> + use<> {
        (self.oldest..self.oldest.saturating_add(self.in_flight.len() as u64)).map(MessageId)
    }

    /// Sends no more; closes when all answers are in (or late).
    pub fn finish(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.state == State::Open {
            self.state = State::Finishing;
            self.close_if_done();
        }
    }

    /// Closes at once. What is unanswered stays unconfirmed.
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

    fn handle_response(&mut self, response: &Response) -> Result<(), Error> {
        if response.dialect.version != self.dialect.version {
            return Err(PeerIncompatible::Version(response.dialect.version).into());
        }
        self.answer(response.status)
    }

    fn answer(&mut self, status: Status) -> Result<(), Error> {
        let verdict = status.verdict().ok_or(PeerMisbehaved::UnexpectedStatus(status))?;
        if self.in_flight.pop_front().is_none() {
            return Err(PeerMisbehaved::UnsolicitedResponse.into());
        }
        let id = MessageId(self.oldest);
        self.oldest = self.oldest.saturating_add(1);
        self.last_answer = self.now;
        self.out.event(SenderEvent::Answered { id, verdict, status });
        Ok(())
    }

    fn take_input(&mut self, mut input: &[u8]) -> Result<(), Error> {
        let usual: &[u8] = match self.dialect.form {
            Form::Prefixed => b"IAP/0.3 200\r\n\r\n",
            Form::HttpLike => b"",
        };
        while !input.is_empty() {
            // Nearly every answer is this one, and many come at once.
            if !usual.is_empty()
                && self.head.is_empty()
                && let Some(after) = input.strip_prefix(usual)
            {
                self.answer(Status::OK)?;
                input = after;
                continue;
            }
            // No more than about one answer at a time, so that what follows can take the short way again.
            let piece = memchr::memmem::find(input, b"\n\r\n").map_or(input.len(), |at| at.saturating_add(3));
            let (now_in, later) = input.split_at_checked(piece).unwrap_or((input, &[]));
            input = match self.head.push(now_in, &self.syntax)? {
                None => later,
                Some((head, taken)) => {
                    let (response, _) = Response::decode_with(&head, &self.syntax)?;
                    self.handle_response(&response)?;
                    input.get(taken..).unwrap_or_default()
                }
            };
        }
        Ok(())
    }

    fn close_if_done(&mut self) {
        if self.state == State::Finishing && self.in_flight.is_empty() {
            self.end(CloseReason::Finished);
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.out.event(SenderEvent::Closed { reason });
        }
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        self.end(CloseReason::Failed(error.clone()));
        Err(error)
    }

    fn deadline(&self) -> Option<Instant> {
        // The oldest waits behind those before it: as long as answers come, the peer is not dead but busy.
        let waiting = (*self.in_flight.front()?).max(self.last_answer);
        (self.state != State::Closed).then(|| waiting + self.config.timeouts.ack)
    }
}

impl Machine for Sender {
    type Transmit = Bytes;
    type Event = SenderEvent;
    type Error = Error;

    fn poll_output(&mut self, _now: Instant) -> Output<Bytes, SenderEvent> {
        let deadline = self.deadline();
        self.out.poll().unwrap_or(Output::Timeout(deadline))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.now = self.now.max(now);
        match self.deadline() {
            Some(deadline) if deadline <= self.now => self.fail(Error::TimedOut("waiting for an answer")),
            _ => Ok(()),
        }
    }

    fn timeout_reason(&self) -> &'static str {
        if self.deadline().is_some() { "waiting for an answer" } else { "" }
    }

    fn is_finished(&self) -> bool {
        self.state == State::Closed
    }
}

impl StreamMachine for Sender {
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), Error> {
        self.now = self.now.max(now);
        if self.state == State::Closed {
            return Err(ApiMisuse::Finished.into());
        }
        if let Err(error) = self.take_input(input) {
            return self.fail(error);
        }
        self.close_if_done();
        Ok(())
    }

    fn handle_eof(&mut self, now: Instant, eof: Eof) -> Result<(), Error> {
        self.now = self.now.max(now);
        match eof {
            _ if self.state == State::Closed => Ok(()),
            Eof::Closed if self.head.is_empty() => {
                self.end(CloseReason::PeerFinished);
                Ok(())
            }
            Eof::Closed | Eof::Truncated => self.fail(PeerMisbehaved::EarlyEof.into()),
        }
    }
}
