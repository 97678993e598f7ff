//! Orders that are renewed automatically, many of them on one CA machine: what they keep in memory, with their first
//! certificate and after some renewals, and what the renewals of a second take to find.
//!
//! `cargo bench -p watchfire-benches --bench lurk_orders -- ORDERS` prints the figures of `benches/README.md`. All that
//! comes in by requests is asked for by requests, each order meets a challenge, and the certificates are those that
//! `watchfire lurk ca` makes. Signatures of requests alone are believed, since they are not what is measured.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::sync::Arc;
use std::time::Instant;

use acme_lurk_hyper::acme_lurk::Limits;
use acme_lurk_hyper::acme_lurk::acme::server::{Ca, CaConfig, CaEvent, CaLimits, Request, Response};
use acme_lurk_hyper::acme_lurk::acme::{Authorization, ChallengeKind, Finalize, Identifier, NewOrder, Order};
use acme_lurk_hyper::acme_lurk::crypto::{
    KeyError, PublicKey, RingSigner, Scheme, SignError, Signer, Verifier, VerifyError,
};
use acme_lurk_hyper::acme_lurk::csr::CsrPlan;
use acme_lurk_hyper::acme_lurk::jose::{KeyRef, sign};
use acme_lurk_hyper::acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use acme_lurk_hyper::ca::{Authority, Issuer as _};
use tokio::runtime::Runtime;
use watchfire_core::UnixTime;

const BASE: &str = "https://ca.example/acme";
const START: i64 = 1_700_000_000;
const DAY: i64 = 86_400;
/// Four days, and each certificate is there two days before it is needed: each order has two of them every other two days.
const LIFETIME: u64 = 4 * 86_400;

/// Believes everybody.
#[derive(Debug)]
struct Credulous;

impl Verifier for Credulous {
    fn supports(&self, _: Scheme) -> bool {
        true
    }
    fn check_key(&self, _: &PublicKey) -> Result<(), KeyError> {
        Ok(())
    }
    fn verify(&self, _: Scheme, _: &PublicKey, _: &[u8], _: &[u8]) -> Result<(), VerifyError> {
        Ok(())
    }
}

/// Has a key, and signs with nothing.
#[derive(Debug)]
struct Lazy(RingSigner, Scheme);

impl Signer for Lazy {
    fn scheme(&self) -> Scheme {
        self.1
    }
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(vec![0x5a; 64])
    }
}

/// A CA, the time, a client with an account, and an issuer.
struct World {
    ca: Ca,
    now: i64,
    nonce: String,
    kid: String,
    client: Lazy,
    subject: RingSigner,
    issuer: Authority,
    runtime: Runtime,
}

impl World {
    fn new(orders: usize) -> Self {
        let limits = CaLimits::default().with_totals(1000, orders).with_renewals_a_day(u64::MAX);
        let star = StarPolicy::new(StarMeta::new(60, 400 * 86_400, true));
        let config = CaConfig::builder(BASE).with_limits(limits).with_star(star, Fraction::HALF);
        let config = config.with_certificate_get(true).build().unwrap();
        let client = RingSigner::generate_p256().unwrap().0;
        let scheme = client.scheme();
        let root = Authority::root("root of a benchmark", 1).unwrap();
        let mut world = Self {
            ca: Ca::new(Arc::new(config), Arc::new(Credulous), [7; 32]),
            now: START,
            nonce: String::new(),
            kid: String::new(),
            client: Lazy(client, scheme),
            subject: RingSigner::generate_p256().unwrap().0,
            issuer: root.subordinate("issuer of a benchmark", 1).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        };
        world.nonce = world
            .ca
            .handle_request(world.time(), &Request::get(&format!("{BASE}/new-nonce")))
            .header("replay-nonce")
            .unwrap()
            .to_owned();
        let key = world.client.public_key().clone();
        let url = format!("{BASE}/new-account");
        let body = sign(&world.client, KeyRef::Jwk(&key), Some(&world.nonce), &url, b"{}").unwrap();
        world.kid = world.send(&url, &body, 201).header("location").unwrap().to_owned();
        world
    }

    fn time(&self) -> UnixTime {
        UnixTime::from_secs(self.now)
    }

    fn send(&mut self, url: &str, body: &[u8], status: u16) -> Response {
        let response = self.ca.handle_request(self.time(), &Request::post(url, body));
        assert_eq!(response.status, status, "{}", String::from_utf8_lossy(&response.body));
        self.nonce = response.header("replay-nonce").unwrap().to_owned();
        // What is kept elsewhere is kept.
        drop(self.ca.take_records());
        response
    }

