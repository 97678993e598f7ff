//! `dots codec`: JSON (RFC 7951) to application/dots+cbor and back, from standard input to standard output.

use std::io::Read as _;

use dots_callhome::body::{Body, Direction};

use crate::cli::DotsCodecCommand;
use crate::exit::Failure;
use crate::out;

/// No body of DOTS is longer: they fit a datagram, or some blocks.
const LIMIT: u64 = 1 << 20;

/// Runs the command.
///
/// # Errors
/// Input that is too long, or no body of DOTS: what is wrong with it is said, and where.
pub fn run(command: DotsCodecCommand) -> Result<(), Failure> {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut input);
    read.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    if input.len() as u64 > LIMIT {
        return Err(Failure::usage("longer than 1 MiB").at("standard input"));
    }
    let output = match command {
        DotsCodecCommand::Encode => encode(&input)?,
        DotsCodecCommand::Decode => decode(&input)?,
    };
    out::octets(&output)
}

fn encode(input: &[u8]) -> Result<Vec<u8>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::misbehaved(format!("no body of DOTS: {error}"));
    let body = Body::from_json(input).map_err(|error| wrong(&error).at("standard input"))?;
    Ok(body.to_vec())
}

fn decode(input: &[u8]) -> Result<Vec<u8>, Failure> {
    let body = Body::decode(input, Direction::Response)
        .map_err(|error| Failure::misbehaved(format!("no body of DOTS: {error}")).at("standard input"))?;
    let mut line = body.to_json().to_string().into_bytes();
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_and_mistakes_by_place() {
        let json = br#"{"ietf-dots-signal-channel:heartbeat":{"peer-hb-status":true}}"#;
        let cbor = encode(json).unwrap();
        assert_eq!(decode(&cbor).unwrap().trim_ascii_end(), json);
        let failure = encode(b"{\"x\":1}").unwrap_err();
        assert!(failure.to_string().contains('x') && failure.blame().code() == 4, "{failure}");
        let failure = decode(&cbor[..cbor.len() - 1]).unwrap_err();
        assert!(failure.to_string().contains("octet") && failure.blame().code() == 4, "{failure}");
    }
}
