//! Every value of `Timeouts`, on a virtual clock: a microsecond before nothing happens, and then it does.

use std::sync::Arc;

use iap_proto::{CloseReason, Config, DataRole, Error, MediaType, Party, Timeouts};
use watchfire_core::{Duration, Instant, Machine};

use crate::support::*;

/// Whether `machine` times out at `at` and not before, as it says itself.
fn times_out<M>(machine: &mut M, at: Instant) -> Said<M::Event>
where
    M: Machine<Transmit = bytes::Bytes, Error = Error>,
    M::Event: Closed + std::fmt::Debug,
{
    assert_eq!(drain(machine, T0).wake, Some(at));
    let reason = machine.timeout_reason();
    assert!(!reason.is_empty());
    machine.handle_timeout(Instant::from_micros(at.as_micros() - 1)).expect("not yet");
    assert!(!machine.is_finished());
    assert_eq!(machine.handle_timeout(at), Err(Error::TimedOut(reason)));
    assert!(machine.is_finished());
    let said = drain(machine, at);
    assert_eq!(close_reason(&said.events), CloseReason::Failed(Error::TimedOut(reason)));
    assert_eq!(said.wake, None);
    assert_eq!(machine.handle_timeout(at + Duration::from_secs(9)), Ok(()), "said once");
    said
}

fn quick() -> Timeouts {
    Timeouts::default()
        .with_setup(Duration::from_secs(20))
        .with_tls_handshake(Duration::from_secs(5))
        .with_ack(Duration::from_secs(7))
        .with_message(Duration::from_secs(11))
}

fn with(party: Party, timeouts: Timeouts) -> Config {
    Config::builder(party).with_timeouts(timeouts).build().unwrap()
}

fn timeouts(config: Config) -> Config {
    config.into_builder().with_timeouts(quick()).build().unwrap()
}

#[test]
fn the_initiators_setup_is_timed_as_a_whole() {
    for (at, when) in [(At::Connect, 20), (At::Upgrade, 20), (At::Tls, 5), (At::Channel, 20)] {
        let mut initiator = initiator_at(timeouts(Config::analyzer()), DataRole::Sender, at);
        let said = times_out(&mut initiator, secs(when));
        assert!(said.octets.is_empty());
    }
}

#[test]
fn the_responders_setup_is_timed_as_a_whole_and_the_peer_told() {
    for at in At::ALL {
        let mut responder = responder_at(timeouts(Config::manager()), at);
        let (when, farewell) = if at == At::Tls { (5, vec![]) } else { (20, answer(408)) };
        let said = times_out(&mut responder, secs(when));
        assert_eq!(said.octets, farewell, "{at:?}: no clear text during the handshake");
    }
}

#[test]
fn slow_octets_do_not_extend_the_setup() {
    let mut responder = responder_at(timeouts(Config::manager()), At::Connect);
    for (n, octet) in CONNECT.iter().enumerate().take(19) {
        let _ = tell(&mut responder, secs(n as u64 + 1), &[*octet]);
    }
    assert_eq!(drain(&mut responder, secs(19)).wake, Some(secs(20)));
    assert!(matches!(responder.handle_timeout(secs(20)), Err(Error::TimedOut(_))));
}

#[test]
fn a_handshake_does_not_outlast_the_setup() {
    let mut responder = responder_at(timeouts(Config::manager()), At::Upgrade);
    let said = tell(&mut responder, secs(18), UPGRADE);
    assert_eq!(said.wake, Some(secs(20)));
    let mut initiator = initiator_at(timeouts(Config::analyzer()), DataRole::Sender, At::Upgrade);
    assert_eq!(tell(&mut initiator, secs(18), SWITCH).wake, Some(secs(20)));
}

#[test]
fn the_answer_timer_follows_the_oldest_message() {
    let mut sender = sender(timeouts(Config::analyzer()));
    assert_eq!(drain(&mut sender, T0).wake, None, "nothing to wait for");
    assert_eq!(sender.timeout_reason(), "");
    let send = |sender: &mut iap_proto::Sender, at| sender.send_alert(at, &MediaType::IDEF_ALERT, b"x").unwrap();
    send(&mut sender, secs(1));
    send(&mut sender, secs(3));
    assert_eq!(drain(&mut sender, secs(3)).wake, Some(secs(8)));
    // Answers come one after the other: while they do, the next has its full time.
    assert_eq!(tell(&mut sender, secs(4), OK).wake, Some(secs(11)));
    let said = times_out(&mut sender, secs(11));
    assert!(said.octets.is_empty());
    assert_eq!(sender.unconfirmed().count(), 1);
}

