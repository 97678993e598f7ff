//! A user and a password in a header field. [RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderValue, InvalidHeaderValue};
use zeroize::Zeroizing;

/// The longest pair that is looked at, in octets.
const LONGEST: usize = 1024;

/// `USER:PASSWORD`. It does not show itself, and is wiped when dropped.
#[derive(Clone)]
pub struct BasicCredentials(Zeroizing<Vec<u8>>);

/// A user and a password that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither user nor password has control characters; the user has no colon, and both have at most 1023 octets")]
#[allow(clippy::exhaustive_structs, reason = "more must not be said")]
pub struct InvalidCredentials;

impl BasicCredentials {
    /// Those of a line `USER:PASSWORD`; the password may have colons.
    ///
    /// # Errors
    /// When there is no colon, or something that a header field cannot carry.
    pub fn from_line(line: &str) -> Result<Self, InvalidCredentials> {
        let is_good = line.len() <= LONGEST && line.find(':').is_some_and(|at| at > 0);
        if !is_good || line.chars().any(char::is_control) {
            return Err(InvalidCredentials);
        }
        Ok(Self(Zeroizing::new(line.as_bytes().to_vec())))
    }

    /// What an `Authorization` field presents; none if that is something else.
    pub fn from_header(value: &[u8]) -> Option<Self> {
        let (scheme, secret) = value.split_at_checked(value.iter().position(|octet| *octet == b' ')?)?;
        if !scheme.eq_ignore_ascii_case(b"basic") || secret.len() > 2 * LONGEST {
            return None;
        }
        STANDARD.decode(secret.trim_ascii()).ok().map(Zeroizing::new).map(Self)
    }

    /// The value of an `Authorization` field.
    ///
    /// # Errors
    /// Never: base64 has nothing that a field could not carry.
    pub fn to_header(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut text = Zeroizing::new(String::with_capacity(8 + self.0.len() * 2));
        text.push_str("Basic ");
        STANDARD.encode_string(&*self.0, &mut text);
        let mut value = HeaderValue::from_str(&text)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// `USER:PASSWORD`, as it came.
    pub fn pair(&self) -> &[u8] {
        &self.0
    }

    /// The user.
    pub fn user(&self) -> &[u8] {
        self.0.split(|octet| *octet == b':').next().unwrap_or_default()
    }
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCredentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_read_and_none_of_it_is_shown() {
        let sent = BasicCredentials::from_line("Aladdin:open sesame").unwrap();
        let value = sent.to_header().unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive() && !format!("{sent:?}{value:?}").contains("sesame"));
        let read = BasicCredentials::from_header(b"bAsIc   QWxhZGRpbjpvcGVuIHNlc2FtZQ== ").unwrap();
        assert_eq!((read.pair(), read.user()), (&b"Aladdin:open sesame"[..], &b"Aladdin"[..]));
        let long = [b"Basic ".as_slice(), &[b'A'; 4096]].concat();
        for bad in [&b""[..], b"Basic", b"Basic !!", b"Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", &long] {
            assert!(BasicCredentials::from_header(bad).is_none());
        }
        for bad in ["", "alone", ":x", "a\u{1}:b", &format!("a:{}", "x".repeat(1023))] {
            assert!(BasicCredentials::from_line(bad).is_err(), "{bad}");
        }
        assert_eq!(BasicCredentials::from_line("a:b:c").unwrap().user(), b"a");
    }
}
