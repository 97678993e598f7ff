//! A CA, a name owner and a delegate: certificates that roll, and end when the owner says so.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::Value;
use watchfire_tests::{Service, get, is_ready, readiness, run, until};

use crate::lab::{Ca, Folder, NAME, Owner, Zone, next, thumbprint, verify, verify_short};

/// What the openssl tool says of a certificate.
fn shown(chain: &str, what: &str) -> String {
    crate::lab::succeed(Command::new("openssl").args(["x509", "-noout", what, "-in", chain]))
}

/// The delegate, with its answers to the template, and what it says.
pub(crate) fn delegate(folder: &Folder, owner: &Owner, flags: &[&str]) -> Service {
    let (key, out) = (folder.file("account.key"), folder.file("ndc"));
    let words = ["lurk", "ndc", "--json", "--ido", &owner.directory, "--ca", &owner.anchor, "--account-key", &key];
    let more = ["--name", NAME, "--out", &out, "--subject", "organization=Example"];
    Service::start(&[&words[..], &more, flags].concat())
}

/// Waits until the delegate says that the order was stopped; some certificates may come before that.
pub(crate) fn until_canceled(service: &Service) {
    loop {
        let found = service.event();
        match found["event"].as_str().unwrap() {
            "installed" | "alarm" | "gap" => {}
            "canceled" => return,
            _ => panic!("{found}\n{}", service.log()),
        }
    }
}

/// Shakes hands as a client that wants a certificate that is good for the name, and gives that certificate. What is
/// `None` was good until a moment ago.
pub(crate) fn shake_hands(address: &str, anchor: &str) -> Result<Option<String>, String> {
    let words = ["s_client", "-connect", address, "-servername", NAME, "-verify_hostname", NAME];
    let mut client = Command::new("openssl");
    client.args(words).args(["-verify_return_error", "-CAfile", anchor]).stdin(Stdio::null());
    let output = client.output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match text.split_once("-----BEGIN CERTIFICATE-----") {
        Some((_, rest)) if output.status.success() => Ok(rest.split("-----END").next().map(str::to_owned)),
        _ if errors.contains("certificate has expired") => Ok(None),
        _ => Err(format!("{text}\n{errors}")),
    }
}

#[test]
fn a_delegate_rolls_until_the_owner_stops_it() {
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--min-lifetime", "4", "--trust-identifiers"]);
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &[]);
    let reloads = folder.file("reloads");
    let mut ndc = delegate(&folder, &owner, &["--reload", &format!("echo $WATCHFIRE_CHAIN >> {reloads}")]);
    let order = next(&ndc, "ordered")["order"].as_str().unwrap().to_owned();
    assert!(order.starts_with(owner.directory.trim_end_matches("directory")), "{order}");
    let chain = folder.file("ndc/chain.pem");
    let mut ends = Vec::new();
    for _ in 0..3 {
        let installed = next(&ndc, "installed");
        ends.push(installed["not_after"].as_str().unwrap().to_owned());
        verify_short(&ca.anchor, &chain, NAME);
    }
    assert!(ends[0] < ends[1] && ends[1] < ends[2], "{ends:?}");
    for file in ["ndc/chain.pem", "ndc/key.pem", "account.key"] {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.path(file)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let public =
        crate::lab::succeed(Command::new("openssl").args(["pkey", "-pubout", "-in", &folder.file("ndc/key.pem")]));
    assert_eq!(shown(&chain, "-pubkey"), public, "the chain is for the key");

    // The owner takes it back at the CA, with the account that has ordered there.
    let upstream = owner.audit("placed")[0]["upstream"].as_str().unwrap().to_owned();
    let key = folder.file("ido/account.key");
    let cancel = ["lurk", "cancel", "--order", &upstream, "--directory", &ca.directory, "--account-key", &key];
    let stopped = run(&[&cancel[..], &["--ca", &ca.anchor, "--json"]].concat());
    let line: Value = serde_json::from_slice(&stopped.stdout).unwrap_or_else(|_| panic!("{stopped:?}"));
    assert_eq!(
        (stopped.status.code(), &line["event"], &line["status"]),
        (Some(0), &"canceled".into(), &"canceled".into())
    );
    until_canceled(&ndc);
    assert_eq!(ndc.wait(), 1);
    ndc.wait_for_log("the name owner has stopped the order");
    let count = std::fs::read_to_string(&reloads).unwrap().lines().count();
    assert!(count >= 3, "the command ran after each installation: {count}");
    // Somebody else's order is not to be stopped.
    let other = run(&[
        "lurk",
        "cancel",
        "--order",
        &upstream,
        "--directory",
        &ca.directory,
        "--account-key",
        &folder.file("account.key"),
        "--ca",
        &ca.anchor,
    ]);
    assert_eq!(other.status.code(), Some(1), "{}", String::from_utf8_lossy(&other.stderr));
}

