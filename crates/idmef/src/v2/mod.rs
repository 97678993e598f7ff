//! IDMEFv2 out: draft-lehmann-idmefv2, revision 2.D.V08, which is JSON.
//!
//! The draft still moves, so that this direction alone is offered: every [`Alert`] and [`Heartbeat`] of a message
//! becomes one object that the schema of that revision accepts.
//!
//! ```
//! # #[cfg(feature = "v2")] {
//! use idmef::{Alert, Analyzer, DateTime, Message};
//!
//! let analyzer = Analyzer { analyzerid: "sensor-01".into(), ..Default::default() };
//! let time: DateTime = "2023-11-14T22:13:20Z".parse()?;
//! let message = Message::from(Alert::new(analyzer, time, "phf attempt".into()));
//! let [alert] = &idmef::v2::from_message(&message)[..] else { panic!() };
//! assert_eq!(alert["Version"], "2.D.V08");
//! assert_eq!(alert["Description"], "phf attempt");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What becomes of the classes
//!
//! | RFC 4765 | IDMEFv2 |
//! | --- | --- |
//! | `messageid` | `ID` when it is a UUID; otherwise `AltNames`, and `ID` is a UUID made from analyzerid, messageid and time |
//! | CreateTime, DetectTime, AnalyzerTime | `CreateTime`, `StartTime`, `ReportTime` |
//! | Analyzer, and those behind it | `Analyzer`, `Sensor` |
//! | Source, Target | one object for each address; ports, protocols, user, service |
//! | Classification | `Description`, references in `Ref` |
//! | Impact | `Priority`, `Category`; its text in `AltCategory` |
//! | Confidence, when a number from 0 to 1 | `Confidence` |
//! | CorrelationAlert | `CorrelID` (identifiers that are UUIDs) |
//! | AdditionalData of octets or XML | `Attachment` |
//! | other AdditionalData | `Note`, as `meaning: value` lines |
//! | Heartbeat | category `Availability.HeartBeat` |

mod parts;

use crate::model::{Alert, AlertKind, Data, Heartbeat, ImpactType, Item, Message, Origin, Rating, Severity};
use crate::types::Time;
use parts::Object;
use serde_json::{Value, json};

/// The revision of the format.
pub const VERSION: &str = "2.D.V08";

/// One IDMEFv2 object for each alert and heartbeat, in their order.
pub fn from_message(message: &Message) -> Vec<Value> {
    let object = |item: &Item| match item {
        Item::Alert(alert) => from_alert(alert),
        Item::Heartbeat(heartbeat) => from_heartbeat(heartbeat),
    };
    message.items.iter().map(object).collect()
}

/// The IDMEFv2 object of an alert.
pub fn from_alert(alert: &Alert) -> Value {
    let mut out = start(&alert.messageid, &alert.analyzer, &alert.create_time);
    let id = out["ID"].as_str().unwrap_or_default().to_owned();
    out.insert("Type".into(), json!(["Cyber"]));
    out.insert("Status".into(), json!(["Event"]));
    if !alert.classification.text.is_empty() {
        out.insert("Description".into(), alert.classification.text.as_str().into());
    }
    if let Some(time) = &alert.detect_time {
        out.insert("StartTime".into(), time.datetime().to_string().into());
    }
    if let Some(time) = &alert.analyzer_time {
        out.insert("ReportTime".into(), time.datetime().to_string().into());
    }
    assessment(alert, &mut out);
    references(alert, &mut out);
    let source: Vec<_> = alert.source.iter().enumerate().flat_map(|(i, it)| parts::source(it, &id, i)).collect();
    let target: Vec<_> = alert.target.iter().enumerate().flat_map(|(i, it)| parts::target(it, &id, i)).collect();
    insert_some(&mut out, "Source", source);
    insert_some(&mut out, "Target", target);
    if let Some(AlertKind::Correlation(correlation)) = &alert.kind {
        let earlier = correlation.alertident.iter().map(|it| it.alertident.as_str());
        let earlier: Vec<Value> = earlier.filter(|id| parts::is_uuid(id)).map(Value::from).collect();
        insert_some(&mut out, "CorrelID", earlier);
    }
    data(&alert.additional_data, &mut out);
    Value::Object(out)
}

