//! What a mistake is answered with: one line that says what failed, where, and what to do; and nothing left behind.

use std::fs::File;
use std::process::Output;

use watchfire_tests::{Site, run, watchfire};

/// The exit code, and the line.
fn answer(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    (output.status.code(), lines[0].to_owned())
}

#[test]
fn each_says_what_to_do() {
    let site = Site::new();
    let tls = site.tls("manager.test");
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let (folder, text, missing) = (site.file(""), site.write("text", "no database"), site.file("no/thing"));
    let sqlite = |path: &str| format!("sqlite:{path}");
    let manager = |more: &[&str]| run(&[&["iap", "manager", "--listen", "127.0.0.1:0"], &tls[..], more].concat());
    let alerts = |path: &str| run(&["iap", "alerts", "--store", &sqlite(path)]);
    let accounts = site.file("accounts.toml");
    let broker = ["obp", "broker", "--listen", "127.0.0.1:0", "--resolver", "127.0.0.1:9", "--accounts", &accounts];
    let absent = ["iap", "manager", "--listen", "127.0.0.1:0", "--cert", &missing, "--key", &missing, "--ca", &missing];
    let sensor = ["iap", "sensor", "--connect", "127.0.0.1:9", "--manager-name", "m", "--eve", &missing];
    let sensor_tls = site.tls("sensor-1");
    let sensor_tls: Vec<&str> = sensor_tls.iter().map(String::as_str).collect();
    for (output, code, place, remedy) in [
        (run(&absent), 2, missing.as_str(), "; check the path"),
        (manager(&["--store", &sqlite(&missing)]), 2, &missing, "unable to open database file; check that its folder"),
        (manager(&["--store", "postgres://x@127.0.0.1:1/y"]), 3, "127.0.0.1:1", "; check the host and the port"),
        (manager(&["--store", &sqlite(&text)]), 2, &text, "; name a file of SQLite"),
        (run(&[&["iap", "manager", "--listen", "nohost.invalid:1"], &tls[..]].concat()), 2, "nohost", "; name an addr"),
        (alerts(&folder), 2, &folder, "; it is a folder"),
        (alerts(&text), 2, &text, "; name a file of SQLite"),
        (run(&[&sensor[..], &sensor_tls].concat()), 2, &missing, "; check the path"),
        (run(&[&broker[..], &["--policy", &missing]].concat()), 2, &format!("{missing}: "), "; give the path"),
    ] {
        let (found, line) = answer(&output);
        assert!(found == Some(code) && line.contains(place) && line.contains(remedy), "{place} {remedy}: {line}");
        assert_eq!(line.matches(place).count(), 1, "{line}");
    }
}

#[test]
fn what_cannot_be_read_to_its_end_leaves_no_store_behind() {
    let site = Site::new();
    let entry = "{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"a.example\",\"rating\":1.0}\n";
    // More than goes to the store at a time.
    let good = site.write("good.ndjson", entry.repeat(5_000));
    let bad = site.write("bad.ndjson", entry.repeat(5_000) + "{");
    let store = site.file("entries.db");
    let import = |store: &str, file: &str| run(&["repute", "import", "--store", store, "--ndjson", file]);
    let (code, line) = answer(&import(&format!("sqlite:{store}"), &bad));
    assert!(code == Some(2) && line.contains("bad.ndjson:5001") && line.contains("nothing was imported"), "{line}");
    let ours = || {
        let names = std::fs::read_dir(site.file("")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("entries.db")).count()
    };
    assert_eq!(ours(), 0);
    assert!(import(&format!("sqlite:{store}"), &good).status.success());
    assert_eq!(ours(), 1);
    assert!(import(&format!("sqlite:{store}"), &bad).status.code() == Some(2) && ours() == 1);
    assert!(import(&format!("sqlite:{store}"), &good).status.success(), "what is there is added to");
    for (words, wanted) in [
        (&["repute", "import", "--ndjson", &good, "--store", "bogus:"][..], "sqlite:PATH"),
        (&["repute", "serve", "--listen", "127.0.0.1:0", "--data", "bogus:x"], "sqlite:PATH"),
        (&["obp", "account", "add", "a@b", "--accounts", "bogus:x"], "./NAME"),
        (&["iap", "alerts", "--store", "bogus:x"], "sqlite:PATH"),
    ] {
        let output = watchfire(words).current_dir(site.file("")).output().unwrap();
        let (code, line) = answer(&output);
        assert!(code == Some(2) && line.contains(wanted), "{line}");
    }
    assert!(
        !std::path::Path::new(&site.file("bogus:")).exists() && !std::path::Path::new(&site.file("bogus:x")).exists()
    );
}

#[test]
fn help_that_cannot_be_written_is_no_success() {
    for words in [&["--help"][..], &["--version"], &["iap", "manager", "--help"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, line) = answer(&watchfire(words).stdout(full).output().unwrap());
        assert!(code == Some(2) && line.contains("standard output"), "{line}");
        assert_eq!(run(words).status.code(), Some(0));
    }
}
