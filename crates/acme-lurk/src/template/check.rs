//! Whether a request is what a template describes, with every violation named.
//! [RFC 9115 section 4.1](https://www.rfc-editor.org/rfc/rfc9115#section-4.1)

use std::collections::BTreeSet;
use std::fmt;

use super::{Pattern, Template};
use crate::crypto::{KeyError, Verifier, VerifyError};
use crate::csr::{AltName, Csr, SignatureAlgorithm, SubjectField};
use crate::names;

/// How to check requests.
///
/// Without a policy for names, a request against a template that leaves DNS names open is refused whatever it says:
/// [RFC 9115 section 4.1](https://www.rfc-editor.org/rfc/rfc9115#section-4.1) wants a decision there, and there is none
/// that would do for all.
#[derive(Clone, Copy)]
pub struct Checker<'a> {
    identifiers: Option<&'a [String]>,
    policy: Option<&'a dyn Fn(&str) -> bool>,
    signature_type: bool,
}

impl<'a> Checker<'a> {
    /// Strict, without order and without policy for names.
    pub const fn new() -> Self {
        Self { identifiers: None, policy: None, signature_type: true }
    }

    /// The names of the request must be these DNS names, those of the order, no more and no fewer
    /// ([RFC 8555 section 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4)).
    #[must_use]
    pub const fn with_identifiers(mut self, identifiers: &'a [String]) -> Self {
        self.identifiers = Some(identifiers);
        self
    }

    /// Asks this about each name that a wildcard of the template lets through. Names come in lower case.
    #[must_use]
    pub const fn with_name_policy(mut self, policy: &'a dyn Fn(&str) -> bool) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Whether the signature of the request must be of the `SignatureType` of the key. The document does not say that
    /// it must; by default it must.
    #[must_use]
    pub const fn with_signature_type(mut self, on: bool) -> Self {
        self.signature_type = on;
        self
    }

    /// Checks a request, its signature included.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn check(&self, template: &Template, csr: &Csr<'_>, verifier: &dyn Verifier) -> Result<(), Report> {
        let mut report = self.content(template, csr);
        if let Ok(key) = csr.key() {
            if let Err(error) = verifier.check_key(key) {
                report.add("key", ViolationKind::Key(error));
            } else if let Err(error) = csr.verify(verifier) {
                report.add("signature", ViolationKind::Signature(error));
            }
        }
        report.into_result()
    }

