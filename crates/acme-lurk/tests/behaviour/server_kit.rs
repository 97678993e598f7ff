//! A CA with a clock, a client that signs, and an issuer that makes certificates.

use std::collections::BTreeMap;
use std::sync::Arc;

use acme_lurk::acme::challenge;
use acme_lurk::acme::server::{Ca, CaConfig, CaConfigBuilder, CaEvent, Issuance, Request, Response};
use acme_lurk::acme::{ChallengeKind, Identifier, NewOrder, Order};
use acme_lurk::crypto::{KeyParts, PublicKey, Ring, RingSigner, Signer as _};
use acme_lurk::csr::{Csr, CsrPlan};
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::{Limits, Record};
use serde_json::Value;
use watchfire_core::UnixTime;

use crate::support::{octets, signer};

pub(crate) const BASE: &str = "https://ca.example/acme";
pub(crate) const START: i64 = 1_700_000_000;

/// A CA and the time it is.
pub(crate) struct World {
    pub(crate) ca: Ca,
    pub(crate) now: i64,
    pub(crate) records: BTreeMap<String, Vec<u8>>,
    config: Arc<CaConfig>,
    restarts: u8,
    serial: u64,
    issuer: (rcgen::CertificateParams, rcgen::KeyPair),
}

struct Key(Vec<u8>);

impl rcgen::PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl World {
    pub(crate) fn new(config: CaConfigBuilder) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = (params, rcgen::KeyPair::generate().unwrap());
        let config = Arc::new(config.build().unwrap());
        let ca = Ca::new(Arc::clone(&config), Arc::new(Ring::new()), [9; 32]);
        Self { ca, now: START, records: BTreeMap::new(), config, restarts: 0, serial: 1, issuer }
    }

    pub(crate) fn time(&self) -> UnixTime {
        UnixTime::from_secs(self.now)
    }

    /// Ends the CA without warning, and starts it again from what it has given to keep.
    pub(crate) fn restart(&mut self) {
        keep(&mut self.records, self.ca.take_records());
        self.restarts += 1;
        let records = self.records.clone();
        let seed = [100 + self.restarts; 32];
        let (config, verifier) = (Arc::clone(&self.config), Arc::new(Ring::new()));
        self.ca = Ca::restore(config, verifier, seed, self.time(), records).unwrap();
    }

    /// The same with another configuration.
    pub(crate) fn restart_with(&mut self, config: CaConfigBuilder) {
        self.config = Arc::new(config.build().unwrap());
        self.restart();
    }

    pub(crate) fn request(&mut self, request: &Request<'_>) -> Response {
        let now = self.time();
        self.ca.handle_request(now, request)
    }

    pub(crate) fn get(&mut self, url: &str) -> Response {
        self.request(&Request::get(url))
    }

    pub(crate) fn nonce(&mut self) -> String {
        self.get(&format!("{BASE}/new-nonce")).header("replay-nonce").unwrap().to_owned()
    }

    pub(crate) fn wait(&mut self, secs: i64) {
        self.now += secs;
        let now = self.time();
        self.ca.handle_timeout(now);
    }

    /// The next certificate that is asked for; other events are in the way.
    pub(crate) fn issuance(&mut self) -> Issuance {
        match self.ca.poll_event() {
            Some(CaEvent::Issue(issuance)) => issuance,
            other => panic!("{other:?}"),
        }
    }

    /// Makes a certificate, as it was asked for, with a change.
    pub(crate) fn make(&mut self, issuance: &Issuance, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
        let names: Vec<String> = issuance.identifiers.iter().map(|identifier| identifier.value().to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let at = |time: UnixTime| time::OffsetDateTime::from_unix_timestamp(time.as_secs()).unwrap();
        (params.not_before, params.not_after) = (at(issuance.not_before), at(issuance.not_after));
        params.serial_number = Some(self.serial.into());
        params.use_authority_key_identifier_extension = true;
        self.serial += 1;
        change(&mut params);
        let csr = Csr::decode(&issuance.csr, &Limits::DEFAULT).unwrap();
        let KeyParts::Ec { point, .. } = csr.key().unwrap().parts() else { panic!() };
        let issuer = rcgen::Issuer::from_params(&self.issuer.0, &self.issuer.1);
        params.signed_by(&Key(point.to_vec()), &issuer).unwrap().der().to_vec()
    }

    /// Makes the next certificate that is asked for, and gives it to the CA.
    pub(crate) fn issue(&mut self) -> (Issuance, Vec<u8>) {
        let issuance = self.issuance();
        let leaf = self.make(&issuance, |_| ());
        let now = self.time();
        assert_eq!(self.ca.issued(now, &issuance.order, issuance.index, &leaf), Ok(()));
        (issuance, leaf)
    }

    /// Says yes to a challenge that is looked at, if the key authorization is right.
    pub(crate) fn validate(&mut self, key: &PublicKey) -> ChallengeKind {
        let Some(CaEvent::Validate { id, kind, token, key_authorization, .. }) = self.ca.poll_event() else { panic!() };
        assert_eq!(key_authorization, challenge::key_authorization(&token, key));
        let now = self.time();
        assert_eq!(self.ca.validated(now, &id, Ok(())), Ok(()));
        kind
    }
}

