//! Suricata's output, from the file to the store.

use std::io::Write as _;
use std::time::Duration;

use watchfire_tests::{Site, run, succeed, wait_for};

fn sample() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/suricata/eve.json");
    std::fs::read_to_string(path).unwrap()
}

fn stored(site: &Site, store: &str, count: usize) -> Vec<serde_json::Value> {
    let look = || Some(site.alerts(store)).filter(|alerts| alerts.len() >= count);
    wait_for(|| format!("{} of {count} have arrived", site.alerts(store).len()), look)
}

#[test]
fn the_nine_alerts_of_the_sample_arrive_as_idmef() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let eve = site.write("eve.json", sample());
    let mut sensor = site.sensor(&["--connect", &manager.address(), "--eve", &eve, "--exit-when-drained"]);
    assert_eq!(sensor.line(), r#"{"event":"drained","sent":9,"acked":9,"rejected":0,"resent":0}"#);
    assert_eq!(sensor.wait(), 0);
    let alerts = site.alerts(&store);
    assert_eq!(alerts.len(), 9);
    let first = &alerts[0];
    assert_eq!(first["peer"], "sensor-1");
    assert_eq!(first["content_type"], "application/x-idef-alert");
    let alert = &first["alert"]["Alert"][0];
    assert_eq!(alert["Classification"]["text"], "IAPTEST WEB phf remote command attempt", "{alert}");
    assert_eq!(alert["Analyzer"]["analyzerid"], "sensor-1");
    assert!(first.get("body").is_none());
    // By source: one of them is IPv6.
    let of =
        |network: &str| succeed(&["iap", "alerts", "--json", "--store", &store, "--source", network]).lines().count();
    assert_eq!(of("2001:db8::/32"), 1);
    assert_eq!(of("192.0.2.0/24"), 4);
    assert_eq!(of("0.0.0.0/0"), 8);
}

#[test]
fn the_same_file_sent_again_is_stored_once() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let eve = site.write("eve.json", sample());
    // A new manager each time: nothing is remembered but in the store.
    for _ in 0..2 {
        let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
        let mut sensor = site.sensor(&["--connect", &manager.address(), "--eve", &eve, "--exit-when-drained"]);
        assert!(sensor.line().contains("\"acked\":9"));
        assert_eq!(sensor.wait(), 0);
    }
    assert_eq!(site.alerts(&store).len(), 9);
}

#[test]
fn a_file_is_followed_through_rotation() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let text = sample();
    let alerts: Vec<&str> = text.lines().filter(|line| line.contains("\"event_type\":\"alert\"")).collect();
    let path = site.file("eve.json");
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "{}", alerts[0]).unwrap();
    let spool = site.file("spool");
    let address = manager.address();
    let flags = ["--connect", &address, "--eve", &path, "--follow", "--spool", &spool];
    let mut sensor = site.sensor(&flags);
    stored(&site, &store, 1);
    // Half a line is not a line.
    write!(file, "{}", &alerts[1][..100]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(site.alerts(&store).len(), 1);
    writeln!(file, "{}", &alerts[1][100..]).unwrap();
    stored(&site, &store, 2);
    // Rotated, with a last line in the old file.
    std::fs::rename(&path, site.file("eve.json.1")).unwrap();
    writeln!(file, "{}", alerts[2]).unwrap();
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "{}", alerts[3]).unwrap();
    stored(&site, &store, 4);
    // Killed, written to meanwhile, started again.
    sensor.kill();
    writeln!(file, "{}", alerts[4]).unwrap();
    let mut sensor = site.sensor(&flags);
    stored(&site, &store, 5);
    sensor.signal("TERM");
    assert_eq!(sensor.wait(), 0, "{}", sensor.log());
    let classes: Vec<String> = site.alerts(&store).iter().map(|alert| alert["sha256"].to_string()).collect();
    assert_eq!(classes.len(), 5, "nothing twice");
}

#[test]
fn bad_lines_are_named_by_offset_and_skipped() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let text = sample();
    let alert = text.lines().find(|line| line.contains("\"event_type\":\"alert\"")).unwrap();
    let eve = site.write("eve.json", format!("not json\n{{\"event_type\":\"alert\"}}\n\n{alert}\n{{\"event_type\":"));
    let mut sensor = site.sensor(&["--connect", &manager.address(), "--eve", &eve, "--exit-when-drained"]);
    assert!(sensor.line().contains("\"acked\":1"));
    assert_eq!(sensor.wait(), 0);
    let log = sensor.log();
    for offset in ["offset=0", "offset=9"] {
        assert!(log.contains(offset), "{offset} in {log}");
    }
    assert_eq!(log.matches("line skipped").count(), 3, "{log}");
}

