//! The receiver of the data phase. draft-ietf-idwg-iap-01 sections 3.4, 3.5 and 4.3.5.
//!
//! Each content becomes an event with an id; the application answers it when it has taken responsibility for it, in
//! whatever order suits it. On the wire the answers keep the order of the requests.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use watchfire_core::{Duration, Eof, Instant, Machine, Output, OutputQueue, StreamMachine};

use crate::channel::CloseReason;
use crate::config::Config;
use crate::error::{ApiMisuse, Error, Limit, PeerMisbehaved};
use crate::message::{ContentHeader, Dialect, Form, MediaType, Response, Status};
use crate::sender::MessageId;
use crate::wire::{DecodeError, DecodeErrorKind, HeadFramer, Syntax};

/// What a [`Receiver`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiverEvent {
    /// A whole message. Answer it with [`Receiver::respond`].
    Content {
        /// Which message.
        id: MessageId,
        /// What the sender says it is.
        content_type: MediaType,
        /// The body, with any padding the sender put behind it.
        body: Bytes,
    },
    /// A message of a type that is not taken here was answered 415 and dropped. For the statistics.
    UnknownType {
        /// Its type.
        content_type: MediaType,
    },
    /// The end; nothing comes after it.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Receives alerts (or, at an analyzer, commands).
///
/// Made by a setup, as part of its `Ready` event.
#[derive(Debug)]
pub struct Receiver {
    config: Arc<Config>,
    dialect: Dialect,
    syntax: Syntax,
    out: OutputQueue<ReceiverEvent>,
    reading: Reading,
    /// Octets that came in the same read as the content that used up the room for unanswered ones.
    held: BytesMut,
    /// When the message being read began.
    message_start: Option<Instant>,
    /// When the sender last sent something, or was last given an answer.
    last_active: Instant,
    replies: Replies,
    now: Instant,
    state: State,
}

const RECEIVING: &str = "receiving a message";

/// Where in the stream the next octet belongs.
#[derive(Debug)]
enum Reading {
    /// Between two messages: this many octets of the trailer have come.
    Trailer { seen: usize },
    /// In a header that has not come whole.
    Header { octets: Vec<u8>, framer: HeadFramer },
    /// In a body.
    Body { content_type: MediaType, body: Vec<u8>, missing: usize },
    /// In a body that nobody wants.
    Unwanted { missing: u64 },
}

#[derive(Debug)]
enum State {
    Open,
    /// No more input; waiting for the application's answers.
    Closing(CloseReason),
    Closed,
}

/// Answers in the order of their requests, whatever order they are given in.
#[derive(Debug, Default)]
struct Replies {
    oldest: u64,
    waiting: VecDeque<(Option<Status>, usize)>,
    unanswered: usize,
    unanswered_octets: usize,
}

impl Replies {
    /// A new request, with a body of so many octets.
    fn expect(&mut self, octets: usize) -> MessageId {
        let id = self.oldest.saturating_add(self.waiting.len() as u64);
        self.waiting.push_back((None, octets));
        self.unanswered = self.unanswered.saturating_add(1);
        self.unanswered_octets = self.unanswered_octets.saturating_add(octets);
        MessageId(id)
    }

    fn set(&mut self, id: MessageId, status: Status) -> Result<(), ApiMisuse> {
        let index = id.0.checked_sub(self.oldest).and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.waiting.get_mut(index)) {
            Some((answer @ None, octets)) => {
                *answer = Some(status);
                self.unanswered = self.unanswered.saturating_sub(1);
                self.unanswered_octets = self.unanswered_octets.saturating_sub(*octets);
                Ok(())
            }
            _ => Err(ApiMisuse::UnknownMessage),
        }
    }

    /// The next answer whose turn it is.
    fn next(&mut self) -> Option<Status> {
        let status = self.waiting.front()?.0?;
        self.waiting.pop_front();
        self.oldest = self.oldest.saturating_add(1);
        Some(status)
    }
}

impl Receiver {
    pub(crate) fn new(config: Arc<Config>, dialect: Dialect, now: Instant) -> Self {
        let syntax = Syntax::new(config.compat, config.limits);
        let out = OutputQueue::new(config.limits.max_buffered);
        Self {
            config,
            dialect,
            syntax,
            out,
            // The first message has no trailer before it.
            reading: Reading::Header { octets: Vec::new(), framer: HeadFramer::default() },
            held: BytesMut::new(),
            message_start: None,
            last_active: now,
            replies: Replies::default(),
            now,
            state: State::Open,
        }
    }

