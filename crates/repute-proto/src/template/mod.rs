//! URI templates: [RFC 6570](https://www.rfc-editor.org/rfc/rfc6570) up to level 4, compiled once.
//!
//! Templates come from the network and values from mail. Whatever either says, an expansion is bounded and holds only
//! characters of a URI; whether it may be asked for is [`Target`]'s business.

mod expand;
mod file;
mod lint;
mod parse;
mod target;
mod variables;

pub use file::TemplateFile;
pub use lint::Lint;
pub use target::{Credentials, Policy, Refusal, Scheme, Service, ServiceError, Target};
pub(crate) use target::{check, decode_percent};
pub use variables::{Value, Variables};

use std::fmt;

use crate::error::Limit;
use crate::limits::Limits;

/// A template, known to be well-formed.
///
/// ```
/// use repute_proto::{Template, Variables};
/// let template: Template = "http://{service}/{application}/{subject}{/assertion*}".parse()?;
/// let variables = Variables::new()
///     .with("service", "example.com")
///     .with("application", "email-id")
///     .with("subject", "example.org")
///     .with("assertion", ["spam", "fraud"]);
/// assert_eq!(template.expand(&variables)?, "http://example.com/email-id/example.org/spam/fraud");
/// # Ok::<(), repute_proto::TemplateError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Characters for the URI, already encoded.
    Literal(String),
    /// What braces hold.
    Expression { operator: Operator, variables: Vec<VarSpec> },
}

/// What an expression does with its values. RFC 6570 section 2.2
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Simple,
    Reserved,
    Fragment,
    Label,
    Path,
    Parameter,
    Query,
    Continuation,
}

/// A variable in an expression. RFC 6570 section 2.3
#[derive(Debug, Clone, PartialEq, Eq)]
struct VarSpec {
    name: String,
    modifier: Modifier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modifier {
    None,
    /// At most so many characters, 1 to 9999.
    Prefix(usize),
    Explode,
}

/// Why a text is no template, or cannot be expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("octet {offset}: {kind}")]
pub struct TemplateError {
    /// What is wrong.
    pub kind: TemplateErrorKind,
    /// Where in the template, in octets.
    pub offset: usize,
}

/// What is wrong with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateErrorKind {
    /// A character that a template cannot have outside of braces.
    #[error("a character that no URI template can have here")]
    Character,
    /// A closing brace without an opening one, or one in an expression.
    #[error("a brace that does not match")]
    Brace,
    /// An expression without a variable.
    #[error("a variable is missing")]
    Empty,
    /// A limit of this side.
    #[error("{0}")]
    LimitExceeded(Limit),
    /// A variable's name is none.
    #[error("not the name of a variable")]
    Name,
    /// A percent sign without two hexadecimal digits.
    #[error("a percent sign needs two hexadecimal digits")]
    Percent,
    /// A prefix that is not 1 to 9999.
    #[error("a prefix is a number from 1 to 9999")]
    Prefix,
    /// A prefix of a list or a map.
    #[error("a list or map has no prefix")]
    PrefixOfComposite,
    /// An operator that RFC 6570 keeps for the future.
    #[error("an operator that is reserved")]
    ReservedOperator,
    /// An expression without end.
    #[error("an opening brace is never closed")]
    Unclosed,
}

impl TemplateErrorKind {
    const fn at(self, offset: usize) -> TemplateError {
        TemplateError { kind: self, offset }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is not one of RFC 6570, or exceeds [`Limits::template`] or [`Limits::variables`].
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, TemplateError> {
        Limits::check(Limit::Template, text.len(), limits.template)
            .map_err(|limit| TemplateErrorKind::LimitExceeded(limit).at(limits.template))?;
        let parts = parse::parts(text, limits)?;
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The URI reference with these values, up to 8 KiB: [`Self::expand_within`] with default limits.
    ///
    /// # Errors
    /// When it would be longer, or a prefix is asked of a list or map.
    pub fn expand(&self, variables: &Variables) -> Result<String, TemplateError> {
        self.expand_within(variables, &Limits::default())
    }

    /// The URI reference with these values.
    ///
    /// # Errors
    /// When it would exceed [`Limits::uri`], or a prefix is asked of a list or map.
    pub fn expand_within(&self, variables: &Variables, limits: &Limits) -> Result<String, TemplateError> {
        expand::expand(self, variables, limits, &|_, _| false)
    }

    /// The names of its variables, in order, each once.
    pub fn variables(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for variable in self.specs() {
            if !names.contains(&variable.name.as_str()) {
                names.push(&variable.name);
            }
        }
        names
    }

    /// The text that was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is wrong or unwise for a REPUTE service to publish.
    pub fn lint(&self) -> Vec<Lint> {
        lint::lint(self)
    }

    fn specs(&self) -> impl Iterator<Item = &VarSpec> {
        self.parts.iter().flat_map(|part| match part {
            Part::Literal(_) => &[][..],
            Part::Expression { variables, .. } => variables,
        })
    }

    /// The scheme that its text fixes; `None` when a variable says it.
    pub fn scheme(&self) -> Option<&str> {
        match self.parts.first() {
            Some(Part::Literal(text)) => text.split_once(':').map(|(scheme, _)| scheme),
            _ => None,
        }
    }
}

impl std::str::FromStr for Template {
    type Err = TemplateError;

    /// Under default limits.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text, &Limits::default())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
