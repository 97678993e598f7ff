//! One open channel at the manager, from the octets to the answers.
//!
//! Two tasks share the work of a connection: one moves octets, the other looks into the alerts and hands them over.
//! While a batch is being handed over the next one gathers, so the slower the store, the larger its transactions.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use iap_proto::{CloseReason, MediaType, MessageId, Receiver, ReceiverEvent, Status};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::handover::{Alert, Handover};
use super::recent::{Recent, Seen, Ticket};
use crate::tls::{Identity, TlsStream};
use crate::wire::{Io, Wire};

/// Messages handed over at once, at most.
const MOST_IN_BATCH: usize = 4096;

/// Answers that may wait in the connection before it reads on.
const MOST_QUEUED: usize = 256 * 1024;

/// A content as it came from the machine.
struct Content {
    id: MessageId,
    content_type: MediaType,
    body: Bytes,
    received: SystemTime,
}

/// Runs an open channel to its end.
pub(super) async fn receive<H: Handover>(
    mut wire: Wire<TlsStream<TcpStream>>,
    mut receiver: Receiver,
    peer: Arc<Identity>,
    shared: Arc<Shared<H>>,
    stop: CancellationToken,
) -> CloseReason {
    let (to_deliver, contents) = mpsc::unbounded_channel();
    let (answers_in, mut answers) = mpsc::unbounded_channel();
    let deliver = deliver(contents, answers_in, Arc::clone(&peer), Arc::clone(&shared));
    let delivering = tokio::spawn(deliver);
    let mut stopping = false;
    let reason = 'open: loop {
        let mut batch = Vec::new();
        let due = loop {
            match wire.drain(&mut receiver) {
                Ok(ReceiverEvent::Content { id, content_type, body }) => {
                    batch.push(Content { id, content_type, body, received: SystemTime::now() });
                }
                Ok(ReceiverEvent::UnknownType { content_type }) => {
                    shared.counters.refuse("unknown_type");
                    tracing::warn!(%peer, %content_type, "an alert of a type not taken here was answered 415");
                }
                Ok(ReceiverEvent::Closed { reason }) => break 'open reason,
                Ok(_) => {}
                Err(due) => break due,
            }
        };
        if !batch.is_empty() {
            shared.counters.received.fetch_add(batch.len() as u64, Ordering::Relaxed);
            // Not bounded here, but by the machine: it wants no input while much is unanswered.
            let _ = to_deliver.send(batch);
        }
        let read = receiver.wants_input() && wire.queued() < MOST_QUEUED;
        tokio::select! {
            biased;
            answered = answers.recv() => {
                let now = wire.now();
                let Some(answered) = answered else {
                    // Whoever takes the alerts has failed for good: without it nothing here would ever be answered.
                    shared.counters.refuse("handover");
                    tracing::error!(%peer, "alerts could not be handed over: the handover panicked");
                    receiver.close();
                    continue;
                };
                for (id, status) in answered {
                    // Each was handed out once and comes back once, so there is nothing to go wrong.
                    let _ = receiver.respond(now, id, status);
                }
            }
            io = poll_fn(|cx| wire.poll_io(cx, read, due)) => {
                if let Io::Read(len) = io {
                    shared.counters.octets.fetch_add(len as u64, Ordering::Relaxed);
                }
                wire.tell(&mut receiver, io);
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                receiver.finish(wire.now());
            }
        }
    };
    drop(to_deliver);
    wire.farewell().await;
    // What was read is still handed over: its sender will send it again, and then it is known.
    let _ = delivering.await;
    reason
}

/// Looks into contents and hands them over, until there are no more. While one batch is being handed over (which is
/// mostly waiting for a disk) the next is looked into.
async fn deliver<H: Handover>(
    mut contents: mpsc::UnboundedReceiver<Vec<Content>>,
    answers: mpsc::UnboundedSender<Vec<(MessageId, Status)>>,
    peer: Arc<Identity>,
    shared: Arc<Shared<H>>,
) {
    let mut next: Option<Batch> = None;
    let mut more = true;
    let mut under_way = std::pin::pin!(None);
    loop {
        if under_way.is_none() {
            match next.take() {
                Some(batch) => under_way.set(Some(hand_over(batch, &peer, &shared))),
                None if !more => return,
                None => {}
            }
        }
        tokio::select! {
            biased;
            answered = async {
                match under_way.as_mut().as_pin_mut() {
                    Some(handing_over) => handing_over.await,
                    None => std::future::pending().await,
                }
            } => {
                under_way.set(None);
                // The connection may be gone; its sender will ask again.
                let _ = answers.send(answered);
            }
            batch = contents.recv(), if more && next.is_none() => match batch {
                Some(mut batch) => {
                    while batch.len() < MOST_IN_BATCH {
                        match contents.try_recv() {
                            Ok(more) => batch.extend(more),
                            Err(_) => break,
                        }
                    }
                    next = Some(Batch::look_into(batch, &peer, &shared));
                }
                None => more = false,
            },
        }
    }
}

