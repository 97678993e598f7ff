//! Clients of ACME servers: how they are made, and what their errors mean here.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use acme_lurk::acme::client::{ClientConfig, ClientError, ClientLimits, ExchangeFailure};
use acme_lurk::crypto::Signer;
use acme_lurk::url::{Host, HttpUrl, Reach, UrlRules, is_public};
use acme_lurk_hyper::client::{Client, ClientBuilder, Pool, PoolLimits};
use tokio::net::TcpStream;
use watchfire_core::Duration;

use crate::exit::Failure;
use crate::https;

/// Connections that trust the authorities of a file, or those of the system.
///
/// # Errors
/// When there are none.
pub fn pool(ca: Option<&Path>) -> Result<Pool, Failure> {
    let tls = https::client_config(https::roots(ca)?)?;
    Ok(Pool::new(&tls, PoolLimits::default()))
}

/// For how long a command that somebody waits for tries to reach who refuses every connection.
const REFUSED: Duration = Duration::from_secs(5);

/// Ready when connections to the host of this URL have been refused for a while, and none was ever made; never otherwise. It
/// may come up later, but whoever has typed a command need not wait until the end of its time to hear of it.
pub async fn refused(pool: &Pool, url: &str) -> Failure {
    tokio::time::sleep(REFUSED).await;
    let counters = pool.counters();
    let (connections, failures) = (counters.connections.load(Relaxed), counters.failures.load(Relaxed));
    if let Some(url) = HttpUrl::parse(url)
        && connections == 0
        && failures > 0
    {
        let there = match url.host() {
            Host::Address(address) => TcpStream::connect((*address, url.port())).await,
            Host::Name(name) => TcpStream::connect((name.as_str(), url.port())).await,
        };
        if let Err(error) = there
            && error.kind() == ErrorKind::ConnectionRefused
        {
            let failure = Failure::unreachable(format!("nobody is there: {error}"));
            return failure.remedy("check the URL, and whether the server runs");
        }
    }
    // What else is wrong is said by who asks.
    std::future::pending().await
}

/// The rules for URLs of a server: who asks a server inside may be led to another one inside; who asks a public one may
/// not.
///
/// # Errors
/// When the URL is none of https.
pub fn rules(directory: &str, flag: &str) -> Result<UrlRules, Failure> {
    let url = HttpUrl::parse(directory).filter(HttpUrl::is_https).ok_or_else(|| {
        let failure = Failure::usage(format!("`{directory}` is no URL of https")).at(flag);
        failure.remedy("write the URL of a directory, as in https://ca.example/directory")
    })?;
    let is_inside = match url.host() {
        Host::Address(address) => !is_public(*address),
        Host::Name(name) => {
            let zones = [".localhost", ".local", ".internal", ".home.arpa", ".test"];
            !name.contains('.') || zones.iter().any(|zone| name.ends_with(zone))
        }
    };
    Ok(UrlRules::new().with_reach(if is_inside { Reach::Any } else { Reach::Public }))
}

/// A client of a server, whose calls take so long at most.
///
/// # Errors
/// When the URL is none of https.
pub fn client(
    directory: &str,
    flag: &str,
    signer: Arc<dyn Signer>,
    pool: Pool,
    patience: Duration,
) -> Result<ClientBuilder, Failure> {
    let config = config(directory, flag, patience)?;
    Ok(Client::builder((*config).clone(), signer, pool))
}

/// The configuration of such a client.
///
/// # Errors
/// When the URL is none of https.
pub fn config(directory: &str, flag: &str, patience: Duration) -> Result<Arc<ClientConfig>, Failure> {
    let patience = Duration::from_secs(patience.as_secs().max(1));
    let limits = ClientLimits::default();
    let limits = limits.with_times(limits.exchange.min(patience), patience, limits.order.max(patience));
    let config = ClientConfig::builder(directory).with_urls(rules(directory, flag)?);
    config.with_limits(limits).build().map(Arc::new).map_err(|error| Failure::usage(error.to_string()).at(flag))
}

/// What an error of a client means for whoever has typed the command.
pub fn failure(error: &ClientError) -> Failure {
    let text = error.to_string();
    match error {
        ClientError::Problem(_) | ClientError::Order(_) | ClientError::PeerIncompatible(_) => Failure::refused(text),
        ClientError::InvalidMessage(_)
        | ClientError::PeerMisbehaved(_)
        | ClientError::Exchange(ExchangeFailure::TooLarge) => Failure::misbehaved(text),
        ClientError::Exchange(ExchangeFailure::NotPublic) => {
            Failure::misbehaved(text).remedy("a server of the public network may not lead to one inside")
        }
        ClientError::TimedOut(_) | ClientError::Exchange(_) => {
            Failure::unreachable(text).remedy("check the URL, the network and --ca")
        }
        _ => Failure::usage(text),
    }
}
