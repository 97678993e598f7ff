//! JSON of DOTS bodies. RFC 7951, with the names of RFC 9132 table 5 and RFC 9066 table 1.
//!
//! The conversion follows the table of keys and knows nothing of meaning. Members that have no name there keep their key
//! and their octets, as `"cbor:204": "80"`; so nothing is lost either way.

use serde_json::{Map, Number, Value};

use super::config::Decimal;
use super::key::{self, Kind};
use super::reader::{Direction, MAX_DEPTH};
use super::{Body, BodyError};

/// Why JSON is no DOTS body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// No JSON.
    #[error("line {line}, column {column}: not json")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// No member of that name.
    #[error("unknown member {0:?}")]
    UnknownMember(String),
    /// A value that cannot stand behind that name.
    #[error("member {member:?} must be {expected}")]
    Value {
        /// Which.
        member: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Nested too deeply.
    #[error("nested too deeply")]
    TooDeep,
    /// The members are known, but make no body.
    #[error("{0}")]
    Body(#[from] BodyError),
}

impl Body {
    /// Reads JSON.
    ///
    /// # Errors
    /// When it is no DOTS body.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        Ok(Self::decode(&to_cbor(text)?, Direction::Response)?)
    }

    /// It as JSON.
    pub fn to_json(&self) -> Value {
        // What we wrote ourselves can be read.
        from_cbor(&self.to_vec()).unwrap_or(Value::Null)
    }
}

/// Writes the CBOR of a JSON text.
///
/// # Errors
/// When it is no JSON, or has members or values that are not those of DOTS.
pub fn to_cbor(text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| JsonError::Syntax { line: error.line(), column: error.column() })?;
    let Value::Object(members) = value else {
        return Err(JsonError::Value { member: String::new(), expected: "an object" });
    };
    let mut out = Vec::new();
    write_map(&members, MAX_DEPTH, &mut out)?;
    Ok(out)
}

type Encoder<'a> = minicbor::Encoder<&'a mut Vec<u8>>;

fn find(name: &str) -> Option<&'static (u32, &'static str, Kind)> {
    let bare = |full: &'static str| full.rsplit(':').next().unwrap_or(full);
    key::TABLE.iter().find(|row| row.1 == name).or_else(|| key::TABLE.iter().find(|row| bare(row.1) == name))
}

fn write_map(members: &Map<String, Value>, depth: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
    let mut rows = Vec::with_capacity(members.len());
    for (name, value) in members {
        let unknown = || JsonError::UnknownMember(name.clone());
        let mut octets = Vec::new();
        let key = match name.strip_prefix("cbor:") {
            Some(number) => {
                let wrong = || JsonError::Value { member: name.clone(), expected: "hexadecimal octets of one item" };
                octets = value.as_str().and_then(from_hex).ok_or_else(wrong)?;
                if minicbor::decode::Decoder::new(&octets).skip().is_err() {
                    return Err(wrong());
                }
                number.parse::<u32>().map_err(|_| unknown())?
            }
            None => {
                let (key, _, kind) = find(name).ok_or_else(unknown)?;
                write_value(name, value, *kind, depth, &mut octets)?;
                *key
            }
        };
        rows.push((key, octets));
    }
    rows.sort();
    let mut encoder = Encoder::new(out);
    let _ = encoder.map(rows.len() as u64);
    for (key, octets) in rows {
        let _ = encoder.u32(key);
        encoder.writer_mut().extend_from_slice(&octets);
    }
    Ok(())
}

