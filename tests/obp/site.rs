//! A broker in front of the authority, and a device that is bound to it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Output;

use watchfire_tests::{Service, Site, get, run, skip, succeed};

use crate::authority::Authority;

/// Everything that a test needs.
pub(crate) struct Brokered {
    pub(crate) site: Site,
    pub(crate) authority: Authority,
    pub(crate) broker: Service,
    /// An address of its own.
    pub(crate) host: Ipv4Addr,
    /// Where it answers over HTTPS.
    pub(crate) https: String,
    pub(crate) metrics: String,
    pub(crate) binding: String,
}

impl Brokered {
    /// Starts all of it, with further flags of the broker. None, loudly, when NSD is not installed.
    pub(crate) fn start(test: &str, flags: &[&str]) -> Option<Self> {
        let (site, authority) = Self::authority(test)?;
        let host = watchfire_testkit::own_loopback();
        let (dir, own) = (site.file(""), format!("IP:{host}"));
        for (name, names) in [
            ("broker.test", &["--san", &own, "--san", "IP:127.0.0.1", "--san", "DNS:home.plain.test"][..]),
            ("good.plain.test", &[]),
        ] {
            let words = ["pki", "issue", "--dir", &dir, "--profile", "tls-server", "--name", name];
            succeed(&[&words[..], names].concat());
        }
        let (broker, https, metrics) = Self::broker(&site, &authority, host, flags);
        let binding = Self::bound(&site, &https, "alice@localhost");
        Some(Self { site, authority, broker, host, https, metrics, binding })
    }

    /// A new device of the account at a broker, whose PIN stays in the file `pin`; gives its binding.
    pub(crate) fn bound(site: &Site, https: &str, account: &str) -> String {
        let accounts = site.file("accounts.toml");
        let pin = succeed(&["obp", "account", "add", "--accounts", &accounts, account, "--pin"]);
        let (pin, binding, ca) = (site.write("pin", pin), site.file(&format!("{account}.json")), site.file("ca.pem"));
        let url = format!("https://{https}");
        let words = ["obp", "bind", "--broker", &url, "--account", account, "--out", &binding, "--timeout", "60s"];
        succeed(&[&words[..], &["--pin-file", &pin, "--ca", &ca]].concat());
        binding
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
    pub(crate) fn broker(
        site: &Site,
        authority: &Authority,
        host: Ipv4Addr,
        flags: &[&str],
    ) -> (Service, String, String) {
        let file = |name: &str| site.file(name);
        let (cert, key, ca, accounts) =
            (file("broker.test.pem"), file("broker.test.key"), file("ca.pem"), file("accounts.toml"));
        let any = format!("{host}:0");
        let mut all = vec!["obp", "broker", "--json", "--listen", &any, "--udp", &any];
        all.extend(["--cert", &cert, "--key", &key, "--accounts", &accounts, "--roots", &ca]);
        all.extend(["--resolver", authority.address(), "--metrics", "127.0.0.1:0"]);
        all.extend(flags);
        let broker = Service::start(&all);
        let (https, _udp, metrics) = (broker.address(), broker.address(), broker.address());
        (broker, https, metrics)
    }

    pub(crate) fn connect(&self, words: &[&str]) -> Output {
        connect(&self.binding, words)
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
        let text = get(&self.metrics, "/metrics").unwrap();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }
}

pub(crate) fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

/// Asks by a binding. The machine may be busy: unless it is told otherwise it waits for long.
pub(crate) fn connect(binding: &str, words: &[&str]) -> Output {
    let patience = if words.contains(&"--timeout") { &[][..] } else { &["--timeout", "60s"] };
    run(&[&["obp", "connect", "--json", "--binding", binding], words, patience].concat())
}
