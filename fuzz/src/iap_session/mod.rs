//! The IAP machines under any driver and any peer: octets well-formed, nearly so and not at all, calls in any order,
//! clocks that jump. What must hold is the contract on the front page of `watchfire_core`.

mod data;
mod pieces;
mod script;
mod setup;

use arbitrary::{Arbitrary as _, Unstructured};
use iap_proto::{Channel, Error};
use watchfire_core::{Eof, Instant, Machine, Output, StreamMachine};

use data::{Receiving, Sending};
use script::{Operation, Script, Start};
use setup::{Dialled, Dialling, Relaying};

/// Reads `data` as a script, and runs it.
pub fn run(data: &[u8]) {
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(data)) else { return };
    match script.start {
        Start::PiecesForSender => pieces::for_sender(&script),
        Start::PiecesForReceiver => pieces::for_receiver(&script),
        _ => {
            let mut trace = script.twice.then(String::new);
            play(&script, trace.as_mut());
            if let Some(first) = trace {
                let mut second = String::new();
                play(&script, Some(&mut second));
                assert_eq!(first, second, "the same calls give the same outputs");
            }
        }
    }
}

/// The machine whose turn it is, with what is known about it.
enum Subject {
    Dialling(Dialling),
    Dialled(Dialled),
    Relaying(Relaying),
    Sending(Sending),
    Receiving(Receiving),
}

impl Subject {
    fn of(channel: Channel, script: &Script) -> Self {
        match channel {
            Channel::Sender(sender) => Self::Sending(Sending::new(sender, script)),
            Channel::Receiver(receiver) => Self::Receiving(Receiving::new(receiver, script)),
        }
    }
}

fn play(script: &Script, mut trace: Option<&mut String>) {
    let mut now = Instant::from_secs(1000);
    let mut subject = match script.start {
        Start::Initiator => Subject::Dialling(Dialling::new(script, now)),
        Start::Responder => Subject::Dialled(Dialled::new(script, now)),
        Start::Proxy => Subject::Relaying(Relaying::new(script, now)),
        Start::Sender => Subject::of(setup::channel(script, iap_proto::DataRole::Sender, now), script),
        _ => Subject::of(setup::channel(script, iap_proto::DataRole::Receiver, now), script),
    };
    for operation in script.operations.iter().chain([&Operation::Drain]) {
        if let Operation::Clock { tenths } = operation {
            let micros = u64::from(tenths.unsigned_abs()) * 100_000;
            let at = now.as_micros();
            let at = if *tenths < 0 { at.saturating_sub(micros) } else { at.saturating_add(micros) };
            now = Instant::from_micros(at);
        }
        let next = match &mut subject {
            Subject::Dialling(machine) => machine.apply(operation, now, script),
            Subject::Dialled(machine) => machine.apply(operation, now, script),
            Subject::Relaying(machine) => machine.apply(operation, now, script),
            Subject::Sending(machine) => machine.apply(operation, now, script),
            Subject::Receiving(machine) => machine.apply(operation, now, script),
        };
        if let Some(trace) = &mut trace {
            let said = match &mut subject {
                Subject::Dialling(machine) => machine.watch.take_trace(),
                Subject::Dialled(machine) => machine.watch.take_trace(),
                Subject::Relaying(machine) => machine.watch.take_trace(),
                Subject::Sending(machine) => machine.watch.take_trace(),
                Subject::Receiving(machine) => machine.watch.take_trace(),
            };
            trace.push_str(&said);
        }
        if let Some(channel) = next {
            subject = Subject::of(channel, script);
        }
    }
}

/// What is true of every machine, whatever it says.
#[derive(Debug, Default)]
struct Watch {
    /// Its last event was polled.
    ended: bool,
    /// Everything was polled, and nothing was called since.
    drained: bool,
    /// When it wants to be called.
    wake: Option<Instant>,
    trace: String,
    traced: bool,
}

impl Watch {
    fn new(script: &Script) -> Self {
        Self { traced: script.twice, ..Self::default() }
    }

    fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    fn note(&mut self, what: &impl std::fmt::Debug) {
        if self.traced {
            self.trace.push_str(&format!("{what:?}\n"));
        }
    }

    /// Polls to the time-out. `is_last` tells the event that ends the machine.
    fn drain<M: Machine>(
        &mut self,
        machine: &mut M,
        now: Instant,
        is_last: impl Fn(&M::Event) -> bool,
    ) -> (Vec<M::Transmit>, Vec<M::Event>)
    where
        M::Transmit: std::fmt::Debug,
        M::Event: std::fmt::Debug,
    {
        let (mut transmits, mut events) = (Vec::new(), Vec::new());
        loop {
            let output = machine.poll_output(now);
            self.note(&output);
            match output {
                Output::Transmit(transmit) => {
                    assert!(!self.ended, "octets behind the end: {transmit:?}");
                    transmits.push(transmit);
                }
                Output::Event(event) => {
                    assert!(!self.ended, "an event behind the end: {event:?}");
                    self.ended = is_last(&event);
                    events.push(event);
                }
                Output::Timeout(wake) => {
                    assert_eq!(wake.is_some(), !machine.timeout_reason().is_empty(), "every timer has a reason");
                    self.wake = wake;
                    break;
                }
            }
            assert!(transmits.len() + events.len() < 100_000, "it talks for ever");
        }
        assert_eq!(self.ended, machine.is_finished(), "the end is said, once");
        assert!(!self.ended || self.wake.is_none(), "a machine that is over waits for nothing");
        self.drained = true;
        (transmits, events)
    }

