//! A delegate, a name owner and a CA on one virtual clock, joined by links that can be bad, each of which can end without
//! warning and start again from what it has kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use acme_lurk::acme::client::{ClientConfig, ClientLimits, Exchange, ExchangeFailure, ExchangeId, Received};
use acme_lurk::acme::server::{CaConfig, CaConfigBuilder, Request, Response};
use acme_lurk::acme::{Delegation, challenge};
use acme_lurk::certificate::Certificate;
use acme_lurk::crypto::{Ring, RingSigner, Signer};
use acme_lurk::delegation::{
    Audit, DelegationRule, Ido, IdoConfig, IdoConfigBuilder, IdoEvent, Installation, Ndc, NdcConfig, NdcConfigBuilder,
    NdcEnd, NdcEvent,
};
use acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use acme_lurk::template::Template;
use acme_lurk::url::{Reach, UrlRules};
use acme_lurk::{Limits, Now};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Duration, Instant, Output, UnixTime};
use watchfire_testkit::{Link, LinkConfig};

use crate::client_kit::hand_over;
use crate::server_kit::{BASE, START, World, keep};
use crate::support::signer;

pub(crate) const IDO: &str = "https://ido.example/acme";
pub(crate) const NAME: &str = "abc.ido.example";

/// How long certificates live in these tests, how early they come, how long an order goes; in seconds.
pub(crate) const STAR: (u64, u64, u64) = (20, 10, 200);

/// Who has asked for an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Ndc,
    Ido,
}

/// An exchange on its way: a connection of its own.
struct Wire {
    asker: Asker,
    id: ExchangeId,
    exchange: Exchange,
    forth: Link,
    back: Link,
    arrived: usize,
    asked: bool,
    answer: Option<Received>,
    answer_len: usize,
}

/// The three, and what they have kept.
pub(crate) struct Lab {
    pub(crate) ca: World,
    pub(crate) ido: Ido,
    pub(crate) ndc: Ndc,
    pub(crate) instant: Instant,
    /// How far the wall clock is off.
    pub(crate) skew: i64,
    pub(crate) link: LinkConfig,
    /// Of a hundred exchanges so many break somewhere.
    pub(crate) breaks: u32,
    /// The CA does not answer before.
    pub(crate) ca_away_until: Instant,
    pub(crate) random: StdRng,
    wires: Vec<Wire>,
    pub(crate) ido_config: Arc<IdoConfig>,
    pub(crate) ndc_config: Arc<NdcConfig>,
    ido_key: Arc<dyn Signer>,
    account_key: Arc<dyn Signer>,
    pub(crate) key: Arc<RingSigner>,
    pub(crate) ido_records: BTreeMap<String, Vec<u8>>,
    pub(crate) ndc_snapshot: Option<Vec<u8>>,
    /// What is installed, and since when.
    pub(crate) installed: Vec<(UnixTime, Installation)>,
    pub(crate) audit: Vec<Audit>,
    pub(crate) alarms: Vec<NdcEvent>,
    pub(crate) ended: Option<NdcEnd>,
    /// Names of records of challenges that are provisioned, and their texts.
    pub(crate) dns: Vec<(String, String)>,
    pub(crate) seen: Vec<(bool, Exchange)>,
    /// Those that came to the name owner.
    pub(crate) arrived: Vec<Exchange>,
    /// Nothing that the CA says before comes through.
    pub(crate) lose_ca_answers_until: Instant,
    /// How many certificates the CA has revoked.
    pub(crate) revoked: usize,
    /// Changes what the CA says to the name owner.
    pub(crate) tamper: Option<fn(&Exchange, Received) -> Received>,
    starts: u8,
}

pub(crate) fn template(dns: &str) -> Template {
    let json = format!(
        r#"{{"keyTypes": [{{"PublicKeyType": "id-ecPublicKey", "namedCurve": "secp256r1",
        "SignatureType": "ecdsa-with-SHA256"}}], "extensions": {{"subjectAltName": {{"DNS": ["{dns}"]}},
        "extendedKeyUsage": ["serverAuth"]}}}}"#
    );
    Template::decode(json.as_bytes(), &Limits::DEFAULT).unwrap()
}

