//! Alerts as the console shows them in lists.

use idmef::Item;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::filter::Filter;
use crate::alerts::{endpoint_text, severity_of};
use crate::pki::hex;
use crate::store::AlertRecord;

/// Characters of a text in a row; all of it is in the detail.
const TEXT: usize = 512;
/// Ends of an alert in a row.
const ENDS: usize = 4;
/// Alerts of one message in rows.
const ITEMS: usize = 64;

/// One alert in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    /// Names the record; see [`id`].
    pub(super) id: String,
    /// Which alert of the record it is.
    pub(super) item: usize,
    /// When it was received, in microseconds since 1970.
    pub(super) received: i64,
    /// Who sent it.
    pub(super) sensor: String,
    /// `alert`, `heartbeat`, or `other` for what is not IDMEF.
    pub(super) kind: &'static str,
    /// As the alert says; empty when it says none.
    pub(super) severity: String,
    /// What it is.
    pub(super) text: String,
    /// Where it comes from.
    pub(super) source: Vec<String>,
    /// What it is aimed at.
    pub(super) target: Vec<String>,
}

/// The rows of a record that a filter admits.
pub(super) fn rows(record: &AlertRecord, filter: &Filter) -> Vec<Row> {
    if !filter.admits(record) {
        return Vec::new();
    }
    let id = id(record);
    let row = |item, kind, text: &str| Row {
        id: id.clone(),
        item,
        received: record.received,
        sensor: cut(&record.peer),
        kind,
        severity: String::new(),
        text: cut(text),
        source: Vec::new(),
        target: Vec::new(),
    };
    let Some(message) = &record.message else {
        let text = || format!("{} ({} octets)", record.content_type, record.body.len());
        return filter.admits_item(record, None).then(|| row(0, "other", &text())).into_iter().collect();
    };
    let wanted = message.items.iter().enumerate().filter(|(_, item)| filter.admits_item(record, Some(item)));
    let row = |(number, item): (usize, &Item)| match item {
        Item::Alert(alert) => Row {
            severity: severity_of(alert).map_or_else(String::new, |severity| cut(severity.as_str())),
            source: ends(alert.source.iter().map(|end| endpoint_text(end.node.as_ref(), end.service.as_ref()))),
            target: ends(alert.target.iter().map(|end| endpoint_text(end.node.as_ref(), end.service.as_ref()))),
            ..row(number, "alert", &alert.classification.text)
        },
        Item::Heartbeat(_) => row(number, "heartbeat", "heartbeat"),
    };
    wanted.take(ITEMS).map(row).collect()
}

/// What names a record: when it was received, and half a digest of what makes it the same alert.
pub(super) fn id(record: &AlertRecord) -> String {
    let digest = Sha256::digest(&record.key);
    format!("{}-{}", record.received, hex(digest.get(..8).unwrap_or_default()))
}

/// The moment in an id.
pub(super) fn received(id: &str) -> Option<i64> {
    id.rsplit_once('-').and_then(|(micros, _)| micros.parse().ok())
}

fn ends(ends: impl Iterator<Item = String>) -> Vec<String> {
    let all: Vec<String> = ends.collect();
    let mut shown: Vec<String> = all.iter().take(ENDS).map(|end| cut(end)).collect();
    if all.len() > ENDS {
        shown.push(format!("and {} more", all.len() - ENDS));
    }
    shown
}

/// The beginning of a long text, and how long it is.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => text.to_owned(),
        Some((at, _)) => {
            format!("{}\u{2026} ({} characters)", text.get(..at).unwrap_or_default(), text.chars().count())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests_support::xml;

    #[test]
    fn a_row_has_what_a_list_needs_and_no_more() {
        let name = "n".repeat(65_536);
        let body = xml(7, "192.0.2.1").replace("text=\"scan\"", &format!("text=\"{name}\""));
        let record = AlertRecord::now("sensor-1", "application/x-idef-alert", bytes::Bytes::from(body));
        let found = rows(&record, &Filter::default());
        let [row] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((row.kind, row.severity.as_str()), ("alert", "high"));
        assert_eq!((row.source.as_slice(), row.target.len()), (&["192.0.2.1".to_owned()][..], 0));
        assert!(row.text.ends_with("(65536 characters)") && row.text.chars().count() < 600);
        assert_eq!(received(&row.id), Some(record.received));
        let other = AlertRecord::now("s", "x/y", bytes::Bytes::from_static(b"\xff"));
        assert_eq!(rows(&other, &Filter::default())[0].text, "x/y (1 octets)");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "\u{20ac}".repeat(513);
        assert_eq!(cut(&long), format!("{}\u{2026} (513 characters)", "\u{20ac}".repeat(512)));
    }
}
