//! The insides of arrays, objects and variants.

use serde::de::value::{BorrowedStrDeserializer, BytesDeserializer, U32Deserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer as _, Visitor};

use super::key::Key;
use super::{Deserializer, VALUE};
use crate::error::{Error, ErrorKind, Result};

/// The elements of an array.
pub(super) struct SeqAccess<'s, 'de, 'o> {
    deserializer: &'s mut Deserializer<'de, 'o>,
    left: usize,
    first: bool,
}

impl<'s, 'de, 'o> SeqAccess<'s, 'de, 'o> {
    #[inline]
    pub(super) fn new(deserializer: &'s mut Deserializer<'de, 'o>) -> Self {
        let left = deserializer.options.rules.limits.members;
        Self { deserializer, left, first: true }
    }
}

impl<'de> de::SeqAccess<'de> for SeqAccess<'_, 'de, '_> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.deserializer.lexer.first() == Some(b']') {
            return Ok(None);
        }
        let mut octet = self.deserializer.peek("an element, or the end of the array")?;
        if !core::mem::take(&mut self.first) {
            octet = self.deserializer.separate(octet, b']')?;
        }
        if octet == b']' {
            return Ok(None);
        }
        self.deserializer.count(&mut self.left)?;
        seed.deserialize(&mut *self.deserializer).map(Some)
    }
}

/// The members of an object.
pub(super) struct MapAccess<'s, 'de, 'o> {
    deserializer: &'s mut Deserializer<'de, 'o>,
    names: &'static [&'static str],
    next: usize,
    left: usize,
    first: bool,
}

impl<'s, 'de, 'o> MapAccess<'s, 'de, 'o> {
    #[inline]
    pub(super) fn new(deserializer: &'s mut Deserializer<'de, 'o>, names: &'static [&'static str]) -> Self {
        let left = deserializer.options.rules.limits.members;
        Self { deserializer, names, next: 0, left, first: true }
    }
}

impl<'de> de::MapAccess<'de> for MapAccess<'_, 'de, '_> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        // A comma that was passed has a name behind it, so that here the end is the end.
        if self.deserializer.lexer.first() == Some(b'}') {
            return Ok(None);
        }
        // At the beginning and behind a binary value a name may stand at once.
        if !self.deserializer.comma
            && let Some(name) = self.deserializer.known_name(self.names, &mut self.next)
        {
            self.first = false;
            self.deserializer.count(&mut self.left)?;
            return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
        }
        self.next_other_key(seed)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.deserializer)
    }
}

impl<'de> MapAccess<'_, 'de, '_> {
    /// A name behind a comma, in text, or not among those known; or the end.
    fn next_other_key<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let mut octet = self.deserializer.peek("a name, or the end of the object")?;
        if !core::mem::take(&mut self.first) {
            octet = self.deserializer.separate(octet, b'}')?;
        }
        if octet == b'}' {
            return Ok(None);
        }
        self.deserializer.count(&mut self.left)?;
        if let Some(name) = self.deserializer.known_name(self.names, &mut self.next) {
            return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
        }
        seed.deserialize(Key(self.deserializer)).map(Some)
    }
}

/// A variant as an object with one member.
pub(super) struct EnumAccess<'s, 'de, 'o>(pub(super) &'s mut Deserializer<'de, 'o>, pub(super) &'static [&'static str]);

impl<'de> de::EnumAccess<'de> for EnumAccess<'_, 'de, '_> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        self.0.peek("the name of a variant")?;
        let name = match self.0.known_name(self.1, &mut 0) {
            Some(name) => seed.deserialize(BorrowedStrDeserializer::new(name))?,
            None => seed.deserialize(Key(self.0))?,
        };
        Ok((name, self))
    }
}

impl<'de> de::VariantAccess<'de> for EnumAccess<'_, 'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        de::Deserialize::deserialize(self.0)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_seq(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_struct(self.0, "", fields, visitor)
    }
}

/// A variant that is its name alone.
pub(super) struct UnitVariant<'s, 'de, 'o>(pub(super) &'s mut Deserializer<'de, 'o>);

impl<'de> de::EnumAccess<'de> for UnitVariant<'_, 'de, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let octet = self.0.peek(VALUE)?;
        if !matches!(octet, b'"' | 0x80..=0x87 | 0xc0..=0xc3 | 0xc8..=0xcb) {
            return Err(self.0.lexer.unexpected("a variant: its name, or an object with one member"));
        }
        let name = seed.deserialize(&mut *self.0)?;
        Ok((name, self))
    }
}

impl<'de> de::VariantAccess<'de> for UnitVariant<'_, 'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value> {
        Err(de::Error::invalid_type(de::Unexpected::UnitVariant, &"a variant with a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value> {
        Err(de::Error::invalid_type(de::Unexpected::UnitVariant, &"a variant with several values"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value> {
        Err(de::Error::invalid_type(de::Unexpected::UnitVariant, &"a variant with members"))
    }
}

/// What serde has no name for: the code and the octets behind it.
pub(super) struct RawAccess<'a> {
    pub(super) code: u8,
    pub(super) octets: &'a [u8],
}

impl<'de> de::EnumAccess<'de> for RawAccess<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let code: U32Deserializer<Error> = u32::from(self.code).into_deserializer();
        Ok((seed.deserialize(code)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for RawAccess<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        Err(Error::new(ErrorKind::NotRepresentable("a number that serde has no name for")))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(BytesDeserializer::<Error>::new(self.octets))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value> {
        self.unit_variant().and_then(|()| Err(de::Error::custom("not a tuple")))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value> {
        self.unit_variant().and_then(|()| Err(de::Error::custom("not a struct")))
    }
}
