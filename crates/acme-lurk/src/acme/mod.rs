//! ACME: its messages, its challenges, the client, the server of a CA. [RFC 8555](https://www.rfc-editor.org/rfc/rfc8555)
//!
//! Messages are read strictly where their meaning hangs on it, and keep members that they do not know, because STAR and
//! delegation are such members to those who know neither.

mod account;
mod authorization;
pub mod challenge;
pub mod client;
mod delegation;
mod directory;
mod identifier;
mod order;
mod problem;
pub mod renewal;
pub mod server;

pub use account::{Account, AccountStatus, NewAccount};
pub use authorization::{Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeStatus};
pub use delegation::{Delegation, decode_delegations, encode_delegations};
pub use directory::{Directory, Meta};
pub use identifier::{Identifier, IdentifierKind};
pub use order::{Finalize, NewOrder, Order, OrderStatus};
pub use problem::{Problem, ProblemType, Subproblem};

/// An enum of the words that a member may have.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $expected:literal, { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// The word in messages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            pub(crate) fn read(members: &mut $crate::json::Members, name: &str) -> Result<Self, $crate::DecodeError> {
                let word = members.required_text(name)?;
                match word.as_str() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(members.error(name, $crate::DecodeErrorKind::Expected($expected))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;
