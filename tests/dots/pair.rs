//! Both sides: a call over either transport, a request and its end.

use serde_json::Value;
use watchfire_tests::{Service, get, readiness, until, wait_for};

use crate::site::{HOME, IN_FORCE, Operator, home, is_told_that_it_fails, site, stands};

fn whole_life(transport: &str) {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let address = if transport == "tls" { &operator.tls } else { &operator.dtls };
    let metrics = ["--metrics", "127.0.0.1:0", "--domain", "192.0.2.0/24"];
    let home = home(&site, &format!("{transport}://{address}"), &metrics);
    let metrics = home.address();
    // It waits until the network has called.
    let (code, lines, error) = operator.mitigate("7", &["--lifetime", "600"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!((&lines[0]["peer"], &lines[0]["mid"]), (&Value::from(HOME), &Value::from(7)));
    let cuid = lines[0]["cuid"].as_str().unwrap().to_owned();
    assert_eq!(cuid.len(), 22);
    operator.stands(7, IN_FORCE);
    let event = stands(&home, 7, IN_FORCE);
    assert_eq!(event["cuid"], cuid.as_str());
    assert_eq!(event["ietf-dots-call-home:source-prefix"][0], "192.0.2.10/32");
    readiness(&metrics, &home, |_, body| body.trim_end() == "ready");
    for line in [
        "# HELP watchfire_dots_sessions Sessions there are.",
        "watchfire_dots_sessions 1",
        "watchfire_dots_mitigations{status=\"attack-successfully-mitigated\"} 1",
        "watchfire_dots_enforce_calls_total{call=\"start\"} 1",
        "watchfire_dots_enforce_seconds_count 1",
    ] {
        until(line, || get(&metrics, "/metrics").unwrap().lines().any(|found| found == line));
    }

    let follower = Service::start(&["dots", "status", "--json", "--api", &operator.api, "--follow"]);
    assert_eq!(follower.event()["status"], IN_FORCE);
    let (code, lines, _) = operator.ask(&["status", "--peer", HOME]);
    assert_eq!((code, lines.len(), &lines[0]["target-prefix"][0]), (0, 1, &Value::from("198.51.100.7/32")));
    // The same again is a new lifetime, something else under its number is a mistake.
    let (code, lines, error) = operator.mitigate("7", &["--lifetime", "1200"]);
    assert_eq!(code, 0, "{error}");
    assert!(lines[0]["lifetime"].as_u64().unwrap() > 600, "{lines:?}");
    let (code, _, error) = operator.mitigate("7", &["--target-port", "53"]);
    assert!(code == 2 && error.contains("higher mid"), "{code} {error}");

    let (code, _, error) = operator.ask(&["withdraw", "--peer", HOME, "--mid", "7"]);
    assert_eq!(code, 0, "{error}");
    stands(&home, 7, "dots-client-withdrawn-mitigation");
    stands(&home, 7, "attack-mitigation-terminated");
    while follower.event()["status"] != "attack-mitigation-terminated" {}
    let (code, _, error) = operator.ask(&["withdraw", "--peer", HOME, "--mid", "7"]);
    assert!(code == 1 && error.contains("no such mitigation"), "{code} {error}");
    for mut service in [home, operator.service] {
        service.signal("TERM");
        assert_eq!(service.wait(), 0, "{}", service.log());
    }
}

#[test]
fn over_tls() {
    whole_life("tls");
}

#[test]
fn over_dtls() {
    whole_life("dtls");
}

#[test]
fn without_a_scheme_whichever_works() {
    let site = site();
    // TLS and DTLS at one port.
    let address = format!("{}:4647", watchfire_testkit::own_loopback());
    let operator = Operator::at(&site, &format!("tls://{address}"), &format!("dtls://{address}"), &[]);
    let _home = home(&site, &address, &[]);
    let (code, _, error) = operator.mitigate("1", &[]);
    assert_eq!(code, 0, "{error}");
}

#[test]
fn sources_that_are_not_here_are_refused() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let words = ["--domain", "192.0.2.0/25", "--domain", "2001:db8::/32", "--exempt", "192.0.2.53"];
    let _home = home(&site, &format!("tls://{}", operator.tls), &words);
    let (code, _, error) = operator.mitigate("1", &["--source-prefix", "203.0.113.9/32"]);
    assert!(code == 1 && error.contains("203.0.113.9/32 is not in this domain"), "{code} {error}");
    let (code, _, error) = operator.mitigate("2", &["--source-prefix", "192.0.2.0/24"]);
    assert!(code == 1 && error.contains("not in this domain"), "half of it is not: {code} {error}");
    let (code, _, error) = operator.mitigate("3", &["--source-prefix", "192.0.2.0/25"]);
    assert!(code == 1 && error.contains("never stops"), "{code} {error}");
    let v6 = ["--source-prefix", "2001:db8::9/128", "--target-prefix", "2001:db8:ffff::7/128"];
    let (code, _, error) = operator.mitigate("4", &v6);
    assert_eq!(code, 0, "{error}");
    for (bad, why) in [("224.0.0.1/32", "multicast"), ("2001:db8::9/128", "address family")] {
        let (code, _, error) = operator.mitigate("5", &["--source-prefix", bad]);
        assert!(code == 2 && error.contains(why), "{code} {error}");
    }
    let (code, _, error) = operator.mitigate("3", &[]);
    assert!(code == 2 && error.contains("not above"), "{code} {error}");
}

#[test]
fn who_has_not_called_is_not_asked() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let (code, _, error) = operator.mitigate("1", &["--timeout", "1"]);
    assert!(code == 3 && error.contains("nobody of this name has called"), "{code} {error}");
    let (code, _, error) = operator.ask(&["withdraw", "--peer", HOME, "--mid", "1"]);
    assert_eq!(code, 1, "{error}");
    let (code, lines, _) = operator.ask(&["status"]);
    assert_eq!((code, lines.len()), (0, 0));
    assert_eq!(operator.ask(&["status", "--peer", "x.test"]).0, 1);
}

