//! An end of the chain: setup, data phase, and an application with moods. TLS is left out, but for its place in the
//! order: what it would report about the end of the stream, the network says.

use std::collections::VecDeque;
use std::sync::Arc;

use iap_proto::{
    Channel, CloseReason, Config, DataRole, Initiator, InitiatorEvent, MediaType, MessageId, Receiver, ReceiverEvent,
    Responder, ResponderEvent, Sender, SenderEvent, Status,
};
use watchfire_core::{Eof, Instant, Machine as _, Output, StreamMachine as _};

use super::network::{Chaos, LEFT, RIGHT, Said};

/// How the receiving application answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// 200, at once.
    Takes,
    /// Late, out of order, and not always 200.
    Moody,
}

/// A content that was handed out.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) body: Vec<u8>,
    pub(super) answer: Option<Status>,
    id: MessageId,
}

enum Stage {
    Dialling(Initiator),
    Dialled(Responder),
    Sending(Sender),
    Receiving(Receiver),
    Over,
}

pub(super) struct End {
    stage: Stage,
    side: usize,
    policy: Policy,
    /// Alerts not sent yet.
    to_send: VecDeque<Vec<u8>>,
    /// How many were sent.
    pub(super) sent: usize,
    /// The answers to them.
    pub(super) answers: Vec<Status>,
    /// How many the machine called unconfirmed when it ended.
    pub(super) unconfirmed: Option<usize>,
    pub(super) got: Vec<Got>,
    /// When the application answers something.
    mood: Option<Instant>,
    wake: Option<Instant>,
    pub(super) reason: Option<CloseReason>,
}

impl End {
    fn new(stage: Stage, side: usize, alerts: Vec<Vec<u8>>, policy: Policy) -> Self {
        Self {
            stage,
            side,
            policy,
            to_send: alerts.into(),
            sent: 0,
            answers: Vec::new(),
            unconfirmed: None,
            got: Vec::new(),
            mood: None,
            wake: None,
            reason: None,
        }
    }

    pub(super) fn dial(config: Config, role: DataRole, alerts: Vec<Vec<u8>>, policy: Policy) -> Self {
        let target = "M.DOM.ORG".parse().expect("a host");
        let machine = Initiator::new(Arc::new(config), target, role, Instant::ZERO);
        Self::new(Stage::Dialling(machine), RIGHT, alerts, policy)
    }

    pub(super) fn listen(config: Config, alerts: Vec<Vec<u8>>, policy: Policy) -> Self {
        Self::new(Stage::Dialled(Responder::new(Arc::new(config), Instant::ZERO)), LEFT, alerts, policy)
    }

