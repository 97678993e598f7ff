//! How challenges are met, and what shows that they are. [RFC 8555 section 8](https://www.rfc-editor.org/rfc/rfc8555#section-8),
//! [RFC 8737](https://www.rfc-editor.org/rfc/rfc8737)

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::base64url;
use crate::certificate::Certificate;
use crate::crypto::PublicKey;
use crate::csr::AltName;
use crate::der;
use crate::names;

/// The ALPN protocol of tls-alpn-01.
pub const TLS_ALPN_PROTOCOL: &str = "acme-tls/1";
/// The extension that the certificate of tls-alpn-01 has, and must be critical.
pub const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// Whether a text can be a token: 128 bits of base64url at least, and not without end.
pub fn is_token(token: &str) -> bool {
    (22..=256).contains(&token.len()) && base64url::is_alphabet(token)
}

/// The key authorization: the token with the thumbprint of the account's key.
/// [Section 8.1](https://www.rfc-editor.org/rfc/rfc8555#section-8.1)
pub fn key_authorization(token: &str, account_key: &PublicKey) -> String {
    format!("{token}.{}", account_key.thumbprint_text())
}

/// Where http-01 is looked for, on port 80 of the name. [Section 8.3](https://www.rfc-editor.org/rfc/rfc8555#section-8.3)
pub fn http01_path(token: &str) -> String {
    format!("/.well-known/acme-challenge/{token}")
}

/// Whether what was found there is the key authorization. White space at the end does not count.
pub fn http01_is_met(body: &[u8], key_authorization: &str) -> bool {
    let end = body.iter().rposition(|octet| !octet.is_ascii_whitespace()).map_or(0, |last| last.saturating_add(1));
    body.get(..end).unwrap_or_default().ct_eq(key_authorization.as_bytes()).into()
}

/// The name of the TXT record of dns-01; a star does not count.
/// [Section 8.4](https://www.rfc-editor.org/rfc/rfc8555#section-8.4)
pub fn dns01_name(identifier: &str) -> String {
    format!("_acme-challenge.{}", identifier.strip_prefix("*.").unwrap_or(identifier))
}

/// The text of that record.
pub fn dns01_text(key_authorization: &str) -> String {
    base64url::encode(Sha256::digest(key_authorization))
}

/// Whether one of the records that were found is the one.
pub fn dns01_is_met<'a>(records: impl IntoIterator<Item = &'a [u8]>, key_authorization: &str) -> bool {
    let text = dns01_text(key_authorization);
    records.into_iter().any(|record| record.ct_eq(text.as_bytes()).into())
}

/// The value of the extension [`ACME_IDENTIFIER`] in the certificate of tls-alpn-01.
/// [RFC 8737 section 3](https://www.rfc-editor.org/rfc/rfc8737#section-3)
pub fn tls_alpn01_extension(key_authorization: &str) -> Vec<u8> {
    der::octet_string(&Sha256::digest(key_authorization))
}

/// Whether a certificate that was shown for tls-alpn-01 is the one: for this name alone, with the digest in a critical
/// extension. That it was shown for ALPN [`TLS_ALPN_PROTOCOL`] over TLS 1.2 or later is for the caller to see.
pub fn tls_alpn01_is_met(certificate: &Certificate<'_>, identifier: &str, key_authorization: &str) -> bool {
    let is_name = match certificate.alt_names() {
        Some([AltName::Dns(name)]) => names::are_equal(name, identifier),
        _ => false,
    };
    let expected = tls_alpn01_extension(key_authorization);
    let mut extensions = certificate.extensions().iter();
    is_name
        && extensions.any(|extension| {
            extension.oid == ACME_IDENTIFIER && extension.critical && bool::from(extension.value.ct_eq(&expected))
        })
}

/// The value of a CAA record by which a name owner lets only its own account at the CA, and only by dns-01, obtain
/// certificates: then a delegate that holds the web server cannot.
/// [RFC 9115 section 7.4](https://www.rfc-editor.org/rfc/rfc9115#section-7.4),
/// [RFC 8657](https://www.rfc-editor.org/rfc/rfc8657)
///
/// None if the account's URL has characters that such a value cannot have.
pub fn caa_issue_value(ca_domain: &str, account_url: &str) -> Option<String> {
    let fits = account_url.bytes().all(|octet| octet.is_ascii_graphic() && octet != b';' && octet != b'"');
    let domain = names::normalize(ca_domain)?;
    fits.then(|| format!("{domain}; accounturi={account_url}; validationmethods=dns-01"))
}