    /// Checks everything but the signature. A request that passes this proves nothing about who has the key.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn check_content(&self, template: &Template, csr: &Csr<'_>) -> Result<(), Report> {
        self.content(template, csr).into_result()
    }

    fn content(&self, template: &Template, csr: &Csr<'_>) -> Report {
        let mut report = Report::default();
        self.key(template, csr, &mut report);
        subject(template, csr, &mut report);
        for attribute in csr.other_attributes() {
            report.add(format!("attributes.{attribute}"), ViolationKind::NotInTemplate);
        }
        for extension in csr.other_extensions() {
            report.add(format!("extensions.{extension}"), ViolationKind::NotInTemplate);
        }
        self.alt_names(template, csr, &mut report);
        same_set("extensions.keyUsage", template.key_usages(), csr.key_usages(), &mut report);
        let extended = csr.extended_key_usages();
        same_set("extensions.extendedKeyUsage", template.extended_key_usages(), extended, &mut report);
        self.order(csr, &mut report);
        report
    }

    fn key(&self, template: &Template, csr: &Csr<'_>, report: &mut Report) {
        let key = match csr.key() {
            Ok(key) => key,
            Err(error) => return report.add("key", ViolationKind::Key(error.clone())),
        };
        let mut fitting = template.key_types().iter().filter(|key_type| key_type.takes(key)).peekable();
        if fitting.peek().is_none() {
            let expected = template.key_types().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return report.add("key", ViolationKind::Differs { expected, found: format!("{key:?}") });
        }
        let found = csr.signature_algorithm();
        let signatures: Vec<SignatureAlgorithm> = fitting.map(|key_type| key_type.signature()).collect();
        if self.signature_type && !signatures.contains(&found) {
            let expected = signatures.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            report.add("signatureAlgorithm", ViolationKind::Differs { expected, found: found.to_string() });
        }
    }

    fn alt_names(&self, template: &Template, csr: &Csr<'_>, report: &mut Report) {
        let Some(found) = csr.alt_names() else {
            return report.add("extensions.subjectAltName", ViolationKind::Missing);
        };
        let mut dns = BTreeSet::new();
        let mut emails = BTreeSet::new();
        let mut uris = BTreeSet::new();
        for name in found {
            let is_new = match name {
                AltName::Dns(name) => match names::normalize(name) {
                    Some(normal) => dns.insert(normal),
                    None => {
                        report.name("extensions.subjectAltName.DNS", name, ViolationKind::NotAName);
                        continue;
                    }
                },
                AltName::Email(name) => emails.insert(*name),
                AltName::Uri(name) => uris.insert(*name),
                AltName::Other(_) => {
                    report.add("extensions.subjectAltName", ViolationKind::NotInTemplate);
                    continue;
                }
            };
            if !is_new {
                report.add(format!("extensions.subjectAltName.{}", name.kind()), ViolationKind::Repeated);
            }
        }
        self.dns(template, dns, report);
        literals("extensions.subjectAltName.Email", template.email(), emails, report);
        literals("extensions.subjectAltName.URI", template.uri(), uris, report);
    }

    /// Every literal must be there. `**` wants one name or more beyond them, `*` allows any number.
    fn dns(&self, template: &Template, mut found: BTreeSet<String>, report: &mut Report) {
        const PLACE: &str = "extensions.subjectAltName.DNS";
        for pattern in template.dns() {
            let Pattern::Literal(name) = pattern else { continue };
            let normal = names::normalize(name).unwrap_or_default();
            let is_repeated =
                || template.dns().iter().filter(|other| names::are_equal(other.as_str(), name)).count() > 1;
            if !found.remove(&normal) && !is_repeated() {
                report.name(PLACE, &normal, ViolationKind::Missing);
            }
        }
        if template.dns().contains(&Pattern::Mandatory) && found.is_empty() {
            report.add(PLACE, ViolationKind::Missing);
        }
        for name in &found {
            if !template.has_dns_wildcard() {
                report.name(PLACE, name, ViolationKind::NotInTemplate);
            } else if !self.policy.is_some_and(|policy| policy(name)) {
                let kind = if self.policy.is_none() { ViolationKind::NoPolicy } else { ViolationKind::Policy };
                report.name(PLACE, name, kind);
            }
        }
    }

    fn order(&self, csr: &Csr<'_>, report: &mut Report) {
        let Some(identifiers) = self.identifiers else { return };
        let normal = |name: &str| names::normalize(name).unwrap_or_else(|| name.to_owned());
        let ordered: BTreeSet<String> = identifiers.iter().map(|name| normal(name)).collect();
        let found: BTreeSet<String> = csr.dns_names().map(normal).collect();
        for name in ordered.difference(&found) {
            report.name("order", name, ViolationKind::Missing);
        }
        for name in found.difference(&ordered) {
            report.name("order", name, ViolationKind::NotInOrder);
        }
    }
}

impl Default for Checker<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Checker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("identifiers", &self.identifiers)
            .field("policy", &self.policy.is_some())
            .field("signature_type", &self.signature_type)
            .finish()
    }
}

fn subject(template: &Template, csr: &Csr<'_>, report: &mut Report) {
    if csr.has_multi_valued_rdn() {
        report.add("subject", ViolationKind::MultiValued);
    }
    for attribute in csr.subject().iter().filter(|attribute| attribute.field.is_none()) {
        report.add(format!("subject.{}", attribute.oid), ViolationKind::NotInTemplate);
    }
    for field in SubjectField::ALL {
        let pattern = template.subject().iter().find(|(known, _)| *known == field).map(|(_, pattern)| pattern);
        let mut values = csr.subject().iter().filter(|attribute| attribute.field == Some(field));
        let place = || format!("subject.{}", field.name());
        match (pattern, values.next()) {
            (None | Some(Pattern::Optional), None) => {}
            (None, Some(_)) => report.add(place(), ViolationKind::NotInTemplate),
            (Some(_), None) => report.add(place(), ViolationKind::Missing),
            (Some(Pattern::Literal(expected)), Some(found)) if found.value != expected.as_str() => {
                let (expected, found) = (expected.clone(), found.value.to_string());
                report.add(place(), ViolationKind::Differs { expected, found });
            }
            // A name that the template does not fix may not get into the certificate by a side door.
            (Some(Pattern::Mandatory | Pattern::Optional), Some(found)) if field == SubjectField::CommonName => {
                let mut alt = csr.alt_names().unwrap_or_default().iter();
                if !alt.any(|name| matches!(name, AltName::Dns(name) if names::are_equal(name, &found.value))) {
                    report.name("subject.commonName", &found.value, ViolationKind::NotInAltNames);
                }
            }
            (Some(_), Some(_)) => {}
        }
        if values.next().is_some() {
            report.add(place(), ViolationKind::Repeated);
        }
    }
}

