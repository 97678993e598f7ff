//! From a request to what is asked of the Call Home client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
use super::asked::Asked;
use super::{Answer, Answers, OperatorApi};
use crate::dots::ask;
use crate::exit::Failure;

/// How long the body may take to come.
const BODY: Duration = Duration::from_secs(10);
/// Lines that wait for a follower that does not read; beyond them it is told how all stands.
const QUEUE: usize = 1024;

impl Answers for OperatorApi {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, shutdown: CancellationToken) -> Answer {
        let (parts, body) = request.into_parts();
        let asked = match Asked::read(&parts) {
            Ok(asked) => asked,
            Err(answer) => return *answer,
        };
        let outcome = match (&asked.method, asked.path().as_slice()) {
            (&Method::GET, ["v1", "peers"]) => Ok(self.peers()),
            (&Method::GET, ["v1", "mitigations"]) if asked.follows() => {
                return self.follow(asked.peer(), shutdown).unwrap_or_else(|failure| failed(&failure));
            }
            (&Method::GET, ["v1", "mitigations"]) => ask::status(&self.client, asked.peer()).map(Value::Array),
            (&Method::PUT, ["v1", "peers", peer, "mitigations", mid]) => match mid.parse() {
                Ok(mid) => self.mitigate(peer, Some(mid), body, asked.wait).await,
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the mid must be a number below 4294967296"),
            },
            (&Method::POST, ["v1", "peers", peer, "mitigations"]) => self.mitigate(peer, None, body, asked.wait).await,
            (&Method::DELETE, ["v1", "peers", peer, "mitigations", mid]) => match mid.parse() {
                Ok(mid) => ask::withdraw(&self.client, peer, mid, asked.wait).await,
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the mid must be a number below 4294967296"),
            },
            (&Method::GET, ["v1", "proposals"]) => Ok(Value::Array(self.book.list())),
            (&Method::POST, ["v1", "proposals", id, "confirm"]) => match id.parse() {
                Ok(id) => self.book.confirm(&self.client, id, asked.wait).await,
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the proposal must be a number"),
            },
            (&Method::DELETE, ["v1", "proposals", id]) => match id.parse() {
                Ok(id) => self.book.dismiss(id),
                Err(_) => return refused(StatusCode::BAD_REQUEST, "the proposal must be a number"),
            },
            _ => return asked.unknown(),
        };
        match outcome {
            Ok(value) => said(StatusCode::OK, &value),
            Err(failure) => failed(&failure),
        }
    }
}

impl OperatorApi {
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
            let (mut said, mut next) = (Said::default(), now);
            loop {
                for one in std::mem::take(&mut next).into_iter().filter_map(|one| said.news(one)) {
                    if sender.send(one).await.is_err() {
                        return;
                    }
                }
                let event = tokio::select! {
                    event = events.next() => event,
                    () = sender.closed() => return,
                    () = shutdown.cancelled() => return,
                };
                next = match event {
                    Ok(CallHomeClientEvent::Signal { peer, event }) if of.as_ref().is_none_or(|of| **of == *peer) => {
                        self.changed(&peer, &event).into_iter().collect()
                    }
                    Ok(_) => continue,
                    Err(Missed::Events(_)) => {
                        said = Said::default();
                        ask::status(&self.client, of.as_deref()).unwrap_or_default()
                    }
                    Err(_) => return,
                };
            }
        });
        Ok(lines(receiver))
    }

    fn changed(&self, peer: &str, event: &dots_callhome::ClientEvent) -> Option<Value> {
        use dots_callhome::ClientEvent;
        let mid = ask::mid_of(event)?;
        let cuid = self.client.peer(peer).map(|info| info.cuid).unwrap_or_default();
        let bare = || json!({ "peer": peer, "cuid": &cuid, "mid": mid });
        let mut object = ask::one(&self.client, peer, mid).unwrap_or_else(bare);
        match event {
            // As it was said, even when it is over by now.
            ClientEvent::Status { scope } => {
                let said = crate::dots::shown::object(peer, &cuid, mid, scope);
                if let (Some(object), Value::Object(said)) = (object.as_object_mut(), said) {
                    object.extend(said);
                }
            }
            ClientEvent::Ended { .. } => object["ended"] = true.into(),
            ClientEvent::Lapsed { .. } => object["lapsed"] = true.into(),
            ClientEvent::Refused { why, .. } => object["refused"] = ask::refused(why).to_string().into(),
            ClientEvent::Waiting { seconds, .. } => object["again-in"] = (*seconds).into(),
            _ => {}
        }
        Some(object)
    }
}

/// What a follower was told last of each mitigation that there is.
#[derive(Default)]
struct Said(HashMap<(String, u64), Value>);

impl Said {
    /// What is to be told, unless it was; of one that is over with how it stood.
    fn news(&mut self, one: Value) -> Option<Value> {
        let (peer, mid) =
            (one["peer"].as_str().unwrap_or_default().to_owned(), one["mid"].as_u64().unwrap_or_default());
        if one.get("ended").is_some() || one.get("refused").is_some() {
            let mut last = self.0.remove(&(peer, mid)).unwrap_or_else(|| json!({}));
            if let (Some(last), Value::Object(one)) = (last.as_object_mut(), one) {
                last.extend(one);
            }
            return Some(last);
        }
        match self.0.entry((peer, mid)) {
            Entry::Occupied(known) if *known.get() == one => None,
            entry => Some(entry.insert_entry(one).get().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_is_told_what_is_new() {
        let mut said = Said::default();
        let object = |status: &str| json!({ "peer": "p", "cuid": "c", "mid": 1, "status": status });
        assert_eq!(said.news(object("a")), Some(object("a")));
        assert_eq!(said.news(object("a")), None);
        assert_eq!(said.news(object("b")), Some(object("b")));
        let over = json!({ "peer": "p", "cuid": "c", "mid": 1, "ended": true });
        let told = json!({ "peer": "p", "cuid": "c", "mid": 1, "status": "b", "ended": true });
        assert_eq!(said.news(over.clone()), Some(told));
        assert!(said.0.is_empty());
        assert_eq!(said.news(over.clone()), Some(over), "nothing was told of it");
        assert_eq!(said.news(object("b")), Some(object("b")), "another one of that number");
    }
}
