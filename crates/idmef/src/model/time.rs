//! How times are written: CreateTime, DetectTime and AnalyzerTime.

use crate::error::{EncodeError, InvalidMessage};
use crate::types::{DateTime, NtpStamp, Time, Value};
use crate::xml::{Cursor, Element, Fault, Writer};

impl Element for Time {
    fn decode(cursor: &mut Cursor<'_>, name: &'static str) -> Result<Self, Fault> {
        let at = cursor.fault(InvalidMessage::Missing(name));
        let mut stamp = None;
        for index in 0..cursor.attribute_count() {
            let raw = cursor.attribute(index);
            if raw.name == "ntpstamp" {
                stamp = Some(cursor.read::<NtpStamp>(raw, "ntpstamp")?);
            }
        }
        let text = cursor.content()?;
        let missing = |what| Fault { kind: InvalidMessage::Missing(what).into(), ..at.clone() };
        if cursor.is_strict() && stamp.is_none() {
            return Err(missing("ntpstamp"));
        }
        if text.is_empty() && !cursor.is_strict() {
            // Better a time told once than none.
            return stamp.and_then(Self::from_ntpstamp).ok_or(at);
        }
        let invalid = InvalidMessage::InvalidValue { name, expected: DateTime::TYPE };
        let datetime = DateTime::parse(text, cursor.is_strict()).ok_or_else(|| Fault { kind: invalid.into(), ..at })?;
        Ok(stamp.map_or_else(|| Self::new(datetime), |stamp| Self::from_parts(datetime, stamp)))
    }

    fn encode(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError> {
        writer.start(name)?;
        writer.attribute("ntpstamp", &self.ntpstamp());
        writer.text(&self.datetime().text());
        writer.end(name);
        Ok(())
    }
}
