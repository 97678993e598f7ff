//! Lines of Suricata's EVE: to a message, to XML, and back.

use std::sync::LazyLock;

use idmef::eve::{Converter, Sense};
use idmef::{Data, Decoder, Item, Message};

/// Converts `data` as one line.
pub fn run(data: &[u8]) {
    static CONVERTERS: LazyLock<[Converter; 3]> = LazyLock::new(|| {
        let converter = Converter::suricata("sensor-01");
        [converter.clone(), converter.clone().without_eve(), converter.with_sense(Sense::Initiator)]
    });
    let mut id = None;
    for converter in &*CONVERTERS {
        let message = match converter.convert(data) {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            Err(error) => {
                assert!(error.offset <= data.len(), "{error} is behind the end, {}", data.len());
                let _ = error.to_string();
                continue;
            }
        };
        assert_eq!(message.items.len(), 1);
        let messageid = message.items[0].messageid().to_string();
        assert_eq!(messageid.len(), 36, "a UUID: {messageid}");
        assert_eq!(id.get_or_insert_with(|| messageid.clone()), &messageid, "whatever the converter");
        same_line_again(converter, data, &message, &messageid);
        read_back(&message);
    }
}

/// The same line is the same message, also with white space around it.
fn same_line_again(converter: &Converter, data: &[u8], message: &Message, messageid: &str) {
    assert_eq!(converter.convert(data).as_ref().map(Option::as_ref), Ok(Some(message)));
    let spaced = [b" ", data, b" \r\n"].concat();
    let again = converter.convert(&spaced).expect("white space is no error").expect("an alert");
    assert_eq!(again.items[0].messageid().to_string(), messageid);
    assert_eq!(&again, message);
}

/// However the line is made, the message can be sent, and read by a strict reader with default limits.
fn read_back(message: &Message) {
    let xml = message.encode().unwrap_or_else(|error| panic!("{error} in {message:?}"));
    let strict = Decoder::new().strict();
    let read = strict.decode(xml.as_bytes()).unwrap_or_else(|error| panic!("{error} in {xml}"));
    // Characters that XML forbids are written as U+FFFD: then the second reading is the one to compare with.
    if !xml.contains('\u{fffd}') {
        assert_eq!(&read, message, "{xml}");
    }
    let again = read.encode().unwrap_or_else(|error| panic!("{error} in {read:?}"));
    assert_eq!(strict.decode(again.as_bytes()).as_ref(), Ok(&read), "{again}");
    assert_eq!(read.items[0].messageid(), message.items[0].messageid());
    let json = serde_json::to_string(message).expect("a message is JSON");
    assert_eq!(serde_json::from_str::<Message>(&json).as_ref().ok(), Some(message), "{json}");
    let Item::Alert(alert) = &message.items[0] else { panic!("an alert is an alert") };
    assert!(idmef::v2::from_alert(alert).is_object());
    let binary = alert.additional_data.iter().filter(|data| matches!(data.data, Data::ByteString(_))).count();
    assert!(binary <= 3, "payload, packet and the line");
}
