//! How a structure is read and written: members in the order of the reference code, absent ones left out, unknown ones
//! kept. draft-hallambaker-omnibroker-08 section 7.1.
//!
//! Hand-written instead of derived: unknown members are kept without buffering the known ones (which `serde(flatten)`
//! would do), and an error knows the member it is about.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, Serialize, SerializeMap, Serializer};

use crate::error::{DecodeErrorKind, Limit};
use crate::limits::Limits;

/// What is asked of the messages read, beyond being well-formed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) deny_unknown: bool,
    pub(crate) bare_for_array: bool,
    pub(crate) limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { deny_unknown: false, bare_for_array: false, limits: Limits::DEFAULT }
    }
}

/// Where in the message an error arose, written down on the way out of it; nothing is spent while all goes well.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    path: RefCell<Vec<Segment>>,
    kind: RefCell<Option<DecodeErrorKind>>,
}

#[derive(Debug, Clone, Copy)]
enum Segment {
    Member(&'static str),
    Element(usize),
}

impl Trace {
    fn left(&self, segment: Segment) {
        self.path.borrow_mut().push(segment);
    }

    #[cold]
    pub(crate) fn member<E>(&self, name: &'static str, error: E) -> E {
        self.left(Segment::Member(name));
        error
    }

    /// The path from the outside in: `QueryConnectResponse.Connection[1].IPPort`.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for segment in self.path.borrow().iter().rev() {
            match segment {
                Segment::Member(name) if path.is_empty() => path.push_str(name),
                Segment::Member(name) => path.extend([".", name]),
                Segment::Element(at) => path.push_str(&format!("[{at}]")),
            }
        }
        path
    }

    pub(crate) fn into_kind(self) -> Option<DecodeErrorKind> {
        self.kind.into_inner()
    }
}

/// What travels down with the decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) options: &'a Options,
    pub(crate) trace: &'a Trace,
}

impl Rules<'_> {
    /// Fails with a reason that the caller of the codec can tell apart.
    pub(crate) fn fail<E: de::Error>(&self, kind: DecodeErrorKind) -> E {
        let error = E::custom(&kind);
        self.trace.kind.borrow_mut().get_or_insert(kind);
        error
    }
}

/// What can be a member's value.
pub(crate) trait Wire: Sized {
    /// Reads one value.
    fn decode<'de, D: Deserializer<'de>>(deserializer: D, rules: Rules<'_>) -> Result<Self, D::Error>;
}

/// Values that need no rules.
macro_rules! plain {
    ($($ty:ty),* $(,)?) => {
        $(impl $crate::message::structure::Wire for $ty {
            #[inline]
            fn decode<'de, D: serde::Deserializer<'de>>(
                deserializer: D,
                _: $crate::message::structure::Rules<'_>,
            ) -> Result<Self, D::Error> {
                serde::Deserialize::deserialize(deserializer)
            }
        })*
    };
}
pub(crate) use plain;

plain!(bool, u16, u32);

impl Wire for String {
    fn decode<'de, D: Deserializer<'de>>(deserializer: D, rules: Rules<'_>) -> Result<Self, D::Error> {
        let text: Self = serde::Deserialize::deserialize(deserializer)?;
        if text.len() > rules.options.limits.string {
            return Err(rules.fail(DecodeErrorKind::Limit(Limit::String)));
        }
        Ok(text)
    }
}

/// Reads a `T` by the rules.
pub(crate) struct Seed<'a, T> {
    rules: Rules<'a>,
    target: PhantomData<fn() -> T>,
}

impl<'a, T> Seed<'a, T> {
    pub(crate) fn new(rules: Rules<'a>) -> Self {
        Self { rules, target: PhantomData }
    }
}

impl<'de, T: Wire> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::decode(deserializer, self.rules)
    }
}

/// A member that may stand any number of times: an array, absent, or present and empty. The last two differ on the
/// wire only, and are kept apart so that a message is written back as it was read.
#[derive(Clone)]
pub struct List<T> {
    items: Vec<T>,
    written_empty: bool,
}

