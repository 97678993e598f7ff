//! An alert line to an Alert.

use super::line::Line;
use super::{Converter, EveError, EveErrorKind, Sense, category};
use crate::model::{
    Action, ActionCategory, AdditionalData, Alert, Assessment, Checksum, ChecksumAlgorithm, Classification, Completion,
    File, FileCategory, Impact, Node, Origin, Reference, Service, Source, Target, WebService,
};
use crate::types::{BASE64, ByteString, DateTime, Integer, Real, Time};
use base64::Engine as _;
use serde_json::{Map, Value};
use std::net::IpAddr;

type Object = Map<String, Value>;

/// Octets of one text.
const MAX_TEXT: usize = 8 << 10;
/// Octets of binary data, whose base64 a reader takes as one text.
const MAX_BINARY: usize = 47 << 10;
/// AdditionalData made from members without another place, and octets of them in all.
const MAX_MEMBERS: usize = 128;
const MAX_MEMBER_OCTETS: usize = 64 << 10;
/// Objects and arrays inside one another that are looked into.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 16;
const MAX_REFERENCES: usize = 32;
const MAX_ARGUMENTS: usize = 64;

/// Members of the line that have a place of their own.
const PLACED: &[&str] = &[
    "alert",
    "community_id",
    "dest_ip",
    "dest_port",
    "event_type",
    "flow_id",
    "packet",
    "payload",
    "proto",
    "src_ip",
    "src_port",
    "timestamp",
];

pub(super) fn alert(converter: &Converter, line: &Line<'_>) -> Result<Alert, EveError> {
    let members = &line.members;
    let Some(rule) = object(members, "alert") else {
        return Err(line.error(EveErrorKind::Missing("alert"), "alert"));
    };
    let Some(timestamp) = text(members, "timestamp") else {
        return Err(line.error(EveErrorKind::Missing("timestamp"), "timestamp"));
    };
    let Ok(time) = timestamp.parse::<DateTime>() else {
        return Err(line.error(EveErrorKind::Invalid("timestamp"), "timestamp"));
    };
    let time = Time::new(time.to_utc());
    let mut alert = Alert::new(converter.analyzer.clone(), time, classification(rule));
    alert.messageid = messageid(converter, members, rule, timestamp, time.datetime()).into();
    alert.detect_time = Some(time);
    let (source, target) = sides(converter.sense, members, rule);
    alert.source.extend(source);
    alert.target.extend(target);
    alert.assessment = assessment(members, rule);
    alert.additional_data = additional_data(converter, line, rule);
    Ok(alert)
}

fn object<'a>(members: &'a Object, name: &str) -> Option<&'a Object> {
    members.get(name)?.as_object()
}

fn text<'a>(members: &'a Object, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

fn number(members: &Object, name: &str) -> Option<u64> {
    members.get(name)?.as_u64()
}

/// At most as much of a text as a message may hold.
fn cut(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].to_owned()
}

fn messageid(converter: &Converter, members: &Object, rule: &Object, timestamp: &str, time: &DateTime) -> String {
    let of = |members: &Object, name: &str| members.get(name).map(Value::to_string).unwrap_or_default();
    let line = ["flow_id", "src_ip", "src_port", "dest_ip", "dest_port", "proto", "pcap_cnt", "tx_id"];
    let mut parts = vec![converter.analyzer.analyzerid.to_string(), timestamp.to_owned()];
    parts.extend(line.iter().map(|name| of(members, name)));
    parts.extend(["gid", "signature_id", "rev"].iter().map(|name| of(rule, name)));
    crate::uuid::uuid_at(time, parts.iter().map(String::as_str))
}

