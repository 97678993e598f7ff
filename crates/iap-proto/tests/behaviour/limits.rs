//! Every value of `Limits`, at the limit and one above; and that nothing grows without one.

use std::sync::Arc;

use iap_proto::wire::DecodeErrorKind;
use iap_proto::{CloseReason, Config, Error, Limit, Limits, MediaType, Party, Proxy, Side};
use watchfire_core::{Eof, Machine as _, StreamMachine as _};

use crate::support::*;

fn manager(change: impl FnOnce(&mut Limits)) -> Config {
    let mut limits = Limits::default();
    change(&mut limits);
    Config::builder(Party::Manager).with_limits(limits).build().unwrap()
}

#[test]
fn a_line_may_fill_the_limit_and_no_more() {
    let line = CONNECT.len() - 2;
    let _ = tell(&mut responder_at(manager(|limits| limits.line = line), At::Connect), T0, CONNECT);
    let short = manager(|limits| limits.line = line - 1);
    let (error, said) = tell_bad(&mut responder_at(short.clone(), At::Connect), T0, CONNECT);
    assert_eq!(error, Error::LimitExceeded(Limit::Line));
    assert_eq!(said.octets, answer(400));
    // The octet that is too many is enough; the end of the line is not waited for.
    let (error, _) = tell_bad(&mut responder_at(short, At::Connect), T0, &CONNECT[..line - 2]);
    assert_eq!(error, Error::LimitExceeded(Limit::Line));
}

#[test]
fn a_line_of_content_has_the_same_limit_on_every_way_of_reading() {
    // The type of the first is read by the short way, that of the second by the long one.
    for kind in ["application/x-idef-alert", "application/x-IDEF-alert"] {
        let octets = content(kind, b"x");
        let line = "Content-Type: application/x-idef-alert\r\n".len();
        let mut exact = receiver(setup_then(|limits| limits.line = line));
        assert_eq!(contents(&tell(&mut exact, T0, &octets).events).len(), 1, "{kind}");
        let mut short = receiver(setup_then(|limits| limits.line = line - 1));
        let (error, _) = tell_bad(&mut short, T0, &octets);
        assert_eq!(error, Error::LimitExceeded(Limit::Line), "{kind}");
    }
}

fn setup_then(change: impl FnOnce(&mut Limits)) -> Config {
    manager(change)
}

#[test]
fn lines_are_counted_without_the_empty_one() {
    let two = b"IAP/0.3 CONNECT M\r\nIAP/0.3 Via: P\r\n\r\n";
    let _ = tell(&mut responder_at(manager(|limits| limits.lines = 2), At::Connect), T0, two);
    let (error, said) = tell_bad(&mut responder_at(manager(|limits| limits.lines = 1), At::Connect), T0, two);
    assert_eq!(error, Error::LimitExceeded(Limit::Lines));
    assert_eq!(said.octets, answer(400));
    // Content as everybody sends it is read the short way, which must count as well. (A setup needs two lines itself.)
    let header = |lines| {
        let mut limits = Limits::default();
        limits.lines = lines;
        let syntax = iap_proto::wire::Syntax::new(Default::default(), limits);
        iap_proto::message::ContentHeader::decode_with(&alert(b"x"), iap_proto::Dialect::V0_3, &syntax)
    };
    assert!(header(2).is_ok());
    assert_eq!(header(1).map_err(|error| error.kind), Err(DecodeErrorKind::Limit(Limit::Lines)));
    let many = "X: y\r\n".repeat(62);
    let fits = format!("Content-Type: a/b\r\n{many}Content-Length: 0\r\n\r\n");
    assert_eq!(contents(&tell(&mut receiver(Config::manager()), T0, fits.as_bytes()).events).len(), 1);
    let above = format!("Content-Type: a/b\r\nX: y\r\n{many}Content-Length: 0\r\n\r\n");
    let (error, _) = tell_bad(&mut receiver(Config::manager()), T0, above.as_bytes());
    assert_eq!(error, Error::LimitExceeded(Limit::Lines));
}

