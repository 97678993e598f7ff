//! What a body must be, by what its sender says it is, and the key it is known by.

use iap_proto::{MediaType, Status};
use sha2::{Digest as _, Sha256};

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
        match self {
            Self::Opaque => Ok(opaque(body)),
            #[cfg(feature = "idmef")]
            Self::Idmef => {
                if !must_be_idmef(content_type, body) {
                    return Ok(opaque(body));
                }
                let message = idmef::Message::decode(body)
                    .map_err(|error| (Status::BAD_REQUEST, format!("not an IDMEF document: {error}")))?;
                Ok(Valid { key: key(&message, body), message: Some(std::sync::Arc::new(message)) })
            }
        }
    }
}

fn opaque(body: &[u8]) -> Valid {
    Valid {
        key: AlertKey::Digest(Sha256::digest(body).into()),
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

/// One alert with numbers of its own is known by them; anything else by its octets. "0" is what the DTD puts where no
/// number was given.
#[cfg(feature = "idmef")]
fn key(message: &idmef::Message, body: &[u8]) -> AlertKey {
    if let [item] = &message.items[..] {
        let analyzerid = item.analyzer().analyzerid.as_str();
        let messageid = item.messageid().as_str();
        if !matches!(messageid, "" | "0") {
            return AlertKey::Message { analyzerid: analyzerid.to_owned(), messageid: messageid.to_owned() };
        }
    }
    AlertKey::Digest(Sha256::digest(body).into())
}

#[cfg(all(test, feature = "idmef"))]
mod tests {
    use super::*;

    const HEARTBEAT: &str = r#"<IDMEF-Message><Heartbeat messageid="7"><Analyzer analyzerid="a1"/>
        <CreateTime ntpstamp="0xbc722ebe.0x00000000">2000-03-09T14:07:58Z</CreateTime></Heartbeat></IDMEF-Message>"#;

    fn look(content_type: &str, body: &[u8]) -> Result<Valid, (Status, String)> {
        Validation::Idmef.look(&content_type.parse().unwrap(), body)
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
    fn without_a_number_it_is_known_by_its_octets() {
        let body = HEARTBEAT.replace("messageid=\"7\"", "");
        assert!(matches!(look("text/xml", body.as_bytes()).unwrap().key, AlertKey::Digest(_)));
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
