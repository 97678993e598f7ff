//! Nanoseconds that JSON-B takes, beside other formats of serde.
//!
//! `cargo bench -p watchfire-benches --bench jsonbcd_wall` prints the table of `benches/jsonbcd/README.md`. Each case is
//! run in batches of at least two milliseconds; all cases take turns, so that what else the machine does falls on all
//! of them. The smallest and the median time of a batch are given. An argument limits the seconds it takes.
#![allow(missing_docs, reason = "a program")]

mod corpus;

use std::hint::black_box;
use std::time::Duration;

use corpus::{CODECS, Codec, JSONBCD, Message, RMP};
use watchfire_benches::{Case, measure, seconds};

/// One cell of the table.
struct Cell {
    row: usize,
    column: usize,
    case: Case,
}

const COLUMNS: [&str; 3] = ["encode, new vector", "encode, same vector", "decode"];

fn cell(row: usize, column: usize, run: impl Fn(u32) + 'static) -> Cell {
    Cell { row, column, case: Case::new(run) }
}

fn cases(row: usize, codec: Codec, message: &Message) -> Vec<Cell> {
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
    vec![cell(row, 0, fresh), cell(row, 1, reused), cell(row, 2, decode)]
}

fn main() {
    let seconds = seconds(10);
    for (title, message) in [
        ("QueryConnectResponse, two connections", corpus::response()),
        ("ValidateRequest, a credential of 4096 octets", corpus::request()),
    ] {
        let mut names: Vec<String> = CODECS.iter().map(|codec| codec.name.to_owned()).collect();
        let mut sizes: Vec<usize> = CODECS.iter().map(|codec| codec.octets(&message).len()).collect();
        let mut all: Vec<Cell> =
            CODECS.iter().enumerate().flat_map(|(row, codec)| cases(row, *codec, &message)).collect();
        if matches!(message, Message::ValidateRequest(_)) {
            for (codec, read) in [
                (JSONBCD, corpus::borrowed as fn(&[u8]) -> corpus::Borrowed<'_>),
                (RMP, corpus::rmp_borrowed as fn(&[u8]) -> corpus::Borrowed<'_>),
            ] {
                let octets = codec.octets(&message);
                sizes.push(octets.len());
                all.push(cell(names.len(), 2, move |runs| {
                    for _ in 0..runs {
                        black_box(read(black_box(&octets)));
                    }
                }));
                names.push(format!("{}, borrowed", codec.name));
            }
        }
        measure(all.iter_mut().map(|cell| &mut cell.case), Duration::from_secs(seconds) / 2);
        print(title, &names, &sizes, &all);
    }
}

fn print(title: &str, names: &[String], sizes: &[usize], cells: &[Cell]) {
    println!("\n### {title}\n");
    println!("| format | octets | {} |", COLUMNS.join(" | "));
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (row, name) in names.iter().enumerate() {
        let cell = |column| {
            let found = cells.iter().find(|cell| cell.row == row && cell.column == column);
            found.map_or(String::new(), |cell| format!("{:.0} / {:.0}", cell.case.least(), cell.case.median()))
        };
        println!("| {name} | {} | {} | {} | {} |", sizes[row], cell(0), cell(1), cell(2));
    }
    println!("\nNanoseconds, smallest / median of {} batches.", cells[0].case.batches());
}
