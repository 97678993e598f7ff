//! `--rule FILE.toml`: which of Suricata's alerts is an attack that somebody else's network can end.
//!
//! ```toml
//! [[peer]]                          # whose sources are whose; the longest prefix counts
//! name = "home.example"
//! sources = ["192.0.2.0/24", "2001:db8::/32"]
//!
//! [[rule]]                          # in order, the first that fits counts; what is not said fits all
//! name = "amplification"
//! signature-id = [2016016]
//! category = ["Attempted Denial of Service"]
//! signature = "ddos"                # a part of its text, in any case
//! severity = 2                      # this or worse; 1 is the worst
//! target = ["198.51.100.0/24"]
//! alerts = 10                       # so many of one target ..
//! within = "10s"                    # .. in so long
//! action = "propose"                # or "mitigate", at once; or "ignore"
//! lifetime = "30m"
//! ports = true                      # ask for the target's port and protocol alone
//! ```

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::eve::Alert;
use crate::exit::{Failure, file_failure};
use crate::pki::read_bounded;
use crate::values::{Span, parse_cidr};

/// All rules, and who is where.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rules {
    /// The networks that may be asked.
    #[serde(default, rename = "peer")]
    pub peers: Vec<PeerSources>,
    /// In order.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// Whose sources these are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PeerSources {
    /// By the name in its certificate.
    pub name: String,
    /// Its addresses.
    #[serde(deserialize_with = "networks")]
    pub sources: Vec<IpNet>,
}

/// What is done about an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// An operator is asked.
    Propose,
    /// The network is asked at once.
    Mitigate,
    /// Nothing.
    Ignore,
}

/// One rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Rule {
    /// For people.
    pub name: String,
    /// Any of these.
    #[serde(default)]
    pub signature_id: Vec<u64>,
    /// Any of these, whole, in any case.
    #[serde(default)]
    pub category: Vec<String>,
    /// A part of the signature's text, in any case.
    #[serde(default)]
    pub signature: Option<String>,
    /// This or worse; 1 is the worst.
    #[serde(default)]
    pub severity: Option<u8>,
    /// What is attacked.
    #[serde(default, deserialize_with = "networks")]
    pub target: Vec<IpNet>,
    /// How many alerts about one target make an attack.
    #[serde(default = "one")]
    pub alerts: u32,
    /// In how long.
    #[serde(default = "ten_seconds", deserialize_with = "span")]
    pub within: Duration,
    /// What is done.
    pub action: Action,
    /// For how long is asked.
    #[serde(default = "half_an_hour", deserialize_with = "span")]
    pub lifetime: Duration,
    /// Whether protocol and port of the target are said.
    #[serde(default)]
    pub ports: bool,
}

const fn one() -> u32 {
    1
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

const fn half_an_hour() -> Duration {
    Duration::from_secs(1800)
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<Span>().map(|span| span.0).map_err(D::Error::custom)
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_cidr(text).map_err(|why| D::Error::custom(format!("{text:?}: {why}")))).collect()
}

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or understood; the line is said.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let octets = read_bounded(path).map_err(|error| file_failure("read the rules", path, &error))?;
        let text = String::from_utf8(octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
        Self::parse(&text).map_err(|(line, what)| Failure::usage(what).at(format!("{}:{line}", path.display())))
    }

    /// Reads a text; the error has its line.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let line_of = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        let rules: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            (line, error.message().to_owned())
        })?;
        for rule in &rules.rules {
            if rule.alerts == 0 || rule.alerts > 10_000 {
                return Err((1, format!("rule {:?}: alerts must be from 1 to 10000", rule.name)));
            }
            if rule.lifetime < Duration::from_secs(1) || rule.lifetime.as_secs() > u64::from(u32::MAX) {
                return Err((1, format!("rule {:?}: the lifetime must be from 1 s to 136 years", rule.name)));
            }
        }
        if rules.rules.iter().any(|rule| rule.action != Action::Ignore) && rules.peers.is_empty() {
            return Err((1, "no [[peer]]: nobody could be asked".to_owned()));
        }
        Ok(rules)
    }

    /// The first rule that fits, and its number.
    pub fn of(&self, alert: &Alert) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.fits(alert))
    }

    /// Whose source that is.
    pub fn peer_of(&self, source: IpAddr) -> Option<&str> {
        let all = self.peers.iter().flat_map(|peer| peer.sources.iter().map(move |net| (net, peer.name.as_str())));
        let found = all.filter(|(net, _)| net.contains(&source)).max_by_key(|(net, _)| net.prefix_len());
        found.map(|(_, name)| name)
    }
}

