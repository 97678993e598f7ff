//! `watchfire run` reads its configuration file again on SIGHUP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use watchfire_tests::{PATIENCE, Service, Site, get, is_ready, readiness, succeed, until};

use crate::running::everything;

/// One process with a configuration file.
struct Process {
    site: Site,
    service: Service,
    metrics: String,
}

const METRICS: &str = "metrics = \"127.0.0.1:0\"\n";

impl Process {
    /// Starts it; gives also where its services listen, in the order in which they say so.
    fn start(services: &str, count: usize) -> (Self, Vec<(String, String)>) {
        let site = Site::new();
        let entry = "{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"a.example\",\"rating\":1.0}\n";
        site.write("entries.ndjson", entry);
        let config = site.write("c.toml", format!("{METRICS}{services}"));
        let service = Service::start(&["run", "--config", &config, "--json"]);
        let mut process = Self { site, service, metrics: String::new() };
        let mut listening = Vec::new();
        while listening.len() < count || process.metrics.is_empty() {
            match process.listening() {
                (name, address) if name == "metrics" => process.metrics = address,
                other => listening.push(other),
            }
        }
        (process, listening)
    }

    /// The next event, which says that a service listens, and where.
    fn listening(&self) -> (String, String) {
        let event = self.service.event();
        assert_eq!(event["event"], "listening", "{event}\n{}", self.service.log());
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (text("service"), text("addr"))
    }

    fn write(&self, services: &str) {
        self.site.write("c.toml", format!("{METRICS}{services}"));
    }

    /// Reads this file; gives what is said of it, and the first `count` services that listen then.
    fn reload(&self, services: &str, count: usize) -> (Value, Vec<(String, String)>) {
        self.write(services);
        self.service.signal("HUP");
        let (mut said, mut listening) = (Value::Null, Vec::new());
        while said.is_null() || listening.len() < count {
            let event = self.service.event();
            if event["event"] == "reloaded" {
                assert!(said.is_null(), "{event}");
                said = event;
            } else {
                let text = |name: &str| event[name].as_str().unwrap().to_owned();
                listening.push((text("service"), text("addr")));
            }
        }
        (said, listening)
    }

    /// The file has a fault: gives what is said of it.
    fn refused(&self, services: &str) -> String {
        let (said, _) = self.reload(services, 0);
        assert_eq!(said["ok"], false, "{said}");
        let message = said["message"].as_str().unwrap().to_owned();
        self.service.wait_for_log(&message);
        self.counts("watchfire_config_valid 0");
        message
    }

    /// Waits until this is one of the metrics.
    fn counts(&self, line: &str) {
        until(line, || get(&self.metrics, "/metrics").unwrap().lines().any(|found| found == line));
    }

    fn ends_well(mut self) {
        self.service.signal("TERM");
        assert_eq!(self.service.wait(), 0, "{}", self.service.log());
    }
}

/// A rater's table.
fn rater(listen: &str, name: &str) -> String {
    format!("[[repute.serve]]\nlisten = \"{listen}\"\ndata = \"entries.ndjson\"\nrater = \"{name}\"\n")
}

fn proxy(listen: &str) -> String {
    format!("[[iap.proxy]]\nlisten = \"{listen}\"\nnext-hop = \"127.0.0.1:9\"\nname = \"p.test\"\n")
}

fn relay() -> &'static str {
    "[lurk.relay]\nlisten = \"127.0.0.1:0\"\n"
}

/// Who answers at an address.
fn answers(address: &str) -> String {
    let words = ["repute", "query", "--json", "--scheme", "http", "--service", address];
    let said = succeed(&[&words[..], &["--application", "email-id", "--subject", "a.example"]].concat());
    let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    said["rater"].as_str().unwrap().to_owned()
}

/// A connection that stays open between requests.
struct Open(TcpStream);

impl Open {
    fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut this = Self(stream);
        this.ask();
        this
    }

    /// Asks for a page that is not there: the answer is short and has a length.
    fn ask(&mut self) {
        self.0.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = Vec::new();
        let mut octet = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut octet).expect("the connection is open");
            head.push(octet[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 404"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
    }

    /// Waits until the other side has closed it.
    fn wait_for_close(mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
    }
}

