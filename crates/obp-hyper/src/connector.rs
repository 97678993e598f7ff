//! A connector for hyper: asks the broker where a URL leads, races what it answers, and connects.
//!
//! It makes plain TCP streams; TLS goes around it, as around hyper's own connector. So a user of hyper who had
//!
//! ```text
//! let tcp = HttpConnector::new();
//! let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_all_versions().wrap_connector(tcp);
//! ```
//!
//! writes `BrokerConnector::new(client)` in place of the first line, and keeps the rest. When none of the connections
//! works the broker is told and asked for the next answer (draft-hallambaker-omnibroker-08 section 5.1.1), a few times.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::rt::TokioIo;
use obp_proto::message::{
    Connection as Way, Identifier, InvalidName, Port, QueryConnectRequest, QueryConnectResponse, Transport,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::client::{Client, ClientError};
use crate::race::{Race, RaceError};

/// Answers that are tried for one connection.
const ANSWERS: usize = 4;

/// Connects where the broker says. See the [module](self).
#[derive(Debug, Clone)]
pub struct BrokerConnector {
    client: Client,
    race: Race,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL has no host, or none that the DNS could know.
    #[error("the URL has no usable host")]
    Host,
    /// The name cannot be asked about.
    #[error("{0}")]
    Name(#[from] InvalidName),
    /// The broker did not answer, or refused.
    #[error("the broker: {0}")]
    Broker(#[from] ClientError),
    /// The broker knows no way that fits: none in the clear for `http`, none over TLS for `https`.
    #[error("the broker knows no way {0}")]
    NoWay(&'static str),
    /// Nothing that the broker answered could be reached.
    #[error(transparent)]
    Race(#[from] RaceError),
}

impl BrokerConnector {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self { client, race: Race::default() }
    }

    /// Runs the race in another way.
    #[must_use]
    pub const fn with_race(mut self, race: Race) -> Self {
        self.race = race;
        self
    }

    /// Connects to where the broker says that the service of this URL is.
    ///
    /// # Errors
    /// When the broker refuses or does not answer, or nothing it says can be reached.
    pub async fn connect(&self, uri: &Uri) -> Result<TcpStream, ConnectError> {
        let https = matches!(uri.scheme_str(), Some("https" | "wss"));
        let host = uri.host().ok_or(ConnectError::Host)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default_port = if https { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        // An address is not a question.
        if let Ok(ip) = host.parse() {
            return Ok(self.race.connect(&[SocketAddr::new(ip, port)]).await?.value);
        }
        let request = question(host, https, (port != default_port).then_some(port))?;
        let mut answer = self.client.connect(request.clone()).await?;
        for _ in 1..ANSWERS {
            match self.race.connect(&ways(&answer, https)?).await {
                Ok(won) => return Ok(won.value),
                Err(failed) => match self.client.after_failure(&request, &answer).await {
                    Ok(Some(next)) => answer = next,
                    // There is no other: what is wrong with these is what the user wants to know.
                    Ok(None) | Err(_) => return Err(failed.into()),
                },
            }
        }
        Ok(self.race.connect(&ways(&answer, https)?).await?.value)
    }
}

/// What to ask about the host of a URL, and its port if that is not the scheme's own.
pub(crate) fn question(host: &str, https: bool, port: Option<u16>) -> Result<QueryConnectRequest, InvalidName> {
    let mut identifier = Identifier::new(host.parse()?);
    if let Ok(service) = (if https { "_https" } else { "_http" }).parse() {
        identifier = identifier.with_service(service);
    }
    if let Some(Ok(port)) = port.map(Port::try_from) {
        identifier = identifier.with_port(port);
    }
    Ok(QueryConnectRequest::new(identifier))
}

/// The addresses that fit the scheme, in the broker's order.
pub(crate) fn ways(answer: &QueryConnectResponse, https: bool) -> Result<Vec<SocketAddr>, ConnectError> {
    let fits = |way: &&Way| match way.transport() {
        Transport::Tls => https,
        // What the URL calls https goes where TLS is spoken, and nowhere else.
        Transport::Raw => !https,
        _ => false,
    };
    let address = |way: &Way| Some(SocketAddr::new(way.ip_address?, u16::from(way.ip_port?)));
    let found: Vec<_> = answer.connection.iter().filter(fits).filter_map(address).collect();
    if found.is_empty() {
        return Err(ConnectError::NoWay(if https { "over TLS" } else { "in the clear: use https" }));
    }
    Ok(found)
}

impl Service<Uri> for BrokerConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.connect(&uri).await.map(TokioIo::new) })
    }
}
