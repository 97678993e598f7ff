//! Every document among the vectors is read, written, and read again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{all_documents, documents, read};
use idmef::{
    AddressCategory, AlertKind, Data, DateTime, Decoder, Encoder, FileCategory, InvalidMessage, Item, Message,
    NtpStamp, Perms, Rating, Severity, Spoofed,
};

fn rfc(name: &str) -> Message {
    Message::decode(&read(&format!("idmef/idmef-rfc4765/{name}.xml"))).unwrap()
}

fn alert(name: &str) -> idmef::Alert {
    rfc(name).alerts().next().unwrap().clone()
}

#[test]
fn every_vector_survives_writing() {
    let mut written = Vec::new();
    let vectors = all_documents();
    assert_eq!(vectors.len(), 13 + 7 + 9);
    for (name, octets) in vectors {
        let message = Message::decode(&octets).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message.items.len(), 1, "{name}");
        let text = message.encode().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Message::decode(text.as_bytes()).as_ref(), Ok(&message), "{name}: {text}");
        let strict = Decoder::new().strict().decode(text.as_bytes());
        assert_eq!(strict.as_ref(), Ok(&message), "{name}: {text}");
        let prefixed = Encoder::new().prefixed().encode(&message).unwrap();
        assert!(prefixed.contains("<idmef:Analyzer"));
        assert_eq!(Message::decode(prefixed.as_bytes()).as_ref(), Ok(&message), "{name}: {prefixed}");
        // Example 7.8 holds elements of another vocabulary, which no DTD of IDMEF declares.
        if !name.starts_with("7.8") {
            written.push(text);
        }
    }
    if let Some(result) = common::dtd_valid(written.iter().map(String::as_str)) {
        assert_eq!(result, Ok(28));
    }
}

#[test]
fn prelude_documents_are_valid_but_not_strict() {
    for (name, octets) in documents("idmef/idmef-prelude/split") {
        let error = Decoder::new().strict().decode(&octets).unwrap_err();
        assert_eq!(error.kind, InvalidMessage::Missing("XML declaration").into(), "{name}");
    }
    // The seven documents are one file as the plug-in writes it: no document at all.
    let all = read("idmef/idmef-prelude/prelude-manager-5.2.0-xmlmod-formatted.xml");
    assert_eq!(Message::decode(&all).unwrap_err().kind, InvalidMessage::IllFormed("content behind the root").into());
}

#[test]
fn the_examples_that_contradict_the_dtd_are_not_strict() {
    for (name, octets) in documents("idmef/idmef-rfc4765") {
        let strict = Decoder::new().strict().decode(&octets);
        let contradicts = name.starts_with("7.3.3") || name.starts_with("7.8");
        assert_eq!(strict.is_err(), contradicts, "{name}: {strict:?}");
    }
}

#[test]
fn times_of_all_examples_agree_with_their_timestamps() {
    for (name, octets) in documents("idmef/idmef-rfc4765") {
        let text = String::from_utf8(octets.clone()).unwrap();
        let message = Message::decode(&octets).unwrap();
        let time = message.items[0].create_time();
        let (stamp, rest) = text.split_once("CreateTime ntpstamp=\"").unwrap().1.split_once("\">").unwrap();
        let written: DateTime = rest.split_once('<').unwrap().0.parse().unwrap();
        // Had they differed, the text would have been made anew.
        assert_eq!(time.datetime(), &written, "{name}");
        assert_eq!(time.ntpstamp().to_string(), stamp, "{name}");
        assert_eq!(NtpStamp::from_datetime(&written), Some(time.ntpstamp()), "{name}");
    }
}

#[test]
fn teardrop() {
    let alert = alert("7.1.1-teardrop");
    assert_eq!(alert.messageid, "abc123456789");
    assert_eq!(alert.analyzer.analyzerid, "hq-dmz-analyzer01");
    assert_eq!(alert.create_time.datetime().to_string(), "2000-03-09T10:01:25.93464-05:00");
    assert_eq!(alert.classification.reference[0].origin.as_str(), "bugtraqid");
}

