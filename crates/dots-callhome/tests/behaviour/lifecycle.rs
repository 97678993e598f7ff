use dots_callhome::body::{AttackStatus, ConflictCause, Lifetime, Status};
use dots_callhome::{ClientEvent, Counters, Judgement, Refusal, Refused, ServerConfig, ServerEvent, Transport};
use watchfire_core::Duration;

use crate::support::{BOTH, Policy, World, attack, scope};

fn granted(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Granted { .. })
}

#[test]
fn a_mitigation_is_asked_granted_reported_and_withdrawn() {
    for transport in BOTH {
        let mut world = World::new(transport);
        world.run(1);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        let asked = world.now;
        let at = world.until(10, granted).unwrap();
        assert!(at - asked < Duration::from_millis(100), "{transport:?}: {:?}", at - asked);
        world.run(10);
        assert_eq!(world.statuses(mid).last(), Some(&Status::SuccessfullyMitigated), "{transport:?}");
        world.client.withdraw(world.now, mid).unwrap();
        world.run(5);
        assert_eq!(world.statuses(mid).last(), Some(&Status::ClientWithdrawn));
        let lifts =
            |world: &World| world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Lift { .. })).count();
        world.run(100);
        assert_eq!(lifts(&world), 0, "still terminating");
        world.run(60);
        assert_eq!(lifts(&world), 1);
        assert_eq!(world.statuses(mid).last(), Some(&Status::Terminated));
        assert!(world.client_events.iter().any(|(_, e)| *e == ClientEvent::Ended { mid }));
        assert_eq!(world.client.mitigations().count(), 0);
        world.run(60);
        assert_eq!(world.server.mitigations().iter().count(), 0);
    }
}

#[test]
fn consent_is_awaited_at_status_one_and_told_by_status_two() {
    let policy = Policy { judgement: Some(Judgement::AskConsent), ..Policy::default() };
    let mut world = World::with(Transport::Datagram, ServerConfig::default(), policy, 1);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(200);
    assert_eq!(world.statuses(mid), [Status::InProgress]);
    let asked = world.server_events.iter().find_map(|(_, e)| match e {
        ServerEvent::ConsentNeeded { id } => Some(*id),
        _ => None,
    });
    assert!(!world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::Enforce { .. })));
    world.server.consent(world.now, asked.unwrap(), true).unwrap();
    world.run(5);
    assert_eq!(world.statuses(mid), [Status::InProgress, Status::SuccessfullyMitigated]);
}

#[test]
fn consent_that_is_refused_withdraws_it() {
    let policy = Policy { judgement: Some(Judgement::AskConsent), ..Policy::default() };
    let mut world = World::with(Transport::Datagram, ServerConfig::default(), policy, 1);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    let id = world.server.mitigations().iter().next().unwrap().0;
    world.server.consent(world.now, id, false).unwrap();
    world.run(5);
    assert_eq!(world.statuses(mid), [Status::InProgress, Status::Withdrawn]);
    assert_eq!(world.client.mitigations().count(), 0);
    assert!(world.server.consent(world.now, id, true).is_err(), "it is answered once");
}

#[test]
fn without_consent_nothing_is_in_force_whatever_else_happens() {
    let policy = Policy { judgement: Some(Judgement::AskConsent), ..Policy::default() };
    let mut world = World::with(Transport::Datagram, ServerConfig::default(), policy, 1);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    // Asked for again, and withdrawn and asked for again.
    world.client.refresh(world.now, mid, None).unwrap();
    world.run(10);
    world.client.withdraw(world.now, mid).unwrap();
    world.run(10);
    let again = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    assert!(!world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::Enforce { .. })));
    let asked = world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::ConsentNeeded { .. })).count();
    assert_eq!(asked, 2, "once for each request");
    let (id, row) = world.server.mitigations().iter().find(|(_, row)| row.mid == again).unwrap();
    assert!(row.awaits_consent);
    world.server.consent(world.now, id, true).unwrap();
    world.run(5);
    assert!(world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::Enforce { id: of, .. } if *of == id)));
}

