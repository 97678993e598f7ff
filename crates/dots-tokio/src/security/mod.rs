//! DTLS without sockets: one trait, and what can be behind it.
//!
//! Both back ends speak DTLS 1.2 and authenticate both sides. Where they differ:
//!
//! | | `dimpl` (default) | `openssl` |
//! | --- | --- | --- |
//! | written in | Rust | C, of the system |
//! | certificates | ECDSA on P-256 and P-384 | what OpenSSL knows, RSA too |
//! | chains | sends and hands on the leaf alone; give the CAs between by [`with_intermediates`] | whole |
//! | PSK | PSK-AES128-CCM8: no forward secrecy | ECDHE-PSK first, then plain PSK (GCM, CCM, CCM8) |
//! | certificates and PSK at one listener | yes, as the ClientHello offers | yes |
//! | resumption (RFC 9132 section 7.1) | none | a Call Home client gives tickets and takes them; a Call Home server does not offer them back, because the crate's call for it is not safe Rust |
//! | server name indication | none | sent |
//! | raw public keys | none | none: that needs OpenSSL 3.2 |
//!
//! Either way the peer is judged when the handshake is over: one that is refused sees a `close_notify`, and nothing of
//! what it said was let through.
//!
//! TLS by rustls has chains, resumption by tickets in both roles, SNI, and raw public keys; it has no PSK.
//!
//! [`with_intermediates`]: crate::SecurityConfig::with_intermediates

#[cfg(feature = "dimpl")]
mod dimpl;
#[cfg(feature = "openssl")]
mod openssl;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rustls_pki_types::ServerName;

use crate::config::{Backend, SecurityConfig};
use crate::error::{ConfigError, SecurityError};
use crate::hello::Hello;
use crate::identity::Proof;

/// What a security engine has to say.
#[derive(Debug)]
#[non_exhaustive]
pub enum Secured {
    /// Send this datagram, alone.
    Datagram(Vec<u8>),
    /// The handshake is over, and its last flight was given out before this. The peer is not judged yet.
    Established(Proof),
    /// The content of one record.
    Data(Vec<u8>),
    /// It is over: said by the peer when there is no error.
    Closed(Option<SecurityError>),
    /// Nothing more, until something arrives or that instant comes.
    Idle(Option<Instant>),
}

/// One end of one DTLS session, without a socket.
///
/// After each call, [`poll`](Self::poll) until [`Secured::Idle`]. Datagrams that are malformed, replayed or not of this
/// session change nothing, and lead to nothing.
pub trait DatagramSecurity: Send + fmt::Debug {
    /// A datagram arrived.
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]);

    /// The instant of [`Secured::Idle`] has come.
    fn handle_timeout(&mut self, now: Instant);

    /// What comes next.
    fn poll(&mut self) -> Secured;

    /// Sends this, as one record in a datagram of its own.
    ///
    /// # Errors
    /// Before the handshake is over, after the end, or when it does not fit a record.
    fn seal(&mut self, now: Instant, content: &[u8]) -> Result<(), SecurityError>;

    /// Says goodbye.
    fn close(&mut self, now: Instant);

    /// Whether the session goes on from an earlier one.
    fn is_resumed(&self) -> bool {
        false
    }
}

/// What makes engines.
pub(crate) trait DatagramBackend: Send + Sync + fmt::Debug {
    /// A DTLS client for a peer of this name.
    fn connect(&self, now: Instant, name: &ServerName<'_>) -> Result<Box<dyn DatagramSecurity>, SecurityError>;

    /// A DTLS server that goes on where a hello has brought back our cookie.
    fn accept(&self, now: Instant, hello: &Hello<'_>) -> Result<Box<dyn DatagramSecurity>, SecurityError>;
}

/// The back end for a configuration; none when its credentials are not for DTLS.
pub(crate) fn backend(config: &SecurityConfig) -> Result<Option<Arc<dyn DatagramBackend>>, ConfigError> {
    let has_credentials = !config.raw_public_keys && config.key.is_some();
    if !has_credentials && config.psk.is_none() && config.psk_peers.is_empty() {
        return Ok(None);
    }
    match config.backend() {
        #[cfg(feature = "dimpl")]
        Some(Backend::Dimpl) => Ok(Some(Arc::new(dimpl::DimplBackend::new(config)?))),
        #[cfg(feature = "openssl")]
        Some(Backend::OpenSsl) => Ok(Some(Arc::new(openssl::OpenSslBackend::new(config)?))),
        None => Ok(None),
        #[cfg(not(any(feature = "dimpl", feature = "openssl")))]
        Some(never) => match never {},
    }
}
