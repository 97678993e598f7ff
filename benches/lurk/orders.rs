//! Orders that are renewed automatically, many of them on one CA machine: what they keep in memory, and what the renewals
//! of a second take to find.
//!
//! `cargo bench -p watchfire-benches --bench lurk_orders -- ORDERS` prints the figures of `benches/README.md`. All that
//! comes in by requests is asked for by requests; signatures alone are believed, since they are not what is measured.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::sync::Arc;
use std::time::Instant;

use acme_lurk::Limits;
use acme_lurk::acme::server::{Ca, CaConfig, CaEvent, CaLimits, Issuance, Request, Response};
use acme_lurk::acme::{Finalize, Identifier, NewOrder, Order};
use acme_lurk::crypto::{KeyError, KeyParts, PublicKey, RingSigner, Scheme, SignError, Signer, Verifier, VerifyError};
use acme_lurk::csr::{Csr, CsrPlan};
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use rcgen::{CertificateParams, KeyPair};
use watchfire_core::UnixTime;

const BASE: &str = "https://ca.example/acme";
const START: i64 = 1_700_000_000;
/// Four days, half of them before: a renewal every other day.
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

struct SubjectKey(Vec<u8>);

impl rcgen::PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
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
    issuer: (CertificateParams, KeyPair),
    serial: u64,
}

impl World {
    fn new(orders: usize) -> Self {
        let limits = CaLimits::default().with_totals(1000, orders).with_renewals_a_day(u64::MAX);
        let star = StarPolicy::new(StarMeta::new(60, 400 * 86_400, true));
        let config = CaConfig::builder(BASE).with_limits(limits).with_star(star, Fraction::HALF);
        let config = config.with_trusted_identifiers(true).with_certificate_get(true).build().unwrap();
        let client = RingSigner::generate_p256().unwrap().0;
        let scheme = client.scheme();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let mut world = Self {
            ca: Ca::new(Arc::new(config), Arc::new(Credulous), [7; 32]),
            now: START,
            nonce: String::new(),
            kid: String::new(),
            client: Lazy(client, scheme),
            subject: RingSigner::generate_p256().unwrap().0,
            issuer: (params, KeyPair::generate().unwrap()),
            serial: 1,
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

    /// An order with a certificate, its request its own.
    fn order(&mut self, number: u64) {
        let name = format!("n{number}.example.com");
        let end = UnixTime::from_secs(START + 390 * 86_400);
        let asked = NewOrder::new(vec![Identifier::dns(&name).unwrap()]);
        let asked = asked.with_auto_renewal(AutoRenewal::new(end, LIFETIME).with_certificate_get(true));
        let response = self.post(&format!("{BASE}/new-order"), &asked.encode(), 201);
        let order = Order::decode(&response.body, &Limits::DEFAULT).unwrap();
        let csr = CsrPlan::for_names([name.as_str()]).build(&self.subject).unwrap();
        self.post(&order.finalize, &Finalize { csr }.encode(), 200);
        assert_eq!(self.issue(), 1);
    }

    /// Makes all certificates that are asked for; how many.
    fn issue(&mut self) -> u64 {
        let mut made = 0;
        while let Some(event) = self.ca.poll_event() {
            if let CaEvent::Issue(issuance) = event {
                let leaf = self.leaf(&issuance);
                let now = self.time();
                self.ca.issued(now, &issuance.order, issuance.index, &leaf).unwrap();
                made += 1;
            }
        }
        drop(self.ca.take_records());
        made
    }

    fn leaf(&mut self, issuance: &Issuance) -> Vec<u8> {
        let names: Vec<String> = issuance.identifiers.iter().map(|one| one.value().to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let at = |time: UnixTime| time::OffsetDateTime::from_unix_timestamp(time.as_secs()).unwrap();
        (params.not_before, params.not_after) = (at(issuance.not_before), at(issuance.not_after));
        params.serial_number = Some(self.serial.into());
        params.use_authority_key_identifier_extension = true;
        self.serial += 1;
        let csr = Csr::decode(&issuance.csr, &Limits::DEFAULT).unwrap();
        let KeyParts::Ec { point, .. } = csr.key().unwrap().parts() else { panic!("P-256") };
        let issuer = rcgen::Issuer::from_params(&self.issuer.0, &self.issuer.1);
        params.signed_by(&SubjectKey(point.to_vec()), &issuer).unwrap().der().to_vec()
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
    let memory = resident().saturating_sub(before);
    let mib = memory as f64 / 1024.0 / 1024.0;
    println!("{orders} orders, each with a request and a certificate: {mib:.1} MiB, {} octets each", memory / orders);

    // Each second of an hour of renewals, and each second in which there is none.
    world.now = START + i64::try_from(LIFETIME / 2).unwrap();
    let (mut due, mut idle, mut found, mut empty) = (0.0, 0.0, 0_u64, 0_u64);
    for _ in 0..3600 {
        let now = world.time();
        let began = Instant::now();
        world.ca.handle_timeout(now);
        let took = began.elapsed().as_secs_f64();
        match world.issue() {
            0 => (idle, empty) = (idle + took, empty + 1),
            made => (due, found) = (due + took, found + made),
        }
        world.now += 1;
    }
    println!("an hour: {found} renewals found, {:.0} ns each", due * 1e9 / found.max(1) as f64);
    println!("{empty} seconds without one: {:.0} ns each", idle * 1e9 / empty.max(1) as f64);
}
