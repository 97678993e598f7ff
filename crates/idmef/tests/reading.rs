//! What a reader accepts, leniently and strictly, and what it refuses and where.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use idmef::{
    Alert, Data, DecodeError, DecodeErrorKind, Decoder, Encoder, InvalidMessage, Item, Limit, Limits, Message,
    PeerIncompatible, Rating, XmlText,
};

const TIME: &str = "<CreateTime ntpstamp=\"0xbc722ebe.0x00000000\">2000-03-09T14:07:58Z</CreateTime>";

/// An alert with `inside` behind its time.
fn alert_with(inside: &str) -> String {
    format!("<IDMEF-Message><Alert><Analyzer/>{TIME}{inside}<Classification text='x'/></Alert></IDMEF-Message>")
}

fn lenient(text: &str) -> Result<Alert, DecodeError> {
    Message::decode(text.as_bytes()).map(|message| message.alerts().next().unwrap().clone())
}

fn strict(text: &str) -> Result<Message, DecodeError> {
    Decoder::new().strict().decode(text.as_bytes())
}

/// A strict alert with `inside` behind its time and `data` behind its classification.
fn strict_with(inside: &str, data: &str) -> Result<Message, DecodeError> {
    strict(&format!(
        "<?xml version='1.0'?><IDMEF-Message xmlns='http://iana.org/idmef' version='1.0'><Alert><Analyzer/>{TIME}{inside}\
         <Classification text='x'/>{data}</Alert></IDMEF-Message>"
    ))
}

fn kind<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> DecodeErrorKind {
    result.unwrap_err().kind
}

fn ill_formed<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> bool {
    matches!(kind(result), DecodeErrorKind::InvalidMessage(InvalidMessage::IllFormed(_)))
}

fn limited(limits: Limits, text: &str) -> Result<Message, DecodeError> {
    Decoder::new().with_limits(limits).decode(text.as_bytes())
}

#[test]
fn children_in_any_order() {
    let text = format!(
        "<IDMEF-Message><Alert><Classification text='x'/><Target/>{TIME}<Source/><Analyzer analyzerid='a'/></Alert></IDMEF-Message>"
    );
    let alert = lenient(&text).unwrap();
    assert_eq!((alert.source.len(), alert.target.len()), (1, 1));
    let strict_text = text
        .replace("<IDMEF-Message>", "<?xml version='1.0'?><IDMEF-Message version='1.0' xmlns='http://iana.org/idmef'>");
    assert_eq!(kind(strict(&strict_text)), InvalidMessage::OutOfOrder("Target").into());
}

#[test]
fn name_and_port_in_either_order_even_strictly() {
    for inside in ["<name>a</name><port>1</port>", "<port>1</port><name>a</name>", "<port>1</port>"] {
        assert!(strict_with(&format!("<Source><Service>{inside}</Service></Source>"), "").is_ok(), "{inside}");
    }
    for inside in ["<number>1</number><name>a</name>", "<name>a</name><number>1</number>"] {
        let user = format!("<Source><User><UserId>{inside}</UserId></User></Source>");
        assert!(strict_with(&user, "").is_ok(), "{inside}");
    }
    let late = "<Source><Service><port>1</port><protocol>p</protocol><name>a</name></Service></Source>";
    assert_eq!(kind(strict_with(late, "")), InvalidMessage::OutOfOrder("name").into());
}

#[test]
fn unknown_elements_and_attributes_are_passed_over() {
    let unknown = "<New a='1'><Source><Node/></Source>t</New><v:x xmlns:v='urn:v'><Target/></v:x>";
    let text = alert_with(&format!("<Source colour='red'>{unknown}</Source>"));
    let alert = lenient(&text).unwrap();
    assert_eq!((alert.source.len(), alert.target.len()), (1, 0));
    assert_eq!(kind(strict_with("<New/>", "")), InvalidMessage::Unexpected.into());
    assert_eq!(kind(strict_with("<v:x xmlns:v='urn:v'/>", "")), InvalidMessage::Namespace.into());
    assert_eq!(kind(strict_with("text", "")), InvalidMessage::Unexpected.into());
    // An attribute that the DTD does not know does no harm, and example 7.8 has some.
    assert!(strict_with("<Source xmlns:xsi='urn:x' xsi:schemaLocation='a'/>", "").is_ok());
}

