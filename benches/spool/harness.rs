//! The measurements: each one command, run in a process of its own by [`all`].

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::stores::{self, NAMES, Outcome, Row, Store};

const BODY: usize = 860;
const PACK: usize = 64 << 10;

/// Makes the records: text of an alert's kind and length, no two alike.
struct Alerts {
    state: u64,
    next_key: u64,
    pack: bool,
}

impl Alerts {
    fn new(store: &str) -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15, next_key: 1, pack: store.ends_with("+pack") }
    }

    fn body(&mut self, out: &mut Vec<u8>) {
        let end = out.len() + BODY;
        let mut field = 0;
        while out.len() < end {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            field += 1;
            out.extend_from_slice(format!("\"field_{field}\":\"{:016x}\",", self.state).as_bytes());
        }
        out.truncate(end);
    }

    /// Rows for `count` records: one each, or as many as fit into 64 KiB together.
    fn rows(&mut self, count: usize) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..count {
            match rows.last_mut() {
                Some((_, value)) if self.pack && value.len() + BODY <= PACK => self.body(value),
                _ => {
                    let mut value = Vec::new();
                    self.body(&mut value);
                    rows.push((self.next_key, value));
                }
            }
            self.next_key += 1;
        }
        rows
    }
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// User and system time of this process, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .map(|rest| rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum())
        .unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

fn disk(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk(&entry.path()),
            Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
            Err(_) => 0,
        })
        .sum()
}

fn number(text: &str) -> Outcome<usize> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

/// Durable commits of `batch` records for three seconds.
pub(crate) fn append(name: &str, dir: &Path, batch: &str) -> Outcome {
    let batch = number(batch)?;
    let mut store = stores::open(name, dir)?;
    let mut alerts = Alerts::new(name);
    let (start, cpu_start) = (Instant::now(), cpu());
    let mut busy = Duration::ZERO;
    let mut count = 0;
    let mut latencies = Vec::new();
    while start.elapsed() < Duration::from_secs(3) {
        let rows = alerts.rows(batch);
        let before = Instant::now();
        store.append(&rows)?;
        latencies.push(before.elapsed());
        busy += before.elapsed();
        count += batch;
    }
    latencies.sort_unstable();
    let cpu = (cpu() - cpu_start).as_secs_f64() * 1e6 / count as f64;
    println!(
        "{:.0} /s, p50 {:.2} ms, p99 {:.2} ms, {cpu:.1} us CPU/record",
        count as f64 / busy.as_secs_f64(),
        latencies[latencies.len() / 2].as_secs_f64() * 1e3,
        latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3,
    );
    Ok(())
}

/// Holds so many MiB, reads them, and dies without closing.
pub(crate) fn fill(name: &str, dir: &Path, mib: &str) -> Outcome {
    let records = (number(mib)? << 20) / BODY;
    let mut store = stores::open(name, dir)?;
    let mut alerts = Alerts::new(name);
    let start = Instant::now();
    for _ in 0..records.div_ceil(256) {
        store.append(&alerts.rows(256))?;
    }
    let wrote = start.elapsed().as_secs_f64();
    let (rss, high) = (status_kib("VmRSS"), status_kib("VmHWM"));
    println!("fill {wrote:.1} s; RSS {} MiB, peak {} MiB; disk {} MiB", rss >> 10, high >> 10, disk(dir) >> 20);
    let (read, octets) = read_all(&mut *store)?;
    println!("read {read:.2} s for {} MiB; peak RSS {} MiB", octets >> 20, status_kib("VmHWM") >> 10);
    std::process::abort()
}

fn read_all(store: &mut dyn Store) -> Outcome<(f64, usize)> {
    let (start, mut from, mut octets) = (Instant::now(), 0, 0);
    loop {
        let rows = store.scan(from, 64)?;
        let Some((last, _)) = rows.last() else { break };
        from = last + 1;
        octets += rows.iter().map(|(_, value)| value.len()).sum::<usize>();
    }
    Ok((start.elapsed().as_secs_f64(), octets))
}

/// Opens what `fill` left behind, then deletes it from the front, 1024 records at a time.
pub(crate) fn reopen(name: &str, dir: &Path) -> Outcome {
    let start = Instant::now();
    let mut store = stores::open(name, dir)?;
    let opened = start.elapsed();
    let first = store.scan(0, 1)?.first().map_or(0, |row| row.0);
    println!("reopen after a kill {:.3} s; peak RSS {} MiB", opened.as_secs_f64(), status_kib("VmHWM") >> 10);
    let (start, cpu_start) = (Instant::now(), cpu());
    let (mut end, mut rounds) = (first, 0);
    while !store.scan(end, 1)?.is_empty() {
        end += 1024;
        store.delete_below(end)?;
        rounds += 1;
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "delete {:.0} records/s, {:.2} us CPU/record; disk {} MiB; peak RSS {} MiB",
        f64::from(rounds) * 1024.0 / took,
        (cpu() - cpu_start).as_secs_f64() * 1e6 / (f64::from(rounds) * 1024.0),
        disk(dir) >> 20,
        status_kib("VmHWM") >> 10,
    );
    Ok(())
}

