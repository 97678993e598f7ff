//! What a broker is told, and what it counts.

use std::sync::Arc;

use watchfire_core::{ConfigError, Duration, config_builder, setters};

use crate::crypto::Provider;
use crate::session::{ReplayLimits, Required};
use crate::ticket::KeyRing;
use crate::uyfm::{DEFAULT_MAX_DATAGRAM, Padding};
use crate::{DecodeOptions, HttpMapping};

/// How a broker behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Where the cryptography comes from.
    pub provider: Arc<dyn Provider>,
    /// The keys of its tickets.
    pub keys: KeyRing,
    /// How messages are read.
    pub decode: DecodeOptions,
    /// How statuses are said in HTTP.
    pub http_mapping: HttpMapping,
    /// Whether requests of the *seed* profile, whose MAC covers the body alone, are taken where TLS or the loopback
    /// keeps them from being played back. Elsewhere they never are. Yes.
    pub seed_profile: bool,
    /// Which of several `Session` headers must verify. Any.
    pub required: Required,
    /// Whether MACs in `Session` headers are as short as the label allows. No: the examples have them whole.
    pub truncate_macs: bool,
    /// Whether JSON-B and JSON-C are taken over HTTP. Yes.
    pub binary_over_http: bool,
    /// How long the application may take; then the client is told 504. 5 s.
    pub application_timeout: Duration,
    /// Octets of a datagram. 1200.
    pub max_datagram: usize,
    /// How responses in datagrams are padded. Not.
    pub padding: Padding,
    /// When clients are given new tickets.
    pub replacement: Replacement,
    /// How many queries may come under one ticket. No limit.
    pub rate: Option<RateLimit>,
    /// How far things may grow.
    pub limits: BrokerLimits,
}

impl BrokerConfig {
    /// The defaults, each said above, with these keys.
    pub fn builder(provider: Arc<dyn Provider>, keys: KeyRing) -> BrokerConfigBuilder {
        BrokerConfigBuilder(Self {
            provider,
            keys,
            decode: DecodeOptions::new(),
            http_mapping: HttpMapping::Body,
            seed_profile: true,
            required: Required::Any,
            truncate_macs: false,
            binary_over_http: true,
            application_timeout: Duration::from_secs(5),
            max_datagram: DEFAULT_MAX_DATAGRAM,
            padding: Padding::None,
            replacement: Replacement::default(),
            rate: None,
            limits: BrokerLimits::default(),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(!self.application_timeout.is_zero(), "application_timeout", "must not be zero")?;
        ConfigError::unless(
            self.rate.is_none_or(|rate| rate.per_second > 0 && rate.burst > 0),
            "rate",
            "must let something pass",
        )?;
        ConfigError::unless(self.limits.pending > 0, "limits.pending", "must be at least 1")?;
        ConfigError::unless(self.limits.queued > 0, "limits.queued", "must be at least 1")
    }
}

config_builder! {
    /// What becomes a [`BrokerConfig`].
    pub struct BrokerConfigBuilder for BrokerConfig {
        with_decode => decode: DecodeOptions,
        with_http_mapping => http_mapping: HttpMapping,
        with_seed_profile => seed_profile: bool,
        with_required => required: Required,
        with_truncate_macs => truncate_macs: bool,
        with_binary_over_http => binary_over_http: bool,
        with_application_timeout => application_timeout: Duration,
        with_max_datagram => max_datagram: usize,
        with_padding => padding: Padding,
        with_replacement => replacement: Replacement,
        with_rate => rate: Option<RateLimit>,
        with_limits => limits: BrokerLimits,
    }
}

/// When a client is handed a new ticket inside a response in datagrams. A ticket stands in the clear: who sees the same
/// one on two networks knows that it is the same client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replacement {
    /// When its ticket comes from another address than last time. Yes.
    pub on_new_address: bool,
    /// When its ticket expires within this time. An hour.
    pub before_expiry: Duration,
    /// How long the new ticket lasts; zero hands out none. A week.
    pub lifetime: Duration,
}

impl Default for Replacement {
    fn default() -> Self {
        Self {
            on_new_address: true,
            before_expiry: Duration::from_secs(3600),
            lifetime: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Queries under one ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RateLimit {
    /// So many a second, in the long run.
    pub per_second: u32,
    /// So many at once.
    pub burst: u32,
}

/// Everything in a broker that can grow, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerLimits {
    /// Octets of a request's body: 64 KiB.
    pub body: usize,
    /// Queries that wait for the application: 4096.
    pub pending: usize,
    /// Outputs that wait to be polled; beyond it requests are refused: 65 536.
    pub queued: usize,
    /// Opened tickets that are kept, in each of two generations: 8192.
    pub tickets: usize,
    /// Revoked bindings that are remembered: 65 536.
    pub revoked: usize,
    /// Responses in datagrams that are kept for retransmissions: 65 536.
    pub replies: usize,
    /// Octets of them: 32 MiB.
    pub reply_octets: usize,
    /// How long they are kept: 10 s.
    pub reply_time: Duration,
    /// How often one is sent again: 8 times.
    pub resends: u8,
    /// Against replay over HTTP.
    pub replay: ReplayLimits,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            body: 64 * 1024,
            pending: 4096,
            queued: 65_536,
            tickets: 8192,
            revoked: 65_536,
            replies: 65_536,
            reply_octets: 32 * 1024 * 1024,
            reply_time: Duration::from_secs(10),
            resends: 8,
            replay: ReplayLimits::default(),
        }
    }
}

setters! { BrokerLimits {
    with_body => body: usize,
    with_pending => pending: usize,
    with_queued => queued: usize,
    with_tickets => tickets: usize,
    with_revoked => revoked: usize,
    with_replies => replies: usize,
    with_reply_octets => reply_octets: usize,
    with_reply_time => reply_time: Duration,
    with_resends => resends: u8,
    with_replay => replay: ReplayLimits,
} }

/// What happened, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Requests over HTTP.
    pub requests: u64,
    /// Datagrams.
    pub datagrams: u64,
    /// Those of either that reached the application.
    pub accepted: u64,
    /// Datagrams or `Session` headers that are none, and messages that cannot be read.
    pub malformed: u64,
    /// Tickets that do not open, are revoked, or are for something else.
    pub bad_ticket: u64,
    /// MACs that do not verify.
    pub bad_mac: u64,
    /// Authentic requests that were seen before, or that nothing keeps from being played back.
    pub replayed: u64,
    /// Retransmitted datagrams.
    pub retransmitted: u64,
    /// Requests above the rate of their ticket.
    pub rate_limited: u64,
    /// Requests refused because a limit of the broker is reached.
    pub overloaded: u64,
    /// Queries that the application did not answer in time.
    pub timed_out: u64,
    /// Tickets handed out in place of others.
    pub replaced: u64,
    /// Answers.
    pub responses: u64,
}
