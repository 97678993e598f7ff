//! What a service wants to see, and addresses that have it in them. None of it is ever shown.

use std::fmt;
use std::str::FromStr;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use repute_proto::{Credentials, Scheme, Service};
use zeroize::Zeroizing;

/// Credentials and header fields for one service.
#[derive(Clone, Default)]
pub struct Access {
    pub(super) credentials: Option<Credentials>,
    pub(super) headers: HeaderMap,
}

impl Access {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a user and a password, sent as `Authorization: Basic`, or where the service's template wants them.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// With a key, sent as `Authorization: Bearer KEY`.
    ///
    /// # Errors
    /// When it has characters that a header field cannot carry.
    pub fn with_bearer(self, key: &str) -> Result<Self, InvalidHeaderValue> {
        let value = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {key}")))?;
        Ok(self.with_header(AUTHORIZATION, value))
    }

    /// With a header field, such as `X-Api-Key`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(..)")
    }
}

/// Where a service is, as people write it: `https://user:password@rep.example.net:8443`, or less.
///
/// ```
/// use repute_hyper::client::Address;
/// let address: Address = "https://alice:s%40cret@rep.example.net/".parse()?;
/// assert_eq!(address.to_string(), "https://rep.example.net");
/// assert_eq!(address.credentials().map(|credentials| credentials.passwd()), Some("s@cret"));
/// assert!(!format!("{address:?}").contains("cret"));
/// # Ok::<(), repute_hyper::client::InvalidAddress>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    service: Service,
    credentials: Option<Credentials>,
}

/// A text that is no address of a service. It is not shown, because it may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// Something else than `[http[s]://][USER:PASSWORD@]HOST[:PORT][/]`.
    #[error("not [http[s]://][USER:PASSWORD@]HOST[:PORT]")]
    Form,
    /// The user information has no colon, or another at sign, or is not UTF-8 when its percent signs are decoded.
    #[error("before the @ there is no USER:PASSWORD, in which @ is written %40")]
    Credentials,
}

impl Address {
    /// The service.
    pub const fn service(&self) -> &Service {
        &self.service
    }

    /// The user and the password, if it has them.
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// What the service wants to see, by this address.
    pub fn access(&self) -> Access {
        Access { credentials: self.credentials.clone(), headers: HeaderMap::new() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.service)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some(_) => return Err(InvalidAddress::Form),
            None => (Scheme::Http, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user_info, authority) = match rest.split_once('@') {
            Some((user_info, authority)) => (Some(user_info), authority),
            None => (None, rest),
        };
        let credentials = user_info.map(credentials).transpose()?;
        // Whose a second one is nobody can say.
        if authority.contains('@') {
            return Err(InvalidAddress::Credentials);
        }
        let service = Service::new(scheme, authority).map_err(|_| InvalidAddress::Form)?;
        Ok(Self { service, credentials })
    }
}

fn credentials(user_info: &str) -> Result<Credentials, InvalidAddress> {
    let (user, passwd) = user_info.split_once(':').ok_or(InvalidAddress::Credentials)?;
    let decode = |text: &str| decode_percent(text).ok_or(InvalidAddress::Credentials);
    Ok(Credentials::new(decode(user)?.as_str(), decode(passwd)?.as_str()))
}

/// Undoes percent-encoding; a percent sign that begins no triplet is itself.
fn decode_percent(text: &str) -> Option<Zeroizing<String>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|octet| char::from(*octet).to_digit(16));
        let triplet = digit(0).zip(digit(1)).filter(|_| *first == b'%');
        let triplet = triplet.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        octets.push(triplet.unwrap_or(*first));
        rest = if triplet.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    std::str::from_utf8(&octets).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_what_people_write() {
        let parsed = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        for (text, service) in [
            ("rep.example.net", "http://rep.example.net"),
            ("HTTPS://Rep.Example.net:443/", "https://rep.example.net"),
            ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(service));
        }
        let address: Address = "https://a%3Ab:p%40ss%:w%C3%B6rd%4@h:1".parse().unwrap();
        let credentials = address.credentials().unwrap();
        assert_eq!((credentials.user(), credentials.passwd()), ("a:b", "p@ss%:w\u{f6}rd%4"));
        for bad in ["", "ftp://h", "http://h/path", "http://h?x", "https://h:0", "http://"] {
            assert_eq!(parsed(bad), Err(InvalidAddress::Form), "{bad}");
        }
        for bad in ["https://secret@h", "https://a:%ff@h", "https://a:b@c@h"] {
            let error = parsed(bad).unwrap_err();
            assert_eq!(error, InvalidAddress::Credentials);
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn nothing_is_shown() {
        let access = Access::new().with_credentials(Credentials::new("u", "hidden")).with_bearer("hidden").unwrap();
        assert!(!format!("{access:?}").contains("hidden"));
        assert!(!format!("{:?}", access.headers).contains("hidden"));
        assert!(Access::new().with_bearer("a\nb").is_err());
    }
}
