//! What Wireshark makes of our messages, with the dissector of `contrib/wireshark`. Needs the Debian package `tshark`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dots_callhome::Transport;
use dots_callhome::wire::{Code, Csm, MessageBuf, Token, tcp, udp};
use serde_json::Value;
use watchfire_core::Instant;

use crate::codec::{unhex, vectors};
use crate::support::{BOTH, World, attack};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether the programs are there; says loudly when they are not.
fn installed() -> bool {
    let there = ["tshark", "text2pcap"].iter().all(|name| Command::new(name).arg("-v").output().is_ok());
    if !there {
        eprintln!("SKIPPED: tshark and text2pcap are not installed (Debian: tshark)");
    }
    there
}

/// A folder that is gone with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dots-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A capture of unencrypted messages: when, from whom, what.
fn capture(folder: &Folder, transport: Transport, messages: &[(Instant, bool, Vec<u8>)]) -> PathBuf {
    let mut dump = String::new();
    for (at, from_client, octets) in messages {
        let micros = at.as_micros();
        writeln!(dump, "{} {}.{:06}", if *from_client { 'O' } else { 'I' }, micros / 1_000_000, micros % 1_000_000)
            .unwrap();
        for (line, chunk) in octets.chunks(16).enumerate() {
            let octets: Vec<String> = chunk.iter().map(|octet| format!("{octet:02x}")).collect();
            writeln!(dump, "{:06x} {}", line * 16, octets.join(" ")).unwrap();
        }
        dump.push('\n');
    }
    let (text, pcap) = (folder.0.join("messages.hex"), folder.0.join("messages.pcap"));
    std::fs::write(&text, dump).unwrap();
    let ports = if transport == Transport::Datagram { ["-u", "5683,40000"] } else { ["-T", "5683,40000"] };
    let made = Command::new("text2pcap").args(["-q", "-D", "-t", "%s.%f"]).args(ports).args([&text, &pcap]).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    pcap
}

/// What tshark says, with our dissector.
fn tshark(pcap: &Path, arguments: &[&str]) -> String {
    let script = root().join("contrib/wireshark/dots.lua");
    let script = format!("lua_script:{}", script.canonicalize().unwrap().display());
    let said = Command::new("tshark").args(["-X", &script, "-r"]).arg(pcap).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && !errors.contains("Lua"), "{errors}");
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(!text.contains("Lua Error"), "{text}");
    text
}

/// Everything that a dissector could not make sense of. Wireshark 4.0 takes the options of signals (7.01 and so on) for
/// those of requests, and finds them malformed.
const BAD: &str = "(_ws.malformed && !(coap.code >= 224)) || dots.malformed || dots.unknown_key";

fn in_a_message(transport: Transport, body: &[u8]) -> Vec<u8> {
    let mut message = MessageBuf::new(Code::CONTENT, Token::new(&[1, 2]).unwrap());
    message.set_dots_payload(body);
    let mut octets = Vec::new();
    match transport {
        Transport::Datagram => message.encode_udp(udp::Type::Non, 7, &mut octets),
        Transport::Stream => message.encode_tcp(&mut octets),
    }
    octets
}

/// Names and values of a body, as the dissector must show them: by the last part of the name, and in quotes or not.
fn leaves(name: &str, value: &Value, found: &mut Vec<(String, Option<String>)>) {
    let short = name
        .strip_prefix("ietf-dots-signal-control")
        .map_or_else(|| name.rsplit(':').next().unwrap_or(name).to_owned(), |_| name.to_owned());
    match value {
        Value::Object(members) => {
            if !name.is_empty() {
                found.push((short, None));
            }
            members.iter().for_each(|(name, value)| leaves(name, value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| leaves(name, element, found)),
        Value::String(text) => found.push((short, Some(text.clone()))),
        Value::Bool(value) => found.push((short, Some(if *value { "True" } else { "False" }.to_owned()))),
        other => found.push((short, Some(other.to_string()))),
    }
}

#[test]
fn every_name_and_value_of_the_figures_is_shown() {
    if !installed() {
        return;
    }
    for transport in BOTH {
        let folder = Folder::new(&format!("figures-{transport:?}"));
        let vectors = vectors();
        let bodies = vectors["cbor"].as_array().unwrap();
        let mut messages: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(n, vector)| {
                let octets = in_a_message(transport, &unhex(vector["cbor"].as_str().unwrap()));
                (Instant::from_secs(n as u64 + 1), true, octets)
            })
            .collect();
        if transport == Transport::Stream {
            let mut csm = Vec::new();
            Csm::default().to_message().encode_tcp(&mut csm);
            messages.insert(0, (Instant::ZERO, true, csm));
        }
        let pcap = capture(&folder, transport, &messages);
        assert_eq!(tshark(&pcap, &["-Y", BAD]), "");
        let said = tshark(&pcap, &["-Y", "dots", "-V", "-O", "dots"]);
        let shown: Vec<&str> = said.split("DDoS Open Threat Signaling").skip(1).collect();
        assert_eq!(shown.len(), bodies.len());
        for (vector, shown) in bodies.iter().zip(shown) {
            let mut expected = Vec::new();
            leaves("", &vector["json"], &mut expected);
            for (name, value) in expected {
                let line = value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}: {value}"));
                assert!(
                    shown.lines().any(|shown| shown.trim().starts_with(&line)),
                    "{}: {line} in\n{shown}",
                    vector["name"]
                );
            }
        }
    }
}

