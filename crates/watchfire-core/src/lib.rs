//! The sans-IO vocabulary of the Watchfire protocol crates.
//!
//! A *machine* is a protocol without its wires. The program around it, the *driver*, owns the sockets and the clock:
//! it tells the machine what arrived and what time it is, and does what the machine says. That makes every protocol
//! crate usable from threads, from any async runtime, from a kernel thread or from a test with a virtual clock.
//!
//! # The contract
//!
//! Every machine of every Watchfire crate keeps these promises; drivers may rely on them.
//!
//! 1. **Nothing from outside.** No IO, no clock, no threads, no randomness of its own. The same calls with the same
//!    arguments (and, where a machine takes one, the same seed) give the same outputs, octet for octet.
//! 2. **Time is an argument.** `now` is an [`Instant`] that the driver counts from wherever it likes. If it goes
//!    back, the machine behaves as if it stood still.
//! 3. **Drain after every call.** After any call that takes `&mut self`, call [`Machine::poll_output`] until it
//!    returns [`Output::Timeout`]. Transmits come first, then events, in the order in which they arose. Draining
//!    late is safe: output is kept, within a limit; draining never is an error.
//! 4. **Obey the time-out.** When the instant in [`Output::Timeout`] has come, call [`Machine::handle_timeout`].
//!    Calling it early is harmless, calling it late only delays. [`Machine::timeout_reason`] says what is waited for.
//! 5. **Errors are fatal and polite.** When a `handle_*` call returns an error the machine is finished, and whatever
//!    it still wants to tell the peer is queued already: drain once more, send, close. Calls that only the local
//!    application makes (`send_alert`, `accept`) may return an *ApiMisuse* error that changes nothing.
//! 6. **Input may be cut anywhere.** One octet at a time or a megabyte at once: the events are the same. After
//!    `handle_eof` there is no more input: do not read again. The machine may live on, because it still owes or awaits
//!    something, until [`Machine::is_finished`].
//! 7. **Everything that grows has a limit**, and each limit is a value of the crate's `Limits`.
//! 8. **The end is said once.** A machine's last event is its `Closed` event, or the event that hands over to the
//!    next machine.
//!
//! # A run loop
//!
//! This is a whole driver, for any stream machine over any pair of reader and writer. The machine here is a toy that
//! answers each line with the same line in capitals, and gives up when the peer is silent for a minute.
//!
//! ```
//! use std::io::{ErrorKind, Read, Write};
//! use watchfire_core::{Duration, Eof, Instant, Machine, Output, OutputQueue, StreamMachine};
//!
//! # struct Shout { out: OutputQueue<String>, line: Vec<u8>, deadline: Instant, over: bool }
//! # #[derive(Debug)] struct TooLong;
//! # const SILENCE: Duration = Duration::from_secs(60);
//! # impl Shout { fn new(now: Instant) -> Self {
//! #     Shout { out: OutputQueue::new(4096), line: Vec::new(), deadline: now + SILENCE, over: false } } }
//! # impl Machine for Shout {
//! #     type Transmit = bytes::Bytes; type Event = String; type Error = TooLong;
//! #     fn poll_output(&mut self, _now: Instant) -> Output<bytes::Bytes, String> {
//! #         self.out.poll().unwrap_or(Output::Timeout((!self.over).then_some(self.deadline))) }
//! #     fn handle_timeout(&mut self, now: Instant) -> Result<(), TooLong> {
//! #         if now >= self.deadline { self.over = true; self.out.event("silence".into()) }; Ok(()) }
//! #     fn timeout_reason(&self) -> &'static str { "peer silent" }
//! #     fn is_finished(&self) -> bool { self.over }
//! # }
//! # impl StreamMachine for Shout {
//! #     fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), TooLong> {
//! #         self.deadline = now + SILENCE;
//! #         for &octet in input {
//! #             self.line.push(octet.to_ascii_uppercase());
//! #             if self.line.len() > 80 { self.over = true; return Err(TooLong) }
//! #             if octet == b'\n' { self.out.transmit(&self.line); self.line.clear() }
//! #         } Ok(()) }
//! #     fn handle_eof(&mut self, _now: Instant, _eof: Eof) -> Result<(), TooLong> { self.over = true; Ok(()) }
//! # }
//! fn drive<M>(machine: &mut M, wire: &mut (impl Read + Write), clock: impl Fn() -> Instant)
//!     -> std::io::Result<Result<(), M::Error>>
//! where
//!     M: StreamMachine<Transmit = bytes::Bytes>,
//!     M::Event: std::fmt::Debug,
//! {
//!     let mut buffer = [0; 4096];
//!     let mut outcome = Ok(());
//!     let mut reading = true;
//!     loop {
//!         let wake = loop {
//!             match machine.poll_output(clock()) {
//!                 Output::Transmit(octets) => wire.write_all(&octets)?,
//!                 Output::Event(event) => println!("{event:?}"),
//!                 Output::Timeout(wake) => break wake,
//!             }
//!         };
//!         if machine.is_finished() || outcome.is_err() || !reading {
//!             return Ok(outcome);
//!         }
//!         // On a socket: set_read_timeout(wake.map(|wake| (wake - clock()).max(Duration::from_millis(1)))), so that
//!         // the next line waits until `wake` at the latest. (A read time-out of zero is an error.)
//!         outcome = match wire.read(&mut buffer) {
//!             Ok(0) => {
//!                 reading = false;
//!                 machine.handle_eof(clock(), Eof::Closed)
//!             }
//!             Ok(n) => machine.handle_input(clock(), &buffer[..n]),
//!             Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
//!             Err(error) => return Err(error),
//!         };
//!         // Also while octets keep coming: whoever sends one a second must not escape a time-out.
//!         if outcome.is_ok() && wake.is_some_and(|wake| wake <= clock()) {
//!             outcome = machine.handle_timeout(clock());
//!         }
//!     }
//! }
//! # struct Wire(std::io::Cursor<Vec<u8>>, Vec<u8>);
//! # impl Read for Wire { fn read(&mut self, b: &mut [u8]) -> std::io::Result<usize> { self.0.read(b) } }
//! # impl Write for Wire { fn write(&mut self, b: &[u8]) -> std::io::Result<usize> { self.1.write(b) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) } }
//! # let mut wire = Wire(std::io::Cursor::new(b"fire on the hill\n".to_vec()), vec![]);
//! # let now = Instant::ZERO;
//! # drive(&mut Shout::new(now), &mut wire, || now).unwrap().unwrap();
//! # assert_eq!(wire.1, b"FIRE ON THE HILL\n");
//! ```
//!
//! # Configurations
//!
//! A machine takes an `Arc` of its configuration. One is made by `builder(..)`, which takes what there is no default
//! for, setters by value (`with_*`), and `build()`, which says by a [`ConfigError`] what cannot be. What grows is bounded
//! by a `Limits` inside it. [`config_builder!`] and [`setters!`] write the setters.
//!
//! # Writing a machine
//!
//! Keep an [`OutputQueue`] and implement [`Machine`] plus the trait that says what it eats: [`StreamMachine`] for an
//! octet stream, [`DatagramMachine`] for packets, [`ExchangeMachine`] for requests and responses over somebody else's
//! HTTP. Effects that are not octets (start TLS, dial, close) are events in the imperative; the driver answers each
//! with a call on the machine.

#![no_std]

extern crate alloc;

mod backoff;
mod config;
mod machine;
mod output;
mod time;

pub use backoff::Backoff;
pub use config::ConfigError;
pub use core::time::Duration;
pub use machine::{DatagramMachine, Eof, ExchangeMachine, Machine, StreamMachine};
pub use output::{Datagram, Output, OutputQueue};
pub use time::{Instant, UnixTime};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
