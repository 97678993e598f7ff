//! A machine and its run loop on `std::net` alone: no async runtime, no thread for a connection's time-outs.
//!
//! `cargo run -p watchfire-core --example std_loop` answers three lines over the loopback and ends.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is a driver: it owns socket and clock")]

use std::error::Error;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use bytes::Bytes;
use watchfire_core::{Duration, Eof, Instant, Machine, Output, OutputQueue, StreamMachine};

/// How long a peer may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a line may be.
const MAX_LINE: usize = 80;

/// Answers each line in capitals, and gives up when nothing comes for a minute.
struct Shout {
    out: OutputQueue<Event>,
    line: Vec<u8>,
    deadline: Instant,
    over: bool,
}

enum Event {
    Line(usize),
    Closed(&'static str),
}

#[derive(Debug)]
struct TooLong;

impl Shout {
    fn new(now: Instant) -> Self {
        Self { out: OutputQueue::new(4096), line: Vec::new(), deadline: now + SILENCE, over: false }
    }

    fn close(&mut self, reason: &'static str) {
        if !self.over {
            self.over = true;
            self.out.event(Event::Closed(reason));
        }
    }
}

impl Machine for Shout {
    type Transmit = Bytes;
    type Event = Event;
    type Error = TooLong;

    fn poll_output(&mut self, _now: Instant) -> Output<Bytes, Event> {
        self.out.poll().unwrap_or(Output::Timeout((!self.over).then_some(self.deadline)))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), TooLong> {
        if now >= self.deadline {
            self.close("silence");
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        "the peer is silent"
    }

    fn is_finished(&self) -> bool {
        self.over
    }
}

impl StreamMachine for Shout {
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), TooLong> {
        self.deadline = self.deadline.max(now + SILENCE);
        for octet in input {
            self.line.push(octet.to_ascii_uppercase());
            if self.line.len() > MAX_LINE {
                self.close("a line that is too long");
                return Err(TooLong);
            }
            if *octet == b'\n' {
                self.out.transmit(&self.line);
                self.out.event(Event::Line(self.line.len()));
                self.line.clear();
            }
        }
        Ok(())
    }

    fn handle_eof(&mut self, _now: Instant, _eof: Eof) -> Result<(), TooLong> {
        self.close("the peer has no more");
        Ok(())
    }
}

/// The driver: it owns the socket and the clock, and knows nothing of what goes over it.
fn drive(mut stream: TcpStream, start: std::time::Instant) -> std::io::Result<()> {
    let now = || Instant::ZERO + start.elapsed();
    let mut machine = Shout::new(now());
    let mut buffer = [0; 4096];
    loop {
        // 1. Everything that the machine has to say, until it says when to call again.
        let wake = loop {
            match machine.poll_output(now()) {
                Output::Transmit(octets) => stream.write_all(&octets)?,
                Output::Event(Event::Line(len)) => println!("machine: a line of {len} octets"),
                Output::Event(Event::Closed(reason)) => println!("machine: closed, {reason}"),
                Output::Timeout(wake) => break wake,
            }
        };
        if machine.is_finished() {
            return Ok(());
        }
        // 2. Wait for octets, until then at the latest. A read time-out of zero would be an error.
        stream.set_read_timeout(wake.map(|wake| (wake - now()).max(Duration::from_millis(1))))?;
        // 3. Tell the machine. What fails is said again by its last event.
        let _ = match stream.read(&mut buffer) {
            Ok(0) => machine.handle_eof(now(), Eof::Closed),
            Ok(len) => machine.handle_input(now(), buffer.get(..len).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => machine.handle_eof(now(), Eof::Truncated),
        };
        // Also while octets keep coming: whoever sends one a second must not escape a time-out.
        if wake.is_some_and(|wake| wake <= now()) {
            let _ = machine.handle_timeout(now());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let start = std::time::Instant::now();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let peer = std::thread::spawn(move || -> std::io::Result<Vec<String>> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"fire on the hill\nfire at sea\nall is well\n")?;
        stream.shutdown(Shutdown::Write)?;
        BufReader::new(stream).lines().collect()
    });
    drive(listener.accept()?.0, start)?;
    let answers = peer.join().map_err(|_| "the peer panicked")??;
    println!("peer: {answers:?}");
    if answers == ["FIRE ON THE HILL", "FIRE AT SEA", "ALL IS WELL"] { Ok(()) } else { Err("other answers".into()) }
}
