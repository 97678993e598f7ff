//! Caps, age, memory, space: what happens at each limit.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::{Checkpoint, OnFull, Settled, Spool, SpoolConfig, SpoolError};
use super::{TempDir, all, number_of, numbers, open, records};

#[tokio::test]
async fn a_full_spool_that_blocks_goes_on_when_there_is_room() {
    let dir = TempDir::new();
    let config = SpoolConfig::default().with_max_bytes(10_000).with_max_record(1000);
    for spool in [open(dir.path(), &config), Spool::in_memory(config.clone()).unwrap()] {
        spool.append(records(0..9, 1000), None).await.unwrap();
        let (one, two) = (spool.clone(), spool.clone());
        let first = tokio::spawn(async move { one.append(records(9..13, 1000), None).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        // This one would fit, but must not overtake.
        let second = tokio::spawn(async move { two.append(records(13..14, 1000), None).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!((first.is_finished(), second.is_finished(), spool.stats().waiting), (false, false, 2));
        spool.settle_all((1..=2).map(|seq| (seq, Settled::Delivered)));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!first.is_finished());
        spool.settle_all((3..=4).map(|seq| (seq, Settled::Delivered)));
        assert_eq!(first.await.unwrap().unwrap().first_seq, 10);
        assert_eq!(second.await.unwrap().unwrap().first_seq, 14);
        assert_eq!(numbers(&spool).await, (4..14).collect::<Vec<_>>());
        assert_eq!(spool.stats().dropped.total(), 0);

        // Giving up the wait takes the append back; closing ends it.
        let wait = tokio::time::timeout(Duration::from_millis(10), spool.append(records(14..15, 1000), None));
        assert!(wait.await.is_err());
        let one = spool.clone();
        let waiting = tokio::spawn(async move { one.append(records(15..16, 1000), None).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        spool.close().await.unwrap();
        assert_eq!(waiting.await.unwrap(), Err(SpoolError::Closed));
        let never = Spool::in_memory(config.clone()).unwrap().append(records(0..11, 1000), None).await;
        assert_eq!(never, Err(SpoolError::BatchTooLarge { octets: 11_000, limit: 10_000 }));
    }
    assert_eq!(numbers(&open(dir.path(), &config)).await, (4..14).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropping_the_oldest_is_counted_and_keeps_the_newest() {
    let dir = TempDir::new();
    let config = SpoolConfig::default().with_max_bytes(160_000).with_max_record(1000).with_on_full(OnFull::DropOldest);
    for spool in [open(dir.path(), &config), Spool::in_memory(config.clone()).unwrap()] {
        for start in (0..1000).step_by(10) {
            spool.append(records(start..start + 10, 1000), None).await.unwrap();
            assert!(spool.stats().bytes <= 160_000);
        }
        let left = numbers(&spool).await;
        assert_eq!(left.last(), Some(&999));
        assert!(left.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        // Groups of a sixteenth: not much more goes than must.
        assert!(left.len() >= 140, "{}", left.len());
        assert_eq!(spool.stats().dropped.oldest, 1000 - left.len() as u64);
        assert!(!spool.settle(1, Settled::Delivered), "it is gone");
        spool.close().await.unwrap();
    }
    let spool = open(dir.path(), &config);
    assert_eq!(numbers(&spool).await.last(), Some(&999));
    assert!(spool.stats().bytes <= 160_000);
}

#[tokio::test]
async fn dropping_the_newest_takes_what_fits() {
    let dir = TempDir::new();
    let config = SpoolConfig::default().with_max_bytes(10_000).with_max_record(1000).with_on_full(OnFull::DropNewest);
    for spool in [open(dir.path(), &config), Spool::in_memory(config.clone()).unwrap()] {
        let checkpoint = |position: &[u8]| Some(Checkpoint { source: "eve".into(), position: position.to_vec() });
        let accepted = spool.append(records(0..25, 1000), checkpoint(b"25")).await.unwrap();
        assert_eq!((accepted.first_seq, accepted.last_seq, accepted.dropped), (1, 10, 15));
        let accepted = spool.append(records(25..26, 1000), checkpoint(b"26")).await.unwrap();
        assert_eq!((accepted.count(), accepted.dropped), (0, 1));
        // What was dropped is done with: the intake must not bring it again.
        assert_eq!(spool.checkpoint("eve"), Some(b"26".to_vec()));
        assert_eq!(spool.stats().dropped.newest, 16);
        spool.settle(1, Settled::Delivered);
        let accepted = spool.append(records(26..28, 900), None).await.unwrap();
        assert_eq!((accepted.count(), accepted.dropped), (1, 1));
        assert_eq!(numbers(&spool).await, [1, 2, 3, 4, 5, 6, 7, 8, 9, 26]);
        spool.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_too_old_is_dropped_and_counted() {
    let dir = TempDir::new();
    let config = SpoolConfig::default().with_max_age(Duration::from_millis(400));
    for spool in [open(dir.path(), &config), Spool::in_memory(config.clone()).unwrap()] {
        spool.append(records(0..5, 100), None).await.unwrap();
        spool.settle(2, Settled::Delivered);
        tokio::time::sleep(Duration::from_millis(250)).await;
        spool.append(records(5..6, 100), None).await.unwrap();
        assert_eq!(spool.stats().depth, 5);
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(numbers(&spool).await, [5]);
        assert_eq!(spool.stats().dropped.expired, 4);
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert_eq!((spool.stats().depth, spool.stats().dropped.expired), (0, 5));
        spool.close().await.unwrap();
    }
    assert_eq!(open(dir.path(), &config).stats().depth, 0);
}

#[tokio::test]
async fn dead_letters_have_limits_of_their_own() {
    let dir = TempDir::new();
    let config = SpoolConfig::default().with_max_dead_letters(5, 350);
    for spool in [open(dir.path(), &config), Spool::in_memory(config.clone()).unwrap()] {
        spool.append(records(0..10, 50), None).await.unwrap();
        spool.append(records(10..13, 150), None).await.unwrap();
        spool.settle_all((1..=10).map(|seq| (seq, Settled::DeadLetter { status: 415 })));
        let letters = spool.dead_letters(0, 100).await.unwrap();
        assert_eq!(letters.iter().map(|one| one.seq).collect::<Vec<_>>(), [6, 7, 8, 9, 10]);
        assert_eq!(spool.stats().dropped.dead_letters, 5);
        spool.settle_all((11..=12).map(|seq| (seq, Settled::DeadLetter { status: 415 })));
        let letters = spool.dead_letters(0, 100).await.unwrap();
        assert_eq!(letters.iter().map(|one| one.seq).collect::<Vec<_>>(), [10, 11, 12]);
        assert_eq!(spool.stats().dead_letter_bytes, 350);
        spool.close().await.unwrap();
    }
}

#[tokio::test]
async fn requeued_records_need_room_like_others() {
    let config = SpoolConfig::default().with_max_bytes(10_000).with_max_record(1000);
    let spool = Spool::in_memory(config).unwrap();
    spool.append(records(0..10, 1000), None).await.unwrap();
    spool.settle(1, Settled::DeadLetter { status: 415 });
    spool.append(records(10..11, 1000), None).await.unwrap();
    assert_eq!(spool.requeue(vec![1]).await, Err(SpoolError::Full { octets: 10_000, limit: 10_000 }));
    assert_eq!(spool.dead_letters(0, 10).await.unwrap().len(), 1);
    spool.settle(2, Settled::Delivered);
    assert_eq!(spool.requeue(vec![1]).await, Ok(1));
    assert_eq!(numbers(&spool).await.last(), Some(&0));
}

#[test]
fn impossible_limits_are_refused() {
    let bad = [
        SpoolConfig::default().with_max_bytes(4095),
        SpoolConfig::default().with_max_record(0),
        SpoolConfig::default().with_max_bytes(4096),
        SpoolConfig::default().with_max_age(Duration::from_millis(1)),
    ];
    for config in bad {
        assert!(matches!(Spool::in_memory(config), Err(SpoolError::InvalidConfig(_))));
    }
}

#[tokio::test]
async fn space_comes_back_after_a_flood() {
    let dir = TempDir::new();
    let spool = open(dir.path(), &SpoolConfig::default());
    let size = || std::fs::metadata(dir.path().join("spool.sqlite")).unwrap().len();
    for start in (0..20_000).step_by(1000) {
        spool.append(records(start..start + 1000, 1000), None).await.unwrap();
    }
    spool.flush().await.unwrap();
    let full = size();
    assert!(full > 16 << 20, "{full}");
    spool.settle_all((1..=20_000).map(|seq| (seq, Settled::Delivered)));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if size() < 8 << 20 {
            return;
        }
    }
    panic!("the file still has {} of {full} octets", size());
}

/// Runs the next one in a process of its own, where no other test takes memory.
#[test]
fn memory_stays_small_while_much_is_spooled() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::tests::limits::memory_child", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "started by another test"]
async fn memory_child() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with("RssAnon"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let Some(before) = resident() else {
        eprintln!("skipped: there is no /proc/self/status here");
        return;
    };
    let dir = TempDir::new();
    let spool = open(dir.path(), &SpoolConfig::default());
    for start in (0..30_000).step_by(500) {
        spool.append(records(start..start + 500, 1000), None).await.unwrap();
    }
    let mut reader = spool.reader();
    let mut read = 0;
    while read < 30_000 {
        for one in reader.next_batch(500, 1 << 20).await.unwrap() {
            assert_eq!(number_of(&one.record), read);
            read += 1;
        }
    }
    assert_eq!(spool.stats().bytes, 30_000_000);
    assert!(spool.stats().cached_bytes <= 4 << 20);
    let grown = resident().unwrap().saturating_sub(before) >> 10;
    assert!(grown < 16, "{grown} MiB for 29 MiB of spooled records");
}

/// A file system of 48 MiB, unmounted afterwards.
struct Small(TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let dir = TempDir::new();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_fails_appends_loses_nothing_and_recovers() {
    let Some(small) = Small::mount() else {
        eprintln!("SKIPPED: a_full_disk_fails_appends_loses_nothing_and_recovers: no permission to mount a tmpfs");
        return;
    };
    let filler = small.path().join("filler");
    std::fs::write(&filler, vec![0; 12 << 20]).unwrap();
    let config = SpoolConfig::default();
    let spool = open(&small.path().join("spool"), &config);
    let mut accepted = 0;
    let error = loop {
        match spool.append(records(accepted..accepted + 50, 1000), None).await {
            Ok(_) => accepted += 50,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::DiskFull { .. }) && error.is_transient(), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    assert!(accepted > 1000 && spool.stats().failed_commits == 1);
    let checkpoint = Some(Checkpoint { source: "eve".into(), position: vec![1] });
    spool.append(records(accepted..accepted + 50, 1000), checkpoint).await.unwrap_err();
    assert_eq!(spool.checkpoint("eve"), None, "not without its records");
    assert_eq!(numbers(&spool).await, (0..accepted).collect::<Vec<_>>());

    // Settling goes on: it makes the room.
    let third = accepted / 3;
    spool.settle_all((1..=third).map(|seq| (seq, Settled::Delivered)));
    spool.flush().await.unwrap();
    let more = accepted..accepted + 50;
    spool.append(records(more.clone(), 1000), None).await.unwrap();

    // And when somebody else makes it.
    let mut last = more.end;
    while spool.append(records(last..last + 50, 1000), None).await.is_ok() {
        last += 50;
    }
    std::fs::remove_file(&filler).unwrap();
    let start = Instant::now();
    while let Err(error) = spool.append(records(last..last + 50, 1000), None).await {
        // The reserve is looked for once a second.
        assert!(error.is_transient() && start.elapsed() < Duration::from_secs(10), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    last += 50;
    assert!(small.path().join("spool/reserve").exists());
    assert_eq!(numbers(&spool).await, (third..last).collect::<Vec<_>>());
    spool.close().await.unwrap();
    let spool = open(&small.path().join("spool"), &config);
    assert_eq!(
        all(&spool).await.iter().map(|one| number_of(&one.record)).collect::<Vec<_>>(),
        (third..last).collect::<Vec<_>>()
    );
}
