//! The server of a name owner, with a CA behind it, under any delegate, clock and network, killed at any moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use acme_lurk::acme::client::{ClientConfig, ClientLimits, Exchange, ExchangeFailure, Provision, Received};
use acme_lurk::acme::server::{Ca, CaConfig, CaEvent, CaLimits, OrderId, Request, Response};
use acme_lurk::acme::{Delegation, OrderStatus};
use acme_lurk::crypto::Signer as _;
use acme_lurk::csr::{Csr, CsrPlan};
use acme_lurk::delegation::{
    Audit, DelegationRule, Emulation, Ido, IdoConfig, IdoEvent, IdoLimits, OrderSummary, Serving,
};
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::star::{Adjusted, Fraction, StarMeta, StarPolicy};
use acme_lurk::template::Template;
use acme_lurk::{Limits, Now, Record, base64url};
use serde_json::Value;
use watchfire_core::{Duration, Instant, Output, UnixTime};

use super::Anyone;
use super::leaf::certificate;

const IDO: &str = "https://ido.example/acme";
const CA: &str = "https://ca.example/acme";
const NAME: &str = "abc.ido.example";

struct World {
    config: Arc<IdoConfig>,
    ido: Ido,
    ca: Ca,
    records: BTreeMap<String, Vec<u8>>,
    instant: Instant,
    wall: i64,
    highest: i64,
    starts: u8,
    flights: Vec<Exchange>,
    provisions: Vec<Provision>,
    urls: Vec<String>,
    kid: String,
    serial: u8,
    issuing: bool,
    canceled: Vec<OrderId>,
}

/// The first octet is what kind of servers, and then two octets each are what happens.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let mut world = World::new(*kind);
    for step in data.chunks_exact(2).take(160) {
        let [what, how] = *step else { continue };
        world.step(what, how);
        world.settle();
        let (accounts, orders) = world.ido.len();
        assert!(accounts <= 4 && orders <= 6, "limits hold");
    }
    // Whatever happened: with a network that works, and time, nothing is left half done.
    world.issuing = true;
    // A clock that went back stands still until it is where it was: that may take days, which are passed over.
    world.wall = world.wall.max(world.highest);
    for round in 0..400 {
        world.settle();
        for asked in 0.. {
            assert!(asked < 1_000, "the CA is asked without end, and no time passes");
            let Some(exchange) = world.flights.pop() else { break };
            world.carry(exchange, 0);
            world.settle();
        }
        let waiting = std::mem::take(&mut world.provisions);
        waiting.iter().for_each(|provision| world.ido.provisioned(world.now(), provision.id));
        world.wait(60);
        // Nobody asks for anything more: what is done stays so. Some certificates are still rolled.
        if round > 30 && world.unfinished().is_empty() {
            return;
        }
    }
    world.settle();
    let unfinished = world.unfinished();
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

