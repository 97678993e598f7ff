//! `lurk put` and `lurk get`: octets by way of a relay.

use std::path::Path;

use acme_lurk::rendezvous::{ExchangeFailure, FetchError, Notification, RelayUrl, StoreError};
use acme_lurk::time::format_rfc3339;
use acme_lurk::{DecodeError, Limits};
use acme_lurk_hyper::relay::{Getting, Putting, RelayClient, RelayClientConfig};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use super::relay::read_users;
use crate::cli::{GetArgs, PutArgs};
use crate::exit::Failure;
use crate::{https, input, out};

/// Octets of the largest file that is put anywhere, and of the largest notification.
const LARGEST: u64 = 64 << 20;
const NOTIFICATION: u64 = 64 << 10;

/// Seconds for which relays keep what they have, at least.
const KEPT: i64 = 300;

/// Runs `lurk put`.
///
/// # Errors
/// As [`store`].
pub async fn put(args: &PutArgs) -> Result<(), Failure> {
    let notification = store(args).await?;
    let line = if args.link { notification.to_link().as_bytes().to_vec().into() } else { notification.encode() };
    out::line(&String::from_utf8_lossy(&line))
}

/// Puts a file into a relay.
///
/// # Errors
/// The relay says no (exit 1), a file or a URL that is none (2), nobody there (3).
pub async fn store(args: &PutArgs) -> Result<Notification, Failure> {
    let relay = RelayUrl::parse(&args.relay, Limits::DEFAULT.url)
        .map_err(|error| Failure::usage(error.to_string()).at("--relay").remedy("write http(s)://HOST[:PORT]/"))?;
    let octets = Zeroizing::new(input::read(&args.file, LARGEST, "read it")?);
    if octets.is_empty() {
        return Err(Failure::usage("is empty: there is nothing to put anywhere").at(args.file.display()));
    }
    let mut client = client(args.ca.as_deref(), &relay, args.timeout.0, LARGEST)?;
    if let Some(path) = &args.post_auth {
        let users = read_users(path)?;
        if let Some(user) = users.first() {
            client = client.with_credentials(user);
        }
    }
    let putting = tokio::time::timeout(args.timeout.0, client.put(&relay, &octets, args.seal));
    let notification = match putting.await {
        Ok(Ok(notification)) => notification,
        Ok(Err(error)) => return Err(not_put(&error).at(&relay)),
        Err(_) => return Err(late(args.timeout).at(&relay)),
    };
    Ok(notification.with_expires(UnixTime::from_secs(unix_now().saturating_add(KEPT))))
}

/// Runs `lurk get`.
///
/// # Errors
/// As [`fetch`].
pub async fn get(args: &GetArgs, json: bool) -> Result<(), Failure> {
    let Fetched { seq, octets } = fetch(args).await?;
    if !json {
        return out::octets(&octets);
    }
    let object = serde_json::json!({
        "event": "got", "seq": seq, "octets": octets.len(), "sha256": acme_lurk::base64url::encode(Sha256::digest(&octets)),
        "body": base64::engine::general_purpose::STANDARD.encode(&octets),
    });
    out::line(&object.to_string())
}

/// What was got.
#[non_exhaustive]
pub struct Fetched {
    /// The number of the chunk in its session.
    pub seq: u64,
    /// What is in it.
    pub octets: Vec<u8>,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").field("seq", &self.seq).field("octets", &self.octets.len()).finish()
    }
}

/// Gets what a notification tells of.
///
/// # Errors
/// It is not there (exit 1), a notification that is none (2), nobody there (3), or it is not what was put there (4).
pub async fn fetch(args: &GetArgs) -> Result<Fetched, Failure> {
    let notification = notification(&args.notification)?;
    // The name of the chunk is as good as the chunk, and is not shown.
    let place = notification.url().split(['?', '#']).next().unwrap_or_default().to_owned();
    let relay = RelayUrl::parse(&place, Limits::DEFAULT.url).map_err(|error| Failure::usage(error.to_string()))?;
    let client = client(args.ca.as_deref(), &relay, args.timeout.0, args.max_octets.0)?;
    let (seq, expires) = (notification.seq(), notification.expires());
    let getting = tokio::time::timeout(args.timeout.0, client.get(notification));
    match getting.await {
        Ok(Ok(octets)) => Ok(Fetched { seq, octets }),
        Ok(Err(error)) => Err(not_got(&error, expires).at(&place)),
        Err(_) => Err(late(args.timeout).at(&place)),
    }
}

