//! `obp codec`: JSON to JSON-B, JSON-C or JSON-D and back, from standard input to standard output.

use std::io::Read as _;

use jsonbcd::{Decoder, Dialect, Encoder, Limits, Profile, Value, text};

use crate::cli::{CodecArgs, CodecCommand, CodecFormat, CodecProfile};
use crate::exit::Failure;
use crate::out;

/// Runs the command.
///
/// # Errors
/// Input that is too long, or not of the format: where it goes wrong is said by octet.
pub fn run(command: &CodecCommand) -> Result<(), Failure> {
    let (CodecCommand::Encode(args) | CodecCommand::Decode(args)) = command;
    let input = input(args)?;
    let output = match command {
        CodecCommand::Encode(_) => encode(args, &input)?,
        CodecCommand::Decode(_) => decode(args, &input)?,
    };
    out::octets(&output)
}

fn input(args: &CodecArgs) -> Result<Vec<u8>, Failure> {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().take(args.limit.0.saturating_add(1)).read_to_end(&mut input);
    read.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    if input.len() as u64 > args.limit.0 {
        let failure = Failure::usage(format!("longer than {} octets", args.limit)).at("standard input");
        return Err(failure.remedy("raise --limit"));
    }
    Ok(input)
}

fn limits(input: &[u8]) -> Limits {
    Limits::DEFAULT.with_input(input.len()).with_item(input.len()).with_members(input.len()).with_values(input.len())
}

fn dialect(format: CodecFormat) -> Dialect {
    match format {
        CodecFormat::Json => Dialect::Json,
        CodecFormat::JsonB => Dialect::B,
        CodecFormat::JsonC => Dialect::C,
        CodecFormat::JsonD => Dialect::D,
    }
}

fn profile(profile: CodecProfile) -> Profile {
    match profile {
        CodecProfile::Bcd01 => Profile::Bcd01,
        CodecProfile::Bcd16 => Profile::Bcd16Plus,
    }
}

fn encode(args: &CodecArgs, input: &[u8]) -> Result<Vec<u8>, Failure> {
    let value: Value = Decoder::text().with_limits(limits(input)).from_slice(input).map_err(wrong("JSON"))?;
    match args.format {
        CodecFormat::Json => written(&value),
        format => {
            let encoder = Encoder::new().with_dialect(dialect(format)).with_profile(profile(args.profile));
            encoder.to_vec(&value).map_err(|error| Failure::usage(error.to_string()))
        }
    }
}

fn decode(args: &CodecArgs, input: &[u8]) -> Result<Vec<u8>, Failure> {
    let decoder = match args.format {
        CodecFormat::Json => Decoder::text(),
        format => Decoder::new().with_dialect(dialect(format)).with_profile(profile(args.profile)),
    };
    let value: Value = decoder.with_limits(limits(input)).from_slice(input).map_err(wrong("of the format"))?;
    written(&value)
}

/// A line of JSON. Data become strings of base64url.
fn written(value: &Value) -> Result<Vec<u8>, Failure> {
    let mut octets = text::to_vec(value).map_err(|error| Failure::refused(format!("has no form in JSON: {error}")))?;
    octets.push(b'\n');
    Ok(octets)
}

fn wrong(what: &str) -> impl Fn(jsonbcd::Error) -> Failure {
    let what = what.to_owned();
    move |error| Failure::misbehaved(format!("not {what}: {error}")).at("standard input")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Octets;

    fn args(format: CodecFormat) -> CodecArgs {
        CodecArgs { format, profile: CodecProfile::Bcd16, limit: Octets(1 << 20) }
    }

    #[test]
    fn every_format_there_and_back() {
        let json = br#"{"QueryConnectRequest":{"Identifier":{"Name":"Example.com","Port":80}},"List":[1,-2,2.5,null,true,"x"]}"#;
        for format in [CodecFormat::Json, CodecFormat::JsonB, CodecFormat::JsonC, CodecFormat::JsonD] {
            let octets = encode(&args(format), json).unwrap();
            let back = decode(&args(format), &octets).unwrap();
            assert_eq!(back.trim_ascii_end(), json, "{format:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_format_is_named_by_octet() {
        let failure = encode(&args(CodecFormat::JsonB), b"{\"a\":}").unwrap_err();
        assert!(failure.to_string().contains('5') && failure.blame().code() == 4, "{failure}");
        assert!(decode(&args(CodecFormat::JsonB), b"\x7b\x80\x01a\xa0").is_err());
    }
}
