//! Versions, and the two ways of writing that the drafts knew. draft-ietf-idwg-iap-01 section 1.6; -03 to -05.

use std::fmt;

use super::{Party, Side, TlsRole};

/// A protocol version, `IAP/<major>.<minor>`. Section 1.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct Version {
    /// Changes when the way of parsing changes.
    pub major: u16,
    /// Changes when something is added.
    pub minor: u16,
}

impl Version {
    /// Version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

/// `0.3`, without the `IAP/`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Form {
    /// Setup lines start with the version: `IAP/0.3 CONNECT host`. Drafts up to -01.
    Prefixed,
    /// Request lines and headers like HTTP's: `CONNECT host:port IAP/0.5`. Drafts -03 to -05.
    HttpLike,
}

/// A version together with its way of writing. Everything that differs between the drafts hangs on this one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Dialect {
    /// How messages are written.
    pub form: Form,
    /// The version they state.
    pub version: Version,
}

impl Dialect {
    /// IAP/0.3, draft-ietf-idwg-iap-01: the dialect this crate is about.
    pub const V0_3: Self = Self { form: Form::Prefixed, version: Version::new(0, 3) };
    /// IAP/0.4, drafts -03 and -04.
    pub const V0_4: Self = Self { form: Form::HttpLike, version: Version::new(0, 4) };
    /// IAP/0.5, draft -05.
    pub const V0_5: Self = Self { form: Form::HttpLike, version: Version::new(0, 5) };

    /// A dialect as found on the wire; it need not be one that we speak.
    pub const fn new(form: Form, version: Version) -> Self {
        Self { form, version }
    }

    /// Whether this crate speaks it to the end: 0.3, 0.4 or 0.5 in its own form.
    pub fn is_known(self) -> bool {
        matches!(self, Self::V0_3 | Self::V0_4 | Self::V0_5)
    }

    /// What a node does in the TLS handshake. In 0.3 the analyzer is the TLS client whoever dialled (section 3.2);
    /// in 0.4 and 0.5 the TCP initiator is.
    pub fn tls_role(self, party: Party, side: Side) -> TlsRole {
        let client = match self.form {
            Form::Prefixed => party == Party::Analyzer,
            Form::HttpLike => side == Side::Initiator,
        };
        if client { TlsRole::Client } else { TlsRole::Server }
    }
}

/// `IAP/0.3`.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IAP/{}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_analyzer_is_tls_client_in_0_3_and_the_initiator_in_0_5() {
        for (dialect, party, side, role) in [
            (Dialect::V0_3, Party::Analyzer, Side::Initiator, TlsRole::Client),
            (Dialect::V0_3, Party::Analyzer, Side::Responder, TlsRole::Client),
            (Dialect::V0_3, Party::Manager, Side::Initiator, TlsRole::Server),
            (Dialect::V0_3, Party::Manager, Side::Responder, TlsRole::Server),
            (Dialect::V0_5, Party::Analyzer, Side::Initiator, TlsRole::Client),
            (Dialect::V0_5, Party::Analyzer, Side::Responder, TlsRole::Server),
            (Dialect::V0_4, Party::Manager, Side::Initiator, TlsRole::Client),
            (Dialect::V0_4, Party::Manager, Side::Responder, TlsRole::Server),
        ] {
            assert_eq!(dialect.tls_role(party, side), role, "{dialect} {party:?} {side:?}");
        }
    }
}
