//! What is written as IDMEFv2 is what its schema allows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![cfg(feature = "v2")]

mod common;

use idmef::{Alert, AlertKind, Analyzer, CorrelationAlert, DateTime, Heartbeat, Message, v2};
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_slice(&common::read("idmef/idmefv2/IDMEFv2-D.V08.schema.json")).unwrap()
}

/// Every way in which `value` breaks `schema`, for the keywords that this schema uses.
fn violations(root: &Value, schema: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
                violations(root, &root["definitions"][name], value, path, out);
                true
            }
            "type" => {
                let kinds = rule.as_array().map_or_else(|| std::slice::from_ref(rule), Vec::as_slice);
                kinds.iter().any(|kind| match kind.as_str().unwrap() {
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("type {other}"),
                })
            }
            "enum" => rule.as_array().unwrap().contains(value),
            "pattern" => value.as_str().is_some_and(|text| matches_pattern(rule.as_str().unwrap(), text)),
            "format" => value.as_str().is_some_and(|text| match rule.as_str().unwrap() {
                "uri" => text.split_once(':').is_some_and(|(scheme, _)| !scheme.is_empty()) && !text.contains(' '),
                "email" => text.contains('@'),
                other => panic!("format {other}"),
            }),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    violations(root, rule, item, &format!("{path}[{index}]"), out);
                }
                true
            }
            "required" => rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(name) {
                        violations(root, rule, member, &format!("{path}.{name}"), out);
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(rule, false);
                value.as_object().into_iter().flatten().all(|(name, _)| schema["properties"].get(name).is_some())
            }
            "description" | "title" | "$schema" | "definitions" | "exclusiveMinimum" => true,
            other => panic!("keyword {other}"),
        };
        if !holds {
            out.push(format!("{path} breaks {keyword}: {value}"));
        }
    }
}

/// The schema's patterns by what they mean: there is no engine for them here.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let alphanumeric = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if pattern == "^[a-zA-Z0-9]+$" {
        alphanumeric(text)
    } else if pattern.starts_with("^[0-9A-Fa-f]{8}(-") {
        let parts: Vec<_> = text.split('-').collect();
        parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
            && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
    } else if pattern.starts_with("^[0-9]{4}-(0[0-9]") {
        text.parse::<DateTime>().is_ok() && !text.contains(',') && text.as_bytes()[11..13] != *b"24"
    } else if pattern.starts_with("^(((25[0-5]") {
        text.parse::<std::net::IpAddr>().is_ok()
    } else if pattern == "^[a-zA-Z0-9](-?[a-zA-Z0-9])*$" {
        text.split('-').all(alphanumeric)
    } else if pattern.starts_with("^[a-zA-Z0-9-]+:([a-fA-F0-9]{2})+$") {
        text.split_once(':').is_some_and(|(_, hex)| hex.len() % 2 == 0 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    } else if pattern.starts_with("^[-!#$%&'*+.^_`|~0-9a-zA-Z]+/") {
        text.split_once('/').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
    } else {
        panic!("pattern {pattern}")
    }
}

fn check(message: &Message) -> Vec<Value> {
    let schema = schema();
    let objects = v2::from_message(message);
    for object in &objects {
        let mut out = Vec::new();
        violations(&schema, &schema, object, "", &mut out);
        assert!(out.is_empty(), "{out:#?}\n{object:#}");
    }
    objects
}

#[test]
fn the_validator_finds_faults() {
    let schema = schema();
    let good: Value = serde_json::from_slice(&common::read("idmef/idmefv2/alert-from-eve.json")).unwrap();
    let faults = |value: &Value| {
        let mut out = Vec::new();
        violations(&schema, &schema, value, "", &mut out);
        out.len()
    };
    assert_eq!(faults(&good), 0);
    for (pointer, bad) in [
        ("/ID", "x".into()),
        ("/Version", "2.D.V07".into()),
        ("/Category/0", "Recon.Scanning".into()),
        ("/Source/0/IP", "1.2.3".into()),
        ("/Source/0/Port/0", "80".into()),
        ("/CreateTime", "yesterday".into()),
        ("/Priority", 1.into()),
        ("/Source/0/Protocol/0", "a_b".into()),
    ] as [(&str, Value); 8]
    {
        let mut broken = good.clone();
        *broken.pointer_mut(pointer).unwrap() = bad;
        assert_eq!(faults(&broken), 1, "{pointer}");
    }
    let mut broken = good.clone();
    broken["Target"][0]["Protocol"] = "tcp".into();
    broken["Analyzer"].as_object_mut().unwrap().remove("Name");
    assert_eq!(faults(&broken), 2);
}

