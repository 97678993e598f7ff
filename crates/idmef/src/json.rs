//! The JSON form of messages: one object per message, a line of NDJSON.
//!
//! Names are those of the DTD: attributes and elements of a class are members of one object, in the DTD's order. An
//! element that may come once is a value, one that may come more often an array. What is absent, or has the value
//! that the DTD gives by default, is left out. Enumerations are their words, INTEGER and REAL are numbers, BYTE[] is
//! base64, an element's own text is the member `text`. The root is an object with the members `xml:lang`, `Alert` and
//! `Heartbeat`, the latter two arrays; the order of alerts among each other is kept, between the two kinds it is not.
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! let line = r#"{"Alert":[{"messageid":"42","Analyzer":{"analyzerid":"sensor-01"},
//!     "CreateTime":{"ntpstamp":"0xe8fe6f80.0x00000000","text":"2023-11-14T22:13:20Z"},
//!     "Source":[{"Node":{"Address":[{"category":"ipv4-addr","address":"192.0.2.50"}]},"Service":{"port":40001}}],
//!     "Classification":{"text":"phf remote command attempt","ident":"1:1000001"},
//!     "Assessment":{"Impact":{"severity":"high","text":"Web Application Attack"}},
//!     "AdditionalData":[{"meaning":"flow_id","integer":4298091302500}]}]}"#;
//! let message: idmef::Message = serde_json::from_str(line)?;
//! assert_eq!(message.alerts().next().unwrap().classification.ident, "1:1000001");
//! assert_eq!(serde_json::to_string(&message)?, line.replace("\n    ", ""));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading, members that are not known are passed over, members given twice are refused, and so are classes that lack
//! what they must have. Depth is bounded by `serde_json`; bound the size of a line before you parse it.

use crate::model::{Alert, Heartbeat, Item, Message};
use crate::types::{DateTime, NtpStamp, Time};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Takes the value of a member that may come once.
pub(crate) fn take<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    held: &mut Option<T>,
    map: &mut A,
    name: &'static str,
) -> Result<(), A::Error> {
    if held.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *held = Some(map.next_value()?);
    Ok(())
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let alerts: Vec<&Alert> = self.alerts().collect();
        let heartbeats: Vec<&Heartbeat> = self.heartbeats().collect();
        let mut map = serializer.serialize_map(None)?;
        if let Some(lang) = &self.lang {
            map.serialize_entry("xml:lang", lang)?;
        }
        if !alerts.is_empty() {
            map.serialize_entry("Alert", &alerts)?;
        }
        if !heartbeats.is_empty() {
            map.serialize_entry("Heartbeat", &heartbeats)?;
        }
        map.end()
    }
}

#[derive(serde::Deserialize)]
struct Root {
    #[serde(rename = "xml:lang")]
    lang: Option<String>,
    #[serde(rename = "Alert", default)]
    alerts: Vec<Alert>,
    #[serde(rename = "Heartbeat", default)]
    heartbeats: Vec<Heartbeat>,
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Root { lang, alerts, heartbeats } = Root::deserialize(deserializer)?;
        let alerts = alerts.into_iter().map(|alert| Item::Alert(Box::new(alert)));
        let heartbeats = heartbeats.into_iter().map(|heartbeat| Item::Heartbeat(Box::new(heartbeat)));
        Ok(Self { lang, items: alerts.chain(heartbeats).collect() })
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct BothTimes {
    #[serde(default)]
    ntpstamp: Option<NtpStamp>,
    text: DateTime,
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BothTimes { ntpstamp: Some(self.ntpstamp()), text: *self.datetime() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let BothTimes { ntpstamp, text } = BothTimes::deserialize(deserializer)?;
        Ok(ntpstamp.map_or_else(|| Self::new(text), |stamp| Self::from_parts(text, stamp)))
    }
}
