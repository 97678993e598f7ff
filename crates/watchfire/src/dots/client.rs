//! `dots call-home-client`: the operator that sees attacks. It is called, and asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dots_callhome::{AnySource, ClientEvent};
use dots_tokio::CallHomeClient;
use dots_tokio::client::{CallHomeClientEvent, ClientEvents, ClientLimits, Missed};
use serde_json::json;

use super::api::{Door, Guard, OperatorApi, Served};
use super::eve::{self, Event};
use super::proposals::Book;
use super::rules::Rules;
use super::security::Credentials;
use super::{ask, shown};
use crate::cli::{CallHomeClientArgs, Carrier};
use crate::exit::Failure;
use crate::metrics::{self, Counter, Registry};
use crate::service::Context;
use crate::tail::{self, TailOptions, Tailer};
use crate::{listening, out};

/// How long goodbyes may take.
const GRACE: Duration = Duration::from_secs(2);

/// How often cases are looked at.
const TICK: Duration = Duration::from_secs(1);

/// A running Call Home client.
#[derive(Debug)]
pub struct ClientService {
    client: CallHomeClient,
    events: ClientEvents,
    addresses: Vec<(Carrier, SocketAddr)>,
    api: Option<Served>,
    intake: Option<(Tailer, bool)>,
    book: Arc<Book>,
    malformed: Counter,
}

