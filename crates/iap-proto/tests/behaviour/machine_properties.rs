//! Properties of the machines: input may be cut anywhere, the same calls give the same trace, and neither peers nor
//! drivers can make them panic or grow.

use std::sync::Arc;

use bytes::Bytes;
use iap_proto::{
    Config, DataRole, Error, Initiator, Limits, MediaType, MessageId, Party, Proxy, Receiver, ReceiverEvent, Responder,
    ResponderEvent, Sender, Side, Status,
};
use proptest::prelude::*;
use watchfire_core::{Eof, Instant, Machine, Output, StreamMachine};

use crate::codec_properties::{any_compat, any_role, near_iap};
use crate::support::*;

/// Cuts octets into pieces of these sizes, again and again.
fn pieces<'a>(octets: &'a [u8], sizes: &'a [usize]) -> Vec<&'a [u8]> {
    let mut rest = octets;
    let mut sizes = sizes.iter().cycle();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| *size).clamp(1, rest.len());
        let (piece, tail) = rest.split_at(size);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn any_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), proptest::collection::vec(1usize..40, 1..8)]
}

/// A stream for a receiver: alerts of several types, and now and then something else.
fn for_receiver() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![proptest::collection::vec(any::<u8>(), 0..60), Just(b"\r\n\r\n".to_vec()), Just(vec![])];
    let message = prop_oneof![
        8 => body.clone().prop_map(|body| alert(&body)),
        2 => body.prop_map(|body| content("text/plain; x=y", &body)),
        1 => Just(b"Content-Length: 2\r\nX: y\r\nContent-Type:  application/x-idef-alert\r\n\r\nab\r\n".to_vec()),
        1 => Just(b"Content-Type: application/x-idef-alert\r\nContent-Length: 3\r\n<a>\r\n\r\n\r\n".to_vec()),
        1 => near_iap(),
    ];
    proptest::collection::vec(message, 0..8).prop_map(|messages| messages.concat())
}

fn commanding(config: Config) -> Config {
    config.into_builder().with_commands(true).build().unwrap()
}

/// All that a receiver says to octets that come in these pieces, with an application that answers at once.
fn receive(config: &Config, pieces: &[&[u8]], eof: Eof) -> (Vec<u8>, Vec<ReceiverEvent>) {
    let mut receiver = receiver(config.clone());
    let (mut octets, mut events) = (Vec::new(), Vec::new());
    let mut settle = |receiver: &mut Receiver| {
        loop {
            match receiver.poll_output(T0) {
                Output::Transmit(transmit) => octets.extend_from_slice(&transmit),
                Output::Event(event) => {
                    if let ReceiverEvent::Content { id, body, .. } = &event {
                        let code = if body.len().is_multiple_of(2) { 200 } else { 400 };
                        let _ = receiver.respond(T0, *id, status(code));
                    }
                    events.push(event);
                }
                Output::Timeout(_) => return,
            }
        }
    };
    for piece in pieces {
        let _ = receiver.handle_input(T0, piece);
        settle(&mut receiver);
    }
    let _ = receiver.handle_eof(T0, eof);
    settle(&mut receiver);
    (octets, events)
}

/// All that a sender says to octets that come in these pieces.
fn hear_answers(window: usize, pieces: &[&[u8]]) -> (Vec<String>, Vec<u64>, Result<(), Error>) {
    let config = Config::builder(Party::Analyzer).with_window(window.try_into().unwrap()).build().unwrap();
    let mut sender = sender(config);
    for _ in 0..window {
        sender.send_alert(T0, &MediaType::IDEF_ALERT, b"x").unwrap();
    }
    let mut events = Vec::new();
    let mut result = Ok(());
    for piece in pieces {
        if result.is_ok() {
            result = sender.handle_input(T0, piece);
        }
        events.extend(drain(&mut sender, T0).events.into_iter().map(|event| format!("{event:?}")));
    }
    (events, sender.unconfirmed().map(MessageId::index).collect(), result)
}

