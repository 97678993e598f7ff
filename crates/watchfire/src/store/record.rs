//! One alert as it was received, and the line of JSON it is shown as.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use iap_tokio::manager::AlertKey;
use sha2::{Digest as _, Sha256};

/// Numbers of more octets than this are kept as their digest.
const NUMBER_LIMIT: usize = 64;
/// No more source addresses of one alert than this are indexed.
const SOURCES_LIMIT: usize = 256;

/// An alert as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlertRecord {
    /// When, in microseconds since 1970.
    pub received: i64,
    /// Who sent it: the name in the certificate.
    pub peer: String,
    /// The media type that the sender gave.
    pub content_type: String,
    /// SHA-256 of the body.
    pub sha256: [u8; 32],
    /// What makes it the same alert when it comes again; see [`AlertRecord::new`]. Alerts of one analyzer whose numbers
    /// follow each other have keys that follow each other, so that an index of them grows at its end.
    pub key: Box<[u8]>,
    /// The octets as they came.
    pub body: Bytes,
    /// The body as IDMEF, when it is.
    pub message: Option<Arc<idmef::Message>>,
    /// The addresses of its sources, in canonical form, sorted, without repetition, at most 256.
    pub sources: Vec<IpAddr>,
}

impl AlertRecord {
    /// Takes what was received now and reads it as IDMEF when it looks like XML.
    pub fn now(peer: impl Into<String>, content_type: impl Into<String>, body: Bytes) -> Self {
        let message = Self::parse(&body).map(Arc::new);
        Self::new(jiff::Timestamp::now().as_microsecond(), peer, content_type, body, message)
    }

    /// Takes what was received at `received` (microseconds since 1970) and had been read as `message` already. What
    /// makes it the same alert when it comes again is the peer together with [`AlertKey::of`].
    pub fn new(
        received: i64,
        peer: impl Into<String>,
        content_type: impl Into<String>,
        body: Bytes,
        message: Option<Arc<idmef::Message>>,
    ) -> Self {
        let key = AlertKey::of(message.as_deref(), &body);
        Self::with_key(received, peer, content_type, body, message, &key)
    }

    /// As [`new`](Self::new), where the key is known already.
    pub fn with_key(
        received: i64,
        peer: impl Into<String>,
        content_type: impl Into<String>,
        body: Bytes,
        message: Option<Arc<idmef::Message>>,
        key: &AlertKey,
    ) -> Self {
        // U+0000 cannot be stored as text everywhere; a name that has it is hostile anyway.
        let clean = |text: String| if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
        let (peer, content_type) = (clean(peer.into()), clean(content_type.into()));
        let sha256 = match key {
            AlertKey::Digest(digest) => *digest,
            _ => Sha256::digest(&body).into(),
        };
        let key = written(&peer, key);
        let sources = message.as_deref().map(sources).unwrap_or_default();
        Self { received, peer, content_type, sha256, key, body, message, sources }
    }

    /// Reads a body as IDMEF, however large it is: whether it was too large was asked when it was received.
    pub fn parse(body: &[u8]) -> Option<idmef::Message> {
        let limits = idmef::Limits { size: body.len(), ..idmef::Limits::default() };
        idmef::Decoder::new().with_limits(limits).decode(body).ok()
    }

    /// When it was received, as RFC 3339 in UTC with microseconds.
    pub fn received_text(&self) -> String {
        jiff::Timestamp::from_microsecond(self.received)
            .map_or_else(|_| self.received.to_string(), |time| format!("{time:.6}"))
    }

