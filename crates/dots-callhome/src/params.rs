//! What a session is kept by: heartbeats and repetitions. RFC 9132 section 4.5.

use watchfire_core::{ConfigError, Duration};

use crate::body::{ConfigSet, Decimal, Offered, SignalConfig};

/// The settings in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionParams {
    /// Seconds between heartbeats; 0 for none. Default 30.
    pub heartbeat_interval: u16,
    /// How many of them may be missing. Default 15.
    pub missing_hb_allowed: u16,
    /// Repetitions of a confirmable message. Default 3.
    pub max_retransmit: u16,
    /// Seconds to the first of them. Default 2.00.
    pub ack_timeout: Decimal,
    /// Up to how much longer by chance. Default 1.50.
    pub ack_random_factor: Decimal,
    /// Octets per second to a peer that does not answer. Default 5.
    pub probing_rate: u16,
}

impl Default for SessionParams {
    fn default() -> Self {
        Self {
            heartbeat_interval: 30,
            missing_hb_allowed: 15,
            max_retransmit: 3,
            ack_timeout: Decimal::from_hundredths(200),
            ack_random_factor: Decimal::from_hundredths(150),
            probing_rate: 5,
        }
    }
}

impl SessionParams {
    /// Time between heartbeats; `None` when there are none.
    pub fn interval(&self) -> Option<Duration> {
        (self.heartbeat_interval > 0).then(|| Duration::from_secs(u64::from(self.heartbeat_interval)))
    }

    /// How long nothing at all may be heard.
    pub fn silence(&self) -> Option<Duration> {
        self.interval().map(|interval| interval.saturating_mul(u32::from(self.missing_hb_allowed)))
    }

    /// The settings with what `set` says in place of them.
    #[must_use]
    pub fn with(mut self, set: &ConfigSet) -> Self {
        let whole = |place: &mut u16, offered: Option<Offered<u16>>| {
            *place = offered.and_then(|offered| offered.current).unwrap_or(*place);
        };
        let decimal = |place: &mut Decimal, offered: Option<Offered<Decimal>>| {
            *place = offered.and_then(|offered| offered.current).unwrap_or(*place);
        };
        whole(&mut self.heartbeat_interval, set.heartbeat_interval);
        whole(&mut self.missing_hb_allowed, set.missing_hb_allowed);
        whole(&mut self.max_retransmit, set.max_retransmit);
        decimal(&mut self.ack_timeout, set.ack_timeout);
        decimal(&mut self.ack_random_factor, set.ack_random_factor);
        whole(&mut self.probing_rate, set.probing_rate);
        self
    }

    /// As a set of current values.
    pub fn to_set(self) -> ConfigSet {
        ConfigSet {
            heartbeat_interval: Some(Offered::current(self.heartbeat_interval)),
            missing_hb_allowed: Some(Offered::current(self.missing_hb_allowed)),
            max_retransmit: Some(Offered::current(self.max_retransmit)),
            ack_timeout: Some(Offered::current(self.ack_timeout)),
            ack_random_factor: Some(Offered::current(self.ack_random_factor)),
            probing_rate: Some(Offered::current(self.probing_rate)),
            ..ConfigSet::default()
        }
    }
}

/// What a server lets its clients choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ranges {
    /// Default 15 to 240, lowered to what NAT bindings need (RFC 9066 section 5.2.1); 0 is allowed besides.
    pub heartbeat_interval: (u16, u16),
    /// Default 3 to 20.
    pub missing_hb_allowed: (u16, u16),
    /// Default 2 to 15.
    pub max_retransmit: (u16, u16),
    /// Default 1.00 to 30.00.
    pub ack_timeout: (Decimal, Decimal),
    /// Default 1.10 to 4.00.
    pub ack_random_factor: (Decimal, Decimal),
    /// Default 5 to 20.
    pub probing_rate: (u16, u16),
}

impl Default for Ranges {
    fn default() -> Self {
        let decimals = |a, b| (Decimal::from_hundredths(a), Decimal::from_hundredths(b));
        Self {
            heartbeat_interval: (15, 240),
            missing_hb_allowed: (3, 20),
            max_retransmit: (2, 15),
            ack_timeout: decimals(100, 3000),
            ack_random_factor: decimals(110, 400),
            probing_rate: (5, 20),
        }
    }
}