impl ClientService {
    /// Reads all files, opens all sockets, and says where it listens.
    ///
    /// # Errors
    /// A file that cannot be read or is wrong, an address that cannot be listened at.
    pub async fn start(args: &CallHomeClientArgs, context: &Context) -> Result<Self, Failure> {
        let credentials = Credentials::new(&args.tls, &args.allow);
        let security = credentials.load()?;
        let rules = args.rule.as_deref().map(Rules::load).transpose()?.unwrap_or_default();
        let guard = match &args.api {
            Some(address) => Some((Guard::new(address, args.api_token_file.as_deref()).await?, address)),
            None => None,
        };
        let mut builder = CallHomeClient::builder(security, AnySource);
        let mut limits = ClientLimits::default();
        limits.sessions = args.max_sessions as usize;
        limits.peers = limits.peers.max(limits.sessions);
        builder = builder.with_limits(limits);
        let mut addresses = Vec::new();
        for listen in &args.listen {
            let failed = |error: std::io::Error| Failure::usage(format!("cannot listen: {error}")).at(&listen.address);
            match listen.carrier {
                Carrier::Tls => {
                    let listener = metrics::bind(&listen.address).await?;
                    addresses.push((listen.carrier, listener.local_addr().map_err(failed)?));
                    builder = builder.listen_tls(listener);
                }
                Carrier::Dtls => {
                    let socket = listening::bind_udp(&listen.address).await?;
                    addresses.push((listen.carrier, socket.local_addr().map_err(failed)?));
                    builder = builder.listen_dtls(socket);
                }
            }
        }
        let bound = match guard {
            Some((guard, address)) => Some((metrics::bind(address).await?, guard)),
            None => None,
        };
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let book = Book::new(rules, &context.metrics);
        let intake = match &args.eve {
            Some(path) => Some((open(path, args.follow)?, args.follow)),
            None => None,
        };
        let client = builder.start().map_err(|error| Failure::usage(error.to_string()).at("cannot start"))?;
        let events = client.events();
        let handle = client.clone();
        credentials.keep_fresh(context, move |fresh| handle.set_security(&fresh));
        for (carrier, address) in &addresses {
            let more = json!({ "transport": carrier.name() });
            context.announce_with("dots-call-home-client", *address, &more)?;
        }
        let api = match bound {
            Some((listener, guard)) => {
                let address = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at("--api"))?;
                context.announce("dots-api", address)?;
                let api = OperatorApi {
                    client: client.clone(),
                    book: Arc::clone(&book),
                    body: usize::try_from(args.api_body.0).unwrap_or(usize::MAX),
                };
                let door = Door { guard, requests: args.api_requests as usize };
                Some(door.open(Arc::new(api), listener, address))
            }
            None => None,
        };
        context.serve_metrics(metrics)?;
        count(&client, &context.metrics);
        super::console::show_client(context, &client);
        let malformed = context.metrics.counter(
            "watchfire_dots_eve_malformed_total",
            "Lines of eve.json that are not Suricata's.",
            &[],
        );
        Ok(Self { client, events, addresses, api, intake, book, malformed })
    }

    /// Where it is called, by what.
    pub fn local_addrs(&self) -> &[(Carrier, SocketAddr)] {
        &self.addresses
    }

    /// Where its interface is.
    pub fn api(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|api| api.address)
    }

    /// The handle of what runs.
    pub fn handle(&self) -> &CallHomeClient {
        &self.client
    }

    /// Serves until `context.shutdown`. Mitigations stay at the peers until their lifetime ends.
    ///
    /// # Errors
    /// When eve.json cannot be read any more, or standard output cannot be written to.
    pub async fn run(mut self, context: Context) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(TICK);
        let outcome = loop {
            let step = tokio::select! {
                () = context.shutdown.cancelled() => break Ok(()),
                event = self.events.next() => self.heard(event, &context),
                batch = next(&mut self.intake) => self.read(batch),
                _ = ticks.tick() => {
                    self.book.tick(&self.client);
                    Ok(())
                }
            };
            if step.is_err() {
                break step;
            }
        };
        if let Some(api) = self.api.take() {
            api.close().await;
        }
        self.client.shutdown(GRACE).await;
        outcome
    }

    fn read(&mut self, batch: Option<Result<tail::Batch, tail::TailError>>) -> Result<(), Failure> {
        let Some(batch) = batch else {
            tracing::info!("eve.json is read to its end");
            self.intake = None;
            return Ok(());
        };
        let batch = batch.map_err(|error| Failure::usage(error.to_string()))?;
        let fresh = self.intake.as_ref().is_some_and(|(_, follow)| *follow);
        for line in &batch.lines {
            match eve::read(&line.octets) {
                Event::Alert(alert) => self.book.take(&self.client, &alert, fresh),
                Event::Other => {}
                Event::Malformed if line.octets.trim_ascii().is_empty() => {}
                Event::Malformed => {
                    self.malformed.increment();
                    tracing::debug!(offset = line.offset, "a line of eve.json is not Suricata's");
                }
            }
        }
        Ok(())
    }

    fn heard(&self, event: Result<CallHomeClientEvent, Missed>, context: &Context) -> Result<(), Failure> {
        let count = |name, help| context.metrics.counter(name, help, &[]).increment();
        if let Ok(event) = &event {
            super::console::client_heard(&context.hub, event);
        }
        match event {
            Ok(CallHomeClientEvent::Connected { peer, address, transport, resumed }) => {
                tracing::info!(%peer, %address, ?transport, resumed, "session");
                count("watchfire_dots_sessions_total", "Sessions that came about.");
                if context.json {
                    let line =
                        json!({ "event": "session", "peer": &*peer, "state": "up", "address": address.to_string() });
                    out::line(&line.to_string())?;
                }
            }
            Ok(CallHomeClientEvent::Disconnected { peer, why }) => {
                let why = why.map_or_else(|| "closed".to_owned(), |why| why.to_string());
                tracing::info!(%peer, why, "session ended; its mitigations have not");
                if context.json {
                    let line = json!({ "event": "session", "peer": &*peer, "state": "down", "why": why });
                    out::line(&line.to_string())?;
                }
            }
            Ok(CallHomeClientEvent::Moved { peer, from, to }) => tracing::info!(%peer, %from, %to, "session moved"),
            Ok(CallHomeClientEvent::Signal { peer, event }) => self.signal(&peer, &event, context.json)?,
            Ok(_) => {}
            Err(Missed::Events(missed)) => tracing::warn!(missed, "events came faster than they could be written"),
            Err(_) => {}
        }
        Ok(())
    }

    fn signal(&self, peer: &str, event: &ClientEvent, json: bool) -> Result<(), Failure> {
        match event {
            ClientEvent::Status { scope } => {
                let cuid = self.client.peer(peer).map(|info| info.cuid).unwrap_or_default();
                let mid = scope.mid.unwrap_or_default();
                if !json {
                    tracing::info!("{}", shown::row(&shown::object(peer, &cuid, mid, scope)));
                    return Ok(());
                }
                let mut members = shown::members(scope);
                members.insert("peer".to_owned(), peer.into());
                let status = scope.status.map_or_else(String::new, |status| status.to_string());
                out::line(&shown::event(&cuid, mid, &status, members))
            }
            ClientEvent::Refused { mid, why } => {
                tracing::warn!(peer, mid, why = %ask::refused(why), "refused");
                Ok(())
            }
            ClientEvent::Waiting { mid, seconds } => {
                tracing::warn!(peer, mid, seconds, "not now; it is asked again");
                Ok(())
            }
            ClientEvent::Lapsed { mid } => {
                tracing::warn!(peer, mid, "its lifetime is over and no refresh was answered; it is asked for again");
                Ok(())
            }
            ClientEvent::ReportUnreadable { why } => {
                tracing::warn!(peer, %why, "its report of mitigations cannot be read");
                Ok(())
            }
            ClientEvent::SessionSilent => {
                tracing::warn!(peer, "heartbeats stay unanswered; the session is kept");
                Ok(())
            }
            ClientEvent::SessionRevived => {
                tracing::info!(peer, "it answers again");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Waits for ever when nothing is read.
async fn next(intake: &mut Option<(Tailer, bool)>) -> Option<Result<tail::Batch, tail::TailError>> {
    match intake {
        Some((tailer, _)) => tailer.next().await,
        None => std::future::pending().await,
    }
}

fn open(path: &std::path::Path, follow: bool) -> Result<Tailer, Failure> {
    let mut options = TailOptions::new(path);
    options.follow = follow;
    tail::spawn(options, None, 4).map_err(|error| Failure::usage(error.to_string()).at(path.display()))
}

fn count(client: &CallHomeClient, registry: &Registry) {
    let client = client.clone();
    registry.at_each_look(move |registry| {
        let gauge = |name, help, value: usize| registry.gauge(name, help, &[]).set(value as i64);
        gauge("watchfire_dots_sessions", "Sessions there are.", client.session_count());
        let refused = client.refused_connections();
        registry
            .counter("watchfire_dots_refused_total", "TLS connections for which there was no room.", &[])
            .set(refused);
        let wanted: usize = client.peers().iter().map(|peer| peer.mitigations).sum();
        gauge("watchfire_dots_requests", "Mitigations that are asked for.", wanted);
    });
}
