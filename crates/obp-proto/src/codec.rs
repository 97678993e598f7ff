//! Messages as octets: JSON text, JSON-B and JSON-C. draft-hallambaker-omnibroker-08 sections 2.2.2 and 7.1,
//! draft-hallambaker-jsonbcd-01.
//!
//! What is written is legal JSON, or canonical JSON-B. What is read may break the rules where the drafts' own examples
//! do: line feeds stand raw inside their strings, which JSON forbids. [`DecodeOptions`] takes that back, or allows
//! more.

use std::fmt;

use jsonbcd::{Commas, Dialect, ErrorKind, Profile, text};
use serde::Serialize;

use crate::error::{DecodeError, DecodeErrorKind, EncodeError, Limit};
use crate::limits::Limits;
use crate::message::structure::{Options, Rules, Trace, Wire};
use crate::message::{self, Message};

/// How messages are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// JSON text: the encoding of HTTP.
    #[default]
    Json,
    /// JSON-B: the encoding of datagrams. Reading takes JSON text as well, of which it is a superset.
    JsonB,
    /// JSON-C: JSON-B with codes for names that repeat. Reading takes JSON-B and JSON text as well.
    JsonC,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::JsonB, Self::JsonC];

    /// The media type. Those of JSON-B and JSON-C are not registered.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonB => "application/json-b",
            Self::JsonC => "application/json-c",
        }
    }

    /// The value of the Content-Type header, spelled as in the drafts' examples.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=UTF-8",
            Self::JsonB | Self::JsonC => self.media_type(),
        }
    }

    /// The encoding that a Content-Type header names; none when it names another, or another charset than UTF-8.
    /// Without regard to case, and whatever other parameters there are.
    ///
    /// ```
    /// use obp_proto::Encoding;
    /// assert_eq!(Encoding::from_content_type("Application/JSON; charset=\"utf-8\""), Some(Encoding::Json));
    /// assert_eq!(Encoding::from_content_type("application/json;charset=latin1"), None);
    /// assert_eq!(Encoding::from_content_type("text/html"), None);
    /// ```
    pub fn from_content_type(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let media_type = parts.next()?;
        let encoding = Self::ALL.into_iter().find(|known| media_type.eq_ignore_ascii_case(known.media_type()))?;
        let utf_8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        };
        parts.all(utf_8).then_some(encoding)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media_type())
    }
}

/// How messages are read.
///
/// ```
/// use obp_proto::{DecodeOptions, Encoding, Message};
/// let body = br#"{"UnbindRequest": {"Reason": "sold"}}"#;
/// assert!(Message::decode_with(body, Encoding::Json, &DecodeOptions::new()).is_ok());
/// let deny = DecodeOptions::new().with_deny_unknown(true);
/// let error = Message::decode_with(body, Encoding::Json, &deny).unwrap_err();
/// assert!(error.to_string().contains("the member \"Reason\" is unknown"), "{error}");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct DecodeOptions {
    options: Options,
    strict_text: bool,
    lenient_base64: bool,
    lenient_commas: bool,
}

impl DecodeOptions {
    /// Takes raw TAB, LF and CR inside strings, keeps unknown members, and is strict in all else.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with these limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// The same, refusing members that this crate does not know, or not.
    #[must_use]
    pub const fn with_deny_unknown(mut self, deny: bool) -> Self {
        self.options.deny_unknown = deny;
        self
    }

    /// The same, refusing raw TAB, LF and CR inside strings, as JSON does, or not.
    #[must_use]
    pub const fn with_strict_text(mut self, strict: bool) -> Self {
        self.strict_text = strict;
        self
    }

    /// The same, taking the other base64 alphabet (`+` and `/`) too, or not. Drafts before 2013 used it.
    #[must_use]
    pub const fn with_lenient_base64(mut self, lenient: bool) -> Self {
        self.lenient_base64 = lenient;
        self
    }

    /// The same, taking one bare value where an array is due, or not. Drafts before 2013 wrote such.
    #[must_use]
    pub const fn with_bare_for_array(mut self, bare: bool) -> Self {
        self.options.bare_for_array = bare;
        self
    }

    /// The same, taking commas in JSON-B where the grammar has none and missing them where it has some, or not. The
    /// author's programs of 2022 write so.
    #[must_use]
    pub const fn with_lenient_commas(mut self, lenient: bool) -> Self {
        self.lenient_commas = lenient;
        self
    }

    fn decoder(&self, encoding: Encoding) -> jsonbcd::Decoder {
        let dialect = match encoding {
            Encoding::Json => Dialect::Json,
            Encoding::JsonB => Dialect::B,
            Encoding::JsonC => Dialect::C,
        };
        jsonbcd::Decoder::new()
            .with_dialect(dialect)
            .with_profile(Profile::Bcd01)
            .with_limits(self.options.limits.of_codec())
            .with_raw_controls(!self.strict_text)
            .with_lenient_base64(self.lenient_base64)
            .with_commas(if self.lenient_commas { Commas::Lenient } else { Commas::Strict })
    }