#[test]
fn every_vector_becomes_what_the_schema_allows() {
    for (name, octets) in common::all_documents() {
        let objects = check(&Message::decode(&octets).unwrap());
        assert_eq!(objects.len(), 1, "{name}");
    }
}

#[test]
fn heartbeats() {
    let message = Message::decode(&common::read("idmef/idmef-prelude/split/02.xml")).unwrap();
    let heartbeat = &check(&message)[0];
    assert_eq!(heartbeat["Category"][0], "Availability.HeartBeat");
    assert_eq!(heartbeat["Sensor"][0]["Name"], "1211225522467451");
    assert_eq!(heartbeat["AltNames"][0], "1e7bb912-e62f-11f1-889a");
    assert_eq!(heartbeat["Note"], "Analyzer status: starting\nAnalyzer SHA1: 26321801e77ab1709a506fe5a0f935bc5bd036aa");
    assert_eq!(v2::from_message(&message), check(&message), "identifiers are stable");
}

#[test]
fn alert_as_the_hand_made_one() {
    let message = Message::decode(&common::read("idmef/idmef-from-eve/alert-01.xml")).unwrap();
    let ours = &check(&message)[0];
    let theirs: Value = serde_json::from_slice(&common::read("idmef/idmefv2/alert-from-eve.json")).unwrap();
    for pointer in [
        "/Version",
        "/CreateTime",
        "/Type",
        "/Description",
        "/Priority",
        "/Status",
        "/Analyzer/Name",
        "/Analyzer/Model",
        "/Analyzer/Category",
        "/Analyzer/Data",
        "/Source/0/IP",
        "/Source/0/Port",
        "/Source/0/Protocol/0",
        "/Target/0/IP",
        "/Target/0/Port",
    ] {
        assert_eq!(ours.pointer(pointer), theirs.pointer(pointer), "{pointer}");
    }
    assert_eq!(ours["ID"], "e346fcd5-4db7-5d42-8f9a-3d084d860f4a");
    assert_eq!(ours["Attachment"][0]["ContentType"], "application/json");
}

#[test]
fn correlation_confidence_and_odd_text() {
    let time: DateTime = "2000-03-09T14:07:58Z".parse().unwrap();
    let mut alert = Alert::new(Analyzer::default(), time, "".into());
    let id = "e346fcd5-4db7-5d42-8f9a-3d084d860f4a";
    alert.kind =
        Some(AlertKind::Correlation(CorrelationAlert { name: "x".into(), alertident: vec![id.into(), "7".into()] }));
    let confidence = idmef::Confidence { rating: idmef::Rating::Numeric, value: idmef::Real::new(0.75) };
    alert.assessment = Some(idmef::Assessment { confidence: Some(confidence), ..Default::default() });
    alert.classification.reference.push(idmef::Reference { url: "not a uri".into(), ..Default::default() });
    alert.source.push(Default::default());
    alert.source[0].node = Some(idmef::Node {
        address: vec![
            idmef::Address { category: idmef::AddressCategory::EMail, address: "a@b".into(), ..Default::default() },
            idmef::Address { category: idmef::AddressCategory::Mac, address: "00:11".into(), ..Default::default() },
            idmef::Address { address: "0xde796f70".into(), ..Default::default() },
        ],
        ..Default::default()
    });
    alert.source[0].service = Some(idmef::Service {
        portlist: "0-3,65535".parse().ok(),
        iana_protocol_name: Some("not a token".into()),
        ..Default::default()
    });
    let object = &check(&Message::from(alert))[0];
    assert_eq!(object["CorrelID"], serde_json::json!([id]));
    assert_eq!(object["Confidence"], 0.75);
    assert_eq!(object["Analyzer"]["Name"], "unknown");
    assert_eq!(object.get("Ref"), None);
    assert_eq!(object["Source"][0]["Email"], "a@b");
    assert_eq!(object["Source"][1]["Note"], "mac 00:11");
    assert_eq!(object["Source"][2]["IP"], "222.121.111.112");
    assert_eq!(object["Source"][2]["Port"], serde_json::json!([1, 2, 3, 65535]));
    let heartbeat = Heartbeat::new(Analyzer { class: Some("Concentrator".into()), ..Default::default() }, time);
    assert_eq!(check(&heartbeat.into())[0]["Analyzer"]["ext-Category"][0], "Concentrator");
}

#[cfg(feature = "eve")]
#[test]
fn alerts_from_eve() {
    let converter = idmef::eve::Converter::suricata("sensor-01");
    let file = common::read("suricata/eve-allrules.json");
    let mut count = 0;
    for line in file.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        if let Some(message) = converter.convert(line).unwrap() {
            count += check(&message).len();
        }
    }
    assert!(count > 0);
}