proptest! {
    #[test]
    fn a_receivers_input_may_be_cut_anywhere(
        octets in for_receiver(),
        sizes in any_sizes(),
        compat in any_compat(),
        small in any::<bool>(),
        truncated in any::<bool>(),
    ) {
        let mut config = Config::builder(Party::Manager).with_compat(compat).with_accept(vec![MediaType::IDEF_ALERT]);
        if small {
            config = config.with_limits(Limits::default().with_unanswered(1).with_body(50));
        }
        let config = config.build().unwrap();
        let eof = if truncated { Eof::Truncated } else { Eof::Closed };
        let whole = receive(&config, &[&octets], eof);
        prop_assert_eq!(receive(&config, &pieces(&octets, &sizes), eof), whole);
    }

    #[test]
    fn a_senders_input_may_be_cut_anywhere(
        replies in proptest::collection::vec(prop_oneof![
            8 => Just(OK.to_vec()),
            2 => (200u16..600).prop_map(answer),
            1 => Just(b"IAP/0.3 200 OK\r\nIAP/0.3 Via: P\r\n\r\n".to_vec()),
            1 => near_iap(),
        ], 0..12),
        window in 1usize..12,
        sizes in any_sizes(),
    ) {
        let octets = replies.concat();
        prop_assert_eq!(hear_answers(window, &pieces(&octets, &sizes)), hear_answers(window, &[&octets]));
    }

    /// Of a setup each message may be cut anywhere. (Octets that stand behind one that has to be answered first are
    /// another matter: they are refused where they come in the same piece.)
    #[test]
    fn a_setup_may_be_cut_anywhere(sizes in any_sizes(), role in any_role(), analyzer_dials in any::<bool>()) {
        let whole = setup(&[usize::MAX], role, analyzer_dials);
        prop_assert_eq!(setup(&sizes, role, analyzer_dials), whole);
    }

    #[test]
    fn a_proxys_input_may_be_cut_anywhere(
        request in near_iap(),
        reply in near_iap(),
        sizes in any_sizes(),
    ) {
        let mut request = [b"IAP/0.3 CONNECT M\r\n", &request[..]].concat();
        // What stands behind a request before its answer is refused, but only where it came in the same piece.
        if let Some(end) = request.windows(4).position(|octets| octets == b"\r\n\r\n") {
            request.truncate(end + 4);
        }
        let reply = [b"IAP/0.3 200\r\n", &reply[..]].concat();
        prop_assert_eq!(relay(&request, &reply, &sizes), relay(&request, &reply, &[usize::MAX]));
    }

    #[test]
    fn garbage_never_panics_and_the_farewell_is_short(octets in near_iap(), compat in any_compat(), at in 0usize..6) {
        let at = At::ALL[at];
        let mut responder = responder_at(Config::builder(Party::Manager).with_compat(compat).build().unwrap(), at);
        let _ = responder.handle_input(T0, &octets);
        prop_assert!(drain(&mut responder, T0).octets.len() <= 15);
        if matches!(at, At::Connect | At::Upgrade | At::Tls | At::Channel) {
            let mut initiator = initiator_at(Config::builder(Party::Analyzer).with_compat(compat).build().unwrap(), DataRole::Sender, at);
            let _ = initiator.handle_input(T0, &octets);
            prop_assert!(drain(&mut initiator, T0).octets.len() <= 50);
        }
        let mut sender = sender(Config::builder(Party::Analyzer).with_compat(compat).build().unwrap());
        let _ = sender.handle_input(T0, &octets);
        prop_assert!(drain(&mut sender, T0).octets.is_empty());
    }
}

