use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::testing::TempDir;

fn follow(path: &Path) -> TailOptions {
    TailOptions { follow: true, ..TailOptions::new(path) }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Reads until there is nothing more; the lines and the last position.
fn drain(tail: &mut Tail) -> (Vec<String>, Option<Position>) {
    let (mut lines, mut position) = (Vec::new(), None);
    while let Step::Batch(batch) = tail.step().unwrap() {
        lines.extend(batch.lines.iter().map(|line| String::from_utf8_lossy(&line.octets).into_owned()));
        position = batch.position.or(position);
    }
    (lines, position)
}

fn lines(tail: &mut Tail) -> Vec<String> {
    drain(tail).0
}

#[test]
fn once_takes_the_last_line_without_line_feed() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("f");
    fs::write(&path, "a\nb\nü\nc").unwrap();
    let mut tail = Tail::open(TailOptions::new(&path), None).unwrap();
    let Step::Batch(batch) = tail.step().unwrap() else { panic!() };
    assert_eq!(batch.lines.iter().map(|line| line.offset).collect::<Vec<_>>(), [0, 2, 4]);
    let Step::Batch(batch) = tail.step().unwrap() else { panic!() };
    assert_eq!((batch.lines[0].offset, &batch.lines[0].octets[..]), (7, &b"c"[..]));
    assert_eq!(tail.step(), Ok(Step::End));
    let mut again = Tail::open(TailOptions::new(&path), batch.position).unwrap();
    assert_eq!(again.step(), Ok(Step::End));
    assert!(matches!(Tail::open(TailOptions::new(dir.path().join("none")), None), Err(TailError::Io { .. })));
}

#[test]
fn following_waits_for_the_file_and_for_the_line_feed() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("f");
    let mut tail = Tail::open(follow(&path), None).unwrap();
    assert_eq!(tail.step(), Ok(Step::Idle));
    append(&path, "a\nb");
    assert_eq!(lines(&mut tail), ["a"]);
    append(&path, "c\n");
    assert_eq!(lines(&mut tail), ["bc"]);
}

#[test]
fn rename_and_create_reads_the_old_file_to_its_end_first() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("eve.json");
    let old = dir.path().join("eve.json.1");
    append(&path, "1\n");
    let mut tail = Tail::open(follow(&path), None).unwrap();
    assert_eq!(lines(&mut tail), ["1"]);
    let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
    fs::rename(&path, &old).unwrap();
    writer.write_all(b"2\n").unwrap();
    assert_eq!(lines(&mut tail), ["2"]);
    // logrotate has made the new file, the writer still has the old one.
    File::create(&path).unwrap();
    writer.write_all(b"3\n").unwrap();
    assert_eq!(lines(&mut tail), ["3"]);
    writer.write_all(b"4\nlast words").unwrap();
    append(&path, "5\n");
    assert_eq!(lines(&mut tail), ["4", "last words", "5"]);
}

#[test]
fn copytruncate_reads_the_rest_from_the_copy() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("eve.json");
    append(&path, "first\n");
    let mut tail = Tail::open(follow(&path), None).unwrap();
    assert_eq!(lines(&mut tail), ["first"]);
    append(&path, "second\nthi");
    assert_eq!(lines(&mut tail), ["second"]);
    append(&path, "rd\nfourth\n");
    fs::copy(&path, dir.path().join("eve.json.1")).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert_eq!(lines(&mut tail), ["third", "fourth"]);
    append(&path, "fifth\n");
    assert_eq!(lines(&mut tail), ["fifth"]);
    // Truncated and grown beyond the old end before anybody looked.
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    append(&path, "sixth is longer than what was there\n");
    assert_eq!(lines(&mut tail), ["sixth is longer than what was there"]);
    assert_eq!(tail.lost(), 0);
}

#[test]
fn deleted_and_created_later() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("f");
    append(&path, "1\n");
    let mut tail = Tail::open(follow(&path), None).unwrap();
    assert_eq!(lines(&mut tail), ["1"]);
    append(&path, "2\n");
    fs::remove_file(&path).unwrap();
    assert_eq!(lines(&mut tail), ["2"]);
    assert_eq!(tail.step(), Ok(Step::Idle));
    append(&path, "3\n");
    assert_eq!(lines(&mut tail), ["3"]);
}