#[test]
fn namespace_or_none_but_not_another() {
    let body = format!("<Alert><Analyzer/>{TIME}<Classification text='x'/></Alert>");
    for root in ["", " xmlns='http://iana.org/idmef'", " xmlns=''"] {
        assert!(lenient(&format!("<IDMEF-Message{root}>{body}</IDMEF-Message>")).is_ok(), "{root}");
    }
    let prefixed = body.replace("</", "</p:").replace('<', "<p:").replace("<p:/p:", "</p:");
    assert!(lenient(&format!("<p:IDMEF-Message xmlns:p='http://iana.org/idmef'>{prefixed}</p:IDMEF-Message>")).is_ok());
    assert!(lenient(&format!("<p:IDMEF-Message>{prefixed}</p:IDMEF-Message>")).is_ok());
    let other = format!("<IDMEF-Message xmlns='urn:other'>{body}</IDMEF-Message>");
    assert_eq!(kind(Message::decode(other.as_bytes())), InvalidMessage::Namespace.into());
    let declared = format!("<?xml version='1.0'?><IDMEF-Message version='1.0'>{body}</IDMEF-Message>");
    assert_eq!(kind(strict(&declared)), InvalidMessage::Namespace.into());
}

#[test]
fn additional_data_with_bare_text() {
    for (kind, text, data) in [
        ("integer", "42", Data::from(idmef::Integer::from(42))),
        ("string", "42", Data::from("42")),
        ("boolean", "true", Data::from(true)),
        ("byte-string", "QQ==", idmef::ByteString(vec![65]).into()),
        ("real", "62,5", idmef::Real::new(62.5).unwrap().into()),
        ("fancy", "x", Data::from("x")),
    ] {
        let text = alert_with(&format!("<AdditionalData type='{kind}' meaning='m'> {text} </AdditionalData>"));
        assert_eq!(lenient(&text).unwrap().additional_data[0].data, data);
    }
    let bad = alert_with("<AdditionalData type='integer'>many</AdditionalData>");
    let expected = "value of its type";
    assert_eq!(kind(lenient(&bad)), InvalidMessage::InvalidValue { name: "AdditionalData", expected }.into());
    assert_eq!(kind(strict_with("", "<AdditionalData>bare</AdditionalData>")), InvalidMessage::Unexpected.into());
    let default = alert_with("<AdditionalData>bare</AdditionalData>");
    assert_eq!(lenient(&default).unwrap().additional_data[0].data, Data::from("bare"));
}

#[test]
fn additional_data_of_an_unknown_type_is_kept_as_xml() {
    let text = alert_with("<AdditionalData type='geo'><geo><lat>1</lat></geo></AdditionalData>");
    let data = lenient(&text).unwrap().additional_data[0].data.clone();
    assert_eq!(data, XmlText::new("<lat>1</lat>").unwrap().into());
    let two = alert_with("<AdditionalData><string>a</string><string>b</string></AdditionalData>");
    assert_eq!(kind(lenient(&two)), InvalidMessage::Duplicate("the typed element").into());
    assert!(strict_with("", "<AdditionalData type='integer'><string>a</string></AdditionalData>").is_err());
}

#[test]
fn xml_for_xmltext() {
    for element in ["xml", "xmltext"] {
        let text = alert_with(&format!(
            "<AdditionalData type='{element}'><{element}> <a b='&lt;'>t<![CDATA[<]]>&#65;</a>\r\n<c/> </{element}></AdditionalData>"
        ));
        let Data::XmlText(text) = lenient(&text).unwrap().additional_data[0].data.clone() else { panic!() };
        assert_eq!(text.as_str(), "<a b='&lt;'>t<![CDATA[<]]>&#65;</a>\n<c/>");
    }
    assert!(strict_with("", "<AdditionalData type='xml'><xml/></AdditionalData>").is_err());
    assert!(strict_with("", "<AdditionalData type='xmltext'><xmltext/></AdditionalData>").is_ok());
}