pub(crate) fn star_ca() -> CaConfigBuilder {
    CaConfig::builder(BASE)
        .with_star(StarPolicy::new(StarMeta::new(10, 1_000_000, true)), Fraction::HALF)
        .with_certificate_get(true)
}

pub(crate) fn ido_config() -> IdoConfigBuilder {
    IdoConfig::builder(IDO).with_star(Some(StarPolicy::new(StarMeta::new(10, 1_000_000, true))))
}

pub(crate) fn ndc_config() -> NdcConfigBuilder {
    let (lifetime, adjust, duration) = STAR;
    NdcConfig::builder([NAME]).unwrap().with_star(lifetime, adjust, duration)
}

fn quick() -> ClientLimits {
    let secs = Duration::from_secs;
    ClientLimits::default().with_times(secs(5), secs(20), secs(120)).with_retry(Duration::from_millis(100), secs(2))
}

impl Lab {
    /// A CA of this kind, a name owner's server, and a delegate that has one delegation there: for [`NAME`].
    pub(crate) fn new(ca: CaConfigBuilder, ido: IdoConfigBuilder, ndc: NdcConfigBuilder, seed: u64) -> Self {
        let account_key: Arc<dyn Signer> = Arc::new(signer());
        let rule = DelegationRule::new("abc", Delegation::new(template(NAME))).unwrap();
        let rule = rule.with_account(account_key.public_key().thumbprint_text());
        Self::with_key(ca, ido.with_delegation(rule).unwrap(), ndc, account_key, seed)
    }

    pub(crate) fn with_key(
        ca: CaConfigBuilder,
        ido: IdoConfigBuilder,
        ndc: NdcConfigBuilder,
        account_key: Arc<dyn Signer>,
        seed: u64,
    ) -> Self {
        let (ido_config, ndc_config) = (Arc::new(ido.build().unwrap()), Arc::new(ndc.build().unwrap()));
        let ido_key: Arc<dyn Signer> = Arc::new(signer());
        let key = Arc::new(signer());
        let now = Now::new(Instant::ZERO, UnixTime::from_secs(START));
        let ido =
            Ido::new(Arc::clone(&ido_config), Self::to_ca(), Arc::clone(&ido_key), Arc::new(Ring::new()), [1; 32], now);
        let ndc = Ndc::new(
            Arc::clone(&ndc_config),
            Self::to_ido(),
            Arc::clone(&account_key),
            key.clone(),
            Arc::new(Ring::new()),
            [2; 32],
            now,
        );
        Self {
            ca: World::new(ca),
            ido: ido.unwrap(),
            ndc: ndc.unwrap(),
            instant: Instant::ZERO,
            skew: 0,
            link: LinkConfig::default(),
            breaks: 0,
            ca_away_until: Instant::ZERO,
            random: StdRng::seed_from_u64(seed),
            wires: Vec::new(),
            ido_config,
            ndc_config,
            ido_key,
            account_key,
            key,
            ido_records: BTreeMap::new(),
            ndc_snapshot: None,
            installed: Vec::new(),
            audit: Vec::new(),
            alarms: Vec::new(),
            ended: None,
            dns: Vec::new(),
            seen: Vec::new(),
            arrived: Vec::new(),
            lose_ca_answers_until: Instant::ZERO,
            revoked: 0,
            tamper: None,
            starts: 10,
        }
    }

    fn to_ca() -> Arc<ClientConfig> {
        Arc::new(ClientConfig::builder(format!("{BASE}/directory")).with_limits(quick()).build().unwrap())
    }

    fn to_ido() -> Arc<ClientConfig> {
        let config = ClientConfig::builder(format!("{IDO}/directory")).with_limits(quick());
        Arc::new(config.with_urls(UrlRules::new().with_reach(Reach::Public)).build().unwrap())
    }

