//! What services hold they hold no longer than they live: a start that fails, a reload and a drain leave nothing behind.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use watchfire_tests::{PATIENCE, Service, Site, get, is_ready, readiness, until, wait_for, watchfire};

use crate::running::everything;

/// A port that only this test knows.
fn own() -> TcpListener {
    TcpListener::bind((watchfire_testkit::own_loopback(), 0)).unwrap()
}

fn reloaded(service: &Service) -> Value {
    service.signal("HUP");
    service.event_of("reloaded")
}

fn make_fifo(path: &str) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// The end that is written to, as soon as somebody reads.
fn written_to(path: &str) -> File {
    let (path, (to_test, opened)) = (path.to_owned(), mpsc::channel());
    std::thread::spawn(move || to_test.send(File::options().write(true).open(path).unwrap()));
    opened.recv_timeout(PATIENCE).expect("somebody reads")
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: u64,
    tasks: u64,
    threads: usize,
}

impl Held {
    fn by(service: &Service, metrics: &str) -> Self {
        let text = get(metrics, "/metrics").unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
            line.parse().unwrap()
        };
        // Those that the runtime keeps for a while come and go.
        let of_service = ["dnsbl", "tail", "output", "records", "audit", "spool"];
        let threads = std::fs::read_dir(format!("/proc/{}/task", service.pid())).into_iter().flatten().flatten();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        let threads = names.filter(|name| of_service.iter().any(|start| name.starts_with(start))).count();
        Self { descriptors: value("process_open_fds"), tasks: value("watchfire_tasks"), threads }
    }

    /// A connection more or less, and what watches a file just now, are none.
    fn is_more_than(self, before: Self) -> bool {
        self.descriptors > before.descriptors + 3 || self.tasks > before.tasks + 4 || self.threads > before.threads
    }
}

#[test]
fn a_start_that_fails_late_leaves_nothing_behind() {
    let (site, mut service, metrics) = everything();
    let config = site.file("all.toml");
    let first = std::fs::read_to_string(&config).unwrap();
    let settled = || readiness(&metrics, &service, |_, body| !body.contains("start"));
    let before = settled().lines().count();
    // Every service has one address more, which somebody else has. Whether one that ends has it cannot be known.
    let mut taken = Vec::new();
    let mut second = String::new();
    for line in first.lines() {
        second.push_str(&format!("{line}\n"));
        if line.starts_with('[') {
            let listener = own();
            second.push_str(&format!("metrics = \"{}\"\n", listener.local_addr().unwrap()));
            taken.push(listener);
        }
    }
    site.write("all.toml", &second);
    let said = reloaded(&service);
    assert_eq!(said["started"], taken.len(), "{said}");
    let failed = || service.log().matches("cannot start: ").count();
    until("all have failed", || failed() >= taken.len());
    let held = Held::by(&service, &metrics);
    for _ in 0..4 {
        // All are tried again.
        let goal = failed() + taken.len();
        assert_eq!(reloaded(&service)["kept"], taken.len());
        until("all have failed again", || failed() >= goal);
    }
    until(&format!("what is held is again {held:?}"), || !Held::by(&service, &metrics).is_more_than(held));
    drop(taken);
    assert_eq!(reloaded(&service)["ok"], true);
    assert_eq!(settled().lines().count(), before, "{}", service.log());
    service.signal("TERM");
    assert_eq!(service.wait(), 0, "{}", service.log());
}

/// Tables of a rater, and of a sensor that ends when its input is not framed.
fn rater_and_sensor(site: &Site, rater: &str) -> String {
    let entry = "{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"a.example\",\"rating\":1.0}\n";
    site.write("entries.ndjson", entry);
    format!(
        "metrics = \"127.0.0.1:0\"\n{rater}[[iap.sensor]]\nconnect = \"127.0.0.1:9\"\nmanager-name = \"manager.test\"\n\
         cert = \"sensor-1.pem\"\nkey = \"sensor-1.key\"\nca = \"ca.pem\"\ninput = \"input\"\nframed = true\n"
    )
}

fn rater(listen: &str, name: &str, more: &str) -> String {
    format!("[[repute.serve]]\nlisten = \"{listen}\"\ndata = \"entries.ndjson\"\nrater = \"{name}\"\n{more}")
}

/// What is no frame, and ends the sensor.
fn break_down(mut input: File) {
    input.write_all(&[0xff; 4]).unwrap();
}

#[test]
fn a_process_that_drains_because_a_service_has_failed_takes_the_first_signal_for_the_first() {
    let site = Site::new();
    make_fifo(&site.file("input"));
    let config = site.write("c.toml", rater_and_sensor(&site, &rater("127.0.0.1:0", "a.test", "")));
    let mut service = Service::start(&["run", "--config", &config, "--json"]);
    let rater = loop {
        let event = service.event_of("listening");
        if event["service"] == "repute-serve" {
            break event["addr"].as_str().unwrap().to_owned();
        }
    };
    let input = written_to(&site.file("input"));
    // Half a request: the drain waits for the rest.
    let mut half = TcpStream::connect(&rater).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    break_down(input);
    service.wait_for_log("a service has failed, the others drain");
    service.signal("TERM");
    assert_eq!(service.wait(), 2, "{}", service.log());
    assert!(service.log().contains("announces 4294967295 octets"), "{}", service.log());
}

