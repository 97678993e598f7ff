//! What changes while it runs: credentials, revocation lists, places to call; and who refuses us for good.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dots_callhome::AnySource;
use dots_tokio::client::ClientLimits;
use dots_tokio::server::{
    CallHomeServerEvent, Discover, Discovered, DiscoveredPlace, ServerEvents, ServerLimits, Upstream,
};
use dots_tokio::{CallHomeServer, ConfigError, Security, SecurityConfig};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};

use crate::support::{
    CLIENT, Ca, Carrier, Filters, GRACE, Pair, SERVER, WAIT, attack, call, carriers, connected, eventually, listen,
};

async fn next(events: &mut ServerEvents) -> CallHomeServerEvent {
    tokio::time::timeout(WAIT, events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn who_refuses_us_behind_the_handshake_is_left_alone_for_a_while() {
    for carrier in carriers() {
        let (ours, other) = (Ca::new("ours"), Ca::new("other"));
        // It trusts another authority than ours; we trust its.
        let leaf = ours.issue(CLIENT);
        let config = SecurityConfig::new()
            .with_certificate(leaf.chain.as_bytes(), leaf.key.as_bytes())
            .unwrap()
            .with_ca(other.pem.as_bytes())
            .unwrap();
        let (client, address) = listen(carrier, config, ClientLimits::default()).await;
        let server = call(carrier, ours.config(SERVER), address, &Arc::new(Filters::default()));
        let mut events = server.events();
        let (mut sessions, mut told) = (0, 0);
        while told < 4 {
            match next(&mut events).await {
                CallHomeServerEvent::Up { .. } => sessions += 1,
                CallHomeServerEvent::Unreachable { again_in, .. } => {
                    told += 1;
                    assert!(again_in <= Duration::from_millis(400), "{again_in:?}");
                }
                _ => {}
            }
            assert!(sessions <= told + 1, "{carrier:?}: called again without a wait");
        }
        assert_eq!(client.session_count(), 0);
    }
}

#[tokio::test]
async fn credentials_that_are_replaced_are_those_of_the_next_session() {
    for carrier in carriers() {
        let mut pair = Pair::new(carrier).await;
        let mid = pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        let cuid = pair.client.peer(SERVER).unwrap().cuid;
        let new = Ca::new("another CA");
        let leaf = new.issue(SERVER);
        pair.client.set_security(&Security::new(&carrier.set(new.config(CLIENT))).unwrap());
        pair.server.set_security(&Security::new(&carrier.set(new.config_of(&leaf))).unwrap());
        // The session that is up goes on.
        pair.client.refresh(SERVER, mid, None).unwrap();
        eventually("refresh", || pair.filters.refreshes.load(Ordering::SeqCst) > 0).await;
        assert_ne!(pair.client.peer(SERVER).unwrap().session.unwrap().identity.spki_sha256, leaf.spki_sha256);
        pair.client.disconnect(SERVER).unwrap();
        connected(&mut pair.events).await;
        let info = pair.client.peer(SERVER).unwrap();
        let session = info.session.unwrap();
        assert_eq!((session.identity.spki_sha256, session.resumed), (leaf.spki_sha256, false), "{carrier:?}");
        assert_eq!(info.cuid, cuid, "it does not change while a mitigation is asked for");
    }
}

/// A list of this authority with these serial numbers, good until that year.
fn list(ca: &Ca, revoked: &[u64], until: i32) -> String {
    let revoke = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(revoke).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().pem().unwrap()
}

#[tokio::test]
async fn whoever_is_on_a_revocation_list_has_no_further_session() {
    for carrier in carriers() {
        let ca = Ca::new("Test CA");
        let numbered = |name, serial: u64| ca.issue_with(name, |params| params.serial_number = Some(serial.into()));
        let (client, server) = (numbered(CLIENT, 7), numbered(SERVER, 8));
        let with =
            |leaf, revoked: &[u64], until| ca.config_of(leaf).with_crl(list(&ca, revoked, until).as_bytes()).unwrap();
        let mut pair = Pair::with(carrier, with(&client, &[9], 2049), with(&server, &[9], 2049)).await;
        // The client revokes the server, and then the server the client; then nobody has renewed the list.
        for (ours, theirs) in [(with(&client, &[8], 2049), None), (with(&client, &[], 2049), Some((&[7][..], 2049)))] {
            let theirs = theirs.map(|(revoked, until)| with(&server, revoked, until));
            let is_client = theirs.is_none();
            pair.client.set_security(&Security::new(&carrier.set(ours)).unwrap());
            if let Some(theirs) = theirs {
                pair.server.set_security(&Security::new(&carrier.set(theirs)).unwrap());
            }
            assert_eq!(pair.client.session_count(), 1, "a session that is up goes on");
            let mut events = pair.server.events();
            pair.client.disconnect(SERVER).unwrap();
            loop {
                match next(&mut events).await {
                    CallHomeServerEvent::Unreachable { .. } => break,
                    CallHomeServerEvent::AttemptFailed { error, .. } if !is_client => {
                        let error = error.to_string().to_lowercase();
                        assert!(error.contains("revoked"), "{error}");
                    }
                    _ => {}
                }
            }
            eventually("no session", || pair.client.session_count() == 0).await;
            pair.client.set_security(&Security::new(&carrier.set(with(&client, &[], 2049))).unwrap());
            pair.server.set_security(&Security::new(&carrier.set(with(&server, &[], 2049))).unwrap());
            connected(&mut pair.events).await;
        }
        pair.client.set_security(&Security::new(&carrier.set(with(&client, &[], 2021))).unwrap());
        let mut events = pair.server.events();
        pair.client.disconnect(SERVER).unwrap();
        while !matches!(next(&mut events).await, CallHomeServerEvent::Unreachable { .. }) {}
        eventually("no session", || pair.client.session_count() == 0).await;
    }
}

#[test]
fn a_list_that_is_none_is_named() {
    let error = SecurityConfig::new().with_crl(b"no list").unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { what: "the revocation list", .. }), "{error}");
    let error = SecurityConfig::new().with_crl(Ca::new("x").pem.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("no revocation list"), "{error}");
}