impl Ranges {
    /// The same, with heartbeats at least as often as a binding of a NAT or firewall on the path needs.
    #[must_use]
    pub fn for_binding(mut self, binding: Duration) -> Self {
        let half = u16::try_from(binding.as_secs() / 2).unwrap_or(u16::MAX).max(1);
        let (min, max) = self.heartbeat_interval;
        self.heartbeat_interval = (min.min(half), max.min(half));
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        fn fits<T: PartialOrd>(range: &(T, T), field: &'static str) -> Result<(), ConfigError> {
            ConfigError::unless(range.0 <= range.1, field, "must not end below its begin")
        }
        fits(&self.heartbeat_interval, "heartbeat_interval")?;
        fits(&self.missing_hb_allowed, "missing_hb_allowed")?;
        fits(&self.max_retransmit, "max_retransmit")?;
        fits(&self.ack_timeout, "ack_timeout")?;
        fits(&self.ack_random_factor, "ack_random_factor")?;
        fits(&self.probing_rate, "probing_rate")
    }

    /// `current` with these ranges around it.
    pub fn offer(&self, current: &SessionParams) -> ConfigSet {
        fn around<T>((min, max): (T, T), current: T) -> Option<Offered<T>> {
            Some(Offered { max: Some(max), min: Some(min), current: Some(current) })
        }
        ConfigSet {
            heartbeat_interval: around(self.heartbeat_interval, current.heartbeat_interval),
            missing_hb_allowed: around(self.missing_hb_allowed, current.missing_hb_allowed),
            max_retransmit: around(self.max_retransmit, current.max_retransmit),
            ack_timeout: around(self.ack_timeout, current.ack_timeout),
            ack_random_factor: around(self.ack_random_factor, current.ack_random_factor),
            probing_rate: around(self.probing_rate, current.probing_rate),
            ..ConfigSet::default()
        }
    }

    /// The first member of `set` that is out of its range: answered 4.22.
    pub fn violation(&self, set: &ConfigSet) -> Option<&'static str> {
        fn out<T: PartialOrd + Copy>((min, max): (T, T), offered: Option<Offered<T>>) -> bool {
            offered.and_then(|offered| offered.current).is_some_and(|value| value < min || value > max)
        }
        let off = set.heartbeat_interval.is_some_and(|offered| offered.current == Some(0));
        let members = [
            ("heartbeat-interval", !off && out(self.heartbeat_interval, set.heartbeat_interval)),
            ("missing-hb-allowed", out(self.missing_hb_allowed, set.missing_hb_allowed)),
            ("max-retransmit", out(self.max_retransmit, set.max_retransmit)),
            ("ack-timeout", out(self.ack_timeout, set.ack_timeout)),
            ("ack-random-factor", out(self.ack_random_factor, set.ack_random_factor)),
            ("probing-rate", out(self.probing_rate, set.probing_rate)),
        ];
        members.into_iter().find(|(_, out)| *out).map(|(name, _)| name)
    }
}

/// Both sets: while a mitigation is active, and while none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionConfig {
    /// While a mitigation is active.
    pub mitigating: SessionParams,
    /// While none is.
    pub idle: SessionParams,
}

impl SessionConfig {
    /// The settings in force.
    pub const fn active(&self, mitigating: bool) -> &SessionParams {
        if mitigating { &self.mitigating } else { &self.idle }
    }

    /// What `config` says, and defaults for the rest (RFC 9132 section 4.5.2).
    pub fn from_signal(config: &SignalConfig) -> Self {
        let default = SessionParams::default();
        Self {
            mitigating: config.mitigating.as_ref().map_or(default, |set| default.with(set)),
            idle: config.idle.as_ref().map_or(default, |set| default.with(set)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named_and_zero_switches_heartbeats_off() {
        let ranges = Ranges::default();
        let mut set = SessionParams::default().to_set();
        assert_eq!(ranges.violation(&set), None);
        set.heartbeat_interval = Some(Offered::current(0));
        assert_eq!(ranges.violation(&set), None);
        set.heartbeat_interval = Some(Offered::current(241));
        assert_eq!(ranges.violation(&set), Some("heartbeat-interval"));
        set.heartbeat_interval = None;
        set.ack_random_factor = Some(Offered::current(Decimal::from_hundredths(99)));
        assert_eq!(ranges.violation(&set), Some("ack-random-factor"));
    }

    #[test]
    fn heartbeats_come_at_least_twice_in_the_life_of_a_binding() {
        let ranges = Ranges::default().for_binding(Duration::from_secs(60));
        assert_eq!(ranges.heartbeat_interval, (15, 30));
        assert_eq!(Ranges::default().for_binding(Duration::from_secs(20)).heartbeat_interval, (10, 10));
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let set = ConfigSet { missing_hb_allowed: Some(Offered::current(7)), ..ConfigSet::default() };
        let config = SessionConfig::from_signal(&SignalConfig::new(Some(set), None));
        assert_eq!((config.mitigating.missing_hb_allowed, config.idle.missing_hb_allowed), (7, 15));
        assert_eq!(config.mitigating.heartbeat_interval, 30);
    }
}