#[test]
fn a_whole_session_is_dissected_without_an_error() {
    if !installed() {
        return;
    }
    for transport in BOTH {
        let folder = Folder::new(&format!("session-{transport:?}"));
        let mut world = World::new(transport);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(200);
        world.client.withdraw(world.now, mid).unwrap();
        world.run(100);
        let pcap = capture(&folder, transport, &world.said);
        assert_eq!(tshark(&pcap, &["-Y", BAD]), "", "{transport:?}");
        let bodies = tshark(&pcap, &["-Y", "dots", "-T", "fields", "-e", "dots.mid"]).lines().count();
        let own = world.said.iter().filter(|(.., octets)| match transport {
            Transport::Datagram => udp::decode(octets).unwrap().message.is_dots(),
            Transport::Stream => tcp::decode(octets, 1 << 20).unwrap().unwrap().0.is_dots(),
        });
        assert_eq!(bodies, own.count(), "{transport:?}: each body is known for one");
        let asked = tshark(&pcap, &["-Y", "dots.source_prefix == \"2001:db8:123::1/128\" && coap.code == 3"]);
        assert!(!asked.is_empty());
        let status = tshark(&pcap, &["-Y", "dots.status", "-V", "-O", "dots"]);
        assert!(status.contains("status: attack-successfully-mitigated (2)"), "{status}");
    }
}

#[test]
fn what_is_wrong_is_marked_and_breaks_nothing() {
    if !installed() {
        return;
    }
    let folder = Folder::new("wrong");
    let mut bodies: Vec<(Vec<u8>, bool)> =
        ["a101a10281", "a1", "a10105", "a1187f00", "a11831a11833f500", "a10119", "1f"]
            .map(|hex| (unhex(hex), true))
            .to_vec();
    bodies.push((unhex(&format!("a1188a{}00", "81".repeat(64))), true));
    bodies.push((unhex(&format!("a101{}00", "81".repeat(64))), true));
    // Many items announced, few there.
    bodies.push((unhex("a101a1029bffffffffffffffff"), true));
    bodies.push((unhex("a10169aaaaaaaaaaaaaaaaaa"), true));
    // Telemetry is passed over, and so is what has an indefinite length.
    bodies.push((unhex("a101a10281a20e0118ba820102"), false));
    bodies.push((unhex("bf01bf029fbf0e20ffffffff"), false));
    let messages: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, (body, _))| (Instant::from_secs(n as u64), true, in_a_message(Transport::Datagram, body)))
        .collect();
    let pcap = capture(&folder, Transport::Datagram, &messages);
    let marked = tshark(&pcap, &["-Y", BAD, "-T", "fields", "-e", "frame.number"]);
    let marked: Vec<usize> = marked.lines().map(|line| line.trim().parse().unwrap()).collect();
    let expected: Vec<usize> = bodies.iter().enumerate().filter(|(_, (_, bad))| *bad).map(|(n, _)| n + 1).collect();
    assert_eq!(marked, expected);
    assert!(tshark(&pcap, &["-Y", "dots.lifetime == \"-1\""]).contains("CoAP"));
}

#[test]
fn the_sample_that_is_shipped_is_what_its_readme_says() {
    if !installed() {
        return;
    }
    let sample = root().join("contrib/wireshark/call-home.pcap");
    assert_eq!(tshark(&sample, &["-Y", BAD]), "");
    let mids = tshark(
        &sample,
        &["-Y", "dots.source_prefix", "-T", "fields", "-e", "dots.target_prefix", "-e", "dots.source_prefix"],
    );
    assert!(mids.lines().any(|line| line == "2001:db8:c000::/128\t2001:db8:123::1/128"), "{mids}");
    let redirect = tshark(&sample, &["-Y", "dots.alt_ch_client", "-T", "fields", "-e", "dots.ttl"]);
    assert!(!redirect.is_empty() && redirect.lines().all(|line| line == "600"), "{redirect}");
}
