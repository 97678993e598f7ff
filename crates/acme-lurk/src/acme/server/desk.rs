//! The front desk of a server: nonces, signatures, and who has which account. [RFC 8555 sections 6.2 to 6.5](https://www.rfc-editor.org/rfc/rfc8555#section-6.2)

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::ConfigError;

use super::http::{Request, Response, ResponseExt as _};
use super::id::{AccountId, Id, OrderId};
use super::{Problem, ProblemType};
use crate::acme::{AccountStatus, Directory};
use crate::base64url;
use crate::crypto::{PublicKey, Verifier};
use crate::jose::{Jws, KeyRef, MacKey, Purpose};
use crate::limits::Limits;
use crate::record::Tracked;

#[derive(Debug)]
pub(crate) struct AccountEntry {
    pub(crate) key: PublicKey,
    pub(crate) status: AccountStatus,
    pub(crate) contact: Vec<String>,
    pub(crate) terms_agreed: bool,
    pub(crate) orders: BTreeSet<OrderId>,
    /// Those that may still be open: all that are, and some that are not any more.
    pub(crate) open: BTreeSet<OrderId>,
}

/// What the configuration of every server has.
#[derive(Debug, Clone)]
pub(crate) struct DeskConfig {
    /// How all URLs begin.
    pub(crate) base: String,
    pub(crate) terms_of_service: Option<String>,
    pub(crate) external_accounts: BTreeMap<String, MacKey>,
}

impl DeskConfig {
    pub(crate) fn new(base: impl Into<String>) -> Self {
        Self { base: base.into(), terms_of_service: None, external_accounts: BTreeMap::new() }
    }

    /// A URL of the server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let is_base = !self.base.is_empty() && !self.base.ends_with('/');
        ConfigError::unless(is_base, "base", "must be the begin of URLs, without a slash at its end")
    }

    /// The directory of a server without anything that not all have.
    pub(crate) fn directory(&self) -> Directory {
        let mut directory = Directory {
            new_nonce: self.url("/new-nonce"),
            new_account: self.url("/new-account"),
            new_order: self.url("/new-order"),
            key_change: Some(self.url("/key-change")),
            ..Directory::default()
        };
        directory.meta.terms_of_service.clone_from(&self.terms_of_service);
        directory.meta.external_account_required = !self.external_accounts.is_empty();
        directory
    }
}

/// How much a front desk keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeskLimits {
    pub(crate) messages: Limits,
    pub(crate) nonces: usize,
    pub(crate) accounts: usize,
    pub(crate) contacts: usize,
    pub(crate) orders: usize,
    pub(crate) open_orders: usize,
    /// Whether accounts have delegations.
    pub(crate) delegations: bool,
}

/// The front desk of a server.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) config: DeskConfig,
    pub(super) limits: DeskLimits,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) front: Front,
    pub(crate) accounts: Tracked<AccountId, Box<AccountEntry>>,
    pub(super) keys: BTreeMap<[u8; 32], AccountId>,
}

/// Nonces that are out, and where they come from.
pub(crate) struct Front {
    random: StdRng,
    live: BTreeSet<[u8; 16]>,
    oldest: VecDeque<[u8; 16]>,
    max: usize,
}

impl Front {
    pub(super) fn new(max: usize, seed: [u8; 32]) -> Self {
        Self { random: StdRng::from_seed(seed), live: BTreeSet::new(), oldest: VecDeque::new(), max: max.max(1) }
    }

    /// A new name for something.
    pub(crate) fn id(&mut self) -> Id {
        Id::random(&mut self.random)
    }

    /// A new nonce.
    pub(crate) fn nonce(&mut self) -> String {
        let nonce = self.random.random::<[u8; 16]>();
        while self.oldest.len() >= self.max {
            if let Some(oldest) = self.oldest.pop_front() {
                self.live.remove(&oldest);
            }
        }
        self.live.insert(nonce);
        self.oldest.push_back(nonce);
        base64url::encode(nonce)
    }

    /// Takes a nonce back; true once for each.
    fn redeem(&mut self, nonce: &str) -> bool {
        let nonce = base64url::decode(nonce).and_then(|nonce| <[u8; 16]>::try_from(nonce).ok());
        nonce.is_some_and(|nonce| self.live.remove(&nonce))
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("nonces", &self.live.len()).finish_non_exhaustive()
    }
}

/// Whose key a request is signed with.
pub(crate) enum Signer {
    Account(AccountId),
    Key(PublicKey),
}

impl Desk {
    pub(crate) fn new(config: DeskConfig, limits: DeskLimits, verifier: Arc<dyn Verifier>, seed: [u8; 32]) -> Self {
        let front = Front::new(limits.nonces, seed);
        Self { config, limits, verifier, front, accounts: Tracked::new(), keys: BTreeMap::new() }
    }

    fn account_by_id(&self, id: &str) -> Option<(AccountId, &AccountEntry)> {
        let id = AccountId::from_text(id)?;
        self.accounts.get(&id).map(|entry| (id, &**entry))
    }

