//! Keys of maps: names, and what can be written as one.

use alloc::string::ToString as _;
use core::fmt;

use serde::ser::{self, Impossible, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Hands a key to a function as a name.
pub(crate) struct KeySerializer<F>(pub(crate) F);

#[cold]
fn no_name<T>() -> Result<T> {
    Err(Error::new(ErrorKind::NotRepresentable("a map key that is no string, number, boolean or plain variant")))
}

macro_rules! as_text {
    ($($function:ident: $kind:ty),*) => { $(
        fn $function(self, value: $kind) -> Result<()> {
            (self.0)(&value.to_string())
        }
    )* };
}

macro_rules! refused {
    ($($function:ident($($argument:ty),*) -> $result:ty;)*) => { $(
        fn $function(self, $(_: $argument),*) -> Result<$result> {
            no_name()
        }
    )* };
}

impl<F: FnOnce(&str) -> Result<()>> ser::Serializer for KeySerializer<F> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    as_text!(
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char
    );

    refused! {
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<()> {
        (self.0)(value)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<()> {
        (self.0)(variant)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<()> {
        no_name()
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<()> {
        (self.0)(&value.to_string())
    }
}