/// Puts records away.
pub(crate) fn keep(store: &mut BTreeMap<String, Vec<u8>>, records: Vec<Record>) {
    for record in records {
        match record.value {
            Some(value) => store.insert(record.name, value),
            None => store.remove(&record.name),
        };
    }
}

/// A client with a key, and perhaps an account.
pub(crate) struct Client {
    pub(crate) key: RingSigner,
    pub(crate) kid: String,
}

impl Client {
    /// A client with an account.
    pub(crate) fn register(world: &mut World) -> Self {
        let mut client = Self { key: signer(), kid: String::new() };
        let response = client.new_account(world, &serde_json::json!({"termsOfServiceAgreed": true}));
        assert_eq!(response.status, 201, "{}", text(&response));
        client.kid = response.header("location").unwrap().to_owned();
        client
    }

    pub(crate) fn new_account(&self, world: &mut World, payload: &Value) -> Response {
        let url = format!("{BASE}/new-account");
        let nonce = world.nonce();
        let body = sign(&self.key, KeyRef::Jwk(self.key.public_key()), Some(&nonce), &url, &octets(payload)).unwrap();
        world.request(&Request::post(&url, &body))
    }

    pub(crate) fn post_octets(&self, world: &mut World, url: &str, payload: &[u8]) -> Response {
        let nonce = world.nonce();
        let body = sign(&self.key, KeyRef::Kid(&self.kid), Some(&nonce), url, payload).unwrap();
        let response = world.request(&Request::post(url, &body));
        assert!(response.header("replay-nonce").is_some_and(acme_lurk::base64url::is_alphabet), "on every POST");
        response
    }

    pub(crate) fn post(&self, world: &mut World, url: &str, payload: &Value) -> Response {
        self.post_octets(world, url, &octets(payload))
    }

    /// POST-as-GET
    pub(crate) fn read(&self, world: &mut World, url: &str) -> Response {
        self.post_octets(world, url, b"")
    }

    /// A new order, and its URL.
    pub(crate) fn order(&self, world: &mut World, order: &NewOrder) -> (Order, String) {
        let response = self.post_octets(world, &format!("{BASE}/new-order"), &order.encode());
        assert_eq!(response.status, 201, "{}", text(&response));
        (decode(&response), response.header("location").unwrap().to_owned())
    }

    /// Sends a request for a certificate, of a new key.
    pub(crate) fn finalize(&self, world: &mut World, order: &Order) -> Response {
        let names = order.identifiers.iter().map(Identifier::value);
        let csr = CsrPlan::for_names(names).build(&signer()).unwrap();
        self.finalize_with(world, order, &csr)
    }

    pub(crate) fn finalize_with(&self, world: &mut World, order: &Order, csr: &[u8]) -> Response {
        let payload = acme_lurk::acme::Finalize { csr: csr.to_vec() }.encode();
        self.post_octets(world, &order.finalize, &payload)
    }
}

pub(crate) fn names(names: &[&str]) -> NewOrder {
    NewOrder::new(names.iter().map(|name| Identifier::dns(name).unwrap()).collect())
}

pub(crate) fn decode(response: &Response) -> Order {
    Order::decode(&response.body, &Limits::DEFAULT).unwrap_or_else(|error| panic!("{error}: {}", text(response)))
}

pub(crate) fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

/// The type of a problem, without its prefix, and the status.
#[track_caller]
pub(crate) fn problem(response: &Response) -> (u16, String) {
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{}", text(response));
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert!(body.get("identifier").is_none());
    let kind = body["type"].as_str().unwrap().strip_prefix("urn:ietf:params:acme:error:").unwrap();
    (response.status, kind.to_owned())
}