/// A setup in pieces: all octets and events of both sides.
fn setup(sizes: &[usize], role: DataRole, analyzer_dials: bool) -> Vec<String> {
    let (near, far) =
        if analyzer_dials { (Config::analyzer(), Config::manager()) } else { (Config::manager(), Config::analyzer()) };
    let mut initiator = Initiator::new(Arc::new(commanding(near)), host("M"), role, T0);
    let mut responder = Responder::new(Arc::new(commanding(far)), T0);
    let mut trace = Vec::new();
    for _ in 0..4 {
        let said = drain(&mut initiator, T0);
        trace.push(text(&said.octets));
        trace.extend(said.events.iter().map(|event| format!("{event:?}")));
        for event in &said.events {
            if matches!(event, iap_proto::InitiatorEvent::StartTls { .. }) {
                initiator.tls_started(T0).unwrap();
                responder.tls_started(T0).unwrap();
                let octets = drain(&mut initiator, T0).octets;
                pieces(&octets, sizes).into_iter().for_each(|piece| responder.handle_input(T0, piece).unwrap());
            }
        }
        pieces(&said.octets, sizes).into_iter().for_each(|piece| responder.handle_input(T0, piece).unwrap());
        let mut back = Vec::new();
        loop {
            match responder.poll_output(T0) {
                Output::Transmit(octets) => back.extend_from_slice(&octets),
                Output::Event(event) => {
                    trace.push(format!("{event:?}"));
                    match event {
                        ResponderEvent::Connect(_) => responder.accept_connect(T0).unwrap(),
                        ResponderEvent::ChannelSetup { .. } => responder.accept_channel(T0).unwrap(),
                        _ => {}
                    }
                }
                Output::Timeout(_) => break,
            }
        }
        trace.push(text(&back));
        pieces(&back, sizes).into_iter().for_each(|piece| initiator.handle_input(T0, piece).unwrap());
    }
    assert!(initiator.is_finished() && responder.is_finished(), "{trace:?}");
    trace
}

/// A proxy between these two, in pieces: all that it says to each side, and its events.
fn relay(request: &[u8], reply: &[u8], sizes: &[usize]) -> (Vec<u8>, Vec<u8>, Vec<String>) {
    let mut proxy = Proxy::new(Arc::new(Config::manager()), Arc::from([host("P")]), T0);
    let mut heard = (Vec::new(), Vec::new(), Vec::new());
    fn settle(proxy: &mut Proxy, (back, on, events): &mut (Vec<u8>, Vec<u8>, Vec<String>)) {
        loop {
            match proxy.poll_output(T0) {
                Output::Transmit(transmit) if transmit.to == Side::Initiator => back.extend(transmit.octets),
                Output::Transmit(transmit) => on.extend(transmit.octets),
                Output::Event(event) => events.push(format!("{event:?}")),
                Output::Timeout(_) => return,
            }
        }
    }
    for piece in pieces(request, sizes) {
        let _ = proxy.handle_input(T0, Side::Initiator, piece);
        settle(&mut proxy, &mut heard);
    }
    let _ = proxy.accept(T0);
    let _ = proxy.dialled(T0);
    settle(&mut proxy, &mut heard);
    for piece in pieces(reply, sizes) {
        if heard.2.last().is_some_and(|event| event.starts_with("Pipe")) {
            heard.0.extend_from_slice(piece);
        } else if !proxy.is_finished() {
            let _ = proxy.handle_input(T0, Side::Responder, piece);
            settle(&mut proxy, &mut heard);
        }
    }
    heard
}

/// What a driver may call, in any order.
#[derive(Debug, Clone)]
enum Call {
    Input(Vec<u8>),
    Eof(bool),
    Timeout(u64),
    Drain,
    Decide(u8),
    Send(usize),
    Respond(usize, u16),
    Finish,
    Close,
    Urgent,
}

fn any_call() -> impl Strategy<Value = Call> {
    let lines: Vec<Vec<u8>> = vec![
        CONNECT.to_vec(),
        UPGRADE.to_vec(),
        AS_SENDER.to_vec(),
        OK.to_vec(),
        SWITCH.to_vec(),
        alert(b"x"),
        content("a/b", b""),
    ];
    prop_oneof![
        6 => prop::sample::select(lines).prop_map(Call::Input),
        2 => near_iap().prop_map(Call::Input),
        1 => any::<bool>().prop_map(Call::Eof),
        2 => (0u64..90).prop_map(Call::Timeout),
        4 => Just(Call::Drain),
        8 => (0u8..6).prop_map(Call::Decide),
        3 => (0usize..3000).prop_map(Call::Send),
        3 => (0usize..4, 100u16..600).prop_map(|(at, code)| Call::Respond(at, code)),
        1 => Just(Call::Finish),
        1 => Just(Call::Close),
        1 => Just(Call::Urgent),
    ]
}

