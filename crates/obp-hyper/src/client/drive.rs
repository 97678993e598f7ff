//! The client machine's driver: one task with the sockets, and one for each exchange over HTTP.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use obp_proto::client::{Client as Machine_, ClientConfig, ClientEvent, ClientStats, HttpTarget, QueryId, ResolveId};
use obp_proto::error::ExchangeFailure;
use obp_proto::http::{Request, Response};
use obp_proto::service_connect::{Binding, ExchangeId};
use obp_proto::{Error, Message};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use watchfire_core::{DatagramMachine as _, ExchangeMachine as _, Instant, Machine as _, Output};
use watchfire_hyper::{Clock, seed};

use super::ClientError;
use super::http::{Pool, Trouble};

type Answer<T> = oneshot::Sender<Result<T, ClientError>>;

/// What a handle wants.
pub(super) enum Command {
    Query { request: Box<Message>, answer: Answer<Message> },
    Dns { messages: Vec<Bytes>, answer: Answer<Vec<Bytes>> },
    Rebind { binding: Box<Binding>, answer: oneshot::Sender<Result<(), Error>> },
    Stats { answer: oneshot::Sender<ClientStats> },
}

enum Waiting {
    Message(Answer<Message>),
    Dns(Answer<Vec<Bytes>>),
}

/// What a task of its own brings back.
enum Fetched {
    Response(ExchangeId, Result<Response, Trouble>),
    Addresses(ResolveId, Vec<IpAddr>),
}

pub(super) struct Driver {
    machine: Machine_,
    clock: Clock,
    pool: Arc<Pool>,
    queue: mpsc::Receiver<Command>,
    changes: watch::Sender<Binding>,
    waiting: HashMap<QueryId, Waiting>,
    tasks: JoinSet<Fetched>,
    exchanges: HashMap<ExchangeId, AbortHandle>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// What went wrong last below the protocol, for the error of the query that fails of it.
    trouble: Option<String>,
}

