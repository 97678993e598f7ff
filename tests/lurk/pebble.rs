//! Over a CA that does not speak STAR: Pebble, which drops what it does not know.

use std::process::{Child, Command, Stdio};

use watchfire_tests::{succeed as watchfire, until};

use crate::delegation::delegate;
use crate::lab::{Folder, Owner, has, next, thumbprint};

struct Pebble {
    child: Child,
    directory: String,
    anchor: String,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pebble {
    /// One at an address of its own, that finds every challenge met if `lenient`.
    fn start(folder: &Folder, lenient: bool) -> Self {
        let (dir, host) = (folder.file("pki"), watchfire_testkit::own_loopback());
        watchfire(&["pki", "init", "--dir", &dir]);
        let words = ["pki", "issue", "--dir", &dir, "--profile", "tls-server", "--name", "localhost"];
        watchfire(&[&words[..], &["--san", &format!("IP:{host}")]].concat());
        let config = format!(
            "{{\"pebble\":{{\"listenAddress\":\"{host}:14000\",\"managementListenAddress\":\"{host}:15000\",\
             \"certificate\":\"{dir}/localhost.pem\",\"privateKey\":\"{dir}/localhost.key\",\"httpPort\":5002,\"tlsPort\":5001}}}}"
        );
        let config = folder.write("pebble.json", config);
        let mut command = Command::new("pebble");
        command.args(["-config", &config]).env("PEBBLE_VA_NOSLEEP", "1").stdout(Stdio::null()).stderr(Stdio::null());
        command.env("PEBBLE_VA_ALWAYS_VALID", if lenient { "1" } else { "0" });
        let (directory, anchor) = (format!("https://{host}:14000/dir"), folder.file("pki/ca.pem"));
        let mut this = Self { child: command.spawn().unwrap(), directory, anchor };
        until("Pebble listens", || {
            assert_eq!(this.child.try_wait().unwrap(), None, "Pebble has ended");
            std::net::TcpStream::connect((host, 14000)).is_ok()
        });
        this
    }
}

fn owner(folder: &Folder, pebble: &Pebble, flags: &[&str]) -> Owner {
    let hook = folder.write("hook", format!("#!/bin/sh\necho $1 $2 >> {}\n", folder.file("calls")));
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let all = [&["--dns-hook", &hook], flags].concat();
    Owner::at(folder, "127.0.0.1:0", &pebble.directory, &pebble.anchor, &thumbprint(folder), &all)
}

#[test]
fn the_owner_notices_that_star_is_dropped_and_meets_no_challenge() {
    if !has("the owner over Pebble", "pebble") {
        return;
    }
    let folder = Folder::new();
    let pebble = Pebble::start(&folder, true);
    let owner = owner(&folder, &pebble, &[]);
    let mut ndc = delegate(&folder, &owner, &["--once"]);
    assert_eq!(ndc.wait(), 1, "{}", ndc.log());
    ndc.wait_for_log("does not let everybody fetch");
    assert_eq!(owner.audit("invalid").len(), 1, "{}", owner.service.log());
    assert!(!folder.path("calls").exists(), "no challenge was met: {}", owner.service.log());
}

#[test]
fn with_emulation_the_same_delegation_works() {
    if !has("the emulation over Pebble", "pebble") {
        return;
    }
    let folder = Folder::new();
    let pebble = Pebble::start(&folder, true);
    let owner = owner(&folder, &pebble, &["--emulate-star", "--min-lifetime", "8"]);
    let ndc = delegate(&folder, &owner, &["--lifetime", "8s", "--duration", "1h"]);
    next(&ndc, "ordered");
    next(&ndc, "installed");
    let chain = std::fs::read(folder.path("ndc/chain.pem")).unwrap();
    until("there is a second certificate", || owner.audit("issued").len() >= 2);
    assert!(!chain.is_empty() && folder.path("calls").exists());
    let placed = owner.audit("placed");
    assert!(
        placed[0]["upstream"].as_str().unwrap().starts_with(pebble.directory.trim_end_matches("dir")),
        "{placed:?}"
    );
}
