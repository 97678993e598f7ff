//! What a client can be asked to do.

use std::sync::Arc;

use super::call::{Call, check_signer, elsewhere};
use super::error::ClientError;
use super::event::CallId;
use super::{Client, Pending, Timer};
use crate::acme::renewal::certificate_id;
use crate::acme::{NewAccount, NewOrder};
use crate::certificate::Certificate;
use crate::crypto::Signer;
use crate::error::{ApiMisuse, Limit};
use crate::jose::MacKey;
use crate::now::Now;

/// Each verb gives the name of a call, which one event answers.
///
/// # Errors
/// All of them fail at once, with nothing changed, when too many calls wait ([`ClientLimits`](super::ClientLimits)), and
/// for what is said with each. That there is no account is found out later, since one may be on its way.
impl Client {
    /// Reads the directory, again if it was read before.
    pub fn read_directory(&mut self, now: Now) -> Result<CallId, ClientError> {
        self.call(now, Call::Directory)
    }

    /// Makes an account, or finds the one that this key has: the answer is the same. `external` is the name and the
    /// secret of an external account to bind it to.
    pub fn new_account(
        &mut self,
        now: Now,
        asked: NewAccount,
        external: Option<(String, MacKey)>,
    ) -> Result<CallId, ClientError> {
        self.call(now, Call::NewAccount { asked, external })
    }

    /// Finds the account that this key has. There being none is the problem `accountDoesNotExist`.
    pub fn find_account(&mut self, now: Now) -> Result<CallId, ClientError> {
        let asked = NewAccount { only_return_existing: true, ..NewAccount::default() };
        self.call(now, Call::NewAccount { asked, external: None })
    }

    /// Reads the account.
    pub fn read_account(&mut self, now: Now) -> Result<CallId, ClientError> {
        self.call(now, Call::ReadAccount)
    }

    /// Changes the contacts of the account, or agrees to new terms.
    pub fn update_account(&mut self, now: Now, asked: NewAccount) -> Result<CallId, ClientError> {
        self.call(now, Call::Account(asked))
    }

    /// Gives the account up, for ever. What to do when somebody else has the key
    /// ([RFC 9115 section 7.2](https://www.rfc-editor.org/rfc/rfc9115#section-7.2)).
    pub fn deactivate_account(&mut self, now: Now) -> Result<CallId, ClientError> {
        let asked = NewAccount { deactivate: true, ..NewAccount::default() };
        self.call(now, Call::Account(asked))
    }

    /// Gives the account a new key. Calls that are made meanwhile may be refused; make none.
    ///
    /// If the answer is lost the client finds out whether the server has changed the key.
    pub fn change_key(&mut self, now: Now, new: Arc<dyn Signer>) -> Result<CallId, ClientError> {
        check_signer(&*new)?;
        self.call(now, Call::ChangeKey { new, lost: false })
    }

    /// Makes an order, and does no more about it. [`obtain`](Client::obtain) goes all the way.
    pub fn new_order(&mut self, now: Now, order: NewOrder) -> Result<CallId, ClientError> {
        self.call(now, Call::NewOrder(Box::new(order)))
    }

    /// Reads an order.
    pub fn read_order(&mut self, now: Now, url: impl Into<String>) -> Result<CallId, ClientError> {
        self.call(now, Call::Order(url.into()))
    }

    /// Stops an order that is renewed automatically (RFC 8739 section 3.1.2). The answer is the order; one that was
    /// canceled before is as good.
    pub fn cancel(&mut self, now: Now, url: impl Into<String>) -> Result<CallId, ClientError> {
        self.call(now, Call::Cancel(url.into()))
    }

    /// Reads an authorization.
    pub fn read_authorization(&mut self, now: Now, url: impl Into<String>) -> Result<CallId, ClientError> {
        self.call(now, Call::Authorization(url.into()))
    }

    /// Says that a challenge can be looked at.
    pub fn answer_challenge(&mut self, now: Now, url: impl Into<String>) -> Result<CallId, ClientError> {
        self.call(now, Call::Challenge(url.into()))
    }

    /// Sends the certification request of an order; both by their URLs.
    pub fn finalize(
        &mut self,
        now: Now,
        order: impl Into<String>,
        finalize: impl Into<String>,
        csr: impl Into<Arc<[u8]>>,
    ) -> Result<CallId, ClientError> {
        self.call(now, Call::Finalize { order: order.into(), url: finalize.into(), csr: csr.into() })
    }

