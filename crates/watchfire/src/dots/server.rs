//! `dots call-home-server`: the network where attacks come from. It calls, and does what is asked.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dots_callhome::{MitigationRequest, Profile, Transport};
use dots_tokio::CallHomeServer;
use dots_tokio::client::Missed;
use dots_tokio::server::{ActiveMitigation, CallHomeServerEvent, ServerEvents, ServerLimits, Upstream};
use serde_json::Value;

use super::api::{Door, Guard, NetworkApi, Served};
use super::discover::Located;
use super::enforce::{self, Desk};
use super::policy::DomainPolicy;
use super::security::Credentials;
use super::shown;
use super::state::{Kept, State};
use crate::cli::{CallHomeServerArgs, Carrier, ConnectTo};
use crate::exit::Failure;
use crate::metrics::{self, Health, Registry};
use crate::out;
use crate::service::Context;

/// How long goodbyes may take.
const GRACE: Duration = Duration::from_secs(5);

/// A running Call Home server.
#[derive(Debug)]
pub struct ServerService {
    server: CallHomeServer,
    events: ServerEvents,
    api: Option<Served>,
    /// Whether filters stay when this ends.
    keep: bool,
    counts: Counts,
}

#[derive(Debug, Clone)]
struct Counts {
    registry: Registry,
    health: Health,
}

impl Counts {
    fn add(&self, name: &'static str, help: &'static str) {
        self.registry.counter(name, help, &[]).increment();
    }
}

