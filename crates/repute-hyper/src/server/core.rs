//! From a request to its response: who asks, how often, what, and what the store says.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use repute_proto::server::Batch;
use repute_proto::{Dispatch, Lookup, Reputon, Server as Machine, ServerConfig};
use tokio::sync::Semaphore;
use watchfire_core::UnixTime;
use watchfire_hyper::{BodyError, Clock, ConnectionEvent, Peer, Security, Site, read_body};

use super::events::{Observer, ServerCounters, ServerEvent, count};
use super::expiry::ExpiryPolicy;
use super::keys::{Holder, Keys};
use super::limits::ServerLimits;
use super::rate::Rates;
use super::store::{Store, StoreError};

/// All that answers requests.
pub(super) struct Core {
    pub(super) machine: Machine,
    pub(super) config: Arc<ServerConfig>,
    pub(super) store: Box<dyn Store>,
    pub(super) limits: ServerLimits,
    pub(super) keys: RwLock<Option<Arc<Keys>>>,
    pub(super) keys_in_clear_text: bool,
    pub(super) expiry: Option<ExpiryPolicy>,
    pub(super) rates: Rates,
    /// For look-ups that take their time.
    pub(super) places: Semaphore,
    pub(super) counters: Arc<ServerCounters>,
    pub(super) observer: Option<Observer>,
    pub(super) clock: Clock,
}

impl Site for Core {
    type Body = Full<Bytes>;

    async fn respond(&self, request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
        count(&self.counters.requests);
        let response = match self.answer(request, peer).await {
            Ok(response) => response,
            Err(response) => *response,
        };
        match response.status() {
            StatusCode::NOT_MODIFIED => count(&self.counters.not_modified),
            // These have counters of their own.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => {}
            status if status.is_client_error() => count(&self.counters.refused),
            _ => {}
        }
        response.map(Full::new)
    }

    fn tell(&self, event: ConnectionEvent<'_>) {
        self.counters.connection.count(&event);
        self.tell(ServerEvent::Connection(event));
    }
}

impl Core {
    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Result<Response<Bytes>, Box<Response<Bytes>>> {
        let from = peer.address;
        let holder = self.admit(&request, from, peer.security)?;
        let (parts, body) = request.into_parts();
        let is_batch = self.config.batch
            && parts.method == Method::POST
            && parts.uri.path().strip_prefix(self.config.base.as_str()) == Some("/batch");
        // Nothing else has a body that means something.
        let body = if is_batch { self.read(body).await? } else { Bytes::new() };
        let now = Clock::wall();
        match self.machine.handle_request(now, &Request::from_parts(parts, body)) {
            Dispatch::Respond(response) => Ok(response),
            Dispatch::Lookup(lookup) => self.look_up(now, &lookup).await,
            Dispatch::Batch(batch) => {
                let more = u32::try_from(batch.lookups.len().saturating_sub(1)).unwrap_or(u32::MAX);
                self.rates.charge(self.clock.now(), from.ip(), holder.as_deref(), more);
                self.look_up_batch(now, &batch).await
            }
            // A kind of request that this version of the crate does not know.
            _ => Err(Box::new(bare(StatusCode::NOT_IMPLEMENTED, "this cannot be answered"))),
        }
    }

    /// Whether the request is let in, and by whose key.
    fn admit<B>(
        &self,
        request: &Request<B>,
        from: SocketAddr,
        security: Security,
    ) -> Result<Option<Arc<Holder>>, Box<Response<Bytes>>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Who has no key is told nothing, but how to ask: templates are public.
        let needs_key = keys.is_some() && !request.uri().path().starts_with("/.well-known/");
        let may_show = security != Security::Clear || self.keys_in_clear_text;
        let holder = keys.filter(|_| may_show).and_then(|keys| keys.holder(request.headers()).cloned());
        if let Err(response) = self.rates.admit(|| self.clock.now(), from.ip(), holder.as_deref()) {
            count(&self.counters.rate_limited);
            self.tell(ServerEvent::RateLimited { from, key: holder.as_deref().map(|holder| &*holder.name) });
            return Err(response);
        }
        if needs_key && !may_show {
            count(&self.counters.unauthorized);
            self.tell(ServerEvent::Unauthorized { from });
            return Err(Box::new(bare(StatusCode::FORBIDDEN, "keys are taken over https only")));
        }
        if needs_key && holder.is_none() {
            count(&self.counters.unauthorized);
            self.tell(ServerEvent::Unauthorized { from });
            let mut response = bare(StatusCode::UNAUTHORIZED, "a key is needed: Authorization: Bearer KEY");
            for scheme in ["Bearer realm=\"repute\"", "Basic realm=\"repute\""] {
                response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
            return Err(Box::new(response));
        }
        Ok(holder)
    }

