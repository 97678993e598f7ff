//! Classification and Reference. [RFC 4765 sections 4.2.4.2 and 4.2.7.1](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.4.2)

use super::Origin;
use crate::types::Ident;
use crate::xml::class;

/// What was detected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classification {
    /// An identifier of it.
    pub ident: Ident,
    /// Its name, from the vendor of the sensor.
    pub text: String,
    /// Where to read about it.
    pub reference: Vec<Reference>,
}

impl From<&str> for Classification {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

class! {
    Classification or Default {
        required { "text" => text }
        attributes { "ident" => ident }
        elements { "Reference" => reference }
    }
}

/// A name that somebody gave to what was detected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// Who.
    pub origin: Origin,
    /// What the name means, when the origin does not say it.
    pub meaning: Option<String>,
    /// The name.
    pub name: String,
    /// Where to read about it.
    pub url: String,
}

class! {
    Reference {
        attributes { "origin" => origin, "meaning" => meaning }
        elements { "name" => name, "url" => url }
    }
}