/// The IDMEFv2 object of a heartbeat.
pub fn from_heartbeat(heartbeat: &Heartbeat) -> Value {
    let mut out = start(&heartbeat.messageid, &heartbeat.analyzer, &heartbeat.create_time);
    out.insert("Type".into(), json!(["Availability"]));
    out.insert("Category".into(), json!(["Availability.HeartBeat"]));
    out.insert("Status".into(), json!(["Event"]));
    out.insert("Priority".into(), "Info".into());
    if let Some(time) = &heartbeat.analyzer_time {
        out.insert("ReportTime".into(), time.datetime().to_string().into());
    }
    data(&heartbeat.additional_data, &mut out);
    Value::Object(out)
}

fn insert_some(out: &mut Object, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        out.insert(name.into(), values.into());
    }
}

fn start(messageid: &crate::types::Ident, analyzer: &crate::model::Analyzer, time: &Time) -> Object {
    let mut out = Object::new();
    let time = time.datetime().to_string();
    out.insert("Version".into(), VERSION.into());
    if parts::is_uuid(messageid.as_str()) {
        out.insert("ID".into(), messageid.as_str().into());
    } else {
        let id = crate::uuid::uuid([analyzer.analyzerid.as_str(), messageid.as_str(), &time]);
        out.insert("ID".into(), id.into());
        if !messageid.is_unset() {
            out.insert("AltNames".into(), json!([messageid.as_str()]));
        }
    }
    out.insert("CreateTime".into(), time.into());
    out.insert("Analyzer".into(), parts::analyzer(analyzer));
    let sensors = analyzer.chain().skip(1).map(parts::sensor).collect();
    insert_some(&mut out, "Sensor", sensors);
    out
}

fn assessment(alert: &Alert, out: &mut Object) {
    let impact = alert.assessment.as_ref().and_then(|assessment| assessment.impact.as_ref());
    let priority = match impact.and_then(|impact| impact.severity.as_ref()) {
        Some(Severity::Info) => "Info",
        Some(Severity::Low) => "Low",
        Some(Severity::Medium) => "Medium",
        Some(Severity::High) => "High",
        Some(Severity::Other(_)) | None => "Unknown",
    };
    out.insert("Priority".into(), priority.into());
    let category = match impact.map(|impact| &impact.kind) {
        Some(ImpactType::Admin | ImpactType::User) => "Access.Escalation",
        Some(ImpactType::Dos) => "Availability.DoS",
        Some(ImpactType::File) => "Sabotage.Data",
        Some(ImpactType::Recon) => "Recon.Network",
        Some(ImpactType::Unlisted | ImpactType::Other(_)) | None => "Other.Undetermined",
    };
    out.insert("Category".into(), json!([category]));
    if let Some(impact) = impact.filter(|impact| !impact.text.is_empty()) {
        out.insert("AltCategory".into(), json!([impact.text]));
    }
    let confidence = alert.assessment.as_ref().and_then(|assessment| assessment.confidence.as_ref());
    let number = confidence.filter(|it| it.rating == Rating::Numeric).and_then(|it| it.value);
    if let Some(number) = number.filter(|number| (0.0..=1.0).contains(&number.to_f64())) {
        out.insert("Confidence".into(), number.to_f64().into());
    }
}

fn references(alert: &Alert, out: &mut Object) {
    let mut urls: Vec<Value> = Vec::new();
    for reference in &alert.classification.reference {
        let cve = (reference.origin == Origin::Cve && reference.name.bytes().all(|b| b.is_ascii_graphic()))
            .then(|| format!("urn:cve:{}", reference.name));
        let url = parts::is_uri(&reference.url).then(|| reference.url.clone());
        for url in [cve, url].into_iter().flatten().map(Value::from) {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    insert_some(out, "Ref", urls);
}

fn data(data: &[crate::model::AdditionalData], out: &mut Object) {
    let (mut attachments, mut note) = (Vec::new(), String::new());
    for it in data {
        let meaning = it.meaning.as_deref().unwrap_or_default();
        match &it.data {
            Data::ByteString(octets) => attachments.push(parts::octets(attachments.len(), meaning, octets)),
            Data::XmlText(text) => attachments.push(parts::xml(attachments.len(), meaning, text)),
            other => {
                note.push_str(meaning);
                note.push_str(": ");
                note.push_str(&other.to_text());
                note.push('\n');
            }
        }
    }
    insert_some(out, "Attachment", attachments);
    if !note.is_empty() {
        note.pop();
        out.insert("Note".into(), note.into());
    }
}
