//! The single things that a server is asked: how each is asked, and how the answer is read.

use std::sync::Arc;

use jsonbcd::{Object, Value};
use watchfire_core::UnixTime;

use super::error::{ClientError, PeerIncompatible, PeerMisbehaved};
use super::event::{Answer, Fetched};
use super::http::Received;
use crate::acme::renewal::RenewalInfo;
use crate::acme::{
    Account, Authorization, Challenge, Delegation, Directory, Finalize, NewAccount, NewOrder, Order, OrderStatus,
    Problem, ProblemType, decode_delegations,
};
use crate::base64url;
use crate::certificate::decode_chain;
use crate::crypto::{PublicKey, Signer};
use crate::error::ApiMisuse;
use crate::jose::{KeyRef, MacKey, sign, sign_external_account};
use crate::json;
use crate::limits::Limits;
use crate::star::CertificateHeaders;
use crate::url::{Reach, UrlRules};

/// A thing to ask.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Directory,
    NewAccount {
        asked: NewAccount,
        external: Option<(String, MacKey)>,
    },
    Account(NewAccount),
    ReadAccount,
    ChangeKey {
        new: Arc<dyn Signer>,
        lost: bool,
    },
    /// Whether the new key has become that of the account: the answer to [`Call::ChangeKey`] was lost.
    ProbeKey {
        new: Arc<dyn Signer>,
        refused: Box<Problem>,
    },
    NewOrder(Box<NewOrder>),
    Order(String),
    Cancel(String),
    /// What became of an order whose cancellation was refused: perhaps it was canceled before.
    AfterCancel {
        url: String,
        refused: Box<Problem>,
    },
    Authorization(String),
    Challenge(String),
    Finalize {
        order: String,
        url: String,
        csr: Arc<[u8]>,
    },
    Certificate(String),
    Fetch {
        url: String,
        etag: Option<String>,
        reach: Reach,
    },
    Revoke {
        certificate: Vec<u8>,
        reason: u8,
        key: Option<Arc<dyn Signer>>,
        lost: bool,
    },
    RenewalInfo(String),
    /// The list of delegations: its URL, or that of the account's; and what was read of it.
    Delegations {
        next: Option<String>,
        pages: usize,
        found: Vec<String>,
    },
    Delegation(String),
}

/// How a request is signed.
#[derive(Debug)]
pub(super) enum Key {
    /// For the account.
    Account,
    /// By the key itself, that of the client or another.
    Own(Option<Arc<dyn Signer>>),
}

/// A request as it is to be made.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) url: String,
    /// The payload and the key, of those that are signed.
    pub(super) signed: Option<(Vec<u8>, Key)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) reach: Reach,
}

impl Wire {
    fn post(url: &str, payload: Vec<u8>) -> Self {
        Self { url: url.to_owned(), signed: Some((payload, Key::Account)), headers: Vec::new(), reach: Reach::Any }
    }

    fn get(url: &str, reach: Reach) -> Self {
        Self { url: url.to_owned(), signed: None, headers: Vec::new(), reach }
    }

    fn own(mut self, key: Option<Arc<dyn Signer>>) -> Self {
        if let Some((_, how)) = &mut self.signed {
            *how = Key::Own(key);
        }
        self
    }

    fn accept(mut self, media_type: &str) -> Self {
        self.headers.push(("accept", media_type.to_owned()));
        self
    }
}

/// What a client knows of its server.
pub(super) struct Known<'a> {
    pub(super) directory: Option<&'a Directory>,
    pub(super) account: Option<&'a str>,
    pub(super) signer: &'a dyn Signer,
    pub(super) home: &'a str,
    pub(super) urls: &'a UrlRules,
}

/// Why a request cannot be made yet, or ever.
#[derive(Debug)]
pub(super) enum Hold {
    Directory,
    Account,
    Never(ClientError),
}

/// What an answer leads to.
#[derive(Debug)]
pub(super) enum Step {
    Answer(Answer),
    /// This is to be asked next.
    Then(Call),
}

const CHAIN: &str = "application/pem-certificate-chain";

