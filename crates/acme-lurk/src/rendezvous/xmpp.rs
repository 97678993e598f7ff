//! Notifications over XMPP: stanzas modelled after in-band bytestreams (XEP-0047), with the URL of the chunk where those
//! have the data. draft-hartke-xmpp-stupid-00 appendix C.
//!
//! A key has no place of its own in these stanzas. In the sealed mode the URL is a link, with the key in its fragment.

use std::borrow::Cow;
use std::fmt;

use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use super::notification::Notification;
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::limits::Limits;

/// The namespace of the elements inside a stanza.
pub const NAMESPACE: &str = "urn:xmpp:tmp:stupid";

/// Octets of an address, an identifier of a stanza or of a session: what RFC 7622 lets an address have.
const TEXT: usize = 3071;

/// An `iq` stanza that has to do with a rendezvous.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Iq {
    /// Its identifier, which the answer repeats.
    pub id: String,
    /// From whom.
    pub from: Option<String>,
    /// To whom.
    pub to: Option<String>,
    /// What it says.
    pub content: Content,
}

/// What a stanza says.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// The session ends.
    Close {
        /// Its name.
        sid: String,
    },
    /// A chunk is at the relay.
    Data {
        /// The number of the chunk, which begins anew behind 65,535.
        seq: u16,
        /// The name of the session.
        sid: String,
        /// The URL of the chunk, or a link.
        url: String,
    },
    /// A session begins.
    Open {
        /// Octets of a chunk at most.
        block_size: u32,
        /// Its name.
        sid: String,
        /// In which kind of stanza notifications come.
        stanza: StanzaKind,
    },
    /// What was asked has been done.
    Result,
}

/// In which kind of stanza notifications come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "XEP-0047 has these two")]
pub enum StanzaKind {
    /// `iq`, which is acknowledged.
    #[default]
    Iq,
    /// `message`, which is not.
    Message,
}

impl Iq {
    /// A stanza without addresses: servers put them in.
    pub fn new(id: impl Into<String>, content: Content) -> Self {
        Self { id: id.into(), from: None, to: None, content }
    }

    /// The stanza that notifies of a chunk.
    pub fn notify(id: impl Into<String>, sid: impl Into<String>, notification: &Notification) -> Self {
        // Numbers begin anew there.
        let seq = (notification.seq() & 0xffff).try_into().unwrap_or(0);
        let url = match notification.key() {
            Some(_) => notification.to_link().to_string(),
            None => notification.url().to_owned(),
        };
        Self::new(id, Content::Data { seq, sid: sid.into(), url })
    }

    /// The stanza that says that this one was taken.
    #[must_use]
    pub fn acknowledge(&self) -> Self {
        Self { id: self.id.clone(), from: self.to.clone(), to: self.from.clone(), content: Content::Result }
    }

    /// Reads a stanza. There is no document type, no comment and no processing instruction in XMPP.
    ///
    /// # Errors
    /// When it is no such stanza.
    pub fn decode(xml: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        if xml.len() > limits.body {
            return Err(DecodeErrorKind::Limit(Limit::Body(limits.body)).at("iq"));
        }
        let text = std::str::from_utf8(xml).map_err(|_| DecodeErrorKind::Expected("UTF-8").at("iq"))?;
        if text.bytes().any(|octet| octet < 0x20 && !matches!(octet, b'\t' | b'\n' | b'\r')) {
            return Err(DecodeErrorKind::Expected("without control characters").at("iq"));
        }
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let malformed = || DecodeErrorKind::Expected("a well-formed stanza").at("iq");
        let mut next = || -> Result<(bool, Event<'_>), DecodeError> {
            loop {
                let (namespace, event) = reader.read_resolved_event().map_err(|_| malformed())?;
                let is_ours = namespace == ResolveResult::Bound(Namespace(NAMESPACE));
                match event {
                    Event::Text(text) if text.bytes().all(|octet| octet.is_ascii_whitespace()) => {}
                    event => return Ok((is_ours, event)),
                }
            }
        };
        let Event::Start(iq) = next()?.1 else { return Err(malformed()) };
        let mut iq = Attributes::of(&iq, "iq")?;
        let (id, kind) = (iq.required("id")?, iq.required("type")?);
        let (from, to) = (iq.take("from"), iq.take("to"));
        let content = match next()? {
            (true, Event::Start(element)) => {
                let content = Content::of(&element, limits)?;
                let Event::End(_) = next()?.1 else { return Err(DecodeErrorKind::Expected("empty").at("iq.*")) };
                let Event::End(_) = next()?.1 else { return Err(malformed()) };
                content
            }
            (_, Event::End(_)) => Content::Result,
            _ => return Err(DecodeErrorKind::Expected("an element of urn:xmpp:tmp:stupid").at("iq.*")),
        };
        let Event::Eof = next()?.1 else { return Err(malformed()) };
        match (kind.as_str(), &content) {
            ("result", Content::Result)
            | ("set", Content::Open { .. } | Content::Data { .. } | Content::Close { .. }) => {
                Ok(Self { id, from, to, content })
            }
            _ => Err(DecodeErrorKind::Expected("\"set\" with an element, or \"result\" without").at("iq.type")),
        }
    }