#[test]
fn a_message_must_come_whole_in_time() {
    let octets = alert(b"body");
    for cut in [1, 20, octets.len() - 6] {
        let mut receiver = receiver(timeouts(Config::manager()));
        assert_eq!(drain(&mut receiver, T0).wake, None);
        let said = tell(&mut receiver, secs(2), &octets[..cut]);
        assert_eq!(said.wake, Some(secs(13)));
        let said = times_out(&mut receiver, secs(13));
        assert_eq!(said.octets, answer(408));
    }
}

#[test]
fn the_message_timer_stops_when_the_message_is_whole() {
    let mut receiver = receiver(timeouts(Config::manager()));
    let said = tell(&mut receiver, secs(2), &alert(b"body"));
    assert_eq!(said.wake, None, "how long the application takes is its own affair");
}

fn idle() -> Config {
    with(Party::Manager, quick().with_idle(Duration::from_secs(60)))
}

#[test]
fn an_idle_sender_is_left_without_a_status_that_would_answer_nothing() {
    let mut receiver = receiver(idle());
    let said = times_out(&mut receiver, secs(60));
    assert!(said.octets.is_empty());
}

#[test]
fn a_sender_that_waits_for_us_is_not_idle() {
    let mut receiver = receiver(idle());
    let said = tell(&mut receiver, secs(10), &alert(b"x"));
    assert_eq!(said.wake, None);
    assert_eq!(receiver.handle_timeout(secs(1000)), Ok(()));
    receiver.respond(secs(1000), contents(&said.events)[0].0, status(200)).unwrap();
    assert_eq!(drain(&mut receiver, secs(1000)).wake, Some(secs(1060)), "it has a minute from our answer on");
    assert_eq!(tell(&mut receiver, secs(1050), b"\r\n").wake, Some(secs(1110)));
    assert_eq!(tell(&mut receiver, secs(1070), b"").wake, Some(secs(1110)), "no octets are no sign of life");
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut initiator = initiator_at(timeouts(Config::analyzer()), DataRole::Sender, At::Connect);
    let _ = tell(&mut initiator, secs(4), OK);
    let said = tell(&mut initiator, secs(2), SWITCH);
    assert_eq!(said.wake, Some(secs(9)), "five seconds after the latest instant seen");
    let mut sender = sender(timeouts(Config::analyzer()));
    sender.send_alert(secs(4), &MediaType::IDEF_ALERT, b"x").unwrap();
    sender.send_alert(secs(2), &MediaType::IDEF_ALERT, b"x").unwrap();
    assert_eq!(tell(&mut sender, secs(2), OK).wake, Some(secs(11)));
}

#[test]
fn the_proxys_timers() {
    use iap_proto::{Proxy, ProxyEvent, Side};
    use watchfire_core::Output;
    let config = with(Party::Manager, quick().with_next_hop(Duration::from_secs(3)));
    for (steps, when, code) in [(0, 20, 408), (1, 20, 408), (2, 3, 504), (3, 3, 504)] {
        let mut proxy = Proxy::new(Arc::new(config.clone()), Arc::from([host("P")]), T0);
        if steps >= 1 {
            proxy.handle_input(T0, Side::Initiator, CONNECT).unwrap();
        }
        if steps >= 2 {
            proxy.accept(T0).unwrap();
        }
        if steps >= 3 {
            proxy.dialled(T0).unwrap();
        }
        let wake = loop {
            if let Output::Timeout(wake) = proxy.poll_output(T0) {
                break wake.unwrap();
            }
        };
        assert_eq!(wake, secs(when), "{steps}");
        assert_eq!(proxy.handle_timeout(Instant::from_micros(wake.as_micros() - 1)), Ok(()));
        let reason = proxy.timeout_reason();
        assert_eq!(proxy.handle_timeout(wake), Err(Error::TimedOut(reason)));
        let Output::Transmit(transmit) = proxy.poll_output(wake) else { panic!() };
        assert_eq!((transmit.to, &transmit.octets[..]), (Side::Initiator, &answer(code)[..]), "{steps}");
        assert!(matches!(proxy.poll_output(wake), Output::Event(ProxyEvent::Closed { .. })));
        assert_eq!(proxy.poll_output(wake), Output::Timeout(None));
    }
}
