//! http-01 by a listener of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acme_lurk::acme::ChallengeKind;
use acme_lurk::acme::challenge::http01_path;
use acme_lurk::acme::client::Provision;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use watchfire_hyper::{ConnectionLimits, Peer, Server, Site};

use super::Responder;
use crate::Going;

/// Answers at `/.well-known/acme-challenge/` for whoever leads that path here, and nothing else.
pub struct Http01 {
    server: Server<Files>,
    address: SocketAddr,
}

impl Http01 {
    /// Answers at this listener.
    ///
    /// # Errors
    /// When it has no address.
    pub fn start(listener: TcpListener) -> std::io::Result<Self> {
        let mut limits = ConnectionLimits::default();
        limits.connections = 256;
        let server = Server::start(Arc::new(Files::default()), limits);
        let address = server.serve(listener, None)?;
        Ok(Self { server, address })
    }

    /// Where it answers.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Responder for Http01 {
    fn present<'a>(&'a self, provision: &'a Provision) -> Going<'a, Result<(), String>> {
        let path = http01_path(&provision.token);
        self.server.site().lock().insert(path, provision.key_authorization.clone());
        Box::pin(async { Ok(()) })
    }

    fn clean_up<'a>(&'a self, provision: &'a Provision) -> Going<'a, ()> {
        self.server.site().lock().remove(&http01_path(&provision.token));
        Box::pin(async {})
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        vec![ChallengeKind::Http01]
    }
}

impl std::fmt::Debug for Http01 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http01").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is served, by its path. As many as there are challenges under way, which the client's limits bound.
#[derive(Default)]
struct Files(Mutex<HashMap<String, String>>);

impl Files {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site for Files {
    type Body = Full<Bytes>;

    async fn respond(&self, request: Request<Incoming>, _peer: Peer) -> Response<Full<Bytes>> {
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let found = self.lock().get(request.uri().path()).cloned().filter(|_| is_get);
        let mut response = Response::new(Full::from(found.clone().unwrap_or_default()));
        if found.is_none() {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        response
    }
}