#[test]
fn fragments_bring_their_prefixes() {
    let text = "<IDMEF-Message xmlns:p='urn:\"p' xmlns:q='urn:q'><Heartbeat><Analyzer/>".to_owned()
        + TIME
        + "<AdditionalData xmlns:p='urn:&lt;'><xmltext><p:a><p:b/></p:a>t<p:c xmlns:p='urn:c'/></xmltext></AdditionalData></Heartbeat></IDMEF-Message>";
    let message = Message::decode(text.as_bytes()).unwrap();
    let Data::XmlText(text) = &message.heartbeats().next().unwrap().additional_data[0].data else { panic!() };
    assert_eq!(text.as_str(), "<p:a xmlns:p=\"urn:&lt;\"><p:b/></p:a>t<p:c xmlns:p='urn:c'/>");
    assert_eq!(Message::decode(message.encode().unwrap().as_bytes()).as_ref(), Ok(&message));
}

#[test]
fn xml_text_is_checked() {
    for good in ["", "t", "<a/>", "<a><b/>x</a>y", "&amp;&#10;", "<!-- c --><?pi x?>"] {
        assert!(XmlText::new(good).is_ok(), "{good}");
    }
    for bad in [
        "<a>",
        "</a>",
        "<a></b>",
        "</xmltext><b/>",
        "&nbsp;",
        "&",
        "<a b=c/>",
        "<a b='<'/>",
        "<a b='1' b='2'/>",
        "]]>",
        "<!DOCTYPE a>",
        "<?xml version='1.0'?>",
        "\u{1}",
        "&#0;",
        "<1/>",
        "<a",
        "<!-- a -- b -->",
        "<a b='1'c='2'/>",
        "<![CDATA[",
        "<a b/>",
        "<a / >",
    ] {
        assert!(XmlText::new(&format!("<w>{bad}</w>")).is_err() || XmlText::new(bad).is_err(), "{bad}");
    }
    let deep = "<a>".repeat(28) + &"</a>".repeat(28);
    let mut alert = lenient(&alert_with("")).unwrap();
    alert.additional_data.push(idmef::AdditionalData::new("deep", XmlText::new(&deep).unwrap()));
    let message = Message::from(alert);
    assert_eq!(Message::decode(message.encode().unwrap().as_bytes()), Ok(message));
    let deeper = format!("<a>{deep}</a>");
    assert_eq!(kind(XmlText::new(&deeper)), DecodeErrorKind::LimitExceeded(Limit::Depth));
    let long = "x".repeat(Limits::default().text + 1);
    assert_eq!(kind(XmlText::new(&long)), DecodeErrorKind::LimitExceeded(Limit::Text));
}

#[test]
fn missing_members() {
    let none = format!("<IDMEF-Message><Alert>{TIME}</Alert></IDMEF-Message>");
    let alert = lenient(&none).unwrap();
    assert_eq!((alert.classification.text.as_str(), alert.analyzer.analyzerid.as_str()), ("", "0"));
    let timeless = "<IDMEF-Message><Alert><Analyzer/></Alert></IDMEF-Message>";
    assert_eq!(kind(lenient(timeless)), InvalidMessage::Missing("CreateTime").into());
    let file = alert_with("<Target><File><name/><path/></File></Target>");
    let error = lenient(&file).unwrap_err();
    assert_eq!((error.kind, error.element), (InvalidMessage::Missing("category").into(), "File"));
    assert_eq!(
        kind(strict_with("<Source><Node/></Source>", "")),
        InvalidMessage::Model("neither name nor Address").into()
    );
    assert!(lenient(&alert_with("<Source><Node/></Source>")).is_ok());
    let incomplete = "<?xml version='1.0'?><IDMEF-Message xmlns='http://iana.org/idmef' version='1.0'><Heartbeat><Analyzer/></Heartbeat></IDMEF-Message>";
    assert_eq!(kind(strict(incomplete)), InvalidMessage::Missing("CreateTime").into());
    assert_eq!(kind(strict(&incomplete.replace(" version='1.0'>", ">"))), InvalidMessage::Missing("version").into());
}

#[test]
fn what_may_come_once_is_refused_twice() {
    let twice = alert_with("<DetectTime ntpstamp='0x1.0x1'/><DetectTime ntpstamp='0x1.0x1'/>");
    assert_eq!(kind(lenient(&twice)), InvalidMessage::Duplicate("DetectTime").into());
    let kinds = alert_with("<OverflowAlert><program>p</program></OverflowAlert><ToolAlert><name>n</name></ToolAlert>");
    assert_eq!(kind(lenient(&kinds)), InvalidMessage::Duplicate("ToolAlert").into());
}

