//! What is answered to which request.
//!
//! | request | what |
//! | --- | --- |
//! | `GET /`, `GET /assets/..` | the page |
//! | `GET /login`, `POST /login`, `POST /logout` | for browsers, where there is a token |
//! | `GET /api/overview` | what runs here |
//! | `GET /api/alerts?source=..` | alerts and their time line; see [`Filter`](super::filter::Filter) |
//! | `GET /api/alerts/ID` | one, whole |
//! | `GET /api/sensors`, `/api/answers`, `/api/reputations`, `/api/dots`, `/api/star` | the other pages |
//! | `POST /api/reputations` | asks the raters of this process |
//! | `GET /api/events` | what happens, as it happens; see [`stream`](super::stream) |

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use watchfire_hyper::{ConnectionEvent, Peer, Site, read_body};

use super::alerts::{Alerts, Asked};
use super::assets::{self, Asset};
use super::guard::{Guard, Refusal};
use super::hub::Hub;
use super::stream::Pace;
use super::{lookup, panels, stream};
use crate::metrics::Health;

/// The largest body of a request, in octets.
const BODY: usize = 4096;
/// The longest query, in octets.
const QUERY: usize = 4096;
/// For a body.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The console.
#[derive(Debug)]
pub(super) struct ConsoleSite {
    pub(super) hub: Hub,
    pub(super) alerts: Alerts,
    pub(super) guard: Guard,
    pub(super) health: Health,
    /// Different in each run.
    pub(super) run: String,
    /// When it began, in microseconds since 1970.
    pub(super) since: i64,
    /// The times of a stream of events.
    pub(super) pace: Pace,
    /// Streams at one time.
    pub(super) readers: Arc<Semaphore>,
    pub(super) shutdown: CancellationToken,
}

impl Site for ConsoleSite {
    type Body = UnsyncBoxBody<Bytes, Infallible>;

    async fn respond(&self, request: Request<Incoming>, peer: Peer) -> Answer {
        let is_head = *request.method() == Method::HEAD;
        let mut answer =
            self.answer(request, peer.address.ip()).await.unwrap_or_else(|(status, why)| refused(status, why));
        if is_head {
            *answer.body_mut() = Full::default().boxed_unsync();
        }
        protect(&mut answer);
        answer
    }

    fn tell(&self, event: ConnectionEvent<'_>) {
        tracing::debug!("console: {event}");
    }
}