fn literals(place: &str, expected: &[String], mut found: BTreeSet<&str>, report: &mut Report) {
    for (at, name) in expected.iter().enumerate() {
        let is_first = expected.iter().position(|other| other == name) == Some(at);
        if is_first && !found.remove(name.as_str()) {
            let kind = ViolationKind::Missing;
            report.add(format!("{place}.{name}"), kind);
        }
    }
    for name in found {
        report.add(format!("{place}.{name}"), ViolationKind::NotInTemplate);
    }
}

/// The same purposes in any order. No extension is the same as no purpose.
fn same_set<T: Ord + fmt::Display>(place: &str, expected: Option<&[T]>, found: Option<&[T]>, report: &mut Report) {
    let expected: BTreeSet<&T> = expected.unwrap_or_default().iter().collect();
    let found: BTreeSet<&T> = found.unwrap_or_default().iter().collect();
    for usage in expected.difference(&found) {
        report.add(format!("{place}.{usage}"), ViolationKind::Missing);
    }
    for usage in found.difference(&expected) {
        report.add(format!("{place}.{usage}"), ViolationKind::NotInTemplate);
    }
}

/// Everything that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("{}", self.to_text())]
#[non_exhaustive]
pub struct Report {
    /// One or more violations.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether only names are wrong: then ACME calls the error `rejectedIdentifier`, otherwise `badCSR`.
    pub fn is_about_identifiers(&self) -> bool {
        self.violations.iter().all(|violation| violation.identifier.is_some())
    }

    fn add(&mut self, place: impl Into<String>, kind: ViolationKind) {
        self.violations.push(Violation { place: place.into(), identifier: None, kind });
    }

    fn name(&mut self, place: &str, name: &str, kind: ViolationKind) {
        self.violations.push(Violation { place: place.to_owned(), identifier: Some(name.to_owned()), kind });
    }

    fn into_result(self) -> Result<(), Self> {
        if self.violations.is_empty() { Ok(()) } else { Err(self) }
    }

    fn to_text(&self) -> String {
        self.violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Where: `subject.country`, `extensions.keyUsage.cRLSign`.
    pub place: String,
    /// The DNS name that is concerned.
    pub identifier: Option<String>,
    /// What.
    pub kind: ViolationKind,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identifier {
            Some(name) => write!(f, "{} {name:?} {}", self.place, self.kind),
            None => write!(f, "{} {}", self.place, self.kind),
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViolationKind {
    /// It must be there, with that value if there is one.
    #[error("is missing")]
    Missing,
    /// It may not be there.
    #[error("is not in the template")]
    NotInTemplate,
    /// It has another value.
    #[error("must be {expected}, and is {found}")]
    Differs {
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// It is there more than once.
    #[error("is there more than once")]
    Repeated,
    /// A part of a name with several attributes side by side.
    #[error("has several attributes side by side")]
    MultiValued,
    /// This is no DNS name.
    #[error("is no DNS name in ASCII")]
    NotAName,
    /// It is not one of the identifiers of the order.
    #[error("is not in the order")]
    NotInOrder,
    /// It is a name that does not stand in subjectAltName.
    #[error("does not stand in subjectAltName")]
    NotInAltNames,
    /// The template leaves names open, and there is no policy that would decide.
    #[error("is left open by the template, and no policy for names is set")]
    NoPolicy,
    /// The policy for names says no.
    #[error("is refused by the policy for names")]
    Policy,
    /// The key is not taken.
    #[error("is not taken: {0}")]
    Key(KeyError),
    /// The signature is wrong.
    #[error("is not taken: {0}")]
    Signature(VerifyError),
}
