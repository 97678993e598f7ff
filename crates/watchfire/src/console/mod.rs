//! The console: a page for browsers that shows what this process does.
//!
//! Services put what happens into the [`Hub`] that they share, and register what may be looked at. The console serves
//! its page, JSON, and server-sent events from there over HTTP/1.1 and HTTP/2. It changes nothing. It is meant for the
//! loopback; beyond it nobody is let in without a token.

mod alerts;
mod assets;
mod filter;
mod guard;
mod hub;
mod items;
mod lookup;
mod panels;
mod ring;
mod rows;
mod sensors;
mod site;
mod stream;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use watchfire_hyper::{ConnectionLimits, Server};

pub use hub::{Hub, HubLimits};
pub use items::{
    AskRater, BrokerAnswer, CombinedRating, DotsChange, DotsSession, DotsState, Happened, Opinion, Panel, Rater,
    ReputationAnswer, StarChange, StarOrder, now,
};

use crate::cli::ConsoleArgs;
use crate::exit::Failure;
use crate::https::ServerCertificate;
use crate::metrics;
use crate::pki::hex;
use crate::service::Context;
use crate::values::HostPort;
use alerts::Alerts;
use guard::Guard;
use site::ConsoleSite;
use stream::Pace;

/// How long answers that are under way may take at the end.
const GRACE: Duration = Duration::from_secs(2);
/// A stream of events says at least something so often.
const BEAT: Duration = Duration::from_secs(15);
/// A stream of events lasts no longer than this; browsers open the next by themselves.
const STREAM: Duration = Duration::from_secs(3600);
/// Looks at stores at one time.
const LOOKS: usize = 2;

/// Serves the console until shutdown, and lets the hub of `context` keep what happens from now on.
///
/// # Errors
/// As [`Ready::new`] and [`Ready::serve`].
pub async fn start(args: &ConsoleArgs, context: &Context) -> Result<SocketAddr, Failure> {
    Ready::new(args).await?.serve(context)
}

/// A console that has all it needs, its socket too, and does not serve yet.
#[derive(Debug)]
pub struct Ready {
    args: ConsoleArgs,
    listener: TcpListener,
    certificate: Option<Arc<ServerCertificate>>,
    guard: Guard,
}

impl Ready {
    /// Reads the files and opens the socket.
    ///
    /// # Errors
    /// An address that cannot be listened at, or that is not of this machine alone while there is no token; files that
    /// cannot be read.
    pub async fn new(args: &ConsoleArgs) -> Result<Self, Failure> {
        let certificate = match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => Some(ServerCertificate::load(cert, key)?),
            _ => None,
        };
        let listener = metrics::bind(&args.listen).await?;
        let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at(&args.listen))?;
        let is_local = bound.ip().to_canonical().is_loopback();
        if !is_local && args.token_file.is_none() {
            return Err(open_to_network(&args.listen));
        }
        if !is_local && certificate.is_none() {
            tracing::warn!(addr = %bound, "console: token and alerts go over this network in clear text: give it cert and key");
        }
        let token = args.token_file.as_deref();
        let guard = Guard::new(token, &args.host, args.session_lifetime.0, bound.port(), certificate.is_some())?;
        Ok(Self { args: args.clone(), listener, certificate, guard })
    }

    /// Serves until shutdown, and lets the hub of `context` keep what happens from now on.
    ///
    /// # Errors
    /// When the system has no randomness, or standard output cannot be written to.
    pub fn serve(self, context: &Context) -> Result<SocketAddr, Failure> {
        let Self { args, listener, certificate, guard } = self;
        let mut run = [0; 6];
        getrandom::fill(&mut run).map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
        context.hub.turn_on(&args.hub_limits());
        let site = Arc::new(ConsoleSite {
            hub: context.hub.clone(),
            alerts: Alerts::new(context.hub.clone(), args.scan as usize, LOOKS),
            guard,
            health: context.health.clone(),
            run: hex(&run),
            since: jiff::Timestamp::now().as_microsecond(),
            pace: Pace { beat: BEAT, lifetime: STREAM.min(args.session_lifetime.0).max(Duration::from_secs(1)) },
            readers: Arc::new(Semaphore::new(args.max_readers as usize)),
            shutdown: context.shutdown.clone(),
        });
        let mut limits = ConnectionLimits::default();
        limits.connections = args.max_connections as usize;
        limits.connections_per_address = args.max_connections as usize;
        limits.write = args.write_timeout.0;
        let server = Server::start(Arc::clone(&site), limits);
        let tls = certificate.as_ref().map(ServerCertificate::server_config).transpose()?;
        let bound = server.serve(listener, tls).map_err(|error| Failure::usage(error.to_string()).at(&args.listen))?;
        if let Some(certificate) = &certificate {
            certificate.keep_fresh(context);
        }
        context.announce("console", bound)?;
        let (shutdown, mut reload) = (context.shutdown.clone(), context.reload.clone());
        context.aside.spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = reload.requested() => match site.guard.reload() {
                        Ok(()) => {}
                        Err(error) => tracing::error!("console: the old token stays: {error}"),
                    },
                }
            }
            server.shutdown(GRACE).await;
        });
        Ok(bound)
    }
}

/// What is said of a console at this address without a token.
pub(crate) fn open_to_network(address: &HostPort) -> Failure {
    let failure = Failure::usage("the console would be open to the network").at(address);
    failure.remedy(
        "listen at 127.0.0.1 and use an ssh tunnel, or demand a token by `token-file`, of a manager `console-token-file`",
    )
}
