//! All services for a long time: mixed load, kills, orderly ends and reloads at moments that a seed decides; then load
//! alone. Nothing acknowledged is lost, memory stays flat, no descriptor and no task stays behind.
//!
//! `WATCHFIRE_SOAK_SECONDS` says how long (40 when it is not set, half of it storm, half of it calm), `WATCHFIRE_SOAK_SEED`
//! which moments.

mod load;
mod site;
mod watch;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_tests::PATIENCE;

use crate::load::Load;
use crate::site::Place;
use crate::watch::Sample;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What may be above the level at rest without being a leak: kept-alive connections, a timer that is about to end.
const SLACK: i64 = 8;

#[test]
fn all_services_hold_out() {
    let seconds = setting("WATCHFIRE_SOAK_SECONDS", 40);
    let mut rng = StdRng::seed_from_u64(setting("WATCHFIRE_SOAK_SEED", 1));
    let mut place = Place::start();
    let load = Load::start(&place);

    let (storm, began, mut did) = (Duration::from_secs(seconds / 2), Instant::now(), [0_u32; 5]);
    let mut left = Vec::new();
    while began.elapsed() < storm || did.contains(&0) {
        // More seldom in a long run, so that each life of a process is one that can leak.
        std::thread::sleep(Duration::from_millis(rng.random_range(500..2_000 + seconds * 20)));
        if left.is_empty() {
            left.extend(0..did.len());
        }
        let what = left.swap_remove(rng.random_range(0..left.len()));
        match what {
            0 => place.hub.kill_and_restart(),
            1 => place.edge.kill_and_restart(),
            2 => place.hub.end_and_restart(),
            3 => place.edge.end_and_restart(),
            _ => [&place.hub, &place.edge].iter().for_each(|process| process.reload()),
        }
        did[what] += 1;
    }
    eprintln!("storm: killed {} and {}, ended {} and {}, reloaded {} times", did[0], did[1], did[2], did[3], did[4]);
    eprintln!("load in the storm: {}", load.summary());

    // Over DTLS nothing tells the edge that the hub was killed: it would find that out by heartbeats, after minutes.
    place.edge.end_and_restart();
    // The level at rest, in the processes that stay from now on.
    load.pause();
    place.settle();
    let processes = |place: &Place| [&place.hub, &place.edge, &place.ca].map(Sample::of);
    let rest = processes(&place);
    load.resume_counting_failures();
    let (calm, began, mut samples) = (Duration::from_secs(seconds - seconds / 2), Instant::now(), Vec::new());
    while began.elapsed() < calm {
        std::thread::sleep((calm / 40).max(Duration::from_millis(200)));
        samples.push(processes(&place));
    }
    eprintln!("load in the calm: {}", load.summary());
    let failures = load.stop();
    assert!(failures.is_empty(), "with nothing to disturb them, these failed: {failures:?}\n{}", place.logs());

    let written = load.alerts();
    place.wait_until("all alerts are stored", || place.count_alerts() >= written);
    let stored = place.alerts();
    let different: BTreeSet<&str> =
        stored.iter().filter_map(|alert| alert["alert"]["Alert"][0]["messageid"].as_str()).collect();
    assert_eq!(different.len() as u64, written, "alerts were lost");
    assert_eq!(stored.len() as u64, written, "alerts were stored twice");
    place.check_certificate();
    for process in [&place.hub, &place.edge, &place.ca] {
        let log = process.log();
        assert!(!log.contains("panicked") && !log.contains("broke down"), "{}: {log}", process.name);
    }

    for (at, process) in [&place.hub, &place.edge, &place.ca].into_iter().enumerate() {
        let of = |samples: &[[Sample; 3]]| samples.iter().map(|all| all[at].memory).fold(0.0, f64::max);
        let (early, late) = (of(&samples[samples.len() / 4..samples.len() / 2]), of(&samples[samples.len() * 3 / 4..]));
        let name = process.name;
        eprintln!("{name}: {:.1} MB in the second quarter of the calm, {:.1} in the last", early / 1e6, late / 1e6);
        assert!(late < early * 1.1 + 8e6, "{name} grows");
        let level = rest[at];
        let began = Instant::now();
        loop {
            let now = Sample::of(process);
            if now.descriptors <= level.descriptors + SLACK && now.tasks <= level.tasks + SLACK {
                eprintln!("{name} at rest before and after: {level:?}, {now:?}");
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{name} keeps something: at rest {level:?}, now {now:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    place.end();
}
