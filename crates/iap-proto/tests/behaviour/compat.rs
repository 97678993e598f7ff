//! Each switch of `Compat`: what it lets in, and that without it the same octets stay out. SPEC.md, second table.

use iap_proto::message::{ChannelSetup, Connect, ContentHeader, Response, SetupRequest, Upgrade};
use iap_proto::wire::{DecodeErrorKind, Syntax};
use iap_proto::{Compat, Config, DataRole, Dialect, Error, Party, PeerIncompatible, PeerMisbehaved, ResponderEvent};
use watchfire_core::StreamMachine as _;

use crate::support::*;

/// Strict, and this one switch on.
fn only(switch: impl Fn(&mut Compat) -> &mut bool) -> Compat {
    let mut compat = Compat::strict();
    *switch(&mut compat) = true;
    compat
}

/// Liberal and more: everything on but this one switch.
fn all_but(switch: impl Fn(&mut Compat) -> &mut bool) -> Compat {
    let mut compat = Compat::liberal();
    compat.early_client_hello = true;
    *switch(&mut compat) = false;
    compat
}

fn request(octets: &str, compat: Compat) -> Result<SetupRequest, DecodeErrorKind> {
    let decoded = SetupRequest::decode_with(octets.as_bytes(), &syntax(compat));
    decoded.map(|(request, _)| request).map_err(|error| error.kind)
}

fn header(octets: &str, compat: Compat) -> Result<ContentHeader, DecodeErrorKind> {
    let decoded = ContentHeader::decode_with(octets.as_bytes(), Dialect::V0_3, &syntax(compat));
    decoded.map(|(header, _)| header).map_err(|error| error.kind)
}

fn reply(octets: &str, compat: Compat) -> Result<Response, DecodeErrorKind> {
    let decoded = Response::decode_with(octets.as_bytes(), &syntax(compat));
    decoded.map(|(response, _)| response).map_err(|error| error.kind)
}

fn setup(role: DataRole) -> SetupRequest {
    SetupRequest::ChannelSetup(ChannelSetup::new(Dialect::V0_3, role))
}

const PREFIXED_ROLE: &str = "IAP/0.3 IAP-Version: 0.3\r\nIAP/0.3 IAP-Role: Sender\r\n\r\n";

#[test]
fn prefix_on_every_line_accepts() {
    assert_eq!(request(PREFIXED_ROLE, only(|c| &mut c.prefix_on_every_line)), Ok(setup(DataRole::Sender)));
}

#[test]
fn prefix_on_every_line_rejects() {
    let without = all_but(|c| &mut c.prefix_on_every_line);
    assert_eq!(request(PREFIXED_ROLE, without), Err(DecodeErrorKind::MissingRole));
}

const SPACED: [&str; 4] = [
    "IAP/0.3  CONNECT M.DOM.ORG\r\n\r\n",
    "IAP/0.3 CONNECT\tM.DOM.ORG\r\n\r\n",
    "IAP/0.3 CONNECT M.DOM.ORG \t\r\n\r\n",
    "IAP/0.3 CONNECT M.DOM.ORG\r\nIAP/0.3 Via:  P\r\n\r\n",
];

#[test]
fn extra_white_space_accepts() {
    let with = only(|c| &mut c.extra_white_space);
    for octets in SPACED {
        assert!(request(octets, with).is_ok(), "{octets:?}");
    }
    let two = "Content-Type: a/b\r\nContent-Length:  64\r\n\r\n";
    assert_eq!(header(two, with), Ok(ContentHeader::new(media("a/b"), 64)));
}

#[test]
fn extra_white_space_rejects() {
    let without = all_but(|c| &mut c.extra_white_space);
    for octets in SPACED {
        assert!(request(octets, without).is_err(), "{octets:?}");
    }
    for octets in [
        "Content-Type: a/b\r\nContent-Length:  64\r\n\r\n",
        "Content-Type: a/b\r\nContent-Length: 64 \r\n\r\n",
        "Content-Type: a/b \r\nContent-Length: 64\r\n\r\n",
        "Content-Type:\ta/b\r\nContent-Length: 64\r\n\r\n",
    ] {
        assert!(header(octets, without).is_err(), "{octets:?}");
    }
}