fn classification(rule: &Object) -> Classification {
    let signature = text(rule, "signature").unwrap_or_default();
    let ident = match (number(rule, "gid"), number(rule, "signature_id")) {
        (gid, Some(sid)) => format!("{}:{sid}", gid.unwrap_or(1)).into(),
        _ => Default::default(),
    };
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if !names.contains(&name) && names.len() < MAX_REFERENCES {
            names.push(name);
        }
    };
    if let Some(listed) = object(rule, "metadata").and_then(|metadata| metadata.get("cve")) {
        let listed = listed.as_array().map_or_else(|| std::slice::from_ref(listed), Vec::as_slice);
        listed.iter().filter_map(Value::as_str).flat_map(cves).for_each(&mut add);
    }
    cves(signature).for_each(&mut add);
    let mut reference: Vec<_> = names
        .into_iter()
        .map(|name| Reference {
            origin: Origin::Cve,
            url: format!("https://www.cve.org/CVERecord?id={name}"),
            name,
            meaning: None,
        })
        .collect();
    for url in rule.get("references").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if reference.len() < MAX_REFERENCES {
            let url = cut(url, 1024);
            reference.push(Reference { origin: Origin::VendorSpecific, name: url.clone(), url, meaning: None });
        }
    }
    Classification { ident, text: cut(signature, MAX_TEXT), reference }
}

/// The CVE numbers in a text, also as rules write them: `CVE_2021_44228`, `cve-2021-44228`.
fn cves(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    words.filter_map(|word| {
        let mut parts = word.split(['-', '_']);
        let (cve, year, number) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let is_cve = cve.eq_ignore_ascii_case("cve") && year.len() == 4 && digits(year);
        (is_cve && (4..=19).contains(&number.len()) && digits(number) && parts.next().is_none())
            .then(|| format!("CVE-{year}-{number}"))
    })
}

/// One end of a connection.
#[derive(Clone, Default)]
struct End<'a> {
    ip: Option<&'a str>,
    port: Option<u16>,
    is_server: bool,
}

fn sides(sense: Sense, members: &Object, rule: &Object) -> (Option<Source>, Option<Target>) {
    let end = |ip: &str, port: &str| End {
        ip: text(members, ip),
        port: number(members, port).and_then(|port| port.try_into().ok()),
        is_server: false,
    };
    let (mut source, mut target) = (end("src_ip", "src_port"), end("dest_ip", "dest_port"));
    let answered = text(members, "direction") == Some("to_client");
    source.is_server = answered;
    target.is_server = !answered;
    let named = |name: &str| text(object(rule, name)?, "ip");
    let swap = match (named("source"), named("target")) {
        (Some(attacker), _) if source.ip != target.ip => target.ip == Some(attacker),
        (None, Some(victim)) if source.ip != target.ip => source.ip == Some(victim),
        _ => match (sense, object(members, "flow").and_then(|flow| text(flow, "src_ip"))) {
            (Sense::Packet, _) => false,
            (Sense::Initiator, Some(initiator)) if source.ip != target.ip => target.ip == Some(initiator),
            (Sense::Initiator, _) => answered,
        },
    };
    if swap {
        std::mem::swap(&mut source, &mut target);
    }
    let interface = text(members, "in_iface").map(|name| cut(name, 256));
    let source = Source {
        interface: interface.clone(),
        node: node(&source, members),
        service: service(&source, members),
        ..Source::default()
    };
    let target = Target {
        interface,
        node: node(&target, members),
        service: service(&target, members),
        file: files(members),
        ..Target::default()
    };
    let source_told = source.node.is_some() || source.service.is_some();
    let target_told = target.node.is_some() || target.service.is_some() || !target.file.is_empty();
    (source_told.then_some(source), target_told.then_some(target))
}

fn node(end: &End<'_>, members: &Object) -> Option<Node> {
    let ip = end.ip?;
    let mut node = match ip.parse::<IpAddr>() {
        Ok(ip) => Node::from(ip),
        Err(_) => {
            let address = crate::model::Address { address: cut(ip, 256), ..Default::default() };
            Node { address: vec![address], ..Node::default() }
        }
    };
    let vlan = members.get("vlan").and_then(|vlan| vlan.as_array().map_or(Some(vlan), |tags| tags.first()));
    node.address[0].vlan_num = vlan.and_then(Value::as_u64).map(Integer::from);
    Some(node)
}