    /// Fetches a certificate for the account.
    pub fn certificate(&mut self, now: Now, url: impl Into<String>) -> Result<CallId, ClientError> {
        self.call(now, Call::Certificate(url.into()))
    }

    /// Fetches a certificate as everybody may, without account: what `star-certificate` is for. With the `ETag` of the
    /// one that is known the answer may be [`NotModified`](super::Answer::NotModified).
    ///
    /// # Errors
    /// When the rules for URLs do not let it ([`UrlRules::fetched`](crate::url::UrlRules::fetched)).
    pub fn fetch(&mut self, now: Now, url: impl Into<String>, etag: Option<String>) -> Result<CallId, ClientError> {
        let url = url.into();
        let reach = self.config.urls.fetched(&url).map_err(|refusal| elsewhere(&url, refusal))?;
        self.call(now, Call::Fetch { url, etag, reach })
    }

    /// Revokes a certificate (DER), for a reason of RFC 5280 section 5.3.1: as the account that has ordered it, or with
    /// the certificate's own key.
    pub fn revoke(
        &mut self,
        now: Now,
        certificate: impl Into<Vec<u8>>,
        reason: u8,
        key: Option<Arc<dyn Signer>>,
    ) -> Result<CallId, ClientError> {
        if let Some(key) = &key {
            check_signer(&**key)?;
        }
        self.call(now, Call::Revoke { certificate: certificate.into(), reason, key, lost: false })
    }

    /// Asks when to renew a certificate (RFC 9773).
    ///
    /// # Errors
    /// When it does not say which key has signed it.
    pub fn renewal_info(&mut self, now: Now, certificate: &Certificate<'_>) -> Result<CallId, ClientError> {
        let id = certificate_id(certificate).ok_or(ClientError::ApiMisuse(ApiMisuse::NoCertificateId))?;
        self.call(now, Call::RenewalInfo(id))
    }

    /// Lists the delegations of the account, all pages of them.
    pub fn delegations(&mut self, now: Now) -> Result<CallId, ClientError> {
        let pages = self.config.limits.pages;
        self.call(now, Call::Delegations { next: None, pages, found: Vec::new() })
    }

    /// Reads a delegation.
    pub fn delegation(&mut self, now: Now, url: impl Into<String>) -> Result<CallId, ClientError> {
        self.call(now, Call::Delegation(url.into()))
    }

    /// Gives a call up: nothing more is asked for it, and what was provisioned is taken back. Its answer is
    /// [`ClientError::TimedOut`]. What the server was asked before it may still do.
    pub fn abandon(&mut self, now: Now, id: CallId) {
        self.tell(now);
        let why = || ClientError::TimedOut(Some("nobody waits for it any more".to_owned()));
        if self.pursuits.contains_key(&id) {
            self.give_up(now, id, why());
        } else if self.calls.get(&id).is_some_and(|pending| pending.owner.is_none()) {
            self.finish(now, id, Err(why()));
        }
    }

    fn call(&mut self, now: Now, call: Call) -> Result<CallId, ClientError> {
        self.check_room()?;
        let id = CallId(self.number());
        self.begin(now, id, None, call);
        Ok(id)
    }

    pub(super) fn check_room(&self) -> Result<(), ClientError> {
        let limit = self.config.limits.calls;
        if self.calls.len().saturating_add(self.pursuits.len()) < limit {
            Ok(())
        } else {
            Err(ClientError::LimitExceeded(Limit::Calls(limit)))
        }
    }

    /// Starts a call, perhaps on behalf of the pursuit of an order.
    pub(super) fn begin(&mut self, now: Now, id: CallId, owner: Option<CallId>, call: Call) {
        self.tell(now);
        let until = now.instant + self.config.limits.call;
        self.timers.insert((until, Timer::Call(id)));
        let backoff = self.backoff();
        let pending = Pending {
            call,
            owner,
            until,
            nonce: None,
            nonce_retries: 0,
            backoff,
            flight: None,
            retry_at: None,
            last_failure: None,
        };
        self.calls.insert(id, pending);
        self.enqueue(id);
    }

    pub(super) fn enqueue(&mut self, id: CallId) {
        match self.calls.get(&id).map(|pending| pending.call.is_open()) {
            Some(true) => self.open.push_back(id),
            Some(false) => self.signed.push_back(id),
            None => {}
        }
    }
}