    /// Reads one value, which must be all there is.
    fn read<T>(
        &self,
        octets: &[u8],
        encoding: Encoding,
        read: impl FnOnce(&mut jsonbcd::Deserializer<'_, '_>, Rules<'_>) -> jsonbcd::Result<T>,
    ) -> Result<T, DecodeError> {
        if octets.len() > self.options.limits.message {
            return Err(DecodeError::new(DecodeErrorKind::Limit(Limit::Message), String::new(), None));
        }
        let decoder = self.decoder(encoding);
        let mut deserializer = decoder.deserializer(octets);
        let trace = Trace::default();
        let result = read(&mut deserializer, Rules { options: &self.options, trace: &trace });
        let offset = deserializer.offset();
        result.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| explain(error, trace, offset))
    }
}

/// Puts together what the codec and the structures know of an error.
#[cold]
fn explain(error: jsonbcd::Error, trace: Trace, read: usize) -> DecodeError {
    let (path, offset) = (trace.path(), error.offset().unwrap_or(read));
    let kind = trace.into_kind().unwrap_or_else(|| match error.kind() {
        ErrorKind::Limit(limit) => DecodeErrorKind::Limit(match limit {
            jsonbcd::Limit::Depth => Limit::Depth,
            jsonbcd::Limit::Members => Limit::Items,
            jsonbcd::Limit::Values => Limit::Values,
            jsonbcd::Limit::Codes
            | jsonbcd::Limit::CodeOctets
            | jsonbcd::Limit::Expansion
            | jsonbcd::Limit::Dictionaries => Limit::Codes,
            _ => Limit::Message,
        }),
        ErrorKind::DuplicateName(name) => DecodeErrorKind::DuplicateField(message::structure::shorten(name)),
        other => DecodeErrorKind::Encoding(other.clone()),
    });
    DecodeError::new(kind, path, Some(offset))
}

static JSON_B: jsonbcd::Encoder = jsonbcd::Encoder::new().with_profile(Profile::Bcd01);
static JSON_C: jsonbcd::Encoder = jsonbcd::Encoder::new().with_profile(Profile::Bcd01).with_dialect(Dialect::C);

impl Message {
    /// Reads a message, which must be all of `octets`.
    ///
    /// ```
    /// use obp_proto::{Encoding, Limits, Message, Status};
    /// let body = b"{\"ValidateResponse\": {\"Status\": 412}}";
    /// let message = Message::decode(body, Encoding::Json, &Limits::default())?;
    /// assert_eq!(message.status(), Some(Status::DANGER));
    /// # Ok::<(), obp_proto::DecodeError>(())
    /// ```
    ///
    /// # Errors
    /// When they are no message, or go beyond a limit.
    pub fn decode(octets: &[u8], encoding: Encoding, limits: &Limits) -> Result<Self, DecodeError> {
        Self::decode_with(octets, encoding, &DecodeOptions::new().with_limits(*limits))
    }

    /// Reads a message as the options say.
    ///
    /// # Errors
    /// When the octets are no message, or go beyond a limit.
    pub fn decode_with(octets: &[u8], encoding: Encoding, options: &DecodeOptions) -> Result<Self, DecodeError> {
        options.read(octets, encoding, |deserializer, rules| message::decode(deserializer, rules))
    }

    /// Writes the message.
    ///
    /// # Errors
    /// When an unknown member of it, in `extra`, has no form in the encoding, or the name of a known one. A message
    /// without such members is always written.
    pub fn encode(&self, encoding: Encoding) -> Result<Vec<u8>, EncodeError> {
        match encoding {
            Encoding::Json => text::to_vec(self),
            Encoding::JsonB => JSON_B.to_vec(self),
            Encoding::JsonC => JSON_C.to_vec(self),
        }
        .map_err(EncodeError)
    }

    /// Appends the message to `out`, which saves an allocation for those who write many.
    ///
    /// # Errors
    /// As [`Self::encode`]; part of the message may have been appended then.
    pub fn encode_to(&self, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match encoding {
            Encoding::Json => text::to_writer(out, self),
            Encoding::JsonB => JSON_B.to_writer(out, self),
            Encoding::JsonC => JSON_C.to_writer(out, self),
        }
        .map_err(EncodeError)
    }

    /// Writes the message octet for octet as the programs did that made the drafts' examples. **Not legal JSON** when
    /// there are octets in it. For those who check codes over such text.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_reference(&self) -> Result<Vec<u8>, EncodeError> {
        text::to_reference_vec(self).map_err(EncodeError)
    }
}

/// Writes a structure by itself, as JSON text.
pub(crate) fn to_text<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    text::to_vec(value).map_err(EncodeError)
}

/// Reads a structure by itself from JSON text.
pub(crate) fn from_text<T: Wire>(octets: &[u8], limits: &Limits) -> Result<T, DecodeError> {
    let options = DecodeOptions::new().with_limits(*limits);
    options.read(octets, Encoding::Json, |deserializer, rules| T::decode(deserializer, rules))
}