#[test]
fn reason_phrase_accepts() {
    let with = only(|c| &mut c.reason_phrase);
    assert_eq!(reply("IAP/0.3 200 OK\r\n\r\n", with), Ok(response(200, &[])));
    assert_eq!(reply("IAP/0.3 404 M\u{e9} not here\r\n\r\n", with), Ok(response(404, &[])));
    assert_eq!(reply("IAP/0.3 200OK\r\n\r\n", with), Err(DecodeErrorKind::WhiteSpace), "still needs its space");
    assert_eq!(reply("IAP/0.3 2000 OK\r\n\r\n", with), Err(DecodeErrorKind::Status));
}

#[test]
fn reason_phrase_rejects() {
    let without = all_but(|c| &mut c.reason_phrase);
    assert_eq!(reply("IAP/0.3 200 OK\r\n\r\n", without), Err(DecodeErrorKind::UnexpectedText));
}

const LENGTH_FIRST: &str = "Content-Length: 64\r\nContent-Type: a/b\r\n\r\n";
const UNKNOWN_HEADERS: &str = "Date: now\r\nContent-Type: a/b\r\nX: \r\nContent-Length: 64\r\nY: z\r\n\r\n";

#[test]
fn any_header_order_accepts() {
    let with = only(|c| &mut c.any_header_order);
    for octets in [LENGTH_FIRST, UNKNOWN_HEADERS] {
        assert_eq!(header(octets, with), Ok(ContentHeader::new(media("a/b"), 64)), "{octets:?}");
    }
}

#[test]
fn any_header_order_rejects() {
    let without = all_but(|c| &mut c.any_header_order);
    for octets in [LENGTH_FIRST, UNKNOWN_HEADERS] {
        assert_eq!(header(octets, without), Err(DecodeErrorKind::HeaderOrder), "{octets:?}");
    }
}

/// Two alerts with this between them.
fn two_with(trailer: &[u8]) -> Vec<u8> {
    let one = alert(b"x");
    [one.strip_suffix(b"\r\n\r\n").unwrap(), trailer, &one].concat()
}

#[test]
fn any_trailer_accepts() {
    for trailer in [&b""[..], b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n"] {
        let mut receiver =
            receiver(Config::builder(Party::Manager).with_compat(only(|c| &mut c.any_trailer)).build().unwrap());
        let said = tell(&mut receiver, T0, &two_with(trailer));
        assert_eq!(contents(&said.events).len(), 2, "{trailer:?}");
    }
}

#[test]
fn any_trailer_rejects() {
    for trailer in [&b""[..], b"\r\n", b"\r\n\r\n\r\n"] {
        let mut receiver =
            receiver(Config::builder(Party::Manager).with_compat(all_but(|c| &mut c.any_trailer)).build().unwrap());
        let _ = receiver.handle_input(T0, &two_with(trailer));
        let said = drain(&mut receiver, T0);
        assert_eq!(contents(&said.events).len(), 1, "the first was whole: {trailer:?}");
        let (id, _) = contents(&said.events)[0];
        receiver.respond(T0, id, status(200)).unwrap();
        let said = drain(&mut receiver, T0);
        assert_eq!(text(&said.octets), text(&[answer(200), answer(400)].concat()), "{trailer:?}");
    }
    // Nothing admits four, half ones, or something else.
    for trailer in [&b"\r\n\r\n\r\n\r\n"[..], b"\r", b"\n", b"\r\n\r", b"\n\n", b" "] {
        let mut receiver = receiver(Config::builder(Party::Manager).with_compat(Compat::liberal()).build().unwrap());
        let _ = receiver.handle_input(T0, &two_with(trailer));
        assert_eq!(contents(&drain(&mut receiver, T0).events).len(), 1, "{trailer:?}");
    }
}

#[test]
fn newer_tls_token_accepts() {
    for (token, minor) in [("TLS/1.1", 1), ("TLS/1.2", 2), ("tls/1.3", 3)] {
        let octets = format!("IAP/0.3 Upgrade: {token}\r\n\r\n");
        let mut upgrade = Upgrade::new(Dialect::V0_3);
        upgrade.tls_minor = minor;
        assert_eq!(request(&octets, only(|c| &mut c.newer_tls_token)), Ok(SetupRequest::Upgrade(upgrade)));
    }
}

#[test]
fn newer_tls_token_rejects() {
    let without = all_but(|c| &mut c.newer_tls_token);
    assert_eq!(request("IAP/0.3 Upgrade: TLS/1.2\r\n\r\n", without), Err(DecodeErrorKind::TlsToken));
    for never in ["TLS/1.4", "TLS/2.0", "SSL/3.0", "TLS/1.01", "TLS"] {
        assert!(request(&format!("IAP/0.3 Upgrade: {never}\r\n\r\n"), Compat::liberal()).is_err(), "{never}");
    }
}