#[test]
fn one_certificate_is_obtained_by_dns_01_and_the_hook_cleans_up() {
    let folder = Folder::new();
    let zone = Zone::start(&folder);
    let ca = Ca::start(&folder, &["--resolver", &zone.address, "--min-lifetime", "3600"]);
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &["--dns-hook", &zone.hook]);
    let mut ndc = delegate(&folder, &owner, &["--once"]);
    next(&ndc, "ordered");
    next(&ndc, "installed");
    assert_eq!(ndc.wait(), 0, "{}", ndc.log());
    verify(&ca.anchor, &folder.file("ndc/chain.pem"), NAME);
    let again = delegate(&folder, &owner, &["--once"]).wait();
    assert_eq!((again, owner.audit("ordered").len()), (0, 1), "what is there will do");
    until("the record is gone", || std::fs::read_dir(folder.path("dns")).unwrap().next().is_none());
    let calls = std::fs::read_to_string(folder.path("calls")).unwrap();
    let verbs: Vec<&str> = calls.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(verbs, ["present", "cleanup"], "{calls}");
    assert!(calls.contains(&format!("present _acme-challenge.{NAME} ")), "{calls}");
}

#[test]
fn once_ends_when_the_certificate_cannot_be_installed() {
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--trust-identifiers", "--min-lifetime", "3600"]);
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &[]);
    let mut ndc = delegate(&folder, &owner, &["--once", "--reload", "false"]);
    assert_eq!(ndc.wait(), 2, "{}", ndc.log());
    assert!(ndc.log().contains("not in use: --reload: false: exit status: 1; mend that"), "{}", ndc.log());
    let mut again = delegate(&folder, &owner, &["--once", "--reload", "true"]);
    assert_eq!((again.wait(), owner.audit("ordered").len()), (0, 1), "{}", again.log());
}

