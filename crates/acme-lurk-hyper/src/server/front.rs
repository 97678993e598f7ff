//! From HTTP to a machine, and back.

use std::sync::Arc;

use acme_lurk::acme::server::Request as Asked;
use acme_lurk::acme::{Problem, ProblemType};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use watchfire_hyper::{BodyError, ConnectionEvent, Peer, read_body};

use super::Site;
use super::events::{Observer, ServerCounters, ServerEvent, count};
use super::limits::ServerLimits;
use crate::written::written;

/// What stands between the connections and the site.
pub(super) struct Front {
    pub(super) origin: String,
    pub(super) site: Box<dyn Site>,
    pub(super) limits: ServerLimits,
    pub(super) observer: Option<Observer>,
    pub(super) counters: Arc<ServerCounters>,
}

impl Front {
    fn say(&self, event: ServerEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Bytes>, BodyError> {
        let (parts, body) = request.into_parts();
        // Nothing else has a body that means something.
        let body = match parts.method == Method::POST {
            true => read_body(body, self.limits.body_octets, self.limits.body).await?,
            false => Bytes::new(),
        };
        let field = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let url = format!("{}{}", self.origin, parts.uri.path_and_query().map_or("/", |path| path.as_str()));
        let asked = Asked {
            method: parts.method.as_str(),
            url: &url,
            content_type: field(CONTENT_TYPE),
            if_none_match: field(IF_NONE_MATCH),
            body: &body,
        };
        let answer = self.site.answer(asked).await;
        Ok(written(answer.status, answer.headers, answer.body))
    }
}

impl watchfire_hyper::Site for Front {
    type Body = Full<Bytes>;

    async fn respond(&self, request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
        count(&self.counters.requests);
        let uri = request.uri().clone();
        let response = self.answer(request).await.unwrap_or_else(|error| {
            count(&self.counters.bodies_refused);
            refusal(&error)
        });
        match response.status() {
            StatusCode::NOT_MODIFIED => count(&self.counters.not_modified),
            status if status.is_client_error() || status.is_server_error() => {
                count(&self.counters.refused);
                let (status, problem) = (status.as_u16(), response.body());
                self.say(ServerEvent::Refused { from: peer.address, path: uri.path(), status, problem });
            }
            _ => {}
        }
        response.map(Full::new)
    }

    fn tell(&self, event: ConnectionEvent<'_>) {
        self.counters.connection.count(&event);
        self.say(ServerEvent::Connection(event));
    }
}

/// A body that was not taken.
fn refusal(error: &BodyError) -> Response<Bytes> {
    let status = error.status();
    let problem = Problem::new(ProblemType::Malformed, error.to_string()).with_status(status.as_u16());
    let mut response = Response::new(Bytes::from(problem.encode()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
