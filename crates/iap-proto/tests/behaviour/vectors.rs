//! Every vector, known answers both ways. draft-ietf-idwg-iap-01 section 4.4 and what follows from its grammar.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use iap_proto::message::{ChannelSetup, ContentHeader, SetupRequest, Upgrade};
use iap_proto::wire::DecodeError;
use iap_proto::{
    Compat, Config, DataRole, Dialect, Error, Limit, MediaType, Party, PeerMisbehaved, Proxy, ProxyEvent, Side,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use watchfire_core::{Machine as _, Output, StreamMachine as _};

use crate::support::*;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "vectors", "iap"].iter().collect()
}

fn manifest() -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(folder().join("manifest.json")).unwrap()).unwrap()
}

pub fn octets(id: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{id}.bin"))).unwrap()
}

#[test]
fn the_manifest_describes_every_file() {
    let mut described = BTreeSet::new();
    for vector in manifest() {
        let id = vector["id"].as_str().unwrap();
        let octets = octets(id);
        assert_eq!(octets.len() as u64, vector["len"].as_u64().unwrap(), "{id}");
        let digest: String = Sha256::digest(&octets).iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(digest, vector["sha256"].as_str().unwrap(), "{id}");
        if let Some(text) = vector["text"].as_str() {
            assert_eq!(
                text.chars().map(|c| c as u32).collect::<Vec<_>>(),
                octets.iter().map(|o| u32::from(*o)).collect::<Vec<_>>(),
                "{id}"
            );
        }
        described.insert(format!("{id}.bin"));
    }
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(described, files.filter(|name| name.ends_with(".bin")).collect());
    assert_eq!(described.len(), 44);
}

fn decode(message: &str, octets: &[u8], compat: Compat) -> Result<(), DecodeError> {
    let syntax = syntax(compat);
    match message {
        "setup-request" => SetupRequest::decode_with(octets, &syntax).map(drop),
        "response" => iap_proto::message::Response::decode_with(octets, &syntax).map(drop),
        "content" => ContentHeader::decode_with(octets, Dialect::V0_3, &syntax).map(drop),
        other => panic!("{other}"),
    }
}

#[test]
fn each_is_read_as_each_preset_says() {
    for vector in manifest() {
        let id = vector["id"].as_str().unwrap();
        for (preset, compat) in
            [("strict", Compat::strict()), ("default", Compat::default()), ("liberal", Compat::liberal())]
        {
            let said = match decode(vector["message"].as_str().unwrap(), &octets(id), compat) {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("{:?}", error.kind),
            };
            assert_eq!(said, vector[preset].as_str().unwrap(), "{id} {preset}");
        }
    }
}

/// What the good vectors mean, and which vector is the canonical form of each: what we write.
fn good_setup() -> Vec<(&'static str, SetupRequest, &'static str)> {
    let connect = |via: &[&str]| SetupRequest::Connect(connect("M.DOM.ORG", via));
    let channel = |role| SetupRequest::ChannelSetup(ChannelSetup::new(Dialect::V0_3, role));
    vec![
        ("V01", connect(&[]), "V01"),
        ("V02", connect(&["P.DOM.ORG"]), "V02"),
        ("V05", SetupRequest::Upgrade(Upgrade::new(Dialect::V0_3)), "V05"),
        ("V07a", channel(DataRole::Sender), "V07a"),
        ("V07b", channel(DataRole::Sender), "V07a"),
        ("V07c", channel(DataRole::Receiver), "V07c"),
        ("V16", connect(&["P1.DOM.ORG", "P2.DOM.ORG"]), "V16"),
    ]
}

#[test]
fn setup_requests_mean_what_the_transcript_says_and_are_written_so() {
    for (id, value, canonical) in good_setup() {
        let octets = octets(id);
        assert_eq!(SetupRequest::decode(&octets), Ok((value.clone(), octets.len())), "{id}");
        let mut written = Vec::new();
        value.encode(&mut written);
        assert_eq!(text(&written), text(&super::vectors::octets(canonical)), "{id}");
    }
    // V18 is V01 in small letters: its literals are ours, its host is its own.
    let (lower, _) = SetupRequest::decode(&octets("V18")).unwrap();
    assert_eq!(lower, SetupRequest::Connect(connect("m.dom.org", &[])));
    let mut written = Vec::new();
    lower.encode(&mut written);
    assert_eq!(text(&written), "IAP/0.3 CONNECT m.dom.org\r\n\r\n");
}