#[test]
fn who_has_no_delegation_or_asks_for_more_is_refused() {
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--trust-identifiers"]);
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &[]);
    let ndc = |key: &str, name: &str, more: &[&str]| {
        let (key, out) = (folder.file(key), folder.file("refused"));
        let words =
            ["lurk", "ndc", "--ido", &owner.directory, "--ca", &owner.anchor, "--account-key", &key, "--out", &out];
        let output = run(&[&words[..], &["--name", name, "--once"], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = ndc("stranger.key", NAME, &[]);
    assert!(code == Some(1) && error.contains("the account has no delegation"), "{code:?} {error}");
    let (code, error) = ndc("account.key", "www.ido.example", &["--subject", "organization=Example"]);
    assert!(code == Some(1) && error.contains("does not allow the name \"www.ido.example\""), "{code:?} {error}");
    let (code, error) = ndc("account.key", NAME, &[]);
    assert!(code == Some(1) && error.contains("organization"), "{code:?} {error}");
    let delegation = owner.directory.replace("directory", "delegation/other");
    let (code, error) = ndc("account.key", NAME, &["--subject", "organization=Example", "--delegation", &delegation]);
    assert!(code == Some(1) && error.contains("unknownDelegation"), "{code:?} {error}");
    let nowhere = format!("https://{}:9/directory", watchfire_testkit::own_loopback());
    let gone = ["lurk", "ndc", "--ido", &nowhere, "--ca", &owner.anchor];
    let (key, out) = (folder.file("account.key"), folder.file("refused"));
    let output = run(&[&gone[..], &["--account-key", &key, "--out", &out, "--name", NAME, "--once"]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    // Nobody waits for long where connections are refused: the time for the whole is two minutes here.
    let began = std::time::Instant::now();
    let cancel = ["lurk", "cancel", "--order", &nowhere, "--directory", &nowhere, "--account-key", &key];
    for words in [
        [&cancel[..], &["--ca", &owner.anchor]].concat(),
        [&gone[..], &["--account-key", &key, "--out", &out, "--name", NAME, "--once"]].concat(),
    ] {
        let output = run(&[&words[..], &["--timeout", "120s"]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && error.contains("refused") && error.contains("; check"), "{error}");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}

/// The file is read again when that is asked for; while it is wrong the delegations that were there stay.
#[test]
fn delegations_are_read_again_on_sighup() {
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--trust-identifiers"]);
    let nobody = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let owner = Owner::start(&folder, &ca, nobody, &["--metrics", "127.0.0.1:0"]);
    let metrics = owner.service.address();
    let thumbprint = thumbprint(&folder);
    let exit = |owner: &Owner| {
        let code = delegate(&folder, owner, &["--once"]).wait();
        // The next one begins anew.
        std::fs::remove_dir_all(folder.path("ndc")).unwrap();
        code
    };
    assert_eq!(exit(&owner), 1, "it is not for this account");
    let good = std::fs::read_to_string(folder.path("delegations.toml")).unwrap();
    let good = good.replace(nobody, &thumbprint);
    folder.write("delegations.toml", &good);
    owner.service.signal("HUP");
    owner.service.wait_for_log("the delegations were read again");
    assert_eq!(exit(&owner), 0, "{}", owner.service.log());
    folder.write("delegations.toml", good.replace("template.json", "none.json"));
    owner.service.signal("HUP");
    owner.service.wait_for_log("nothing was reloaded, the old delegations stay: ");
    for said in ["delegations.toml:3: delegation `cdn`", "none.json"] {
        owner.service.wait_for_log(said);
    }
    assert_eq!(exit(&owner), 0, "{}", owner.service.log());
    let is_unready = |head: &str, body: &str| head.starts_with("HTTP/1.1 503") && body.contains("none.json");
    readiness(&metrics, &owner.service, is_unready);
    folder.write("delegations.toml", &good);
    owner.service.signal("HUP");
    readiness(&metrics, &owner.service, is_ready);
}

/// Before the CA was reached delegates are told to come back, and nothing of what it might say is made up.
#[test]
fn an_owner_without_its_ca_offers_nothing_until_that_is_there() {
    let folder = Folder::new();
    let mut ca = Ca::start(&folder, &["--min-lifetime", "1800", "--trust-identifiers"]);
    ca.service.kill();
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &["--metrics", "127.0.0.1:0"]);
    let metrics = owner.service.address();
    assert!(get(&metrics, "/readyz").unwrap().starts_with("HTTP/1.1 503"));
    let mut ndc = delegate(&folder, &owner, &["--once"]);
    owner.service.wait_for_log("the CA has not been reached yet");
    let again = Ca::listening(&folder, &ca.address, &["--min-lifetime", "1800", "--trust-identifiers"]);
    next(&ndc, "ordered");
    next(&ndc, "installed");
    assert_eq!(ndc.wait(), 0, "{}", ndc.log());
    readiness(&metrics, &owner.service, is_ready);
    verify(&again.anchor, &folder.file("ndc/chain.pem"), NAME);
}

#[test]
fn mistakes_in_the_file_are_named_by_line() {
    let folder = Folder::new();
    let file = folder.write("delegations.toml", "[[delegation]]\nname = \"cdn\"\ntemplate = \"none.json\"\n");
    let dir = folder.file("ido");
    let words = ["lurk", "ido", "--listen", "127.0.0.1:0", "--upstream", "https://ca.example/d", "--dir", &dir];
    let output = run(&[&words[..], &["--delegations", &file]].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("delegations.toml:3: delegation `cdn`") && error.contains("none.json"), "{error}");
    assert!(!folder.path("ido").exists(), "nothing was made");
}

/// A server reads the new certificate while it serves, and nobody who shakes hands notices.
#[test]
fn a_server_rolls_under_load_without_a_failed_handshake() {
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--min-lifetime", "8", "--trust-identifiers"]);
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &[]);
    let pid = folder.file("pid");
    let ndc = delegate(&folder, &owner, &["--reload", &format!("if [ -e {pid} ]; then kill -HUP $(cat {pid}); fi")]);
    next(&ndc, "ordered");
    next(&ndc, "installed");
    let data = folder.write("entries.ndjson", "");
    let (chain, key) = (folder.file("ndc/chain.pem"), folder.file("ndc/key.pem"));
    let words = ["repute", "serve", "--json", "--listen", "127.0.0.1:0", "--data", &data];
    let server = Service::start(&[&words[..], &["--cert", &chain, "--key", &key]].concat());
    let address = server.address();
    std::fs::write(&pid, server.pid().to_string()).unwrap();
    let (mut shown, mut hands, mut over) = (BTreeSet::new(), 0, 0);
    until("four certificates are shown", || {
        match shake_hands(&address, &ca.anchor).unwrap_or_else(|error| panic!("handshake {hands}: {error}")) {
            Some(certificate) => drop(shown.insert(certificate)),
            None => over += 1,
        }
        hands += 1;
        shown.len() >= 4
    });
    // A delegate that was late has said so.
    let late = ndc.events_so_far().iter().filter(|event| event["event"] != "installed").count();
    assert!(over == 0 || late > 0, "{over} of {hands} handshakes met a certificate that was over");
    assert!(hands > 4, "{hands} handshakes");
}
