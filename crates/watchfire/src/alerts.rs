//! `iap alerts`: what the manager stored, oldest first.

use crate::cli::AlertsArgs;
use crate::exit::Failure;
use crate::out;
use crate::store::{self, Access, AlertRecord, Filter};

/// Lines are gathered up to this many octets before they are written.
const BUFFER: usize = 64 * 1024;

/// Prints the alerts as a table, or as the lines of `--output ndjson:` with `json`.
///
/// # Errors
/// A store that cannot be opened or read.
pub async fn run(args: &AlertsArgs, json: bool) -> Result<(), Failure> {
    let store = store::open(&args.store, args.store_password_file.as_deref(), Access::Read).await?;
    let filter = Filter {
        since: args.since.map(|moment| moment.0),
        until: args.until.map(|moment| moment.0),
        source: args.source,
        limit: args.limit,
    };
    let mut stream = store.query(filter).await?;
    let mut buffer = Vec::with_capacity(BUFFER * 2);
    while let Some(record) = stream.next().await {
        let record = record?;
        if json {
            record.write_json_line(&mut buffer);
        } else {
            for line in rows(&record) {
                buffer.extend_from_slice(line.as_bytes());
                buffer.push(b'\n');
            }
        }
        if buffer.len() >= BUFFER {
            out::octets(&buffer)?;
            buffer.clear();
        }
    }
    out::octets(&buffer)
}

/// One line per alert or heartbeat: time, peer, severity, classification, source -> target.
pub(crate) fn rows(record: &AlertRecord) -> Vec<String> {
    let row = |severity: &str, what: &str, flow: &str| {
        let line = format!("{}  {:<20}  {severity:<8}  {what}  {flow}", record.received_text(), plain(&record.peer));
        line.trim_end().to_owned()
    };
    let Some(message) = &record.message else {
        let what = format!("{} ({} octets)", plain(&record.content_type), record.body.len());
        return vec![row("-", &what, "")];
    };
    let items = message.items.iter().map(|item| match item {
        idmef::Item::Alert(alert) => {
            let (severity, what, source, target) = summary(alert);
            row(&severity, &what, &format!("{source} -> {target}"))
        }
        idmef::Item::Heartbeat(_) => row("-", "heartbeat", ""),
    });
    items.collect()
}

/// Severity, classification, sources and targets of an alert, in words that are safe for a terminal.
pub(crate) fn summary(alert: &idmef::Alert) -> (String, String, String, String) {
    let severity = severity_of(alert).map_or("-", |severity| severity.as_str());
    let sources = alert.source.iter().map(|end| endpoint(end.node.as_ref(), end.service.as_ref()));
    let targets = alert.target.iter().map(|end| endpoint(end.node.as_ref(), end.service.as_ref()));
    (plain(severity), plain(&alert.classification.text), join(sources), join(targets))
}

/// How severe an alert says it is.
pub(crate) fn severity_of(alert: &idmef::Alert) -> Option<&idmef::Severity> {
    alert.assessment.as_ref()?.impact.as_ref()?.severity.as_ref()
}

fn endpoint(node: Option<&idmef::Node>, service: Option<&idmef::Service>) -> String {
    plain(&endpoint_text(node, service))
}

/// The first address of an end, else its name, with its port; a stranger's text as it came.
pub(crate) fn endpoint_text(node: Option<&idmef::Node>, service: Option<&idmef::Service>) -> String {
    let host = node
        .and_then(|node| node.address.first().map(|address| &address.address).or(node.name.as_ref()))
        .map_or_else(|| "?".into(), String::clone);
    match service.and_then(|service| service.port.as_ref()).and_then(|port| port.to_u16()) {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// The first three, and how many more there are.
fn join(ends: impl Iterator<Item = String>) -> String {
    let ends: Vec<String> = ends.collect();
    match ends.get(..3) {
        _ if ends.is_empty() => "?".into(),
        Some(first) if ends.len() > 3 => format!("{} and {} more", first.join(","), ends.len() - 3),
        _ => ends.join(","),
    }
}

/// Text of a stranger, safe for a terminal.
fn plain(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::tests_support::xml;

    #[test]
    fn rows_say_who_did_what_to_whom() {
        let body = xml(1, "192.0.2.1").replace("text=\"scan\"", "text=\"scan &#x9b;[2J\"");
        let message = AlertRecord::parse(body.as_bytes()).map(std::sync::Arc::new);
        let record = AlertRecord::new(0, "sensor\u{1b}-1", "x/y", Bytes::from(body), message);
        assert_eq!(
            rows(&record),
            ["1970-01-01T00:00:00.000000Z  sensor -1             high      scan  [2J  192.0.2.1 -> ?"]
        );
        let record = AlertRecord::new(0, "s", "x/y", Bytes::from_static(b"abc"), None);
        assert_eq!(rows(&record), ["1970-01-01T00:00:00.000000Z  s                     -         x/y (3 octets)"]);
    }

    #[test]
    fn long_lists_are_cut() {
        let list = |n: usize| join((0..n).map(|n| n.to_string()));
        assert_eq!([list(0), list(3), list(5)], ["?", "0,1,2", "0,1,2 and 2 more"]);
    }
}
