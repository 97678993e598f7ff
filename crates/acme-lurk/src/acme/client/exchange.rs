//! From calls to exchanges and back: directory, nonces, signatures, trying again.
//! [RFC 8555 sections 6.2 to 6.6](https://www.rfc-editor.org/rfc/rfc8555#section-6.2)

use std::sync::Arc;

use watchfire_core::Duration;

use super::call::{Call, Hold, Key, Known, Step, Wire};
use super::error::ClientError;
use super::event::{Answer, CallId, ClientEvent};
use super::http::{Exchange, ExchangeFailure, ExchangeId, Received};
use super::{Client, Purpose, Timer};
use crate::acme::{Problem, ProblemType};
use crate::error::ApiMisuse;
use crate::jose::{KeyRef, sign};
use crate::now::Now;
use crate::url::Reach;

/// Whether anything came of looking at a call.
enum Start {
    Sent,
    /// It has failed, or waits elsewhere.
    Gone,
    /// It waits for what others wait for too.
    Held,
}

impl Client {
    /// Starts whatever can be started.
    pub(super) fn pump(&mut self, now: Now) {
        while self.has_room() {
            let Some(id) = self.open.pop_front() else { break };
            self.start(now, id);
        }
        while self.has_room() {
            let Some(id) = self.signed.front().copied() else { break };
            match self.start(now, id) {
                Start::Held => break,
                Start::Sent | Start::Gone => {
                    if self.signed.front() == Some(&id) {
                        self.signed.pop_front();
                    }
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.exchanges.len() < self.config.limits.exchanges
    }

    fn start(&mut self, now: Now, id: CallId) -> Start {
        let Some(pending) = self.calls.get_mut(&id).filter(|pending| pending.flight.is_none()) else {
            return Start::Gone;
        };
        if pending.retry_at.is_some() {
            return Start::Gone;
        }
        let known = Known {
            directory: self.directory.as_deref(),
            account: self.account.as_deref(),
            signer: &*self.signer,
            home: &self.config.directory,
            urls: &self.config.urls,
        };
        let wire = match pending.call.wire(&known) {
            Ok(wire) => wire,
            Err(Hold::Directory) => {
                self.want_directory(now);
                return Start::Held;
            }
            Err(Hold::Account) => {
                if self.calls.values().any(|pending| pending.call.is_for_account()) {
                    self.homeless.push(id);
                } else {
                    self.finish(now, id, Err(ClientError::ApiMisuse(ApiMisuse::NoAccount)));
                }
                return Start::Gone;
            }
            Err(Hold::Never(error)) => {
                self.finish(now, id, Err(error));
                return Start::Gone;
            }
        };
        let nonce = if wire.signed.is_some() {
            // The nonce is fetched from where the directory says, which may not be read yet.
            if self.directory.is_none() {
                self.want_directory(now);
                return Start::Held;
            }
            let own = pending.nonce.take();
            let Some(nonce) = own.or_else(|| self.nonces.pop_front()) else {
                self.want_nonces(now);
                return Start::Held;
            };
            Some(nonce)
        } else {
            None
        };
        match self.sign(&wire, nonce.as_deref()) {
            Ok((method, headers, body)) => {
                let exchange = self.send(now, Purpose::Call(id), method, wire.url, headers, body, wire.reach);
                if let Some(pending) = self.calls.get_mut(&id) {
                    pending.flight = Some(exchange);
                }
                Start::Sent
            }
            Err(error) => {
                self.finish(now, id, Err(error));
                Start::Gone
            }
        }
    }

    #[allow(clippy::type_complexity, reason = "the parts of a request")]
    fn sign(
        &self,
        wire: &Wire,
        nonce: Option<&str>,
    ) -> Result<(&'static str, Vec<(&'static str, String)>, Vec<u8>), ClientError> {
        let mut headers = wire.headers.clone();
        let Some((payload, key)) = &wire.signed else { return Ok(("GET", headers, Vec::new())) };
        let account = self.account.as_deref();
        let body = match key {
            Key::Account => {
                let kid = account.ok_or(ClientError::ApiMisuse(ApiMisuse::NoAccount))?;
                sign(&*self.signer, KeyRef::Kid(kid), nonce, &wire.url, payload)?
            }
            Key::Own(other) => {
                let signer = other.as_ref().unwrap_or(&self.signer);
                sign(&**signer, KeyRef::Jwk(signer.public_key()), nonce, &wire.url, payload)?
            }
        };
        headers.push(("content-type", "application/jose+json".to_owned()));
        Ok(("POST", headers, body))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a request")]
    fn send(
        &mut self,
        now: Now,
        purpose: Purpose,
        method: &'static str,
        url: String,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
        reach: Reach,
    ) -> ExchangeId {
        let id = ExchangeId(self.number());
        let timeout = self.config.limits.exchange;
        let until = now.instant + timeout;
        self.exchanges.insert(id, (purpose, until));
        self.timers.insert((until, Timer::Exchange(id)));
        let max_body = self.config.messages.body;
        let exchange = Exchange { id, method, url, headers, body, max_body, timeout, reach };
        self.events.push_back(ClientEvent::Exchange(exchange));
        id
    }

    fn want_directory(&mut self, now: Now) {
        let is_asked = self.exchanges.values().any(|(purpose, _)| *purpose == Purpose::Directory);
        if !is_asked && self.common_at.is_none() {
            let headers = vec![("accept", "application/json".to_owned())];
            let url = self.config.directory.clone();
            self.send(now, Purpose::Directory, "GET", url, headers, Vec::new(), Reach::Any);
        }
    }

    /// A nonce for each call that waits, as far as there is room.
    fn want_nonces(&mut self, now: Now) {
        let Some(directory) = self.directory.clone().filter(|_| self.common_at.is_none()) else { return };
        if let Err(refusal) = self.config.urls.signed(&self.config.directory, &directory.new_nonce) {
            let error = super::call::elsewhere(&directory.new_nonce, refusal);
            self.fail_all(now, &error);
            return;
        }
        let asked = self.exchanges.values().filter(|(purpose, _)| *purpose == Purpose::Nonce).count();
        for _ in asked..self.signed.len() {
            if !self.has_room() {
                return;
            }
            self.send(now, Purpose::Nonce, "HEAD", directory.new_nonce.clone(), Vec::new(), Vec::new(), Reach::Any);
        }
    }

    pub(super) fn received(&mut self, now: Now, id: ExchangeId, received: Received) {
        let Some(purpose) = self.take_exchange(id) else { return };
        if received.body.len() > self.config.messages.body {
            self.failure_of(now, purpose, &ExchangeFailure::TooLarge);
            return;
        }
        if let (Some(nonce), true) = (received.nonce(), self.nonces.len() < self.config.limits.nonces) {
            // A nonce of somebody else's server would be refused, and cost a round.
            let is_ours = match purpose {
                Purpose::Call(call) => self.calls.get(&call).is_some_and(|pending| !pending.call.is_open()),
                Purpose::Directory | Purpose::Nonce => true,
            };
            if is_ours {
                self.nonces.push_back(nonce.to_owned());
            }
        }
        match purpose {
            Purpose::Directory => match Call::Directory.read(now.unix, &received, &self.config.messages) {
                Ok(Step::Answer(Answer::Directory(directory))) => {
                    self.directory = Some(directory);
                    self.common.reset();
                }
                Ok(_) => {}
                Err(error) => self.common_failed(now, error.to_string(), received.retry_after(now.unix)),
            },
            Purpose::Nonce => {
                if received.nonce().is_some() {
                    self.common.reset();
                } else {
                    let detail = format!("newNonce answers with status {} and no nonce", received.status);
                    // It may have moved.
                    if matches!(received.status, 404 | 410) {
                        self.directory = None;
                    }
                    self.common_failed(now, detail, received.retry_after(now.unix));
                }
            }
            Purpose::Call(call) => self.answered(now, call, &received),
        }
    }

    pub(super) fn failed(&mut self, now: Now, id: ExchangeId, failure: &ExchangeFailure) {
        if let Some(purpose) = self.take_exchange(id) {
            self.failure_of(now, purpose, failure);
        }
    }

    fn take_exchange(&mut self, id: ExchangeId) -> Option<Purpose> {
        let (purpose, until) = self.exchanges.remove(&id)?;
        self.timers.remove(&(until, Timer::Exchange(id)));
        Some(purpose)
    }

    fn failure_of(&mut self, now: Now, purpose: Purpose, failure: &ExchangeFailure) {
        let Purpose::Call(id) = purpose else {
            self.common_failed(now, failure.to_string(), None);
            return;
        };
        let Some(pending) = self.calls.get_mut(&id) else { return };
        pending.flight = None;
        pending.call.lost();
        if failure.is_passing() {
            self.retry(now, id, failure.to_string(), None);
        } else {
            self.finish(now, id, Err(failure.clone().into()));
        }
    }

    /// Directory or nonces cannot be had: everybody waits for a while.
    fn common_failed(&mut self, now: Now, detail: String, retry_after: Option<u64>) {
        self.last_failure = Some(detail);
        if self.common_at.is_none() {
            let wait = self.common.next_delay();
            let at = Self::later(now, wait, retry_after);
            self.common_at = Some(at);
            self.timers.insert((at, Timer::Common));
        }
    }

    fn answered(&mut self, now: Now, id: CallId, received: &Received) {
        let Some(pending) = self.calls.get_mut(&id) else { return };
        pending.flight = None;
        if received.status >= 400 {
            self.refused(now, id, received);
            return;
        }
        match pending.call.read(now.unix, received, &self.config.messages) {
            Ok(step) => self.step(now, id, step),
            Err(error) => self.finish(now, id, Err(error)),
        }
    }

    fn step(&mut self, now: Now, id: CallId, step: Step) {
        match step {
            Step::Answer(answer) => self.finish(now, id, Ok(answer)),
            Step::Then(call) => {
                if let Some(pending) = self.calls.get_mut(&id) {
                    pending.call = call;
                    self.enqueue(id);
                }
            }
        }
    }

    fn refused(&mut self, now: Now, id: CallId, received: &Received) {
        let Some(pending) = self.calls.get_mut(&id) else { return };
        let problem = Problem::decode(&received.body, &self.config.messages);
        // Whoever stands between us and the server answers in HTML.
        let problem = problem.unwrap_or_else(|_| {
            let detail = format!("status {} without a problem document", received.status);
            Problem::new(ProblemType::Other("about:blank".into()), detail)
        });
        let problem = problem.with_status(received.status);
        if problem.kind == ProblemType::BadNonce && pending.nonce_retries < self.config.limits.nonce_retries {
            pending.nonce_retries = pending.nonce_retries.saturating_add(1);
            // The nonce of the error is to be used; those from before were perhaps forgotten by the server too.
            self.nonces.clear();
            pending.nonce = received.nonce().map(str::to_owned);
            self.signed.push_front(id);
            return;
        }
        let retry_after = received.retry_after(now.unix);
        let is_passing = received.status >= 500 || received.status == 429 || problem.kind == ProblemType::RateLimited;
        if is_passing {
            pending.call.lost();
            let wait = now.instant + Duration::from_secs(retry_after.unwrap_or(0));
            if wait < pending.until {
                self.retry(now, id, problem.to_string(), retry_after);
                return;
            }
        }
        match pending.call.refused(problem) {
            Ok(step) => self.step(now, id, step),
            Err(error) => self.finish(now, id, Err(error)),
        }
    }

    /// Asks again after a while, if there is time.
    fn retry(&mut self, now: Now, id: CallId, detail: String, retry_after: Option<u64>) {
        let Some(pending) = self.calls.get_mut(&id) else { return };
        let at = Self::later(now, pending.backoff.next_delay(), retry_after);
        if at >= pending.until {
            self.finish(now, id, Err(ClientError::TimedOut(Some(detail))));
            return;
        }
        pending.last_failure = Some(detail);
        pending.retry_at = Some(at);
        self.timers.insert((at, Timer::Retry(id)));
    }

    pub(super) fn out_of_time(&mut self, now: Now, id: CallId) {
        let Some(pending) = self.calls.get_mut(&id) else { return };
        let detail = pending.last_failure.take().or_else(|| self.last_failure.clone());
        self.finish(now, id, Err(ClientError::TimedOut(detail)));
    }

    fn fail_all(&mut self, now: Now, error: &ClientError) {
        for id in std::mem::take(&mut self.signed) {
            self.finish(now, id, Err(error.clone()));
        }
    }

    /// A call is over.
    pub(super) fn finish(&mut self, now: Now, id: CallId, result: Result<Answer, ClientError>) {
        let Some(mut pending) = self.calls.remove(&id) else { return };
        self.timers.remove(&(pending.until, Timer::Call(id)));
        if let Some(at) = pending.retry_at {
            self.timers.remove(&(at, Timer::Retry(id)));
        }
        if let Some(exchange) = pending.flight
            && self.take_exchange(exchange).is_some()
        {
            self.events.push_back(ClientEvent::Abandon(exchange));
        }
        let result = result.and_then(|answer| self.learn(&mut pending.call, answer));
        if pending.call.is_for_account() {
            // Whoever waited for the account has one now, or is told that there is none.
            for id in std::mem::take(&mut self.homeless) {
                self.enqueue(id);
            }
        }
        match pending.owner {
            Some(owner) => self.advance(now, owner, id, result),
            None => self.events.push_back(ClientEvent::Answered { id, result }),
        }
    }

    /// Takes in what an answer says about the server and the account.
    fn learn(&mut self, call: &mut Call, answer: Answer) -> Result<Answer, ClientError> {
        match (&*call, answer) {
            (_, Answer::Directory(directory)) => {
                self.directory = Some(Arc::clone(&directory));
                Ok(Answer::Directory(directory))
            }
            (Call::NewAccount { .. }, Answer::Account { url, account }) => {
                let urls = &self.config.urls;
                urls.signed(&self.config.directory, &url).map_err(|refusal| super::call::elsewhere(&url, refusal))?;
                self.account = Some(url.clone());
                Ok(Answer::Account { url, account })
            }
            (Call::ProbeKey { new, refused }, Answer::Account { url, .. }) => {
                if self.account.as_ref() != Some(&url) {
                    return Err(ClientError::Problem(refused.clone()));
                }
                self.signer = Arc::clone(new);
                Ok(Answer::KeyChanged)
            }
            (Call::ChangeKey { new, .. }, Answer::KeyChanged) => {
                self.signer = Arc::clone(new);
                Ok(Answer::KeyChanged)
            }
            (_, Answer::Account { account, .. }) => {
                Ok(Answer::Account { url: self.account.clone().unwrap_or_default(), account })
            }
            (_, answer) => Ok(answer),
        }
    }
}
