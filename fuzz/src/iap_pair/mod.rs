//! Two ends and up to two proxies over connections that chop, delay and break: what was answered 200 is safe, what was
//! not is known exactly, and all of it arrives on the next connection.

mod end;
mod network;
mod relay;

use std::num::NonZeroUsize;

use iap_proto::{Limits, Party, Config, DataRole, Dialect, Status, Verdict};

use end::{End, Policy};
use network::{Chaos, Network, Node};
use relay::Relay;

/// What a fuzzer's octets mean. Octets that are not there are zero.
struct Script<'a> {
    flags: u8,
    window: u8,
    alerts: u8,
    tempo: u8,
    /// After how many octets each direction of each connection breaks; zero is never.
    cuts: [[u16; 2]; 3],
    chaos: &'a [u8],
}

/// Octets before those that the adversary draws from.
const HEAD: usize = 16;

impl<'a> Script<'a> {
    fn read(data: &'a [u8]) -> Self {
        let octet = |at: usize| data.get(at).copied().unwrap_or(0);
        let word = |at: usize| u16::from_be_bytes([octet(at), octet(at + 1)]);
        Self {
            flags: octet(0),
            window: octet(1),
            alerts: octet(2),
            tempo: octet(3),
            cuts: [[word(4), word(6)], [word(8), word(10)], [word(12), word(14)]],
            chaos: data.get(HEAD..).unwrap_or_default(),
        }
    }

    fn alerts(&self) -> Vec<Vec<u8>> {
        let alert = |n: u8| {
            let fill = self.chaos.get(usize::from(n)).map_or(0, |octet| usize::from(octet % 64));
            format!("<alert n='{n}'>{}</alert>", "\r\n".repeat(fill / 2)).into_bytes()
        };
        (0..self.alerts % 13).map(alert).collect()
    }
}

/// Reads `data` as a script, and runs it.
pub fn run(data: &[u8]) {
    let script = Script::read(data);
    let alerts = script.alerts();
    let (sender, receiver) = session(&script, alerts.clone(), true);
    let again = judge(&alerts, &sender, &receiver);
    // What is left goes over an undisturbed connection.
    let (second, last) = session(&script, again.clone(), false);
    assert_eq!(judge(&again, &second, &last), Vec::<Vec<u8>>::new(), "{:?} {:?}", second.reason, last.reason);
    assert_eq!(last.got.len(), again.len());
}

/// One connection from its first octet to its last; gives the sending and the receiving end.
fn session(script: &Script<'_>, alerts: Vec<Vec<u8>>, adverse: bool) -> (End, End) {
    let flag = |bit: u8| script.flags >> bit & 1 == 1;
    let dialect = if flag(3) { Dialect::V0_5 } else { Dialect::V0_3 };
    let window = NonZeroUsize::new(1 + usize::from(script.window % 8)).expect("at least one");
    let mut chaos = Chaos::new(if adverse { script.chaos } else { &[] }, script.tempo);
    let policy = if adverse { Policy::Moody } else { Policy::Takes };
    let analyzer = Config::builder(Party::Analyzer).with_dialects(vec![dialect]).with_window(window).build().expect("a configuration");
    let mut manager = Config::builder(Party::Manager).with_dialects(vec![dialect]);
    if flag(4) {
        manager = manager.with_limits(Limits::default().with_unanswered(2).with_max_buffered(100));
    }
    let manager = manager.build().expect("a configuration");
    let analyzer_dials = flag(0);
    let (near, far) = if analyzer_dials {
        (End::dial(analyzer, DataRole::Sender, alerts, policy), End::listen(manager, Vec::new(), policy))
    } else {
        (End::dial(manager, DataRole::Receiver, Vec::new(), policy), End::listen(analyzer, alerts, policy))
    };
    let mut nodes = vec![Node::End(Box::new(near))];
    for n in 0..script.flags >> 1 & 3 {
        if n < 2 {
            nodes.push(Node::Relay(Box::new(Relay::new(n, adverse && script.tempo == 77))));
        }
    }
    nodes.push(Node::End(Box::new(far)));
    let cuts = if adverse { script.cuts } else { [[0; 2]; 3] };
    let drops = adverse && flag(5);
    let mut nodes = Network::new(nodes, cuts, drops).run(&mut chaos);
    let far = nodes.pop().and_then(Node::into_end).expect("the last node is an end");
    let near = nodes.swap_remove(0).into_end().expect("the first node is an end");
    if analyzer_dials { (near, far) } else { (far, near) }
}

/// Compares what the two ends believe. Gives what has to be sent again.
fn judge(alerts: &[Vec<u8>], sender: &End, receiver: &End) -> Vec<Vec<u8>> {
    let sent = &alerts[..sender.sent];
    for (at, got) in receiver.got.iter().enumerate() {
        assert_eq!(sent.get(at), Some(&got.body), "contents arrive whole and in order");
    }
    let mut again = Vec::new();
    for (at, status) in sender.answers.iter().enumerate() {
        match receiver.got.get(at) {
            Some(got) => assert_eq!(got.answer, Some(*status), "an answer is that of its message"),
            None => {
                assert_eq!(at, receiver.got.len(), "only the message that was being received is answered for it");
                assert!(!status.is_success(), "answered {status} and lost");
            }
        }
        match status.verdict() {
            Some(Verdict::Delivered) => {}
            Some(Verdict::Rejected) => assert_ne!(*status, Status::OK),
            _ => again.push(alerts[at].clone()),
        }
    }
    let unconfirmed = sender.unconfirmed.unwrap_or(0);
    assert_eq!(unconfirmed, sender.sent - sender.answers.len(), "unconfirmed is what was sent and not answered");
    again.extend_from_slice(&alerts[sender.answers.len()..]);
    again
}

/// Scripts to begin with: every deployment whole, and cut here and there.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for flags in 0..8u8 {
        let tempo = [0, 1, 3, 77][usize::from(flags % 4)];
        for (name, cuts) in [("whole", [0u16; 6]), ("early", [100, 0, 0, 70, 0, 0]), ("late", [0, 190, 0, 0, 700, 0])] {
            let mut octets = vec![flags | if name == "late" { 0x38 } else { 0 }, flags, 9, tempo];
            octets.extend(cuts.iter().flat_map(|cut| cut.to_be_bytes()));
            octets.extend((0u8..40).map(|n| n.wrapping_mul(37).wrapping_add(flags)));
            seeds.push((format!("{name}-{flags}"), octets));
        }
    }
    seeds
}
