//! UYFM: a query in one datagram, its answer in up to sixteen (draft-hallambaker-wsconnect-08 section 8, with the
//! cryptography as the packet dump of draft-hallambaker-privatedns-01 section 2.2.2 shows it).
//!
//! [`RequestPacket`] and [`ResponsePacket`] are the octets, [`Entry`] what is encrypted in them, [`PacketKeys`] seals
//! and opens both, [`Reassembler`] puts responses together.

mod entry;
mod keys;
mod packet;
mod reassembly;
#[cfg(all(test, feature = "rust-crypto"))]
mod tests;

pub use entry::{Entries, Entry};
pub use keys::{KeyError, OpenError, PacketKeys, Padding, SealError, SealedRequest};
pub use packet::{DatagramError, RequestPacket, ResponsePacket};
pub use reassembly::{Progress, Reassembler, ReassemblyError, ReassemblyLimits};

/// The most packets of a response.
pub const MAX_PACKETS: u8 = 16;
/// The fewest octets of a transaction ID. The first sixteen are the initialisation vector.
pub const MIN_TRANSACTION_ID: usize = 16;
/// The default cap on a datagram, in octets: what every path carries unfragmented.
pub const DEFAULT_MAX_DATAGRAM: usize = 1200;
