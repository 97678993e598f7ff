use dots_callhome::body::Status;
use dots_callhome::{ClientEvent, ServerConfig, ServerEvent, Transport};
use watchfire_core::Duration;

use crate::support::{BOTH, Bad, GOOD, Policy, World, attack};

fn at(loss: u64) -> Bad {
    Bad { loss, duplicates: loss / 2, jitter: Duration::from_millis(loss * 4), ..GOOD }
}

#[test]
fn a_request_lands_within_what_the_timers_allow_at_any_loss_to_fifty_percent() {
    for loss in [0, 10, 20, 30, 40, 50] {
        let mut worst = Duration::ZERO;
        for seed in 0..40 {
            let mut world = World::with(Transport::Datagram, ServerConfig::default(), Policy::default(), seed);
            world.bad(at(loss));
            world.run(1);
            let asked = world.now;
            let mid = world.client.request_mitigation(world.now, attack()).unwrap();
            while world.server.mitigations().iter().count() == 0 {
                world.run(1);
                assert!(world.now - asked < Duration::from_secs(60), "{loss} % {seed}");
            }
            worst = worst.max(world.now - asked);
            world.run(600);
            assert_eq!(world.server.mitigations().iter().count(), 1, "{loss} % {seed}: created once");
            assert!(!world.client_events.iter().any(|(_, e)| matches!(e, ClientEvent::Refused { .. })));
            assert_eq!(world.statuses(mid).last(), Some(&Status::SuccessfullyMitigated), "{loss} % {seed}");
            assert!(!world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::SessionLost { .. })));
        }
        // One repetition each three seconds: n of them fail with a chance of loss^n.
        assert!(worst <= Duration::from_secs(45), "{loss} %: {worst:?}");
    }
}

#[test]
fn a_saturated_uplink_does_not_make_the_client_give_up() {
    // The flood fills what leaves the server's network: nothing comes back, ever; what is asked still arrives.
    let mut world = World::new(Transport::Datagram);
    world.run(5);
    world.to_client = Bad { loss: 100, ..GOOD };
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(600);
    assert_eq!(world.server.mitigations().iter().count(), 1);
    let silent = |world: &World| world.client_events.iter().any(|(_, e)| *e == ClientEvent::SessionSilent);
    assert!(!silent(&world));
    assert!(world.client.has_session());
    // And the server, which hears the client, stays too.
    world.run(7200);
    assert!(!silent(&world));
    assert!(!world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::SessionLost { .. })));
    world.to_client = GOOD;
    assert!(
        world.until(60, |event| matches!(event, ClientEvent::Granted { .. } | ClientEvent::Status { .. })).is_some()
    );
}

#[test]
fn ten_minutes_of_silence_end_the_session_at_the_server_and_not_the_mitigation() {
    for transport in BOTH {
        let mut world = World::new(transport);
        world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(10);
        let began = world.now;
        // A stream that loses everything is a client that is gone.
        world.client.session_down(world.now);
        world.run(600);
        let lost = world.server_events.iter().find(|(_, e)| matches!(e, ServerEvent::SessionLost { .. })).unwrap().0;
        assert!(lost - began <= Duration::from_secs(450), "{:?}", lost - began);
        assert!(lost - began >= Duration::from_secs(440));
        assert_eq!(world.server.mitigations().iter().next().unwrap().1.status, Status::SuccessfullyMitigated);
        world.connect();
        world.run(5);
        assert_eq!(world.server.mitigations().iter().next().unwrap().1.status, Status::SuccessfullyMitigated);
    }
}

#[test]
fn an_idle_client_reports_silence_and_revival_and_keeps_the_session() {
    let mut world = World::new(Transport::Datagram);
    world.run(5);
    world.to_client = Bad { loss: 100, ..GOOD };
    world.run(1000);
    assert_eq!(world.client_events.iter().filter(|(_, e)| *e == ClientEvent::SessionSilent).count(), 1);
    assert!(world.client.has_session());
    world.to_client = GOOD;
    world.run(60);
    assert_eq!(world.client_events.iter().filter(|(_, e)| *e == ClientEvent::SessionRevived).count(), 1);
}

#[test]
fn after_a_reconnection_the_client_asks_again_for_what_the_server_forgot() {
    for transport in BOTH {
        let mut world = World::new(transport);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(10);
        // The server restarts without its state.
        world.server =
            dots_callhome::Server::new(ServerConfig::default().into(), Policy::default(), [9; 32], world.now);
        world.client.session_down(world.now);
        world.run(100);
        world.said.clear();
        world.connect();
        world.run(15);
        assert_eq!(world.server.mitigations().iter().map(|(_, row)| row.mid).collect::<Vec<_>>(), [mid]);
        let requests: Vec<String> = world.requests(true).into_iter().map(|(_, request)| request).collect();
        assert_eq!(requests[0], "0.01 config", "{requests:?}");
        // Notifications come again.
        let id = world.server.mitigations().iter().next().unwrap().0;
        world.client_events.clear();
        world.server.attack_stopped(world.now, id, true).unwrap();
        world.run(5);
        assert_eq!(world.statuses(mid), [Status::Stopped]);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut world = World::with(Transport::Datagram, ServerConfig::default(), Policy::default(), seed);
        world.bad(at(30));
        world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(600);
        world.said
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn streams_may_be_cut_anywhere() {
    let run = |piece| {
        let mut world = World::new(Transport::Stream);
        world.bad(Bad { piece, ..GOOD });
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(10);
        world.client.withdraw(world.now, mid).unwrap();
        world.run(400);
        (world.client_events, world.said)
    };
    let whole = run(usize::MAX);
    assert_eq!(run(1), whole);
    assert_eq!(run(7), whole);
}

#[test]
fn a_clock_that_steps_back_stands_still() {
    let mut world = World::new(Transport::Datagram);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(100);
    use watchfire_core::{Instant, Machine};
    world.client.handle_timeout(Instant::ZERO).unwrap();
    world.server.handle_timeout(Instant::ZERO).unwrap();
    let before = world.said.len();
    world.drain();
    assert_eq!(world.said.len(), before, "nothing was due");
    world.run(1000);
    assert_eq!(world.server.mitigations().iter().count(), 1);
}
