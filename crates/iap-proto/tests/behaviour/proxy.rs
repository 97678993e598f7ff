//! The proxy, row by row. draft-ietf-idwg-iap-01 sections 2.3.1, 3.1, 5.2, 6.1 and 7.5.

use std::sync::Arc;

use iap_proto::{
    ApiMisuse, CloseReason, Config, Error, Limit, PeerMisbehaved, Proxy, ProxyEvent, ProxyTransmit, Side, Step,
};
use watchfire_core::{Eof, Machine as _, Output};

use crate::support::*;

fn proxy(names: &[&str]) -> Proxy {
    Proxy::new(Arc::new(Config::manager()), names.iter().map(|name| host(name)).collect(), T0)
}

/// What it says to the initiator, to the next hop, and to its driver.
fn said(proxy: &mut Proxy) -> (String, String, Vec<ProxyEvent>) {
    let (mut back, mut on, mut events) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match proxy.poll_output(T0) {
            Output::Transmit(ProxyTransmit { to: Side::Initiator, octets }) => back.extend_from_slice(&octets),
            Output::Transmit(ProxyTransmit { to: Side::Responder, octets }) => on.extend_from_slice(&octets),
            Output::Event(event) => events.push(event),
            Output::Timeout(_) => return (text(&back), text(&on), events),
        }
    }
}

/// A proxy that waits for the next hop's answer to this request.
fn relaying(names: &[&str], request: &str) -> (Proxy, String) {
    let mut proxy = proxy(names);
    proxy.handle_input(T0, Side::Initiator, request.as_bytes()).unwrap();
    proxy.accept(T0).unwrap();
    proxy.dialled(T0).unwrap();
    let (back, on, _) = said(&mut proxy);
    assert_eq!(back, "");
    (proxy, on)
}

const ASKED: &str = "IAP/0.3 CONNECT M.DOM.ORG\r\n\r\n";

#[test]
fn a_request_is_shown_before_anything_is_dialled() {
    let mut proxy = proxy(&["P"]);
    proxy.handle_input(T0, Side::Initiator, ASKED.as_bytes()).unwrap();
    assert_eq!(said(&mut proxy), (String::new(), String::new(), vec![ProxyEvent::Connect(connect("M.DOM.ORG", &[]))]));
    proxy.accept(T0).unwrap();
    assert_eq!(said(&mut proxy).2, [ProxyEvent::Dial]);
}

#[test]
fn the_operator_may_refuse_by_source_or_target() {
    let mut proxy = proxy(&["P"]);
    proxy.handle_input(T0, Side::Initiator, ASKED.as_bytes()).unwrap();
    assert_eq!(proxy.refuse(T0, status(200)), Err(ApiMisuse::NotAnAnswer));
    proxy.refuse(T0, status(403)).unwrap();
    let (back, on, events) = said(&mut proxy);
    assert_eq!((back, on.as_str()), (text(&answer(403)), ""));
    let reason = CloseReason::Refused { step: Step::Connect, status: status(403) };
    assert_eq!(events.last(), Some(&ProxyEvent::Closed { reason }));
    assert!(!events.contains(&ProxyEvent::Dial));
}

#[test]
fn its_name_is_added_to_the_request_and_to_the_answer() {
    let (mut proxy, on) = relaying(&["P2", "alias"], "IAP/0.3 CONNECT M.DOM.ORG\r\nIAP/0.3 Via: P1\r\n\r\n");
    assert_eq!(on, "IAP/0.3 CONNECT M.DOM.ORG\r\nIAP/0.3 Via: P1\r\nIAP/0.3 Via: P2\r\n\r\n");
    proxy.handle_input(T0, Side::Responder, b"IAP/0.3 200\r\nIAP/0.3 Via: P3\r\n\r\n").unwrap();
    let (back, _, events) = said(&mut proxy);
    assert_eq!(back, "IAP/0.3 200\r\nIAP/0.3 Via: P3\r\nIAP/0.3 Via: P2\r\n\r\n");
    assert_eq!(events, [ProxyEvent::Pipe { via: vec![host("P3")] }]);
    assert!(proxy.is_finished());
}

