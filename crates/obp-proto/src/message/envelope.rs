//! The envelope: an object whose only member names the message. draft-hallambaker-omnibroker-08 section 7.1 and the
//! examples.

use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};

use super::connect::{
    BindRequest, ErrorResponse, OpenPinRequest, OpenPinResponse, PollRequest, TicketRequest, TicketResponse,
    UnbindRequest, UnbindResponse,
};
use super::query::{QueryConnectRequest, QueryConnectResponse, ValidateRequest, ValidateResponse};
use super::structure::{Rules, Seed, shorten};
use crate::error::DecodeErrorKind;
use crate::status::Status;

macro_rules! messages {
    ($($(#[$meta:meta])* $variant:ident = $wire:literal,)*) => {
        /// Any message.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Message {
            $($(#[$meta])* $variant($variant),)*
        }

        impl Message {
            /// The names on the wire of all messages that this crate knows.
            pub const NAMES: &'static [&'static str] = &[$($wire),*];

            /// Its name on the wire.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $wire,)*
                }
            }
        }

        $(impl From<$variant> for Message {
            fn from(message: $variant) -> Self {
                Self::$variant(message)
            }
        })*

        impl serde::Serialize for Message {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut envelope = serializer.serialize_map(Some(1))?;
                match self {
                    $(Self::$variant(message) => envelope.serialize_entry($wire, message)?,)*
                }
                envelope.end()
            }
        }

        #[derive(Clone, Copy)]
        enum Known {
            $($variant,)*
        }

        impl Known {
            fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($wire => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn read<'de, A: MapAccess<'de>>(self, map: &mut A, rules: Rules<'_>) -> Result<Message, A::Error> {
                match self {
                    $(Self::$variant => {
                        match map.next_value_seed(Seed::<$variant>::new(rules)) {
                            Ok(message) => Ok(Message::$variant(message)),
                            Err(error) => Err(rules.trace.member($wire, error)),
                        }
                    })*
                }
            }
        }
    };
}

messages! {
    /// How best to connect to a service or peer?
    QueryConnectRequest = "QueryConnectRequest",
    /// So.
    QueryConnectResponse = "QueryConnectResponse",
    /// Are these credentials good?
    ValidateRequest = "ValidateRequest",
    /// They are, or not.
    ValidateResponse = "ValidateResponse",
    /// Nothing but a status; the answer of older brokers to what they cannot answer.
    ErrorResponse = "ErrorResponse",
    /// Service, without a PIN, please.
    BindRequest = "BindRequest",
    /// A binding by PIN, please.
    OpenPinRequest = "OpenPINRequest",
    /// The broker's proof, and a challenge.
    OpenPinResponse = "OpenPINResponse",
    /// Is it confirmed yet?
    PollRequest = "PollRequest",
    /// The client's proof; or new tickets, please.
    TicketRequest = "TicketRequest",
    /// Tickets.
    TicketResponse = "TicketResponse",
    /// The end, please.
    UnbindRequest = "UnbindRequest",
    /// The end.
    UnbindResponse = "UnbindResponse",
}

impl Message {
    /// The status, of a response that has one.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::QueryConnectResponse(message) => Some(message.status),
            Self::ValidateResponse(message) => Some(message.status),
            Self::ErrorResponse(message) => message.status,
            Self::OpenPinResponse(message) => message.status,
            Self::TicketResponse(message) => message.status,
            Self::UnbindResponse(message) => message.status,
            Self::QueryConnectRequest(_)
            | Self::ValidateRequest(_)
            | Self::BindRequest(_)
            | Self::OpenPinRequest(_)
            | Self::PollRequest(_)
            | Self::TicketRequest(_)
            | Self::UnbindRequest(_) => None,
        }
    }

    /// Whether it asks for something.
    pub const fn is_request(&self) -> bool {
        matches!(
            self,
            Self::QueryConnectRequest(_)
                | Self::ValidateRequest(_)
                | Self::BindRequest(_)
                | Self::OpenPinRequest(_)
                | Self::PollRequest(_)
                | Self::TicketRequest(_)
                | Self::UnbindRequest(_)
        )
    }
}

/// Reads a message by the rules.
pub(crate) fn decode<'de, D: Deserializer<'de>>(deserializer: D, rules: Rules<'_>) -> Result<Message, D::Error> {
    struct Name;

    impl Visitor<'_> for Name {
        type Value = Result<Known, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a message")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
            Ok(Known::from_name(name).ok_or_else(|| shorten(name)))
        }
    }

    impl<'de> de::DeserializeSeed<'de> for Name {
        type Value = Result<Known, String>;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_identifier(self)
        }
    }

    struct Envelope<'a>(Rules<'a>);

    impl<'de> Visitor<'de> for Envelope<'_> {
        type Value = Message;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with one member that names the message")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
            let Self(rules) = self;
            let Some(name) = map.next_key_seed(Name)? else {
                return Err(rules.fail(DecodeErrorKind::EmptyEnvelope));
            };
            let message = match name {
                Ok(known) => known.read(&mut map, rules)?,
                Err(unknown) => {
                    // What follows must be well-formed before the name is blamed.
                    map.next_value::<IgnoredAny>()?;
                    return Err(rules.fail(DecodeErrorKind::UnknownMessage(unknown)));
                }
            };
            match map.next_key::<IgnoredAny>()? {
                None => Ok(message),
                Some(_) => Err(rules.fail(DecodeErrorKind::SecondMember)),
            }
        }
    }

    deserializer.deserialize_struct("Message", Message::NAMES, Envelope(rules))
}

impl<'de> serde::Deserialize<'de> for Message {
    /// By the default limits; unknown members are kept.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use super::structure::{Options, Trace};
        let (options, trace) = (Options::default(), Trace::default());
        decode(deserializer, Rules { options: &options, trace: &trace })
    }
}
