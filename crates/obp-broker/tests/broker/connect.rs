//! Connection lists.

use obp_broker::Status;
use obp_broker::connect::{Answer, Broker, Question, TlsPolicy, Transport};

use super::server::Dns;

/// Each connection in one line: `tls 192.0.2.20:443 required alpn=h2`.
fn list(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, Status::Success, "{:?}", answer.description);
    let line = |one: &obp_broker::connect::Connection| {
        let transport = if one.transport == Transport::Tls { "tls" } else { "raw" };
        let tls = match one.tls {
            TlsPolicy::Required => " required",
            TlsPolicy::Optional => " optional",
            _ => "",
        };
        let policy = one.protocol_policy.as_deref().map(|policy| format!(" {policy}")).unwrap_or_default();
        format!("{transport} {}{tls}{policy}", std::net::SocketAddr::new(one.address, one.port))
    };
    answer.connections.iter().map(line).collect()
}

async fn ask(broker: &Broker, name: &str, service: &str) -> std::sync::Arc<Answer> {
    broker.connect(&Question::new(name, Some(service), None)).await
}

#[tokio::test]
async fn a_host_lists_its_addresses_ipv6_first_in_turns() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    let answer = ask(&broker, "WWW.test.", "_http._tcp").await;
    let mut found = list(&answer);
    assert_eq!(found.remove(0), "raw [2001:db8::1]:80");
    found.sort();
    assert_eq!(found, ["raw 192.0.2.1:80", "raw 192.0.2.2:80"]);
    assert_eq!((answer.index, answer.count), (1, 1));
    assert_eq!(
        list(&*ask(&broker, "far.test", "https").await),
        ["tls [2001:db8::50]:443 required", "tls 192.0.2.50:443 required"]
    );
    let port = broker.connect(&Question::new("x1.test", None, Some(12_345))).await;
    assert_eq!(list(&port), ["raw 192.0.2.11:12345"]);
}

#[tokio::test]
async fn https_records_come_first_with_ports_protocols_and_hints() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    assert_eq!(
        list(&*ask(&broker, "web.test", "_http").await),
        [
            "tls [2001:db8::20]:443 optional alpn=h2,h3",
            "tls 192.0.2.20:443 optional alpn=h2,h3",
            "raw [2001:db8::20]:80",
            "raw 192.0.2.20:80",
        ]
    );
    // Hints stand in only where the host has nothing of that family; backup has its own port.
    assert_eq!(
        list(&*ask(&broker, "multi.test", "https").await),
        [
            "tls [2001:db8::30]:443 required alpn=h3,h2",
            "tls 192.0.2.31:443 required alpn=h3,h2",
            "tls 192.0.2.32:8443 required alpn=h2",
            "tls 192.0.2.30:443 required",
        ]
    );
    let other = broker.connect(&Question::new("web.test", Some("https"), Some(8080))).await;
    assert_eq!(list(&other)[..2], ["tls [2001:db8::20]:8444 required", "tls 192.0.2.20:8444 required"]);
}

#[tokio::test]
async fn alias_mode_is_followed_and_its_ends_are_known() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    assert_eq!(
        list(&*ask(&broker, "site.test", "https").await),
        ["tls 192.0.2.51:443 required alpn=h2"],
        "the alias's own addresses, not the name's"
    );
    let looped = ask(&broker, "aloop1.test", "https").await;
    assert_eq!((looped.status, looped.connections.len()), (Status::ServerFailure, 0));
    assert_eq!(ask(&broker, "closed.test", "https").await.status, Status::NonExistentDomain);
    // A record that demands what is not understood does not count.
    assert_eq!(list(&*ask(&broker, "strange.test", "https").await), ["tls 192.0.2.42:443 required"]);
}

