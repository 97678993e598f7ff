//! The text of a `Session` header.

use std::sync::LazyLock;

use obp_proto::crypto::{Authentication, RustCrypto};
use obp_proto::session::{Profile, SessionHeader, SessionKey};

/// Reads `data` as the header; what stands behind its first NUL is a message.
pub fn run(data: &[u8]) {
    static KEY: LazyLock<SessionKey> =
        LazyLock::new(|| SessionKey::new(&RustCrypto, &[7; 16], &Authentication::Hs256T128).expect("a known label"));
    let (text, body) = match data.iter().position(|octet| *octet == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let header = match SessionHeader::parse(text) {
        Ok(header) => header,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    assert!(!header.value().is_empty() && !header.id().is_empty() && header.id().len() <= SessionHeader::MAX_ID);
    let printed = header.to_string();
    assert_eq!(SessionHeader::parse(&printed).as_ref(), Ok(&header), "{printed}");
    assert!(!KEY.verify(&header, body), "nobody guesses a MAC");
    let strict = header.nonce().is_some() || header.time().is_some() || header.count().is_some();
    assert!(!strict || header.profile() == Profile::Strict);
    // Signed, it verifies, also after it has travelled; and it does so for this message alone.
    for signed in [KEY.sign(header.clone(), body), KEY.sign_truncated(header, body)] {
        let travelled = SessionHeader::parse(&signed.to_string());
        // With a longer MAC the header may have become too long.
        let Ok(travelled) = travelled else { return };
        assert_eq!(travelled, signed);
        assert!(KEY.verify(&travelled, body));
        assert!(!KEY.verify(&travelled, &[body, b"x"].concat()));
    }
}

/// Headers of each kind.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    [
        "Value=5_AlS4yMTeE82T6ZP9qAZN7TOhXtvqZ__zsLOmCxNrQ; Id=o7znkpTHfrqcwsI1eHkPghCj7YsG\n UCp0KV2DcV1q\0{}",
        "Value=AQ==; Id=Ag; Nonce=Aw; Time=17; Count=5; Stream=2\0body",
        "Id=+/+/ Value=AQ Now=1 Deleted Max-Age=60 tlsu=AAAA\0",
        "Value=A Q; Id=A\r\n\tg;; x=y",
    ]
    .into_iter()
    .enumerate()
    .map(|(n, text)| (format!("header-{n}"), text.as_bytes().to_vec()))
    .collect()
}
