//! What a node is told before it starts: limits, timers, what to accept, how to send.

use std::num::NonZeroUsize;

use watchfire_core::{ConfigError, Duration, config_builder, setters};

use crate::compat::Compat;
use crate::message::{DataRole, Dialect, Host, MediaType, Party};

/// Everything that can grow, and how far. Each is enforced before memory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets in a line of setup or of a content header, CRLF included. Default 8192.
    pub line: usize,
    /// Lines in one message. Default 64.
    pub lines: usize,
    /// Via lines in one message. Default 16.
    pub via: usize,
    /// Octets in a body. A receiver that is sent a larger one answers 413 without reading it and closes. Default 1 MiB.
    pub body: u64,
    /// Receiver: contents handed out whose answer has not been written. At so many no more are handed out, and
    /// [`wants_input`](crate::Receiver::wants_input) says no. Zero is taken as one. Default 4096.
    pub unanswered: usize,
    /// Receiver: octets of bodies handed out and not answered; as above, though the last body may go beyond it. Also
    /// how many octets a driver may bring that does not ask `wants_input` before the connection ends. Default 8 MiB.
    pub unanswered_octets: usize,
    /// Octets queued and not polled, from which on `send_alert` says no, and a receiver takes no more. Default 1 MiB.
    pub max_buffered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 8 * 1024,
            lines: 64,
            via: 16,
            body: 1024 * 1024,
            unanswered: 4096,
            unanswered_octets: 8 * 1024 * 1024,
            max_buffered: 1024 * 1024,
        }
    }
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the first octet to the data phase. Default 30 s.
    pub setup: Duration,
    /// The TLS handshake, within the set-up. Default 10 s.
    pub tls_handshake: Duration,
    /// Sender: from sending a message, or from the answer before its own if that is later, to its answer. Default 30 s.
    pub ack: Duration,
    /// Receiver: from the first octet of a message to its last. Default 60 s.
    pub message: Duration,
    /// Receiver: without any octet; zero is for ever. Default zero.
    pub idle: Duration,
    /// Proxy: to reach the next hop and to get its answer, each. Default 10 s.
    pub next_hop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            setup: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
            ack: Duration::from_secs(30),
            message: Duration::from_secs(60),
            idle: Duration::ZERO,
            next_hop: Duration::from_secs(10),
        }
    }
}

/// Hides how long alerts are (draft-ietf-idwg-iap-01 section 7.4) by spaces behind the body, where the media type
/// [gives them no meaning](MediaType::ignores_trailing_space); other bodies go out as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Padding {
    /// As long as it is.
    #[default]
    None,
    /// Up to the next multiple of so many octets.
    Bucket(NonZeroUsize),
}

impl Padding {
    /// Octets to add to a body of `len` octets so that the whole stays within `limit`.
    pub fn octets(self, content_type: &MediaType, len: usize, limit: u64) -> usize {
        match self {
            Self::Bucket(bucket) if content_type.ignores_trailing_space() => {
                let padded = len.checked_next_multiple_of(bucket.get()).unwrap_or(len);
                if padded as u64 <= limit { padded.saturating_sub(len) } else { 0 }
            }
            _ => 0,
        }
    }
}

/// A node's configuration; shared by all its connections. [`Config::analyzer`] and [`Config::manager`] are the defaults;
/// [`Config::builder`] starts from them.
///
/// ```
/// use iap_proto::{Compat, Config, Dialect, Party};
///
/// let config = Config::builder(Party::Manager)
///     .with_dialects(vec![Dialect::V0_3, Dialect::V0_5])
///     .with_compat(Compat::strict())
///     .with_served_names(vec!["manager.example.com".parse()?])
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What this node is.
    pub party: Party,
    /// Versions spoken: an initiator speaks the first, a responder any of them. Default 0.3 alone.
    pub dialects: Vec<Dialect>,
    /// What is read beyond the strict grammar.
    pub compat: Compat,
    /// How far things may grow.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Whether commands from managers to analyzers are implemented (section 2.2 makes them optional). Default no.
    pub commands: bool,
    /// Responder: whether TLS is configured. If not, upgrades are answered 500. Default yes.
    pub tls: bool,
    /// Responder: names that CONNECT may ask for; any if empty. Default empty.
    pub served_names: Vec<Host>,
    /// Receiver: media types taken, by type and subtype; any if empty. Default empty for managers. For analyzers it
    /// must name the types of the commands they understand: with an empty list every command is answered 415.
    pub accept: Vec<MediaType>,
    /// Sender: messages sent and not answered. 1 is the literal reading of the draft and needs a round trip for each
    /// alert; any peer that answers in order can take more. Default 64.
    pub window: NonZeroUsize,
    /// Sender: whether to hide lengths. Default no.
    pub padding: Padding,
}