#[test]
fn responses_mean_what_the_transcript_says_and_are_written_so() {
    for (id, value, canonical) in [
        ("V03", response(200, &[]), "V03"),
        ("V04", response(200, &["P.DOM.ORG"]), "V04"),
        ("V06", response(101, &[]), "V06"),
        ("V08", response(200, &[]), "V08"),
        ("V10", response(200, &[]), "V10"),
        ("V11", response(415, &[]), "V11"),
        ("V12", response(403, &[]), "V12"),
        ("V13", response(502, &[]), "V13"),
        ("V14", response(500, &[]), "V14"),
        ("V17", response(200, &[]), "V03"),
    ] {
        let octets = octets(id);
        assert_eq!(iap_proto::message::Response::decode(&octets), Ok((value.clone(), octets.len())), "{id}");
        let mut written = Vec::new();
        value.encode(&mut written);
        assert_eq!(text(&written), text(&super::vectors::octets(canonical)), "{id}");
    }
}

#[test]
fn contents_reach_the_application_and_are_written_so() {
    let ff = vec![0xff; 64];
    for (id, bodies) in [
        ("V09a", vec![ff.clone()]),
        ("V09b", vec![ff.clone()]),
        ("V09c", vec![ff.clone()]),
        ("V09d", vec![ff.clone()]),
        ("V15", vec![b"A".to_vec(), b"A".to_vec()]),
        ("V19", vec![vec![]]),
    ] {
        let mut receiver = receiver(Config::builder(Party::Manager).with_compat(Compat::liberal()).build().unwrap());
        // Followed by a whole message, to see that the end was found.
        let said = tell(&mut receiver, T0, &[octets(id), octets("V09a")].concat());
        let mut bodies: Vec<_> = bodies;
        let mut sender = sender(Config::analyzer());
        for body in &bodies {
            let _ = sender.send_alert(T0, &MediaType::IDEF_ALERT, body).unwrap();
        }
        let canonical = if id.starts_with("V09") { "V09a" } else { id };
        assert_eq!(drain(&mut sender, T0).octets, octets(canonical), "{id}");
        bodies.push(ff.clone());
        assert_eq!(
            contents(&said.events).into_iter().map(|(_, body)| body.to_vec()).collect::<Vec<_>>(),
            bodies,
            "{id}"
        );
    }
}

#[test]
fn content_without_crlf_is_complete_at_its_last_octet() {
    let mut receiver = receiver(Config::builder(Party::Manager).with_compat(Compat::strict()).build().unwrap());
    let said = tell(&mut receiver, T0, &octets("V09d"));
    assert_eq!(contents(&said.events).len(), 1, "even strict: who waits for the trailer may wait for ever");
}

#[test]
fn the_transcript_is_what_our_machines_say() {
    let mut analyzer = iap_proto::Initiator::for_alerts(Arc::new(Config::analyzer()), host("M.DOM.ORG"), T0);
    let mut manager = iap_proto::Responder::new(Arc::new(Config::manager()), T0);
    let mut proxy = Proxy::new(Arc::new(Config::manager()), Arc::from([host("P.DOM.ORG")]), T0);
    let proxied = |proxy: &mut Proxy| {
        let mut octets = Vec::new();
        loop {
            match proxy.poll_output(T0) {
                Output::Transmit(transmit) => octets.extend_from_slice(&transmit.octets),
                Output::Event(ProxyEvent::Connect(_)) => proxy.accept(T0).unwrap(),
                Output::Event(ProxyEvent::Dial) => proxy.dialled(T0).unwrap(),
                Output::Event(_) => {}
                Output::Timeout(_) => return octets,
            }
        }
    };
    let v01 = drain(&mut analyzer, T0).octets;
    assert_eq!(v01, octets("V01"));
    proxy.handle_input(T0, Side::Initiator, &v01).unwrap();
    let v02 = proxied(&mut proxy);
    assert_eq!(v02, octets("V02"));
    let _ = tell(&mut manager, T0, &v02);
    manager.accept_connect(T0).unwrap();
    let v03 = drain(&mut manager, T0).octets;
    assert_eq!(v03, octets("V03"));
    proxy.handle_input(T0, Side::Responder, &v03).unwrap();
    let v04 = proxied(&mut proxy);
    assert_eq!(v04, octets("V04"));
    let v05 = tell(&mut analyzer, T0, &v04).octets;
    assert_eq!(v05, octets("V05"));
    let v06 = tell(&mut manager, T0, &v05).octets;
    assert_eq!(v06, octets("V06"));
    let _ = tell(&mut analyzer, T0, &v06);
    analyzer.tls_started(T0).unwrap();
    manager.tls_started(T0).unwrap();
    let v07 = drain(&mut analyzer, T0).octets;
    assert_eq!(v07, octets("V07a"));
    let _ = tell(&mut manager, T0, &v07);
    manager.accept_channel(T0).unwrap();
    assert_eq!(drain(&mut manager, T0).octets, octets("V08"));
}