    /// Writes the stanza.
    pub fn encode(&self) -> String {
        let mut xml = String::from("<iq");
        for (name, value) in [("from", &self.from), ("id", &Some(self.id.clone())), ("to", &self.to)] {
            if let Some(value) = value {
                attribute(&mut xml, name, value);
            }
        }
        let content = match &self.content {
            Content::Result => {
                xml.push_str(" type='result'/>");
                return xml;
            }
            Content::Open { block_size, sid, stanza } => {
                let stanza = if *stanza == StanzaKind::Iq { "iq" } else { "message" };
                (
                    "open",
                    vec![
                        ("block-size", Cow::from(block_size.to_string())),
                        ("sid", sid.into()),
                        ("stanza", stanza.into()),
                    ],
                )
            }
            Content::Data { seq, sid, url } => {
                ("data", vec![("seq", seq.to_string().into()), ("sid", sid.into()), ("url", url.into())])
            }
            Content::Close { sid } => ("close", vec![("sid", sid.into())]),
        };
        let (name, attributes) = content;
        xml.push_str(" type='set'><");
        xml.push_str(name);
        attribute(&mut xml, "xmlns", NAMESPACE);
        for (name, value) in attributes {
            attribute(&mut xml, name, &value);
        }
        xml.push_str("/></iq>");
        xml
    }
}

impl Content {
    fn of(element: &BytesStart<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let name = element.local_name();
        match name.as_ref() {
            "open" => {
                let mut open = Attributes::of(element, "iq.open")?;
                let stanza = match open.take("stanza").as_deref() {
                    None | Some("iq") => StanzaKind::Iq,
                    Some("message") => StanzaKind::Message,
                    Some(_) => return Err(DecodeErrorKind::Expected("\"iq\" or \"message\"").at("iq.open.stanza")),
                };
                let block_size = open.number("block-size", "a number of octets, 1 or more")?;
                let block_size = u32::try_from(block_size).ok().filter(|size| *size > 0);
                let wrong = || DecodeErrorKind::Expected("a number of octets, 1 or more").at("iq.open.block-size");
                Ok(Self::Open { block_size: block_size.ok_or_else(wrong)?, sid: open.required("sid")?, stanza })
            }
            "data" => {
                let mut data = Attributes::of(element, "iq.data")?;
                let wrong = || DecodeErrorKind::Expected("a number from 0 to 65535").at("iq.data.seq");
                let seq = data.number("seq", "a number from 0 to 65535")?;
                let url = data.required("url")?;
                // It is looked at more closely when it becomes a notification.
                if url.len() > limits.url.saturating_add(256) {
                    return Err(DecodeErrorKind::Limit(Limit::Url(limits.url)).at("iq.data.url"));
                }
                Ok(Self::Data { seq: seq.try_into().map_err(|_| wrong())?, sid: data.required("sid")?, url })
            }
            "close" => Ok(Self::Close { sid: Attributes::of(element, "iq.close")?.required("sid")? }),
            _ => Err(DecodeErrorKind::Expected("open, data or close").at("iq.*")),
        }
    }

    /// The notification, if this is one. `due` is the number that the session waits for: stanzas have only its last 16
    /// bits.
    ///
    /// # Errors
    /// When the URL is none of a chunk.
    pub fn notification(&self, due: u64, limits: &Limits) -> Option<Result<Notification, DecodeError>> {
        let Self::Data { seq, url, .. } = self else { return None };
        let seq = (due & !0xffff) | u64::from(*seq);
        Some(Notification::from_link(url, limits).map(|notification| notification.with_seq(seq)))
    }
}

/// The URL is as good as the chunk.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close { sid } => f.debug_struct("Close").field("sid", sid).finish(),
            Self::Data { seq, sid, .. } => {
                f.debug_struct("Data").field("seq", seq).field("sid", sid).finish_non_exhaustive()
            }
            Self::Open { block_size, sid, stanza } => f
                .debug_struct("Open")
                .field("block_size", block_size)
                .field("sid", sid)
                .field("stanza", stanza)
                .finish(),
            Self::Result => f.write_str("Result"),
        }
    }
}

/// The attributes of one element, by their names.
struct Attributes {
    place: &'static str,
    known: Vec<(String, String)>,
}

impl Attributes {
    fn of(element: &BytesStart<'_>, place: &'static str) -> Result<Self, DecodeError> {
        let expected = match place {
            "iq" => "iq",
            _ => place.get(3..).unwrap_or_default(),
        };
        if element.local_name().as_ref() != expected {
            return Err(DecodeErrorKind::Expected("an iq stanza").at(place));
        }
        let mut known = Vec::new();
        for attribute in element.attributes() {
            let wrong = || DecodeErrorKind::Expected("well-formed attributes, each once").at(place);
            let attribute = attribute.map_err(|_| wrong())?;
            let name = attribute.key.as_ref();
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| wrong())?;
            known.push((name.to_owned(), value.into_owned()));
        }
        Ok(Self { place, known })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.known.iter().position(|(known, _)| known == name)?;
        Some(self.known.swap_remove(at).1)
    }

    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    fn required(&mut self, name: &str) -> Result<String, DecodeError> {
        let value = self.take(name).ok_or_else(|| DecodeErrorKind::Missing.at(self.at(name)))?;
        let is_good = !value.is_empty() && value.len() <= TEXT;
        if is_good { Ok(value) } else { Err(DecodeErrorKind::Expected("1 to 3071 octets").at(self.at(name))) }
    }

    fn number(&mut self, name: &str, expected: &'static str) -> Result<u64, DecodeError> {
        let text = self.required(name)?;
        let digits = text.bytes().all(|octet| octet.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| DecodeErrorKind::Expected(expected).at(self.at(name)))
    }
}

fn attribute(xml: &mut String, name: &str, value: &str) {
    xml.push(' ');
    xml.push_str(name);
    xml.push_str("='");
    xml.push_str(&escape(value));
    xml.push('\'');
}
