//! From a document to JSON.

use bytes::BufMut;

use crate::reputon::{Reputation, Reputon, Score};
use crate::wire::{Digits, EncodeError};

/// RFC 7071.
pub(crate) fn write_rfc7071(
    reputation: &Reputation<'_>,
    digits: Digits,
    out: &mut impl BufMut,
) -> Result<(), EncodeError> {
    let application = reputation.application.as_deref().ok_or(EncodeError::ApplicationMissing)?;
    out.put_slice(b"{\"application\":");
    string(application, out);
    out.put_slice(b",\"reputons\":[");
    for (index, reputon) in reputation.reputons.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        Members { digits, legacy: false }.write(reputon, out);
    }
    out.put_slice(b"]}");
    Ok(())
}

/// Draft 02: one member `reputon` for each.
pub(crate) fn write_draft02(
    reputation: &Reputation<'_>,
    digits: Digits,
    out: &mut impl BufMut,
) -> Result<(), EncodeError> {
    out.put_u8(b'{');
    for (index, reputon) in reputation.reputons.iter().enumerate() {
        out.put_slice(if index > 0 { b",\"reputon\":" } else { b"\"reputon\":" });
        Members { digits, legacy: true }.write(reputon, out);
    }
    out.put_u8(b'}');
    Ok(())
}

/// The one reputon.
pub(crate) fn write_flat(
    reputation: &Reputation<'_>,
    digits: Digits,
    out: &mut impl BufMut,
) -> Result<(), EncodeError> {
    match &reputation.reputons[..] {
        [reputon] => {
            Members { digits, legacy: true }.write(reputon, out);
            Ok(())
        }
        [] => {
            out.put_slice(b"{}");
            Ok(())
        }
        more => Err(EncodeError::OneOnly(more.len())),
    }
}

/// One reputon in an object of its own, which also says the application.
pub(crate) fn write_line(application: Option<&str>, reputon: &Reputon<'_>, digits: Digits, out: &mut impl BufMut) {
    out.put_u8(b'{');
    if let Some(application) = application {
        out.put_slice(b"\"application\":");
        string(application, out);
        out.put_u8(b',');
    }
    Members { digits, legacy: false }.members(reputon, out);
    out.put_u8(b'}');
}

/// A text as a string of JSON.
pub(crate) fn quoted(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len().saturating_add(2));
    string(text, &mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

struct Members {
    digits: Digits,
    /// Whether the time is called `updated`, as it was in the drafts.
    legacy: bool,
}

impl Members {
    fn write(&self, reputon: &Reputon<'_>, out: &mut impl BufMut) {
        out.put_u8(b'{');
        self.members(reputon, out);
        out.put_u8(b'}');
    }

    fn members(&self, reputon: &Reputon<'_>, out: &mut impl BufMut) {
        out.put_slice(b"\"rater\":");
        string(&reputon.rater, out);
        out.put_slice(b",\"assertion\":");
        string(&reputon.assertion, out);
        out.put_slice(b",\"rated\":");
        string(&reputon.rated, out);
        out.put_slice(b",\"rating\":");
        self.score(&reputon.rating, out);
        for (name, score) in [
            (&b",\"confidence\":"[..], &reputon.confidence),
            (b",\"normal-rating\":", &reputon.normal_rating),
            (b",\"rater-authenticity\":", &reputon.rater_authenticity),
        ] {
            if let Some(score) = score {
                out.put_slice(name);
                self.score(score, out);
            }
        }
        let generated: &[u8] = if self.legacy { b",\"updated\":" } else { b",\"generated\":" };
        for (name, count) in [
            (&b",\"sample-size\":"[..], reputon.sample_size),
            (generated, reputon.generated),
            (b",\"expires\":", reputon.expires),
        ] {
            if let Some(count) = count {
                out.put_slice(name);
                decimal(count, out);
            }
        }
        for (index, extension) in reputon.extensions.iter().enumerate() {
            // XML and programs can hold a name twice, and hold those of members; JSON must not.
            let before = reputon.extensions.iter().take(index);
            let is_taken = crate::wire::member::Member::from_name(&extension.name).is_some();
            if is_taken || before.into_iter().any(|earlier| earlier.name == extension.name) {
                continue;
            }
            out.put_u8(b',');
            string(&extension.name, out);
            out.put_u8(b':');
            match (extension.value.as_text(), extension.value.as_json()) {
                (Some(text), _) => string(text, out),
                (_, Some(json)) => out.put_slice(json.as_bytes()),
                _ => out.put_slice(b"null"),
            }
        }
    }

    fn score(&self, score: &Score<'_>, out: &mut impl BufMut) {
        match self.digits {
            Digits::Three => score.put(out),
            Digits::AsReceived => out.put_slice(json_number(&score.text()).as_bytes()),
        }
    }
}

/// A decimal of XML as JSON has it: digits on both sides of the point, no leading zero or plus.
fn json_number(text: &str) -> std::borrow::Cow<'_, str> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_json = !whole.is_empty()
        && (whole == "0" || !whole.starts_with(['0', '+']))
        && !whole.starts_with("-0")
        && (fraction.starts_with(|first: char| first.is_ascii_digit()) || !text.contains('.'));
    if is_json {
        return text.into();
    }
    let whole = whole.trim_start_matches(['+', '-']).trim_start_matches('0');
    let (whole, fraction) =
        (if whole.is_empty() { "0" } else { whole }, if fraction.is_empty() { "0" } else { fraction });
    if fraction.starts_with(['e', 'E']) || whole.starts_with(['e', 'E']) {
        return format!("{:?}", text.parse::<f64>().unwrap_or(0.0).abs()).into();
    }
    format!("{whole}.{fraction}").into()
}

