//! Reloading files: a good change is in force at once, a bad one changes nothing.

use std::fs;
use std::time::{Duration, Instant};

use iap_tokio::tls::{ConfigError, Reason, Source, Tls, TlsConfig, Warning};

use crate::dir::Dir;
use crate::pki::{Spec, analyzer, client_auth};
use crate::{Site, meet, reason, talk, tls};

#[tokio::test]
async fn a_good_change_is_in_force_at_once_and_connections_stay_up() {
    let (site, dir) = (Site::new(), Dir::new("good"));
    let (analyzer, manager) = (tls(site.analyzer()), tls(dir.manager(&site)));
    let (a, m) = meet(&analyzer, &manager).await;
    let (mut a, mut m) = (a.unwrap(), m.unwrap());
    dir.write("ca.crl", &site.ca.crl(&[&site.analyzer]));
    assert_eq!(manager.reload(), Ok(Vec::new()));
    assert_eq!(manager.reloads(), (1, 0));
    talk(&mut a.stream, &mut m.stream).await;
    let (_, m) = meet(&analyzer, &manager).await;
    assert_eq!(reason(&m), Some(Reason::Revoked));
    // A new certificate for the manager, too.
    let renewed = site.ca.issue(crate::pki::manager("manager.example.org"));
    dir.node(&renewed);
    dir.write("ca.crl", &site.ca.crl(&[]));
    manager.reload().unwrap();
    let fresh = tls(site.analyzer());
    let (a, _) = meet(&fresh, &manager).await;
    assert_eq!(a.unwrap().peer.fingerprint(), iap_tokio::tls::Fingerprint::of(&renewed.der));
}

#[tokio::test]
async fn resumption_survives_a_reload() {
    let (site, dir) = (Site::new(), Dir::new("resume"));
    let (analyzer, manager) = (tls(site.analyzer()), tls(dir.manager(&site)));
    meet(&analyzer, &manager).await.0.unwrap();
    manager.reload().unwrap();
    analyzer.reload().unwrap();
    assert!(meet(&analyzer, &manager).await.0.unwrap().handshake.resumed);
}

#[tokio::test]
async fn a_bad_change_changes_nothing() {
    let (site, dir) = (Site::new(), Dir::new("bad"));
    let (analyzer, manager) = (tls(site.analyzer()), tls(dir.manager(&site)));
    let stranger = site.ca.issue(crate::pki::analyzer("sensor-2"));
    let path = |name: &str| dir.0.join(name).display().to_string();
    let good = |name: &str| fs::read_to_string(dir.0.join(name)).unwrap();
    let (chain, key, ca, crl) = (good("node.pem"), good("node.key"), good("ca.pem"), good("ca.crl"));
    for (file, text, error) in [
        (
            "node.key",
            stranger.key.as_str(),
            ConfigError::KeyMismatch { key: path("node.key"), certificate: path("node.pem") },
        ),
        ("node.key", "", ConfigError::Empty { what: "key", file: path("node.key"), label: "PRIVATE KEY" }),
        (
            "node.pem",
            "nothing",
            ConfigError::Empty { what: "certificate", file: path("node.pem"), label: "CERTIFICATE" },
        ),
        ("ca.pem", "", ConfigError::Empty { what: "CA", file: path("ca.pem"), label: "CERTIFICATE" }),
        ("ca.crl", chain.as_str(), ConfigError::Empty { what: "CRL", file: path("ca.crl"), label: "X509 CRL" }),
    ] {
        dir.write(file, text);
        assert_eq!(manager.reload(), Err(error));
        meet(&analyzer, &manager).await.1.unwrap();
        for (file, text) in [("node.pem", &chain), ("node.key", &key), ("ca.pem", &ca), ("ca.crl", &crl)] {
            dir.write(file, text);
        }
    }
    fs::remove_file(dir.0.join("ca.crl")).unwrap();
    assert!(matches!(manager.reload(), Err(ConfigError::Read { .. })));
    meet(&analyzer, &manager).await.1.unwrap();
    assert_eq!(manager.reloads(), (0, 6));
}