#[test]
fn times_told_once() {
    let text = alert_with(
        "<DetectTime ntpstamp='0xbc722ebe.0x80000000'> </DetectTime><AnalyzerTime>2000-03-09T14:07:58Z</AnalyzerTime>",
    );
    let alert = lenient(&text).unwrap();
    assert_eq!(alert.detect_time.unwrap().datetime().to_string(), "2000-03-09T14:07:58.5Z");
    assert_eq!(alert.analyzer_time.unwrap().ntpstamp().to_string(), "0xbc722ebe.0x00000000");
    assert!(lenient(&alert_with("<DetectTime/>")).is_err());
    assert_eq!(
        kind(strict_with("<DetectTime>2000-03-09T14:07:58Z</DetectTime>", "")),
        InvalidMessage::Missing("ntpstamp").into()
    );
}

#[test]
fn the_timestamp_wins() {
    let text = alert_with("<DetectTime ntpstamp='0xbc722ebe.0x00000000'>1999-12-31T24:00:00-05:00</DetectTime>");
    assert_eq!(lenient(&text).unwrap().detect_time.unwrap().datetime().to_string(), "2000-03-09T09:07:58-05:00");
}

#[test]
fn confidence_without_a_number() {
    let confidence = |inside: &str| {
        let text = alert_with(&format!("<Assessment>{inside}</Assessment>"));
        lenient(&text).map(|alert| alert.assessment.unwrap().confidence.unwrap())
    };
    assert_eq!(confidence("<Confidence/>").unwrap().value, None);
    assert_eq!(confidence("<Confidence/>").unwrap().rating, Rating::Numeric);
    assert_eq!(confidence("<Confidence>0,5</Confidence>").unwrap().value.unwrap().to_f64(), 0.5);
    assert!(confidence("<Confidence>sure</Confidence>").is_err());
}

#[test]
fn white_space_is_trimmed_unless_preserved() {
    let name = |attributes: &str| {
        let text = alert_with(&format!("<Source{attributes}><Process><name>\n a b\t</name></Process></Source>"));
        lenient(&text).unwrap().source[0].process.as_ref().unwrap().name.clone()
    };
    assert_eq!(name(""), "a b");
    assert_eq!(name(" xml:space='preserve'"), "\n a b\t");
    assert_eq!(name(" xml:space='default'"), "a b");
    let text =
        alert_with("<Source><Process><name> a&#10;b<!-- c --> &lt;<![CDATA[&amp;\r\n]]>\r </name></Process></Source>");
    assert_eq!(lenient(&text).unwrap().source[0].process.as_ref().unwrap().name, "a\nb <&amp;");
    let text = alert_with("<Source ident=' a&#10;&lt;\r\nb\t'/>");
    assert_eq!(lenient(&text).unwrap().source[0].ident, " a\n< b ");
}

#[test]
fn extensions_of_enumerations_survive_unless_strict() {
    let text = alert_with("<Source spoofed='maybe'/>");
    let alert = lenient(&text).unwrap();
    assert_eq!(alert.source[0].spoofed.as_str(), "maybe");
    assert!(Message::from(alert).encode().unwrap().contains("<Source spoofed=\"maybe\"/>"));
    let error = strict_with("<Source spoofed='maybe'/>", "").unwrap_err();
    assert_eq!(error.kind, InvalidMessage::InvalidValue { name: "spoofed", expected: "ENUM" }.into());
}

#[test]
fn document_type_declarations_are_refused() {
    let body = alert_with("");
    for doctype in [
        "<!DOCTYPE IDMEF-Message>",
        "<!DOCTYPE IDMEF-Message SYSTEM 'idmef.dtd'>",
        "<!doctype x>",
        "<!DOCTYPE x [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;'>]>",
        "<!DOCTYPE",
        "<!DOCTYPE>",
    ] {
        let error = Message::decode(format!("<?xml version='1.0'?>\n{doctype}{body}").as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.offset), (PeerIncompatible::Doctype.into(), 22), "{doctype}");
        assert!(Message::decode(body.replace("<Analyzer/>", &format!("<Analyzer/>{doctype}")).as_bytes()).is_err());
    }
}