    pub(crate) fn now(&self) -> Now {
        let secs = i64::try_from(self.instant.as_micros() / 1_000_000).unwrap();
        Now::new(self.instant, UnixTime::from_secs(START + secs + self.skew))
    }

    /// Ends the name owner's server and starts it again from its records.
    pub(crate) fn restart_ido(&mut self) {
        keep(&mut self.ido_records, self.ido.take_records());
        self.starts = self.starts.wrapping_add(1);
        self.wires.retain(|wire| wire.asker != Asker::Ido);
        // What was provisioned and not taken back stays where it is; the next one provisions again.
        self.ido = Ido::restore(
            Arc::clone(&self.ido_config),
            Self::to_ca(),
            Arc::clone(&self.ido_key),
            Arc::new(Ring::new()),
            [self.starts; 32],
            self.now(),
            self.ido_records.clone(),
        )
        .unwrap();
    }

    /// Ends the delegate and starts it again from its snapshot.
    pub(crate) fn restart_ndc(&mut self) {
        self.snapshot();
        self.starts = self.starts.wrapping_add(1);
        self.wires.retain(|wire| wire.asker != Asker::Ndc);
        let (config, server) = (Arc::clone(&self.ndc_config), Self::to_ido());
        let (account_key, key) = (Arc::clone(&self.account_key), self.key.clone());
        let (verifier, seed, now) = (Arc::new(Ring::new()), [self.starts; 32], self.now());
        self.ndc = match &self.ndc_snapshot {
            Some(snapshot) => Ndc::restore(config, server, account_key, key, verifier, seed, now, snapshot).unwrap(),
            None => Ndc::new(config, server, account_key, key, verifier, seed, now).unwrap(),
        };
    }

    fn snapshot(&mut self) {
        if let Some(snapshot) = self.ndc.take_snapshot() {
            self.ndc_snapshot = Some(snapshot);
        }
    }

    fn send(&mut self, asker: Asker, exchange: Exchange) {
        self.seen.push((asker == Asker::Ndc, exchange.clone()));
        let mut link = self.link.clone();
        let len = exchange.url.len() + exchange.body.len() + 100;
        let mut back = self.link.clone();
        if self.random.random_range(0..100) < self.breaks {
            // Somewhere in the request, or in the answer.
            let cut = Some(self.random.random_range(0..len));
            if self.random.random() { link.cut_after = cut } else { back.cut_after = cut }
        }
        let mut forth = Link::new(link, self.random.random());
        forth.send(self.instant, Bytes::from(vec![b'x'; len]));
        let back = Link::new(back, self.random.random());
        let id = exchange.id;
        let wire = Wire { asker, id, exchange, forth, back, arrived: 0, asked: false, answer: None, answer_len: 0 };
        self.wires.push(wire);
    }

