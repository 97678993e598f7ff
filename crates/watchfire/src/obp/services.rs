//! SRV records of the broker itself, from the same resolvers that a broker asks.

use std::pin::Pin;
use std::time::Duration;

use obp_broker::DomainName;
use obp_broker::sources::{DnsConfig, DnsSource, Outcome, Query, RecordKind, Records, Source as _, Validation};
use obp_hyper::client::{ServiceRecord, Services};

use crate::cli::Resolver;
use crate::exit::Failure;

/// How long the records are waited for; then the host itself is tried.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks up SRV records. Nothing rests on their truth, as the certificate must be for the name that the user gave.
#[derive(Debug)]
pub struct Lookup(DnsSource);

impl Lookup {
    /// Asks this resolver.
    ///
    /// # Errors
    /// When the system's resolvers are wanted and cannot be told.
    pub fn new(resolver: Resolver) -> Result<Self, Failure> {
        let mut config = configured(resolver)?.with_validation(Validation::Off);
        config.deadline = PATIENCE;
        config.attempt = PATIENCE / 2;
        let source = DnsSource::new(&config).map_err(|error| Failure::usage(error.to_string()).at("--resolver"))?;
        Ok(Self(source))
    }
}

/// Where to ask.
///
/// # Errors
/// When the system's resolvers are wanted and cannot be told.
pub fn configured(resolver: Resolver) -> Result<DnsConfig, Failure> {
    match resolver {
        Resolver::System => DnsConfig::system().map_err(|error| Failure::usage(error.to_string()).at("--resolver")),
        Resolver::Server(address) => Ok(DnsConfig::new(vec![address])),
    }
}

impl Services for Lookup {
    fn srv<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Option<Vec<ServiceRecord>>> + Send + 'a>> {
        Box::pin(async move {
            let query = Query::new(DomainName::parse(name).ok()?, RecordKind::Srv, false);
            let found = self.0.lookup(&query).await;
            let Outcome::Found(Records::Srv(records)) =
                found.inspect_err(|error| tracing::debug!(name, %error, "no SRV records")).ok()?.outcome
            else {
                return None;
            };
            let record = |one: &obp_broker::sources::Srv| ServiceRecord {
                priority: one.priority,
                weight: one.weight,
                port: one.port,
                target: one.target.to_string(),
            };
            Some(records.iter().map(record).collect())
        })
    }
}
