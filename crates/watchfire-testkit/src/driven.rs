//! A machine and the application behind it, as a node.

use std::fmt::{self, Debug};

use bytes::Bytes;
use watchfire_core::{Eof, Instant, Output, StreamMachine};

use crate::pair::{Node, Said};

/// Any stream machine as a [`Node`]: its octets go on the wire, each event goes into the trace and to the application,
/// a function that may call the machine.
///
/// ```
/// use watchfire_core::{Duration, Eof, Instant, Machine, Output, OutputQueue, StreamMachine};
/// use watchfire_testkit::{Driven, LinkConfig, Pair, Stop};
///
/// /// Says a word, hears a word, and is done.
/// struct Greeter { out: OutputQueue<String>, heard: bool }
///
/// # impl Greeter { fn new(word: &[u8]) -> Self {
/// #     let mut out = OutputQueue::new(64); out.transmit(word); Self { out, heard: false } } }
/// impl Machine for Greeter {
///     // …
/// #   type Transmit = bytes::Bytes; type Event = String; type Error = std::convert::Infallible;
/// #   fn poll_output(&mut self, _: Instant) -> Output<bytes::Bytes, String> {
/// #       self.out.poll().unwrap_or(Output::Timeout(None)) }
/// #   fn handle_timeout(&mut self, _: Instant) -> Result<(), Self::Error> { Ok(()) }
/// #   fn timeout_reason(&self) -> &'static str { "" }
/// #   fn is_finished(&self) -> bool { self.heard }
/// }
/// # impl StreamMachine for Greeter {
/// #   fn handle_input(&mut self, _: Instant, input: &[u8]) -> Result<(), Self::Error> {
/// #       self.out.event(String::from_utf8_lossy(input).into_owned()); self.heard = true; Ok(()) }
/// #   fn handle_eof(&mut self, _: Instant, _: Eof) -> Result<(), Self::Error> { self.heard = true; Ok(()) }
/// # }
///
/// let mut heard = Vec::new();
/// let one = Driven::new(Greeter::new(b"hail"), |_machine, _now, event| heard.push(event));
/// let two = Driven::new(Greeter::new(b"well met"), |_, _, _| {});
/// let mut pair = Pair::new(one, two, LinkConfig::default(), 1);
/// assert_eq!(pair.run_until(Instant::ZERO + Duration::from_secs(60)), Stop::Done);
/// drop(pair);
/// assert_eq!(heard.concat(), "well met");
/// ```
pub struct Driven<M: StreamMachine, F> {
    /// The machine.
    pub machine: M,
    /// What ended it, if it was an error.
    pub error: Option<M::Error>,
    application: F,
}

impl<M, F> Driven<M, F>
where
    M: StreamMachine<Transmit = Bytes>,
    F: FnMut(&mut M, Instant, M::Event),
{
    /// A machine with its application.
    pub fn new(machine: M, application: F) -> Self {
        Self { machine, error: None, application }
    }

    fn keep(&mut self, outcome: Result<(), M::Error>) {
        if let Err(error) = outcome {
            self.error.get_or_insert(error);
        }
    }
}

impl<M, F> Node for Driven<M, F>
where
    M: StreamMachine<Transmit = Bytes>,
    M::Event: Debug,
    F: FnMut(&mut M, Instant, M::Event),
{
    fn poll(&mut self, now: Instant) -> Said {
        match self.machine.poll_output(now) {
            Output::Transmit(octets) => Said::Octets(octets),
            Output::Event(event) => {
                let note = format!("{event:?}");
                (self.application)(&mut self.machine, now, event);
                Said::Note(note)
            }
            Output::Timeout(_) if self.machine.is_finished() || self.error.is_some() => Said::Done,
            Output::Timeout(at) => Said::Wait(at),
        }
    }

    fn input(&mut self, now: Instant, octets: &[u8]) {
        if self.error.is_none() {
            let outcome = self.machine.handle_input(now, octets);
            self.keep(outcome);
        }
    }

    fn eof(&mut self, now: Instant, eof: Eof) {
        if self.error.is_none() {
            let outcome = self.machine.handle_eof(now, eof);
            self.keep(outcome);
        }
    }

    fn timeout(&mut self, now: Instant) {
        if self.error.is_none() {
            let outcome = self.machine.handle_timeout(now);
            self.keep(outcome);
        }
    }
}

impl<M: StreamMachine + Debug, F> Debug for Driven<M, F>
where
    M::Error: Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven").field("machine", &self.machine).field("error", &self.error).finish_non_exhaustive()
    }
}