#[test]
fn a_link_that_points_elsewhere() {
    let dir = TempDir::new("tail");
    let link = dir.path().join("current");
    let (one, two) = (dir.path().join("log-one"), dir.path().join("log-two"));
    append(&one, "1\n");
    append(&two, "2\n");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let mut tail = Tail::open(follow(&link), None).unwrap();
    assert_eq!(lines(&mut tail), ["1"]);
    append(&one, "1b\n");
    let next = dir.path().join("next");
    std::os::unix::fs::symlink(&two, &next).unwrap();
    fs::rename(&next, &link).unwrap();
    assert_eq!(lines(&mut tail), ["1b", "2"]);
}

#[test]
fn several_rotations_while_nobody_read() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("eve.json");
    append(&path, "1\n2\n");
    let mut tail = Tail::open(TailOptions { batch_lines: 1, ..follow(&path) }, None).unwrap();
    let Step::Batch(batch) = tail.step().unwrap() else { panic!() };
    drop(tail);
    for n in 3..6 {
        for old in (1..4).rev() {
            let from = dir.path().join(format!("eve.json.{old}"));
            if from.exists() {
                fs::rename(from, dir.path().join(format!("eve.json.{}", old + 1))).unwrap();
            }
        }
        fs::rename(&path, dir.path().join("eve.json.1")).unwrap();
        append(&path, &format!("{n}\n"));
    }
    // Not rotated forms of this file.
    append(&dir.path().join("eve.json.bak"), "no\n");
    append(&dir.path().join("eve-tls.json"), "no\n");
    let mut tail = Tail::open(follow(&path), batch.position).unwrap();
    assert_eq!(lines(&mut tail), ["2", "3", "4", "5"]);
    assert_eq!(tail.lost(), 0);
}

#[test]
fn an_inode_that_is_used_again_is_not_taken_for_the_old_file() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("f");
    append(&path, "old line\n");
    let position = drain(&mut Tail::open(follow(&path), None).unwrap()).1.unwrap();
    // In place: the surest way to get the same inode.
    fs::write(&path, "another life\nsecond\n").unwrap();
    let mut tail = Tail::open(follow(&path), Some(position)).unwrap();
    assert_eq!(lines(&mut tail), ["another life", "second"]);
    assert_eq!(tail.lost(), 1);
}

#[test]
fn long_lines_are_skipped_and_named() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("f");
    append(&path, &format!("ok\n{}\nok\n", "x".repeat(3_000_000)));
    let mut tail = Tail::open(TailOptions { limit: 100, ..follow(&path) }, None).unwrap();
    let (mut skipped, mut count) = (Vec::new(), 0);
    while let Step::Batch(batch) = tail.step().unwrap() {
        skipped.extend(batch.skipped);
        count += batch.lines.len();
    }
    assert_eq!((skipped, count), (vec![Skipped { offset: 3, length: 3_000_000 }], 2));
}

#[test]
fn records_over_the_limit_or_cut_off_end_with_an_error() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("f");
    fs::write(&path, b"\0\0\0\x01a{\"ti").unwrap();
    let options = TailOptions { framing: Framing::Records, limit: 1000, ..TailOptions::new(&path) };
    let mut tail = Tail::open(options.clone(), None).unwrap();
    assert!(matches!(tail.step(), Ok(Step::Batch(batch)) if batch.lines.len() == 1));
    assert!(matches!(tail.step(), Err(TailError::RecordTooLong { offset: 5, .. })));
    assert_eq!(tail.step(), Ok(Step::End));
    fs::write(&path, b"\0\0\0\x03ab").unwrap();
    assert!(matches!(Tail::open(options, None).unwrap().step(), Err(TailError::RecordCut { offset: 0, .. })));
}

#[test]
fn a_fifo_is_read_without_positions() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("fifo");
    if !std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: mkfifo cannot be run; FIFOs were not tested");
        return;
    }
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || {
            for text in ["a\nb\n", "c\nd"] {
                OpenOptions::new().write(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        })
    };
    let mut tail = Tail::open(follow(&path), None).unwrap();
    let mut found = Vec::new();
    while found.len() < 4 {
        let Step::Batch(batch) = tail.step().unwrap() else { panic!() };
        assert_eq!(batch.position, None);
        found.extend(batch.lines.iter().map(|line| line.octets.to_vec()));
        if found.len() == 3 {
            // A FIFO has no end of its own; the last words count when the writer has gone.
            continue;
        }
        if found.len() >= 4 {
            break;
        }
    }
    assert_eq!(found, [&b"a"[..], b"b", b"c", b"d"]);
    writer.join().unwrap();
}

