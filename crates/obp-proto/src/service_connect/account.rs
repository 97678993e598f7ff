//! How people write accounts. draft-hallambaker-wsconnect-08 section 7.

use std::fmt;
use std::str::FromStr;

use crate::message::{InvalidName, Name};

/// An account at a service: `alice@example.com`, or a part of one: `:phone/alice@example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountName {
    subaccount: Option<Box<str>>,
    account: Box<str>,
    service: Name,
}

/// Not an [`AccountName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAccount {
    /// No at sign.
    #[error("an account is written account@service or :subaccount/account@service")]
    NoService,
    /// The part behind the at sign is no DNS name.
    #[error("the service of an account is no DNS name: {0}")]
    Service(#[source] InvalidName),
    /// No account, or an empty subaccount.
    #[error("an account or subaccount is empty")]
    Empty,
    /// A character that separates, or one that controls.
    #[error("the character {0:?} stands in an account")]
    Character(char),
    /// More than 128 octets.
    #[error("an account or subaccount is longer than 128 octets")]
    TooLong,
}

impl AccountName {
    /// The account at the service, without subaccount.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The part of the account, if one is named.
    pub fn subaccount(&self) -> Option<&str> {
        self.subaccount.as_deref()
    }

    /// The service's domain.
    pub fn service(&self) -> &Name {
        &self.service
    }

    /// What stands in the member Account of a request: everything before the at sign.
    pub fn local_part(&self) -> String {
        match &self.subaccount {
            Some(subaccount) => format!(":{subaccount}/{}", self.account),
            None => self.account.to_string(),
        }
    }

    /// Where the service answers.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.service.to_canonical(), super::PATH)
    }
}

fn part(text: &str) -> Result<Box<str>, InvalidAccount> {
    if text.is_empty() {
        return Err(InvalidAccount::Empty);
    }
    if text.len() > 128 {
        return Err(InvalidAccount::TooLong);
    }
    let bad = |c: &char| c.is_control() || c.is_whitespace() || matches!(c, '@' | '/' | ':');
    match text.chars().find(bad) {
        Some(c) => Err(InvalidAccount::Character(c)),
        None => Ok(text.into()),
    }
}

impl FromStr for AccountName {
    type Err = InvalidAccount;

    fn from_str(text: &str) -> Result<Self, InvalidAccount> {
        let (local, service) = text.rsplit_once('@').ok_or(InvalidAccount::NoService)?;
        let service = service.parse().map_err(InvalidAccount::Service)?;
        let (subaccount, account) = match local.strip_prefix(':') {
            None => (None, local),
            Some(rest) => {
                let (subaccount, account) = rest.split_once('/').ok_or(InvalidAccount::Empty)?;
                (Some(part(subaccount)?), account)
            }
        };
        Ok(Self { subaccount, account: part(account)?, service })
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part(), self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written() {
        let alice: AccountName = "alice@Example.com".parse().unwrap();
        assert_eq!((alice.account(), alice.subaccount(), alice.local_part().as_str()), ("alice", None, "alice"));
        assert_eq!(alice.to_string(), "alice@Example.com");
        assert_eq!(alice.url(), "https://example.com/.well-known/sxs-connect/");
        let phone: AccountName = ":phone/alice@example.com".parse().unwrap();
        assert_eq!((phone.account(), phone.subaccount()), ("alice", Some("phone")));
        assert_eq!(phone.local_part(), ":phone/alice");
        assert_eq!(phone.to_string().parse(), Ok(phone));
    }

    #[test]
    fn what_is_no_account_is_refused() {
        use InvalidAccount::*;
        for (text, why) in [
            ("alice", NoService),
            ("@example.com", Empty),
            ("alice@", Service(InvalidName::Empty)),
            ("alice@a b", Service(InvalidName::Octet(b' '))),
            (":phone@example.com", Empty),
            (":/alice@example.com", Empty),
            (":phone/@example.com", Empty),
            ("al ice@example.com", Character(' ')),
            ("a@b@example.com", Character('@')),
            ("phone/alice@example.com", Character('/')),
            ("al\u{7}ice@example.com", Character('\u{7}')),
        ] {
            assert_eq!(text.parse::<AccountName>(), Err(why), "{text}");
        }
        assert_eq!(format!("{}@example.com", "a".repeat(129)).parse::<AccountName>(), Err(TooLong));
    }
}