fn decimal(mut number: u64, out: &mut impl BufMut) {
    let mut digits = [0_u8; 20];
    let mut from = digits.len();
    for digit in digits.iter_mut().rev() {
        #[allow(clippy::cast_possible_truncation)]
        let last = (number % 10) as u8;
        *digit = b'0' | last;
        number /= 10;
        from = from.saturating_sub(1);
        if number == 0 {
            break;
        }
    }
    out.put_slice(digits.get(from..).unwrap_or(&[]));
}

/// Where the first octet is that cannot stand in a string as it is.
fn special(text: &[u8]) -> Option<usize> {
    let is_special = |octet: &u8| *octet < 0x20 || matches!(octet, b'"' | b'\\');
    // Eight at a time while there is none; without a branch for each, the compiler does them at once.
    let (words, _) = text.as_chunks::<8>();
    let plain = words.iter().take_while(|word| !word.iter().fold(false, |any, octet| any | is_special(octet))).count();
    let from = plain.saturating_mul(8);
    let rest = text.get(from..).unwrap_or_default();
    rest.iter().position(is_special).map(|at| from.saturating_add(at))
}

fn string(text: &str, out: &mut impl BufMut) {
    out.put_u8(b'"');
    let mut rest = text;
    while let Some(at) = special(rest.as_bytes()) {
        let Some((plain, special)) = rest.split_at_checked(at) else { break };
        out.put_slice(plain.as_bytes());
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => out.put_slice(b"\\\""),
            Some('\\') => out.put_slice(b"\\\\"),
            Some('\n') => out.put_slice(b"\\n"),
            Some('\r') => out.put_slice(b"\\r"),
            Some('\t') => out.put_slice(b"\\t"),
            Some(control) => out.put_slice(format!("\\u{:04x}", u32::from(control)).as_bytes()),
            None => {}
        }
        rest = characters.as_str();
    }
    out.put_slice(rest.as_bytes());
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_string_is_found_wherever_it_is() {
        for length in 0..40 {
            let plain = "\u{e9}".repeat(length);
            assert_eq!(special(plain.as_bytes()), None);
            for at in 0..length {
                for bad in [b'"', b'\\', 0, b'\n', 0x1f] {
                    let mut text = vec![b' '; length];
                    text.splice(at..=at, [bad]);
                    assert_eq!(special(&text), Some(at), "{bad} of {length}");
                }
            }
        }
    }
}
