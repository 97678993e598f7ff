//! The client under any driver and any service: answers of the right kind and of none, in any order, clocks that jump.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use repute_proto::client::{ClientConfig, ExchangeFailure, ExchangeRequest, QueryId, Received};
use repute_proto::{Applications, Client, ClientEvent, Query, Service};
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

#[derive(Debug, Clone, Arbitrary)]
enum Operation {
    Query { service: u8, subject: u8, assertion: u8, millis: u16 },
    Cancel(u8),
    Respond { exchange: u8, status: u8, media: u8, header: u8, body: Body },
    Fail { exchange: u8, kind: u8 },
    Sleep(u16),
    Wake,
}

#[derive(Debug, Clone, Arbitrary)]
enum Body {
    Template(u8),
    Good { expires: u16 },
    NoData,
    Octets(Vec<u8>),
}

const SERVICES: [&str; 3] = ["http://a.example", "https://b.example:8443", "http://[2001:db8::1]"];
const SUBJECTS: [&str; 4] = ["x.example", "bücher.example", "192.0.2.1", "a.b.example"];
const TEMPLATES: [&str; 6] = [
    "http://{service}/{application}/{subject}/{assertion}",
    "{scheme}://{service}/{application}{/subject,assertion*}",
    "https://evil.example/{subject}\r\n{scheme}://{service}/{subject}",
    "http://{service}/{+subject}\r\nfile:///x",
    "{scheme}://{user}:{passwd}@{service}/{subject}",
    "http://{service}/../{subject}",
];
const STATUSES: [u16; 10] = [200, 200, 200, 304, 404, 401, 429, 503, 500, 302];
const MEDIA: [&str; 4] = ["application/reputon+json", "text/plain", "application/reputon", "text/html"];
const HEADERS: [(&str, &str); 8] = [
    ("x-nothing", ""),
    ("expires", "0"),
    ("cache-control", "max-age=60"),
    ("cache-control", "no-store"),
    ("etag", "\"1\""),
    ("retry-after", "2"),
    ("retry-after", "99999999999999999999"),
    ("location", "/other"),
];

/// Runs the script twice; the second run must say the same.
pub fn run(data: &[u8]) {
    let mut script = Unstructured::new(data);
    let Ok((redirects, operations)) = <(u8, Vec<Operation>)>::arbitrary(&mut script) else { return };
    let first = play(redirects, &operations);
    assert_eq!(first, play(redirects, &operations), "the same calls give the same outputs");
}

struct World {
    client: Client,
    now: Instant,
    open: BTreeMap<u64, ExchangeRequest>,
    waiting: BTreeSet<QueryId>,
    asked: u64,
    said: Vec<String>,
    /// Queries and retries so far: no exchange comes from nothing.
    causes: usize,
    exchanges: usize,
}

fn play(redirects: u8, operations: &[Operation]) -> Vec<String> {
    let mut config = ClientConfig::default();
    config.redirects = u32::from(redirects % 4);
    (config.queries, config.services, config.cache_entries) = (8, 2, 4);
    let client = Client::new(config.into(), [3; 32], Instant::ZERO);
    let mut world = World {
        client,
        now: Instant::ZERO,
        open: BTreeMap::new(),
        waiting: BTreeSet::new(),
        asked: 0,
        said: Vec::new(),
        causes: 0,
        exchanges: 0,
    };
    for operation in operations.iter().take(200) {
        world.step(operation);
        world.drain();
    }
    // Whatever happened, all that waits is told in the end.
    for _ in 0..10_000 {
        match world.drain() {
            Some(at) => {
                assert!(!world.client.timeout_reason().is_empty());
                world.now = world.now.max(at);
                let Ok(()) = world.client.handle_timeout(world.now);
            }
            None => break,
        }
    }
    assert!(world.waiting.is_empty() && world.client.waiting_queries() == 0, "{:?} still wait", world.waiting);
    assert!(world.client.cached_answers() <= 4);
    world.said
}

