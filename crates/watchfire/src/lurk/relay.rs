//! `lurk relay`: keeps chunks of octets for those who cannot reach each other.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acme_lurk_hyper::relay::{BasicCredentials, RelayEvent, RelayServer, RelayServerLimits};
use zeroize::Zeroizing;

use crate::cli::RelayArgs;
use crate::exit::{Failure, file_failure};
use crate::https::{self, Entrance};
use crate::metrics::{self, Registry};
use crate::service::Context;

/// How long requests that are under way may take when the relay ends.
const GRACE: Duration = Duration::from_secs(5);

/// What the protocol wants a relay to keep chunks for.
const KEEP: Duration = Duration::from_secs(300);

/// What the protocol wants a relay to take.
const CHUNK: u64 = 65_536;

/// A relay that listens.
#[derive(Debug)]
pub struct RelayService {
    server: RelayServer,
    addresses: Vec<SocketAddr>,
}

impl RelayService {
    /// Reads all files, opens the sockets and says where it listens.
    ///
    /// # Errors
    /// A file that cannot be read or is wrong, an address that cannot be listened at.
    pub async fn start(args: &RelayArgs, context: &Context) -> Result<Self, Failure> {
        let entrance = Entrance::load(args.cert.as_deref(), args.key.as_deref())?;
        let mut builder = RelayServer::builder()
            .with_limits(limits(args)?)
            .with_auth_in_clear_text(args.auth_in_clear_text)
            .on_event(told);
        if let Some(path) = &args.post_auth {
            builder = builder.with_users(read_users(path)?);
        }
        let listeners = metrics::bind_all(&args.listen).await?;
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let server = builder.start();
        let serve = |listener, tls| server.serve(listener, tls);
        let addresses = entrance.open(listeners, "lurk-relay", context, serve)?;
        for local in addresses.iter().filter(|local| args.post_auth.is_none() && !local.ip().is_loopback()) {
            tracing::warn!(addr = %local, "everybody who reaches this relay may put chunks there; see --post-auth");
        }
        context.serve_metrics(metrics)?;
        count(&server, &context.metrics);
        Ok(Self { server, addresses })
    }

    /// Where it answers.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// None; it has the form of every service.
    pub async fn run(self, context: Context) -> Result<(), Failure> {
        context.shutdown.cancelled().await;
        self.server.shutdown(GRACE).await;
        Ok(())
    }
}

fn limits(args: &RelayArgs) -> Result<RelayServerLimits, Failure> {
    let octets = |octets: u64| usize::try_from(octets).unwrap_or(usize::MAX);
    let mut limits = RelayServerLimits::default();
    limits.connection.connections = args.max_connections as usize;
    limits.relay = limits
        .relay
        .with_chunk(octets(args.max_chunk.0))
        .with_totals(octets(args.max_client.0), octets(args.max_total.0))
        .with_keep(args.keep.0);
    if args.keep.0.is_zero() {
        return Err(Failure::usage("chunks would be gone at once").at("--keep").remedy("write 5m or more"));
    }
    if args.max_chunk.0 > args.max_client.0 || args.max_client.0 > args.max_total.0 {
        let failure = Failure::usage("a chunk is at most what a client may have, and that at most what all may have");
        return Err(failure.at("--max-chunk, --max-client, --max-total").remedy("raise the larger ones"));
    }
    if args.keep.0 < KEEP {
        tracing::warn!(keep = %args.keep, "the protocol wants chunks to be kept for five minutes at least");
    }
    if args.max_chunk.0 < CHUNK {
        tracing::warn!(max_chunk = %args.max_chunk, "the protocol wants chunks of 64K to be taken");
    }
    Ok(limits)
}

/// The users of a file, one `USER:PASSWORD` in each line.
pub(crate) fn read_users(path: &Path) -> Result<Vec<BasicCredentials>, Failure> {
    let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read the users", path, &error))?;
    let octets = Zeroizing::new(octets);
    let text = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = |(number, line): (usize, &str)| {
        BasicCredentials::from_line(line).map_err(|error| {
            let failure = Failure::usage(format!("not USER:PASSWORD: {error}"));
            failure.at(format!("{}:{}", path.display(), number + 1))
        })
    };
    let users: Vec<BasicCredentials> = lines.map(read).collect::<Result<_, _>>()?;
    if users.is_empty() {
        let failure = Failure::usage("holds no user").at(path.display());
        return Err(failure.remedy("write a line USER:PASSWORD"));
    }
    Ok(users)
}

fn told(event: RelayEvent<'_>) {
    match event {
        RelayEvent::Connection(event) => https::told(&event),
        RelayEvent::Stored { .. } => tracing::debug!("{event}"),
        _ => tracing::info!("{event}"),
    }
}

fn count(server: &RelayServer, registry: &Registry) {
    let (counters, usage) = (Arc::clone(server.counters()), server.usage_probe());
    registry.at_each_look(move |registry| {
        let names = [
            "watchfire_lurk_relay_connections_total",
            "watchfire_lurk_relay_connections_refused_total",
            "watchfire_lurk_relay_handshakes_failed_total",
        ];
        registry.connections(names, &counters.connection);
        registry.total("watchfire_lurk_relay_requests_total", "Requests.", &counters.requests);
        registry.total("watchfire_lurk_relay_stored_total", "Chunks that were put there.", &counters.stored);
        registry.total("watchfire_lurk_relay_fetched_total", "Chunks that were got.", &counters.fetched);
        registry.total(
            "watchfire_lurk_relay_missing_total",
            "Requests for chunks that are not there (404).",
            &counters.missing,
        );
        registry.total(
            "watchfire_lurk_relay_unauthorized_total",
            "Requests without a good password (401).",
            &counters.unauthorized,
        );
        registry.total("watchfire_lurk_relay_full_total", "Chunks without room (413, 503).", &counters.full);
        registry.total("watchfire_lurk_relay_refused_total", "Other requests that were refused.", &counters.refused);
        let (chunks, octets) = usage();
        registry.level("watchfire_lurk_relay_chunks", "Chunks that are there.", chunks);
        registry.level("watchfire_lurk_relay_octets", "Octets of them, with 128 for each.", octets);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn users_are_read_and_mistakes_are_named_without_the_password() {
        let dir = TempDir::new("lurk-users");
        let path = dir.path().join("users");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_users(&path).map(|users| users.len()).map_err(|failure| failure.to_string())
        };
        assert_eq!(read("# who\nalice:s3cret\nbob:a:b\n\n"), Ok(2));
        for (bad, why) in [("", "holds no user"), ("alice:x\nsecret\n", "users:2: not USER:PASSWORD")] {
            let failure = read(bad).unwrap_err();
            assert!(failure.contains(why) && !failure.contains("secret"), "{failure}");
        }
    }
}
