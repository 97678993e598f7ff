//! The hosts of a URL, each tried by itself: one that is dead, or says nothing, hides none of the others.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::{Config, Error};

/// So long one is waited for before the next is tried beside it.
const AHEAD: Duration = Duration::from_secs(1);

/// The same for each address alone, in the order in which they are to be tried.
pub(super) async fn each(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let mut all = Vec::new();
    for at in 0..hosts.len().max(addresses.len()) {
        let mut one = bare(config);
        let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432);
        one.port(port);
        let found = match (hosts.get(at), addresses.get(at)) {
            (Some(Host::Tcp(name)), address) => {
                one.host(name);
                match address {
                    Some(address) => vec![*address],
                    None => resolved(name, port).await,
                }
            }
            (Some(Host::Unix(folder)), _) => {
                one.host_path(folder);
                Vec::new()
            }
            (None, address) => address.copied().into_iter().collect(),
        };
        if found.is_empty() {
            // A socket; or a name that is not found, which is said when it is tried.
            all.push(one);
            continue;
        }
        all.extend(found.into_iter().map(|address| {
            let mut one = one.clone();
            one.hostaddr(address);
            one
        }));
    }
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        let mut seed = [0; 32];
        if getrandom::fill(&mut seed).is_ok() {
            all.shuffle(&mut StdRng::from_seed(seed));
        }
    }
    all
}

async fn resolved(name: &str, port: u16) -> Vec<IpAddr> {
    let found = tokio::net::lookup_host((name, port)).await;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for found in found.into_iter().flatten() {
        if !addresses.contains(&found.ip()) {
            addresses.push(found.ip());
        }
    }
    addresses
}

/// All of it but where.
fn bare(config: &Config) -> Config {
    let mut bare = Config::new();
    if let Some(user) = config.get_user() {
        bare.user(user);
    }
    if let Some(password) = config.get_password() {
        bare.password(password);
    }
    if let Some(name) = config.get_dbname() {
        bare.dbname(name);
    }
    if let Some(options) = config.get_options() {
        bare.options(options);
    }
    if let Some(name) = config.get_application_name() {
        bare.application_name(name);
    }
    if let Some(time) = config.get_connect_timeout() {
        bare.connect_timeout(*time);
    }
    if let Some(time) = config.get_tcp_user_timeout() {
        bare.tcp_user_timeout(*time);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        bare.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        bare.keepalives_retries(retries);
    }
    bare.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    bare
}

/// The first of these that works. The next is begun when one has failed, or was silent for a while.
pub(super) async fn first<T, F>(tries: impl IntoIterator<Item = F>) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut waiting = tries.into_iter().enumerate();
    let mut begun = FuturesUnordered::new();
    let mut failed: Option<(usize, Error)> = None;
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        begun.extend(next.map(|(at, attempt)| async move { (at, attempt.await) }));
        let silent = async {
            match is_last {
                true => std::future::pending().await,
                false => tokio::time::sleep(AHEAD).await,
            }
        };
        tokio::select! {
            biased;
            done = begun.next() => match done {
                Some((_, Ok(connected))) => return Ok(connected),
                Some((at, Err(error))) => {
                    // What a server says is worth more than that there is none; then the first in the URL.
                    let rank = |at: usize, error: &Error| (error.as_db_error().is_none(), at);
                    let is_better = failed.as_ref().is_none_or(|(before, known)| rank(at, &error) < rank(*before, known));
                    if is_better {
                        failed = Some((at, error));
                    }
                }
                None => match failed {
                    Some((_, error)) => return Err(error),
                    None => std::future::pending::<()>().await,
                },
            },
            () = silent => {}
        }
    }
}