#[test]
fn no_space_after_colon_accepts() {
    let with = only(|c| &mut c.no_space_after_colon);
    assert!(request("IAP/0.3 Upgrade:TLS/1.0\r\n\r\n", with).is_ok());
    assert!(header("Content-Type:a/b\r\nContent-Length:64\r\n\r\n", with).is_ok());
}

#[test]
fn no_space_after_colon_rejects() {
    let without = all_but(|c| &mut c.no_space_after_colon);
    assert_eq!(request("IAP/0.3 Upgrade:TLS/1.0\r\n\r\n", without), Err(DecodeErrorKind::WhiteSpace));
    let octets = "Content-Type:a/b\r\nContent-Length: 64\r\n\r\n";
    assert_eq!(header(octets, without), Err(DecodeErrorKind::WhiteSpace));
}

const VIA_OF_GUPTA: &str = "IAP/0.3 CONNECT M\r\nIAP/0.3 VIA P\r\n\r\n";

#[test]
fn via_without_colon_accepts() {
    let with = only(|c| &mut c.via_without_colon);
    assert_eq!(request(VIA_OF_GUPTA, with), Ok(SetupRequest::Connect(connect("M", &["P"]))));
}

#[test]
fn via_without_colon_rejects() {
    let without = all_but(|c| &mut c.via_without_colon);
    assert_eq!(request(VIA_OF_GUPTA, without), Err(DecodeErrorKind::UnexpectedLine));
}

#[test]
fn port_in_connect_accepts() {
    let with = only(|c| &mut c.port_in_connect);
    for (octets, to) in [("IAP/0.3 CONNECT M:1443\r\n\r\n", "M"), ("IAP/0.3 CONNECT [::1]:1443\r\n\r\n", "[::1]")] {
        let Ok(SetupRequest::Connect(asked)) = request(octets, with) else { panic!("{octets}") };
        assert_eq!((&asked.host, asked.port), (&host(to), Some(1443)));
        let mut written = Vec::new();
        asked.encode(&mut written);
        assert_eq!(text(&written), format!("IAP/0.3 CONNECT {to}\r\n\r\n"), "read, never written");
    }
    for bad in ["M:", "M:+1", "M:65536", "M:x", ":1", "M:1:2"] {
        assert!(request(&format!("IAP/0.3 CONNECT {bad}\r\n\r\n"), with).is_err(), "{bad}");
    }
}

#[test]
fn port_in_connect_rejects() {
    let without = all_but(|c| &mut c.port_in_connect);
    assert_eq!(request("IAP/0.3 CONNECT M:1443\r\n\r\n", without), Err(DecodeErrorKind::Host));
}

/// As the transcript prints it: the body right behind the headers.
fn no_blank_line(body: &[u8]) -> Vec<u8> {
    let head = format!("Content-Type: a/b\r\nContent-Length: {}\r\n", body.len());
    [head.as_bytes(), body, b"\r\n\r\n"].concat()
}

#[test]
fn missing_blank_line_accepts() {
    for body in [&b"\xff\xff"[..], b"<a/>", b"{}", b" x", b"\nx", b"\0"] {
        let octets = [no_blank_line(body), no_blank_line(body)].concat();
        let config =
            || Config::builder(Party::Manager).with_compat(only(|c| &mut c.missing_blank_line)).build().unwrap();
        let mut whole = receiver(config());
        let said = tell(&mut whole, T0, &octets);
        let got: Vec<_> = contents(&said.events).into_iter().map(|(_, body)| body.to_vec()).collect();
        assert_eq!(got, [body, body], "{body:?}");
        let mut piecewise = receiver(config());
        let got: usize = octets.chunks(1).map(|octet| contents(&tell(&mut piecewise, T0, octet).events).len()).sum();
        assert_eq!(got, 2, "{body:?}");
    }
    // The form with the empty line is still the one that counts, even where the body starts with CR LF.
    let mut receiver =
        receiver(Config::builder(Party::Manager).with_compat(only(|c| &mut c.missing_blank_line)).build().unwrap());
    let said = tell(&mut receiver, T0, &alert(b"\r\n<a/>"));
    assert_eq!(contents(&said.events)[0].1, "\r\n<a/>");
}