#[tokio::test]
async fn the_thread_reads_ahead_and_ends() {
    let dir = TempDir::new("tail");
    let path = dir.path().join("f");
    append(&path, &"line\n".repeat(5000));
    let mut tailer = spawn(TailOptions::new(&path), None, 2).unwrap();
    let mut count = 0;
    while let Some(batch) = tailer.next().await {
        count += batch.unwrap().lines.len();
    }
    assert_eq!(count, 5000);
    let mut tailer = spawn(TailOptions::new(dir.path().join("none")), None, 2).unwrap();
    assert!(matches!(tailer.next().await, Some(Err(TailError::Io { .. }))));
    assert!(tailer.next().await.is_none());
}

/// What may happen to a log and to its reader.
#[derive(Debug, Clone)]
enum Act {
    /// The writer writes so many lines.
    Write(u8),
    /// The writer writes half a line, and the other half with its next line.
    WriteHalf,
    /// logrotate with `create`, the writer follows at once.
    Rename,
    /// logrotate with `create`, the writer goes on with the old file for so many lines.
    RenameLate(u8),
    /// logrotate with `copytruncate`.
    CopyTruncate,
    /// The reader takes so many steps.
    Read(u8),
    /// The reader dies; what it had handed over was stored with its position.
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..6u8).prop_map(Act::Write),
        1 => Just(Act::WriteHalf),
        1 => Just(Act::Rename),
        1 => (0..3u8).prop_map(Act::RenameLate),
        1 => Just(Act::CopyTruncate),
        3 => (1..6u8).prop_map(Act::Read),
        2 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..40)
}

/// A writer and logrotate over one file.
struct Log {
    dir: TempDir,
    writer: File,
    written: usize,
    half: bool,
}

impl Log {
    fn new() -> Self {
        let dir = TempDir::new("schedule");
        let writer = OpenOptions::new().append(true).create(true).open(dir.path().join("eve.json")).unwrap();
        Self { dir, writer, written: 0, half: false }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("eve.json")
    }

    fn write(&mut self, count: u8) {
        for _ in 0..count {
            let text =
                if std::mem::take(&mut self.half) { "\n".to_owned() } else { format!("line {:06}\n", self.written) };
            self.written += 1;
            self.writer.write_all(text.as_bytes()).unwrap();
        }
    }

    fn write_half(&mut self) {
        if !self.half {
            write!(self.writer, "line {:06}", self.written).unwrap();
            self.half = true;
        }
    }

    fn shift(&self) -> PathBuf {
        let name = |n: usize| self.dir.path().join(format!("eve.json.{n}"));
        for n in (1..30).rev().filter(|n| name(*n).exists()) {
            fs::rename(name(n), name(n + 1)).unwrap();
        }
        name(1)
    }

    fn rename(&mut self, late: u8) {
        // A writer that reopens has finished its line.
        if self.half {
            self.write(1);
        }
        fs::rename(self.path(), self.shift()).unwrap();
        let new = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        self.write(late);
        self.writer = new;
    }

    fn copy_truncate(&mut self) {
        if self.half {
            self.write(1);
        }
        // Copies are told apart by their times, which file systems keep to some milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(12));
        fs::copy(self.path(), self.shift()).unwrap();
        self.writer.set_len(0).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(12));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_line_exactly_once_whatever_happens(acts in acts(), batch_lines in 1..5usize) {
        let mut log = Log::new();
        let options = TailOptions { batch_lines, ..follow(&log.path()) };
        let (mut taken, mut position) = (Vec::new(), None);
        let mut tail = Tail::open(options.clone(), None).unwrap();
        let mut read = |tail: &mut Tail, steps: usize, position: &mut Option<Position>| {
            for _ in 0..steps {
                let Step::Batch(batch) = tail.step().unwrap() else { break };
                taken.extend(batch.lines.iter().map(|line| String::from_utf8(line.octets.to_vec()).unwrap()));
                *position = batch.position;
            }
        };
        for act in acts {
            match act {
                Act::Write(count) => log.write(count),
                Act::WriteHalf => log.write_half(),
                Act::Rename => log.rename(0),
                Act::RenameLate(late) => log.rename(late),
                Act::CopyTruncate => log.copy_truncate(),
                Act::Read(steps) => read(&mut tail, steps.into(), &mut position),
                // Before anything was handed over there is nothing to go by: today's file from its start.
                Act::Restart if position.is_none() => {}
                Act::Restart => tail = Tail::open(options.clone(), position.clone()).unwrap(),
            }
        }
        if log.half {
            log.write(1);
        }
        read(&mut tail, 1000, &mut position);
        let wanted: Vec<String> = (0..log.written).map(|n| format!("line {n:06}")).collect();
        prop_assert_eq!(&taken, &wanted);
    }
}
