//! Over a CA that does not speak STAR: Pebble, which drops what it does not know.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use watchfire_tests::{PATIENCE, Service, succeed as watchfire};

use crate::lab::{Folder, Owner, has, thumbprint};

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
    /// One on the loopback, that finds every challenge met if `lenient`. It wants to be told its ports: another pair is
    /// tried when somebody has them.
    fn start(folder: &Folder, lenient: bool) -> Self {
        let dir = folder.file("pki");
        watchfire(&["pki", "init", "--dir", &dir]);
        watchfire(&[
            "pki",
            "issue",
            "--dir",
            &dir,
            "--profile",
            "tls-server",
            "--name",
            "localhost",
            "--san",
            "IP:127.0.0.1",
        ]);
        for attempt in 0..20_u32 {
            let port = 20_000 + (std::process::id() * 31 + attempt * 997) % 20_000;
            let config = format!(
                "{{\"pebble\":{{\"listenAddress\":\"127.0.0.1:{port}\",\"managementListenAddress\":\"127.0.0.1:{}\",\
                 \"certificate\":\"{dir}/localhost.pem\",\"privateKey\":\"{dir}/localhost.key\",\"httpPort\":5002,\"tlsPort\":5001}}}}",
                port + 1
            );
            let config = folder.write("pebble.json", config);
            let mut command = Command::new("pebble");
            command
                .args(["-config", &config])
                .env("PEBBLE_VA_NOSLEEP", "1")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.env("PEBBLE_VA_ALWAYS_VALID", if lenient { "1" } else { "0" });
            let mut child = command.spawn().unwrap();
            let began = Instant::now();
            while child.try_wait().unwrap().is_none() {
                let tcp = std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap()));
                if tcp.is_ok() && began.elapsed() > Duration::from_millis(200) && child.try_wait().unwrap().is_none() {
                    let directory = format!("https://127.0.0.1:{port}/dir");
                    return Self { child, directory, anchor: folder.file("pki/ca.pem") };
                }
                assert!(began.elapsed() < PATIENCE, "Pebble does not listen");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("no ports for Pebble");
    }
}

fn owner(folder: &Folder, pebble: &Pebble, flags: &[&str]) -> Owner {
    let hook = folder.write("hook", format!("#!/bin/sh\necho $1 $2 >> {}\n", folder.file("calls")));
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let all = [&["--dns-hook", &hook], flags].concat();
    Owner::at(folder, "127.0.0.1:0", &pebble.directory, &pebble.anchor, &thumbprint(folder), &all)
}

fn delegate(folder: &Folder, owner: &Owner, flags: &[&str]) -> Service {
    let (key, out) = (folder.file("account.key"), folder.file("ndc"));
    let words = ["lurk", "ndc", "--json", "--ido", &owner.directory, "--ca", &owner.anchor, "--account-key", &key];
    let more = ["--name", "abc.ido.example", "--out", &out, "--subject", "organization=Example"];
    Service::start(&[&words[..], &more, flags].concat())
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
    assert_eq!(ndc.event()["event"], "ordered");
    let first = ndc.event();
    assert_eq!(first["event"], "installed", "{first}\n{}\n{}", ndc.log(), owner.service.log());
    let chain = std::fs::read(folder.path("ndc/chain.pem")).unwrap();
    let began = Instant::now();
    while owner.audit("issued").len() < 2 {
        assert!(began.elapsed() < PATIENCE, "no second certificate:\n{}", owner.service.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!chain.is_empty() && folder.path("calls").exists());
    let placed = owner.audit("placed");
    assert!(
        placed[0]["upstream"].as_str().unwrap().starts_with(pebble.directory.trim_end_matches("dir")),
        "{placed:?}"
    );
}
