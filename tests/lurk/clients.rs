//! The clients that people have, against the laboratory CA. Each meets http-01 by a folder of a web server.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::lab::{Ca, Folder, Web, has, openssl_csr, succeed, verify, words};

/// A CA that looks for http-01 at a web server of the folder `www`.
fn lab() -> (Folder, Ca, String) {
    let folder = Folder::new();
    let www = folder.path("www");
    let port = Web::start(&www).port.to_string();
    let ca = Ca::start(&folder, &["--http01-port", &port]);
    (folder, ca, www.display().to_string())
}

#[test]
fn lego_obtains_a_certificate() {
    if !has("lego", "lego") {
        return;
    }
    let (folder, ca, www) = lab();
    let path = folder.file("lego");
    let mut lego = Command::new("lego");
    lego.env("LEGO_CA_CERTIFICATES", &ca.anchor).args(["--server", &ca.directory, "--accept-tos", "--path", &path]);
    lego.args(["--email", "a@ido.example", "--http", "--http.webroot", &www, "--domains", "lego.localhost", "run"]);
    succeed(&mut lego);
    verify(&ca.anchor, &folder.file("lego/certificates/lego.localhost.crt"), "lego.localhost");
}

#[test]
fn certbot_obtains_a_certificate() {
    if !has("certbot", "certbot") {
        return;
    }
    let (folder, ca, www) = lab();
    let dir = |name: &str| folder.file(&format!("certbot/{name}"));
    let mut certbot = Command::new("certbot");
    certbot.env("REQUESTS_CA_BUNDLE", &ca.anchor).args([
        "certonly",
        "--server",
        &ca.directory,
        "--webroot",
        "-w",
        &www,
    ]);
    certbot.args(["--config-dir", &dir("config"), "--work-dir", &dir("work"), "--logs-dir", &dir("logs")]);
    certbot.args(["--agree-tos", "--non-interactive", "--register-unsafely-without-email"]);
    certbot.args(["-d", "certbot.localhost", "-d", "www.certbot.localhost"]);
    succeed(&mut certbot);
    verify(&ca.anchor, &dir("config/live/certbot.localhost/fullchain.pem"), "www.certbot.localhost");
}

#[test]
fn acme_tiny_obtains_a_certificate() {
    if !has("acme-tiny", "acme-tiny") {
        return;
    }
    let (folder, ca, www) = lab();
    let (_, csr) = openssl_csr(&folder, "tiny.localhost");
    let account = folder.file("account.key");
    succeed(Command::new("openssl").args(["genrsa", "-traditional", "-out", &account, "2048"]));
    let challenges = format!("{www}/.well-known/acme-challenge");
    let mut tiny = Command::new("acme-tiny");
    tiny.env("SSL_CERT_FILE", &ca.anchor).args(["--account-key", &account, "--csr", &csr, "--disable-check"]);
    tiny.args(["--acme-dir", &challenges, "--directory-url", &ca.directory]);
    let chain = folder.write("tiny.pem", succeed(&mut tiny));
    verify(&ca.anchor, &chain, "tiny.localhost");
}

/// uacme trusts what the system trusts, and nothing else can be said to it: so it runs where the system's file is ours.
#[test]
fn uacme_obtains_a_certificate() {
    if !has("uacme", "uacme") {
        return;
    }
    let (folder, ca, www) = lab();
    let hook = folder.write(
        "hook",
        format!(
            "#!/bin/sh\n[ \"$2\" = http-01 ] || exit 1\nfile={www}/.well-known/acme-challenge/$4\n\
             case $1 in begin) printf %s \"$5\" > $file;; *) rm -f $file;; esac\n"
        ),
    );
    std::fs::set_permissions(&hook, Permissions::from_mode(0o700)).unwrap();
    let dir = folder.file("uacme");
    let uacme = |words: &str| {
        crate::lab::uacme(&ca.anchor, &format!("exec uacme -a {} -c {dir} -h {hook} -y {words}", ca.directory))
    };
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        watchfire_tests::skip("uacme", "it needs a mount namespace, which this system does not give");
        return;
    }
    succeed(&mut uacme("new"));
    let output = uacme("issue uacme.localhost").output().unwrap();
    assert!(output.status.success(), "{}\n{}", words(&output), ca.service.log());
    verify(&ca.anchor, &format!("{dir}/uacme.localhost/cert.pem"), "uacme.localhost");
}

#[test]
fn a_challenge_that_is_not_met_fails_the_order() {
    if !has("lego", "lego") {
        return;
    }
    let (folder, ca, _) = lab();
    let (path, elsewhere) = (folder.file("lego"), folder.file("elsewhere"));
    std::fs::create_dir_all(&elsewhere).unwrap();
    let mut lego = Command::new("lego");
    lego.env("LEGO_CA_CERTIFICATES", &ca.anchor).args(["--server", &ca.directory, "--accept-tos", "--path", &path]);
    lego.args(["--email", "a@ido.example", "--http", "--http.webroot", &elsewhere, "--domains", "no.localhost", "run"]);
    let output = lego.output().unwrap();
    assert!(!output.status.success());
    assert!(words(&output).contains("status 404"), "{}", words(&output));
}

/// An account, its orders and its certificates are there after kill -9.
#[test]
fn a_client_goes_on_with_a_ca_that_was_killed() {
    if !has("the CA's restart", "lego") {
        return;
    }
    let folder = Folder::new();
    let mut ca = Ca::start(&folder, &["--trust-identifiers"]);
    let path = folder.file("lego");
    let lego = |ca: &Ca, words: &[&str]| {
        let mut lego = Command::new("lego");
        lego.env("LEGO_CA_CERTIFICATES", &ca.anchor).args(["--server", &ca.directory, "--accept-tos", "--path", &path]);
        lego.args(["--email", "a@ido.example", "--http", "--domains", "again.localhost"]).args(words);
        succeed(&mut lego)
    };
    lego(&ca, &["run"]);
    let chain = folder.file("lego/certificates/again.localhost.crt");
    let first = std::fs::read(&chain).unwrap();
    let address = ca.address.clone();
    ca.service.kill();
    let ca = Ca::listening(&folder, &address, &["--trust-identifiers"]);
    ca.service.wait_for_log("the CA goes on");
    lego(&ca, &["renew", "--days", "1000", "--no-random-sleep"]);
    assert_ne!(std::fs::read(&chain).unwrap(), first);
    verify(&ca.anchor, &chain, "again.localhost");
    lego(&ca, &["revoke"]);
}
