//! Clients and servers on one virtual clock, over a network that can be made bad.

use std::collections::VecDeque;
use std::sync::Arc;

use acme_lurk::Now;
use acme_lurk::acme::client::{
    Answer, CallId, Client as AcmeClient, ClientConfig, ClientConfigBuilder, ClientError, ClientEvent, ClientLimits,
    Exchange, ExchangeFailure, Received,
};
use acme_lurk::acme::server::{CaEvent, Request, Response};
use acme_lurk::crypto::Signer;
use watchfire_core::{Duration, Instant, Output, UnixTime};

use crate::server_kit::{BASE, START, World};
use crate::support::signer;

/// What becomes of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is made.
    Made,
    /// It does not get there.
    Lost,
    /// It gets there, and the answer does not come back.
    AnswerLost,
}

/// A CA, and the time.
pub(crate) struct Net {
    pub(crate) world: World,
    pub(crate) instant: Instant,
    /// What becomes of the next exchanges; then all are made.
    pub(crate) fates: VecDeque<Fate>,
    /// Answers to give instead of the server's, to what is POSTed.
    pub(crate) canned: VecDeque<Received>,
    /// The CA ends behind every so many requests, before it has heard of challenges and certificates, and starts again.
    pub(crate) restart_every: Option<usize>,
    /// All exchanges that were asked for.
    pub(crate) seen: Vec<Exchange>,
    /// All events that are no exchanges.
    pub(crate) events: Vec<ClientEvent>,
}

/// The request as the server sees it, and its answer as the client does.
pub(crate) fn hand_over(exchange: &Exchange, answer: impl FnOnce(&Request<'_>) -> Response) -> Received {
    let field = |name: &str| exchange.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let request = Request {
        method: exchange.method,
        url: &exchange.url,
        content_type: field("content-type"),
        if_none_match: field("if-none-match"),
        body: &exchange.body,
    };
    let response = answer(&request);
    Received::new(response.status, response.headers, response.body)
}

impl Net {
    pub(crate) fn new(world: World) -> Self {
        let (fates, canned) = (VecDeque::new(), VecDeque::new());
        Self { world, instant: Instant::ZERO, fates, canned, restart_every: None, seen: Vec::new(), events: Vec::new() }
    }

    pub(crate) fn now(&self) -> Now {
        Now::new(self.instant, UnixTime::from_secs(START + (self.instant.as_micros() / 1_000_000) as i64))
    }

    /// Lets time pass: for the CA too, which makes what it is asked for.
    pub(crate) fn pass(&mut self, to: Instant) {
        self.instant = self.instant.max(to);
        self.world.now = self.now().unix.as_secs();
        let now = self.world.time();
        self.world.ca.handle_timeout(now);
        self.work();
    }

    /// The CA says yes to every challenge, and makes every certificate.
    pub(crate) fn work(&mut self) {
        let now = self.world.time();
        while let Some(event) = self.world.ca.poll_event() {
            match event {
                CaEvent::Validate { id, .. } => self.world.ca.validated(now, &id, Ok(())).unwrap(),
                CaEvent::Issue(issuance) => {
                    let leaf = self.world.make(&issuance, |_| ());
                    self.world.ca.issued(now, &issuance.order, issuance.index, &leaf).unwrap();
                }
                _ => {}
            }
        }
    }

    pub(crate) fn exchange(&mut self, exchange: &Exchange) -> Result<Received, ExchangeFailure> {
        self.seen.push(exchange.clone());
        assert!(exchange.body.len() < 65_536 && exchange.parsed_url().is_some());
        let fate = self.fates.pop_front().unwrap_or(Fate::Made);
        if fate == Fate::Lost {
            return Err(ExchangeFailure::Unreachable("no route".into()));
        }
        if exchange.method == "POST"
            && let Some(canned) = self.canned.pop_front()
        {
            return Ok(canned);
        }
        let now = self.world.time();
        let received = hand_over(exchange, |request| self.world.ca.handle_request(now, request));
        if self.restart_every.is_some_and(|every| self.seen.len().is_multiple_of(every)) {
            self.world.restart();
        }
        if fate == Fate::AnswerLost {
            return Err(ExchangeFailure::TimedOut);
        }
        Ok(received)
    }

    /// Runs a client until a call is answered. Challenges are provisioned at once.
    #[track_caller]
    pub(crate) fn answer(&mut self, client: &mut AcmeClient, call: CallId) -> Result<Answer, ClientError> {
        for _ in 0..10_000 {
            match client.poll_output(self.now()) {
                Output::Event(ClientEvent::Exchange(exchange)) => {
                    let result = self.exchange(&exchange);
                    let now = self.now();
                    match result {
                        Ok(received) => client.handle_response(now, exchange.id, received),
                        Err(failure) => client.handle_failure(now, exchange.id, failure),
                    }
                    self.work();
                }
                Output::Event(event) => {
                    self.events.push(event.clone());
                    match event {
                        ClientEvent::Answered { id, result } if id == call => return result,
                        ClientEvent::Provision(provision) => client.provisioned(self.now(), provision.id),
                        _ => {}
                    }
                }
                Output::Timeout(Some(at)) => {
                    self.pass(at);
                    client.handle_timeout(self.now());
                }
                Output::Timeout(None) => panic!("{call:?} is not answered, and nothing is waited for"),
                Output::Transmit(never) => match never {},
            }
        }
        panic!("{call:?} is never answered");
    }
}

pub(crate) fn config() -> ClientConfigBuilder {
    let times = (Duration::from_secs(30), Duration::from_secs(60), Duration::from_secs(600));
    ClientConfig::builder(format!("{BASE}/directory"))
        .with_limits(ClientLimits::default().with_times(times.0, times.1, times.2))
}

pub(crate) fn client_with(config: ClientConfigBuilder, key: Arc<dyn Signer>) -> AcmeClient {
    AcmeClient::new(Arc::new(config.build().unwrap()), key, [5; 32]).unwrap()
}

pub(crate) fn client() -> AcmeClient {
    client_with(config(), Arc::new(signer()))
}

/// A client that has an account.
pub(crate) fn registered(net: &mut Net) -> AcmeClient {
    let mut client = client();
    let call = client.new_account(net.now(), acme_lurk::acme::NewAccount::default(), None).unwrap();
    let Ok(Answer::Account { url, .. }) = net.answer(&mut client, call) else { panic!() };
    assert_eq!(client.account(), Some(url.as_str()));
    client
}
