//! kill -9 of sensor, manager and proxy at moments that a seed decides: nothing acknowledged is lost, nothing is stored
//! twice.
//!
//! `WATCHFIRE_KILL_ROUNDS` and `WATCHFIRE_KILL_ALERTS` make it longer; `.ci/run` does 20 rounds of 10,000.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_tests::{PATIENCE, Service, Site};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_is_killed_every_alert_is_stored_once() {
    let alerts = setting("WATCHFIRE_KILL_ALERTS", 2_000);
    for seed in 0..setting("WATCHFIRE_KILL_ROUNDS", 3) {
        let began = Instant::now();
        let kills = round(seed, alerts);
        eprintln!("round {seed}: {alerts} alerts, killed {kills:?}, {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// Runs one round, and gives how often sensor, manager and proxy were killed.
fn round(seed: u64, alerts: u64) -> [u32; 3] {
    let mut rng = StdRng::seed_from_u64(seed);
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    // Even rounds send opaque lines, odd ones Suricata's.
    let (flag, input) = if seed.is_multiple_of(2) {
        let mut lines = String::new();
        for n in 0..alerts {
            let _ = writeln!(lines, "alert {n} {}", "x".repeat(rng.random_range(0..1500)));
        }
        ("--input", site.write("input", lines))
    } else {
        ("--eve", site.write("eve.json", eve(alerts)))
    };
    let spool = site.file("spool");

    let own = format!("{}:0", watchfire_testkit::own_loopback());
    let mut manager = site.manager(&["--listen", &own, "--store", &store]);
    let manager_address = manager.address();
    let mut proxy = site.proxy("p.test", &manager_address, &["--listen", &own]);
    let proxy_address = proxy.address();
    let start_manager = || {
        let manager = site.manager(&["--listen", &manager_address, "--store", &store]);
        manager.address();
        manager
    };
    let start_proxy = || {
        let proxy = site.proxy("p.test", &manager_address, &["--listen", &proxy_address]);
        proxy.address();
        proxy
    };
    let start_sensor = || {
        let connect = ["--connect", &proxy_address, flag, &input, "--spool", &spool];
        site.sensor(&[&connect[..], &["--window", "256", "--exit-when-drained"]].concat())
    };
    let mut sensor = start_sensor();
    let mut kills = [0; 3];
    let began = Instant::now();
    let code = loop {
        if let Some(code) = sensor.ended() {
            break code;
        }
        assert!(began.elapsed() < PATIENCE * 5, "round {seed} does not end:\n{}\n{}", sensor.log(), manager.log());
        std::thread::sleep(Duration::from_millis(rng.random_range(5..250)));
        // After some kills the round may end.
        if kills.iter().sum::<u32>() >= 12 {
            continue;
        }
        match rng.random_range(0..3u8) {
            0 if sensor.ended().is_none() => restart(&mut sensor, &mut kills[0], start_sensor),
            1 => restart(&mut manager, &mut kills[1], start_manager),
            2 => restart(&mut proxy, &mut kills[2], start_proxy),
            _ => {}
        }
    };
    assert_eq!(code, 0, "round {seed}: {}", sensor.log());
    let stored = site.alerts(&store);
    let different: BTreeSet<String> = stored
        .iter()
        .map(|alert| match alert["alert"]["Alert"][0]["messageid"].as_str() {
            Some(messageid) => messageid.to_owned(),
            None => alert["sha256"].to_string(),
        })
        .collect();
    assert_eq!(different.len() as u64, alerts, "round {seed}: lost some of them; killed {kills:?}");
    assert_eq!(stored.len() as u64, alerts, "round {seed}: stored some twice; killed {kills:?}");
    kills
}

fn restart(service: &mut Service, kills: &mut u32, start: impl FnOnce() -> Service) {
    service.kill();
    *kills += 1;
    *service = start();
}

/// Alerts as Suricata writes them, each with another flow.
fn eve(alerts: u64) -> String {
    let sample = include_str!("../vectors/suricata/eve.json");
    let line = sample.lines().find(|line| line.contains("\"event_type\":\"alert\"")).unwrap();
    let mut lines = String::new();
    for n in 0..alerts {
        let _ =
            writeln!(lines, "{}", line.replace("\"flow_id\":4298091302500", &format!("\"flow_id\":{}", 1_000_000 + n)));
    }
    lines
}
