//! The responder, row by row. draft-ietf-idwg-iap-01 sections 3.1 to 3.3.

use iap_proto::{
    ApiMisuse, CloseReason, Config, DataRole, Error, Party, PeerIncompatible, PeerMisbehaved, ResponderEvent, Step,
    TlsRole,
};
use watchfire_core::{Eof, Machine as _, StreamMachine as _};

use crate::support::*;

const INPUT_STATES: [(At, &[u8]); 3] = [(At::Connect, CONNECT), (At::Upgrade, UPGRADE), (At::Channel, AS_SENDER)];

#[test]
fn a_connect_is_shown_to_the_application_with_all_it_says() {
    let mut responder = responder_at(Config::manager(), At::Connect);
    let said = tell(&mut responder, T0, b"IAP/0.3 CONNECT M.DOM.ORG\r\nIAP/0.3 Via: P1\r\nIAP/0.3 Via: P2\r\n\r\n");
    assert!(said.octets.is_empty(), "nothing is answered before the application has decided");
    assert!(matches!(&said.events[..], [ResponderEvent::Connect(got)] if *got == connect("M.DOM.ORG", &["P1", "P2"])));
}

#[test]
fn the_application_accepts_or_refuses_the_connection() {
    let mut responder = responder_at(Config::manager(), At::DecideConnect);
    responder.accept_connect(T0).unwrap();
    assert_eq!(drain(&mut responder, T0).octets, OK);
    for code in [400, 401, 403, 404, 429, 503, 599] {
        let mut responder = responder_at(Config::manager(), At::DecideConnect);
        responder.refuse_connect(T0, status(code)).unwrap();
        let said = drain(&mut responder, T0);
        assert_eq!(said.octets, answer(code));
        let reason = CloseReason::Refused { step: Step::Connect, status: status(code) };
        assert_eq!(close_reason(&said.events), reason);
    }
    let mut responder = responder_at(Config::manager(), At::DecideConnect);
    for code in [100, 101, 200, 302] {
        assert_eq!(responder.refuse_connect(T0, status(code)), Err(ApiMisuse::NotAnAnswer));
    }
    responder.accept_connect(T0).unwrap();
}

#[test]
fn every_request_out_of_order_is_refused() {
    for (at, due) in INPUT_STATES {
        for (name, wrong) in [("connect", CONNECT), ("upgrade", UPGRADE), ("channel setup", AS_SENDER)] {
            if wrong == due {
                continue;
            }
            let (error, said) = tell_bad(&mut responder_at(Config::manager(), at), T0, wrong);
            assert!(
                matches!(error, Error::PeerMisbehaved(PeerMisbehaved::UnexpectedRequest { got, .. }) if got == name)
            );
            assert_eq!(said.octets, answer(400), "{at:?} {name}");
            assert!(said.events.iter().all(|event| matches!(event, ResponderEvent::Closed { .. })));
        }
    }
}

