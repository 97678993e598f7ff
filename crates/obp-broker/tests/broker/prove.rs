//! Proofs: made by the broker, checked as a client does.

use obp_broker::Status;
use obp_broker::connect::{Advice, Broker, Question};
use obp_broker::proof::{self, Anchors, Proof, ProofError};

use super::server::Dns;

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

async fn proven(
    broker: &Broker,
    anchors: &Anchors,
    name: &str,
    service: &str,
) -> (Vec<u8>, Proof, std::sync::Arc<obp_broker::connect::Answer>) {
    let mut question = Question::new(name, Some(service), None);
    question.prove = true;
    let answer = broker.connect(&question).await;
    assert_eq!(answer.status, Status::Success, "{name}: {:?}", answer.description);
    let advice = answer.advice.clone().unwrap_or_else(|| panic!("{name} has a proof"));
    assert_eq!(advice.media_type, Advice::DNSSEC_CHAIN);
    let proof = proof::verify(&advice.data, anchors, now()).unwrap();
    (advice.data.to_vec(), proof, answer)
}

#[tokio::test]
async fn every_connection_follows_from_the_proof() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    for (name, service, prefix, port) in [
        ("www.test", "http", "_http._tcp", Some(80)),
        ("far.test", "http", "_http._tcp", Some(80)),
        ("im.test", "_xmpp-client._tcp", "_xmpp-client._tcp", Some(5222)),
        ("web.test", "https", "_https._tcp", Some(443)),
        ("multi.test", "https", "_https._tcp", Some(443)),
        ("site.test", "https", "_https._tcp", Some(443)),
        ("a.wild.test", "http", "_http._tcp", Some(80)),
    ] {
        let (chain, proof, answer) = proven(&broker, &dns.anchors, name, service).await;
        assert!(chain.len() < 8192, "{name}: {}", chain.len());
        assert!(proof.valid_until() > now() && proof.valid_until() <= now() + 86_400);
        for connection in &answer.connections {
            assert!(
                proof.supports(name, Some(prefix), port, connection.address, connection.port),
                "{name}: {connection:?} {:?}",
                proof.proven()
            );
        }
        assert!(!proof.supports(name, Some(prefix), port, "192.0.2.254".parse().unwrap(), 443));
        assert!(!proof.supports(name, Some(prefix), port, answer.connections[0].address, 4));
        assert!(!proof.supports(
            "other.test",
            Some(prefix),
            port,
            answer.connections[0].address,
            answer.connections[0].port
        ));
    }
}

#[tokio::test]
async fn without_a_proof_there_is_an_answer_without_advice() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    for name in ["www.insecure", "alias.insecure", "web.insecure"] {
        let mut question = Question::new(name, Some("http"), None);
        question.prove = true;
        let answer = broker.connect(&question).await;
        assert_eq!(answer.status, Status::Success);
        assert!(answer.advice.is_none(), "{name}");
        assert!(!answer.connections.is_empty());
    }
}

#[tokio::test]
async fn wildcards_are_proven_by_nsec3_too() {
    let dns = Dns::with(&[], true).await;
    let broker = dns.broker("", &[]);
    let (_, proof, _) = proven(&broker, &dns.anchors, "a.wild.test", "http").await;
    assert_eq!(proof.addresses("a.wild.test"), ["192.0.2.77".parse::<std::net::IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_proof_that_was_touched_is_refused() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    let (chain, _, _) = proven(&broker, &dns.anchors, "im.test", "_xmpp-client._tcp").await;
    // Each octet in turn. TTLs are not signed as such, and the case of names is not either.
    let mut accepted = 0;
    for at in 0..chain.len() {
        let mut touched = chain.clone();
        touched[at] ^= 0x41;
        if let Ok(proof) = proof::verify(&touched, &dns.anchors, now()) {
            accepted += 1;
            for (target, last) in [("x1.test", 11), ("x2.test", 12)] {
                let address = std::net::Ipv4Addr::new(192, 0, 2, last);
                assert!(
                    proof.addresses(target).is_empty() || proof.addresses(target) == [std::net::IpAddr::V4(address)]
                );
            }
        }
    }
    assert!(accepted <= 4 * 40, "{accepted} of {} octets may be changed", chain.len());
    for cut in 0..chain.len() {
        if let Ok(proof) = proof::verify(&chain[..cut], &dns.anchors, now()) {
            panic!("{cut} octets prove {:?}", proof.proven());
        }
    }
}

#[tokio::test]
async fn proofs_need_their_anchor_and_their_time() {
    let dns = Dns::start().await;
    let other = Dns::start().await;
    let broker = dns.broker("", &[]);
    let (chain, proof, _) = proven(&broker, &dns.anchors, "www.test", "http").await;
    assert_eq!(proof::verify(&chain, &other.anchors, now()).unwrap_err(), ProofError::NoAnchor);
    assert_eq!(proof::verify(&chain, &Anchors::root(), now()).unwrap_err(), ProofError::NoAnchor);
    assert!(matches!(proof::verify(&chain, &dns.anchors, proof.valid_until() + 2), Err(ProofError::NotNow { .. })));
    assert!(matches!(proof::verify(&chain, &dns.anchors, now() - 86_400), Err(ProofError::NotNow { .. })));
    assert_eq!(proof::verify(&[], &dns.anchors, now()).unwrap_err(), ProofError::NoAnchor);
    assert_eq!(proof::verify(&vec![0; 70_000], &dns.anchors, now()).unwrap_err(), ProofError::TooLong);
    // Another reader of RFC 9102 chains takes it apart as well.
    assert!(dnssec_prover::ser::parse_rr_stream(&chain).unwrap().len() >= 8);
}
