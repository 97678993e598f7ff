//! A folder with certificates, an operator and a network that calls it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use watchfire_tests::{PATIENCE, Service, Site, run, succeed};

pub(crate) const OPERATOR: &str = "isp.test";
pub(crate) const HOME: &str = "home.test";

/// The certificates of both besides what every site has.
pub(crate) fn site() -> Site {
    let site = Site::new();
    let dir = site.file("");
    for (profile, name) in [("dots-client", OPERATOR), ("dots-server", HOME)] {
        succeed(&["pki", "issue", "--dir", &dir, "--profile", profile, "--name", name]);
    }
    site
}

/// An operator, and where it is called and asked.
pub(crate) struct Operator {
    pub(crate) service: Service,
    pub(crate) tls: String,
    pub(crate) dtls: String,
    pub(crate) api: String,
}

impl Operator {
    /// Listens for both transports, at free ports.
    pub(crate) fn start(site: &Site, flags: &[&str]) -> Self {
        Self::at(site, "tls://127.0.0.1:0", "dtls://127.0.0.1:0", flags)
    }

    pub(crate) fn at(site: &Site, tls: &str, dtls: &str, flags: &[&str]) -> Self {
        let credentials = site.tls(OPERATOR);
        let mut words = vec!["dots", "call-home-client", "--json", "--listen", tls, "--listen", dtls];
        words.extend(["--api", "127.0.0.1:0"]);
        words.extend(credentials.iter().map(String::as_str));
        words.extend(flags);
        let service = Service::start(&words);
        let listens = |service: &Service, transport: &str| {
            let event = service.event();
            assert_eq!(
                (&event["event"], &event["service"], &event["transport"]),
                (&"listening".into(), &"dots-call-home-client".into(), &transport.into())
            );
            event["addr"].as_str().unwrap().to_owned()
        };
        let (tls, dtls) = (listens(&service, "tls"), listens(&service, "dtls"));
        let api = service.event();
        assert_eq!(api["service"], "dots-api");
        Self { tls, dtls, api: api["addr"].as_str().unwrap().to_owned(), service }
    }

    /// A command that uses the interface: exit code, lines, and what it says on standard error.
    pub(crate) fn ask(&self, words: &[&str]) -> (i32, Vec<Value>, String) {
        ask(&self.api, words)
    }

    /// Asks HOME to stop 192.0.2.10, under this mid.
    pub(crate) fn mitigate(&self, mid: &str, more: &[&str]) -> (i32, Vec<Value>, String) {
        let words = ["mitigate", "--peer", HOME, "--mid", mid, "--target-prefix", "198.51.100.7/32"];
        let source = if more.contains(&"--source-prefix") { &[][..] } else { &["--source-prefix", "192.0.2.10/32"] };
        self.ask(&[&words[..], source, more].concat())
    }

    /// Waits until `status` of this mid says so.
    pub(crate) fn wait_for(&self, mid: u64, what: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let (code, lines, error) = self.ask(&["status"]);
            assert_eq!(code, 0, "{error}");
            let found = lines.iter().find(|one| one["mid"] == mid && what(one));
            if let Some(found) = found {
                return found.clone();
            }
            assert!(began.elapsed() < PATIENCE, "mid {mid}: {lines:?}\n{}", self.service.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub(crate) fn ask(api: &str, words: &[&str]) -> (i32, Vec<Value>, String) {
    let (command, rest) = words.split_first().unwrap();
    let output = run(&[&["dots", command, "--json", "--api", api], rest].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A network that calls there.
pub(crate) fn home(site: &Site, connect: &str, flags: &[&str]) -> Service {
    let credentials = site.tls(HOME);
    let mut words = vec!["dots", "call-home-server", "--json", "--connect", connect, "--peer-name", OPERATOR];
    words.extend(["--reconnect-min", "1", "--terminating", "1s", "--report-every", "1s"]);
    words.extend(credentials.iter().map(String::as_str));
    words.extend(flags);
    Service::start(&words)
}

/// Waits for the line that a mitigation stands so.
pub(crate) fn stands(service: &Service, mid: u64, status: &str) -> Value {
    loop {
        let event = service.event();
        assert_eq!(event["event"], "mitigation", "{event}");
        if event["mid"] == mid && event["status"] == status {
            return event;
        }
    }
}

/// Waits until the log holds one of these.
pub(crate) fn says(service: &Service, texts: &[&str]) {
    let began = Instant::now();
    while !texts.iter().any(|text| service.log().contains(text)) {
        assert!(began.elapsed() < PATIENCE, "never said any of {texts:?}:\n{}", service.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A request by hand, and the whole response.
pub(crate) fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}
