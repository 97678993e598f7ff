//! Reputons in JSON: read in every dialect, written, and read again; held against `serde_json`.

use repute_proto::{DecodeErrorKind, Decoder, Dialect, Digits, Format, Limits, Reputation, Strictness};

/// Reads `data` as a body.
pub fn run(data: &[u8]) {
    let lenient = checked(data, &Decoder::new());
    let rfc = Decoder::new().with_dialect(Dialect::Rfc7072).with_strictness(Strictness::Strict);
    let strict = checked(data, &rfc);
    let json = serde_json::from_slice::<serde_json::Value>(data);
    if strict.is_some()
        && let Err(error) = &json
    {
        // Numbers beyond a float are kept as their text, and depth is counted otherwise.
        let text = error.to_string();
        assert!(text.contains("out of range") || text.contains("recursion"), "{text}");
    }
    if let Some(strict) = strict {
        assert!(strict.application.is_some());
        // Whoever reads leniently reads no less, but for what is dangerous.
        if let Some(lenient) = checked(data, &Decoder::new().with_dialect(Dialect::Rfc7072)) {
            let count = |document: &Reputation<'_>| document.reputons.len() + document.empty + document.rejected.len();
            assert_eq!(count(&strict), count(&lenient));
        }
    }
    let Some(document) = lenient else { return };
    let mut limits = Limits::default();
    (limits.depth, limits.members, limits.reputons, limits.reputon) = (3, 6, 2, 80);
    match Decoder::new().with_limits(limits).decode_json(data) {
        Ok(read) => assert!(read.reputons.iter().all(|reputon| document.reputons.contains(reputon))),
        Err(error) => assert!(matches!(error.kind, DecodeErrorKind::Limit(_)), "{error}"),
    }
    written(document);
}

fn checked<'a>(data: &'a [u8], decoder: &Decoder) -> Option<Reputation<'a>> {
    match decoder.decode_json(data) {
        Ok(document) => {
            for reputon in &document.reputons {
                let scores = [&reputon.confidence, &reputon.normal_rating, &reputon.rater_authenticity];
                for score in scores.into_iter().flatten().chain([&reputon.rating]) {
                    assert!((0.0..=1.0).contains(&score.value()));
                }
            }
            for (_, error) in &document.rejected {
                assert!(error.offset <= data.len(), "{error}");
            }
            Some(document)
        }
        Err(error) => {
            assert!(error.offset <= data.len(), "{error} is behind the end, {}", data.len());
            let _ = error.to_string();
            None
        }
    }
}

/// What was read from a document reads back equal from what is written.
pub(crate) fn written(mut document: Reputation<'_>) {
    document.application.get_or_insert("email-id".into());
    (document.empty, document.rejected) = (0, Vec::new());
    let mut octets = Vec::new();
    Format::Json.encode(&document, Digits::AsReceived, &mut octets).expect("every named document is JSON");
    let mut limits = Limits::default();
    // What is written may be longer by its escapes and names.
    (limits.reputon, limits.document) = (1 << 20, 1 << 26);
    let read = Decoder::new().with_limits(limits).with_dialect(Dialect::Rfc7072).decode_json(&octets);
    let read = read.unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&octets)));
    assert_eq!(read.reputons.len(), document.reputons.len(), "{}", String::from_utf8_lossy(&octets));
    for (read, given) in read.reputons.iter().zip(&document.reputons) {
        assert_eq!((&read.rater, &read.assertion, &read.rated), (&given.rater, &given.assertion, &given.rated));
        assert_eq!((&read.rating, &read.confidence), (&given.rating, &given.confidence));
        assert_eq!(
            (read.sample_size, read.generated, read.expires),
            (given.sample_size, given.generated, given.expires)
        );
    }
}
