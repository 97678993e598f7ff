//! From a request to what is to be looked up. Routes are configured; templates are never matched backwards, which
//! [RFC 6570 section 1.4](https://www.rfc-editor.org/rfc/rfc6570#section-1.4) warns of.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use watchfire_core::UnixTime;

use super::config::ServerConfig;
use super::query_string::{self, Pair};
use super::respond::{self, Etag};
use crate::client::Query;
use crate::reputon::Reputon;
use crate::template::{TemplateFile, decode_percent};
use crate::vocabulary::{Application, Identity, Subject, is_token};
use crate::wire::{Dialect, Format};

/// Answers requests, with whatever store of reputons.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) config: Arc<ServerConfig>,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Dispatch {
    /// Look all of these up, and give them to [`Server::respond_batch`].
    Batch(Batch),
    /// Look this up, and give what is found to [`Server::respond`].
    Lookup(Lookup),
    /// Nothing is to be looked up.
    Respond(Response<Bytes>),
}

/// What is to be looked up.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Lookup {
    /// The vocabulary.
    pub application: Arc<Application>,
    /// The subject.
    pub subject: Subject,
    /// The assertions, as they were asked for; empty for all.
    pub assertions: Vec<String>,
    /// The identity, if one was named.
    pub identity: Option<Identity>,
    /// Who asks, by the private variable `reporter`.
    pub reporter: Option<String>,
    pub(super) format: Format,
    pub(super) is_head: bool,
    pub(super) if_none_match: Option<HeaderValue>,
    /// Whether the client may be OpenDKIM.
    pub(super) is_opendkim: bool,
}

impl Lookup {
    /// The names by which the store knows the assertions.
    pub fn canonical_assertions(&self) -> Vec<String> {
        self.assertions.iter().map(|name| self.application.canonical_assertion(name)).collect()
    }

    /// Whether a reputon of the store belongs into the answer: its assertion and identity were asked for.
    pub fn wants(&self, reputon: &Reputon<'_>) -> bool {
        let is_asked = |asked: &String| self.application.is_same_assertion(asked, &reputon.assertion);
        (self.assertions.is_empty() || self.assertions.iter().any(is_asked))
            && self.identity.is_none_or(|asked| reputon.identity().is_none_or(|said| said == asked))
    }
}

/// Queries that came in one request, all of one application. This is ours, not of REPUTE.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// What is to be looked up, in the order of the request.
    pub lookups: Vec<Lookup>,
}

impl Server {
    /// A server of this configuration.
    pub const fn new(config: Arc<ServerConfig>) -> Self {
        Self { config }
    }

    /// Sees what a request wants. The target may be in absolute form. `now` is what the clock on the wall says.
    pub fn handle_request(&self, now: UnixTime, request: &Request<Bytes>) -> Dispatch {
        match self.route(now, request) {
            Ok(dispatch) => dispatch,
            Err(response) => Dispatch::Respond(*response),
        }
    }

    fn route(&self, now: UnixTime, request: &Request<Bytes>) -> Result<Dispatch, Box<Response<Bytes>>> {
        let path = request.uri().path();
        if path.len().saturating_add(request.uri().query().map_or(0, str::len)) > self.config.limits.uri {
            return Err(problem(StatusCode::URI_TOO_LONG, "the target is too long"));
        }
        if self.config.batch && path.strip_prefix(self.config.base.as_str()) == Some("/batch") {
            return self.batch(request).map(Dispatch::Batch);
        }
        let is_head = request.method() == Method::HEAD;
        if !is_head && request.method() != Method::GET {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Err(response);
        }
        let is_template = match path {
            "/.well-known/repute-template" => true,
            // The name it had until January 2012.
            "/.well-known/repute_template" => self.config.dialect != Dialect::Rfc7072,
            _ => false,
        };
        if is_template {
            return Ok(Dispatch::Respond(self.template(now, request, is_head)));
        }
        let pairs = query_string::pairs(request.uri().query().unwrap_or(""))
            .ok_or_else(|| problem(StatusCode::BAD_REQUEST, "the query is no UTF-8"))?;
        let asked = if self.config.query_paths.iter().any(|known| known == path) {
            Asked::from_query(&pairs)
        } else {
            Asked::from_path(path, &self.config.base, &pairs)?
        };
        let lookup = self.lookup(asked, request, &pairs, is_head)?;
        Ok(Dispatch::Lookup(lookup))
    }

    fn lookup(
        &self,
        asked: Asked<'_>,
        request: &Request<Bytes>,
        pairs: &[Pair],
        is_head: bool,
    ) -> Result<Lookup, Box<Response<Bytes>>> {
        let not_found = || problem(StatusCode::NOT_FOUND, "this application is not served here");
        let application = asked.application.as_deref().and_then(|name| self.config.applications.find(name));
        let application = application.ok_or_else(not_found)?;
        let bad = |text: &str| problem(StatusCode::BAD_REQUEST, text);
        let identity = match query_string::first(pairs, Identity::ALIAS).filter(|name| !name.is_empty()) {
            Some(name) => Some(name.parse::<Identity>().map_err(|error| bad(&error.to_string()))?),
            None => None,
        };
        let subject = asked.subject.as_deref().map_or("", unquote);
        let subject = Subject::new(application.subject, subject, identity).map_err(|error| bad(&error.to_string()))?;
        if asked.assertions.len() > self.config.limits.assertions {
            return Err(bad("too many assertions"));
        }
        if !asked.assertions.iter().all(|name| is_token(name)) {
            return Err(bad("not the name of an assertion"));
        }
        let accepts = || request.headers().get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let format = respond::negotiate(accepts(), query_string::first(pairs, "format"), self.config.dialect)
            .ok_or_else(|| problem(StatusCode::NOT_ACCEPTABLE, "application/reputon+json and application/reputon"))?;
        let mut assertions = asked.assertions;
        assertions.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
        Ok(Lookup {
            application: Arc::clone(application),
            subject,
            assertions,
            identity,
            reporter: query_string::first(pairs, "reporter").map(str::to_owned),
            format,
            is_head,
            if_none_match: request.headers().get(IF_NONE_MATCH).cloned(),
            is_opendkim: self.config.opendkim
                && self.config.dialect != Dialect::Rfc7072
                && !respond::names_reputons(accepts()),
        })
    }

