//! The program from outside: exit codes, streams, the one-line errors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn watchfire(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_watchfire"))
        .args(args)
        .env_remove("RUST_LOG")
        .output()
        .expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("results are UTF-8")
}

/// A failure has the code, says it in one line, and says nothing on standard output.
fn fails(args: &[&str], code: i32, wanted: &[&str]) {
    let output = watchfire(args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    assert!(text.starts_with("error: "), "{text}");
    for part in wanted {
        assert!(text.contains(part), "{args:?} said {text:?} without {part:?}");
    }
    assert!(output.stdout.is_empty());
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("watchfire-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn mistakes_are_one_line_and_code_2() {
    fails(&["iap", "manager"], 2, &["--cert", "`watchfire iap manager --help`"]);
    fails(&["iap", "sensor", "--wnidow", "1"], 2, &["--wnidow", "--window"]);
    fails(&["iap", "alerts", "--store", "mysql:x"], 2, &["sqlite:PATH"]);
    fails(&["iap", "alerts", "--store", "sqlite:/nowhere/a.db"], 2, &["/nowhere/a.db", "no such file"]);
    fails(&["iap", "alerts", "--store", "sqlite:x", "--since", "yesterday"], 2, &["15m", "7d"]);
    fails(&["pki", "issue", "--dir", "/nowhere", "--profile", "tls-server", "--name", "x"], 2, &["pki init"]);
    fails(&["run", "--config", "/nowhere.toml"], 2, &["/nowhere.toml", "check the path"]);
    fails(&["nosuch"], 2, &["nosuch"]);
}

#[test]
fn an_unreachable_store_is_code_3() {
    fails(&["iap", "alerts", "--store", "postgres://u:secret@127.0.0.1:1/db"], 3, &["postgres://u@127.0.0.1:1/db: "]);
    let output = watchfire(&["iap", "alerts", "--store", "postgres://u:secret@127.0.0.1:1/db"]);
    assert!(!stderr(&output).contains("secret"));
}

#[test]
fn help_and_version_are_results() {
    for args in [&["--help"][..], &["--version"], &["iap", "sensor", "--help"], &["help", "pki"]] {
        let output = watchfire(args);
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(watchfire(&[]).status.code(), Some(2));
}

#[test]
fn pki_through_the_program() {
    let dir = Dir::new("pki");
    let at = dir.at("ca");
    let output = watchfire(&["pki", "init", "--dir", &at]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), [format!("{at}/ca.pem"), format!("{at}/ca.key")]);
    let issue =
        ["pki", "issue", "--dir", &at, "--profile", "iap-manager", "--name", "m", "--san", "IP:127.0.0.1", "--json"];
    let output = watchfire(&issue);
    assert!(output.status.success(), "{}", stderr(&output));
    for line in stdout(&output).lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(Path::new(value["file"].as_str().unwrap()).exists());
    }
    fails(&issue, 2, &["m.pem", "--force"]);
    let output = watchfire(&["pki", "crl", "--dir", &at, "--revoke", "m"]);
    assert_eq!(stdout(&output).trim(), format!("{at}/ca.crl.pem"));
}

#[test]
fn config_check_finds_what_run_would_stumble_over() {
    let dir = Dir::new("config");
    let at = dir.at("");
    for args in [
        &["pki", "init", "--dir", &at][..],
        &["pki", "issue", "--dir", &at, "--profile", "iap-manager", "--name", "m"],
        &["pki", "issue", "--dir", &at, "--profile", "iap-manager", "--name", "n"],
    ] {
        assert!(watchfire(args).status.success());
    }
    let file = dir.at("c.toml");
    let good = "[iap.manager]\nlisten = \"127.0.0.1:7000\"\ncert = \"m.pem\"\nkey = \"m.key\"\nca = \"ca.pem\"\nstore = \"sqlite:a.db\"\n";
    std::fs::write(&file, good).unwrap();
    let output = watchfire(&["config", "check", &file]);
    assert!(output.status.success(), "{}", stderr(&output));
    for (from, to, wanted) in [
        ("m.key", "n.key", "is not the key of the certificate"),
        ("m.pem", "none.pem", "none.pem"),
        ("\"ca.pem", "\"m.key", "holds no certificate"),
        ("sqlite:a.db", "sqlite:none/a.db", "no such folder"),
        ("listen =", "lisen =", "c.toml:2:1: iap.manager.lisen: unknown key; did you mean `listen`?"),
        ("\"127.0.0.1:7000\"", "[\"127.0.0.1:7000\", \"127.0.0.1:7000\"]", "used twice"),
    ] {
        std::fs::write(&file, good.replace(from, to)).unwrap();
        fails(&["config", "check", &file], 2, &[wanted]);
    }
    // Each problem has its own line.
    std::fs::write(&file, good.replace("m.pem", "none.pem").replace("ca.pem", "none2.pem")).unwrap();
    let output = watchfire(&["config", "check", &file]);
    assert_eq!((output.status.code(), stderr(&output).lines().count()), (Some(2), 2), "{}", stderr(&output));
}

#[test]
fn completions_and_manual_cover_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = watchfire(&["completions", shell]);
        assert!(output.status.success() && stdout(&output).contains("exit-when-drained"), "{shell}");
    }
    let dir = Dir::new("man");
    assert!(watchfire(&["man", &dir.at("pages")]).status.success());
    for page in ["watchfire.1", "watchfire-iap-sensor.1", "watchfire-pki-issue.1", "watchfire-config-check.1"] {
        let text =
            std::fs::read_to_string(dir.at(&format!("pages/{page}"))).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn stored_alerts_are_printed_oldest_first() {
    use std::sync::Arc;
    use watchfire::store::{Access, AlertRecord, AlertStore as _, SqliteStore};

    let dir = Dir::new("alerts");
    let path = dir.at("a.db");
    let body = "<IDMEF-Message xmlns=\"http://iana.org/idmef\" version=\"1.0\"><Alert messageid=\"m1\">\
        <Analyzer analyzerid=\"s\"/><CreateTime ntpstamp=\"0xbc722ebe.0x00000000\">2000-03-09T14:07:58Z</CreateTime>\
        <Source><Node><Address category=\"ipv6-addr\"><address>2001:db8::1</address></Address></Node></Source>\
        <Classification text=\"scan\"/></Alert></IDMEF-Message>";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(Path::new(&path), Access::Write).unwrap();
        let message = AlertRecord::parse(body.as_bytes()).map(Arc::new);
        let batch = vec![
            Arc::new(AlertRecord::new(2_000_000, "s", "application/x-idef-alert", body.as_bytes().into(), message)),
            Arc::new(AlertRecord::new(1_000_000, "t", "x/y", b"\xff".as_slice().into(), None)),
        ];
        store.insert_batch(batch).await.unwrap();
    });
    let store = format!("sqlite:{path}");
    let output = watchfire(&["iap", "alerts", "--store", &store, "--json"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let lines: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["peer"], &lines[0]["alert"], &lines[0]["body"]),
        (&"t".into(), &serde_json::Value::Null, &"/w==".into())
    );
    assert_eq!(lines[1]["received"], "1970-01-01T00:00:02.000000Z");
    assert_eq!(lines[1]["alert"]["Alert"][0]["Classification"]["text"], "scan");
    let count = |args: &[&str]| {
        let all = [&["iap", "alerts", "--store", store.as_str()], args].concat();
        stdout(&watchfire(&all)).lines().count()
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--since", "1970-01-01T00:00:02Z"]), 1);
    assert_eq!(count(&["--since", "1h"]), 0);
    assert_eq!(count(&["--source", "2001:db8::/32"]), 1);
    assert_eq!(count(&["--source", "192.0.2.0/24"]), 0);
    assert_eq!(count(&["--limit", "1"]), 1);
    assert!(stdout(&watchfire(&["iap", "alerts", "--store", &store, "--limit", "1"])).contains("2001:db8::1 -> ?"));
}
