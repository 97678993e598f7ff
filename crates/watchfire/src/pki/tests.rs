use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;
use crate::cli::CrlArgs;
use crate::testing::TempDir;

fn authority() -> TempDir {
    let dir = TempDir::new("pki");
    init(&InitArgs::new(dir.path())).unwrap();
    dir
}

fn openssl(dir: &TempDir, args: &[&str]) -> Option<(bool, String)> {
    match Command::new("openssl").args(args).current_dir(dir.path()).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            eprintln!(
                "SKIPPED: openssl cannot be run ({error}); certificates were not checked by a second implementation"
            );
            None
        }
    }
}

#[test]
fn keys_are_private_and_nothing_is_overwritten() {
    let dir = authority();
    let args = IssueArgs::new(dir.path(), Profile::IapAnalyzer, "sensor-1");
    let [cert, key] = issue(&args).unwrap();
    for (path, mode) in [(&key, 0o600), (&dir.path().join("ca.key"), 0o600), (&cert, 0o644)] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    let before = std::fs::read(&key).unwrap();
    let error = issue(&args).unwrap_err().to_string();
    assert!(error.contains("exists already") && error.contains("--force"), "{error}");
    assert!(init(&InitArgs::new(dir.path())).is_err());
    assert_eq!(std::fs::read(&key).unwrap(), before);
    issue(&IssueArgs { force: true, ..args }).unwrap();
    assert_ne!(std::fs::read(&key).unwrap(), before);
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let dir = authority();
    for name in ["", "../x", "a/b", ".hidden", "ca", "-x", "a\nb", &"x".repeat(65)] {
        assert!(issue(&IssueArgs::new(dir.path(), Profile::TlsServer, name)).is_err(), "{name:?} was taken");
    }
    let nowhere = TempDir::new("pki-none");
    let error = issue(&IssueArgs::new(nowhere.path(), Profile::TlsServer, "x")).unwrap_err().to_string();
    assert!(error.contains("pki init"), "{error}");
}

#[test]
fn openssl_agrees_on_every_profile() {
    let dir = authority();
    let profiles = [
        (
            Profile::IapAnalyzer,
            "a",
            "sslclient",
            "TLS Web Client Authentication, 2.25.162314025578861311036066743155577370371.1",
        ),
        (
            Profile::IapManager,
            "m",
            "sslserver",
            "TLS Web Server Authentication, 2.25.162314025578861311036066743155577370371.2",
        ),
        (Profile::IapConfigurator, "c", "sslserver", "77370371.2, 2.25.162314025578861311036066743155577370371.3"),
        (Profile::DotsClient, "dc", "sslclient", "TLS Web Client Authentication"),
        (Profile::DotsServer, "ds", "sslserver", "TLS Web Server Authentication"),
        (Profile::TlsServer, "ts", "sslserver", "TLS Web Server Authentication"),
        (Profile::TlsClient, "tc", "sslclient", "TLS Web Client Authentication"),
    ];
    for (profile, name, purpose, usage) in profiles {
        let mut args = IssueArgs::new(dir.path(), profile, name);
        args.san = vec!["DNS:localhost".parse().unwrap(), "IP:127.0.0.1".parse().unwrap(), "IP:::1".parse().unwrap()];
        args.ou = Some("Outpost".into());
        issue(&args).unwrap();
        let file = format!("{name}.pem");
        let Some((ok, text)) =
            openssl(&dir, &["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", &file])
        else {
            return;
        };
        assert!(ok, "{text}");
        let (_, text) = openssl(&dir, &["x509", "-in", &file, "-noout", "-text"]).unwrap();
        assert!(text.contains(usage), "{text}");
        let own = if profile.names_a_host() { format!("DNS:{name}, ") } else { String::new() };
        let names = format!("{own}DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1\n");
        let line = text.lines().find(|line| line.contains("IP Address:127")).unwrap();
        assert_eq!(line.trim(), names.trim(), "{text}");
        assert!(text.contains("OU = Outpost") && text.contains(&format!("CN = {name}")), "{text}");
        assert!(text.contains("CA:TRUE") == (name == "ca"), "{text}");
    }
}