#[test]
fn what_did_not_change_goes_on_and_the_rest_follows_the_file() {
    // Where one ends nobody else begins to listen.
    let own = format!("{}:0", watchfire_testkit::own_loopback());
    let first = format!("{}{}{}", rater(&own, "kept.test"), rater(&own, "old.test"), proxy(&own));
    let (process, listening) = Process::start(&first, 3);
    let raters: Vec<&String> = listening.iter().filter(|(name, _)| name == "repute-serve").map(|(_, at)| at).collect();
    let (kept, old) = match answers(raters[0]).as_str() {
        "kept.test" => (raters[0], raters[1]),
        _ => (raters[1], raters[0]),
    };
    let removed = &listening.iter().find(|(name, _)| name == "iap-proxy").unwrap().1;
    let (mut open, idle) = (Open::to(kept), Open::to(old));

    // The same file: nothing happens.
    let (said, _) = process.reload(&first, 0);
    assert_eq!(
        (&said["ok"], &said["kept"], &said["ended"], &said["started"]),
        (&true.into(), &3.into(), &0.into(), &0.into())
    );
    open.ask();

    // One is changed but for where it listens, one is gone, one is new; what stays stands elsewhere and has its keys
    // in another order. What takes effect at the start only is said to.
    let moved = format!(
        "# A line.\n[[repute.serve]]\nrater = \"kept.test\"\nno-opendkim = false\ndata = \"entries.ndjson\"\nlisten = [\"{own}\"]\n"
    );
    let second = format!("log-format = \"json\"\n{}{}{moved}", rater(old, "new.test"), relay());
    let (said, listening) = process.reload(&second, 2);
    assert_eq!(
        (&said["ok"], &said["kept"], &said["ended"], &said["started"]),
        (&true.into(), &1.into(), &2.into(), &2.into())
    );
    open.ask();
    idle.wait_for_close();
    assert_eq!((answers(old).as_str(), answers(kept).as_str()), ("new.test", "kept.test"));
    assert!(TcpStream::connect(removed).is_err(), "nobody is there any more");
    assert!(listening.iter().any(|(name, _)| name == "lurk-relay"), "{listening:?}");
    process.service.wait_for_log("log-format: has changed; takes effect when the process is started anew");
    assert_eq!(readiness(&process.metrics, &process.service, is_ready), "ready\n");
    open.ask();
    process.counts("watchfire_config_valid 1");
    process.counts("watchfire_config_reloads_total{outcome=\"taken\"} 2");
    process.ends_well();
}

#[test]
fn a_file_with_a_fault_changes_nothing() {
    let first = rater("127.0.0.1:0", "a.test");
    let (process, listening) = Process::start(&first, 1);
    let mut open = Open::to(&listening[0].1);
    let path = process.site.file("c.toml");

    // Not TOML, an unknown key, a file that is not there, an address that is not ours or taken.
    let message = process.refused("[repute.serve\n");
    assert!(message.starts_with(&format!("{path}:2:")), "{message}");
    let message = process.refused(&format!("{}frobnicate = 1\n", rater("127.0.0.1:0", "b.test")));
    assert!(message.starts_with(&format!("{path}:6:1: repute.serve.frobnicate: unknown key")), "{message}");
    let missing = rater("127.0.0.1:0", "b.test").replace("entries", "elsewhere");
    let message = process.refused(&missing);
    assert!(message.contains("elsewhere.ndjson") && message.contains("check the path"), "{message}");
    let message = process.refused(&rater("192.0.2.1:0", "b.test"));
    assert!(message.starts_with(&format!("{path}:2: 192.0.2.1:0: cannot listen")), "{message}");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = rater(&other.local_addr().unwrap().to_string(), "b.test");
    let message = process.refused(&format!("{first}{taken}"));
    assert!(message.contains("choose another port"), "{message}");
    // For datagrams, too; that somebody who ends had the port for connections says nothing about them.
    let other = std::net::UdpSocket::bind((watchfire_testkit::own_loopback(), 0)).unwrap();
    let at = other.local_addr().unwrap();
    process.site.write("accounts.toml", "");
    let dir = process.site.file("");
    succeed(&["pki", "issue", "--dir", &dir, "--profile", "dots-client", "--name", "isp.example"]);
    for table in [
        format!("[repute.dnsbl]\nlisten = \"{at}\"\nstore = \"entries.ndjson\"\nzone = \"bl.test\"\n"),
        format!("[obp.broker]\nlisten = \"127.0.0.1:0\"\nudp = \"{at}\"\naccounts = \"accounts.toml\"\n"),
        format!(
            "[dots.call-home-client]\nlisten = [\"dtls://{at}\", \"tls://{at}\"]\ncert = \"isp.example.pem\"\n\
             key = \"isp.example.key\"\nca = \"ca.pem\"\n"
        ),
    ] {
        let message = process.refused(&table);
        assert!(message.starts_with(&format!("{path}:2: {at}: cannot listen")), "{message}");
        assert!(message.contains("choose another port"), "{message}");
    }
    std::fs::remove_file(&path).unwrap();
    process.service.signal("HUP");
    assert_eq!(process.service.event()["ok"], false);
    open.ask();
    process.counts("watchfire_config_reloads_total{outcome=\"refused\"} 9");
    // It is ready all the same, and its other files were read again.
    assert!(get(&process.metrics, "/readyz").unwrap().starts_with("HTTP/1.1 200 "));

    let (said, _) = process.reload(&first, 0);
    assert_eq!((&said["ok"], &said["kept"]), (&true.into(), &1.into()));
    process.counts("watchfire_config_valid 1");
    open.ask();
    process.ends_well();
}

