//! Asking raters. [RFC 7072 section 3](https://www.rfc-editor.org/rfc/rfc7072#section-3)
//!
//! ```no_run
//! # async fn ask(tls: std::sync::Arc<rustls::ClientConfig>) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use repute_hyper::client::Client;
//! use repute_hyper::repute_proto::{Applications, Query, Service};
//!
//! let client = Client::builder().with_tls(tls).with_https_only(true).start()?;
//! let service: Service = "https://rep.example.net".parse()?;
//! let query = Query::builder("email-id", "example.org").assertion("spam").build(&Applications::default())?;
//! let answered = client.query(&service, query, Duration::from_millis(300)).await?;
//! for reputon in &answered.answer.reputons {
//!     println!("{}: {}", reputon.assertion, reputon.rating);
//! }
//! # Ok(())
//! # }
//! ```

mod access;
mod drive;
mod pool;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use repute_proto::client::{Answer, ClientConfig, QueryError, QueryId, TemplateProblem};
use repute_proto::panel::ConsultationId;
use repute_proto::{Client as Machine, ClientEvent, Limit, LocalLists, Query, Rater, Service, Verdict, Weighing};
use repute_proto::{Panel as PanelMachine, PanelEvent};

pub use access::{Access, Address, InvalidAddress};
use drive::{Asking, Deed, Driver};
use pool::Pool;
pub use pool::{ClientCounters, ClientLimits};
use watchfire_hyper::Clock;

/// An answer, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// What the service says.
    pub answer: Arc<Answer>,
    /// Whether it was known, so that nobody had to be asked.
    pub cached: bool,
}

/// Why there is no answer. This says nothing about the subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A limit of this client: nobody was asked.
    #[error("{0}")]
    LimitExceeded(Limit),
    /// The service was asked, or is being left alone.
    #[error("{service}: {error}{}", .detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
    Query {
        /// Which service.
        service: Service,
        /// Why.
        error: QueryError,
        /// What the system, TLS or HTTP said, where the reason lies there.
        detail: Option<String>,
    },
    /// The runtime that the client was started in is shutting down.
    #[error("the client has ended")]
    Ended,
}

/// Puts a [`Client`] or a [`Panel`] together.
#[must_use = "nothing is asked before `start`"]
pub struct ClientBuilder {
    config: ClientConfig,
    limits: ClientLimits,
    tls: Option<Arc<rustls::ClientConfig>>,
    access: Vec<(Service, Access)>,
}

impl ClientBuilder {
    /// Another configuration of the protocol's machine: dialect, policy, caches, time-outs.
    pub fn with_config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// Other bounds of the HTTP side.
    pub fn with_limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Whom to trust about https services. Without it no certificate is accepted.
    pub fn with_tls(mut self, tls: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Whether everything must be https: services, and where their templates lead.
    pub fn with_https_only(mut self, only: bool) -> Self {
        self.config.policy.https_only = only;
        self
    }

    /// What a service wants to see. It is sent to that service alone, and in clear text only where
    /// [`Policy::clear_text_credentials`](repute_proto::Policy::clear_text_credentials) says so.
    pub fn with_access(mut self, service: &Service, access: Access) -> Self {
        self.access.push((service.clone(), access));
        self
    }

    /// Starts a client. Call it in a tokio runtime.
    ///
    /// # Errors
    /// When the system has no randomness, or TLS cannot be set up.
    pub fn start(self) -> std::io::Result<Client> {
        let (machine, pool, clock) = self.parts()?;
        Ok(Client { driver: Driver::start(machine, pool, clock) })
    }

    /// Starts a panel that asks these raters, after the local lists. Call it in a tokio runtime.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_panel(self, raters: Vec<Rater>, lists: LocalLists, weighing: Weighing) -> std::io::Result<Panel> {
        let (machine, pool, clock) = self.parts()?;
        let machine = PanelMachine::new(machine, raters, lists, weighing);
        Ok(Panel { driver: Driver::start(machine, pool, clock) })
    }

    fn parts(self) -> std::io::Result<(Machine, Pool, Clock)> {
        let clock = Clock::start();
        let seed = watchfire_hyper::seed()?;
        let mut machine = Machine::new(Arc::new(self.config), seed, clock.now());
        for (service, access) in self.access {
            machine.set_access(&service, access.credentials, access.headers);
        }
        let tls = match self.tls {
            Some(tls) => (*tls).clone(),
            None => trust_nobody().map_err(std::io::Error::other)?,
        };
        Ok((machine, Pool::new(tls, self.limits), clock))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("config", &self.config)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A configuration that accepts no certificate.
fn trust_nobody() -> Result<rustls::ClientConfig, rustls::Error> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

#[cfg(feature = "ring")]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// Asks any number of services. Clones share connections, templates and answers; when the last is dropped, what is under
/// way is given up.
#[derive(Clone)]
pub struct Client {
    driver: Arc<Driver<Machine>>,
}

impl Client {
    /// A client with the defaults: it trusts no certificate, follows no redirect, and keeps what it learns.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            config: ClientConfig::default(),
            limits: ClientLimits::default(),
            tls: None,
            access: Vec::new(),
        }
    }

