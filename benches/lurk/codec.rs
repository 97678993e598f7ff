//! Nanoseconds for signed requests, beside serde_json and bare ring; for CSR templates and for requests against them.
//!
//! `cargo bench -p watchfire-benches --bench lurk_codec -- SECONDS` prints the table of `benches/README.md`.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

mod serde_path;

use std::hint::black_box;
use std::time::Duration;

use acme_lurk::Limits;
use acme_lurk::crypto::{KeyParts, Ring, RingSigner, Signer as _};
use acme_lurk::csr::Csr;
use acme_lurk::jose::{Jws, KeyRef, Purpose, sign};
use acme_lurk::template::{Checker, Template};
use watchfire_benches::{Case, measure, seconds};

const LIMITS: Limits = Limits::DEFAULT;

/// A file of the vectors.
fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/vectors/acme-lurk/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A case that does the same with the same octets, again and again.
fn each<T>(octets: &[u8], run: impl Fn(&[u8]) -> T + 'static) -> Case {
    let octets = octets.to_vec();
    Case::new(move |runs| {
        for _ in 0..runs {
            black_box(run(black_box(&octets)));
        }
    })
}

fn decoded(body: &[u8]) -> Jws<'_> {
    Jws::decode(body, Purpose::Request, &LIMITS).unwrap()
}

fn main() {
    let (signer, _) = RingSigner::generate_p256().unwrap();
    let key = signer.public_key().clone();
    let (kid, url, nonce) =
        ("https://example.com/acme/acct/evOfKhNU60wg", "https://example.com/acme/new-order", "5XJ1L3lEkMG7tR6pA00clA");
    let order = serde_json::to_vec(
        &serde_json::from_slice::<serde_json::Value>(&file("rfc9115/neworder-star-fig4.json")).unwrap(),
    )
    .unwrap();
    let body = sign(&signer, KeyRef::Kid(kid), Some(nonce), url, &order).unwrap();
    let get = sign(&signer, KeyRef::Kid(kid), Some(nonce), url, b"").unwrap();

    // What ring has to do, and nothing else.
    let KeyParts::Ec { point, .. } = key.parts() else { panic!("P-256") };
    let bare = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point.to_vec());
    let (input, signature) = serde_path::signed(&body);
    let verified = {
        let key = key.clone();
        move |body: &[u8]| decoded(body).verify(&Ring::new(), &key).unwrap()
    };
    assert_eq!(verified(&body), order);
    assert_eq!(serde_path::decode(&body).kid, decoded_kid(&body));

    let json = file("csr-template/example-template.json");
    let manifest: serde_json::Value = serde_json::from_slice(&file("csr/manifest.json")).unwrap();
    let template = serde_json::to_vec(&manifest["templates"]["T1"]).unwrap();
    let names: Vec<String> = serde_json::from_value(manifest["order_identifiers"]["T1"].clone()).unwrap();
    let csr = file("csr/t1-good.der");
    let parsed = Template::decode(&template, &LIMITS).unwrap();
    let checked = move |der: &[u8]| {
        let csr = Csr::decode(der, &LIMITS).unwrap();
        Checker::new().with_identifiers(&names).check_content(&parsed, &csr).unwrap();
        csr.dns_names().count()
    };

    let mut rows = [
        (
            "read a signed newOrder (RFC 9115 figure 4), no cryptography",
            body.len(),
            each(&body, |body| decoded(body).header().url().len()),
            vec![("serde_json, derived, and base64", each(&body, serde_path::decode))],
        ),
        (
            "read a POST-as-GET, no cryptography",
            get.len(),
            each(&get, |body| decoded(body).header().url().len()),
            vec![("serde_json, derived, and base64", each(&get, serde_path::decode))],
        ),
        (
            "read and verify that newOrder, ES256",
            body.len(),
            each(&body, verified),
            vec![("ring alone", each(&input, move |input| bare.verify(input, &signature).unwrap()))],
        ),
        (
            "read and check a template",
            json.len(),
            each(&json, |json| Template::decode(json, &LIMITS).unwrap()),
            vec![(
                "serde_json into a tree, nothing checked",
                each(&json, |json| serde_json::from_slice::<serde_json::Value>(json).unwrap()),
            )],
        ),
        (
            "read a CSR and check it against a template, no signature",
            csr.len(),
            each(&csr, checked),
            vec![("x509-parser, read alone", each(&csr, serde_path::csr))],
        ),
    ];
    let cases = rows
        .iter_mut()
        .flat_map(|(_, _, ours, others)| std::iter::once(ours).chain(others.iter_mut().map(|(_, case)| case)));
    measure(cases, Duration::from_secs(seconds(10)));
    println!("| what | octets | ns, best | median | beside it | ns, best | median |");
    println!("| --- | ---: | ---: | ---: | --- | ---: | ---: |");
    for (what, octets, ours, others) in &rows {
        let start = format!("| {what} | {octets} | {:.0} | {:.0} |", ours.least(), ours.median());
        for (name, other) in others {
            println!("{start} {name} | {:.0} | {:.0} |", other.least(), other.median());
        }
    }
}

fn decoded_kid(body: &[u8]) -> String {
    match decoded(body).header().key() {
        KeyRef::Kid(kid) => kid.to_owned(),
        other => panic!("{other:?}"),
    }
}
