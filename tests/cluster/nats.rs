//! `--output nats://`: what is acknowledged is in the stream, once.

use std::io::Write as _;
use std::ops::Range;
use std::process::ChildStdin;

use watchfire_testkit::servers::Nats;
use watchfire_tests::{Service, Site, run, until};

use crate::stream::{different, info, messages};

const ALERTS: usize = 3000;

/// Lines to send, each another one.
pub(crate) fn lines(numbers: Range<usize>) -> String {
    numbers.map(|n| format!("alert {n} {}\n", "x".repeat(n % 700))).collect()
}

/// A sensor that sends lines, and ends when all of them are acknowledged. Who kills somebody while it works gives it the
/// first of them before and the others afterwards: so there is something to send, however fast it is.
pub(crate) struct Feeding {
    pub(crate) sensor: Service,
    input: Option<ChildStdin>,
}

impl Feeding {
    /// To these managers.
    pub(crate) fn start(site: &Site, name: &str, managers: &str) -> Self {
        let spool = site.file(&format!("spool-{name}"));
        let tls = site.tls(name);
        let mut words = vec!["iap", "sensor", "--json", "--manager-name", "manager.test", "--connect", managers];
        words.extend(tls.iter().map(String::as_str));
        words.extend(["--retry-min", "50ms", "--retry-max", "500ms", "--input", "-", "--spool", &spool]);
        words.extend(["--window", "64", "--give-up-after", "0s", "--exit-when-drained"]);
        let (sensor, input) = Service::start_fed(&words);
        Self { sensor, input: Some(input) }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.input.as_mut().expect("it is fed").write_all(text.as_bytes()).unwrap();
    }

    /// There is no more: waits until all has its answer, and it has ended so.
    pub(crate) fn drained(&mut self, code: i32, manager: &str) {
        self.input = None;
        assert_eq!(self.sensor.wait(), code, "{}\n{manager}", self.sensor.log());
    }
}

/// How many messages the stream has by now.
pub(crate) fn count(nats: &Nats, stream: &str) -> u64 {
    info(nats, stream)["state"]["messages"].as_u64().unwrap_or(0)
}

#[test]
fn whatever_is_killed_every_alert_is_in_the_stream_once() {
    let Some(mut nats) = Nats::start("") else { return };
    let site = Site::new();
    let output = format!("nats://{}/alerts", nats.address());
    let own = format!("{}:0", watchfire_testkit::own_loopback());
    let manager = |listen: &str| site.manager(&["--listen", listen, "--output", &output, "--nats-timeout", "2s"]);
    let mut one = manager(&own);
    let address = one.address();
    let mut feeding = Feeding::start(&site, "sensor-1", &address);
    feeding.send(&lines(0..1000));
    until("some arrived", || count(&nats, "alerts") > 300);
    nats.kill();
    feeding.send(&lines(1000..2000));
    // Back-pressure: nothing is acknowledged while there is nobody to publish to.
    one.wait_for_log("alerts cannot be kept");
    nats.restart();
    until("more arrived", || count(&nats, "alerts") > 1300);
    one.kill();
    feeding.send(&lines(2000..ALERTS));
    let one = manager(&address);
    one.address();
    feeding.drained(0, &one.log());
    let stored = messages(&nats, "alerts");
    assert_eq!(different(&stored).len(), ALERTS, "lost some");
    assert_eq!(stored.len(), ALERTS, "published some twice");
    assert!(stored.iter().all(|message| message["subject"] == "alerts.sensor-1"), "{}", stored[0]);
    let config = info(&nats, "alerts")["config"].clone();
    assert_eq!((&config["storage"], &config["discard"]), (&"file".into(), &"new".into()), "{config}");
    assert_eq!(config["subjects"], serde_json::json!(["alerts.*"]));
}

#[test]
fn managers_share_a_stream_and_a_sensor_finds_the_one_that_lives() {
    let Some(nats) = Nats::start("") else { return };
    let site = Site::new();
    let output = format!("nats://{}/alerts", nats.address());
    let own = format!("{}:0", watchfire_testkit::own_loopback());
    let manager = || {
        let manager = site.manager(&["--listen", &own, "--output", &output]);
        let address = manager.address();
        (manager, address)
    };
    let ((mut one, first), (two, second)) = (manager(), manager());
    let mut a = Feeding::start(&site, "sensor-1", &format!("{first},{second}"));
    let mut b = Feeding::start(&site, "sensor-2", &format!("{second},{first}"));
    for feeding in [&mut a, &mut b] {
        feeding.send(&lines(0..ALERTS / 2));
    }
    let of = |sensor: &str| {
        let subject = format!("alerts.{sensor}");
        let stored = messages(&nats, "alerts");
        stored.into_iter().filter(|message| message["subject"] == subject).collect::<Vec<_>>()
    };
    until("the first has sent some", || !of("sensor-1").is_empty());
    one.kill();
    for feeding in [&mut a, &mut b] {
        feeding.send(&lines(ALERTS / 2..ALERTS));
        feeding.drained(0, &two.log());
    }
    for sensor in ["sensor-1", "sensor-2"] {
        let of = of(sensor);
        assert_eq!((different(&of).len(), of.len()), (ALERTS, ALERTS), "{sensor}");
    }
}

