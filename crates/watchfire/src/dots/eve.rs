//! Suricata's alerts, as far as they say who attacks whom.

use std::net::IpAddr;

use serde::Deserialize;

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Alert {
    /// Which rule of Suricata's.
    pub signature_id: u64,
    /// Its text.
    pub signature: String,
    /// Its class.
    pub category: String,
    /// How bad; 1 is the worst.
    pub severity: Option<u8>,
    /// Who attacks.
    pub source: IpAddr,
    /// Who is attacked.
    pub target: IpAddr,
    /// On which port, when it is known.
    pub target_port: Option<u16>,
    /// By which protocol.
    pub protocol: Option<u8>,
    /// When.
    pub at: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event_type: Option<std::borrow::Cow<'a, str>>,
    timestamp: Option<String>,
    src_ip: Option<IpAddr>,
    dest_ip: Option<IpAddr>,
    src_port: Option<u16>,
    dest_port: Option<u16>,
    proto: Option<String>,
    alert: Option<Body>,
}

#[derive(Deserialize)]
struct Body {
    signature_id: Option<u64>,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    category: String,
    severity: Option<u8>,
    source: Option<Side>,
    target: Option<Side>,
}

#[derive(Deserialize)]
struct Side {
    ip: Option<IpAddr>,
    port: Option<u16>,
}

/// What a line of eve.json is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "looked at at once")]
pub enum Event {
    /// An alert between two addresses.
    Alert(Alert),
    /// Something else.
    Other,
    /// Not JSON, or not as Suricata writes it.
    Malformed,
}

/// Reads a line. Where a rule of Suricata's says who is the target, that counts; else whoever the packet was for.
pub fn read(line: &[u8]) -> Event {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return Event::Malformed };
    if line.event_type.as_deref() != Some("alert") {
        return Event::Other;
    }
    let Some(alert) = line.alert else { return Event::Malformed };
    let (Some(from), Some(to)) = (line.src_ip, line.dest_ip) else { return Event::Other };
    let (source, target, target_port) = match (&alert.source, &alert.target) {
        (Some(Side { ip: Some(source), .. }), Some(Side { ip: Some(target), port })) => (*source, *target, *port),
        (_, Some(Side { ip: Some(target), port })) if *target == from => (to, from, port.or(line.src_port)),
        _ => (from, to, line.dest_port),
    };
    Event::Alert(Alert {
        signature_id: alert.signature_id.unwrap_or_default(),
        signature: alert.signature,
        category: alert.category,
        severity: alert.severity,
        source,
        target,
        target_port: target_port.filter(|port| *port != 0),
        protocol: line.proto.as_deref().and_then(protocol),
        at: line.timestamp.as_deref().and_then(moment),
    })
}

/// As Suricata names them.
fn protocol(name: &str) -> Option<u8> {
    let known = [("TCP", 6), ("UDP", 17), ("ICMP", 1), ("IPv6-ICMP", 58), ("SCTP", 132), ("GRE", 47), ("ESP", 50)];
    known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| number)
}

/// `2026-01-31T12:00:00.000000+0000`, or RFC 3339.
fn moment(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok().or_else(|| jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"timestamp":"2026-01-31T12:00:00.000001+0100","event_type":"alert","src_ip":"192.0.2.1","src_port":123,
        "dest_ip":"198.51.100.7","dest_port":4444,"proto":"UDP","alert":{"action":"allowed","gid":1,"signature_id":2016016,
        "signature":"DOS","category":"Attempted Denial of Service","severity":2}}"#;

    #[test]
    fn who_attacks_whom() {
        let Event::Alert(alert) = read(LINE.as_bytes()) else { panic!("an alert") };
        assert_eq!(alert.source.to_string(), "192.0.2.1");
        assert_eq!((alert.target.to_string().as_str(), alert.target_port), ("198.51.100.7", Some(4444)));
        assert_eq!((alert.signature_id, alert.protocol, alert.severity), (2016016, Some(17), Some(2)));
        assert_eq!(alert.at.unwrap().to_string(), "2026-01-31T11:00:00.000001Z");
        let turned = LINE.replace(
            "\"severity\":2",
            r#""severity":2,"source":{"ip":"198.51.100.7","port":4444},"target":{"ip":"192.0.2.1","port":123}"#,
        );
        let Event::Alert(alert) = read(turned.as_bytes()) else { panic!("an alert") };
        assert_eq!((alert.target.to_string().as_str(), alert.target_port), ("192.0.2.1", Some(123)));
    }

    #[test]
    fn other_lines_are_told_apart() {
        assert_eq!(read(br#"{"event_type":"flow"}"#), Event::Other);
        assert_eq!(read(br#"{"event_type":"alert"}"#), Event::Malformed);
        for bad in ["", "x", "[]", r#"{"event_type":"alert","src_ip":"x"}"#] {
            assert_eq!(read(bad.as_bytes()), Event::Malformed, "{bad}");
        }
    }
}
