//! One table per class drives the reader, the writer and JSON.

use super::cursor::{Cursor, Fault};
use super::writer::Writer;
use crate::error::{EncodeError, InvalidMessage};
use crate::types::Value;
use std::borrow::Cow;

/// Something that is one XML element.
pub(crate) trait Element: Sized {
    /// Reads the element that the cursor has just opened, up to its end; `name` is what the class calls it.
    fn decode(cursor: &mut Cursor<'_>, name: &'static str) -> Result<Self, Fault>;

    /// Writes it under `name`.
    fn encode(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError>;

    /// What stands for a required one that is absent, when reading leniently.
    fn missing() -> Option<Self> {
        None
    }
}

impl<T: Value> Element for T {
    fn decode(cursor: &mut Cursor<'_>, name: &'static str) -> Result<Self, Fault> {
        cursor.value(name)
    }

    fn encode(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError> {
        writer.leaf(name, self)
    }

    fn missing() -> Option<Self> {
        Value::missing()
    }
}

// Not for all boxes: another crate's box could be a `Value`.
macro_rules! boxed {
    ($($class:ident)*) => {
        $(impl Element for Box<crate::model::$class> {
            fn decode(cursor: &mut Cursor<'_>, name: &'static str) -> Result<Self, Fault> {
                crate::model::$class::decode(cursor, name).map(Self::new)
            }

            fn encode(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError> {
                (**self).encode(writer, name)
            }
        })*
    };
}
boxed!(Alert Analyzer File Heartbeat);

/// Something that is the value of an attribute, or its absence.
pub(crate) trait Attribute: Sized {
    const TYPE: &'static str;
    fn read(text: Cow<'_, str>, strict: bool) -> Option<Self>;
    /// What to write; `None` when the attribute is left out.
    fn written(&self) -> Option<Cow<'_, str>>;
    fn missing() -> Option<Self>;
}

impl<T: Value> Attribute for T {
    const TYPE: &'static str = <T as Value>::TYPE;

    fn read(text: Cow<'_, str>, strict: bool) -> Option<Self> {
        T::parse(text, strict)
    }

    fn written(&self) -> Option<Cow<'_, str>> {
        (!self.is_default()).then(|| self.text())
    }

    fn missing() -> Option<Self> {
        Value::missing()
    }
}

impl<T: Value> Attribute for Option<T> {
    const TYPE: &'static str = <T as Value>::TYPE;

    fn read(text: Cow<'_, str>, strict: bool) -> Option<Self> {
        T::parse(text, strict).map(Some)
    }

    fn written(&self) -> Option<Cow<'_, str>> {
        self.as_ref().map(Value::text)
    }

    fn missing() -> Option<Self> {
        Some(None)
    }
}

/// A member of a class that is made of elements: exactly one, at most one, or any number.
pub(crate) trait Slot: Sized {
    /// Reads one more.
    fn add(held: &mut Option<Self>, cursor: &mut Cursor<'_>, name: &'static str) -> Result<(), Fault>;

    /// The member, when the class ends; `None` when what must be there is not.
    fn finish(held: Option<Self>, strict: bool) -> Option<Self>;

    /// Writes what there is.
    fn write(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError>;

    /// Whether there is nothing to write.
    #[cfg_attr(not(feature = "serde"), expect(dead_code, reason = "JSON leaves out what is absent"))]
    fn is_absent(&self) -> bool;
}

/// The error of an element that comes twice but may come once.
pub(crate) fn duplicate(cursor: &Cursor<'_>, name: &'static str) -> Fault {
    cursor.fault(InvalidMessage::Duplicate(name))
}

impl<T: Element> Slot for T {
    fn add(held: &mut Option<Self>, cursor: &mut Cursor<'_>, name: &'static str) -> Result<(), Fault> {
        if held.is_some() {
            return Err(duplicate(cursor, name));
        }
        *held = Some(T::decode(cursor, name)?);
        Ok(())
    }

