//! The name owner's side. draft-sheffer-acme-star-request-02 section 3.1

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonbcd::{Object, Value};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use watchfire_core::UnixTime;

use super::message::{Progress, Registration, RegistrationStatus};
use crate::acme::server::http::ResponseExt as _;
use crate::acme::server::{Request, Response};
use crate::base64url;
use crate::error::DecodeError;
use crate::json;
use crate::limits::Limits;

/// Where requests are registered, behind the begin of all URLs; and where the older draft did.
const PATHS: [&str; 2] = ["/star/delegation", "/star/registration"];
/// After how many seconds to look again.
const RETRY: u64 = 10;
/// For how long a registration is kept behind its end, in seconds.
const KEPT: u64 = 86_400;

/// Names a registration: the last part of its URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(String);

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrarEvent {
    /// Obtain a certificate for this, and say how it goes: [`Registrar::progressed`].
    Registered {
        /// Names it.
        id: RegistrationId,
        /// Whose it is.
        owner: String,
        /// What is asked for, with what was left out filled in.
        registration: Registration,
    },
}

/// Keeps registrations.
///
/// Who asks is for the driver to find out, over TLS: HTTP Basic ([`Passwords`]) or a certificate. A registration is shown
/// to whoever has made it, and to nobody else.
pub struct Registrar {
    base: String,
    limits: Limits,
    most: usize,
    duration: u64,
    lifetime: u64,
    random: StdRng,
    entries: BTreeMap<RegistrationId, Entry>,
    events: VecDeque<RegistrarEvent>,
}

struct Entry {
    owner: String,
    progress: Progress,
    expires: UnixTime,
}