impl ServerService {
    /// Reads all files, puts what was in force before in force again, and begins to call.
    ///
    /// # Errors
    /// What is wrong with the flags, a file, or the back end.
    pub async fn start(args: &CallHomeServerArgs, context: &Context) -> Result<Self, Failure> {
        let credentials = Credentials::new(&args.tls, &[]);
        let security = credentials.load()?;
        if args.domain.is_empty() {
            tracing::warn!("any source may be asked for, whether it is here or not: name what is here by --domain");
        }
        let (state, kept) = match &args.state {
            Some(dir) => State::open(dir).map(|(state, kept)| (Some(state), kept))?,
            None => (None, Vec::new()),
        };
        let policy = DomainPolicy {
            domain: args.domain.clone(),
            exempt: args.exempt.clone(),
            max_lifetime: args.max_lifetime.0,
            consent: args.consent,
        };
        let (valid, over) = sort_out(kept, &policy);
        let enforcer = enforce::build(args, context.json).await?;
        let names = valid.iter().map(|(kept, ..)| (kept.peer.clone(), kept.cuid.clone(), kept.mid));
        enforcer.tidy(&names.collect::<BTreeSet<_>>()).await?;
        if let Some(state) = &state {
            for gone in over {
                let forgotten = state.forget(&gone.peer, &gone.cuid, gone.mid).await;
                forgotten.map_err(|error| Failure::usage(format!("cannot be written: {error}")).at("--state"))?;
            }
        }

        // Listens before anything waits for the outside.
        let bound = match &args.api {
            Some(address) => {
                let guard = Guard::new(address, args.api_token_file.as_deref()).await?;
                let listener = metrics::bind(address).await?;
                let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at("--api"))?;
                context.announce("dots-api", bound)?;
                Some((listener, bound, Door { guard, requests: args.api_requests as usize }))
            }
            None => None,
        };
        context.serve_metrics(metrics::bind_optional(args.metrics.as_ref()).await?)?;
        let room = args.max_mitigations as usize;
        let keep = state.is_some();
        let desk = Desk::new(enforcer.into_mitigator(), state, room, &context.metrics, &context.health);
        let mut limits = ServerLimits::default();
        limits.back_end = args.enforce_timeout.0;
        limits.report_every = args.report_every.0.max(Duration::from_millis(100));
        let mut builder = CallHomeServer::builder(security, policy, desk).with_limits(limits).with_machine(|machine| {
            let (rules, limits) = (machine.so_far().rules, machine.so_far().limits);
            let (terminating, twice) = (args.terminating.0, room.saturating_mul(2));
            let terminating_max = rules.terminating_max.max(terminating);
            machine
                .with_profile(Profile::Rfc9066)
                .with_rules(rules.with_terminating(terminating).with_terminating_max(terminating_max))
                .with_limits(limits.with_all_mitigations(twice).with_mitigations(limits.mitigations.min(twice)))
                .with_notify_every(args.report_every.0.clamp(Duration::from_secs(1), Duration::from_secs(60)))
        });
        for upstream in upstreams(args, context).await? {
            builder = builder.call(upstream);
        }
        let server = builder.start().map_err(|error| Failure::usage(error.to_string()).at("cannot start"))?;
        let events = server.events();
        let handle = server.clone();
        credentials.keep_fresh(context, move |fresh| handle.set_security(&fresh));
        for (kept, request, lifetime) in valid {
            match server.restore(&kept.peer, &kept.cuid, kept.mid, request, lifetime) {
                Some(_) => tracing::info!(peer = kept.peer, mid = kept.mid, "in force again after a restart"),
                None => tracing::warn!(peer = kept.peer, mid = kept.mid, "not in force again: another takes its place"),
            }
        }
        let counts = Counts { registry: context.metrics.clone(), health: context.health.clone() };
        for upstream in server.upstreams() {
            counts.health.set(part(&upstream.name), Err("no session yet".to_owned()));
        }
        count(&server, &context.metrics, &context.health);
        super::console::show_server(context, &server);
        let places: Vec<String> = server.upstreams().into_iter().map(|upstream| upstream.name).collect();
        context.hub.runs(&context.shutdown, "dots-call-home-server", format!("calls {}", places.join(", ")));
        let api = bound.map(|(listener, address, door)| {
            door.open(Arc::new(NetworkApi { server: server.clone() }), listener, address)
        });
        Ok(Self { server, events, api, keep, counts })
    }

    /// The handle of what runs.
    pub fn handle(&self) -> &CallHomeServer {
        &self.server
    }

    /// Where its interface is.
    pub fn api(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|api| api.address)
    }

    /// Mitigates until `context.shutdown`. With `--state` filters stay then, and the next run goes on with them.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub async fn run(mut self, context: Context) -> Result<(), Failure> {
        let outcome = loop {
            let event = tokio::select! {
                () = context.shutdown.cancelled() => break Ok(()),
                event = self.events.next() => event,
            };
            let said = match event {
                Ok(event) => {
                    super::console::server_heard(&context.hub, &self.server, &event);
                    self.heard(event, context.json)
                }
                Err(Missed::Events(missed)) => {
                    tracing::warn!(missed, "events came faster than they could be written; this is how all stands");
                    self.server.mitigations().iter().try_for_each(|one| say(one, context.json))
                }
                Err(_) => Ok(()),
            };
            if said.is_err() {
                break said;
            }
        };
        if let Some(api) = self.api.take() {
            api.close().await;
        }
        self.server.shutdown(GRACE, !self.keep).await;
        // What the end changed.
        while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, self.events.next()).await {
            self.heard(event, context.json)?;
        }
        outcome
    }

    fn heard(&self, event: CallHomeServerEvent, json: bool) -> Result<(), Failure> {
        match event {
            CallHomeServerEvent::Up { name, address, transport, resumed, .. } => {
                tracing::info!(peer = name, %address, ?transport, resumed, "session");
                self.counts.add("watchfire_dots_sessions_total", "Sessions that came about.");
                self.counts.health.set(part(&name), Ok(()));
            }
            CallHomeServerEvent::Down { name, why } => {
                match &why {
                    None => tracing::info!(peer = name, "session ended; what is in force stays so"),
                    Some(why) => tracing::warn!(peer = name, %why, "session ended; what is in force stays so"),
                }
                let why = why.map_or_else(|| "closed".to_owned(), |why| why.to_string());
                self.counts.health.set(part(&name), Err(format!("no session: {why}")));
            }
            CallHomeServerEvent::AttemptFailed { name, to, transport, error } => {
                tracing::warn!(peer = name, %to, ?transport, %error, "no session");
                self.counts.add("watchfire_dots_attempts_failed_total", "Attempts to get a session that failed.");
                self.counts.health.set(part(&name), Err(format!("no session: {error}")));
            }
            CallHomeServerEvent::Unreachable { name, again_in } => {
                tracing::warn!(peer = name, again_in_s = again_in.as_secs(), "cannot be reached");
            }
            CallHomeServerEvent::Redirected { to, followed } => {
                tracing::warn!(to = to.alt_ch_client, ?followed, "the operator sends us elsewhere");
            }
            CallHomeServerEvent::Mitigation { id, cuid, mid, status } => {
                match self.server.mitigations().into_iter().find(|one| one.id == id) {
                    Some(mut one) => {
                        // As it was when this was said.
                        (one.status, one.report.status) = (status, Some(status));
                        say(&one, json)?;
                    }
                    None if json => out::line(&shown::event(&cuid, mid, &status.to_string(), Default::default()))?,
                    None => tracing::info!(cuid, mid, %status, "mitigation"),
                }
            }
            CallHomeServerEvent::ConsentNeeded { id } => {
                if let Some(one) = self.server.mitigations().into_iter().find(|one| one.id == id) {
                    let shown = shown::active(&one);
                    tracing::warn!(id = id.get(), "an administrator must agree: {}", shown::row(&shown));
                    if json {
                        out::line(&shown::consent(shown).to_string())?;
                    }
                }
            }
            // The log has it already.
            CallHomeServerEvent::BackEndFailed { .. } => {}
            _ => {}
        }
        Ok(())
    }
}

