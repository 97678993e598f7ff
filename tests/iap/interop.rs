//! An independent peer: IAP in sixty lines of Python, written from the draft, with Python's own TLS.

use std::process::{Command, Stdio};

use watchfire_tests::{Site, skip};

fn python() -> Option<&'static str> {
    let works = |python: &str| {
        let asked =
            Command::new(python).args(["-c", "import ssl; ssl.TLSVersion.TLSv1_3"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    ["/usr/bin/python3", "python3"].into_iter().find(|python| works(python))
}

fn peer(site: &Site, role: &str, name: &str, rest: &[&str]) -> Option<Command> {
    let Some(python) = python() else {
        skip(role, "no python3 with ssl");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/iap/peer.py")).arg(role);
    command.args([site.file(&format!("{name}.pem")), site.file(&format!("{name}.key")), site.file("ca.pem")]);
    command.args(rest).stderr(Stdio::inherit());
    Some(command)
}

#[test]
fn a_python_analyzer_delivers_the_draft_s_own_example() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let address = manager.address();
    let Some(mut analyzer) = peer(&site, "analyzer", "sensor-2", &[&address]) else { return };
    let output = analyzer.output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), manager.log());
    let said = String::from_utf8(output.stdout).unwrap();
    // Channel setup, then: the example of section 4.4, a type nobody knows is still kept, two pipelined, bad XML.
    assert_eq!(said.lines().collect::<Vec<_>>(), ["200", "101", "200", "200", "200", "200", "200", "400"], "{said}");
    let bodies: Vec<_> = site.alerts(&store).into_iter().map(|alert| alert["body"].as_str().unwrap().len()).collect();
    assert_eq!(bodies.first(), Some(&88), "64 octets in base64");
    assert_eq!(bodies.len(), 4);
}

#[test]
fn a_python_manager_takes_our_alerts() {
    let site = Site::new();
    let Some(mut manager) = peer(&site, "manager", "manager.test", &["3"]) else { return };
    let mut manager = manager.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(manager.stdout.take().unwrap()));
    let address = lines.next().unwrap().unwrap();
    let input = site.write("in", "one\ntwo\nthree\n");
    let mut sensor = site.sensor(&["--connect", &address, "--input", &input, "--exit-when-drained"]);
    assert_eq!(sensor.line(), r#"{"event":"drained","sent":3,"acked":3,"rejected":0,"resent":0}"#, "{}", sensor.log());
    assert_eq!(sensor.wait(), 0);
    assert!(manager.wait().unwrap().success());
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(said, ["sensor-1", "one", "two", "three", "close_notify"]);
}
