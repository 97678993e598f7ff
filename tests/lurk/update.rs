//! dns-01 by dynamic updates (RFC 2136) of a zone that Knot serves.

use std::process::{Child, Command, Stdio};

use watchfire_tests::{Service, run, until};

use crate::delegation::delegate;
use crate::lab::{Ca, Folder, NAME, Owner, has, next, thumbprint, verify};

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A name with a TXT record that stays.
const HERE: &str = "here.ido.example";

/// A name server with the zone `ido.example`, which takes updates under the key `lurk`.
struct Knot {
    child: Child,
    address: String,
}

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Knot {
    fn start(folder: &Folder) -> Self {
        folder.write(
            "zone",
            format!(
                "ido.example. 60 IN SOA ns.ido.example. post.ido.example. 1 60 60 600 1\n\
                 ido.example. 60 IN NS ns.ido.example.\nns.ido.example. 60 IN A 127.0.0.1\n\
                 {HERE}. 60 IN TXT \"it is here\"\n"
            ),
        );
        let (dir, host) = (folder.file(""), watchfire_testkit::own_loopback());
        let config = format!(
            "server:\n  listen: {host}@5353\n  rundir: {dir}\n\
             log:\n  - target: stderr\n    any: info\ndatabase:\n  storage: {dir}/knot\n\
             key:\n  - id: lurk\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
             acl:\n  - id: lurk\n    key: lurk\n    action: update\n\
             zone:\n  - domain: ido.example\n    storage: {dir}\n    file: zone\n    acl: lurk\n    zonefile-sync: -1\n"
        );
        let config = folder.write("knot.conf", config);
        std::fs::create_dir_all(folder.path("knot")).unwrap();
        let mut command = Command::new("/usr/sbin/knotd");
        command.args(["-c", &config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut this = Self { child: command.spawn().unwrap(), address: format!("{host}:5353") };
        until("Knot answers", || {
            assert_eq!(this.child.try_wait().unwrap(), None, "Knot has ended");
            ask(&this.address, HERE).contains("it is here")
        });
        this
    }
}

/// TXT records, as dig shows them.
fn ask(address: &str, name: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let words = ["+short", "+tries=5", "+time=5", &format!("@{host}"), "-p", port, name, "TXT"];
    String::from_utf8_lossy(&Command::new("dig").args(words).output().unwrap().stdout).into_owned()
}

fn is_here(test: &str) -> bool {
    has(test, "/usr/sbin/knotd") && has(test, "dig")
}

#[test]
fn dns_01_is_met_by_updates_of_the_zone() {
    if !is_here("dynamic updates by Knot") {
        return;
    }
    let folder = Folder::new();
    let knot = Knot::start(&folder);
    let key = folder.write("tsig.key", format!("key \"lurk\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n"));
    let ca = Ca::start(&folder, &["--resolver", &knot.address, "--min-lifetime", "3600"]);
    let flags = ["--dns-update", &knot.address, "--dns-update-key", &key];
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &flags);
    let mut ndc = delegate(&folder, &owner, &["--once"]);
    next(&ndc, "ordered");
    next(&ndc, "installed");
    assert_eq!(ndc.wait(), 0, "{}", ndc.log());
    verify(&ca.anchor, &folder.file("ndc/chain.pem"), NAME);
    until("the record is gone", || ask(&knot.address, &format!("_acme-challenge.{NAME}")).is_empty());
    assert_eq!(ask(&knot.address, HERE).trim(), "\"it is here\"", "and the others are there");
}

#[test]
fn updates_that_the_server_does_not_take_are_said() {
    if !is_here("refused updates by Knot") {
        return;
    }
    let folder = Folder::new();
    let knot = Knot::start(&folder);
    let ca = Ca::start(&folder, &["--resolver", &knot.address, "--min-lifetime", "3600"]);
    let thumbprint = thumbprint(&folder);
    let mut told = Vec::new();
    for (file, key, zone) in [
        ("unknown", format!("hmac-sha256:nobody:{SECRET}"), "ido.example"),
        ("other", format!("hmac-sha256:lurk:{}", SECRET.replace('M', "N")), "ido.example"),
        ("zone", format!("hmac-sha256:lurk:{SECRET}"), "other.example"),
    ] {
        let key = folder.write(file, key);
        let flags = ["--dns-update", &knot.address, "--dns-update-key", &key, "--dns-update-zone", zone];
        let owner = Owner::start(&folder, &ca, &thumbprint, &flags);
        let _ndc: Service = delegate(&folder, &owner, &[]);
        until("the trouble is said", || !owner.audit("trouble").is_empty());
        told.push(owner.audit("trouble")[0]["detail"].as_str().unwrap().to_owned());
        for place in ["ido", "ndc"] {
            std::fs::remove_dir_all(folder.path(place)).unwrap();
        }
    }
    for (said, why) in told.iter().zip(["the server refuses", "the server refuses", "not in the zone other.example"]) {
        assert!(said.contains(&format!("_acme-challenge.{NAME}")) && said.contains(why), "{told:?}");
    }
    // A file that is none is known at the start.
    let key = folder.write("no.key", "secret");
    let words = ["lurk", "ido", "--listen", "127.0.0.1:0", "--upstream", &ca.directory, "--dns-update", &knot.address];
    let (rules, dir) = (folder.file("delegations.toml"), folder.file("ido"));
    let output = run(&[&words[..], &["--dns-update-key", &key, "--delegations", &rules, "--dir", &dir]].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("no.key: no TSIG key") && error.contains("tsig-keygen"), "{error}");
}
