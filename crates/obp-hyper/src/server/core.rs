//! The broker machine and its driver: what came goes in, what it says is done.
//!
//! One lock guards the machine, and nothing waits under it: answers that are at hand are given at once, the others are
//! looked for by tasks of their own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use obp_proto::broker::{Broker, BrokerEvent, BrokerStats, BrokerTransmit, Identity, QueryId, Question};
use obp_proto::http::{RequestHead, Response, Security};
use obp_proto::message::ErrorResponse;
use obp_proto::{Encoding, Message, Status};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;
use watchfire_core::{Datagram, DatagramMachine as _, Instant, Machine as _, Output};
use watchfire_hyper::Clock;

use super::Knowledge;
use super::enroll::Enrolment;

pub(crate) struct Core<K> {
    state: Mutex<State>,
    pub(super) knowledge: Arc<K>,
    pub(super) enrolment: Option<Enrolment>,
    pub(super) clock: Clock,
    /// Tasks that look for answers.
    pub(super) tasks: TaskTracker,
    /// The machine wants to be called earlier than it said before.
    sooner: Notify,
}

struct State {
    broker: Broker,
    waiting: HashMap<QueryId, Waiting>,
    wake: Option<Instant>,
}

/// Where the answer goes.
enum Waiting {
    Http(oneshot::Sender<Response>),
    Udp(Arc<UdpSocket>),
}

/// What is to be done when the lock is released.
#[derive(Default)]
pub(super) struct Todo {
    response: Option<(QueryId, Response)>,
    queries: Vec<(QueryId, Arc<Identity>, Question)>,
    connects: Vec<Connect>,
    pub(super) datagrams: Vec<(Arc<UdpSocket>, Datagram)>,
    sooner: bool,
}

/// A request of service-connect.
pub(super) struct Connect {
    pub(super) id: QueryId,
    pub(super) client: Option<Arc<Identity>>,
    pub(super) encoding: Encoding,
    pub(super) body: Bytes,
}

impl<K: Knowledge> Core<K> {
    pub(super) fn new(broker: Broker, knowledge: Arc<K>, enrolment: Option<Enrolment>, clock: Clock) -> Self {
        let state = State { broker, waiting: HashMap::new(), wake: None };
        let (tasks, sooner) = (TaskTracker::new(), Notify::new());
        Self { state: Mutex::new(state), knowledge, enrolment, clock, tasks, sooner }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The machine has no panics of its own, and knowledge that panicked left it as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> BrokerStats {
        *self.lock().broker.stats()
    }

    pub(super) fn with_broker<T>(&self, change: impl FnOnce(&mut Broker) -> T) -> T {
        change(&mut self.lock().broker)
    }

    /// A request over HTTP, to its response.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        head: &RequestHead<'_>,
        body: Bytes,
        security: Security,
    ) -> Option<Response> {
        let mut todo = Todo::default();
        let (id, answered) = {
            let mut state = self.lock();
            let id = state.broker.handle_request(self.clock.now(), head, body, security);
            self.drain(&mut state, None, &mut todo);
            if let Some((_, response)) = todo.response.take_if(|(to, _)| *to == id) {
                drop(state);
                self.dispatch(todo);
                return Some(response);
            }
            let (answer, answered) = oneshot::channel();
            state.waiting.insert(id, Waiting::Http(answer));
            (id, answered)
        };
        self.dispatch(todo);
        let left = Left { core: self, id };
        let response = answered.await.ok();
        std::mem::forget(left);
        response
    }

