//! serde's values as JSON-B, JSON-C, JSON-D.

mod key;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
use core::fmt;

use serde::ser::{self, Serialize};

use crate::code;
use crate::encoder::Encoder;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::integer::Integer;
use crate::options::Dialect;
use crate::scalar::Scalar;
use crate::sink::Sink;
use crate::writer::Writer;
use key::KeySerializer;

/// The enumeration that [`Value`](crate::Value) passes what serde has no name for through serializers of this crate
/// as. Its variants are numbered by the code of the octets inside; magnitudes of integers by A0 and A8.
pub(crate) const RAW: &str = "$jsonbcd::raw";

/// Names shorter than this are not worth a code.
const SHORTEST_CODED: usize = 3;
/// Codes of two octets are not worth defining.
const MOST_CODED: u32 = 256;

/// Writes one value of serde; [`Encoder`] says how.
#[derive(Debug)]
pub struct Serializer<'o, S> {
    writer: Writer<S>,
    depth: u16,
    options: &'o Encoder,
    /// Names become codes, or are otherwise unusual.
    names: Option<Box<Names>>,
    /// The code that the next octets are the content of.
    raw: Option<u8>,
}

/// What names are written as.
#[derive(Debug, Default)]
struct Names {
    defined: BTreeMap<Box<str>, u32>,
    next: u32,
}

impl<'o, S: Sink> Serializer<'o, S> {
    /// Writes to this sink.
    ///
    /// # Errors
    ///
    /// Those of the sink, when a dictionary has to be loaded first.
    #[inline]
    pub fn new(sink: S, options: &'o Encoder) -> Result<Self> {
        let mut writer = Writer::with_profile(sink, options.dialect, options.profile);
        let mut names = None;
        if options.dialect >= Dialect::C {
            names = Some(Box::default());
            if let Some(dictionary) = &options.dictionary {
                dictionary.write(&mut writer)?;
            }
        } else if options.reference_names {
            names = Some(Box::default());
        }
        Ok(Self { writer, depth: options.depth, options, names, raw: None })
    }

    #[inline(always)]
    fn name(&mut self, name: &str) -> Result<()> {
        if self.names.is_none() { self.writer.name(name) } else { self.unusual_name(name) }
    }

    #[cold]
    fn unusual_name(&mut self, name: &str) -> Result<()> {
        let Some(names) = &mut self.names else { return self.writer.name(name) };
        if self.options.dialect >= Dialect::C {
            let loaded = self.options.dictionary.as_ref().and_then(|dictionary| dictionary.names.get(name));
            if let Some(&code) = loaded.or_else(|| names.defined.get(name)) {
                return self.writer.reference(code);
            }
            let free = self.options.dictionary.as_ref().is_none_or(|loaded| loaded.offset > names.next);
            if name.len() >= SHORTEST_CODED && names.next < MOST_CODED && free {
                let code = names.next;
                names.next = code.saturating_add(1);
                names.defined.insert(name.into(), code);
                return self.writer.define_and_insert(code, name);
            }
        }
        if self.options.reference_names { self.writer.reference_name(name) } else { self.writer.name(name) }
    }

    #[inline]
    fn enter(&mut self) -> Result<()> {
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                Ok(())
            }
            None => Err(Error::new(ErrorKind::Limit(Limit::Depth))),
        }
    }

    #[inline]
    fn leave(&mut self) {
        self.depth = self.depth.saturating_add(1);
    }

    #[inline]
    fn object(&mut self) -> Result<Compound<'_, 'o, S>> {
        self.enter()?;
        self.writer.object_start()?;
        Ok(Compound { serializer: self, variant: false })
    }

    #[inline]
    fn array(&mut self) -> Result<Compound<'_, 'o, S>> {
        self.enter()?;
        self.writer.array_start()?;
        Ok(Compound { serializer: self, variant: false })
    }

    /// The object around the content of a variant.
    #[inline]
    fn variant(&mut self, name: &'static str) -> Result<()> {
        self.enter()?;
        self.writer.object_start()?;
        self.name(name)
    }

    /// Octets that are no data.
    #[cold]
    fn raw(&mut self, code: u8, octets: &[u8]) -> Result<()> {
        match (code, Scalar::from_code(code, octets)) {
            (code::P_INT8 | code::N_INT8, _) => {
                self.writer.integer(&Integer::from_magnitude(code == code::N_INT8, octets))
            }
            (_, Some(scalar)) if self.options.dialect >= Dialect::D => self.writer.scalar(&scalar),
            (_, Some(scalar)) => match scalar.to_f64() {
                Some(value) if !value.is_nan() => self.writer.float(value),
                _ => Err(Error::new(ErrorKind::NotRepresentable("a float of json-d in a smaller dialect"))),
            },
            _ => Err(Error::new(ErrorKind::NotRepresentable("octets of no known code"))),
        }
    }
}

