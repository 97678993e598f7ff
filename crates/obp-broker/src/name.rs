//! Names as the broker keeps them: lower case, no final dot, nothing but letters, digits, hyphen and underscore.

use std::fmt;
use std::sync::Arc;

/// A DNS name of at most 253 octets, in lower case and without the final dot. Cheap to clone.
///
/// DNS allows any octet in a label; names of services do not need them, and a name with a quote or a line feed in it
/// has no business in a log, a policy file or an answer. Such names are refused at the border (OBP-022, OBP-023).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<str>);

/// Why a text is no name for the broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all, or two dots in a row.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// More than 63 octets between two dots.
    #[error("a label of the name is longer than 63 octets")]
    LongLabel,
    /// More than 253 octets.
    #[error("the name is longer than 253 octets")]
    TooLong,
    /// Outside of letters, digits, `-` and `_`; internationalized names come in punycode.
    #[error(
        "the name has the character {0:?}: write letters, digits, '-' and '_', internationalized names in punycode"
    )]
    Character(char),
}

impl DomainName {
    /// Longest name, in octets of its text without the final dot (RFC 1035 section 2.3.4).
    pub const MAX_LEN: usize = 253;

    /// Reads a name; one final dot and capitals are accepted and dropped.
    ///
    /// # Errors
    /// [`NameError`] when it is empty, too long, or has a character that no service name needs.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > Self::MAX_LEN {
            return Err(NameError::TooLong);
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(NameError::EmptyLabel);
            }
            if label.len() > 63 {
                return Err(NameError::LongLabel);
            }
            if let Some(odd) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
                return Err(NameError::Character(odd));
            }
        }
        if text.bytes().any(|octet| octet.is_ascii_uppercase()) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The root of the DNS, whose text is empty.
    #[must_use]
    pub fn root() -> Self {
        Self("".into())
    }

    /// Its text, without the final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The name with `prefix` (one or more labels) before it.
    ///
    /// # Errors
    /// [`NameError`] as for [`DomainName::parse`].
    pub fn prefixed(&self, prefix: &str) -> Result<Self, NameError> {
        if self.is_root() {
            return Self::parse(prefix);
        }
        Self::parse(&format!("{prefix}.{}", self.0))
    }

    /// The name itself, then each name above it, without the root.
    pub fn and_parents(&self) -> impl Iterator<Item = &str> {
        let mut rest = (!self.0.is_empty()).then_some(&*self.0);
        std::iter::from_fn(move || {
            let current = rest?;
            rest = current.split_once('.').map(|(_, above)| above);
            Some(current)
        })
    }

    /// Whether it is `zone` or lies below it.
    #[must_use]
    pub fn is_within(&self, zone: &Self) -> bool {
        zone.is_root() || self.and_parents().any(|name| name == zone.as_str())
    }
}

impl std::borrow::Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_capitals_and_the_final_dot() {
        assert_eq!(DomainName::parse("WWW.Example.COM.").unwrap().as_str(), "www.example.com");
        assert_eq!(DomainName::parse("_443._tcp.example.com").unwrap().as_str(), "_443._tcp.example.com");
    }

    #[test]
    fn what_no_service_is_called_is_refused() {
        assert_eq!(DomainName::parse(""), Err(NameError::EmptyLabel));
        assert_eq!(DomainName::parse("."), Err(NameError::EmptyLabel));
        assert_eq!(DomainName::parse("a..b"), Err(NameError::EmptyLabel));
        assert_eq!(DomainName::parse(&"a".repeat(64)), Err(NameError::LongLabel));
        assert_eq!(DomainName::parse(&"ab.".repeat(90)), Err(NameError::TooLong));
        assert_eq!(DomainName::parse("bücher.example"), Err(NameError::Character('ü')));
        assert_eq!(DomainName::parse("a\n.example"), Err(NameError::Character('\n')));
    }

    #[test]
    fn parents_end_below_the_root() {
        let name = DomainName::parse("a.b.example").unwrap();
        assert_eq!(name.and_parents().collect::<Vec<_>>(), ["a.b.example", "b.example", "example"]);
        assert!(name.is_within(&DomainName::parse("b.example").unwrap()));
        assert!(!name.is_within(&DomainName::parse("x.example").unwrap()));
        assert!(name.is_within(&DomainName::root()));
        assert_eq!(DomainName::root().and_parents().count(), 0);
    }
}
