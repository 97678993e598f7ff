//! Analyzer, Sensor, Source, Target and Attachment of IDMEFv2.

use crate::model::{AddressCategory, Analyzer, Node, Service, Source, Target, User};
use crate::types::{ByteString, Value as _, XmlText};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;

pub(super) type Object = serde_json::Map<String, Value>;

/// Ports of one Source or Target.
const MAX_PORTS: usize = 1024;

/// What the draft calls analyzers, by the words that RFC 4765 senders use for their `class`.
const CATEGORIES: &[(&str, &str)] = &[
    ("NIDS", "NET.NIDS"),
    ("NIPS", "NET.NIPS"),
    ("HIDS", "END.HIDS"),
    ("HIPS", "END.HIPS"),
    ("Firewall", "NET.FW"),
    ("WAF", "NET.WAF"),
    ("Antivirus", "END.AV"),
    ("Log Analyzer", "SIEM.LOG"),
    ("Honeypot", "END.HPT"),
];

pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

pub(super) fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && text.bytes().all(|b| {
            b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        })
}

pub(super) fn analyzer(analyzer: &Analyzer) -> Value {
    let mut out = machine(analyzer);
    let class = analyzer.class.as_deref().unwrap_or_default();
    if let Some((_, category)) = CATEGORIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(class)) {
        out.insert("Category".into(), json!([category]));
        if category.starts_with("NET.NI") {
            out.insert("Data".into(), json!(["Network"]));
        }
    } else if !class.is_empty() {
        out.insert("Category".into(), json!(["ext-value"]));
        out.insert("ext-Category".into(), json!([class]));
    }
    Value::Object(out)
}

pub(super) fn sensor(analyzer: &Analyzer) -> Value {
    Value::Object(machine(analyzer))
}

/// What Analyzer and Sensor have in common.
fn machine(analyzer: &Analyzer) -> Object {
    let mut out = Object::new();
    let id = analyzer.analyzerid.as_str();
    let name = if analyzer.analyzerid.is_unset() { analyzer.name.as_deref() } else { Some(id) };
    out.insert("Name".into(), name.unwrap_or("unknown").into());
    if is_uuid(id) {
        out.insert("ID".into(), id.into());
    }
    if let Some(node) = &analyzer.node {
        if let Some(ip) = node.address.iter().find_map(|address| ip(&address.address)) {
            out.insert("IP".into(), ip.into());
        }
        insert_text(&mut out, "Hostname", node.name.as_deref());
        insert_text(&mut out, "Location", node.location.as_deref());
    }
    let model = [analyzer.model.as_deref(), analyzer.version.as_deref()].into_iter().flatten().collect::<Vec<_>>();
    insert_text(&mut out, "Model", Some(&model.join(" ")).filter(|model| !model.is_empty()).map(String::as_str));
    out
}

pub(super) fn source(source: &Source, id: &str, index: usize) -> Vec<Value> {
    let mut common = Object::new();
    place(source.node.as_ref(), source.user.as_ref(), &mut common);
    if let Some(service) = &source.service {
        insert_all(&mut common, "Protocol", protocols(service));
        insert_all(&mut common, "Port", ports(service));
    }
    each_address(source.node.as_ref(), common, id, "source", index)
}

pub(super) fn target(target: &Target, id: &str, index: usize) -> Vec<Value> {
    let mut common = Object::new();
    place(target.node.as_ref(), target.user.as_ref(), &mut common);
    let mut name = target.process.as_ref().map(|process| process.name.as_str());
    if let Some(service) = &target.service {
        name = service.name.as_deref().or(service.protocol.as_deref()).or(name);
        insert_all(&mut common, "Port", ports(service));
    }
    insert_text(&mut common, "Service", name);
    each_address(target.node.as_ref(), common, id, "target", index)
}

fn place(node: Option<&Node>, user: Option<&User>, out: &mut Object) {
    insert_text(out, "Hostname", node.and_then(|node| node.name.as_deref()));
    insert_text(out, "Location", node.and_then(|node| node.location.as_deref()));
    let user = user.into_iter().flat_map(|user| &user.user_id);
    let user = user.filter_map(|id| id.name.clone().or_else(|| id.number.map(|number| number.to_string()))).next();
    insert_text(out, "User", user.as_deref());
}

/// One object for each address, or one without.
fn each_address(node: Option<&Node>, common: Object, id: &str, side: &str, index: usize) -> Vec<Value> {
    let addresses = node.map_or(&[][..], |node| &node.address);
    let mut out = Vec::with_capacity(addresses.len().max(1));
    for number in 0..addresses.len().max(1) {
        let mut object = common.clone();
        let name = format!("{side} {index} {number}");
        object.insert("ID".into(), crate::uuid::uuid([id, &name]).into());
        if let Some(address) = addresses.get(number) {
            match (&address.category, ip(&address.address)) {
                (_, Some(ip)) => drop(object.insert("IP".into(), ip.into())),
                (AddressCategory::EMail, None) if is_mail(&address.address) => {
                    object.insert("Email".into(), address.address.as_str().into());
                }
                _ => drop(object.insert("Note".into(), format!("{} {}", address.category, address.address).into())),
            }
        }
        out.push(Value::Object(object));
    }
    out
}

/// An address as the draft's pattern has it; IPv4 in hexadecimal too.
fn ip(text: &str) -> Option<String> {
    if let Some(hex) = text.strip_prefix("0x").filter(|hex| hex.len() == 8) {
        return u32::from_str_radix(hex, 16).ok().map(|bits| std::net::Ipv4Addr::from(bits).to_string());
    }
    text.parse::<IpAddr>().ok().map(|ip| ip.to_string())
}

fn is_mail(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        && text.bytes().all(|b| b.is_ascii_graphic())
}

fn protocols(service: &Service) -> Vec<Value> {
    let names = [service.iana_protocol_name.as_deref(), service.protocol.as_deref()].into_iter().flatten();
    names.filter(|name| is_protocol(name)).map(Value::from).collect()
}

/// Letters and digits, with single hyphens between them.
fn is_protocol(name: &str) -> bool {
    name.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn ports(service: &Service) -> Vec<Value> {
    let single = service.port.and_then(|port| port.to_u16());
    let listed = service.portlist.iter().flat_map(|list| list.ranges()).flat_map(|range| range.first()..=range.last());
    single.into_iter().chain(listed).filter(|port| *port != 0).take(MAX_PORTS).map(Value::from).collect()
}

pub(super) fn octets(index: usize, meaning: &str, octets: &ByteString) -> Value {
    let kind = if meaning == "eve" { "application/json" } else { "application/octet-stream" };
    // The draft takes the digest of the content before it is encoded.
    let digest: String = Sha256::digest(&octets.0).iter().map(|octet| format!("{octet:02x}")).collect();
    json!({
        "Name": format!("data{index}"),
        "Note": meaning,
        "ContentType": kind,
        "ContentEncoding": "base64",
        "Size": octets.0.len(),
        "Hash": [format!("sha256:{digest}")],
        "Content": octets.text(),
    })
}

pub(super) fn xml(index: usize, meaning: &str, text: &XmlText) -> Value {
    let octets = ByteString(text.as_str().as_bytes().to_vec());
    let mut out = self::octets(index, meaning, &octets);
    out["ContentType"] = "text/xml".into();
    out
}

fn insert_text(out: &mut Object, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        out.insert(name.into(), text.into());
    }
}

fn insert_all(out: &mut Object, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        out.insert(name.into(), values.into());
    }
}
