//! JSON and XML: what is taken, what is put aside, what is refused, each limit.

use repute_proto::{
    DecodeErrorKind, Decoder, Dialect, Digits, EncodeError, ExtensionValue, Format, Limit, Limits, Reputation, Reputon,
    Score, Strictness,
};

const GOOD: &str = r#""rater":"r","assertion":"spam","rated":"x","rating":0.5"#;

fn document(reputons: &str) -> String {
    format!(r#"{{"application":"email-id","reputons":[{reputons}]}}"#)
}

fn strict() -> Decoder {
    Decoder::new().with_strictness(Strictness::Strict)
}

/// Why the one reputon with this member is put aside.
fn rejected(member: &str) -> DecodeErrorKind {
    let body = document(&format!("{{{GOOD},{member}}},{{{GOOD}}}"));
    let document = Decoder::new().decode_json(body.as_bytes()).unwrap_or_else(|error| panic!("{member}: {error}"));
    assert_eq!(document.reputons.len(), 1, "{member}: the other one is good");
    let [(0, error)] = &document.rejected[..] else { panic!("{member}: {:?}", document.rejected) };
    error.kind.clone()
}

fn refused(body: &str) -> DecodeErrorKind {
    Decoder::new().decode_json(body.as_bytes()).expect_err(body).kind
}

#[test]
fn repeated_names_are_found_at_every_level_of_a_reputon() {
    let repeated = |name: &str| DecodeErrorKind::Repeated(name.to_owned());
    for (member, name) in [
        (r#""rater":"s""#, "rater"),
        (r#""r\u0061ter":"s""#, "rater"),
        (r#""RATER":"s""#, "rater"),
        (r#""x":1,"x":1"#, "x"),
        (r#""x":{"a":1,"a":2}"#, "a"),
        (r#""x":[{"b":[{"a":1,"c":{},"\u0061":2}]}]"#, "a"),
        (r#""rater":{"a":1,"a":1}"#, "a"),
    ] {
        assert_eq!(rejected(member), repeated(name), "{member}");
    }
    let many: Vec<String> = (0..50).map(|n| format!("\"k{n}\":0")).collect();
    assert_eq!(rejected(&format!("\"x\":{{{},\"k7\":1}}", many.join(","))), repeated("k7"));
    // Outside of a reputon it is the document that is in doubt.
    assert_eq!(refused(r#"{"application":"a","reputons":[],"application":"b"}"#), repeated("application"));
    assert_eq!(refused(r#"{"application":"a","reputons":[],"reputons":[]}"#), repeated("reputons"));
    // Equal names of different objects are no repetition.
    let fine = document(&format!(r#"{{{GOOD},"x":{{"a":{{"a":1}}}},"y":{{"a":1}}}}"#));
    assert_eq!(Decoder::new().decode_json(fine.as_bytes()).unwrap().reputons[0].extensions.len(), 2);
}

/// Every member however it is written: the reader has a short way for what most senders write.
#[test]
fn names_and_numbers_may_be_spaced_and_escaped() {
    let plain =
        br#"{"application":"a","reputons":[{"rater":"r","assertion":"b","rated":"x","rating":0.5,"confidence":0.25,
        "normal-rating":0.75,"sample-size":0,"generated":1234567890123456789,"expires":18446744073709551615,
        "rater-authenticity":1.0}]}"#;
    let expected = Decoder::new().decode_json(plain).unwrap();
    assert_eq!(expected.rejected, []);
    let reputon = &expected.reputons[0];
    let counts = (reputon.sample_size, reputon.generated, reputon.expires);
    assert_eq!(counts, (Some(0), Some(1_234_567_890_123_456_789), Some(u64::MAX)));
    let text = std::str::from_utf8(plain).unwrap();
    let names = ["rater", "assertion", "rated", "rating", "confidence", "normal-rating", "sample-size", "generated"];
    for name in names.into_iter().chain(["expires", "rater-authenticity"]) {
        let (first, rest) = name.split_at(1);
        let escaped = format!("\\u{:04x}{rest}", first.as_bytes()[0]);
        for (written, decoder) in [
            (format!("\n \"{name}\"\t: "), strict()),
            (format!("\"{escaped}\":"), strict()),
            (format!(" \"{}\":", name.to_uppercase()), Decoder::new()),
        ] {
            let body = text.replace(&format!("\"{name}\":"), &written);
            assert_ne!(body, text);
            assert_eq!(decoder.decode_json(body.as_bytes()), Ok(expected.clone()), "{body}");
        }
        let known_as_more = text.replace(&format!("\"{name}\":"), &format!("\"{name}s\":"));
        let read = Decoder::new().decode_json(known_as_more.as_bytes()).unwrap();
        assert!(read.reputons.iter().all(|reputon| reputon.extensions.len() == 1), "{name}s is an extension");
    }
    for bad in ["01", "18446744073709551616", "1.5", "-1", "00"] {
        let body = text.replace("1234567890123456789", bad);
        assert_ne!(Decoder::new().decode_json(body.as_bytes()), Ok(expected.clone()), "{bad}");
    }
    let lenient = text.replace("1234567890123456789", "5e1");
    assert_eq!(Decoder::new().decode_json(lenient.as_bytes()).unwrap().reputons[0].generated, Some(50));
}

#[test]
fn numbers_have_their_ranges() {
    let score = |name| DecodeErrorKind::OutOfRange { name, wanted: "a number from 0.0 to 1.0" };
    for name in ["confidence", "normal-rating", "rater-authenticity"] {
        for bad in ["-0.1", "1.01", "1e999", "-1e999", "2", "123456789012345678901234567890"] {
            assert_eq!(rejected(&format!("\"{name}\":{bad}")), score(name));
        }
    }
    for name in ["sample-size", "generated", "expires", "updated"] {
        for bad in ["-1", "18446744073709551616", "0.5", "1e99"] {
            let wanted = "a whole number from 0 to 2^64-1";
            assert_eq!(rejected(&format!("\"{name}\":{bad}")), DecodeErrorKind::OutOfRange { name, wanted });
        }
        let body = document(&format!("{{{GOOD},\"{name}\":1e1}}"));
        assert_eq!(Decoder::new().decode_json(body.as_bytes()).unwrap().rejected, []);
        assert_eq!(strict().decode_json(body.as_bytes()).unwrap().rejected.len(), 1);
    }
    let largest =
        document(&format!("{{{GOOD},\"sample-size\":18446744073709551615,\"confidence\":1,\"normal-rating\":-0.0}}"));
    let document = Decoder::new().decode_json(largest.as_bytes()).unwrap();
    assert_eq!(document.reputons[0].sample_size, Some(u64::MAX));
    assert_eq!(document.reputons[0].normal_rating, Some(Score::ZERO));
}

#[test]
fn members_have_their_types() {
    for (member, name) in [
        (r#""confidence":"0.5""#, "confidence"),
        (r#""sample-size":null"#, "sample-size"),
        (r#""expires":[1]"#, "expires"),
        (r#""generated":{"a":1}"#, "generated"),
    ] {
        assert!(
            matches!(rejected(member), DecodeErrorKind::WrongType { name: found, .. } if found == name),
            "{member}"
        );
    }
    for missing in ["rater", "assertion", "rated", "rating"] {
        let without = GOOD.replace(&format!("\"{missing}\""), "\"other\"");
        let body = document(&format!("{{{without}}}"));
        let document = Decoder::new().decode_json(body.as_bytes()).unwrap();
        assert_eq!(document.rejected[0].1.kind, DecodeErrorKind::Missing(missing));
    }
    let odd = document(&format!("1,[],\"x\",null,{{}},{{{GOOD}}}"));
    let document = Decoder::new().decode_json(odd.as_bytes()).unwrap();
    assert_eq!((document.rejected.len(), document.empty, document.reputons.len()), (4, 1, 1));
}

#[test]
fn what_is_no_json_is_refused() {
    for body in [
        "",
        " ",
        "{",
        "[]",
        "null",
        "{\"application\":\"a\",\"reputons\":[]} x",
        "{\"application\":\"a\",\"reputons\":[],}",
        "{\"application\":\"a\" \"reputons\":[]}",
        "{\"application\":\"a\",\"reputons\":[{},]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":01}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":+1}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":.5}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":1.}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":1e}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":\"\u{1}\"}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":\"\\x\"}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":\"\\ud800\"}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":\"\\udc00\\ud800\"}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":\"\\u+123\"}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":tru}]}",
        "{\"application\":\"a\",\"reputons\":[{\"x\":1]}",
        "{\"application\":1,\"reputons\":[]}",
    ] {
        assert!(Decoder::new().decode_json(body.as_bytes()).is_err(), "{body}");
    }
    assert_eq!(Decoder::new().decode_json(b"{\"\xff\":1}").unwrap_err().kind, DecodeErrorKind::NotUtf8);
    // Every prefix of a document is none.
    let body = document(&format!(r#"{{{GOOD},"x":{{"a":[1,"b\n",null]}}}}"#));
    for end in 0..body.len() {
        assert!(Decoder::new().decode_json(&body.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn json_is_limited() {
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        Decoder::new().with_limits(limits)
    };
    let exceeded = DecodeErrorKind::Limit;
    let nested = |depth: usize| document(&format!("{{{GOOD},\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth)));
    assert!(Decoder::new().decode_json(nested(16).as_bytes()).is_ok());
    for depth in [17, 100_000] {
        let error = Decoder::new().decode_json(nested(depth).as_bytes()).unwrap_err();
        assert_eq!(error.kind, exceeded(Limit::Depth));
    }
    let three = document(&format!("{{{GOOD}}},{{}},{{{GOOD}}}"));
    assert!(limits(|l| l.reputons = 3).decode_json(three.as_bytes()).is_ok());
    let error = limits(|l| l.reputons = 2).decode_json(three.as_bytes()).unwrap_err();
    assert_eq!(error.kind, exceeded(Limit::Reputons));
    let five = document(&format!("{{{GOOD},\"x\":{{\"y\":[{{}}]}}}},{{{GOOD}}}"));
    let read = limits(|l| l.members = 4).decode_json(five.as_bytes()).unwrap();
    assert_eq!(read.rejected[0].1.kind, exceeded(Limit::Members));
    assert_eq!(read.reputons.len(), 1);
    let read = limits(|l| l.reputon = 60).decode_json(five.as_bytes()).unwrap();
    assert_eq!((read.rejected[0].1.kind.clone(), read.reputons.len()), (exceeded(Limit::Reputon), 1));
    let error = limits(|l| l.document = 20).decode_json(three.as_bytes()).unwrap_err();
    assert_eq!((error.kind, error.offset), (exceeded(Limit::Document), 20));
}

#[test]
fn only_media_types_of_reputons_are_read() {
    let body = document(&format!("{{{GOOD}}}"));
    for media in ["", "application/json", "text/html", "application/reputonx", "text/plain"] {
        let error = Decoder::new().decode(media, body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::UnknownMediaType, "{media}");
    }
    for media in ["application/reputon+json", "Application/Reputon+JSON; charset=utf-8", "application/reputon"] {
        assert_eq!(Decoder::new().decode(media, body.as_bytes()).unwrap().reputons.len(), 1, "{media}");
    }
    let xml = xml("");
    let rfc = Decoder::new().with_dialect(Dialect::Rfc7072).decode("application/reputon", xml.as_bytes());
    assert_eq!(rfc.unwrap_err().kind, DecodeErrorKind::WrongDialect);
}

#[test]
fn opendkims_flat_object_is_read() {
    let body = r#"{"rater":"r","identity":"dkim","rate":250,"assertion":"spam","rated":"x","rating":0.5,"updated":7}"#;
    let document = Decoder::new().decode("application/reputon; app=email-id", body.as_bytes()).unwrap();
    let [reputon] = &document.reputons[..] else { panic!() };
    assert_eq!((reputon.rate(), reputon.generated), (Some(250), Some(7)));
    let mut written = Vec::new();
    Format::FlatJson.encode(&document, Digits::Three, &mut written).unwrap();
    assert_eq!(Decoder::new().decode_json(&written).unwrap().reputons, document.reputons);
}

fn xml(extra: &str) -> String {
    format!(
        "<reputation><reputon><rater>r</rater><assertion>SPAM</assertion><rated>x</rated><rating>0.5</rating>{extra}</reputon></reputation>"
    )
}

fn read_xml(text: &str) -> Result<Reputation<'_>, DecodeErrorKind> {
    Decoder::new().decode_xml(text.as_bytes()).map_err(|error| error.kind)
}

#[test]
fn xml_has_no_document_type_and_no_entities() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE r [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>";
    let with = |prolog: &str, text: &str| format!("{prolog}{}", xml(&format!("<extension>A: {text}</extension>")));
    assert_eq!(read_xml(&with(bomb, "&b;")), Err(DecodeErrorKind::Entity));
    assert_eq!(read_xml(&with("<!DOCTYPE reputation SYSTEM 'file:///etc/passwd'>", "x")), Err(DecodeErrorKind::Entity));
    assert_eq!(read_xml(&with("", "&b;")), Err(DecodeErrorKind::Entity));
    for bad in ["&#0;", "&#x1F;", "&#xD800;", "&#x110000;", "&#+65;", "&#xfffe;"] {
        assert_eq!(read_xml(&with("", bad)), Err(DecodeErrorKind::Entity), "{bad}");
    }
    let built_in = with("", "&amp;&lt;&gt;&quot;&apos;&#65;&#x42;");
    let document = read_xml(&built_in).unwrap();
    assert_eq!(document.reputons[0].extension("a").unwrap().as_text(), Some("&<>\"'AB"));
}

#[test]
fn both_spellings_of_extensions_are_read() {
    for extra in [
        "<extension>IDENTITY: DKIM</extension><extension>RATE:250</extension><extension>SOURCES: 3</extension>",
        "<identity>dkim</identity><rate>250</rate><sources> 3 </sources>",
    ] {
        let text = xml(extra);
        let document = read_xml(&text).unwrap();
        let reputon = &document.reputons[0];
        assert_eq!(reputon.identity(), Some(repute_proto::Identity::Dkim));
        assert_eq!((reputon.rate(), reputon.sources()), (Some(250), Some(3)));
        let mut json = Vec::new();
        let document = Reputation::new("email-id", document.reputons);
        Format::Json.encode(&document, Digits::Three, &mut json).unwrap();
        assert!(String::from_utf8(json).unwrap().contains("\"rate\":250,\"sources\":3"));
    }
}

#[test]
fn xml_is_read_in_any_order_with_strangers_passed_over() {
    let text = "<?xml version=\"1.0\"?>\n<?xml-stylesheet href='x'?><!-- c -->
        <r:Reputation xmlns:r='urn:x' a='b'><x><y>text</y></x><r:reputon b=\"1\"><r:rating> 0.50
        </r:rating><rated><![CDATA[ Alex <]]>  Rodriguez </rated><note><deep/></note>
        <ASSERTION>IS-GOOD</ASSERTION><rater>r</rater></r:reputon><reputon/></r:Reputation>\n";
    let document = read_xml(text).unwrap();
    assert_eq!((document.rejected.len(), document.empty), (0, 1), "{document:?}");
    let reputon = &document.reputons[0];
    assert_eq!((reputon.rated.as_ref(), reputon.rating.text().as_ref()), ("Alex < Rodriguez", "0.50"));
    assert_eq!(read_xml("<reputation/>").unwrap(), Reputation::default());
    assert_eq!(read_xml("<reputation><x>text &amp;<![CDATA[more]]></x></reputation>").unwrap(), Reputation::default());
}

#[test]
fn xml_reputons_that_break_a_rule_are_put_aside() {
    for (extra, kind) in [
        ("<rater>s</rater>", DecodeErrorKind::Repeated("rater".to_owned())),
        (
            "<confidence>1.95</confidence>",
            DecodeErrorKind::OutOfRange { name: "confidence", wanted: "a number from 0.0 to 1.0" },
        ),
        (
            "<confidence>1e-1</confidence>",
            DecodeErrorKind::OutOfRange { name: "confidence", wanted: "a number from 0.0 to 1.0" },
        ),
        (
            "<confidence>nan</confidence>",
            DecodeErrorKind::OutOfRange { name: "confidence", wanted: "a number from 0.0 to 1.0" },
        ),
        (
            "<sample-size>-1</sample-size>",
            DecodeErrorKind::OutOfRange { name: "sample-size", wanted: "a whole number from 0 to 2^64-1" },
        ),
        (
            "<extension>IDENTITY</extension>",
            DecodeErrorKind::WrongType { name: "extension", wanted: "a name, a colon and a value" },
        ),
        ("<updated><x/></updated>", DecodeErrorKind::WrongType { name: "updated", wanted: "text alone" }),
        ("<extension>A: 1</extension><a>2</a>", DecodeErrorKind::Repeated("a".to_owned())),
    ] {
        let text = xml(extra);
        let document = read_xml(&text).unwrap_or_else(|kind| panic!("{extra}: {kind}"));
        assert_eq!(document.rejected.len(), 1, "{extra}");
        assert_eq!(document.rejected[0].1.kind, kind, "{extra}");
    }
    let zero = xml("<sample-size>0</sample-size>");
    assert!(read_xml(&zero).unwrap().reputons[0].is_no_data());
}

#[test]
fn what_is_no_xml_is_refused() {
    for text in [
        "",
        "x",
        "<reputation>",
        "<reputation></other>",
        "<other/>",
        "<reputation/><reputation/>",
        "<reputation/>x",
        "x<reputation/>",
        "<reputation>x</reputation>",
        "<reputation><reputon>x</reputon></reputation>",
        "<reputation><?php x?></reputation>",
        "<reputation a=1/>",
        "<reputation a='1' a='2'/>",
        "<reputation/><?xml version='1.0'?>",
        "<reputation>\u{1}</reputation>",
        "<?xml version='1.0' encoding='UTF-16'?><reputation/>",
    ] {
        assert!(read_xml(text).is_err(), "{text}");
    }
    let whole = xml("<extension>A: b</extension>");
    for end in 0..whole.len() {
        assert!(read_xml(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn xml_is_limited() {
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        Decoder::new().with_limits(limits)
    };
    let exceeded = DecodeErrorKind::Limit;
    let deep = xml(&format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000)));
    assert_eq!(read_xml(&deep).unwrap_err(), exceeded(Limit::Depth));
    let two = "<reputation><reputon/><reputon/></reputation>";
    let error = limits(|l| l.reputons = 1).decode_xml(two.as_bytes()).unwrap_err();
    assert_eq!(error.kind, exceeded(Limit::Reputons));
    let text = xml("");
    let read = limits(|l| l.members = 3).decode_xml(text.as_bytes()).unwrap();
    assert_eq!(read.rejected[0].1.kind, exceeded(Limit::Members));
    // Whatever stands in the members that are too many.
    let odd = xml("<a>b</a><c>&amp;<![CDATA[d]]></c>");
    let read = limits(|l| l.members = 4).decode_xml(odd.as_bytes()).unwrap();
    assert_eq!(read.rejected[0].1.kind, exceeded(Limit::Members));
    let read = limits(|l| l.reputon = 50).decode_xml(text.as_bytes()).unwrap();
    assert_eq!(read.rejected[0].1.kind, exceeded(Limit::Reputon));
    let error = limits(|l| l.document = 50).decode_xml(text.as_bytes()).unwrap_err();
    assert_eq!(error.kind, exceeded(Limit::Document));
}

#[test]
fn xml_is_utf_8_ascii_or_latin_1() {
    let with = |encoding: &str, octet: &[u8]| {
        let mut body = format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>").into_bytes();
        body.extend_from_slice(xml("<extension>A: ?</extension>").as_bytes());
        let at = body.iter().rposition(|octet| *octet == b'?').unwrap();
        body.splice(at..=at, octet.iter().copied());
        body
    };
    for (encoding, octets) in [("utf-8", "é".as_bytes()), ("US-ASCII", "é".as_bytes()), ("ISO-8859-1", b"\xe9")] {
        let body = with(encoding, octets);
        let document = Decoder::new().decode_xml(&body).unwrap();
        assert_eq!(document.reputons[0].extension("a").unwrap().as_text(), Some("é"), "{encoding}");
    }
    assert_eq!(Decoder::new().decode_xml(&with("utf-8", b"\xe9")).unwrap_err().kind, DecodeErrorKind::NotUtf8);
    assert_eq!(Decoder::new().decode_xml(&with("ebcdic", b"a")).unwrap_err().kind, DecodeErrorKind::XmlEncoding);
    assert_eq!(strict().decode_xml(&with("US-ASCII", "é".as_bytes())).unwrap_err().kind, DecodeErrorKind::XmlEncoding);
}

#[test]
fn extensions_need_an_application_that_defines_them() {
    let text = xml("<extension>IDENTITY: DKIM</extension>");
    let read = |decoder: Decoder, media| decoder.decode(media, text.as_bytes()).unwrap().rejected.len();
    assert_eq!(read(strict(), "application/reputon"), 1);
    assert_eq!(read(strict(), "application/reputon; app=email-id"), 0);
    assert_eq!(read(Decoder::new(), "application/reputon"), 0);
    let mut nameless = read_xml(&text).unwrap();
    nameless.application = None;
    let error = Format::Xml.encode(&nameless, Digits::Three, &mut Vec::new()).unwrap_err();
    assert_eq!(error, EncodeError::ExtensionWithoutApplication);
}

#[test]
fn what_is_written_is_ascii_xml_and_short_json() {
    let reputon = Reputon::new("r<é>", "spam", "Alex & Co", "0.01249".parse().unwrap())
        .with_confidence(Score::new(1.0).unwrap())
        .with_extension("x", ExtensionValue::json("[1, 2]").unwrap())
        .with_extension("rater", ExtensionValue::text("a second one"));
    let document = Reputation::new("email-id", vec![reputon]);
    let mut json = Vec::new();
    Format::Json.encode(&document, Digits::Three, &mut json).unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"application":"email-id","reputons":[{"rater":"r<é>","assertion":"spam","rated":"Alex & Co","rating":0.012,"confidence":1.0,"x":[1, 2]}]}"#
    );
    let mut xml = Vec::new();
    Format::Xml.encode(&document, Digits::AsReceived, &mut xml).unwrap();
    let xml = String::from_utf8(xml).unwrap();
    assert!(xml.is_ascii() && xml.contains("<rater>r&lt;&#233;&gt;</rater>") && xml.contains("0.01249"), "{xml}");
    let control = Reputation::new("a", vec![Reputon::new("\0", "a", "b", Score::ZERO)]);
    assert_eq!(Format::Xml.encode(&control, Digits::Three, &mut Vec::new()), Err(EncodeError::Character("rater")));
    let two = Reputation::new("a", vec![Reputon::new("a", "a", "b", Score::ZERO); 2]);
    assert_eq!(Format::FlatJson.encode(&two, Digits::Three, &mut Vec::new()), Err(EncodeError::OneOnly(2)));
    let mut nameless = two;
    nameless.application = None;
    assert_eq!(Format::Json.encode(&nameless, Digits::Three, &mut Vec::new()), Err(EncodeError::ApplicationMissing));
}
