//! The audit log of a name owner. A line is kept with what it is about, in one transaction, and forgotten when it is
//! written: it is written at least once, whenever the server is killed.

use acme_lurk::Record;
use acme_lurk::acme::server::OrderId;
use acme_lurk::delegation::Audit;

use crate::Going;
use crate::keep::KeepError;

/// How the names of the records begin that are lines.
const PREFIX: &str = "audit/";

/// A line of an audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "journals make it")]
pub struct Line {
    /// Which line it is: another one than all before, also before a restart, and behind them in the order of their octets.
    /// ASCII, a few dozen characters. One that is written twice has it twice, so the text should have it.
    pub id: String,
    /// The line.
    pub text: String,
}

impl Line {
    pub(crate) fn record(&self) -> Record {
        Record { name: format!("{PREFIX}{}", self.id), value: Some(self.text.clone().into_bytes()) }
    }

    pub(crate) fn gone(id: &str) -> Record {
        Record { name: format!("{PREFIX}{id}"), value: None }
    }
}

/// Takes the lines that were not written yet out of what a keeper has kept, in their order. What is left is for
/// [`Ido::restore`](acme_lurk::delegation::Ido::restore).
pub fn unwritten(known: &mut Vec<(String, Vec<u8>)>) -> Vec<Line> {
    let lines = known.extract_if(.., |(name, _)| name.starts_with(PREFIX));
    let line = |(name, text): (String, Vec<u8>)| Line {
        id: name[PREFIX.len()..].to_owned(),
        text: String::from_utf8_lossy(&text).into_owned(),
    };
    let mut lines: Vec<Line> = lines.map(line).collect();
    lines.sort_by(|one, other| one.id.cmp(&other.id));
    lines
}

/// Writes an audit log.
pub trait Journal: Send + Sync + 'static {
    /// The line about this. It is called while the server does nothing else, and must not wait.
    fn line(&self, order: Option<&OrderId>, what: &Audit) -> Line;

    /// Appends lines; the future is done when they would survive a loss of power. If it fails all of them come again, and
    /// those of which nobody knows whether they were written come again after a restart.
    fn write(&self, lines: Vec<Line>) -> Going<'static, Result<(), KeepError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_among_what_was_kept() {
        let line = |id: &str| Line { id: id.into(), text: format!("{{\"id\":\"{id}\"}}") };
        let kept = |line: Line| {
            let record = line.record();
            (record.name, record.value.unwrap())
        };
        let order = ("order/a".to_owned(), b"{}".to_vec());
        let mut known = vec![kept(line("2-1")), order.clone(), kept(line("1-9"))];
        assert_eq!(unwritten(&mut known), [line("1-9"), line("2-1")]);
        assert_eq!(known, [order]);
        assert_eq!(Line::gone("1-9").name, line("1-9").record().name);
    }
}