#[tokio::test]
async fn srv_goes_by_priority_and_weight() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    let mut first = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..40 {
        let found = list(&*ask(&broker, "im.test", "_xmpp-client._tcp").await);
        assert_eq!(found.len(), 4);
        assert_eq!(found[2..], ["raw [2001:db8::50]:5223", "raw 192.0.2.50:5223"], "the higher number goes last");
        *first.entry(found[0].clone()).or_default() += 1;
    }
    assert_eq!(first.len(), 2, "chance has a say even in cached answers: {first:?}");
    assert_eq!(ask(&broker, "none.test", "_imap._tcp").await.status, Status::NonExistentDomain);
    // Without records, the usual port of the name itself.
    assert_eq!(list(&*ask(&broker, "x1.test", "imaps").await), ["tls 192.0.2.11:993 required"]);
    assert_eq!(ask(&broker, "x1.test", "_nobody-knows").await.status, Status::NonExistentDomain);
}

#[tokio::test]
async fn peers_are_found_by_srv_alone() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    let mut question = Question::new("im.test", Some("_xmpp-client._tcp"), None);
    question.peer = Some("alice");
    assert_eq!(list(&*broker.connect(&question).await).len(), 4);
    let mut question = Question::new("www.test", Some("_xmpp-client._tcp"), None);
    question.peer = Some("alice");
    assert_eq!(broker.connect(&question).await.status, Status::NotImplemented);
}

#[tokio::test]
async fn failures_have_their_own_status_and_no_connections() {
    let mut dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    for (name, service, status) in [
        ("missing.test", "http", Status::NonExistentDomain),
        ("empty.test", "http", Status::NonExistentDomain),
        ("x.servfail", "http", Status::ServerFailure),
        ("loop1.test", "http", Status::ServerFailure),
        ("", "http", Status::Syntax),
        ("192.0.2.1", "http", Status::Syntax),
        ("www.test", "no service", Status::Syntax),
        ("bücher.test", "http", Status::Syntax),
    ] {
        let answer = ask(&broker, name, service).await;
        assert_eq!((answer.status, answer.connections.len()), (status, 0), "{name}: {:?}", answer.description);
        assert!(answer.description.is_some());
    }
    dns.patience = std::time::Duration::from_millis(300);
    assert_eq!(ask(&dns.broker("", &[]), "x.silent", "http").await.status, Status::TimeOut);
    let neither = broker.connect(&Question::new("www.test", None, None)).await;
    assert_eq!(neither.status, Status::Syntax);
}

#[tokio::test]
async fn the_policy_refuses_without_telling_addresses() {
    let dns = Dns::start().await;
    let broker = dns.broker(
        r#"
        [[rule]]
        name = "www.test"
        action = "deny"
        reason = "known malware"
        [[rule]]
        address = "198.51.100.0/24"
        action = "deny"
        reason = "botnet"
        [[rule]]
        name = "im.test"
        action = "deny"
        account = "guest"
        reason = "not for guests"
        [[rule]]
        name = "x1.test"
        action = "deny"
        reason = "that host"
        "#,
        &["$ORIGIN rpz.test.\nnone.test CNAME .\nweb.test CNAME x2.test.\n32.32.2.0.192.rpz-ip CNAME *.\nmulti.test CNAME rpz-passthru.\n"],
    );
    let refused = |answer: &Answer, reason: &str| {
        assert_eq!((answer.status, answer.connections.len()), (Status::Refused, 0));
        assert_eq!(answer.description.as_deref(), Some(reason));
        assert!(answer.advice.is_none());
    };
    refused(&*ask(&broker, "www.test", "http").await, "known malware");
    refused(&*ask(&broker, "alias.test", "http").await, "known malware");
    refused(&*ask(&broker, "bad.test", "http").await, "botnet");
    refused(&*ask(&broker, "none.test", "http").await, "refused by the policy zone rpz.test: NXDOMAIN");
    refused(&*ask(&broker, "backup.test", "http").await, "refused by the policy zone rpz.test: NODATA");
    assert_eq!(list(&*ask(&broker, "web.test", "http").await), ["raw 192.0.2.12:80"], "a walled garden");
    assert_eq!(list(&*ask(&broker, "multi.test", "https").await).len(), 4, "passed through with its addresses");
    // One denied host of several is left out.
    let services = list(&*ask(&broker, "im.test", "_xmpp-client._tcp").await);
    assert_eq!(services.len(), 3);
    assert!(!services.iter().any(|one| one.contains("192.0.2.11")));
    let mut guest = Question::new("im.test", Some("_xmpp-client._tcp"), None);
    guest.account = Some("guest");
    refused(&*broker.connect(&guest).await, "not for guests");
    guest.account = Some("alice");
    assert_eq!(list(&*broker.connect(&guest).await).len(), 3);
}