#[test]
fn entities_are_refused() {
    for reference in ["&nbsp;", "&a;", "&LT;"] {
        let text = alert_with(&format!("<Source ident='{reference}'/>"));
        assert_eq!(kind(lenient(&text)), PeerIncompatible::Entity.into(), "{reference}");
        let text = alert_with(&format!("<Unknown><x>{reference}</x></Unknown>"));
        assert_eq!(kind(lenient(&text)), PeerIncompatible::Entity.into(), "{reference}");
    }
    for reference in ["&#0;", "&#x1;", "&#xFFFE;", "&#xD800;", "&#;", "&;", "&", "&amp", "&a b;"] {
        assert!(ill_formed(lenient(&alert_with(&format!("<Source ident='{reference}'/>")))), "{reference}");
        assert!(ill_formed(lenient(&alert_with(&format!("<Source>{reference}</Source>")))), "{reference}");
    }
}

#[test]
fn ill_formed_documents_are_refused() {
    let body = alert_with("");
    for bad in [
        "",
        " ",
        "text",
        "<",
        "<IDMEF-Message",
        "<IDMEF-Message>",
        "<IDMEF-Message></IDMEF-message>",
        "</IDMEF-Message>",
        "<?xml version='1.0'?>",
        "<IDMEF-Message/><IDMEF-Message/>",
        "<IDMEF-Message/>text",
        "<IDMEF-Message/>&amp;",
        "<IDMEF-Message/><![CDATA[ ]]>",
        "<IDMEF-Message a='1' a='2'/>",
        "<IDMEF-Message a=1/>",
        "<IDMEF-Message a='<'/>",
        "<IDMEF-Message a='1'b='2'/>",
        "<IDMEF-Message>]]></IDMEF-Message>",
        "<IDMEF-Message>\u{1}</IDMEF-Message>",
        "<IDMEF-Message><?xml version='1.0'?></IDMEF-Message>",
        " <?xml version='1.0'?><IDMEF-Message/>",
        "<?xml encoding='UTF-8'?><IDMEF-Message/>",
        "<?xml?><IDMEF-Message/>",
        "<?xml version='1.0' x='y'?><IDMEF-Message/>",
        "<IDMEF-Message><!-- -- --></IDMEF-Message>",
        "<IDMEF-Message><a\u{d7}/></IDMEF-Message>",
        "<!x><IDMEF-Message/>",
    ] {
        assert!(ill_formed(Message::decode(bad.as_bytes())), "{bad}: {:?}", Message::decode(bad.as_bytes()));
    }
    for (bad, why) in [
        ("<?xml version='1.1'?>", PeerIncompatible::XmlVersion),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", PeerIncompatible::Encoding),
    ] {
        assert_eq!(kind(lenient(&format!("{bad}{body}"))), why.into());
    }
    assert_eq!(kind(lenient("<IDMEF-Message version='2.0'/>")), PeerIncompatible::IdmefVersion.into());
    assert_eq!(kind(lenient("<Alert/>")), InvalidMessage::NotIdmef.into());
    assert_eq!(Message::decode(b"<IDMEF-Message/>"), Ok(Message::default()));
}