    fn post(&mut self, url: &str, payload: &[u8], status: u16) -> Response {
        let body = sign(&self.client, KeyRef::Kid(&self.kid), Some(&self.nonce), url, payload).unwrap();
        self.send(url, &body, status)
    }

    /// An order with a challenge that was met and a certificate, its request its own.
    fn order(&mut self, number: u64) {
        let name = format!("n{number}.example.com");
        let end = UnixTime::from_secs(START + 390 * DAY);
        let asked = NewOrder::new(vec![Identifier::dns(&name).unwrap()]);
        let asked = asked.with_auto_renewal(AutoRenewal::new(end, LIFETIME).with_certificate_get(true));
        let response = self.post(&format!("{BASE}/new-order"), &asked.encode(), 201);
        let order = Order::decode(&response.body, &Limits::DEFAULT).unwrap();
        let response = self.post(&order.authorizations[0], b"", 200);
        let authorization = Authorization::decode(&response.body, &Limits::DEFAULT).unwrap();
        let challenge = authorization.challenges.iter().find(|one| one.kind == ChallengeKind::Http01).unwrap();
        self.post(&challenge.url, b"{}", 200);
        let Some(CaEvent::Validate { id, .. }) = self.ca.poll_event() else { panic!("a challenge to look at") };
        self.ca.validated(self.time(), &id, Ok(())).unwrap();
        let csr = CsrPlan::for_names([name.as_str()]).build(&self.subject).unwrap();
        self.post(&order.finalize, &Finalize { csr }.encode(), 200);
        assert_eq!(self.issue(), 1);
    }

    /// Makes all certificates that are asked for; how many.
    fn issue(&mut self) -> u64 {
        let mut made = 0;
        while let Some(event) = self.ca.poll_event() {
            if let CaEvent::Issue(issuance) = event {
                let leaf = self.runtime.block_on(self.issuer.issue(&issuance)).unwrap();
                let now = self.time();
                self.ca.issued(now, &issuance.order, issuance.index, &leaf).unwrap();
                made += 1;
            }
        }
        drop(self.ca.take_records());
        made
    }

    /// Lets time pass, a minute at a time; how many certificates were made.
    fn pass_until(&mut self, until: i64) -> u64 {
        let mut made = 0;
        while self.now < until {
            self.now = until.min(self.now + 60);
            self.ca.handle_timeout(self.time());
            made += self.issue();
        }
        made
    }
}

/// Octets of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn main() {
    let orders = watchfire_benches::seconds(100_000);
    let mut world = World::new(usize::try_from(orders).unwrap());
    let before = resident();
    let mut seconds = 0;
    for number in 0..orders {
        // Orders come one after the other, so that their renewals are spread over the two days.
        let due = i64::try_from(number * (LIFETIME / 2) / orders).unwrap();
        if due > seconds {
            seconds = due;
            world.now = START + due;
        }
        world.order(number);
    }
    let report = |what: &str| {
        let memory = resident().saturating_sub(before);
        let mib = memory as f64 / 1024.0 / 1024.0;
        println!("{orders} orders, {what}: {mib:.1} MiB, {} octets each", memory / orders);
    };
    report("each with its first certificate");
    // The last second at which the second certificate of the first order is still good: every order has two then.
    assert_eq!(world.pass_until(START + 8 * DAY - 1), 2 * orders);
    report("each renewed twice, with two certificates that are good");
    assert_eq!(world.pass_until(START + 24 * DAY - 1), 4 * orders);
    report("each renewed six times, with two certificates that are good");

    // Each second of an hour of renewals, and each second in which there is none.
    world.pass_until(START + 26 * DAY);
    let (mut due, mut idle, mut found) = (Vec::new(), Vec::new(), 0);
    for _ in 0..3600 {
        let now = world.time();
        let began = Instant::now();
        world.ca.handle_timeout(now);
        let took = began.elapsed().as_secs_f64() * 1e9;
        match world.issue() {
            0 => idle.push(took),
            made => {
                due.push(took / made as f64);
                found += made;
            }
        }
        world.now += 1;
    }
    println!("an hour: {found} renewals found, {:.0} ns each", median(&mut due));
    println!("{} seconds without one: {:.0} ns each", idle.len(), median(&mut idle));
}

/// What else the machine does falls on few of them.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
