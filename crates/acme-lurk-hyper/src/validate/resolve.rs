//! Addresses and TXT records of names, by hickory, never from a cache.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::RData;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// Why a name could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolverError(pub(super) String);

/// Asks the DNS.
pub struct Resolver(TokioResolver);

impl Resolver {
    /// The servers of the system (`/etc/resolv.conf`), and its file of hosts.
    ///
    /// # Errors
    /// When the configuration of the system cannot be read.
    pub fn system() -> Result<Self, ResolverError> {
        let builder = TokioResolver::builder_tokio().map_err(|error| ResolverError(error.to_string()))?;
        Self::build(builder)
    }

    /// This server alone.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn server(address: SocketAddr) -> Result<Self, ResolverError> {
        let with_port = |mut connection: ConnectionConfig| {
            connection.port = address.port();
            connection
        };
        let ways = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
        let server = NameServerConfig::new(address.ip(), true, ways);
        let config = ResolverConfig::from_name_servers(vec![server]);
        Self::build(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    fn build(mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>) -> Result<Self, ResolverError> {
        let options = builder.options_mut();
        // A record that was not there a moment ago is the very thing that is waited for.
        options.cache_size = 0;
        options.timeout = Duration::from_secs(3);
        options.attempts = 1;
        builder.build().map(Self).map_err(|error| ResolverError(error.to_string()))
    }

    /// The addresses of a name: of names below `.localhost` the loopback.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolverError> {
        if is_loopback(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let found = self.0.lookup_ip(format!("{name}.")).await.map_err(|error| failed(name, &error))?;
        Ok(found.iter().collect())
    }

    /// The TXT records at a name, each in one piece.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, ResolverError> {
        let found = self.0.txt_lookup(format!("{name}.")).await.map_err(|error| failed(name, &error))?;
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        Ok(texts.collect())
    }
}

/// Whether a name means the loopback, whatever the DNS says.
pub(super) fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn failed(name: &str, error: &dyn fmt::Display) -> ResolverError {
    ResolverError(format!("{name}: {error}"))
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}
