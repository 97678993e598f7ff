//! Chains that others made, of real zones, and the drafts' own messages.

use std::path::PathBuf;

use obp_broker::proof::{self, Anchors, ProofError};
use obp_proto::message::{QueryConnectRequest, ValidateRequest};
use obp_proto::{Encoding, Limits, Message, Status};

use super::server::Dns;

const THEN: i64 = 1_786_020_000;

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/obp").join(name)).unwrap()
}

#[test]
fn chains_of_real_zones_are_proven() {
    for (file, name, kind) in [
        ("single_txt", "matt.user._bitcoin-payment.mattcorallo.com.", "TXT"),
        ("multi_zone", "cname_test.dnssec_proof_tests.bitcoin.ninja.", "CNAME"),
        ("wildcard", "asdf.wildcard_test.dnssec_proof_tests.bitcoin.ninja.", "TXT"),
    ] {
        let chain = vector(&format!("chains/{file}.bin"));
        let proof = proof::verify(&chain, &Anchors::root(), THEN).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(proof.proven().contains(&(name.to_owned(), kind.to_owned())), "{file}: {:?}", proof.proven());
        assert!(proof.valid_until() > THEN);
        assert!(matches!(proof::verify(&chain, &Anchors::root(), THEN + 30 * 86_400), Err(ProofError::NotNow { .. })));
        assert!(matches!(proof::verify(&chain, &Anchors::root(), THEN - 30 * 86_400), Err(ProofError::NotNow { .. })));
    }
}

/// The zone has `*.wildcard_test` and `override.wildcard_test`; the bad ones show the wrong denial, or a name that the
/// wildcard does not reach.
#[test]
fn wildcards_are_proven_by_the_right_denial_alone() {
    for file in ["a.o-good", "z-good"] {
        proof::verify(&vector(&format!("chains/nsec-{file}.bin")), &Anchors::root(), THEN).unwrap();
    }
    for file in ["a.o-bad", "z-bad", "override-bad", "b.override-bad"] {
        let error = proof::verify(&vector(&format!("chains/nsec-{file}.bin")), &Anchors::root(), THEN).unwrap_err();
        assert!(matches!(error, ProofError::Wildcard { .. }), "{file}: {error}");
    }
}

#[test]
fn a_wildcard_without_its_denial_proves_nothing() {
    let chain = vector("chains/wildcard.bin");
    // Cut the chain where the first NSEC3 begins: its type and class behind the owner's name.
    let mark = chain.windows(4).position(|window| window == [0, 50, 0, 1]).unwrap();
    let owner = chain[..mark].windows(2).rposition(|window| window[0] == 32).unwrap();
    let error = proof::verify(&chain[..owner], &Anchors::root(), THEN).unwrap_err();
    assert!(matches!(error, ProofError::Wildcard { .. }), "{error}");
}

#[tokio::test]
async fn the_drafts_messages_are_answered() {
    let dns = Dns::start().await;
    let broker = dns.broker("[[rule]]\nname = \"blocked.test\"\naction = \"deny\"\nreason = \"curated\"\n", &[]);
    let lenient = |name: &str| {
        let octets = vector(&format!("exchanges/{name}.json"));
        Message::decode(&octets, Encoding::Json, &Limits::default()).unwrap()
    };
    let Message::ValidateRequest(request) = lenient("validate-request") else { panic!() };
    let response = broker.query_validate(&request).await;
    assert_eq!(response.status, Status::DANGER);
    assert!(response.status_description.unwrap().contains("SHA-1"));
    assert_eq!(broker.query_validate(&ValidateRequest::default()).await.status, Status::SYNTAX);

    let Message::QueryConnectRequest(mut request) = lenient("query-connect-request") else { panic!() };
    request.identifier.as_mut().unwrap().name = "Web.test".parse().unwrap();
    let message = Message::QueryConnectRequest(request.clone());
    let Some(Message::QueryConnectResponse(response)) = broker.answer(None, &message).await else { panic!() };
    let ports: Vec<u16> = response.connection.iter().map(|one| one.ip_port.unwrap().get()).collect();
    assert_eq!((response.status, ports), (Status::SUCCESS, vec![443, 443, 80, 80]));
    assert_eq!(response.connection[0].transport_policy.as_ref().unwrap().as_str(), "TLS=Optional");
    assert_eq!(response.connection[0].protocol_policy.as_ref().unwrap().as_str(), "alpn=h2,h3");
    request.identifier.as_mut().unwrap().name = "blocked.test".parse().unwrap();
    let response = broker.query_connect(None, &request).await;
    assert_eq!((response.status, response.status_description.as_deref()), (Status::REFUSED, Some("curated")));
    assert!(response.connection.is_empty());
    assert_eq!(broker.query_connect(None, &QueryConnectRequest::default()).await.status, Status::SYNTAX);
}
