//! The spool against a list: random uses, reopening and crashes included, must look the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Checkpoint, Record, Settled, Spool, SpoolConfig};
use super::{TempDir, all, open, record};

#[derive(Clone, Debug)]
enum Step {
    Append {
        lengths: Vec<usize>,
        checkpoint: bool,
    },
    Read {
        count: usize,
    },
    Rewind,
    /// Settles a record out of the unsettled ones, by share of the way from the oldest to the newest.
    Settle {
        share: f64,
        dead: bool,
    },
    /// Settles so many from the front.
    SettleFront {
        count: usize,
    },
    Flush,
    Requeue,
    Reopen,
    /// The directory as it is, without closing, is all that is left.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop::collection::vec(0..3000usize, 0..40), any::<bool>())
            .prop_map(|(lengths, checkpoint)| Step::Append { lengths, checkpoint }),
        4 => (1..60usize).prop_map(|count| Step::Read { count }),
        1 => Just(Step::Rewind),
        4 => (0.0..1.0, prop::bool::weighted(0.3)).prop_map(|(share, dead)| Step::Settle { share, dead }),
        2 => (1..80usize).prop_map(|count| Step::SettleFront { count }),
        1 => Just(Step::Flush),
        1 => Just(Step::Requeue),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Default)]
struct Model {
    live: BTreeMap<u64, Record>,
    dead: BTreeMap<u64, (u16, Record)>,
    checkpoint: Option<Vec<u8>>,
    next_seq: u64,
    /// What a reader must still yield: all unsettled from here on.
    position: u64,
    /// Settled since the last flush, and how: a crash may forget these.
    unsure: BTreeSet<u64>,
    unsure_records: BTreeMap<u64, Record>,
}

impl Model {
    fn settle(&mut self, seq: u64, dead: bool) {
        let record = self.live.remove(&seq).unwrap();
        self.unsure.insert(seq);
        self.unsure_records.insert(seq, record.clone());
        if dead {
            self.dead.insert(seq, (415, record));
        }
    }

    fn sure(&mut self) {
        self.unsure.clear();
        self.unsure_records.clear();
    }
}

async fn check(spool: &Spool, model: &Model) {
    let found: Vec<_> = all(spool).await.into_iter().map(|one| (one.seq, one.record)).collect();
    let expected: Vec<_> = model.live.iter().map(|(seq, record)| (*seq, record.clone())).collect();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "the same numbers, other records");
    assert_eq!(spool.checkpoint("model"), model.checkpoint);
    assert_eq!(spool.stats().depth, model.live.len() as u64);
}