    /// Takes all datagrams that wait at a socket, up to a number, and says what to send.
    pub(super) fn datagrams(
        self: &Arc<Self>,
        socket: &Arc<UdpSocket>,
        buffer: &mut [u8],
        most: usize,
        admit: &impl Fn(SocketAddr) -> bool,
    ) -> (usize, Vec<(Arc<UdpSocket>, Datagram)>) {
        let mut todo = Todo::default();
        let mut count = 0;
        {
            let mut state = self.lock();
            while count < most {
                // Errors here are about what was sent before (a port that is closed now), or nothing waits any more.
                let (len, from): (usize, SocketAddr) = match socket.try_recv_from(buffer) {
                    Ok(received) => received,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        count += 1;
                        continue;
                    }
                };
                count += 1;
                if !admit(from) {
                    continue;
                }
                let payload = buffer.get(..len).unwrap_or_default();
                let _ = state.broker.handle_datagram(self.clock.now(), from, payload);
                self.drain(&mut state, Some(socket), &mut todo);
            }
        }
        let datagrams = std::mem::take(&mut todo.datagrams);
        self.dispatch(todo);
        (count, datagrams)
    }

    /// Calls the machine when its time has come, until the task is dropped.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let wake = self.lock().wake;
            tokio::select! {
                () = self.clock.until(wake) => {
                    let mut todo = Todo::default();
                    {
                        let mut state = self.lock();
                        let _ = state.broker.handle_timeout(self.clock.now());
                        self.drain(&mut state, None, &mut todo);
                    }
                    send(std::mem::take(&mut todo.datagrams)).await;
                    self.dispatch(todo);
                }
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Does what the machine says. `socket` is where the datagram came from that is being handled.
    fn drain(&self, state: &mut State, socket: Option<&Arc<UdpSocket>>, todo: &mut Todo) {
        let mut socket = socket.cloned();
        loop {
            match state.broker.poll_output(self.clock.now()) {
                Output::Transmit(BrokerTransmit::Response { id, response }) => match state.waiting.remove(&id) {
                    Some(Waiting::Http(answer)) => {
                        // Its client may have gone.
                        let _ = answer.send(response);
                    }
                    _ => todo.response = Some((id, response)),
                },
                Output::Transmit(BrokerTransmit::Datagram(datagram)) => {
                    todo.datagrams.extend(socket.clone().map(|socket| (socket, datagram)));
                }
                Output::Event(BrokerEvent::Query { id, client, question }) => {
                    let known = match &question {
                        Question::Message(message) => self.knowledge.at_hand(&client, message),
                        _ => None,
                    };
                    if known.is_none_or(|answer| state.broker.respond(id, &answer).is_err()) {
                        if let Some(socket) = &socket {
                            state.waiting.insert(id, Waiting::Udp(Arc::clone(socket)));
                        }
                        todo.queries.push((id, client, question));
                    }
                }
                Output::Event(BrokerEvent::Connect { id, client, encoding, body }) => {
                    todo.connects.push(Connect { id, client, encoding, body });
                }
                // Its refusal follows; that of a datagram goes where it came from.
                Output::Event(BrokerEvent::Cancelled { id }) => {
                    if let Some(Waiting::Udp(_)) = state.waiting.get(&id)
                        && let Some(Waiting::Udp(from)) = state.waiting.remove(&id)
                    {
                        socket = Some(from);
                    }
                }
                Output::Event(_) => {}
                Output::Timeout(wake) => {
                    todo.sooner |= wake.is_some_and(|wake| state.wake.is_none_or(|before| wake < before));
                    state.wake = wake;
                    return;
                }
            }
        }
    }

    /// Starts looking for the answers that were not at hand.
    fn dispatch(self: &Arc<Self>, todo: Todo) {
        if todo.sooner {
            self.sooner.notify_one();
        }
        for (id, client, question) in todo.queries {
            let core = Arc::clone(self);
            self.tasks.spawn(async move {
                match question {
                    Question::Message(message) => {
                        let answer = core.knowledge.find(client, message).await;
                        core.answer(id, |broker| broker.respond(id, &answer).is_ok()).await;
                    }
                    Question::Dns(messages) => {
                        let answers = core.knowledge.find_dns(client, messages).await;
                        core.answer(id, |broker| broker.respond_dns(id, &answers).is_ok()).await;
                    }
                    // A kind of question that this version of the crate does not know.
                    _ => {
                        let refusal = Message::from(ErrorResponse::new(Status::NOT_IMPLEMENTED));
                        core.answer(id, |broker| broker.respond(id, &refusal).is_ok()).await;
                    }
                }
            });
        }
        for connect in todo.connects {
            let core = Arc::clone(self);
            self.tasks.spawn(async move {
                let id = connect.id;
                if let Some(reply) = core.enrol(connect).await {
                    core.answer(id, |broker| broker.respond_octets(id, reply.0, reply.1).is_ok()).await;
                }
            });
        }
    }

    /// Gives an answer that was looked for. Late ones (the machine has answered 504 by then) are dropped; ones that do
    /// not fit the question are replaced by an error.
    async fn answer(self: &Arc<Self>, id: QueryId, respond: impl FnOnce(&mut Broker) -> bool) {
        let mut todo = Todo::default();
        {
            let mut state = self.lock();
            let socket = match state.waiting.get(&id) {
                Some(Waiting::Udp(socket)) => Some(Arc::clone(socket)),
                _ => None,
            };
            if !respond(&mut state.broker) {
                let failure = Message::from(ErrorResponse::new(Status::UNKNOWN));
                let _ = state.broker.respond(id, &failure);
            }
            self.drain(&mut state, socket.as_ref(), &mut todo);
            if socket.is_some() {
                state.waiting.remove(&id);
            }
        }
        send(std::mem::take(&mut todo.datagrams)).await;
        self.dispatch(todo);
    }

    /// A request of service-connect, to its reply; none when nobody waits for one any more.
    async fn enrol(self: &Arc<Self>, connect: Connect) -> Option<(Status, Bytes)> {
        let encoding = connect.encoding;
        let turn = match &self.enrolment {
            // While the accounts take their time those that wait are tasks, not threads; and who has gone asks nothing.
            Some(enrolment) => Some(enrolment.turn().await.filter(|_| self.lock().waiting.contains_key(&connect.id))?),
            None => None,
        };
        let core = Arc::clone(self);
        // Accounts are in files or databases.
        let enrolled = tokio::task::spawn_blocking(move || {
            let (enrolment, turn) = core.enrolment.as_ref().zip(turn)?;
            let (reply, ended) = enrolment.handle(turn, &core.clock, &connect);
            let now = core.clock.now();
            for (binding, until) in ended {
                if let Err(error) = core.with_broker(|broker| broker.revoke(now, binding, until)) {
                    tracing::error!(%error, "the tickets of a binding that has ended are good until they expire");
                }
            }
            reply
        });
        Some(enrolled.await.ok().flatten().unwrap_or_else(|| {
            let refusal = Message::from(ErrorResponse::new(Status::NOT_IMPLEMENTED));
            (Status::NOT_IMPLEMENTED, refusal.encode(encoding).unwrap_or_default().into())
        }))
    }
}

/// Sends; what the system does not take is lost, as datagrams are.
pub(super) async fn send(datagrams: Vec<(Arc<UdpSocket>, Datagram)>) {
    for (socket, datagram) in datagrams {
        let _ = socket.send_to(&datagram.payload, datagram.to).await;
    }
}

/// Tells the machine when the client of an HTTP request has gone before its answer.
struct Left<'a, K: Knowledge> {
    core: &'a Arc<Core<K>>,
    id: QueryId,
}

impl<K: Knowledge> Drop for Left<'_, K> {
    fn drop(&mut self) {
        let mut todo = Todo::default();
        let mut state = self.core.lock();
        state.waiting.remove(&self.id);
        state.broker.cancel(self.id);
        self.core.drain(&mut state, None, &mut todo);
        drop(state);
        self.core.dispatch(todo);
    }
}