/// Contents that were looked into.
struct Batch {
    /// Those to hand over, with what they are answered by.
    ids: Vec<MessageId>,
    alerts: Vec<Alert>,
    /// Answers that are known already.
    answers: Vec<(MessageId, Status)>,
}

impl Batch {
    fn look_into<H: Handover>(contents: Vec<Content>, peer: &Arc<Identity>, shared: &Shared<H>) -> Self {
        let count = contents.len();
        let (ids, alerts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut batch = Self { ids, alerts, answers: Vec::with_capacity(count) };
        for Content { id, content_type, body, received } in contents {
            match shared.validation.look(&content_type, &body) {
                Ok(valid) => {
                    batch.ids.push(id);
                    batch.alerts.push(Alert {
                        received,
                        peer: Arc::clone(peer),
                        content_type,
                        body,
                        key: valid.key,
                        #[cfg(feature = "idmef")]
                        message: valid.message,
                    });
                }
                Err((status, problem)) => {
                    shared.counters.refuse("invalid_body");
                    tracing::warn!(%peer, %content_type, %status, "alert refused: {problem}");
                    batch.answers.push((id, status));
                }
            }
        }
        batch
    }
}

/// Hands one batch over. Every content in it gets an answer.
async fn hand_over<H: Handover>(
    Batch { ids, alerts, mut answers }: Batch,
    peer: &Arc<Identity>,
    shared: &Shared<H>,
) -> Vec<(MessageId, Status)> {
    let name = peer.display();
    let seen = shared.recent.ask(name, alerts.iter().map(|alert| &alert.key));
    let mut under_way = UnderWay { recent: &shared.recent, name, tickets: Vec::new() };
    under_way.tickets.extend(seen.iter().filter_map(|seen| match seen {
        Seen::New(ticket) => Some((*ticket, false)),
        _ => None,
    }));
    let mut fresh = Vec::with_capacity(alerts.len());
    let mut tickets = Vec::with_capacity(alerts.len());
    // Twins of an alert in the same batch share its fate.
    let mut twins = Vec::new();
    for ((id, alert), seen) in ids.into_iter().zip(alerts).zip(seen) {
        match seen {
            Seen::New(ticket) => {
                tickets.push((id, ticket));
                fresh.push(alert);
            }
            Seen::Accepted => {
                shared.counters.duplicates.fetch_add(1, Ordering::Relaxed);
                answers.push((id, Status::OK));
            }
            Seen::UnderWay(ticket) => {
                shared.counters.duplicates.fetch_add(1, Ordering::Relaxed);
                twins.push((id, ticket));
            }
        }
    }
    let statuses = if fresh.is_empty() { Vec::new() } else { shared.handover.hand_over(fresh).await };
    let statuses = statuses.into_iter().chain(std::iter::repeat(Status::SERVICE_UNAVAILABLE));
    let mut outcomes = std::collections::HashMap::new();
    let mut accepted = 0;
    for (((id, ticket), status), (_, kept)) in tickets.iter().zip(statuses).zip(&mut under_way.tickets) {
        // Whatever is no answer is no promise either.
        let status = if status.verdict().is_some() { status } else { Status::INTERNAL_ERROR };
        *kept = status.is_success();
        accepted += u64::from(*kept);
        if !twins.is_empty() {
            outcomes.insert(*ticket, status);
        }
        answers.push((*id, status));
    }
    drop(under_way);
    for (id, ticket) in twins {
        // Under way on another connection: by the time the sender tries again it will be decided.
        answers.push((id, outcomes.get(&ticket).copied().unwrap_or(Status::SERVICE_UNAVAILABLE)));
    }
    shared.counters.accepted.fetch_add(accepted, Ordering::Relaxed);
    answers
}

/// Alerts that are being handed over, and whether they were accepted. However that ends (the handover may panic, or be
/// cut off), none stays under way: it would be answered "come back later" for ever.
struct UnderWay<'a> {
    recent: &'a Recent,
    name: &'a str,
    tickets: Vec<(Ticket, bool)>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.recent.settle(self.name, self.tickets.drain(..));
    }
}
