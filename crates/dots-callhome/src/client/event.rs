//! What a client reports.

use crate::body::{BodyError, ConflictInformation, Lifetime, Scope};
use crate::params::SessionConfig;
use crate::wire::Code;

/// Why a mitigation came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "answers are few")]
pub enum Refused {
    /// 4.09: the traffic is legitimate. Do not ask again.
    LegitimateTraffic,
    /// 4.09 for another reason; it says with what.
    Conflict(ConflictInformation),
    /// Another code, with the diagnostic text of the server.
    Code(Code, String),
    /// The server rejected the message itself.
    Reset,
}

/// Why a server's report of its mitigations says nothing to us. Until one can be read, nothing is known of how they stand,
/// and nothing that the server keeps in spite of us is withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The body is malformed, or has more mitigations than [`Limits::scopes`](crate::Limits::scopes).
    #[error("{0}")]
    Body(#[source] BodyError),
    /// The body is about something else.
    #[error("it is no report of mitigations")]
    WrongBody,
    /// It takes more octets than [`Limits::body`](crate::Limits::body).
    #[error("it takes more than {0} octets")]
    TooLarge(usize),
    /// It became another one each time while it was fetched.
    #[error("it changes faster than it can be fetched")]
    Unsteady,
    /// The server refuses to say.
    #[error("it is refused: {0} {1}")]
    Code(Code, String),
}

/// What a client reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "events are few")]
pub enum ClientEvent {
    /// The server's settings are known, and in force.
    Configured {
        /// Which.
        config: SessionConfig,
    },
    /// A configuration of ours was refused: 4.22 and others.
    ConfigRefused {
        /// By which code.
        code: Code,
        /// The server's words.
        text: String,
    },
    /// The server mitigates, or will.
    Granted {
        /// What.
        mid: u32,
        /// How long.
        lifetime: Lifetime,
        /// In spite of a conflict with another client.
        conflict: Option<ConflictInformation>,
    },
    /// It will not.
    Refused {
        /// What.
        mid: u32,
        /// Why.
        why: Refused,
    },
    /// It will be asked again in so many seconds: the server is busy, or another client comes first.
    Waiting {
        /// What.
        mid: u32,
        /// Seconds.
        seconds: u32,
    },
    /// What the server says about a mitigation.
    Status {
        /// All of it; `mid` is there.
        scope: Box<Scope>,
    },
    /// The server's report of its mitigations cannot be read.
    ReportUnreadable {
        /// Why.
        why: Unreadable,
    },
    /// The withdrawal arrived.
    Withdrawn {
        /// What.
        mid: u32,
    },
    /// Its lifetime is over and no refresh was answered, so it may not be in force. It is asked for again until it is
    /// granted, refused or withdrawn.
    Lapsed {
        /// What.
        mid: u32,
    },
    /// It is over, by withdrawal, the server's decision, or another request in its place.
    Ended {
        /// What.
        mid: u32,
    },
    /// Our cuid is another client's; this is the new one (RFC 9132 section 4.4.1). Keep it.
    CuidChanged {
        /// The new one.
        cuid: String,
    },
    /// The server follows the redirection, or does not.
    Redirected {
        /// Whether it does.
        accepted: bool,
    },
    /// Heartbeats stay unanswered, and no attack explains it. The session stays usable: only a server reconnects.
    SessionSilent,
    /// It answers again.
    SessionRevived,
    /// The server said goodbye.
    SessionEnded {
        /// Seconds to stay away.
        hold_off: Option<u32>,
    },
}