    pub(super) fn poll(&mut self, now: Instant, chaos: &mut Chaos<'_>) -> Vec<Said> {
        let mut said = Vec::new();
        loop {
            self.work(now, chaos);
            let output = match &mut self.stage {
                Stage::Dialling(machine) => match machine.poll_output(now) {
                    Output::Event(InitiatorEvent::StartTls { .. }) => {
                        machine.tls_started(now).expect("it was asked for");
                        continue;
                    }
                    Output::Event(InitiatorEvent::Ready(channel)) => {
                        self.open(channel);
                        continue;
                    }
                    Output::Event(InitiatorEvent::Closed { reason }) => Output::Event(reason),
                    Output::Event(_) => continue,
                    Output::Transmit(octets) => Output::Transmit(octets),
                    Output::Timeout(wake) => Output::Timeout(wake),
                },
                Stage::Dialled(machine) => match machine.poll_output(now) {
                    Output::Event(ResponderEvent::Connect(_)) => {
                        machine.accept_connect(now).expect("it was asked for");
                        continue;
                    }
                    Output::Event(ResponderEvent::StartTls { .. }) => {
                        machine.tls_started(now).expect("it was asked for");
                        continue;
                    }
                    Output::Event(ResponderEvent::ChannelSetup { .. }) => {
                        machine.accept_channel(now).expect("it was asked for");
                        continue;
                    }
                    Output::Event(ResponderEvent::Ready(channel)) => {
                        self.open(channel);
                        continue;
                    }
                    Output::Event(ResponderEvent::Closed { reason }) => Output::Event(reason),
                    Output::Event(_) => continue,
                    Output::Transmit(octets) => Output::Transmit(octets),
                    Output::Timeout(wake) => Output::Timeout(wake),
                },
                Stage::Sending(machine) => match machine.poll_output(now) {
                    Output::Event(SenderEvent::Answered { id, status, .. }) => {
                        assert_eq!(usize::try_from(id.index()).ok(), Some(self.answers.len()));
                        self.answers.push(status);
                        continue;
                    }
                    Output::Event(SenderEvent::Closed { reason }) => {
                        let ids: Vec<u64> = machine.unconfirmed().map(|id| id.index()).collect();
                        let expected: Vec<u64> = (self.answers.len() as u64..self.sent as u64).collect();
                        assert_eq!(ids, expected, "exactly what was not answered");
                        self.unconfirmed = Some(ids.len());
                        Output::Event(reason)
                    }
                    Output::Event(_) => continue,
                    Output::Transmit(octets) => Output::Transmit(octets),
                    Output::Timeout(wake) => Output::Timeout(wake),
                },
                Stage::Receiving(machine) => match machine.poll_output(now) {
                    Output::Event(ReceiverEvent::Content { id, body, .. }) => {
                        self.got.push(Got { body: body.to_vec(), answer: None, id });
                        continue;
                    }
                    Output::Event(ReceiverEvent::Closed { reason }) => Output::Event(reason),
                    Output::Event(_) => continue,
                    Output::Transmit(octets) => Output::Transmit(octets),
                    Output::Timeout(wake) => Output::Timeout(wake),
                },
                Stage::Over => return said,
            };
            match output {
                Output::Transmit(octets) => said.push(Said::Octets(self.side, octets.to_vec())),
                Output::Event(reason) => {
                    self.reason = Some(reason);
                    self.stage = Stage::Over;
                    said.push(Said::Shut(self.side));
                }
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return said;
                }
            }
        }
    }

    fn open(&mut self, channel: Channel) {
        self.stage = match channel {
            Channel::Sender(sender) => Stage::Sending(sender),
            Channel::Receiver(receiver) => Stage::Receiving(receiver),
        };
    }

    /// What the application does on its own.
    fn work(&mut self, now: Instant, chaos: &mut Chaos<'_>) {
        match &mut self.stage {
            Stage::Sending(sender) => {
                while sender.free_window() > 0
                    && let Some(body) = self.to_send.pop_front()
                {
                    let id = sender.send_alert(now, &MediaType::IDEF_ALERT, &body).expect("the window is open");
                    assert_eq!(usize::try_from(id.index()).ok(), Some(self.sent));
                    self.sent += 1;
                }
                if self.to_send.is_empty() {
                    sender.finish(now);
                }
            }
            Stage::Receiving(receiver) => {
                let open = |got: &Got| got.answer.is_none();
                while self.got.iter().any(open) {
                    let mut nth = 0;
                    let mut status = Status::OK;
                    if self.policy == Policy::Moody {
                        match self.mood {
                            None => self.mood = Some(now + chaos.delay()),
                            Some(at) if at <= now => self.mood = None,
                            Some(_) => {}
                        }
                        if self.mood.is_some_and(|at| at > now) {
                            return;
                        }
                        self.mood = None;
                        nth = usize::from(chaos.draw() % 3);
                        status = match chaos.draw() {
                            0..200 => Status::OK,
                            200..225 => Status::SERVICE_UNAVAILABLE,
                            225..250 => Status::BAD_REQUEST,
                            _ => Status::CONTENT_TOO_LARGE,
                        };
                    }
                    let waiting = self.got.iter().filter(|got| open(got)).count();
                    let got = self.got.iter_mut().filter(|got| open(got)).nth(nth % waiting).expect("one waits");
                    if let Err(error) = receiver.respond(now, got.id, status) {
                        // Behind a broken stream there is nobody to answer; its event is about to be polled.
                        assert!(receiver.is_finished(), "{error}");
                        return;
                    }
                    got.answer = Some(status);
                }
            }
            _ => {}
        }
    }

    pub(super) fn input(&mut self, now: Instant, octets: &[u8]) {
        // Errors are told by the last event as well.
        let _ = match &mut self.stage {
            Stage::Dialling(machine) => machine.handle_input(now, octets),
            Stage::Dialled(machine) => machine.handle_input(now, octets),
            Stage::Sending(machine) => machine.handle_input(now, octets),
            Stage::Receiving(machine) => machine.handle_input(now, octets),
            Stage::Over => Ok(()),
        };
    }

    pub(super) fn eof(&mut self, now: Instant, eof: Eof) {
        let _ = match &mut self.stage {
            Stage::Dialling(machine) => machine.handle_eof(now, eof),
            Stage::Dialled(machine) => machine.handle_eof(now, eof),
            Stage::Sending(machine) => machine.handle_eof(now, eof),
            Stage::Receiving(machine) => machine.handle_eof(now, eof),
            Stage::Over => Ok(()),
        };
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.wake.into_iter().chain(self.mood).min()
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        let _ = match &mut self.stage {
            Stage::Dialling(machine) => machine.handle_timeout(now),
            Stage::Dialled(machine) => machine.handle_timeout(now),
            Stage::Sending(machine) => machine.handle_timeout(now),
            Stage::Receiving(machine) => machine.handle_timeout(now),
            Stage::Over => Ok(()),
        };
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }
}
