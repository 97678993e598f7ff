//! Client against broker over networks of every badness.

use obp_proto::client::ClientConfig;
use obp_proto::crypto::{Encryption, RustCrypto};
use obp_proto::message::InstanceTransport;
use obp_proto::{Message, Status};
use proptest::prelude::*;

use crate::kit::*;

const GOOD: Network = Network { loss: 0, double: 0, alter: 0, jitter: 0, http_fails: 0 };

/// Asks `count` questions and runs to the end; checks that every answer is the answer to its question.
fn run(network: Network, count: usize, seed: u64, instances: Vec<obp_proto::message::InstanceConnection>) -> World {
    let mut world = World::new(client(instances), broker(), network, seed);
    let mut expected = Vec::new();
    for n in 0..count {
        let request = query_for(&format!("host-{n}.example.com"));
        let id = world.client.query(world.now, request.clone()).unwrap();
        expected.push((format!("{id:?}"), answer_to(&Message::from(request))));
    }
    world.run();
    assert_eq!(world.said.len(), count, "each query is answered or fails, once");
    assert!(world.client.is_empty());
    assert_eq!(world.broker.pending(), 0);
    for (id, answer) in expected {
        if let Ok(said) = &world.said[&id] {
            assert_eq!(*said, answer);
        }
    }
    world
}

fn answered(world: &World) -> usize {
    world.said.values().filter(|said| said.is_ok()).count()
}

fn both() -> Vec<obp_proto::message::InstanceConnection> {
    vec![udp("192.0.2.1:9090", 1), udp("192.0.2.2:9090", 2), http("192.0.2.1:8080", 1)]
}

#[test]
fn a_good_network_needs_one_datagram_each_way() {
    let world = run(GOOD, 50, 1, both());
    assert_eq!((answered(&world), world.asked), (50, 50));
    assert_eq!(world.client.stats().retransmissions, 0);
    assert_eq!((world.client.stats().exchanges, world.broker.stats().datagrams), (0, 50));
}

#[test]
fn every_profile_of_encryption_works_end_to_end() {
    for encryption in Encryption::KNOWN {
        let mut content = content();
        content.encryption = encryption.clone();
        let instance = instance(InstanceTransport::Udp, "192.0.2.1:9090", 1, cryptographic(&content, 1));
        let world = run(GOOD, 3, 1, vec![instance]);
        assert_eq!(answered(&world), 3, "{encryption}");
    }
}

#[test]
fn losses_are_made_good_by_retransmission_and_the_application_is_asked_once() {
    for seed in 0..20 {
        let network = Network { loss: 30, jitter: 20, ..GOOD };
        let world = run(network, 20, seed, both());
        assert_eq!(answered(&world), 20, "seed {seed}");
        assert!(world.client.stats().retransmissions > 0);
    }
    // With one instance, each question reaches the application once, however often it is sent.
    for seed in 0..20 {
        let network = Network { loss: 30, double: 50, jitter: 20, ..GOOD };
        let world = run(network, 20, seed, vec![udp("192.0.2.1:9090", 1)]);
        assert!(world.asked <= 20, "seed {seed}: {} questions", world.asked);
        assert!(world.broker.stats().retransmitted > 0);
    }
}

#[test]
fn with_datagrams_lost_for_good_http_answers() {
    let network = Network { loss: 100, ..GOOD };
    let world = run(network, 5, 1, both());
    assert_eq!(answered(&world), 5);
    assert_eq!(world.client.stats().exchanges, 5);
    // Three datagrams to each of two instances, for each of the queries.
    assert_eq!(world.client.stats().retransmissions, 5 * 2 * 2);
}

#[test]
fn nothing_answers_and_all_queries_fail() {
    let network = Network { loss: 100, http_fails: 100, ..GOOD };
    let world = run(network, 5, 1, both());
    assert_eq!(answered(&world), 0);
    for said in world.said.values() {
        assert_eq!(said.as_ref().unwrap_err(), "the peer cannot be reached: no connection");
    }
    assert_eq!(world.broker.stats().datagrams, 0);
}

#[test]
fn altered_datagrams_never_reach_the_application_and_are_never_answered() {
    let network = Network { alter: 100, ..GOOD };
    for seed in 0..20 {
        let world = run(network, 20, seed, vec![udp("192.0.2.1:9090", 1)]);
        assert_eq!((answered(&world), world.asked), (0, 0), "seed {seed}");
        let stats = world.broker.stats();
        assert_eq!((stats.responses, stats.accepted), (0, 0));
        assert_eq!(stats.malformed + stats.bad_mac + stats.bad_ticket, stats.datagrams);
        assert!(world.trace.iter().all(|line| line.split(' ').nth(1) == Some("client")));
    }
}

#[test]
fn a_validation_and_a_refusal_come_through() {
    let mut world = World::new(client(both()), broker(), GOOD, 1);
    let request = obp_proto::message::ValidateRequest::new("example.com".parse().unwrap(), [vec![0x30, 0x82, 1, 1]]);
    world.client.query(world.now, request).unwrap();
    world.run();
    let said = world.said.values().next().unwrap().as_ref().unwrap();
    assert_eq!(said.status(), Some(Status::VALID));
}

#[test]
fn a_200_is_no_veto_and_everything_else_is() {
    use obp_proto::Status;
    use obp_proto::message::ValidateResponse;
    assert!(!ValidateResponse::new(Status::VALID).is_veto());
    for status in [Status::REVOKED, Status::DANGER, Status::SERVER_FAILURE, Status::TIME_OUT, Status::NOT_IMPLEMENTED] {
        assert!(ValidateResponse::new(status).is_veto(), "{status:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let network = Network { loss: 20, double: 20, alter: 10, jitter: 500, http_fails: 30 };
    let (one, two) = (run(network, 20, 3, both()), run(network, 20, 3, both()));
    assert!(one.trace.len() > 60);
    assert_eq!(one.trace, two.trace);
}

#[test]
fn long_answers_come_in_several_packets() {
    let mut config = broker_config();
    config.max_datagram = 80;
    let mut broker = broker_with(config);
    let mut client =
        client_with(ClientConfig::builder(RustCrypto::shared()).build().unwrap(), [udp("192.0.2.1:9090", 1)]);
    let now = watchfire_core::Instant::ZERO;
    client.query(now, query()).unwrap();
    let (sent, _) = drain_client(&mut client, now);
    watchfire_core::DatagramMachine::handle_datagram(&mut broker, now, CLIENT.parse().unwrap(), &sent[0].payload)
        .unwrap();
    let (_, events, _) = drain(&mut broker, now);
    answer_all(&mut broker, events);
    let (packets, ..) = drain(&mut broker, now);
    assert!(packets.len() > 3);
    for packet in packets.iter().rev() {
        let obp_proto::broker::BrokerTransmit::Datagram(datagram) = packet else { panic!("{packet:?}") };
        assert!(datagram.payload.len() <= 80);
        watchfire_core::DatagramMachine::handle_datagram(&mut client, now, sent[0].to, &datagram.payload).unwrap();
    }
    let (_, events) = drain_client(&mut client, now);
    assert!(matches!(&events[..], [obp_proto::client::ClientEvent::Answer { message, .. }]
        if *message == answer_to(&query().into())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_network_ends_every_query_with_its_own_answer_or_none(
        loss in 0u8..100, double in 0u8..100, alter in 0u8..100, jitter in 0u64..3000, http_fails in 0u8..=100, seed: u64,
    ) {
        run(Network { loss, double, alter, jitter, http_fails }, 6, seed, both());
    }
}
