//! From a message to octets.

use super::writer::Writer;
use super::{Element, NAMESPACE};
use crate::error::EncodeError;
use crate::model::{Item, Message};

/// Writes messages as XML: the RFC's element order, UTF-8, an XML declaration, no indentation.
///
/// What it writes is valid against the DTD, as long as no enumeration holds a word beyond the DTD's and no `xmltext`
/// holds elements of other vocabularies; the prefixed form is not, because the DTD knows no prefixes.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    prefixed: bool,
}

impl Encoder {
    /// Writes in the default namespace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `idmef:` before every element name, as the examples of the RFC do.
    pub fn prefixed(mut self) -> Self {
        self.prefixed = true;
        self
    }

    /// Writes a document; see [`Message::encode`].
    pub fn encode(&self, message: &Message) -> Result<String, EncodeError> {
        let mut out = Vec::with_capacity(1024);
        self.encode_into(message, &mut out)?;
        Ok(String::from_utf8(out).expect("only strings were written"))
    }

    /// Writes a document behind what `out` holds; on an error `out` is as it was.
    pub fn encode_into(&self, message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let before = out.len();
        self.write(message, out).inspect_err(|_| out.truncate(before))
    }

    fn write(&self, message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let (prefix, xmlns) = if self.prefixed { ("idmef:", "xmlns:idmef") } else { ("", "xmlns") };
        let mut writer = Writer::new(out, prefix);
        writer.start("IDMEF-Message")?;
        writer.raw_attribute(xmlns, NAMESPACE);
        writer.raw_attribute("version", "1.0");
        // The DTD wants a name token there; anything else would make the whole message invalid.
        if let Some(lang) = message.lang.as_deref().filter(|lang| is_language(lang)) {
            writer.raw_attribute("xml:lang", lang);
        }
        for item in &message.items {
            match item {
                Item::Alert(alert) => alert.encode(&mut writer, "Alert")?,
                Item::Heartbeat(heartbeat) => heartbeat.encode(&mut writer, "Heartbeat")?,
            }
        }
        writer.end("IDMEF-Message");
        Ok(())
    }
}

/// Whether a text can be the value of xml:lang: a name token, and not more of one than languages need.
pub(crate) fn is_language(lang: &str) -> bool {
    (1..=64).contains(&lang.len()) && lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
