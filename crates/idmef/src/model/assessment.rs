//! Assessment. [RFC 4765 section 4.2.6](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.6)

use super::{ActionCategory, Completion, ImpactType, Rating, Severity};
use crate::types::Real;
use crate::xml::class;

/// The analyzer's judgement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assessment {
    /// What it did to the target.
    pub impact: Option<Impact>,
    /// What was done in response.
    pub action: Vec<Action>,
    /// How sure the analyzer is.
    pub confidence: Option<Confidence>,
}

class! {
    Assessment {
        elements { "Impact" => impact, "Action" => action, "Confidence" => confidence }
    }
}

/// The effect on the target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Impact {
    /// How severe it is.
    pub severity: Option<Severity>,
    /// Whether the attempt got through.
    pub completion: Option<Completion>,
    /// What was attempted; attribute `type`.
    pub kind: ImpactType,
    /// The same in words; empty for none.
    pub text: String,
}

class! {
    Impact {
        attributes { "severity" => severity, "completion" => completion, "type" => kind }
        text text
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Action {
    /// What kind of response.
    pub category: ActionCategory,
    /// The same in words; empty for none.
    pub text: String,
}

class! {
    Action {
        attributes { "category" => category }
        text text
    }
}

/// How sure the analyzer is of its judgement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confidence {
    /// In words, or that it is a number.
    pub rating: Rating,
    /// The probability between 0 and 1; its meaning is left open unless `rating` is `numeric`.
    pub value: Option<Real>,
}

class! {
    Confidence {
        attributes { "rating" => rating }
        text value
    }
}
