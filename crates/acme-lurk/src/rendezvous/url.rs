//! Where a relay is, and where a chunk is.

use std::fmt;

use super::query::chid;
use crate::url::HttpUrl;

/// The URL of a relay, without the name of a chunk.
///
/// ```
/// use acme_lurk::rendezvous::RelayUrl;
/// let relay = RelayUrl::parse("https://relay.example/stupid.php?site=1", 2048)?;
/// assert_eq!(relay.of("i781hf64-0"), "https://relay.example/stupid.php?site=1&chid=i781hf64-0");
/// # Ok::<(), acme_lurk::rendezvous::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelayUrl(String);

/// Why a text is no URL of a relay, or of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is no URL of http or https with a host.
    #[error("must be an http or https URL with a host, of ASCII without spaces")]
    Form,
    /// It has a fragment, which is never sent.
    #[error("has a fragment, which is never sent")]
    Fragment,
    /// It has, or has not, the name of a chunk.
    #[error("must {} the name of a chunk (chid)", if *.0 { "have" } else { "not have" })]
    Chid(bool),
    /// It is too long.
    #[error("has more than {0} octets")]
    TooLong(usize),
    /// It has a user or a password before the host.
    #[error("has a user or a password in it, which URLs should not have")]
    UserInfo,
}

impl RelayUrl {
    /// Reads one of up to `most` octets.
    ///
    /// # Errors
    /// When it is no URL that chunks can be put to.
    pub fn parse(text: &str, most: usize) -> Result<Self, InvalidUrl> {
        let query = check(text, most)?;
        let has_name = query.split('&').any(|pair| pair.split('=').next() == Some("chid"));
        if has_name { Err(InvalidUrl::Chid(false)) } else { Ok(Self(text.to_owned())) }
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody on the way can read along.
    pub fn is_https(&self) -> bool {
        self.0.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:"))
    }

    /// The URL of the chunk of this name, which must be of the alphabet of base64url.
    pub fn of(&self, chid: &str) -> String {
        // A query may itself have question marks: only the first begins it.
        let joint = match self.0.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{joint}chid={chid}", self.0)
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayUrl({})", self.0)
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Looks whether a text is the URL of a chunk.
pub(super) fn check_chunk(text: &str, most: usize) -> Result<(), InvalidUrl> {
    let query = check(text, most)?;
    if chid(query).is_none() { Err(InvalidUrl::Chid(true)) } else { Ok(()) }
}

/// The query of a URL of http or https.
fn check(text: &str, most: usize) -> Result<&str, InvalidUrl> {
    if text.len() > most {
        return Err(InvalidUrl::TooLong(most));
    }
    if text.contains('#') {
        return Err(InvalidUrl::Fragment);
    }
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    if authority.contains('@') {
        return Err(InvalidUrl::UserInfo);
    }
    HttpUrl::parse(text).ok_or(InvalidUrl::Form)?;
    Ok(text.split_once('?').map_or("", |(_, query)| query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_relays_are_what_can_be_asked() {
        let of = |text: &str| RelayUrl::parse(text, 64).map(|relay| relay.of("a"));
        for (text, chunk) in [
            ("http://r", "http://r?chid=a"),
            ("HTTPS://r:8443/p", "HTTPS://r:8443/p?chid=a"),
            ("http://[::1]:1/?", "http://[::1]:1/?chid=a"),
            ("http://r/??", "http://r/??&chid=a"),
            ("http://r/?x=y", "http://r/?x=y&chid=a"),
            ("http://r/?x=y&", "http://r/?x=y&chid=a"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(chunk));
        }
        for (text, error) in [
            ("", InvalidUrl::Form),
            ("r", InvalidUrl::Form),
            ("ftp://r/", InvalidUrl::Form),
            ("http:///p", InvalidUrl::Form),
            ("http://:80/", InvalidUrl::Form),
            ("http://r/ p", InvalidUrl::Form),
            ("http://r/\u{e4}", InvalidUrl::Form),
            ("http://r:0/", InvalidUrl::Form),
            ("http://r/\\p", InvalidUrl::Form),
            ("http://r/#key", InvalidUrl::Fragment),
            ("http://u:p@r/", InvalidUrl::UserInfo),
            ("http://r/?chid=", InvalidUrl::Chid(false)),
            ("http://r/?a&chid", InvalidUrl::Chid(false)),
        ] {
            assert_eq!(of(text), Err(error), "{text}");
        }
        assert_eq!(of(&format!("http://r/{}", "p".repeat(64))), Err(InvalidUrl::TooLong(64)));
        assert_eq!(check_chunk("http://r/?chid=a", 64), Ok(()));
        for text in ["http://r/", "http://r/?chid=", "http://r/?chid=a&chid=b"] {
            assert_eq!(check_chunk(text, 64), Err(InvalidUrl::Chid(true)), "{text}");
        }
        assert!(RelayUrl::parse("HTTPS://r", 64).unwrap().is_https());
        assert!(!RelayUrl::parse("http://https/", 64).unwrap().is_https());
    }
}
