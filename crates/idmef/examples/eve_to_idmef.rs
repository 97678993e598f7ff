//! Reads Suricata's eve.json on the standard input and prints one IDMEF document per alert.
//!
//! `cargo run -p idmef --features eve --example eve_to_idmef < eve.json`

use idmef::eve::Converter;
use std::io::{BufRead, Read, Write};

const MAX_LINE: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let converter = Converter::suricata("suricata-sensor-01").without_eve();
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if (&mut input).take(MAX_LINE + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match converter.convert(&line) {
            Ok(Some(message)) => writeln!(output, "{}", message.encode()?)?,
            Ok(None) => {}
            // A line that is not good must not stop the good ones behind it.
            Err(error) => eprintln!("line {number}: {error}"),
        }
    }
    Ok(())
}