fn connect_with_via(count: usize) -> Vec<u8> {
    let mut octets = b"IAP/0.3 CONNECT M\r\n".to_vec();
    (0..count).for_each(|n| octets.extend_from_slice(format!("IAP/0.3 Via: P{n}\r\n").as_bytes()));
    octets.extend_from_slice(b"\r\n");
    octets
}

#[test]
fn sixteen_proxies_are_enough() {
    let _ = tell(&mut responder_at(Config::manager(), At::Connect), T0, &connect_with_via(16));
    let (error, said) = tell_bad(&mut responder_at(Config::manager(), At::Connect), T0, &connect_with_via(17));
    assert_eq!(error, Error::LimitExceeded(Limit::Via));
    assert_eq!(said.octets, answer(502));
    // A proxy would add the seventeenth.
    for (count, passes) in [(15, true), (16, false), (17, false)] {
        let mut proxy = Proxy::new(Arc::new(Config::manager()), Arc::from([host("P")]), T0);
        let taken = proxy.handle_input(T0, Side::Initiator, &connect_with_via(count));
        let refused = Err(Error::LimitExceeded(Limit::Via));
        assert_eq!(taken, if passes { Ok(()) } else { refused }, "{count}");
    }
}

#[test]
fn unanswered_contents_are_limited_without_harm_to_an_honest_sender() {
    let mut receiver = receiver(manager(|limits| limits.unanswered = 3));
    // Ten in one read: more than there is room for, and no fault of the sender's.
    let octets: Vec<u8> = (0..10u8).flat_map(|n| alert(&[b'0' + n])).collect();
    let mut got = contents(&tell(&mut receiver, T0, &octets).events);
    assert_eq!(got.len(), 3);
    assert!(!receiver.wants_input());
    let mut bodies = String::new();
    let mut replies = Vec::new();
    while !got.is_empty() {
        let (id, body) = got.remove(0);
        bodies.push_str(&text(&body));
        receiver.respond(T0, id, status(200)).unwrap();
        let said = drain(&mut receiver, T0);
        replies.extend(said.octets);
        got.extend(contents(&said.events));
        assert!(receiver.unanswered() <= 3);
    }
    assert_eq!(bodies, "0123456789");
    assert_eq!(replies, OK.repeat(10));
    assert!(receiver.wants_input());
}

#[test]
fn octets_of_unanswered_contents_are_limited() {
    let mut receiver = receiver(manager(|limits| limits.unanswered_octets = 100));
    let got = contents(&tell(&mut receiver, T0, &alert(&[b'x'; 60]).repeat(4)).events);
    assert_eq!(got.len(), 2, "the second fills it");
    assert!(!receiver.wants_input());
    receiver.respond(T0, got[0].0, status(200)).unwrap();
    assert_eq!(contents(&drain(&mut receiver, T0).events).len(), 1);
}

#[test]
fn a_driver_that_never_asks_is_stopped() {
    let mut receiver = receiver(manager(|limits| (limits.unanswered, limits.unanswered_octets) = (1, 1000)));
    let mut got = Vec::new();
    for _ in 0..1000 {
        // It goes on without error because an answer is still owed; what comes is dropped.
        receiver.handle_input(T0, &alert(b"x")).unwrap();
        got.extend(contents(&drain(&mut receiver, T0).events));
    }
    assert_eq!(got.len(), 1);
    receiver.respond(T0, got[0].0, status(200)).unwrap();
    let said = drain(&mut receiver, T0);
    assert_eq!(text(&said.octets), text(&[answer(200), answer(503)].concat()));
    assert_eq!(close_reason(&said.events), CloseReason::Failed(Error::LimitExceeded(Limit::Unanswered)));
}

#[test]
fn answers_waiting_for_their_turn_are_limited() {
    // One alert that the application keeps, and a flood of what is refused at once: each needs its answer kept.
    let config = Config::builder(Party::Manager)
        .with_accept(vec![MediaType::IDEF_ALERT])
        .with_limits(Limits::default().with_unanswered(8))
        .build()
        .unwrap();
    let mut receiver = receiver(config);
    let first = contents(&tell(&mut receiver, T0, &alert(b"kept")).events)[0].0;
    let mut refused = 0;
    let flood = content("a/b", b"").repeat(100);
    for event in tell(&mut receiver, T0, &flood).events {
        refused += usize::from(matches!(event, iap_proto::ReceiverEvent::UnknownType { .. }));
    }
    assert_eq!(refused, 7);
    assert!(!receiver.wants_input());
    receiver.respond(T0, first, status(200)).unwrap();
    let said = drain(&mut receiver, T0);
    let expected = [OK.to_vec(), answer(415).repeat(100)].concat();
    assert_eq!(text(&said.octets), text(&expected), "nothing was lost");
    assert!(receiver.wants_input());
}

