//! Which alerts are wanted.

use std::net::IpAddr;

use idmef::{Item, Node, Severity};
use ipnet::IpNet;

use crate::alerts::{endpoint_text, severity_of};
use crate::store::{AlertRecord, ip};

/// The longest value of a filter, in octets.
const LONGEST: usize = 256;

/// What an alert must be. Without anything, all are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) source: Option<End>,
    pub(super) target: Option<End>,
    /// In the classification, the identifiers or the ends, in small letters.
    pub(super) text: Option<String>,
    /// At least this severe: 1 (info) to 4 (high).
    pub(super) severity: Option<u8>,
    /// In the sensor's name, in small letters.
    pub(super) sensor: Option<String>,
    /// Received at or after, in microseconds since 1970.
    pub(super) since: Option<i64>,
    /// Received before.
    pub(super) until: Option<i64>,
}

/// One end of an alert: an address or a network, or part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Net(IpNet),
    Text(String),
}

impl Filter {
    /// Takes a member of a query; false when it is none of a filter.
    ///
    /// # Errors
    /// A value that is none.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let value = value.trim();
        if value.len() > LONGEST {
            return Err(format!("{name}: longer than {LONGEST} octets"));
        }
        let text = || Some(value.to_lowercase()).filter(|text| !text.is_empty());
        match name {
            "source" => self.source = End::read(value),
            "target" => self.target = End::read(value),
            "text" => self.text = text(),
            "sensor" => self.sensor = text(),
            "severity" => {
                self.severity = match value {
                    "" => None,
                    "info" => Some(1),
                    "low" => Some(2),
                    "medium" => Some(3),
                    "high" => Some(4),
                    _ => return Err("severity: write info, low, medium or high".to_owned()),
                }
            }
            "since" => self.since = time(name, value)?,
            "until" => self.until = time(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether something of a record as a whole speaks against it.
    pub(super) fn admits(&self, record: &AlertRecord) -> bool {
        self.since.is_none_or(|since| record.received >= since)
            && self.until.is_none_or(|until| record.received < until)
            && self.sensor.as_ref().is_none_or(|sensor| record.peer.to_lowercase().contains(sensor))
    }

    /// Whether one alert of a record is wanted; none for a body that is not IDMEF.
    pub(super) fn admits_item(&self, record: &AlertRecord, item: Option<&Item>) -> bool {
        let Some(Item::Alert(alert)) = item else {
            let text = self.text.as_ref().is_none_or(|text| {
                record.content_type.to_lowercase().contains(text) || (item.is_some() && "heartbeat".contains(text))
            });
            return self.source.is_none() && self.target.is_none() && self.severity.is_none() && text;
        };
        let meets = |end: &Option<End>, found: &[(Option<&Node>, String)]| {
            end.as_ref().is_none_or(|end| found.iter().any(|(node, text)| end.is(*node, text)))
        };
        let sources: Vec<_> = alert
            .source
            .iter()
            .map(|end| (end.node.as_ref(), endpoint_text(end.node.as_ref(), end.service.as_ref())))
            .collect();
        let targets: Vec<_> = alert
            .target
            .iter()
            .map(|end| (end.node.as_ref(), endpoint_text(end.node.as_ref(), end.service.as_ref())))
            .collect();
        let says = |text: &String| {
            let own = [&alert.classification.text, alert.messageid.as_str(), alert.analyzer.analyzerid.as_str()];
            own.iter().any(|own| own.to_lowercase().contains(text))
                || sources.iter().chain(&targets).any(|(_, end)| end.to_lowercase().contains(text))
        };
        self.severity.is_none_or(|least| rank(severity_of(alert)) >= least)
            && meets(&self.source, &sources)
            && meets(&self.target, &targets)
            && self.text.as_ref().is_none_or(says)
    }
}

impl End {
    fn read(value: &str) -> Option<Self> {
        if value.is_empty() {
            return None;
        }
        let net = value.parse::<IpNet>().or_else(|_| value.parse::<IpAddr>().map(IpNet::from));
        Some(net.map_or_else(|_| Self::Text(value.to_lowercase()), Self::Net))
    }

    fn is(&self, node: Option<&Node>, text: &str) -> bool {
        match self {
            Self::Net(net) => node
                .iter()
                .flat_map(|node| &node.address)
                .filter_map(|address| ip(address.address.trim()))
                .any(|address| net.contains(&address)),
            Self::Text(part) => {
                let name = node.and_then(|node| node.name.as_ref());
                text.to_lowercase().contains(part) || name.is_some_and(|name| name.to_lowercase().contains(part))
            }
        }
    }
}

/// 1 (info) to 4 (high); 0 for none, or one that is not known.
pub(super) fn rank(severity: Option<&Severity>) -> u8 {
    match severity {
        Some(Severity::Info) => 1,
        Some(Severity::Low) => 2,
        Some(Severity::Medium) => 3,
        Some(Severity::High) => 4,
        _ => 0,
    }
}

/// A moment: RFC 3339, or microseconds since 1970.
fn time(name: &str, value: &str) -> Result<Option<i64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    if let Ok(micros) = value.parse::<i64>() {
        return Ok(Some(micros));
    }
    let time = value.parse::<jiff::Timestamp>();
    time.map(|time| Some(time.as_microsecond()))
        .map_err(|_| format!("{name}: write a time as 2026-01-31T12:00:00Z, or microseconds since 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests_support::xml;

    fn admits(query: &[(&str, &str)], record: &AlertRecord) -> bool {
        let mut filter = Filter::default();
        for (name, value) in query {
            assert!(filter.take(name, value).unwrap(), "{name}");
        }
        let item = record.message.as_ref().map(|message| &message.items[0]);
        filter.admits(record) && filter.admits_item(record, item)
    }

    #[test]
    fn each_member_admits_and_refuses() {
        let record = AlertRecord::now("Sensor-1", "application/x-idef-alert", bytes::Bytes::from(xml(7, "192.0.2.1")));
        for (name, good, bad) in [
            ("source", "192.0.2.0/24", "198.51.100.0/24"),
            ("source", "192.0.2.1", "192.0.2.2"),
            ("source", "0.2.1", "203"),
            ("target", "", "192.0.2.1"),
            ("text", "SCA", "flood"),
            ("text", "m7", "m8"),
            ("severity", "medium", ""),
            ("sensor", "sensor-", "other"),
            ("since", "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"),
            ("until", "2999-01-01T00:00:00Z", "1000000"),
        ] {
            assert!(admits(&[(name, good)], &record), "{name}={good}");
            if !bad.is_empty() {
                assert!(!admits(&[(name, bad)], &record), "{name}={bad}");
            }
        }
        let low = AlertRecord::now("s", "x/y", bytes::Bytes::from(xml(1, "192.0.2.1").replace("high", "low")));
        assert!(!admits(&[("severity", "medium")], &low) && admits(&[("severity", "low")], &low));
        let opaque = AlertRecord::now("s", "x/y", bytes::Bytes::from_static(b"abc"));
        assert!(admits(&[("text", "x/")], &opaque) && !admits(&[("severity", "info")], &opaque));
    }

    #[test]
    fn nonsense_is_named() {
        let mut filter = Filter::default();
        assert!(filter.take("severity", "huge").unwrap_err().contains("info, low, medium or high"));
        assert!(filter.take("since", "yesterday").unwrap_err().starts_with("since: write a time"));
        assert!(filter.take("text", &"x".repeat(1000)).unwrap_err().contains("longer than 256"));
        assert_eq!(filter.take("limit", "3"), Ok(false));
        assert_eq!(filter, Filter::default());
    }
}
