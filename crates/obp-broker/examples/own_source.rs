//! A broker over a source of one's own in place of the DNS, with a policy: what is asked, what is refused and why.
//!
//! `cargo run -p obp-broker --example own_source`
#![allow(clippy::print_stdout, reason = "an example says what it does")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use obp_broker::connect::{Broker, BrokerConfig, Question};
use obp_broker::policy::{Policy, PolicyStore, RuleSet};
use obp_broker::sources::{
    BoxFuture, Lookup, Outcome, Query, RecordKind, Records, Resolver, ResolverConfig, Security, Source, SourceError,
};
use obp_broker::validate::{CrlStore, Roots, Validator, ValidatorConfig};
use obp_broker::{Clock, SystemClock};

/// An inventory: every host has one address. A resolver of yours, a database or a cache would stand here.
#[derive(Debug)]
struct Inventory;

impl Source for Inventory {
    fn lookup<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Lookup, SourceError>> {
        let outcome = match query.kind {
            RecordKind::A => Outcome::Found(Records::A([Ipv4Addr::new(192, 0, 2, 1)].into_iter().collect())),
            _ => Outcome::NoData,
        };
        // `Security` says what the source knows about DNSSEC; 300 seconds are kept in memory.
        Box::pin(async move { Ok(Lookup::new(outcome, Security::Insecure, 300)) })
    }
}

const POLICY: &str = r#"
[[rule]]
suffix = "blocked.example.com"
action = "deny"
reason = "known malware"
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let resolver = Resolver::new(Arc::new(Inventory), Arc::clone(&clock), ResolverConfig::default());
    let policy = Policy::new(RuleSet::parse(POLICY, "policy.toml")?, Vec::new());
    let validator = Validator::new(Roots::none(), Arc::new(CrlStore::new()), clock, ValidatorConfig::default());
    let broker = Broker::new(resolver, Arc::new(PolicyStore::of(policy)), validator, BrokerConfig::default());

    let mut found = Vec::new();
    for name in ["www.example.com", "cdn.blocked.example.com"] {
        let answer = broker.connect(&Question::new(name, Some("_http._tcp"), Some(80))).await;
        println!("{name}: {:?}, {}", answer.status, answer.description.as_deref().unwrap_or("no reason"));
        for connection in &answer.connections {
            println!("  {}:{}", connection.address, connection.port);
        }
        found.push(answer.connections.len());
    }
    if found == [1, 0] { Ok(()) } else { Err(format!("other answers: {found:?}").into()) }
}