#[test]
fn a_reload_that_hangs_does_not_keep_services_from_being_watched() {
    let site = Site::new();
    for fifo in ["input", "slow.zone"] {
        make_fifo(&site.file(fifo));
    }
    let first = rater_and_sensor(&site, &rater("127.0.0.1:0", "a.test", ""));
    let config = site.write("c.toml", &first);
    let mut service = Service::start(&["run", "--config", &config, "--json"]);
    let input = written_to(&site.file("input"));
    site.write("policy.toml", "rpz = [\"slow.zone\"]\n");
    site.write("accounts.toml", "");
    let broker = "[obp.broker]\nlisten = \"127.0.0.1:0\"\naccounts = \"accounts.toml\"\npolicy = \"policy.toml\"\n";
    site.write("c.toml", format!("{first}{broker}"));
    service.signal("HUP");
    let _zone = written_to(&site.file("slow.zone"));
    break_down(input);
    assert_eq!(service.wait(), 2, "{}", service.log());
    assert!(service.log().contains("announces 4294967295 octets"), "{}", service.log());
}

#[test]
fn what_is_no_file_is_a_fault_of_the_configuration_and_is_not_waited_for() {
    let site = Site::new();
    make_fifo(&site.file("input"));
    make_fifo(&site.file("slow.pem"));
    let first = rater_and_sensor(&site, &rater("127.0.0.1:0", "a.test", ""));
    let config = site.write("c.toml", &first);
    let mut service = Service::start(&["run", "--config", &config, "--json"]);
    service.address();
    let slow = first.replace("rater = \"a.test\"", "rater = \"a.test\"\ncert = \"slow.pem\"\nkey = \"sensor-1.key\"");
    site.write("c.toml", &slow);
    let said = reloaded(&service);
    let message = said["message"].as_str().unwrap();
    assert!(message.contains(&format!("repute.serve.cert: {}: not a file", site.file("slow.pem"))), "{message}");
    // The same of the configuration itself.
    std::fs::remove_file(&config).unwrap();
    make_fifo(&config);
    let said = reloaded(&service);
    let message = said["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("{config}: not a file")), "{message}");
    service.signal("TERM");
    assert_eq!(service.wait(), 0, "{}", service.log());
}

#[test]
fn metrics_that_are_besieged_can_be_had_by_the_next_at_once() {
    let site = Site::new();
    let home = watchfire_testkit::own_loopback();
    let file = |name: &str, metrics: &str| {
        let rater = rater("127.0.0.1:0", name, &format!("metrics = \"{metrics}\"\n"));
        rater_and_sensor(&site, &rater)
    };
    site.write("input", "");
    let config = site.write("c.toml", file("a.test", &format!("{home}:0")));
    let mut service = Service::start(&["run", "--config", &config, "--json"]);
    let metrics = loop {
        let event = service.event_of("listening");
        let addr = event["addr"].as_str().unwrap();
        if event["service"] == "metrics" && addr.starts_with(&home.to_string()) {
            break addr.to_owned();
        }
    };
    // As many connections as there is room for, of which nothing comes; and one that waits behind them.
    let idle: Vec<TcpStream> = (0..17).map(|_| TcpStream::connect(&metrics).unwrap()).collect();
    site.write("c.toml", file("b.test", &metrics));
    assert_eq!(reloaded(&service)["started"], 1);
    readiness(&metrics, &service, |_, body| !body.contains("start"));
    assert!(!service.log().contains("cannot start"), "{}", service.log());
    drop(idle);
    service.signal("TERM");
    assert_eq!(service.wait(), 0, "{}", service.log());
}

#[test]
fn what_has_ended_by_itself_neither_goes_on_nor_ends_at_a_reload() {
    let site = Site::new();
    site.write("input", "");
    let once = |name| format!("{}exit-when-drained = true\n", rater_and_sensor(&site, &rater("127.0.0.1:0", name, "")));
    let config = site.write("c.toml", once("a.test"));
    let mut service = Service::start(&["run", "--config", &config, "--json"]);
    let metrics = service.address();
    service.event_of("drained");
    readiness(&metrics, &service, is_ready);
    let counts = |said: &Value| {
        assert_eq!(said["ok"], true, "{said}");
        [&said["kept"], &said["ended"], &said["started"]].map(|count| count.as_u64().unwrap())
    };
    until("the sensor has ended", || counts(&reloaded(&service)) == [1, 0, 0]);
    site.write("c.toml", format!("metrics = \"127.0.0.1:0\"\n{}", rater("127.0.0.1:0", "b.test", "")));
    let said = reloaded(&service);
    assert_eq!(counts(&said), [0, 1, 1], "{said}");
    service.signal("TERM");
    assert_eq!(service.wait(), 0, "{}", service.log());
}

/// Who reads its log may go: then nothing is logged any more, and nothing else is different.
#[test]
fn a_service_whose_log_nobody_reads_ends_when_it_is_told() {
    let mut command = watchfire(&["lurk", "relay", "--json", "--listen", "127.0.0.1:0"]);
    let mut child = command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    let listening: Value = serde_json::from_str(&first).unwrap();
    drop(child.stderr.take());
    let address = listening["addr"].as_str().unwrap();
    for _ in 0..3 {
        assert!(get(address, "/nothing").unwrap().contains("404"), "it goes on to answer");
    }
    let kill = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    let ended = wait_for(|| "it does not end".to_owned(), || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0), "{ended}");
}
