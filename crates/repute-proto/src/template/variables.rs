//! The values of variables.

use std::collections::BTreeMap;

/// A value: RFC 6570 knows strings, lists and associative arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "RFC 6570 is finished")]
pub enum Value {
    /// A string; the empty one is defined.
    Text(String),
    /// Strings in order; the empty list is undefined.
    List(Vec<String>),
    /// Names and values in order; the empty map is undefined.
    Map(Vec<(String, String)>),
}

impl Value {
    fn is_defined(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::List(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(items: [&str; N]) -> Self {
        Self::List(items.into_iter().map(str::to_owned).collect())
    }
}

impl From<Vec<String>> for Value {
    fn from(items: Vec<String>) -> Self {
        Self::List(items)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Value {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}

/// Variables by name; the case of names matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables(BTreeMap<String, Value>);

impl Variables {
    /// None defined.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The same, and one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Defines a variable.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value of a variable, unless it is an empty list or map.
    pub(super) fn defined(&self, name: &str) -> Option<&Value> {
        self.value(name).filter(|value| value.is_defined())
    }
}
