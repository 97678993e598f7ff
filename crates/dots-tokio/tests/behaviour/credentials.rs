//! Who is let in, and who is not.

use std::sync::Arc;
use std::time::Duration;

use dots_callhome::{AnySource, Transport, cuid};
use dots_tokio::client::{CallHomeClientEvent, ClientLimits};
use dots_tokio::server::CallHomeServerEvent;
use dots_tokio::{
    AuthError, Backend, CallHomeClient, ConfigError, Security, SecurityConfig, SecurityError, StartError,
};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _};
use sha2::Digest as _;

use crate::support::{
    CLIENT, Ca, Carrier, Filters, Pair, SERVER, WAIT, attack, backends, call, carriers, connected, eventually, listen,
    loopback, until,
};

/// What the dialling side says of its first attempt that fails.
async fn refusal(carrier: Carrier, client: SecurityConfig, server: SecurityConfig) -> SecurityError {
    let (client, address) = listen(carrier, client, ClientLimits::default()).await;
    refusal_at(carrier, &client, address, server).await
}

async fn refusal_at(
    carrier: Carrier,
    client: &CallHomeClient,
    address: std::net::SocketAddr,
    server: SecurityConfig,
) -> SecurityError {
    let filters = Arc::new(Filters::default());
    let short = server.with_handshake_timeout(Duration::from_secs(3));
    let server = call(carrier, short, address, &filters);
    let mut events = server.events();
    let failed = async {
        loop {
            match events.next().await.unwrap() {
                CallHomeServerEvent::AttemptFailed { error, .. } => return error,
                // What a TLS 1.3 client learns too late, it learns by the end of the session.
                CallHomeServerEvent::Down { why, .. } => return why.unwrap_or(SecurityError::Closed),
                _ => {}
            }
        }
    };
    let error = tokio::time::timeout(WAIT, failed).await.unwrap();
    // Whom the dialling side refuses after the handshake has a session until it hears the goodbye.
    eventually("no session", || client.session_count() == 0).await;
    error
}

/// As [`refusal`], by the listening side.
async fn not_let_in(carrier: Carrier, client: SecurityConfig, server: SecurityConfig) {
    let (client, address) = listen(carrier, client, ClientLimits::default()).await;
    refusal_at(carrier, &client, address, server).await;
    assert_eq!(client.session_count(), 0, "{carrier:?}");
    assert!(client.peers().is_empty(), "nothing is known of who was not let in");
}

#[tokio::test]
async fn servers_of_another_ca_are_not_let_in() {
    for carrier in carriers() {
        let (ours, other) = (Ca::new("ours"), Ca::new("other"));
        let stranger = other.config(SERVER).with_ca(ours.pem.as_bytes()).unwrap();
        not_let_in(carrier, ours.config(CLIENT), stranger).await;
    }
}

