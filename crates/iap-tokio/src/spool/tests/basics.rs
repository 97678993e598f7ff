//! The everyday uses, on disk and in memory.

use std::time::Duration;

use super::super::{Checkpoint, Settled, Spool, SpoolConfig, SpoolError};
use super::{TempDir, all, number_of, numbers, open, record, records};

fn both() -> (TempDir, Vec<Spool>) {
    let dir = TempDir::new();
    let spools = vec![open(dir.path(), &SpoolConfig::default()), Spool::in_memory(SpoolConfig::default()).unwrap()];
    (dir, spools)
}

#[tokio::test]
async fn records_come_out_as_they_went_in_and_in_order() {
    let (_dir, spools) = both();
    for spool in spools {
        let accepted = spool.append(records(0..3, 900), None).await.unwrap();
        assert_eq!((accepted.first_seq, accepted.last_seq, accepted.count()), (1, 3, 3));
        let accepted = spool.append(records(3..500, 900), None).await.unwrap();
        assert_eq!((accepted.first_seq, accepted.last_seq), (4, 500));
        let out = all(&spool).await;
        assert!(out.iter().zip(1..).all(|(one, seq)| one.seq == seq));
        assert!(out.iter().zip(0..).all(|(one, number)| one.record == record(number, 900)));
        assert_eq!((spool.stats().depth, spool.stats().bytes), (500, 500 * 900));
        assert!(spool.stats().oldest_age.is_some());
    }
}

#[tokio::test]
async fn a_batch_obeys_its_limits_but_is_never_empty() {
    let (_dir, spools) = both();
    for spool in spools {
        spool.append(records(0..100, 1000), None).await.unwrap();
        let mut reader = spool.reader();
        assert_eq!(reader.next_batch(7, usize::MAX).await.unwrap().len(), 7);
        assert_eq!(reader.next_batch(100, 5500).await.unwrap().len(), 5);
        assert_eq!(reader.next_batch(0, 0).await.unwrap().len(), 1);
        assert_eq!(number_of(&reader.next_batch(1, 1).await.unwrap()[0].record), 13);
        reader.rewind();
        spool.settle(1, Settled::Delivered);
        spool.settle(3, Settled::Delivered);
        let batch = reader.next_batch(3, usize::MAX).await.unwrap();
        assert!(batch.iter().all(|one| one.seq != 1 && one.seq != 3), "{batch:?}");
        assert_eq!(batch[0].seq, 2);
    }
}