#[test]
fn legitimate_traffic_is_refused_by_cause_four_at_once_or_later() {
    let policy = Policy { judgement: Some(Judgement::Legitimate), ..Policy::default() };
    let mut world = World::with(Transport::Datagram, ServerConfig::default(), policy, 1);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(30);
    let refused = ClientEvent::Refused { mid, why: Refused::LegitimateTraffic };
    assert_eq!(world.client_events.iter().filter(|(_, e)| *e == refused).count(), 1);
    assert_eq!(world.requests(true).iter().filter(|(_, r)| r == "0.03 mitigate").count(), 1, "not asked again");

    world.server.policy_mut().judgement = None;
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    let id = world.server.mitigations().iter().next().unwrap().0;
    world.server.judge_legitimate(world.now, id).unwrap();
    world.run(5);
    let cause = world.client_events.iter().rev().find_map(|(_, e)| match e {
        ClientEvent::Status { scope } => Some((scope.mid, scope.status, scope.conflict.clone()?.cause)),
        _ => None,
    });
    assert_eq!(cause, Some((Some(mid), Some(Status::Withdrawn), Some(ConflictCause::LegitimateTraffic))));
    world.run(100);
    assert!(world.server_events.iter().any(|(_, e)| *e == ServerEvent::Lift { id }));
}

#[test]
fn a_back_end_that_fails_is_reported_as_status_four() {
    let mut world = World::new(Transport::Datagram);
    world.enforce = Some(false);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    assert_eq!(world.statuses(mid).last(), Some(&Status::ExceededCapability));
    assert!(!world.statuses(mid).contains(&Status::SuccessfullyMitigated));
}

#[test]
fn the_server_grants_what_it_likes_and_the_client_refreshes_in_time() {
    let policy = Policy { most: Some(Lifetime::Seconds(600)), ..Policy::default() };
    let mut world = World::with(Transport::Datagram, ServerConfig::default(), policy, 1);
    let mut scope = attack();
    scope.lifetime = Some(Lifetime::Indefinite);
    let mid = world.client.request_mitigation(world.now, scope).unwrap();
    world.run(7200);
    assert!(
        world
            .client_events
            .iter()
            .any(|(_, e)| matches!(e, ClientEvent::Granted { lifetime: Lifetime::Seconds(600), .. }))
    );
    assert!(!world.client_events.iter().any(|(_, e)| matches!(e, ClientEvent::Ended { .. })));
    let puts = world.requests(true).iter().filter(|(_, r)| r == "0.03 mitigate").count();
    assert!((13..=24).contains(&puts), "{puts} requests in two hours");
    assert_eq!(world.statuses(mid).last(), Some(&Status::SuccessfullyMitigated));
}

#[test]
fn what_nobody_refreshes_ends_like_what_is_withdrawn() {
    let mut world = World::new(Transport::Datagram);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    let id = world.server.mitigations().iter().next().unwrap().0;
    world.client.session_down(world.now);
    world.run(3590 + 5);
    assert_eq!(world.server.mitigations().get(id).unwrap().status, Status::ClientWithdrawn);
    world.run(120);
    assert_eq!(world.server.mitigations().get(id).unwrap().status, Status::Terminated);
    world.run(60);
    assert!(world.server.mitigations().get(id).is_none());
}

