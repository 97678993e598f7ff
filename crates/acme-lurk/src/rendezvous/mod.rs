//! The rendezvous of the seed: one peer puts octets into a relay under a name that nobody can guess, tells the other the
//! URL by another way, and that one gets them. draft-hartke-xmpp-stupid-00 section 3.
//!
//! [`Relay`] is the relay, without the HTTP around it. The peers and their notification are not here yet.

mod query;
mod relay;

pub use query::chid;
pub use relay::{PutError, Relay, RelayLimits, RelayRequest, RelayResponse};
