//! The initiator, row by row: what each answer makes of it in each state. draft-ietf-idwg-iap-01 sections 3.1 to 3.3.

use std::sync::Arc;

use iap_proto::{
    ApiMisuse, Channel, CloseReason, Config, DataRole, Dialect, Error, Initiator, InitiatorEvent, Party,
    PeerIncompatible, PeerMisbehaved, Step, TlsRole,
};
use watchfire_core::{Eof, Machine as _, StreamMachine as _};

use crate::support::*;

fn analyzer_at(at: At) -> Initiator {
    initiator_at(Config::analyzer(), DataRole::Sender, at)
}

/// The states in which an initiator waits for an answer, and for which request.
const WAITING: [(At, Step, u16); 3] =
    [(At::Connect, Step::Connect, 200), (At::Upgrade, Step::Upgrade, 101), (At::Channel, Step::Channel, 200)];

#[test]
fn connect_is_the_first_thing_said() {
    let mut initiator = Initiator::for_alerts(Arc::new(Config::analyzer()), host("M.DOM.ORG"), T0);
    let said = drain(&mut initiator, T0);
    assert_eq!(said.octets, CONNECT);
    assert_eq!(said.wake, Some(secs(30)), "the setup timer runs");
    assert!(said.events.is_empty());
}

#[test]
fn a_connect_accepted_through_proxies_reports_the_way_and_asks_for_tls() {
    let mut initiator = analyzer_at(At::Connect);
    let said = tell(&mut initiator, T0, b"IAP/0.3 200\r\nIAP/0.3 Via: P2\r\nIAP/0.3 Via: P1\r\n\r\n");
    assert!(matches!(&said.events[..], [InitiatorEvent::Connected { via }] if *via == [host("P2"), host("P1")]));
    assert_eq!(said.octets, UPGRADE);
}

#[test]
fn every_refusal_is_reported_with_its_step_and_status() {
    for (at, step, _) in WAITING {
        for code in [300, 399, 400, 401, 403, 404, 500, 501, 502, 503, 504, 505, 599] {
            let mut initiator = analyzer_at(at);
            let said = tell(&mut initiator, T0, &answer(code));
            assert_eq!(close_reason(&said.events), CloseReason::Refused { step, status: status(code) }, "{at:?}");
            assert!(said.octets.is_empty() && initiator.is_finished());
            assert_eq!(said.wake, None);
        }
    }
}

#[test]
fn a_status_that_answers_nothing_is_misbehaviour() {
    for (at, _, wanted) in WAITING {
        for code in [100, 101, 199, 200, 201, 299].into_iter().filter(|code| *code != wanted) {
            let (error, said) = tell_bad(&mut analyzer_at(at), T0, &answer(code));
            assert_eq!(error, PeerMisbehaved::UnexpectedStatus(status(code)).into(), "{at:?}");
            assert!(said.octets.is_empty(), "an initiator has no answers to give");
        }
    }
}

#[test]
fn an_answer_in_another_version_is_refused_in_every_state() {
    for (at, _, code) in WAITING {
        for version in ["0.2", "0.4", "1.3"] {
            let octets = format!("IAP/{version} {code}\r\n\r\n");
            let (error, _) = tell_bad(&mut analyzer_at(at), T0, octets.as_bytes());
            assert!(matches!(error, Error::PeerIncompatible(PeerIncompatible::Version(_))), "{at:?} {version}");
        }
    }
}

#[test]
fn what_is_no_response_is_refused_in_every_state() {
    for (at, _, _) in WAITING {
        for octets in [CONNECT, UPGRADE, AS_SENDER, b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\n", b"\x16\x03\x01\n"] {
            let (error, said) = tell_bad(&mut analyzer_at(at), T0, octets);
            assert!(matches!(error, Error::InvalidMessage(_)), "{at:?} {octets:?}");
            assert_eq!(close_reason(&said.events), CloseReason::Failed(error));
        }
    }
}

#[test]
fn octets_behind_the_answer_to_connect_are_refused() {
    let (error, _) = tell_bad(&mut analyzer_at(At::Connect), T0, &[OK, SWITCH].concat());
    assert_eq!(error, PeerMisbehaved::UnsolicitedResponse.into());
}

#[test]
fn an_answer_before_the_question_is_refused() {
    let mut initiator = Initiator::for_alerts(Arc::new(Config::analyzer()), host("M"), T0);
    let (error, said) = tell_bad(&mut initiator, T0, OK);
    assert_eq!(error, PeerMisbehaved::UnsolicitedResponse.into());
    assert!(said.octets.is_empty());
}

#[test]
fn the_channel_request_is_the_first_thing_inside_tls() {
    for (party, role, setup) in [
        (Config::analyzer(), DataRole::Sender, AS_SENDER),
        (Config::manager(), DataRole::Receiver, AS_RECEIVER),
        (Config::analyzer(), DataRole::Receiver, AS_RECEIVER),
        (Config::manager(), DataRole::Sender, AS_SENDER),
    ] {
        let mut initiator = initiator_at(party, role, At::Tls);
        initiator.tls_started(T0).unwrap();
        assert_eq!(drain(&mut initiator, T0).octets, setup);
        let said = tell(&mut initiator, T0, OK);
        assert!(matches!(&said.events[..], [InitiatorEvent::Ready(channel)] if channel.role() == role));
        assert!(initiator.is_finished());
    }
}