    fn finish(held: Option<Self>, strict: bool) -> Option<Self> {
        held.or_else(|| if strict { None } else { T::missing() })
    }

    fn write(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError> {
        Element::encode(self, writer, name)
    }

    fn is_absent(&self) -> bool {
        false
    }
}

impl<T: Element> Slot for Option<T> {
    fn add(held: &mut Option<Self>, cursor: &mut Cursor<'_>, name: &'static str) -> Result<(), Fault> {
        if held.is_some() {
            return Err(duplicate(cursor, name));
        }
        *held = Some(Some(T::decode(cursor, name)?));
        Ok(())
    }

    fn finish(held: Option<Self>, _strict: bool) -> Option<Self> {
        Some(held.flatten())
    }

    fn write(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError> {
        self.as_ref().map_or(Ok(()), |element| element.encode(writer, name))
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Element> Slot for Vec<T> {
    fn add(held: &mut Option<Self>, cursor: &mut Cursor<'_>, name: &'static str) -> Result<(), Fault> {
        let element = T::decode(cursor, name)?;
        held.get_or_insert_default().push(element);
        Ok(())
    }

    fn finish(held: Option<Self>, _strict: bool) -> Option<Self> {
        Some(held.unwrap_or_default())
    }

    fn write(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError> {
        self.iter().try_for_each(|element| element.encode(writer, name))
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// Refuses, when strict, an element that stands behind one that it must precede, or that is `written` other than `name`.
pub(crate) fn in_order(
    cursor: &Cursor<'_>,
    reached: &mut usize,
    order: &[&[&'static str]],
    name: &'static str,
    written: &str,
) -> Result<(), Fault> {
    if cursor.is_strict() {
        if written != name {
            return Err(cursor.fault(InvalidMessage::Unexpected));
        }
        let place = order.iter().position(|names| names.contains(&name)).unwrap_or(0);
        // Service and UserId may say the number first; the name then follows it.
        let swapped = name == "name" && order.get(*reached).is_some_and(|last| matches!(last, ["port" | "number"]));
        if place < *reached && !swapped {
            return Err(cursor.fault(InvalidMessage::OutOfOrder(name)));
        }
        *reached = place.max(*reached);
    }
    Ok(())
}

/// The value of a required attribute, or what stands for it.
pub(crate) fn required<T: Attribute>(cursor: &Cursor<'_>, held: Option<T>, name: &'static str) -> Result<T, Fault> {
    let held = held.or_else(|| if cursor.is_strict() { None } else { T::missing() });
    held.ok_or_else(|| cursor.fault(InvalidMessage::Missing(name)))
}

/// The value of a member, or what stands for it.
pub(crate) fn finish<T: Slot>(cursor: &Cursor<'_>, held: Option<T>, name: &'static str) -> Result<T, Fault> {
    T::finish(held, cursor.is_strict()).ok_or_else(|| cursor.fault(InvalidMessage::Missing(name)))
}

/// Implements [`Element`], and JSON, for a class from the table of its members in the order of the DTD.
///
/// `required` and `attributes` list attributes (the latter have a default); `elements` lists children, `choice` an
/// enum of which one may follow them, `then` children behind that; `text` instead names the field that is the
/// element's own text. `or Default` lets a lenient reader make up the class where it is required and absent. `rules`
/// is a function that says what in a value breaks the class's content model.
macro_rules! class {
    (
        $class:ident $(or $default:ident)? $(, rules $rules:path)? {
            $(required { $($rname:literal => $rfield:ident),* $(,)? })?
            $(attributes { $($aname:literal => $afield:ident),* $(,)? })?
            $(elements { $($ename:literal $(| $ealias:literal)* => $efield:ident),* $(,)? })?
            $(choice $cfield:ident: $cenum:ident { $($cname:literal => $cvariant:ident),* $(,)? })?
            $(then { $($tname:literal => $tfield:ident),* $(,)? })?
            $(text $xfield:ident)?
        }
    ) => {
        impl crate::xml::Element for $class {
            #[allow(dead_code, unused_mut, unused_variables, unused_assignments)]
            fn decode(
                cursor: &mut crate::xml::Cursor<'_>,
                name: &'static str,
            ) -> Result<Self, crate::xml::Fault> {
                const ORDER: &[&[&str]] = &[
                    $($(&[$ename $(, $ealias)*],)*)?
                    $(&[$($cname),*],)?
                    $($(&[$tname],)*)?
                ];
                let outer = cursor.enter(stringify!($class));
                $($(let mut $rfield = None;)*)?
                $($(let mut $afield = None;)*)?
                for index in 0..cursor.attribute_count() {
                    let raw = cursor.attribute(index);
                    match raw.name {
                        $($($rname => $rfield = Some(cursor.read(raw, $rname)?),)*)?
                        $($($aname => $afield = Some(cursor.read(raw, $aname)?),)*)?
                        _ => {}
                    }
                }
                $($(let mut $efield = None;)*)?
                $(let mut $cfield = None;)?
                $($(let mut $tfield = None;)*)?
                class!(@content cursor [$($xfield)?] {
                    let mut reached = 0;
                    while let Some(child) = cursor.child()? {
                        match child {
                            $($($ename $(| $ealias)* => {
                                crate::xml::in_order(cursor, &mut reached, ORDER, $ename, child)?;
                                crate::xml::Slot::add(&mut $efield, cursor, $ename)?;
                            })*)?
                            $($($cname => {
                                crate::xml::in_order(cursor, &mut reached, ORDER, $cname, child)?;
                                if $cfield.is_some() {
                                    return Err(crate::xml::duplicate(cursor, $cname));
                                }
                                $cfield = Some($cenum::$cvariant(crate::xml::Element::decode(cursor, $cname)?));
                            })*)?
                            $($($tname => {
                                crate::xml::in_order(cursor, &mut reached, ORDER, $tname, child)?;
                                crate::xml::Slot::add(&mut $tfield, cursor, $tname)?;
                            })*)?
                            _ => cursor.unknown()?,
                        }
                    }
                });
                let it = Self {
                    $($($rfield: crate::xml::required(cursor, $rfield, $rname)?,)*)?
                    $($($afield: $afield.unwrap_or_default(),)*)?
                    $($($efield: crate::xml::finish(cursor, $efield, $ename)?,)*)?
                    $($cfield,)?
                    $($($tfield: crate::xml::finish(cursor, $tfield, $tname)?,)*)?
                    $($xfield,)?
                };
                $(if cursor.is_strict() {
                    $rules(&it).map_err(|rule| cursor.fault(crate::error::InvalidMessage::Model(rule)))?;
                })?
                cursor.leave(outer);
                Ok(it)
            }

            fn encode(
                &self,
                writer: &mut crate::xml::Writer<'_>,
                name: &'static str,
            ) -> Result<(), crate::error::EncodeError> {
                $($rules(self).map_err(|problem| crate::error::EncodeError { element: stringify!($class), problem })?;)?
                writer.start(name)?;
                $($(writer.attribute($rname, &self.$rfield);)*)?
                $($(writer.attribute($aname, &self.$afield);)*)?
                $($(crate::xml::Slot::write(&self.$efield, writer, $ename)?;)*)?
                $(match &self.$cfield {
                    $(Some($cenum::$cvariant(it)) => crate::xml::Element::encode(it, writer, $cname)?,)*
                    None => {}
                })?
                $($(crate::xml::Slot::write(&self.$tfield, writer, $tname)?;)*)?
                $(crate::xml::write_text(writer, &self.$xfield);)?
                writer.end(name);
                Ok(())
            }

            $(fn missing() -> Option<Self> {
                Some(<Self as $default>::default())
            })?
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $class {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $($(map.serialize_entry($rname, &self.$rfield)?;)*)?
                $($(if crate::xml::Attribute::written(&self.$afield).is_some() {
                    map.serialize_entry($aname, &self.$afield)?;
                })*)?
                $($(if !crate::xml::Slot::is_absent(&self.$efield) {
                    map.serialize_entry($ename, &self.$efield)?;
                })*)?
                $(match &self.$cfield {
                    $(Some($cenum::$cvariant(it)) => map.serialize_entry($cname, it)?,)*
                    None => {}
                })?
                $($(if !crate::xml::Slot::is_absent(&self.$tfield) {
                    map.serialize_entry($tname, &self.$tfield)?;
                })*)?
                $(if crate::xml::Attribute::written(&self.$xfield).is_some_and(|text| !text.is_empty()) {
                    map.serialize_entry("text", &self.$xfield)?;
                })?
                map.end()
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $class {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $class;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an object of the class ", stringify!($class)))
                    }

                    #[allow(unused_mut)]
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$class, A::Error> {
                        $($(let mut $rfield = None;)*)?
                        $($(let mut $afield = None;)*)?
                        $($(let mut $efield = None;)*)?
                        $(let mut $cfield = None;)?
                        $($(let mut $tfield = None;)*)?
                        $(let mut $xfield = None;)?
                        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                            match &*key {
                                $($($rname => crate::json::take(&mut $rfield, &mut map, $rname)?,)*)?
                                $($($aname => crate::json::take(&mut $afield, &mut map, $aname)?,)*)?
                                $($($ename => crate::json::take(&mut $efield, &mut map, $ename)?,)*)?
                                $($($cname => {
                                    if $cfield.is_some() {
                                        return Err(serde::de::Error::duplicate_field($cname));
                                    }
                                    $cfield = Some($cenum::$cvariant(map.next_value()?));
                                })*)?
                                $($($tname => crate::json::take(&mut $tfield, &mut map, $tname)?,)*)?
                                $("text" => crate::json::take(&mut $xfield, &mut map, "text")?,)?
                                _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
                            }
                        }
                        Ok($class {
                            $($($rfield: $rfield.ok_or_else(|| <A::Error as serde::de::Error>::missing_field($rname))?,)*)?
                            $($($afield: $afield.unwrap_or_default(),)*)?
                            $($($efield: crate::xml::Slot::finish($efield, true)
                                .ok_or_else(|| <A::Error as serde::de::Error>::missing_field($ename))?,)*)?
                            $($cfield,)?
                            $($($tfield: crate::xml::Slot::finish($tfield, true)
                                .ok_or_else(|| <A::Error as serde::de::Error>::missing_field($tname))?,)*)?
                            $($xfield: $xfield.unwrap_or_default(),)?
                        })
                    }
                }

                deserializer.deserialize_map(Visitor)
            }
        }
    };
    (@content $cursor:ident [] $children:block) => { $children };
    (@content $cursor:ident [$field:ident] $children:block) => {
        let $field = crate::xml::read_text($cursor)?;
    };
}
pub(crate) use class;

/// The element's own text as a member; empty text is its absence.
pub(crate) fn read_text<T: Attribute>(cursor: &mut Cursor<'_>) -> Result<T, Fault> {
    let at = cursor.fault(InvalidMessage::Missing("text"));
    let text = cursor.content()?;
    if let Some(absent) = T::missing().filter(|_| text.is_empty()) {
        return Ok(absent);
    }
    let invalid = InvalidMessage::InvalidValue { name: "text", expected: T::TYPE };
    T::read(text, cursor.is_strict()).ok_or_else(|| Fault { kind: invalid.into(), ..at })
}

/// Writes a member that is the element's own text.
pub(crate) fn write_text(writer: &mut Writer<'_>, text: &impl Attribute) {
    if let Some(text) = text.written() {
        writer.text(&text);
    }
}
