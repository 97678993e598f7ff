//! The members of an object, in their order.

use alloc::string::String;
use alloc::vec::Vec;

use super::Value;

/// Up to so many members are compared each with each, which is faster than sorting them.
const FEW: usize = 16;

/// Members in the order in which they were read or put in, no name twice.
///
/// Looking a name up takes as long as the object is large.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Object(Vec<(String, Value)>);

/// A name stands twice in an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name {0:?} stands twice in an object")]
#[non_exhaustive]
pub struct DuplicateName(pub String);

impl Object {
    /// One without members.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// From members in this order.
    ///
    /// # Errors
    ///
    /// When a name stands twice.
    pub fn from_members(members: Vec<(String, Value)>) -> Result<Self, DuplicateName> {
        match duplicate(&members) {
            Some(name) => Err(DuplicateName(name.into())),
            None => Ok(Self(members)),
        }
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find_map(|(found, value)| (found == name).then_some(value))
    }

    /// The value of this name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.iter_mut().find_map(|(found, value)| (found == name).then_some(value))
    }

    /// Puts a member behind the others, or a new value in the place of the one of the same name, which is given back.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let name = name.into();
        if let Some(place) = self.get_mut(&name) {
            return Some(core::mem::replace(place, value.into()));
        }
        self.0.push((name, value.into()));
        None
    }

    /// Takes a member out; the order of the others stays.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.remove(at).1)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its members.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = alloc::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A name that stands twice. Takes time that grows with n log n.
fn duplicate(members: &[(String, Value)]) -> Option<&str> {
    if members.len() <= FEW {
        let mut rest = members;
        while let Some(((name, _), others)) = rest.split_first() {
            if others.iter().any(|(other, _)| other == name) {
                return Some(name);
            }
            rest = others;
        }
        return None;
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(*one),
        _ => None,
    })
}