impl Call {
    /// Whether it needs neither directory nor signature, and so nobody but whoever answers it.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Directory | Self::Fetch { .. })
    }

    /// Whether it makes an account, or finds one.
    pub(super) const fn is_for_account(&self) -> bool {
        matches!(self, Self::NewAccount { .. })
    }

    pub(super) fn wire(&self, known: &Known<'_>) -> Result<Wire, Hold> {
        let directory = || known.directory.ok_or(Hold::Directory);
        let account = || known.account.ok_or(Hold::Account);
        let wire = match self {
            Self::Directory => return Ok(Wire::get(known.home, Reach::Any).accept("application/json")),
            Self::Fetch { url, etag, reach } => {
                let mut wire = Wire::get(url, *reach).accept(CHAIN);
                wire.headers.extend(etag.clone().map(|etag| ("if-none-match", etag)));
                return Ok(wire);
            }
            Self::RenewalInfo(id) => {
                let url = resource(directory()?.renewal_info.as_deref(), "renewalInfo")?;
                Wire::get(&format!("{}/{id}", url.trim_end_matches('/')), Reach::Any)
            }
            Self::NewAccount { asked, external } => {
                let url = &directory()?.new_account;
                let mut asked = asked.clone();
                if let Some((kid, mac)) = external {
                    let key = known.signer.public_key();
                    asked.external_account_binding = Some(sign_external_account(mac, kid, url, key));
                }
                Wire::post(url, asked.encode()).own(None)
            }
            Self::ProbeKey { new, .. } => {
                let asked = NewAccount { only_return_existing: true, ..NewAccount::default() };
                Wire::post(&directory()?.new_account, asked.encode()).own(Some(Arc::clone(new)))
            }
            Self::Account(asked) => Wire::post(account()?, asked.encode()),
            Self::ReadAccount => Wire::post(account()?, Vec::new()),
            Self::ChangeKey { new, .. } => {
                let url = resource(directory()?.key_change.as_deref(), "keyChange")?;
                let payload = key_change(account()?, known.signer.public_key());
                let inner = sign(&**new, KeyRef::Jwk(new.public_key()), None, url, &payload);
                Wire::post(url, inner.map_err(|error| Hold::Never(error.into()))?)
            }
            Self::NewOrder(order) => {
                account()?;
                Wire::post(&directory()?.new_order, order.encode())
            }
            Self::Cancel(url) => {
                let mut object = Object::new();
                object.insert("status", OrderStatus::Canceled.as_str());
                Wire::post(url, json::encode(&object))
            }
            Self::Order(url) | Self::AfterCancel { url, .. } | Self::Authorization(url) | Self::Delegation(url) => {
                Wire::post(url, Vec::new())
            }
            Self::Challenge(url) => Wire::post(url, b"{}".to_vec()),
            Self::Finalize { url, csr, .. } => Wire::post(url, Finalize { csr: csr.to_vec() }.encode()),
            Self::Certificate(url) => Wire::post(url, Vec::new()).accept(CHAIN),
            Self::Revoke { certificate, reason, key, .. } => {
                let url = resource(directory()?.revoke_cert.as_deref(), "revokeCert")?;
                let mut object = Object::new();
                object.insert("certificate", base64url::encode(certificate));
                object.insert("reason", u64::from(*reason));
                let wire = Wire::post(url, json::encode(&object));
                if key.is_some() { wire.own(key.clone()) } else { wire }
            }
            Self::Delegations { next, .. } => match next {
                Some(url) => Wire::post(url, Vec::new()),
                // Where the list is stands in the account.
                None => Wire::post(account()?, Vec::new()),
            },
        };
        // Signed or not, it goes to the server.
        let refused = |refusal| Hold::Never(elsewhere(&wire.url, refusal));
        known.urls.signed(known.home, &wire.url).map_err(refused)?;
        if matches!(wire.signed, Some((_, Key::Account))) {
            account()?;
        }
        Ok(wire)
    }

    /// Reads an answer of a status below 400.
    pub(super) fn read(&self, now: UnixTime, received: &Received, limits: &Limits) -> Result<Step, ClientError> {
        if received.status == 304 && matches!(self, Self::Fetch { etag: Some(_), .. }) {
            return Ok(Step::Answer(Answer::NotModified));
        }
        if !matches!(received.status, 200..=204) {
            return Err(ClientError::PeerMisbehaved(PeerMisbehaved::Status(received.status)));
        }
        let retry_after = received.retry_after(now);
        let body = &received.body[..];
        let location = || {
            let location = received.header("location").map(str::to_owned);
            location.ok_or(ClientError::PeerMisbehaved(PeerMisbehaved::NoHeader("Location")))
        };
        let order = |url: String| -> Result<Answer, ClientError> {
            Ok(Answer::Order { url, order: Box::new(Order::decode(body, limits)?), retry_after })
        };
        let account = |url| -> Result<Answer, ClientError> {
            Ok(Answer::Account { url, account: Box::new(Account::decode(body, limits)?) })
        };
        let answer = match self {
            Self::Directory => Answer::Directory(Arc::new(Directory::decode(body, limits)?)),
            Self::NewAccount { .. } => account(location()?)?,
            // The machine puts in which account it is.
            Self::Account(_) | Self::ReadAccount => account(String::new())?,
            Self::ChangeKey { .. } => Answer::KeyChanged,
            Self::ProbeKey { .. } => account(location()?)?,
            Self::NewOrder(_) => order(location()?)?,
            Self::Order(url) | Self::Cancel(url) => order(url.clone())?,
            Self::AfterCancel { url, refused } => match order(url.clone())? {
                Answer::Order { order, .. } if order.status != OrderStatus::Canceled => {
                    return Err(ClientError::Problem(refused.clone()));
                }
                answer => answer,
            },
            Self::Finalize { order: url, .. } => order(url.clone())?,
            Self::Authorization(_) => {
                Answer::Authorization { authorization: Box::new(Authorization::decode(body, limits)?), retry_after }
            }
            Self::Challenge(_) => Answer::Challenge(Box::new(Challenge::decode(body, limits)?)),
            Self::Certificate(url) | Self::Fetch { url, .. } => Answer::Certificate(Box::new(Fetched {
                url: url.clone(),
                chain: decode_chain(body, limits)?,
                etag: received.header("etag").filter(|etag| etag.len() <= 256).map(str::to_owned),
                hints: CertificateHeaders::read(
                    received.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
                ),
                max_age: received.max_age(),
                alternates: received.links("alternate"),
            })),
            Self::Revoke { .. } => Answer::Revoked,
            Self::RenewalInfo(_) => Answer::RenewalInfo { info: RenewalInfo::decode(body, limits)?, retry_after },
            Self::Delegation(_) => Answer::Delegation(Box::new(Delegation::decode(body, limits)?)),
            Self::Delegations { next: None, pages, found } => {
                let url = Account::decode(body, limits)?.delegations;
                let url = url.ok_or(ClientError::PeerIncompatible(PeerIncompatible::NoResource("delegations")))?;
                return Ok(Step::Then(Self::Delegations { next: Some(url), pages: *pages, found: found.clone() }));
            }
            Self::Delegations { next: Some(_), pages, found } => {
                let mut found = found.clone();
                found.extend(decode_delegations(body, limits)?);
                let Some(next) = received.links("next").pop() else {
                    return Ok(Step::Answer(Answer::Delegations(found)));
                };
                let pages = pages.checked_sub(1);
                let pages = pages.ok_or(ClientError::PeerMisbehaved(PeerMisbehaved::EndlessList))?;
                return Ok(Step::Then(Self::Delegations { next: Some(next), pages, found }));
            }
        };
        Ok(Step::Answer(answer))
    }

    /// What a refusal means, if it is not simply a refusal.
    pub(super) fn refused(&self, problem: Problem) -> Result<Step, ClientError> {
        match self {
            Self::Cancel(url) if problem.kind == ProblemType::AutoRenewalCancellationInvalid => {
                Ok(Step::Then(Self::AfterCancel { url: url.clone(), refused: Box::new(problem) }))
            }
            Self::Revoke { lost: true, .. } if problem.kind == ProblemType::AlreadyRevoked => {
                Ok(Step::Answer(Answer::Revoked))
            }
            Self::ChangeKey { new, lost: true } => {
                Ok(Step::Then(Self::ProbeKey { new: Arc::clone(new), refused: Box::new(problem) }))
            }
            Self::ProbeKey { refused, .. } => Err(ClientError::Problem(refused.clone())),
            _ => Err(problem.into()),
        }
    }

    /// An answer was lost: the server may have done what was asked.
    pub(super) fn lost(&mut self) {
        if let Self::ChangeKey { lost, .. } | Self::Revoke { lost, .. } = self {
            *lost = true;
        }
    }
}

pub(super) fn elsewhere(url: &str, refusal: crate::url::UrlRefusal) -> ClientError {
    ClientError::PeerMisbehaved(PeerMisbehaved::Url { url: url.to_owned(), refusal })
}

fn resource<'a>(url: Option<&'a str>, name: &'static str) -> Result<&'a str, Hold> {
    url.ok_or(Hold::Never(ClientError::PeerIncompatible(PeerIncompatible::NoResource(name))))
}

/// [RFC 8555 section 7.3.5](https://www.rfc-editor.org/rfc/rfc8555#section-7.3.5)
fn key_change(account: &str, old: &PublicKey) -> Vec<u8> {
    let mut object = Object::new();
    object.insert("account", account);
    let old: Value = jsonbcd::text::from_slice(old.to_jwk().as_bytes()).expect("a JWK of ours is JSON");
    object.insert("oldKey", old);
    json::encode(&object)
}

/// A key must be able to sign requests before it becomes that of an account.
pub(super) fn check_signer(signer: &dyn Signer) -> Result<(), ClientError> {
    match crate::jose::Algorithm::of_scheme(signer.scheme()) {
        Some(_) => Ok(()),
        None => Err(ClientError::ApiMisuse(ApiMisuse::Key)),
    }
}