#[tokio::test]
async fn a_reader_waits_for_what_comes() {
    let (_dir, spools) = both();
    for spool in spools {
        let mut reader = spool.reader();
        let waiting = tokio::spawn(async move {
            let batch = reader.next_batch(10, 10_000).await.unwrap();
            (reader, batch)
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        spool.append(records(0..2, 10), None).await.unwrap();
        let (mut reader, batch) = waiting.await.unwrap();
        assert_eq!(batch.len(), 2);
        // A wait that is given up takes nothing with it.
        let short = Duration::from_millis(5);
        assert!(tokio::time::timeout(short, reader.next_batch(1, 1)).await.is_err());
        spool.append(records(2..3, 10), None).await.unwrap();
        assert_eq!(number_of(&reader.next_batch(1, 1).await.unwrap()[0].record), 2);
        let waiting = tokio::spawn(async move { reader.next_batch(1, 1).await });
        spool.close().await.unwrap();
        assert_eq!(waiting.await.unwrap(), Err(SpoolError::Closed));
    }
}

#[tokio::test]
async fn settlements_survive_closing_in_any_order() {
    let dir = TempDir::new();
    let config = SpoolConfig::default();
    let spool = open(dir.path(), &config);
    spool.append(records(0..1000, 300), None).await.unwrap();
    for seq in (1..=1000).filter(|seq| seq % 3 != 0 || *seq < 500) {
        assert!(spool.settle(seq, Settled::Delivered));
        assert!(!spool.settle(seq, Settled::Delivered));
    }
    let (left, bytes) = (numbers(&spool).await, spool.stats().bytes);
    spool.close().await.unwrap();
    let spool = open(dir.path(), &config);
    assert_eq!(numbers(&spool).await, left);
    // Lengths are read with the next write of settlements.
    spool.settle(1000, Settled::Delivered);
    spool.settle(999, Settled::Delivered);
    spool.flush().await.unwrap();
    assert_eq!((spool.stats().depth, spool.stats().bytes), (left.len() as u64 - 1, bytes - 300));
    for one in all(&spool).await {
        spool.settle(one.seq, Settled::Delivered);
    }
    spool.close().await.unwrap();
    let spool = open(dir.path(), &config);
    assert_eq!((spool.stats().depth, spool.stats().bytes), (0, 0));
    assert_eq!(spool.append(records(0..1, 1), None).await.unwrap().first_seq, 1001, "numbers are never used again");
}

#[tokio::test]
async fn the_intakes_position_is_kept_with_the_records() {
    let dir = TempDir::new();
    let spool = open(dir.path(), &SpoolConfig::default());
    assert_eq!(spool.checkpoint("eve"), None);
    for position in [b"1".to_vec(), b"2".to_vec()] {
        let checkpoint = Checkpoint { source: "eve".into(), position };
        spool.append(records(0..1, 10), Some(checkpoint)).await.unwrap();
    }
    let other = Checkpoint { source: "other".into(), position: vec![0, 255] };
    let accepted = spool.append(Vec::new(), Some(other)).await.unwrap();
    assert_eq!((accepted.count(), accepted.first_seq, accepted.last_seq), (0, 3, 2));
    drop(spool);
    let spool = open(dir.path(), &SpoolConfig::default());
    assert_eq!(spool.checkpoint("eve"), Some(b"2".to_vec()));
    assert_eq!(spool.checkpoint("other"), Some(vec![0, 255]));
    let long = Checkpoint { source: "x".repeat(5000), position: Vec::new() };
    assert_eq!(spool.append(Vec::new(), Some(long)).await, Err(SpoolError::Checkpoint));
}

#[tokio::test]
async fn refused_records_are_set_aside_and_can_be_put_back() {
    let (dir, spools) = both();
    for spool in spools {
        spool.append(records(0..10, 100), None).await.unwrap();
        spool.settle(1, Settled::Delivered);
        for (seq, status) in [(3, 415), (2, 400), (7, 413)] {
            assert!(spool.settle(seq, Settled::DeadLetter { status }));
        }
        let letters = spool.dead_letters(0, 10).await.unwrap();
        let brief: Vec<_> = letters.iter().map(|one| (one.seq, one.status, number_of(&one.record))).collect();
        assert_eq!(brief, [(2, 400, 1), (3, 415, 2), (7, 413, 6)]);
        assert!(letters[0].time.elapsed().unwrap() < Duration::from_secs(60));
        assert_eq!(letters[1].record, record(2, 100));
        assert_eq!(spool.dead_letters(2, 1).await.unwrap()[0].seq, 3);
        assert_eq!(spool.dead_letters(u64::MAX, 1).await.unwrap(), []);
        let stats = spool.stats();
        assert_eq!((stats.depth, stats.dead_letters, stats.dead_letter_bytes), (6, 3, 300));
        assert_eq!((stats.delivered, stats.dead_lettered), (1, 3));

        assert_eq!(spool.requeue(vec![7, 2, 99, 0, 7]).await.unwrap(), 2);
        assert_eq!(numbers(&spool).await, [3, 4, 5, 7, 8, 9, 1, 6]);
        assert_eq!(spool.dead_letters(0, 10).await.unwrap().len(), 1);
        let stats = spool.stats();
        assert_eq!((stats.requeued, stats.appended, stats.dead_letters), (2, 10, 1));
        spool.close().await.unwrap();
    }
    let spool = open(dir.path(), &SpoolConfig::default());
    assert_eq!(numbers(&spool).await, [3, 4, 5, 7, 8, 9, 1, 6]);
    assert_eq!(spool.dead_letters(0, 10).await.unwrap()[0].record, record(2, 100));
    assert_eq!(spool.stats().dead_letters, 1);
}

#[tokio::test]
async fn concurrent_appends_share_commits_and_keep_their_own_order() {
    let (_dir, spools) = both();
    for spool in spools {
        let tasks: Vec<_> = (0..50u64)
            .map(|task| {
                let spool = spool.clone();
                tokio::spawn(async move {
                    for part in 0..10 {
                        let number = task * 100 + part;
                        spool.append(records(number..number + 1, 50), None).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut out = numbers(&spool).await;
        for task in 0..50 {
            assert!(out.iter().filter(|number| **number / 100 == task).is_sorted());
        }
        out.sort_unstable();
        assert_eq!(out.len(), 500);
        out.dedup();
        assert_eq!(out.len(), 500);
        assert!(spool.stats().commits < 500, "{:?}", spool.stats());
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_said_by_position() {
    let (_dir, spools) = both();
    for spool in spools {
        let mut batch = records(0..3, 10);
        batch[1] = record(1, (1 << 20) + 1);
        let error = spool.append(batch.clone(), None).await.unwrap_err();
        assert_eq!(error, SpoolError::RecordTooLarge { position: 1, octets: (1 << 20) + 1, limit: 1 << 20 });
        batch[1] = super::super::Record::new("", "x");
        assert!(matches!(spool.append(batch, None).await, Err(SpoolError::ContentType { position: 1, octets: 0 })));
        assert_eq!(spool.stats().depth, 0);
        // The largest that is allowed, and an empty one.
        spool.append(vec![record(7, 1 << 20), super::super::Record::new("x/y", "")], None).await.unwrap();
        let out = all(&spool).await;
        assert_eq!(out[0].record, record(7, 1 << 20));
        assert!(out[1].record.body().is_empty());
    }
}

#[tokio::test]
async fn after_closing_everything_says_closed() {
    let (_dir, spools) = both();
    for spool in spools {
        let other = spool.clone();
        spool.append(records(0..1, 1), None).await.unwrap();
        let mut reader = spool.reader();
        let (first, second) = tokio::join!(spool.close(), other.close());
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert_eq!(other.append(records(0..1, 1), None).await, Err(SpoolError::Closed));
        assert_eq!(other.flush().await, Err(SpoolError::Closed));
        assert_eq!(other.dead_letters(0, 1).await, Err(SpoolError::Closed));
        assert_eq!(reader.next_batch(1, 1).await, Err(SpoolError::Closed));
        assert_eq!(other.close().await, Ok(()));
    }
}