#[test]
fn asking_again_while_it_terminates_extends_it_and_the_next_period_is_longer() {
    let mut world = World::new(Transport::Datagram);
    world.run(1);
    let mut scope = attack();
    for (round, period) in [120u64, 240, 300, 300].into_iter().enumerate() {
        if round == 0 {
            world.client.request_mitigation_as(world.now, 7, scope.clone()).unwrap();
            world.run(10);
        }
        let id = world.server.mitigations().find("dz6pHjaADkaFTbjr0JGBpw", 7).unwrap();
        world.client.withdraw(world.now, 7).unwrap();
        world.run(period - 5);
        assert_eq!(world.server.mitigations().get(id).unwrap().status, Status::ClientWithdrawn, "round {round}");
        // Another client machine with the same cuid and certificate: ours does not take a mid twice.
        scope.lifetime = Some(Lifetime::Seconds(3600));
        let request =
            dots_callhome::MitigationRequest::check(scope.clone(), dots_callhome::Profile::Rfc9066, false).unwrap();
        let again = world.server.restore(
            world.now,
            ("client.example", "dz6pHjaADkaFTbjr0JGBpw", 7),
            request,
            Lifetime::DEFAULT,
        );
        assert_eq!(again, None, "an extension, not a new one");
        assert_eq!(world.server.mitigations().get(id).unwrap().status, Status::SuccessfullyMitigated);
        let mut client =
            dots_callhome::ClientConfig::builder("dz6pHjaADkaFTbjr0JGBpw", "server.example").build().unwrap();
        client.echo_heartbeats = true;
        world.client = dots_callhome::Client::new(
            std::sync::Arc::new(client),
            dots_callhome::AnySource,
            [round as u8; 32],
            world.now,
        );
        world.connect();
        world.client.request_mitigation_as(world.now, 7, scope.clone()).unwrap();
        world.run(10);
    }
}

#[test]
fn efficacy_updates_refresh_and_change_nothing_else() {
    let mut world = World::new(Transport::Datagram);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(1000);
    let id = world.server.mitigations().iter().next().unwrap().0;
    assert_eq!(world.server.report_of(world.now, id).unwrap().lifetime, Some(Lifetime::Seconds(2601)));
    world.client.report_efficacy(world.now, mid, AttackStatus::UnderAttack).unwrap();
    world.run(1);
    assert_eq!(world.server.report_of(world.now, id).unwrap().lifetime, Some(Lifetime::Seconds(3600)));
}

#[test]
fn counters_and_the_end_of_the_attack_are_reported() {
    let mut world = World::new(Transport::Datagram);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    let id = world.server.mitigations().iter().next().unwrap().0;
    let counters = Counters { bytes: 134_334_555, bps: 43344, pkts: 333_334_444, pps: 432_432 };
    world.server.report_counters(world.now, id, counters).unwrap();
    world.server.attack_stopped(world.now, id, true).unwrap();
    world.run(5);
    let last = world.client_events.iter().rev().find_map(|(_, e)| match e {
        ClientEvent::Status { scope } => Some(scope.clone()),
        _ => None,
    });
    let last = last.unwrap();
    assert_eq!((last.mid, last.status, last.bytes_dropped), (Some(mid), Some(Status::Stopped), Some(134_334_555)));
    assert_eq!((last.pps_dropped, last.mitigation_start.is_some()), (Some(432_432), true));
}

#[test]
fn a_later_request_for_the_same_target_takes_the_place_of_the_earlier_one() {
    let mut world = World::new(Transport::Datagram);
    let first = world.client.request_mitigation(world.now, scope("203.0.113.0/24", "192.0.2.1/32")).unwrap();
    world.run(10);
    let second = world.client.request_mitigation(world.now, scope("203.0.113.7/32", "192.0.2.2/32")).unwrap();
    world.run(10);
    let mids: Vec<u32> = world.server.mitigations().iter().map(|(_, row)| row.mid).collect();
    assert_eq!(mids, [second]);
    assert!(world.client_events.iter().any(|(_, e)| *e == ClientEvent::Ended { mid: first }));
    assert_eq!(world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Lift { .. })).count(), 1);
}

/// What is in force stays so when what was to take its place is refused, and is asked for again in time.
#[test]
fn a_request_that_is_refused_takes_the_place_of_none() {
    for transport in BOTH {
        let policy = Policy { domain: vec!["192.0.2.0/24".parse().unwrap()], ..Policy::default() };
        let mut world = World::with(transport, ServerConfig::default(), policy, 1);
        let mut lasting = scope("203.0.113.0/24", "192.0.2.1/32");
        lasting.lifetime = Some(Lifetime::Seconds(600));
        let first = world.client.request_mitigation(world.now, lasting).unwrap();
        world.run(10);
        let foreign = scope("203.0.113.7/32", "198.51.100.1/32");
        let second = world.client.request_mitigation(world.now, foreign).unwrap();
        world.run(10);
        let was_refused = |(_, e): &(_, ClientEvent)| matches!(e, ClientEvent::Refused { mid, .. } if *mid == second);
        assert!(world.client_events.iter().any(was_refused), "{transport:?}");
        world.run(1200);
        let mids: Vec<u32> = world.server.mitigations().iter().map(|(_, row)| row.mid).collect();
        assert_eq!(mids, [first], "{transport:?}");
        assert!(!world.client_events.iter().any(|(_, e)| matches!(e, ClientEvent::Ended { .. })), "{transport:?}");
        assert_eq!(world.statuses(first).last(), Some(&Status::SuccessfullyMitigated), "{transport:?}");
        world.client.withdraw(world.now, first).unwrap();
        world.run(200);
        assert_eq!(world.server.mitigations().iter().count(), 0, "{transport:?}");
    }
}