impl<T> List<T> {
    /// No array at all.
    pub const ABSENT: Self = Self { items: Vec::new(), written_empty: false };

    /// An array, written even when there is nothing in it.
    pub const fn present(items: Vec<T>) -> Self {
        Self { items, written_empty: true }
    }

    /// Adds one.
    pub fn push(&mut self, item: T) {
        self.items.push(item);
    }

    /// The elements by themselves.
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }

    /// Whether an array is written.
    pub(crate) fn is_written(&self) -> bool {
        self.written_empty || !self.items.is_empty()
    }
}

/// Equal when they are written alike.
impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items && self.is_written() == other.is_written()
    }
}

impl<T: Eq> Eq for List<T> {}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::ABSENT
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> std::ops::DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self { items, written_empty: false }
    }
}

impl<T, const N: usize> From<[T; N]> for List<T> {
    fn from(items: [T; N]) -> Self {
        Vec::from(items).into()
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.items).finish()
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(serializer)
    }
}

impl<T: Wire> Wire for List<T> {
    fn decode<'de, D: Deserializer<'de>>(deserializer: D, rules: Rules<'_>) -> Result<Self, D::Error> {
        let visitor = ListVisitor { rules, target: PhantomData };
        if rules.options.bare_for_array {
            return deserializer.deserialize_any(visitor);
        }
        deserializer.deserialize_seq(visitor)
    }
}

struct ListVisitor<'a, T> {
    rules: Rules<'a>,
    target: PhantomData<fn() -> T>,
}

impl<T: Wire> ListVisitor<'_, T> {
    /// What stands where an array is due, as the only element of one. OB-04 wrote `Credential` so.
    fn bare<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<List<T>, D::Error> {
        let item = T::decode(deserializer, self.rules).inspect_err(|_| self.rules.trace.left(Segment::Element(0)))?;
        Ok(List::from([item]))
    }
}

impl<'de, T: Wire> Visitor<'de> for ListVisitor<'_, T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<List<T>, A::Error> {
        // An announced length is not believed: memory follows what arrives. Elements are large, and a `match` moves
        // them less often than the adapters of `Result` do.
        let mut items = Vec::new();
        loop {
            match array.next_element_seed(Seed::<T>::new(self.rules)) {
                Ok(Some(item)) if items.len() < self.rules.options.limits.items => items.push(item),
                Ok(Some(_)) => return Err(self.rules.fail(DecodeErrorKind::Limit(Limit::Items))),
                Ok(None) => return Ok(List::present(items)),
                Err(error) => {
                    self.rules.trace.left(Segment::Element(items.len()));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<List<T>, A::Error> {
        if !self.rules.options.bare_for_array {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        }
        self.bare(de::value::MapAccessDeserializer::new(map))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<List<T>, E> {
        if !self.rules.options.bare_for_array {
            return Err(de::Error::invalid_type(de::Unexpected::Str(text), &self));
        }
        self.bare(de::value::StrDeserializer::new(text))
    }
}

/// An address, which serde has no one form for.
pub(crate) struct AddressText(pub(crate) IpAddr);

impl Serialize for AddressText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = ArrayText { octets: [0; 48], len: 0 };
        write!(text, "{}", self.0).map_err(|_| ser::Error::custom("an address is longer than an address"))?;
        serializer.serialize_str(text.as_str())
    }
}

/// Room for the longest address, 45 characters, without an allocation.
struct ArrayText {
    octets: [u8; 48],
    len: usize,
}

impl ArrayText {
    fn as_str(&self) -> &str {
        self.octets.get(..self.len).and_then(|octets| std::str::from_utf8(octets).ok()).unwrap_or_default()
    }
}

impl fmt::Write for ArrayText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.octets.get_mut(self.len..).and_then(|rest| rest.get_mut(..text.len())).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = self.len.saturating_add(text.len());
        Ok(())
    }
}

