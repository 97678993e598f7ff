//! The boundary between clear text and TLS, where octets can be smuggled in. Section 3.2.

use iap_proto::{Config, DataRole, Error, InitiatorEvent, PeerMisbehaved, ResponderEvent, TlsRole};

use crate::support::*;

const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";

#[test]
fn a_dialling_manager_splits_101_and_client_hello_at_the_octet() {
    let whole = [SWITCH, HELLO].concat();
    // Whatever the cut: what stands behind the second CRLF goes to TLS as it is.
    for cut in 0..=whole.len() {
        let (first, second) = whole.split_at(cut);
        let mut manager = initiator_at(Config::manager(), DataRole::Receiver, At::Upgrade);
        let mut said = tell(&mut manager, T0, first);
        let mut for_tls = Vec::new();
        if said.events.is_empty() {
            said = tell(&mut manager, T0, second);
        } else {
            for_tls = second.to_vec();
        }
        let [InitiatorEvent::StartTls { role: TlsRole::Server, received }] = &said.events[..] else {
            panic!("cut at {cut}: {said:?}")
        };
        for_tls.splice(0..0, received.iter().copied());
        assert_eq!(for_tls, HELLO, "cut at {cut}");
    }
}

#[test]
fn a_dialling_analyzer_takes_nothing_behind_101() {
    for injected in [&b"I"[..], b"\r\n", b"\0", OK, HELLO] {
        let mut analyzer = initiator_at(Config::analyzer(), DataRole::Sender, At::Upgrade);
        let (error, said) = tell_bad(&mut analyzer, T0, &[SWITCH, injected].concat());
        assert_eq!(error, PeerMisbehaved::InjectedPlaintext.into(), "{injected:?}");
        assert!(!said.events.iter().any(|event| matches!(event, InitiatorEvent::StartTls { .. })));
    }
}

#[test]
fn a_responder_takes_nothing_behind_the_upgrade() {
    for config in [Config::manager(), Config::analyzer()] {
        for injected in [&b"I"[..], b"\r\n", b"\0", AS_SENDER, HELLO] {
            let mut responder = responder_at(config.clone(), At::Upgrade);
            let (error, said) = tell_bad(&mut responder, T0, &[UPGRADE, injected].concat());
            assert_eq!(error, PeerMisbehaved::InjectedPlaintext.into(), "{injected:?}");
            assert_eq!(said.octets, answer(400), "no 101");
            assert!(!said.events.iter().any(|event| matches!(event, ResponderEvent::StartTls { .. })));
        }
    }
}

#[test]
fn a_channel_request_in_clear_text_is_refused() {
    for at in [At::Connect, At::Upgrade] {
        let (_, said) = tell_bad(&mut responder_at(Config::manager(), at), T0, AS_SENDER);
        assert!(!said.events.iter().any(|event| matches!(event, ResponderEvent::ChannelSetup { .. })));
    }
}

#[test]
fn nothing_heard_in_clear_text_is_carried_into_tls() {
    // A head begun before the switch is not finished inside: the two are different streams.
    let mut responder = responder_at(Config::manager(), At::Upgrade);
    let (error, _) = tell_bad(&mut responder, T0, &[UPGRADE, &AS_SENDER[..10]].concat());
    assert_eq!(error, PeerMisbehaved::InjectedPlaintext.into());
    let mut analyzer = initiator_at(Config::analyzer(), DataRole::Sender, At::Channel);
    let (error, _) = tell_bad(&mut analyzer, T0, &OK[8..]);
    assert!(matches!(error, Error::InvalidMessage(_)));
}

#[test]
fn a_second_upgrade_inside_tls_is_refused() {
    let (error, said) = tell_bad(&mut responder_at(Config::manager(), At::Channel), T0, UPGRADE);
    assert!(matches!(error, Error::PeerMisbehaved(PeerMisbehaved::UnexpectedRequest { .. })));
    assert_eq!(said.octets, answer(400));
}
