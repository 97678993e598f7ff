//! What a client or broker of service-connect is told before it begins.

use std::sync::Arc;

use watchfire_core::Duration;

use super::pin::ServerProof;
use crate::codec::Encoding;
use crate::crypto::{Authentication, Encryption, Provider};
use crate::limits::Limits;
use crate::message::{ImageLink, InstanceConnection};

/// What a client tells of its device, so that a person can recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Device {
    /// A URI that names this very device.
    pub id: Option<String>,
    /// A URI that names the kind of device.
    pub uri: Option<String>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// What it looks like.
    pub image: Option<ImageLink>,
    /// Whether it can show an image.
    pub have_display: bool,
}

/// How a client binds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectClientConfig {
    /// Where the cryptography comes from.
    pub provider: Arc<dyn Provider>,
    /// Labels of the services wanted. `omni-query` unless changed.
    pub services: Vec<String>,
    /// Authentication that is acceptable. All that this crate knows unless changed.
    pub authentication: Vec<Authentication>,
    /// Encryption that is acceptable. All that this crate knows unless changed.
    pub encryption: Vec<Encryption>,
    /// What messages are encoded in: JSON.
    pub encoding: Encoding,
    /// What the service's proof must cover: request and key.
    pub server_proof: ServerProof,
    /// Whether a response without Session header is let pass where the request had one. No. Older services sign no
    /// response; then all trust is in TLS.
    pub accept_unsigned_responses: bool,
    /// How long a response may take: 30 seconds.
    pub response_timeout: Duration,
    /// How long a binding may wait for its confirmation. Without end.
    pub patience: Option<Duration>,
    /// What is told of the device: nothing.
    pub device: Device,
    /// Limits of the codec.
    pub limits: Limits,
}

impl ConnectClientConfig {
    /// The defaults, each said above.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self {
            provider,
            services: vec!["omni-query".to_owned()],
            authentication: Authentication::KNOWN.to_vec(),
            encryption: Encryption::KNOWN.to_vec(),
            encoding: Encoding::Json,
            server_proof: ServerProof::Text,
            accept_unsigned_responses: false,
            response_timeout: Duration::from_secs(30),
            patience: None,
            device: Device::default(),
            limits: Limits::DEFAULT,
        }
    }

    /// The same for these services.
    #[must_use]
    pub fn with_services<S: Into<String>>(mut self, services: impl IntoIterator<Item = S>) -> Self {
        self.services = services.into_iter().map(Into::into).collect();
        self
    }
}

/// How a broker binds its clients.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectBrokerConfig {
    /// Where the cryptography comes from.
    pub provider: Arc<dyn Provider>,
    /// The instances of all services, each without its key: every binding gets keys of its own. `service` names what
    /// it is an instance of.
    pub instances: Vec<InstanceConnection>,
    /// Authentication, the preferred first.
    pub authentication: Vec<Authentication>,
    /// Encryption, the preferred first.
    pub encryption: Vec<Encryption>,
    /// What the service's proof covers: request and key.
    pub server_proof: ServerProof,
    /// How long tickets of services are good: a week.
    pub ticket_lifetime: Duration,
    /// How long the ticket that manages a binding is good: a year.
    pub management_lifetime: Duration,
    /// How long a client may take to answer the challenge: two minutes.
    pub pin_timeout: Duration,
    /// How long a binding may wait for its confirmation: a week.
    pub confirmation_timeout: Duration,
    /// How long the result of a confirmation is said again to a client that did not hear it: two minutes.
    pub delivery_grace: Duration,
    /// How long a client must wait between polls: 10 seconds.
    pub min_retry: Duration,
    /// How often a binding may be opened with a PIN, before the PIN is used up and no more opened for
    /// [`Self::pin_lockout`]: 5.
    pub pin_attempts: u32,
    /// How long an account whose PIN was used up by failures opens no binding: 15 minutes.
    pub pin_lockout: Duration,
    /// Transactions that wait for a challenge to be answered, at most: 256.
    pub max_challenges: usize,
    /// Transactions that wait to be confirmed, at most: 1024.
    pub max_pending: usize,
    /// Requests that wait for the application, at most: 256.
    pub max_unanswered: usize,
    /// Replies and events that wait to be fetched, at most: 4096. Beyond, requests are dropped without a reply.
    pub max_undrained: usize,
    /// Accounts whose failures are counted, at most: 4096. Beyond, no more bindings are opened by PIN until some of
    /// these are forgotten.
    pub max_counted: usize,
    /// Bindings that have ended and are remembered until their tickets expire, at most: 65536. Beyond, the one is
    /// forgotten that expires first, and only the application can tell that it has ended.
    pub max_unbound: usize,
    /// Limits of the codec.
    pub limits: Limits,
}

impl ConnectBrokerConfig {
    /// The defaults, each said above, for these instances.
    pub fn new(provider: Arc<dyn Provider>, instances: Vec<InstanceConnection>) -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Self {
            provider,
            instances,
            authentication: Authentication::KNOWN.to_vec(),
            encryption: Encryption::KNOWN.to_vec(),
            server_proof: ServerProof::Text,
            ticket_lifetime: Duration::from_secs(7 * DAY),
            management_lifetime: Duration::from_secs(365 * DAY),
            pin_timeout: Duration::from_secs(2 * MINUTE),
            confirmation_timeout: Duration::from_secs(7 * DAY),
            delivery_grace: Duration::from_secs(2 * MINUTE),
            min_retry: Duration::from_secs(10),
            pin_attempts: 5,
            pin_lockout: Duration::from_secs(15 * MINUTE),
            max_challenges: 256,
            max_pending: 1024,
            max_unanswered: 256,
            max_undrained: 4096,
            max_counted: 4096,
            max_unbound: 65_536,
            limits: Limits::DEFAULT,
        }
    }
}
