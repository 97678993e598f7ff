//! A list that holds one element without an allocation: most lists of DOTS have one.

use core::fmt;
use core::ops::Deref;

/// Zero or more values. A slice for whoever reads it.
#[derive(Clone)]
pub struct List<T>(Items<T>);

#[derive(Clone)]
enum Items<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> List<T> {
    /// No values.
    pub const fn new() -> Self {
        Self(Items::Many(Vec::new()))
    }

    /// One value.
    pub const fn one(value: T) -> Self {
        Self(Items::One(value))
    }

    /// Adds a value.
    #[inline]
    pub fn push(&mut self, value: T) {
        if let Items::Many(values) = &mut self.0 {
            if values.is_empty() {
                self.0 = Items::One(value);
            } else {
                values.push(value);
            }
        } else if let Items::One(first) = core::mem::take(self).0 {
            self.0 = Items::Many(vec![first, value]);
        }
    }

    /// The values, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match &mut self.0 {
            Items::One(value) => core::slice::from_mut(value),
            Items::Many(values) => values,
        }
    }

    /// The values as a vector.
    pub fn into_vec(self) -> Vec<T> {
        match self.0 {
            Items::One(value) => vec![value],
            Items::Many(values) => values,
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Items::One(value) => core::slice::from_ref(value),
            Items::Many(values) => values,
        }
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for List<T> {}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut list = Self::new();
        values.into_iter().for_each(|value| list.push(value));
        list
    }
}

impl<T, const N: usize> From<[T; N]> for List<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(values: Vec<T>) -> Self {
        Self(Items::Many(values))
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
