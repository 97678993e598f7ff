//! The header as text: attributes in any order, separated by `;` or white space.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};

use super::Profile;

/// One `Session` header.
///
/// ```
/// use obp_proto::session::{Profile, SessionHeader};
///
/// let header = SessionHeader::parse("Value=5_AlS4yMTeE82T6ZP9qAZN7TOhXtvqZ__zsLOmCxNrQ; Id=o7zn")?;
/// assert_eq!((header.id().len(), header.value().len()), (3, 32));
/// assert_eq!(header.profile(), Profile::Seed);
/// # Ok::<(), obp_proto::session::HeaderError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SessionHeader {
    /// In the order in which they came, as they were spelled: the strict MAC covers the spelling.
    attributes: Vec<Attribute>,
    value: Vec<u8>,
    id: Vec<u8>,
    nonce: Option<Vec<u8>>,
    stream: Option<u64>,
    count: Option<u64>,
    time: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: Box<str>,
    /// None for a flag.
    pub(super) value: Option<String>,
}

impl SessionHeader {
    /// The longest `Id`, in octets.
    pub const MAX_ID: usize = 4096;
    /// The longest nonce, in octets.
    pub const MAX_NONCE: usize = 64;
    /// The longest header, in characters.
    pub const MAX_LEN: usize = 8192;
    /// The most attributes.
    pub const MAX_ATTRIBUTES: usize = 32;

    /// A header to be signed, with nothing but the ticket.
    pub fn new(id: &[u8]) -> Self {
        let mut header = Self {
            attributes: Vec::with_capacity(5),
            value: Vec::new(),
            id: id.to_vec(),
            nonce: None,
            stream: None,
            count: None,
            time: None,
        };
        header.push("Id", general_purpose::URL_SAFE_NO_PAD.encode(id));
        header
    }

    /// Adds a nonce, which makes the header strict.
    #[must_use]
    pub fn with_nonce(mut self, nonce: &[u8]) -> Self {
        self.nonce = Some(nonce.to_vec());
        self.push("Nonce", general_purpose::URL_SAFE_NO_PAD.encode(nonce));
        self
    }

    /// Adds a time in seconds, which makes the header strict.
    #[must_use]
    pub fn with_time(mut self, time: u64) -> Self {
        self.time = Some(time);
        self.push("Time", time.to_string());
        self
    }

    /// Adds a count within a stream, which makes the header strict.
    #[must_use]
    pub fn with_count(mut self, stream: u64, count: u64) -> Self {
        (self.stream, self.count) = (Some(stream), Some(count));
        self.push("Stream", stream.to_string());
        self.push("Count", count.to_string());
        self
    }

    /// Sets the MAC.
    pub(super) fn with_value(mut self, value: &[u8]) -> Self {
        self.value = value.to_vec();
        self.attributes.retain(|attribute| &*attribute.name != "Value");
        let value = Some(general_purpose::URL_SAFE_NO_PAD.encode(value));
        self.attributes.insert(0, Attribute { name: "Value".into(), value });
        self
    }

    fn push(&mut self, name: &str, value: String) {
        self.attributes.retain(|attribute| &*attribute.name != name);
        self.attributes.push(Attribute { name: name.into(), value: Some(value) });
    }

    /// Reads the value of a `Session` header field. White space inside a value is a fold of long lines, and removed.
    ///
    /// # Errors
    /// When it is not a list of attributes, an attribute stands twice, one of those known here is not of its type, or
    /// `Value` or `Id` is missing. All are answered 400.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        if text.len() > Self::MAX_LEN {
            return Err(HeaderError::TooLong);
        }
        let attributes = attributes(text)?;
        let text_of = |name: &'static str| -> Result<Option<&str>, HeaderError> {
            match attributes.iter().find(|attribute| &*attribute.name == name) {
                Some(Attribute { value: Some(value), .. }) => Ok(Some(value)),
                Some(_) => Err(HeaderError::Value(name)),
                None => Ok(None),
            }
        };
        let binary = |name: &'static str| -> Result<Option<Vec<u8>>, HeaderError> {
            text_of(name)?.map(|text| decode(text).ok_or(HeaderError::Value(name))).transpose()
        };
        let number = |name: &'static str| -> Result<Option<u64>, HeaderError> {
            let parse = |text: &str| {
                let digits = text.bytes().all(|octet| octet.is_ascii_digit());
                if digits { text.parse().ok() } else { None }
            };
            text_of(name)?.map(|text| parse(text).ok_or(HeaderError::Value(name))).transpose()
        };
        let value = binary("Value")?.filter(|value| !value.is_empty()).ok_or(HeaderError::Missing("Value"))?;
        let id = binary("Id")?.filter(|id| !id.is_empty()).ok_or(HeaderError::Missing("Id"))?;
        if id.len() > Self::MAX_ID {
            return Err(HeaderError::IdTooLong(id.len()));
        }
        let nonce = binary("Nonce")?;
        if nonce.as_ref().is_some_and(|nonce| nonce.is_empty() || nonce.len() > Self::MAX_NONCE) {
            return Err(HeaderError::Value("Nonce"));
        }
        let (stream, count) = (number("Stream")?, number("Count")?);
        // The draft's text says Time, its examples say Now.
        let time = match (number("Time")?, number("Now")?) {
            (Some(_), Some(_)) => return Err(HeaderError::Duplicate("Now".into())),
            (time, now) => time.or(now),
        };
        Ok(Self { value, id, nonce, stream, count, time, attributes })
    }

    /// The MAC: `Value`. Empty before it is signed.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The ticket: `Id`.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// `Nonce`: what the response must repeat.
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }

    /// `Stream`: which counter `Count` belongs to. Without it, counter 0.
    pub fn stream(&self) -> Option<u64> {
        self.stream
    }

    /// `Count`: greater than all before it in the same stream.
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// `Time` (or `Now`): seconds since the epoch of the server's choice, which here is 1970.
    pub fn time(&self) -> Option<u64> {
        self.time
    }

    /// Any attribute by its name, as it is spelled; empty for a flag.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| &*attribute.name == name)?;
        Some(found.value.as_deref().unwrap_or_default())
    }

    /// What its MAC covers.
    pub fn profile(&self) -> Profile {
        let strict = ["Nonce", "Time", "Now", "Count", "Stream"];
        let is_strict = |attribute: &Attribute| strict.contains(&&*attribute.name);
        if self.attributes.iter().any(is_strict) { Profile::Strict } else { Profile::Seed }
    }

    pub(super) fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }
}