/// Every order of the three setup requests and a content, all accepted where the machine asks, one request at a time.
#[test]
fn no_order_of_requests_but_the_one_reaches_the_data_phase() {
    let requests = [CONNECT, UPGRADE, AS_SENDER, b"Content-Type: a/b\r\nContent-Length: 0\r\n\r\n"];
    let mut reached = Vec::new();
    for order in 0..4usize.pow(3) {
        let order = [order % 4, order / 4 % 4, order / 16];
        let mut responder = responder_at(Config::manager(), At::Connect);
        let mut ready = false;
        for request in order {
            if responder.handle_input(T0, requests[request]).is_err() {
                break;
            }
            for event in drain(&mut responder, T0).events {
                match event {
                    ResponderEvent::Connect(_) => responder.accept_connect(T0).unwrap(),
                    ResponderEvent::StartTls { .. } => responder.tls_started(T0).unwrap(),
                    ResponderEvent::ChannelSetup { .. } => responder.accept_channel(T0).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            let events = drain(&mut responder, T0).events;
            ready |= events.iter().any(|event| matches!(event, ResponderEvent::Ready(_)));
        }
        if ready {
            reached.push(order);
        }
    }
    assert_eq!(reached, [[0, 1, 2]]);
}

#[test]
fn content_before_the_channel_is_refused_in_every_state() {
    for at in [At::Connect, At::Upgrade, At::Channel] {
        let (error, said) = tell_bad(&mut responder_at(Config::manager(), at), T0, &alert(b"x"));
        assert!(matches!(error, Error::InvalidMessage(_)));
        assert_eq!(said.octets, answer(400), "{at:?}");
    }
}

#[test]
fn octets_before_the_decision_are_refused() {
    for at in [At::DecideConnect, At::DecideChannel] {
        let (error, said) = tell_bad(&mut responder_at(Config::manager(), at), T0, b"I");
        assert_eq!(error, PeerMisbehaved::Impatient.into());
        assert_eq!(said.octets, answer(400), "{at:?}");
    }
    for (at, request) in [(At::Connect, CONNECT), (At::Channel, AS_SENDER)] {
        let (error, said) = tell_bad(&mut responder_at(Config::manager(), at), T0, &[request, b"I"].concat());
        assert_eq!(error, PeerMisbehaved::Impatient.into());
        assert_eq!(said.octets, answer(400), "{at:?}");
        assert!(!said.events.iter().any(|event| matches!(event, ResponderEvent::Ready(_))));
    }
}

#[test]
fn an_upgrade_is_accepted_by_101_and_tls_starts_in_the_right_role() {
    for (config, data, role) in [
        (Config::manager(), DataRole::Receiver, TlsRole::Server),
        (Config::analyzer(), DataRole::Sender, TlsRole::Client),
    ] {
        let mut responder = responder_for(config, data, At::Upgrade);
        let said = tell(&mut responder, T0, UPGRADE);
        assert_eq!(said.octets, SWITCH);
        assert!(matches!(&said.events[..], [ResponderEvent::StartTls { role: got, received }]
            if *got == role && received.is_empty()));
    }
}

#[test]
fn an_upgrade_without_a_certificate_is_answered_500() {
    let mut responder = responder_at(Config::builder(Party::Manager).with_tls(false).build().unwrap(), At::Upgrade);
    let (error, said) = tell_bad(&mut responder, T0, UPGRADE);
    assert_eq!(error, PeerIncompatible::NoCertificate.into());
    assert_eq!(said.octets, answer(500));
}

#[test]
fn a_failed_handshake_closes_without_a_word() {
    let mut responder = responder_at(Config::manager(), At::Tls);
    responder.tls_failed().unwrap();
    let said = drain(&mut responder, T0);
    assert!(said.octets.is_empty());
    assert_eq!(close_reason(&said.events), CloseReason::TlsFailed);
}

#[test]
fn a_version_other_than_that_of_connect_is_answered_505() {
    for inside in [
        "IAP/0.3 IAP-Version: 0.2\r\nIAP-Role: Sender\r\n\r\n",
        "IAP/0.3 IAP-Version: 0.4\r\nIAP-Role: Sender\r\n\r\n",
        "IAP/0.2 IAP-Version: 0.3\r\nIAP-Role: Sender\r\n\r\n",
        "IAP/0.4 IAP-Version: 0.4\r\nIAP-Role: Sender\r\n\r\n",
    ] {
        let (error, said) = tell_bad(&mut responder_at(Config::manager(), At::Channel), T0, inside.as_bytes());
        assert!(matches!(error, Error::PeerMisbehaved(PeerMisbehaved::VersionMismatch { .. })), "{inside}");
        assert_eq!(said.octets, answer(505));
    }
}

#[test]
fn a_role_that_is_not_implemented_is_answered_501() {
    for (config, role, setup) in
        [(Config::manager(), DataRole::Receiver, AS_RECEIVER), (Config::analyzer(), DataRole::Sender, AS_SENDER)]
    {
        let mut responder = responder_for(config.clone(), role, At::Channel);
        let (error, said) = tell_bad(&mut responder, T0, setup);
        assert_eq!(error, PeerIncompatible::Role.into());
        assert_eq!(said.octets, answer(501));
        let mut responder =
            responder_for(config.into_builder().with_commands(true).build().unwrap(), role, At::Channel);
        let said = tell(&mut responder, T0, setup);
        assert!(matches!(&said.events[..], [ResponderEvent::ChannelSetup { role: got }] if *got == role.opposite()));
    }
}

#[test]
fn the_application_accepts_or_refuses_the_channel() {
    let mut responder = responder_at(Config::manager(), At::DecideChannel);
    responder.accept_channel(T0).unwrap();
    let said = drain(&mut responder, T0);
    assert_eq!(said.octets, OK);
    assert!(matches!(&said.events[..], [ResponderEvent::Ready(channel)] if channel.role() == DataRole::Receiver));
    assert!(responder.is_finished());
    for code in [401, 403, 503] {
        let mut responder = responder_at(Config::manager(), At::DecideChannel);
        assert_eq!(responder.refuse_channel(T0, status(200)), Err(ApiMisuse::NotAnAnswer));
        responder.refuse_channel(T0, status(code)).unwrap();
        let said = drain(&mut responder, T0);
        assert_eq!(said.octets, answer(code));
        let reason = CloseReason::Refused { step: Step::Channel, status: status(code) };
        assert_eq!(close_reason(&said.events), reason);
    }
}

#[test]
fn a_target_that_is_not_served_is_answered_404() {
    let config = || {
        Config::builder(Party::Manager)
            .with_served_names(vec![host("m.dom.org"), host("[2001:db8::1]")])
            .build()
            .unwrap()
    };
    for good in ["M.DOM.ORG", "m.dom.org.", "[2001:DB8:0::1]"] {
        let octets = format!("IAP/0.3 CONNECT {good}\r\n\r\n");
        let _ = tell(&mut responder_at(config(), At::Connect), T0, octets.as_bytes());
    }
    let (error, said) = tell_bad(&mut responder_at(config(), At::Connect), T0, b"IAP/0.3 CONNECT other\r\n\r\n");
    assert_eq!(error, PeerIncompatible::Host.into());
    assert_eq!(said.octets, answer(404));
}

#[test]
fn the_end_of_the_stream_is_always_too_early() {
    for at in At::ALL {
        for eof in [Eof::Closed, Eof::Truncated] {
            let mut responder = responder_at(Config::manager(), at);
            assert_eq!(responder.handle_eof(T0, eof), Err(PeerMisbehaved::EarlyEof.into()));
            let said = drain(&mut responder, T0);
            assert!(said.octets.is_empty(), "nobody is left to answer to");
            let _ = close_reason(&said.events);
        }
    }
}

#[test]
fn urgent_data_ends_it_without_a_word() {
    for at in At::ALL {
        let mut responder = responder_at(Config::manager(), at);
        assert_eq!(responder.handle_urgent_data(), Err(PeerMisbehaved::UrgentData.into()));
        let said = drain(&mut responder, T0);
        assert!(said.octets.is_empty());
        let _ = close_reason(&said.events);
    }
}

#[test]
fn calls_out_of_turn_change_nothing() {
    for at in At::ALL {
        let mut responder = responder_at(Config::manager(), at);
        let no = Err(ApiMisuse::NotNow);
        if at != At::DecideConnect {
            assert_eq!(responder.accept_connect(T0), no);
            assert_eq!(responder.refuse_connect(T0, status(403)), no);
        }
        if at != At::Tls {
            assert_eq!(responder.tls_started(T0), no);
            assert_eq!(responder.tls_failed(), no);
        }
        if at != At::DecideChannel {
            assert_eq!(responder.accept_channel(T0), no);
            assert_eq!(responder.refuse_channel(T0, status(403)), no);
        }
        let said = drain(&mut responder, T0);
        assert!(said.octets.is_empty() && said.events.is_empty() && !responder.is_finished());
    }
}

#[test]
fn clear_octets_during_the_handshake_are_the_drivers_mistake_and_fatal() {
    let (error, said) = tell_bad(&mut responder_at(Config::manager(), At::Tls), T0, b"x");
    assert_eq!(error, ApiMisuse::NotNow.into());
    assert!(said.octets.is_empty(), "no clear text where TLS has begun");
}
