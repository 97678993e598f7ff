//! What a client or broker of service-connect is told before it begins.

use std::sync::Arc;

use watchfire_core::{ConfigError, Duration, config_builder};

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
    pub fn builder(provider: Arc<dyn Provider>) -> ConnectClientConfigBuilder {
        ConnectClientConfigBuilder(Self {
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
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let some = |list: bool, field| ConfigError::unless(list, field, "must name one at least");
        some(!self.services.is_empty(), "services")?;
        some(!self.authentication.is_empty(), "authentication")?;
        some(!self.encryption.is_empty(), "encryption")?;
        ConfigError::unless(!self.response_timeout.is_zero(), "response_timeout", "must not be zero")
    }
}

config_builder! {
    /// What becomes a [`ConnectClientConfig`].
    pub struct ConnectClientConfigBuilder for ConnectClientConfig {
        with_services => services: Vec<String>,
        with_authentication => authentication: Vec<Authentication>,
        with_encryption => encryption: Vec<Encryption>,
        with_encoding => encoding: Encoding,
        with_server_proof => server_proof: ServerProof,
        with_accept_unsigned_responses => accept_unsigned_responses: bool,
        with_response_timeout => response_timeout: Duration,
        with_patience => patience: Option<Duration>,
        with_device => device: Device,
        with_limits => limits: Limits,
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
    /// [`Self::pin_lockout`]: 5. Accounts that differ in the case of letters alone are counted as one.
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
    pub fn builder(provider: Arc<dyn Provider>, instances: Vec<InstanceConnection>) -> ConnectBrokerConfigBuilder {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        ConnectBrokerConfigBuilder(Self {
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
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let some = |list: bool, field| ConfigError::unless(list, field, "must name one at least");
        some(!self.instances.is_empty(), "instances")?;
        some(!self.authentication.is_empty(), "authentication")?;
        some(!self.encryption.is_empty(), "encryption")?;
        ConfigError::unless(!self.ticket_lifetime.is_zero(), "ticket_lifetime", "must not be zero")?;
        ConfigError::unless(self.pin_attempts > 0, "pin_attempts", "must be at least 1")
    }
}

config_builder! {
    /// What becomes a [`ConnectBrokerConfig`].
    pub struct ConnectBrokerConfigBuilder for ConnectBrokerConfig {
        with_authentication => authentication: Vec<Authentication>,
        with_encryption => encryption: Vec<Encryption>,
        with_server_proof => server_proof: ServerProof,
        with_ticket_lifetime => ticket_lifetime: Duration,
        with_management_lifetime => management_lifetime: Duration,
        with_pin_timeout => pin_timeout: Duration,
        with_confirmation_timeout => confirmation_timeout: Duration,
        with_delivery_grace => delivery_grace: Duration,
        with_min_retry => min_retry: Duration,
        with_pin_attempts => pin_attempts: u32,
        with_pin_lockout => pin_lockout: Duration,
        with_max_challenges => max_challenges: usize,
        with_max_pending => max_pending: usize,
        with_max_unanswered => max_unanswered: usize,
        with_max_undrained => max_undrained: usize,
        with_max_counted => max_counted: usize,
        with_max_unbound => max_unbound: usize,
        with_limits => limits: Limits,
    }
}
