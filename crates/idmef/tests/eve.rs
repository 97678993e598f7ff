//! Suricata's lines become messages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![cfg(feature = "eve")]

mod common;

use common::read;
use idmef::eve::{Converter, EveErrorKind, Sense};
use idmef::{
    AdditionalData, Alert, Analyzer, Completion, Data, Decoder, Integer, Message, Origin, Severity, Source, Target,
};
use std::collections::BTreeSet;

fn converter() -> Converter {
    Converter::suricata("suricata-sensor-01")
}

fn lines(name: &str) -> Vec<Vec<u8>> {
    let file = read(&format!("suricata/{name}"));
    file.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn alerts(converter: &Converter, name: &str) -> Vec<Alert> {
    let messages = lines(name).into_iter().filter_map(|line| converter.convert(&line).unwrap());
    messages.map(|message| message.alerts().next().unwrap().clone()).collect()
}

fn convert(converter: &Converter, line: &str) -> Alert {
    converter.convert(line.as_bytes()).unwrap().unwrap().alerts().next().unwrap().clone()
}

/// A line with `members` and, in the alert, `rule`.
fn line(members: &str, rule: &str) -> String {
    format!(
        r#"{{"timestamp":"2023-11-14T22:13:20.006999+0000","flow_id":7,"event_type":"alert","src_ip":"192.0.2.50","src_port":40001,"dest_ip":"198.51.100.10","dest_port":80,"proto":"TCP"{members},"alert":{{"action":"allowed","gid":1,"signature_id":5,"rev":1,"signature":"s","category":"c","severity":1{rule}}}}}"#
    )
}

fn value<'a>(alert: &'a Alert, meaning: &str) -> Option<&'a Data> {
    alert.additional_data.iter().find(|it| it.meaning.as_deref() == Some(meaning)).map(|it| &it.data)
}

/// The nine alerts that an independent script made of the same lines. Compared: times, Source, Target,
/// Classification, Assessment, every AdditionalData it has, the eve line octet for octet. Deliberately more in ours:
/// Service/protocol and WebService on the server's side, File, and AdditionalData for members without a place.
/// Deliberately other: messageid, which hashes more; the analyzer's version and ostype, which are configuration.
#[test]
fn nine_alerts_as_another_converter_made_them() {
    let golden = common::documents("idmef/idmef-from-eve");
    let ours = alerts(&converter(), "eve.json");
    assert_eq!((golden.len(), ours.len()), (9, 9));
    for ((name, golden), ours) in golden.iter().zip(&ours) {
        let message = Message::decode(golden).unwrap();
        let golden = message.alerts().next().unwrap();
        assert_eq!(message.lang.as_deref(), Some("en"));
        // The script rounds the fraction of the timestamp, the RFC's examples (0x4ccccccc for 0.3) cut it off.
        assert_eq!(golden.create_time.datetime(), ours.create_time.datetime(), "{name}");
        let (theirs, mine) = (golden.create_time.ntpstamp(), ours.create_time.ntpstamp());
        assert!(theirs.seconds == mine.seconds && theirs.fraction - mine.fraction <= 1, "{name}");
        assert_eq!(ours.detect_time, Some(ours.create_time));
        assert_eq!(ours.analyzer_time, None);
        assert_eq!(golden.classification, ours.classification, "{name}");
        assert_eq!(golden.assessment, ours.assessment, "{name}");
        assert_eq!(ours.analyzer.analyzerid, golden.analyzer.analyzerid);
        let bare_source = |it: &Source| {
            let mut it = it.clone();
            it.service.iter_mut().for_each(|service| (service.protocol, service.web_service) = (None, None));
            it
        };
        let bare_target = |it: &Target| {
            let mut it = it.clone();
            it.service.iter_mut().for_each(|service| (service.protocol, service.web_service) = (None, None));
            it.file.clear();
            it
        };
        assert_eq!(ours.source.iter().map(bare_source).collect::<Vec<_>>(), golden.source, "{name}");
        assert_eq!(ours.target.iter().map(bare_target).collect::<Vec<_>>(), golden.target, "{name}");
        for data in &golden.additional_data {
            assert!(ours.additional_data.contains(data), "{name}: {data:?}");
        }
    }
}

