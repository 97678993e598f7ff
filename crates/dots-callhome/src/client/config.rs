//! How a client behaves.

use watchfire_core::{ConfigError, config_builder};

use crate::limits::Limits;
use crate::request::Profile;

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Which document. Default RFC 9066.
    pub profile: Profile,
    /// Who we are: see [`cuid`](crate::cuid()).
    pub cuid: String,
    /// The server, by the name that (D)TLS proves; policies are asked about it.
    pub server: String,
    /// Whether a heartbeat follows each one of the server at once (RFC 9066 section 5.2.1 allows it). Default no.
    pub echo_heartbeats: bool,
    /// How far things may grow.
    pub limits: Limits,
}

impl ClientConfig {
    /// The defaults, for this client and that server.
    pub fn builder(cuid: impl Into<String>, server: impl Into<String>) -> ClientConfigBuilder {
        ClientConfigBuilder(Self {
            profile: Profile::Rfc9066,
            cuid: cuid.into(),
            server: server.into(),
            echo_heartbeats: false,
            limits: Limits::default(),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        // It is a part of a path: an option of CoAP (RFC 9132 section 4.4.1, RFC 7252 section 5.10).
        ConfigError::unless((1..=255).contains(&self.cuid.len()), "cuid", "must have 1 to 255 octets")?;
        let Limits { scopes, mitigations, .. } = self.limits;
        ConfigError::unless(scopes >= mitigations, "limits.scopes", "must not be below limits.mitigations")?;
        self.limits.check()
    }
}

config_builder! {
    /// What becomes a [`ClientConfig`].
    pub struct ClientConfigBuilder for ClientConfig {
        with_profile => profile: Profile,
        with_cuid => cuid: String,
        with_server => server: String,
        with_echo_heartbeats => echo_heartbeats: bool,
        with_limits => limits: Limits,
    }
}
