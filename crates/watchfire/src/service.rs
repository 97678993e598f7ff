//! Services: what each is given, and how it starts.

use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServiceArgs;
use crate::console::Hub;
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
use crate::signals::Reload;

/// What still has a socket after its service has ended is waited for so long.
const LAST: Duration = Duration::from_secs(5);

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
    /// What serves on the side until shutdown: only when it has ended, too, all sockets are closed.
    pub aside: TaskTracker,
}

impl Context {
    /// With nothing counted yet.
    pub fn new(json: bool, shutdown: CancellationToken, reload: Reload) -> Self {
        let (metrics, health, hub, aside) = Default::default();
        Self { json, shutdown, reload, metrics, health, hub, aside }
    }

    /// For something that may end before the others: its shutdown is its own, and what it says and lets be looked at is
    /// forgotten with the returned guard. It ends with this one.
    pub(crate) fn part(&self) -> Part {
        Part(Self {
            shutdown: self.shutdown.child_token(),
            metrics: self.metrics.service(),
            health: self.health.service(self.health.label()),
            aside: TaskTracker::new(),
            ..self.clone()
        })
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

    /// Serves metrics until shutdown, if there is a socket for them, and says where.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn serve_metrics(&self, listener: Option<TcpListener>) -> Result<(), Failure> {
        let Some(listener) = listener else { return Ok(()) };
        let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at("--metrics"))?;
        self.announce("metrics", bound)?;
        let site = metrics::MetricsSite(self.metrics.clone(), self.health.clone());
        self.aside.spawn(metrics::serve(listener, std::sync::Arc::new(site), self.shutdown.clone()));
        Ok(())
    }
}

/// The context of something that may end before the others.
#[derive(Debug)]
pub(crate) struct Part(pub(crate) Context);

impl Part {
    /// Ends it, and waits a while for what serves on the side to let go of its sockets.
    pub(crate) async fn end(self) {
        self.0.shutdown.cancel();
        self.0.aside.close();
        if tokio::time::timeout(LAST, self.0.aside.wait()).await.is_err() {
            tracing::warn!("{}: its metrics or its console are not closed after {LAST:?}", self.0.health.label());
        }
    }
}

impl Drop for Part {
    /// Also when its task is given up.
    fn drop(&mut self) {
        self.0.shutdown.cancel();
        self.0.metrics.forget();
        self.0.health.forget();
        self.0.hub.forget_ended();
    }
}

/// A service that has started: it runs until it ends by itself, or until the shutdown of its context and it has drained.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Starts a service.
///
/// A start opens all sockets and waits for whatever it waits for before anything begins to work; from then on it does not
/// wait. So a start that fails, or that is given up, leaves nothing behind: what had begun ends when it is dropped.
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn start(args: &ServiceArgs, context: &Context) -> Result<Running, Failure> {
    macro_rules! start {
        ($service:ty, $args:expr) => {{
            let service = <$service>::start($args, context).await?;
            Ok(Box::pin(service.run(context.clone())))
        }};
    }
    match args {
        ServiceArgs::IapManager(args) => start!(ManagerService, args),
        ServiceArgs::IapSensor(args) => start!(SensorService, args),
        ServiceArgs::IapProxy(args) => start!(ProxyService, args),
        ServiceArgs::ObpBroker(args) => start!(BrokerService, args),
        ServiceArgs::ObpDns(args) => start!(DnsService, args),
        ServiceArgs::ReputeServe(args) => start!(ServeService, args),
        ServiceArgs::ReputeDnsbl(args) => start!(DnsblService, args),
        ServiceArgs::LurkIdo(args) => start!(IdoService, args),
        ServiceArgs::LurkNdc(args) => start!(NdcService, args),
        ServiceArgs::LurkRelay(args) => start!(RelayService, args),
        ServiceArgs::LurkCa(args) => start!(CaService, args),
        ServiceArgs::DotsClient(args) => start!(dots::client::ClientService, args),
        ServiceArgs::DotsServer(args) => start!(dots::server::ServerService, args),
    }
}

#[cfg(test)]
mod tests;
