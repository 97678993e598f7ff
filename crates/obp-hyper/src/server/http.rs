//! HTTP/1.1 and HTTP/2 (draft-hallambaker-omnibroker-08 section 7.2).

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use obp_proto::http::{RequestHead, Security};
use watchfire_hyper::{ConnectionEvent, Peer, Site, read_body};

use super::core::Core;
use super::rate::Rates;
use super::{Knowledge, ServerCounters, ServerLimits, count};

/// What answers requests over HTTP.
pub(super) struct Front<K> {
    pub(super) core: Arc<Core<K>>,
    pub(super) limits: ServerLimits,
    pub(super) body_limit: usize,
    pub(super) counters: Arc<ServerCounters>,
    pub(super) rates: Arc<Rates>,
}

impl<K: Knowledge> Site for Front<K> {
    type Body = Full<Bytes>;

    async fn respond(&self, request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
        if !self.rates.admit(peer.address.ip(), self.core.clock.now()) {
            count(&self.counters.rate_limited);
            let mut response = bare(StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
            return response;
        }
        let (parts, body) = request.into_parts();
        let body = match read_body(body, self.body_limit, self.limits.body).await {
            Ok(body) => body,
            Err(error) => {
                count(&self.counters.bodies_refused);
                return bare(error.status());
            }
        };
        let mut head = RequestHead::new(parts.method.as_str(), parts.uri.path());
        for (name, value) in &parts.headers {
            // What is not text is none of the headers that mean something; a Session header of that kind is a broken one.
            head = head.with_header(name.as_str(), value.to_str().unwrap_or("\u{0}"));
        }
        let security = match peer.security {
            watchfire_hyper::Security::Clear => Security::Clear,
            watchfire_hyper::Security::Loopback => Security::Loopback,
            watchfire_hyper::Security::Tls => Security::Tls,
        };
        match self.core.exchange(&head, body, security).await {
            Some(response) => written(response),
            None => bare(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn tell(&self, event: ConnectionEvent<'_>) {
        self.counters.connection.count(&event);
        match event {
            ConnectionEvent::AcceptFailed { .. } => tracing::warn!("{event}"),
            ConnectionEvent::Connected { .. } => {}
            _ => tracing::debug!("{event}"),
        }
    }
}

fn written(response: obp_proto::http::Response) -> Response<Full<Bytes>> {
    let mut written = Response::new(Full::new(response.body));
    // Codes such as 281 are no errors to hyper, only unusual.
    *written.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value)) {
            written.headers_mut().append(name, value);
        }
    }
    written
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
