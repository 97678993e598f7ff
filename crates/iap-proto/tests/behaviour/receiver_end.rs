//! How a receiver ends: finish, close, goodbye, breaking off. Sections 3.5 and 6.7.

use iap_proto::{ApiMisuse, CloseReason, Config, PeerMisbehaved, Receiver};
use watchfire_core::{Eof, Machine as _, StreamMachine as _};

use crate::support::*;

/// A receiver with two contents handed out.
fn with_two() -> (Receiver, Vec<iap_proto::MessageId>) {
    let mut receiver = receiver(Config::manager());
    let said = tell(&mut receiver, T0, &alert(b"x").repeat(2));
    let ids = contents(&said.events).into_iter().map(|(id, _)| id).collect();
    (receiver, ids)
}

#[test]
fn finishing_answers_what_was_handed_out_and_takes_no_more() {
    let (mut receiver, ids) = with_two();
    receiver.finish(T0);
    assert!(!receiver.wants_input());
    assert!(tell(&mut receiver, T0, &alert(b"y")).events.is_empty());
    receiver.respond(T0, ids[1], status(200)).unwrap();
    assert!(!receiver.is_finished());
    receiver.respond(T0, ids[0], status(200)).unwrap();
    let said = drain(&mut receiver, T0);
    assert_eq!(said.octets, OK.repeat(2));
    assert_eq!(close_reason(&said.events), CloseReason::Finished);
}

#[test]
fn finishing_with_nothing_open_ends_at_once() {
    let mut receiver = receiver(Config::manager());
    receiver.finish(T0);
    assert_eq!(close_reason(&drain(&mut receiver, T0).events), CloseReason::Finished);
    assert_eq!(receiver.handle_input(T0, b"x"), Err(ApiMisuse::Finished.into()));
}

#[test]
fn finishing_in_the_middle_of_a_message_does_not_answer_it() {
    let mut receiver = receiver(Config::manager());
    let _ = tell(&mut receiver, T0, &alert(b"body")[..63]);
    receiver.finish(T0);
    let said = drain(&mut receiver, T0);
    assert!(said.octets.is_empty());
    assert_eq!(close_reason(&said.events), CloseReason::Finished);
}

#[test]
fn closing_ends_at_once() {
    let (mut receiver, ids) = with_two();
    receiver.close();
    assert_eq!(close_reason(&drain(&mut receiver, T0).events), CloseReason::Finished);
    assert_eq!(receiver.respond(T0, ids[0], status(200)), Err(ApiMisuse::Finished));
}

#[test]
fn the_peers_goodbye_is_answered_after_its_alerts() {
    let (mut receiver, ids) = with_two();
    assert_eq!(receiver.handle_eof(T0, Eof::Closed), Ok(()));
    assert!(!receiver.is_finished());
    for id in ids {
        receiver.respond(T0, id, status(200)).unwrap();
    }
    let said = drain(&mut receiver, T0);
    assert_eq!(said.octets, OK.repeat(2));
    assert_eq!(close_reason(&said.events), CloseReason::PeerFinished);
}

#[test]
fn goodbye_inside_the_trailer_is_still_between_messages() {
    for cut in 0..=4 {
        let octets = alert(b"x");
        let mut receiver = receiver(Config::manager());
        let said = tell(&mut receiver, T0, &octets[..octets.len() - 4 + cut]);
        receiver.respond(T0, contents(&said.events)[0].0, status(200)).unwrap();
        assert_eq!(receiver.handle_eof(T0, Eof::Closed), Ok(()), "cut {cut}");
        assert_eq!(close_reason(&drain(&mut receiver, T0).events), CloseReason::PeerFinished);
    }
}

#[test]
fn goodbye_inside_a_message_is_an_error_and_the_message_is_not_answered() {
    let octets = alert(b"body");
    for cut in 1..octets.len() - 4 {
        let mut receiver = receiver(Config::manager());
        let _ = tell(&mut receiver, T0, &octets[..cut]);
        assert_eq!(receiver.handle_eof(T0, Eof::Closed), Err(PeerMisbehaved::EarlyEof.into()), "cut {cut}");
        let said = drain(&mut receiver, T0);
        assert!(said.octets.is_empty());
        assert_eq!(close_reason(&said.events), CloseReason::Failed(PeerMisbehaved::EarlyEof.into()));
    }
}

#[test]
fn a_stream_that_breaks_off_ends_at_once_because_nobody_hears_the_answers() {
    let (mut receiver, ids) = with_two();
    assert_eq!(receiver.handle_eof(T0, Eof::Truncated), Err(PeerMisbehaved::EarlyEof.into()));
    let _ = close_reason(&drain(&mut receiver, T0).events);
    assert_eq!(receiver.respond(T0, ids[0], status(200)), Err(ApiMisuse::Finished));
}

#[test]
fn a_stream_that_breaks_off_after_the_goodbye_ends_the_wait() {
    let (mut receiver, _) = with_two();
    receiver.handle_eof(T0, Eof::Closed).unwrap();
    let _ = receiver.handle_eof(T0, Eof::Truncated);
    assert_eq!(close_reason(&drain(&mut receiver, T0).events), CloseReason::Failed(PeerMisbehaved::EarlyEof.into()));
}

#[test]
fn urgent_data_ends_it() {
    let (mut receiver, _) = with_two();
    assert_eq!(receiver.handle_urgent_data(), Err(PeerMisbehaved::UrgentData.into()));
    let said = drain(&mut receiver, T0);
    assert!(said.octets.is_empty());
    let _ = close_reason(&said.events);
}
