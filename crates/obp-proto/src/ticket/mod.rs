//! Tickets: what a broker must remember of a binding, sealed and left with the client.
//!
//! To clients a ticket is a string of octets that means nothing (draft-hallambaker-wsconnect-08 sections 4 and 12).
//! The format in that draft seals by a MAC inside the encryption and has no expiry; this one is AES-256-GCM under a
//! key of a [`KeyRing`], with the key's number in the clear, so that keys can be changed while old tickets live.

mod content;
mod key_ring;

pub use content::{Scope, TicketContent, TicketKind};
pub use key_ring::{KeyRing, KeyRingError, OpenError, SealError};

/// The shortest ticket that [`KeyRing::seal`] makes, in octets.
pub const MIN_LEN: usize = 80;
/// The longest.
pub const MAX_LEN: usize = 512;
/// The longest that fits a datagram; a longer one serves over HTTP alone.
pub const MAX_DATAGRAM_LEN: usize = 255;
