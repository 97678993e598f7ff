//! Running services: what each is given, and how several share a process.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::ConsoleArgs;
use crate::config::{Service, ServiceArgs};
use crate::console::{self, Hub};
use crate::dots;
use crate::exit::Failure;
use crate::iap::manager::ManagerService;
use crate::iap::proxy::ProxyService;
use crate::iap::sensor::SensorService;
use crate::listening;
use crate::lurk::ca::CaService;
use crate::lurk::ido::IdoService;
use crate::lurk::ndc::NdcService;
use crate::lurk::relay::RelayService;
use crate::metrics::{self, Health, Registry};
use crate::obp::broker::BrokerService;
use crate::obp::stub::DnsService;
use crate::repute::dnsbl::DnsblService;
use crate::repute::serve::ServeService;
use crate::signals::{self, Reload};
use crate::values::HostPort;

/// What every service of a process shares. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Context {
    /// Whether standard output is for JSON lines.
    pub json: bool,
    /// Cancelled when the service should drain and end.
    pub shutdown: CancellationToken,
    /// Tells when to open certificates, lists and output files anew.
    pub reload: Reload,
    /// Where to count.
    pub metrics: Registry,
    /// Where to say whether all is well.
    pub health: Health,
    /// Where to say what happens, for the console.
    pub hub: Hub,
}

impl Context {
    /// With nothing counted yet.
    pub fn new(json: bool, shutdown: CancellationToken, reload: Reload) -> Self {
        let (metrics, health, hub) = Default::default();
        Self { json, shutdown, reload, metrics, health, hub }
    }

    /// Says that a service listens; see [`listening::announce`].
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn announce(&self, service: &str, addr: std::net::SocketAddr) -> Result<(), Failure> {
        self.announce_with(service, addr, &serde_json::Value::Null)
    }

    /// As [`announce`](Self::announce), with more members: an object.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn announce_with(
        &self,
        service: &str,
        addr: std::net::SocketAddr,
        more: &serde_json::Value,
    ) -> Result<(), Failure> {
        self.hub.runs(&self.shutdown, service, addr.to_string());
        listening::announce(self.json, service, addr, more)
    }

    /// Serves metrics at `addr` until shutdown, and says where.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn serve_metrics(&self, addr: &HostPort) -> Result<(), Failure> {
        let listener = metrics::bind(addr).await?;
        let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at(addr))?;
        self.announce("metrics", bound)?;
        let site = metrics::MetricsSite(self.metrics.clone(), self.health.clone());
        tokio::spawn(metrics::serve(listener, std::sync::Arc::new(site), self.shutdown.clone()));
        Ok(())
    }
}

/// Runs services until they end by themselves, one fails, or a signal comes; the others drain then.
///
/// # Errors
/// The first failure.
pub async fn run(
    services: Vec<Service>,
    metrics: Option<&HostPort>,
    console: Option<&ConsoleArgs>,
    json: bool,
) -> Result<(), Failure> {
    let (shutdown, reload) = signals::install()?;
    let context = Context::new(json, shutdown.clone(), reload);
    for service in &services {
        context.health.set(service.part(), Err("is starting".to_owned()));
    }
    metrics::process::watch(&context.metrics);
    if let Some(addr) = metrics {
        context.serve_metrics(addr).await?;
    }
    if let Some(args) = console {
        // Before the services, so that nothing of them is missed.
        console::start(args, &context).await?;
    }
    let mut tasks = JoinSet::new();
    for service in services {
        let context = context.clone();
        tasks.spawn(async move {
            let failed =
                |failure: Failure| if service.place.is_empty() { failure } else { failure.within(&service.place) };
            let part = service.part();
            serve(service.args, part, context).await.map_err(failed)
        });
    }
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(Failure::misbehaved(format!("a service broke down: {error}"))));
        if let Err(failure) = ended {
            shutdown.cancel();
            match &outcome {
                Ok(()) => outcome = Err(failure),
                Err(_) => tracing::error!("{failure}"),
            }
        }
    }
    // The metrics' task watches this too.
    shutdown.cancel();
    outcome
}

/// Runs one service until it ends by itself or `context.shutdown` is cancelled and it has drained. `part` is what
/// readiness calls it.
async fn serve(args: ServiceArgs, part: String, context: Context) -> Result<(), Failure> {
    /// Ready is who has started; what a service says of its parts comes on top of that.
    macro_rules! serve {
        ($service:ty, $args:expr) => {{
            let service = tokio::select! {
                // First: who is told to end while it starts ends well, whatever its start makes of that.
                biased;
                () = context.shutdown.cancelled() => return Ok(()),
                started = <$service>::start(&$args, &context) => started?,
            };
            context.health.set(part, Ok(()));
            service.run(context).await
        }};
    }
    match args {
        ServiceArgs::IapManager(args) => serve!(ManagerService, args),
        ServiceArgs::IapSensor(args) => serve!(SensorService, args),
        ServiceArgs::IapProxy(args) => serve!(ProxyService, args),
        ServiceArgs::ObpBroker(args) => serve!(BrokerService, args),
        ServiceArgs::ObpDns(args) => serve!(DnsService, args),
        ServiceArgs::ReputeServe(args) => serve!(ServeService, args),
        ServiceArgs::ReputeDnsbl(args) => serve!(DnsblService, args),
        ServiceArgs::LurkIdo(args) => serve!(IdoService, args),
        ServiceArgs::LurkNdc(args) => serve!(NdcService, args),
        ServiceArgs::LurkRelay(args) => serve!(RelayService, args),
        ServiceArgs::LurkCa(args) => serve!(CaService, args),
        ServiceArgs::DotsClient(args) => serve!(dots::client::ClientService, args),
        ServiceArgs::DotsServer(args) => serve!(dots::server::ServerService, args),
    }
}
