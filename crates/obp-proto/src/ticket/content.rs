//! What a ticket holds, and its octets before they are sealed.

use std::fmt;

use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use super::SealError;
use crate::crypto::{Authentication, Encryption};

/// What a ticket may be used for: the `Protocol` of its `Cryptographic` block (draft-hallambaker-wsconnect-08
/// section 6.2). A ticket for one is refused by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// `sxs-connect`: managing the binding.
    Management,
    /// `omni-query`: asking.
    Query,
}

impl Scope {
    /// The protocol label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Management => "sxs-connect",
            Self::Query => "omni-query",
        }
    }

    /// Reads a protocol label, those of older drafts too.
    pub fn from_label(label: &str) -> Option<Self> {
        match label {
            "sxs-connect" | "OBPConnection" => Some(Self::Management),
            "omni-query" | "OBPQuery" => Some(Self::Query),
            _ => None,
        }
    }
}

/// Whether a binding exists already.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketKind {
    /// The client is bound.
    Binding,
    /// The client is about to prove that it knows the PIN.
    Temporary {
        /// The client's challenge; at most 80 octets (640 bits).
        client_challenge: Vec<u8>,
        /// The broker's challenge; at most 80 octets.
        server_challenge: Vec<u8>,
    },
}

impl fmt::Debug for TicketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binding => "Binding",
            Self::Temporary { .. } => "Temporary",
        })
    }
}

/// The inside of a ticket. The secret is wiped when this is dropped, and not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the issuer builds it")]
pub struct TicketContent {
    /// Bound, or about to be.
    pub kind: TicketKind,
    /// What it may be used for.
    pub scope: Scope,
    /// How messages under it are authenticated; one of [`Authentication::KNOWN`].
    pub authentication: Authentication,
    /// How datagrams under it are encrypted; one of [`Encryption::KNOWN`].
    pub encryption: Encryption,
    /// The secret shared with the client; 16 to 64 octets, and no fewer than the cipher's key has.
    pub secret: Zeroizing<Vec<u8>>,
    /// Whom it was issued to, as `account@domain`; empty for an anonymous binding. At most 255 octets.
    pub account: String,
    /// Names the binding, through all tickets that replace each other.
    pub binding: [u8; 16],
    /// When it was issued.
    pub issued: UnixTime,
    /// From when on it is not taken.
    pub expires: UnixTime,
}

impl fmt::Debug for TicketContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketContent")
            .field("kind", &self.kind)
            .field("scope", &self.scope)
            .field("authentication", &self.authentication)
            .field("encryption", &self.encryption)
            .field("account", &self.account)
            .field("issued", &self.issued)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl TicketContent {
    /// Appends the octets.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), SealError> {
        let authentication =
            self.authentication.code().ok_or_else(|| SealError::Algorithm(self.authentication.label().into()))?;
        let encryption = self.encryption.code().ok_or_else(|| SealError::Algorithm(self.encryption.label().into()))?;
        let least = self.encryption.key_len().unwrap_or(0).max(16);
        if !(least..=64).contains(&self.secret.len()) {
            return Err(SealError::SecretLength(self.secret.len()));
        }
        let (kind, challenges) = match &self.kind {
            TicketKind::Binding => (0, None),
            TicketKind::Temporary { client_challenge, server_challenge } => {
                (1, Some([client_challenge, server_challenge]))
            }
        };
        let scope = match self.scope {
            Scope::Management => 0,
            Scope::Query => 1,
        };
        out.extend_from_slice(&[kind, scope, authentication, encryption]);
        out.extend_from_slice(&self.issued.as_secs().to_be_bytes());
        out.extend_from_slice(&self.expires.as_secs().to_be_bytes());
        out.extend_from_slice(&self.binding);
        put(out, &self.secret)?;
        put(out, self.account.as_bytes())?;
        for challenge in challenges.into_iter().flatten() {
            if challenge.len() > 80 {
                return Err(SealError::TooLong);
            }
            put(out, challenge)?;
        }
        Ok(())
    }

    /// Reads the octets, with the zeros that pad them. None for anything that [`Self::encode`] does not write.
    pub(super) fn decode(mut octets: &[u8]) -> Option<Self> {
        let input = &mut octets;
        let [kind, scope, authentication, encryption] = take_array(input)?;
        let scope = match scope {
            0 => Scope::Management,
            1 => Scope::Query,
            _ => return None,
        };
        let issued = UnixTime::from_secs(i64::from_be_bytes(take_array(input)?));
        let expires = UnixTime::from_secs(i64::from_be_bytes(take_array(input)?));
        let binding = take_array(input)?;
        let secret = Zeroizing::new(take(input)?.to_vec());
        let account = String::from_utf8(take(input)?.to_vec()).ok()?;
        let kind = match kind {
            0 => TicketKind::Binding,
            1 => TicketKind::Temporary {
                client_challenge: take(input)?.to_vec(),
                server_challenge: take(input)?.to_vec(),
            },
            _ => return None,
        };
        let content = Self {
            kind,
            scope,
            authentication: Authentication::from_code(authentication)?,
            encryption: Encryption::from_code(encryption)?,
            secret,
            account,
            binding,
            issued,
            expires,
        };
        octets.iter().all(|octet| *octet == 0).then_some(content)
    }
}

/// One octet of length, then the octets.
fn put(out: &mut Vec<u8>, octets: &[u8]) -> Result<(), SealError> {
    out.push(u8::try_from(octets.len()).map_err(|_| SealError::TooLong)?);
    out.extend_from_slice(octets);
    Ok(())
}

fn take<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = input.split_first()?;
    let (octets, rest) = rest.split_at_checked(usize::from(*len))?;
    *input = rest;
    Some(octets)
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (octets, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*octets)
}
