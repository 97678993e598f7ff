//! Two managers and two brokers behind one address each; one of each is killed under load, and nothing is lost.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use watchfire_testkit::servers::{Nats, Postgres};
use watchfire_tests::{PATIENCE, Service};

use crate::balancer::Balancer;
use crate::brokers::{Brokers, good};
use crate::nats::{count, lines, sensor};
use crate::stream::{different, messages};

/// Of each sensor.
const ALERTS: usize = 2500;

/// Who asks the brokers, each for as long as there is load.
const DEVICES: usize = 2;

#[test]
fn one_of_two_managers_and_one_of_two_brokers_are_killed_and_nothing_is_lost() {
    const TEST: &str = "one_of_two_managers_and_one_of_two_brokers_are_killed_and_nothing_is_lost";
    let (Some(postgres), Some(nats)) = (Postgres::start(), Nats::start("")) else { return };
    let Some(at) = Brokers::new(TEST, &postgres) else { return };
    let (store, output) = (postgres.url(), format!("nats://{}/alerts", nats.address()));
    let manager = || {
        let manager = at.site.manager(&["--listen", "127.0.0.1:0", "--store", &store, "--output", &output]);
        let address = manager.address();
        (manager, address)
    };
    let mut managers = [manager(), manager()];
    let (listener, _) = Balancer::bind();
    let alerts_at = Balancer::serve(listener, &[&managers[0].1, &managers[1].1]);
    let (listener, address) = Balancer::bind();
    let advertised = format!("localhost:{}", address.port());
    let mut brokers = [at.start(&["--advertise", &advertised]), at.start(&["--advertise", &advertised])];
    let asked_at = Balancer::serve(listener, &[&brokers[0].1, &brokers[1].1]);

    let port = asked_at.port().to_string();
    for device in 0..DEVICES {
        let pin = at.pin("alice@localhost");
        good(&at.bind(&port, "alice@localhost", &pin, &format!("device-{device}.json")));
    }
    let spare = at.pin("alice@localhost");
    let input = at.site.write("input", lines(ALERTS));
    let [mut a, mut b] = ["sensor-1", "sensor-2"].map(|name| sensor(&at.site, name, &alerts_at.address(), &input));

    let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for device in 0..DEVICES {
            let (at, answered, is_over) = (&at, &answered, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let output = ask(at, &format!("device-{device}.json"));
                    if !std::thread::panicking() {
                        good(&output);
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = Over(&is_over);
        wait_for("the first alerts and answers", &a, || {
            count(&nats, "alerts") > ALERTS as u64 / 2 && answered.load(Ordering::Relaxed) >= 2 * DEVICES
        });
        managers[0].0.kill();
        brokers[0].0.kill();
        let before = answered.load(Ordering::Relaxed);
        // A device is bound by the broker that is left, whose PINs are the same.
        good(&at.bind(&port, "alice@localhost", &spare, "late.json"));
        good(&at.ask("late.json"));
        let again = at.bind(&port, "alice@localhost", &spare, "again.json");
        assert_eq!(again.status.code(), Some(1), "used: {}", String::from_utf8_lossy(&again.stderr));
        for sensor in [&mut a, &mut b] {
            assert_eq!(sensor.wait(), 0, "{}\n{}", sensor.log(), managers[1].0.log());
        }
        wait_for("further answers", &brokers[1].0, || answered.load(Ordering::Relaxed) >= before + 3 * DEVICES);
        drop(over);
    });

    let said: Vec<serde_json::Value> = [&a, &b].map(last_event).into();
    for event in &said {
        assert_eq!((&event["event"], &event["acked"]), (&"drained".into(), &ALERTS.into()), "{event}");
    }
    // Each alert is stored once, and published once.
    let stored = at.site.alerts(&store);
    assert_eq!(stored.len(), 2 * ALERTS, "in the store");
    let published = messages(&nats, "alerts");
    for name in ["sensor-1", "sensor-2"] {
        let subject = format!("alerts.{name}");
        let of: Vec<_> = published.iter().filter(|message| message["subject"] == subject).cloned().collect();
        assert_eq!((different(&of).len(), of.len()), (ALERTS, ALERTS), "{subject}");
        let of_store = stored.iter().filter(|alert| alert["peer"] == name);
        let of_store: BTreeSet<String> = of_store.map(|alert| alert["sha256"].as_str().unwrap().to_owned()).collect();
        assert_eq!(of_store, different(&of), "{subject}");
    }
    eprintln!(
        "{} alerts over {} connections, {} answers over {}",
        published.len(),
        alerts_at.connections(),
        answered.load(Ordering::Relaxed),
        asked_at.connections()
    );
}

/// Asks, and once more when the connection broke under the question: as every client does.
fn ask(at: &Brokers, binding: &str) -> Output {
    let output = at.ask(binding);
    if output.status.code() == Some(3) { at.ask(binding) } else { output }
}

/// Says that it is over, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wait_for(what: &str, service: &Service, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "never {what}: {}", service.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn last_event(service: &Service) -> serde_json::Value {
    loop {
        let event = service.event();
        if event["event"] == "drained" {
            return event;
        }
    }
}
