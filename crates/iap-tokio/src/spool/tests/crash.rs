//! What is left after a kill, a copy at a bad moment, damage, and a second process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::{Checkpoint, Settled, Spool, SpoolConfig, SpoolError};
use super::{TempDir, all, number_of, open, records};

const DIR: &str = "IAP_TOKIO_SPOOL_TEST_DIR";

/// Not a test of its own: the process that [`what_was_accepted_survives_kill_9`] kills.
#[test]
#[ignore = "started by another test"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let spool = Spool::open(Path::new(&dir), SpoolConfig::default()).unwrap();
        let mut next = number(spool.checkpoint("test"));
        let mut settled = 0;
        loop {
            let end = next + 1 + next % 97;
            let checkpoint = Checkpoint { source: "test".into(), position: end.to_string().into_bytes() };
            let accepted = spool.append(records(next..end, 700), Some(checkpoint)).await.unwrap();
            next = end;
            // Told only once it is durable, and one write per line, so that what was told is whole.
            println!("accepted {} {end}", accepted.last_seq);
            // Keeps the last thousand or so.
            let up_to = accepted.last_seq.saturating_sub(1000);
            if up_to > settled {
                println!("settling {up_to}");
                spool.settle_all((settled + 1..=up_to).map(|seq| (seq, Settled::Delivered)));
                settled = up_to;
            }
        }
    });
}

fn number(position: Option<Vec<u8>>) -> u64 {
    position.map_or(0, |position| String::from_utf8(position).unwrap().parse().unwrap())
}

#[tokio::test]
async fn what_was_accepted_survives_kill_9() {
    let dir = TempDir::new();
    for round in 0..6u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::tests::crash::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let reading = std::thread::spawn(move || {
            let (mut last_seq, mut end, mut settling, mut begun) = (0, 0, 0, Some(begun));
            for line in lines.map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["accepted", seq, number] => {
                        (last_seq, end) = (seq.parse().unwrap(), number.parse().unwrap());
                        begun.take().map(|begun| begun.send(()));
                    }
                    ["settling", seq] => settling = seq.parse().unwrap(),
                    _ => {}
                }
            }
            (last_seq, end, settling)
        });
        // Killed at some moment of its work, however long it takes to begin.
        let begun = tokio::time::timeout(Duration::from_secs(60), begins).await;
        begun.expect("the child begins in time").expect("the child accepts something");
        tokio::time::sleep(Duration::from_millis(100 + 170 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let (last_seq, end, settling): (u64, u64, u64) = reading.join().unwrap();
        assert!(last_seq > 0, "the child accepted nothing");

        let spool = open(dir.path(), &SpoolConfig::default());
        let out = all(&spool).await;
        let first = out.first().unwrap();
        assert!(first.seq <= settling + 1, "record {} is missing", settling + 1);
        assert!(out.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "a gap");
        // The commit under way when the signal came may be in, too.
        let last = out.last().unwrap();
        assert!(last.seq >= last_seq, "accepted up to {last_seq}, found up to {}", last.seq);
        // Numbers follow the checkpoint without repetition or gap over all rounds.
        assert!(out.iter().all(|one| number_of(&one.record) + 1 == one.seq));
        let position = number(spool.checkpoint("test"));
        assert_eq!(position, last.seq);
        assert!(position >= end);
        spool.close().await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    // The log first: one that is older than the store holds nothing that the store lacks. The other way round would
    // be a state that no crash leaves behind.
    for name in ["lock", "spool.sqlite", "spool.sqlite-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_taken_between_commits_opens_with_everything_accepted() {
    let (dir, other) = (TempDir::new(), TempDir::new());
    let spool = open(dir.path(), &SpoolConfig::default().with_settle_interval(Duration::from_secs(3600)));
    for round in 0..20u64 {
        spool.append(records(round * 50..(round + 1) * 50, 900), None).await.unwrap();
        spool.settle(round * 50 + 1, Settled::Delivered);
        if round % 5 == 4 {
            spool.flush().await.unwrap();
        }
        copy(dir.path(), other.path());
        let crashed = open(other.path(), &SpoolConfig::default());
        let out = all(&crashed).await;
        let saved = (round + 1) / 5 * 5;
        assert_eq!(out.len() as u64, (round + 1) * 50 - saved, "round {round}");
        assert!(out.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        crashed.close().await.unwrap();
    }
}

#[test]
fn a_directory_has_one_spool() {
    let dir = TempDir::new();
    let spool = open(dir.path(), &SpoolConfig::default());
    let error = Spool::open(dir.path(), SpoolConfig::default()).unwrap_err();
    assert_eq!(error, SpoolError::Locked { path: dir.path().to_owned() });
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    drop(spool);
    open(dir.path(), &SpoolConfig::default());
}

#[tokio::test]
async fn another_process_is_kept_out() {
    let dir = TempDir::new();
    let spool = open(dir.path(), &SpoolConfig::default());
    spool.append(records(0..3, 10), None).await.unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::tests::crash::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    assert!(!child.status.success());
    let said = String::from_utf8_lossy(&child.stderr).into_owned() + &String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("Locked"), "{said}");
    assert_eq!(spool.stats().depth, 3);
}

async fn filled(dir: &Path) {
    let spool = open(dir, &SpoolConfig::default());
    for start in (0..2000).step_by(100) {
        spool.append(records(start..start + 100, 900), None).await.unwrap();
    }
    spool.close().await.unwrap();
}

#[tokio::test]
async fn damage_is_an_error_and_never_an_empty_spool() {
    let (dir, other) = (TempDir::new(), TempDir::new());
    filled(dir.path()).await;
    let store = other.path().join("spool.sqlite");
    let whole = std::fs::read(dir.path().join("spool.sqlite")).unwrap();
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), Vec::new()),
        ("noise".into(), vec![0x5A; 10_000]),
        ("cut".into(), whole[..whole.len() / 2].to_vec()),
    ];
    let mut header = whole.clone();
    header[..16].fill(0);
    cases.push(("header".into(), header));
    for (name, octets) in cases {
        copy(dir.path(), other.path());
        std::fs::write(&store, &octets).unwrap();
        let error = Spool::open(other.path(), SpoolConfig::default()).expect_err(&name);
        assert!(matches!(error, SpoolError::Corrupt { .. }), "{name}: {error}");
        assert!(error.to_string().contains("move it aside"), "{error}");
        assert_eq!(std::fs::read(&store).unwrap(), octets, "{name}: it was changed");
    }
    copy(dir.path(), other.path());
    std::fs::remove_file(&store).unwrap();
    let error = Spool::open(other.path(), SpoolConfig::default()).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!store.exists());
}

