//! A log of records that is read from its end: JSON-B in frames, and in JSON-C with the names agreed on.

use jsonbcd::dictionary::{Dictionaries, Dictionary, Loaded};
use jsonbcd::frame::{self, Frames, Kind};
use jsonbcd::{Decoder, Dialect, Encoder};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    number: u32,
    host: &'a str,
}

fn main() -> jsonbcd::Result<()> {
    // Both sides have the dictionary, and know it by these octets: a digest of it, say.
    let names = Dictionary::of_names(0, ["number", "host"]);
    let digest = b"log-1";
    let encoder = Encoder::new().with_dialect(Dialect::C).with_dictionary(Loaded::new(digest, 0, &names)?);
    let mut known = Dictionaries::new();
    known.register(digest, names);
    let decoder = Decoder::new().with_dictionaries(known);

    let mut log = Vec::new();
    for number in 0..1000 {
        let record = encoder.to_vec(&Record { number, host: "example.com" })?;
        frame::write(&mut log, Kind::TwoWay, &record)?;
    }
    println!("{} octets", log.len());
    for frame in Frames::new(&log).rev().take(3) {
        println!("{:?}", decoder.from_slice::<Record<'_>>(frame?.content)?);
    }
    Ok(())
}
