//! Name owners' servers that pass orders on: a delegate, a proxy, the owner, a CA.

use std::collections::BTreeMap;
use std::sync::Arc;

use acme_lurk::acme::client::{ClientConfig, ClientLimits, Exchange, Received};
use acme_lurk::acme::server::{CaEvent, Request, Response};
use acme_lurk::acme::{Delegation, Identifier, NewOrder, Order, OrderStatus};
use acme_lurk::crypto::{Ring, RingSigner, Signer as _};
use acme_lurk::delegation::{Audit, DelegationRule, Ido, IdoConfig, IdoConfigBuilder, IdoEvent, IdoLimits};
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::star::{AutoRenewal, StarMeta, StarPolicy};
use acme_lurk::template::Answers;
use acme_lurk::{Limits, Now};
use watchfire_core::{Duration, Instant, Output, UnixTime};

use crate::client_kit::hand_over;
use crate::lab::{NAME, star_ca, template};
use crate::server_kit::{BASE, START, World};
use crate::support::signer;

/// Servers by the begin of their URLs, and a CA behind them.
struct Chain {
    ca: World,
    idos: BTreeMap<&'static str, Ido>,
    instant: Instant,
    seen: Vec<(&'static str, Exchange)>,
    audit: Vec<(&'static str, Audit)>,
    /// The owner shows what the CA shows, under its own name.
    lent: bool,
}

impl Chain {
    fn now(&self) -> Now {
        Now::new(
            self.instant,
            UnixTime::from_secs(START + i64::try_from(self.instant.as_micros() / 1_000_000).unwrap()),
        )
    }

    fn ask(&mut self, request: &Request<'_>) -> Response {
        let now = self.now();
        if request.url.starts_with(BASE) {
            let response = self.ca.ca.handle_request(now.unix, request);
            while let Some(event) = self.ca.ca.poll_event() {
                match event {
                    CaEvent::Validate { id, .. } => self.ca.ca.validated(now.unix, &id, Ok(())).unwrap(),
                    CaEvent::Issue(issuance) => {
                        let leaf = self.ca.make(&issuance, |_| ());
                        self.ca.ca.issued(now.unix, &issuance.order, issuance.index, &leaf).unwrap();
                    }
                    _ => {}
                }
            }
            return response;
        }
        if self.lent && request.url == format!("{OWNER}/directory") {
            let mut response = self.ca.ca.handle_request(now.unix, &Request::get(&format!("{BASE}/directory")));
            response.body = String::from_utf8(response.body).unwrap().replace(BASE, OWNER).into_bytes();
            return response;
        }
        let (_, ido) = self.idos.iter_mut().find(|(base, _)| request.url.starts_with(**base)).expect("a server");
        ido.handle_request(now, request)
    }

    /// Runs for so many seconds.
    fn run(&mut self, secs: u64) {
        let end = self.instant + Duration::from_secs(secs);
        while self.instant < end {
            let mut next = end;
            let bases: Vec<&'static str> = self.idos.keys().copied().collect();
            for base in bases {
                let now = self.now();
                loop {
                    let output = self.idos.get_mut(base).unwrap().poll_output(now);
                    match output {
                        Output::Event(IdoEvent::Exchange(exchange)) => {
                            self.seen.push((base, exchange.clone()));
                            let received: Received = hand_over(&exchange, |request| self.ask(request));
                            self.idos.get_mut(base).unwrap().handle_response(now, exchange.id, received);
                        }
                        Output::Event(IdoEvent::Provision(provision)) => {
                            self.idos.get_mut(base).unwrap().provisioned(now, provision.id);
                        }
                        Output::Event(IdoEvent::Audit { what, .. }) => self.audit.push((base, what)),
                        Output::Event(_) => {}
                        Output::Timeout(at) => {
                            next = next.min(at.unwrap_or(end));
                            break;
                        }
                        Output::Transmit(never) => match never {},
                    }
                }
            }
            self.instant = next.max(self.instant + Duration::from_millis(10));
            let now = self.now();
            self.ca.now = now.unix.as_secs();
            self.idos.values_mut().for_each(|ido| ido.handle_timeout(now));
        }
    }
}

fn post(chain: &mut Chain, base: &str, key: &RingSigner, kid: &str, path: &str, payload: &[u8]) -> Response {
    let nonce = chain.ask(&Request::get(&format!("{base}/new-nonce"))).header("replay-nonce").unwrap().to_owned();
    let by = if kid.is_empty() { KeyRef::Jwk(key.public_key()) } else { KeyRef::Kid(kid) };
    let url = if path.starts_with('/') { format!("{base}{path}") } else { path.to_owned() };
    let body = sign(key, by, Some(&nonce), &url, payload).unwrap();
    chain.ask(&Request::post(&url, &body))
}

fn config(base: &str) -> IdoConfigBuilder {
    IdoConfig::builder(base).with_star(Some(StarPolicy::new(StarMeta::new(10, 1_000_000, true))))
}

fn server(config: IdoConfigBuilder, upstream: &str, key: RingSigner, seed: u8) -> Ido {
    let secs = Duration::from_secs;
    let limits = ClientLimits::default().with_times(secs(5), secs(20), secs(60)).with_retry(secs(1), secs(1));
    let client = ClientConfig::builder(format!("{upstream}/directory")).with_limits(limits).build().unwrap();
    let now = Now::new(Instant::ZERO, UnixTime::from_secs(START));
    Ido::new(Arc::new(config.build().unwrap()), Arc::new(client), Arc::new(key), Arc::new(Ring::new()), [seed; 32], now)
        .unwrap()
}

fn rule(thumbprint: String) -> DelegationRule {
    DelegationRule::new("abc", Delegation::new(template(NAME))).unwrap().with_account(thumbprint)
}

const PROXY: &str = "https://ucdn.example/acme";
const OWNER: &str = "https://ido.example/acme";

fn chain(idos: impl IntoIterator<Item = (&'static str, Ido)>) -> Chain {
    Chain {
        ca: World::new(star_ca()),
        idos: idos.into_iter().collect(),
        instant: Instant::ZERO,
        seen: Vec::new(),
        audit: Vec::new(),
        lent: false,
    }
}

/// A delegate orders at a server, and sends its request. Gives the URL of the order, the request, and the account.
fn delegate(chain: &mut Chain, base: &str, key: &RingSigner, star: bool) -> (String, String) {
    let made = post(chain, base, key, "", "/new-account", b"{}");
    let kid = made.header("location").unwrap().to_owned();
    let mut asked =
        NewOrder::new(vec![Identifier::dns(NAME).unwrap()]).with_delegation(format!("{base}/delegation/abc"));
    if star {
        let end = UnixTime::from_secs(START + 500);
        asked.auto_renewal = Some(AutoRenewal::new(end, 20).with_certificate_get(true));
    } else {
        asked.allow_certificate_get = Some(true);
    }
    let made = post(chain, base, key, &kid, "/new-order", &asked.encode());
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let order = Order::decode(&made.body, &Limits::DEFAULT).unwrap();
    let csr = template(NAME).plan(&Answers::new()).unwrap().build(&signer()).unwrap();
    let finalize = acme_lurk::acme::Finalize { csr }.encode();
    assert_eq!(post(chain, base, key, &kid, &order.finalize, &finalize).status, 200);
    (made.header("location").unwrap().to_owned(), kid)
}

#[test]
fn a_proxy_passes_orders_on_and_shows_nothing_of_whom_it_asks() {
    for star in [true, false] {
        let (cdn, ucdn) = (signer(), signer());
        let passed = rule(cdn.public_key().thumbprint_text()).with_upstream(format!("{OWNER}/delegation/abc"));
        let proxy = config(PROXY).with_delegation(passed).unwrap();
        let owner = config(OWNER).with_delegation(rule(ucdn.public_key().thumbprint_text())).unwrap();
        let mut chain = chain([(PROXY, server(proxy, OWNER, ucdn, 1)), (OWNER, server(owner, BASE, signer(), 2))]);
        chain.run(5);
        let (url, kid) = delegate(&mut chain, PROXY, &cdn, star);
        chain.run(60);
        let shown = post(&mut chain, PROXY, &cdn, &kid, &url, b"");
        let order = Order::decode(&shown.body, &Limits::DEFAULT).unwrap();
        assert_eq!(order.status, OrderStatus::Valid, "{:?}", chain.audit);
        // What is copied: names, dates, the URL of the certificate.
        let theirs = chain.idos[OWNER].orders().next().unwrap();
        assert_eq!((theirs.status, &theirs.identifiers), (OrderStatus::Valid, &order.identifiers));
        let found = if star { order.star_certificate.clone() } else { order.certificate.clone() }.unwrap();
        assert!(found.starts_with(BASE), "{found}");
        // What is rewritten: everything that would say whom the proxy asks.
        let text = String::from_utf8(shown.body.clone()).unwrap();
        assert!(!text.contains(OWNER), "{text}");
        for (name, value) in &shown.headers {
            assert!(!value.contains(OWNER) && !value.contains(BASE), "{name}: {value}");
        }
        assert!(order.finalize.starts_with(PROXY) && order.delegation == Some(format!("{PROXY}/delegation/abc")));
        // The request is the same octets all the way, and the delegation each server's own.
        let payload = |by: &str, end: &str| {
            let sent = chain.seen.iter().find(|(base, sent)| *base == by && sent.url.ends_with(end)).unwrap();
            let jws: serde_json::Value = serde_json::from_slice(&sent.1.body).unwrap();
            let octets = acme_lurk::base64url::decode(jws["payload"].as_str().unwrap()).unwrap();
            serde_json::from_slice::<serde_json::Value>(&octets).unwrap()
        };
        assert_eq!(payload(PROXY, "/finalize"), payload(OWNER, "/finalize"));
        assert_eq!(payload(PROXY, "/new-order")["delegation"], format!("{OWNER}/delegation/abc"));
        assert_eq!(payload(PROXY, "/new-order")["auto-renewal"], payload(OWNER, "/new-order")["auto-renewal"]);
        assert!(payload(OWNER, "/new-order").get("delegation").is_none());
    }
}

#[test]
fn orders_do_not_go_in_circles() {
    let (cdn, one, two) = (signer(), signer(), signer());
    // Each passes on to the other.
    let both = |own: &RingSigner, other: &RingSigner, to: &str| {
        let rule = rule(own.public_key().thumbprint_text()).with_account(other.public_key().thumbprint_text());
        rule.with_upstream(format!("{to}/delegation/abc"))
    };
    let limits = IdoLimits::default().with_hops(4);
    let first = config(PROXY).with_limits(limits).with_delegation(both(&cdn, &two, OWNER)).unwrap();
    let second = config(OWNER).with_limits(limits).with_delegation(both(&one, &one, PROXY)).unwrap();
    let mut chain = chain([(PROXY, server(first, OWNER, one, 1)), (OWNER, server(second, PROXY, two, 2))]);
    // With no CA behind them there is nothing to offer; but a circle may be closed when both have seen one.
    chain.run(5);
    assert_eq!(chain.ask(&Request::get(&format!("{PROXY}/directory"))).status, 503);
    chain.lent = true;
    chain.run(60);
    chain.lent = false;
    let (url, kid) = delegate(&mut chain, PROXY, &cdn, true);
    chain.run(60);
    let shown = post(&mut chain, PROXY, &cdn, &kid, &url, b"");
    let order = Order::decode(&shown.body, &Limits::DEFAULT).unwrap();
    assert_eq!(order.status, OrderStatus::Invalid, "{:?}", chain.audit);
    let made: usize = chain.idos.values().map(|ido| ido.orders().count()).sum();
    assert_eq!(made, 4, "the first, and one for each hop that is allowed but the last");
    // A server that is to pass on to itself is not configured at all.
    let own = rule("x".into()).with_upstream(format!("{PROXY}/delegation/abc"));
    assert!(config(PROXY).with_delegation(own).is_err());
}

#[test]
fn aliases_are_full_names_and_become_records() {
    let delegation = Delegation::new(template(NAME)).with_cname(NAME, "abc.ndc.example").unwrap();
    assert_eq!(delegation.cname_records(), ["abc.ido.example. IN CNAME abc.ndc.example."]);
    let text = String::from_utf8(delegation.encode()).unwrap();
    assert!(text.contains(r#""cname-map":{"abc.ido.example.":"abc.ndc.example."}"#), "{text}");
    assert_eq!(Delegation::decode(text.as_bytes(), &Limits::DEFAULT), Ok(delegation));
    for bad in [
        r#"{"abc.ido.example":"abc.ndc.example."}"#,
        r#"{"abc.ido.example.":"abc.ndc.example"}"#,
        r#"{"a.example.":1}"#,
        r#"{"*.a.example.":"b.example."}"#,
    ] {
        let text = text.replace(r#"{"abc.ido.example.":"abc.ndc.example."}"#, bad);
        let error = Delegation::decode(text.as_bytes(), &Limits::DEFAULT).unwrap_err();
        assert_eq!(error.to_string(), "delegation.cname-map: must be DNS names with a dot at the end", "{bad}");
    }
    assert!(Delegation::new(template(NAME)).with_cname("a b", "c.example").is_none());
}
