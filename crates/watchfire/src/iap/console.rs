//! The manager's page for a browser on the same machine: who is connected, and the latest alerts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use iap_tokio::manager::Overview;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;
use crate::metrics::{self, Page, Site};
use crate::service::Context;
use crate::store::{AlertRecord, AlertStore, BoxFuture, Filter};
use crate::values::HostPort;

/// Alerts shown.
const LATEST: u64 = 100;

/// Serves the console until `stop`.
///
/// # Errors
/// An address that is not of this machine alone, as the page has no password; or that cannot be listened at.
pub async fn start(
    address: &HostPort,
    store: Option<Arc<dyn AlertStore>>,
    overview: Overview,
    context: &Context,
    stop: CancellationToken,
) -> Result<SocketAddr, Failure> {
    let listener = metrics::bind(address).await?;
    let bound = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at(address))?;
    if !bound.ip().is_loopback() {
        let failure = Failure::usage("the console has no password and would be open to the network").at(address);
        return Err(failure.remedy("give it an address such as 127.0.0.1:8080, and use an ssh tunnel"));
    }
    context.announce("console", bound)?;
    tokio::spawn(metrics::serve(listener, Arc::new(Console { store, overview }), stop));
    Ok(bound)
}

struct Console {
    store: Option<Arc<dyn AlertStore>>,
    overview: Overview,
}

impl Site for Console {
    fn page<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Page> {
        Box::pin(async move {
            match path {
                "/" => Page::ok("text/html; charset=utf-8", self.html().await),
                _ => Page::error("404 Not Found", "the console is at /\n"),
            }
        })
    }
}

impl Console {
    async fn latest(&self) -> Result<Vec<AlertRecord>, String> {
        let Some(store) = &self.store else { return Ok(Vec::new()) };
        let filter = Filter { limit: Some(LATEST), ..Filter::default() };
        let mut rows = store.query(filter).await.map_err(|error| error.to_string())?;
        let mut latest = Vec::new();
        while let Some(record) = rows.next().await {
            latest.push(record.map_err(|error| error.to_string())?);
        }
        latest.reverse();
        Ok(latest)
    }

    async fn html(&self) -> String {
        let mut html = String::from(HEAD);
        let channels = (self.overview)();
        let _ = write!(html, "<h2>Sensors <span>{} connected</span></h2>", channels.len());
        if !channels.is_empty() {
            html.push_str("<table><tr><th>Name<th>Address<th>Since</tr>");
        }
        for channel in &channels {
            let since = jiff::Timestamp::try_from(channel.since).map(|since| format!("{since:.0}")).unwrap_or_default();
            let peer = escape(channel.peer.display());
            let _ = write!(html, "<tr><td>{peer}<td>{}<td><time>{since}</time></tr>", channel.address);
        }
        if !channels.is_empty() {
            html.push_str("</table>");
        }
        match self.latest().await {
            Ok(_) if self.store.is_none() => {
                html.push_str("<h2>Alerts</h2><p>There is no store: start the manager with <code>--store</code>.</p>");
            }
            Ok(latest) => {
                let _ = write!(html, "<h2>Alerts <span>the latest {}</span></h2>", latest.len());
                html.push_str(
                    "<table><tr><th>Received<th>Severity<th>Classification<th>Source<th>Target<th>Sensor</tr>",
                );
                latest.iter().for_each(|record| row(&mut html, record));
                html.push_str("</table>");
            }
            Err(error) => {
                let _ = write!(html, "<h2>Alerts</h2><p class=high>{}</p>", escape(&error));
            }
        }
        html.push_str("</main></body></html>\n");
        html
    }
}

fn row(html: &mut String, record: &AlertRecord) {
    let received = record.received_text();
    let peer = escape(&record.peer);
    let Some(message) = &record.message else {
        let kind = escape(&record.content_type);
        let octets = record.body.len();
        let _ = write!(html, "<tr><td><time>{received}</time><td><td>{kind}, {octets} octets<td><td><td>{peer}</tr>");
        return;
    };
    for item in &message.items {
        let (severity, what, source, target) = match item {
            idmef::Item::Alert(alert) => crate::alerts::summary(alert),
            idmef::Item::Heartbeat(_) => (String::new(), "heartbeat".to_owned(), String::new(), String::new()),
        };
        let (severity, what) = (escape(&severity), escape(&what));
        let (source, target) = (escape(&source), escape(&target));
        let _ = write!(
            html,
            "<tr><td><time>{received}</time><td class=\"{severity}\">{severity}<td>{what}<td>{source}<td>{target}<td>{peer}</tr>"
        );
    }
}

/// Text in HTML, also inside a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>Watchfire</title><style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 }
main { max-width: 75rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 1.6rem } h2 span { font-weight: normal; opacity: .7 }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top }
td { font-variant-numeric: tabular-nums } time, td:last-child { white-space: nowrap }
.high { color: #c62828; font-weight: 600 } .medium { color: #b26a00 }
@media (prefers-color-scheme: dark) { .high { color: #ff8a80 } .medium { color: #ffcc80 } }
</style></head><body><main><h1>Watchfire</h1>
"#;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn nothing_of_an_alert_becomes_markup() {
        let xml = "<IDMEF-Message><Alert messageid=\"1\"><Analyzer analyzerid=\"a\"/>\
                   <CreateTime ntpstamp=\"0xbc722ebe.0x00000000\">2000-03-09T14:07:58Z</CreateTime>\
                   <Classification text=\"&lt;script&gt;&quot;&amp;\"/><Assessment><Impact severity=\"&quot;x&lt;b&gt;\"/>\
                   </Assessment></Alert></IDMEF-Message>";
        let mut html = String::new();
        row(&mut html, &AlertRecord::now("<s>", "text/xml", Bytes::from(xml)));
        row(&mut html, &AlertRecord::now("s", "a/b;<x>\"", Bytes::from("opaque")));
        for bad in ["<script", "<b>", "<s>", "<x>", "\"x"] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
        assert!(html.contains("&lt;script&gt;&quot;&amp;"));
    }
}