#[test]
fn utf_8_and_utf_16_with_a_mark() {
    let text = alert_with("<Source ident='é€😀'/>");
    let message = Message::decode(text.as_bytes()).unwrap();
    let little: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    for octets in [&little, &big, &marked] {
        assert_eq!(Message::decode(octets).as_ref(), Ok(&message));
    }
    let declared = format!("<?xml version='1.0' encoding='utf-16'?>{text}");
    let little: Vec<u8> = [0xfeff].into_iter().chain(declared.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(Message::decode(&little).as_ref(), Ok(&message));
    // Without the mark, or broken.
    assert_eq!(kind(Message::decode(&little[2..])), PeerIncompatible::Encoding.into());
    assert_eq!(kind(Message::decode(&big[2..])), PeerIncompatible::Encoding.into());
    assert!(ill_formed(Message::decode(&little[..little.len() - 1])));
    assert!(ill_formed(Message::decode(&[0xff, 0xfe, 0x00, 0xd8, b'<', 0])));
    let error = Message::decode(b"<IDMEF-Message>\xff</IDMEF-Message>").unwrap_err();
    assert_eq!((error.offset, error.element), (15, "document"));
}

#[test]
fn offsets_count_octets_of_the_input() {
    let text = alert_with(
        "<Source ident='é😀'/><Target><File category='current'><name/><path/><data-size>big</data-size></File></Target>",
    );
    let error = lenient(&text).unwrap_err();
    assert_eq!(error.offset, text.find("<data-size>").unwrap());
    assert_eq!(error.element, "File");
    assert_eq!(error.to_string(), format!("octet {}, in File: data-size is not a valid INTEGER", error.offset));
    let wide: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let found = Message::decode(&wide).unwrap_err().offset;
    let units = text[..error.offset].encode_utf16().count();
    assert_eq!(found, 2 + 2 * units);
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    assert_eq!(Message::decode(&marked).unwrap_err().offset, error.offset + 3);
    let attribute = alert_with("<Source><Node><Address vlan-num='x'/></Node></Source>");
    let error = lenient(&attribute).unwrap_err();
    assert_eq!((error.offset, error.element), (attribute.find("x'/></Node>").unwrap(), "Address"));
}

#[test]
fn padding_behind_the_root_is_no_error() {
    let text = alert_with("") + &" \n".repeat(100_000) + "<!-- end -->";
    assert!(lenient(&text).is_ok());
}

#[test]
fn limit_of_size() {
    let text = alert_with("");
    let limits = |size| Limits { size, ..Limits::default() };
    assert!(limited(limits(text.len()), &text).is_ok());
    let error = limited(limits(text.len() - 1), &text).unwrap_err();
    assert_eq!((error.kind, error.offset), (DecodeErrorKind::LimitExceeded(Limit::Size), text.len() - 1));
    assert_eq!(kind(Message::decode(&vec![b' '; (1 << 20) + 1])), DecodeErrorKind::LimitExceeded(Limit::Size));
}

#[test]
fn limit_of_depth() {
    let chain = |n: usize| {
        let analyzers = "<Analyzer>".repeat(n) + &"</Analyzer>".repeat(n);
        format!("<IDMEF-Message><Heartbeat>{analyzers}{TIME}</Heartbeat></IDMEF-Message>")
    };
    let message = Message::decode(chain(30).as_bytes()).unwrap();
    assert_eq!(message.items[0].analyzer().chain().count(), 30);
    assert_eq!(Message::decode(message.encode().unwrap().as_bytes()), Ok(message));
    assert_eq!(kind(Message::decode(chain(31).as_bytes())), DecodeErrorKind::LimitExceeded(Limit::Depth));
    assert_eq!(kind(Message::decode(chain(10_000).as_bytes())), DecodeErrorKind::LimitExceeded(Limit::Depth));
    let unknown = alert_with(&("<x>".repeat(31) + &"</x>".repeat(31)));
    assert_eq!(kind(lenient(&unknown)), DecodeErrorKind::LimitExceeded(Limit::Depth));
    let mut analyzer = idmef::Analyzer::default();
    for _ in 0..31 {
        analyzer = idmef::Analyzer { analyzer: Some(Box::new(analyzer)), ..Default::default() };
    }
    let time: idmef::DateTime = "2000-03-09T14:07:58Z".parse().unwrap();
    assert!(Message::from(idmef::Heartbeat::new(analyzer, time)).encode().is_err());
}

#[test]
fn limit_of_attributes() {
    let attributes = |n: usize| (0..n).map(|i| format!(" a{i}='{i}'")).collect::<String>();
    assert!(lenient(&alert_with(&format!("<Source{}/>", attributes(64)))).is_ok());
    let error = lenient(&alert_with(&format!("<Source{}/>", attributes(65)))).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::LimitExceeded(Limit::Attributes));
    assert!(lenient(&alert_with(&format!("<x{}/>", attributes(50_000)))).is_err());
}

#[test]
fn limit_of_elements() {
    let many = |n: usize| alert_with(&"<Source/>".repeat(n));
    assert!(lenient(&many(16_384 - 5)).is_ok());
    assert!(limited(Limits { elements: 105, ..Limits::default() }, &many(100)).is_ok());
    let error = limited(Limits { elements: 104, ..Limits::default() }, &many(100)).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::LimitExceeded(Limit::Elements));
    assert_eq!(kind(lenient(&alert_with(&"<x/>".repeat(20_000)))), DecodeErrorKind::LimitExceeded(Limit::Elements));
}

