//! [`Value`] and its parts for serde: also to and from other formats, as well as these can.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{self, Deserialize, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess as _, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Object, Value};
use crate::code;
use crate::de::LOSSLESS;
use crate::integer::Integer;
use crate::scalar::Scalar;
use crate::ser::RAW;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => value.serialize(serializer),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Scalar(value) => value.serialize(serializer),
            Self::String(value) => serializer.serialize_str(value),
            Self::Data(value) => serializer.serialize_bytes(value),
            Self::Array(value) => serializer.collect_seq(value),
            Self::Object(value) => value.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Integer {
    /// Beyond 128 bits other formats see a variant with the octets of the magnitude.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(value) = self.as_u64() {
            return serializer.serialize_u64(value);
        }
        if let Some(value) = self.as_i64() {
            return serializer.serialize_i64(value);
        }
        if let Some(value) = self.as_i128() {
            return serializer.serialize_i128(value);
        }
        if let Some(value) = self.as_u128() {
            return serializer.serialize_u128(value);
        }
        let (code, name) = match self.is_negative() {
            false => (code::P_INT8, "p-bignum"),
            true => (code::N_INT8, "n-bignum"),
        };
        serializer.serialize_newtype_variant(RAW, code.into(), name, &Octets(&self.magnitude()))
    }
}

impl Serialize for Scalar {
    /// Other formats see a variant with the octets.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant(RAW, self.code().into(), self.name(), &Octets(self.octets()))
    }
}

/// serde's bytes.
struct Octets<'a>(&'a [u8]);

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(LOSSLESS, ValueVisitor)
    }
}

macro_rules! part {
    ($($kind:ident $expected:literal;)*) => { $(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Value::deserialize(deserializer)? {
                    Value::$kind(value) => Ok(value),
                    other => Err(de::Error::invalid_type(other.unexpected(), &$expected)),
                }
            }
        }
    )* };
}
part! {
    Object "an object";
    Integer "an integer";
    Scalar "a float of json-d";
}

impl Value {
    fn unexpected(&self) -> de::Unexpected<'_> {
        match self {
            Self::Null => de::Unexpected::Unit,
            Self::Bool(value) => de::Unexpected::Bool(*value),
            Self::Integer(_) => de::Unexpected::Other("an integer"),
            Self::Float(value) => de::Unexpected::Float(*value),
            Self::Scalar(value) => de::Unexpected::Other(value.name()),
            Self::String(value) => de::Unexpected::Str(value),
            Self::Data(value) => de::Unexpected::Bytes(value),
            Self::Array(_) => de::Unexpected::Seq,
            Self::Object(_) => de::Unexpected::Map,
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Data(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        // No capacity is taken from a hint: it may be somebody's lie.
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Object::from_members(object).map(Value::Object).map_err(de::Error::custom)
    }

    /// Only deserializers of this crate do so, with what serde has no name for.
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (code, content) = data.variant::<u32>()?;
        let octets: RawOctets = content.newtype_variant()?;
        let code = u8::try_from(code).map_err(|_| de::Error::custom("not the code of a number"))?;
        if let code::P_INT8 | code::N_INT8 = code {
            return Ok(Value::Integer(Integer::from_magnitude(code == code::N_INT8, &octets.0)));
        }
        let scalar = Scalar::from_code(code, &octets.0);
        scalar.map(Value::Scalar).ok_or_else(|| de::Error::custom("not the code of a number"))
    }
}

/// The octets of such a number.
struct RawOctets(Box<[u8]>);

impl<'de> Deserialize<'de> for RawOctets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OctetsVisitor;
        impl Visitor<'_> for OctetsVisitor {
            type Value = RawOctets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("octets")
            }

            fn visit_bytes<E>(self, value: &[u8]) -> Result<RawOctets, E> {
                Ok(RawOctets(value.into()))
            }
        }
        deserializer.deserialize_bytes(OctetsVisitor)
    }
}
