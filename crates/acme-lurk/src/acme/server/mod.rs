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
pub(crate) mod dispatch;
pub(crate) mod event;
pub(crate) mod http;
pub(crate) mod id;
mod issue;
mod issued;
mod orders;
mod papers;
pub(crate) mod records;
mod store;

pub use config::{CaConfig, CaConfigBuilder, CaLimits, NamePolicy};
pub use event::{CaEvent, Issuance};
pub use http::{Request, Response};
pub use id::{ChallengeId, OrderId};

use std::collections::VecDeque;
use std::sync::Arc;

use watchfire_core::UnixTime;

use self::desk::Desk;
use self::dispatch::{Path, Service};
use self::http::ResponseExt as _;
use self::id::AccountId;
use self::store::Store;
use super::{Problem, ProblemType};
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
        let desk = Desk::new(config.desk.clone(), config.desk_limits(), verifier, seed);
        let store = Store::new(config.limits.orders);
        Self { config, desk, store, events: VecDeque::new() }
    }

    /// Answers a request.
    pub fn handle_request(&mut self, now: UnixTime, request: &Request<'_>) -> Response {
        self.handle_timeout(now);
        dispatch::answer(self, now, request)
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
}

impl Service for Ca {
    type Now = UnixTime;

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    fn show_directory(&self, _: UnixTime) -> Response {
        let mut directory = self.config.desk.directory();
        directory.revoke_cert = Some(self.config.url("/revoke-cert"));
        directory.renewal_info = Some(self.config.url("/renewal-info"));
        directory.meta.caa_identities.clone_from(&self.config.caa_identities);
        directory.meta.auto_renewal = self.config.star.map(|policy| policy.meta);
        directory.meta.allow_certificate_get = self.config.certificate_get;
        Response::json(200, directory.encode())
    }

    fn fetched(&mut self, now: UnixTime, path: Path<'_>, request: &Request<'_>) -> Option<Result<Response, Problem>> {
        Some(match path {
            ("renewal-info", Some(id), None, _) => self.renewal_info(now, id),
            ("cert", Some(id), None, _) => self.certificate(now, id, None, request),
            ("star", Some(id), None, _) => self.star_certificate(now, id, None, request),
            _ => return None,
        })
    }

    fn keyed(&mut self, now: UnixTime, path: Path<'_>, request: &Request<'_>) -> Option<Result<Response, Problem>> {
        match path {
            ("new-account", None, ..) => Some(self.desk.new_account(request, |_| true)),
            ("revoke-cert", None, ..) => Some(self.revoke(now, request)),
            _ => None,
        }
    }

    fn deactivated(&mut self, now: UnixTime, account: &AccountId) {
        self.end_orders(now, account);
    }

    fn signed(
        &mut self,
        now: UnixTime,
        path: Path<'_>,
        by: (&AccountId, &[u8]),
        request: &Request<'_>,
    ) -> Option<Result<Response, Problem>> {
        let (account, payload) = by;
        Some(match path {
            ("new-order", None, ..) => self.new_order(now, account, payload),
            ("order", Some(id), None, _) => self.order(now, id, account, payload),
            ("order", Some(id), Some("finalize"), None) => self.finalize(now, id, account, payload),
            ("authz", Some(id), None, _) => self.authorization(id, account, payload),
            ("chall", Some(id), None, _) => self.challenge(id, account, payload),
            ("cert", Some(id), None, _) => self.certificate(now, id, Some(by), request),
            ("star", Some(id), None, _) => self.star_certificate(now, id, Some(by), request),
            _ => return None,
        })
    }
}

/// 404, for what is not there and for what is somebody else's.
pub(crate) fn not_found(detail: &str) -> Problem {
    Problem::new(ProblemType::Malformed, detail).with_status(404)
}
