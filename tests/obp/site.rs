//! A broker in front of the authority, and a device that is bound to it.

use std::path::Path;
use std::process::Output;

use watchfire_tests::{Service, Site, run, skip, succeed};

use crate::authority::Authority;

/// Everything that a test needs.
pub(crate) struct Brokered {
    pub(crate) site: Site,
    pub(crate) authority: Authority,
    pub(crate) broker: Service,
    /// Where it answers over HTTPS.
    pub(crate) https: String,
    pub(crate) metrics: String,
    pub(crate) binding: String,
}

impl Brokered {
    /// Starts all of it, with further flags of the broker. None, loudly, when NSD is not installed.
    pub(crate) fn start(test: &str, flags: &[&str]) -> Option<Self> {
        let (site, authority) = Self::authority(test)?;
        for name in ["broker.test", "good.plain.test"] {
            let localhost = ["--san", "DNS:localhost", "--san", "DNS:home.plain.test"];
            let mut all = vec!["pki", "issue", "--profile", "tls-server", "--name", name];
            let dir = site.file("");
            all.extend(["--dir", &dir]);
            all.extend(if name == "broker.test" { &localhost[..] } else { &[] });
            succeed(&all);
        }
        let accounts = site.file("accounts.toml");
        let pin = succeed(&["obp", "account", "add", "--accounts", &accounts, "alice@localhost", "--pin"]);
        let pin = site.write("pin", pin);
        let (broker, https, metrics) = Self::broker(&site, &authority, flags);
        let binding = site.file("binding.json");
        let url = format!("https://localhost:{}", port(&https));
        let ca = site.file("ca.pem");
        let words = ["obp", "bind", "--broker", &url, "--account", "alice@localhost", "--out", &binding];
        succeed(&[&words[..], &["--pin-file", &pin, "--ca", &ca]].concat());
        Some(Self { site, authority, broker, https, metrics, binding })
    }

    /// The site and its authority alone.
    pub(crate) fn authority(test: &str) -> Option<(Site, Authority)> {
        let site = Site::new();
        match Authority::start(Path::new(&site.file(""))) {
            Some(authority) => Some((site, authority)),
            None => {
                skip(test, "the packages nsd and ldnsutils are not installed");
                None
            }
        }
    }

    /// Another broker of the same site.
    pub(crate) fn broker(site: &Site, authority: &Authority, flags: &[&str]) -> (Service, String, String) {
        let file = |name: &str| site.file(name);
        let (cert, key, ca, accounts) =
            (file("broker.test.pem"), file("broker.test.key"), file("ca.pem"), file("accounts.toml"));
        let mut all = vec!["obp", "broker", "--json", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
        all.extend(["--cert", &cert, "--key", &key, "--accounts", &accounts, "--roots", &ca]);
        all.extend(["--resolver", authority.address(), "--metrics", "127.0.0.1:0"]);
        all.extend(flags);
        let broker = Service::start(&all);
        let (https, _udp, metrics) = (broker.address(), broker.address(), broker.address());
        (broker, https, metrics)
    }

    pub(crate) fn connect(&self, words: &[&str]) -> Output {
        run(&[&["obp", "connect", "--json", "--binding", &self.binding], words].concat())
    }

    /// The connections, as `ADDRESS PORT TRANSPORT`.
    pub(crate) fn ways(&self, words: &[&str]) -> Vec<String> {
        let output = self.connect(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let way = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let transport = value["Transport"].as_str().unwrap_or("RAW");
            format!("{} {} {transport}", value["IPAddress"].as_str().unwrap(), value["IPPort"])
        };
        String::from_utf8(output.stdout).unwrap().lines().map(way).collect()
    }

    /// The exit code and the line on standard error of a command that fails.
    pub(crate) fn failure(output: &Output) -> (i32, String) {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{error}");
        (output.status.code().unwrap(), lines[0].to_owned())
    }

    /// A number among the metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = get(&self.metrics, "/metrics");
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }
}

pub(crate) fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

/// A page over plain HTTP.
fn get(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