#[tokio::test]
async fn an_upgrade_puts_tls_in_the_place_of_plain_text() {
    let dns = Dns::start().await;
    let broker = dns.broker("[[rule]]\nsuffix = \"test\"\naction = \"upgrade\"\n", &[]);
    assert_eq!(list(&*ask(&broker, "x1.test", "http").await), ["tls 192.0.2.11:443 required"]);
    assert_eq!(
        list(&*ask(&broker, "web.test", "http").await),
        ["tls [2001:db8::20]:443 required alpn=h2,h3", "tls 192.0.2.20:443 required alpn=h2,h3"]
    );
    assert_eq!(list(&*ask(&broker, "x1.test", "smtp").await), ["raw 192.0.2.11:25 required"], "within the connection");
    assert!(list(&*ask(&broker, "im.test", "xmpp-client").await).iter().all(|one| one.ends_with("required")));
}

#[tokio::test]
async fn acceptable_policies_are_met_or_nothing_is_said() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    let wanted = ["2.23.140.1.1".to_owned(), "DNSSEC".to_owned()];
    let mut question = Question::new("www.test", Some("http"), None);
    question.policies = &wanted;
    let answer = broker.connect(&question).await;
    assert_eq!(answer.policies.iter().map(|policy| &**policy).collect::<Vec<_>>(), ["DNSSEC"]);
    question.name = "www.insecure";
    let answer = broker.connect(&question).await;
    assert_eq!((answer.status, answer.connections.len()), (Status::PolicyViolation, 0));
}

#[tokio::test]
async fn answers_are_cached_shared_and_forgotten_with_the_policy() {
    let dns = Dns::start().await;
    let broker = dns.broker("", &[]);
    let question = Question::new("x1.test", Some("http"), None);
    assert!(broker.cached(&question).is_none());
    let all = futures_util::future::join_all((0..20).map(|_| broker.connect(&question))).await;
    let cold = dns.questions();
    assert!(all.iter().all(|answer| std::sync::Arc::ptr_eq(answer, &all[0])));
    let same = Question::new("X1.Test.", Some("http"), None);
    assert!(std::sync::Arc::ptr_eq(&broker.cached(&same).unwrap(), &all[0]), "one answer for every spelling");
    assert_eq!(dns.questions(), cold);
    let rules = obp_broker::policy::RuleSet::parse("[[rule]]\nname = \"x1.test\"\naction = \"deny\"\n", "p").unwrap();
    broker.policy().replace(obp_broker::policy::Policy::new(rules, vec![]));
    assert!(broker.cached(&question).is_none());
    assert_eq!(broker.connect(&question).await.status, Status::Refused);
}

