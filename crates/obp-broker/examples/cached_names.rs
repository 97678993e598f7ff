//! What cached names cost: memory for each, and time for each question that memory answers.
//!
//! `cargo run --release -p obp-broker --example cached_names [NAMES]`
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::sync::Arc;
use std::time::Instant;

use obp_broker::connect::{Broker, BrokerConfig, Question};
use obp_broker::policy::{Policy, PolicyStore};
use obp_broker::sources::{
    BoxFuture, Lookup, Outcome, Query, RecordKind, Records, Resolver, ResolverConfig, Security, ServiceBinding, Source,
    SourceError,
};
use obp_broker::validate::{CrlStore, Roots, Validator, ValidatorConfig};
use obp_broker::{Clock, SystemClock};

/// Every name has two addresses of each family and an HTTPS record, and no SRV.
#[derive(Debug)]
struct Everything;

impl Source for Everything {
    fn lookup<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Lookup, SourceError>> {
        let outcome = match query.kind {
            RecordKind::A => {
                Outcome::Found(Records::A([[192, 0, 2, 1], [192, 0, 2, 2]].map(Into::into).into_iter().collect()))
            }
            RecordKind::Aaaa => Outcome::Found(Records::Aaaa(
                [[0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]]
                    .map(Into::into)
                    .into_iter()
                    .collect(),
            )),
            RecordKind::Https => {
                let mut binding = ServiceBinding::default();
                binding.priority = 1;
                binding.alpn = Box::new(["h2".into(), "h3".into()]);
                Outcome::Found(Records::Bindings(Box::new([binding])))
            }
            _ => Outcome::NoData,
        };
        Box::pin(async move { Ok(Lookup::new(outcome, Security::Insecure, 86_400)) })
    }
}

/// Resident memory of this process, in octets.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or_default();
    pages * 4096
}

fn main() {
    let names: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let resolver = Resolver::new(Arc::new(Everything), Arc::clone(&clock), ResolverConfig::default());
    let validator = Validator::new(Roots::none(), Arc::new(CrlStore::new()), clock, ValidatorConfig::default());
    let mut config = BrokerConfig::default();
    config.answers = names + names / 8;
    let broker = Broker::new(resolver, Arc::new(PolicyStore::of(Policy::default())), validator, config);

    let all: Vec<String> = (0..names).map(|n| format!("www.host-{n}.example.com")).collect();
    let before = resident();
    let began = Instant::now();
    for name in &all {
        runtime.block_on(broker.connect(&Question::new(name, Some("_http._tcp"), Some(80))));
    }
    let cold = began.elapsed();
    let used = resident() - before;
    println!(
        "{} ready answers and {} record sets: {:.1} MiB, {} octets for each name",
        broker.answers(),
        broker.resolver().cached(),
        used as f64 / f64::from(1 << 20),
        used / names as u64
    );
    println!("cold, without the network: {:.1} us for each", cold.as_secs_f64() * 1e6 / names as f64);

    for round in 1..=5 {
        let began = Instant::now();
        let mut connections = 0;
        let rounds = 10;
        for _ in 0..rounds {
            for name in &all {
                let question = Question::new(name, Some("_http._tcp"), Some(80));
                connections += broker.cached(&question).map_or(0, |answer| answer.connections.len());
            }
        }
        let each = began.elapsed().as_secs_f64() / (rounds * names) as f64;
        println!(
            "round {round}: cached {:.0} ns for each, {:.0} each second, {connections} connections",
            each * 1e9,
            1.0 / each
        );
    }
}