#[test]
fn answers_given_out_of_turn_are_limited_too() {
    let mut receiver = receiver(manager(|limits| limits.unanswered = 4));
    let said = tell(&mut receiver, T0, &alert(b"x").repeat(100));
    let got = contents(&said.events);
    // All but the first are answered; none of these answers can leave.
    for (id, _) in &got[1..] {
        receiver.respond(T0, *id, status(200)).unwrap();
        let said = drain(&mut receiver, T0);
        assert!(said.octets.is_empty() && said.events.is_empty());
    }
    assert!(!receiver.wants_input());
    assert_eq!(receiver.unanswered(), 1);
}

#[test]
fn output_that_is_not_drained_stops_the_receiver() {
    let config = Config::builder(Party::Manager)
        .with_accept(vec![MediaType::IDEF_ALERT])
        .with_limits(Limits::default().with_max_buffered(150))
        .build()
        .unwrap();
    let mut receiver = receiver(config);
    receiver.handle_input(T0, &content("a/b", b"").repeat(1000)).unwrap();
    assert!(!receiver.wants_input());
    let mut octets = 0;
    while let watchfire_core::Output::Transmit(transmit) = receiver.poll_output(T0) {
        assert!(transmit.len() <= 150 + 15, "{}", transmit.len());
        octets += transmit.len();
        while matches!(receiver.poll_output(T0), watchfire_core::Output::Event(_)) {}
    }
    assert!(octets > 0);
}

#[test]
fn what_was_held_back_is_read_before_the_end_of_the_stream() {
    for (eof, reason) in [
        (Eof::Closed, CloseReason::PeerFinished),
        (Eof::Truncated, CloseReason::Failed(iap_proto::PeerMisbehaved::EarlyEof.into())),
    ] {
        let mut receiver = receiver(manager(|limits| limits.unanswered = 1));
        let mut got = contents(&tell(&mut receiver, T0, &alert(b"x").repeat(5)).events);
        assert_eq!(got.len(), 1);
        let _ = receiver.handle_eof(T0, eof);
        let said = drain(&mut receiver, T0);
        got.extend(contents(&said.events));
        assert_eq!(got.len(), 5);
        for (id, _) in got {
            let _ = receiver.respond(T0, id, status(200));
        }
        let mut events = said.events;
        events.extend(drain(&mut receiver, T0).events);
        assert_eq!(close_reason(&events), reason);
    }
}

#[test]
fn an_error_in_what_was_held_back_is_told_in_its_turn() {
    let mut receiver = receiver(manager(|limits| limits.unanswered = 1));
    let octets = [alert(b"x"), b"Nonsense\r\n\r\n".to_vec()].concat();
    let got = contents(&tell(&mut receiver, T0, &octets).events);
    receiver.respond(T0, got[0].0, status(200)).unwrap();
    let said = drain(&mut receiver, T0);
    assert_eq!(text(&said.octets), text(&[answer(200), answer(400)].concat()));
    let CloseReason::Failed(error) = close_reason(&said.events) else { panic!() };
    assert_eq!(kind(&error), DecodeErrorKind::Header);
}

#[test]
fn limits_of_zero_still_let_one_through_at_a_time() {
    let mut receiver = receiver(manager(|l| (l.unanswered, l.unanswered_octets, l.max_buffered) = (0, 0, 0)));
    let mut got = contents(&tell(&mut receiver, T0, &alert(b"x").repeat(5)).events);
    for n in 0..5 {
        assert_eq!(got.len(), 1, "{n}");
        receiver.respond(T0, got[0].0, status(200)).unwrap();
        got = contents(&drain(&mut receiver, T0).events);
    }
    assert!(receiver.wants_input());
}