    /// `POST {base}/batch`: a JSON list of objects with `application`, `subject`, and where wanted `assertion` and
    /// `identity`. It is read by the same reader as reputons, under the same limits.
    fn batch(&self, request: &Request<Bytes>) -> Result<Batch, Box<Response<Bytes>>> {
        if request.method() != Method::POST {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "only POST");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Err(response);
        }
        let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !media.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
            return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a batch is application/json"));
        }
        if request.body().len() > self.config.limits.document {
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "the batch is too large"));
        }
        let bad = |text: &str| problem(StatusCode::BAD_REQUEST, text);
        let queries = crate::wire::json::string_objects(request.body(), &self.config.limits, self.config.batch_queries)
            .map_err(|error| bad(&error.to_string()))?;
        let mut lookups: Vec<Lookup> = Vec::with_capacity(queries.len());
        for (index, query) in queries.iter().enumerate() {
            let asked = Asked::from_query(query);
            let lookup = self.lookup(asked, request, query, false).map_err(|response| {
                let text = format!("query {index}: {}", String::from_utf8_lossy(response.body()).trim_end());
                problem(response.status(), &text)
            })?;
            if lookups.first().is_some_and(|first| first.application != lookup.application) {
                return Err(bad(&format!("query {index}: another application than that of the first")));
            }
            lookups.push(Lookup { if_none_match: None, ..lookup });
        }
        if lookups.is_empty() { Err(bad("an empty batch")) } else { Ok(Batch { lookups }) }
    }

    fn template(&self, now: UnixTime, request: &Request<Bytes>, is_head: bool) -> Response<Bytes> {
        let body = TemplateFile::encode(&self.config.templates);
        let etag = Etag::of(body.as_bytes());
        let secs = self.config.template_lifetime.as_secs();
        let expires = now.as_secs().saturating_add(i64::try_from(secs).unwrap_or(i64::MAX));
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        respond::put_lifetime(headers, UnixTime::from_secs(expires), secs);
        respond::finish(response, body.into(), etag, request.headers().get(IF_NONE_MATCH), is_head)
    }

    /// The query that a client would make for this look-up, to ask another server.
    pub fn forward(&self, lookup: &Lookup) -> Option<Query> {
        let query = Query::builder(&lookup.application.name, lookup.subject.as_str());
        let query = lookup.assertions.iter().fold(query, |query, name| query.assertion(name));
        let query = lookup.identity.into_iter().fold(query, |query, identity| query.identity(identity));
        query.build(&self.config.applications).ok()
    }
}

/// What a request names, before any of it is known to be good.
struct Asked<'r> {
    application: Option<Cow<'r, str>>,
    subject: Option<Cow<'r, str>>,
    assertions: Vec<String>,
}

impl<'r> Asked<'r> {
    /// `{base}/{application}/{subject}[/{assertion}...]`, more assertions in the query.
    fn from_path(path: &'r str, base: &str, pairs: &[Pair]) -> Result<Self, Box<Response<Bytes>>> {
        let not_found = || problem(StatusCode::NOT_FOUND, "nothing is here");
        let rest: &'r str = path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).ok_or_else(not_found)?;
        // Decoded only now: a slash inside of a subject is encoded.
        let mut segments = rest.split('/').map(|segment: &'r str| {
            decode_percent(segment).ok_or_else(|| problem(StatusCode::BAD_REQUEST, "the path is no UTF-8"))
        });
        let application = segments.next().transpose()?;
        let subject = segments.next().transpose()?.ok_or_else(not_found)?;
        let mut assertions = Vec::new();
        for segment in segments {
            // A template without its assertion ends in a slash.
            add(&mut assertions, &segment?);
        }
        for (_, value) in pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case("assertion")) {
            add(&mut assertions, value);
        }
        Ok(Self { application, subject: Some(subject), assertions })
    }

    fn from_query(pairs: &'r [Pair]) -> Self {
        let mut assertions = Vec::new();
        for (_, value) in pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case("assertion")) {
            add(&mut assertions, value);
        }
        let first = |name| query_string::first(pairs, name).map(Cow::Borrowed);
        Self { application: first("application"), subject: first("subject"), assertions }
    }
}

/// Names between commas, which is how lists were once sent.
fn add(assertions: &mut Vec<String>, list: &str) {
    assertions.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
}

/// A subject may come as RFC 2045's quoted string.
fn unquote(subject: &str) -> &str {
    subject.strip_prefix('"').and_then(|subject| subject.strip_suffix('"')).unwrap_or(subject)
}

/// A status and a line that says why.
pub(super) fn problem(status: StatusCode, text: &str) -> Box<Response<Bytes>> {
    let mut response = Response::new(Bytes::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Box::new(response)
}
