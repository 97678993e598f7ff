//! A link cut at every octet of a session, in either direction: nothing that was answered is lost, and what was not
//! answered is known exactly and arrives on the next connection.

use std::num::NonZeroUsize;

use iap_proto::{Config, DataRole, Party};
use watchfire_testkit::{LinkConfig, Pair, Stop};

use crate::nodes::Peer;
use crate::support::secs;

fn alerts() -> Vec<Vec<u8>> {
    (0..7).map(|n| format!("<alert n='{n}'/>").into_bytes()).collect()
}

/// A session over a pair of links of which one breaks after so many octets.
fn session(analyzer_dials: bool, cut: [Option<usize>; 2], to_send: Vec<Vec<u8>>) -> (Peer, Peer, [usize; 2]) {
    let analyzer = Config::builder(Party::Analyzer).with_window(NonZeroUsize::new(3).unwrap()).build().unwrap();
    let manager = Config::manager();
    let (a, b) = if analyzer_dials {
        (Peer::initiator(analyzer, DataRole::Sender, to_send), Peer::responder(manager, []))
    } else {
        (Peer::initiator(manager, DataRole::Receiver, []), Peer::responder(analyzer, to_send))
    };
    let links = cut.map(|cut_after| LinkConfig { cut_after, ..LinkConfig::default() });
    let mut pair = Pair::with_links(a, b, links, 5);
    assert_eq!(pair.run_until(secs(60)), Stop::Done, "cut at {cut:?}: {:?} {:?}", pair.a.reason, pair.b.reason);
    assert!(pair.now < secs(29), "no timer is needed to notice");
    let sent = pair.octets_sent();
    if analyzer_dials { (pair.a, pair.b, sent) } else { (pair.b, pair.a, sent) }
}

#[test]
fn nothing_answered_is_lost_and_the_rest_arrives_on_the_next_connection() {
    for analyzer_dials in [true, false] {
        let (sender, receiver, whole) = session(analyzer_dials, [None; 2], alerts());
        assert_eq!((sender.delivered, receiver.received), (alerts(), alerts()));
        let mut partly = 0;
        for side in 0..2 {
            for at in 0..whole[side] {
                let mut cut = [None; 2];
                cut[side] = Some(at);
                let (sender, receiver, _) = session(analyzer_dials, cut, alerts());
                let where_ = format!("side {side} cut at {at}, analyzer dials: {analyzer_dials}");
                assert!(receiver.received.starts_with(&sender.delivered), "answered 200 and lost: {where_}");
                assert!(alerts().starts_with(&receiver.received), "{where_}");
                let left = sender.left_over();
                assert_eq!([sender.delivered.clone(), left.clone()].concat(), alerts(), "{where_}");
                partly += usize::from(!sender.delivered.is_empty() && !left.is_empty());

                let (again, second, _) = session(analyzer_dials, [None; 2], left.clone());
                assert_eq!(again.delivered, left, "{where_}");
                // At least once, in order, and twice only what was in flight.
                let twice = receiver.received.len() + second.received.len() - alerts().len();
                assert!(twice <= sender.in_flight.len(), "{where_}");
            }
        }
        assert!(partly > 100, "the cuts fell into the data phase as well: {partly}");
    }
}
