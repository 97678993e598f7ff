//! The two machines of the data phase, each beside a model of what it must say.

use iap_proto::message::{ContentHeader, Response};
use iap_proto::wire::Syntax;
use iap_proto::{
    Channel, Compat, Dialect, Limits, MediaType, MessageId, Receiver, ReceiverEvent, Sender, SenderEvent, Status,
};
use watchfire_core::{Instant, Machine as _};

use super::Watch;
use super::script::{Operation, Script, Start};

pub(super) struct Sending {
    machine: Sender,
    pub(super) watch: Watch,
    dialect: Dialect,
    window: usize,
    body_limit: usize,
    /// What was sent, and how many of them were answered.
    sent: Vec<(MediaType, Vec<u8>)>,
    answered: usize,
    finishing: bool,
    /// What went out, and how much of it was understood.
    octets: Vec<u8>,
    understood: usize,
}

impl Sending {
    pub(super) fn new(machine: Sender, script: &Script) -> Self {
        Self {
            machine,
            watch: Watch::new(script),
            dialect: script.dialect,
            window: script.config.window.get(),
            body_limit: usize::try_from(script.config.limits.body).expect("a small limit"),
            sent: Vec::new(),
            answered: 0,
            finishing: false,
            octets: Vec::new(),
            understood: 0,
        }
    }

    pub(super) fn apply(&mut self, operation: &Operation, now: Instant, script: &Script) -> Option<Channel> {
        self.watch.stream(&mut self.machine, now, operation, script);
        match operation {
            Operation::Send { len, other_type } => self.send(now, *len, *other_type),
            Operation::Finish => {
                self.machine.finish(now);
                self.finishing = true;
                self.watch.drained = false;
            }
            Operation::Close => {
                self.machine.close();
                self.watch.drained = false;
            }
            Operation::Urgent => {
                assert!(self.machine.handle_urgent_data().is_err() && self.machine.is_finished());
                self.watch.drained = false;
            }
            Operation::Drain => self.drain(now),
            _ => {}
        }
        assert!(self.machine.unconfirmed().count() <= self.window, "the window is kept");
        None
    }

    fn send(&mut self, now: Instant, len: usize, other_type: bool) {
        let media = if other_type { MediaType::JSON } else { MediaType::IDEF_ALERT };
        let body: Vec<u8> = (0..len).map(|at| u8::try_from(at % 256).expect("below 256")).collect();
        let free = self.machine.free_window();
        let result = self.watch.call(&mut self.machine, now, |it| it.send_alert(now, &media, &body));
        match result {
            Ok(id) => {
                assert!(free > 0 && !self.finishing && len <= self.body_limit);
                assert_eq!(usize::try_from(id.index()).ok(), Some(self.sent.len()), "ids count from zero");
                self.sent.push((media, body));
            }
            Err(error) => assert!(free == 0 || len > self.body_limit || self.finishing, "{error}"),
        }
    }

    fn drain(&mut self, now: Instant) {
        let last = |event: &SenderEvent| matches!(event, SenderEvent::Closed { .. });
        let (transmits, events) = self.watch.drain(&mut self.machine, now, last);
        for event in events {
            if let SenderEvent::Answered { id, verdict, status } = event {
                assert_eq!(usize::try_from(id.index()).ok(), Some(self.answered), "answers keep the order");
                assert!(self.answered < self.sent.len(), "an answer to nothing");
                assert_eq!(status.verdict(), Some(verdict));
                self.answered += 1;
            }
        }
        let unconfirmed: Vec<u64> = self.machine.unconfirmed().map(|id| id.index()).collect();
        let expected: Vec<u64> = (self.answered as u64..self.sent.len() as u64).collect();
        assert_eq!(unconfirmed, expected, "exactly what was sent and not answered");
        transmits.iter().for_each(|octets| self.octets.extend_from_slice(octets));
        self.check_octets();
    }

    /// Everything that was sent is on the wire, whole, in order and in the strict form.
    fn check_octets(&mut self) {
        let syntax = Syntax::new(Compat::strict(), Limits::default());
        let mut rest = &self.octets[..];
        while !rest.is_empty() {
            let (media, body) = &self.sent[self.understood];
            let (header, len) = ContentHeader::decode_with(rest, self.dialect, &syntax).expect("a header");
            assert_eq!(header, ContentHeader::new(media.clone(), body.len() as u64));
            rest = rest[len..].strip_prefix(&body[..]).expect("the body");
            if self.dialect == Dialect::V0_3 {
                rest = rest.strip_prefix(b"\r\n\r\n").expect("the trailer");
            }
            self.understood += 1;
        }
        self.octets.clear();
        assert_eq!(self.understood, self.sent.len());
    }
}

/// A message that a receiver has seen.
enum Request {
    /// Handed out, and the answer that the application has given.
    Content(Option<Status>),
    /// Of a type that is not taken: the receiver answers it itself.
    Unwanted,
}