#[tokio::test]
async fn a_flipped_bit_in_a_record_is_noticed() {
    let dir = TempDir::new();
    filled(dir.path()).await;
    let store = dir.path().join("spool.sqlite");
    let mut octets = std::fs::read(&store).unwrap();
    let place = octets.windows(6).rposition(|six| six == b"......").unwrap();
    octets[place] ^= 1;
    std::fs::write(&store, octets).unwrap();
    let spool = open(dir.path(), &SpoolConfig::default());
    let mut reader = spool.reader();
    let error = loop {
        match reader.next_batch(100, 1 << 20).await {
            Ok(batch) => assert!(batch.iter().all(|one| one.record == super::record(one.seq - 1, 900))),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("not as it was written"), "{error}");
}

#[test]
fn a_format_of_the_future_is_refused() {
    let dir = TempDir::new();
    drop(open(dir.path(), &SpoolConfig::default()));
    drop(open(dir.path(), &SpoolConfig::default()));
    let store = dir.path().join("spool.sqlite");
    let wait = std::time::Instant::now();
    // The dropped spool may still hold the files.
    while wait.elapsed() < Duration::from_millis(200) {
        std::thread::sleep(Duration::from_millis(20));
    }
    rusqlite::Connection::open(&store).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
    let found = Spool::open(dir.path(), SpoolConfig::default()).unwrap_err();
    assert_eq!(found, SpoolError::Format { path: dir.path().to_owned(), found: 9, supported: 1 });
    std::fs::write(dir.path().join("lock"), "iap-spool 8\n").unwrap();
    let found = Spool::open(dir.path(), SpoolConfig::default()).unwrap_err();
    assert_eq!(found, SpoolError::Format { path: dir.path().to_owned(), found: 8, supported: 1 });
}

#[test]
fn somebody_elses_database_is_left_alone() {
    let dir = TempDir::new();
    let store = dir.path().join("spool.sqlite");
    rusqlite::Connection::open(&store).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let before = std::fs::read(&store).unwrap();
    assert!(matches!(Spool::open(dir.path(), SpoolConfig::default()), Err(SpoolError::Corrupt { .. })));
    assert_eq!(std::fs::read(&store).unwrap(), before);
}