impl Rule {
    fn fits(&self, alert: &Alert) -> bool {
        let any = |empty: bool, fits: bool| empty || fits;
        any(self.signature_id.is_empty(), self.signature_id.contains(&alert.signature_id))
            && any(
                self.category.is_empty(),
                self.category.iter().any(|category| category.eq_ignore_ascii_case(&alert.category)),
            )
            && self
                .signature
                .as_ref()
                .is_none_or(|part| alert.signature.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
            && self.severity.is_none_or(|worst| alert.severity.is_some_and(|severity| severity <= worst))
            && any(self.target.is_empty(), self.target.iter().any(|net| net.contains(&alert.target)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(id: u64, severity: u8, target: &str) -> Alert {
        Alert {
            signature_id: id,
            signature: "ET DOS Possible NTP DDoS Inbound".to_owned(),
            category: "Attempted Denial of Service".to_owned(),
            severity: Some(severity),
            source: "192.0.2.1".parse().unwrap(),
            target: target.parse().unwrap(),
            target_port: Some(123),
            protocol: Some(17),
            at: None,
        }
    }

    const TEXT: &str = r#"
        [[peer]]
        name = "wide"
        sources = ["192.0.0.0/8"]
        [[peer]]
        name = "home"
        sources = ["192.0.2.0/24", "2001:db8::1"]
        [[rule]]
        name = "not this"
        signature-id = [7]
        action = "ignore"
        [[rule]]
        name = "ntp"
        signature = "ntp ddos"
        category = ["attempted denial of service"]
        severity = 2
        target = ["198.51.100.0/24"]
        alerts = 3
        within = "2s"
        lifetime = "1h"
        action = "mitigate"
    "#;

    #[test]
    fn the_first_rule_that_fits_counts_and_the_longest_prefix() {
        let rules = Rules::parse(TEXT).unwrap();
        let of = |alert: &Alert| rules.of(alert).map(|(_, rule)| rule.action);
        assert_eq!(of(&alert(7, 1, "198.51.100.7")), Some(Action::Ignore));
        assert_eq!(of(&alert(8, 2, "198.51.100.7")), Some(Action::Mitigate));
        assert_eq!(of(&alert(8, 3, "198.51.100.7")), None);
        assert_eq!(of(&alert(8, 1, "203.0.113.7")), None);
        assert_eq!(rules.peer_of("192.0.2.9".parse().unwrap()), Some("home"));
        assert_eq!(rules.peer_of("192.9.2.9".parse().unwrap()), Some("wide"));
        assert_eq!(rules.peer_of("2001:db8::2".parse().unwrap()), None);
        assert_eq!((rules.rules[1].alerts, rules.rules[1].lifetime), (3, Duration::from_secs(3600)));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, what) in [
            ("[[rule]]\nname = \"x\"\naction = \"kill\"\n", 3, "kill"),
            ("[[rule]]\nname = \"x\"\naction = \"ignore\"\nlifetme = \"1s\"\n", 4, "lifetme"),
            ("[[peer]]\nname = \"x\"\nsources = [\"a\"]\n", 3, "\"a\""),
            ("[[rule]]\nname = \"x\"\naction = \"propose\"\n", 1, "no [[peer]]"),
            ("[[rule]]\nname = \"x\"\nalerts = 0\naction = \"ignore\"\n", 1, "alerts"),
        ] {
            let (at, why) = Rules::parse(text).unwrap_err();
            assert!(at == line && why.contains(what), "{text}: {at} {why}");
        }
    }
}