#[test]
fn bad_requests_are_answered_by_the_status_that_tells_why() {
    for compat in [Compat::strict(), Compat::default(), Compat::liberal()] {
        let config = || Config::builder(Party::Manager).with_compat(compat).build().unwrap();
        for (id, at, code) in [
            ("N01", At::Connect, 400),
            ("N02", At::Connect, 505),
            ("N03", At::Connect, 400),
            ("N04", At::Connect, 400),
            ("N05", At::Connect, 400),
            ("N05", At::Upgrade, 400),
            ("N07", At::Channel, 505),
            ("N08", At::Channel, 400),
            ("N09", At::Channel, 400),
            ("N15", At::Connect, 400),
            ("N18", At::Connect, 400),
            ("N19", At::Connect, 400),
        ] {
            let mut responder = responder_at(config(), at);
            let (_, said) = tell_bad(&mut responder, T0, &octets(id));
            assert_eq!(text(&said.octets), text(&answer(code)), "{id}");
        }
        for (id, code) in [("N10", 411), ("N11", 400), ("N12", 400), ("N13", 400)] {
            let (_, said) = tell_bad(&mut receiver(config()), T0, &octets(id));
            assert_eq!(text(&said.octets), text(&answer(code)), "{id}");
            assert!(contents(&said.events).is_empty(), "{id}");
        }
        let (_, said) = tell_bad(&mut receiver(config()), T0, &octets("N20"));
        assert!(contents(&said.events).is_empty());
    }
}

#[test]
fn bad_responses_end_the_setup_without_a_word() {
    let config = || Config::builder(Party::Analyzer).with_compat(Compat::liberal()).build().unwrap();
    let (error, said) = tell_bad(&mut initiator_at(config(), DataRole::Sender, At::Connect), T0, &octets("N06"));
    assert!(matches!(error, Error::InvalidMessage(_)) && said.octets.is_empty());
    let (error, said) = tell_bad(&mut initiator_at(config(), DataRole::Sender, At::Upgrade), T0, &octets("N17"));
    assert_eq!(error, PeerMisbehaved::InjectedPlaintext.into());
    assert!(said.octets.is_empty());
}

#[test]
fn an_unknown_media_type_is_refused_and_the_next_alert_taken() {
    let mut receiver =
        receiver(Config::builder(Party::Manager).with_accept(vec![MediaType::IDEF_ALERT]).build().unwrap());
    let said = tell(&mut receiver, T0, &octets("N14"));
    assert_eq!(said.octets, octets("V11"));
    let said = tell(&mut receiver, T0, &octets("V09a"));
    let (id, body) = contents(&said.events).pop().unwrap();
    assert_eq!(body, vec![0xff; 64]);
    receiver.respond(T0, id, status(200)).unwrap();
    assert_eq!(drain(&mut receiver, T0).octets, octets("V10"));
}

#[test]
fn a_loop_is_answered_502() {
    let mut proxy = Proxy::new(Arc::new(Config::manager()), Arc::from([host("P.DOM.ORG")]), T0);
    let error = proxy.handle_input(T0, Side::Initiator, &octets("N16")).unwrap_err();
    assert_eq!(error, PeerMisbehaved::ViaLoop.into());
    let Output::Transmit(transmit) = proxy.poll_output(T0) else { panic!() };
    assert_eq!((transmit.to, &transmit.octets[..]), (Side::Initiator, &octets("V13")[..]));
}

#[test]
fn the_long_line_is_refused_before_it_has_come_whole() {
    let line = octets("N18");
    let mut responder = responder_at(Config::manager(), At::Connect);
    let refused = (0..line.len()).find(|at| responder.handle_input(T0, &line[*at..=*at]).is_err());
    assert!(refused.unwrap() < 8192, "{refused:?}");
    assert!(matches!(
        close_reason(&drain(&mut responder, T0).events),
        iap_proto::CloseReason::Failed(Error::LimitExceeded(Limit::Line))
    ));
}