#[tokio::test]
async fn a_client_of_another_ca_or_name_is_not_called_a_client() {
    for carrier in carriers() {
        let (ours, other) = (Ca::new("ours"), Ca::new("other"));
        let knows_all = |ca: &Ca, name: &str| ca.config(name).with_ca(ours.pem.as_bytes()).unwrap();
        let error = refusal(carrier, knows_all(&other, CLIENT), ours.config(SERVER)).await;
        let error = error.to_string();
        assert!(error.contains("valid") || error.contains("UnknownIssuer"), "{error}");
        let error = refusal(carrier, ours.config("elsewhere.example"), ours.config(SERVER)).await;
        match (carrier, error) {
            (Carrier::Dtls(_), SecurityError::Refused(AuthError::WrongName { wanted, present })) => {
                assert_eq!((wanted.as_str(), present), (CLIENT, vec!["elsewhere.example".to_owned()]));
            }
            (Carrier::Tls, SecurityError::Handshake(text)) => assert!(text.contains("NotValidForName"), "{text}"),
            (_, other) => panic!("{carrier:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn certificates_that_are_over_or_for_something_else_are_refused() {
    for carrier in carriers() {
        let ca = Ca::new("ours");
        let over = ca.issue_with(CLIENT, |params| {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        });
        refusal(carrier, ca.config_of(&over), ca.config(SERVER)).await;
        let other = ca.issue_with(SERVER, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        not_let_in(carrier, ca.config(CLIENT), ca.config_of(&other)).await;
    }
}

#[tokio::test]
async fn peers_that_are_not_listed_are_refused() {
    for carrier in carriers() {
        let ca = Ca::new("ours");
        for (listed, admitted) in [("home.example", true), ("*.example", true), ("*.home.example", false)] {
            let client = ca.config(CLIENT).with_listed_peers([listed.to_owned()]);
            if admitted {
                Pair::with(carrier, client, ca.config(SERVER)).await;
            } else {
                not_let_in(carrier, client, ca.config(SERVER)).await;
            }
        }
    }
}

#[tokio::test]
async fn pinned_keys_need_no_ca_and_give_the_name() {
    for carrier in carriers() {
        let (a, b) = (Ca::new("a"), Ca::new("b"));
        let (client, server) = (a.issue(CLIENT), b.issue(SERVER));
        let own = |leaf: &crate::support::Leaf| {
            SecurityConfig::new().with_certificate(leaf.chain.as_bytes(), leaf.key.as_bytes()).unwrap()
        };
        let of_client = own(&client).with_pin("the box at the corner", server.spki_sha256);
        let (listening, address) = listen(carrier, of_client.clone(), ClientLimits::default()).await;
        let mut events = listening.events();
        let filters = Arc::new(Filters::default());
        let _server = call(carrier, own(&server).with_pin(CLIENT, client.spki_sha256), address, &filters);
        assert_eq!(connected(&mut events).await, "the box at the corner");
        // Another name than the one that is called.
        refusal(carrier, of_client, own(&server).with_pin("another.example", client.spki_sha256)).await;
    }
}

#[tokio::test]
async fn chains_are_whole_or_completed_by_configuration() {
    for carrier in carriers() {
        let root = Ca::new("root");
        let middle = root.below("middle");
        let between = middle.above.clone();
        let (mut client, mut server) = (middle.config(CLIENT), middle.config(SERVER));
        // That back end sends its own certificate alone.
        if matches!(carrier, Carrier::Dtls(Backend::Dimpl)) {
            refusal(carrier, client.clone(), server.clone()).await;
            client = client.with_intermediates(between.as_bytes()).unwrap();
            server = server.with_intermediates(between.as_bytes()).unwrap();
        }
        Pair::with(carrier, client, server).await;
    }
}

#[tokio::test]
async fn psk_opens_dtls_between_all_back_ends_and_names_the_peer() {
    for listening in backends() {
        for dialling in backends() {
            let key = b"a key of thirty-two octets in all".to_vec();
            let client = SecurityConfig::new().with_psk_peer("dots-client-1", key.clone()).with_backend(listening);
            let security = Security::new(&client).unwrap();
            assert!(!security.supports(Transport::Stream), "a PSK is for DTLS");
            let (client, address) = listen(Carrier::Dtls(listening), client, ClientLimits::default()).await;
            let mut events = client.events();
            let filters = Arc::new(Filters::default());
            let good = SecurityConfig::new().with_psk("dots-client-1", key.clone());
            let _server = call(Carrier::Dtls(dialling), good, address, &filters);
            assert_eq!(connected(&mut events).await, "dots-client-1", "{listening:?} {dialling:?}");
            let mid = client.mitigate_granted("dots-client-1", attack(), WAIT).await;
            assert!(mid.is_ok(), "{listening:?} {dialling:?}: {mid:?}");
            assert_eq!(client.peers()[0].session.as_ref().unwrap().identity.cuid, cuid(b"dots-client-1"));
            for (identity, key) in [("dots-client-1", &b"another key"[..]), ("dots-client-2", &key)] {
                let known =
                    SecurityConfig::new().with_psk_peer("dots-client-1", b"a key of thirty-two octets in all".to_vec());
                let bad = SecurityConfig::new().with_psk(identity, key);
                refusal_between(Carrier::Dtls(listening), known, Carrier::Dtls(dialling), bad).await;
            }
        }
    }
}

/// As [`refusal`], with different back ends.
async fn refusal_between(listening: Carrier, client: SecurityConfig, dialling: Carrier, server: SecurityConfig) {
    let (client, address) = listen(listening, client, ClientLimits::default()).await;
    let filters = Arc::new(Filters::default());
    let server = call(dialling, server.with_handshake_timeout(Duration::from_secs(2)), address, &filters);
    let mut events = server.events();
    let failed = async { while !matches!(events.next().await.unwrap(), CallHomeServerEvent::AttemptFailed { .. }) {} };
    tokio::time::timeout(WAIT, failed).await.unwrap();
    assert_eq!(client.session_count(), 0);
}

#[tokio::test]
async fn certificates_work_between_all_back_ends() {
    let ca = Ca::new("ours");
    for listening in backends() {
        for dialling in backends() {
            let (client, address) = listen(Carrier::Dtls(listening), ca.config(CLIENT), ClientLimits::default()).await;
            let mut events = client.events();
            let filters = Arc::new(Filters::default());
            let _server = call(Carrier::Dtls(dialling), ca.config(SERVER), address, &filters);
            connected(&mut events).await;
            client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        }
    }
}

#[tokio::test]
async fn raw_public_keys_open_tls() {
    let (client, server, stranger) =
        (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let digest = |key: &KeyPair| -> [u8; 32] { sha2::Sha256::digest(key.subject_public_key_info()).into() };
    let own = |key: &KeyPair| SecurityConfig::new().with_raw_public_key(key.serialize_pem().as_bytes()).unwrap();
    let of_client = own(&client).with_pin(SERVER, digest(&server));
    let security = Security::new(&of_client).unwrap();
    assert_eq!(security.cuid(), cuid(&client.subject_public_key_info()));
    assert!(!security.supports(Transport::Datagram), "raw public keys are for TLS");
    let socket = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let error = CallHomeClient::builder(security, AnySource).listen_dtls(socket).start().unwrap_err();
    assert_eq!(error, StartError::Transport(Transport::Datagram));
    let pair = Pair::with(Carrier::Tls, of_client.clone(), own(&server).with_pin(CLIENT, digest(&client))).await;
    pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
    refusal(Carrier::Tls, of_client, own(&stranger).with_pin(CLIENT, digest(&client))).await;
}

#[tokio::test]
async fn tls_sessions_are_resumed_without_state_at_the_listening_side() {
    let mut pair = Pair::new(Carrier::Tls).await;
    pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
    pair.client.disconnect(SERVER).unwrap();
    let resumed = until(&mut pair.events, "second session", |event| match event {
        CallHomeClientEvent::Connected { resumed, .. } => Some(*resumed),
        _ => None,
    })
    .await;
    assert!(resumed);
}

#[test]
fn configurations_that_cannot_work_are_refused_at_once() {
    let ca = Ca::new("ours");
    let error = |config: &SecurityConfig| Security::new(config).unwrap_err();
    assert_eq!(error(&SecurityConfig::new()), ConfigError::NoCredentials);
    let leaf = ca.issue(CLIENT);
    let lonely = SecurityConfig::new().with_certificate(leaf.chain.as_bytes(), leaf.key.as_bytes()).unwrap();
    assert_eq!(error(&lonely), ConfigError::NoTrust);
    let another = ca.issue(CLIENT);
    let mixed = lonely.with_certificate(leaf.chain.as_bytes(), another.key.as_bytes()).unwrap();
    let mixed = mixed.with_ca(ca.pem.as_bytes()).unwrap();
    assert!(matches!(error(&mixed), ConfigError::Key(_)));
    assert!(SecurityConfig::new().with_certificate(b"", b"").is_err());
    assert!(SecurityConfig::new().with_certificate(leaf.chain.as_bytes(), b"nonsense").is_err());
    assert!(SecurityConfig::new().with_ca(leaf.key.as_bytes()).is_err());
    let empty = SecurityConfig::new().with_psk("somebody", Vec::new());
    assert!(matches!(error(&empty), ConfigError::Unsupported(_)));
}