impl Registrar {
    /// A registrar whose URLs begin so: `https://ido.example`. It keeps so many registrations; what is not asked for is
    /// a year (`duration`) of certificates that are valid for a week, and more is not granted. The seed must be secret.
    pub fn new(base: impl Into<String>, most: usize, seed: [u8; 32]) -> Self {
        Self {
            base: base.into(),
            limits: Limits::default(),
            most,
            duration: 365 * 86_400,
            lifetime: 7 * 86_400,
            random: StdRng::from_seed(seed),
            entries: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// The same granting this duration and this lifetime of certificates at most, in seconds.
    #[must_use]
    pub const fn with_most(mut self, duration: u64, lifetime: u64) -> Self {
        (self.duration, self.lifetime) = (duration, lifetime);
        self
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<RegistrarEvent> {
        self.events.pop_front()
    }

    /// How many registrations there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Answers a request of `owner`.
    pub fn handle_request(&mut self, now: UnixTime, owner: &str, request: &Request<'_>) -> Response {
        self.entries.retain(|_, entry| entry.expires > now);
        let path = request.url.strip_prefix(&*self.base).unwrap_or("");
        if PATHS.contains(&path) && request.method == "POST" {
            return match Registration::decode(request.body, &self.limits) {
                Ok(asked) => self.register(now, owner, asked),
                Err(error) => invalid(&error),
            };
        }
        let id = PATHS.iter().find_map(|known| path.strip_prefix(known)?.strip_prefix('/'));
        let entry = id.and_then(|id| self.entries.get(&RegistrationId(id.to_owned())));
        match (request.method, entry.filter(|entry| entry.owner == owner)) {
            ("GET" | "HEAD", Some(entry)) => {
                let response = Response::new(200).with_header("content-type", "application/json");
                let mut response = if entry.progress.status.is_final() {
                    response.with_header("cache-control", "no-cache")
                } else {
                    // A cache that keeps it may not make whoever looks at the right time see the past.
                    response
                        .with_header("retry-after", RETRY.to_string())
                        .with_header("cache-control", format!("max-age={}", RETRY - 1))
                };
                if request.method == "GET" {
                    response.body = entry.progress.encode();
                }
                response
            }
            (_, Some(_)) => {
                problem(405, "about:blank", "a registration can only be read").with_header("allow", "GET, HEAD")
            }
            _ => problem(404, "about:blank", "there is no such registration of yours"),
        }
    }

    fn register(&mut self, now: UnixTime, owner: &str, asked: Registration) -> Response {
        if self.entries.len() >= self.most {
            return problem(503, "about:blank", "no more registrations are taken").with_header("retry-after", "3600");
        }
        let id = RegistrationId(base64url::encode(self.random.random::<[u8; 16]>()));
        let duration = asked.duration.unwrap_or(self.duration).min(self.duration);
        let lifetime = asked.certificate_lifetime.unwrap_or(self.lifetime).min(self.lifetime).min(duration);
        let mut progress = Progress::new(RegistrationStatus::New);
        progress.id = Some(id.0.clone());
        progress.creation_date = Some(now);
        (progress.duration, progress.certificate_lifetime) = (Some(duration), Some(lifetime));
        let response = Response { body: progress.encode(), ..Response::new(201) };
        let response = response
            .with_header("content-type", "application/json")
            .with_header("location", format!("{}{}/{id}", self.base, PATHS[0]));
        progress.status = RegistrationStatus::Pending;
        let kept = duration.saturating_add(KEPT);
        let expires = UnixTime::from_secs(now.as_secs().saturating_add_unsigned(kept));
        self.entries.insert(id.clone(), Entry { owner: owner.to_owned(), progress, expires });
        let registration =
            Registration { csr: asked.csr, duration: Some(duration), certificate_lifetime: Some(lifetime) };
        self.events.push_back(RegistrarEvent::Registered { id, owner: owner.to_owned(), registration });
        response
    }

    /// How a registration went: where its certificate is, or why there is none. True once for each.
    pub fn progressed(&mut self, id: &RegistrationId, result: Result<String, String>) -> bool {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.progress.status.is_final()) else {
            return false;
        };
        match result {
            Ok(url) => {
                entry.progress.status = RegistrationStatus::Success;
                entry.progress.certificates = Some(url);
            }
            Err(reason) => {
                entry.progress.status = RegistrationStatus::Failed;
                entry.progress.reason = Some(reason);
            }
        }
        true
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("base", &self.base)
            .field("registrations", &self.len())
            .finish_non_exhaustive()
    }
}

/// The answer to what cannot be registered.
fn invalid(error: &DecodeError) -> Response {
    let name = error.path().strip_prefix("registration.").unwrap_or("");
    let mut parameter = Object::new();
    parameter.insert("name", name);
    parameter.insert("reason", error.kind().to_string());
    let mut object = Object::new();
    object.insert("type", "about:blank");
    object.insert("title", "the request cannot be registered");
    object.insert("status", 400_u64);
    object.insert("invalid-params", Value::Array(vec![Value::Object(parameter)]));
    let response = Response { body: json::encode(&object), ..Response::new(400) };
    response.with_header("content-type", "application/problem+json")
}

fn problem(status: u16, kind: &str, title: &str) -> Response {
    let mut object = Object::new();
    object.insert("type", kind);
    object.insert("title", title);
    object.insert("status", u64::from(status));
    let response = Response { body: json::encode(&object), ..Response::new(status) };
    response.with_header("content-type", "application/problem+json")
}

/// Users and passwords for HTTP Basic ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)), which every server of the
/// draft must have. Passwords are kept as digests, and should be long and random: there is no stretching.
#[derive(Clone, Default)]
pub struct Passwords(BTreeMap<String, [u8; 32]>);

impl Passwords {
    /// None.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The same with a user.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: &str) -> Self {
        self.0.insert(name.into(), Sha256::digest(password).into());
        self
    }

    /// The user whose credentials a header field `Authorization` has.
    pub fn check(&self, authorization: &str) -> Option<&str> {
        let (scheme, credentials) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let credentials = zeroize::Zeroizing::new(STANDARD.decode(credentials.trim()).ok()?);
        let (name, password) = std::str::from_utf8(&credentials).ok()?.split_once(':')?;
        let (known, digest) = self.0.get_key_value(name)?;
        let found: [u8; 32] = Sha256::digest(password).into();
        bool::from(found.ct_eq(digest)).then_some(known.as_str())
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passwords({} users)", self.0.len())
    }
}