#[tokio::test]
async fn the_index_selects_one_of_several_answers() {
    let dns = Dns::start().await;
    let mut extra = Vec::new();
    for last in 1..=40_u8 {
        let address = std::net::Ipv4Addr::new(10, 0, 0, last);
        extra.push(hickory_proto::rr::Record::from_rdata(
            super::server::name("many.test"),
            60,
            hickory_proto::rr::RData::A(address.into()),
        ));
        extra.push(hickory_proto::rr::Record::from_rdata(
            super::server::name("many.test"),
            60,
            hickory_proto::rr::RData::AAAA(format!("2001:db8::{last}").parse::<std::net::Ipv6Addr>().unwrap().into()),
        ));
    }
    drop(dns);
    let dns = Dns::with(&extra, false).await;
    let broker = {
        use obp_broker::connect::BrokerConfig;
        use obp_broker::policy::{Policy, PolicyStore};
        use obp_broker::validate::{CrlStore, Roots, Validator};
        let mut config = BrokerConfig::default();
        config.connections = 6;
        config.anchors = dns.anchors.clone();
        let clock = std::sync::Arc::new(obp_broker::SystemClock::start());
        let validator = Validator::new(Roots::none(), std::sync::Arc::new(CrlStore::new()), clock, Default::default());
        Broker::new(dns.resolver(), std::sync::Arc::new(PolicyStore::of(Policy::default())), validator, config)
    };
    let mut question = Question::new("many.test", Some("ssh"), None);
    let first = broker.connect(&question).await;
    assert_eq!((first.index, first.count, first.connections.len()), (1, 3, 6));
    question.index = Some(0);
    assert_eq!(broker.connect(&question).await, first);
    question.index = Some(3);
    let third = broker.connect(&question).await;
    assert_eq!((third.index, third.count, third.connections.len()), (3, 3, 4));
    question.index = Some(4);
    assert_eq!(broker.connect(&question).await.status, Status::Syntax);
}

/// Answers while it is told to, and is silent or forges otherwise.
#[derive(Debug)]
struct Moody(std::sync::Mutex<Option<obp_broker::sources::SourceError>>);

impl obp_broker::sources::Source for Moody {
    fn lookup<'a>(
        &'a self,
        query: &'a obp_broker::sources::Query,
    ) -> obp_broker::sources::BoxFuture<'a, Result<obp_broker::sources::Lookup, obp_broker::sources::SourceError>> {
        use obp_broker::sources::{Lookup, Outcome, RecordKind, Records, Security};
        let outcome = match query.kind {
            RecordKind::A => Outcome::Found(Records::A(Box::new([[192, 0, 2, 9].into()]))),
            _ => Outcome::NoData,
        };
        let mood = *self.0.lock().unwrap();
        Box::pin(async move {
            match mood {
                Some(error) => Err(error),
                None => Ok(Lookup::new(outcome, Security::Insecure, 60)),
            }
        })
    }
}

#[tokio::test]
async fn an_old_answer_stands_in_for_silence_but_not_for_forgery() {
    use obp_broker::policy::{Policy, PolicyStore};
    use obp_broker::sources::{Resolver, ResolverConfig, SourceError};
    use obp_broker::validate::{CrlStore, Roots, Validator};
    use std::sync::Arc;
    let clock = Arc::new(obp_broker::ManualClock::default());
    let moody = Arc::new(Moody(None.into()));
    // The record sets are gone at once: the answer itself must do.
    let mut small = ResolverConfig::default();
    small.stale = std::time::Duration::ZERO;
    let resolver = Resolver::new(moody.clone(), clock.clone(), small);
    let validator = Validator::new(Roots::none(), Arc::new(CrlStore::new()), clock.clone(), Default::default());
    let policy = Arc::new(PolicyStore::of(Policy::default()));
    let broker = Broker::new(resolver, policy, validator, Default::default());
    let answer = ask(&broker, "a.test", "ssh").await;
    assert_eq!(list(&answer), ["raw 192.0.2.9:22"]);
    let set = |mood| *moody.0.lock().unwrap() = mood;
    set(Some(SourceError::TimedOut));
    clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(ask(&broker, "a.test", "ssh").await, answer);
    let question = Question::new("a.test", Some("ssh"), None);
    assert!(broker.cached(&question).is_some(), "it counts again for half a minute");
    clock.advance(std::time::Duration::from_secs(31));
    assert!(broker.cached(&question).is_none());
    set(Some(SourceError::Bogus));
    assert_eq!(ask(&broker, "a.test", "ssh").await.status, Status::ServerFailure);
    set(Some(SourceError::TimedOut));
    clock.advance(std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(ask(&broker, "a.test", "ssh").await.status, Status::TimeOut, "too old");
}
