//! The receiver: contents out, answers in order, what is refused and whether the connection goes on. Section 3.4.

use iap_proto::{ApiMisuse, Config, Error, Limit, Limits, MediaType, MessageId, Party, Receiver, ReceiverEvent};
use watchfire_core::Machine as _;

use crate::support::*;

fn ids(receiver: &mut Receiver, bodies: &[&[u8]]) -> Vec<MessageId> {
    let octets: Vec<u8> = bodies.iter().flat_map(|body| alert(body)).collect();
    contents(&tell(receiver, T0, &octets).events).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn content_is_handed_out_whole_and_answered_when_the_application_says_so() {
    let mut receiver = receiver(Config::manager());
    let said = tell(&mut receiver, T0, &content("application/json; a=b", b"{}"));
    assert!(said.octets.is_empty(), "200 means more than received");
    let [ReceiverEvent::Content { id, content_type, body }] = &said.events[..] else { panic!("{said:?}") };
    assert_eq!((content_type, &body[..]), (&media("application/json; a=b"), &b"{}"[..]));
    receiver.respond(T0, *id, status(200)).unwrap();
    assert_eq!(drain(&mut receiver, T0).octets, OK);
}

#[test]
fn answers_keep_the_order_of_the_requests_whatever_order_they_are_given_in() {
    // All 120 orders of five answers.
    for n in 0..120u32 {
        let mut left: Vec<usize> = (0..5).collect();
        let mut code = n;
        let mut order = Vec::new();
        for size in (1..=5u32).rev() {
            order.push(left.remove((code % size) as usize));
            code /= size;
        }
        let mut receiver = receiver(Config::manager());
        let ids = ids(&mut receiver, &[b"0", b"1", b"2", b"3", b"4"]);
        let codes = [200, 400, 503, 202, 415];
        let mut octets = Vec::new();
        for index in &order {
            receiver.respond(T0, ids[*index], status(codes[*index])).unwrap();
            octets.extend(drain(&mut receiver, T0).octets);
        }
        assert_eq!(octets, codes.iter().flat_map(|code| answer(*code)).collect::<Vec<_>>(), "{order:?}");
    }
}

#[test]
fn each_content_is_answered_once() {
    let mut receiver = receiver(Config::manager());
    let ids = ids(&mut receiver, &[b"0", b"1"]);
    assert_eq!(receiver.respond(T0, ids[1], status(101)), Err(ApiMisuse::NotAnAnswer));
    receiver.respond(T0, ids[1], status(200)).unwrap();
    assert_eq!(receiver.respond(T0, ids[1], status(400)), Err(ApiMisuse::UnknownMessage));
    assert_eq!(receiver.unanswered(), 1);
    receiver.respond(T0, ids[0], status(200)).unwrap();
    assert_eq!(receiver.respond(T0, ids[0], status(400)), Err(ApiMisuse::UnknownMessage));
    assert_eq!(drain(&mut receiver, T0).octets, OK.repeat(2));
}

#[test]
fn an_unknown_type_is_answered_415_in_its_turn_and_the_connection_stays() {
    let mut receiver = receiver(
        Config::builder(Party::Manager).with_accept(vec![MediaType::IDEF_ALERT, MediaType::XML]).build().unwrap(),
    );
    let octets = [
        alert(b"one"),
        content("application/x-other", b"body\r\n\r\nof any kind"),
        content("application/x-other", b""),
        content("APPLICATION/xml; charset=utf-8", b"two"),
    ]
    .concat();
    let said = tell(&mut receiver, T0, &octets);
    let got = contents(&said.events);
    assert_eq!(got.iter().map(|(_, body)| &body[..]).collect::<Vec<_>>(), [b"one", b"two"]);
    let unknown = |event: &&ReceiverEvent| matches!(event, ReceiverEvent::UnknownType { .. });
    assert_eq!(said.events.iter().filter(unknown).count(), 2);
    assert!(said.octets.is_empty(), "415 has to wait for the answer before it");
    for (id, _) in got {
        receiver.respond(T0, id, status(200)).unwrap();
    }
    let replies = drain(&mut receiver, T0).octets;
    assert_eq!(text(&replies), text(&[answer(200), answer(415), answer(415), answer(200)].concat()));
}

#[test]
fn analyzers_take_only_the_commands_they_name() {
    let as_commands = |config: Config| {
        let config = config.into_builder().with_commands(true).build().unwrap();
        let mut initiator = initiator_at(config, iap_proto::DataRole::Receiver, At::Channel);
        let Some(iap_proto::InitiatorEvent::Ready(channel)) = tell(&mut initiator, T0, OK).events.pop() else {
            panic!()
        };
        channel.into_receiver().unwrap()
    };
    let mut none = as_commands(Config::analyzer());
    assert_eq!(tell(&mut none, T0, &alert(b"x")).octets, answer(415));
    let mut json = as_commands(Config::builder(Party::Analyzer).with_accept(vec![MediaType::JSON]).build().unwrap());
    assert_eq!(contents(&tell(&mut json, T0, &content("application/json", b"{}")).events).len(), 1);
    assert_eq!(tell(&mut none, T0, &alert(b"x")).octets, answer(415));
}

#[test]
fn a_body_at_the_limit_is_taken_and_one_above_is_refused_before_it_comes() {
    let config = || Config::builder(Party::Manager).with_limits(Limits::default().with_body(100)).build().unwrap();
    let mut exact = receiver(config());
    assert_eq!(contents(&tell(&mut exact, T0, &alert(&[b'x'; 100])).events).len(), 1);
    let mut above = receiver(config());
    let head = b"Content-Type: application/x-idef-alert\r\nContent-Length: 101\r\n\r\n";
    let (error, said) = tell_bad(&mut above, T0, head);
    assert_eq!(error, Error::LimitExceeded(Limit::Body));
    assert_eq!(said.octets, answer(413), "without one octet of the body");
    // Also where the type is unknown: a body that nobody wants is not worth more.
    let mut unknown = receiver(config().into_builder().with_accept(vec![MediaType::XML]).build().unwrap());
    let (_, said) = tell_bad(&mut unknown, T0, head);
    assert_eq!(said.octets, answer(413));
}

#[test]
fn what_is_announced_is_never_allocated() {
    let mut receiver =
        receiver(Config::builder(Party::Manager).with_limits(Limits::default().with_body(u64::MAX)).build().unwrap());
    let head = b"Content-Type: a/b\r\nContent-Length: 9999999999999999999\r\n\r\n";
    assert!(tell(&mut receiver, T0, head).events.is_empty());
    for _ in 0..100 {
        assert!(tell(&mut receiver, T0, &[b'x'; 1000]).events.is_empty());
    }
}

#[test]
fn an_error_is_answered_in_its_turn() {
    let mut receiver = receiver(Config::manager());
    let said = tell(&mut receiver, T0, &[alert(b"good"), alert(b"later"), b"Nonsense\r\n\r\n".to_vec()].concat());
    let got = contents(&said.events);
    assert_eq!(got.len(), 2);
    assert!(said.octets.is_empty() && !receiver.is_finished(), "what was understood is answered first");
    assert!(tell(&mut receiver, T0, &alert(b"behind")).events.is_empty(), "and nothing more is read");
    receiver.respond(T0, got[1].0, status(200)).unwrap();
    assert!(drain(&mut receiver, T0).events.is_empty());
    receiver.respond(T0, got[0].0, status(503)).unwrap();
    let said = drain(&mut receiver, T0);
    assert_eq!(text(&said.octets), text(&[answer(503), answer(200), answer(400)].concat()));
    assert!(matches!(close_reason(&said.events), iap_proto::CloseReason::Failed(Error::InvalidMessage(_))));
    assert!(receiver.is_finished());
}

#[test]
fn setup_requests_in_the_data_phase_are_refused() {
    for octets in [CONNECT, UPGRADE, AS_SENDER, OK] {
        let (error, said) = tell_bad(&mut receiver(Config::manager()), T0, octets);
        assert!(matches!(error, Error::InvalidMessage(_)));
        assert_eq!(said.octets, answer(400), "{octets:?}");
    }
}

#[test]
fn one_octet_at_a_time_is_the_same() {
    let octets = [alert(b"one"), content("a/b", b""), alert(b"\r\n\r\n")].concat();
    let mut whole = receiver(Config::manager());
    let expected = tell(&mut whole, T0, &octets).events;
    let mut piecewise = receiver(Config::manager());
    let events: Vec<_> = octets.chunks(1).flat_map(|octet| tell(&mut piecewise, T0, octet).events).collect();
    assert_eq!(events, expected);
    assert_eq!(events.len(), 3);
}
