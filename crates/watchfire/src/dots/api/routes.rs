//! From a request to what is asked of the Call Home client.

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
            ClientEvent::Lapsed { .. } => object["lapsed"] = true.into(),
            ClientEvent::Refused { why, .. } => object["refused"] = ask::refused(why).to_string().into(),
            ClientEvent::Waiting { seconds, .. } => object["again-in"] = (*seconds).into(),
            _ => {}
        }
        vec![object]
    }
}
