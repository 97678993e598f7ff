//! All services of one file in one process: what they count, whether they are ready, and what SIGHUP does.

use std::collections::BTreeMap;

use watchfire_tests::{Service, Site, get, readiness, succeed, until};

/// A folder with everything, and one process that runs every service which needs no other one outside.
pub(crate) fn everything() -> (Site, Service, String) {
    let site = Site::new();
    let dir = site.file("");
    for (profile, name) in
        [("tls-server", "localhost"), ("dots-client", "isp.example"), ("dots-server", "home.example")]
    {
        succeed(&["pki", "issue", "--dir", &dir, "--profile", profile, "--name", name]);
    }
    succeed(&["obp", "account", "add", "--accounts", &site.file("accounts.toml"), "alice@localhost"]);
    site.write(
        "entries.ndjson",
        "{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"a.example\",\"rating\":1.0}\n",
    );
    site.write("policy.toml", "");
    site.write("keys", "neighbour a-key-that-is-long-enough\n");
    site.write("users", "alice:a password that is long enough\n");
    let config = site.write(
        "all.toml",
        r#"
metrics = "127.0.0.1:0"
[iap.manager]
listen = "127.0.0.1:0"
cert = "manager.test.pem"
key = "manager.test.key"
ca = "ca.pem"
output = "ndjson:alerts.ndjson"
[iap.sensor]
# Nobody is there.
connect = "127.0.0.1:9"
manager-name = "manager.test"
cert = "sensor-1.pem"
key = "sensor-1.key"
ca = "ca.pem"
eve = "eve.json"
follow = true
spool = "spool"
retry-min = "1s"
[iap.proxy]
listen = "127.0.0.1:0"
next-hop = "127.0.0.1:9"
name = "proxy.test"
[obp.broker]
listen = "127.0.0.1:0"
accounts = "accounts.toml"
policy = "policy.toml"
resolver = "127.0.0.1:9"
cert = "localhost.pem"
key = "localhost.key"
[repute.serve]
listen = "127.0.0.1:0"
data = "entries.ndjson"
rater = "rep.test"
keys = "keys"
cert = "localhost.pem"
key = "localhost.key"
[repute.dnsbl]
listen = "127.0.0.1:0"
store = "entries.ndjson"
zone = "bl.test"
[lurk.ca]
listen = "127.0.0.1:0"
dir = "ca"
[lurk.relay]
listen = "127.0.0.1:0"
cert = "localhost.pem"
key = "localhost.key"
post-auth = "users"
[dots.call-home-client]
listen = "tls://127.0.0.1:0"
cert = "isp.example.pem"
key = "isp.example.key"
ca = "ca.pem"
api = "127.0.0.1:0"
[dots.call-home-server]
connect = "tls://127.0.0.1:9"
peer-name = "isp.example"
cert = "home.example.pem"
key = "home.example.key"
ca = "ca.pem"
enforce = "log"
state = "state"
"#,
    );
    site.write("eve.json", "");
    let service = Service::start(&["run", "--config", &config, "--json"]);
    let mut metrics = String::new();
    let mut listening = 0;
    // Metrics, manager, proxy, broker, rater, DNSBL (two sockets or one line each), CA, relay, DOTS and its interface.
    while listening < 9 || metrics.is_empty() {
        let event = service.event();
        if event["event"] == "listening" {
            listening += 1;
            if event["service"] == "metrics" {
                metrics = event["addr"].as_str().unwrap().to_owned();
            }
        }
    }
    (site, service, metrics)
}

#[test]
fn all_services_count_say_why_they_are_not_ready_and_reload() {
    let (site, mut service, metrics) = everything();

    // Everything has started, and two have nobody to talk to: that is what is said, and nothing else.
    let body = readiness(&metrics, &service, |head, body| {
        head.starts_with("HTTP/1.1 503 ")
            && body.contains("channel: ")
            && body.contains("no session")
            && !body.contains("is starting")
    });
    let lines: Vec<&str> = body.lines().collect();
    assert!(lines.iter().all(|line| line.split_once(": ").is_some_and(|(_, why)| why.len() > 5)), "{body}");
    assert_eq!(lines.len(), 2, "{body}");
    assert!(get(&metrics, "/healthz").unwrap().starts_with("HTTP/1.1 200 "));

    // Prometheus: every family explains itself, and its name says what it counts.
    let text = get(&metrics, "/metrics").unwrap();
    let text = text.split_once("\r\n\r\n").unwrap().1;
    let mut kinds = BTreeMap::new();
    let mut explained = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => drop(explained.insert((*name).to_owned(), (*help).to_owned())),
            ["#", "TYPE", name, kind] => drop(kinds.insert((*name).to_owned(), (*kind).to_owned())),
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                assert!(kinds.contains_key(family.unwrap_or(name)) || kinds.contains_key(name), "{line}");
            }
        }
    }
    assert!(kinds.len() > 60, "{} families:\n{text}", kinds.len());
    for (name, kind) in &kinds {
        let help = explained.get(name).map(String::as_str).unwrap_or_default();
        assert!(help.len() > 4 && help.ends_with('.'), "{name} has the help {help:?}");
        // `process_` is what Prometheus' own libraries say of a process.
        assert!(name.starts_with("watchfire_") || name.starts_with("process_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        if kind == "histogram" {
            assert!(name.ends_with("_seconds") || name.ends_with("_alerts"), "{name} says no unit");
        }
        // Base units alone.
        for unit in ["_ms", "milli", "micro", "_minutes", "_kb", "_mb", "_percent"] {
            assert!(!name.contains(unit), "{name}");
        }
    }

    // SIGHUP: what docs/configuration.md says. Files are read again.
    service.signal("HUP");
    for said in ["SIGHUP: reloading", "certificate read again", "keys read again"] {
        service.wait_for_log(said);
    }
    // What is wrong changes nothing, and is said.
    site.write("policy.toml", "[[rule]]\naction = \"deny\"\n");
    site.write("keys", "\n");
    site.write("entries.ndjson", "no entry\n");
    service.signal("HUP");
    for said in ["the old policy stays in force", "the old keys stay", "the old entries stay"] {
        service.wait_for_log(said);
    }
    until("the old entries are known to be stale", || {
        let text = get(&metrics, "/metrics").unwrap();
        // Those of the rater and those of the DNSBL.
        text.contains("watchfire_repute_stale 1") && text.contains("watchfire_repute_entries 2")
    });

    service.signal("TERM");
    assert_eq!(service.wait(), 0, "{}", service.log());
}
