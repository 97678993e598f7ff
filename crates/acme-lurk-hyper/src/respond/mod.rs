//! Meeting challenges. [RFC 8555 section 8](https://www.rfc-editor.org/rfc/rfc8555#section-8),
//! [RFC 8737](https://www.rfc-editor.org/rfc/rfc8737)
//!
//! | who | how |
//! | --- | --- |
//! | [`DnsHook`] | dns-01 by a program: `CMD present NAME TXT-VALUE`, `CMD cleanup NAME TXT-VALUE` |
//! | [`DnsUpdate`] | dns-01 by dynamic updates of the zone (RFC 2136), signed with TSIG |
//! | [`Http01`] | http-01 by a listener of its own |
//! | [`TlsAlpn01`] | tls-alpn-01 by a listener of its own |
//! | [`Responders`] | several of them |

mod hook;
mod http01;
mod tls_alpn01;
mod update;

use std::sync::Arc;

use acme_lurk::acme::ChallengeKind;
use acme_lurk::acme::client::Provision;

pub use hook::DnsHook;
pub use http01::Http01;
pub use tls_alpn01::TlsAlpn01;
pub use update::{DnsUpdate, NoZone, TsigKey, TsigKeyError};

use crate::Going;

/// Meets challenges.
pub trait Responder: Send + Sync + 'static {
    /// Makes one come true; it is looked at as soon as this is done.
    fn present<'a>(&'a self, provision: &'a Provision) -> Going<'a, Result<(), String>>;

    /// Takes it back.
    fn clean_up<'a>(&'a self, provision: &'a Provision) -> Going<'a, ()>;

    /// Which kinds it can meet, the preferred one first.
    fn kinds(&self) -> Vec<ChallengeKind>;
}

/// Meets none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Nobody;

impl Responder for Nobody {
    fn present<'a>(&'a self, provision: &'a Provision) -> Going<'a, Result<(), String>> {
        Box::pin(async move { Err(format!("nobody here meets challenges of the kind {}", provision.kind)) })
    }

    fn clean_up<'a>(&'a self, _provision: &'a Provision) -> Going<'a, ()> {
        Box::pin(async {})
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        Vec::new()
    }
}

/// Several, each for its kinds; the first that can meet a challenge does.
#[derive(Clone, Default)]
pub struct Responders(Vec<Arc<dyn Responder>>);

impl Responders {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same and another.
    #[must_use]
    pub fn with(mut self, responder: Arc<dyn Responder>) -> Self {
        self.0.push(responder);
        self
    }

    fn of(&self, kind: &ChallengeKind) -> &dyn Responder {
        self.0.iter().find(|one| one.kinds().contains(kind)).map_or(&Nobody, |one| &**one)
    }
}

impl Responder for Responders {
    fn present<'a>(&'a self, provision: &'a Provision) -> Going<'a, Result<(), String>> {
        self.of(&provision.kind).present(provision)
    }

    fn clean_up<'a>(&'a self, provision: &'a Provision) -> Going<'a, ()> {
        self.of(&provision.kind).clean_up(provision)
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        let mut kinds = Vec::new();
        for kind in self.0.iter().flat_map(|one| one.kinds()) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }
}

impl std::fmt::Debug for Responders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Responders").field(&self.kinds()).finish()
    }
}
