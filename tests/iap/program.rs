//! The command line's contract: addresses, exit codes, one-line errors, signals.

use watchfire_tests::{Service, Site, get, run, succeed, until};

#[test]
fn every_port_is_configurable() {
    // IANA never assigned one, so there is no default to fall back to: the address says it.
    let site = Site::new();
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    let (first, second, metrics) = (manager.address(), manager.address(), manager.event());
    assert_ne!(first, second);
    assert_eq!(metrics["service"], "metrics");
    let port: u16 = first.rsplit(':').next().unwrap().parse().unwrap();
    assert_ne!(port, 0);
}

#[test]
fn a_simple_analyzer_needs_a_manager_and_its_certificate() {
    let site = Site::new();
    let tls = site.tls("sensor-1");
    let input = site.write("in", "x\n");
    let base: Vec<&str> = ["iap", "sensor", "--input", &input].into_iter().collect();
    let with = |more: &[&str]| {
        let mut all = base.clone();
        all.extend(more);
        run(&all)
    };
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    // Neither address nor name nor certificate can be left out.
    let no_address = with(&[&tls[..], &["--manager-name", "manager.test"]].concat());
    let no_name = with(&[&tls[..], &["--connect", "127.0.0.1:1"]].concat());
    let no_certificate = with(&["--connect", "127.0.0.1:1", "--manager-name", "manager.test"]);
    for (output, missing) in [(no_address, "--connect"), (no_name, "--manager-name"), (no_certificate, "--cert")] {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(missing) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn a_dead_peer_is_exit_3_and_the_alerts_stay() {
    let site = Site::new();
    let input = site.write("in", "one\ntwo\n");
    let spool = site.file("spool");
    let flags = ["--connect", "127.0.0.1:1", "--input", &input, "--spool", &spool, "--exit-when-drained"];
    let mut sensor = site.sensor(&[&flags[..], &["--give-up-after", "5s"]].concat());
    assert_eq!(sensor.wait(), 3);
    let log = sensor.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("127.0.0.1:1"), "{log}");
    // The next run delivers what the first could not, and reads nothing twice.
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let flags = ["--connect", &manager.address(), "--input", &input, "--spool", &spool, "--exit-when-drained"];
    let mut sensor = site.sensor(&flags);
    assert_eq!(sensor.line(), r#"{"event":"drained","sent":2,"acked":2,"rejected":0,"resent":0}"#);
    assert_eq!(sensor.wait(), 0);
    assert_eq!(site.alerts(&store).len(), 2);
}

#[test]
fn a_refused_certificate_is_exit_1_with_the_reason() {
    let site = Site::new();
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--allow", "sensor-2", "--output", "-"]);
    let input = site.write("in", "one\n");
    let flags = ["--connect", &manager.address(), "--input", &input, "--exit-when-drained", "--give-up-after", "10s"];
    let mut sensor = site.sensor(&flags);
    assert_eq!(sensor.wait(), 1, "{}", sensor.log());
    manager.wait_for_log("allow list");
}

#[test]
fn bad_files_are_named_with_a_remedy() {
    let site = Site::new();
    let missing =
        run(&["iap", "manager", "--listen", "127.0.0.1:0", "--cert", "/nowhere.pem", "--key", "k", "--ca", "c"]);
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(2));
    assert!(error.contains("/nowhere.pem") && error.lines().count() == 1, "{error}");

    let config =
        site.write("bad.toml", "[[iap.proxy]]\nlisten = [\"127.0.0.1:0\"]\nnexthop = \"127.0.0.1:1\"\nname = \"p\"\n");
    let checked = run(&["config", "check", &config]);
    let error = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2));
    assert!(error.contains("bad.toml:3:1") && error.contains("next-hop"), "{error}");
}

#[test]
fn services_from_one_file_drain_on_sigterm() {
    let site = Site::new();
    let config = site.write(
        "all.toml",
        "[[iap.manager]]\nlisten = [\"127.0.0.1:0\"]\ncert = \"manager.test.pem\"\nkey = \"manager.test.key\"\nca = \"ca.pem\"\n\
         store = \"sqlite:alerts.db\"\n\n[[iap.proxy]]\nlisten = [\"127.0.0.1:0\"]\nnext-hop = \"127.0.0.1:1\"\nname = \"p.test\"\n",
    );
    assert!(succeed(&["config", "check", &config]).contains("2 service"));
    let mut all = Service::start(&["run", "--config", &config, "--json"]);
    let mut names = [all.event(), all.event()].map(|event| event["service"].as_str().unwrap().to_owned());
    names.sort();
    assert_eq!(names, ["iap-manager", "iap-proxy"]);
    all.signal("TERM");
    assert_eq!(all.wait(), 0, "{}", all.log());
}

#[test]
fn metrics_and_health_tell_what_happens() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store, "--metrics", "127.0.0.1:0"]);
    let (address, metrics) = (manager.address(), manager.address());
    let input = site.write("in", "one\ntwo\nthree\n");
    let mut sensor = site.sensor(&["--connect", &address, "--input", &input, "--exit-when-drained"]);
    assert_eq!(sensor.wait(), 0, "{}", sensor.log());
    for line in ["watchfire_iap_alerts_accepted_total 3", "watchfire_iap_alerts_kept_total{peer=\"sensor-1\"} 3"] {
        until(line, || get(&metrics, "/metrics").unwrap().lines().any(|found| found == line));
    }
    for path in ["/readyz", "/healthz"] {
        assert!(get(&metrics, path).unwrap().starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[test]
fn outputs_have_the_contract_s_lines() {
    let site = Site::new();
    let (json, xml) = (site.file("out.ndjson"), site.file("out.xml"));
    let flags = ["--output", &format!("ndjson:{json}"), "--output", &format!("xml:{xml}")];
    let manager = site.manager(&[&["--listen", "127.0.0.1:0"], &flags[..]].concat());
    let input = site.write("in", "plain text\n");
    let flags =
        ["--connect", &manager.address(), "--input", &input, "--exit-when-drained", "--content-type", "text/plain"];
    assert_eq!(site.sensor(&flags).wait(), 0);
    let line: serde_json::Value = serde_json::from_str(std::fs::read_to_string(json).unwrap().trim()).unwrap();
    assert_eq!(line["peer"], "sensor-1");
    assert_eq!(line["content_type"], "text/plain");
    assert_eq!(line["alert"], serde_json::Value::Null);
    assert_eq!(line["body"], "cGxhaW4gdGV4dA==");
    assert_eq!(line["sha256"], "c9ecf5e54c7b3f2640ecca21f96d4c3625a2b7935104f41c5ede29935a9e52c9");
}
