//! A line of EVE as JSON.

use super::{EveError, EveErrorKind};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// An alert line.
pub(super) struct Line<'a> {
    pub(super) octets: &'a [u8],
    pub(super) members: Map<String, Value>,
}

#[derive(serde::Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` when it is not an alert.
    pub(super) fn read(octets: &'a [u8], limit: usize) -> Result<Option<Self>, EveError> {
        if octets.len() > limit {
            return Err(EveError { kind: EveErrorKind::TooLong, offset: limit });
        }
        let failed = |error: &serde_json::Error| EveError {
            kind: match error.classify() {
                serde_json::error::Category::Eof => EveErrorKind::Truncated,
                serde_json::error::Category::Data => EveErrorKind::NotEve,
                _ => EveErrorKind::Json,
            },
            offset: offset(octets, error),
        };
        // Most lines are no alerts: do not build them.
        let kind: Kind<'_> = serde_json::from_slice(octets).map_err(|error| failed(&error))?;
        if kind.event_type != "alert" {
            return Ok(None);
        }
        let members = serde_json::from_slice(octets).map_err(|error| failed(&error))?;
        Ok(Some(Self { octets, members }))
    }

    /// An error about a member, with the offset of its name, if it is there.
    pub(super) fn error(&self, kind: EveErrorKind, member: &str) -> EveError {
        if let EveErrorKind::Missing(_) = kind {
            return EveError { kind, offset: 0 };
        }
        let name = format!("\"{member}\"");
        let found = self.octets.windows(name.len()).position(|window| window == name.as_bytes());
        EveError { kind, offset: found.unwrap_or(0) }
    }
}

/// The offset of a place that is told as line and column.
fn offset(octets: &[u8], error: &serde_json::Error) -> usize {
    let lines = octets.split_inclusive(|&b| b == b'\n').take(error.line().saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1)).min(octets.len())
}
