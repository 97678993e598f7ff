//! Clients and brokers of service-connect, together, on a virtual clock and links that delay and chop.

use obp_proto::crypto::{Authentication, Encryption};
use obp_proto::error::{Error, PeerMisbehaved};
use obp_proto::message::Cryptographic;
use obp_proto::service_connect::{ConnectBrokerEvent, ConnectClientEvent, ServerProof};
use obp_proto::ticket::{Scope, TicketKind};
use obp_proto::{Encoding, Status};
use watchfire_core::{Duration, Instant};
use watchfire_testkit::{LinkConfig, Pair, Stop};

use crate::nodes::{ACCOUNT, BrokerNode, ClientNode, Door, Job, PIN, broker_config, client_config, keys, unix};

fn link() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(20), max_piece: 7, ..LinkConfig::default() }
}

fn run(client: ClientNode, broker: BrokerNode) -> Pair<ClientNode, BrokerNode> {
    let mut pair = Pair::new(client, broker, link(), 1);
    let stop = pair.run_until(Instant::from_secs(100 * 24 * 3600));
    assert_ne!(stop, Stop::Runaway);
    assert!(pair.a.jobs.is_empty() && pair.a.machine.is_none(), "the client is not done: {stop:?} {:?}", pair.a.told);
    pair
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn bound_by_pin_refreshed_and_unbound_in_every_encoding() {
    for encoding in Encoding::ALL {
        let mut config = client_config();
        config.encoding = encoding;
        let jobs = [Job::BindByPin("q80370 1ra606 f04b"), Job::BindByPin(PIN), Job::Refresh, Job::Unbind];
        let pair = run(ClientNode::new(config, &jobs), BrokerNode::new(broker_config(), Door::Shut));
        let [wrong, ConnectClientEvent::Bound(first), ConnectClientEvent::Bound(second), ConnectClientEvent::Unbound] =
            &pair.a.told[..]
        else {
            panic!("{:?}", pair.a.told)
        };
        // Another PIN, in small letters: the broker's proof does not hold, and the client says nothing more.
        let error = Error::PeerMisbehaved(PeerMisbehaved::WrongProof);
        assert_eq!(wrong, &ConnectClientEvent::Closed { error });
        assert_eq!(first.service.len(), 2);
        assert_eq!(first.management().unwrap().protocol.as_deref(), Some("sxs-connect"));
        assert_ne!(first.management(), second.management(), "keys are new");
        let opened = |key: &Cryptographic| keys().open(key.ticket.as_bytes(), unix(Instant::ZERO)).unwrap();
        let (old, new) = (opened(first.management().unwrap()), opened(second.management().unwrap()));
        assert_eq!((old.binding, &*old.account, old.scope), (new.binding, ACCOUNT, Scope::Management));
        for instance in &second.service {
            let content = opened(instance.cryptographic.as_ref().unwrap());
            assert_eq!(
                (content.scope, content.kind, content.binding),
                (Scope::Query, TicketKind::Binding, old.binding)
            );
            assert!(instance.cryptographic.as_ref().unwrap().expires.is_some());
        }
        assert!(pair.b.pins.is_empty(), "the PIN was used");
        assert!(matches!(pair.b.told.last(), Some(ConnectBrokerEvent::Unbind { account, .. }) if account == ACCOUNT));
    }
}

#[test]
fn a_pin_serves_once() {
    let jobs = [Job::BindByPin(PIN), Job::BindByPin(PIN)];
    let pair = run(ClientNode::new(client_config(), &jobs), BrokerNode::new(broker_config(), Door::Shut));
    let [ConnectClientEvent::Bound(_), ConnectClientEvent::Closed { error }] = &pair.a.told[..] else { panic!() };
    assert_eq!(error, &Error::Refused(Status::REFUSED));
}

#[test]
fn attempts_at_a_pin_run_out() {
    let wrong = Job::BindByPin("1234");
    let mut config = broker_config();
    config.pin_attempts = 3;
    let jobs = [wrong, wrong, wrong, wrong, Job::BindByPin(PIN)];
    let pair = run(ClientNode::new(client_config(), &jobs), BrokerNode::new(config, Door::Shut));
    let errors: Vec<_> = pair
        .a
        .told
        .iter()
        .map(|event| match event {
            ConnectClientEvent::Closed { error } => error.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let mismatch = Error::PeerMisbehaved(PeerMisbehaved::WrongProof);
    let later = Error::Refused(Status::TOO_MANY);
    assert_eq!(errors, [mismatch.clone(), mismatch.clone(), mismatch, later.clone(), later]);
}

#[test]
fn both_readings_of_the_servers_proof_agree_with_themselves_alone() {
    for (ours, theirs) in [
        (ServerProof::Text, ServerProof::Text),
        (ServerProof::Reference, ServerProof::Reference),
        (ServerProof::Text, ServerProof::Reference),
    ] {
        let (mut client, mut broker) = (client_config(), broker_config());
        (client.server_proof, broker.server_proof) = (ours, theirs);
        let pair = run(ClientNode::new(client, &[Job::BindByPin(PIN)]), BrokerNode::new(broker, Door::Shut));
        assert_eq!(matches!(pair.a.told[..], [ConnectClientEvent::Bound(_)]), ours == theirs, "{:?}", pair.a.told);
    }
}

#[test]
fn every_pair_of_algorithms_binds() {
    for authentication in Authentication::KNOWN {
        for encryption in Encryption::KNOWN {
            let mut config = client_config();
            config.authentication = vec![authentication.clone()];
            config.encryption = vec![Encryption::from_label("X"), encryption.clone()];
            let pair = run(
                ClientNode::new(config, &[Job::BindByPin(PIN), Job::Refresh]),
                BrokerNode::new(broker_config(), Door::Shut),
            );
            let [ConnectClientEvent::Bound(_), ConnectClientEvent::Bound(binding)] = &pair.a.told[..] else {
                panic!("{:?}", pair.a.told)
            };
            for key in binding.service.iter().map(|instance| instance.cryptographic.as_ref().unwrap()) {
                assert_eq!((&key.authentication, &key.encryption), (&authentication, &encryption));
            }
        }
    }
}

#[test]
fn nothing_is_selected_that_was_not_named() {
    let mut config = client_config();
    config.authentication = vec![Authentication::from_label("HS1024")];
    let pair =
        run(ClientNode::new(config, &[Job::BindByPin(PIN), Job::Bind]), BrokerNode::new(broker_config(), Door::Open));
    let refused = ConnectClientEvent::Closed { error: Error::Refused(Status::REFUSED) };
    assert_eq!(pair.a.told, [refused.clone(), refused]);
}

#[test]
fn anybody_is_served_where_the_door_is_open_and_such_bindings_have_no_key_of_their_own() {
    let pair = run(ClientNode::new(client_config(), &[Job::Bind]), BrokerNode::new(broker_config(), Door::Open));
    let binding = pair.a.binding.clone().unwrap();
    assert!(binding.management().is_none());
    assert_eq!(binding.service.len(), 2);
    assert!(obp_proto::service_connect::ConnectClient::unbind(pair.a.config.clone(), binding, pair.now).is_err());
}

#[test]
fn nobody_is_served_where_the_door_is_shut_or_the_service_unknown() {
    let pair = run(ClientNode::new(client_config(), &[Job::Bind]), BrokerNode::new(broker_config(), Door::Shut));
    assert_eq!(pair.a.told, [ConnectClientEvent::Closed { error: Error::Refused(Status::REFUSED) }]);
    let config = client_config().into_builder().with_services(vec!["coffee-pot-control".to_owned()]).build().unwrap();
    let pair = run(ClientNode::new(config, &[Job::Bind]), BrokerNode::new(broker_config(), Door::Open));
    assert_eq!(pair.a.told, [ConnectClientEvent::Closed { error: Error::Refused(Status::REFUSED) }]);
}

#[test]
fn a_binding_out_of_band_is_polled_by_the_schedule_until_it_is_confirmed() {
    // Ten minutes every 10 s, an hour every 30 s, then every five minutes: confirmed after two hours.
    let confirmed = secs(2 * 3600);
    let jobs = [Job::Bind, Job::Refresh];
    let pair = run(ClientNode::new(client_config(), &jobs), BrokerNode::new(broker_config(), Door::Ask(confirmed)));
    assert!(matches!(pair.a.told.last(), Some(ConnectClientEvent::Bound(binding)) if binding.management().is_some()));
    let asked = &pair.a.asked[..pair.a.asked.len() - 1]; // the last is the refresh
    let waits: Vec<u64> = asked.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
    let count = |wait: u64| waits.iter().filter(|found| **found == wait).count();
    assert_eq!(waits.len(), count(10) + count(30) + count(300), "{waits:?}");
    assert!(waits.is_sorted());
    // Each poll is late by a round trip, 40 ms.
    assert_eq!((count(10), count(30), count(300)), (60, 120, 10), "{waits:?}");
    assert!(*asked.last().unwrap() >= Instant::ZERO + confirmed);
}

#[test]
fn the_broker_can_slow_polls_down() {
    let mut config = broker_config();
    config.min_retry = secs(300);
    let pair = run(ClientNode::new(client_config(), &[Job::Bind]), BrokerNode::new(config, Door::Ask(secs(1000))));
    let waits: Vec<u64> = pair.a.asked.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
    assert_eq!(waits, [300, 300, 300, 300]);
    assert!(matches!(pair.a.told.last(), Some(ConnectClientEvent::Bound(_))));
    let pending = ConnectClientEvent::Pending { retry: secs(300) };
    assert_eq!(pair.a.told[..4], [pending.clone(), pending.clone(), pending.clone(), pending]);
}

#[test]
fn a_binding_that_is_denied_ends() {
    let pair =
        run(ClientNode::new(client_config(), &[Job::Bind]), BrokerNode::new(broker_config(), Door::Deny(secs(60))));
    assert_eq!(pair.a.told.last(), Some(&ConnectClientEvent::Closed { error: Error::Refused(Status::REFUSED) }));
}

#[test]
fn patience_ends_and_so_does_the_brokers() {
    let mut config = client_config();
    config.patience = Some(secs(3600));
    let pair = run(ClientNode::new(config, &[Job::Bind]), BrokerNode::new(broker_config(), Door::Ask(secs(7200))));
    assert!(matches!(
        pair.a.told.last(),
        Some(ConnectClientEvent::Closed { error: Error::TimedOut("nobody confirmed the binding") })
    ));
    // A client without end to its patience is told after a week that nobody knows of it any more.
    let broker = BrokerNode::new(broker_config(), Door::Ask(secs(30 * 24 * 3600)));
    let pair = run(ClientNode::new(client_config(), &[Job::Bind]), broker);
    assert_eq!(pair.a.told.last(), Some(&ConnectClientEvent::Closed { error: Error::Refused(Status::REFUSED) }));
    let week = secs(7 * 24 * 3600);
    let last = *pair.a.asked.last().unwrap();
    assert!(last >= Instant::ZERO + week && last <= Instant::ZERO + week + secs(3700), "{last:?}");
    assert!(pair.b.told.iter().any(|event| matches!(event, ConnectBrokerEvent::Unconfirmed { .. })));
}

#[test]
fn a_broker_that_signs_nothing_is_believed_only_where_the_client_was_told_to() {
    for accept in [false, true] {
        let mut config = client_config();
        config.accept_unsigned_responses = accept;
        let mut broker = BrokerNode::new(broker_config(), Door::Shut);
        broker.unsigned = true;
        let pair = run(ClientNode::new(config, &[Job::BindByPin(PIN)]), broker);
        match &pair.a.told[..] {
            [ConnectClientEvent::Bound(_)] => assert!(accept),
            [ConnectClientEvent::Closed { error }] => {
                assert!(!accept);
                assert_eq!(error, &Error::PeerMisbehaved(PeerMisbehaved::NotAuthenticated));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn after_the_end_of_a_binding_its_tickets_bind_nothing() {
    // Unbind gives the node no binding to forget: the refresh tries the old ticket.
    let jobs = [Job::BindByPin(PIN), Job::Unbind, Job::Refresh, Job::Unbind];
    let pair = run(ClientNode::new(client_config(), &jobs), BrokerNode::new(broker_config(), Door::Open));
    let refused = ConnectClientEvent::Closed { error: Error::Refused(Status::TICKET_NOT_RECOGNIZED) };
    assert_eq!(pair.a.told[1..], [ConnectClientEvent::Unbound, refused.clone(), refused]);
}

#[test]
fn the_same_seeds_give_the_same_trace() {
    let trace = || {
        let jobs = [Job::BindByPin(PIN), Job::Refresh, Job::Bind, Job::Unbind];
        run(ClientNode::new(client_config(), &jobs), BrokerNode::new(broker_config(), Door::Ask(secs(100)))).trace
    };
    assert_eq!(trace(), trace());
}
