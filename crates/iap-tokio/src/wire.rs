//! Drives one machine over one stream: the only place where octets of a connection are read and written.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use iap_proto::{Error, Initiator, Receiver, Responder, Sender};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use watchfire_core::{Eof, Instant, Output, StreamMachine};

use crate::clock::{Alarm, Clock};
use crate::tls::TlsStream;
use crate::urgent::Urgent;

/// One TLS record's worth: what one read can give anyway.
const READ_BUFFER: usize = 16 * 1024;

/// How long a farewell may take before the connection is dropped without it.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// How much is read then, so that the peer can read to the end.
pub(crate) const FAREWELL_OCTETS: usize = 1024 * 1024;

/// A stream, what waits to be written to it, and what watches it.
pub(crate) struct Wire<S> {
    stream: S,
    received: Box<[u8]>,
    queue: VecDeque<Bytes>,
    queued: usize,
    flushed: bool,
    /// Writing failed: what the peer said before may still be there to be read, a last status above all.
    broken: bool,
    urgent: Option<Urgent>,
    clock: Clock,
    alarm: Alarm,
    /// What the system or TLS said when reading or writing failed.
    trouble: Option<io::Error>,
}

/// What happened on a [`Wire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Io {
    /// All that was queued is on its way.
    Written,
    /// So many octets are in [`Wire::received`].
    Read(usize),
    /// Nothing more will come.
    Eof(Eof),
    /// Urgent data came.
    Urgent,
    /// The instant that was waited for is here.
    Due,
}

/// The machines of a connection, all of which end on urgent data.
pub(crate) trait IapMachine: StreamMachine<Transmit = Bytes, Error = Error> {
    fn handle_urgent_data(&mut self) -> Result<(), Error>;
}

macro_rules! iap_machines {
    ($($machine:ty),*) => {$(
        impl IapMachine for $machine {
            fn handle_urgent_data(&mut self) -> Result<(), Error> {
                <$machine>::handle_urgent_data(self)
            }
        }
    )*};
}
iap_machines!(Initiator, Responder, Sender, Receiver);

/// A stream over TCP, with or without TLS.
pub(crate) trait OverTcp: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&mut self) -> &mut TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&mut self) -> &mut TcpStream {
        self
    }
}

impl OverTcp for TlsStream<TcpStream> {
    fn tcp(&mut self) -> &mut TcpStream {
        self.get_mut().0.get_mut()
    }
}

impl<S: OverTcp> Wire<S> {
    pub(crate) fn new(stream: S, urgent: Option<Urgent>, clock: Clock) -> Self {
        Self {
            stream,
            received: vec![0; READ_BUFFER].into_boxed_slice(),
            queue: VecDeque::new(),
            queued: 0,
            flushed: true,
            broken: false,
            urgent,
            clock,
            alarm: Alarm::new(clock),
            trouble: None,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Octets that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Takes all that `machine` wants sent, up to its next event. `None` when it has nothing more to say, and then
    /// when it wants to be called.
    pub(crate) fn drain<M: IapMachine>(&mut self, machine: &mut M) -> Result<M::Event, Option<Instant>> {
        loop {
            match machine.poll_output(self.now()) {
                // Nobody will get it.
                Output::Transmit(_) if self.broken => {}
                Output::Transmit(octets) => {
                    self.queued += octets.len();
                    self.queue.push_back(octets);
                }
                Output::Event(event) => return Ok(event),
                Output::Timeout(due) => return Err(due),
            }
        }
    }

    /// Hands what happened to the machine. Errors come out of it again as its `Closed` event, so there is nothing to
    /// return.
    pub(crate) fn tell<M: IapMachine>(&mut self, machine: &mut M, io: Io) {
        let now = self.now();
        let _ = match io {
            Io::Written => Ok(()),
            Io::Read(len) => machine.handle_input(now, self.received.get(..len).unwrap_or_default()),
            Io::Eof(eof) => machine.handle_eof(now, eof),
            Io::Urgent => machine.handle_urgent_data(),
            Io::Due => machine.handle_timeout(now),
        };
    }

    /// The machine's next event, however long that takes.
    pub(crate) async fn next_event<M: IapMachine>(&mut self, machine: &mut M) -> M::Event {
        loop {
            match self.drain(machine) {
                Ok(event) => return event,
                Err(due) => {
                    let io = poll_fn(|cx| self.poll_io(cx, true, due)).await;
                    self.tell(machine, io);
                }
            }
        }
    }

    /// Moves octets: writes what is queued, reads if `read` says so, and watches the clock and for urgent data.
    pub(crate) fn poll_io(&mut self, cx: &mut Context<'_>, read: bool, due: Option<Instant>) -> Poll<Io> {
        if let Some(urgent) = &mut self.urgent
            && urgent.as_mut().poll(cx).is_ready()
        {
            self.urgent = None;
            return Poll::Ready(Io::Urgent);
        }
        match self.poll_write(cx) {
            Poll::Ready(Ok(true)) => return Poll::Ready(Io::Written),
            Poll::Ready(Err(error)) => {
                self.trouble = Some(error);
                self.broken = true;
                self.queue.clear();
                self.queued = 0;
                self.flushed = true;
            }
            Poll::Ready(Ok(false)) | Poll::Pending => {}
        }
        if self.broken && !read {
            return Poll::Ready(Io::Eof(Eof::Truncated));
        }
        if read {
            let mut buffer = ReadBuf::new(&mut self.received);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    return Poll::Ready(match buffer.filled().len() {
                        0 if self.broken => Io::Eof(Eof::Truncated),
                        0 => Io::Eof(Eof::Closed),
                        len => Io::Read(len),
                    });
                }
                Poll::Ready(Err(error)) => {
                    self.trouble = Some(error);
                    return Poll::Ready(Io::Eof(Eof::Truncated));
                }
                Poll::Pending if self.broken => return Poll::Ready(Io::Eof(Eof::Truncated)),
                Poll::Pending => {}
            }
        }
        self.alarm.poll(cx, due).map(|()| Io::Due)
    }

    /// Ready with `true` when the last queued octet has just been handed to the system, with `false` when there was
    /// nothing to do.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while let Some(octets) = self.queue.front_mut() {
            let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, octets))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            octets.advance(written);
            self.queued -= written;
            self.flushed = false;
            if octets.is_empty() {
                self.queue.pop_front();
            }
        }
        if self.flushed {
            return Poll::Ready(Ok(false));
        }
        std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed = true;
        Poll::Ready(Ok(true))
    }

    /// Why the last read or write failed, if one did.
    pub(crate) fn take_trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    /// Writes everything that is queued.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await.map(drop)
    }

    /// Writes what is queued, says goodbye (close_notify where there is TLS, then FIN) and waits for the peer to
    /// close, so that what it has not yet read is not thrown away by a reset. All within a bounded time.
    pub(crate) async fn farewell(mut self) {
        let _ = tokio::time::timeout(FAREWELL, async {
            self.flush().await?;
            self.stream.shutdown().await?;
            let mut left = FAREWELL_OCTETS;
            while left > 0 {
                // What still comes is for nobody, so it is not worth decrypting. (rustls does not like what is no TLS
                // after it has said goodbye itself: its debug builds panic.)
                let read = tokio::io::AsyncReadExt::read(self.stream.tcp(), &mut self.received).await?;
                left = left.saturating_sub(read.max(1));
                if read == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        })
        .await;
    }

    /// The stream itself, at the switch to TLS, and the watch for urgent data. Everything queued must be flushed.
    pub(crate) fn into_parts(self) -> (S, Option<Urgent>) {
        (self.stream, self.urgent)
    }
}