    /// Asks a service. After `timeout` there is an error at the latest, whatever the service does; what it brings later
    /// is known the next time. Dropping the future gives the question up.
    ///
    /// # Errors
    /// When there is no answer. That there is no data is an answer.
    pub async fn query(&self, service: &Service, query: Query, timeout: Duration) -> Result<Answered, ClientError> {
        let begin = |machine: &mut Machine, now| machine.query(now, service, query, timeout);
        match self.driver.ask(begin).await? {
            Outcome::Answered(answered) => Ok(answered),
            Outcome::Failed(error) => {
                let is_below = matches!(
                    error,
                    QueryError::Exchange(_) | QueryError::Template(TemplateProblem::Exchange(_)) | QueryError::TimedOut
                );
                let detail = self.driver.trouble(service).filter(|_| is_below);
                Err(ClientError::Query { service: service.clone(), error, detail })
            }
        }
    }

    /// What a service wants to see from now on.
    pub fn set_access(&self, service: &Service, access: Access) {
        self.driver.with(|machine| machine.set_access(service, access.credentials, access.headers));
    }

    /// Forgets all answers; templates are kept.
    pub fn forget_answers(&self) {
        self.driver.with(Machine::forget_answers);
    }

    /// How many answers are known.
    pub fn cached_answers(&self) -> usize {
        self.driver.with(|machine| machine.cached_answers())
    }

    /// How many queries wait.
    pub fn waiting_queries(&self) -> usize {
        self.driver.with(|machine| machine.waiting_queries())
    }

    /// What happened so far.
    pub fn counters(&self) -> &Arc<ClientCounters> {
        self.driver.counters()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Asks several raters at once and weighs what they say. Clones share connections, templates and answers.
#[derive(Clone)]
pub struct Panel {
    driver: Arc<Driver<PanelMachine>>,
}

impl Panel {
    /// Asks all raters, unless a local list knows. After `budget` there is a verdict from what has come by then, at the
    /// latest; what comes later is known the next time.
    ///
    /// # Errors
    /// When too many questions wait. A rater that fails is an opinion in the verdict, not an error.
    pub async fn consult(&self, query: Query, budget: Duration) -> Result<Verdict, ClientError> {
        self.driver.ask(|machine, now| machine.consult(now, Clock::wall(), query, budget)).await
    }

    /// What the system, TLS or HTTP said when this service failed last.
    pub fn last_trouble(&self, service: &Service) -> Option<String> {
        self.driver.trouble(service)
    }

    /// What a service wants to see from now on.
    pub fn set_access(&self, service: &Service, access: Access) {
        self.driver.with(|machine| machine.client().set_access(service, access.credentials, access.headers));
    }

    /// Forgets all answers; templates are kept.
    pub fn forget_answers(&self) {
        self.driver.with(|machine| machine.client().forget_answers());
    }

    /// What happened so far.
    pub fn counters(&self) -> &Arc<ClientCounters> {
        self.driver.counters()
    }
}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panel").finish_non_exhaustive()
    }
}

/// What became of a query.
enum Outcome {
    Answered(Answered),
    Failed(QueryError),
}

impl Asking for Machine {
    type Key = QueryId;
    type Outcome = Outcome;

    fn sort(event: ClientEvent) -> Option<Deed<QueryId, Outcome>> {
        Some(match event {
            ClientEvent::Abandon(id) => Deed::Abandon(id),
            ClientEvent::Exchange(request) => Deed::Exchange(request),
            ClientEvent::Answered { id, answer, cached } => {
                Deed::Tell(id, Outcome::Answered(Answered { answer, cached }))
            }
            ClientEvent::Failed { id, error } => Deed::Tell(id, Outcome::Failed(error)),
            _ => return None,
        })
    }

    fn give_up(&mut self, now: watchfire_core::Instant, key: QueryId) {
        self.cancel(now, key);
    }
}

impl Asking for PanelMachine {
    type Key = ConsultationId;
    type Outcome = Verdict;

    fn sort(event: PanelEvent) -> Option<Deed<ConsultationId, Verdict>> {
        Some(match event {
            PanelEvent::Abandon(id) => Deed::Abandon(id),
            PanelEvent::Exchange(request) => Deed::Exchange(request),
            PanelEvent::Verdict { id, verdict } => Deed::Tell(id, verdict),
            _ => return None,
        })
    }

    /// It ends with its budget: what the raters still say is kept for the next time.
    fn give_up(&mut self, _now: watchfire_core::Instant, _key: ConsultationId) {}
}
