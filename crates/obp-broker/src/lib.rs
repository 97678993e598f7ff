//! What an OmniBroker knows, apart from its protocol (draft-hallambaker-omnibroker-08): which connections to propose for
//! a service, whether a certificate may be used for it, and proofs of both. Sockets, sessions and encodings are the
//! business of `obp-proto` and `obp-hyper`.
//!
//! ```no_run
//! use std::sync::Arc;
//! use obp_broker::connect::{Broker, BrokerConfig, Question};
//! use obp_broker::policy::{PolicyStore, Policy};
//! use obp_broker::sources::{DnsConfig, DnsSource, Resolver, ResolverConfig};
//! use obp_broker::validate::{CrlStore, Roots, Validator, ValidatorConfig};
//! use obp_broker::{Clock, SystemClock};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
//! let dns = Arc::new(DnsSource::new(&DnsConfig::system()?)?);
//! let resolver = Resolver::new(dns, Arc::clone(&clock), ResolverConfig::default());
//! let policy = Arc::new(PolicyStore::open("policy.toml".as_ref())?);
//! tokio::spawn(Arc::clone(&policy).watch(std::time::Duration::from_secs(2)));
//! let roots = Roots::from_pem(&std::fs::read("roots.pem")?)?;
//! let validator = Validator::new(roots, Arc::new(CrlStore::new()), clock, ValidatorConfig::default());
//! let broker = Broker::new(resolver, policy, validator, BrokerConfig::default());
//!
//! let answer = broker.connect(&Question::new("example.com", Some("_https._tcp"), None)).await;
//! for connection in &answer.connections {
//!     println!("{}:{}", connection.address, connection.port);
//! }
//! # Ok(()) }
//! ```
//!
//! # Parts
//! - [`policy`]: rules and response policy zones; pure but for the store that reloads them.
//! - [`sources`]: DNS with DNSSEC validation behind a trait, cached, stale when it must be, each question asked once.
//! - [`connect`]: from records to an ordered list of connections; answers kept ready.
//! - [`validate`]: paths, names, revocation lists, DANE. It can veto, and never assert.
//! - [`proof`]: DNSSEC chains (RFC 9102), made here and checked by clients.
//!
//! # Features
//! | feature | what |
//! | --- | --- |
//! | `broker` (default) | everything |
//! | `verify` | [`proof`] alone, for clients: no runtime, no sockets, no clock |
//!
//! # Limits
//! | what | limit |
//! | --- | --- |
//! | ready answers, records kept | [`connect::BrokerConfig::answers`], [`sources::ResolverConfig::capacity`] |
//! | hosts behind a name, addresses of a host | 16, 16 |
//! | aliases (CNAME, AliasMode) | [`sources::ResolverConfig::max_aliases`], 8 |
//! | rules, zones, triggers of a zone | 200 000, 64, 5 000 000 |
//! | certificates of a request, octets of one | 16, 64 KiB |
//! | octets of a revocation list, lists kept | 64 MiB, 4096 issuers with 64 each |
//! | octets, records, signature checks of a proof | 65 535, 512, 192 |

#[cfg(feature = "broker")]
mod border;
#[cfg(feature = "broker")]
mod cache;
#[cfg(feature = "broker")]
mod clock;
#[cfg(feature = "broker")]
pub mod connect;
#[cfg(feature = "broker")]
mod der;
#[cfg(feature = "broker")]
mod flight;
#[cfg(feature = "broker")]
mod name;
#[cfg(feature = "broker")]
pub mod policy;
#[cfg(feature = "verify")]
pub mod proof;
#[cfg(feature = "broker")]
pub mod sources;
#[cfg(feature = "broker")]
mod status;
#[cfg(feature = "broker")]
pub mod validate;

#[cfg(feature = "broker")]
pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "broker")]
pub use name::{DomainName, NameError};
#[cfg(feature = "broker")]
pub use status::Status;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
