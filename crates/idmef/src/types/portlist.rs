//! PORTLIST. [RFC 4765 section 3.2.8](https://www.rfc-editor.org/rfc/rfc4765#section-3.2.8)

use super::{Value, text_type};
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// One member of a [`Portlist`]: ports from `first` to `last`, both included, `first` at most `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`, in whichever order they are given.
    pub fn new(first: u16, last: u16) -> Self {
        Self { first: first.min(last), last: first.max(last) }
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last
    }

    fn parse(text: &str) -> Option<Self> {
        let port = |text: &str| {
            let text = super::trim(text);
            (text.len() <= 5 && text.starts_with(|c: char| c.is_ascii_digit())).then(|| text.parse().ok()).flatten()
        };
        match text.split_once('-') {
            None => port(text).map(|only| Self { first: only, last: only }),
            Some((first, last)) => {
                let (first, last) = (port(first)?, port(last)?);
                (first <= last).then_some(Self { first, last })
            }
        }
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

/// Ports and ranges of ports, at least one: `5-25,37,42,43,53,69-119,123-514`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Portlist(Vec<PortRange>);

impl Portlist {
    /// A list of the given members, in their order; `None` when there are none.
    pub fn new(ranges: Vec<PortRange>) -> Option<Self> {
        (!ranges.is_empty()).then_some(Self(ranges))
    }

    /// The members, in the order written.
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }

    /// Whether `port` is in one of the members.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| (range.first..=range.last).contains(&port))
    }
}

impl fmt::Display for Portlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write!(f, "{}", range.first)?;
            if range.last > range.first {
                write!(f, "-{}", range.last)?;
            }
        }
        Ok(())
    }
}

impl Value for Portlist {
    const TYPE: &'static str = "PORTLIST";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        text.split(',').map(PortRange::parse).collect::<Option<_>>().map(Self)
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

text_type!(Portlist, "PORTLIST");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let text = "5-25,37,42,43,53,69-119,123-514";
        let list: Portlist = text.parse().unwrap();
        assert_eq!(list.ranges().len(), 7);
        assert!(list.contains(25) && list.contains(514) && !list.contains(26));
        assert_eq!(list.to_string(), text);
        assert_eq!(" 1 , 2 - 3\n".parse::<Portlist>().unwrap().to_string(), "1,2-3");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", ",", "1,", "70000", "9-5", "+1", "a", "1-2-3", "-1", "00001234"] {
            assert!(text.parse::<Portlist>().is_err(), "{text}");
        }
        assert!(Portlist::new(vec![]).is_none());
    }
}