pub(super) struct Receiving {
    machine: Receiver,
    pub(super) watch: Watch,
    limits: Limits,
    requests: Vec<Request>,
    /// Their names, where they were handed out.
    ids: Vec<Option<MessageId>>,
    /// Octets of answers that are not understood yet, and how many answers were.
    octets: Vec<u8>,
    replies: usize,
    /// Octets that came, and that were handed out.
    heard: usize,
    handed_out: usize,
    finishing: bool,
    at_end: bool,
}

impl Receiving {
    pub(super) fn new(machine: Receiver, script: &Script) -> Self {
        Self {
            machine,
            watch: Watch::new(script),
            limits: script.config.limits,
            requests: Vec::new(),
            ids: Vec::new(),
            octets: Vec::new(),
            replies: 0,
            // What stood behind an initiator's last answer was given to it already.
            heard: if script.start == Start::Initiator { 100_000 } else { 0 },
            handed_out: 0,
            finishing: false,
            at_end: false,
        }
    }

    pub(super) fn apply(&mut self, operation: &Operation, now: Instant, script: &Script) -> Option<Channel> {
        if let Some(pieces) = operation.octets(script.dialect) {
            self.heard += pieces.iter().map(Vec::len).sum::<usize>();
        }
        self.at_end |= matches!(operation, Operation::Eof { .. });
        self.watch.stream(&mut self.machine, now, operation, script);
        match operation {
            Operation::Respond { which, status } => self.respond(now, *which, *status),
            Operation::Finish => {
                self.machine.finish(now);
                self.finishing = true;
                self.watch.drained = false;
            }
            Operation::Close => {
                self.machine.close();
                self.watch.drained = false;
            }
            Operation::Urgent => {
                assert!(self.machine.handle_urgent_data().is_err() && self.machine.is_finished());
                self.watch.drained = false;
            }
            Operation::Drain => self.drain(now),
            _ => {}
        }
        None
    }

    /// Answers one of the contents handed out: mostly the oldest one that has no answer, sometimes any.
    fn respond(&mut self, now: Instant, which: u8, status: Status) {
        let open = |request: &Request| matches!(request, Request::Content(None));
        let index = match which {
            0..128 => {
                let mut waiting = self.requests.iter().enumerate().filter(|(_, request)| open(request));
                waiting.nth(usize::from(which % 8)).map(|(index, _)| index)
            }
            _ => Some(usize::from(which - 128)),
        };
        // Ids come from events alone, so only one that was handed out can be named.
        let Some(index) = index.filter(|index| matches!(self.requests.get(*index), Some(Request::Content(_)))) else {
            return;
        };
        let id = self.ids[index].expect("contents have ids");
        let finished = self.machine.is_finished();
        let result = self.watch.call(&mut self.machine, now, |it| it.respond(now, id, status));
        let expected = !finished && open(&self.requests[index]) && status.verdict().is_some();
        assert_eq!(result.is_ok(), expected, "{result:?}");
        if expected {
            self.requests[index] = Request::Content(Some(status));
        }
    }

    fn drain(&mut self, now: Instant) {
        let last = |event: &ReceiverEvent| matches!(event, ReceiverEvent::Closed { .. });
        let (transmits, events) = self.watch.drain(&mut self.machine, now, last);
        for event in events {
            match event {
                ReceiverEvent::Content { id, body, .. } => {
                    assert_eq!(usize::try_from(id.index()).ok(), Some(self.requests.len()), "ids count requests");
                    assert!(body.len() as u64 <= self.limits.body);
                    self.handed_out += body.len();
                    self.requests.push(Request::Content(None));
                    self.ids.push(Some(id));
                }
                ReceiverEvent::UnknownType { .. } => {
                    self.requests.push(Request::Unwanted);
                    self.ids.push(None);
                }
                _ => {}
            }
        }
        assert!(self.handed_out <= self.heard, "nothing is made up");
        let open = self.requests.iter().filter(|request| matches!(request, Request::Content(None))).count();
        if !self.watch.ended && !self.finishing {
            assert_eq!(self.machine.unanswered(), open);
        }
        if !self.at_end {
            assert!(open <= self.limits.unanswered.max(1), "{open} handed out");
        }
        transmits.iter().for_each(|octets| self.octets.extend_from_slice(octets));
        self.check_replies();
    }

    /// Answers are on the wire in the order of their requests, each the one that was given, and none too many.
    fn check_replies(&mut self) {
        let mut rest = &self.octets[..];
        while !rest.is_empty() {
            let (response, len) = Response::decode(rest).expect("a response");
            rest = &rest[len..];
            let is_last = rest.is_empty() && self.watch.ended;
            match self.requests.get(self.replies) {
                Some(Request::Content(Some(status))) => assert_eq!(response.status, *status),
                Some(Request::Content(None)) => panic!("{} for what nobody answered", response.status),
                Some(Request::Unwanted) => {
                    // Its body may never have come; then this answer tells why.
                    assert!(response.status == Status::UNSUPPORTED_MEDIA_TYPE || is_last, "{}", response.status);
                }
                None => assert!(is_last && response.status.is_refusal(), "{} to no request", response.status),
            }
            self.replies += 1;
        }
        self.octets.clear();
    }
}
