//! A client or panel, a clock, and services that answer from a script.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use repute_proto::client::{ClientConfig, ExchangeFailure, ExchangeRequest, QueryId, Received};
use repute_proto::{Applications, Client, ClientEvent, Query, Service};
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

/// What the clock on the wall says at `Instant::ZERO`.
pub(crate) const EPOCH: i64 = 1_700_000_000;
pub(crate) const MEDIA: &str = "application/reputon+json";

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) now: Instant,
    pub(crate) events: Vec<ClientEvent>,
}

pub(crate) fn service(text: &str) -> Service {
    text.parse().unwrap()
}

pub(crate) fn query(subject: &str) -> Query {
    Query::builder("email-id", subject).assertion("spam").build(&Applications::default()).unwrap()
}

pub(crate) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    fields.iter().map(field).collect()
}

/// A document with one reputon about this subject, and whatever members are added.
pub(crate) fn about(subject: &str, members: &str) -> String {
    format!(
        r#"{{"application":"email-id","reputons":[{{"rater":"r.example","assertion":"spam","rated":"{subject}","rating":0.5{members}}}]}}"#
    )
}

impl World {
    pub(crate) fn new(change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::default();
        change(&mut config);
        let now = Instant::from_secs(100);
        Self { client: Client::new(Arc::new(config), [7; 32], now), now, events: Vec::new() }
    }

    pub(crate) fn time(&self) -> UnixTime {
        UnixTime::from_secs(EPOCH + i64::try_from(self.now.as_micros() / 1_000_000).unwrap())
    }

    pub(crate) fn ask(&mut self, at: &str, subject: &str) -> QueryId {
        self.ask_for(at, query(subject), 30)
    }

    pub(crate) fn ask_for(&mut self, at: &str, query: Query, seconds: u64) -> QueryId {
        let id = self.client.query(self.now, &service(at), query, Duration::from_secs(seconds)).unwrap();
        self.drain();
        id
    }

    pub(crate) fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.client.poll_output(self.now) {
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => return at,
                Output::Transmit(never) => match never {},
            }
        }
    }

    /// The exchanges that are wanted, taken.
    pub(crate) fn exchanges(&mut self) -> Vec<ExchangeRequest> {
        let (exchanges, others) =
            std::mem::take(&mut self.events).into_iter().partition(|event| matches!(event, ClientEvent::Exchange(_)));
        self.events = others;
        let request = |event| match event {
            ClientEvent::Exchange(request) => request,
            _ => unreachable!(),
        };
        Vec::into_iter(exchanges).map(request).collect()
    }

    /// The one exchange that is wanted, and its URI.
    pub(crate) fn exchange(&mut self) -> (ExchangeRequest, String) {
        let mut exchanges = self.exchanges();
        assert_eq!(exchanges.len(), 1, "{exchanges:?} {:?}", self.events);
        let exchange = exchanges.remove(0);
        let uri = exchange.target.uri();
        (exchange, uri)
    }

    pub(crate) fn reply(&mut self, to: &ExchangeRequest, status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) {
        let response = Received::new(StatusCode::from_u16(status).unwrap(), headers(fields), body, self.time());
        self.client.handle_response(self.now, to.id, response).unwrap();
        self.drain();
    }

    pub(crate) fn fail(&mut self, exchange: &ExchangeRequest, failure: ExchangeFailure) {
        self.client.handle_failure(self.now, exchange.id, failure).unwrap();
        self.drain();
    }

    /// Answers the wanted template request.
    pub(crate) fn template(&mut self, body: &str) {
        let (exchange, uri) = self.exchange();
        assert!(uri.ends_with("/.well-known/repute-template"), "{uri}");
        self.reply(&exchange, 200, &[("content-type", "text/plain")], body.to_owned());
    }

    /// Answers the wanted query.
    pub(crate) fn answer(&mut self, body: &str) {
        let (exchange, _) = self.exchange();
        self.reply(&exchange, 200, &[("content-type", MEDIA)], body.to_owned());
    }

    /// Lets time pass, waking the client whenever it wants.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        for _ in 0..10_000 {
            match self.drain() {
                Some(at) if at <= end => {
                    assert!(!self.client.timeout_reason().is_empty());
                    self.now = self.now.max(at);
                    self.client.handle_timeout(self.now).unwrap();
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("a timer that never stops");
    }

    /// The events so far, taken.
    pub(crate) fn said(&mut self) -> Vec<ClientEvent> {
        std::mem::take(&mut self.events)
    }
}