#[test]
fn the_analyzer_starts_tls_whoever_dialled() {
    for (config, role) in [(Config::analyzer(), TlsRole::Client), (Config::manager(), TlsRole::Server)] {
        let mut initiator = initiator_at(config, DataRole::Sender, At::Upgrade);
        let said = tell(&mut initiator, T0, SWITCH);
        assert!(matches!(&said.events[..], [InitiatorEvent::StartTls { role: got, received }]
            if *got == role && received.is_empty()));
    }
}

#[test]
fn a_failed_handshake_closes_without_a_word() {
    let mut initiator = analyzer_at(At::Tls);
    initiator.tls_failed().unwrap();
    let said = drain(&mut initiator, T0);
    assert!(said.octets.is_empty());
    assert_eq!(close_reason(&said.events), CloseReason::TlsFailed);
}

#[test]
fn alerts_right_behind_the_channel_answer_reach_the_receiver() {
    let mut manager = initiator_at(Config::manager(), DataRole::Receiver, At::Channel);
    let mut said = tell(&mut manager, T0, &[OK, &alert(b"one"), &alert(b"two")].concat());
    let Some(InitiatorEvent::Ready(Channel::Receiver(mut receiver))) = said.events.pop() else { panic!("{said:?}") };
    let got = contents(&drain(&mut receiver, T0).events);
    assert_eq!(got.iter().map(|(_, body)| &body[..]).collect::<Vec<_>>(), [b"one", b"two"]);
}

#[test]
fn an_answer_right_behind_the_channel_answer_ends_the_sender() {
    let mut analyzer = analyzer_at(At::Channel);
    let mut said = tell(&mut analyzer, T0, &[OK, OK].concat());
    let Some(InitiatorEvent::Ready(Channel::Sender(mut sender))) = said.events.pop() else { panic!("{said:?}") };
    let reason = close_reason(&drain(&mut sender, T0).events);
    assert_eq!(reason, CloseReason::Failed(PeerMisbehaved::UnsolicitedResponse.into()));
}

#[test]
fn the_end_of_the_stream_is_always_too_early() {
    for at in [At::Connect, At::Upgrade, At::Tls, At::Channel] {
        for eof in [Eof::Closed, Eof::Truncated] {
            let mut initiator = analyzer_at(at);
            assert_eq!(initiator.handle_eof(T0, eof), Err(PeerMisbehaved::EarlyEof.into()));
            let _ = close_reason(&drain(&mut initiator, T0).events);
            assert_eq!(initiator.handle_eof(T0, eof), Ok(()), "said once");
        }
    }
}

#[test]
fn urgent_data_ends_it() {
    for at in [At::Connect, At::Upgrade, At::Tls, At::Channel] {
        let mut initiator = analyzer_at(at);
        assert_eq!(initiator.handle_urgent_data(), Err(PeerMisbehaved::UrgentData.into()));
        let _ = close_reason(&drain(&mut initiator, T0).events);
    }
}

#[test]
fn calls_out_of_turn_change_nothing() {
    for at in [At::Connect, At::Upgrade, At::Channel] {
        let mut initiator = analyzer_at(at);
        assert_eq!(initiator.tls_started(T0), Err(ApiMisuse::NotNow));
        assert_eq!(initiator.tls_failed(), Err(ApiMisuse::NotNow));
        let said = drain(&mut initiator, T0);
        assert!(said.octets.is_empty() && said.events.is_empty() && !initiator.is_finished());
    }
    let mut closed = analyzer_at(At::Connect);
    closed.close();
    closed.close();
    assert_eq!(close_reason(&drain(&mut closed, T0).events), CloseReason::Finished);
    assert_eq!(closed.handle_input(T0, OK), Err(ApiMisuse::Finished.into()));
    assert!(drain(&mut closed, T0).events.is_empty(), "nothing comes after the end");
}

#[test]
fn for_alerts_chooses_the_usual_roles() {
    for (config, setup) in [
        (Config::analyzer(), AS_SENDER),
        (Config::builder(Party::Manager).with_commands(true).build().unwrap(), AS_RECEIVER),
    ] {
        let mut initiator = Initiator::for_alerts(Arc::new(config), host("M.DOM.ORG"), T0);
        let _ = drain(&mut initiator, T0);
        let _ = tell(&mut initiator, T0, OK);
        let _ = tell(&mut initiator, T0, SWITCH);
        initiator.tls_started(T0).unwrap();
        assert_eq!(drain(&mut initiator, T0).octets, setup);
    }
}

#[test]
fn zero_point_three_writes_neither_port_nor_source() {
    let mut initiator = Initiator::for_alerts(Arc::new(Config::analyzer()), host("M.DOM.ORG"), T0)
        .with_port_and_source(Some(1443), Some(host("A")));
    assert_eq!(drain(&mut initiator, T0).octets, CONNECT);
    let config = Config::builder(Party::Analyzer).with_dialects(vec![Dialect::V0_4]).build().unwrap();
    let mut initiator = Initiator::for_alerts(Arc::new(config), host("M"), T0).with_port_and_source(Some(1443), None);
    assert_eq!(text(&drain(&mut initiator, T0).octets), "CONNECT M:1443 IAP/0.4\r\nHost: M:1443\r\n\r\n");
}
