//! Any document as a value: [`Value`].

mod object;
mod serde_impls;

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

pub use object::{DuplicateName, Object};

use crate::integer::Integer;
use crate::scalar::Scalar;

/// Any document of JSON, JSON-B, JSON-C or JSON-D. Nothing is lost in reading it and writing it again, but how it was
/// written: which width an integer had, chunks, codes.
///
/// Values are equal when they are the same: floats by their bits, so that a NaN is equal to itself and minus zero is
/// not zero; the integer 1 and the float 1.0 are two things; members in another order make another object.
///
/// ```
/// use jsonbcd::Value;
///
/// let value: Value = jsonbcd::from_slice(b"{\x80\x04Port\xa0\x50\x80\x04Data\x88\x02\xca\xfe}")?;
/// assert_eq!(value["Port"].as_u64(), Some(80));
/// assert_eq!(value["Data"].as_data(), Some(&[0xca, 0xfe][..]));
/// assert_eq!(jsonbcd::to_vec(&value)?, b"{\x80\x04Port\xa0\x50\x80\x04Data\x88\x02\xca\xfe}");
/// # Ok::<(), jsonbcd::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[allow(clippy::exhaustive_enums, reason = "these are all there are, and matching all of them is the use of it")]
pub enum Value {
    /// Null.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A number that was written as an integer.
    Integer(Integer),
    /// A number with a fraction or an exponent, or a binary64.
    Float(f64),
    /// A float of JSON-D that is no binary64.
    Scalar(Scalar),
    /// A string.
    String(String),
    /// Octets. Text has no form of its own for them: written as text and read again they are a string.
    Data(Vec<u8>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

impl Value {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn as_integer(&self) -> Option<&Integer> {
        match self {
            Self::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_integer()?.as_u64()
    }

    /// The integer, if it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_integer()?.as_i64()
    }

    /// The number as binary64, if it is one: integers as near as can be, floats of JSON-D if they surely fit.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(value.to_f64()),
            Self::Float(value) => Some(*value),
            Self::Scalar(value) => value.to_f64(),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The octets, if it is data.
    pub fn as_data(&self) -> Option<&[u8]> {
        match self {
            Self::Data(value) => Some(value),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(value) => Some(value),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(value) => Some(value),
            _ => None,
        }
    }

    /// The member of this name, if it is an object and has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Float(one), Self::Float(other)) => one.to_bits() == other.to_bits(),
            (Self::Scalar(one), Self::Scalar(other)) => one == other,
            (Self::String(one), Self::String(other)) => one == other,
            (Self::Data(one), Self::Data(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        core::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Integer(value) => value.hash(state),
            Self::Float(value) => value.to_bits().hash(state),
            Self::Scalar(value) => value.hash(state),
            Self::String(value) => value.hash(state),
            Self::Data(value) => value.hash(state),
            Self::Array(value) => value.hash(state),
            Self::Object(value) => value.hash(state),
        }
    }
}

impl core::ops::Index<&str> for Value {
    type Output = Self;

    /// The member of this name; null if there is none.
    fn index(&self, name: &str) -> &Self {
        self.get(name).unwrap_or(&Self::Null)
    }
}

impl core::ops::Index<usize> for Value {
    type Output = Self;

    /// The element at this place; null if there is none.
    fn index(&self, place: usize) -> &Self {
        self.as_array().and_then(|elements| elements.get(place)).unwrap_or(&Self::Null)
    }
}

macro_rules! from {
    ($($variant:ident: $($kind:ty)*;)*) => { $($(
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self::$variant(value.into())
            }
        }
    )*)* };
}
from! {
    Bool: bool;
    Integer: i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 Integer;
    Float: f64;
    Scalar: Scalar f32;
    String: String &str;
    Data: Vec<u8> &[u8];
    Array: Vec<Value>;
    Object: Object;
}
