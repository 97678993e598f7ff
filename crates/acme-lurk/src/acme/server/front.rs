//! Who asks: nonces, and signatures of accounts. [RFC 8555 sections 6.2 to 6.5](https://www.rfc-editor.org/rfc/rfc8555#section-6.2)

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::http::Request;
use super::store::AccountId;
use super::{Ca, Problem, ProblemType};
use crate::acme::AccountStatus;
use crate::base64url;
use crate::crypto::PublicKey;
use crate::jose::{Jws, KeyRef, Purpose};

/// Nonces that are out, and where they come from.
pub(super) struct Front {
    random: StdRng,
    live: BTreeSet<[u8; 16]>,
    oldest: VecDeque<[u8; 16]>,
    max: usize,
}

impl Front {
    pub(super) fn new(max: usize, seed: [u8; 32]) -> Self {
        Self { random: StdRng::from_seed(seed), live: BTreeSet::new(), oldest: VecDeque::new(), max: max.max(1) }
    }

    /// 128 bits that nobody can guess, as base64url.
    pub(super) fn random(&mut self) -> String {
        base64url::encode(self.random.random::<[u8; 16]>())
    }

    /// A new nonce.
    pub(super) fn nonce(&mut self) -> String {
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
pub(super) enum Signer {
    Account(AccountId),
    Key(PublicKey),
}

impl Ca {
    /// The account that has signed a request, and the payload.
    pub(super) fn authenticate(&mut self, request: &Request<'_>) -> Result<(AccountId, Vec<u8>), Problem> {
        match self.open(request)? {
            (Signer::Account(account), payload) => Ok((account, payload)),
            (Signer::Key(_), _) => Err(Problem::new(
                ProblemType::Malformed,
                "protected.jwk: requests to this URL are signed for an account, by `kid`",
            )),
        }
    }

    /// Who has signed a request, and the payload.
    pub(super) fn open(&mut self, request: &Request<'_>) -> Result<(Signer, Vec<u8>), Problem> {
        let media_type = request.content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/jose+json") {
            let problem = Problem::new(ProblemType::Malformed, "the content must be of type application/jose+json");
            return Err(problem.with_status(415));
        }
        let jws = Jws::decode(request.body, Purpose::Request, &self.config.messages)?;
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
                let id = kid.strip_prefix(self.config.base()).and_then(|path| path.strip_prefix("/acct/"));
                let (id, account) = self.store.account(id.ok_or_else(unknown)?).ok_or_else(unknown)?;
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
