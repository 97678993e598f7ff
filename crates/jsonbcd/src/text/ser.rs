//! serde's values as JSON text.

use alloc::string::ToString as _;
use core::fmt;

use serde::ser::{self, Serialize};

use super::Encoder;
use super::print::Printer;
use crate::code;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::integer::Integer;
use crate::scalar::Scalar;
use crate::ser::{Key, RAW};
use crate::sink::Sink;

/// Writes one value of serde as text; [`Encoder`] says how.
#[derive(Debug)]
pub struct Serializer<S> {
    printer: Printer<S>,
    depth: u16,
    /// The code that the next octets are the content of.
    raw: Option<u8>,
}

impl<S: Sink> Serializer<S> {
    /// Writes to this sink.
    pub fn new(sink: S, options: Encoder) -> Self {
        Self { printer: Printer::new(sink, options.style), depth: options.depth, raw: None }
    }

    fn open(&mut self, octet: u8) -> Result<()> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(Error::new(ErrorKind::Limit(Limit::Depth)));
        };
        self.depth = depth;
        self.printer.open(octet)
    }

    fn close(&mut self, octet: u8) -> Result<()> {
        self.depth = self.depth.saturating_add(1);
        self.printer.close(octet)
    }

    fn array(&mut self, variant: Option<&'static str>) -> Result<Compound<'_, S>> {
        if let Some(name) = variant {
            self.open(b'{')?;
            self.printer.name(name, true)?;
        }
        self.open(b'[')?;
        Ok(Compound { serializer: self, first: true, variant: variant.is_some() })
    }

    fn object(&mut self, variant: Option<&'static str>) -> Result<Compound<'_, S>> {
        if let Some(name) = variant {
            self.open(b'{')?;
            self.printer.name(name, true)?;
        }
        self.open(b'{')?;
        Ok(Compound { serializer: self, first: true, variant: variant.is_some() })
    }

    /// Octets that are no data.
    fn raw(&mut self, code: u8, octets: &[u8]) -> Result<()> {
        if let code::P_INT8 | code::N_INT8 = code {
            return self.printer.integer(&Integer::from_magnitude(code == code::N_INT8, octets));
        }
        let scalar = Scalar::from_code(code, octets);
        match (scalar, scalar.and_then(|scalar| scalar.to_f64())) {
            (Some(Scalar::Binary32(octets)), _) => self.printer.short_float(f32::from_be_bytes(octets)),
            (_, Some(value)) => self.printer.float(value),
            _ => Err(Error::new(ErrorKind::NotRepresentable("a float beyond binary64 in json"))),
        }
    }
}

impl<'s, S: Sink> ser::Serializer for &'s mut Serializer<S> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'s, S>;
    type SerializeTuple = Compound<'s, S>;
    type SerializeTupleStruct = Compound<'s, S>;
    type SerializeTupleVariant = Compound<'s, S>;
    type SerializeMap = Compound<'s, S>;
    type SerializeStruct = Compound<'s, S>;
    type SerializeStructVariant = Compound<'s, S>;

    fn serialize_bool(self, value: bool) -> Result<()> {
        self.printer.put(if value { b"true" } else { b"false" })
    }

    fn serialize_i8(self, value: i8) -> Result<()> {
        self.printer.signed(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<()> {
        self.printer.signed(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<()> {
        self.printer.signed(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<()> {
        self.printer.signed(value)
    }

    fn serialize_i128(self, value: i128) -> Result<()> {
        self.printer.integer(&value.into())
    }

    fn serialize_u8(self, value: u8) -> Result<()> {
        self.printer.unsigned(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<()> {
        self.printer.unsigned(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<()> {
        self.printer.unsigned(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<()> {
        self.printer.unsigned(value)
    }

    fn serialize_u128(self, value: u128) -> Result<()> {
        self.printer.integer(&value.into())
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        self.printer.short_float(value)
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        self.printer.float(value)
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.printer.string(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        self.printer.string(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        match self.raw.take() {
            None => self.printer.data(value),
            Some(code) => self.raw(code, value),
        }
    }

    fn serialize_none(self) -> Result<()> {
        self.printer.put(b"null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.printer.put(b"null")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        self.printer.put(b"null")
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<()> {
        self.printer.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        if name == RAW {
            self.raw = u8::try_from(index).ok();
            return value.serialize(self);
        }
        self.open(b'{')?;
        self.printer.name(variant, true)?;
        value.serialize(&mut *self)?;
        self.close(b'}')
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq> {
        self.array(None)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple> {
        self.array(None)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeTupleStruct> {
        self.array(None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        self.array(Some(variant))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap> {
        self.object(None)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeStruct> {
        self.object(None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant> {
        self.object(Some(variant))
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<()> {
        self.printer.string(&value.to_string())
    }
}

/// An object or an array that is being written.
#[derive(Debug)]
pub struct Compound<'s, S> {
    serializer: &'s mut Serializer<S>,
    first: bool,
    /// An object stands around it.
    variant: bool,
}

impl<S: Sink> Compound<'_, S> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.serializer.printer.element(core::mem::take(&mut self.first))?;
        value.serialize(&mut *self.serializer)
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<()> {
        self.serializer.printer.name(name, core::mem::take(&mut self.first))?;
        value.serialize(&mut *self.serializer)
    }

    fn close(self, octet: u8) -> Result<()> {
        self.serializer.close(octet)?;
        if self.variant { self.serializer.close(b'}') } else { Ok(()) }
    }
}

macro_rules! compound {
    ($($kind:ident $function:ident $end:literal;)*) => { $(
        impl<S: Sink> ser::$kind for Compound<'_, S> {
            type Ok = ();
            type Error = Error;

            fn $function<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.element(value)
            }

            fn end(self) -> Result<()> {
                self.close($end)
            }
        }
    )* };
}
compound! {
    SerializeSeq serialize_element b']';
    SerializeTuple serialize_element b']';
    SerializeTupleStruct serialize_field b']';
    SerializeTupleVariant serialize_field b']';
}

macro_rules! named {
    ($($kind:ident)*) => { $(
        impl<S: Sink> ser::$kind for Compound<'_, S> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
                self.member(name, value)
            }

            fn end(self) -> Result<()> {
                self.close(b'}')
            }
        }
    )* };
}
named!(SerializeStruct SerializeStructVariant);

impl<S: Sink> ser::SerializeMap for Compound<'_, S> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        let first = core::mem::take(&mut self.first);
        key.serialize(Key(|name: &str| self.serializer.printer.name(name, first)))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.serializer)
    }

    fn end(self) -> Result<()> {
        self.close(b'}')
    }
}
