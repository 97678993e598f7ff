//! From a document to XML, in the order of the schema.

use bytes::BufMut;

use crate::reputon::{Reputation, Reputon, Score};
use crate::wire::{Digits, EncodeError};

/// Writes a document. All of it is ASCII: other characters are references, so that 7bit holds (media-type-01 section 5.1).
pub(crate) fn write(reputation: &Reputation<'_>, digits: Digits, out: &mut impl BufMut) -> Result<(), EncodeError> {
    out.put_slice(b"<?xml version=\"1.0\" encoding=\"US-ASCII\"?>\n<reputation>\n");
    for reputon in &reputation.reputons {
        if reputation.application.is_none() && !reputon.extensions.is_empty() {
            return Err(EncodeError::ExtensionWithoutApplication);
        }
        write_reputon(reputon, digits, out)?;
    }
    out.put_slice(b"</reputation>\n");
    Ok(())
}

fn write_reputon(reputon: &Reputon<'_>, digits: Digits, out: &mut impl BufMut) -> Result<(), EncodeError> {
    let score = |score: &Score<'_>| match digits {
        Digits::Three => score.to_string(),
        Digits::AsReceived => decimal(&score.text()),
    };
    out.put_slice(b" <reputon>\n");
    element("rater", &reputon.rater, out)?;
    if let Some(authenticity) = &reputon.rater_authenticity {
        element("rater-authenticity", &score(authenticity), out)?;
    }
    element("assertion", &reputon.assertion, out)?;
    for extension in &reputon.extensions {
        let Some(value) = extension.value.as_text().or_else(|| extension.value.as_json()) else { continue };
        if extension.name.contains(':') {
            return Err(EncodeError::Character("the name of an extension"));
        }
        element("extension", &format!("{}: {value}", extension.name.to_ascii_uppercase()), out)?;
    }
    element("rated", &reputon.rated, out)?;
    element("rating", &score(&reputon.rating), out)?;
    if let Some(confidence) = &reputon.confidence {
        element("confidence", &score(confidence), out)?;
    }
    for (name, count) in [("sample-size", reputon.sample_size), ("updated", reputon.generated)] {
        if let Some(count) = count {
            element(name, &count.to_string(), out)?;
        }
    }
    // The schema has no expiry; receivers ignore what they do not know.
    if let Some(expires) = reputon.expires {
        element("expires", &expires.to_string(), out)?;
    }
    out.put_slice(b" </reputon>\n");
    Ok(())
}

/// A number without exponent, which xs:decimal does not have.
fn decimal(text: &str) -> String {
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().unwrap_or(0.0);
        return format!("{value}");
    }
    text.to_owned()
}

fn element(name: &'static str, text: &str, out: &mut impl BufMut) -> Result<(), EncodeError> {
    out.put_slice(b"  <");
    out.put_slice(name.as_bytes());
    out.put_u8(b'>');
    for character in text.chars() {
        match character {
            '&' => out.put_slice(b"&amp;"),
            '<' => out.put_slice(b"&lt;"),
            '>' => out.put_slice(b"&gt;"),
            ' '..='~' => {
                let mut octets = [0; 4];
                out.put_slice(character.encode_utf8(&mut octets).as_bytes());
            }
            '\t' | '\n' | '\r' | '\u{80}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                out.put_slice(format!("&#{};", u32::from(character)).as_bytes());
            }
            _ => return Err(EncodeError::Character(name)),
        }
    }
    out.put_slice(b"</");
    out.put_slice(name.as_bytes());
    out.put_slice(b">\n");
    Ok(())
}