fn service(end: &End<'_>, members: &Object) -> Option<Service> {
    let port = end.port?;
    let (number, name) = match text(members, "proto") {
        Some(proto) => category::protocol(&cut(proto, 64)),
        None => (None, String::new()),
    };
    let version = end.ip.and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| if ip.is_ipv4() { 4u8 } else { 6 });
    let application = text(members, "app_proto").filter(|name| !matches!(*name, "failed" | "unknown"));
    Some(Service {
        ip_version: version.map(Integer::from),
        iana_protocol_number: number.map(Integer::from),
        iana_protocol_name: (!name.is_empty()).then_some(name),
        port: Some(port.into()),
        protocol: application.filter(|_| end.is_server).map(|name| cut(name, 64)),
        web_service: if end.is_server { web_service(end, members) } else { None },
        ..Service::default()
    })
}

fn web_service(end: &End<'_>, members: &Object) -> Option<WebService> {
    let http = object(members, "http")?;
    let path = text(http, "url")?;
    let host = text(http, "hostname").filter(|_| path.starts_with('/'));
    let port = number(http, "http_port").or_else(|| end.port.map(u64::from)).filter(|port| *port != 80);
    let url = match (host, port) {
        (Some(host), Some(port)) => format!("http://{}:{port}{}", cut(host, 1024), cut(path, MAX_TEXT)),
        (Some(host), None) => format!("http://{}{}", cut(host, 1024), cut(path, MAX_TEXT)),
        (None, _) => cut(path, MAX_TEXT),
    };
    let (script, query) = path.split_once('?').map_or((path, None), |(script, query)| (script, Some(query)));
    let arg = query.map(|query| cut(query, MAX_TEXT));
    let arg = arg.iter().flat_map(|query| query.splitn(MAX_ARGUMENTS, '&')).filter(|arg| !arg.is_empty());
    Some(WebService {
        url,
        cgi: (query.is_some() || script.contains("/cgi-bin/")).then(|| cut(script, MAX_TEXT)),
        http_method: text(http, "http_method").map(|method| cut(method, 256)),
        arg: arg.map(str::to_owned).collect(),
    })
}

fn files(members: &Object) -> Vec<File> {
    let files = members.get("files").and_then(Value::as_array).into_iter().flatten();
    let file = |it: &Value| {
        let it = it.as_object()?;
        let path = cut(text(it, "filename")?, 1024);
        let name = path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let mut file = File::new(FileCategory::Current, name, path);
        file.data_size = number(it, "size").map(Integer::from);
        let sums = [
            ("md5", ChecksumAlgorithm::Md5),
            ("sha1", ChecksumAlgorithm::Sha1),
            ("sha256", ChecksumAlgorithm::Sha2_256),
        ];
        for (member, algorithm) in sums {
            file.checksum.extend(text(it, member).map(|sum| Checksum { algorithm, value: cut(sum, 128), key: None }));
        }
        Some(file)
    };
    files.take(MAX_FILES).filter_map(file).collect()
}

fn assessment(members: &Object, rule: &Object) -> Option<Assessment> {
    let category = text(rule, "category").unwrap_or_default();
    let verdict = object(members, "verdict").and_then(|verdict| text(verdict, "action"));
    let blocked = text(rule, "action") == Some("blocked") || matches!(verdict, Some("drop" | "reject"));
    let impact = Impact {
        severity: number(rule, "severity").map(category::severity),
        completion: if blocked { Some(Completion::Failed) } else { category::completion(category) },
        kind: category::impact_type(category),
        text: cut(category, MAX_TEXT),
    };
    let block = Action { category: ActionCategory::BlockInstalled, text: String::new() };
    Some(Assessment { impact: Some(impact), action: if blocked { vec![block] } else { Vec::new() }, confidence: None })
}

