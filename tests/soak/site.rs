//! Three processes: `hub`, where alerts, questions and calls come together; `edge`, which sends, asks and calls; and the
//! CA, which is somebody else's and stays up.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use watchfire_tests::{PATIENCE, Service, Site, account_key, get, is_ready, readiness, succeed, wait_for};

/// One process that is started again under the same addresses.
pub(crate) struct Process {
    pub(crate) name: &'static str,
    config: String,
    /// Where its metrics are.
    metrics: String,
    service: Service,
    /// What earlier lives said.
    before: String,
}

impl Process {
    fn start(name: &'static str, config: String, metrics: String) -> Self {
        let service = Self::run(&config, &metrics);
        Self { name, config, metrics, service, before: String::new() }
    }

    fn run(config: &str, metrics: &str) -> Service {
        let service = Service::start(&["run", "--json", "--config", config]);
        readiness(metrics, &service, is_ready);
        service
    }

    fn restart(&mut self) {
        self.before.push_str(&self.service.log());
        self.service = Self::run(&self.config, &self.metrics);
    }

    pub(crate) fn kill_and_restart(&mut self) {
        self.service.kill();
        self.restart();
    }

    pub(crate) fn end_and_restart(&mut self) {
        self.end();
        self.restart();
    }

    fn end(&mut self) {
        self.service.signal("TERM");
        assert_eq!(self.service.wait(), 0, "{} does not end well: {}", self.name, self.service.log());
    }

    pub(crate) fn reload(&self) {
        self.service.signal("HUP");
    }

    pub(crate) fn metrics(&self) -> String {
        wait_for(|| format!("{}: {}", self.name, self.service.log()), || get(&self.metrics, "/metrics").ok())
    }

