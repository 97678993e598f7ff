//! What IAP says: versions, hosts, statuses, media types, roles and the five messages. draft-ietf-idwg-iap-01
//! section 4.
//!
//! Values of these types are valid by construction. How they look in octets is the business of [`crate::wire`].

mod dialect;
mod host;
mod media;
mod role;
mod status;

pub use dialect::{Dialect, Form, Version};
pub use host::{Host, InvalidHost};
pub(crate) use media::is_token;
pub use media::{InvalidMediaType, MediaType};
pub use role::{DataRole, Party, Side, TlsRole};
pub use status::{Status, Verdict};

/// The first request of a connection: names the target and, behind proxies, the way taken so far. Section 4.3.2.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connect {
    /// How it was, or is to be, written.
    pub dialect: Dialect,
    /// The end entity that is wanted. A hint in clear text, never an authenticated identity.
    pub host: Host,
    /// The port; dialects 0.4 and 0.5 only (0.3 reads one when told to be liberal, and never writes it).
    pub port: Option<u16>,
    /// Who calls (`Source:`); dialects 0.4 and 0.5 only. Also only a hint.
    pub source: Option<Host>,
    /// Proxies passed, first one first.
    pub via: Vec<Host>,
}

impl Connect {
    /// A request for `host` that passed no proxy yet.
    pub fn new(dialect: Dialect, host: Host) -> Self {
        Self { dialect, host, port: None, source: None, via: Vec::new() }
    }
}

/// The request to start TLS. Section 4.3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upgrade {
    /// How it was, or is to be, written.
    pub dialect: Dialect,
    /// The minor number of the `TLS/1.x` token. The token names the step; the handshake decides the version.
    pub tls_minor: u8,
}

impl Upgrade {
    /// The request as the draft writes it: `TLS/1.0`.
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect, tls_minor: 0 }
    }
}

/// The first request inside TLS: repeats the version and says what the TCP initiator will be. Section 4.3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelSetup {
    /// How it was, or is to be, written.
    pub dialect: Dialect,
    /// The version stated under the protection of TLS.
    pub version: Version,
    /// The role of the TCP initiator in the data phase.
    pub role: DataRole,
}

impl ChannelSetup {
    /// A request that states `dialect`'s own version.
    pub const fn new(dialect: Dialect, role: DataRole) -> Self {
        Self { dialect, version: dialect.version, role }
    }
}

/// A setup request of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupRequest {
    /// TCP setup.
    Connect(Connect),
    /// Security setup.
    Upgrade(Upgrade),
    /// Channel setup.
    ChannelSetup(ChannelSetup),
}

impl SetupRequest {
    /// How it was written.
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Connect(connect) => connect.dialect,
            Self::Upgrade(upgrade) => upgrade.dialect,
            Self::ChannelSetup(channel) => channel.dialect,
        }
    }
}

/// The answer to any request. Section 4.3.1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// How it was, or is to be, written.
    pub dialect: Dialect,
    /// What became of the request.
    pub status: Status,
    /// Proxies that relayed the answer, the one nearest to the responder first.
    pub via: Vec<Host>,
}

impl Response {
    /// An answer that passed no proxy yet.
    pub const fn new(dialect: Dialect, status: Status) -> Self {
        Self { dialect, status, via: Vec::new() }
    }
}

/// What stands before a body in the data phase. Section 4.3.5.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentHeader {
    /// What the body is.
    pub content_type: MediaType,
    /// Octets of the body; what follows the body is not counted.
    pub content_length: u64,
}

impl ContentHeader {
    /// The header of a body of `content_length` octets.
    pub const fn new(content_type: MediaType, content_length: u64) -> Self {
        Self { content_type, content_length }
    }
}
