//! The laboratory CA: what it says, keeps and refuses.

use std::os::unix::fs::PermissionsExt as _;

use watchfire_tests::{Service, run};

use crate::lab::{Ca, Folder, succeed};

fn curl(ca: &Ca, words: &[&str]) -> String {
    succeed(std::process::Command::new("curl").args(["-sS", "--cacert", &ca.anchor]).args(words))
}

#[test]
fn the_directory_speaks_star_and_the_anchor_is_enough() {
    if !crate::lab::has("the CA by curl", "curl") {
        return;
    }
    let folder = Folder::new();
    let ca = Ca::listening(&folder, "127.0.0.1:0", &["--min-lifetime", "5", "--trust-identifiers"]);
    assert_eq!(ca.directory, format!("https://{}/directory", ca.address));
    let directory: serde_json::Value = serde_json::from_str(&curl(&ca, &[&ca.directory])).unwrap();
    assert_eq!(directory["meta"]["auto-renewal"]["min-lifetime"], 5);
    assert_eq!(directory["meta"]["auto-renewal"]["allow-certificate-get"], true);
    assert_eq!(directory["newOrder"], format!("https://{}/new-order", ca.address));
    let localhost = ca.directory.replace("127.0.0.1", "localhost");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&curl(&ca, &[&localhost])).unwrap(), directory);
    let head = curl(&ca, &["-I", directory["newNonce"].as_str().unwrap()]);
    assert!(head.to_lowercase().contains("replay-nonce: "), "{head}");
    for key in ["ca/ca.key", "ca/issuer.key"] {
        let mode = std::fs::metadata(folder.path(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn the_keys_stay_over_a_restart() {
    let folder = Folder::new();
    let mut first = Ca::start(&folder, &[]);
    let anchor = std::fs::read(&first.anchor).unwrap();
    first.service.signal("TERM");
    assert_eq!(first.service.wait(), 0);
    let second = Ca::start(&folder, &[]);
    assert_eq!(std::fs::read(&second.anchor).unwrap(), anchor);
    drop(second);
    std::fs::remove_file(folder.path("ca/ca.key")).unwrap();
    let mut third = Service::start(&["lurk", "ca", "--listen", "127.0.0.1:0", "--dir", &folder.file("ca")]);
    assert_eq!(third.wait(), 2);
    third.wait_for_log("ca.pem: its key is missing");
}

#[test]
fn what_cannot_be_is_said_in_a_line() {
    let folder = Folder::new();
    let (file, dir) = (folder.write("file", ""), folder.file("d"));
    for (words, why) in [
        (vec!["--dir", &file], "error: "),
        (vec!["--dir", &dir, "--min-lifetime", "0"], "min-lifetime"),
        (vec!["--dir", &dir, "--url", "http://ca.example"], "--url: `http://ca.example` is no URL of https"),
    ] {
        let words: Vec<&str> = ["lurk", "ca", "--listen", "127.0.0.1:0"].into_iter().chain(words).collect();
        let output = run(&words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.contains(why), "{words:?}: {error}");
    }
}