    fn is_ready(&self) -> bool {
        get(&self.metrics, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    pub(crate) fn log(&self) -> String {
        self.before.clone() + &self.service.log()
    }
}

/// All of it.
pub(crate) struct Place {
    pub(crate) site: Site,
    /// The address of the hub's services; the edge's is the next.
    pub(crate) host: Ipv4Addr,
    pub(crate) edge_host: Ipv4Addr,
    pub(crate) hub: Process,
    pub(crate) edge: Process,
    pub(crate) ca: Process,
}

impl Place {
    pub(crate) fn start() -> Self {
        let site = Site::new();
        let (host, edge_host) = (watchfire_testkit::own_loopback(), watchfire_testkit::own_loopback());
        let dir = site.file("");
        let issue = |profile: &str, name: &str, san: &str| {
            let own = format!("DNS:{name}");
            let words = ["pki", "issue", "--dir", &dir, "--profile", profile, "--name", name, "--san", &own];
            succeed(&[&words[..], &["--san", san]].concat());
        };
        let at = format!("IP:{host}");
        issue("tls-server", "broker.test", &at);
        issue("dots-client", "operator.test", &at);
        issue("dots-server", "home.test", &at);
        site.write("eve.json", "");
        let mut entries = String::new();
        for n in 0..1000 {
            let _ = writeln!(
                entries,
                "{{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"192.0.{}.{}\",\"rating\":0.9}}",
                n / 250,
                n % 250
            );
        }
        site.write("entries.ndjson", entries);
        let names = name_server();

        // The CA makes its trust anchor when it is first started.
        let ca_dir = site.file("ca");
        let mut first = Service::start(&["lurk", "ca", "--json", "--listen", "127.0.0.1:0", "--dir", &ca_dir]);
        first.address();
        first.kill();
        let ca = site.write(
            "ca.toml",
            format!(
                "metrics = \"{host}:9463\"\n[lurk.ca]\nlisten = \"{host}:14000\"\ndir = \"ca\"\nmin-lifetime = 2\n\
                 trust-identifiers = true\n"
            ),
        );
        let ca = Process::start("ca", ca, format!("{host}:9463"));

        site.write("template.json", TEMPLATE);
        let thumbprint = account_key(&site.file("account.key"));
        site.write(
            "delegations.toml",
            format!("[[delegation]]\nname = \"cdn\"\ntemplate = \"template.json\"\naccounts = [\"{thumbprint}\"]\n"),
        );
        let accounts = site.file("accounts.toml");
        let pin = succeed(&["obp", "account", "add", "--accounts", &accounts, &format!("alice@{host}"), "--pin"]);
        let pin = site.write("pin", pin);
        let hub = site.write("hub.toml", hub(host, names));
        let hub = Process::start("hub", hub, format!("{host}:9464"));

        let (broker, binding) = (format!("https://{host}:8443"), site.file("binding.json"));
        let words = ["obp", "bind", "--broker", &broker, "--account", &format!("alice@{host}"), "--out", &binding];
        succeed(&[&words[..], &["--pin-file", &pin, "--ca", &site.file("ca.pem")]].concat());
        let edge = site.write("edge.toml", edge(host, edge_host));
        let edge = Process::start("edge", edge, format!("{edge_host}:9464"));
        Self { site, host, edge_host, hub, edge, ca }
    }

    /// Waits until what the storm left undone is done: connections are made again, the certificate is there.
    pub(crate) fn settle(&self) {
        self.wait_until("all are ready", || [&self.hub, &self.edge, &self.ca].iter().all(|process| process.is_ready()));
        self.wait_until("the network has called the operator", || {
            get(&format!("{}:8647", self.host), "/v1/peers").is_ok_and(|peers| peers.contains("\"transport\""))
        });
        std::thread::sleep(Duration::from_secs(3));
    }

    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < PATIENCE * 2, "in vain: {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.site.file("alerts.db"))
    }

    pub(crate) fn count_alerts(&self) -> u64 {
        self.alerts().len() as u64
    }

    pub(crate) fn alerts(&self) -> Vec<serde_json::Value> {
        self.site.alerts(&self.store())
    }

    /// The delegate's certificate is one of now, or soon will be: it is good for some seconds.
    pub(crate) fn check_certificate(&self) {
        let chain = self.site.file("tls/chain.pem");
        self.wait_until("a certificate of now", || {
            let words = ["x509", "-noout", "-checkend", "0", "-in", &chain];
            Command::new("openssl").args(words).output().expect("openssl can be run").status.success()
        });
    }

    pub(crate) fn logs(&self) -> String {
        let last = |process: &Process| {
            let log = process.log();
            let lines: Vec<&str> = log.lines().rev().take(40).collect();
            format!("{}:\n{}", process.name, lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        [&self.hub, &self.edge, &self.ca].map(last).join("\n")
    }

    /// All end in order.
    pub(crate) fn end(&mut self) {
        self.edge.end();
        self.hub.end();
        self.ca.end();
    }
}

fn hub(host: Ipv4Addr, names: u16) -> String {
    format!(
        r#"metrics = "{host}:9464"
[iap.manager]
listen = "{host}:4690"
cert = "manager.test.pem"
key = "manager.test.key"
ca = "ca.pem"
store = "sqlite:alerts.db"
[iap.proxy]
listen = "{host}:7001"
next-hop = "{host}:4690"
name = "p.test"
[obp.broker]
listen = "{host}:8443"
udp = "{host}:8443"
cert = "broker.test.pem"
key = "broker.test.key"
accounts = "accounts.toml"
ticket-keys = "tickets.keys"
resolver = "127.0.0.1:{names}"
dnssec = "off"
[repute.serve]
listen = "{host}:8080"
data = "entries.ndjson"
[repute.dnsbl]
listen = "{host}:5353"
store = "entries.ndjson"
zone = "bl.test"
[lurk.ido]
listen = "{host}:15000"
upstream = "https://{host}:14000/directory"
upstream-ca = "ca/ca.pem"
delegations = "delegations.toml"
dir = "ido"
[lurk.relay]
listen = "{host}:8600"
keep = "10s"
[dots.call-home-client]
listen = ["tls://{host}:4647", "dtls://{host}:4647"]
cert = "operator.test.pem"
key = "operator.test.key"
ca = "ca.pem"
api = "{host}:8647"
"#
    )
}

fn edge(host: Ipv4Addr, edge_host: Ipv4Addr) -> String {
    format!(
        r#"metrics = "{edge_host}:9464"
[iap.sensor]
connect = "{host}:7001"
manager-name = "manager.test"
cert = "sensor-1.pem"
key = "sensor-1.key"
ca = "ca.pem"
eve = "eve.json"
follow = true
spool = "spool"
retry-max = "500ms"
[obp.dns]
binding = "binding.json"
ca = "ca.pem"
listen = "{edge_host}:5354"
[lurk.ndc]
ido = "https://{host}:15000/directory"
ca = "ido/ca.pem"
account-key = "account.key"
name = ["cdn.soak.test"]
out = "tls"
lifetime = "4s"
duration = "2h"
[dots.call-home-server]
connect = "dtls://{host}:4647"
peer-name = "operator.test"
cert = "home.test.pem"
key = "home.test.key"
ca = "ca.pem"
domain = ["192.0.2.0/24"]
state = "dots"
reconnect-min = "1s"
terminating = "5s"
"#
    )
}

const TEMPLATE: &str = r#"{
  "keyTypes": [{"PublicKeyType": "id-ecPublicKey", "namedCurve": "secp256r1", "SignatureType": "ecdsa-with-SHA256"}],
  "extensions": {"subjectAltName": {"DNS": ["cdn.soak.test"]}, "extendedKeyUsage": ["serverAuth"]}
}"#;

/// Answers every question for an address with one, and every other with nothing (RFC 1035 section 4); gives the port.
fn name_server() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            if let Some(answer) = answer(query.get(..length).unwrap_or_default()) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    port
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut at = 12;
    while *query.get(at)? != 0 {
        at += usize::from(query[at]) + 1;
    }
    let question = query.get(12..at + 5)?;
    let is_address = question.get(question.len() - 4..)? == [0, 1, 0, 1];
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend(question);
    if is_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 7]);
    }
    Some(answer)
}
