//! The later drafts' form, IAP/0.4 and 0.5, both ways; and several dialects on one port.

use std::sync::Arc;

use iap_proto::message::{ContentHeader, Form, Response, SetupRequest, Version};
use iap_proto::wire::DecodeErrorKind;
use iap_proto::{
    Compat, Config, DataRole, Dialect, Initiator, InitiatorEvent, MediaType, Party, Responder, ResponderEvent, TlsRole,
};

use crate::support::*;

const CONNECT_0_5: &str = "CONNECT M.DOM.ORG:1443 IAP/0.5\r\nHost: M.DOM.ORG:1443\r\nSource: A.DOM.ORG\r\n\r\n";

fn config(config: Config, dialect: Dialect) -> Arc<Config> {
    Arc::new(config.into_builder().with_dialects(vec![dialect]).build().unwrap())
}

/// The header that everybody sends is read a short way. It must be no way around what is due.
#[test]
fn content_headers_are_whole_in_every_dialect() {
    let read = |octets: &[u8], dialect| {
        ContentHeader::decode_with(octets, dialect, &iap_proto::wire::Syntax::default()).map_err(|error| error.kind)
    };
    let header = b"Content-Type: application/x-idef-alert\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(read(header, Dialect::V0_3).unwrap().1, header.len());
    for dialect in [Dialect::V0_4, Dialect::V0_5] {
        assert!(read(header, dialect).is_err(), "without the line that says what it is");
    }
    let empty = b"Content-Type: application/x-idef-alert\r\nContent-Length: \r\n\r\n";
    assert_eq!(read(empty, Dialect::V0_3), Err(DecodeErrorKind::Length), "a length without digits");
}

#[test]
fn a_session_in_0_5_is_what_the_draft_shows() {
    let target = host("M.DOM.ORG");
    let mut analyzer = Initiator::new(config(Config::analyzer(), Dialect::V0_5), target, DataRole::Sender, T0)
        .with_port_and_source(Some(1443), Some(host("A.DOM.ORG")));
    let mut manager = Responder::new(config(Config::manager(), Dialect::V0_5), T0);

    let connect = drain(&mut analyzer, T0).octets;
    assert_eq!(text(&connect), CONNECT_0_5);
    let said = tell(&mut manager, T0, &connect);
    let [ResponderEvent::Connect(asked)] = &said.events[..] else { panic!("{said:?}") };
    assert_eq!((asked.port, asked.source.clone()), (Some(1443), Some(host("A.DOM.ORG"))));
    manager.accept_connect(T0).unwrap();
    let ok = drain(&mut manager, T0).octets;
    assert_eq!(text(&ok), "IAP/0.5 200\r\n\r\n");

    let upgrade = tell(&mut analyzer, T0, &ok).octets;
    assert_eq!(text(&upgrade), "PUT /iap/config/ IAP/0.5\r\nUpgrade: TLS/1.0\r\n\r\n");
    let said = tell(&mut manager, T0, &upgrade);
    assert_eq!(text(&said.octets), "IAP/0.5 101\r\n\r\n");
    assert!(matches!(&said.events[..], [ResponderEvent::StartTls { role: TlsRole::Server, .. }]));
    let said = tell(&mut analyzer, T0, &said.octets);
    assert!(matches!(&said.events[..], [InitiatorEvent::StartTls { role: TlsRole::Client, .. }]));
    analyzer.tls_started(T0).unwrap();
    manager.tls_started(T0).unwrap();

    let channel = drain(&mut analyzer, T0).octets;
    assert_eq!(text(&channel), "PUT /iap/config/ IAP/0.5\r\nIAP-Version: 0.5\r\nIAP-Role: Sender\r\n\r\n");
    let _ = tell(&mut manager, T0, &channel);
    manager.accept_channel(T0).unwrap();
    let mut said = drain(&mut manager, T0);
    let Some(ResponderEvent::Ready(channel)) = said.events.pop() else { panic!() };
    let mut receiver = channel.into_receiver().unwrap();
    let Some(InitiatorEvent::Ready(channel)) = tell(&mut analyzer, T0, &said.octets).events.pop() else { panic!() };
    let mut sender = channel.into_sender().unwrap();

    let _ = sender.send_alert(T0, &MediaType::XML, b"<a/>").unwrap();
    let _ = sender.send_alert(T0, &MediaType::XML, b"<b/>").unwrap();
    let alerts = drain(&mut sender, T0).octets;
    let put = "PUT /iap/alert IAP/0.5\r\nContent-Type: application/xml\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(text(&alerts), format!("{put}<a/>{put}<b/>"), "nothing behind a body");
    for (id, _) in contents(&tell(&mut receiver, T0, &alerts).events) {
        receiver.respond(T0, id, status(200)).unwrap();
    }
    let replies = drain(&mut receiver, T0).octets;
    assert_eq!(text(&replies), "IAP/0.5 200\r\n\r\n".repeat(2));
    assert_eq!(answers(&tell(&mut sender, T0, &replies).events), [(0, 200), (1, 200)]);
}