    /// Whether more input is welcome; never after the stream has ended. When not, leave the octets in the socket until answers are given: that is how
    /// a slow manager slows its analyzers down.
    pub fn wants_input(&self) -> bool {
        self.is_open() && self.held.is_empty() && self.has_room()
    }

    /// By pattern, not by `==`: that would compare reasons, several times for each message.
    const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether another content may be handed out. An answer that waits for the turn of one before it still counts.
    fn has_room(&self) -> bool {
        let limits = &self.config.limits;
        // Where nothing is waiting there is always room for one, or nothing could ever happen.
        self.replies.waiting.is_empty() && self.out.is_empty()
            || self.replies.waiting.len() < limits.unanswered
                && self.replies.unanswered_octets < limits.unanswered_octets
                && !self.out.is_full()
    }

    /// Contents handed out and not answered.
    pub fn unanswered(&self) -> usize {
        self.replies.unanswered
    }

    /// Answers a content: [`Status::OK`] once this node has taken responsibility for it (is able to keep it through a
    /// crash, if that is what the sender may expect); a 4xx to have the sender put it aside for good; a 5xx to have
    /// it sent again later.
    ///
    /// # Errors
    /// When there is no such message or it is answered, or the status is a 1xx. Nothing has changed then.
    pub fn respond(&mut self, now: Instant, id: MessageId, status: Status) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        if self.is_finished() {
            return Err(ApiMisuse::Finished);
        }
        if status.verdict().is_none() {
            return Err(ApiMisuse::NotAnAnswer);
        }
        self.replies.set(id, status)?;
        self.write_replies();
        Ok(())
    }

    /// Takes no more input; closes when everything handed out is answered. Octets that still come are not looked at:
    /// the sender will send them again elsewhere.
    pub fn finish(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.end_after_replies(CloseReason::Finished);
    }

    /// Closes at once.
    pub fn close(&mut self) {
        self.end(CloseReason::Finished);
    }

    /// TCP urgent data arrived, which section 6.2 forbids.
    ///
    /// # Errors
    /// Always: the connection is to be closed.
    pub fn handle_urgent_data(&mut self) -> Result<(), Error> {
        let error: Error = PeerMisbehaved::UrgentData.into();
        self.end(CloseReason::Failed(error.clone()));
        Err(error)
    }

    /// Reads until the input is used up or there is no room for what it says; gives what is left. The `last` input
    /// needs no room: there is no later for it.
    fn take_input<'a>(&mut self, mut input: &'a [u8], last: bool) -> Result<&'a [u8], Error> {
        while !input.is_empty() && self.is_open() {
            let full = !last && !self.has_room();
            input = match &self.reading {
                Reading::Trailer { .. } => self.take_trailer(input)?,
                Reading::Header { octets, .. } if octets.is_empty() && full => break,
                Reading::Header { .. } => self.take_header(input)?,
                Reading::Body { .. } => self.take_body(input)?,
                Reading::Unwanted { .. } => self.take_unwanted(input),
            };
        }
        Ok(input)
    }

    fn take_or_hold(&mut self, input: &[u8]) -> Result<(), Error> {
        if self.held.is_empty() {
            let left = self.take_input(input, false)?;
            self.held.extend_from_slice(left);
            return Ok(());
        }
        // This driver reads on although input is not wanted.
        if self.held.len().saturating_add(input.len()) > self.config.limits.unanswered_octets {
            return Err(Error::LimitExceeded(Limit::Unanswered));
        }
        self.held.extend_from_slice(input);
        Ok(())
    }

    /// Reads what was held back, as far as there is room again.
    fn take_held(&mut self) -> Result<(), Error> {
        let mut held = std::mem::take(&mut self.held);
        let left = self.take_input(&held, false)?.len();
        held.advance(held.len().saturating_sub(left));
        self.held = held;
        Ok(())
    }

    /// Skips the CRLFs behind a body. The message was complete at its last octet, so a sender that leaves them out
    /// is not kept waiting.
    fn take_trailer<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Error> {
        let Reading::Trailer { seen } = &mut self.reading else { return Ok(input) };
        let (most, least) = match (self.dialect.form, self.config.compat.any_trailer) {
            (_, true) => (6, 0),
            (Form::Prefixed, false) => (4, 4),
            (Form::HttpLike, false) => (0, 0),
        };
        let wrong = |seen| Err(DecodeError::new(DecodeErrorKind::Trailer, seen).into());
        let mut rest = input;
        while let Some((&octet @ (b'\r' | b'\n'), tail)) = rest.split_first() {
            let due = if seen.is_multiple_of(2) { b'\r' } else { b'\n' };
            if octet != due || *seen >= most {
                return wrong(*seen);
            }
            *seen = seen.saturating_add(1);
            rest = tail;
        }
        if !rest.is_empty() {
            if *seen < least || !seen.is_multiple_of(2) {
                return wrong(*seen);
            }
            self.reading = Reading::Header { octets: Vec::new(), framer: HeadFramer::default() };
        }
        Ok(rest)
    }

    fn take_header<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Error> {
        let Reading::Header { octets, framer } = &mut self.reading else { return Ok(input) };
        self.message_start.get_or_insert(self.now);
        if octets.is_empty() {
            // A header that came whole is read where it stands.
            match ContentHeader::decode_with(input, self.dialect, &self.syntax) {
                Ok((header, len)) => {
                    let rest = input.get(len..).unwrap_or_default();
                    self.begin_body(header)?;
                    return Ok(rest);
                }
                Err(DecodeError { kind: DecodeErrorKind::Incomplete, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let known = octets.len();
        octets.extend_from_slice(input);
        let Some(end) = framer.find_end(octets, true, &self.syntax)? else { return Ok(&[]) };
        let head = octets.get(..end).unwrap_or_default();
        // The end was just found, so the decoder needs the octet after it only to see a missing empty line again.
        let shown = octets.get(..end.saturating_add(1)).unwrap_or(head);
        let (header, _) = ContentHeader::decode_with(shown, self.dialect, &self.syntax)?;
        let rest = input.get(end.saturating_sub(known)..).unwrap_or_default();
        self.begin_body(header)?;
        Ok(rest)
    }

    fn begin_body(&mut self, header: ContentHeader) -> Result<(), Error> {
        let limits = &self.config.limits;
        if header.content_length > limits.body {
            return Err(Error::LimitExceeded(Limit::Body));
        }
        if !self.config.accepts(&header.content_type) {
            self.reading = Reading::Unwanted { missing: header.content_length };
            self.out.event(ReceiverEvent::UnknownType { content_type: header.content_type });
            if header.content_length == 0 {
                self.refuse_unwanted();
            }
            return Ok(());
        }
        let missing = usize::try_from(header.content_length).map_err(|_| Error::LimitExceeded(Limit::Body))?;
        self.reading = Reading::Body { content_type: header.content_type, body: Vec::new(), missing };
        if missing == 0 {
            self.take_body(&[])?;
        }
        Ok(())
    }

    fn take_body<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Error> {
        let Reading::Body { content_type, body, missing } = &mut self.reading else { return Ok(input) };
        let (now_in, rest) = input.split_at_checked(*missing).unwrap_or((input, &[]));
        *missing = missing.saturating_sub(now_in.len());
        if *missing > 0 {
            // Grows with what has arrived, never to what was announced.
            body.extend_from_slice(now_in);
            return Ok(rest);
        }
        let content_type = content_type.clone();
        let body = if body.is_empty() {
            Bytes::copy_from_slice(now_in)
        } else {
            body.extend_from_slice(now_in);
            Bytes::from(std::mem::take(body))
        };
        let id = self.replies.expect(body.len());
        self.message_done();
        self.out.event(ReceiverEvent::Content { id, content_type, body });
        Ok(rest)
    }

    fn take_unwanted<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let Reading::Unwanted { missing } = &mut self.reading else { return input };
        let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(input.len());
        *missing = missing.saturating_sub(here as u64);
        if *missing == 0 {
            self.refuse_unwanted();
        }
        input.get(here..).unwrap_or_default()
    }

    fn refuse_unwanted(&mut self) {
        let id = self.replies.expect(0);
        self.message_done();
        self.replies.set(id, Status::UNSUPPORTED_MEDIA_TYPE).expect("expected one line above");
        self.write_replies();
    }

    fn message_done(&mut self) {
        self.reading = Reading::Trailer { seen: 0 };
        self.message_start = None;
    }

    fn write_replies(&mut self) {
        while let Some(status) = self.replies.next() {
            match (status, self.dialect) {
                (Status::OK, Dialect::V0_3) => self.out.transmit(b"IAP/0.3 200\r\n\r\n"),
                _ => Response::new(self.dialect, status).encode(self.out.buffer()),
            }
        }
        self.last_active = self.now;
        if let State::Closing(reason) = &self.state
            && self.replies.waiting.is_empty()
        {
            let reason = reason.clone();
            self.end(reason);
        }
    }

    /// The octets make no sense any more. What was understood before is still answered first, in its turn; then the
    /// status that tells the error, then the end.
    fn fail(&mut self, error: Error) -> Result<(), Error> {
        if let Some(status) = error.status() {
            let id = self.replies.expect(0);
            self.replies.set(id, status).expect("expected one line above");
        }
        self.end_after_replies(CloseReason::Failed(error.clone()));
        if self.is_finished() { Err(error) } else { Ok(()) }
    }

    fn end_after_replies(&mut self, reason: CloseReason) {
        if self.is_open() {
            self.state = State::Closing(reason);
            self.held = BytesMut::new();
            self.write_replies();
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.is_finished() {
            self.state = State::Closed;
            self.out.event(ReceiverEvent::Closed { reason });
        }
    }

    fn deadline(&self) -> Option<(Instant, &'static str)> {
        let timeouts = &self.config.timeouts;
        if !self.is_open() {
            return None;
        }
        let message = self.message_start.map(|start| (start + timeouts.message, RECEIVING));
        // A sender that waits for us is not idle.
        let idle = (timeouts.idle != Duration::ZERO && self.replies.waiting.is_empty())
            .then(|| (self.last_active + timeouts.idle, "waiting for the sender"));
        message.into_iter().chain(idle).min()
    }
}

impl Machine for Receiver {
    type Transmit = Bytes;
    type Event = ReceiverEvent;
    type Error = Error;

    fn poll_output(&mut self, _now: Instant) -> Output<Bytes, ReceiverEvent> {
        if self.out.is_empty() && !self.held.is_empty() && self.has_room() {
            // An error was told by the Closed event already; no call of the driver's is to blame for it.
            let _ = self.take_held().or_else(|error| self.fail(error));
        }
        let deadline = self.deadline().map(|(at, _)| at);
        self.out.poll().unwrap_or(Output::Timeout(deadline))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.now = self.now.max(now);
        match self.deadline() {
            Some((at, RECEIVING)) if at <= self.now => self.fail(Error::TimedOut(RECEIVING)),
            // Nothing was asked, so there is nothing to answer: a status would be taken for that of the next message.
            Some((at, reason)) if at <= self.now => {
                let error = Error::TimedOut(reason);
                self.end(CloseReason::Failed(error.clone()));
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn timeout_reason(&self) -> &'static str {
        self.deadline().map_or("", |(_, reason)| reason)
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Closed)
    }
}

impl StreamMachine for Receiver {
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), Error> {
        self.now = self.now.max(now);
        match self.state {
            State::Open => {}
            State::Closing(_) => return Ok(()),
            State::Closed => return Err(ApiMisuse::Finished.into()),
        }
        if input.is_empty() {
            return Ok(());
        }
        self.last_active = self.now;
        self.take_or_hold(input).or_else(|error| self.fail(error))
    }

    fn handle_eof(&mut self, now: Instant, eof: Eof) -> Result<(), Error> {
        self.now = self.now.max(now);
        match self.state {
            State::Open => {}
            // Nobody is left to hear the answers that are still missing.
            State::Closing(_) if eof == Eof::Truncated => {
                self.end(CloseReason::Failed(PeerMisbehaved::EarlyEof.into()));
                return Ok(());
            }
            State::Closing(_) | State::Closed => return Ok(()),
        }
        let held = std::mem::take(&mut self.held);
        if let Err(error) = self.take_input(&held, true) {
            return self.fail(error);
        }
        let between = match &self.reading {
            Reading::Trailer { .. } => true,
            Reading::Header { octets, .. } => octets.is_empty(),
            Reading::Body { .. } | Reading::Unwanted { .. } => false,
        };
        match eof {
            Eof::Closed if between => {
                self.end_after_replies(CloseReason::PeerFinished);
                Ok(())
            }
            Eof::Closed => self.fail(PeerMisbehaved::EarlyEof.into()),
            Eof::Truncated => {
                let error: Error = PeerMisbehaved::EarlyEof.into();
                self.end(CloseReason::Failed(error.clone()));
                Err(error)
            }
        }
    }
}
