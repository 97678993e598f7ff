//! A mail filter that asks our list, as it would ask any other: SpamAssassin, with rules of ours alone.

use std::io::Write as _;
use std::process::{Command, Stdio};

use watchfire_tests::{Service, Site, skip};

use crate::site::entry;

/// The rules that a message hits, in order; `TESTSSCORES` of the report.
fn hits(site: &Site, message: &str) -> String {
    let rules = site.file("rules");
    let mut command = Command::new("spamassassin");
    command.args(["--test-mode", "--configpath", &rules, "--siteconfigpath", &site.file("site")]);
    command.args(["--prefspath", &site.file("prefs")]).env("HOME", site.file(""));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = text.lines().rev().find(|line| line.starts_with("hits:"));
    let error = String::from_utf8_lossy(&output.stderr);
    report.unwrap_or_else(|| panic!("no report in {text}; it said {error}")).to_owned()
}

#[test]
fn a_mail_filter_gets_the_right_verdict() {
    let test = "a_mail_filter_gets_the_right_verdict";
    if Command::new("spamassassin").arg("--version").output().is_err() {
        return skip(test, "the package spamassassin is not installed");
    }
    let site = Site::new();
    let data = site.write(
        "d.ndjson",
        entry("192.0.2.66", "0.9") + &entry(".bad.example", "0.95") + &entry("so-so.example", "0.2"),
    );
    let words = ["repute", "dnsbl", "--json", "--listen", "127.0.0.1:0", "--store", &data];
    let list = Service::start(&[&words[..], &["--zone", "ip.list.example", "--zone", "names.list.example"]].concat());
    let address = list.address();
    let port = address.rsplit(':').next().unwrap();
    for folder in ["rules", "site"] {
        std::fs::create_dir(site.file(folder)).unwrap();
    }
    site.write("prefs", String::new());
    site.write(
        "rules/10_list.cf",
        format!(
            "loadplugin Mail::SpamAssassin::Plugin::Check\nloadplugin Mail::SpamAssassin::Plugin::DNSEval\n\
             loadplugin Mail::SpamAssassin::Plugin::URIDNSBL\nclear_report_template\nreport hits:_TESTSSCORES(,)_\n\
             dns_server [127.0.0.1]:{port}\ndns_available yes\nrbl_timeout 60 60\nuse_bayes 0\nutil_rb_tld example org\n\
             header OF_ADDRESS eval:check_rbl('list-lastexternal', 'ip.list.example.')\nscore OF_ADDRESS 3\n\
             tflags OF_ADDRESS net\nurirhsbl OF_NAME names.list.example. A\n\
             body OF_NAME eval:check_uridnsbl('OF_NAME')\nscore OF_NAME 4\ntflags OF_NAME net\n"
        ),
    );
    let message = |address: &str, name: &str| {
        format!(
            "Received: from mail.{name} (mail.{name} [{address}]) by mx.example.org with ESMTP id 1; \
             Sun, 22 Nov 2026 10:00:00 +0000\nFrom: a@{name}\nTo: b@example.org\nSubject: x\n\
             Date: Sun, 22 Nov 2026 10:00:00 +0000\nMessage-ID: <1@{name}>\n\nLook at http://www.{name}/now\n"
        )
    };
    for (address, name, wanted) in [
        ("192.0.2.66", "bad.example", "hits:OF_ADDRESS=3,OF_NAME=4"),
        ("192.0.2.66", "good.example", "hits:OF_ADDRESS=3"),
        ("192.0.2.67", "bad.example", "hits:OF_NAME=4"),
        ("192.0.2.67", "so-so.example", "hits:"),
        ("192.0.2.67", "good.example", "hits:"),
    ] {
        let found = hits(&site, &message(address, name));
        let found = found.replace("none", "").replace("none=0", "");
        assert_eq!(found.trim(), wanted, "{address} {name}; {}", list.log());
    }
}
