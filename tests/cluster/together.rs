//! Two managers and two brokers behind one address each; one of each is killed under load, and nothing is lost.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use watchfire_testkit::servers::{Nats, Postgres};
use watchfire_tests::until;

use crate::balancer::Balancer;
use crate::brokers::{Brokers, good};
use crate::nats::{Feeding, count, lines};
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
    // Nobody else answers where one was killed.
    let own = format!("{}:0", watchfire_testkit::own_loopback());
    let manager = || {
        let manager = at.site.manager(&["--listen", &own, "--store", &store, "--output", &output]);
        let address = manager.address();
        (manager, address)
    };
    let mut managers = [manager(), manager()];
    let (listener, _) = Balancer::bind();
    let alerts_at = Balancer::serve(listener, &[&managers[0].1, &managers[1].1]);
    let (listener, address) = Balancer::bind();
    let advertised = format!("localhost:{}", address.port());
    let broker = || at.start_at(&own, &["--advertise", &advertised]);
    let mut brokers = [broker(), broker()];
    let asked_at = Balancer::serve(listener, &[&brokers[0].1, &brokers[1].1]);

    let port = asked_at.port().to_string();
    for device in 0..DEVICES {
        let pin = at.pin("alice@localhost");
        good(&at.bind(&port, "alice@localhost", &pin, &format!("device-{device}.json")));
    }
    let spare = at.pin("alice@localhost");
    let [mut a, mut b] = ["sensor-1", "sensor-2"].map(|name| Feeding::start(&at.site, name, &alerts_at.address()));
    for feeding in [&mut a, &mut b] {
        feeding.send(&lines(0..ALERTS / 2));
    }

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
        until("the first alerts and answers are there", || {
            count(&nats, "alerts") > ALERTS as u64 / 2 && answered.load(Ordering::Relaxed) >= 2 * DEVICES
        });
        managers[0].0.kill();
        brokers[0].0.kill();
        for feeding in [&mut a, &mut b] {
            feeding.send(&lines(ALERTS / 2..ALERTS));
        }
        let before = answered.load(Ordering::Relaxed);
        // A device is bound by the broker that is left, whose PINs are the same.
        good(&at.bind(&port, "alice@localhost", &spare, "late.json"));
        good(&at.ask("late.json"));
        let again = at.bind(&port, "alice@localhost", &spare, "again.json");
        assert_eq!(again.status.code(), Some(1), "used: {}", String::from_utf8_lossy(&again.stderr));
        for feeding in [&mut a, &mut b] {
            feeding.drained(0, &managers[1].0.log());
        }
        until("there are further answers", || answered.load(Ordering::Relaxed) >= before + 3 * DEVICES);
        drop(over);
    });

    for feeding in [&a, &b] {
        assert_eq!(feeding.sensor.event_of("drained")["acked"], ALERTS);
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