fn part(peer: &str) -> String {
    format!("dots session with {peer}")
}

/// One line about a mitigation.
fn say(one: &ActiveMitigation, json: bool) -> Result<(), Failure> {
    if !json {
        let object = shown::object(&one.peer, &one.cuid, one.mid, &one.report);
        tracing::info!("{}", shown::row(&object));
        return Ok(());
    }
    let mut members = shown::members(&one.report);
    members.insert("peer".to_owned(), Value::from(one.peer.as_str()));
    out::line(&shown::event(&one.cuid, one.mid, &one.status.to_string(), members))
}

type Valid = (Kept, MitigationRequest, dots_callhome::body::Lifetime);

/// What of a former run is to go on, and what is over or not ours any more.
fn sort_out(kept: Vec<Kept>, policy: &DomainPolicy) -> (Vec<Valid>, Vec<Kept>) {
    use dots_callhome::ServerPolicy as _;
    let now = jiff::Timestamp::now().as_second();
    let (mut valid, mut over) = (Vec::new(), Vec::new());
    for one in kept {
        let request = MitigationRequest::check(one.scope.clone(), Profile::Rfc9066, false);
        match (request, one.lifetime(now)) {
            (Ok(request), Some(lifetime))
                if request.sources().iter().all(|source| policy.owns_source(source))
                    && policy.authorize(&one.peer, &request).is_ok() =>
            {
                valid.push((one, request, lifetime));
            }
            (Ok(_), Some(_)) => {
                tracing::warn!(peer = one.peer, mid = one.mid, "not in force again: its sources are not ours now");
                over.push(one);
            }
            (Err(error), _) => {
                tracing::warn!(peer = one.peer, mid = one.mid, %error, "not in force again");
                over.push(one);
            }
            (Ok(_), None) => over.push(one),
        }
    }
    (valid, over)
}

/// Whom to call.
async fn upstreams(args: &CallHomeServerArgs, context: &Context) -> Result<Vec<Upstream>, Failure> {
    let discovered = args.discover.iter().cloned().map(ConnectTo::Discover);
    let places: Vec<ConnectTo> = args.connect.iter().cloned().chain(discovered).collect();
    if places.len() != args.peer_name.len() {
        let what = format!("{} places to call, and {} names", places.len(), args.peer_name.len());
        return Err(Failure::usage(what).at("--peer-name").remedy("give a --peer-name for each --connect"));
    }
    let mut upstreams = Vec::new();
    for (place, name) in places.into_iter().zip(&args.peer_name) {
        let name = name.to_ascii_lowercase();
        let upstream = match place {
            ConnectTo::Address(carrier, address) => {
                if address.port() == Profile::Base.default_port() {
                    tracing::warn!(%address, "this is the port of base DOTS; Call Home should have its own");
                }
                let upstream = Upstream::new(&name, address.port()).found_at([address.host()]);
                match carrier {
                    None => upstream,
                    Some(Carrier::Tls) => upstream.over(Transport::Stream),
                    Some(Carrier::Dtls) => upstream.over(Transport::Datagram),
                }
            }
            ConnectTo::Discover(domain) => {
                let located = Located::new(&domain, args.resolver, context).await?;
                Upstream::new(&name, Profile::Rfc9066.default_port()).discovered_by(located)
            }
        };
        let floor = args.reconnect_min.0.max(Duration::from_millis(100));
        upstreams.push(upstream.with_dialer(|dialer| {
            // Five to one, as by default.
            dialer.with_retry_min(floor).with_retry_max(floor.saturating_mul(5))
        }));
    }
    Ok(upstreams)
}

fn count(server: &CallHomeServer, registry: &Registry, health: &Health) {
    // Weakly would be better still, but metrics end with the process.
    let (server, health) = (server.clone(), health.clone());
    registry.at_each_look(move |registry| {
        let upstreams = server.upstreams();
        // Some events may have been missed.
        for upstream in upstreams.iter().filter(|upstream| upstream.session.is_some()) {
            health.set(part(&upstream.name), Ok(()));
        }
        let sessions = upstreams.iter().filter(|upstream| upstream.session.is_some()).count();
        registry.gauge("watchfire_dots_sessions", "Sessions there are.", &[]).set(sessions as i64);
        let help = "Mitigations by how they stand.";
        let mitigations = server.mitigations();
        for code in 1..=8 {
            let status = dots_callhome::body::Status::from_code(code);
            let count = mitigations.iter().filter(|one| one.status == status).count();
            let gauge = registry.gauge("watchfire_dots_mitigations", help, &[("status", &status.to_string())]);
            gauge.set(count as i64);
        }
    });
}
