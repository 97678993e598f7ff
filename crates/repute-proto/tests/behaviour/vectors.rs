//! The examples of the documents, and what readers make of documents that go wrong.

use http::{HeaderMap, HeaderName, HeaderValue};
use repute_proto::{
    DecodeErrorKind, Decoder, Dialect, Digits, Format, Identity, LifetimePolicy, Limits, Policy, Refusal, Scheme,
    Service, Strictness, Template, TemplateFile, Value, Variables, lifetime,
};
use watchfire_core::UnixTime;

pub(crate) fn vector(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../tests/vectors/repute/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn cases(name: &str) -> serde_json::Value {
    serde_json::from_slice(&vector(name)).unwrap()
}

#[test]
fn documents_get_their_verdicts() {
    let cases = cases("json-parse-verdicts.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 21);
    for case in cases {
        let (id, body) = (case["id"].as_str().unwrap(), case["body"].as_str().unwrap());
        for (column, strictness) in [("strict", Strictness::Strict), ("lenient", Strictness::Lenient)] {
            let decoder = Decoder::new().with_strictness(strictness).with_dialect(Dialect::Rfc7072);
            let document = decoder.decode("application/reputon+json", body.as_bytes());
            let verdict = case[column].as_str().unwrap();
            match (verdict, &document) {
                // That the application is another than was asked for is seen by who asked.
                ("reject-doc", Ok(document)) if id == "J35" => {
                    assert_eq!(document.application.as_deref(), Some("baseball"));
                }
                ("reject-doc", document) => assert!(document.is_err(), "{id} {column}: {document:?}"),
                (_, Err(error)) => panic!("{id} {column}: {error}"),
                ("reject-reputon", Ok(document)) => {
                    assert_eq!((document.reputons.len(), document.rejected.len()), (0, 1), "{id} {column}");
                }
                ("no-data", Ok(document)) => {
                    assert!(document.reputons.is_empty() && document.rejected.is_empty(), "{id} {column}");
                }
                (verdict, Ok(document)) => {
                    assert!(document.rejected.is_empty(), "{id} {column}: {document:?}");
                    let first = document.reputons.first();
                    match verdict {
                        "ok" => {}
                        "ok:1" => assert_eq!(first.unwrap().sample_size, Some(1)),
                        "ok:0.0" => assert_eq!(first.unwrap().rating.value(), 0.0),
                        "ok:identity=dkim" => assert_eq!(first.unwrap().identity(), Some(Identity::Dkim)),
                        "ok:assertion=spam" => assert!(first.unwrap().assertion.eq_ignore_ascii_case("spam")),
                        "expired" => assert_eq!(first.unwrap().expires, Some(0)),
                        other => panic!("{id}: {other}"),
                    }
                }
            }
        }
    }
}

#[test]
fn the_examples_of_rfc_7071_are_read() {
    let read = |name: &str| Decoder::new().decode_json(Box::leak(vector(name).into_boxed_slice()));
    let first = read("json-rfc7071-ex1.json").unwrap();
    assert_eq!(first.application.as_deref(), Some("baseball"));
    assert_eq!(first.reputons[0].rated, "Alex Rodriguez");
    assert_eq!(first.reputons[0].rating.text(), "0.99");
    assert_eq!(first.reputons[0].sample_size, Some(50_000));
    assert!(matches!(
        read("json-rfc7071-ex2-as-printed-INVALID.json").unwrap_err().kind,
        DecodeErrorKind::IllFormed("a colon was expected")
    ));
    assert_eq!(read("json-rfc7071-ex2-corrected.json").unwrap().reputons[0].assertion, "hits-for-power");
    assert_eq!(read("json-rfc7071-ex3.json").unwrap().reputons[0].confidence.as_ref().unwrap().value(), 0.2);
    let mail = read("json-rfc7071-ex4-email-id.json").unwrap();
    let identities: Vec<_> = mail.reputons.iter().map(|reputon| reputon.identity().unwrap()).collect();
    assert_eq!(identities, [Identity::Dkim, Identity::Spf]);
    // It says `updated` where the text says `generated`.
    assert_eq!(mail.reputons[0].generated, Some(1_317_795_852));
}

#[test]
fn the_json_of_draft_02_is_read_in_any_case() {
    for name in ["json-draft02-ex1.json", "json-draft02-ex3-uppercase-keys.json", "json-draft02-ex4-email-id.json"] {
        let body = vector(name);
        let document = Decoder::new().decode("application/reputon+json; app=\"email-id\"", &body).unwrap();
        assert_eq!(document.application.as_deref(), Some("email-id"));
        assert!(document.rejected.is_empty(), "{name}: {document:?}");
        let [reputon] = &document.reputons[..] else { panic!("{name}") };
        assert!(reputon.rater_authenticity.is_some() && reputon.confidence.is_none());
        assert_eq!(reputon.effective_confidence(), reputon.rater_authenticity.as_ref());
        // Who asked for the RFC's form does not get this one.
        assert!(Decoder::new().with_dialect(Dialect::Rfc7072).decode_json(&body).is_err(), "{name}");
    }
}

#[test]
fn the_xml_of_draft_01_is_read_and_written() {
    let body = vector("xml-draft01-example.xml");
    let document = Decoder::new().decode("application/reputon; app=\"email\"", &body).unwrap();
    let [reputon] = &document.reputons[..] else { panic!() };
    assert_eq!((reputon.rater.as_ref(), reputon.assertion.as_ref()), ("rep.example.net", "SENDS-SPAM"));
    // Taken literally, whatever the prose around it says.
    assert_eq!(reputon.rating.value(), 0.0012);
    assert_eq!(reputon.identity(), Some(Identity::Dkim));
    assert_eq!((reputon.sample_size, reputon.generated), (Some(16_938_213), Some(1_317_795_852)));
    let mut written = Vec::new();
    Format::Xml.encode(&document, Digits::AsReceived, &mut written).unwrap();
    let again = Decoder::new().decode("application/reputon; app=\"email\"", &written).unwrap();
    assert_eq!(again, document);
}

#[cfg(feature = "draft-text")]
#[test]
fn the_text_of_draft_00_is_read_and_written() {
    use repute_proto::wire::draft_text;
    let text = String::from_utf8(vector("text-draft00-example1.txt")).unwrap();
    let reputon = draft_text::decode(&text, &Limits::default()).unwrap();
    assert_eq!((reputon.rated.as_ref(), reputon.rating.value()), ("Alex Rodriguez", 0.99));
    let mut written = Vec::new();
    draft_text::encode(&reputon, &mut written).unwrap();
    assert_eq!(draft_text::decode(std::str::from_utf8(&written).unwrap(), &Limits::default()), Ok(reputon));
    for bad in ["RATER x", "RATER: a\nRATER: b", "RATER: a", "RATING: 7", "RATER: a\nASSERTION: b\nRATED: \nRATING: 0"]
    {
        assert!(draft_text::decode(bad, &Limits::default()).is_err(), "{bad}");
    }
}

fn variables(case: &serde_json::Value) -> Variables {
    let mut variables = Variables::new();
    for (name, value) in case["variables"].as_object().unwrap() {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        match value.as_array() {
            Some(items) => variables.set(name, items.iter().map(text).collect::<Vec<_>>()),
            None => variables.set(name, text(value)),
        }
    }
    variables
}

#[test]
fn templates_expand_as_the_vectors_say() {
    let cases = cases("template-expansion.json");
    assert_eq!(cases.as_array().unwrap().len(), 33);
    for case in cases.as_array().unwrap() {
        let template: Template = case["template"].as_str().unwrap().parse().unwrap();
        assert_eq!(template.expand(&variables(case)).unwrap(), case["uri"].as_str().unwrap(), "{}", case["id"]);
    }
}

/// What may be asked for, of the vectors: all but those that are there to show what may not.
#[test]
fn targets_are_the_expansions_that_are_safe() {
    let policy = Policy::default();
    for case in cases("template-expansion.json").as_array().unwrap() {
        let template: Template = case["template"].as_str().unwrap().parse().unwrap();
        let variables = variables(case);
        let Some(Value::Text(service)) = variables.value("service") else { panic!() };
        let service = Service::new(Scheme::Http, service).unwrap();
        let target = template.target(&service, &variables, &policy, &Limits::default());
        match case["id"].as_str().unwrap() {
            "SUBJ-dotdot" => assert_eq!(target, Err(Refusal::DotSegment)),
            "SUBJ-reserved-op" => assert_eq!(target, Err(Refusal::Shape("subject".to_owned()))),
            "CRED" => assert_eq!(target, Err(Refusal::Credentials)),
            "PORT-simple" | "PORT-reserved" => {
                assert_eq!(target.unwrap().uri(), "http://127.0.0.1:8080/email-id/example.org");
            }
            "IPV6-simple" | "IPV6-reserved" => {
                assert_eq!(target.unwrap().uri(), "http://[2001:db8::53]/email-id/example.org");
            }
            id => assert_eq!(target.unwrap().uri(), case["uri"].as_str().unwrap(), "{id}"),
        }
    }
}

#[test]
fn template_files_hold_what_the_vectors_say() {
    let limits = Limits::default();
    let service = Service::new(Scheme::Http, "example.com").unwrap();
    let variables = Variables::new().with("application", "email-id").with("subject", "example.org");
    for case in cases("template-file.json").as_array().unwrap() {
        let file = TemplateFile::decode(case["body"].as_str().unwrap().as_bytes(), &limits).unwrap();
        assert_eq!(Some(file.templates.len() as u64), case["templates"].as_u64(), "{}", case["id"]);
        let usable = |template: &Template| template.target(&service, &variables, &Policy::default(), &limits).is_ok();
        if let Some(selected) = case.get("selected") {
            let found = file.templates.iter().position(usable);
            assert_eq!(found.map(|found| found as u64), selected.as_u64(), "{}", case["id"]);
        }
    }
}

#[test]
fn lifetimes_are_those_of_the_vectors() {
    let cases = cases("template-cache.json");
    let received = UnixTime::from_secs(cases["response_received_at"].as_i64().unwrap());
    assert_eq!(cases["cases"].as_array().unwrap().len(), 11);
    for case in cases["cases"].as_array().unwrap() {
        let mut headers = HeaderMap::new();
        for (name, value) in case["headers"].as_object().unwrap() {
            headers
                .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
        let lifetime = lifetime(&headers, received, LifetimePolicy::TEMPLATE);
        assert_eq!(Some(lifetime.expires_at.as_secs()), case["expires_at"].as_i64(), "{}", case["id"]);
        assert_eq!(lifetime.may_store, case["id"] != "C09");
    }
}