impl Config {
    fn new(party: Party) -> Self {
        Self {
            party,
            dialects: vec![Dialect::V0_3],
            compat: Compat::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            commands: false,
            tls: true,
            served_names: Vec::new(),
            accept: Vec::new(),
            window: const { NonZeroUsize::new(64).expect("64 is not zero") },
            padding: Padding::None,
        }
    }

    /// The defaults of an analyzer or a manager, each said above, to be changed.
    pub fn builder(party: Party) -> ConfigBuilder {
        ConfigBuilder(Self::new(party))
    }

    /// An analyzer's defaults.
    pub fn analyzer() -> Self {
        Self::new(Party::Analyzer)
    }

    /// A manager's defaults.
    pub fn manager() -> Self {
        Self::new(Party::Manager)
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(!self.dialects.is_empty(), "dialects", "must have one at least")?;
        ConfigError::unless(self.dialects.iter().all(|dialect| dialect.is_known()), "dialects", "must be known ones")?;
        ConfigError::unless(self.limits.line >= 2, "limits.line", "must have room for the end of a line")
    }

    /// The dialect an initiator speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialects.first().copied().unwrap_or(Dialect::V0_3)
    }

    /// Whether this node can play `role` in the data phase: alerts flow from analyzers to managers, and commands
    /// the other way where they are implemented.
    pub fn can_play(&self, role: DataRole) -> bool {
        self.commands
            || match self.party {
                Party::Analyzer => role == DataRole::Sender,
                Party::Manager => role == DataRole::Receiver,
            }
    }

    /// Whether a body of this type is taken.
    pub fn accepts(&self, content_type: &MediaType) -> bool {
        if self.accept.is_empty() {
            self.party == Party::Manager
        } else {
            self.accept.iter().any(|accepted| accepted.is_same_essence(content_type))
        }
    }
}

setters! { Limits {
    with_line => line: usize,
    with_lines => lines: usize,
    with_via => via: usize,
    with_body => body: u64,
    with_unanswered => unanswered: usize,
    with_unanswered_octets => unanswered_octets: usize,
    with_max_buffered => max_buffered: usize,
} }

setters! { Timeouts {
    with_setup => setup: Duration,
    with_tls_handshake => tls_handshake: Duration,
    with_ack => ack: Duration,
    with_message => message: Duration,
    with_idle => idle: Duration,
    with_next_hop => next_hop: Duration,
} }

config_builder! {
    /// What becomes a [`Config`].
    pub struct ConfigBuilder for Config {
        with_dialects => dialects: Vec<Dialect>,
        with_compat => compat: Compat,
        with_limits => limits: Limits,
        with_timeouts => timeouts: Timeouts,
        with_commands => commands: bool,
        with_tls => tls: bool,
        with_served_names => served_names: Vec<Host>,
        with_accept => accept: Vec<MediaType>,
        with_window => window: NonZeroUsize,
        with_padding => padding: Padding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_buckets_where_space_is_harmless() {
        let bucket = Padding::Bucket(NonZeroUsize::new(1024).unwrap());
        assert_eq!(bucket.octets(&MediaType::IDEF_ALERT, 1000, 1 << 20), 24);
        assert_eq!(bucket.octets(&MediaType::IDEF_ALERT, 1024, 1 << 20), 0);
        assert_eq!(bucket.octets(&MediaType::IDEF_ALERT, 1025, 2000), 0, "stays within the body limit");
        assert_eq!(bucket.octets(&MediaType::OCTET_STREAM, 1000, 1 << 20), 0);
        assert_eq!(Padding::None.octets(&MediaType::JSON, 1000, 1 << 20), 0);
    }

    #[test]
    fn roles_follow_the_party_unless_commands_are_on() {
        assert!(Config::analyzer().can_play(DataRole::Sender));
        assert!(!Config::analyzer().can_play(DataRole::Receiver));
        assert!(Config::manager().can_play(DataRole::Receiver));
        assert!(!Config::manager().can_play(DataRole::Sender));
        assert!(Config::builder(Party::Manager).with_commands(true).build().unwrap().can_play(DataRole::Sender));
    }

    #[test]
    fn analyzers_take_only_the_commands_they_name() {
        assert!(Config::manager().accepts(&MediaType::OCTET_STREAM));
        assert!(!Config::analyzer().accepts(&MediaType::IDEF_ALERT));
        assert!(
            Config::builder(Party::Analyzer)
                .with_accept(vec![MediaType::JSON])
                .build()
                .unwrap()
                .accepts(&MediaType::JSON)
        );
    }
}
