//! `iap proxy`

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use iap_proto::{Config, Party, Timeouts};
use iap_tokio::proxy::{Proxy, ProxyConfig, ProxyCounters};

use super::host;
use crate::cli::ProxyArgs;
use crate::exit::Failure;
use crate::metrics::{self, Registry};
use crate::service::Context;

/// How long open pipes may go on at the end: their sensors send again whatever is unanswered.
const GRACE: Duration = Duration::from_secs(2);

/// A running proxy, on all its addresses.
#[derive(Debug)]
pub struct ProxyService {
    proxies: Vec<Proxy>,
}

impl ProxyService {
    /// Opens the sockets and says where it listens.
    ///
    /// # Errors
    /// An address that cannot be listened at, or a name that is none.
    pub async fn start(args: &ProxyArgs, context: &Context) -> Result<Self, Failure> {
        let config = config(args)?;
        let listeners = metrics::bind_all(&args.listen).await?;
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let mut proxies = Vec::new();
        for listener in listeners {
            let proxy = Proxy::start(listener, config.clone());
            let proxy = proxy.map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
            context.announce("iap-proxy", proxy.local_addr())?;
            proxies.push(proxy);
        }
        context.serve_metrics(metrics)?;
        count(proxies.iter().map(|proxy| Arc::clone(proxy.counters())).collect(), &context.metrics);
        Ok(Self { proxies })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.proxies.iter().map(Proxy::local_addr).collect()
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// None; it has the form of every service.
    pub async fn run(self, context: Context) -> Result<(), Failure> {
        context.shutdown.cancelled().await;
        futures_util::future::join_all(self.proxies.into_iter().map(|proxy| proxy.shutdown(GRACE))).await;
        Ok(())
    }
}

fn config(args: &ProxyArgs) -> Result<ProxyConfig, Failure> {
    let mut config = ProxyConfig::new(host(&args.name)?, args.next_hop.to_string());
    config.allow_from.clone_from(&args.allow_from);
    config.allow_target = args.allow_target.iter().map(|name| host(name)).collect::<Result<_, _>>()?;
    config.max_connections = args.max_connections as usize;
    config.max_per_address = args.max_per_address as usize;
    config.idle = args.idle_timeout.0;
    let timeouts = Timeouts::default().with_setup(args.setup_timeout.0).with_next_hop(args.connect_timeout.0);
    let machine = Config::builder(Party::Manager).with_compat(args.compat.into()).with_timeouts(timeouts).build();
    config.iap = Arc::new(machine.map_err(|error| Failure::usage(error.to_string()))?);
    Ok(config)
}

fn count(all: Vec<Arc<ProxyCounters>>, registry: &Registry) {
    registry.at_each_look(move |registry| {
        let sum = |which: fn(&ProxyCounters) -> &std::sync::atomic::AtomicU64| {
            all.iter().map(|counters| which(counters).load(Relaxed)).sum::<u64>()
        };
        let total = |name, help, value| registry.counter(name, help, &[]).set(value);
        total("watchfire_proxy_connections_total", "Connections taken.", sum(|c| &c.accepted));
        total("watchfire_proxy_piped_total", "Connections that were passed on.", sum(|c| &c.piped));
        total("watchfire_proxy_refused_total", "Connections that were not.", sum(|c| &c.refused));
        total("watchfire_proxy_octets_forward_total", "Octets from initiators.", sum(|c| &c.octets_forward));
        total("watchfire_proxy_octets_back_total", "Octets to initiators.", sum(|c| &c.octets_back));
        let open = i64::try_from(sum(|c| &c.open)).unwrap_or(i64::MAX);
        registry.gauge("watchfire_proxy_pipes", "Pipes open now.", &[]).set(open);
    });
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::{ServiceArgs, load_or_fail};
    use crate::signals::Reload;
    use crate::testing::TempDir;

    #[tokio::test]
    async fn proxies_at_many_addresses_end_together() {
        let dir = TempDir::new("proxies");
        let listen = vec!["\"127.0.0.1:0\""; 20].join(", ");
        let table = format!("[iap.proxy]\nlisten = [{listen}]\nnext-hop = \"127.0.0.1:9\"\nname = \"p.test\"\n");
        std::fs::write(dir.path().join("c.toml"), table).unwrap();
        let mut config = load_or_fail(&dir.path().join("c.toml")).unwrap();
        let ServiceArgs::IapProxy(args) = config.services.remove(0).args else { panic!("not a proxy") };
        let shutdown = CancellationToken::new();
        let context = Context::new(false, shutdown.clone(), Reload::manual().1);
        let service = ProxyService::start(&args, &context).await.unwrap();
        // At each somebody of whom nothing comes.
        let mut idle = Vec::new();
        for address in service.local_addrs() {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        while service.proxies.iter().any(|proxy| proxy.counters().accepted.load(Relaxed) == 0) {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        shutdown.cancel();
        service.run(context).await.unwrap();
        assert!(began.elapsed() < GRACE * 2, "{:?}", began.elapsed());
    }
}
