//! The sender: window, order of answers, verdicts, padding, and the ways it ends. Sections 3.4, 3.5 and 7.4.

use std::num::NonZeroUsize;

use iap_proto::{
    ApiMisuse, CloseReason, Config, Error, Limits, MediaType, Padding, Party, PeerIncompatible, PeerMisbehaved, Sender,
    SenderEvent, Verdict,
};
use watchfire_core::{Eof, Machine as _, StreamMachine as _};

use crate::support::*;

fn window(size: usize) -> Config {
    Config::builder(Party::Analyzer).with_window(NonZeroUsize::new(size).unwrap()).build().unwrap()
}

fn send(sender: &mut Sender, body: &[u8]) -> Result<u64, ApiMisuse> {
    sender.send_alert(T0, &MediaType::IDEF_ALERT, body).map(|id| id.index())
}

fn unconfirmed(sender: &Sender) -> Vec<u64> {
    sender.unconfirmed().map(|id| id.index()).collect()
}

#[test]
fn an_alert_is_framed_and_its_answer_reported() {
    let mut sender = sender(window(1));
    assert_eq!(send(&mut sender, b"body"), Ok(0));
    assert_eq!(drain(&mut sender, T0).octets, alert(b"body"));
    assert_eq!(unconfirmed(&sender), [0]);
    let said = tell(&mut sender, T0, OK);
    let [SenderEvent::Answered { verdict: Verdict::Delivered, status: code, .. }] = said.events[..] else { panic!() };
    assert_eq!(code, status(200));
    assert!(unconfirmed(&sender).is_empty());
}

#[test]
fn a_window_of_one_is_the_literal_reading() {
    let mut sender = sender(window(1));
    assert_eq!(sender.free_window(), 1);
    send(&mut sender, b"a").unwrap();
    assert_eq!(sender.free_window(), 0);
    assert_eq!(send(&mut sender, b"b"), Err(ApiMisuse::WindowFull));
    let _ = tell(&mut sender, T0, OK);
    assert_eq!(sender.free_window(), 1);
    assert_eq!(send(&mut sender, b"b"), Ok(1));
}

#[test]
fn a_full_window_refuses_and_changes_nothing() {
    let mut sender = sender(window(3));
    for n in 0..3 {
        assert_eq!(send(&mut sender, b"x"), Ok(n));
    }
    let before = drain(&mut sender, T0).octets;
    assert_eq!(before, alert(b"x").repeat(3));
    assert_eq!(send(&mut sender, b"x"), Err(ApiMisuse::WindowFull));
    assert!(drain(&mut sender, T0).octets.is_empty());
    assert_eq!(unconfirmed(&sender), [0, 1, 2]);
}

#[test]
fn answers_settle_the_oldest_first_whatever_they_say() {
    let mut sender = sender(window(64));
    for _ in 0..6 {
        send(&mut sender, b"x").unwrap();
    }
    let codes = [200, 415, 503, 202, 400, 200];
    let octets: Vec<u8> = codes.iter().flat_map(|code| answer(*code)).collect();
    let said = tell(&mut sender, T0, &octets);
    assert_eq!(answers(&said.events), (0..6).zip(codes).collect::<Vec<_>>());
    assert!(!sender.is_finished(), "refusals of content do not end the connection");
}

#[test]
fn answers_may_carry_via_lines_and_a_reason() {
    let mut sender = sender(window(64));
    for _ in 0..3 {
        send(&mut sender, b"x").unwrap();
    }
    let octets = b"IAP/0.3 200 OK\r\n\r\nIAP/0.3 200\r\nIAP/0.3 Via: P\r\n\r\nIAP/0.3 200\r\n\r\n";
    assert_eq!(answers(&tell(&mut sender, T0, octets).events).len(), 3);
}

#[test]
fn an_answer_to_nothing_ends_it() {
    let mut idle = sender(window(8));
    let (error, said) = tell_bad(&mut idle, T0, OK);
    assert_eq!(error, PeerMisbehaved::UnsolicitedResponse.into());
    assert!(said.octets.is_empty());
    let mut one = sender(window(8));
    send(&mut one, b"x").unwrap();
    let (_, said) = tell_bad(&mut one, T0, &OK.repeat(2));
    assert_eq!(answers(&said.events), [(0, 200)], "the first was answered all the same");
}

#[test]
fn an_interim_status_is_no_answer() {
    let mut sender = sender(window(8));
    send(&mut sender, b"x").unwrap();
    let (error, _) = tell_bad(&mut sender, T0, &answer(100));
    assert_eq!(error, PeerMisbehaved::UnexpectedStatus(status(100)).into());
    assert_eq!(unconfirmed(&sender), [0]);
}

#[test]
fn requests_from_the_receiver_end_it() {
    for octets in [alert(b"command"), CONNECT.to_vec(), AS_SENDER.to_vec()] {
        let mut sender = sender(window(8));
        let (error, said) = tell_bad(&mut sender, T0, &octets);
        assert!(matches!(error, Error::InvalidMessage(_)));
        assert!(said.octets.is_empty());
    }
}

#[test]
fn an_answer_in_another_version_ends_it() {
    let mut sender = sender(window(8));
    send(&mut sender, b"x").unwrap();
    let (error, _) = tell_bad(&mut sender, T0, b"IAP/0.2 200\r\n\r\n");
    assert!(matches!(error, Error::PeerIncompatible(PeerIncompatible::Version(_))));
    assert_eq!(unconfirmed(&sender), [0]);
}

