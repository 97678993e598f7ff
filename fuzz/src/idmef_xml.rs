//! IDMEF documents: read leniently and strictly, written, and read again; as JSON and as IDMEFv2.

use idmef::{Data, DecodeErrorKind, Decoder, Encoder, Item, Limits, Message};

/// Reads `data` as a document.
pub fn run(data: &[u8]) {
    let lenient = checked(data, &Decoder::new());
    let strict = checked(data, &Decoder::new().strict());
    limited(data, lenient.as_ref());
    let Some(message) = lenient else {
        assert_eq!(strict, None, "whoever reads leniently reads what strict readers read");
        return;
    };
    if let Some(strict) = &strict {
        assert_eq!(*strict, message, "strict on the left");
    }
    let _ = idmef::lint(&message);
    as_json(&message);
    assert_eq!(idmef::v2::from_message(&message).len(), message.items.len());
    // A lenient reader takes classes that the DTD does not allow, which cannot be written.
    match message.encode() {
        Ok(xml) => written(&message, &xml, strict.is_some()),
        Err(error) => assert_eq!(strict, None, "{error}"),
    }
}

fn checked(data: &[u8], decoder: &Decoder) -> Option<Message> {
    match decoder.decode(data) {
        Ok(message) => Some(message),
        Err(error) => {
            assert!(error.offset <= data.len(), "{error} is behind the end, {}", data.len());
            let _ = error.to_string();
            None
        }
    }
}

/// What was read from a document reads back equal from what is written.
fn written(message: &Message, xml: &str, strictly: bool) {
    assert_eq!(Message::decode(xml.as_bytes()).as_ref(), Ok(message), "{xml}");
    if strictly {
        assert_eq!(Decoder::new().strict().decode(xml.as_bytes()).as_ref(), Ok(message), "{xml}");
    }
    let prefixed = Encoder::new().prefixed().encode(message).expect("what is written once is written twice");
    let read = Message::decode(prefixed.as_bytes());
    // A fragment that uses the prefix gets its declaration, so that it can stand alone.
    if fragments(message).any(|fragment| fragment.contains("idmef:")) {
        assert!(read.is_ok(), "{read:?} {prefixed}");
    } else {
        assert_eq!(read.as_ref(), Ok(message), "{prefixed}");
    }
}

fn fragments(message: &Message) -> impl Iterator<Item = &str> {
    let data = message.items.iter().flat_map(|item| match item {
        Item::Alert(alert) => &alert.additional_data,
        Item::Heartbeat(heartbeat) => &heartbeat.additional_data,
    });
    data.filter_map(|data| match &data.data {
        Data::XmlText(fragment) => Some(fragment.as_str()),
        _ => None,
    })
}

/// The JSON form keeps all but the order of alerts and heartbeats among each other.
fn as_json(message: &Message) {
    let json = serde_json::to_string(message).expect("a message is JSON");
    let read: Message = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in {json}"));
    assert_eq!(read.lang, message.lang);
    assert!(read.alerts().eq(message.alerts()), "{json}");
    assert!(read.heartbeats().eq(message.heartbeats()), "{json}");
}

/// Under smaller limits the same is read, or nothing.
fn limited(data: &[u8], whole: Option<&Message>) {
    let limits = Limits { size: 4096, depth: 5, attributes: 3, elements: 12, text: 24 };
    match Decoder::new().with_limits(limits).decode(data) {
        Ok(read) => assert_eq!(Some(&read), whole),
        Err(error) if whole.is_some() => {
            assert!(matches!(error.kind, DecodeErrorKind::LimitExceeded(_)), "{error}");
        }
        Err(_) => {}
    }
}
