//! The four deployments, each direct and behind proxies, over links from good to bad. Sections 2, 3, 5 and 6.1.

use iap_proto::{CloseReason, Config, DataRole, Party, TlsRole};
use watchfire_core::Duration;
use watchfire_testkit::{LinkConfig, Node, Pair, Stop, Trace};

use crate::nodes::{Peer, Via};
use crate::support::secs;

/// Who dials and what it says it is: the rows of the table of deployments.
const DEPLOYMENTS: [(Party, DataRole); 4] = [
    (Party::Analyzer, DataRole::Sender),
    (Party::Manager, DataRole::Receiver),
    (Party::Analyzer, DataRole::Receiver),
    (Party::Manager, DataRole::Sender),
];

fn config(party: Party) -> Config {
    // Two of the four rows carry commands.
    let accept = vec![iap_proto::MediaType::IDEF_ALERT];
    Config::builder(party).with_commands(true).with_accept(accept).build().unwrap()
}

fn other(party: Party) -> Party {
    if party == Party::Analyzer { Party::Manager } else { Party::Analyzer }
}

fn alerts() -> Vec<Vec<u8>> {
    (0..100usize).map(|n| format!("<alert n='{n}'>{}</alert>", "\r\n".repeat(n % 7)).into_bytes()).collect()
}

fn links() -> Vec<(&'static str, LinkConfig)> {
    let ms = Duration::from_millis;
    vec![
        ("plain", LinkConfig::default()),
        ("far", LinkConfig { delay: ms(150), jitter: ms(100), max_piece: 0, cut_after: None }),
        ("one octet", LinkConfig { max_piece: 1, ..LinkConfig::default() }),
        ("pieces", LinkConfig { delay: ms(20), jitter: ms(30), max_piece: 50, cut_after: None }),
    ]
}

/// Runs one session to its end and checks all that must hold. Gives the trace.
fn run<B: Node>(
    name: &str,
    party: Party,
    role: DataRole,
    link: &LinkConfig,
    far_end: impl FnOnce(Peer) -> B,
    far: impl FnOnce(&B) -> &Peer,
) -> Trace {
    let (to_send, to_answer) = if role == DataRole::Sender { (alerts(), Vec::new()) } else { (Vec::new(), alerts()) };
    let near = Peer::initiator(config(party), role, to_send);
    let responder = Peer::responder(config(other(party)), to_answer);
    let mut pair = Pair::new(near, far_end(responder), link.clone(), 7);
    let stop = pair.run_until(secs(120));
    let far = far(&pair.b);
    let (sender, receiver) = if role == DataRole::Sender { (&pair.a, far) } else { (far, &pair.a) };
    assert_eq!(stop, Stop::Done, "{name}: {:?} {:?}", sender.reason, receiver.reason);
    assert_eq!(receiver.received, alerts(), "{name}");
    assert_eq!(sender.delivered, alerts(), "{name}");
    assert_eq!(sender.reason, Some(CloseReason::Finished), "{name}");
    assert_eq!(receiver.reason, Some(CloseReason::PeerFinished), "{name}");
    let analyzer = if party == Party::Analyzer { &pair.a } else { far };
    let manager = if party == Party::Analyzer { far } else { &pair.a };
    assert_eq!(analyzer.tls_role, Some(TlsRole::Client), "{name}");
    assert_eq!(manager.tls_role, Some(TlsRole::Server), "{name}");
    pair.trace
}

#[test]
fn alerts_and_commands_arrive_directly() {
    for (party, role) in DEPLOYMENTS {
        for (kind, link) in links() {
            let name = format!("{party:?} dials as {role}, {kind}");
            run(&name, party, role, &link, |peer| peer, |peer| peer);
        }
    }
}

#[test]
fn alerts_and_commands_arrive_through_a_proxy() {
    for (party, role) in DEPLOYMENTS {
        for (kind, link) in links() {
            let name = format!("{party:?} dials as {role}, {kind}, proxy");
            run(&name, party, role, &link, |peer| Via::new("P1", peer, link.clone(), 8), |via| &via.inner);
        }
    }
}

#[test]
fn alerts_and_commands_arrive_through_two_proxies() {
    for (party, role) in DEPLOYMENTS {
        for (kind, link) in links() {
            let name = format!("{party:?} dials as {role}, {kind}, two proxies");
            let chain = |peer| Via::new("P1", Via::new("P2", peer, link.clone(), 9), link.clone(), 8);
            run(&name, party, role, &link, chain, |via| &via.inner.inner);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (_, link) = links().pop().unwrap();
    let again = || run("again", Party::Analyzer, DataRole::Sender, &link, |peer| peer, |peer| peer);
    assert_eq!(again(), again());
}

#[test]
fn a_window_saves_round_trips() {
    let took = |window: usize| {
        let config = config(Party::Analyzer).into_builder().with_window(window.try_into().unwrap()).build().unwrap();
        let near = Peer::initiator(config, DataRole::Sender, alerts());
        let far = Peer::responder(self::config(Party::Manager), []);
        let link = LinkConfig { delay: Duration::from_millis(25), ..LinkConfig::default() };
        let mut pair = Pair::new(near, far, link, 1);
        assert_eq!(pair.run_until(secs(120)), Stop::Done);
        assert_eq!(pair.a.delivered.len(), 100);
        pair.now
    };
    // One hundred alerts, 50 ms there and back: a round trip each with a window of one, two in all with 64.
    let (one, many) = (took(1), took(64));
    assert!(one > secs(5), "{one:?}");
    assert!(many.as_micros() < 600_000, "{many:?}");
}
