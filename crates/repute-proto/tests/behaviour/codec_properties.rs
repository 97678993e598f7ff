//! For all documents: what is written is read, and what serde_json reads is read the same.

use proptest::prelude::*;
use repute_proto::{Decoder, Digits, ExtensionValue, Format, Reputation, Reputon, Score, Strictness};

fn reputon() -> impl Strategy<Value = Reputon<'static>> {
    let text = "[a-zA-Z0-9é<&\"\\\\/ .-]{0,6}[a-z]";
    let score = || (0..=1000u32).prop_map(|thousandths| Score::new(f64::from(thousandths) / 1000.0).unwrap());
    let extension = (
        "[a-z]{1,3}-[a-z]",
        prop_oneof![
            "[a-z<&é]{1,6}".prop_map(ExtensionValue::text),
            any::<u32>().prop_map(|number| ExtensionValue::number(number.into())),
        ],
    );
    (
        (text, text, text, score()),
        (proptest::option::of(score()), proptest::option::of(any::<u64>()), proptest::option::of(any::<u64>())),
        proptest::collection::vec(extension, 0..3),
    )
        .prop_map(|((rater, assertion, rated, rating), (confidence, samples, generated), extensions)| {
            let squeeze = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut reputon = Reputon::new(squeeze(rater), squeeze(assertion), squeeze(rated), rating);
            (reputon.confidence, reputon.sample_size, reputon.generated) = (confidence, samples, generated);
            for (name, value) in extensions {
                reputon.set_extension(name, value);
            }
            reputon
        })
}

proptest! {
    #[test]
    fn every_format_gives_back_what_it_was_given(reputons in proptest::collection::vec(reputon(), 0..4)) {
        let document = Reputation::new("email-id", reputons);
        for format in [Format::Json, Format::Draft02Json, Format::Xml, Format::FlatJson] {
            let mut octets = Vec::new();
            if format.encode(&document, Digits::Three, &mut octets).is_err() {
                prop_assert!(format == Format::FlatJson && document.reputons.len() > 1);
                continue;
            }
            if format == Format::FlatJson && document.reputons.is_empty() {
                continue;
            }
            let media = format!("{}; app=email-id", format.media_type(None));
            let read = Decoder::new().decode(&media, &octets).unwrap();
            prop_assert_eq!(&read, &document, "{}", String::from_utf8_lossy(&octets));
            // And once more, digit for digit.
            let mut again = Vec::new();
            format.encode(&read, Digits::Three, &mut again).unwrap();
            prop_assert_eq!(again, octets);
        }
    }

    #[test]
    fn whoever_reads_what_we_read_is_serde_json(body in "[ \\[\\]{}\":,0-9.eE+a-u\\\\-]{0,40}") {
        let body = format!("{{\"application\":\"a\",\"reputons\":[{{\"x\":{body}}}]}}");
        let read = Decoder::new().with_strictness(Strictness::Strict).decode_json(body.as_bytes());
        let serde: Result<serde_json::Value, _> = serde_json::from_str(&body);
        match (read, serde) {
            // A number beyond a float is kept as its text here.
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("number out of range"), "{body}: {error}"),
            (Err(error), Ok(_)) => prop_assert!(
                error.to_string().contains("repeated") || error.to_string().contains("deep"), "{body}: {error}"
            ),
            _ => {}
        }
    }

    #[test]
    fn plain_xml_is_read_as_the_general_reader_reads_it(
        reputons in proptest::collection::vec(reputon(), 0..3),
        cut in "[<>/a-z &;\\]-]{0,4}",
        at in any::<proptest::sample::Index>(),
    ) {
        let mut octets = Vec::new();
        Format::Xml.encode(&Reputation::new("email-id", reputons), Digits::Three, &mut octets).unwrap();
        let at = at.index(octets.len());
        octets.splice(at..at, cut.bytes());
        // A comment at the end is nothing to the general reader, and too much for the other.
        let with_comment = [octets.as_slice(), b"<!---->"].concat();
        let both = [octets.as_slice(), with_comment.as_slice()].map(|document| {
            Decoder::new().decode_xml(document).map_err(|mut error| {
                // The end of the one is not the end of the other.
                error.offset = error.offset.min(octets.len());
                error
            })
        });
        // Markup that is cut off goes on into the comment, and is wrong in another way then.
        if both[0].as_ref().is_err_and(|error| error.to_string().contains("markup without an end")) {
            prop_assert!(both[1].is_err(), "{}", String::from_utf8_lossy(&octets));
        } else {
            prop_assert_eq!(&both[0], &both[1], "{}", String::from_utf8_lossy(&octets));
        }
    }

    #[test]
    fn no_octets_are_too_odd(octets in proptest::collection::vec(any::<u8>(), 0..80), media in 0..3usize) {
        let media = ["application/reputon", "application/reputon+json", "application/reputon; app=\"x"][media];
        if let Err(error) = Decoder::new().decode(media, &octets) {
            prop_assert!(error.offset <= octets.len());
        }
    }
}
