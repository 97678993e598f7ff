//! What survives `kill -9`.

use serde_json::Value;
use watchfire_tests::{run, until};

use crate::site::{HOME, IN_FORCE, OPERATOR, Operator, home, site, stands};

fn kept(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn mitigations_are_in_force_again_without_being_asked() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let (state, domain) = (site.file("state"), "192.0.2.0/24");
    let flags = ["--state", &state, "--domain", domain];
    let mut first = home(&site, &format!("tls://{}", operator.tls), &flags);
    assert_eq!(operator.mitigate("3", &["--lifetime", "500"]).0, 0);
    let request = ["mitigate", "--peer", HOME, "--mid", "4", "--source-prefix", "192.0.2.10", "--lifetime", "-1"];
    assert_eq!(operator.ask(&[&request[..], &["--target-prefix", "198.51.100.9"]].concat()).0, 0);
    first.kill();
    let mut operator = operator;
    operator.service.kill();
    // Nobody is there to ask for it.
    let mut second = home(&site, &format!("tls://{}", operator.tls), &flags);
    // In any order.
    let mut back = std::collections::BTreeMap::new();
    while back.len() < 2 {
        let event = second.event();
        if event["status"] == IN_FORCE {
            back.insert(event["mid"].as_u64().unwrap(), event);
        }
    }
    let left = back[&3]["lifetime"].as_u64().unwrap();
    assert!((400..=500).contains(&left), "{back:?}");
    assert_eq!(back[&3]["ietf-dots-call-home:source-prefix"][0], "192.0.2.10/32");
    assert_eq!(back[&4]["lifetime"], -1);
    // A drain keeps it, too.
    second.signal("TERM");
    assert_eq!(second.wait(), 0);
    assert_eq!(kept(&site.file("state/mitigations.json"))["mitigations"].as_array().unwrap().len(), 2);
    // What is not ours any more is not stopped again.
    let third = home(&site, &format!("tls://{}", operator.tls), &["--state", &state, "--domain", "198.18.0.0/15"]);
    third.wait_for_log("its sources are not ours now");
}

#[test]
fn what_is_over_is_forgotten() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let state = site.file("state");
    let home = home(&site, &format!("dtls://{}", operator.dtls), &["--state", &state]);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
    let file = site.file("state/mitigations.json");
    stands(&home, 1, IN_FORCE);
    assert_eq!(kept(&file)["mitigations"].as_array().unwrap().len(), 1);
    assert_eq!(operator.ask(&["withdraw", "--peer", HOME, "--mid", "1"]).0, 0);
    stands(&home, 1, "attack-mitigation-terminated");
    until("it is forgotten", || kept(&file)["mitigations"].as_array().unwrap().is_empty());
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_lost() {
    let site = site();
    std::fs::create_dir(site.file("state")).unwrap();
    let file = site.write("state/mitigations.json", "{\"version\":1,\"mitigations\":[{\"peer");
    let tls = site.tls(HOME);
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let state = site.file("state");
    let words = ["dots", "call-home-server", "--connect", "127.0.0.1:9", "--peer-name", OPERATOR, "--state", &state];
    let output = run(&[&words[..], &tls].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("mitigations.json: damaged"), "{error}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"version\":1,\"mitigations\":[{\"peer");
}
