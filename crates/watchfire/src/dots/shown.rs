//! How a mitigation is shown: the names of RFC 7951, with who and under which name beside them.

use dots_callhome::body::{Body, Scope};
use dots_tokio::server::ActiveMitigation;
use serde_json::{Map, Value};

/// The members of a scope.
pub fn members(scope: &Scope) -> Map<String, Value> {
    let json = Body::from(scope.clone()).to_json();
    let first = json.pointer("/ietf-dots-signal-channel:mitigation-scope/scope/0");
    first.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// One object: the scope's members, `peer`, `cuid` and `mid`.
pub fn object(peer: &str, cuid: &str, mid: u32, scope: &Scope) -> Value {
    let mut members = members(scope);
    members.insert("peer".to_owned(), peer.into());
    members.insert("cuid".to_owned(), cuid.into());
    members.insert("mid".to_owned(), mid.into());
    Value::Object(members)
}

/// A mitigation of a Call Home server: the same, and the number by which an administrator knows it.
pub fn active(one: &ActiveMitigation) -> Value {
    let mut shown = object(&one.peer, &one.cuid, one.mid, &one.report);
    shown["id"] = one.id.get().into();
    shown["awaits-consent"] = one.awaits_consent.into();
    shown
}

/// The line that asks for consent.
pub fn consent(mut shown: Value) -> Value {
    shown["event"] = "consent".into();
    shown
}

/// The line of an event, whose first members are those of the contract.
pub fn event(cuid: &str, mid: u32, status: &str, more: Map<String, Value>) -> String {
    let text = |text: &str| Value::from(text).to_string();
    let mut line =
        format!("{{\"event\":\"mitigation\",\"cuid\":{},\"mid\":{mid},\"status\":{}", text(cuid), text(status));
    for (name, value) in more {
        if !["event", "cuid", "mid", "status"].contains(&name.as_str()) {
            line.push_str(&format!(",{}:{value}", text(&name)));
        }
    }
    line.push('}');
    line
}

/// One line for people.
pub fn row(object: &Value) -> String {
    let text = |name: &str| match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    // What a peer says must not move the cursor.
    let line = format!(
        "{} mid {} {}: {} to {}, {} s left, {} packets ({} octets) dropped",
        text("peer"),
        text("mid"),
        text("status"),
        text("ietf-dots-call-home:source-prefix"),
        text("target-prefix"),
        text("lifetime"),
        text("pkts-dropped"),
        text("bytes-dropped"),
    );
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use dots_callhome::body::{Lifetime, List, Status};

    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let mut scope = Scope::default();
        scope.mid = Some(7);
        scope.source_prefix = List::one("192.0.2.1/32".parse().unwrap());
        scope.target_prefix = List::one("198.51.100.7/32".parse().unwrap());
        scope.lifetime = Some(Lifetime::Seconds(60));
        scope.status = Some(Status::SuccessfullyMitigated);
        scope.pkts_dropped = Some(5);
        let object = object("home", "c", 7, &scope);
        assert_eq!(object["ietf-dots-call-home:source-prefix"][0], "192.0.2.1/32");
        assert_eq!((&object["peer"], &object["cuid"], &object["mid"]), (&"home".into(), &"c".into(), &7.into()));
        assert_eq!(object["pkts-dropped"], "5", "64 bits are strings in RFC 7951");
        let line = event("c", 7, "attack-stopped", members(&scope));
        assert!(line.starts_with(r#"{"event":"mitigation","cuid":"c","mid":7,"status":"attack-stopped","#), "{line}");
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["lifetime"], 60);
        assert!(row(&object).contains("192.0.2.1/32 to 198.51.100.7/32, 60 s left, 5 packets"), "{}", row(&object));
    }
}
