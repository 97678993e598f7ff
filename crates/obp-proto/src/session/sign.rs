//! What the MAC of a header covers, making it and verifying it.

use std::sync::Arc;

use super::SessionHeader;
use crate::crypto::{Authentication, MacKey, Provider};

/// What the MAC covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// The content of the message.
    Seed,
    /// `Session:`, all attributes but `Value` in alphabetical order joined by `; `, CRLF, and the content.
    Strict,
}

/// Which of several `Session` headers must verify (draft-hallambaker-httpsession-02 section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Required {
    /// One, whichever.
    #[default]
    Any,
    /// So many of them at least; zero is taken as one.
    AtLeast(usize),
    /// Every one.
    All,
}

impl Required {
    /// Whether `verified` of `present` headers are enough. None present never is.
    pub fn is_satisfied(self, verified: usize, present: usize) -> bool {
        let need = match self {
            Self::Any => 1,
            Self::AtLeast(n) => n.max(1),
            Self::All => present.max(1),
        };
        verified >= need
    }
}

/// The key of one ticket, prepared once for all its messages.
#[derive(Debug, Clone)]
pub struct SessionKey {
    key: Arc<dyn MacKey>,
    /// The fewest octets of a MAC that are taken.
    least: usize,
}

impl SessionKey {
    /// Prepares a key. None when the label is unknown.
    pub fn new(provider: &dyn Provider, secret: &[u8], authentication: &Authentication) -> Option<Self> {
        let key = provider.mac_key(authentication.hash()?, secret);
        Some(Self { key, least: authentication.mac_len()? })
    }

    /// Signs a message: fills the header's `Value`, which covers what the header's profile says. The MAC is whole, as
    /// in the examples, even under a label that truncates.
    #[must_use]
    pub fn sign(&self, header: SessionHeader, body: &[u8]) -> SessionHeader {
        let mac = self.mac(&header, body);
        header.with_value(mac.as_bytes())
    }

    /// As [`Self::sign`], with a MAC as short as the label allows.
    #[must_use]
    pub fn sign_truncated(&self, header: SessionHeader, body: &[u8]) -> SessionHeader {
        let mac = self.mac(&header, body);
        header.with_value(mac.truncated(self.least))
    }

    /// Whether the header's MAC is that of the message; in constant time. A MAC may be whole, or shorter down to what
    /// the label says.
    #[must_use]
    pub fn verify(&self, header: &SessionHeader, body: &[u8]) -> bool {
        self.mac(header, body).matches(header.value(), self.least)
    }

    fn mac(&self, header: &SessionHeader, body: &[u8]) -> crate::crypto::Mac {
        match header.profile() {
            Profile::Seed => self.key.sign(&[body]),
            Profile::Strict => self.key.sign(&[canonical(header).as_bytes(), body]),
        }
    }
}

/// The header as the strict MAC covers it.
fn canonical(header: &SessionHeader) -> String {
    let mut attributes: Vec<_> = header.attributes().iter().filter(|attribute| &*attribute.name != "Value").collect();
    attributes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::from("Session:");
    for (n, attribute) in attributes.into_iter().enumerate() {
        text.push_str(if n == 0 { "" } else { "; " });
        text.push_str(&attribute.name);
        if let Some(value) = &attribute.value {
            text.push('=');
            text.push_str(value);
        }
    }
    text.push_str("\r\n");
    text
}