fn client(
    ca: Option<&Path>,
    relay: &RelayUrl,
    timeout: std::time::Duration,
    chunk: u64,
) -> Result<RelayClient, Failure> {
    // Whoever speaks http needs no authorities, and may have none.
    let roots = if relay.is_https() || ca.is_some() { https::roots(ca)? } else { rustls::RootCertStore::empty() };
    let mut config = RelayClientConfig::default();
    config.connect = config.connect.min(timeout);
    config.exchange = timeout;
    config.chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
    let tls = https::client_config(roots)?;
    Ok(RelayClient::new((*tls).clone(), config))
}

/// A notification that stands in the argument, or in the file that it names.
fn notification(text: &str) -> Result<Notification, Failure> {
    let (place, text) = match text.trim_start() {
        json if json.starts_with('{') => ("the notification".to_owned(), Zeroizing::new(json.to_owned())),
        link if link.starts_with("http://") || link.starts_with("https://") => {
            ("the notification".to_owned(), Zeroizing::new(link.to_owned()))
        }
        _ => {
            let octets = Zeroizing::new(input::read(Path::new(text), NOTIFICATION, "read the notification")?);
            let content = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not UTF-8").at(text))?;
            (text.to_owned(), Zeroizing::new(content.to_owned()))
        }
    };
    let text = text.trim();
    let read = if text.starts_with('{') {
        Notification::decode(text.as_bytes(), &Limits::DEFAULT)
    } else {
        Notification::from_link(text, &Limits::DEFAULT)
    };
    read.map_err(|error: DecodeError| {
        let failure = Failure::usage(error.to_string()).at(place);
        failure.remedy("give the line that `lurk put` printed, or a file that holds it")
    })
}

fn late(timeout: crate::values::Span) -> Failure {
    Failure::unreachable(format!("not done within {timeout}"))
        .remedy("look whether the relay is well, or raise --timeout")
}

fn not_put(error: &Putting) -> Failure {
    let what = error.to_string();
    match error {
        Putting::Store { error, .. } => match error {
            StoreError::NotAuthorized(_) => Failure::refused(what).remedy("give a user that it knows by --post-auth"),
            StoreError::TooLarge => Failure::refused(what).remedy("put less there, or use a relay that takes more"),
            StoreError::Exchange(ExchangeFailure::Connect | ExchangeFailure::TimedOut) => {
                Failure::unreachable(what).remedy("look at the URL, and whether the relay is there")
            }
            StoreError::Exchange(_) => Failure::misbehaved(what).remedy("look at the URL: is this a relay?"),
            _ => Failure::refused(what),
        },
        Putting::ClearText(_) => Failure::usage(what).remedy("use https"),
        _ => Failure::usage(what),
    }
}

fn not_got(error: &Getting, expires: Option<UnixTime>) -> Failure {
    let what = error.to_string();
    let Getting::Fetch { error, .. } = error else { return Failure::usage(what) };
    match error {
        FetchError::Lost => match expires.filter(|expires| expires.as_secs() < unix_now()) {
            Some(expires) => {
                let passed = format!("{what}: it was there until {} at least", format_rfc3339(expires));
                Failure::refused(passed).remedy("have it put there again")
            }
            None => Failure::refused(what).remedy("look at the URL, or have it put there again"),
        },
        FetchError::Altered => {
            Failure::misbehaved(what).remedy("do not use this relay: it, or somebody on the way, changed it")
        }
        FetchError::Sealed => Failure::misbehaved(what).remedy("get the notification again: its key is another"),
        FetchError::Exchange(ExchangeFailure::TooLarge) => {
            Failure::misbehaved(what).remedy("if it is meant to be so large, raise --max-octets")
        }
        FetchError::Exchange(ExchangeFailure::Broken) => Failure::misbehaved(what),
        FetchError::Exchange(_) => Failure::unreachable(what).remedy("look at the URL, and whether the relay is there"),
        _ => Failure::refused(what),
    }
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_codes_of_their_blame() {
        let put = |error| not_put(&Putting::Store { error, detail: None }).blame().code();
        assert_eq!(put(StoreError::NotAuthorized(401)), 1);
        assert_eq!(put(StoreError::TooLarge), 1);
        assert_eq!(put(StoreError::Status(503)), 1);
        assert_eq!(put(StoreError::Exchange(ExchangeFailure::Connect)), 3);
        assert_eq!(put(StoreError::Exchange(ExchangeFailure::Broken)), 4);
        let get = |error| not_got(&Getting::Fetch { error, detail: None }, None).blame().code();
        assert_eq!(get(FetchError::Lost), 1);
        assert_eq!(get(FetchError::Altered), 4);
        assert_eq!(get(FetchError::Sealed), 4);
        assert_eq!(get(FetchError::Exchange(ExchangeFailure::TimedOut)), 3);
        let passed = not_got(&Getting::Fetch { error: FetchError::Lost, detail: None }, Some(UnixTime::from_secs(0)));
        assert!(passed.to_string().contains("until 1970-01-01T00:00:00Z"), "{passed}");
    }
}
