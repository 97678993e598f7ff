//! Asking a broker.
//!
//! ```no_run
//! # async fn ask(binding: obp_proto::service_connect::Binding, tls: std::sync::Arc<rustls::ClientConfig>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use obp_hyper::client::Client;
//! use obp_proto::message::{Identifier, QueryConnectRequest};
//!
//! let client = Client::builder(binding).with_tls(tls).start().await?;
//! let identifier = Identifier::new("example.com".parse()?).with_service("_http".parse()?);
//! let answer = client.connect(QueryConnectRequest::new(identifier)).await?;
//! for connection in answer.connection.iter() {
//!     println!("{connection:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod bind;
mod drive;
mod http;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use obp_proto::client::{ClientConfig, ClientStats};
use obp_proto::crypto::RustCrypto;
use obp_proto::message::{QueryConnectRequest, QueryConnectResponse, ValidateRequest, ValidateResponse};
use obp_proto::service_connect::Binding;
use obp_proto::{Error, Message, Status};
use tokio::sync::{mpsc, oneshot, watch};

pub use bind::{BindError, BindOptions, BrokerUrl, InvalidUrl, ServiceRecord, Services, bind, refresh, unbind};
use drive::{Command, Driver};

/// Questions that wait to be taken by the driver.
const QUEUE: usize = 256;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The protocol's machine says why.
    #[error("{0}")]
    Protocol(#[from] Error),
    /// And the last thing that went wrong below it.
    #[error("{error} ({what})")]
    Exchange {
        /// What the machine says.
        error: Error,
        /// What the system, TLS or HTTP said.
        what: String,
    },
    /// The broker refuses, as the status and its own words say.
    #[error("{status}{}{description}", if description.is_empty() { "" } else { ": " })]
    Refused {
        /// The status.
        status: Status,
        /// The broker's words.
        description: String,
    },
    /// The answer is to another question.
    #[error("the broker answered with another message than was asked for")]
    Mismatch,
    /// The client's task has ended.
    #[error("the client has ended")]
    Ended,
}

impl ClientError {
    /// The status, when the broker gave one.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Protocol(Error::Refused(status)) | Self::Exchange { error: Error::Refused(status), .. } => {
                Some(*status)
            }
            _ => None,
        }
    }
}

/// Puts a [`Client`] together.
#[must_use = "nothing is asked before `start`"]
pub struct ClientBuilder {
    binding: Binding,
    config: ClientConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
    connect_timeout: Duration,
    body_limit: usize,
}

impl ClientBuilder {
    /// Another configuration of the protocol's machine.
    pub fn with_config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// Whom to trust about the broker's HTTPS server. Needed unless [`ClientConfig::tls`] is off, or no instance of the
    /// binding is one over HTTP.
    pub fn with_tls(mut self, tls: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long TCP and TLS together may take; 5 s unless changed.
    pub const fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How many octets a response over HTTP may have; 256 KiB unless changed.
    pub const fn with_body_limit(mut self, octets: usize) -> Self {
        self.body_limit = octets;
        self
    }

    /// Starts. Call it in a tokio runtime.
    ///
    /// # Errors
    /// When the binding cannot be used, or the system lets us have no socket or no randomness.
    pub async fn start(self) -> Result<Client, StartError> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (changes, binding) = watch::channel(self.binding.clone());
        let tls = match self.tls {
            Some(tls) => tls,
            None => trust_nobody()?,
        };
        let pool = http::Pool::new(tls, self.body_limit, self.connect_timeout);
        let driver = Driver::new(self.config, self.binding, Arc::new(pool), queue, changes).await?;
        tokio::spawn(driver.run());
        Ok(Client { commands, binding })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}

/// Why a client cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The binding cannot be used.
    #[error(transparent)]
    Binding(#[from] Error),
    /// The system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A configuration that accepts no certificate, for bindings that need none.
fn trust_nobody() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let provider = Arc::new(provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()))
}

#[cfg(feature = "ring")]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// Asks a broker. Clones share the binding, the sockets and the connections; when the last is dropped, they go.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    binding: watch::Receiver<Binding>,
}

impl Client {
    /// A client of this binding.
    pub fn builder(binding: Binding) -> ClientBuilder {
        ClientBuilder {
            binding,
            config: ClientConfig::builder(Arc::new(RustCrypto)).build().expect("the defaults are good"),
            tls: None,
            connect_timeout: Duration::from_secs(5),
            body_limit: 256 * 1024,
        }
    }

    /// Asks how a service is best reached.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal: no such name, denied by policy, and so on.
    pub async fn connect(&self, request: QueryConnectRequest) -> Result<QueryConnectResponse, ClientError> {
        match self.query(request).await? {
            Message::QueryConnectResponse(answer) if answer.status == Status::SUCCESS => Ok(answer),
            Message::QueryConnectResponse(answer) => Err(refused(answer.status, answer.status_description)),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks for the answer after `answer`, because none of its connections works. None when there is no other.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn after_failure(
        &self,
        request: &QueryConnectRequest,
        answer: &QueryConnectResponse,
    ) -> Result<Option<QueryConnectResponse>, ClientError> {
        match request.after_failure(answer) {
            Some(next) => self.connect(next).await.map(Some),
            None => Ok(None),
        }
    }

    /// Asks whether there is anything against credentials. That there is nothing does not make them good: it does not
    /// replace the client's own check.
    ///
    /// # Errors
    /// When there is no answer, or it is a veto or a refusal.
    pub async fn validate(&self, request: ValidateRequest) -> Result<ValidateResponse, ClientError> {
        match self.query(request).await? {
            Message::ValidateResponse(answer) if answer.status == Status::SUCCESS => Ok(answer),
            Message::ValidateResponse(answer) => Err(refused(answer.status, answer.status_description)),
            other => Err(mismatch(&other)),
        }
    }

    /// Asks anything, and gives the answer whatever its status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn query(&self, request: impl Into<Message>) -> Result<Message, ClientError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Query { request: Box::new(request.into()), answer };
        self.commands.send(command).await.map_err(|_| ClientError::Ended)?;
        answered.await.map_err(|_| ClientError::Ended)?
    }

    /// Asks DNS messages (draft-hallambaker-privatedns-01), which only datagrams carry. Answers come in any order, and
    /// perhaps not to all.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub async fn query_dns(&self, messages: Vec<Bytes>) -> Result<Vec<Bytes>, ClientError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Dns { messages, answer }).await.map_err(|_| ClientError::Ended)?;
        answered.await.map_err(|_| ClientError::Ended)?
    }

    /// The binding, which changes when the broker hands out new tickets: save it then.
    pub fn binding(&self) -> watch::Receiver<Binding> {
        self.binding.clone()
    }

    /// Goes on with another binding.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn rebind(&self, binding: Binding) -> Result<(), ClientError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Rebind { binding: Box::new(binding), answer };
        self.commands.send(command).await.map_err(|_| ClientError::Ended)?;
        Ok(answered.await.map_err(|_| ClientError::Ended)??)
    }

    /// What the protocol's machine counted.
    ///
    /// # Errors
    /// When the client's task has ended.
    pub async fn stats(&self) -> Result<ClientStats, ClientError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Stats { answer }).await.map_err(|_| ClientError::Ended)?;
        answered.await.map_err(|_| ClientError::Ended)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn refused(status: Status, description: Option<String>) -> ClientError {
    ClientError::Refused { status, description: description.unwrap_or_default() }
}

fn mismatch(message: &Message) -> ClientError {
    match message.status() {
        Some(status) if status != Status::SUCCESS => refused(status, None),
        _ => ClientError::Mismatch,
    }
}
