//! The header of content, and what may follow a body. draft-ietf-idwg-iap-01 section 4.3.5.

use bytes::BufMut;

use super::cursor::Cursor;
use super::head::{complete, lines};
use super::setup::put;
use super::{DecodeError, DecodeErrorKind, Syntax, http_like};
use crate::message::{ContentHeader, Dialect, Form, MediaType};

impl ContentHeader {
    /// Reads the header of a 0.3 content from the front of `input`, and says how long it is with its empty line.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Incomplete`] when its end is not in; otherwise what is wrong, and where.
    pub fn decode(input: &[u8]) -> Result<(Self, usize), DecodeError> {
        Self::decode_with(input, Dialect::V0_3, &Syntax::default())
    }

    /// As [`decode`](Self::decode), in another dialect or by other rules than the default ones.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_with(input: &[u8], dialect: Dialect, syntax: &Syntax) -> Result<(Self, usize), DecodeError> {
        if dialect.form == Form::Prefixed {
            // Nearly every header of the data phase is of this form. It is legal under every `Compat`.
            if let Some((header, len)) = canonical(input).filter(|(_, len)| *len <= syntax.limits.line)
                && syntax.limits.lines >= 2
            {
                return Ok((header, len));
            }
        }
        let len = complete(input, true, syntax)?;
        let header = general(input.get(..len).unwrap_or_default(), dialect, syntax)?;
        Ok((header, len))
    }

    /// Writes it with its empty line, as `dialect` has it.
    pub fn encode(&self, dialect: Dialect, out: &mut impl BufMut) {
        if dialect.form == Form::HttpLike {
            http_like::put_alert_line(dialect, out);
        }
        put(out, &["Content-Type: ", self.content_type.as_str(), "\r\nContent-Length: "]);
        put_number(self.content_length, out);
        put(out, &["\r\n\r\n"]);
    }
}

/// What follows a body: the end of the body and the end of the message in 0.3, nothing in the later drafts.
pub(crate) const fn trailer(dialect: Dialect) -> &'static [u8] {
    match dialect.form {
        Form::Prefixed => b"\r\n\r\n",
        Form::HttpLike => b"",
    }
}

/// The header exactly as the grammar writes it, with a media type that we know. `None` is no verdict: the general
/// reader decides.
fn canonical(input: &[u8]) -> Option<(ContentHeader, usize)> {
    let value = input.strip_prefix(b"Content-Type: ")?;
    let (content_type, rest) = MediaType::KNOWN.iter().find_map(|known| {
        let rest = value.strip_prefix(known.as_str().as_bytes())?;
        Some((known, rest.strip_prefix(b"\r\nContent-Length: ")?))
    })?;
    let mut content_length = 0u64;
    let mut digits = 0usize;
    for octet in rest {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // Nineteen digits cannot overflow; the twentieth is refused.
        digits = digits.checked_add(1).filter(|digits| *digits <= 19)?;
        content_length = content_length.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    let body = rest.get(digits..)?.strip_prefix(b"\r\n\r\n")?;
    let header = ContentHeader { content_type: content_type.clone(), content_length };
    (digits > 0).then_some((header, input.len().checked_sub(body.len())?))
}

fn general(head: &[u8], dialect: Dialect, syntax: &Syntax) -> Result<ContentHeader, DecodeError> {
    let mut lines = lines(head);
    if dialect.form == Form::HttpLike {
        let first = lines.next().ok_or(DecodeError::new(DecodeErrorKind::NotIap, 0))?;
        let mut cursor = Cursor::new(first, syntax);
        let written = http_like::put_line(&mut cursor, &http_like::ALERT_TARGETS)?;
        if written != dialect {
            return Err(DecodeError::new(DecodeErrorKind::Version, first.offset));
        }
    }
    let (mut content_type, mut content_length) = (None, None);
    for line in lines {
        let mut cursor = Cursor::new(line, syntax);
        let name = cursor.any_header()?;
        let at = cursor;
        let out_of_order;
        let repeated = if name.eq_ignore_ascii_case(b"Content-Type") {
            out_of_order = content_length.is_some();
            content_type.replace(cursor.media_type()?).is_some()
        } else if name.eq_ignore_ascii_case(b"Content-Length") {
            out_of_order = content_type.is_none();
            let length = cursor.length()?;
            cursor.end(DecodeErrorKind::Length)?;
            content_length.replace(length).is_some()
        } else if name.eq_ignore_ascii_case(b"Transfer-Encoding") {
            return Err(at.error(DecodeErrorKind::TransferEncoding));
        } else {
            out_of_order = true;
            false
        };
        if repeated {
            return Err(at.error(DecodeErrorKind::RepeatedHeader));
        }
        if out_of_order && !syntax.compat.any_header_order {
            return Err(at.error(DecodeErrorKind::HeaderOrder));
        }
    }
    let missing = |kind| DecodeError::new(kind, head.len());
    Ok(ContentHeader {
        content_length: content_length.ok_or_else(|| missing(DecodeErrorKind::MissingLength))?,
        content_type: content_type.ok_or_else(|| missing(DecodeErrorKind::MissingType))?,
    })
}

fn put_number(mut number: u64, out: &mut impl BufMut) {
    let mut digits = [b'0'; 20];
    let mut used = 0usize;
    for slot in digits.iter_mut().rev() {
        *slot = b'0'.wrapping_add(u8::try_from(number % 10).unwrap_or_default());
        number /= 10;
        used = used.saturating_add(1);
        if number == 0 {
            break;
        }
    }
    out.put_slice(digits.get(20usize.saturating_sub(used)..).unwrap_or_default());
}
