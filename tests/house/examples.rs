//! Every example of every crate runs by itself, or says here why it cannot.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::root;

/// What an example is given.
enum Given {
    /// Arguments and standard input; it must end with exit code 0 and say something.
    Run(&'static [&'static str], &'static str),
    /// It serves or asks until it is told to stop, or measures for minutes: it is only built.
    Built,
}

use Given::{Built, Run};

const EXAMPLES: &[(&str, &str, Given)] = &[
    ("acme-lurk", "laboratory", Run(&[], "")),
    ("acme-lurk-hyper", "rendezvous", Run(&[], "")),
    ("dots-callhome", "mitigation", Run(&[], "")),
    ("dots-tokio", "call_home", Run(&[], "")),
    ("dots-tokio", "idle_sessions", Built),
    ("iap-proto", "pair", Run(&[], "")),
    ("iap-proto", "std_sensor", Built),
    ("iap-tokio", "deliver", Run(&[], "")),
    ("iap-tokio", "loopback_rate", Run(&["opaque", "2000", "64"], "")),
    ("idmef", "alert", Run(&[], "")),
    ("idmef", "eve_to_idmef", Run(&[], EVE)),
    ("jsonbcd", "convert", Run(&["reference"], r#"{"port": 443}"#)),
    ("jsonbcd", "log", Run(&[], "")),
    ("obp-broker", "cached_names", Run(&["200"], "")),
    ("obp-broker", "own_source", Run(&[], "")),
    ("obp-hyper", "bind_and_ask", Run(&[], "")),
    ("obp-proto", "in_memory", Run(&[], "")),
    ("repute-hyper", "ask", Built),
    ("repute-hyper", "loopback", Run(&[], "")),
    ("repute-hyper", "rater", Built),
    ("repute-proto", "ask_in_memory", Run(&[], "")),
    ("watchfire-core", "std_loop", Run(&[], "")),
    ("watchfire-hyper", "mirror", Run(&[], "")),
];

/// A line as Suricata writes it.
const EVE: &str = r#"{"timestamp":"2026-11-22T10:01:25.500000+0000","flow_id":1,"event_type":"alert","src_ip":"192.0.2.50","src_port":40001,"dest_ip":"198.51.100.10","dest_port":80,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":1000001,"rev":1,"signature":"phf remote command attempt","category":"Web Application Attack","severity":1}}
"#;

/// How long one may take; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn every_example_is_on_the_list_and_every_library_has_one() {
    let mut there = BTreeSet::new();
    for folder in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = folder.unwrap().path();
        let crate_name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let private = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().contains("publish = false");
        let Ok(examples) = std::fs::read_dir(folder.join("examples")) else {
            assert!(private || crate_name == "watchfire", "{crate_name} has no example");
            continue;
        };
        for example in examples {
            let name = example.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            there.insert((crate_name.clone(), name));
        }
    }
    let listed: BTreeSet<_> = EXAMPLES.iter().map(|(krate, name, _)| (krate.to_string(), name.to_string())).collect();
    assert_eq!(there, listed, "crates/*/examples and the list of this test");
    for (krate, ..) in EXAMPLES {
        let runs = EXAMPLES.iter().any(|(other, _, given)| other == krate && matches!(given, Run(..)));
        assert!(runs, "no example of {krate} runs by itself");
    }
    let names: BTreeSet<_> = EXAMPLES.iter().map(|(_, name, _)| name).collect();
    assert_eq!(names.len(), EXAMPLES.len(), "two examples of one name are one file in the target folder");
}

/// Examples are built beside this test by `cargo test --workspace`; `-p watchfire-tests` alone does not.
fn built(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2)?.join("examples").join(name);
    path.is_file().then_some(path)
}

#[test]
fn examples_run_to_their_end() {
    let mut ran = 0;
    for (krate, name, given) in EXAMPLES {
        let Run(arguments, input) = given else { continue };
        let Some(path) = built(name) else {
            eprintln!("SKIPPED: {krate}'s example {name} is not built; run `cargo test --workspace`");
            continue;
        };
        let output = tempfile();
        let errors = tempfile();
        let mut child = Command::new(&path)
            .args(*arguments)
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(&output).unwrap())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        // Who does not read it closes it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{krate}'s example {name} does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let said = std::fs::read_to_string(&output).unwrap();
        let complaints = std::fs::read_to_string(&errors).unwrap();
        std::fs::remove_file(&output).unwrap();
        std::fs::remove_file(&errors).unwrap();
        assert!(status.success(), "{krate}'s example {name}: {status}\n{said}{complaints}");
        assert!(!said.trim().is_empty(), "{krate}'s example {name} says nothing");
        ran += 1;
    }
    eprintln!("{ran} examples ran");
}

fn tempfile() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("watchfire-example-{}-{number}", std::process::id()))
}
