//! The DNS as a source.

use std::time::{Duration, Instant};

use obp_broker::DomainName;
use obp_broker::sources::{RecordKind, Records, Resolved, Resolver, Security, SourceError, Validation};

use super::server::Dns;

async fn ask(resolver: &Resolver, text: &str, kind: RecordKind) -> Result<Resolved, SourceError> {
    resolver.resolve(&DomainName::parse(text).unwrap(), kind, false).await
}

fn addresses(resolved: &Resolved) -> Vec<String> {
    match &resolved.records {
        Some(Records::A(all)) => all.iter().map(ToString::to_string).collect(),
        Some(Records::Aaaa(all)) => all.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn signed_answers_are_secure_and_unsigned_ones_are_not() {
    let dns = Dns::start().await;
    let resolver = dns.resolver();
    let www = ask(&resolver, "www.test", RecordKind::A).await.unwrap();
    assert_eq!(www.security, Security::Secure);
    let mut all = addresses(&www);
    all.sort();
    assert_eq!(all, ["192.0.2.1", "192.0.2.2"]);
    let child = ask(&resolver, "host.sub.test", RecordKind::Aaaa).await.unwrap();
    assert_eq!((child.security, addresses(&child)), (Security::Secure, vec!["2001:db8::50".to_owned()]));
    let insecure = ask(&resolver, "www.insecure", RecordKind::A).await.unwrap();
    assert_eq!((insecure.security, addresses(&insecure)), (Security::Insecure, vec!["203.0.113.1".to_owned()]));
}

#[tokio::test]
async fn aliases_across_zones_are_as_secure_as_their_weakest_step() {
    let dns = Dns::start().await;
    let resolver = dns.resolver();
    let far = ask(&resolver, "far.test", RecordKind::A).await.unwrap();
    assert_eq!((far.security, addresses(&far)), (Security::Secure, vec!["192.0.2.50".to_owned()]));
    assert_eq!(far.owner().as_str(), "host.sub.test");
    let weak = ask(&resolver, "alias.insecure", RecordKind::A).await.unwrap();
    assert_eq!(weak.security, Security::Insecure);
    assert_eq!(ask(&resolver, "loop1.test", RecordKind::A).await, Err(SourceError::AliasLoop));
    let nowhere = ask(&resolver, "nowhere.test", RecordKind::A).await.unwrap();
    assert!(nowhere.non_existent && nowhere.records.is_none());
}

#[tokio::test]
async fn every_kind_of_no() {
    let mut dns = Dns::start().await;
    let resolver = dns.resolver();
    let none = ask(&resolver, "missing.test", RecordKind::A).await.unwrap();
    assert!(none.non_existent);
    assert_eq!(none.security, Security::Secure, "denied by NSEC");
    let empty = ask(&resolver, "empty.test", RecordKind::A).await.unwrap();
    assert!(!empty.non_existent && empty.records.is_none());
    assert_eq!(empty.security, Security::Secure);
    let insecure = ask(&resolver, "missing.insecure", RecordKind::A).await.unwrap();
    assert_eq!((insecure.non_existent, insecure.security), (true, Security::Insecure));
    assert_eq!(ask(&resolver, "x.servfail", RecordKind::A).await, Err(SourceError::ServerFailure));
    dns.patience = Duration::from_millis(300);
    let began = Instant::now();
    assert_eq!(ask(&dns.resolver(), "x.silent", RecordKind::A).await, Err(SourceError::TimedOut));
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn wildcards_are_expanded_with_proof() {
    for nsec3 in [false, true] {
        let dns = Dns::with(&[], nsec3).await;
        let resolver = dns.resolver();
        let wild = ask(&resolver, "a.wild.test", RecordKind::A).await.unwrap();
        assert_eq!((wild.security, addresses(&wild)), (Security::Secure, vec!["192.0.2.77".to_owned()]));
        assert!(ask(&resolver, "a.wild.test", RecordKind::Aaaa).await.unwrap().records.is_none());
        assert!(ask(&resolver, "b.c.wild.test", RecordKind::A).await.unwrap().records.is_some());
    }
}

#[tokio::test]
async fn nsec3_denies_as_well() {
    let dns = Dns::with(&[], true).await;
    let resolver = dns.resolver();
    let none = ask(&resolver, "missing.test", RecordKind::A).await.unwrap();
    assert_eq!((none.non_existent, none.security), (true, Security::Secure));
}

#[tokio::test]
async fn other_anchors_make_everything_bogus_unless_validation_is_off() {
    let dns = Dns::start().await;
    let other = Dns::start().await;
    let config = dns.config().with_anchors(other.anchors.clone());
    let over = |validation| {
        let source = obp_broker::sources::DnsSource::new(&config.clone().with_validation(validation)).unwrap();
        let clock = std::sync::Arc::new(obp_broker::SystemClock::start());
        Resolver::new(std::sync::Arc::new(source), clock, Default::default())
    };
    assert_eq!(ask(&over(Validation::Strict), "www.test", RecordKind::A).await, Err(SourceError::Bogus));
    assert_eq!(ask(&over(Validation::Permissive), "www.test", RecordKind::A).await, Err(SourceError::Bogus));
    let off = ask(&over(Validation::Off), "www.test", RecordKind::A).await.unwrap();
    assert_eq!(off.security, Security::Insecure);
    // Without signatures there is nothing to be wrong: permissive takes it, strict does not.
    assert_eq!(ask(&over(Validation::Strict), "www.insecure", RecordKind::A).await, Err(SourceError::Bogus));
    let permissive = ask(&over(Validation::Permissive), "www.insecure", RecordKind::A).await.unwrap();
    assert_eq!(permissive.security, Security::Insecure);
    assert!(ask(&over(Validation::Permissive), "missing.insecure", RecordKind::A).await.unwrap().non_existent);
}

#[tokio::test]
async fn a_second_name_of_a_zone_costs_one_question() {
    let dns = Dns::start().await;
    let resolver = dns.resolver();
    ask(&resolver, "www.test", RecordKind::A).await.unwrap();
    let cold = dns.questions();
    ask(&resolver, "im.test", RecordKind::A).await.unwrap();
    assert_eq!(dns.questions() - cold, 1, "keys and digests are remembered; the first name cost {cold}");
    ask(&resolver, "im.test", RecordKind::A).await.unwrap();
    assert_eq!(dns.questions() - cold, 1);
}