async fn run(steps: Vec<Step>, config: SpoolConfig, durable: bool) {
    let (mut dir, mut spool);
    if durable {
        dir = TempDir::new();
        spool = open(dir.path(), &config);
    } else {
        dir = TempDir::new();
        spool = Spool::in_memory(config.clone()).unwrap();
    }
    let mut model = Model { next_seq: 1, position: 1, ..Model::default() };
    let mut reader = spool.reader();
    let mut made = 0;
    for step in steps {
        match step {
            Step::Append { lengths, checkpoint } => {
                let records: Vec<Record> = (made..).zip(&lengths).map(|(n, length)| record(n, *length)).collect();
                made += records.len() as u64;
                let position = made.to_string().into_bytes();
                let saved = checkpoint.then(|| Checkpoint { source: "model".into(), position: position.clone() });
                let accepted = spool.append(records.clone(), saved).await.unwrap();
                assert_eq!(accepted.first_seq, model.next_seq);
                assert_eq!(accepted.count(), records.len() as u64);
                model.live.extend((model.next_seq..).zip(records));
                model.next_seq = accepted.last_seq + 1;
                if checkpoint {
                    model.checkpoint = Some(position);
                }
            }
            Step::Read { count } => {
                let left = model.live.range(model.position..).count();
                if left == 0 {
                    continue;
                }
                let batch = reader.next_batch(count, usize::MAX).await.unwrap();
                assert!(!batch.is_empty() && batch.len() <= count);
                let expected = model.live.range(model.position..).take(batch.len());
                for (one, (seq, record)) in batch.iter().zip(expected) {
                    assert_eq!((one.seq, &one.record), (*seq, record));
                }
                model.position = batch.last().unwrap().seq + 1;
            }
            Step::Rewind => {
                reader.rewind();
                model.position = 1;
            }
            Step::Settle { share, dead } => {
                let at = (model.live.len() as f64 * share) as usize;
                let Some(seq) = model.live.keys().nth(at).copied() else { continue };
                let how = if dead { Settled::DeadLetter { status: 415 } } else { Settled::Delivered };
                assert!(spool.settle(seq, how));
                assert!(!spool.settle(seq, how));
                model.settle(seq, dead);
            }
            Step::SettleFront { count } => {
                let seqs: Vec<u64> = model.live.keys().copied().take(count).collect();
                let settled = spool.settle_all(seqs.iter().map(|seq| (*seq, Settled::Delivered)));
                assert_eq!(settled, seqs.len() as u64);
                seqs.into_iter().for_each(|seq| model.settle(seq, false));
            }
            Step::Flush => {
                spool.flush().await.unwrap();
                model.sure();
                let octets: usize = model.live.values().map(|record| record.body().len().max(16)).sum();
                assert_eq!(spool.stats().bytes, octets as u64);
            }
            Step::Requeue => {
                let letters = spool.dead_letters(0, 1000).await.unwrap();
                model.sure();
                let found: Vec<_> = letters.iter().map(|one| (one.seq, one.status, one.record.clone())).collect();
                let expected: Vec<_> =
                    model.dead.iter().map(|(seq, (status, record))| (*seq, *status, record.clone())).collect();
                assert_eq!(found, expected);
                let Some((seq, (_, record))) = model.dead.pop_last() else { continue };
                assert_eq!(spool.requeue(vec![seq]).await, Ok(1));
                model.live.insert(model.next_seq, record);
                model.next_seq += 1;
            }
            Step::Reopen if durable => {
                spool.close().await.unwrap();
                spool = open(dir.path(), &config);
                reader = spool.reader();
                model.position = 1;
                model.sure();
                check(&spool, &model).await;
            }
            Step::Crash if durable => {
                // Copied while the spool is open and at rest, as a crash would leave it.
                let other = TempDir::new();
                for name in ["lock", "spool.sqlite", "spool.sqlite-wal"] {
                    std::fs::copy(dir.path().join(name), other.path().join(name)).unwrap();
                }
                drop((spool, reader));
                dir = other;
                spool = open(dir.path(), &config);
                // Each settlement of late is either kept or forgotten; nothing else may differ.
                for one in all(&spool).await {
                    if model.unsure.contains(&one.seq) {
                        model.live.insert(one.seq, model.unsure_records[&one.seq].clone());
                        model.dead.remove(&one.seq);
                    }
                }
                reader = spool.reader();
                model.position = 1;
                model.sure();
                check(&spool, &model).await;
            }
            Step::Reopen | Step::Crash => {}
        }
    }
    check(&spool, &model).await;
    spool.close().await.unwrap();
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn on_disk_it_behaves_like_a_list(steps in steps()) {
        // Settlements are written only when asked, so that a copy is never taken in the middle of a write.
        let config = SpoolConfig::default().with_settle_interval(std::time::Duration::from_secs(3600));
        block_on(run(steps, config, true));
    }

    #[test]
    fn on_disk_without_memory_it_behaves_like_a_list(steps in steps()) {
        let config = SpoolConfig::default()
            .with_cache_bytes(0)
            .with_settle_interval(std::time::Duration::from_secs(3600));
        block_on(run(steps, config, true));
    }

    #[test]
    fn in_memory_it_behaves_like_a_list(steps in steps()) {
        block_on(run(steps, SpoolConfig::default(), false));
    }
}