/// What happened, in words: results, octets and events.
fn said<M>(machine: &mut M, now: Instant, trace: &mut Vec<String>) -> Vec<M::Event>
where
    M: Machine<Transmit = Bytes>,
    M::Event: std::fmt::Debug,
{
    let said = drain(machine, now);
    assert!(said.octets.len() < 70_000, "bounded");
    trace.push(format!("{said:?}"));
    said.events
}

fn stream<M: StreamMachine<Error = Error>>(machine: &mut M, now: Instant, call: &Call, trace: &mut Vec<String>) {
    let over = machine.is_finished();
    let result = match call {
        Call::Input(octets) => machine.handle_input(now, octets),
        Call::Eof(truncated) => machine.handle_eof(now, if *truncated { Eof::Truncated } else { Eof::Closed }),
        Call::Timeout(_) => machine.handle_timeout(now),
        _ => return,
    };
    assert!(result.is_ok() || machine.is_finished(), "errors are fatal: {result:?}");
    assert!(!over || machine.is_finished(), "the end is the end");
    trace.push(format!("{result:?}"));
}

fn run_responder(calls: &[Call], party: Party) -> Vec<String> {
    let config = if party == Party::Manager { Config::manager() } else { Config::analyzer() };
    let mut machine = Responder::new(Arc::new(config), T0);
    let mut trace = Vec::new();
    let mut now = T0;
    for call in calls {
        match call {
            Call::Timeout(seconds) => now = secs(*seconds),
            Call::Decide(which) => trace.push(format!(
                "{:?}",
                match which {
                    0 => machine.accept_connect(now),
                    1 => machine.refuse_connect(now, Status::FORBIDDEN),
                    2 => machine.tls_started(now),
                    3 => machine.tls_failed(),
                    4 => machine.accept_channel(now),
                    _ => machine.refuse_channel(now, Status::OK),
                }
            )),
            Call::Close => machine.close(),
            Call::Urgent => trace.push(format!("{:?}", machine.handle_urgent_data())),
            Call::Drain => drop(said(&mut machine, now, &mut trace)),
            _ => {}
        }
        stream(&mut machine, now, call, &mut trace);
    }
    said(&mut machine, now, &mut trace);
    trace
}

fn run_initiator(calls: &[Call], role: DataRole) -> Vec<String> {
    let mut machine = Initiator::new(Arc::new(Config::analyzer()), host("M"), role, T0);
    let mut trace = Vec::new();
    let mut now = T0;
    for call in calls {
        match call {
            Call::Timeout(seconds) => now = secs(*seconds),
            Call::Decide(0..3) => trace.push(format!("{:?}", machine.tls_started(now))),
            Call::Decide(_) => trace.push(format!("{:?}", machine.tls_failed())),
            Call::Close => machine.close(),
            Call::Urgent => trace.push(format!("{:?}", machine.handle_urgent_data())),
            Call::Drain => drop(said(&mut machine, now, &mut trace)),
            _ => {}
        }
        stream(&mut machine, now, call, &mut trace);
    }
    said(&mut machine, now, &mut trace);
    trace
}

