//! The sensor's spool itself: what a commit of its API costs, and the whole way in and out.
//!
//! `cargo bench -p watchfire-benches --bench spool_ours -- COMMAND ...`; each figure in a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iap_tokio::spool::{Durability, Record, Settled, Spool, SpoolConfig};

const BODY: usize = 860;

fn main() {
    // `cargo bench` adds `--bench`; without a command there is nothing to measure, which also keeps `cargo test` quick.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    match args.as_slice() {
        ["append", place, batch] => runtime.block_on(append(place, number(batch), 1)),
        ["append", place, batch, tasks] => runtime.block_on(append(place, number(batch), number(tasks))),
        ["pipe", place, batch] => runtime.block_on(pipe(place, number(batch))),
        ["fill", place, mib, batch] => runtime.block_on(fill(place, number(mib), number(batch))),
        ["reopen", place] => runtime.block_on(reopen(place)),
        _ => println!(
            "usage: spool_ours append PLACE BATCH [TASKS] | pipe PLACE BATCH | fill PLACE MIB BATCH | reopen PLACE\n\
             PLACE: a directory (safe against power loss), kill:DIRECTORY (against the end of the process), or memory"
        ),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn open(place: &str) -> Spool {
    let config = SpoolConfig::default().with_max_bytes(4 << 30);
    match place.strip_prefix("kill:") {
        _ if place == "memory" => Spool::in_memory(config),
        Some(dir) => Spool::open(Path::new(dir), config.with_durability(Durability::ProcessKill)),
        None => Spool::open(Path::new(place), config),
    }
    .expect("the spool opens")
}

fn batch(count: usize, content_type: &Arc<str>, state: &mut u64) -> Vec<Record> {
    let record = |_| {
        let mut body = vec![b'.'; BODY];
        for piece in body.chunks_exact_mut(8).take(8) {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            piece.copy_from_slice(&state.to_le_bytes());
        }
        Record::new(Arc::clone(content_type), body)
    };
    (0..count).map(record).collect()
}

fn status_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// User and system time of this process, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

async fn append(place: &str, size: usize, tasks: usize) {
    let spool = open(place);
    let (start, cpu_start) = (Instant::now(), cpu());
    let appending: Vec<_> = (1..=tasks as u64)
        .map(|task| {
            let spool = spool.clone();
            tokio::spawn(async move {
                let content_type: Arc<str> = "application/json".into();
                let (mut state, mut count) = (0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(task), 0);
                while start.elapsed() < Duration::from_secs(3) && count < 2_000_000 {
                    spool.append(batch(size, &content_type, &mut state), None).await.expect("appended");
                    count += size;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in appending {
        count += task.await.expect("appended");
    }
    let took = start.elapsed().as_secs_f64();
    let latency = spool.stats().commit_latency;
    println!(
        "append {place} {size}, {tasks} at a time: {:.0} /s, {:.2} us CPU/record; commit p50 < {:?}, p99 < {:?}, max {:?}",
        count as f64 / took,
        (cpu() - cpu_start).as_secs_f64() * 1e6 / count as f64,
        latency.quantile(0.5),
        latency.quantile(0.99),
        latency.max(),
    );
}

/// Appending, reading and settling at the same time, as a sensor does; a window of 4096.
async fn pipe(place: &str, size: usize) {
    const TOTAL: usize = 1_200_000;
    let spool = open(place);
    let intake = spool.clone();
    let (start, cpu_start) = (Instant::now(), cpu());
    let window = Arc::new(tokio::sync::Semaphore::new(8192));
    let room = Arc::clone(&window);
    let appending = tokio::spawn(async move {
        let content_type: Arc<str> = "application/json".into();
        let (mut state, mut count) = (0x9E37_79B9_7F4A_7C15, 0);
        while count < TOTAL {
            let permit = room.acquire_many(size as u32).await.expect("open");
            permit.forget();
            intake.append(batch(size, &content_type, &mut state), None).await.expect("appended");
            count += size;
        }
        count
    });
    let mut reader = spool.reader();
    let (mut count, mut octets) = (0, 0);
    while count < TOTAL {
        let batch = reader.next_batch(256, 256 << 10).await.expect("read");
        octets += batch.iter().map(|one| one.record.body().len()).sum::<usize>();
        count += batch.len();
        spool.settle_all(batch.iter().map(|one| (one.seq, Settled::Delivered)));
        window.add_permits(batch.len());
    }
    let count = appending.await.expect("appended");
    spool.flush().await.expect("flushed");
    println!(
        "pipe {place} {size}: {:.0} /s, {:.2} us CPU/record, {} MiB went through; peak RSS {} MiB",
        count as f64 / start.elapsed().as_secs_f64(),
        (cpu() - cpu_start).as_secs_f64() * 1e6 / count as f64,
        octets >> 20,
        status_mib("VmHWM"),
    );
}

/// Holds so many MiB, then dies without closing.
async fn fill(place: &str, mib: usize, size: usize) {
    let spool = open(place);
    let content_type: Arc<str> = "application/json".into();
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let start = Instant::now();
    for _ in 0..(mib << 20) / BODY / size {
        spool.append(batch(size, &content_type, &mut state), None).await.expect("appended");
    }
    println!("fill {place} {mib} MiB: {:.1} s; peak RSS {} MiB", start.elapsed().as_secs_f64(), status_mib("VmHWM"));
    std::process::abort()
}

async fn reopen(place: &str) {
    let start = Instant::now();
    let spool = open(place);
    println!("reopen after a kill: {:.3} s; peak RSS {} MiB", start.elapsed().as_secs_f64(), status_mib("VmHWM"));
    let depth = spool.stats().depth;
    let mut reader = spool.reader();
    let (start, cpu_start, mut count) = (Instant::now(), cpu(), 0);
    while count < depth {
        count += reader.next_batch(256, 256 << 10).await.expect("read").len() as u64;
    }
    let per = |time: Duration| time.as_secs_f64() * 1e6 / depth as f64;
    println!(
        "read {:.0} /s, {:.2} us CPU/record; peak RSS {} MiB",
        depth as f64 / start.elapsed().as_secs_f64(),
        per(cpu() - cpu_start),
        status_mib("VmHWM")
    );
    reader.rewind();
    let (start, cpu_start, mut count) = (Instant::now(), cpu(), 0);
    while count < depth {
        let batch = reader.next_batch(256, 256 << 10).await.expect("read");
        count += spool.settle_all(batch.iter().map(|one| (one.seq, Settled::Delivered)));
    }
    spool.flush().await.expect("flushed");
    println!(
        "read and settle {:.0} /s, {:.2} us CPU/record; peak RSS {} MiB",
        depth as f64 / start.elapsed().as_secs_f64(),
        per(cpu() - cpu_start),
        status_mib("VmHWM")
    );
}
