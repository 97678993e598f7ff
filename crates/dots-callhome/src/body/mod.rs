//! DOTS bodies: `application/dots+cbor` typed, and their JSON. RFC 9132 sections 4 to 6, RFC 9066 section 6.
//!
//! Written with ascending keys, definite lengths, shortest integers. Read in any order and form that CBOR allows, but
//! with no key twice, nothing behind the end, and within [limits](MAX_TEXT). A body is read for a [`Direction`]: what a
//! server says is taken more leniently than what is asked of it.

mod address;
mod config;
mod encode;
mod enums;
mod error;
pub mod json;
pub mod key;
mod list;
mod prefix;
mod reader;
mod redirect;
mod scope;
#[cfg(test)]
mod tests;

pub use config::{ConfigSet, Decimal, Offered, SignalConfig};
pub use enums::{ActivationType, AttackStatus, ConflictCause, ConflictStatus, Status};
pub use error::{BodyError, BodyErrorKind};
pub use list::List;
pub use prefix::{InvalidPrefix, Prefix};
pub use reader::{Direction, Extra, MAX_DEPTH, MAX_ITEMS, MAX_PREFIXES, MAX_SCOPES, MAX_TEXT};
pub use redirect::RedirectedSignal;
pub use scope::{Acl, ConflictInformation, ConflictScope, IcmpRange, Lifetime, PortRange, Scope};

use encode::Writer;
use reader::Reader;

/// One body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the choice of the YANG module")]
pub enum Body {
    /// Mitigation: asked for, granted, reported.
    Mitigation(Vec<Scope>),
    /// How the session is kept.
    Config(Box<SignalConfig>),
    /// Go elsewhere.
    Redirect(Box<RedirectedSignal>),
    /// Alive, and whether the peer is heard.
    Heartbeat {
        /// Whether a heartbeat of the peer came within the last two intervals.
        peer_hb_status: bool,
    },
}

impl Body {
    /// Reads a body. A self-describing tag (271) in front is accepted.
    ///
    /// # Errors
    /// When it is no DOTS body, or has a key that must be understood and is not.
    pub fn decode(octets: &[u8], direction: Direction) -> Result<Self, BodyError> {
        Self::read(Reader::new(octets, direction, MAX_SCOPES))
    }

    /// Reads what a server says, with at most `scopes` mitigations in it.
    ///
    /// # Errors
    /// As [`Self::decode`], and when there are more.
    pub fn decode_report(octets: &[u8], scopes: usize) -> Result<Self, BodyError> {
        Self::read(Reader::new(octets, Direction::Response, scopes))
    }

    fn read(mut reader: Reader<'_>) -> Result<Self, BodyError> {
        // The scopes of a mitigation apart from the rest, which is large and rare, so that it need not be moved about.
        let (mut scopes, mut other) = (None, None);
        reader.skip_dots_tag()?;
        reader.map(&mut Vec::new(), |reader, key| {
            if (scopes.is_some() || other.is_some()) && matches!(key, 1 | 30 | 46 | 49) {
                return Err(reader.error(BodyErrorKind::SecondRoot));
            }
            match key {
                key::MITIGATION_SCOPE => scopes = Some(scope::read_container(reader)?),
                key::SIGNAL_CONFIG => other = Some(SignalConfig::read(reader)?.into()),
                key::REDIRECTED_SIGNAL => other = Some(RedirectedSignal::read(reader)?.into()),
                key::HEARTBEAT => other = Some(Self::Heartbeat { peer_hb_status: redirect::read_heartbeat(reader)? }),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.finish()?;
        match scopes {
            Some(scopes) => Ok(Self::Mitigation(scopes)),
            None => other.ok_or_else(|| reader.error(BodyErrorKind::NoRoot)),
        }
    }

    /// Writes it behind what is in `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        match self {
            Self::Mitigation(scopes) => {
                writer.map_of_one(key::MITIGATION_SCOPE);
                writer.map(|writer| {
                    writer.array(key::SCOPE, scopes.len());
                    scopes.iter().for_each(|scope| scope.write(writer));
                });
            }
            Self::Config(config) => {
                writer.map_of_one(key::SIGNAL_CONFIG);
                config.write(&mut writer);
            }
            Self::Redirect(redirect) => {
                writer.map_of_one(key::REDIRECTED_SIGNAL);
                redirect.write(&mut writer);
            }
            Self::Heartbeat { peer_hb_status } => {
                writer.map_of_one(key::HEARTBEAT);
                writer.map_of_one(key::PEER_HB_STATUS);
                writer.bool(*peer_hb_status);
            }
        }
    }

    /// It as octets.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.encode(&mut out);
        out
    }
}

impl From<SignalConfig> for Body {
    fn from(config: SignalConfig) -> Self {
        Self::Config(Box::new(config))
    }
}

impl From<RedirectedSignal> for Body {
    fn from(redirect: RedirectedSignal) -> Self {
        Self::Redirect(Box::new(redirect))
    }
}

impl From<Scope> for Body {
    fn from(scope: Scope) -> Self {
        Self::Mitigation(vec![scope])
    }
}
