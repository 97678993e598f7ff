//! `iap manager`

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use iap_proto::{Config, Dialect, Limits, Party, Timeouts};
use iap_tokio::Endpoint;
use iap_tokio::manager::{Manager, ManagerLimits};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::keep::Keeper;
use super::{host, tls};
use crate::cli::{Compat, ConsoleArgs, ManagerArgs, OutputSync};
use crate::console;
use crate::exit::Failure;
use crate::metrics::{self, Registry};
use crate::output::{NatsOutput, OutputOptions, Outputs};
use crate::service::Context;
use crate::store::{self, Access, AlertStore, Retention};
use crate::values::OutputSpec;

/// How long alerts that were read may take to be answered at the end.
const GRACE: Duration = Duration::from_secs(10);

/// How often old alerts are dropped, when they are.
const PRUNE: Duration = Duration::from_secs(60);

/// A running manager, with its store and outputs.
#[derive(Debug)]
pub struct ManagerService {
    manager: Manager,
    outputs: Outputs,
    console: Option<SocketAddr>,
    /// Ends what goes on beside the manager.
    _stop: DropGuard,
}

impl ManagerService {
    /// Opens store, outputs and sockets, and says where it listens.
    ///
    /// # Errors
    /// Whatever cannot be opened.
    pub async fn start(args: &ManagerArgs, context: &Context) -> Result<Self, Failure> {
        let tls = tls::load(&args.tls, &args.allow)?;
        let store = match &args.store.store {
            Some(url) => Some(store::open(url, args.store.store_password_file.as_deref(), Access::Write).await?),
            None => None,
        };
        let mut sinks = args.output.clone();
        if store.is_none() && sinks.is_empty() {
            // Alerts that are acknowledged must go somewhere.
            sinks.push(OutputSpec::Stdout);
        }
        let sync = match args.output_sync {
            OutputSync::Always => true,
            OutputSync::Never => false,
            OutputSync::Auto => store.is_none(),
        };
        let mut outputs = Outputs::open(&sinks, OutputOptions { sync, keep_failed: store.is_some() })?;
        for sink in &sinks {
            if let OutputSpec::Nats(url) = sink {
                outputs = outputs.with_stream(NatsOutput::connect(url, args.nats.options(), &context.metrics).await?);
            }
        }
        let only_idmef = store.is_none() && sinks.iter().all(|sink| matches!(sink, OutputSpec::Xml(_)));
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let console = match args.console.clone() {
            Some(address) => {
                let mut console = ConsoleArgs::at(address);
                console.token_file.clone_from(&args.console_token_file);
                // Nothing is missed until the page is served.
                context.hub.turn_on(&console.hub_limits());
                Some(console::Ready::new(&console).await?)
            }
            None => None,
        };
        let keeper = Keeper::new(store.clone(), outputs.clone(), only_idmef, context);

        let mut builder = Manager::builder(tls.clone(), keeper).with_config(config(args)?).with_limits(limits(args));
        for listener in metrics::bind_all(&args.listen).await? {
            builder = builder.listen(listener);
        }
        for address in &args.dial {
            builder = builder.dial(Endpoint::new(address.to_string(), host(address.host())?));
        }
        let manager = builder.start().map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
        for address in manager.local_addrs() {
            context.announce("iap-manager", *address)?;
        }
        context.serve_metrics(metrics)?;
        count(&manager, &context.metrics);
        context.hub.has_manager(&context.shutdown, manager.overview());
        if let Some(store) = &store {
            context.hub.has_store(&context.shutdown, Arc::clone(store));
        }
        let stop = CancellationToken::new();
        let stop_at_end = stop.clone().drop_guard();
        tls::keep_fresh(tls, context, stop.clone());
        if let Some(store) = &store {
            keep_pruning(args, store, &stop);
        }
        let console = console.map(|console| console.serve(context)).transpose()?;
        Ok(Self { manager, outputs, console, _stop: stop_at_end })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.manager.local_addrs()
    }

    /// Where its console is.
    pub fn console(&self) -> Option<SocketAddr> {
        self.console
    }

