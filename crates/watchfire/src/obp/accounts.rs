//! The accounts file of a broker: who may bind, with which one-time PINs.
//!
//! ```toml
//! [[account]]
//! name = "alice@example.com"
//!
//! [[account.pin]]
//! pin = "12345-67890-12345-67890"     # for one device
//! expires = "2026-01-31T12:00:00Z"
//! ```
//!
//! The broker and `watchfire obp account` both write it, each under a lock and by way of a new file, so that neither
//! ever sees half of what the other wrote. PINs stand there as they are, because the proof of the protocol needs them
//! (SXS-08 section 5.1): the file is its owner's alone.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use obp_proto::service_connect;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::exit::{Failure, file_failure};
use crate::replace::{self, replace_private};

/// Not read beyond this many octets.
const FILE_LIMIT: u64 = 64 << 20;

/// The longest name of an account.
const NAME_LIMIT: usize = 320;

/// PINs that an account may have at one time.
pub(super) const MOST_PINS: usize = 16;

/// An accounts file. Nothing is kept in memory: every call looks at the file.
#[derive(Debug, Clone)]
pub struct Accounts {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default, rename = "account", skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<Account>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    name: String,
    #[serde(default, rename = "pin", skip_serializing_if = "Vec::is_empty")]
    pins: Vec<Pin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    pin: Zeroizing<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// What is said of an account to those who may not see its PINs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// PINs that are still good.
    pub pins: usize,
}

impl Accounts {
    /// The file at `path`, which need not exist yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The names of all accounts.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        Ok(self.read()?.accounts.into_iter().map(|account| account.name).collect())
    }

    /// All accounts, without their secrets.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn list(&self, now: jiff::Timestamp) -> Result<Vec<Summary>, Failure> {
        let summary = |account: Account| Summary {
            pins: account.pins.iter().filter(|pin| pin.good(now)).count(),
            name: account.name,
        };
        Ok(self.read()?.accounts.into_iter().map(summary).collect())
    }

    /// The PINs of an account that are good now; none when there is no such account.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn pins(&self, name: &str, now: jiff::Timestamp) -> Result<Option<Vec<Zeroizing<String>>>, Failure> {
        let found = self.read()?.accounts.into_iter().find(|account| same(&account.name, name));
        Ok(found.map(|account| account.pins.into_iter().filter(|pin| pin.good(now)).map(|pin| pin.pin).collect()))
    }

    /// Adds an account if it is new, and a PIN that is good until `expires`.
    ///
    /// # Errors
    /// A name that cannot be one, too many PINs, or a file that cannot be written.
    pub fn add(&self, name: &str, pin: Option<(&str, jiff::Timestamp)>, now: jiff::Timestamp) -> Result<(), Failure> {
        check_name(name)?;
        self.change(|content| {
            let account = match content.accounts.iter().position(|account| same(&account.name, name)) {
                Some(at) => &mut content.accounts[at],
                None => {
                    content.accounts.push(Account { name: name.to_owned(), ..Account::default() });
                    content.accounts.last_mut().expect("it was just pushed")
                }
            };
            account.pins.retain(|pin| pin.good(now));
            if let Some((pin, expires)) = pin {
                if account.pins.len() >= MOST_PINS {
                    return Err(too_many_pins(name));
                }
                account.pins.push(Pin { pin: Zeroizing::new(pin.to_owned()), expires: Some(expires.to_string()) });
            }
            Ok(())
        })
    }

    /// Takes a PIN away for good, however it is grouped. False when it was not there any more.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn use_pin(&self, name: &str, pin: &service_connect::Pin, now: jiff::Timestamp) -> Result<bool, Failure> {
        self.change(|content| {
            let account = content.accounts.iter_mut().find(|account| same(&account.name, name));
            let Some(account) = account else { return Ok(false) };
            let before = account.pins.len();
            account.pins.retain(|one| !(one.good(now) && is_pin(&one.pin, pin)));
            Ok(account.pins.len() < before)
        })
    }

    /// Removes an account.
    ///
    /// # Errors
    /// When there is no such account, or the file cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        self.change(|content| {
            let before = content.accounts.len();
            content.accounts.retain(|account| !same(&account.name, name));
            if content.accounts.len() == before { Err(unknown(name, self.path.display())) } else { Ok(()) }
        })
    }

    fn read(&self) -> Result<Content, Failure> {
        let mut octets = Zeroizing::new(Vec::new());
        match File::open(&self.path) {
            Ok(file) => {
                let read = file.take(FILE_LIMIT + 1).read_to_end(&mut octets);
                read.map_err(|error| file_failure("read the accounts", &self.path, &error))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_failure("read the accounts", &self.path, &error)),
        }
        if octets.len() as u64 > FILE_LIMIT {
            return Err(Failure::usage(format!("larger than {FILE_LIMIT} octets")).at(self.path.display()));
        }
        let text = std::str::from_utf8(&octets)
            .map_err(|error| Failure::usage(format!("not UTF-8: {error}")).at(self.path.display()))?;
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let failure = Failure::usage(error.message().to_owned()).at(format!("{}:{line}", self.path.display()));
            failure.remedy("mend the line, or let `watchfire obp account` write the file")
        })
    }

    /// Reads, changes and writes while no other process does.
    fn change<T>(&self, change: impl FnOnce(&mut Content) -> Result<T, Failure>) -> Result<T, Failure> {
        let lock = replace::lock(&self.path);
        let _lock = lock.map_err(|error| file_failure("lock the accounts", &self.path, &error))?;
        let mut content = self.read()?;
        let outcome = change(&mut content)?;
        let text = toml::to_string(&content).map_err(|error| Failure::usage(error.to_string()))?;
        let text = Zeroizing::new(text);
        replace_private(&self.path, text.as_bytes())
            .map_err(|error| file_failure("write the accounts", &self.path, &error))?;
        Ok(outcome)
    }
}