/// The value of the header field.
impl fmt::Display for SessionHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, attribute) in self.attributes.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "; " })?;
            f.write_str(&attribute.name)?;
            if let Some(value) = &attribute.value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Names alone: the `Id` is a handle by which a client can be recognised.
impl fmt::Debug for SessionHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionHeader")?;
        f.debug_list().entries(self.attributes.iter().map(|attribute| &attribute.name)).finish()
    }
}

/// Why a header field is no `Session` header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Longer than [`SessionHeader::MAX_LEN`], or more attributes than [`SessionHeader::MAX_ATTRIBUTES`].
    #[error("the header is too long")]
    TooLong,
    /// Something that is no attribute, at this octet.
    #[error("no attribute at octet {0}: expected name=value")]
    Syntax(usize),
    /// An attribute stands twice.
    #[error("the attribute {0:?} stands twice")]
    Duplicate(Box<str>),
    /// A required attribute is missing or empty.
    #[error("the attribute {0} is missing")]
    Missing(&'static str),
    /// A value is not of its type: base64, or a decimal number.
    #[error("the value of {0} is not of its type")]
    Value(&'static str),
    /// The `Id` is longer than [`SessionHeader::MAX_ID`].
    #[error("an Id of {0} octets; there may be {max}", max = SessionHeader::MAX_ID)]
    IdTooLong(usize),
}

/// Splits the text. A piece between separators begins an attribute when it has an equals sign that is not padding of
/// base64; otherwise it continues the value before it.
fn attributes(text: &str) -> Result<Vec<Attribute>, HeaderError> {
    let mut attributes: Vec<Attribute> = Vec::new();
    let mut at = 0usize;
    for segment in text.split(';') {
        let mut open = false;
        let mut piece_at = at;
        // By octets: tickets are long.
        for piece in segment.as_bytes().split(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n')) {
            // White space stands alone in UTF-8: what is between is whole.
            let piece = std::str::from_utf8(piece).map_err(|_| HeaderError::Syntax(piece_at))?;
            let begins = piece_at;
            piece_at = piece_at.saturating_add(piece.len()).saturating_add(1);
            if piece.is_empty() {
                continue;
            }
            let named = piece
                .split_once('=')
                .filter(|(name, value)| is_name(name) && (!open || value.bytes().any(|octet| octet != b'=')));
            let attribute = match named {
                Some((name, value)) => Attribute { name: name.into(), value: Some(value.to_owned()) },
                None if is_name(piece) && (!open || piece == "Deleted") => {
                    Attribute { name: piece.into(), value: None }
                }
                None => {
                    let value = attributes.last_mut().filter(|_| open).and_then(|last| last.value.as_mut());
                    value.ok_or(HeaderError::Syntax(begins))?.push_str(piece);
                    continue;
                }
            };
            open = attribute.value.is_some();
            if attributes.iter().any(|known| known.name == attribute.name) {
                return Err(HeaderError::Duplicate(attribute.name));
            }
            if attributes.len() >= SessionHeader::MAX_ATTRIBUTES {
                return Err(HeaderError::TooLong);
            }
            attributes.push(attribute);
        }
        at = at.saturating_add(segment.len()).saturating_add(1);
    }
    match attributes.iter().find(|attribute| !attribute.value.as_deref().is_none_or(is_value)) {
        Some(wrong) => {
            let wrong = wrong.value.as_deref().unwrap_or_default();
            Err(HeaderError::Syntax(text.find(wrong).unwrap_or_default()))
        }
        None => Ok(attributes),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

fn is_value(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_+/=.:".contains(&c))
}

/// Base64 in either alphabet, padded or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const WEB: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);
    const MAIL: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
    if text.contains(['+', '/']) { MAIL.decode(text).ok() } else { WEB.decode(text).ok() }
}
