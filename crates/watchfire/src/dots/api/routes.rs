//! From a request to what is asked of the client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dots_callhome::body::{Body, Scope};
use dots_tokio::client::{CallHomeClientEvent, Missed};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answers::{failed, lines, refused, said};
use super::{Answer, Api};
use crate::dots::ask;
use crate::exit::Failure;

/// How long a peer may take, when nothing is said, and at most.
const WAIT: Duration = Duration::from_secs(20);
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How long the body may take to come.
const BODY: Duration = Duration::from_secs(10);
/// Lines that wait for a follower that does not read; beyond them it is told how all stands.
const QUEUE: usize = 1024;

impl Api {
    /// Answers a request.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>, shutdown: CancellationToken) -> Answer {
        if let Err((status, what)) = self.guard.admit(request.method(), request.headers()) {
            return refused(status, what);
        }
        let (parts, body) = request.into_parts();
        let path: Option<Vec<String>> = parts.uri.path().split('/').skip(1).map(decoded).collect();
        let query: Option<BTreeMap<String, String>> =
            parts.uri.query().unwrap_or_default().split('&').map(pair).collect();
        let (Some(path), Some(query)) = (path, query) else {
            return refused(StatusCode::BAD_REQUEST, "the path or the query cannot be read");
        };
        let wait = match query.get("timeout").map(|text| text.parse::<f64>()) {
            None => WAIT,
            Some(Ok(seconds)) if (0.0..=WAIT_MAX.as_secs_f64()).contains(&seconds) => Duration::from_secs_f64(seconds),
            Some(_) => return refused(StatusCode::BAD_REQUEST, "timeout must be seconds, 600 at most"),
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let peer = query.get("peer").map(String::as_str);
        let outcome = match (&parts.method, path.as_slice()) {
            (&Method::GET, ["v1", "peers"]) => Ok(self.peers()),
            (&Method::GET, ["v1", "mitigations"]) if query.get("follow").is_some_and(|follow| follow == "1") => {
                return self.follow(peer, shutdown).unwrap_or_else(|failure| failed(&failure));
            }
            (&Method::GET, ["v1", "mitigations"]) => ask::status(&self.client, peer).map(Value::Array),
            (&Method::PUT, ["v1", "peers", peer, "mitigations", mid]) => match mid.parse() {
                Ok(mid) => self.mitigate(peer, Some(mid), body, wait).await,
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the mid must be a number below 4294967296"),
            },
            (&Method::POST, ["v1", "peers", peer, "mitigations"]) => self.mitigate(peer, None, body, wait).await,
            (&Method::DELETE, ["v1", "peers", peer, "mitigations", mid]) => match mid.parse() {
                Ok(mid) => ask::withdraw(&self.client, peer, mid, wait).await,
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the mid must be a number below 4294967296"),
            },
            (&Method::GET, ["v1", "proposals"]) => Ok(Value::Array(self.book.list())),
            (&Method::POST, ["v1", "proposals", id, "confirm"]) => match id.parse() {
                Ok(id) => self.book.confirm(&self.client, id, wait).await,
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the proposal must be a number"),
            },
            (&Method::DELETE, ["v1", "proposals", id]) => match id.parse() {
                Ok(id) => self.book.dismiss(id),
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the proposal must be a number"),
            },
            (&Method::GET | &Method::PUT | &Method::POST | &Method::DELETE, _) => {
                return refused(StatusCode::NOT_FOUND, "no such resource: see docs/dots.md");
            }
            _ => return refused(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT, POST or DELETE, please"),
        };
        match outcome {
            Ok(value) => said(StatusCode::OK, &value),
            Err(failure) => failed(&failure),
        }
    }

    fn peers(&self) -> Value {
        let peers = self.client.peers().into_iter().map(|peer| {
            let session = peer.session.map(|session| {
                json!({
                    "address": session.address.to_string(),
                    "transport": match session.transport {
                        dots_callhome::Transport::Stream => "tls",
                        dots_callhome::Transport::Datagram => "dtls",
                    },
                    "resumed": session.resumed,
                })
            });
            json!({ "peer": &*peer.peer, "cuid": peer.cuid, "mitigations": peer.mitigations, "session": session })
        });
        Value::Array(peers.collect())
    }

    async fn mitigate(&self, peer: &str, mid: Option<u32>, body: Incoming, wait: Duration) -> Result<Value, Failure> {
        let scope = self.scope(body).await?;
        ask::mitigate(&self.client, peer, mid, scope, wait).await
    }

    /// The one scope of a body.
    async fn scope(&self, body: Incoming) -> Result<Scope, Failure> {
        let collected = tokio::time::timeout(BODY, Limited::new(body, self.body).collect()).await;
        let collected = collected.map_err(|_| Failure::usage("the body did not come in time"))?;
        let octets = collected.map_err(|error| Failure::usage(format!("the body cannot be read: {error}")))?.to_bytes();
        let wrong = |what: String| Failure::usage(what).at("the body");
        let body = Body::from_json(&octets).map_err(|error| wrong(error.to_string()))?;
        let Body::Mitigation(scopes) = body else { return Err(wrong("not a mitigation-scope".to_owned())) };
        let [scope] = <[Scope; 1]>::try_from(scopes).map_err(|all| wrong(format!("{} scopes, not one", all.len())))?;
        Ok(scope)
    }

    /// How all stands, and then each change, until the follower goes or all ends.
    fn follow(self: Arc<Self>, peer: Option<&str>, shutdown: CancellationToken) -> Result<Answer, Failure> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let of = peer.map(|peer| ask::canonical(&self.client, peer));
        // Before the look, so that nothing falls between.
        let mut events = self.client.events();
        let now = ask::status(&self.client, peer)?;
        tokio::spawn(async move {
            for one in now {
                if sender.send(one).await.is_err() {
                    return;
                }
            }
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = sender.closed() => return,
                    () = shutdown.cancelled() => return,
                };
                let changed = match event {
                    Ok(CallHomeClientEvent::Signal { peer, event }) if of.as_ref().is_none_or(|of| **of == *peer) => {
                        self.changed(&peer, &event)
                    }
                    Ok(_) => continue,
                    Err(Missed::Events(_)) => ask::status(&self.client, of.as_deref()).unwrap_or_default(),
                    Err(_) => return,
                };
                for one in changed {
                    if sender.send(one).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(lines(receiver))
    }

    fn changed(&self, peer: &str, event: &dots_callhome::ClientEvent) -> Vec<Value> {
        use dots_callhome::ClientEvent;
        let Some(mid) = ask::mid_of(event) else { return Vec::new() };
        let mut object = ask::one(&self.client, peer, mid).unwrap_or_else(|| json!({ "peer": peer, "mid": mid }));
        match event {
            // As it was said, even when it is over by now.
            ClientEvent::Status { scope } => {
                let cuid = self.client.peer(peer).map(|info| info.cuid).unwrap_or_default();
                let said = crate::dots::shown::object(peer, &cuid, mid, scope);
                if let (Some(object), Value::Object(said)) = (object.as_object_mut(), said) {
                    object.extend(said);
                }
            }
            ClientEvent::Ended { .. } => object["ended"] = true.into(),
            ClientEvent::Refused { why, .. } => object["refused"] = ask::refused(why).to_string().into(),
            ClientEvent::Waiting { seconds, .. } => object["again-in"] = (*seconds).into(),
            _ => {}
        }
        vec![object]
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