impl World {
    fn new(kind: u8) -> Self {
        let policy = StarPolicy::new(StarMeta::new(5, 100_000, true)).with_adjusted(Adjusted::Always);
        let ca = CaConfig::builder(CA)
            .with_limits(CaLimits::default().with_nonces(8).with_totals(4, 40).with_open_orders(40))
            .with_trusted_identifiers(kind & 1 == 0);
        let ca = if kind & 2 == 0 { ca.with_star(policy, Fraction::HALF).with_certificate_get(true) } else { ca };
        let template = format!(
            r#"{{"keyTypes":[{{"PublicKeyType":"id-ecPublicKey","namedCurve":"secp256r1","SignatureType":"ecdsa-with-SHA256"}}],
            "extensions":{{"subjectAltName":{{"DNS":["{NAME}"]}}}}}}"#
        );
        let template = Template::decode(template.as_bytes(), &Limits::DEFAULT).expect("a template");
        let rule = DelegationRule::new("abc", Delegation::new(template)).expect("a name");
        let rule = rule.with_account(Anyone::new(1).public_key().thumbprint_text());
        let mut config = IdoConfig::builder(IDO)
            .with_star(Some(policy))
            .with_limits(IdoLimits::default().with_totals(4, 6).with_open_orders(4, 3600))
            .with_inferred_delegation(kind & 4 != 0)
            .with_delegation(rule)
            .expect("one delegation");
        if kind & 8 != 0 {
            config = config.with_serving(Serving::Own);
        }
        if kind & 16 != 0 {
            config = config.with_emulation(Emulation::new(policy));
        }
        let config = Arc::new(config.build().expect("a configuration"));
        let mut world = Self {
            ido: Self::start(&config, None, 1, Now::new(Instant::ZERO, UnixTime::from_secs(1_700_000_000))),
            config,
            ca: Ca::new(Arc::new(ca.build().expect("a configuration")), Arc::new(Anyone::new(0)), [5; 32]),
            records: BTreeMap::new(),
            instant: Instant::ZERO,
            wall: 1_700_000_000,
            highest: 1_700_000_000,
            starts: 1,
            flights: Vec::new(),
            provisions: Vec::new(),
            urls: ["/directory", "/new-nonce", "/new-account", "/new-order", "/key-change", "/delegation/abc"]
                .map(|path| format!("{IDO}{path}"))
                .to_vec(),
            kid: String::new(),
            serial: 0,
            issuing: true,
            canceled: Vec::new(),
        };
        world.post(1, &format!("{IDO}/new-account"), b"{}");
        world.kid = world.urls.iter().find(|url| url.contains("/acct/")).expect("an account").clone();
        world
    }

    fn start(config: &Arc<IdoConfig>, records: Option<BTreeMap<String, Vec<u8>>>, seed: u8, now: Now) -> Ido {
        let secs = Duration::from_secs;
        let limits = ClientLimits::default().with_times(secs(5), secs(20), secs(60));
        let client = Arc::new(ClientConfig::builder(format!("{CA}/directory")).with_limits(limits).build().expect("a configuration"));
        let (key, verifier) = (Arc::new(Anyone::new(7)), Arc::new(Anyone::new(0)));
        let ido = match records {
            Some(records) => Ido::restore(Arc::clone(config), client, key, verifier, [seed; 32], now, records),
            None => Ido::new(Arc::clone(config), client, key, verifier, [seed; 32], now),
        };
        ido.expect("records of ours are read")
    }

    /// Orders for which there is something to do at the CA.
    fn unfinished(&self) -> Vec<OrderSummary> {
        self.ido.orders().filter(|order| order.status == OrderStatus::Processing || order.stopping).collect()
    }

    fn now(&self) -> Now {
        Now::new(self.instant, UnixTime::from_secs(self.wall))
    }

    fn wait(&mut self, secs: u64) {
        self.instant = self.instant + Duration::from_secs(secs);
        self.wall = self.wall.saturating_add_unsigned(secs);
        self.ido.handle_timeout(self.now());
        self.ca.handle_timeout(self.now().unix);
        self.ca_works();
    }

    fn step(&mut self, what: u8, how: u8) {
        self.highest = self.highest.max(self.wall);
        match what % 16 {
            // The network, most often.
            0..=5 => {
                if !self.flights.is_empty() {
                    let at = usize::from(how >> 4) % self.flights.len();
                    let exchange = self.flights.remove(at);
                    self.carry(exchange, how & 15);
                }
            }
            6 | 7 => self.wait(u64::from(how)),
            // The clock on the wall, by hours and either way.
            8 => self.wall = self.wall.saturating_add((i64::from(how) - 128) * 1_000),
            9 => self.restart(),
            10 => self.cancel(how),
            11 => {
                if let Some(provision) = self.provisions.pop() {
                    match how & 3 {
                        0 => self.ido.provision_failed(self.now(), provision.id, "no"),
                        _ => self.ido.provisioned(self.now(), provision.id),
                    }
                }
            }
            12 => self.issuing = how & 1 == 0,
            // A delegate; sometimes somebody else.
            _ => {
                let url = self.urls[usize::from(how >> 3) % self.urls.len()].clone();
                let key = if how == 255 { 2 } else { 1 };
                self.post(key, &url, &payload(what, how));
            }
        }
    }

    fn post(&mut self, key: u8, url: &str, payload: &[u8]) {
        let nonce = self.ask(&Request::get(&format!("{IDO}/new-nonce")));
        let nonce = nonce.header("replay-nonce").expect("there is one").to_owned();
        let signer = Anyone::new(key);
        let by = if url.ends_with("/new-account") { KeyRef::Jwk(&signer.0) } else { KeyRef::Kid(&self.kid) };
        let body = sign(&signer, by, Some(&nonce), url, payload).expect("it always signs");
        let response = self.ask(&Request::post(url, &body));
        assert!(response.header("replay-nonce").is_some());
        let mut found: Vec<String> = response.header("location").map(str::to_owned).into_iter().collect();
        if let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&response.body) {
            found.extend(body.values().filter_map(|value| value.as_str()).map(str::to_owned));
        }
        for url in found {
            if url.starts_with(IDO) && !self.urls.contains(&url) && self.urls.len() < 32 {
                self.urls.push(url);
            }
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Response {
        let response = self.ido.handle_request(self.now(), request);
        self.keep();
        if response.status >= 400 {
            let body: Value = serde_json::from_slice(&response.body).expect("problems are JSON");
            assert_eq!(body["status"], response.status);
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert!(!text.contains(CA), "nobody is told what stands behind: {text}");
        }
        response
    }

    fn keep(&mut self) {
        for Record { name, value } in self.ido.take_records() {
            match value {
                Some(value) => self.records.insert(name, value),
                None => self.records.remove(&name),
            };
        }
    }

    fn restart(&mut self) {
        self.keep();
        self.starts = self.starts.wrapping_add(1);
        let before = self.ido.len();
        self.ido = Self::start(&self.config, Some(self.records.clone()), self.starts, self.now());
        assert_eq!(self.ido.len(), before, "nothing is forgotten");
        self.flights.clear();
        self.provisions.clear();
    }

    fn cancel(&mut self, how: u8) {
        let orders: Vec<_> = self.ido.orders().collect();
        let Some(order) = orders.get(usize::from(how) % orders.len().max(1)) else { return };
        let may = order.status == OrderStatus::Valid && !order.stopping;
        assert_eq!(self.ido.cancel(self.now(), &order.id).is_ok(), may);
        if may {
            self.canceled.push(order.id);
        }
    }

    /// Makes an exchange with the CA, or does not.
    fn carry(&mut self, exchange: Exchange, fate: u8) {
        let failure = ExchangeFailure::Unreachable("no".into());
        let now = self.now();
        let canned = match fate {
            11 => Some(Received::new(503, [("retry-after", "30")], "<html>")),
            12 => Some(Received::new(200, [("location", "https://evil.example/")], "{}")),
            13 => Some(Received::new(302, [("location", "https://evil.example/")], "")),
            14 => return self.ido.handle_failure(now, exchange.id, failure),
            _ => None,
        };
        let received = canned.unwrap_or_else(|| {
            let field = exchange.headers.iter().find(|(name, _)| *name == "content-type");
            let request = Request {
                method: exchange.method,
                url: &exchange.url,
                content_type: field.map(|(_, value)| value.as_str()),
                if_none_match: None,
                body: &exchange.body,
            };
            let response = self.ca.handle_request(now.unix, &request);
            Received::new(response.status, response.headers, response.body)
        });
        self.ca_works();
        match fate {
            15 => self.ido.handle_failure(now, exchange.id, failure),
            _ => self.ido.handle_response(now, exchange.id, received),
        }
    }

    fn ca_works(&mut self) {
        let now = self.now().unix;
        while let Some(event) = self.ca.poll_event() {
            match event {
                CaEvent::Validate { id, .. } => self.ca.validated(now, &id, Ok(())).expect("it waits for that"),
                CaEvent::Issue(issuance) => {
                    self.serial = self.serial.wrapping_add(1);
                    let csr = Csr::decode(&issuance.csr, &Limits::DEFAULT).expect("the CA has read it");
                    let leaf = certificate(self.serial, csr.spki(), NAME, issuance.not_before, issuance.not_after);
                    if self.issuing {
                        let _ = self.ca.issued(now, &issuance.order, issuance.index, &leaf);
                    } else {
                        let problem = acme_lurk::acme::Problem::new(acme_lurk::acme::ProblemType::Caa, "no");
                        let _ = self.ca.issue_failed(now, &issuance.order, issuance.index, problem);
                    }
                }
                _ => {}
            }
        }
    }

    /// Lets the server say all that it has to say.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 2_000, "it never stops talking");
            self.keep();
            match self.ido.poll_output(self.now()) {
                Output::Event(IdoEvent::Exchange(exchange)) => {
                    assert!(exchange.url.starts_with(CA), "{}", exchange.url);
                    self.flights.push(exchange);
                }
                Output::Event(IdoEvent::Abandon(id)) => self.flights.retain(|exchange| exchange.id != id),
                Output::Event(IdoEvent::Provision(provision)) => self.provisions.push(provision),
                Output::Event(IdoEvent::CleanUp(provision)) => self.provisions.retain(|known| known.id != provision.id),
                Output::Event(IdoEvent::Audit { order: Some(order), what: Audit::Valid | Audit::Issued { .. } }) => {
                    assert!(!self.canceled.contains(&order), "nothing comes of an order that was stopped");
                }
                Output::Event(_) => {}
                Output::Timeout(at) => {
                    let now = self.now();
                    if at.is_some_and(|at| at <= now.instant) {
                        self.ido.handle_timeout(now);
                    } else {
                        return;
                    }
                }
                Output::Transmit(never) => match never {},
            }
        }
    }
}

/// What delegates send.
fn payload(what: u8, how: u8) -> Vec<u8> {
    let order = |rest: &str| {
        format!(r#"{{"identifiers":[{{"type":"dns","value":"{NAME}"}}],"delegation":"{IDO}/delegation/abc"{rest}}}"#)
            .into_bytes()
    };
    match (what >> 4, how & 7) {
        (0..=3, 0..=3) | (4, _) => {
            order(r#","auto-renewal":{"end-date":"2023-11-15T03:00:00Z","lifetime":600,"allow-certificate-get":true}"#)
        }
        (5, _) => order(r#","allow-certificate-get":true"#),
        (6 | 7, _) => order(""),
        (8..=12, _) => {
            let key = Anyone::new(if how & 7 == 7 { 1 } else { 9 + (how & 1) });
            let csr = CsrPlan::for_names([NAME]).build(&key).expect("it always signs");
            format!(r#"{{"csr":"{}"}}"#, base64url::encode(csr)).into_bytes()
        }
        (13, 0) => br#"{"status":"canceled"}"#.to_vec(),
        (13, 1) => br#"{"status":"deactivated"}"#.to_vec(),
        (13, _) => b"{".to_vec(),
        _ => Vec::new(),
    }
}
