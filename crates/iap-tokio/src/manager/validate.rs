//! What a body must be, by what its sender says it is, and the key it is known by.

use iap_proto::{MediaType, Status};

use super::handover::AlertKey;

/// Whether bodies are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Validation {
    /// Bodies are opaque: every one is handed over, and known by its digest.
    Opaque,
    /// XML must be IDMEF; anything else is opaque. The default.
    ///
    /// Bodies of `application/xml`, `text/xml` and `…+xml` must be IDMEF documents or are answered 400. For
    /// `application/x-idef-alert` the draft leaves the format open (its own example is 64 octets of 0xFF): what begins
    /// like XML must be IDMEF, what does not is opaque.
    #[cfg(feature = "idmef")]
    Idmef,
}

impl Default for Validation {
    fn default() -> Self {
        #[cfg(feature = "idmef")]
        return Self::Idmef;
        #[cfg(not(feature = "idmef"))]
        return Self::Opaque;
    }
}

/// A body that was looked into.
#[derive(Debug)]
pub(super) struct Valid {
    pub(super) key: AlertKey,
    #[cfg(feature = "idmef")]
    pub(super) message: Option<std::sync::Arc<idmef::Message>>,
}

impl Validation {
    /// Looks into a body.
    ///
    /// # Errors
    /// The status for its sender, and what is wrong with it for the log.
    pub(super) fn look(self, content_type: &MediaType, body: &[u8]) -> Result<Valid, (Status, String)> {
        #[cfg(not(feature = "idmef"))]
        let _ = content_type;
        match self {
            Self::Opaque => Ok(opaque(body)),
            #[cfg(feature = "idmef")]
            Self::Idmef => {
                if !must_be_idmef(content_type, body) {
                    return Ok(opaque(body));
                }
                // How large a body may be was decided when it was received.
                let limits = idmef::Limits { size: body.len(), ..idmef::Limits::default() };
                let message = idmef::Decoder::new()
                    .with_limits(limits)
                    .decode(body)
                    .map_err(|error| (Status::BAD_REQUEST, format!("not an IDMEF document: {error}")))?;
                let key = AlertKey::of(Some(&message), body);
                Ok(Valid { key, message: Some(std::sync::Arc::new(message)) })
            }
        }
    }
}

fn opaque(body: &[u8]) -> Valid {
    Valid {
        key: AlertKey::digest(body),
        #[cfg(feature = "idmef")]
        message: None,
    }
}

#[cfg(feature = "idmef")]
fn must_be_idmef(content_type: &MediaType, body: &[u8]) -> bool {
    if content_type.is_same_essence(&MediaType::IDEF_ALERT) {
        // Any of the byte order marks, then white space, then markup.
        let text = [&b"\xef\xbb\xbf"[..], b"\xff\xfe<", b"\xfe\xff\0<"]
            .into_iter()
            .find_map(|mark| {
                body.strip_prefix(mark).map(|rest| if mark.len() > 3 || mark[0] != 0xef { b"<" } else { rest })
            })
            .unwrap_or(body);
        return text.trim_ascii_start().first() == Some(&b'<');
    }
    let essence = content_type.essence().to_ascii_lowercase();
    essence.ends_with("/xml") || essence.ends_with("+xml")
}

#[cfg(all(test, feature = "idmef"))]
mod tests {
    use super::*;

    const HEARTBEAT: &str = r#"<IDMEF-Message><Heartbeat messageid="7"><Analyzer analyzerid="a1"/>
        <CreateTime ntpstamp="0xbc722ebe.0x00000000">2000-03-09T14:07:58Z</CreateTime></Heartbeat></IDMEF-Message>"#;

    fn look(content_type: &str, body: &[u8]) -> Result<Valid, (Status, String)> {
        Validation::Idmef.look(&content_type.parse().expect("a media type"), body)
    }

    #[test]
    fn the_example_of_the_draft_is_opaque() {
        let valid = look("application/x-idef-alert", &[0xff; 64]).unwrap();
        assert!(valid.message.is_none());
        assert!(matches!(valid.key, AlertKey::Digest(_)));
    }

    #[test]
    fn idmef_is_known_by_its_numbers() {
        for content_type in ["application/x-idef-alert", "application/xml", "text/xml", "application/idmef+xml"] {
            let valid = look(content_type, HEARTBEAT.as_bytes()).unwrap();
            let key = AlertKey::Message { analyzerid: "a1".into(), messageid: "7".into() };
            assert_eq!(valid.key, key, "{content_type}");
            assert!(valid.message.is_some());
        }
    }

    #[test]
    fn without_both_numbers_it_is_known_by_its_octets() {
        // Two alerts that share half a name are two alerts: the second must not pass for the first come again.
        for (from, to) in [
            ("messageid=\"7\"", ""),
            ("messageid=\"7\"", "messageid=\"0\""),
            ("messageid=\"7\"", "messageid=\"\""),
            ("analyzerid=\"a1\"", ""),
            ("analyzerid=\"a1\"", "analyzerid=\"0\""),
            ("analyzerid=\"a1\"", "analyzerid=\"\""),
        ] {
            let body = HEARTBEAT.replace(from, to);
            assert_ne!(body, HEARTBEAT);
            assert!(matches!(look("text/xml", body.as_bytes()).unwrap().key, AlertKey::Digest(_)), "{to}");
        }
    }

    #[test]
    fn a_body_that_was_accepted_is_not_too_large_to_read() {
        // More than the decoder takes by default, as padding, which stands behind the document.
        let body = format!("{HEARTBEAT}{}", " ".repeat(2 << 20));
        assert!(look("text/xml", body.as_bytes()).unwrap().message.is_some());
    }

    #[test]
    fn what_claims_to_be_xml_and_is_not_idmef_is_refused() {
        for (content_type, body) in [
            ("application/x-idef-alert", "<html/>"),
            ("application/x-idef-alert", "\u{feff} <IDMEF-Message>"),
            ("application/xml", "IDMEF"),
            ("application/idmef+xml", ""),
        ] {
            assert_eq!(look(content_type, body.as_bytes()).unwrap_err().0, Status::BAD_REQUEST, "{body}");
        }
    }

    #[test]
    fn other_types_are_opaque() {
        assert!(look("application/json", b"not even json").unwrap().message.is_none());
        let valid = Validation::Opaque.look(&MediaType::XML, b"<").unwrap();
        assert!(matches!(valid.key, AlertKey::Digest(_)));
    }
}