impl ConsoleSite {
    async fn answer(&self, request: Request<Incoming>, from: IpAddr) -> Result<Answer, Refusal> {
        self.guard.is_meant(request.method(), request.uri(), request.headers())?;
        let path = request.uri().path().to_owned();
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
        // What is needed to log in says nothing of what is here.
        match path.as_str() {
            "/login" if *request.method() == Method::POST => return self.log_in(request, from).await,
            "/login" if is_reading && !self.guard.has_token() => return Ok(found("/")),
            "/login" if is_reading => return Ok(file(assets::LOGIN)),
            _ => {}
        }
        if let (true, Some(name)) = (is_reading, path.strip_prefix("/assets/")) {
            return assets::find(name).map(file).ok_or((StatusCode::NOT_FOUND, "no such file"));
        }
        if !self.guard.admits(request.headers(), from)? {
            let is_page = path == "/" && is_reading;
            let why = "show the token: Authorization: Bearer TOKEN, or log in";
            return if is_page { Ok(found("/login")) } else { Err((StatusCode::UNAUTHORIZED, why)) };
        }
        if *request.method() == Method::POST {
            return match path.as_str() {
                "/logout" => {
                    let mut answer = found("/login");
                    let cookie = self.guard.log_out(request.headers());
                    set_cookie(&mut answer, &cookie)?;
                    Ok(answer)
                }
                "/api/reputations" => self.look_up(request).await,
                _ => Err((StatusCode::METHOD_NOT_ALLOWED, "this can only be read")),
            };
        }
        if !is_reading {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "this can only be read"));
        }
        let query = request.uri().query().unwrap_or_default();
        if query.len() > QUERY {
            return Err((StatusCode::URI_TOO_LONG, "the query is too long"));
        }
        match path.as_str() {
            "/" => Ok(file(assets::PAGE)),
            "/api/overview" => {
                let mut overview = panels::overview(&self.hub, &self.health, self.since);
                overview["has_token"] = self.guard.has_token().into();
                Ok(said(&overview))
            }
            "/api/alerts" => self.find(query).await,
            "/api/sensors" => Ok(said(&panels::sensors(&self.hub))),
            "/api/answers" => Ok(said(&panels::answers(&self.hub))),
            "/api/reputations" => Ok(said(&panels::reputations(&self.hub))),
            "/api/dots" => Ok(said(&panels::dots(&self.hub))),
            "/api/star" => Ok(said(&panels::star(&self.hub))),
            "/api/events" => self.events(&request),
            path => match path.strip_prefix("/api/alerts/") {
                Some(id) => match self.alerts.detail(id).await {
                    Ok(Some(detail)) => Ok(said(&detail)),
                    Ok(None) => Err((StatusCode::NOT_FOUND, "this alert is not known, or not any more")),
                    Err(error) => Ok(failed(StatusCode::SERVICE_UNAVAILABLE, &error)),
                },
                None => Err((StatusCode::NOT_FOUND, "the console is at /")),
            },
        }
    }

    async fn find(&self, query: &str) -> Result<Answer, Refusal> {
        let asked = match Asked::read(query) {
            Ok(asked) => asked,
            Err(error) => return Ok(failed(StatusCode::BAD_REQUEST, &error)),
        };
        match self.alerts.find(&asked).await {
            Ok(found) => Ok(said(&found)),
            Err(error) => Ok(failed(StatusCode::SERVICE_UNAVAILABLE, &error)),
        }
    }

    async fn look_up(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        if !is_kind(&request, "application/json") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
        }
        let body = body(request).await?;
        let question = serde_json::from_slice(&body).map_err(|error| error.to_string());
        let answer = question.and_then(|question| lookup::look_up(&self.hub, &question));
        Ok(match answer {
            Ok(answer) => said(answer.as_ref()),
            Err(error) => failed(StatusCode::BAD_REQUEST, &error),
        })
    }

    async fn log_in(&self, request: Request<Incoming>, from: IpAddr) -> Result<Answer, Refusal> {
        if !is_kind(&request, "application/x-www-form-urlencoded") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is for the form of the page"));
        }
        let body = zeroize::Zeroizing::new(body(request).await?.to_vec());
        let token = form_urlencoded::parse(&body).find(|(name, _)| name == "token");
        let token = zeroize::Zeroizing::new(token.map(|(_, token)| token.trim().to_owned()).unwrap_or_default());
        match self.guard.log_in(token.as_bytes(), from)? {
            Some(cookie) => {
                let mut answer = found("/");
                set_cookie(&mut answer, &cookie)?;
                Ok(answer)
            }
            None => Ok(found("/login?wrong")),
        }
    }

    fn events(&self, request: &Request<Incoming>) -> Result<Answer, Refusal> {
        let full = (StatusCode::SERVICE_UNAVAILABLE, "too many readers: close a page, or raise `max-readers`");
        let place = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| full)?;
        let resume = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
        let ends = [self.shutdown.clone(), self.guard.until()];
        let events = stream::events(&self.hub, &self.run, resume, self.pace, ends, place);
        Ok(answered(StatusCode::OK, "text/event-stream", StreamBody::new(Box::pin(events)).boxed_unsync()))
    }
}

fn is_kind(request: &Request<Incoming>, wanted: &str) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let read = read_body(request.into_body(), BODY, PATIENCE).await;
    read.map_err(|error| (error.status(), "the body is too large, too slow or broken"))
}

fn set_cookie(answer: &mut Answer, cookie: &str) -> Result<(), Refusal> {
    let value = HeaderValue::from_str(cookie).map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "no cookie"))?;
    answer.headers_mut().insert(SET_COOKIE, value);
    Ok(())
}

fn answered(status: StatusCode, kind: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    answered(status, kind, Full::new(body).boxed_unsync())
}

fn file(asset: Asset) -> Answer {
    whole(StatusCode::OK, asset.kind, Bytes::from_static(asset.text.as_bytes()))
}

fn said(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(octets) => whole(StatusCode::OK, "application/json", Bytes::from(octets)),
        Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn failed(status: StatusCode, error: &str) -> Answer {
    whole(status, "application/json", Bytes::from(json!({ "error": error }).to_string()))
}

fn refused(status: StatusCode, why: &str) -> Answer {
    let mut answer = failed(status, why);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

fn found(place: &'static str) -> Answer {
    let mut answer = whole(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static(place));
    answer
}

/// What browsers are told to refuse.
fn protect(answer: &mut Answer) {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
    let fields = [
        (HeaderName::from_static("content-security-policy"), POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        // With `no-referrer` browsers do not say either where a form comes from, and the login would look like somebody else's.
        (HeaderName::from_static("referrer-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fields {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}