    /// Serves until `context.shutdown`, then answers what it has.
    ///
    /// # Errors
    /// None; it has the form of every service.
    pub async fn run(self, mut context: Context) -> Result<(), Failure> {
        let reopening = async {
            loop {
                context.reload.requested().await;
                self.outputs.reopen().await;
            }
        };
        // Files that cannot be written to for a while are not waited for.
        context.shutdown.run_until_cancelled(reopening).await;
        self.manager.shutdown(GRACE).await;
        Ok(())
    }
}

fn config(args: &ManagerArgs) -> Result<Config, Failure> {
    let served = args.served_name.iter().map(|name| host(name)).collect::<Result<Vec<_>, _>>()?;
    // The later drafts share the port, unless only the strict grammar of 0.3 is wanted.
    let later = (args.compat != Compat::Strict).then_some([Dialect::V0_4, Dialect::V0_5]);
    let timeouts = Timeouts::default()
        .with_setup(args.setup_timeout.0)
        .with_tls_handshake(args.tls.tls_timeout.0)
        .with_idle(args.idle_timeout.0);
    Config::builder(Party::Manager)
        .with_dialects([Dialect::V0_3].into_iter().chain(later.into_iter().flatten()).collect())
        .with_compat(args.compat.into())
        .with_served_names(served)
        .with_limits(Limits::default().with_body(args.body_limit.0))
        .with_timeouts(timeouts)
        .build()
        .map_err(|error| Failure::usage(error.to_string()))
}

fn limits(args: &ManagerArgs) -> ManagerLimits {
    let mut limits = ManagerLimits::default();
    limits.max_connections = args.max_connections as usize;
    limits.max_per_address = args.max_per_address as usize;
    limits.max_per_peer = args.max_per_peer as usize;
    limits.allow_from.clone_from(&args.allow_from);
    limits
}

fn keep_pruning(args: &ManagerArgs, store: &Arc<dyn AlertStore>, stop: &CancellationToken) {
    let (days, octets) = (args.retain_days, args.retain_bytes.map(|octets| octets.0));
    if days.is_none() && octets.is_none() {
        return;
    }
    let (store, stop) = (Arc::clone(store), stop.clone());
    tokio::spawn(async move {
        loop {
            let day = jiff::SignedDuration::from_hours(24);
            let before = days.and_then(|days| {
                let age = day.checked_mul(i32::try_from(days).ok()?)?;
                jiff::Timestamp::now().checked_sub(age).ok().map(jiff::Timestamp::as_microsecond)
            });
            let pruned = tokio::select! {
                pruned = store.prune(Retention { before, octets }) => pruned,
                () = stop.cancelled() => return,
            };
            match pruned {
                Ok(0) => {}
                Ok(dropped) => tracing::info!(dropped, "old alerts were dropped, as the flags say"),
                Err(error) => tracing::warn!(%error, "old alerts could not be dropped"),
            }
            tokio::select! {
                () = tokio::time::sleep(PRUNE) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}

/// Shows the manager's own counters among the metrics.
fn count(manager: &Manager, registry: &Registry) {
    let (counters, overview) = (Arc::clone(manager.counters()), manager.overview());
    registry.at_each_look(move |registry| {
        let total = |name, help, value: &std::sync::atomic::AtomicU64| {
            registry.counter(name, help, &[]).set(value.load(Relaxed));
        };
        total("watchfire_iap_connections_total", "TCP connections taken.", &counters.connections);
        total("watchfire_iap_channels_total", "Channels opened.", &counters.channels);
        total("watchfire_iap_channels_resumed_total", "Channels whose TLS session was resumed.", &counters.resumed);
        total("watchfire_iap_alerts_received_total", "Alerts received whole.", &counters.received);
        total("watchfire_iap_alerts_accepted_total", "Alerts answered with success.", &counters.accepted);
        total("watchfire_iap_alerts_repeated_total", "Alerts received again.", &counters.duplicates);
        total("watchfire_iap_octets_received_total", "Octets received inside TLS.", &counters.octets);
        for (reason, times) in counters.refused() {
            let help = "Connections and alerts refused, by reason.";
            registry.counter("watchfire_iap_refused_total", help, &[("reason", reason)]).set(times);
        }
        let open = i64::try_from(overview().len()).unwrap_or(i64::MAX);
        registry.gauge("watchfire_iap_channels", "Channels open now.", &[]).set(open);
    });
}
