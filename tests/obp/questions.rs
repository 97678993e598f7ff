//! Connecting and validating.

use watchfire_tests::{run, succeed, until};

use crate::site::{Brokered, connect};

#[test]
fn the_best_way_comes_first_over_each_transport() {
    let Some(at) = Brokered::start("the_best_way_comes_first_over_each_transport", &[]) else { return };
    for transport in ["udp", "http"] {
        let ways = |words: &[&str]| at.ways(&[words, &["--transport", transport]].concat());
        assert_eq!(ways(&["www.plain.test", "ssh"]), ["2001:db8::1 22 RAW", "192.0.2.1 22 RAW"]);
        assert_eq!(ways(&["deep.plain.test", "--port", "7"]).len(), 2, "through two aliases");
        let web = ways(&["web.plain.test", "_http"]);
        assert_eq!(web.first().map(String::as_str), Some("192.0.2.2 8443 TLS"), "TLS first where the site offers it");
        assert_eq!(web.last().map(String::as_str), Some("192.0.2.2 80 RAW"));
        let xmpp = ways(&["plain.test", "_xmpp-client._tcp"]);
        assert_eq!(xmpp.first().map(String::as_str), Some("2001:db8::1 5222 RAW"));
        assert_eq!(xmpp.last().map(String::as_str), Some("192.0.2.2 5223 RAW"), "the larger priority is the last");
    }
    assert!(at.metric("watchfire_obp_datagrams_total") >= 4);
    assert!(at.metric("watchfire_obp_answers_total{memory=\"hit\"}") >= 4, "the second time from memory");
}

#[test]
fn what_is_not_there_is_exit_1_and_silence_is_exit_3() {
    let Some(mut at) = Brokered::start("what_is_not_there_is_exit_1_and_silence_is_exit_3", &[]) else { return };
    for (words, status) in [
        (&["no.plain.test", "http"][..], "404"),
        (&["loop1.plain.test", "http"], "500"),
        (&["www.elsewhere.test", "http"], "500"),
    ] {
        let (code, error) = Brokered::failure(&at.connect(words));
        assert!(code == 1 && error.contains(status), "{words:?}: {code} {error}");
    }
    at.authority.kill();
    let (code, error) = Brokered::failure(&at.connect(&["new.plain.test", "http"]));
    assert!(matches!(code, 1 | 3), "{error}");
    // What was answered before is still known.
    at.broker.signal("TERM");
    assert_eq!(at.broker.wait(), 0);
    let (code, error) = Brokered::failure(&at.connect(&["www.plain.test", "http", "--timeout", "2s"]));
    assert_eq!(code, 3, "{error}");
}

#[test]
fn policy_denies_and_says_why_and_a_bad_file_changes_nothing() {
    let folder = watchfire_tests::Site::new();
    let policy =
        folder.write("policy.toml", "[[rule]]\nname = \"www.plain.test\"\naction = \"deny\"\nreason = \"not here\"\n");
    let Some(at) = Brokered::start("policy_denies_and_says_why", &["--policy", &policy]) else { return };
    let (code, error) = Brokered::failure(&at.connect(&["www.plain.test", "http"]));
    assert!(code == 1 && error.contains("not here") && !error.contains("192.0.2"), "{error}");
    assert!(!at.ways(&["web.plain.test", "ssh"]).is_empty());
    // A mistake is named, and the old policy stays.
    folder.write("policy.toml", "[[rule]]\nname = \"web.plain.test\"\naction = \"denied\"\n");
    at.broker.wait_for_log("policy.toml");
    assert_eq!(Brokered::failure(&at.connect(&["www.plain.test", "http"])).0, 1);
    // Mended, it is in force without a restart.
    folder.write("policy.toml", "[[rule]]\naddress = \"192.0.2.2\"\naction = \"deny\"\nreason = \"known\"\n");
    until("it is in force", || at.connect(&["www.plain.test", "ssh"]).status.success());
    let (code, error) = Brokered::failure(&at.connect(&["web.plain.test", "ssh"]));
    assert!(code == 1 && error.contains("known"), "{error}");
}

#[test]
fn certificates_are_vetoed_for_a_reason() {
    let Some(at) = Brokered::start("certificates_are_vetoed_for_a_reason", &[]) else { return };
    let good = at.site.file("good.plain.test.pem");
    let validate = |name: &str, certificate: &str| {
        let words = ["obp", "validate", "--json", "--binding", &at.binding, "--timeout", "60s", "--name", name];
        run(&[&words[..], &[certificate]].concat())
    };
    let output = validate("good.plain.test", &good);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["valid"], &value["status"]), (&true.into(), &200.into()));
    let (code, error) = Brokered::failure(&validate("other.plain.test", &good));
    assert!(code == 1 && error.contains("other.plain.test"), "{error}");
    // Of an authority that nobody trusts.
    let other = watchfire_tests::Site::new();
    let dir = other.file("");
    succeed(&["pki", "issue", "--dir", &dir, "--profile", "tls-server", "--name", "good.plain.test"]);
    let (code, error) = Brokered::failure(&validate("good.plain.test", &other.file("good.plain.test.pem")));
    assert!(code == 1 && error.contains("412"), "{error}");
    // The certificate of the draft's own example is signed with SHA-1, and long expired.
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/obp/seed-certificate.der");
    let (code, error) = Brokered::failure(&validate("voodoo.test", vectors));
    assert!(code == 1 && error.contains("SHA-1"), "{error}");
}

#[test]
fn a_revoked_certificate_is_vetoed_as_revoked() {
    let Some(at) = Brokered::start("a_revoked_certificate_is_vetoed_as_revoked", &[]) else { return };
    let (dir, crl) = (at.site.file(""), at.site.file("ca.crl.pem"));
    succeed(&["pki", "crl", "--dir", &dir, "--revoke", "good.plain.test"]);
    let (broker, https, _) = Brokered::broker(&at.site, &at.authority, at.host, &["--crl", &crl]);
    let binding = Brokered::bound(&at.site, &https, "bob@localhost");
    let good = at.site.file("good.plain.test.pem");
    let output =
        run(&["obp", "validate", "--binding", &binding, "--timeout", "60s", "--name", "good.plain.test", &good]);
    let (code, error) = Brokered::failure(&output);
    assert!(code == 1 && error.contains("410"), "{error}");
    drop(broker);
}

#[test]
fn a_signed_zone_is_proven_to_the_client() {
    let Some(at) = Brokered::start("a_signed_zone_is_proven_to_the_client", &[]) else { return };
    // Without an anchor the zone is an island: answered, and not proven.
    let line = |output: &std::process::Output| -> serde_json::Value {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(text.lines().next().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{text}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    assert_eq!(line(&at.connect(&["www.signed.test", "ssh", "--prove"]))["Proven"], false);
    let anchor = ["--trust-anchor", &at.authority.anchor];
    let (broker, https, _) = Brokered::broker(&at.site, &at.authority, at.host, &anchor);
    let binding = Brokered::bound(&at.site, &https, "bob@localhost");
    let connect = |words: &[&str]| connect(&binding, &[&["--prove"], words].concat());
    assert_eq!(line(&connect(&[&["www.signed.test", "ssh"][..], &anchor].concat()))["Proven"], true);
    assert_eq!(line(&connect(&[&["signed.test", "_xmpp-client._tcp"][..], &anchor].concat()))["Proven"], true);
    // Against the root's keys the same evidence proves nothing, and that is no small matter.
    let (code, error) = Brokered::failure(&connect(&["www.signed.test", "ssh"]));
    assert!(code == 4 && error.contains("does not hold"), "{error}");
    drop(broker);
}