#[test]
fn framed_records_are_sent_octet_for_octet() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let mut framed = Vec::new();
    for record in [&b"with\nline feeds\r\n"[..], b"", b"\0\xff"] {
        framed.extend(u32::try_from(record.len()).unwrap().to_be_bytes());
        framed.extend(record);
    }
    let input = site.write("in", framed);
    let address = manager.address();
    let flags = ["--connect", &address, "--input", &input, "--framed", "--content-type", "application/octet-stream"];
    let sensor = site.sensor(&[&flags[..], &["--exit-when-drained"]].concat());
    assert!(sensor.line().contains("\"acked\":3"), "{}", sensor.log());
    let bodies: Vec<String> =
        site.alerts(&store).iter().map(|alert| alert["body"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bodies, ["d2l0aApsaW5lIGZlZWRzDQo=", "", "AP8="]);
    // A record cut short is an error, and says where.
    let cut = site.write("cut", b"\0\0\0\x05abc");
    let mut sensor = site.sensor(&["--connect", &address, "--input", &cut, "--framed", "--exit-when-drained"]);
    assert_eq!(sensor.wait(), 2);
    assert!(sensor.log().contains("octet 0"), "{}", sensor.log());
}

#[test]
fn standard_input_is_an_input() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let tls = site.tls("sensor-1");
    let mut arguments = vec!["iap", "sensor", "--json", "--manager-name", "manager.test"];
    arguments.extend(tls.iter().map(String::as_str));
    let address = manager.address();
    arguments.extend(["--connect", &address, "--input", "-", "--exit-when-drained"]);
    let mut child = watchfire_tests::watchfire(&arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"one\ntwo").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("\"acked\":2"));
    assert_eq!(site.alerts(&store).len(), 2);
}

#[test]
fn the_manager_dials_a_sensor_that_waits() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let eve = site.write("eve.json", sample());
    let mut sensor = site.sensor(&["--listen", "127.0.0.1:0", "--eve", &eve, "--exit-when-drained"]);
    let _manager = site.manager(&["--dial", &sensor.address(), "--store", &store]);
    assert!(sensor.line().contains("\"acked\":9"));
    assert_eq!(sensor.wait(), 0, "{}", sensor.log());
    assert_eq!(site.alerts(&store).len(), 9);
}

#[test]
fn a_disk_that_is_full_stops_acceptance_and_loses_nothing() {
    let site = Site::new();
    // Two folders on a small file system of their own, if this may be mounted.
    let mount = site.file("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs", &mount])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        watchfire_tests::skip("a_disk_that_is_full_stops_acceptance_and_loses_nothing", "a tmpfs cannot be mounted");
        return;
    }
    struct Unmount(String);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").args(["-l", &self.0]).status();
        }
    }
    let _unmount = Unmount(mount.clone());
    let filler = format!("{mount}/filler");
    let store = format!("sqlite:{mount}/alerts.db");
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let address = manager.address();
    std::fs::write(&filler, vec![0u8; 1 << 20]).unwrap();
    // More than fits.
    let lines: String = (0..2000).map(|n| format!("{n:04} {}\n", "x".repeat(1000))).collect();
    let input = site.write("in", lines);
    let mut sensor = site.sensor(&["--connect", &address, "--input", &input, "--exit-when-drained"]);
    manager.wait_for_log("cannot be kept");
    sensor.wait_for_log("cannot take alerts now");
    assert_eq!(sensor.ended(), None, "{}", sensor.log());
    // Room again: a larger file system, as an operator would make it.
    std::fs::remove_file(&filler).unwrap();
    let grown = std::process::Command::new("mount").args(["-o", "remount,size=64m", &mount]).status();
    assert!(grown.unwrap().success());
    let drained = sensor.line();
    assert!(drained.contains("\"acked\":2000") && drained.contains("\"rejected\":0"), "{drained}");
    assert_eq!(sensor.wait(), 0);
    assert_eq!(site.alerts(&store).len(), 2000);
    drop(manager);
}

#[test]
fn alerts_that_are_wanted_by_nobody_say_so() {
    let site = Site::new();
    let none = run(&["iap", "alerts", "--store", &format!("sqlite:{}", site.file("none.db"))]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("none.db"));
}
