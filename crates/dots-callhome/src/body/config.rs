//! Session configuration. RFC 9132 section 4.5.

use core::fmt;
use core::str::FromStr;

use super::encode::Writer;
use super::key;
use super::reader::{Extra, Reader, Result};

/// A number with two digits behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(u64);

impl Decimal {
    /// So many hundredths; at most 2^63 - 1.
    pub const fn from_hundredths(hundredths: u64) -> Self {
        Self(if hundredths > i64::MAX as u64 { i64::MAX as u64 } else { hundredths })
    }

    /// How many hundredths it is.
    pub const fn hundredths(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A text that is no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most two digits behind the point")]
#[non_exhaustive]
pub struct InvalidDecimal;

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> core::result::Result<Self, InvalidDecimal> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 {
            return Err(InvalidDecimal);
        }
        let scale = if fraction.len() == 1 { 10 } else { 1 };
        let fraction = fraction.parse::<u64>().map_err(|_| InvalidDecimal)?.saturating_mul(scale);
        let whole = whole.parse::<u64>().map_err(|_| InvalidDecimal)?;
        let value = whole.checked_mul(100).and_then(|whole| whole.checked_add(fraction)).ok_or(InvalidDecimal)?;
        i64::try_from(value).map_err(|_| InvalidDecimal)?;
        Ok(Self(value))
    }
}

/// A setting: what it is, and between what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs, reason = "three members in the YANG module")]
pub struct Offered<T> {
    /// The largest value; said by servers.
    pub max: Option<T>,
    /// The smallest value; said by servers.
    pub min: Option<T>,
    /// The value.
    pub current: Option<T>,
}

impl<T: Copy + PartialOrd> Offered<T> {
    /// A setting of which only the value is said.
    pub const fn current(value: T) -> Self {
        Self { max: None, min: None, current: Some(value) }
    }

    /// Whether `value` may be chosen. Bounds that are not said do not bind.
    pub fn allows(&self, value: T) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// The settings for one situation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConfigSet {
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat_interval: Option<Offered<u16>>,
    /// Unanswered heartbeats before the session counts as lost.
    pub missing_hb_allowed: Option<Offered<u16>>,
    /// Repetitions of a confirmable message.
    pub max_retransmit: Option<Offered<u16>>,
    /// Seconds to the first of them.
    pub ack_timeout: Option<Offered<Decimal>>,
    /// Up to how much longer by chance.
    pub ack_random_factor: Option<Offered<Decimal>>,
    /// Octets per second to a peer that does not answer.
    pub probing_rate: Option<Offered<u16>>,
    /// What is not interpreted here, the robust-block settings of RFC 9362 among them.
    pub extra: Vec<Extra>,
}

/// Both sets of settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SignalConfig {
    /// While a mitigation is active.
    pub mitigating: Option<ConfigSet>,
    /// While none is.
    pub idle: Option<ConfigSet>,
    /// What is not interpreted here.
    pub extra: Vec<Extra>,
}

impl SignalConfig {
    /// Both sets.
    pub const fn new(mitigating: Option<ConfigSet>, idle: Option<ConfigSet>) -> Self {
        Self { mitigating, idle, extra: Vec::new() }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut config = Self::default();
        let (mut mitigating, mut idle) = (None, None);
        reader.map(&mut config.extra, |reader, key| {
            match key {
                key::MITIGATING_CONFIG => mitigating = Some(ConfigSet::read(reader)?),
                key::IDLE_CONFIG => idle = Some(ConfigSet::read(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        (config.mitigating, config.idle) = (mitigating, idle);
        Ok(config)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.map(|writer| {
            for (key, set) in [(key::MITIGATING_CONFIG, &self.mitigating), (key::IDLE_CONFIG, &self.idle)] {
                if let Some(set) = set {
                    writer.key(key);
                    set.write(writer);
                }
            }
            writer.extras(&self.extra, 0, u32::MAX);
        });
    }
}

impl ConfigSet {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut extra = Vec::new();
        let mut set = Self::default();
        reader.map(&mut extra, |reader, key| {
            match key {
                key::HEARTBEAT_INTERVAL => set.heartbeat_interval = Some(whole(reader)?),
                key::MISSING_HB_ALLOWED => set.missing_hb_allowed = Some(whole(reader)?),
                key::MAX_RETRANSMIT => set.max_retransmit = Some(whole(reader)?),
                key::ACK_TIMEOUT => set.ack_timeout = Some(decimal(reader)?),
                key::ACK_RANDOM_FACTOR => set.ack_random_factor = Some(decimal(reader)?),
                key::PROBING_RATE => set.probing_rate = Some(whole(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        set.extra = extra;
        Ok(set)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.map(|writer| {
            write_whole(writer, key::HEARTBEAT_INTERVAL, self.heartbeat_interval);
            write_whole(writer, key::MISSING_HB_ALLOWED, self.missing_hb_allowed);
            write_whole(writer, key::MAX_RETRANSMIT, self.max_retransmit);
            write_decimal(writer, key::ACK_TIMEOUT, self.ack_timeout);
            write_decimal(writer, key::ACK_RANDOM_FACTOR, self.ack_random_factor);
            write_whole(writer, key::PROBING_RATE, self.probing_rate);
            writer.extras(&self.extra, 0, u32::MAX);
        });
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn whole(reader: &mut Reader<'_>) -> Result<Offered<u16>> {
    let mut offered = Offered::default();
    reader.map(&mut Vec::new(), |reader, key| {
        let value = match key {
            key::MAX_VALUE => &mut offered.max,
            key::MIN_VALUE => &mut offered.min,
            key::CURRENT_VALUE => &mut offered.current,
            _ => return Ok(false),
        };
        *value = Some(reader.u16(key)?);
        Ok(true)
    })?;
    Ok(offered)
}

fn decimal(reader: &mut Reader<'_>) -> Result<Offered<Decimal>> {
    let mut offered = Offered::default();
    reader.map(&mut Vec::new(), |reader, key| {
        let value = match key {
            key::MAX_VALUE_DECIMAL => &mut offered.max,
            key::MIN_VALUE_DECIMAL => &mut offered.min,
            key::CURRENT_VALUE_DECIMAL => &mut offered.current,
            _ => return Ok(false),
        };
        *value = Some(Decimal::from_hundredths(reader.hundredths(key)?));
        Ok(true)
    })?;
    Ok(offered)
}

fn write_offered<T: Copy>(
    writer: &mut Writer<'_>,
    key: u32,
    offered: Option<Offered<T>>,
    keys: [u32; 3],
    write: impl Fn(&mut Writer<'_>, u32, T),
) {
    let Some(offered) = offered else { return };
    writer.key(key);
    writer.map(|writer| {
        for (key, value) in keys.into_iter().zip([offered.max, offered.min, offered.current]) {
            if let Some(value) = value {
                write(writer, key, value);
            }
        }
    });
}

fn write_whole(writer: &mut Writer<'_>, key: u32, offered: Option<Offered<u16>>) {
    let keys = [key::MAX_VALUE, key::MIN_VALUE, key::CURRENT_VALUE];
    write_offered(writer, key, offered, keys, |writer, key, value| writer.uint(key, u64::from(value)));
}

fn write_decimal(writer: &mut Writer<'_>, key: u32, offered: Option<Offered<Decimal>>) {
    let keys = [key::MAX_VALUE_DECIMAL, key::MIN_VALUE_DECIMAL, key::CURRENT_VALUE_DECIMAL];
    write_offered(writer, key, offered, keys, |writer, key, value| {
        writer.key(key);
        writer.hundredths(value.hundredths());
    });
}