#[test]
fn a_service_that_cannot_start_leaves_the_others_alone_and_is_tried_again() {
    let kept = rater("127.0.0.1:0", "a.test");
    let (process, listening) = Process::start(&kept, 1);
    let mut open = Open::to(&listening[0].1);
    // A database is not asked by the check.
    let broken =
        rater("127.0.0.1:0", "b.test").replace("entries.ndjson", "postgres://nobody@127.0.0.1:9/x?connect_timeout=5");
    let (said, _) = process.reload(&format!("{kept}{broken}"), 0);
    assert_eq!((&said["ok"], &said["kept"], &said["started"]), (&true.into(), &1.into(), &1.into()));
    let why = readiness(&process.metrics, &process.service, |_, body| body.contains("cannot start"));
    assert!(
        why.starts_with(&format!("repute serve ({}:6): cannot start: postgres://", process.site.file("c.toml"))),
        "{why}"
    );
    assert_eq!(why.lines().count(), 1, "{why}");
    process.service.wait_for_log("tried again in");
    open.ask();

    let (said, listening) = process.reload(&format!("{kept}{}", rater("127.0.0.1:0", "b.test")), 1);
    assert_eq!((&said["kept"], &said["ended"], &said["started"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(answers(&listening[0].1), "b.test");
    readiness(&process.metrics, &process.service, is_ready);
    open.ask();
    process.ends_well();
}

#[test]
fn signals_that_come_together_end_with_the_newest_file() {
    let (process, _) = Process::start(&rater("127.0.0.1:0", "a.test"), 1);
    process.write(&proxy("127.0.0.1:0"));
    process.service.signal("HUP");
    process.write(relay());
    process.service.signal("HUP");
    // Whether the first file was seen at all is a matter of time.
    while process.service.event()["service"] != "lurk-relay" {}
    readiness(&process.metrics, &process.service, is_ready);
    process.ends_well();
}

#[test]
fn a_process_that_is_told_to_end_while_it_reloads_ends() {
    let (process, listening) = Process::start(&rater("127.0.0.1:0", "a.test"), 1);
    // Half a request: the drain waits for the rest.
    let mut half = TcpStream::connect(&listening[0].1).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    process.write(&rater("127.0.0.1:0", "b.test"));
    process.service.signal("HUP");
    process.service.wait_for_log("no longer in the file as it was: drains");
    process.ends_well();
}

#[test]
fn every_service_can_be_started_anew_and_leaves_nothing_behind() {
    let (site, mut service, metrics) = everything();
    let config = site.file("all.toml");
    let first = std::fs::read_to_string(&config).unwrap();
    // Every service has this key.
    let headers = first.lines().filter(|line| line.starts_with('[')).count();
    let second: String =
        first
            .lines()
            .map(|line| {
                if line.starts_with('[') { format!("{line}\nmetrics = \"127.0.0.1:0\"\n") } else { format!("{line}\n") }
            })
            .collect();
    let settled = || readiness(&metrics, &service, |_, body| !body.contains("start"));
    let open = || -> u64 {
        let text = get(&metrics, "/metrics").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("process_open_fds ")).unwrap();
        line.parse().unwrap()
    };
    let before = settled();
    let mut least = u64::MAX;
    for round in 0..4 {
        for text in [&second, &first] {
            site.write("all.toml", text);
            service.signal("HUP");
            let said = loop {
                let event = service.event();
                if event["event"] == "reloaded" {
                    break event;
                }
            };
            assert_eq!((&said["ended"], &said["started"]), (&headers.into(), &headers.into()), "{said}");
            assert_eq!(settled().lines().count(), before.lines().count(), "{}", service.log());
        }
        // Sockets of the last connections may take a moment.
        until(&format!("{least} descriptors"), || round == 0 || open() <= least + 3);
        least = least.min(open());
    }
    assert!(!service.log().contains("cannot start"), "{}", service.log());
    service.signal("TERM");
    assert_eq!(service.wait(), 0, "{}", service.log());
}
