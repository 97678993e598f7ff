//! Nanoseconds that JSON-B takes, beside other formats of serde.
//!
//! `cargo bench -p watchfire-benches --bench jsonbcd_wall` prints the table of `benches/jsonbcd/README.md`. Each case is
//! run in batches of at least two milliseconds; all cases take turns, so that what else the machine does falls on all
//! of them. The smallest and the median time of a batch are given. An argument limits the seconds it takes.
#![allow(missing_docs, reason = "a program")]

mod corpus;

use std::hint::black_box;
use std::time::{Duration, Instant};

use corpus::{CODECS, Codec, JSONBCD, Message, RMP};

/// One thing that is timed.
struct Case {
    row: usize,
    column: usize,
    run: Box<dyn Fn(u32)>,
    /// Runs in a batch.
    runs: u32,
    /// Nanoseconds for one run, of each batch.
    times: Vec<f64>,
}

const COLUMNS: [&str; 3] = ["encode, new vector", "encode, same vector", "decode"];

fn case(row: usize, column: usize, run: impl Fn(u32) + 'static) -> Case {
    let mut runs = 64;
    loop {
        let start = Instant::now();
        run(runs);
        if start.elapsed() > Duration::from_millis(2) {
            return Case { row, column, run: Box::new(run), runs, times: Vec::new() };
        }
        runs *= 2;
    }
}

fn cases(row: usize, codec: Codec, message: &Message) -> Vec<Case> {
    let octets = codec.octets(message);
    let (one, other) = (message.clone(), message.clone());
    let fresh = move |runs| {
        for _ in 0..runs {
            let mut out = Vec::with_capacity(256);
            (codec.encode)(black_box(&one), &mut out);
            black_box(out);
        }
    };
    let reused = move |runs| {
        let mut out = Vec::with_capacity(8192);
        for _ in 0..runs {
            out.clear();
            (codec.encode)(black_box(&other), &mut out);
            black_box(&out);
        }
    };
    let decode = move |runs| {
        for _ in 0..runs {
            black_box((codec.decode)(black_box(&octets)));
        }
    };
    vec![case(row, 0, fresh), case(row, 1, reused), case(row, 2, decode)]
}

fn main() {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next_back().unwrap_or(10u64);
    for (title, message) in [
        ("QueryConnectResponse, two connections", corpus::response()),
        ("ValidateRequest, a credential of 4096 octets", corpus::request()),
    ] {
        let mut names: Vec<String> = CODECS.iter().map(|codec| codec.name.to_owned()).collect();
        let mut sizes: Vec<usize> = CODECS.iter().map(|codec| codec.octets(&message).len()).collect();
        let mut all: Vec<Case> =
            CODECS.iter().enumerate().flat_map(|(row, codec)| cases(row, *codec, &message)).collect();
        if matches!(message, Message::ValidateRequest(_)) {
            for (codec, read) in [
                (JSONBCD, corpus::borrowed as fn(&[u8]) -> corpus::Borrowed<'_>),
                (RMP, corpus::rmp_borrowed as fn(&[u8]) -> corpus::Borrowed<'_>),
            ] {
                let octets = codec.octets(&message);
                sizes.push(octets.len());
                all.push(case(names.len(), 2, move |runs| {
                    for _ in 0..runs {
                        black_box(read(black_box(&octets)));
                    }
                }));
                names.push(format!("{}, borrowed", codec.name));
            }
        }
        measure(&mut all, Duration::from_secs(seconds) / 2);
        print(title, &names, &sizes, &all);
    }
}

/// Runs a batch of each in turn until the time is over.
fn measure(cases: &mut [Case], duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        for case in &mut *cases {
            let batch = Instant::now();
            (case.run)(case.runs);
            case.times.push(batch.elapsed().as_secs_f64() * 1e9 / f64::from(case.runs));
        }
    }
    for case in cases {
        case.times.sort_by(f64::total_cmp);
    }
}

fn print(title: &str, names: &[String], sizes: &[usize], cases: &[Case]) {
    println!("\n### {title}\n");
    println!("| format | octets | {} |", COLUMNS.join(" | "));
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (row, name) in names.iter().enumerate() {
        let cell = |column| {
            let case = cases.iter().find(|case| case.row == row && case.column == column);
            case.map_or(String::new(), |case| format!("{:.0} / {:.0}", case.times[0], case.times[case.times.len() / 2]))
        };
        println!("| {name} | {} | {} | {} | {} |", sizes[row], cell(0), cell(1), cell(2));
    }
    println!("\nNanoseconds, smallest / median of {} batches.", cases[0].times.len());
}
