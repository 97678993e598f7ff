//! How much each sensor sends.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::store::AlertRecord;

/// Slots of the rates.
const SLOTS: usize = 60;
/// Seconds of a slot.
const SLOT: i64 = 5;

/// What is known of each sensor, of at most so many.
#[derive(Debug)]
pub(super) struct Sensors {
    most: usize,
    all: BTreeMap<String, Counted>,
}

#[derive(Debug, Clone)]
struct Counted {
    alerts: u64,
    last: i64,
    slots: [u32; SLOTS],
    /// The number of the newest slot.
    slot: i64,
}

/// What is shown of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct SensorStats {
    /// Alerts since the console is served.
    pub(super) alerts: u64,
    /// The last one, in microseconds since 1970.
    pub(super) last: i64,
    /// Alerts of the last minute.
    pub(super) minute: u32,
    /// Alerts of the last five minutes.
    pub(super) five_minutes: u32,
}

impl Sensors {
    pub(super) fn new(most: usize) -> Self {
        Self { most, all: BTreeMap::new() }
    }

    /// Counts an alert. Sensors beyond the limit are not counted.
    pub(super) fn count(&mut self, record: &AlertRecord) {
        if !self.all.contains_key(&record.peer) {
            if self.all.len() >= self.most {
                return;
            }
            let counted = Counted { alerts: 0, last: 0, slots: [0; SLOTS], slot: 0 };
            self.all.insert(record.peer.clone(), counted);
        }
        if let Some(counted) = self.all.get_mut(&record.peer) {
            counted.alerts += 1;
            counted.last = counted.last.max(record.received);
            counted.advance(record.received);
            if let Some(slot) = counted.slots.last_mut() {
                *slot = slot.saturating_add(1);
            }
        }
    }

    /// All of them, at this moment (microseconds since 1970).
    pub(super) fn all(&self, now: i64) -> Vec<(String, SensorStats)> {
        let stats = |counted: &Counted| {
            let mut counted = counted.clone();
            counted.advance(now);
            let sum =
                |slots: usize| counted.slots.iter().rev().take(slots).fold(0_u32, |sum, n| sum.saturating_add(*n));
            SensorStats { alerts: counted.alerts, last: counted.last, minute: sum(12), five_minutes: sum(SLOTS) }
        };
        self.all.iter().map(|(name, counted)| (name.clone(), stats(counted))).collect()
    }
}

impl Counted {
    /// Makes the newest slot that of a moment; a clock that goes back changes nothing.
    fn advance(&mut self, micros: i64) {
        let slot = micros / 1_000_000 / SLOT;
        let steps = usize::try_from(slot.saturating_sub(self.slot)).unwrap_or(0).min(SLOTS);
        if steps > 0 {
            self.slots.rotate_left(steps);
            self.slots.iter_mut().rev().take(steps).for_each(|slot| *slot = 0);
            self.slot = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_time_and_numbers_are_bounded() {
        let mut sensors = Sensors::new(2);
        let at = |peer: &str, second: i64| {
            AlertRecord::new(second * 1_000_000, peer, "x/y", bytes::Bytes::from_static(b"a"), None)
        };
        for second in 1000..1300 {
            sensors.count(&at("a", second));
        }
        sensors.count(&at("b", 1299));
        sensors.count(&at("c", 1299));
        let all = sensors.all(1_299_000_000);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].1, SensorStats { alerts: 300, last: 1_299_000_000, minute: 60, five_minutes: 300 });
        let later = sensors.all(1_299_000_000 + 120_000_000);
        assert_eq!((later[0].1.minute, later[0].1.five_minutes), (0, 180));
        assert_eq!(sensors.all(i64::MAX)[0].1.five_minutes, 0);
        assert_eq!(sensors.all(0)[0].1.alerts, 300, "a clock that went back");
    }
}