#[test]
fn finishing_waits_for_the_answers() {
    let mut sender = sender(window(8));
    for _ in 0..2 {
        send(&mut sender, b"x").unwrap();
    }
    sender.finish(T0);
    assert_eq!(send(&mut sender, b"x"), Err(ApiMisuse::Finished));
    assert_eq!(sender.free_window(), 0);
    assert_eq!(tell(&mut sender, T0, OK).events.len(), 1);
    let said = tell(&mut sender, T0, OK);
    assert_eq!(answers(&said.events), [(1, 200)]);
    assert_eq!(close_reason(&said.events), CloseReason::Finished);
    let mut idle = sender_idle();
    idle.finish(T0);
    assert_eq!(close_reason(&drain(&mut idle, T0).events), CloseReason::Finished);
}

fn sender_idle() -> Sender {
    sender(window(8))
}

#[test]
fn finishing_does_not_wait_for_ever() {
    let mut sender = sender(window(8));
    send(&mut sender, b"x").unwrap();
    sender.finish(T0);
    let wake = drain(&mut sender, T0).wake.unwrap();
    assert!(matches!(sender.handle_timeout(wake), Err(Error::TimedOut(_))));
    assert_eq!(unconfirmed(&sender), [0]);
}

#[test]
fn closing_leaves_the_unanswered_unconfirmed() {
    let mut sender = sender(window(8));
    for _ in 0..3 {
        send(&mut sender, b"x").unwrap();
    }
    let _ = tell(&mut sender, T0, OK);
    sender.close();
    assert_eq!(close_reason(&drain(&mut sender, T0).events), CloseReason::Finished);
    assert_eq!(unconfirmed(&sender), [1, 2]);
    assert_eq!(send(&mut sender, b"x"), Err(ApiMisuse::Finished));
    assert_eq!(sender.handle_input(T0, OK), Err(ApiMisuse::Finished.into()));
}

#[test]
fn the_peers_goodbye_ends_it_in_good_order() {
    let mut sender = sender(window(8));
    for _ in 0..2 {
        send(&mut sender, b"x").unwrap();
    }
    let _ = tell(&mut sender, T0, OK);
    assert_eq!(sender.handle_eof(T0, Eof::Closed), Ok(()));
    assert_eq!(close_reason(&drain(&mut sender, T0).events), CloseReason::PeerFinished);
    assert_eq!(unconfirmed(&sender), [1]);
}

#[test]
fn a_stream_that_breaks_off_is_an_error() {
    for (begun, eof) in [(&b""[..], Eof::Truncated), (b"IAP/0.3 2", Eof::Truncated), (b"IAP/0.3 2", Eof::Closed)] {
        let mut sender = sender(window(8));
        send(&mut sender, b"x").unwrap();
        let _ = tell(&mut sender, T0, begun);
        assert_eq!(sender.handle_eof(T0, eof), Err(PeerMisbehaved::EarlyEof.into()));
        let _ = close_reason(&drain(&mut sender, T0).events);
        assert_eq!(unconfirmed(&sender), [0], "half an answer is none");
    }
}

#[test]
fn urgent_data_ends_it() {
    let mut sender = sender(window(8));
    assert_eq!(sender.handle_urgent_data(), Err(PeerMisbehaved::UrgentData.into()));
    let _ = close_reason(&drain(&mut sender, T0).events);
}

#[test]
fn a_body_at_the_limit_goes_out_and_one_above_does_not() {
    let mut sender = sender(window(8).into_builder().with_limits(Limits::default().with_body(4)).build().unwrap());
    assert_eq!(send(&mut sender, b"12345"), Err(ApiMisuse::BodyTooLarge));
    assert!(drain(&mut sender, T0).octets.is_empty());
    assert_eq!(send(&mut sender, b"1234"), Ok(0));
    assert_eq!(drain(&mut sender, T0).octets, alert(b"1234"));
}

#[test]
fn padding_hides_the_length_and_keeps_within_the_limit() {
    let padding = Padding::Bucket(NonZeroUsize::new(16).unwrap());
    let mut sender = sender(
        window(64).into_builder().with_padding(padding).with_limits(Limits::default().with_body(40)).build().unwrap(),
    );
    for (body, on_the_wire) in
        [("<a/>", 16), ("<abcdefghijkl/>", 16), ("<abcdefghijklm/>", 16), ("<abcdefghijklmn/>", 32)]
    {
        send(&mut sender, body.as_bytes()).unwrap();
        let padded = format!("{body:<on_the_wire$}");
        assert_eq!(text(&drain(&mut sender, T0).octets), text(&alert(padded.as_bytes())), "{body}");
    }
    // The next bucket would be above the limit.
    let long = [b'<'; 35];
    send(&mut sender, &long).unwrap();
    assert_eq!(drain(&mut sender, T0).octets, alert(&long));
    // Space would change what these octets mean.
    sender.send_alert(T0, &MediaType::OCTET_STREAM, b"x").unwrap();
    assert_eq!(drain(&mut sender, T0).octets, content("application/octet-stream", b"x"));
}

#[test]
fn output_that_is_not_drained_stops_the_sender() {
    let mut sender =
        sender(window(64).into_builder().with_limits(Limits::default().with_max_buffered(100)).build().unwrap());
    assert_eq!(send(&mut sender, &[b'x'; 100]), Ok(0));
    assert_eq!(sender.free_window(), 0);
    assert_eq!(send(&mut sender, b"x"), Err(ApiMisuse::OutputFull));
    let _ = drain(&mut sender, T0);
    assert_eq!(send(&mut sender, b"x"), Ok(1));
}