#[test]
fn limit_of_text() {
    let over = DecodeErrorKind::LimitExceeded(Limit::Text);
    let long = "x".repeat(64 << 10);
    let name = |text: &str| lenient(&alert_with(&format!("<Source><Process><name>{text}</name></Process></Source>")));
    assert!(name(&long).is_ok());
    assert_eq!(kind(name(&format!("{long}x"))), over);
    assert_eq!(kind(name(&format!("{long}&amp;"))), over);
    assert_eq!(kind(name(&format!("{long}<![CDATA[x]]>"))), over);
    assert!(lenient(&alert_with(&format!("<Source ident='{long}'/>"))).is_ok());
    assert_eq!(kind(lenient(&alert_with(&format!("<Source ident='{long}x'/>")))), over);
    assert_eq!(kind(lenient(&alert_with(&format!("<AdditionalData>{long}<!-- -->x</AdditionalData>")))), over);
    let xml = |text: &str| lenient(&alert_with(&format!("<AdditionalData><xmltext>{text}</xmltext></AdditionalData>")));
    assert!(xml(&"<a/>".repeat(10_000)).is_ok());
    assert_eq!(kind(xml(&format!("<a/>{long}"))), over);
    // Declarations that a fragment needs could make it many times as long.
    let uri = "u".repeat(10_000);
    let text = alert_with(&format!(
        "<AdditionalData xmlns:p='{uri}'><xmltext>{}</xmltext></AdditionalData>",
        "<p:a/>".repeat(5_000)
    ));
    assert_eq!(kind(lenient(&text)), over);
}

#[test]
fn a_hostile_text_cannot_make_a_document_that_is_refused() {
    let nasty: String =
        (0..0x300u32).filter_map(char::from_u32).chain(['\u{fffe}', '\u{ffff}', '\u{10ffff}']).collect();
    let mut alert = lenient(&alert_with("")).unwrap();
    alert.messageid = nasty.as_str().into();
    alert.classification.text = format!("]]>{nasty}</Classification><!DOCTYPE x>");
    alert.additional_data.push(idmef::AdditionalData::new(nasty.as_str(), nasty.as_str()));
    alert.additional_data.push(idmef::AdditionalData { meaning: None, data: Data::Character('\0') });
    for encoder in [Encoder::new(), Encoder::new().prefixed()] {
        let text = encoder.encode(&Message::from(alert.clone())).unwrap();
        let back = lenient(&text).unwrap();
        let expected: String = nasty
            .chars()
            .map(|c| if c < ' ' && !"\t\n\r".contains(c) || "\u{fffe}\u{ffff}".contains(c) { '\u{fffd}' } else { c })
            .collect();
        assert_eq!(back.messageid, expected.as_str());
        assert_eq!(back.additional_data[0].data, Data::from(expected.as_str()));
        assert_eq!(back.classification.text, format!("]]>{expected}</Classification><!DOCTYPE x>"));
    }
}

#[test]
fn what_the_dtd_forbids_is_not_written() {
    let base = || lenient(&alert_with("")).unwrap();
    let node = idmef::Source { node: Some(Default::default()), ..Default::default() };
    let user = idmef::Source { user: Some(Default::default()), ..Default::default() };
    let service = idmef::Source { service: Some(Default::default()), ..Default::default() };
    for source in [node, user, service] {
        let alert = Alert { source: vec![source], ..base() };
        let mut out = b"before".to_vec();
        assert!(Encoder::new().encode_into(&alert.into(), &mut out).is_err());
        assert_eq!(out, b"before");
    }
    let error =
        Message::from(Alert { kind: Some(idmef::AlertKind::Tool(Default::default())), ..base() }).encode().unwrap_err();
    assert_eq!(error.to_string(), "ToolAlert: no alertident");
    let lang = Message { lang: Some("en\" x=\"".into()), items: vec![Item::Alert(Box::new(base()))] };
    assert!(!lang.encode().unwrap().contains("lang"));
}