#[test]
fn a_peer_that_died_is_told_as_such() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let mut home = home(&site, &format!("dtls://{}", operator.dtls), &[]);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
    home.kill();
    let (code, _, error) = operator.mitigate("2", &["--timeout", "2", "--target-port", "53"]);
    assert!(code == 3 && error.contains("goes on being asked"), "{code} {error}");
    let (code, _, error) = operator.ask(&["withdraw", "--peer", HOME, "--mid", "2", "--timeout", "1"]);
    assert_eq!(code, 3, "{error}");
}

#[test]
fn a_network_calls_again_and_what_is_asked_goes_on() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let mut first = home(&site, &format!("tls://{}", operator.tls), &[]);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
    first.kill();
    let second = home(&site, &format!("dtls://{}", operator.dtls), &[]);
    // It has forgotten all, and is asked again without anybody's doing.
    stands(&second, 1, IN_FORCE);
    operator.stands(1, IN_FORCE);
}

#[test]
fn what_fails_is_never_called_done() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let script = site.write("hook", "#!/bin/sh\necho \"$@\" >> \"$0.log\"\ncat >> \"$0.log\"\n[ -e \"$0.fail\" ] && { echo 'no room left' >&2; exit 3; }\nexit 0\n");
    std::process::Command::new("chmod").args(["755", &script]).status().unwrap();
    site.write("hook.fail", "");
    let words = ["--enforce", "exec", "--hook", &script, "--hook-arg", "; rm -rf", "--metrics", "127.0.0.1:0"];
    let home = home(&site, &format!("tls://{}", operator.tls), &words);
    let metrics = home.address();
    is_told_that_it_fails(|| operator.mitigate("1", &[]));
    stands(&home, 1, "attack-exceeded-capability");
    home.wait_for_log("no room left");
    readiness(&metrics, &home, |head, body| head.starts_with("HTTP/1.1 503") && body.contains("dots enforcement"));
    std::fs::remove_file(site.file("hook.fail")).unwrap();
    // It is tried again without being asked.
    stands(&home, 1, IN_FORCE);
    assert_eq!(operator.ask(&["withdraw", "--peer", "home.test", "--mid", "1"]).0, 0);
    stands(&home, 1, "attack-mitigation-terminated");
    let read = || std::fs::read_to_string(site.file("hook.log")).unwrap();
    let log = wait_for(read, || Some(read()).filter(|log| log.contains(" stop ")));
    let calls: Vec<&str> = log.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(calls[0].starts_with("; rm -rf start isp.test ") && calls[0].ends_with(" 1"), "{log}");
    assert!(calls.iter().any(|call| call.starts_with("; rm -rf stop isp.test ")), "{log}");
    let said: Value = serde_json::from_str(log.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!(said["ietf-dots-call-home:source-prefix"][0], "192.0.2.10/32");
}

#[test]
fn who_is_full_says_so() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let _home = home(&site, &format!("tls://{}", operator.tls), &["--max-mitigations", "1"]);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
    let (code, _, error) = operator.mitigate("2", &["--target-port", "53", "--target-prefix", "198.51.100.8/32"]);
    assert!(code == 1 && error.contains("asked again in 30 s"), "{code} {error}");
}

#[test]
fn routes_are_written_for_routers() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let routes = site.file("routes");
    let words = ["--enforce", "flowspec", "--flowspec-output", &routes];
    let home = home(&site, &format!("tls://{}", operator.tls), &words);
    let more = [
        "--target-protocol",
        "udp",
        "--target-port",
        "53",
        "--source-prefix",
        "192.0.2.1",
        "--source-prefix",
        "192.0.2.2",
    ];
    assert_eq!(operator.mitigate("1", &more).0, 0);
    stands(&home, 1, IN_FORCE);
    assert_eq!(operator.ask(&["withdraw", "--peer", "home.test", "--mid", "1"]).0, 0);
    stands(&home, 1, "attack-mitigation-terminated");
    let read = || std::fs::read_to_string(&routes).unwrap();
    let text = wait_for(read, || Some(read()).filter(|text| text.lines().count() >= 4));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    let route = "flow route { match { source 192.0.2.1/32; destination 198.51.100.7/32; protocol [ =17 ]; \
                 destination-port [ =53 ]; } then { discard; } }";
    assert_eq!((lines[0], lines[2]), (format!("announce {route}").as_str(), format!("withdraw {route}").as_str()));
}
