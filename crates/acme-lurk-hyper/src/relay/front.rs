//! From a request of hyper to the relay, and back.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acme_lurk::rendezvous::{Relay, RelayRequest};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::Semaphore;
use watchfire_hyper::{BasicCredentials, BodyError, Clock, ConnectionEvent, Peer, Security, Site, network, read_body};

use super::RelayServerLimits;
use super::events::{Observer, RelayCounters, RelayEvent, count};
use crate::written::written;

/// All that answers requests.
pub(super) struct Front {
    pub(super) relay: Mutex<Relay>,
    pub(super) limits: RelayServerLimits,
    pub(super) users: Option<Users>,
    pub(super) auth_in_clear_text: bool,
    /// For bodies that come in.
    pub(super) bodies: Semaphore,
    pub(super) counters: Arc<RelayCounters>,
    pub(super) observer: Option<Observer>,
    pub(super) clock: Clock,
}

impl Front {
    /// Drops what is too old.
    pub(super) fn forget(&self) {
        self.relay().forget(self.clock.now());
    }

    pub(super) fn usage(&self) -> (usize, usize) {
        self.relay().usage()
    }

    fn relay(&self) -> MutexGuard<'_, Relay> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() != "/" {
            return bare(StatusCode::NOT_FOUND, "there is nothing here: the relay is at /");
        }
        if parts.method != Method::POST {
            return self.ask(&parts, peer, None, &[]);
        }
        let owner = match self.owner(&parts, peer) {
            Ok(owner) => owner,
            Err(response) => return *response,
        };
        // Nothing is read from who may not put it there, or where it cannot be taken.
        if owner.is_none() || body.size_hint().lower() > self.limits.relay.chunk as u64 {
            let refused =
                if owner.is_some() { refusal(&BodyError::TooLarge) } else { self.ask(&parts, peer, None, &[]) };
            return refused;
        }
        match self.read(body).await {
            Ok(body) => self.ask(&parts, peer, owner.as_deref(), &body),
            Err(error) => refusal(&error),
        }
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, BodyError> {
        let octets = body.size_hint().exact().and_then(|octets| usize::try_from(octets).ok());
        let places = places(octets.unwrap_or(self.limits.relay.chunk)).min(self.limits.bodies);
        let reading = async {
            // Never closed.
            let _places = self.bodies.acquire_many(u32::try_from(places.max(1)).unwrap_or(u32::MAX)).await.ok();
            read_body(body, self.limits.relay.chunk, self.limits.body).await
        };
        tokio::time::timeout(self.limits.body, reading).await.unwrap_or(Err(BodyError::TooSlow))
    }

    /// Who wants to put something there; none for nobody that is known.
    fn owner(&self, parts: &Parts, peer: Peer) -> Result<Option<String>, Box<Response<Bytes>>> {
        let Some(users) = &self.users else {
            return Ok(Some(format!("{:032x}", network(peer.address.ip()))));
        };
        let presented = parts.headers.get(AUTHORIZATION);
        if peer.security == Security::Clear && !self.auth_in_clear_text && presented.is_some() {
            return Err(Box::new(bare(StatusCode::FORBIDDEN, "passwords are taken over https only")));
        }
        Ok(presented.and_then(|value| users.find(value.as_bytes())))
    }

    fn ask(&self, parts: &Parts, peer: Peer, owner: Option<&str>, body: &[u8]) -> Response<Bytes> {
        let query = parts.uri.query().unwrap_or_default();
        let request = RelayRequest { method: parts.method.as_str(), query, from: peer.address, owner, body };
        let now = self.clock.now();
        let response = self.relay().handle_request(now, &request);
        // Of an answer to HEAD, hyper leaves the body out.
        written(response.status, response.headers, response.body)
    }

    fn say(&self, event: RelayEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

impl Site for Front {
    type Body = Full<Bytes>;

    async fn respond(&self, request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
        let counters = &self.counters;
        count(&counters.requests);
        let is_post = request.method() == Method::POST;
        let names_chunk = request.uri().query().is_some();
        let octets = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
        let response = self.answer(request, peer).await;
        match response.status() {
            StatusCode::OK if is_post => {
                count(&counters.stored);
                self.say(RelayEvent::Stored { from: peer.address, octets });
            }
            StatusCode::OK if names_chunk => count(&counters.fetched),
            StatusCode::NOT_FOUND if !is_post => count(&counters.missing),
            StatusCode::UNAUTHORIZED => count(&counters.unauthorized),
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::SERVICE_UNAVAILABLE => count(&counters.full),
            status if status.is_client_error() || status.is_server_error() => count(&counters.refused),
            _ => {}
        }
        if is_post && response.status() != StatusCode::OK {
            self.say(RelayEvent::Refused { from: peer.address, status: response.status().as_u16() });
        }
        response.map(Full::new)
    }

    fn tell(&self, event: ConnectionEvent<'_>) {
        self.counters.connection.count(&event);
        self.say(RelayEvent::Connection(event));
    }
}

/// For how many small chunks a body stands that has so many octets: what comes in at one time is held in memory.
fn places(octets: usize) -> usize {
    octets.div_ceil(SMALL)
}

/// Octets of a chunk that every relay should take.
const SMALL: usize = 65_536;

/// Who may put chunks there. Only digests of the passwords are kept.
pub(super) struct Users(Vec<([u8; 32], String)>);

impl Users {
    pub(super) fn new(users: impl IntoIterator<Item = BasicCredentials>) -> Self {
        let entry = |user: BasicCredentials| (digest(&user), String::from_utf8_lossy(user.user()).into_owned());
        Self(users.into_iter().map(entry).collect())
    }

    /// Whose an Authorization field is. All are compared, in constant time.
    fn find(&self, value: &[u8]) -> Option<String> {
        let presented = digest(&BasicCredentials::from_header(value)?);
        let mut found = None;
        for (known, user) in &self.0 {
            let is_it: Choice = known.ct_eq(&presented);
            if is_it.into() {
                found = Some(user.clone());
            }
        }
        found
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

fn digest(user: &BasicCredentials) -> [u8; 32] {
    Sha256::digest(user.pair()).into()
}

fn refusal(error: &BodyError) -> Response<Bytes> {
    bare(error.status(), &error.to_string())
}

/// A status and a line that says why, not to be kept.
fn bare(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_is_counted_by_its_octets() {
        assert_eq!([0, 1, SMALL, SMALL + 1, 1 << 20].map(places), [0, 1, 1, 2, 16]);
    }

    #[test]
    fn users_are_found_by_the_whole_of_what_they_present() {
        let user = |line: &str| BasicCredentials::from_line(line).unwrap();
        let users = Users::new([user("a:first"), user("b:second:colon")]);
        let find = |line: &str| users.find(user(line).to_header().unwrap().as_bytes());
        assert_eq!(find("a:first").as_deref(), Some("a"));
        assert_eq!(find("b:second:colon").as_deref(), Some("b"));
        for wrong in ["a:firs", "a:first ", "b:first", "A:first", "a:second:colon"] {
            assert_eq!(find(wrong), None, "{wrong}");
        }
        assert_eq!(users.find(b"Bearer a:first"), None);
        assert_eq!(format!("{users:?}"), "Users(2)");
    }
}