/// What a name service says at the moment.
#[derive(Debug, Default)]
struct Book {
    places: Mutex<Vec<DiscoveredPlace>>,
    asked: AtomicUsize,
}

impl Book {
    fn say(&self, carrier: Carrier, addresses: &[SocketAddr]) {
        let place = |at: &SocketAddr| DiscoveredPlace {
            transport: carrier.transport(),
            host: at.ip().to_string(),
            port: at.port(),
        };
        *self.places.lock().unwrap() = addresses.iter().map(place).collect();
    }
}

#[async_trait]
impl Discover for Book {
    async fn discover(&self) -> Option<Discovered> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let places = self.places.lock().unwrap().clone();
        (!places.is_empty()).then_some(Discovered { places, lifetime: Duration::ZERO })
    }
}

#[tokio::test]
async fn where_discovery_says_something_else_the_session_moves() {
    for carrier in carriers() {
        let ca = Ca::new("Test CA");
        let (one, at_one) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
        let (other, at_other) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
        let book = Arc::new(Book::default());
        book.say(carrier, &[at_one]);
        let mut limits = ServerLimits::default();
        limits.rediscover = Duration::from_millis(50);
        let upstream = Upstream::new(CLIENT, 9).discovered_by(Arc::clone(&book)).with_dialer(|dialer| {
            dialer.with_retry_min(Duration::from_millis(100)).with_retry_max(Duration::from_millis(400))
        });
        let security = Security::new(&carrier.set(ca.config(SERVER))).unwrap();
        let server = CallHomeServer::builder(security, AnySource, Arc::new(Filters::default()))
            .with_limits(limits)
            .call(upstream)
            .start()
            .unwrap();
        eventually("a session", || one.session_count() == 1).await;
        let asked = book.asked.load(Ordering::SeqCst);
        eventually("asked again", || book.asked.load(Ordering::SeqCst) > asked + 2).await;
        assert_eq!(one.session_count(), 1, "{carrier:?}: nothing has changed");
        book.say(carrier, &[at_other]);
        eventually("the session has moved", || (one.session_count(), other.session_count()) == (0, 1)).await;
        // Nobody says anything: what was said last is good for longer.
        book.say(carrier, &[]);
        other.disconnect(SERVER).unwrap();
        eventually("back where it was", || other.session_count() == 1).await;
        other.shutdown(GRACE).await;
        book.say(carrier, &[at_one]);
        eventually("elsewhere", || one.session_count() == 1).await;
        server.shutdown(GRACE, false).await;
    }
}
