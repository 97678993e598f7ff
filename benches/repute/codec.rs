//! Reputons a second: reading a thousand of them from JSON, beside serde_json into a type of its own, and from XML.
//!
//! `cargo bench -p watchfire-benches --bench repute_codec -- SECONDS` prints the table of `benches/README.md`.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::hint::black_box;
use std::time::Duration;

use repute_proto::wire::{Decoder, Digits, Format};
use repute_proto::{ExtensionValue, Reputation, Reputon, Score};
use serde::{Deserialize, Serialize};
use watchfire_benches::{Case, measure, seconds};

const COUNT: usize = 1000;

/// What whoever has no REPUTE library writes.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    application: String,
    reputons: Vec<Typed>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Typed {
    rater: String,
    assertion: String,
    rated: String,
    rating: f64,
    confidence: Option<f64>,
    normal_rating: Option<f64>,
    sample_size: Option<u64>,
    generated: Option<u64>,
    expires: Option<u64>,
    #[serde(flatten)]
    extensions: Extensions,
}

/// The extensions of email-id that the documents have; others are dropped.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Extensions {
    email_id_identity: Option<String>,
    sources: Option<u64>,
}

/// The same without `flatten`, which buffers: the fastest that derived code can be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Flat {
    rater: String,
    assertion: String,
    rated: String,
    rating: f64,
    confidence: Option<f64>,
    normal_rating: Option<f64>,
    sample_size: Option<u64>,
    generated: Option<u64>,
    expires: Option<u64>,
    email_id_identity: Option<String>,
    sources: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FlatDocument {
    application: String,
    reputons: Vec<Flat>,
}

fn document() -> Reputation<'static> {
    let reputons = (0..COUNT).map(|n| {
        let score = |n: usize| Score::new(n as f64 / 1000.0).unwrap();
        let mut reputon = Reputon::new("rep.example.net", "spam", format!("host-{n}.example.org"), score(n));
        reputon.confidence = Some(score(950));
        reputon.sample_size = Some(16_938_213 + n as u64);
        reputon.generated = Some(1_317_795_852);
        reputon.expires = Some(1_317_882_252);
        reputon
            .with_extension("email-id-identity", ExtensionValue::text("dkim"))
            .with_extension("sources", ExtensionValue::number(7))
    });
    let mut document = Reputation::default();
    document.application = Some("email-id".into());
    document.reputons = reputons.collect();
    document
}

fn read_as<'a>(decoder: &Decoder, format: Format, body: &'a [u8]) -> Reputation<'a> {
    match format {
        Format::Xml => decoder.decode_xml(body).unwrap(),
        _ => decoder.decode_json(body).unwrap(),
    }
}

fn main() {
    let document = document();
    let written = |format: Format| {
        let mut out = Vec::new();
        format.encode(&document, Digits::Three, &mut out).unwrap();
        out
    };
    let (json, xml) = (written(Format::Json), written(Format::Xml));
    let decoder = Decoder::new();
    for (format, body) in [(Format::Json, &json), (Format::Xml, &xml)] {
        let read = read_as(&decoder, format, body);
        assert_eq!((read.reputons.len(), read.rejected.len()), (COUNT, 0));
        assert_eq!(read.reputons[7].extensions.len(), 2);
    }
    assert_eq!(serde_json::from_slice::<FlatDocument>(&json).unwrap().reputons[7].sources, Some(7));
    let ours = |format: Format, body: &[u8]| {
        let (body, decoder) = (body.to_vec(), decoder.clone());
        Case::new(move |runs| {
            for _ in 0..runs {
                black_box(read_as(&decoder, format, black_box(&body)));
            }
        })
    };
    let flat = json.clone();
    let flattened = json.clone();
    let (to_json, to_xml) = (document.clone(), document.clone());
    let write = |format: Format, document: Reputation<'static>| {
        Case::new(move |runs| {
            let mut out = Vec::with_capacity(1 << 20);
            for _ in 0..runs {
                out.clear();
                format.encode(black_box(&document), Digits::Three, &mut out).unwrap();
                black_box(&out);
            }
        })
    };
    let mut cases = [
        ("read JSON, borrowed, with full validation", json.len(), ours(Format::Json, &json)),
        (
            "serde_json, derived type that owns, members it knows",
            json.len(),
            Case::new(move |runs| {
                for _ in 0..runs {
                    black_box(serde_json::from_slice::<FlatDocument>(black_box(&flat)).unwrap());
                }
            }),
        ),
        (
            "serde_json, derived type that owns, `flatten` for extensions",
            json.len(),
            Case::new(move |runs| {
                for _ in 0..runs {
                    black_box(serde_json::from_slice::<Document>(black_box(&flattened)).unwrap());
                }
            }),
        ),
        ("read XML, borrowed, with full validation", xml.len(), ours(Format::Xml, &xml)),
        ("write JSON", json.len(), write(Format::Json, to_json)),
        ("write XML", xml.len(), write(Format::Xml, to_xml)),
    ];
    measure(cases.iter_mut().map(|(_, _, case)| case), Duration::from_secs(seconds(6)));
    println!("| {COUNT} reputons with extensions | octets | million reputons/s, best | median |");
    println!("| --- | ---: | ---: | ---: |");
    for (name, octets, case) in &cases {
        let rate = |time: f64| COUNT as f64 * 1000.0 / time;
        println!("| {name} | {octets} | {:.2} | {:.2} |", rate(case.least()), rate(case.median()));
    }
}
