//! TLS and peer identity: who may talk to whom, and how each knows.
//!
//! draft-ietf-idwg-iap-01 sections 3.2 (who is TLS client), 6.3 (versions), 6.4 to 6.6 (certificates and their checks)
//! and 6.7 (resumption). Both sides authenticate with certificates. The **analyzer is the TLS client and the manager the
//! TLS server, whoever dialled**: an analyzer calls [`Tls::connect`], a manager [`Tls::accept`], once the setup
//! exchange in clear text has come to its `101`.
//!
//! ```no_run
//! use bytes::Bytes;
//! use iap_tokio::tls::{Claim, Source, Tls, TlsConfig, manager_name};
//!
//! # async fn run(socket: tokio::net::TcpStream, dialled: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! let config = TlsConfig::new(Source::file("node.pem"), Source::file("node.key"), Source::file("ca.pem"))
//!     .with_crl(Source::file("ca.crl"))
//!     .with_allow_list(["*.sensors.example.org".parse()?]);
//! let tls = Tls::new(config)?;
//! for warning in tls.warnings() {
//!     eprintln!("{warning}");
//! }
//! // An analyzer, on a connection that either side dialled:
//! let up = tls.connect(socket, &manager_name("manager.example.org")?, Claim::MANAGER).await?;
//! println!("connected to {}", up.peer);
//! // A manager:
//! let up = tls.accept(dialled, Bytes::new(), Claim::ANALYZER).await?;
//! println!("{} is here, resumed: {}", up.peer, up.handshake.resumed);
//! # Ok(()) }
//! ```
//!
//! # What is checked
//!
//! | check | at the analyzer | at the manager | reason |
//! | --- | --- | --- | --- |
//! | path to a configured CA, signatures, dates | yes | yes | `wrong_ca`, `expired`, `not_yet_valid`, `no_certificate` |
//! | TLS purpose, if the certificate has extended key usages | `serverAuth` | `clientAuth` | `missing_eku` |
//! | revocation lists, for the whole chain | if given | if given | `revoked`, `crl_unusable` |
//! | name | the configured manager name | no | `bad_name` |
//! | IAP role | consumer or configurator | generator | `missing_eku` |
//! | allow list | if given | if given | `not_allowed` |
//!
//! In a full handshake all of that happens inside the handshake, so that the refused peer gets a TLS alert that says
//! why. **A resumed session is checked again in full after the handshake**, because rustls asks no verifier then; the
//! refused peer gets a `close_notify`, and an analyzer also forgets the session, so that its next attempt is a full
//! handshake. Whatever a [reload](Tls::reload) changes therefore applies to sessions from before, too.
//!
//! # Names
//!
//! The analyzer compares the manager's `dNSName`s or `iPAddress`es with the name that the operator configured, never
//! with one looked up over the network; `*` counts only as the whole left-most label (RFC 2595 section 2.4, RFC 6125).
//! The common name is not looked at, as in rustls itself and in RFC 9525;
//! [`with_common_name_fallback`](TlsConfig::with_common_name_fallback) accepts it from certificates without any
//! `subjectAltName`.
//!
//! # Deviations
//!
//! TLS 1.0 and its suite `TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA`, which the draft makes mandatory, are not implemented
//! by rustls and not safe: the floor is TLS 1.2, the suites are the provider's. TLS 1.2 needs the extended master secret
//! (RFC 7627). There is no early data. The cryptography is that of feature `ring` or `aws-lc-rs` or the caller's, never
//! that of a process-wide default.

mod allow;
mod authorize;
mod config;
mod context;
mod error;
mod files;
mod handshake;
mod identity;
mod oid;
mod prefixed;
mod verifier;
mod watch;

pub use allow::{AllowList, AllowRule, InvalidRule, NamePattern};
pub use authorize::{Authorizer, Claim};
pub use config::{EkuPolicy, ExpiredCrl, MinVersion, Sessions, Source, TlsConfig};
pub use context::{Tls, Warning, manager_name, tls_role};
pub use error::{AuthError, ConfigError, Reason, TlsError};
pub use files::CrlStatus;
pub use handshake::{Established, Handshake, TlsStream, Version};
pub use identity::{AlternativeNames, Fingerprint, Identity, MAX_NAMES, Roles};
pub use oid::{IapOids, InvalidOid, Oid};
pub use prefixed::Prefixed;
pub use watch::Watcher;
