//! Which identity of a message is rated. [RFC 7073 section 3.2](https://www.rfc-editor.org/rfc/rfc7073#section-3.2)

use std::fmt;
use std::str::FromStr;

/// Where in a message the rated name or address was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Identity {
    /// The signing domain of a valid DKIM signature.
    Dkim,
    /// The client's IPv4 address.
    Ipv4,
    /// The client's IPv6 address.
    Ipv6,
    /// What the client called itself in HELO or EHLO.
    Helo,
    /// The envelope sender's domain.
    MailFrom,
    /// The author's domain.
    From,
    /// The domain that passed SPF.
    Spf,
}

/// A text that is none of the seven tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not an identity: dkim, ipv4, ipv6, rfc5321.helo, rfc5321.mailfrom, rfc5322.from and spf are")]
pub struct UnknownIdentity;

impl Identity {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Dkim, Self::Ipv4, Self::Ipv6, Self::Helo, Self::MailFrom, Self::From, Self::Spf];
    /// The extension that says it.
    pub const EXTENSION: &'static str = "email-id-identity";
    /// The extension that says it in examples and in older software, and the query parameter.
    pub const ALIAS: &'static str = "identity";

    /// The token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dkim => "dkim",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Helo => "rfc5321.helo",
            Self::MailFrom => "rfc5321.mailfrom",
            Self::From => "rfc5322.from",
            Self::Spf => "spf",
        }
    }
}

impl FromStr for Identity {
    type Err = UnknownIdentity;

    /// Any case: the drafts wrote capital letters.
    fn from_str(name: &str) -> Result<Self, UnknownIdentity> {
        Self::ALL.into_iter().find(|identity| identity.name().eq_ignore_ascii_case(name)).ok_or(UnknownIdentity)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seven_tokens_are_read_in_any_case() {
        for identity in Identity::ALL {
            assert_eq!(identity.name().to_ascii_uppercase().parse(), Ok(identity));
        }
        for unknown in ["", "dkim ", "arc", "rfc5321"] {
            assert_eq!(unknown.parse::<Identity>(), Err(UnknownIdentity));
        }
    }
}