impl Driver {
    pub(super) async fn new(
        config: ClientConfig,
        binding: Binding,
        pool: Arc<Pool>,
        queue: mpsc::Receiver<Command>,
        changes: watch::Sender<Binding>,
    ) -> Result<Self, super::StartError> {
        let clock = Clock::start();
        let machine = Machine_::new(config, binding, seed()?, clock.now(), Clock::wall())?;
        // A port of the system's choice, so that nobody can guess where answers are expected. A host may lack either
        // family.
        let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await;
        let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await;
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) => return Err(error.into()),
            (v4, v6) => (v4.ok(), v6.ok()),
        };
        let (waiting, tasks, exchanges) = (HashMap::new(), JoinSet::new(), HashMap::new());
        Ok(Self { machine, clock, pool, queue, changes, waiting, tasks, exchanges, v4, v6, trouble: None })
    }

    /// Runs until nobody can ask any more.
    pub(super) async fn run(mut self) {
        let (mut buffer4, mut buffer6) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            let wake = self.drain().await;
            tokio::select! {
                command = self.queue.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                received = receive(self.v4.as_ref(), &mut buffer4) => self.datagram(received, &buffer4),
                received = receive(self.v6.as_ref(), &mut buffer6) => self.datagram(received, &buffer6),
                Some(fetched) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    // Aborted ones are not waited for any more.
                    if let Ok(fetched) = fetched {
                        self.fetched(fetched);
                    }
                }
                () = self.clock.until(wake) => {
                    let _ = self.machine.handle_timeout(self.clock.now());
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            // Nobody waits any more.
            Command::Query { answer, .. } if answer.is_closed() => {}
            Command::Query { request, answer } => match self.machine.query(now, *request) {
                Ok(id) => drop(self.waiting.insert(id, Waiting::Message(answer))),
                Err(error) => drop(answer.send(Err(error.into()))),
            },
            Command::Dns { messages, answer } => match self.machine.query_dns(now, messages) {
                Ok(id) => drop(self.waiting.insert(id, Waiting::Dns(answer))),
                Err(error) => drop(answer.send(Err(error.into()))),
            },
            Command::Rebind { binding, answer } => {
                let outcome = self.machine.rebind(now, *binding);
                if outcome.is_ok() {
                    self.changes.send_replace(self.machine.binding().clone());
                }
                let _ = answer.send(outcome);
            }
            Command::Stats { answer } => {
                let _ = answer.send(*self.machine.stats());
            }
        }
    }

    fn datagram(&mut self, received: io::Result<(usize, SocketAddr)>, buffer: &[u8]) {
        match received {
            Ok((len, from)) => {
                let payload = buffer.get(..len).unwrap_or_default();
                let _ = self.machine.handle_datagram(self.clock.now(), from, payload);
            }
            // About what was sent before: nobody listens there. The machine's time-out sees to it.
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }

    fn fetched(&mut self, fetched: Fetched) {
        let now = self.clock.now();
        match fetched {
            Fetched::Response(id, outcome) => {
                self.exchanges.remove(&id);
                let _ = match outcome {
                    Ok(response) => self.machine.handle_response(now, id, response),
                    Err(Trouble { failure, what }) => {
                        self.trouble = Some(what);
                        self.machine.handle_failure(now, id, failure)
                    }
                };
            }
            Fetched::Addresses(id, addresses) => self.machine.resolved(now, id, &addresses),
        }
    }

    /// Does what the machine says; gives when it wants to be called.
    async fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.machine.poll_output(self.clock.now()) {
                Output::Transmit(datagram) => {
                    let socket = if datagram.to.is_ipv4() { &self.v4 } else { &self.v6 };
                    let sent = match socket {
                        Some(socket) => socket.send_to(&datagram.payload, datagram.to).await.map(drop),
                        None => Err(io::Error::other("this host does not have that family of addresses")),
                    };
                    if let Err(error) = sent {
                        self.trouble = Some(format!("{}: {error}", datagram.to));
                    }
                }
                Output::Event(event) => self.event(event),
                Output::Timeout(wake) => return wake,
            }
        }
    }

    fn event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Answer { id, message } => {
                if let Some(Waiting::Message(answer)) = self.waiting.remove(&id) {
                    let _ = answer.send(Ok(message));
                }
            }
            ClientEvent::DnsAnswer { id, messages } => {
                if let Some(Waiting::Dns(answer)) = self.waiting.remove(&id) {
                    let _ = answer.send(Ok(messages));
                }
            }
            ClientEvent::Failed { id, error } => {
                let below = matches!(error, Error::Unreachable(_) | Error::TimedOut(_));
                let error = match self.trouble.take().filter(|_| below) {
                    Some(what) => ClientError::Exchange { error, what },
                    None => error.into(),
                };
                match self.waiting.remove(&id) {
                    Some(Waiting::Message(answer)) => drop(answer.send(Err(error))),
                    Some(Waiting::Dns(answer)) => drop(answer.send(Err(error))),
                    None => {}
                }
            }
            ClientEvent::Exchange { id, to, request } => self.exchange(id, to, request),
            ClientEvent::CancelExchange { id } => {
                if let Some(task) = self.exchanges.remove(&id) {
                    task.abort();
                }
            }
            ClientEvent::Resolve { id, name } => {
                self.tasks.spawn(async move {
                    let found = tokio::net::lookup_host((name.to_canonical(), 0)).await;
                    let addresses = found.map(|found| found.map(|address| address.ip()).collect());
                    Fetched::Addresses(id, addresses.unwrap_or_default())
                });
            }
            ClientEvent::BindingChanged => {
                self.changes.send_replace(self.machine.binding().clone());
            }
            ClientEvent::Rebind => tracing::warn!("no ticket of the binding is good any more: bind again"),
            _ => {}
        }
    }

    fn exchange(&mut self, id: ExchangeId, to: HttpTarget, request: Request) {
        let pool = Arc::clone(&self.pool);
        let task = self.tasks.spawn(async move {
            let outcome = pool.exchange(&to, request.path, &request.headers, request.body).await;
            let outcome =
                outcome.map_err(|trouble| Trouble { what: format!("{}: {}", to.address, trouble.what), ..trouble });
            Fetched::Response(id, outcome)
        });
        self.exchanges.insert(id, task);
    }
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// A failure of a task counts as a lost connection.
impl From<ExchangeFailure> for Trouble {
    fn from(failure: ExchangeFailure) -> Self {
        Self { failure, what: failure.to_string() }
    }
}
