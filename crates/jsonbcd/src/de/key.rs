//! Names of members, and what map keys are made of them.

use serde::de::{self, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::{Deserializer, Text};
use crate::error::{Error, Result};

/// A name. The deserializer stands at it.
pub(super) struct Key<'s, 'de, 'o>(pub(super) &'s mut Deserializer<'de, 'o>);

impl<'de> Key<'_, 'de, '_> {
    #[inline]
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if let Some(name) = self.0.short_string()? {
            return visitor.visit_borrowed_str(name);
        }
        let octet = self.0.peek("the name of a member")?;
        let name = self.0.name(octet)?;
        self.0.visit_text(name, visitor)
    }

    /// The name to a function that reads something in it.
    fn parse<T>(self, read: impl FnOnce(&str) -> Option<T>, expected: &'static str) -> Result<T> {
        let octet = self.0.peek("the name of a member")?;
        let name = match self.0.name(octet)? {
            Text::Borrowed(name) => name,
            Text::Scratch => self.0.lexer.scratch_str()?,
        };
        read(name).ok_or_else(|| de::Error::invalid_value(Unexpected::Str(name), &expected))
    }
}

macro_rules! numbers {
    ($($function:ident $visit:ident $kind:ty;)*) => { $(
        fn $function<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.parse(|name| name.parse::<$kind>().ok(), "a number as a name")?)
        }
    )* };
}

impl<'de> de::Deserializer<'de> for Key<'_, 'de, '_> {
    type Error = Error;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.0.is_text()
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor)
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(KeyVariant(self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_bool(self.parse(|name| name.parse::<bool>().ok(), "true or false as a name")?)
    }

    numbers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct ignored_any
    }
}

/// A plain variant as a name.
struct KeyVariant<'s, 'de, 'o>(Key<'s, 'de, 'o>);

impl<'de> de::EnumAccess<'de> for KeyVariant<'_, 'de, '_> {
    type Error = Error;
    type Variant = Plain;

    fn variant_seed<V: de::DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Plain)> {
        Ok((seed.deserialize(self.0)?, Plain))
    }
}

/// A variant without anything.
struct Plain;

fn refused<T>() -> Result<T> {
    Err(de::Error::invalid_type(Unexpected::UnitVariant, &"a variant with a value"))
}

impl<'de> de::VariantAccess<'de> for Plain {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value> {
        refused()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value> {
        refused()
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value> {
        refused()
    }
}
