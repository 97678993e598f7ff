//! What may be said about whom: applications, their assertions and their extensions, as data.
//! [RFC 7071 section 7.2](https://www.rfc-editor.org/rfc/rfc7071#section-7.2)

mod application;
mod email_id;
mod identity;
mod subject;

pub use application::{Application, Applications, Assertion, InvalidApplication};
pub use identity::{Identity, UnknownIdentity};
pub use subject::{InvalidSubject, Subject, SubjectSyntax};

/// Whether a text is a token of [RFC 2045 section 5.1](https://www.rfc-editor.org/rfc/rfc2045#section-5.1), as names of
/// applications and assertions are.
pub fn is_token(text: &str) -> bool {
    const SPECIAL: &[u8] = b"()<>@,;:\\\"/[]?=";
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && !SPECIAL.contains(&octet))
}