    /// The line of `--output ndjson:` and of `iap alerts --json`, with its line feed.
    pub fn write_json_line(&self, into: &mut Vec<u8>) {
        // Put together by hand: digest and base64 have nothing to escape, and they are most of the line.
        into.extend_from_slice(b"{\"received\":\"");
        into.extend_from_slice(self.received_text().as_bytes());
        into.extend_from_slice(b"\",\"peer\":");
        json_string(&self.peer, into);
        into.extend_from_slice(b",\"content_type\":");
        json_string(&self.content_type, into);
        into.extend_from_slice(b",\"sha256\":\"");
        into.extend(self.sha256.iter().flat_map(|octet| [HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]));
        into.extend_from_slice(b"\",\"alert\":");
        let start = into.len();
        let alert = self.message.as_deref().is_some_and(|message| serde_json::to_writer(&mut *into, message).is_ok());
        if !alert {
            // Not IDMEF, or a message that has no JSON form (none is known): the octets then.
            into.truncate(start);
            into.extend_from_slice(b"null,\"body\":\"");
            base64_into(&self.body, into);
            into.push(b'"');
        }
        into.extend_from_slice(b"}\n");
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn json_string(text: &str, into: &mut Vec<u8>) {
    serde_json::to_writer(into, text).expect("strings always have a JSON form");
}

fn base64_into(octets: &[u8], into: &mut Vec<u8>) {
    let start = into.len();
    into.resize(start + octets.len().div_ceil(3) * 4, 0);
    let written = base64::engine::general_purpose::STANDARD.encode_slice(octets, &mut into[start..]);
    into.truncate(start + written.expect("four characters for three octets, rounded up, are enough"));
}

/// Half a SHA-256 of whose alert it is, and then its number as it is (or, if that is long, its digest); of what has no
/// number, half a SHA-256 alone. Half is short enough for an index, and long enough that no two meet.
fn written(peer: &str, key: &AlertKey) -> Box<[u8]> {
    let digest = |parts: &[&[u8]]| {
        let mut hash = Sha256::new();
        for part in parts {
            // Lengths first, so that no two different lists of parts give the same octets.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize()
    };
    let peer = peer.as_bytes();
    match key {
        AlertKey::Message { analyzerid, messageid } => {
            let whose = digest(&[peer, b"id", analyzerid.as_bytes()]);
            let long = messageid.len() > NUMBER_LIMIT;
            let (kind, number) =
                if long { (b"#", &digest(&[messageid.as_bytes()])[..]) } else { (b"=", messageid.as_bytes()) };
            [&whose[..16], kind, number].concat().into()
        }
        AlertKey::Digest(octets) => digest(&[peer, b"sha256", octets])[..16].into(),
        // A kind of key that did not exist when this was written.
        other => digest(&[peer, b"other", format!("{other:?}").as_bytes()])[..16].into(),
    }
}

fn sources(message: &idmef::Message) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = message
        .alerts()
        .flat_map(|alert| &alert.source)
        .filter_map(|source| source.node.as_ref())
        .flat_map(|node| &node.address)
        .filter_map(|address| ip(address.address.trim()))
        .collect();
    found.sort();
    found.dedup();
    found.truncate(SOURCES_LIMIT);
    found
}

/// An address as text, or in the hexadecimal forms of RFC 4765; not networks.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Some(addr.to_canonical());
    }
    let digits = text.strip_prefix("0x")?;
    match digits.len() {
        8 => u32::from_str_radix(digits, 16).ok().map(|bits| IpAddr::V4(bits.into())),
        32 => u128::from_str_radix(digits, 16).ok().map(|bits| IpAddr::V6(bits.into()).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An alert as a sensor would send it.
    pub(crate) fn xml(id: usize, source: &str) -> String {
        format!(
            "<IDMEF-Message xmlns=\"http://iana.org/idmef\" version=\"1.0\"><Alert messageid=\"m{id}\">\
             <Analyzer analyzerid=\"sensor-1\"/><CreateTime ntpstamp=\"0xbc722ebe.0x00000000\">2000-03-09T14:07:58Z</CreateTime>\
             <Source><Node><Address category=\"ipv4-addr\"><address>{source}</address></Address></Node></Source>\
             <Classification text=\"scan\"/><Assessment><Impact severity=\"high\">x</Impact></Assessment></Alert></IDMEF-Message>"
        )
    }

    #[test]
    fn idmef_is_known_by_its_ids_and_anything_else_by_its_octets() {
        let body = xml(7, "192.0.2.1");
        let a = AlertRecord::now("s", "application/x-idef-alert", Bytes::from(body.clone()));
        let b = AlertRecord::now("s", "text/xml", Bytes::from(body.replace("high", "low")));
        assert!(a.message.is_some());
        assert_eq!(a.key, b.key);
        assert_ne!(a.sha256, b.sha256);
        assert_ne!(a.key, AlertRecord::now("t", "text/xml", Bytes::from(body)).key);
        assert_ne!(a.key, AlertRecord::now("s", "text/xml", Bytes::from(xml(8, "192.0.2.1"))).key);
        let opaque = |peer: &str, body: &'static [u8]| AlertRecord::now(peer, "x/y", Bytes::from_static(body));
        assert_eq!(opaque("s", b"a").key, opaque("s", b"a").key);
        assert_ne!(opaque("s", b"a").key, opaque("s", b"b").key);
        // In order, as long as they are not too long to be kept.
        let key = |id: &str| {
            let body = xml(7, "192.0.2.1").replace("messageid=\"m7\"", &format!("messageid=\"{id}\""));
            AlertRecord::now("s", "text/xml", Bytes::from(body)).key
        };
        assert!(key("m0000001") < key("m0000002") && key("m0000002") < key("m0000010"));
        assert_eq!(key(&"x".repeat(1000)).len(), 16 + 1 + 32);
        assert_ne!(key(&"x".repeat(1000)), key(&"x".repeat(1001)));
        // Parts cannot be moved from one to the other.
        assert_ne!(opaque("sx", b"a").key, opaque("s", b"xa").key);
    }

    #[test]
    fn lines_are_the_contract() {
        let mut line = Vec::new();
        let body = Bytes::from_static(b"\xff\0");
        AlertRecord::new(1_700_000_000_000_001, "s\n", "x/y", body, None).write_json_line(&mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"received\":\"2023-11-14T22:13:20.000001Z\",\"peer\":\"s\\n\",\"content_type\":\"x/y\",\
             \"sha256\":\"ea5dbf9596d187e9500f23e9a680109475341cf4e81f7e043f7d97152c10772f\",\"alert\":null,\"body\":\"/wA=\"}\n"
        );
        let mut line = Vec::new();
        AlertRecord::now("s", "x/y", Bytes::from(xml(1, "192.0.2.1"))).write_json_line(&mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["alert"]["Alert"][0]["messageid"], "m1");
        assert!(value.get("body").is_none());
    }

    #[test]
    fn addresses_in_every_form() {
        let record = |source: &str| AlertRecord::now("s", "x/y", Bytes::from(xml(1, source))).sources;
        let wanted: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        for form in ["192.0.2.1", " 192.0.2.1\n", "0xc0000201", "::ffff:192.0.2.1"] {
            assert_eq!(record(form), wanted, "{form}");
        }
        assert_eq!(record("2001:0db8:0000::0bad"), ["2001:db8::bad".parse::<IpAddr>().unwrap()]);
        assert!(record("192.0.2.0/24").is_empty() && record("example.com").is_empty());
    }
}
