//! Random requests, against rules written down a second time and in another way.

use dots_callhome::body::{Lifetime, Prefix};
use dots_callhome::{Limits, MitigationRequest, Profile, Put, Rules, Table};
use watchfire_core::Instant;

use crate::support::{Chance, scope};

#[test]
fn overlap_rules_hold_under_random_requests() {
    // Prefixes of a small tree, so that they often contain each other.
    let targets: Vec<String> =
        ["203.0.113.0/24", "203.0.113.0/25", "203.0.113.128/25", "203.0.113.7/32", "198.51.100.0/24"]
            .map(str::to_owned)
            .to_vec();
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let mut table = Table::new(Rules::default(), Limits::default());
        // What there must be: client, mid, target.
        let mut model: Vec<(u64, u32, Prefix)> = Vec::new();
        for step in 0..60 {
            let now = Instant::from_secs(step);
            let (client, mid) = (chance.below(2), chance.below(8) as u32);
            let (peer, cuid) = (format!("peer{client}"), format!("cuid{client}"));
            if chance.percent(20) {
                table.withdraw(now, &peer, &cuid, mid);
                // Nothing was enforced here, so it is over at once.
                model.retain(|(c, m, _)| (*c, *m) != (client, mid));
                continue;
            }
            let target: Prefix = targets[chance.below(5) as usize].parse().unwrap();
            let request = scope(&target.to_string(), "192.0.2.1/32");
            let request = MitigationRequest::check(request, Profile::Rfc9066, false).unwrap();
            let put = table.put(now, (&peer, &cuid, mid), request, false, Lifetime::DEFAULT);
            let same = model.iter().find(|(c, m, _)| (*c, *m) == (client, mid)).copied();
            let overlap = |other: &Prefix| other.contains(&target) || target.contains(other);
            let higher = model.iter().any(|(c, m, t)| *c == client && *m > mid && overlap(t));
            match (same, put) {
                (Some((.., known)), Put::Refreshed(_)) => assert_eq!(known, target),
                (Some((.., known)), Put::Changed) => assert_ne!(known, target),
                (None, Put::Conflict(conflict)) => {
                    assert!(higher, "seed {seed} step {step}");
                    assert!(conflict.scope.unwrap().mid.unwrap() > mid);
                }
                (None, Put::Created(_)) => {
                    assert!(!higher, "seed {seed} step {step}");
                    model.retain(|(c, m, t)| !(*c == client && *m < mid && overlap(t)));
                    model.push((client, mid, target));
                }
                (same, put) => panic!("seed {seed} step {step}: {same:?} {put:?}"),
            }
            let mut known: Vec<(String, u32)> = model.iter().map(|(c, m, _)| (format!("cuid{c}"), *m)).collect();
            let mut real: Vec<(String, u32)> =
                table.iter().filter(|(_, r)| r.is_wanted()).map(|(_, r)| (r.cuid.clone(), r.mid)).collect();
            known.sort();
            real.sort();
            assert_eq!(known, real, "seed {seed} step {step}");
        }
    }
}