#[test]
fn every_spelling_of_the_later_drafts_is_read() {
    for octets in [
        "PUT /idmef/config/ IAP/0.4\r\nUpgrade: TLS/1.0\r\n\r\n",
        "PUT /iap/config/ IAP/0.4\r\nHost: M.DOM.ORG:1443\r\nUpgrade: TLS/1.0\r\n\r\n",
        "PUT /iap/config IAP/0.4\r\nupgrade: tls/1.0\r\n\r\n",
    ] {
        let (request, _) = SetupRequest::decode(octets.as_bytes()).unwrap();
        assert!(matches!(request, SetupRequest::Upgrade(upgrade) if upgrade.dialect == Dialect::V0_4), "{octets}");
    }
    for target in ["/iap/alert", "/iap/alert/", "/iap/event"] {
        let octets = format!("PUT {target} IAP/0.4\r\nHost: M\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n");
        let read = ContentHeader::decode_with(octets.as_bytes(), Dialect::V0_4, &syntax(Compat::default()));
        assert_eq!(read, Ok((ContentHeader::new(media("a/b"), 2), octets.len())));
    }
    let (read, _) = Response::decode(b"IAP/0.4 200 OK\r\nDate: today\r\nVia: P\r\n\r\n").unwrap();
    let mut expected = response(200, &["P"]);
    expected.dialect = Dialect::V0_4;
    assert_eq!(read, expected);
}

#[test]
fn what_is_not_of_the_later_drafts_is_refused() {
    for (octets, kind) in [
        ("PUT /elsewhere IAP/0.5\r\nUpgrade: TLS/1.0\r\n\r\n", DecodeErrorKind::Target),
        ("GET /iap/config/ IAP/0.5\r\nUpgrade: TLS/1.0\r\n\r\n", DecodeErrorKind::NotIap),
        ("PUT /iap/config/ HTTP/1.1\r\nUpgrade: TLS/1.0\r\n\r\n", DecodeErrorKind::Version),
        ("PUT /iap/config/ IAP/0.5\r\n\r\n", DecodeErrorKind::UnknownRequest),
        ("PUT /iap/config/ IAP/0.5\r\nUpgrade: TLS/1.0\r\nIAP-Role: Sender\r\n\r\n", DecodeErrorKind::UnknownRequest),
        ("PUT /iap/config/ IAP/0.5\r\nIAP-Version: 0.5\r\n\r\n", DecodeErrorKind::MissingRole),
        ("PUT /iap/config/ IAP/0.5\r\nIAP-Version: 0.5\r\nIAP-Version: 0.5\r\n\r\n", DecodeErrorKind::RepeatedHeader),
        ("CONNECT M IAP/0.5\r\nSource: A\r\nSource: B\r\n\r\n", DecodeErrorKind::RepeatedHeader),
        ("CONNECT M IAP/0.5 x\r\n\r\n", DecodeErrorKind::UnexpectedText),
        ("CONNECT M:99999 IAP/0.5\r\n\r\n", DecodeErrorKind::Port),
        ("CONNECT M\r\n\r\n", DecodeErrorKind::Version),
    ] {
        let error = SetupRequest::decode_with(octets.as_bytes(), &syntax(Compat::liberal())).unwrap_err();
        assert_eq!(error.kind, kind, "{octets:?}");
    }
    let wrong_version = b"PUT /iap/alert IAP/0.4\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n";
    let error = ContentHeader::decode_with(wrong_version, Dialect::V0_5, &syntax(Compat::liberal())).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Version);
}

