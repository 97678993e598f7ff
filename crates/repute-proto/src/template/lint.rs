//! What RFC 7072 asks of those who publish templates. [RFC 7072 section 3.3](https://www.rfc-editor.org/rfc/rfc7072#section-3.3)

use super::{Operator, Part, Template};

/// One thing that a publisher of a template should look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// Two values with nothing between them.
    #[error("{{{0}}} and {{{1}}} stand next to each other: nobody can tell where one ends")]
    Adjacent(String, String),
    /// An optional value with something of the path behind it.
    #[error(
        "{{{0}}} is optional and not last in the path: without it the rest moves; use {{/{0}}} at the end, or a query"
    )]
    OptionalInPath(String),
    /// Clients do not send fragments.
    #[error("a fragment is never sent")]
    Fragment,
    /// A variable without which answers cannot be about the question.
    #[error("{{{0}}} is missing")]
    Missing(&'static str),
    /// Longer than OpenDKIM can take.
    #[error("longer than 1023 octets: OpenDKIM reads beyond its buffer")]
    OpenDkimLength,
    /// A reserved value could change what the URI means.
    #[error("{{+{0}}} lets a value change the URI: clients refuse that; use {{{0}}}")]
    Reserved(String),
    /// A scheme that not every client has.
    #[error("scheme {0:?} is one that clients need not have")]
    Scheme(String),
    /// A variable that no application registers.
    #[error("{{{0}}} is not defined by REPUTE: it will be empty")]
    Unknown(String),
    /// Credentials in a place that is logged.
    #[error("{{{0}}} does not belong outside of user information")]
    Credentials(String),
}

const KNOWN: [&str; 11] = [
    "application",
    "scheme",
    "service",
    "subject",
    "assertion",
    "identity",
    "user",
    "passwd",
    "reporter",
    "format",
    "rate",
];

pub(super) fn lint(template: &Template) -> Vec<Lint> {
    let mut lints = Vec::new();
    if template.text.len() > 1023 {
        lints.push(Lint::OpenDkimLength);
    }
    let names = template.variables();
    for name in ["service", "application", "subject"] {
        if !names.contains(&name) {
            lints.push(Lint::Missing(name));
        }
    }
    for name in names.iter().filter(|name| !KNOWN.contains(name)) {
        lints.push(Lint::Unknown((*name).to_owned()));
    }
    match template.scheme() {
        Some(scheme) if !["http", "https"].contains(&scheme) => lints.push(Lint::Scheme(scheme.to_owned())),
        None if !template.text.starts_with("{scheme}") => lints.push(Lint::Missing("scheme")),
        _ => {}
    }
    shape(template, &mut lints);
    lints
}

/// What stands where.
fn shape(template: &Template, lints: &mut Vec<Lint>) {
    let mut before: Option<&str> = None;
    let mut optional: Option<&str> = None;
    let mut in_authority = true;
    let mut in_query = false;
    let mut literal = String::new();
    for part in &template.parts {
        match part {
            Part::Literal(text) => {
                literal.push_str(text);
                before = None;
                let behind = literal.split_once("://").map_or("", |(_, behind)| behind);
                in_authority = !behind.contains(['/', '?', '#']);
                in_query |= behind.contains('?');
                if behind.contains('#') {
                    lints.push(Lint::Fragment);
                }
                if text.contains('?') {
                    optional = None;
                }
                // A literal with more than a slash behind an optional value.
                if let Some(name) = optional.filter(|_| !in_query && !text.trim_matches('/').is_empty()) {
                    lints.push(Lint::OptionalInPath(name.to_owned()));
                    optional = None;
                }
            }
            Part::Expression { operator, variables } => {
                in_query |= *operator == Operator::Query;
                if *operator == Operator::Fragment {
                    lints.push(Lint::Fragment);
                }
                for variable in variables {
                    let name = variable.name.as_str();
                    if *operator == Operator::Reserved && name != "service" {
                        lints.push(Lint::Reserved(name.to_owned()));
                    }
                    if ["user", "passwd"].contains(&name) && !in_authority {
                        lints.push(Lint::Credentials(name.to_owned()));
                    }
                    if let Some(before) = before.filter(|_| matches!(operator, Operator::Simple | Operator::Reserved)) {
                        lints.push(Lint::Adjacent(before.to_owned(), name.to_owned()));
                    }
                    if let Some(optional) = optional.take_if(|_| !in_query) {
                        lints.push(Lint::OptionalInPath(optional.to_owned()));
                    }
                    if !in_query && !in_authority && !["service", "application", "subject", "scheme"].contains(&name) {
                        optional = Some(name);
                    }
                    before = None;
                }
                before = variables.last().map(|variable| variable.name.as_str());
            }
        }
    }
    lints.dedup();
}
