//! Identities of mail: domains and addresses. [RFC 7073](https://www.rfc-editor.org/rfc/rfc7073)

use super::{Application, Assertion, SubjectSyntax};

/// The application `email-id`, with the names that drafts gave its parts.
pub(super) fn email_id() -> Application {
    let assertion = |name: &'static str, meaning: &'static str, aliases: &[&'static str]| Assertion {
        aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
        ..Assertion::new(name, meaning)
    };
    Application {
        name: "email-id".into(),
        aliases: vec!["email".into()],
        subject: SubjectSyntax::NameOrAddress,
        assertions: vec![
            assertion("abusive", "it sends mail that insults, threatens or harasses", &[]),
            assertion("fraud", "it sends phishing and other fraud", &["perpetrates-fraud"]),
            assertion(
                "invalid-recipients",
                "it sends to recipients that do not exist",
                &["sends-to-invalid-recipients"],
            ),
            assertion("malware", "it sends malware", &["sends-malware"]),
            assertion("spam", "it sends bulk mail that nobody wants", &["sends-spam"]),
        ],
        extensions: vec!["email-id-identity".into(), "identity".into(), "sources".into(), "rate".into()],
        parameters: vec!["identity".into()],
    }
}
