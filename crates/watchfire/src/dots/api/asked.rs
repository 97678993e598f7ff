//! What a request asks for: its path and query, decoded.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::Answer;
use super::answers::refused;

/// How long a peer may take, when nothing is said, and at most.
const WAIT: Duration = Duration::from_secs(20);
const WAIT_MAX: Duration = Duration::from_secs(600);

/// One request, without its body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    path: Vec<String>,
    query: BTreeMap<String, String>,
    /// How long the answer may take.
    pub(super) wait: Duration,
}

impl Asked {
    /// Reads the head of a request.
    pub(super) fn read(parts: &Parts) -> Result<Self, Box<Answer>> {
        let bad = |what| Err(Box::new(refused(StatusCode::BAD_REQUEST, what)));
        let path: Option<Vec<String>> = parts.uri.path().split('/').skip(1).map(decoded).collect();
        let query: Option<BTreeMap<String, String>> =
            parts.uri.query().unwrap_or_default().split('&').map(pair).collect();
        let (Some(path), Some(query)) = (path, query) else {
            return bad("the path or the query cannot be read");
        };
        let wait = match query.get("timeout").map(|text| text.parse::<f64>()) {
            None => WAIT,
            Some(Ok(seconds)) if (0.0..=WAIT_MAX.as_secs_f64()).contains(&seconds) => Duration::from_secs_f64(seconds),
            Some(_) => return bad("timeout must be seconds, 600 at most"),
        };
        Ok(Self { method: parts.method.clone(), path, query, wait })
    }

    /// The segments of its path.
    pub(super) fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// The peer that it names.
    pub(super) fn peer(&self) -> Option<&str> {
        self.query.get("peer").map(String::as_str)
    }

    /// Whether it wants to hear what changes.
    pub(super) fn follows(&self) -> bool {
        self.query.get("follow").is_some_and(|follow| follow == "1")
    }

    /// What is said to what is not known.
    pub(super) fn unknown(&self) -> Answer {
        match self.method {
            Method::GET | Method::PUT | Method::POST | Method::DELETE => {
                refused(StatusCode::NOT_FOUND, "no such resource: see docs/dots.md")
            }
            _ => refused(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT, POST or DELETE, please"),
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let value = match octet {
            b'%' => {
                let mut digit = || char::from(octets.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        };
        out.push(value);
    }
    String::from_utf8(out).ok()
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((decoded(name)?, decoded(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_or_refused() {
        assert_eq!(decoded("a%2Fb%20c").as_deref(), Some("a/b c"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
        assert_eq!(pair("peer=a%2Eb"), Some(("peer".to_owned(), "a.b".to_owned())));
    }
}