#[test]
fn ping_of_death_keeps_line_ends_inside_of_text() {
    let alert = alert("7.1.2-ping-of-death");
    assert_eq!(alert.source[0].spoofed, Spoofed::Yes);
    assert_eq!(alert.target.len(), 3);
    assert!(alert.classification.reference[0].url.starts_with("http://www.cve.mitre.org/cgi-bin/\n"));
}

#[test]
fn portscan_has_a_portlist() {
    let alert = alert("7.2.2-simple-portscan");
    let service = alert.target[0].service.as_ref().unwrap();
    assert_eq!(service.portlist.as_ref().unwrap().to_string(), "5-25,37,42,43,53,69-119,123-514");
}

#[test]
fn text_around_which_the_examples_put_line_ends_is_trimmed() {
    let alert = alert("7.3.2-phf");
    let service = alert.target[0].service.as_ref().unwrap();
    let web = service.web_service.as_ref().unwrap();
    assert_eq!(web.url, "http://www.example.com/cgi-bin/phf?/etc/group");
    assert_eq!(service.port.unwrap().to_u16(), Some(8080));
}

#[test]
fn file_with_permission_in_either_spelling() {
    let alert = alert("7.3.3-file-modification");
    let file = &alert.target[0].file[0];
    assert_eq!(file.category, FileCategory::Current);
    assert_eq!(file.file_access.len(), 3);
    assert_eq!(file.file_access[0].permission.len(), 4);
    assert_eq!(file.file_access[2].permission[0].perms, Perms::NoAccess);
    assert_eq!(file.linkage[0].path.as_deref(), Some("/etc/passwd"));
    let text = Message::from(alert).encode().unwrap();
    assert!(text.contains("<Permission perms=\"read\"/>") && !text.contains("<permission"));
}

#[test]
fn correlation_alert() {
    let alert = alert("7.5-correlated");
    let Some(AlertKind::Correlation(correlation)) = alert.kind else { panic!("{:?}", alert.kind) };
    assert_eq!(correlation.alertident.len(), 8);
    assert_eq!(correlation.alertident[7].analyzerid.as_deref(), Some("a1b2c3d4"));
    assert_eq!(correlation.alertident[7].alertident, "987654322");
}

#[test]
fn assessment_without_numbers() {
    let assessment = alert("7.6-assessment").assessment.unwrap();
    assert_eq!(assessment.impact.unwrap().severity, Some(Severity::High));
    assert_eq!(assessment.action.len(), 3);
    assert_eq!(assessment.action[0].text, "page");
    let confidence = assessment.confidence.unwrap();
    assert_eq!((confidence.rating, confidence.value), (Rating::High, None));
}

#[test]
fn xml_extension_stands_alone() {
    let alert = alert("7.8-xml-extension");
    let Data::XmlText(geo) = &alert.additional_data[0].data else { panic!("{:?}", alert.additional_data) };
    // The prefix is declared on the root of the example; the fragment must bring it along.
    assert!(
        geo.as_str().starts_with("<vendorco:NodeGeography xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"")
    );
    assert_eq!(geo.as_str().matches("xmlns:vendorco").count(), 1);
    assert_eq!(alert.target[0].node.as_ref().unwrap().address[0].category, AddressCategory::Ipv4AddrHex);
    let text = Message::from(alert).encode().unwrap();
    assert!(text.contains("<AdditionalData type=\"xmltext\" meaning=\"node geo info\"><xmltext><vendorco:"));
}

#[test]
fn prelude_relay_chain() {
    let message = Message::decode(&read("idmef/idmef-prelude/split/03.xml")).unwrap();
    let chain: Vec<_> = message.items[0].analyzer().chain().map(|analyzer| analyzer.name.clone().unwrap()).collect();
    assert_eq!(chain, ["prelude-manager", "bsensor", "iaptest"]);
    let Item::Alert(alert) = &message.items[0] else { panic!() };
    assert_eq!(alert.analyzer.process.as_ref().unwrap().pid.unwrap().to_i64(), Some(25540));
}

#[test]
fn no_truncation_panics_or_passes() {
    for (name, octets) in all_documents() {
        let end = octets.iter().rposition(|&b| b == b'>').unwrap();
        for length in 0..=end {
            let error = Message::decode(&octets[..length]).expect_err(&name);
            assert!(error.offset <= length, "{name} cut at {length}: {error}");
            assert!(!error.to_string().is_empty());
        }
    }
}
