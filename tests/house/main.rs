//! What must be true of the whole house: the border of the protocol crates, what is never sent, what README says.
#![allow(clippy::unwrap_used, reason = "tests")]

mod documents;
mod examples;
mod lifetimes;
mod manifests;
mod mistakes;
mod operations;
mod quickstart;
mod reload;
mod running;
mod shell;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Everything that a crate needs to build, without its tests. What acme-lurk does for itself is looked at: its one
/// feature is a library of cryptography that asks the system for randomness.
fn needs(crate_name: &str) -> Vec<String> {
    let features = if crate_name == "acme-lurk" { "--no-default-features" } else { "--all-features" };
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", features, "-p", crate_name])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names = String::from_utf8(tree.stdout).unwrap();
    names.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn protocol_crates_know_no_sockets_clocks_or_each_other() {
    for (crate_name, ours) in [
        ("watchfire-core", &[][..]),
        ("idmef", &[]),
        ("jsonbcd", &[]),
        ("iap-proto", &["watchfire-core"]),
        ("obp-proto", &["watchfire-core", "jsonbcd"]),
        ("repute-proto", &["watchfire-core"]),
        ("dots-callhome", &["watchfire-core"]),
        ("acme-lurk", &["watchfire-core", "jsonbcd"]),
    ] {
        let needs = needs(crate_name);
        assert!(needs.contains(&crate_name.to_owned()));
        for outside in ["tokio", "mio", "socket2", "rustls", "async-std", "hyper", "rusqlite", "libc", "getrandom"] {
            assert!(!needs.iter().any(|name| name == outside), "{crate_name} needs {outside}");
        }
        let all = [
            "watchfire-core",
            "idmef",
            "jsonbcd",
            "iap-proto",
            "iap-tokio",
            "obp-proto",
            "obp-broker",
            "obp-hyper",
            "repute-proto",
            "dots-callhome",
            "acme-lurk",
            "dots-tokio",
            "watchfire",
        ];
        for other in all {
            let allowed = other == crate_name || ours.contains(&other);
            assert!(allowed || !needs.iter().any(|name| name == other), "{crate_name} needs {other}");
        }
    }
}

#[test]
fn nothing_of_ours_sends_urgent_data() {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        files(&entry.unwrap().path().join("src"), ".rs", &mut sources);
    }
    assert!(sources.len() > 50, "the sources are there to be looked at");
    for path in sources {
        let text = std::fs::read_to_string(&path).unwrap();
        for way in ["send_out_of_band", "MSG_OOB", "OutOfBand"] {
            assert!(!text.contains(way), "{way} in {}", path.display());
        }
    }
}

#[test]
fn no_file_outgrows_its_idea() {
    let mut sources = Vec::new();
    files(&root().join("crates"), ".rs", &mut sources);
    for path in sources {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        assert!(is_test || code <= 700, "{} has {code} lines", path.display());
    }
}