#[test]
fn the_name_of_a_host_is_there_once_beside_others() {
    for (name, san, wanted) in [
        ("localhost", "IP:127.0.0.1", &["localhost", "127.0.0.1"][..]),
        ("Host.example.com", "DNS:host.example.com", &["host.example.com"]),
        ("192.0.2.7", "IP:192.0.2.7", &["192.0.2.7"]),
        ("192.0.2.7", "DNS:host.example.com", &["192.0.2.7", "host.example.com"]),
        ("two words", "DNS:host.example.com", &["host.example.com"]),
    ] {
        let mut args = IssueArgs::new(".", Profile::TlsServer, name);
        args.san = vec![san.parse().unwrap()];
        let shown = |name: SanType| match name {
            SanType::DnsName(name) => name.to_string(),
            SanType::IpAddress(address) => address.to_string(),
            other => panic!("{other:?}"),
        };
        let found: Vec<String> = names(&args).unwrap().into_iter().map(shown).collect();
        assert_eq!(found, wanted, "{name} {san}");
    }
}

#[test]
fn the_default_alternative_name_is_the_name() {
    let dir = authority();
    for (name, wanted) in [
        ("manager.example.com", Some("DNS:manager.example.com")),
        ("192.0.2.7", Some("IP Address:192.0.2.7")),
        ("Jörg's box", None),
    ] {
        let [cert, _] = issue(&IssueArgs::new(dir.path(), Profile::TlsServer, name)).unwrap();
        let Some((_, text)) =
            openssl(&dir, &["x509", "-in", cert.to_str().unwrap(), "-noout", "-ext", "subjectAltName"])
        else {
            return;
        };
        match wanted {
            Some(wanted) => assert!(text.contains(wanted), "{text}"),
            None => assert!(!text.contains("DNS:"), "{text}"),
        }
    }
}

#[test]
fn revocations_add_up_and_hold() {
    let dir = authority();
    for name in ["one", "two", "three"] {
        issue(&IssueArgs::new(dir.path(), Profile::IapAnalyzer, name)).unwrap();
    }
    // Issued anew: the lost first certificate of this name is revoked as well.
    let first = std::fs::read(dir.path().join("one.pem")).unwrap();
    issue(&IssueArgs { force: true, ..IssueArgs::new(dir.path(), Profile::IapAnalyzer, "one") }).unwrap();
    let mut args = CrlArgs::new(dir.path());
    args.revoke = vec!["one".into()];
    crl(&args).unwrap();
    args.revoke = vec![dir.path().join("two.pem").to_str().unwrap().into()];
    crl(&args).unwrap();
    std::fs::write(dir.path().join("first.pem"), first).unwrap();
    let verify =
        |file: &str| openssl(&dir, &["verify", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "ca.crl.pem", file]);
    let Some((_, text)) = openssl(&dir, &["crl", "-in", "ca.crl.pem", "-noout", "-text"]) else { return };
    assert_eq!(text.matches("Serial Number").count(), 3, "{text}");
    assert!(text.contains("X509v3 CRL Number: \n                2"), "{text}");
    for (file, good) in [("first.pem", false), ("one.pem", false), ("two.pem", false), ("three.pem", true)] {
        let (ok, text) = verify(file).unwrap();
        assert_eq!(ok, good, "{file}: {text}");
    }
}

#[test]
fn a_list_or_certificate_of_somebody_else_is_refused() {
    let (ours, theirs) = (authority(), authority());
    issue(&IssueArgs::new(theirs.path(), Profile::TlsClient, "x")).unwrap();
    let mut args = CrlArgs::new(ours.path());
    args.revoke = vec![theirs.path().join("x.pem").to_str().unwrap().into()];
    assert!(crl(&args).unwrap_err().to_string().contains("not issued by this authority"));
    args.revoke = vec!["nobody".into()];
    assert!(crl(&args).unwrap_err().to_string().contains("never issued here"));
    crl(&CrlArgs::new(theirs.path())).unwrap();
    std::fs::copy(theirs.path().join("ca.crl.pem"), ours.path().join("ca.crl.pem")).unwrap();
    assert!(crl(&CrlArgs::new(ours.path())).unwrap_err().to_string().contains("not signed by this authority"));
}