impl<'s, 'o, S: Sink> ser::Serializer for &'s mut Serializer<'o, S> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'s, 'o, S>;
    type SerializeTuple = Compound<'s, 'o, S>;
    type SerializeTupleStruct = Compound<'s, 'o, S>;
    type SerializeTupleVariant = Compound<'s, 'o, S>;
    type SerializeMap = Compound<'s, 'o, S>;
    type SerializeStruct = Compound<'s, 'o, S>;
    type SerializeStructVariant = Compound<'s, 'o, S>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<()> {
        self.writer.boolean(value)
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<()> {
        self.writer.signed(value.into())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<()> {
        self.writer.signed(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<()> {
        self.writer.signed(value.into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<()> {
        self.writer.signed(value)
    }

    fn serialize_i128(self, value: i128) -> Result<()> {
        self.writer.integer(&value.into())
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<()> {
        self.writer.unsigned(value.into())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<()> {
        self.writer.unsigned(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<()> {
        self.writer.unsigned(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<()> {
        self.writer.unsigned(value)
    }

    fn serialize_u128(self, value: u128) -> Result<()> {
        self.writer.integer(&value.into())
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        if self.options.dialect >= Dialect::D {
            return self.writer.scalar(&value.into());
        }
        self.writer.float(value.into())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<()> {
        self.writer.float(value)
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.writer.string(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<()> {
        self.writer.string(value)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        match self.raw.take() {
            None => self.writer.data(value),
            Some(code) => self.raw(code, value),
        }
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.writer.null()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        self.writer.null()
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        self.writer.null()
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<()> {
        self.writer.string(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
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
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.leave();
        self.writer.object_end()
    }

    #[inline]
    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq> {
        self.array()
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple> {
        self.array()
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeTupleStruct> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        self.variant(variant)?;
        Ok(Compound { variant: true, ..self.array()? })
    }

    #[inline]
    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap> {
        self.object()
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeStruct> {
        self.object()
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant> {
        self.variant(variant)?;
        Ok(Compound { variant: true, ..self.object()? })
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<()> {
        self.writer.string(&value.to_string())
    }
}

/// An object or an array that is being written.
#[derive(Debug)]
pub struct Compound<'s, 'o, S> {
    serializer: &'s mut Serializer<'o, S>,
    /// An object stands around it.
    variant: bool,
}

impl<S: Sink> Compound<'_, '_, S> {
    #[inline]
    fn end_object(self) -> Result<()> {
        self.serializer.leave();
        self.serializer.writer.object_end()?;
        if self.variant { self.end_variant() } else { Ok(()) }
    }

    #[inline]
    fn end_array(self) -> Result<()> {
        self.serializer.leave();
        self.serializer.writer.array_end()?;
        if self.variant { self.end_variant() } else { Ok(()) }
    }

    fn end_variant(self) -> Result<()> {
        self.serializer.leave();
        self.serializer.writer.object_end()
    }

    #[inline(always)]
    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<()> {
        self.serializer.name(name)?;
        value.serialize(&mut *self.serializer)
    }
}

impl<S: Sink> ser::SerializeSeq for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.serializer)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.end_array()
    }
}

impl<S: Sink> ser::SerializeTuple for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.serializer)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.end_array()
    }
}

impl<S: Sink> ser::SerializeTupleStruct for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.serializer)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.end_array()
    }
}

impl<S: Sink> ser::SerializeTupleVariant for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.serializer)
    }

    fn end(self) -> Result<()> {
        self.end_array()
    }
}

impl<S: Sink> ser::SerializeMap for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        key.serialize(KeySerializer(|name: &str| self.serializer.name(name)))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.serializer)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.end_object()
    }
}

impl<S: Sink> ser::SerializeStruct for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.member(name, value)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.end_object()
    }
}

impl<S: Sink> ser::SerializeStructVariant for Compound<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.member(name, value)
    }

    fn end(self) -> Result<()> {
        self.end_object()
    }
}

pub(crate) use key::KeySerializer as Key;