/// The sensor's day: so many MiB go through, never more than 8192 records waiting.
pub(crate) fn through(name: &str, dir: &Path, mib: &str) -> Outcome {
    let batches = (number(mib)? << 20) / BODY / 256;
    let mut store = stores::open(name, dir)?;
    let mut alerts = Alerts::new(name);
    let (start, cpu_start) = (Instant::now(), cpu());
    let (mut most, mut ends) = (0, VecDeque::new());
    for batch in 0..batches {
        store.append(&alerts.rows(256))?;
        ends.push_back(alerts.next_key);
        if ends.len() > 32 {
            let end = ends.drain(..8).next_back().unwrap_or(0);
            store.delete_below(end)?;
        }
        if batch % 64 == 0 {
            most = most.max(disk(dir));
        }
    }
    let records = (batches * 256) as f64;
    println!(
        "through {:.0} records/s, {:.1} us CPU/record; most disk {} MiB, at the end {} MiB; peak RSS {} MiB",
        records / start.elapsed().as_secs_f64(),
        (cpu() - cpu_start).as_secs_f64() * 1e6 / records,
        most >> 20,
        disk(dir) >> 20,
        status_kib("VmHWM") >> 10,
    );
    Ok(())
}

/// Fills a small file system, and looks at what can still be done, and again when space has returned.
pub(crate) fn full(name: &str, dir: &Path) -> Outcome {
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![0; 8 << 20]).map_err(|error| error.to_string())?;
    let home = dir.join("store");
    let mut store = stores::open(name, &home)?;
    let mut alerts = Alerts::new(name);
    let mut accepted: Vec<u64> = Vec::new();
    let error = loop {
        let rows = alerts.rows(256);
        match store.append(&rows) {
            Ok(()) => accepted.extend(rows.iter().map(|row| row.0)),
            Err(error) => break error,
        }
    };
    println!("full after {} MiB: {error}", (alerts.next_key as usize * BODY) >> 20);
    println!("- read while full: {}", compare(&mut *store, &accepted));
    let half = accepted[accepted.len() / 2];
    println!("- delete while full: {:?}", store.delete_below(half).map(|()| accepted.retain(|key| *key >= half)));
    std::fs::remove_file(&filler).map_err(|error| error.to_string())?;
    let rows = alerts.rows(256);
    let after = store.append(&rows);
    if after.is_ok() {
        accepted.extend(rows.iter().map(|row| row.0));
    }
    println!("- append when 8 MiB are free again, without reopening: {after:?}");
    drop(store);
    match stores::open(name, &home) {
        Ok(mut store) => {
            println!("- after reopening: {}", compare(&mut *store, &accepted));
            println!("- append after reopening: {:?}", store.append(&alerts.rows(256)));
        }
        Err(error) => println!("- reopening: {error}"),
    }
    Ok(())
}

fn compare(store: &mut dyn Store, accepted: &[u64]) -> String {
    match store.scan(0, usize::MAX) {
        Ok(rows) => {
            let keys: Vec<u64> = rows.iter().map(|row| row.0).collect();
            let missing = accepted.iter().filter(|key| keys.binary_search(key).is_err()).count();
            let extra = keys.iter().filter(|key| accepted.binary_search(key).is_err()).count();
            format!("{missing} of {} accepted rows missing, {extra} others present", accepted.len())
        }
        Err(error) => format!("cannot read: {error}"),
    }
}

/// Everything, each in a fresh process and directory below `dir`.
pub(crate) fn all(dir: &Path) -> Outcome {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let run = |args: &[&str]| {
        let output = Command::new(&program).args(args).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok::<_, String>(text.trim_end().replace('\n', "\n    "))
    };
    for name in NAMES {
        println!("{name}");
        let home = dir.join("bench-spool");
        let home_text = home.to_str().ok_or("the directory's name is not UTF-8")?;
        let clear = || match std::fs::remove_dir_all(&home) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        };
        for batch in ["1", "16", "64", "256", "1024"] {
            clear()?;
            println!("  append {batch:>4}: {}", run(&["append", name, home_text, batch])?);
        }
        if name != "file" {
            clear()?;
            println!("  {}", run(&["fill", name, home_text, "1024"])?);
            println!("  {}", run(&["reopen", name, home_text])?);
            clear()?;
            println!("  {}", run(&["through", name, home_text, "1024"])?);
        }
        clear()?;
    }
    Ok(())
}
