//! Converts between JSON and its binary supersets: `convert b < message.json > message.jsonb`.
//!
//! The argument is the dialect to write: `json`, `reference`, `b`, `c` or `d`. Reading takes all of them.

use std::io::{Read as _, Write as _};

use jsonbcd::{Decoder, Dialect, Encoder, Value, text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dialect = std::env::args().nth(1).unwrap_or_default();
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let value: Value = Decoder::new().lenient().from_slice(&input)?;
    let output = match dialect.as_str() {
        "json" => text::to_vec(&value)?,
        "reference" => text::to_reference_vec(&value)?,
        "b" => jsonbcd::to_vec(&value)?,
        "c" => Encoder::new().with_dialect(Dialect::C).to_vec(&value)?,
        "d" => Encoder::new().with_dialect(Dialect::D).to_vec(&value)?,
        other => return Err(format!("{other:?} is none of json, reference, b, c, d").into()),
    };
    std::io::stdout().lock().write_all(&output)?;
    Ok(())
}
