//! From a template and what it leaves open to a request that fits it.

use std::collections::BTreeMap;

use super::{Pattern, Template};
use crate::crypto::PublicKey;
use crate::csr::{CsrPlan, SubjectField};
use crate::names;

/// What a template leaves open.
///
/// ```
/// use acme_lurk::csr::SubjectField;
/// use acme_lurk::template::Answers;
/// let answers = Answers::new().with_name("cache7.cdn.example").with_field(SubjectField::Locality, "Ottawa");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    names: Vec<String>,
    fields: BTreeMap<SubjectField, String>,
}

impl Answers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// A DNS name, beyond those that the template has. One that it has already does not count twice.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// A part of the subject. Only looked at where the template leaves it open.
    #[must_use]
    pub fn with_field(mut self, field: SubjectField, value: impl Into<String>) -> Self {
        self.fields.insert(field, value.into());
        self
    }
}

impl Template {
    /// Plans a request that fits: every literal, the answers where the template wants or allows some.
    ///
    /// # Errors
    /// When an answer that must be there is not, or one is there that the template does not allow.
    pub fn plan(&self, answers: &Answers) -> Result<CsrPlan, PlanError> {
        let mut plan = CsrPlan {
            email: unique(&self.email),
            uri: unique(&self.uri),
            key_usages: self.key_usages.clone(),
            extended_key_usages: self.extended_key_usages.as_deref().map(unique),
            ..CsrPlan::default()
        };
        for pattern in &self.dns {
            if let Pattern::Literal(name) = pattern {
                add(&mut plan.dns, name)?;
            }
        }
        let fixed = plan.dns.len();
        for name in &answers.names {
            add(&mut plan.dns, name)?;
        }
        let further = plan.dns.get(fixed..).unwrap_or_default();
        if let Some(name) = further.first().filter(|_| !self.has_dns_wildcard()) {
            return Err(PlanError::NameNotAllowed(name.clone()));
        }
        let has_none = plan.dns.is_empty() && plan.email.is_empty() && plan.uri.is_empty();
        if has_none || (self.dns.contains(&Pattern::Mandatory) && further.is_empty()) {
            return Err(PlanError::NameWanted);
        }
        for (field, pattern) in &self.subject {
            let value = match (pattern, answers.fields.get(field)) {
                (Pattern::Literal(value), _) => value,
                (_, Some(value)) => value,
                (Pattern::Mandatory, None) => return Err(PlanError::FieldWanted(*field)),
                (Pattern::Optional, None) => continue,
            };
            let is_open_name = *field == SubjectField::CommonName && !matches!(pattern, Pattern::Literal(_));
            if is_open_name && !plan.dns.iter().any(|name| names::are_equal(name, value)) {
                return Err(PlanError::CommonName(value.clone()));
            }
            plan.subject.push((*field, value.clone()));
        }
        Ok(plan)
    }

    /// Whether this key is of a kind that the template takes.
    pub fn accepts_key(&self, key: &PublicKey) -> bool {
        self.key_types().iter().any(|key_type| key_type.takes(key))
    }
}

fn add(names: &mut Vec<String>, name: &str) -> Result<(), PlanError> {
    let normal = names::normalize(name).ok_or_else(|| PlanError::Name(name.to_owned()))?;
    if !names.contains(&normal) {
        names.push(normal);
    }
    Ok(())
}

fn unique<T: Clone + PartialEq>(values: &[T]) -> Vec<T> {
    let mut unique: Vec<T> = Vec::new();
    for value in values {
        if !unique.contains(value) {
            unique.push(value.clone());
        }
    }
    unique
}

/// Why no request can be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Where commonName is left open it must be one of the DNS names.
    #[error("commonName {0:?} is none of the DNS names of the request")]
    CommonName(String),
    /// The template has `**` here.
    #[error("the template wants a value for {}", .0.name())]
    FieldWanted(SubjectField),
    /// This is no DNS name.
    #[error("{0:?} is no DNS name")]
    Name(String),
    /// The template does not allow further names.
    #[error("the template does not allow the name {0:?}")]
    NameNotAllowed(String),
    /// The template has `**` among the names, or nothing but `*`: a request needs a name.
    #[error("the template wants a DNS name beyond those that it has")]
    NameWanted,
}
