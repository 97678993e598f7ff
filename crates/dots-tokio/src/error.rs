//! Errors, sorted by who is to blame.

use dots_callhome::Transport;

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Octets that are neither PEM nor DER of what they should be.
    #[error("{what} cannot be read: {problem}")]
    Unreadable {
        /// Such as "the certificate".
        what: &'static str,
        /// Why not.
        problem: String,
    },
    /// Nothing to prove who we are with.
    #[error("no certificate, raw public key or PSK to authenticate with")]
    NoCredentials,
    /// Nobody would be let in.
    #[error("no CA, pin or PSK: no peer could authenticate")]
    NoTrust,
    /// The certificate and the key do not belong together, or the back end cannot use them.
    #[error("certificate and key cannot be used: {0}")]
    Key(String),
    /// The cryptography that was chosen cannot do it.
    #[error("{0}")]
    Unsupported(&'static str),
    /// No provider: neither a feature nor the caller gives one.
    #[error("no TLS provider: enable the feature ring or aws-lc-rs, or hand one in")]
    NoProvider,
    /// The system gives no randomness.
    #[error("the system has no randomness: {0}")]
    NoRandomness(String),
    /// The machine cannot be as it was set.
    #[error("the setting {0}")]
    Machine(#[from] dots_callhome::ConfigError),
    /// A name that is neither a DNS name nor an address.
    #[error("{0:?} is no name that a certificate could have")]
    BadName(String),
}

/// Why a peer is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It showed nothing.
    #[error("it showed no certificate")]
    NoCertificate,
    /// Its certificate is malformed.
    #[error("its certificate cannot be read")]
    BadCertificate,
    /// No path to a CA that is trusted, a date that is past, a purpose that is another: the words of path validation.
    #[error("its certificate is not valid: {0}")]
    InvalidPath(String),
    /// It, or one above it, is on a revocation list.
    #[error("its certificate is revoked")]
    Revoked,
    /// Another name.
    #[error("its certificate is not for {wanted:?}, but for {present:?}")]
    WrongName {
        /// Who should be there.
        wanted: String,
        /// Who it says it is.
        present: Vec<String>,
    },
    /// A key that is not pinned.
    #[error("its key is not pinned")]
    NotPinned,
    /// Good, but not on the list.
    #[error("{0:?} is not on the list of peers")]
    NotListed(String),
}

/// Why a (D)TLS session did not come about, or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// We refused the peer.
    #[error("the peer was refused: {0}")]
    Refused(#[from] AuthError),
    /// The handshake failed, or the peer refused us.
    #[error("handshake failed: {0}")]
    Handshake(String),
    /// It took too long.
    #[error("the handshake took too long")]
    TimedOut,
    /// The socket failed.
    #[error("{0}")]
    Io(String),
    /// It is closed.
    #[error("the session is closed")]
    Closed,
}

impl From<std::io::Error> for SecurityError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Why nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No listener, or no upstream, was given.
    #[error("nothing to listen on and nobody to connect to")]
    Nothing,
    /// The credentials do not allow it: a PSK is for DTLS, a raw public key for TLS.
    #[error("these credentials cannot be used over {0:?}")]
    Transport(Transport),
    /// The socket failed.
    #[error("{0}")]
    Io(String),
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Why a request to a handle came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No such peer.
    #[error("no peer is called {0:?}")]
    UnknownPeer(String),
    /// There are as many as there may be.
    #[error("there are as many peers as there may be")]
    TooManyPeers,
    /// The machine says why.
    #[error(transparent)]
    Machine(#[from] dots_callhome::Error),
    /// It was stopped.
    #[error("stopped")]
    Stopped,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The server refused.
    #[error("refused: {0}")]
    Refused(String),
}