#[tokio::test]
async fn the_watcher_sees_changes() {
    let (site, dir) = (Site::new(), Dir::new("watch"));
    let manager = tls(dir.manager(&site));
    let watcher = manager.watch(Duration::from_millis(10));
    let wait_for = async |wanted: (u64, u64)| {
        let begin = Instant::now();
        while manager.reloads() != wanted {
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}, not {wanted:?}", manager.reloads());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(manager.reloads(), (0, 0), "nothing has changed yet");
    dir.write("ca.crl", &site.ca.crl(&[&site.analyzer]));
    wait_for((1, 0)).await;
    let (_, m) = meet(&tls(site.analyzer()), &manager).await;
    assert_eq!(reason(&m), Some(Reason::Revoked));
    dir.write("ca.crl", "");
    wait_for((1, 1)).await;
    // A bad file is complained about once, not at every look.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(manager.reloads(), (1, 1));
    drop(watcher);
    tokio::time::sleep(Duration::from_millis(30)).await;
    dir.write("ca.crl", &site.ca.crl(&[]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(manager.reloads(), (1, 1), "the watch was over");
}

#[test]
fn warnings_name_what_to_look_at() {
    let (site, dir) = (Site::new(), Dir::new("warnings"));
    let config = dir.manager(&site);
    assert_eq!(tls(config.clone()).warnings(), []);
    #[cfg(unix)]
    {
        let key = dir.0.join("node.key");
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let open = Warning::KeyOpen { file: key.display().to_string(), mode: 0o644 };
        assert!(open.to_string().contains("mode 644"));
        assert_eq!(tls(config).warnings(), [open]);
    }
    let plain = site.ca.issue(Spec { usages: vec![client_auth()], ..analyzer("sensor-1") });
    assert_eq!(tls(site.config(&plain)).warnings(), [Warning::OwnCertificateRoles { file: "node.pem".into() }]);
    let expired = site.ca.issue(Spec { not_after: crate::NOW - 1, ..analyzer("sensor-1") });
    assert_eq!(tls(site.config(&expired)).warnings(), [Warning::OwnCertificateDates { file: "node.pem".into() }]);
}

#[test]
fn rsa_keys_of_all_forms_load() {
    let site = Site::new();
    let vector = |form: &str| {
        let name = format!("{}/../../tests/vectors/tls/rsa-2048.{form}.pem", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(name).unwrap()
    };
    let leaf = site.ca.issue_to(rcgen::KeyPair::from_pem(&vector("pkcs8")).unwrap(), analyzer("sensor-1"));
    let node = |form| {
        TlsConfig::new(
            Source::inline("node.pem", leaf.chain.clone()),
            Source::inline("node.key", vector(form)),
            Source::inline("ca.pem", site.ca.pem.clone()),
        )
    };
    Tls::new(node("pkcs8")).unwrap();
    Tls::new(node("pkcs1")).unwrap();
    let error = Tls::new(node("encrypted")).unwrap_err().to_string();
    assert!(error.starts_with("key node.key line 1: the key is encrypted"), "{error}");
}

#[test]
fn elliptic_keys_of_all_forms_load() {
    use rcgen::PublicKeyData;
    let site = Site::new();
    let pkcs8 = site.analyzer.key.clone();
    Tls::new(site.analyzer()).unwrap();
    let der =
        <rustls_pki_types::PrivateKeyDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(pkcs8.as_bytes());
    let node = |key: Vec<u8>| {
        TlsConfig::new(
            Source::inline("node.pem", site.analyzer.chain.clone()),
            Source::inline("node.key", key),
            Source::inline("ca.pem", site.ca.pem.clone()),
        )
    };
    Tls::new(node(der.unwrap().secret_der().to_vec())).unwrap();
    // SEC1 (RFC 5915): version 1, the secret, the curve, the public point.
    let pair = rcgen::KeyPair::from_pem(&pkcs8).unwrap();
    let public = pair.der_bytes().to_vec();
    let pkcs8_der = pair.serialized_der();
    let at = pkcs8_der.windows(2).position(|two| two == [0x04, 0x20]).unwrap();
    let secret = &pkcs8_der[at + 2..at + 34];
    let curve = [0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let bits = [&[0xa1, 68, 3, 66, 0][..], &public].concat();
    let body = [&[2, 1, 1, 4, 32][..], secret, &curve, &bits].concat();
    let sec1 = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n", base64(&sec1));
    Tls::new(node(pem.into_bytes())).unwrap();
    let garbage = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert!(matches!(Tls::new(node(garbage.into())), Err(ConfigError::Line { what: "key", line: 1, .. })));
    let two = [pkcs8.clone(), pkcs8].concat();
    let error = Tls::new(node(two.into_bytes())).unwrap_err().to_string();
    assert_eq!(error, "key node.key line 6: a second private key; one is expected");
}

fn base64(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, octet| (bits << 8) | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