#[test]
fn what_is_too_large_for_the_stream_is_refused_and_holds_nobody_up() {
    let Some(nats) = Nats::start("max_payload: 64K") else { return };
    let site = Site::new();
    let output = format!("nats://{}/alerts", nats.address());
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--output", &output]);
    let address = manager.address();
    let mut feeding = Feeding::start(&site, "sensor-1", &address);
    feeding.send(&format!("first\n{}\nlast\n", "x".repeat(60_000)));
    feeding.drained(1, "");
    manager.wait_for_log("larger than the output's stream takes");
    assert_eq!(messages(&nats, "alerts").len(), 2);
}

#[test]
fn what_stands_in_the_way_is_one_line() {
    let site = Site::new();
    let fails = |output: &str, more: &[&str]| {
        let tls = site.tls("manager.test");
        let mut words = vec!["iap", "manager", "--listen", "127.0.0.1:0", "--output", output];
        words.extend(tls.iter().map(String::as_str));
        words.extend(more);
        let ended = run(&words);
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{error}");
        (ended.status.code().unwrap(), lines[0].to_owned())
    };
    let gone = format!("{}:9", watchfire_testkit::own_loopback());
    let (code, error) = fails(&format!("nats://{gone}/alerts"), &[]);
    assert!(code == 3 && error.contains(&gone), "{error}");
    let Some(nats) = Nats::start("authorization { users = [{ user: wf, password: right }] }") else { return };
    let output = format!("nats://{}/alerts", nats.address());
    for (password, wanted) in [(None, 1), (Some("wf:wrong"), 1), (Some(""), 2)] {
        let file = password.map(|text| site.write("password", text));
        let more: Vec<&str> = file.iter().flat_map(|file| ["--nats-password-file", file.as_str()]).collect();
        let (code, error) = fails(&output, &more);
        assert!(code == wanted && !error.contains("wrong"), "{password:?}: {code} {error}");
    }
    let password = site.write("password", "wf:right\n");
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--output", &output, "--nats-password-file", &password]);
    manager.address();

    let Some(nats) = Nats::start("") else { return };
    let made = nats.ask(&[(
        "STREAM.CREATE.other".into(),
        "{\"name\":\"other\",\"subjects\":[\"somewhere.else\"],\"storage\":\"file\",\"retention\":\"limits\",\"num_replicas\":1}".into(),
    )]);
    assert!(!made[0].contains("\"error\""), "{}", made[0]);
    let (code, error) = fails(&format!("nats://{}/other", nats.address()), &[]);
    assert!(code == 2 && error.contains("other.*"), "{error}");
}

#[test]
fn tls_is_spoken_and_the_server_s_name_is_checked() {
    let site = Site::new();
    let host = watchfire_testkit::own_loopback();
    let (dir, own) = (site.file(""), format!("IP:{host}"));
    for (name, san) in [("nats", own.as_str()), ("stranger", "DNS:elsewhere.test")] {
        let words = ["pki", "issue", "--dir", &dir, "--profile", "tls-server", "--name", name, "--san", san];
        watchfire_tests::succeed(&words);
    }
    let ca = site.file("ca.pem");
    for name in ["nats", "stranger"] {
        let tls = format!("tls {{ cert_file: \"{dir}/{name}.pem\", key_file: \"{dir}/{name}.key\" }}");
        let Some(nats) = Nats::start_at(host, &tls) else { return };
        let output = format!("nats://{}/alerts", nats.address());
        let mut manager = site.manager(&["--listen", "127.0.0.1:0", "--output", &output, "--nats-ca", &ca]);
        if name == "nats" {
            let mut feeding = Feeding::start(&site, "sensor-1", &manager.address());
            feeding.send(&lines(0..10));
            feeding.drained(0, &manager.log());
        } else {
            assert_eq!(manager.wait(), 3, "{}", manager.log());
            manager.wait_for_log("certificate");
        }
    }
}