    /// Whoever the URL is of answers.
    fn serve(&mut self, exchange: &Exchange) -> Option<Received> {
        if exchange.url.starts_with(IDO) {
            self.arrived.push(exchange.clone());
            let now = self.now();
            let received =
                hand_over(exchange, |request: &Request<'_>| -> Response { self.ido.handle_request(now, request) });
            keep(&mut self.ido_records, self.ido.take_records());
            return Some(received);
        }
        if self.instant < self.ca_away_until {
            return None;
        }
        let now = self.now().unix;
        let received = hand_over(exchange, |request| self.ca.ca.handle_request(now, request));
        self.ca_works();
        if self.instant < self.lose_ca_answers_until {
            return None;
        }
        Some(match self.tamper {
            Some(tamper) => tamper(exchange, received),
            None => received,
        })
    }

    /// The CA looks at the DNS, and makes certificates.
    fn ca_works(&mut self) {
        use acme_lurk::acme::server::CaEvent;
        let now = self.now().unix;
        while let Some(event) = self.ca.ca.poll_event() {
            match event {
                CaEvent::Validate { id, identifier, key_authorization, .. } => {
                    let name = challenge::dns01_name(identifier.value());
                    let texts = self.dns.iter().filter(|(known, _)| *known == name).map(|(_, text)| text.as_bytes());
                    let met = challenge::dns01_is_met(texts, &key_authorization);
                    assert!(met, "the CA looks only when the record is there");
                    self.ca.ca.validated(now, &id, Ok(())).unwrap();
                }
                CaEvent::Issue(issuance) => {
                    let leaf = self.ca.make(&issuance, |_| ());
                    // It may have been canceled meanwhile.
                    let _ = self.ca.ca.issued(now, &issuance.order, issuance.index, &leaf);
                }
                CaEvent::Revoked { .. } => self.revoked += 1,
                _ => {}
            }
        }
    }

    /// Moves octets. True if anything happened.
    fn carry(&mut self) -> bool {
        let mut moved = false;
        let mut at = 0;
        while at < self.wires.len() {
            let (instant, mut done) = (self.instant, None);
            let wire = &mut self.wires[at];
            while let Some(octets) = wire.forth.receive(instant) {
                wire.arrived += octets.len();
                moved = true;
            }
            let whole = wire.exchange.url.len() + wire.exchange.body.len() + 100;
            if !wire.asked && wire.arrived == whole {
                wire.asked = true;
                let exchange = wire.exchange.clone();
                moved = true;
                let answer = self.serve(&exchange);
                let wire = &mut self.wires[at];
                match answer {
                    Some(answer) => {
                        wire.back.send(instant, Bytes::from(vec![b'y'; answer.body.len() + 200]));
                        wire.answer = Some(answer);
                    }
                    None => done = Some(Err(ExchangeFailure::Unreachable("connection refused".into()))),
                }
            }
            let wire = &mut self.wires[at];
            while let Some(octets) = wire.back.receive(instant) {
                wire.answer_len += octets.len();
                moved = true;
            }
            if wire.answer.as_ref().is_some_and(|answer| wire.answer_len == answer.body.len() + 200) {
                done = wire.answer.take().map(Ok);
            } else if wire.forth.is_cut() || (wire.asked && wire.back.is_cut()) {
                done = Some(Err(ExchangeFailure::Unreachable("connection reset".into())));
            }
            let Some(result) = done else {
                at += 1;
                continue;
            };
            moved = true;
            let wire = self.wires.remove(at);
            let now = self.now();
            match (wire.asker, result) {
                (Asker::Ndc, Ok(received)) => self.ndc.handle_response(now, wire.id, received),
                (Asker::Ndc, Err(failure)) => self.ndc.handle_failure(now, wire.id, failure),
                (Asker::Ido, Ok(received)) => self.ido.handle_response(now, wire.id, received),
                (Asker::Ido, Err(failure)) => self.ido.handle_failure(now, wire.id, failure),
            }
            self.drain();
        }
        moved
    }

    /// Lets both say all they have to say. Gives when they want to be woken.
    fn drain(&mut self) -> Option<Instant> {
        let now = self.now();
        let ndc_wake = loop {
            self.snapshot();
            match self.ndc.poll_output(now) {
                Output::Event(event) => self.ndc_event(event),
                Output::Timeout(at) => break at,
                Output::Transmit(never) => match never {},
            }
        };
        let ido_wake = loop {
            keep(&mut self.ido_records, self.ido.take_records());
            match self.ido.poll_output(now) {
                Output::Event(event) => self.ido_event(event),
                Output::Timeout(at) => break at,
                Output::Transmit(never) => match never {},
            }
        };
        [ndc_wake, ido_wake].into_iter().flatten().min()
    }

    fn ndc_event(&mut self, event: NdcEvent) {
        let now = self.now();
        match event {
            NdcEvent::Exchange(exchange) => self.send(Asker::Ndc, exchange),
            NdcEvent::Abandon(id) => self.wires.retain(|wire| wire.asker != Asker::Ndc || wire.id != id),
            NdcEvent::Install(installation) => {
                let leaf = Certificate::decode(&installation.chain[0], &Limits::DEFAULT).unwrap();
                assert!(leaf.is_for_key(self.key.public_key()) && leaf.is_for_names(&[NAME.to_owned()]));
                self.installed.push((now.unix, installation));
                self.ndc.installed(now);
            }
            NdcEvent::Ended(end) => self.ended = Some(end),
            NdcEvent::Ordered { .. } => {}
            other => self.alarms.push(other),
        }
    }

    fn ido_event(&mut self, event: IdoEvent) {
        let now = self.now();
        match event {
            IdoEvent::Exchange(exchange) => self.send(Asker::Ido, exchange),
            IdoEvent::Abandon(id) => self.wires.retain(|wire| wire.asker != Asker::Ido || wire.id != id),
            IdoEvent::Provision(provision) => {
                let name = challenge::dns01_name(provision.identifier.value());
                self.dns.push((name, challenge::dns01_text(&provision.key_authorization)));
                self.ido.provisioned(now, provision.id);
            }
            IdoEvent::CleanUp(provision) => {
                let text = challenge::dns01_text(&provision.key_authorization);
                let found = self.dns.iter().position(|(_, known)| *known == text).expect("what was provisioned");
                self.dns.remove(found);
            }
            IdoEvent::Audit { what, .. } => self.audit.push(what),
            other => panic!("{other:?}"),
        }
    }

    /// Runs until a condition holds, or so many seconds have passed. True if it holds.
    pub(crate) fn run(&mut self, secs: u64, until: impl Fn(&Self) -> bool) -> bool {
        let end = self.instant + Duration::from_secs(secs);
        for _ in 0..1_000_000 {
            let wake = self.drain();
            if until(self) {
                return true;
            }
            if self.carry() {
                continue;
            }
            let arrivals = self.wires.iter().flat_map(|wire| [wire.forth.next_arrival(), wire.back.next_arrival()]);
            let ca = self.ca.ca.wake().map(|date| self.now().wake_for(date).max(self.ca_away_until));
            let next = arrivals.chain([wake, ca]).flatten().min().unwrap_or(end);
            if next >= end {
                self.instant = end;
                return until(self);
            }
            // Nobody may ask to be woken now, and again now.
            self.instant = next.max(self.instant + Duration::from_micros(1));
            let now = self.now();
            self.ca.now = now.unix.as_secs();
            if self.instant >= self.ca_away_until {
                self.ca.ca.handle_timeout(now.unix);
                self.ca_works();
            }
            self.ndc.handle_timeout(now);
            self.ido.handle_timeout(now);
        }
        panic!("it runs in circles: {:?} {:?}", self.ndc, self.ido);
    }

    /// Whether at every moment since the first certificate a valid one was installed, up to now.
    pub(crate) fn has_no_gap(&self) -> Result<(), String> {
        let mut good_until: Option<UnixTime> = None;
        for (at, installation) in &self.installed {
            if installation.not_before > *at {
                return Err(format!("installed at {at:?}, valid from {:?}", installation.not_before));
            }
            if good_until.is_some_and(|until| until <= *at) {
                return Err(format!("nothing good between {good_until:?} and {at:?}"));
            }
            good_until = Some(installation.not_after);
        }
        Ok(())
    }

    /// The URL of the certificate at the CA, of its only order.
    pub(crate) fn star_url(&mut self) -> String {
        let mut records = BTreeMap::new();
        keep(&mut records, self.ca.ca.take_records());
        let order = records.iter().find(|(name, _)| name.starts_with("order/")).expect("an order");
        let order: serde_json::Value = serde_json::from_slice(order.1).unwrap();
        format!("{BASE}/star/{}", order["certificate"].as_str().unwrap())
    }

    /// What the first order agreed on, as the delegate asked for it.
    pub(crate) fn agreed(&self) -> AutoRenewal {
        let (lifetime, adjust, duration) = STAR;
        AutoRenewal::new(UnixTime::from_secs(START + i64::try_from(duration).unwrap()), lifetime)
            .with_lifetime_adjust(adjust)
    }
}
