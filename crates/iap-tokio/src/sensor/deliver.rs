//! One open channel at the sensor: from the spool to the wire, and from the answers back to the spool.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use iap_proto::{ApiMisuse, CloseReason, MediaType, Sender, SenderEvent, Status, Verdict};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use watchfire_core::Backoff;

use super::Shared;
use crate::setup::{Open, error_label};
use crate::spool::{Reader, Settled, SpoolError, Spooled};
use crate::tls::TlsStream;
use crate::wire::Wire;

/// Octets taken from the spool, and octets waiting in the connection, at most.
const MOST_QUEUED: usize = 256 * 1024;

/// How a channel ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reason: CloseReason,
    /// Whether alerts were delivered: the connection was worth something.
    pub(super) progress: bool,
    /// Whether the manager found an alert too large that another may take.
    pub(super) try_next: bool,
}

/// What is sent and not answered.
#[derive(Debug, Clone, Copy)]
enum InFlight {
    Alert(u64),
    Heartbeat,
}

/// Everything about one channel that is not its machine or its wire.
struct Channel<'a> {
    shared: &'a Shared,
    in_flight: VecDeque<InFlight>,
    settled: Vec<(u64, Settled)>,
    backoff: Backoff,
    /// Set by "come back later": nothing is sent until everything sent is answered, and then not before this.
    pause: Option<Option<Instant>>,
    content_type: (Arc<str>, MediaType),
    progress: bool,
    try_next: bool,
}

/// Runs an open channel to its end, with its entries in the log and the counters. `superseded` ends it because a newer one is
/// there.
pub(super) async fn run(address: &str, open: Open<Sender>, shared: &Shared, superseded: CancellationToken) -> Ended {
    let Open { channel: sender, wire, peer, handshake } = open;
    shared.counters.open(handshake.resumed);
    tracing::info!(manager = %peer, address, version = %handshake.version, resumed = handshake.resumed, "channel open");
    let ended = deliver(wire, sender, shared, superseded).await;
    shared.counters.connected.store(false, Ordering::Relaxed);
    match &ended.reason {
        CloseReason::Failed(error) => {
            shared.counters.fail(error_label(error), format!("{address}: {error}"));
            tracing::warn!(manager = %peer, address, %error, "channel closed");
        }
        reason => tracing::info!(manager = %peer, address, %reason, "channel closed"),
    }
    ended
}