    /// Whether this is the key of an account.
    pub(crate) fn has_key(&self, key: &PublicKey) -> bool {
        self.keys.contains_key(&key.thumbprint())
    }

    /// When there are as many accounts as there may be: forgets one that has no order and is not wanted, by the
    /// thumbprint of its key.
    pub(super) fn make_room(&mut self, is_wanted: impl Fn(&String) -> bool) {
        if self.accounts.len() < self.limits.accounts {
            return;
        }
        let mut idle = self.accounts.iter().filter(|(_, account)| account.orders.is_empty());
        let found = idle.find(|(_, account)| !is_wanted(&account.key.thumbprint_text())).map(|(id, _)| *id);
        if let Some(account) = found.and_then(|id| self.accounts.remove(&id)) {
            self.keys.remove(&account.key.thumbprint());
        }
    }

    /// Whether an account was given up.
    pub(super) fn is_deactivated(&self, account: &AccountId) -> bool {
        self.accounts.get(account).is_some_and(|account| account.status == AccountStatus::Deactivated)
    }

    /// The orders of an account.
    pub(crate) fn orders_of(&self, account: &AccountId) -> Vec<OrderId> {
        self.accounts.get(account).map(|account| account.orders.iter().copied().collect()).unwrap_or_default()
    }

    /// An order was made. Lists of orders are not recorded: the orders are.
    pub(crate) fn opened(&mut self, account: &AccountId, order: &OrderId) {
        if let Some(account) = self.accounts.get_untracked(account) {
            account.orders.insert(*order);
            account.open.insert(*order);
        }
    }

    /// An order was forgotten.
    pub(crate) fn forgot(&mut self, account: &AccountId, order: &OrderId) {
        if let Some(account) = self.accounts.get_untracked(account) {
            account.orders.remove(order);
            account.open.remove(order);
        }
    }

    /// What a new order of an account is answered with when there is no room for it, among as many as there are;
    /// `is_open` says of an order whether it is not `valid` yet.
    pub(crate) fn refuse_order(
        &mut self,
        account: &AccountId,
        orders: usize,
        is_open: impl Fn(&OrderId) -> bool,
    ) -> Option<Response> {
        let most = self.limits.open_orders;
        let open = self.accounts.get_untracked(account).map(|entry| {
            if entry.open.len() >= most {
                entry.open.retain(is_open);
            }
            entry.open.len()
        });
        if open.is_none_or(|open| open >= most) {
            let problem = Problem::new(ProblemType::RateLimited, format!("{most} orders wait for you already"));
            return Some(Response::problem(&problem).with_header("retry-after", "60"));
        }
        (orders >= self.limits.orders).then(|| {
            let problem = Problem::new(ProblemType::ServerInternal, "no more orders are taken").with_status(503);
            Response::problem(&problem).with_header("retry-after", "3600")
        })
    }

    /// The account that has signed a request, and the payload.
    pub(crate) fn authenticate(&mut self, request: &Request<'_>) -> Result<(AccountId, Vec<u8>), Problem> {
        match self.open(request)? {
            (Signer::Account(account), payload) => Ok((account, payload)),
            (Signer::Key(_), _) => Err(Problem::new(
                ProblemType::Malformed,
                "protected.jwk: requests to this URL are signed for an account, by `kid`",
            )),
        }
    }

    /// Who has signed a request, and the payload.
    pub(crate) fn open(&mut self, request: &Request<'_>) -> Result<(Signer, Vec<u8>), Problem> {
        let media_type = request.content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/jose+json") {
            let problem = Problem::new(ProblemType::Malformed, "the content must be of type application/jose+json");
            return Err(problem.with_status(415));
        }
        let jws = Jws::decode(request.body, Purpose::Request, &self.limits.messages)?;
        if jws.header().url() != request.url {
            let problem = Problem::new(ProblemType::Unauthorized, "the request was signed for another URL");
            return Err(problem.with_status(401));
        }
        if !jws.header().nonce().is_some_and(|nonce| self.front.redeem(nonce)) {
            return Err(Problem::new(ProblemType::BadNonce, "the nonce is not known, or was used: take the new one"));
        }
        match jws.header().key() {
            KeyRef::Jwk(_) => {
                let (key, payload) = jws.verify_own(&*self.verifier)?;
                Ok((Signer::Key(key), payload))
            }
            KeyRef::Kid(kid) => {
                let unknown = || Problem::new(ProblemType::AccountDoesNotExist, "there is no account with this URL");
                let id = kid.strip_prefix(&*self.config.base).and_then(|path| path.strip_prefix("/acct/"));
                let (id, account) = self.account_by_id(id.ok_or_else(unknown)?).ok_or_else(unknown)?;
                let payload = jws.verify(&*self.verifier, &account.key)?;
                if account.status != AccountStatus::Valid {
                    let problem = Problem::new(ProblemType::Unauthorized, "the account was deactivated");
                    return Err(problem.with_status(401));
                }
                Ok((Signer::Account(id), payload))
            }
        }
    }
}
