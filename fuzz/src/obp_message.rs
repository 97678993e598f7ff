//! Messages of OBP in every encoding and leniency.

use obp_proto::{DecodeOptions, Encoding, Limits, Message};

/// The first octet chooses encoding and options, the others are a message.
pub fn run(data: &[u8]) {
    let Some((how, octets)) = data.split_first() else { return };
    let encoding = Encoding::ALL[usize::from(*how) % 3];
    let options = DecodeOptions::new()
        .with_strict_text(how & 4 != 0)
        .with_lenient_base64(how & 8 != 0)
        .with_bare_for_array(how & 16 != 0)
        .with_lenient_commas(how & 32 != 0);
    let message = match Message::decode_with(octets, encoding, &options) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.offset().is_none_or(|offset| offset <= octets.len()), "{error}");
            let _ = (error.to_string(), error.status());
            return;
        }
    };
    let _ = (message.status(), message.is_request(), message.name());
    // Written in any encoding and read back it is the same; a member that has no form in an encoding is said so.
    for written_in in Encoding::ALL {
        let Ok(written) = message.encode(written_in) else { continue };
        let limits = Limits::default().with_message(usize::MAX).with_values(usize::MAX);
        match Message::decode(&written, written_in, &limits) {
            Ok(read) => {
                let again = read.encode(written_in).expect("it was written before");
                assert_eq!(again, written, "{written_in}");
            }
            Err(error) => panic!("{written_in}: {error}: {}", String::from_utf8_lossy(&written)),
        }
    }
    // Fewer leniencies read the same or nothing.
    if let Ok(strict) = Message::decode_with(octets, encoding, &DecodeOptions::new().with_strict_text(true)) {
        assert_eq!(strict.encode(encoding).ok(), message.encode(encoding).ok());
    }
}