impl Pin {
    fn good(&self, now: jiff::Timestamp) -> bool {
        // A moment that cannot be read is one that has passed.
        self.expires.as_ref().is_none_or(|text| text.parse().is_ok_and(|expires: jiff::Timestamp| now < expires))
    }
}

/// An account's name can be written and asked for.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.len() > NAME_LIMIT || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Failure::usage(format!("{name:?} cannot be an account")).remedy("write NAME@DOMAIN"));
    }
    Ok(())
}

pub(super) fn too_many_pins(name: &str) -> Failure {
    let failure = Failure::usage(format!("{name} has {MOST_PINS} unused PINs already"));
    failure.remedy("use one of them, or remove the account")
}

pub(super) fn unknown(name: &str, place: impl std::fmt::Display) -> Failure {
    Failure::refused(format!("there is no account {name}")).at(place).remedy("see `watchfire obp account list`")
}

/// Whether this text is that PIN: people write one in groups, or not.
pub(super) fn is_pin(text: &str, pin: &service_connect::Pin) -> bool {
    text.parse().as_ref() == Ok(pin)
}

/// A name as accounts are compared.
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Accounts are told apart as the names of hosts are.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// A PIN of twenty digits in groups of five, which any keypad can enter and nobody can try out: whoever opens a binding
/// gets something to test guesses against.
///
/// # Errors
/// When the system has no randomness.
pub fn new_pin() -> Result<Zeroizing<String>, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut seed[..]).map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
    Ok(service_connect::Pin::random(&mut StdRng::from_seed(*seed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace::beside;
    use crate::testing::TempDir;

    fn at(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    fn noon() -> jiff::Timestamp {
        at("2026-01-31T12:00:00Z")
    }

    #[test]
    fn a_pin_is_good_once_and_in_time() {
        let folder = TempDir::new("accounts");
        let accounts = Accounts::at(&folder.path().join("a.toml"));
        assert_eq!(accounts.names().unwrap(), Vec::<String>::new(), "no file is no account");
        accounts.add("alice@example.com", Some(("1111-2222", at("2026-01-31T13:00:00Z"))), noon()).unwrap();
        accounts.add("Alice@Example.com", Some(("3333-4444", at("2026-01-31T14:00:00Z"))), noon()).unwrap();
        assert_eq!(accounts.names().unwrap(), ["alice@example.com"]);
        let pin = |text: &str| text.parse().unwrap();
        let pins = |now| accounts.pins("ALICE@example.com", now).unwrap().unwrap().len();
        assert_eq!((pins(noon()), pins(at("2026-01-31T13:30:00Z"))), (2, 1));
        assert!(
            !accounts.use_pin("alice@example.com", &pin("11112222"), at("2026-01-31T13:30:00Z")).unwrap(),
            "too late"
        );
        assert!(accounts.use_pin("alice@example.com", &pin("11112222"), noon()).unwrap());
        assert!(!accounts.use_pin("alice@example.com", &pin("11112222"), noon()).unwrap(), "twice");
        assert!(!accounts.use_pin("bob@example.com", &pin("3333-4444"), noon()).unwrap(), "somebody else's");
        assert!(accounts.pins("bob@example.com", noon()).unwrap().is_none());
    }

    #[test]
    fn accounts_are_removed() {
        let folder = TempDir::new("removed");
        let accounts = Accounts::at(&folder.path().join("a.toml"));
        accounts.add("a@b", None, noon()).unwrap();
        accounts.remove("A@b").unwrap();
        assert!(accounts.remove("a@b").is_err() && accounts.names().unwrap().is_empty());
    }

    #[test]
    fn the_file_is_private_and_mistakes_are_named_by_line() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::new("accounts-file");
        let path = folder.path().join("a.toml");
        let accounts = Accounts::at(&path);
        accounts.add("a@b", Some(("1234", at("2027-01-01T00:00:00Z"))), noon()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "[[account]]\nname = \"a@b\"\n\n[[account]]\nnam = \"c@d\"\n").unwrap();
        let failure = accounts.names().unwrap_err().to_string();
        assert!(failure.contains("a.toml:4") || failure.contains("a.toml:5"), "{failure}");
        assert!(accounts.add("e@f", None, noon()).is_err(), "a damaged file is not written over");
        assert!(Accounts::at(&folder.path().join("b.toml")).add("two words", None, noon()).is_err());
    }

    #[test]
    fn what_root_adds_is_still_the_broker_s_to_read() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = TempDir::new("accounts-root");
        if chown(folder.path(), Some(4321), Some(1234)).is_err() {
            eprintln!("SKIPPED: what_root_adds_is_still_the_broker_s_to_read: needs root");
            return;
        }
        let path = folder.path().join("a.toml");
        let accounts = Accounts::at(&path);
        for _ in 0..2 {
            accounts.add("a@b", None, noon()).unwrap();
            for file in [path.clone(), beside(&path, ".lock")] {
                let found = std::fs::metadata(&file).unwrap();
                assert_eq!((found.uid(), found.gid()), (4321, 1234), "{}", file.display());
            }
        }
    }

    #[test]
    fn an_account_has_so_many_pins() {
        let folder = TempDir::new("accounts-pins");
        let accounts = Accounts::at(&folder.path().join("a.toml"));
        let later = at("2027-01-01T00:00:00Z");
        for n in 0..MOST_PINS {
            accounts.add("a@b", Some((&format!("{n:04}"), later)), noon()).unwrap();
        }
        assert!(accounts.add("a@b", Some(("9999", later)), noon()).is_err());
        // The old ones make room when their time has passed.
        accounts.add("a@b", Some(("9999", at("2028-01-01T00:00:00Z"))), at("2027-06-01T00:00:00Z")).unwrap();
        assert_eq!(accounts.list(at("2027-06-01T00:00:00Z")).unwrap()[0].pins, 1);
    }

    #[test]
    fn pins_are_digits_in_groups() {
        let pin = new_pin().unwrap();
        let groups: Vec<&str> = pin.split('-').collect();
        assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 5), "{pin:?}");
        assert!(groups.concat().bytes().all(|octet| octet.is_ascii_digit()));
        assert_ne!(*pin, *new_pin().unwrap());
    }
}