#[test]
fn a_loop_is_found_under_every_name_and_spelling() {
    for name in ["P.DOM.ORG", "p.dom.org", "P.Dom.Org.", "ALIAS", "alias.", "[2001:DB8:0::1]"] {
        for via in [vec![name], vec!["P1", name], vec![name, "P1", "P2"]] {
            let mut octets = Vec::new();
            connect("M", &via).encode(&mut octets);
            let mut proxy = proxy(&["p.dom.org", "alias", "[2001:db8::1]"]);
            assert_eq!(
                proxy.handle_input(T0, Side::Initiator, &octets),
                Err(PeerMisbehaved::ViaLoop.into()),
                "{via:?}"
            );
            let (back, on, events) = said(&mut proxy);
            assert_eq!((back, on.as_str()), (text(&answer(502)), ""));
            assert!(matches!(&events[..], [ProxyEvent::Closed { .. }]), "not even shown");
        }
    }
    let mut other = proxy(&["p.dom.org"]);
    let mut octets = Vec::new();
    connect("p.dom.org", &["p2.dom.org", "xp.dom.org"]).encode(&mut octets);
    other.handle_input(T0, Side::Initiator, &octets).unwrap();
}

#[test]
fn a_next_hop_that_cannot_be_reached_is_answered_502() {
    let mut proxy = proxy(&["P"]);
    proxy.handle_input(T0, Side::Initiator, ASKED.as_bytes()).unwrap();
    proxy.accept(T0).unwrap();
    proxy.dial_failed(T0).unwrap();
    assert_eq!(said(&mut proxy).0, text(&answer(502)));
    assert!(proxy.is_finished());
}

#[test]
fn a_next_hop_that_makes_no_sense_is_answered_502() {
    for octets in
        [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"IAP/0.3 20\r\n\r\n", b"\x16\x03\x01\n", b"IAP/0.3 CONNECT M\r\n\r\n"]
    {
        let (mut proxy, _) = relaying(&["P"], ASKED);
        let error = proxy.handle_input(T0, Side::Responder, octets).unwrap_err();
        assert!(matches!(error, Error::InvalidMessage(_)), "{octets:?}");
        assert_eq!(said(&mut proxy).0, text(&answer(502)), "{octets:?}");
    }
    let (mut proxy, _) = relaying(&["P"], ASKED);
    assert_eq!(proxy.handle_eof(T0, Side::Responder, Eof::Closed), Err(PeerMisbehaved::EarlyEof.into()));
    assert_eq!(said(&mut proxy).0, text(&answer(502)));
    let many: Vec<u8> = [&b"IAP/0.3 200\r\n"[..], &b"IAP/0.3 Via: Q\r\n".repeat(16), b"\r\n"].concat();
    let (mut proxy, _) = relaying(&["P"], ASKED);
    assert_eq!(proxy.handle_input(T0, Side::Responder, &many), Err(Error::LimitExceeded(Limit::Via)));
    assert_eq!(said(&mut proxy).0, text(&answer(502)));
}

#[test]
fn a_refusal_is_relayed_and_ends_it() {
    for code in [302, 403, 404, 502, 503, 505] {
        let (mut proxy, _) = relaying(&["P"], ASKED);
        proxy.handle_input(T0, Side::Responder, &answer(code)).unwrap();
        let (back, _, events) = said(&mut proxy);
        assert_eq!(back, format!("IAP/0.3 {code}\r\nIAP/0.3 Via: P\r\n\r\n"));
        let reason = CloseReason::Refused { step: Step::Connect, status: status(code) };
        assert_eq!(events, [ProxyEvent::Closed { reason }]);
    }
}

#[test]
fn octets_behind_the_answer_are_the_pipes_and_pass_unchanged() {
    let behind: Vec<u8> = (0..=255).collect();
    for cut in 0..=behind.len() + OK.len() {
        let whole = [OK, &behind].concat();
        let (mut proxy, _) = relaying(&["P"], ASKED);
        let (first, second) = whole.split_at(cut);
        proxy.handle_input(T0, Side::Responder, first).unwrap();
        let mut got = said_octets(&mut proxy);
        if proxy.is_finished() {
            got.extend_from_slice(second);
        } else {
            proxy.handle_input(T0, Side::Responder, second).unwrap();
            got.extend(said_octets(&mut proxy));
        }
        assert_eq!(got, [b"IAP/0.3 200\r\nIAP/0.3 Via: P\r\n\r\n", &behind[..]].concat(), "cut at {cut}");
    }
}

fn said_octets(proxy: &mut Proxy) -> Vec<u8> {
    let mut octets = Vec::new();
    while let Output::Transmit(transmit) = proxy.poll_output(T0) {
        octets.extend_from_slice(&transmit.octets);
    }
    octets
}