#[test]
fn missing_blank_line_rejects() {
    let mut off =
        receiver(Config::builder(Party::Manager).with_compat(all_but(|c| &mut c.missing_blank_line)).build().unwrap());
    let (error, _) = tell_bad(&mut off, T0, &no_blank_line(b"<a/>"));
    assert_eq!(kind(&error), DecodeErrorKind::Header);
    // What could be a header is one, so a body of letters ends in an error and never in a wrong body.
    let mut letters =
        receiver(Config::builder(Party::Manager).with_compat(only(|c| &mut c.missing_blank_line)).build().unwrap());
    let (error, said) = tell_bad(&mut letters, T0, &no_blank_line(b"letters"));
    assert_eq!(kind(&error), DecodeErrorKind::Header);
    assert!(contents(&said.events).is_empty());
}

const CONNECT_0_4: &[u8] = b"IAP/0.4 CONNECT M.DOM.ORG\r\n\r\n";

#[test]
fn higher_minor_accepts() {
    let mut responder = responder_at(
        Config::builder(Party::Manager).with_compat(only(|c| &mut c.higher_minor)).build().unwrap(),
        At::Connect,
    );
    let said = tell(&mut responder, T0, CONNECT_0_4);
    assert!(matches!(&said.events[..], [ResponderEvent::Connect(Connect { .. })]));
    responder.accept_connect(T0).unwrap();
    assert_eq!(text(&drain(&mut responder, T0).octets), "IAP/0.3 200\r\n\r\n", "answered as 0.3");
    let said = tell(&mut responder, T0, b"IAP/0.4 Upgrade: TLS/1.0\r\n\r\n");
    assert_eq!(text(&said.octets), "IAP/0.3 101\r\n\r\n");
    responder.tls_started(T0).unwrap();
    let said = tell(&mut responder, T0, b"IAP/0.4 IAP-Version: 0.4\r\nIAP-Role: Sender\r\n\r\n");
    assert!(matches!(&said.events[..], [ResponderEvent::ChannelSetup { role: DataRole::Receiver }]));
}

#[test]
fn higher_minor_rejects() {
    let without = Config::builder(Party::Manager).with_compat(all_but(|c| &mut c.higher_minor)).build().unwrap();
    let (error, said) = tell_bad(&mut responder_at(without, At::Connect), T0, CONNECT_0_4);
    assert!(matches!(error, Error::PeerIncompatible(PeerIncompatible::Version(_))));
    assert_eq!(said.octets, answer(505));
    // A lower minor, another major, and the later form are no higher minor of 0.3.
    for never in ["IAP/0.2 CONNECT M\r\n\r\n", "IAP/1.3 CONNECT M\r\n\r\n", "CONNECT M IAP/0.6\r\n\r\n"] {
        let config = Config::builder(Party::Manager)
            .with_compat(Compat::liberal())
            .with_dialects(vec![Dialect::V0_3, Dialect::V0_5])
            .build()
            .unwrap();
        let (_, said) = tell_bad(&mut responder_at(config, At::Connect), T0, never.as_bytes());
        assert_eq!(said.octets, answer(505), "{never:?}");
    }
}

#[test]
fn higher_minor_does_not_weaken_the_downgrade_check() {
    let config = || Config::builder(Party::Manager).with_compat(Compat::liberal()).build().unwrap();
    // Somebody wrote 0.3 over the peer's 0.4 in clear text.
    for inside in [
        "IAP/0.4 IAP-Version: 0.4\r\nIAP-Role: Sender\r\n\r\n",
        "IAP/0.3 IAP-Version: 0.4\r\nIAP-Role: Sender\r\n\r\n",
        "IAP/0.3 IAP-Version: 0.2\r\nIAP-Role: Sender\r\n\r\n",
    ] {
        let (error, said) = tell_bad(&mut responder_at(config(), At::Channel), T0, inside.as_bytes());
        assert!(matches!(error, Error::PeerMisbehaved(PeerMisbehaved::VersionMismatch { .. })), "{inside:?}");
        assert_eq!(said.octets, answer(505));
    }
}

const HELLO: &[u8] = b"\x16\x03\x01\x00\x05hello";