fn run_sender(calls: &[Call]) -> Vec<String> {
    let config = Config::builder(Party::Analyzer)
        .with_window(4.try_into().unwrap())
        .with_limits(Limits::default().with_body(2000))
        .build()
        .unwrap();
    let mut machine: Sender = sender(config);
    let mut trace = Vec::new();
    let mut now = T0;
    for call in calls {
        match call {
            Call::Timeout(seconds) => now = secs(*seconds),
            Call::Send(len) => {
                let free = machine.free_window();
                let sent = machine.send_alert(now, &MediaType::IDEF_ALERT, &vec![b'x'; *len]);
                assert!(sent.is_err() || free > 0);
                trace.push(format!("{sent:?}"));
            }
            Call::Finish => machine.finish(now),
            Call::Close => machine.close(),
            Call::Urgent => trace.push(format!("{:?}", machine.handle_urgent_data())),
            Call::Drain => drop(said(&mut machine, now, &mut trace)),
            _ => {}
        }
        stream(&mut machine, now, call, &mut trace);
        assert!(machine.unconfirmed().count() <= 4);
    }
    said(&mut machine, now, &mut trace);
    trace
}

fn run_receiver(calls: &[Call]) -> Vec<String> {
    let config = Config::builder(Party::Manager)
        .with_accept(vec![MediaType::IDEF_ALERT])
        .with_limits(Limits::default().with_unanswered(3))
        .build()
        .unwrap();
    let mut machine = receiver(config);
    let (mut trace, mut ids) = (Vec::new(), Vec::new());
    let mut now = T0;
    for call in calls {
        match call {
            Call::Timeout(seconds) => now = secs(*seconds),
            Call::Respond(at, code) => {
                if let Some(id) = ids.get(*at) {
                    trace.push(format!("{:?}", machine.respond(now, *id, status(*code))));
                }
            }
            Call::Finish => machine.finish(now),
            Call::Close => machine.close(),
            Call::Urgent => trace.push(format!("{:?}", machine.handle_urgent_data())),
            Call::Drain => {
                let events = said(&mut machine, now, &mut trace);
                ids.extend(contents(&events).into_iter().map(|(id, _)| id));
            }
            _ => {}
        }
        stream(&mut machine, now, call, &mut trace);
        assert!(machine.unanswered() <= 60);
    }
    said(&mut machine, now, &mut trace);
    trace
}

fn run_proxy(calls: &[Call]) -> Vec<String> {
    let mut machine = Proxy::new(Arc::new(Config::manager()), Arc::from([host("P")]), T0);
    let mut trace = Vec::new();
    let mut now = T0;
    for (n, call) in calls.iter().enumerate() {
        let side = if n % 3 == 0 { Side::Responder } else { Side::Initiator };
        let result = match call {
            Call::Input(octets) => machine.handle_input(now, side, octets),
            Call::Eof(_) => machine.handle_eof(now, side, Eof::Closed),
            Call::Timeout(seconds) => {
                now = secs(*seconds);
                machine.handle_timeout(now)
            }
            Call::Decide(0..2) => machine.accept(now).map_err(Error::from),
            Call::Decide(2..4) => machine.dialled(now).map_err(Error::from),
            Call::Decide(4) => machine.dial_failed(now).map_err(Error::from),
            Call::Decide(_) => machine.refuse(now, Status::FORBIDDEN).map_err(Error::from),
            Call::Close => {
                machine.close();
                Ok(())
            }
            _ => Ok(()),
        };
        trace.push(format!("{result:?}"));
        loop {
            let output = machine.poll_output(now);
            trace.push(format!("{output:?}"));
            if matches!(output, Output::Timeout(_)) {
                break;
            }
        }
    }
    trace
}

proptest! {
    #[test]
    fn no_order_of_calls_panics_and_the_same_calls_give_the_same_trace(
        calls in proptest::collection::vec(any_call(), 0..25),
        role in any_role(),
    ) {
        let run = || {
            [
                run_responder(&calls, Party::Manager),
                run_responder(&calls, Party::Analyzer),
                run_initiator(&calls, role),
                run_sender(&calls),
                run_receiver(&calls),
                run_proxy(&calls),
            ]
        };
        let first = run();
        for trace in &first {
            let ends = trace.iter().map(|line| line.matches("Closed {").count()).sum::<usize>();
            prop_assert!(ends <= 2, "the end is said once: {:?}", trace);
        }
        prop_assert_eq!(run(), first);
    }
}
