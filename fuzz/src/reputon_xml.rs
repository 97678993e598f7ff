//! Reputons in XML: read leniently and strictly, written in both formats, and read again.

use repute_proto::{DecodeErrorKind, Decoder, Digits, Format, Limits, Strictness};

/// Reads `data` as a body.
pub fn run(data: &[u8]) {
    // A comment behind the document is nothing to the general reader, and sends every document there.
    let commented = [data, b"<!---->"].concat();
    if let Ok(plain) = Decoder::new().decode_xml(data) {
        assert_eq!(Ok(plain), Decoder::new().decode_xml(&commented), "the short way on the left");
    }
    let strict = Decoder::new().with_strictness(Strictness::Strict).decode_xml(data);
    let document = match Decoder::new().decode_xml(data) {
        Ok(document) => document,
        Err(error) => {
            assert!(error.offset <= data.len(), "{error} is behind the end, {}", data.len());
            assert!(strict.is_err(), "whoever reads leniently reads what strict readers read");
            return;
        }
    };
    let mut limits = Limits::default();
    (limits.depth, limits.members, limits.reputons, limits.reputon) = (4, 5, 2, 120);
    match Decoder::new().with_limits(limits).decode_xml(data) {
        Ok(read) => assert!(read.reputons.iter().all(|reputon| document.reputons.contains(reputon))),
        Err(error) => assert!(matches!(error.kind, DecodeErrorKind::Limit(_)), "{error}"),
    }
    for reputon in &document.reputons {
        assert!((0.0..=1.0).contains(&reputon.rating.value()));
    }
    let mut named = document.clone();
    named.application.get_or_insert("email-id".into());
    let mut octets = Vec::new();
    // Names of strange elements may be none of extensions.
    if Format::Xml.encode(&named, Digits::AsReceived, &mut octets).is_ok() && data.len() < 4096 {
        assert!(octets.is_ascii());
        let read = Decoder::new().decode_xml(&octets);
        let read = read.unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&octets)));
        assert_eq!(read.reputons.len(), named.reputons.len(), "{}", String::from_utf8_lossy(&octets));
        for (read, given) in read.reputons.iter().zip(&named.reputons) {
            assert_eq!((&read.rater, &read.rated, &read.rating), (&given.rater, &given.rated, &given.rating));
        }
    }
    if data.len() < 4096 {
        crate::reputon_json::written(document);
    }
}