impl Wire for IpAddr {
    fn decode<'de, D: Deserializer<'de>>(deserializer: D, _: Rules<'_>) -> Result<Self, D::Error> {
        struct Address;

        impl Visitor<'_> for Address {
            type Value = IpAddr;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address as text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IpAddr, E> {
                text.parse().map_err(|_| E::custom("not an IPv4 or IPv6 address without zone, brackets and port"))
            }
        }

        deserializer.deserialize_str(Address)
    }
}

/// Members that this crate does not know, in the order in which they came, so that they are written back.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Extra(Option<Box<Members>>);

/// Behind a pointer, because there are none nearly always.
type Members = Vec<(Box<str>, jsonbcd::Value)>;

impl Extra {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members().len()
    }

    fn members(&self) -> &[(Box<str>, jsonbcd::Value)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &jsonbcd::Value)> {
        self.members().iter().map(|(name, value)| (&**name, value))
    }

    /// The value of the member `name`.
    pub fn get(&self, name: &str) -> Option<&jsonbcd::Value> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Adds a member, or changes its value. A name that the structure knows itself makes encoding fail.
    pub fn set(&mut self, name: &str, value: jsonbcd::Value) {
        let members = self.0.get_or_insert_default();
        match members.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value,
            None => members.push((name.into(), value)),
        }
    }

    pub(crate) fn read<'de, A: MapAccess<'de>>(
        &mut self,
        name: Box<str>,
        map: &mut A,
        rules: Rules<'_>,
    ) -> Result<(), A::Error> {
        if rules.options.deny_unknown {
            return Err(rules.fail(DecodeErrorKind::UnknownField(shorten(&name))));
        }
        if self.len() >= rules.options.limits.unknown_fields {
            return Err(rules.fail(DecodeErrorKind::Limit(Limit::UnknownFields)));
        }
        if self.get(&name).is_some() {
            return Err(rules.fail(DecodeErrorKind::DuplicateField(shorten(&name))));
        }
        let value = map.next_value()?;
        self.0.get_or_insert_default().push((name, value));
        Ok(())
    }

    pub(crate) fn write<M: SerializeMap>(&self, map: &mut M, known: &[&str]) -> Result<(), M::Error> {
        for (name, value) in self.members() {
            if known.contains(&&**name) {
                return Err(ser::Error::custom(format_args!("the extra member {name:?} is a member of the structure")));
            }
            map.serialize_entry(&**name, value)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A peer's word, for an error that is shown to people: not more of it than they want to see.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Defines a structure: its fields, their names on the wire in the order in which they are written, and how often each
/// may stand: `one` (required), `opt`, `list`; and `ip`, an optional address.
macro_rules! structure {
    (@type one $ty:ty) => { $ty };
    (@type opt $ty:ty) => { Option<$ty> };
    (@type ip $ty:ty) => { Option<$ty> };
    (@type list $ty:ty) => { List<$ty> };
    (@slot ip $ty:ty) => { $ty };
    (@slot one $ty:ty) => { $ty };
    (@slot opt $ty:ty) => { $ty };
    (@slot list $ty:ty) => { List<$ty> };
    (@finish one $slot:ident $wire:literal $rules:ident) => {
        match $slot {
            Some(value) => value,
            None => return Err($rules.fail(DecodeErrorKind::MissingField($wire))),
        }
    };
    (@finish opt $slot:ident $wire:literal $rules:ident) => { $slot };
    (@finish ip $slot:ident $wire:literal $rules:ident) => { $slot };
    (@finish list $slot:ident $wire:literal $rules:ident) => { $slot.unwrap_or_default() };
    (@count one $field:expr) => { 1 };
    (@count opt $field:expr) => { usize::from($field.is_some()) };
    (@count ip $field:expr) => { usize::from($field.is_some()) };
    (@count list $field:expr) => { usize::from($field.is_written()) };
    (@write one $field:expr, $wire:literal, $map:ident) => { $map.serialize_entry($wire, &$field)?; };
    (@write opt $field:expr, $wire:literal, $map:ident) => {
        if let Some(value) = &$field {
            $map.serialize_entry($wire, value)?;
        }
    };
    (@write ip $field:expr, $wire:literal, $map:ident) => {
        if let Some(value) = $field {
            $map.serialize_entry($wire, &$crate::message::structure::AddressText(value))?;
        }
    };
    (@write list $field:expr, $wire:literal, $map:ident) => {
        if $field.is_written() {
            $map.serialize_entry($wire, &$field)?;
        }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $kind:ident $ty:ty = $wire:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_meta])* pub $field: structure!(@type $kind $ty),)*
            /// Members that this crate does not know.
            pub extra: Extra,
        }

        impl $name {
            /// The names of the members on the wire, in the order in which they are written.
            const MEMBERS: &'static [&'static str] = &[$($wire),*];
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let members = 0usize $(+ structure!(@count $kind self.$field))*;
                let mut map = serializer.serialize_map(Some(members.saturating_add(self.extra.len())))?;
                $(structure!(@write $kind self.$field, $wire, map);)*
                self.extra.write(&mut map, Self::MEMBERS)?;
                map.end()
            }
        }

        impl $crate::message::structure::Wire for $name {
            fn decode<'de, D: serde::Deserializer<'de>>(
                deserializer: D,
                rules: $crate::message::structure::Rules<'_>,
            ) -> Result<Self, D::Error> {
                #[allow(unused_imports, reason = "a structure without members needs less")]
                use $crate::error::DecodeErrorKind;
                use $crate::message::structure::Rules;
                use serde::de::{self, DeserializeSeed, Visitor};

                #[allow(non_camel_case_types)]
                enum Key {
                    $($field,)*
                    Unknown(Box<str>),
                }

                struct KeySeed;

                impl Visitor<'_> for KeySeed {
                    type Value = Key;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a member's name")
                    }

                    #[inline]
                    fn visit_str<E: de::Error>(self, name: &str) -> Result<Key, E> {
                        Ok(match name {
                            $($wire => Key::$field,)*
                            unknown => Key::Unknown(unknown.into()),
                        })
                    }
                }

                impl<'de> DeserializeSeed<'de> for KeySeed {
                    type Value = Key;

                    #[inline]
                    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
                        deserializer.deserialize_identifier(self)
                    }
                }

                struct Body<'a>(Rules<'a>);

                impl<'de> Visitor<'de> for Body<'_> {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let Self(rules) = self;
                        $(let mut $field: Option<structure!(@slot $kind $ty)> = None;)*
                        let mut extra = Extra::default();
                        while let Some(key) = map.next_key_seed(KeySeed)? {
                            match key {
                                $(Key::$field => {
                                    if $field.is_some() {
                                        return Err(rules.fail(DecodeErrorKind::DuplicateField($wire.to_owned())));
                                    }
                                    let seed = $crate::message::structure::Seed::new(rules);
                                    match map.next_value_seed(seed) {
                                        Ok(value) => $field = Some(value),
                                        Err(error) => return Err(rules.trace.member($wire, error)),
                                    }
                                })*
                                Key::Unknown(name) => extra.read(name, &mut map, rules)?,
                            }
                        }
                        Ok($name { $($field: structure!(@finish $kind $field $wire rules),)* extra })
                    }
                }

                // With the names at hand the codec need not look whether what it compares with them is UTF-8.
                deserializer.deserialize_struct(stringify!($name), Self::MEMBERS, Body(rules))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            /// By the default limits; unknown members are kept.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $crate::message::structure::{Options, Rules, Trace, Wire};
                let (options, trace) = (Options::default(), Trace::default());
                <Self as Wire>::decode(deserializer, Rules { options: &options, trace: &trace })
            }
        }
    };
}
pub(crate) use structure;