#[test]
fn one_port_takes_every_dialect_it_speaks() {
    let all = [Dialect::V0_3, Dialect::V0_4, Dialect::V0_5];
    for dialect in all {
        let config = Arc::new(Config::builder(Party::Manager).with_dialects(all.to_vec()).build().unwrap());
        let mut responder = Responder::new(config, T0);
        let mut octets = Vec::new();
        let mut asked = connect("M", &[]);
        asked.dialect = dialect;
        asked.encode(&mut octets);
        let said = tell(&mut responder, T0, &octets);
        assert!(matches!(&said.events[..], [ResponderEvent::Connect(got)] if *got == asked), "{dialect}");
        responder.accept_connect(T0).unwrap();
        assert_eq!(text(&drain(&mut responder, T0).octets), format!("{dialect} 200\r\n\r\n"));
    }
}

#[test]
fn a_dialect_that_is_not_configured_is_answered_505() {
    let mut responder = Responder::new(config(Config::manager(), Dialect::V0_3), T0);
    let (_, said) = tell_bad(&mut responder, T0, CONNECT_0_5.as_bytes());
    assert_eq!(said.octets, answer(505));
    let mut responder = Responder::new(config(Config::manager(), Dialect::V0_5), T0);
    let (_, said) = tell_bad(&mut responder, T0, CONNECT);
    assert_eq!(text(&said.octets), "IAP/0.5 505\r\n\r\n");
    // The form belongs to the version: 0.3 is never written like HTTP, nor 0.5 with prefixes.
    for octets in ["CONNECT M IAP/0.3\r\n\r\n", "IAP/0.5 CONNECT M\r\n\r\n"] {
        let all = Arc::new(
            Config::builder(Party::Manager)
                .with_dialects(vec![Dialect::V0_3, Dialect::V0_4, Dialect::V0_5])
                .build()
                .unwrap(),
        );
        let (_, said) = tell_bad(&mut Responder::new(all, T0), T0, octets.as_bytes());
        assert_eq!(said.octets, answer(505), "{octets}");
    }
}

#[test]
fn the_dialect_cannot_change_inside_a_setup() {
    let config = || Config::builder(Party::Manager).with_dialects(vec![Dialect::V0_3, Dialect::V0_5]).build().unwrap();
    let (_, said) =
        tell_bad(&mut responder_at(config(), At::Upgrade), T0, b"PUT /iap/config/ IAP/0.5\r\nUpgrade: TLS/1.0\r\n\r\n");
    assert_eq!(said.octets, answer(505));
    let inside = b"PUT /iap/config/ IAP/0.5\r\nIAP-Version: 0.3\r\nIAP-Role: Sender\r\n\r\n";
    let (_, said) = tell_bad(&mut responder_at(config(), At::Channel), T0, inside);
    assert_eq!(said.octets, answer(505));
}

#[test]
fn a_response_keeps_the_form_it_was_written_in() {
    let later = Dialect::new(Form::Prefixed, Version::new(0, 7));
    let octets = b"IAP/0.7 200\r\nIAP/0.7 Via: P2\r\nIAP/0.7 Via: P1\r\n\r\n";
    let (read, _) = Response::decode_with(octets, &syntax(Compat::strict())).unwrap();
    assert_eq!((read.dialect, read.via.len()), (later, 2));
    for mixed in ["IAP/0.7 200\r\nIAP/0.7 Via: P\r\nVia: Q\r\n\r\n", "IAP/0.7 200\r\nVia: Q\r\nIAP/0.7 Via: P\r\n\r\n"]
    {
        assert!(Response::decode_with(mixed.as_bytes(), &syntax(Compat::liberal())).is_err(), "{mixed:?}");
    }
}