fn additional_data(converter: &Converter, line: &Line<'_>, rule: &Object) -> Vec<AdditionalData> {
    let members = &line.members;
    let mut data = Collector::default();
    for name in ["gid", "signature_id", "rev", "action"] {
        data.add(name, rule.get(name), 0);
    }
    for name in ["proto", "flow_id", "community_id"] {
        data.add(name, members.get(name), 0);
    }
    for (name, value) in rule {
        let placed = ["gid", "signature_id", "rev", "action", "signature", "category", "severity", "references"];
        if !placed.contains(&name.as_str()) {
            data.add(&format!("alert.{}", cut(name, 128)), Some(value), 0);
        }
    }
    for (name, value) in members {
        let printed = name == "payload_printable" && members.contains_key("payload");
        if !PLACED.contains(&name.as_str()) && !printed {
            data.add(&cut(name, 128), Some(value), 0);
        }
    }
    for name in ["payload", "packet"] {
        match text(members, name).map(|base64| BASE64.decode(base64)) {
            Some(Ok(octets)) => data.binary(name, octets),
            Some(Err(_)) => data.add(name, members.get(name), 0),
            None => {}
        }
    }
    if converter.include_eve {
        data.binary("eve", line.octets.trim_ascii().to_vec());
    }
    data.finish()
}

/// AdditionalData within bounds.
#[derive(Default)]
struct Collector {
    data: Vec<AdditionalData>,
    members: usize,
    octets: usize,
    omitted: Vec<String>,
}

impl Collector {
    /// A member, with the members in it.
    fn add(&mut self, path: &str, value: Option<&Value>, depth: usize) {
        let Some(value) = value else { return };
        match value {
            Value::Null => {}
            Value::Object(members) if depth < MAX_DEPTH && path.len() < 512 => {
                for (name, value) in members {
                    self.add(&format!("{path}.{}", cut(name, 128)), Some(value), depth + 1);
                }
            }
            Value::Array(values) if depth < MAX_DEPTH => {
                values.iter().for_each(|value| self.add(path, Some(value), depth + 1));
            }
            Value::Object(_) | Value::Array(_) => self.omit(path),
            Value::Bool(value) => self.push(path, 8, || (*value).into()),
            Value::Number(value) => self.push(path, 24, || match (value.as_i64(), value.as_u64(), value.as_f64()) {
                (Some(value), ..) => Integer::from(value).into(),
                (_, Some(value), _) => Integer::from(value).into(),
                (.., value) => value.and_then(Real::new).unwrap_or_default().into(),
            }),
            Value::String(value) => {
                if value.len() > MAX_TEXT {
                    self.omit(path);
                }
                self.push(path, value.len().min(MAX_TEXT), || cut(value, MAX_TEXT).into());
            }
        }
    }

    fn push(&mut self, path: &str, octets: usize, data: impl FnOnce() -> crate::model::Data) {
        let octets = self.octets + octets + path.len();
        if self.members == MAX_MEMBERS || octets > MAX_MEMBER_OCTETS {
            return self.omit(path);
        }
        self.members += 1;
        self.octets = octets;
        self.data.push(AdditionalData::new(path, data()));
    }

    fn binary(&mut self, name: &str, octets: Vec<u8>) {
        if octets.len() > MAX_BINARY {
            return self.omit(name);
        }
        self.data.push(AdditionalData::new(name, ByteString(octets)));
    }

    /// Notes that a member is not there, or not whole.
    fn omit(&mut self, path: &str) {
        if self.omitted.len() < MAX_REFERENCES && self.omitted.last().is_none_or(|last| last != path) {
            self.omitted.push(cut(path, 128));
        }
    }

    fn finish(mut self) -> Vec<AdditionalData> {
        if !self.omitted.is_empty() {
            self.data.push(AdditionalData::new("omitted", self.omitted.join(", ")));
        }
        self.data
    }
}
