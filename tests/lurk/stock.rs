//! Clients that know nothing of delegation, as delegates: they order what they are told to, and need meet no challenge.

use std::process::Command;

use crate::lab::{Ca, Folder, Owner, has, succeed, verify};
use watchfire_tests::until;

/// A name owner that serves what it obtains, for the account that asks first.
struct Stage {
    folder: Folder,
    ca: Ca,
    owner: Owner,
}

const FLAGS: [&str; 2] = ["--infer-delegation", "--serve-certificates"];

/// Lets a client ask once, which tells the owner who it is, and then again. `extensions` are those that its requests have
/// beside names.
fn stage(extensions: &str, mut ask: impl FnMut(&Stage) -> Command) -> Stage {
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--trust-identifiers"]);
    let nobody = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let owner = Owner::start(&folder, &ca, nobody, &FLAGS);
    let mut stage = Stage { folder, ca, owner };
    let refused = ask(&stage).output().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    // The client may know it before the line is written.
    until(&format!("the refusal is written down: {refused:?}"), || !stage.owner.audit("refused").is_empty());
    let account = stage.owner.audit("refused")[0]["account"].as_str().unwrap().to_owned();
    let address = stage.owner.address.clone();
    stage.owner.service.kill();
    stage.owner = Owner::listening(&stage.folder, &address, &stage.ca, &account, &FLAGS);
    // What the template wants, and no more.
    let open = crate::lab::TEMPLATE.replace("\"organization\": \"**\"", "\"commonName\": \"*\"");
    let open = open.replace(", \"extendedKeyUsage\": [\"serverAuth\"]", extensions);
    stage.folder.write("template.json", open);
    stage.owner.service.kill();
    stage.owner = Owner::again(&stage.folder, &address, &stage.ca, &FLAGS);
    stage
}

#[test]
fn acme_tiny_is_a_delegate() {
    if !has("acme-tiny as a delegate", "acme-tiny") {
        return;
    }
    let ask = |stage: &Stage| {
        let account = stage.folder.file("tiny.key");
        if !stage.folder.path("tiny.key").exists() {
            succeed(Command::new("openssl").args(["genrsa", "-traditional", "-out", &account, "2048"]));
            crate::lab::openssl_csr(&stage.folder, "abc.ido.example");
        }
        let mut tiny = Command::new("acme-tiny");
        tiny.env("SSL_CERT_FILE", &stage.owner.anchor).args(["--account-key", &account, "--disable-check"]);
        tiny.args(["--csr", &stage.folder.file("abc.ido.example.csr"), "--acme-dir", &stage.folder.file("")]);
        tiny.args(["--directory-url", &stage.owner.directory]);
        tiny
    };
    let stage = stage("", ask);
    let chain = stage.folder.write("tiny.pem", succeed(&mut ask(&stage)));
    verify(&stage.ca.anchor, &chain, "abc.ido.example");
}

#[test]
fn lego_is_a_delegate() {
    if !has("lego as a delegate", "lego") {
        return;
    }
    let ask = |stage: &Stage| {
        let mut lego = Command::new("lego");
        lego.env("LEGO_CA_CERTIFICATES", &stage.owner.anchor).args([
            "--server",
            &stage.owner.directory,
            "--accept-tos",
        ]);
        lego.args(["--path", &stage.folder.file("lego"), "--email", "a@ndc.example", "--key-type", "ec256", "--http"]);
        lego.args(["--domains", "abc.ido.example", "run"]);
        lego
    };
    let stage = stage("", ask);
    succeed(&mut ask(&stage));
    verify(&stage.ca.anchor, &stage.folder.file("lego/certificates/abc.ido.example.crt"), "abc.ido.example");
}

/// It runs where the system's file of authorities is ours, as in `clients`.
#[test]
fn uacme_is_a_delegate() {
    if !has("uacme as a delegate", "uacme") {
        return;
    }
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        watchfire_tests::skip("uacme as a delegate", "it needs a mount namespace, which this system does not give");
        return;
    }
    let ask = |stage: &Stage| {
        let dir = stage.folder.file("uacme");
        crate::lab::uacme(
            &stage.owner.anchor,
            &format!(
                "uacme -a {0} -c {dir} -y new; exec uacme -a {0} -c {dir} -h /bin/true -y -t EC -b 256 issue abc.ido.example",
                stage.owner.directory
            ),
        )
    };
    let stage = stage(", \"keyUsage\": [\"digitalSignature\"]", ask);
    let output = ask(&stage).output().unwrap();
    assert!(output.status.success(), "{}\n{}", crate::lab::words(&output), stage.owner.service.log());
    verify(&stage.ca.anchor, &stage.folder.file("uacme/abc.ido.example/cert.pem"), "abc.ido.example");
}