#[test]
fn an_initiator_that_does_not_wait_is_refused() {
    let mut glued = proxy(&["P"]);
    let octets = [CONNECT, UPGRADE].concat();
    assert_eq!(glued.handle_input(T0, Side::Initiator, &octets), Err(PeerMisbehaved::Impatient.into()));
    assert_eq!(said(&mut glued).0, text(&answer(400)));
    let (mut later, _) = relaying(&["P"], ASKED);
    assert_eq!(later.handle_input(T0, Side::Initiator, b"I"), Err(PeerMisbehaved::Impatient.into()));
}

#[test]
fn what_is_no_connect_is_refused() {
    for (octets, code) in [(UPGRADE, 400), (AS_SENDER, 400), (b"GET / HTTP/1.1\r\n\r\n", 400), (b"\r\n\r\n", 400)] {
        let mut proxy = proxy(&["P"]);
        assert!(proxy.handle_input(T0, Side::Initiator, octets).is_err());
        assert_eq!(said(&mut proxy).0, text(&answer(code)), "{octets:?}");
    }
}

#[test]
fn versions_that_it_does_not_know_pass() {
    for version in ["0.1", "0.3", "0.7", "1.0", "12.34"] {
        let (mut proxy, on) = relaying(&["P"], &format!("IAP/{version} CONNECT M\r\nIAP/{version} Via: P1\r\n\r\n"));
        assert_eq!(on, format!("IAP/{version} CONNECT M\r\nIAP/{version} Via: P1\r\nIAP/{version} Via: P\r\n\r\n"));
        let answered = format!("IAP/{version} 200\r\nIAP/{version} Via: P3\r\n\r\n");
        proxy.handle_input(T0, Side::Responder, answered.as_bytes()).unwrap();
        assert_eq!(
            said(&mut proxy).0,
            format!("IAP/{version} 200\r\nIAP/{version} Via: P3\r\nIAP/{version} Via: P\r\n\r\n")
        );
    }
    let (mut proxy, on) = relaying(&["P"], "CONNECT M:1443 IAP/0.5\r\nHost: M:1443\r\nVia: P1\r\n\r\n");
    assert_eq!(on, "CONNECT M:1443 IAP/0.5\r\nHost: M:1443\r\nVia: P1\r\nVia: P\r\n\r\n");
    proxy.handle_input(T0, Side::Responder, b"IAP/0.5 200 OK\r\nVia: P3\r\n\r\n").unwrap();
    assert_eq!(said(&mut proxy).0, "IAP/0.5 200\r\nVia: P3\r\nVia: P\r\n\r\n");
}

#[test]
fn its_own_refusals_are_in_the_version_of_the_request() {
    let mut looped = proxy(&["P"]);
    let _ = looped.handle_input(T0, Side::Initiator, b"IAP/0.7 CONNECT M\r\nIAP/0.7 Via: P\r\n\r\n");
    assert_eq!(said(&mut looped).0, "IAP/0.7 502\r\n\r\n");
}

#[test]
fn the_end_of_either_side_ends_it() {
    for side in [Side::Initiator, Side::Responder] {
        let mut early = proxy(&["P"]);
        assert_eq!(early.handle_eof(T0, side, Eof::Closed), Err(PeerMisbehaved::EarlyEof.into()));
        assert!(matches!(&said(&mut early).2[..], [ProxyEvent::Closed { .. }]));
        assert_eq!(early.handle_eof(T0, side, Eof::Closed), Ok(()), "said once");
    }
    let (mut later, _) = relaying(&["P"], ASKED);
    assert_eq!(later.handle_eof(T0, Side::Initiator, Eof::Closed), Err(PeerMisbehaved::EarlyEof.into()));
    assert_eq!(said(&mut later).0, "", "nobody is left to answer to");
}

#[test]
fn calls_out_of_turn_change_nothing() {
    let mut proxy = proxy(&["P"]);
    let no = Err(ApiMisuse::NotNow);
    assert_eq!(proxy.accept(T0), no);
    assert_eq!(proxy.refuse(T0, status(403)), no);
    assert_eq!(proxy.dialled(T0), no);
    assert_eq!(proxy.dial_failed(T0), no);
    proxy.handle_input(T0, Side::Initiator, ASKED.as_bytes()).unwrap();
    assert_eq!(proxy.dialled(T0), no, "not accepted yet");
    assert_eq!(proxy.dial_failed(T0), no);
    proxy.accept(T0).unwrap();
    assert_eq!(proxy.accept(T0), no);
    proxy.dialled(T0).unwrap();
    assert_eq!(proxy.dialled(T0), no);
    assert_eq!(said(&mut proxy).1, "IAP/0.3 CONNECT M.DOM.ORG\r\nIAP/0.3 Via: P\r\n\r\n", "the request was kept");
}
