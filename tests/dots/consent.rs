//! An administrator of the network is asked before anything is stopped.

use watchfire_tests::{Service, Site};

use crate::site::{HOME, IN_FORCE, Operator, ask, http, site, stands};

const IN_PROGRESS: &str = "attack-mitigation-in-progress";

/// A network that calls there and asks its administrator; and where that is to be answered.
fn home(site: &Site, operator: &Operator) -> (Service, String) {
    let flags = ["--consent", "--api", "127.0.0.1:0", "--domain", "192.0.2.0/24"];
    let home = crate::site::home(site, &format!("tls://{}", operator.tls), &flags);
    let listening = home.event();
    assert_eq!((&listening["event"], &listening["service"]), (&"listening".into(), &"dots-api".into()));
    (home, listening["addr"].as_str().unwrap().to_owned())
}

/// Waits until the administrator is asked, and gives what about.
fn asked(home: &Service) -> serde_json::Value {
    loop {
        let event = home.event();
        if event["event"] == "consent" {
            return event;
        }
        assert_eq!(event["status"], IN_PROGRESS, "{event}");
    }
}

#[test]
fn an_administrator_is_asked_before_anything_is_stopped() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let (home, api) = home(&site, &operator);
    let (code, _, error) = operator.mitigate("1", &[]);
    assert_eq!(code, 0, "{error}");
    operator.stands(1, IN_PROGRESS);
    let event = asked(&home);
    assert_eq!((&event["mid"], &event["peer"]), (&1.into(), &crate::site::OPERATOR.into()));
    assert_eq!(event["ietf-dots-call-home:source-prefix"][0], "192.0.2.10/32");
    let (code, waiting, error) = ask(&api, &["consents"]);
    assert_eq!((code, waiting.len()), (0, 1), "{error}");
    let id = waiting[0]["id"].to_string();
    assert_eq!(event["id"].to_string(), id);
    assert_eq!(ask(&api, &["status"]).1[0]["awaits-consent"], true);
    assert!(!home.log().contains("to be stopped"), "{}", home.log());
    let (code, lines, error) = ask(&api, &["agree", &id]);
    assert_eq!((code, &lines[0]["status"]), (0, &IN_FORCE.into()), "{error}");
    home.wait_for_log("to be stopped");
    stands(&home, 1, IN_FORCE);
    operator.stands(1, IN_FORCE);
    assert!(ask(&api, &["consents"]).1.is_empty());
    // What was answered is answered.
    let (code, _, error) = ask(&api, &["refuse", &id]);
    assert!(code == 1 && error.contains("waits for consent"), "{code} {error}");
}

#[test]
fn what_an_administrator_refuses_is_withdrawn() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let (home, api) = home(&site, &operator);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
    let id = asked(&home)["id"].to_string();
    let (code, lines, error) = ask(&api, &["refuse", &id]);
    assert_eq!((code, &lines[0]["status"]), (0, &"attack-mitigation-withdrawn".into()), "{error}");
    until(&home, "attack-mitigation-withdrawn");
    assert!(!home.log().contains("to be stopped"), "{}", home.log());
    // The operator hears of it.
    until(&operator.service, "attack-mitigation-withdrawn");
}

/// Waits for a line that says so.
fn until(service: &Service, status: &str) {
    while service.event()["status"] != status {}
}

#[test]
fn the_interface_is_guarded_and_names_what_is_wrong() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let (_home, api) = home(&site, &operator);
    for (words, code, text) in [
        (&["agree", "7"][..], 1, "nothing of number 7 waits"),
        (&["status", "--follow"], 2, "cannot be followed"),
        (&["proposals"], 2, "no such resource"),
        (&["withdraw", "--peer", HOME, "--mid", "1"], 2, "no such resource"),
    ] {
        let (exit, _, error) = ask(&api, words);
        assert!(exit == code && error.contains(text), "{words:?}: {exit} {error}");
    }
    let evil = http(&api, "POST /v1/consents/0/agree HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n");
    assert!(evil.starts_with("HTTP/1.1 403"), "{evil}");
    let words =
        ["dots", "call-home-server", "--connect", "h", "--peer-name", "n", "--cert", "c", "--key", "k", "--ca", "a"];
    let output = watchfire_tests::run(&[&words[..], &["--consent"]].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("--api"), "{error}");
}
