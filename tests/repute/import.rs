//! Imports: all or nothing, whatever happens in between.

use std::io::Write as _;
use std::process::Stdio;

use watchfire_tests::{Site, succeed, until, watchfire};

use crate::site::{entry, failure, query, rater};

#[test]
fn what_is_killed_in_between_leaves_the_old_entries() {
    for store in ["sqlite:", ""] {
        let site = Site::new();
        let path = site.file("store.ndjson");
        let store = format!("{store}{path}");
        let old = site.write("old", entry("old.example", "0.5"));
        succeed(&["repute", "import", "--store", &store, "--ndjson", &old]);
        for _ in 0..3 {
            let mut command = watchfire(&["repute", "import", "--store", &store, "--ndjson", "-"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            for number in 0..30_000 {
                input.write_all(entry(&format!("n{number}.example"), "0.5").as_bytes()).unwrap();
            }
            // What was taken from the pipe is with the store by now, but for the last of it; a file shows it.
            let written = || std::fs::metadata(site.file("store.ndjson.importing")).map_or(0, |meta| meta.len());
            until("it is written", || store.starts_with("sqlite:") || written() > 0);
            child.kill().unwrap();
            child.wait().unwrap();
            drop(input);
        }
        let (_rater, address) = rater(&store, &[]);
        let code = |subject: &str| query(&["--service", &address, "--subject", subject, "--assertion", "spam"]).0;
        assert_eq!([code("old.example"), code("n1.example")], [0, 1], "{store}");
        let new = site.write("new", entry("new.example", "0.5"));
        let summary = succeed(&["repute", "import", "--json", "--store", &store, "--ndjson", &new]);
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        assert_eq!((summary["entries"].as_u64(), summary["stored"].as_u64()), (Some(1), Some(2)), "{summary}");
    }
}

#[test]
fn mistakes_are_named_by_file_and_line() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("s.db"));
    for (flag, text, why) in [
        ("--ndjson", entry("a.example", "0.5") + &entry("b.example", "7"), "bad:2: column "),
        ("--csv", "rated,rating\na.example,many\n".to_owned(), "bad:2: rating: not a number"),
        ("--dnsbl-zone", "192.0.2.0/24\n192.0.2.0/64\n".to_owned(), "bad:2: "),
        ("--misp", "[]".to_owned(), "bad:1: not a warning list"),
    ] {
        let bad = site.write("bad", text);
        let (code, error) = failure(&["repute", "import", "--store", &store, flag, &bad]);
        assert!(code == 2 && error.contains(why) && error.contains("nothing was imported"), "{code} {error}");
    }
    let missing = site.file("missing");
    let (code, error) = failure(&["repute", "import", "--store", &store, "--csv", &missing]);
    assert!(code == 2 && error.contains("missing: cannot read"), "{error}");
    let good = site.write("good", entry("a.example", "0.5"));
    let (code, error) = failure(&["repute", "import", "--store", "sqlite:/nowhere/s.db", "--ndjson", &good]);
    assert!(code == 2 && error.contains("/nowhere/s.db"), "{error}");
    let url = format!("postgres://u@{}:9/d", watchfire_testkit::own_loopback());
    let (code, error) = failure(&["repute", "import", "--store", &url, "--ndjson", &good]);
    assert_eq!(code, 3, "{error}");
}