#[test]
fn early_client_hello_accepts() {
    let with = only(|c| &mut c.early_client_hello);
    let mut manager = responder_at(Config::builder(Party::Manager).with_compat(with).build().unwrap(), At::Upgrade);
    let said = tell(&mut manager, T0, &[UPGRADE, HELLO].concat());
    assert_eq!(said.octets, SWITCH);
    assert!(matches!(&said.events[..], [ResponderEvent::StartTls { received, .. }] if received == HELLO));
    // As TLS client we speak first whatever the peer sent.
    let mut analyzer = responder_for(
        Config::builder(Party::Analyzer).with_compat(with).build().unwrap(),
        DataRole::Sender,
        At::Upgrade,
    );
    let (error, _) = tell_bad(&mut analyzer, T0, &[UPGRADE, HELLO].concat());
    assert_eq!(error, PeerMisbehaved::InjectedPlaintext.into());
}

#[test]
fn early_client_hello_rejects() {
    for compat in [Compat::strict(), Compat::default(), Compat::liberal()] {
        let mut manager =
            responder_at(Config::builder(Party::Manager).with_compat(compat).build().unwrap(), At::Upgrade);
        let (error, said) = tell_bad(&mut manager, T0, &[UPGRADE, HELLO].concat());
        assert_eq!(error, PeerMisbehaved::InjectedPlaintext.into());
        assert_eq!(said.octets, answer(400));
    }
}

#[test]
fn letters_of_either_case_are_always_accepted() {
    for octets in [
        "iap/0.3 connect M\r\niap/0.3 via: P\r\n\r\n",
        "IAP/0.3 UPGRADE: tls/1.0\r\n\r\n",
        "IAP/0.3 iap-version: 0.3\r\niap-role: RECEIVER\r\n\r\n",
    ] {
        assert!(request(octets, Compat::strict()).is_ok(), "{octets:?}");
    }
    assert!(header("CONTENT-TYPE: A/B\r\ncontent-length: 1\r\n\r\n", Compat::strict()).is_ok());
}

#[test]
fn some_forms_are_never_accepted() {
    for octets in [
        "IAP/0.3 CONNECT M\n\n",
        "IAP/0.3 CONNECT M\r\r\n\r\n",
        "IAP/0.3 CONNECT M\u{7f}\r\n\r\n",
        "IAP/0.3 CONNECT M\r\n IAP/0.3 Via: P\r\n\r\n",
        "IAP/0.3 CONNECT M\r\nVia: P\r\n\r\n",
        "IAP/0.3 CONNECT M\r\nIAP/0.2 Via: P\r\n\r\n",
        "IAP/0.3 CONNECT M N\r\n\r\n",
        "IAP/0.3 IAP-Version: 0.3\r\nIAP/0.2 IAP-Role: Sender\r\n\r\n",
        "IAP/0.3 IAP-Role: Sender\r\nIAP-Version: 0.3\r\n\r\n",
        "IAP/0.3 Upgrade: TLS/1.0\r\nIAP/0.3 Via: P\r\n\r\n",
        "IAP/.3 CONNECT M\r\n\r\n",
        "IAP/0.3.1 CONNECT M\r\n\r\n",
        "IAP/0.3CONNECT M\r\n\r\n",
        "\r\n",
    ] {
        assert!(request(octets, Compat::liberal()).is_err(), "{octets:?}");
    }
    let coded = "Content-Type: a/b\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(header(coded, Compat::liberal()), Err(DecodeErrorKind::TransferEncoding));
    for octets in [
        "Content-Type: a/b\r\nContent-Length: 1, 1\r\n\r\n",
        "Content-Type: a/b\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "Content-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\n",
        "Content-Type: a/b\r\nContent-Length: 0x1\r\n\r\n",
        "Content-Type: a/b\r\nContent-Length: +1\r\n\r\n",
        "Content-Type: a/b\r\nContent-Length: \r\n\r\n",
        "Content-Type: a/b\r\nContent-Length : 1\r\n\r\n",
        "Content-Length: 1\r\n\r\n",
    ] {
        assert!(header(octets, Compat::liberal()).is_err(), "{octets:?}");
    }
    for octets in ["IAP/0.3 099\r\n\r\n", "IAP/0.3 600\r\n\r\n", "IAP/0.3 000\r\n\r\n", "IAP/0.3 2 00\r\n\r\n"] {
        assert_eq!(reply(octets, Compat::liberal()), Err(DecodeErrorKind::Status), "{octets:?}");
    }
}

#[test]
fn the_default_syntax_is_tolerant() {
    assert_eq!(Syntax::default().compat, Compat::tolerant());
}