#[test]
fn every_line_converts_and_is_valid() {
    let mut written = Vec::new();
    for name in ["eve.json", "eve-allrules.json"] {
        for alert in alerts(&converter(), name) {
            let message = Message { lang: Some("en".into()), ..alert.into() };
            let text = message.encode().unwrap();
            assert_eq!(Decoder::new().strict().decode(text.as_bytes()), Ok(message));
            written.push(text);
        }
    }
    assert!(written.len() > 9);
    if let Some(result) = common::dtd_valid(written.iter().map(String::as_str)) {
        assert_eq!(result, Ok(written.len()));
    }
}

#[test]
fn identifiers_are_stable_and_differ() {
    let first = alerts(&converter(), "eve.json");
    let again = alerts(&converter().without_eve(), "eve.json");
    let ids: BTreeSet<_> = first.iter().map(|alert| alert.messageid.clone()).collect();
    assert_eq!(ids.len(), 9);
    assert!(first.iter().zip(&again).all(|(first, again)| first.messageid == again.messageid));
    // A change of the algorithm would make every alert of a spool new.
    assert_eq!(first[0].messageid, "018bcfe5-6806-80bf-af4e-f623d43709fd");
    let base = convert(&converter(), &line("", "")).messageid;
    assert_eq!(base, convert(&converter(), &line(r#","in_iface":"eth1""#, "")).messageid);
    for (members, rule) in
        [(r#","tx_id":1"#, ""), (r#","pcap_cnt":1"#, ""), ("", r#","rev":2"#), (r#","flow_id":8"#, "")]
    {
        assert_ne!(base, convert(&converter(), &line(members, rule)).messageid, "{members}{rule}");
    }
    assert_ne!(base, convert(&Converter::suricata("other"), &line("", "")).messageid);
}

#[test]
fn web_request_on_the_server_side() {
    let ours = alerts(&converter(), "eve.json");
    let service = ours[0].target[0].service.as_ref().unwrap();
    let web = service.web_service.as_ref().unwrap();
    assert_eq!(web.url, "http://www.example.com/cgi-bin/phf?Qalias=x%0a/bin/cat%20/etc/passwd");
    assert_eq!(web.cgi.as_deref(), Some("/cgi-bin/phf"));
    assert_eq!(web.http_method.as_deref(), Some("GET"));
    assert_eq!(web.arg, ["Qalias=x%0a/bin/cat%20/etc/passwd"]);
    assert_eq!(service.protocol.as_deref(), Some("http"));
    // The third alert is of an answer: in the sense of the packet the server is the source.
    assert!(ours[2].source[0].service.as_ref().unwrap().web_service.is_some());
    assert!(ours[2].target[0].service.as_ref().unwrap().web_service.is_none());
    assert_eq!(value(&ours[2], "direction"), Some(&Data::from("to_client")));
    assert_eq!(ours[2].target[0].file[0].name, "phf");
    assert_eq!(ours[2].target[0].file[0].data_size, Some(Integer::from(71)));
}

#[test]
fn sense_of_direction() {
    let source = |alert: &Alert| alert.source[0].node.as_ref().unwrap().address[0].address.clone();
    let initiator = alerts(&converter().with_sense(Sense::Initiator), "eve.json");
    assert_eq!(source(&initiator[0]), "192.0.2.50");
    assert_eq!(source(&initiator[2]), "192.0.2.50");
    assert_eq!(source(&alerts(&converter(), "eve.json")[2]), "198.51.100.10");
    let answered = line(r#","direction":"to_client""#, "");
    assert_eq!(source(&convert(&converter().with_sense(Sense::Initiator), &answered)), "198.51.100.10");
    assert_eq!(source(&convert(&converter(), &answered)), "192.0.2.50");
    // The rule says who is the victim.
    let named = line("", r#","source":{"ip":"198.51.100.10"},"target":{"ip":"192.0.2.50"}"#);
    assert_eq!(source(&convert(&converter(), &named)), "198.51.100.10");
    let victim = line("", r#","target":{"ip":"192.0.2.50"}"#);
    assert_eq!(source(&convert(&converter(), &victim)), "198.51.100.10");
}

#[test]
fn addresses_are_canonical() {
    let ours = alerts(&converter(), "eve.json");
    let service = ours[3].source[0].service.as_ref().unwrap();
    assert_eq!(ours[3].source[0].node.as_ref().unwrap().address[0].address, "2001:db8::bad");
    assert_eq!(service.ip_version, Some(Integer::from(6)));
    // ICMP has no ports, and a Service without name or port is not allowed.
    assert!(ours[5].source[0].service.is_none() && ours[5].target[0].service.is_none());
    assert_eq!(value(&ours[5], "icmp_type"), Some(&Data::from(Integer::from(8))));
    let odd = line("", "").replace("192.0.2.50", "not an address");
    let address = convert(&converter(), &odd).source[0].node.as_ref().unwrap().address[0].clone();
    assert_eq!((address.category.as_str(), address.address.as_str()), ("unknown", "not an address"));
}

#[test]
fn blocked_alerts() {
    for line in [line("", r#","action":"blocked""#), line(r#","verdict":{"action":"drop"}"#, "")] {
        let assessment = convert(&converter(), &line).assessment.unwrap();
        assert_eq!(assessment.action[0].category.as_str(), "block-installed");
        assert_eq!(assessment.impact.unwrap().completion, Some(Completion::Failed));
    }
    let assessment = convert(&converter(), &line("", "")).assessment.unwrap();
    assert!(assessment.action.is_empty());
    assert_eq!(assessment.impact.unwrap().completion, None);
}

#[test]
fn severities_and_categories() {
    let impact = |rule: &str| convert(&converter(), &line("", rule)).assessment.unwrap().impact.unwrap();
    for (priority, severity) in
        [(1, Severity::High), (2, Severity::Medium), (3, Severity::Low), (4, Severity::Info), (255, Severity::Info)]
    {
        assert_eq!(impact(&format!(r#","severity":{priority}"#)).severity, Some(severity));
    }
    let got = impact(r#","category":"Successful Administrator Privilege Gain""#);
    assert_eq!((got.kind.as_str(), got.completion), ("admin", Some(Completion::Succeeded)));
    let got = impact(r#","category":"Unsuccessful User Privilege Gain""#);
    assert_eq!((got.kind.as_str(), got.completion), ("user", Some(Completion::Failed)));
    assert_eq!(impact(r#","category":"Never heard of""#).kind.as_str(), "other");
}

#[test]
fn vulnerabilities_become_references() {
    let rule = r#","signature":"Log4j (CVE-2021-44228) (cve-2021-45046) CVE-1-2 CVE-20x1-1234","metadata":{"cve":["CVE_2021_44228","cve_2014_0160"]},"references":["https://example.com/x"]"#;
    let references = convert(&converter(), &line("", rule)).classification.reference;
    let names: Vec<_> = references.iter().map(|reference| reference.name.as_str()).collect();
    assert_eq!(names, ["CVE-2021-44228", "CVE-2014-0160", "CVE-2021-45046", "https://example.com/x"]);
    assert_eq!(references[0].origin, Origin::Cve);
    assert_eq!(references[0].url, "https://www.cve.org/CVERecord?id=CVE-2021-44228");
}

#[test]
fn members_without_a_place_keep_their_paths() {
    let members = r#","in_iface":"eth0","vlan":[10,20],"xff":"203.0.113.9","tls":{"sni":"a.example","subject":"CN=a","fingerprint":"aa:bb","version":null},
        "smtp":{"rcpt_to":["<a@example>","<b@example>"]},"tx_guessed":true,"ratio":0.5,"payload":"aGVsbG8=","payload_printable":"hello","packet":"not base64!""#;
    let alert = convert(&converter(), &line(members, r#","metadata":{"severity":["Major"]}"#));
    for (meaning, data) in [
        ("xff", Data::from("203.0.113.9")),
        ("tls.sni", "a.example".into()),
        ("tls.subject", "CN=a".into()),
        ("tls.fingerprint", "aa:bb".into()),
        ("tx_guessed", true.into()),
        ("ratio", idmef::Real::new(0.5).unwrap().into()),
        ("payload", idmef::ByteString(b"hello".to_vec()).into()),
        ("packet", "not base64!".into()),
        ("alert.metadata.severity", "Major".into()),
    ] {
        assert_eq!(value(&alert, meaning), Some(&data), "{meaning}");
    }
    assert_eq!(value(&alert, "payload_printable"), None);
    assert_eq!(value(&alert, "tls.version"), None);
    let recipients = alert.additional_data.iter().filter(|it| it.meaning.as_deref() == Some("smtp.rcpt_to"));
    assert_eq!(recipients.count(), 2);
    assert_eq!(alert.source[0].interface.as_deref(), Some("eth0"));
    assert_eq!(alert.target[0].node.as_ref().unwrap().address[0].vlan_num, Some(Integer::from(10)));
}

#[test]
fn the_line_itself_is_last_and_can_be_left_out() {
    let text = line("", "");
    let alert = convert(&converter(), &format!("{text}\r\n"));
    assert_eq!(
        alert.additional_data.last(),
        Some(&AdditionalData::new("eve", idmef::ByteString(text.clone().into_bytes())))
    );
    assert_eq!(value(&convert(&converter().without_eve(), &text), "eve"), None);
    let named = Converter::new(Analyzer { analyzerid: "a".into(), version: Some("8.0".into()), ..Default::default() });
    assert_eq!(convert(&named, &text).analyzer.version.as_deref(), Some("8.0"));
}

#[test]
fn bad_lines_say_what_and_where() {
    let error = |line: &str| {
        let error = converter().convert(line.as_bytes()).unwrap_err();
        (error.kind, error.offset)
    };
    let text = line("", "");
    for length in 1..text.len() {
        assert_eq!(error(&text[..length]).0, EveErrorKind::Truncated, "{length}");
    }
    assert_eq!(error(""), (EveErrorKind::Truncated, 0));
    assert_eq!(error("{\"a\":1,}").0, EveErrorKind::Json);
    assert_eq!(error("{\"a\":\n1 2}"), (EveErrorKind::Json, 8));
    assert_eq!(error(&format!("{text}{text}")).0, EveErrorKind::Json);
    assert_eq!(error("[1]").0, EveErrorKind::NotEve);
    assert_eq!(error("{\"event_type\":7}").0, EveErrorKind::NotEve);
    assert_eq!(error("{\"event_type\":\"flow\",\"event_type\":\"alert\"}").0, EveErrorKind::NotEve);
    assert_eq!(error("{\"event_type\":\"alert\"}"), (EveErrorKind::Missing("alert"), 0));
    let bad = text.replace("2023-11-14", "yesterday");
    assert_eq!(error(&bad), (EveErrorKind::Invalid("timestamp"), 1));
    assert_eq!(error(&text.replace("\"timestamp\"", "\"time\"")).0, EveErrorKind::Missing("timestamp"));
    let deep = text.replace("\"flow_id\":7", &format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200)));
    assert_eq!(error(&deep).0, EveErrorKind::Json);
    let short = converter().with_max_line(100).convert(text.as_bytes()).unwrap_err();
    assert_eq!((short.kind, short.offset), (EveErrorKind::TooLong, 100));
    assert_eq!(short.to_string(), "octet 100 of the line: line too long");
    assert!(converter().convert(b"\xff").is_err());
}

#[test]
fn of_a_member_given_twice_the_last_counts() {
    let alert = convert(&converter(), &line(r#","community_id":"a","community_id":"b""#, ""));
    assert_eq!(value(&alert, "community_id"), Some(&Data::from("b")));
}

#[test]
fn however_large_a_line_the_message_is_read_by_default() {
    let long = |n: usize| "&\\u0000".repeat(n);
    let many: String = (0..8_000).map(|i| format!(",\"m{i}\":\"{}\"", long(3))).collect();
    let files: Vec<_> = (0..50).map(|_| format!(r#"{{"filename":"{0}","md5":"{0}"}}"#, long(300))).collect();
    let members = format!(
        r#"{many},"http":{{"hostname":"{0}","url":"/{0}?{0}","http_method":"{0}"}},"files":[{files}],"in_iface":"{0}","app_proto":"{0}","payload":"{payload}""#,
        long(5_000),
        files = files.join(","),
        payload = "QUJD".repeat(14_000),
    );
    let text = line(&members, &format!(r#","signature":"{0}","category":"{0}""#, long(5_000)));
    assert!(text.len() > 500_000 && text.len() < 1 << 20, "{}", text.len());
    let message = converter().convert(text.as_bytes()).unwrap().unwrap();
    let written = message.encode().unwrap();
    assert!(written.len() < 1 << 20, "{}", written.len());
    let alert = Message::decode(written.as_bytes()).unwrap().alerts().next().unwrap().clone();
    let Some(Data::String(omitted)) = value(&alert, "omitted") else { panic!() };
    assert!(omitted.ends_with("eve") || omitted.contains("m1"), "{omitted}");
    assert_eq!(value(&alert, "eve"), None);
    let attributes: String = "\"&<".repeat(30_000).replace('"', "\\\"");
    let text = line("", &format!(r#","signature":"{attributes}""#));
    let message = converter().convert(text.as_bytes()).unwrap().unwrap();
    assert!(Message::decode(message.encode().unwrap().as_bytes()).is_ok());
}
