//! The codec and the configuration file.

use std::io::Write as _;
use std::process::Stdio;

use watchfire_tests::{Site, run, watchfire};

fn codec(direction: &str, format: &str, input: &[u8]) -> std::process::Output {
    let mut command = watchfire(&["obp", "codec", direction, "--format", format]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_codec_writes_what_the_drafts_say() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/obp/derived.json");
    let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(vectors).unwrap()).unwrap();
    let wanted = vectors["V-B1"].as_str().unwrap();
    let json = br#"{"QueryConnectRequest":{"Identifier":{"Name":"Example.com","Service":"_http","Port":80}}}"#;
    let encoded = codec("encode", "json-b", json).stdout;
    let hex: String = encoded.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(hex, wanted);
    for format in ["json", "json-b", "json-c", "json-d"] {
        let encoded = codec("encode", format, json);
        assert!(encoded.status.success(), "{}", String::from_utf8_lossy(&encoded.stderr));
        assert_eq!(codec("decode", format, &encoded.stdout).stdout.trim_ascii_end(), json, "{format}");
    }
    let output = codec("decode", "json-b", b"\x7b\x80\xff");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(4), 0));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}

#[test]
fn a_configuration_with_a_broker_is_checked() {
    let site = Site::new();
    let accounts = site.write("accounts.toml", "[[account]]\nname = \"a@b\"\n");
    let good = site.write(
        "good.toml",
        format!("[[obp.broker]]\nlisten = [\"127.0.0.1:0\"]\naccounts = \"{accounts}\"\nresolver = \"127.0.0.1:53\"\n"),
    );
    let output = run(&["config", "check", &good]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    site.write("policy.toml", "[[rule]]\nname = \"a.test\"\naction = \"denied\"\n");
    let text = std::fs::read_to_string(&good).unwrap() + "policy = \"policy.toml\"\n";
    let output = run(&["config", "check", &site.write("policy-too.toml", text)]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("policy.toml:3"), "{error}");
    let bad = site.write("bad.toml", "[[obp.broker]]\nlisten = [\"127.0.0.1:0\"]\naccounts = \"a\"\nresolvr = \"x\"\n");
    let output = run(&["config", "check", &bad]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("bad.toml:4") && error.contains("resolver"), "{error}");
}
