//! The server of a CA: accounts, orders, challenges, certificates, STAR.
//! [RFC 8555 section 7](https://www.rfc-editor.org/rfc/rfc8555#section-7),
//! [RFC 8739 section 3](https://www.rfc-editor.org/rfc/rfc8739#section-3)
//!
//! [`Ca`] answers every request at once ([`Ca::handle_request`]). What it needs others for it says in events: look whether
//! a challenge is met ([`CaEvent::Validate`], answered by [`Ca::validated`]), make a certificate ([`CaEvent::Issue`],
//! answered by [`Ca::issued`] or [`Ca::issue_failed`]). Time is told with each call; [`Ca::wake`] says when to call
//! [`Ca::handle_timeout`].
//!
//! It keeps all in memory, and everything in it has a limit. What must survive a restart it gives as records
//! ([`Ca::take_records`]), from which another one goes on ([`Ca::restore`]): challenges that were being looked at and
//! certificates that were being made are asked for again, and those that were missed meanwhile are not made up for.

pub(crate) mod accounts;
pub(crate) mod certificates;
mod challenges;
mod config;
pub(crate) mod desk;
pub(crate) mod event;
pub(crate) mod http;
mod issue;
mod orders;
pub(crate) mod records;
mod store;

pub use config::{CaConfig, CaConfigBuilder, CaLimits, NamePolicy};
pub use event::{CaEvent, ChallengeId, Issuance, OrderId};
pub use http::{Request, Response};

use std::collections::VecDeque;
use std::sync::Arc;

use watchfire_core::UnixTime;

use self::desk::{Desk, DeskConfig};
use self::http::ResponseExt as _;
use self::store::Store;
use super::{Directory, Problem, ProblemType};
use crate::crypto::Verifier;

/// A CA.
#[derive(Debug)]
pub struct Ca {
    config: Arc<CaConfig>,
    desk: Desk,
    store: Store,
    events: VecDeque<CaEvent>,
}

impl Ca {
    /// A CA without accounts. The seed must be secret and new: nonces, tokens and URLs that nobody may guess come from it.
    pub fn new(config: Arc<CaConfig>, verifier: Arc<dyn Verifier>, seed: [u8; 32]) -> Self {
        let desk = DeskConfig {
            base: config.base().to_owned(),
            messages: config.messages,
            terms_of_service: config.terms_of_service.clone(),
            external_accounts: config.external_accounts.clone(),
            accounts: config.limits.accounts,
            contacts: config.limits.contacts,
            nonces: config.limits.nonces,
            delegations: false,
        };
        let desk = Desk::new(desk, verifier, seed);
        let store = Store::new(config.limits.orders);
        Self { config, desk, store, events: VecDeque::new() }
    }

    /// Answers a request.
    pub fn handle_request(&mut self, now: UnixTime, request: &Request<'_>) -> Response {
        self.handle_timeout(now);
        let is_post = request.method == "POST";
        let mut response = match self.route(now, request) {
            Ok(response) => response,
            Err(problem) => Response::problem(&problem),
        };
        if is_post {
            response = response.with_header("replay-nonce", self.desk.front.nonce());
        }
        let index = self.config.url("/directory");
        if request.url != index {
            response = response.with_header("link", format!("<{index}>;rel=\"index\""));
        }
        if request.method == "HEAD" {
            response.body.clear();
        }
        response
    }

    /// What is to be done, or has happened.
    pub fn poll_event(&mut self) -> Option<CaEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn wake(&self) -> Option<UnixTime> {
        self.store.wake()
    }

    /// Does what is due: certificates to renew, orders to forget. Calling it too often is harmless.
    pub fn handle_timeout(&mut self, now: UnixTime) {
        self.renew(now);
        for (account, order) in self.store.forget(now) {
            self.desk.forgot(&account, &order);
        }
    }

    /// How many accounts and orders there are.
    pub fn len(&self) -> (usize, usize) {
        (self.desk.accounts.len(), self.store.orders.len())
    }

    fn route(&mut self, now: UnixTime, request: &Request<'_>) -> Result<Response, Problem> {
        let path = request.url.strip_prefix(self.config.base()).ok_or_else(|| not_found("nothing is at this URL"))?;
        let mut parts = path.split('/').skip(1);
        let route = (parts.next().unwrap_or(""), parts.next(), parts.next(), parts.next());
        let is_get = matches!(request.method, "GET" | "HEAD");
        if !is_get && request.method != "POST" {
            return Err(Problem::new(ProblemType::Malformed, "GET, HEAD and POST are used here").with_status(405));
        }
        match (route, is_get) {
            (("directory", None, ..), true) => Ok(Response::json(200, self.directory().encode())),
            (("new-nonce", None, ..), true) => {
                let status = if request.method == "HEAD" { 200 } else { 204 };
                let response = Response::new(status).with_header("replay-nonce", self.desk.front.nonce());
                Ok(response.with_header("cache-control", "no-store"))
            }
            (("renewal-info", Some(id), None, _), true) => self.renewal_info(now, id),
            (("cert", Some(id), None, _), true) => self.certificate(now, id, None, request),
            (("star", Some(id), None, _), true) => self.star_certificate(now, id, None, request),
            (_, true) => {
                Err(Problem::new(ProblemType::Malformed, "this is not for GET: POST a signed request").with_status(405))
            }
            (("new-account", None, ..), false) => self.desk.new_account(request),
            (("revoke-cert", None, ..), false) => self.revoke(now, request),
            (route, false) => {
                let (account, payload) = self.desk.authenticate(request)?;
                match route {
                    ("new-order", None, ..) => self.new_order(now, &account, &payload),
                    ("key-change", None, ..) => self.desk.change_key(request.url, &account, &payload),
                    ("acct", Some(id), None, _) => self.desk.account(id, &account, &payload),
                    ("acct", Some(id), Some("orders"), after) => {
                        self.desk.account_orders(id, after, &account, &payload)
                    }
                    ("order", Some(id), None, _) => self.order(now, id, &account, &payload),
                    ("order", Some(id), Some("finalize"), None) => self.finalize(now, id, &account, &payload),
                    ("authz", Some(id), None, _) => self.authorization(id, &account, &payload),
                    ("chall", Some(id), None, _) => self.challenge(id, &account, &payload),
                    ("cert", Some(id), None, _) => self.certificate(now, id, Some((&account, &payload)), request),
                    ("star", Some(id), None, _) => self.star_certificate(now, id, Some((&account, &payload)), request),
                    ("directory", None, ..) => Ok(Response::json(200, self.directory().encode())),
                    _ => Err(not_found("nothing is at this URL")),
                }
            }
        }
    }

    fn directory(&self) -> Directory {
        let url = |path| self.config.url(path);
        let mut directory = Directory {
            new_nonce: url("/new-nonce"),
            new_account: url("/new-account"),
            new_order: url("/new-order"),
            revoke_cert: Some(url("/revoke-cert")),
            key_change: Some(url("/key-change")),
            renewal_info: Some(url("/renewal-info")),
            ..Directory::default()
        };
        directory.meta.terms_of_service.clone_from(&self.config.terms_of_service);
        directory.meta.caa_identities.clone_from(&self.config.caa_identities);
        directory.meta.external_account_required = !self.config.external_accounts.is_empty();
        directory.meta.auto_renewal = self.config.star.map(|policy| policy.meta);
        directory.meta.allow_certificate_get = self.config.certificate_get;
        directory
    }
}

/// 404, for what is not there and for what is somebody else's.
pub(crate) fn not_found(detail: &str) -> Problem {
    Problem::new(ProblemType::Malformed, detail).with_status(404)
}
