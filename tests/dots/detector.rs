//! Suricata's alerts become proposals, or requests.

use std::io::Write as _;

use crate::site::{HOME, IN_FORCE, Operator, home, site, stands};

fn alert(source: &str, id: u64) -> String {
    let now = "2026-01-31T12:00:00.000001+0000";
    format!(
        "{{\"timestamp\":\"{now}\",\"event_type\":\"alert\",\"src_ip\":\"{source}\",\"src_port\":123,\"dest_ip\":\"198.51.100.7\",\
         \"dest_port\":80,\"proto\":\"UDP\",\"alert\":{{\"signature_id\":{id},\"signature\":\"DDoS\",\"category\":\"Attempted \
         Denial of Service\",\"severity\":2}}}}\n"
    )
}

const RULES: &str = "[[peer]]\nname = \"home.test\"\nsources = [\"192.0.2.0/24\"]\n\
    [[rule]]\nname = \"at once\"\nsignature-id = [2]\naction = \"mitigate\"\nlifetime = \"10m\"\nports = true\n\
    [[rule]]\nname = \"flood\"\ncategory = [\"attempted denial of service\"]\nalerts = 3\naction = \"propose\"\n";

#[test]
fn an_operator_confirms_or_drops_what_alerts_suggest() {
    let site = site();
    let rules = site.write("rules.toml", RULES);
    let text: String = ["192.0.2.1", "192.0.2.2", "203.0.113.1", "192.0.2.3"].map(|source| alert(source, 1)).concat();
    let eve = site.write("eve.json", format!("{text}not json\n{{\"event_type\":\"stats\"}}\n"));
    let operator = Operator::start(&site, &["--eve", &eve, "--rule", &rules, "--metrics", "127.0.0.1:0"]);
    let home = home(&site, &format!("tls://{}", operator.tls), &["--domain", "192.0.2.0/24"]);
    operator.service.wait_for_log("read to its end");
    let (code, list, error) = operator.ask(&["proposals"]);
    assert_eq!((code, list.len()), (0, 1), "{error}");
    assert_eq!((&list[0]["peer"], &list[0]["alerts"]), (&HOME.into(), &3.into()));
    assert_eq!(list[0]["ietf-dots-call-home:source-prefix"].as_array().unwrap().len(), 3);
    let id = list[0]["id"].to_string();
    let (code, lines, error) = operator.ask(&["confirm", &id]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(lines[0]["mid"], 1);
    operator.stands(1, IN_FORCE);
    stands(&home, 1, IN_FORCE);
    assert_eq!(operator.ask(&["proposals"]).1.len(), 0);
    let (code, _, error) = operator.ask(&["dismiss", &id]);
    assert!(code == 1 && error.contains("no proposal"), "{code} {error}");
}

#[test]
fn by_rule_the_network_is_asked_at_once_and_for_all_sources() {
    let site = site();
    let rules = site.write("rules.toml", RULES);
    let eve = site.write("eve.json", "");
    let operator = Operator::start(&site, &["--eve", &eve, "--follow", "--rule", &rules]);
    let home = home(&site, &format!("dtls://{}", operator.dtls), &[]);
    assert_eq!(operator.mitigate("1", &["--target-prefix", "198.51.100.99/32"]).0, 0, "it has called");
    stands(&home, 1, IN_FORCE);
    let mut file = std::fs::OpenOptions::new().append(true).open(&eve).unwrap();
    // Of now: what is old is passed over.
    let now = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.000000+0000"]).output().unwrap();
    let now = String::from_utf8(now.stdout).unwrap();
    let fresh = |source: &str| alert(source, 2).replace("2026-01-31T12:00:00.000001+0000", now.trim());
    file.write_all(alert("192.0.2.200", 2).as_bytes()).unwrap();
    file.write_all(fresh("192.0.2.1").as_bytes()).unwrap();
    let event = stands(&home, 2, IN_FORCE);
    let sources = |event: &serde_json::Value| event["ietf-dots-call-home:source-prefix"].as_array().unwrap().len();
    assert_eq!((sources(&event), &event["target-protocol"][0]), (1, &17.into()), "{event}");
    file.write_all((fresh("192.0.2.2") + &fresh("192.0.2.3")).as_bytes()).unwrap();
    // A later request takes the place of the earlier one, and has the sources of both; whoever is slow asks twice.
    let event = loop {
        let event = home.event();
        if event["status"] == IN_FORCE && sources(&event) == 3 {
            break event;
        }
    };
    assert!(event["mid"].as_u64().unwrap() > 2, "{event}");
}

#[test]
fn rules_that_are_wrong_are_named_by_line() {
    let site = site();
    let rules = site.write("rules.toml", "[[rule]]\nname = \"x\"\nactoin = \"ignore\"\n");
    let tls = site.tls(crate::site::OPERATOR);
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let words = ["dots", "call-home-client", "--listen", "tls://127.0.0.1:0", "--rule", &rules];
    let output = watchfire_tests::run(&[&words[..], &tls].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("rules.toml:3: ") && error.contains("actoin"), "{error}");
}