fn write_value(name: &str, value: &Value, kind: Kind, depth: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let wrong = |expected| JsonError::Value { member: name.to_owned(), expected };
    let elements = || value.as_array().ok_or_else(|| wrong("an array"));
    // Numbers where strings should be, and the reverse, are taken: peers disagree about them.
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let mut encoder = Encoder::new(&mut *out);
    match kind {
        Kind::Map => {
            return write_map(value.as_object().ok_or_else(|| wrong("an object"))?, depth, out);
        }
        Kind::Maps => {
            let elements = elements()?;
            let _ = encoder.array(elements.len() as u64);
            for element in elements {
                write_map(element.as_object().ok_or_else(|| wrong("an array of objects"))?, depth, out)?;
            }
        }
        Kind::Text => {
            let _ = encoder.str(value.as_str().ok_or_else(|| wrong("a string"))?);
        }
        Kind::Texts => {
            let elements = elements()?;
            let _ = encoder.array(elements.len() as u64);
            for element in elements {
                let _ = encoder.str(element.as_str().ok_or_else(|| wrong("an array of strings"))?);
            }
        }
        Kind::Uints(max) => {
            let elements = elements()?;
            let _ = encoder.array(elements.len() as u64);
            for element in elements {
                let number = number(element).filter(|&number| number <= max);
                let _ = encoder.u64(number.ok_or_else(|| wrong("an array of numbers"))?);
            }
        }
        Kind::Uint(max) => {
            let number = number(value).filter(|&number| number <= max);
            let _ = encoder.u64(number.ok_or_else(|| wrong("a number within its range"))?);
        }
        Kind::Uint64 => {
            let _ = encoder.u64(number(value).ok_or_else(|| wrong("a number in a string"))?);
        }
        Kind::Enum(labels) => {
            let known = value.as_str().and_then(|label| labels.iter().position(|known| *known == label));
            let code = known.map(|at| at.saturating_add(1) as u64).or_else(|| number(value));
            let code = code.filter(|&code| u32::try_from(code).is_ok());
            let _ = encoder.u64(code.ok_or_else(|| wrong("a known name or a number"))?);
        }
        Kind::Bool => {
            let _ = encoder.bool(value.as_bool().ok_or_else(|| wrong("true or false"))?);
        }
        Kind::Decimal => {
            let decimal: Option<Decimal> = value.as_str().and_then(|text| text.parse().ok());
            let decimal = decimal.ok_or_else(|| wrong("a decimal number in a string"))?;
            super::encode::Writer::new(out).hundredths(decimal.hundredths());
        }
        Kind::Lifetime => match value.as_i64() {
            Some(-1) => {
                let _ = encoder.i8(-1);
            }
            other => {
                let seconds = other.and_then(|seconds| u32::try_from(seconds).ok());
                let _ = encoder.u32(seconds.ok_or_else(|| wrong("seconds, or -1"))?);
            }
        },
    }
    Ok(())
}

/// The JSON of a body that we wrote: definite, ascending, checked.
fn from_cbor(octets: &[u8]) -> Option<Value> {
    read_map(&mut minicbor::Decoder::new(octets), MAX_DEPTH)
}

fn read_map(decoder: &mut minicbor::Decoder<'_>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut members = Map::new();
    for _ in 0..decoder.map().ok()?? {
        let key = decoder.u32().ok()?;
        let start = decoder.position();
        // A key that need not be understood may stand where it does not belong, with any value. It has its name only when
        // nothing is lost by that.
        let named = key::row(key).and_then(|(_, name, kind)| {
            let value = read_value(decoder, *kind, depth)?;
            let mut again = Vec::new();
            let kept = !key::is_comprehension_required(u64::from(key));
            if kept {
                write_value(name, &value, *kind, depth, &mut again).ok()?;
            }
            let octets = decoder.input().get(start..decoder.position())?;
            (!kept || again == octets).then(|| ((*name).to_owned(), value))
        });
        let (name, value) = match named {
            Some(named) => named,
            None => {
                decoder.set_position(start);
                decoder.skip().ok()?;
                let value = decoder.input().get(start..decoder.position())?;
                (format!("cbor:{key}"), Value::String(to_hex(value)))
            }
        };
        members.insert(name, value);
    }
    Some(Value::Object(members))
}

fn read_value(decoder: &mut minicbor::Decoder<'_>, kind: Kind, depth: usize) -> Option<Value> {
    let list = |decoder: &mut minicbor::Decoder<'_>, read: &dyn Fn(&mut minicbor::Decoder<'_>) -> Option<Value>| {
        let len = decoder.array().ok()??;
        (0..len).map(|_| read(decoder)).collect::<Option<Vec<_>>>().map(Value::Array)
    };
    let number = |number: u64| Value::Number(Number::from(number));
    Some(match kind {
        Kind::Map => read_map(decoder, depth)?,
        Kind::Maps => list(decoder, &|decoder| read_map(decoder, depth))?,
        Kind::Text => Value::String(decoder.str().ok()?.to_owned()),
        Kind::Texts => list(decoder, &|decoder| Some(Value::String(decoder.str().ok()?.to_owned())))?,
        Kind::Uints(_) => list(decoder, &|decoder| Some(number(decoder.u64().ok()?)))?,
        Kind::Uint(_) => number(decoder.u64().ok()?),
        Kind::Uint64 => Value::String(decoder.u64().ok()?.to_string()),
        Kind::Enum(labels) => {
            let code = decoder.u32().ok()?;
            let label = usize::try_from(code).ok().and_then(|code| labels.get(code.checked_sub(1)?));
            Value::String(label.map_or_else(|| code.to_string(), |label| (*label).to_owned()))
        }
        Kind::Bool => Value::Bool(decoder.bool().ok()?),
        Kind::Decimal => {
            decoder.tag().ok()?;
            decoder.array().ok()?;
            decoder.i64().ok().filter(|exponent| *exponent == -2)?;
            Value::String(Decimal::from_hundredths(decoder.u64().ok()?).to_string())
        }
        Kind::Lifetime => Value::Number(Number::from(decoder.i64().ok()?)),
    })
}

fn to_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0u8, |octet, digit| octet << 4 | digit)).collect())
}
