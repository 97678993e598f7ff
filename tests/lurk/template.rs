//! `lurk template`: the corpus of requests, read by the program as its users give it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use watchfire_tests::run;

use crate::lab::Folder;

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/acme-lurk").join(name)
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(vectors("csr/manifest.json")).unwrap()).unwrap()
}

/// The exit code, the lines of standard output, and standard error.
fn said(arguments: &[&str]) -> (i32, Vec<String>, String) {
    let output = run(arguments);
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn requests_of_the_corpus_get_their_verdicts() {
    let folder = Folder::new();
    let manifest = manifest();
    let (mut fits, mut not) = (0, 0);
    for case in manifest["cases"].as_array().unwrap() {
        let (name, kind) = (case["file"].as_str().unwrap(), case["template"].as_str().unwrap());
        let template = folder.write(&format!("{kind}.json"), manifest["templates"][kind].to_string());
        let order = manifest["order_identifiers"][kind][0].as_str().unwrap();
        let csr = vectors("csr").join(name).display().to_string();
        let arguments =
            ["lurk", "template", "check", "--template", &template, "--csr", &csr, "--name", order, "--json"];
        let (code, lines, error) = said(&arguments);
        let rows: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        // The owner's policy for names is not part of this command.
        let by_policy = rows.is_empty() || case["place"] == "extensions.subjectAltName.DNS" && kind == "T2";
        if case["expect"] == "accept" {
            assert_eq!((code, rows.len(), &rows[0]["fits"]), (0, 1, &true.into()), "{name}: {lines:?} {error}");
            fits += 1;
        } else if code == 1 {
            assert!(!rows.is_empty() && error.lines().count() == 1, "{name}: {lines:?} {error}");
            for row in &rows {
                assert!(row["event"] == "violation" && row["member"].is_string() && row["kind"].is_string(), "{row}");
            }
            not += 1;
        } else {
            assert!(by_policy, "{name} was taken: {}", case["why"]);
        }
    }
    assert!(fits >= 5 && not >= 40, "{fits} fit, {not} do not");
}

#[test]
fn every_violation_is_named_as_the_template_names_it() {
    let folder = Folder::new();
    let template = folder.write("t.json", manifest()["templates"]["T1"].to_string());
    let check = |name: &str| {
        let csr = vectors("csr").join(format!("{name}.der")).display().to_string();
        said(&["lurk", "template", "check", "--template", &template, "--csr", &csr])
    };
    for (name, member) in [
        ("t1-missing-mandatory-ST", "subject.stateOrProvince is missing"),
        ("t1-extra-O", "subject.organization is not in the template"),
        ("t1-key-p384", "keyTypes must be secp256r1"),
        ("t1-san-extra-name", "extensions.subjectAltName.DNS \""),
        ("t1-eku-missing", "extensions.extendedKeyUsage.serverAuth is missing"),
        ("t1-bad-signature", "signature is not taken"),
        ("t1-trailing", "csr"),
    ] {
        let (code, lines, error) = check(name);
        assert!(code == 1 && error.contains("does not fit") && error.lines().count() == 1, "{name}: {error}");
        assert!(lines.iter().any(|line| line.starts_with(member)), "{name}: {lines:?}");
    }
    let (_, lines, error) = check("t1-empty-subject");
    assert!(lines.len() >= 3 && error.contains(&format!("{} violation(s)", lines.len())), "{lines:?} {error}");
    let (code, lines, _) = check("t1-good");
    assert!(code == 0 && lines.len() == 1 && lines[0].ends_with("t1-good.der: fits"), "{lines:?}");
}

#[test]
fn requests_come_as_der_or_pem_and_what_is_none_is_said() {
    let folder = Folder::new();
    let template = folder.write("t.json", manifest()["templates"]["T1"].to_string());
    let der = std::fs::read(vectors("csr/t1-good.der")).unwrap();
    let pem = |label: &str| {
        let text = base64(&der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let check = |csr: &str| said(&["lurk", "template", "check", "--template", &template, "--csr", csr]);
    for label in ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"] {
        let (code, _, error) = check(&folder.write("csr.pem", pem(label)));
        assert_eq!(code, 0, "{error}");
    }
    let (code, _, error) = check(&folder.write("cert.pem", pem("CERTIFICATE")));
    assert!(code == 1 && error.contains("holds a CERTIFICATE"), "{error}");
    let (code, lines, _) = check(&folder.write("nothing", "nothing"));
    assert!(code == 1 && lines.len() == 1 && lines[0].starts_with("csr"), "{lines:?}");
    assert_eq!(check("/nonexistent").0, 2);
    let bad = folder.write("bad.json", r#"{"keyTypes": []}"#);
    let good = vectors("csr/t1-good.der").display().to_string();
    let (code, _, error) = said(&["lurk", "template", "check", "--template", &bad, "--csr", &good]);
    assert!(code == 2 && error.contains("bad.json") && error.contains("keyTypes"), "{error}");
    let name =
        |name: &str| said(&["lurk", "template", "check", "--template", &template, "--csr", &good, "--name", name]).0;
    assert_eq!((name("abc.ido.example"), name("ABC.ido.example"), name("other.example")), (0, 0, 1));
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn templates_are_linted() {
    let folder = Folder::new();
    let lint = |file: &str| said(&["lurk", "template", "lint", file]);
    let example = vectors("csr-template/example-template.json").display().to_string();
    assert_eq!(lint(&example), (0, Vec::new(), String::new()));
    let (code, lines, error) = lint(&folder.write("t2.json", manifest()["templates"]["T2"].to_string()));
    assert!(code == 1 && lines.len() == 1 && lines[0].contains("left open"), "{lines:?}");
    assert!(error.contains("1 thing(s) to look at"), "{error}");
    for (json, why) in [
        ("{}", "keyTypes"),
        ("[]", "must be an object"),
        ("{", "no CSR template"),
        (
            r#"{"keyTypes":[{"PublicKeyType":"id-ecPublicKey","namedCurve":"secp256r1","SignatureType":"ecdsa-with-SHA256"}],"extensions":{"subjectAltName":{"DNS":["a.example"]}},"x":1}"#,
            "\"x\"",
        ),
    ] {
        let (code, lines, error) = lint(&folder.write("bad.json", json));
        assert!(code == 1 && lines.is_empty() && error.contains(why) && error.contains("bad.json"), "{error}");
    }
    let output = run(&["lurk", "template", "lint", "--json", &folder.write("bad.json", "{}")]);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(line["event"] == "error" && line["member"].is_string() && output.status.code() == Some(1), "{line}");
    assert_eq!(lint("/nonexistent").0, 2);
}
