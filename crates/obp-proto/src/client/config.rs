//! What a client is told, and what it counts.

use std::sync::Arc;

use watchfire_core::{ConfigError, Duration, config_builder};

use crate::crypto::Provider;
use crate::session::Profile;
use crate::uyfm::{DEFAULT_MAX_DATAGRAM, Padding, ReassemblyLimits};
use crate::{DecodeOptions, Encoding};

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Where the cryptography comes from.
    pub provider: Arc<dyn Provider>,
    /// How messages are read.
    pub decode: DecodeOptions,
    /// What messages are encoded in over HTTP. JSON.
    pub http_encoding: Encoding,
    /// What messages are encoded in in datagrams. JSON-B.
    pub datagram_encoding: Encoding,
    /// What MACs over HTTP cover. Strict. Brokers of 2014 know the other one alone.
    pub profile: Profile,
    /// Whether HTTP goes over TLS. Yes.
    pub tls: bool,
    /// Whether answers over HTTP must be signed. Yes. Brokers of 2014 sign none; without this their answers are taken
    /// when they come over TLS.
    pub require_response_mac: bool,
    /// How requests in datagrams are padded. To multiples of 256 octets.
    pub padding: Padding,
    /// Octets of a datagram; longer queries go over HTTP. 1200.
    pub max_datagram: usize,
    /// How datagrams are sent again.
    pub retransmission: Retransmission,
    /// How long an exchange over HTTP may take. 10 s.
    pub http_timeout: Duration,
    /// How long a name may take to be resolved. 5 s.
    pub resolve_timeout: Duration,
    /// How long a query may take, whatever is tried. 20 s.
    pub total_timeout: Duration,
    /// How long an instance that did not answer is tried last. 30 s.
    pub down_time: Duration,
    /// Addresses of a name that are tried. 4.
    pub addresses_per_name: usize,
    /// Queries under way. 1024.
    pub max_queries: usize,
    /// Outputs that wait to be polled; beyond it queries are refused. 65 536.
    pub max_queued: usize,
    /// How responses of several datagrams are put together.
    pub reassembly: ReassemblyLimits,
}

impl ClientConfig {
    /// The defaults, each said above.
    pub fn builder(provider: Arc<dyn Provider>) -> ClientConfigBuilder {
        ClientConfigBuilder(Self {
            provider,
            decode: DecodeOptions::new(),
            http_encoding: Encoding::Json,
            datagram_encoding: Encoding::JsonB,
            profile: Profile::Strict,
            tls: true,
            require_response_mac: true,
            padding: Padding::Multiple(256),
            max_datagram: DEFAULT_MAX_DATAGRAM,
            retransmission: Retransmission::default(),
            http_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(20),
            down_time: Duration::from_secs(30),
            addresses_per_name: 4,
            max_queries: 1024,
            max_queued: 65_536,
            reassembly: ReassemblyLimits::default(),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(self.retransmission.tries > 0, "retransmission.tries", "must be at least 1")?;
        ConfigError::unless(!self.total_timeout.is_zero(), "total_timeout", "must not be zero")?;
        ConfigError::unless(self.addresses_per_name > 0, "addresses_per_name", "must be at least 1")?;
        ConfigError::unless(self.max_queries > 0, "max_queries", "must be at least 1")?;
        ConfigError::unless(self.max_queued > 0, "max_queued", "must be at least 1")
    }
}

config_builder! {
    /// What becomes a [`ClientConfig`].
    pub struct ClientConfigBuilder for ClientConfig {
        with_decode => decode: DecodeOptions,
        with_http_encoding => http_encoding: Encoding,
        with_datagram_encoding => datagram_encoding: Encoding,
        with_profile => profile: Profile,
        with_tls => tls: bool,
        with_require_response_mac => require_response_mac: bool,
        with_padding => padding: Padding,
        with_max_datagram => max_datagram: usize,
        with_retransmission => retransmission: Retransmission,
        with_http_timeout => http_timeout: Duration,
        with_resolve_timeout => resolve_timeout: Duration,
        with_total_timeout => total_timeout: Duration,
        with_down_time => down_time: Duration,
        with_addresses_per_name => addresses_per_name: usize,
        with_max_queries => max_queries: usize,
        with_max_queued => max_queued: usize,
        with_reassembly => reassembly: ReassemblyLimits,
    }
}

/// How often a datagram is sent, and after how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Retransmission {
    /// The wait after the first one; each wait after it is twice as long. 0.4 s.
    pub first_wait: Duration,
    /// How often it is sent in all, once at least. 3 times.
    pub tries: u8,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self { first_wait: Duration::from_millis(400), tries: 3 }
    }
}

/// What happened, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClientStats {
    /// Queries.
    pub queries: u64,
    /// Answers.
    pub answers: u64,
    /// Queries without answer.
    pub failures: u64,
    /// Datagrams sent again.
    pub retransmissions: u64,
    /// Exchanges over HTTP.
    pub exchanges: u64,
    /// Instances that were given up for a query.
    pub fail_overs: u64,
    /// Datagrams that are no responses.
    pub malformed: u64,
    /// Datagrams and responses that are not authentic.
    pub bad_mac: u64,
    /// Authentic datagrams that answer nothing that is waited for: copies, mostly.
    pub unexpected: u64,
    /// Packets of responses that contradict each other, or do not fit the limits.
    pub reassembly: u64,
    /// Tickets that the broker replaced.
    pub replaced: u64,
}