async fn deliver(
    mut wire: Wire<TlsStream<TcpStream>>,
    mut sender: Sender,
    shared: &Shared,
    superseded: CancellationToken,
) -> Ended {
    let mut reader = shared.spool.reader();
    let mut channel = Channel {
        shared,
        in_flight: VecDeque::new(),
        settled: Vec::new(),
        backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30), crate::random_seed()),
        pause: None,
        content_type: (MediaType::IDEF_ALERT.as_str().into(), MediaType::IDEF_ALERT),
        progress: false,
        try_next: false,
    };
    let mut next_heartbeat = shared.heartbeat.as_ref().map(|(every, _)| Instant::now() + *every);
    let mut spool_trouble = None;
    let mut stopping = false;
    let reason = 'open: loop {
        let due = loop {
            match wire.drain(&mut sender) {
                Ok(SenderEvent::Answered { verdict, status, .. }) => channel.answered(verdict, status),
                Ok(SenderEvent::Closed { reason }) => break 'open reason,
                Ok(_) => {}
                Err(due) => break due,
            }
        };
        channel.settle();
        channel.resume_if_answered(&mut reader);
        if channel.try_next && !stopping {
            // Most managers close after such an answer. From one that does not the alert has to be taken elsewhere, too.
            stopping = true;
            sender.finish(wire.now());
            continue;
        }
        let window = shared.node.config.window.get();
        let free = sender.free_window();
        // A few answers do not make it worth while: with a quarter of the window free, writes are of some size.
        let fill = channel.pause.is_none()
            && spool_trouble.is_none()
            && !stopping
            && free > 0
            && free.saturating_mul(4) >= window
            && wire.queued() < MOST_QUEUED;
        tokio::select! {
            biased;
            io = poll_fn(|cx| wire.poll_io(cx, true, due)) => wire.tell(&mut sender, io),
            batch = reader.next_batch(free, MOST_QUEUED), if fill => match batch {
                Ok(batch) => channel.send(&mut sender, &wire, batch),
                Err(SpoolError::Closed) => {
                    stopping = true;
                    sender.finish(wire.now());
                }
                Err(error) => {
                    tracing::error!(%error, "the spool does not give its alerts back; trying again in a moment");
                    spool_trouble = Some(Instant::now() + Duration::from_secs(1));
                }
            },
            () = sleep_until(spool_trouble) => spool_trouble = None,
            () = sleep_until(channel.pause.flatten()) => {
                channel.pause = None;
                reader.rewind();
            }
            () = sleep_until(next_heartbeat) => {
                channel.send_heartbeat(&mut sender, &wire);
                next_heartbeat = shared.heartbeat.as_ref().map(|(every, _)| Instant::now() + *every);
            }
            () = superseded.cancelled() => sender.close(),
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                sender.finish(wire.now());
            }
        }
    };
    channel.settle();
    let Channel { progress, try_next, .. } = channel;
    wire.farewell().await;
    Ended { reason, progress, try_next }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Channel<'_> {
    /// Sends what came from the spool. All of it fits into the window.
    fn send(&mut self, sender: &mut Sender, wire: &Wire<TlsStream<TcpStream>>, batch: Vec<Spooled>) {
        let now = wire.now();
        let (mut fresh, mut again) = (0, 0);
        for Spooled { seq, record, .. } in batch {
            if *self.content_type.0 != *record.content_type() {
                match record.content_type().parse() {
                    Ok(parsed) => self.content_type = (record.content_type().into(), parsed),
                    Err(_) => {
                        self.put_aside(seq, Status::UNSUPPORTED_MEDIA_TYPE, "its content type is none");
                        continue;
                    }
                }
            }
            match sender.send_alert(now, &self.content_type.1, record.body()) {
                Ok(_) => {
                    self.in_flight.push_back(InFlight::Alert(seq));
                    if self.shared.high_water.fetch_max(seq, Ordering::Relaxed) >= seq {
                        again += 1;
                    } else {
                        fresh += 1;
                    }
                }
                Err(ApiMisuse::BodyTooLarge) => {
                    self.put_aside(seq, Status::CONTENT_TOO_LARGE, "it is above this sensor's own body limit");
                }
                // The window had room for all of them. Should that ever be wrong, nothing is lost: what is not sent
                // is not settled, and comes again after the pause.
                Err(_) => self.pause = Some(None),
            }
        }
        self.shared.counters.sent.fetch_add(fresh, Ordering::Relaxed);
        self.shared.counters.resent.fetch_add(again, Ordering::Relaxed);
    }

    fn send_heartbeat(&mut self, sender: &mut Sender, wire: &Wire<TlsStream<TcpStream>>) {
        let Some((_, make)) = &self.shared.heartbeat else { return };
        let (content_type, body) = make();
        // With a full window there is traffic enough to show that this sensor lives.
        if sender.free_window() > 0 && sender.send_alert(wire.now(), &content_type, &body).is_ok() {
            self.in_flight.push_back(InFlight::Heartbeat);
        }
    }

    fn answered(&mut self, verdict: Verdict, status: Status) {
        let counters = &self.shared.counters;
        match (self.in_flight.pop_front(), verdict) {
            (Some(InFlight::Alert(seq)), Verdict::Delivered) => {
                counters.acked.fetch_add(1, Ordering::Relaxed);
                self.settled.push((seq, Settled::Delivered));
                self.progress = true;
                self.backoff.reset();
            }
            (Some(InFlight::Alert(seq)), Verdict::Rejected) => {
                self.put_aside(seq, status, "the manager refused it");
                self.progress = true;
            }
            (Some(InFlight::Alert(seq)), Verdict::TooLarge) => {
                let mut known = self.shared.too_large.lock().unwrap_or_else(PoisonError::into_inner);
                let times = known.entry(seq).or_insert(0);
                *times += 1;
                if *times >= self.shared.managers {
                    known.remove(&seq);
                    drop(known);
                    self.put_aside(seq, status, "it is too large for every manager");
                } else {
                    self.try_next = true;
                }
            }
            (Some(InFlight::Alert(_)), Verdict::Retry) => {
                counters.deferred.fetch_add(1, Ordering::Relaxed);
                if self.pause.is_none() {
                    tracing::warn!(%status, "the manager cannot take alerts now; pausing");
                    self.pause = Some(None);
                }
            }
            (Some(InFlight::Heartbeat), Verdict::Delivered) => {
                counters.heartbeats.fetch_add(1, Ordering::Relaxed);
            }
            (Some(InFlight::Heartbeat), _) => tracing::warn!(%status, "the manager refused a heartbeat"),
            // The machine answers only what was sent.
            (None, _) => {}
        }
    }

    fn put_aside(&mut self, seq: u64, status: Status, why: &str) {
        self.shared.counters.rejected.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(seq, %status, "an alert is put aside as a dead letter: {why}");
        self.settled.push((seq, Settled::DeadLetter { status: status.code() }));
    }

    fn settle(&mut self) {
        if !self.settled.is_empty() {
            let mut too_large = self.shared.too_large.lock().unwrap_or_else(PoisonError::into_inner);
            if !too_large.is_empty() {
                // Another manager took it.
                too_large.retain(|seq, _| !self.settled.iter().any(|(settled, _)| settled == seq));
            }
            drop(too_large);
            self.shared.spool.settle_all(self.settled.drain(..));
            self.shared.settled.notify_waiters();
        }
    }

    /// After "come back later": once all is answered, the time to wait is known.
    fn resume_if_answered(&mut self, reader: &mut Reader) {
        match self.pause {
            // A heartbeat that is under way says nothing about this.
            Some(None) if self.in_flight.iter().all(|sent| matches!(sent, InFlight::Heartbeat)) => {
                let wait = self.backoff.next_delay();
                self.pause = Some(Some(Instant::now() + wait));
                reader.rewind();
            }
            _ => {}
        }
    }
}