impl World {
    fn step(&mut self, operation: &Operation) {
        let pick = |list: &[&'static str], at: u8| list[usize::from(at) % list.len()];
        match operation {
            Operation::Query { service, subject, assertion, millis } => {
                let service: Service = pick(&SERVICES, *service).parse().expect("a service");
                let query = Query::builder("email-id", pick(&SUBJECTS, *subject));
                let query = match assertion % 3 {
                    0 => query,
                    1 => query.assertion("spam"),
                    _ => query.assertion("SENDS-SPAM").assertion("fraud"),
                };
                let query = query.build(&Applications::default()).expect("a query");
                let timeout = Duration::from_millis(u64::from(*millis));
                if let Ok(id) = self.client.query(self.now, &service, query, timeout) {
                    self.asked += 1;
                    self.causes += 4;
                    assert!(self.waiting.insert(id), "ids are used once");
                }
                assert!(self.client.waiting_queries() <= 8);
            }
            Operation::Cancel(index) => {
                let id = self.waiting.iter().nth(usize::from(*index)).copied();
                if let Some(id) = id {
                    self.client.cancel(self.now, id);
                    // It may have been answered by an event that is not polled yet: there is none, all are.
                    self.waiting.remove(&id);
                }
            }
            Operation::Respond { exchange, status, media, header, body } => {
                let Some(exchange) = self.take(*exchange) else { return };
                let (name, value) = HEADERS[usize::from(*header) % HEADERS.len()];
                let mut headers = HeaderMap::new();
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
                headers.insert("content-type", HeaderValue::from_static(pick(&MEDIA, *media)));
                let seconds = i64::try_from(self.now.as_micros() / 1_000_000).expect("a short run");
                let at = UnixTime::from_secs(1_700_000_000 + seconds);
                let subject = exchange.target.path_and_query.split('/').nth(2).unwrap_or("");
                let body = match body {
                    Body::Template(index) => Bytes::from_static(pick(&TEMPLATES, *index).as_bytes()),
                    Body::Good { expires } => Bytes::from(format!(
                        r#"{{"application":"email-id","reputons":[{{"rater":"r","assertion":"spam","rated":"{subject}","rating":0.5,"expires":{}}}]}}"#,
                        at.as_secs() + i64::from(*expires)
                    )),
                    Body::NoData => Bytes::from_static(br#"{"application":"email-id","reputons":[{}]}"#),
                    Body::Octets(octets) => Bytes::from(octets.clone()),
                };
                let status = StatusCode::from_u16(STATUSES[usize::from(*status) % STATUSES.len()]).expect("a status");
                self.causes += 1;
                let Ok(()) =
                    self.client.handle_response(self.now, exchange.id, Received::new(status, headers, body, at));
            }
            Operation::Fail { exchange, kind } => {
                let Some(exchange) = self.take(*exchange) else { return };
                let failures = [ExchangeFailure::Connect, ExchangeFailure::TimedOut, ExchangeFailure::Broken];
                let Ok(()) = self.client.handle_failure(self.now, exchange.id, failures[usize::from(*kind) % 3]);
            }
            Operation::Sleep(millis) => {
                self.now = self.now + Duration::from_millis(u64::from(*millis) * 50);
            }
            Operation::Wake => {
                let Ok(()) = self.client.handle_timeout(self.now);
            }
        }
    }

    fn take(&mut self, index: u8) -> Option<ExchangeRequest> {
        let id = *self.open.keys().nth(usize::from(index) % self.open.len().max(1))?;
        self.open.remove(&id)
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.client.poll_output(self.now) {
                Output::Event(event) => {
                    self.said.push(format!("{event:?}"));
                    self.event(event);
                }
                Output::Timeout(at) => return at,
                Output::Transmit(never) => match never {},
            }
        }
    }

    fn event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Exchange(request) => {
                let host = request.target.service.host();
                assert!(["a.example", "b.example", "[2001:db8::1]"].contains(&host), "{host}");
                self.exchanges += 1;
                assert!(self.exchanges <= self.causes * 2, "an exchange from nothing");
                self.open.insert(self.exchanges as u64, request);
            }
            ClientEvent::Answered { id, answer, .. } => {
                assert!(self.waiting.remove(&id), "answered twice, or never asked");
                assert_eq!(answer.reputons.is_empty(), answer.no_data.is_some());
            }
            ClientEvent::Failed { id, error } => {
                assert!(self.waiting.remove(&id), "answered twice, or never asked");
                assert!(!error.to_string().is_empty());
            }
            ClientEvent::Abandon(id) => self.open.retain(|_, request| request.id != id),
            other => panic!("{other:?}"),
        }
    }
}

/// Octets that are a script: enough to get going.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let script = |seed: u8| (0..160_u8).map(|n| n.wrapping_mul(seed).wrapping_add(n / 7)).collect::<Vec<u8>>();
    [3_u8, 7, 29, 61, 113, 201].into_iter().map(|seed| (format!("stride-{seed}"), script(seed))).collect()
}