    /// The body of a batch.
    async fn read(&self, body: Incoming) -> Result<Bytes, Box<Response<Bytes>>> {
        let read = read_body(body, self.limits.body_octets, self.limits.body).await;
        read.map_err(|error| {
            count(&self.counters.bodies_refused);
            let text = match error {
                BodyError::TooLarge => "the body is too large",
                BodyError::TooSlow => "the body came too slowly",
                _ => "the body broke off",
            };
            Box::new(bare(error.status(), text))
        })
    }

    async fn look_up(&self, now: UnixTime, lookup: &Lookup) -> Result<Response<Bytes>, Box<Response<Bytes>>> {
        count(&self.counters.lookups);
        let mut response = None;
        self.store.at_hand(lookup, &mut |found| {
            response = Some(self.machine.respond(now, lookup, self.with_expiry(now, found)));
        });
        if let Some(response) = response {
            return Ok(response);
        }
        let found = self.in_time(self.store.find(lookup)).await?;
        Ok(self.machine.respond(now, lookup, self.with_expiry(now, found)))
    }

    async fn look_up_batch(&self, now: UnixTime, batch: &Batch) -> Result<Response<Bytes>, Box<Response<Bytes>>> {
        count(&self.counters.batches);
        let lookups = u64::try_from(batch.lookups.len()).unwrap_or(u64::MAX);
        self.counters.lookups.fetch_add(lookups, std::sync::atomic::Ordering::Relaxed);
        let found = self.in_time(self.store.find_batch(&batch.lookups)).await?;
        let found = found.into_iter().map(|found| self.with_expiry(now, found)).collect();
        Ok(self.machine.respond_batch(now, batch, found))
    }

    /// What a look-up finds, or the response in its place: that it is not known now whether anything is known.
    async fn in_time<T>(
        &self,
        finding: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Box<Response<Bytes>>> {
        let found = tokio::time::timeout(self.limits.lookup, async {
            // Never closed.
            let _place = self.places.acquire().await.ok();
            finding.await
        });
        let error = match found.await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => StoreError::new(format_args!("no answer within {:?}", self.limits.lookup)),
        };
        count(&self.counters.store_failed);
        self.tell(ServerEvent::StoreFailed { error: &error });
        let mut response = bare(StatusCode::SERVICE_UNAVAILABLE, "nothing can be said at the moment");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_IN));
        Err(Box::new(response))
    }

    fn with_expiry<'r>(&self, now: UnixTime, mut found: Vec<Reputon<'r>>) -> Vec<Reputon<'r>> {
        if let Some(policy) = &self.expiry {
            found.iter_mut().for_each(|reputon| policy.apply(reputon, now));
        }
        found
    }

    /// Tells whoever wants to know.
    pub(super) fn tell(&self, event: ServerEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

/// Seconds after which a store that failed may be asked again.
const RETRY_IN: &str = "5";

/// A status and a line that says why, not to be kept.
fn bare(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use repute_proto::ServerConfig;

    use super::*;
    use crate::server::{Finding, Server};

    struct Nothing;

    impl Store for Nothing {
        fn find<'a>(&'a self, _lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }

    #[tokio::test]
    async fn keys_are_not_taken_in_clear_text_unless_configured() {
        let from = "192.0.2.1:1".parse().unwrap();
        for is_configured in [false, true] {
            let mut keys = Keys::new();
            keys.add_key("filter", "s3cret", None).unwrap();
            let server = Server::builder(ServerConfig::builder("r").build().unwrap(), Nothing)
                .with_keys(keys)
                .with_keys_in_clear_text(is_configured);
            let server = server.start();
            let core = server.inner.site();
            let status = |security, key: Option<&str>, path: &str| {
                let request = Request::get(path);
                let request = key.into_iter().fold(request, |request, key| request.header("x-api-key", key));
                let admitted = core.admit(&request.body(()).unwrap(), from, security);
                admitted.map_err(|response| response.status().as_u16()).map(|holder| holder.is_some())
            };
            let asked = "/email-id/example.org";
            assert_eq!(status(Security::Tls, Some("s3cret"), asked), Ok(true));
            assert_eq!(status(Security::Loopback, Some("s3cret"), asked), Ok(true));
            let in_clear_text = status(Security::Clear, Some("s3cret"), asked);
            assert_eq!(in_clear_text, if is_configured { Ok(true) } else { Err(403) });
            assert_eq!(status(Security::Tls, Some("guess"), asked), Err(401));
            assert_eq!(status(Security::Tls, None, asked), Err(401));
            assert_eq!(status(Security::Clear, None, "/.well-known/repute-template"), Ok(false));
            server.set_keys(None);
            let core = server.inner.site();
            assert!(core.admit(&Request::get(asked).body(()).unwrap(), from, Security::Clear).is_ok());
        }
    }
}