    /// Makes a call of the application's. One that is refused changes nothing.
    fn call<M: Machine, T: std::fmt::Debug, E: std::fmt::Debug>(
        &mut self,
        machine: &mut M,
        now: Instant,
        call: impl FnOnce(&mut M) -> Result<T, E>,
    ) -> Result<T, E> {
        let finished = machine.is_finished();
        let result = call(machine);
        self.note(&result);
        if result.is_err() {
            assert_eq!(machine.is_finished(), finished, "misuse changes nothing");
            if self.drained {
                let silent = matches!(machine.poll_output(now), Output::Timeout(_));
                assert!(silent, "misuse says nothing");
            }
        } else {
            self.drained = false;
        }
        result
    }

    /// What the peer and the clock do to a machine on one stream.
    fn stream<M: StreamMachine<Error = Error>>(
        &mut self,
        machine: &mut M,
        now: Instant,
        operation: &Operation,
        script: &Script,
    ) {
        if let Some(pieces) = operation.octets(script.dialect) {
            for piece in pieces {
                let result = machine.handle_input(now, &piece);
                self.fatal(machine, &result);
            }
        }
        match operation {
            Operation::Eof { truncated } => {
                let result = machine.handle_eof(now, if *truncated { Eof::Truncated } else { Eof::Closed });
                self.fatal(machine, &result);
            }
            Operation::Clock { .. } => {
                let result = machine.handle_timeout(now);
                self.fatal(machine, &result);
            }
            Operation::Timeout => {
                let result = machine.handle_timeout(self.wake.unwrap_or(now));
                self.fatal(machine, &result);
            }
            _ => {}
        }
    }

    /// Errors of these calls are fatal, and a machine that is over stays so.
    fn fatal<M: Machine>(&mut self, machine: &M, result: &Result<(), Error>) {
        self.note(result);
        self.drained = false;
        assert!(result.is_ok() || machine.is_finished(), "errors are fatal: {result:?}");
        assert!(!self.ended || machine.is_finished(), "the end is the end");
    }
}

/// Scripts that go all the way, to begin with.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    const DRAIN: u8 = 5;
    let message = |which: u8| [1, which, 0, 0, 0, DRAIN];
    let decide = |which: u8| [6, which, 0, DRAIN];
    let accept = [message(0).as_slice(), &decide(0), &message(1), &decide(2)].concat();
    let alert = [message(8).as_slice(), &[8, 0, 0, DRAIN], &message(17), &[8, 3, 0, 8, 1, 4, 8, 2, 3, DRAIN]].concat();
    let answers = [&[7, 10, 0, 7, 20, 0, DRAIN][..], &message(4), &message(7), &[7, 1, 3, 9, DRAIN]].concat();
    let mut seeds = Vec::new();
    for (form, name) in [(0u8, "0.3"), (2, "0.5"), (4, "0.3-strict"), (8, "0.3-liberal")] {
        for (limits, flags, size) in [(3u8, 0u8, "wide"), (200, 64, "tight")] {
            let mut add = |start: Start, flags: u8, what: &str, operations: &[&[u8]]| {
                let start = Start::ALL.iter().position(|it| *it == start).expect("one of them");
                let head = [u8::try_from(start).expect("seven"), flags, form, limits];
                // At last everything that ends a machine, and more once it is over.
                let over: &[u8] = &[4, 0, DRAIN, 9, DRAIN, 10, DRAIN, 11, DRAIN, 1, 8, 0, 0, 0, 4, 1, 2, 127, 0, DRAIN];
                seeds.push((format!("{what}-{name}-{size}"), [&head[..], &operations.concat(), over].concat()));
            };
            let sender = [message(4), message(5)].concat();
            let started = [&sender[..], &decide(0), &message(4)].concat();
            add(Start::Initiator, flags, "initiator-sends", &[&[DRAIN], &started, &answers]);
            add(Start::Initiator, flags | 2, "initiator-receives", &[&[DRAIN], &started, &alert]);
            add(Start::Initiator, flags, "initiator-refused", &[&[DRAIN], &message(6)]);
            add(Start::Responder, flags | 1, "responder-receives", &[&accept, &message(2), &decide(4), &alert]);
            add(Start::Responder, flags | 1, "responder-sends", &[&accept, &message(3), &decide(4), &answers]);
            let relayed = [message(14).as_slice(), &decide(0), &decide(2), &[1, 4 | 128, 0, 0, 3, DRAIN]].concat();
            add(Start::Proxy, flags, "proxy", &[&relayed]);
            add(Start::Sender, flags, "sender", &[&answers, &[2, 1, 200, 4, 0]]);
            add(Start::Receiver, flags | 1, "receiver", &[&alert, &message(9), &message(12), &[4, 0]]);
            add(Start::PiecesForSender, flags, "pieces-sender", &[&message(4), &message(7), &message(15)]);
            let mixed = [message(8), message(9), message(13), message(10), message(17), message(12)].concat();
            add(Start::PiecesForReceiver, flags | 1, "pieces-receiver", &[&mixed, &[4, 0]]);
        }
    }
    seeds
}