#[test]
fn what_is_left_of_a_lifetime_is_known() {
    let mut world = World::new(Transport::Stream);
    let mut short = attack();
    short.lifetime = Some(Lifetime::Seconds(90));
    let mid = world.client.request_mitigation(world.now, short).unwrap();
    assert_eq!(world.client.remaining(world.now, mid), None, "nothing was granted");
    world.until(10, granted).unwrap();
    assert_eq!(world.client.remaining(world.now, mid), Some(Lifetime::Seconds(90)));
    world.run(40);
    let Some(Lifetime::Seconds(left)) = world.client.remaining(world.now, mid) else { panic!("it has an end") };
    assert!((49..=51).contains(&left), "{left}");
    world.client.refresh(world.now, mid, Some(Lifetime::Seconds(900))).unwrap();
    world.run(10);
    let Some(Lifetime::Seconds(left)) = world.client.remaining(world.now, mid) else { panic!("it has an end") };
    assert!((889..=900).contains(&left), "{left}");
}

#[test]
fn a_busy_server_is_asked_again_after_the_time_it_says() {
    let policy = Policy { refusal: Some(Refusal::Busy(100)), ..Policy::default() };
    let mut world = World::with(Transport::Datagram, ServerConfig::default(), policy, 1);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(50);
    assert!(world.client_events.iter().any(|(_, e)| *e == ClientEvent::Waiting { mid, seconds: 100 }));
    world.server.policy_mut().refusal = None;
    assert_eq!(world.server.mitigations().iter().count(), 0);
    world.run(40);
    assert_eq!(world.server.mitigations().iter().count(), 0, "not before");
    world.run(20);
    assert_eq!(world.server.mitigations().iter().count(), 1);
}

#[test]
fn mids_ascend_and_begin_again_when_nothing_is_active() {
    let mut world = World::new(Transport::Datagram);
    world.client.set_next_mid(3_221_225_471);
    assert_eq!(world.client.request_mitigation(world.now, attack()).unwrap(), 0);
    let other = scope("203.0.113.7/32", "192.0.2.2/32");
    assert_eq!(world.client.request_mitigation(world.now, other.clone()).unwrap(), 1);
    assert!(world.client.request_mitigation_as(world.now, 1, other.clone()).is_err());
    world.client.set_next_mid(3_221_225_471);
    assert_eq!(
        world.client.request_mitigation(world.now, scope("203.0.113.9/32", "192.0.2.2/32")).unwrap(),
        3_221_225_471
    );
}

#[test]
fn mids_do_not_begin_again_while_something_may_be_left_under_an_old_one() {
    let mut world = World::new(Transport::Datagram);
    let last = 3_221_225_470;
    world.client.request_mitigation_as(world.now, last, attack()).unwrap();
    world.run(5);
    world.client.withdraw(world.now, last).unwrap();
    world.run(5);
    // It is withdrawn, but the request might come again.
    assert_eq!(world.client.request_mitigation(world.now, attack()).unwrap(), last + 1);
    world.run(5);
    world.client.withdraw(world.now, last + 1).unwrap();
    world.run(200);
    assert_eq!(world.client.request_mitigation(world.now, attack()).unwrap(), 0);
    world.run(5);
    assert_eq!(world.server.mitigations().iter().filter(|(_, row)| row.is_wanted()).count(), 1);
}
