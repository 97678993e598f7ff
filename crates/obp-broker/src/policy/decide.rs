//! The policy in force: rules and zones, indexed, and the decisions drawn from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::file::{Action, Rule, RuleSet, Subject};
use super::rpz::{ResponsePolicyZone, ZoneAction};
use crate::name::DomainName;

/// What the policy says about a name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Nothing matched.
    Pass,
    /// Answer, and nothing later may object.
    Allow,
    /// Answer, with TLS first.
    Upgrade,
    /// Status Refused with this description.
    Deny(Arc<str>),
    /// A walled garden: look at that name instead.
    Redirect(DomainName),
    /// A walled garden: answer with these addresses.
    Addresses(Vec<IpAddr>),
}

/// A policy, ready to be asked. Immutable: a reload makes another one.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    names: HashMap<DomainName, Vec<u32>>,
    suffixes: HashMap<DomainName, Vec<u32>>,
    prefixes: AddressTable<Vec<u32>>,
    zones: Vec<ResponsePolicyZone>,
    accounts: BTreeMap<Arc<str>, u32>,
}

impl Policy {
    /// A policy of these rules and zones, both in order.
    #[must_use]
    pub fn new(set: RuleSet, zones: Vec<ResponsePolicyZone>) -> Self {
        let mut policy = Self { zones, ..Self::default() };
        let accounts: BTreeSet<Arc<str>> = set
            .rules
            .iter()
            .filter_map(|rule| rule.account.as_deref().map(|account| account.to_ascii_lowercase().into()))
            .collect();
        policy.accounts = accounts.into_iter().zip(1..).collect();
        for (index, rule) in (0..).zip(&set.rules) {
            match &rule.subject {
                Subject::Name(name) => policy.names.entry(name.clone()).or_default().push(index),
                Subject::Suffix { suffix, .. } => policy.suffixes.entry(suffix.clone()).or_default().push(index),
                Subject::Address(net) => policy.prefixes.entry(*net).push(index),
            }
        }
        policy.rules = set.rules;
        policy
    }

    /// The rules in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The zones in order.
    #[must_use]
    pub fn zones(&self) -> &[ResponsePolicyZone] {
        &self.zones
    }

    /// Accounts that no rule mentions share class 0 and may share cached answers; each other has a class of its own.
    #[must_use]
    pub fn account_class(&self, account: Option<&str>) -> u32 {
        let Some(account) = account.filter(|_| !self.accounts.is_empty()) else { return 0 };
        let found = match account.bytes().any(|octet| octet.is_ascii_uppercase()) {
            true => self.accounts.get(account.to_ascii_lowercase().as_str()),
            false => self.accounts.get(account),
        };
        found.copied().unwrap_or(0)
    }

    /// What holds for a name, before its addresses are known.
    #[must_use]
    pub fn for_name(&self, account: Option<&str>, name: &DomainName) -> Decision {
        match self.first_rule(account, name, None) {
            Some(rule) => decision(rule),
            None => self
                .zones
                .iter()
                .find_map(|zone| zone_decision(zone, zone.name_action(name)?, name))
                .unwrap_or(Decision::Pass),
        }
    }

    /// What holds for a name once `address` turned up among its addresses.
    #[must_use]
    pub fn for_address(&self, account: Option<&str>, name: &DomainName, address: IpAddr) -> Decision {
        if let Some(rule) = self.first_rule(account, name, Some(address)) {
            return decision(rule);
        }
        for zone in &self.zones {
            // A zone that lets the name through ends the matter for every later trigger as well.
            let action = zone.name_action(name).or_else(|| zone.address_action(address));
            if let Some(decided) = action.and_then(|action| zone_decision(zone, action, name)) {
                return decided;
            }
        }
        Decision::Pass
    }

    /// Whether any rule or zone looks at addresses; spares the loop over them.
    #[must_use]
    pub fn looks_at_addresses(&self) -> bool {
        self.prefixes.len() > 0 || self.zones.iter().any(ResponsePolicyZone::has_address_triggers)
    }

    fn first_rule(&self, account: Option<&str>, name: &DomainName, address: Option<IpAddr>) -> Option<&Rule> {
        if self.rules.is_empty() {
            return None;
        }
        let mut first: Option<u32> = None;
        let mut offer = |candidates: &Vec<u32>, applies: &dyn Fn(&Rule) -> bool| {
            let found = candidates.iter().copied().find(|index| {
                self.rules.get(*index as usize).is_some_and(|rule| {
                    let is = |owner: &str| account.is_some_and(|account| account.eq_ignore_ascii_case(owner));
                    rule.account.as_deref().is_none_or(is) && applies(rule)
                })
            });
            first = match (first, found) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        if let Some(candidates) = self.names.get(name) {
            offer(candidates, &|_| true);
        }
        if !self.suffixes.is_empty() {
            for (above, part) in name.and_parents().enumerate() {
                if let Some(candidates) = self.suffixes.get(part) {
                    offer(candidates, &|rule| {
                        above > 0 || !matches!(rule.subject, Subject::Suffix { below_only: true, .. })
                    });
                }
            }
        }
        if let Some(address) = address {
            for candidates in self.prefixes.all(address) {
                offer(candidates, &|_| true);
            }
        }
        self.rules.get(first? as usize)
    }
}

fn decision(rule: &Rule) -> Decision {
    match rule.action {
        Action::Allow => Decision::Allow,
        Action::Upgrade => Decision::Upgrade,
        Action::Deny => Decision::Deny(rule.reason.clone().unwrap_or_else(|| "refused by the broker's policy".into())),
    }
}

fn zone_decision(zone: &ResponsePolicyZone, action: &ZoneAction, name: &DomainName) -> Option<Decision> {
    let deny = |how: &str| Some(Decision::Deny(format!("refused by the policy zone {}: {how}", zone.name).into()));
    match action {
        ZoneAction::NonExistent => deny("NXDOMAIN"),
        ZoneAction::NoData => deny("NODATA"),
        ZoneAction::Drop => deny("DROP"),
        ZoneAction::PassThrough => Some(Decision::Allow),
        ZoneAction::TcpOnly => None,
        ZoneAction::Addresses(addresses) => Some(Decision::Addresses((**addresses).clone())),
        ZoneAction::Redirect { target, prepend: false } => Some(Decision::Redirect(target.clone())),
        ZoneAction::Redirect { target, prepend: true } => match target.prefixed(name.as_str()) {
            Ok(longer) => Some(Decision::Redirect(longer)),
            Err(_) => deny("NXDOMAIN"),
        },
    }
}

/// Values by address prefix: one hash table per length that occurs.
#[derive(Debug, Clone)]
pub(super) struct AddressTable<V> {
    four: BTreeMap<u8, HashMap<u32, V>>,
    six: BTreeMap<u8, HashMap<u128, V>>,
}

impl<V> Default for AddressTable<V> {
    fn default() -> Self {
        Self { four: BTreeMap::new(), six: BTreeMap::new() }
    }
}

fn mask_four(bits: u32, length: u8) -> u32 {
    bits & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_six(bits: u128, length: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl<V> AddressTable<V> {
    pub(super) fn len(&self) -> usize {
        self.four.values().map(HashMap::len).sum::<usize>() + self.six.values().map(HashMap::len).sum::<usize>()
    }

    fn entry(&mut self, net: IpNet) -> &mut V
    where
        V: Default,
    {
        match net {
            IpNet::V4(net) => self.four.entry(net.prefix_len()).or_default().entry(net.network().into()).or_default(),
            IpNet::V6(net) => self.six.entry(net.prefix_len()).or_default().entry(net.network().into()).or_default(),
        }
    }

    pub(super) fn merge_at(
        &mut self,
        net: IpNet,
        value: V,
        merge: impl FnOnce(&mut V, V) -> Result<(), ()>,
    ) -> Result<(), ()> {
        use std::collections::hash_map::Entry::{Occupied, Vacant};
        match net {
            IpNet::V4(net) => match self.four.entry(net.prefix_len()).or_default().entry(net.network().into()) {
                Occupied(mut taken) => merge(taken.get_mut(), value)?,
                Vacant(free) => _ = free.insert(value),
            },
            IpNet::V6(net) => match self.six.entry(net.prefix_len()).or_default().entry(net.network().into()) {
                Occupied(mut taken) => merge(taken.get_mut(), value)?,
                Vacant(free) => _ = free.insert(value),
            },
        }
        Ok(())
    }

    /// Every value whose prefix holds the address, longest first. An IPv4 address in IPv6 clothes counts as IPv4.
    pub(super) fn all(&self, address: IpAddr) -> impl Iterator<Item = &V> {
        let address = address.to_canonical();
        let four = match address {
            IpAddr::V4(address) => Some(u32::from(address)),
            IpAddr::V6(_) => None,
        };
        let six = match address {
            IpAddr::V6(address) => Some(u128::from(address)),
            IpAddr::V4(_) => None,
        };
        let four = four.into_iter().flat_map(move |bits| {
            self.four.iter().rev().filter_map(move |(length, table)| table.get(&mask_four(bits, *length)))
        });
        let six = six.into_iter().flat_map(move |bits| {
            self.six.iter().rev().filter_map(move |(length, table)| table.get(&mask_six(bits, *length)))
        });
        four.chain(six)
    }

    pub(super) fn longest(&self, address: IpAddr) -> Option<&V> {
        self.all(address).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str, zones: &[&str]) -> Policy {
        let zones = zones.iter().map(|text| ResponsePolicyZone::parse(text, "z").unwrap()).collect();
        Policy::new(RuleSet::parse(text, "p").unwrap(), zones)
    }

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn denied(reason: &str) -> Decision {
        Decision::Deny(reason.into())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(
            r#"
            [[rule]]
            name = "good.example"
            action = "allow"
            [[rule]]
            suffix = "example"
            action = "deny"
            reason = "r1"
            [[rule]]
            name = "late.example"
            action = "allow"
            [[rule]]
            suffix = ".below.test"
            action = "upgrade"
            [[rule]]
            suffix = "below.test"
            account = "alice"
            action = "deny"
            reason = "r2"
            "#,
            &[],
        );
        let of = |account, text| policy.for_name(account, &name(text));
        assert_eq!(of(None, "good.example"), Decision::Allow);
        assert_eq!(of(None, "bad.example"), denied("r1"));
        assert_eq!(of(None, "a.good.example"), denied("r1"));
        assert_eq!(of(None, "example"), denied("r1"));
        assert_eq!(of(None, "late.example"), denied("r1"), "a later rule is too late");
        assert_eq!(of(None, "x.below.test"), Decision::Upgrade);
        assert_eq!(of(None, "below.test"), Decision::Pass);
        assert_eq!(of(Some("bob"), "below.test"), Decision::Pass);
        assert_eq!(of(Some("alice"), "below.test"), denied("r2"));
        assert_eq!(of(Some("alice"), "x.below.test"), Decision::Upgrade);
        assert_eq!(of(None, "notexample"), Decision::Pass, "a suffix ends at a dot");
        assert_ne!(policy.account_class(Some("alice")), 0);
        assert_eq!(
            policy.account_class(Some("ALICE")),
            policy.account_class(Some("alice")),
            "accounts are told apart as hosts are"
        );
        assert_eq!(policy.account_class(Some("bob")), 0);
    }

    #[test]
    fn address_rules_keep_their_place_in_the_order() {
        let policy = policy(
            r#"
            [[rule]]
            name = "trusted.example"
            action = "allow"
            [[rule]]
            address = "192.0.2.0/24"
            action = "deny"
            reason = "botnet"
            [[rule]]
            name = "late.example"
            action = "allow"
            [[rule]]
            address = "2001:db8:bad::/48"
            action = "deny"
            [[rule]]
            address = "10.0.0.0/8"
            action = "deny"
            account = "guest"
            reason = "inside"
            "#,
            &[],
        );
        let of = |account, text, address: &str| policy.for_address(account, &name(text), address.parse().unwrap());
        assert_eq!(of(None, "trusted.example", "192.0.2.1"), Decision::Allow);
        assert_eq!(of(None, "late.example", "192.0.2.1"), denied("botnet"));
        assert_eq!(of(None, "other.example", "192.0.2.255"), denied("botnet"));
        assert_eq!(of(None, "other.example", "::ffff:192.0.2.1"), denied("botnet"), "IPv4 in IPv6 clothes");
        assert_eq!(of(None, "other.example", "192.0.3.1"), Decision::Pass);
        assert_eq!(of(None, "other.example", "2001:db8:bad:1::1"), denied("refused by the broker's policy"));
        assert_eq!(of(None, "other.example", "10.1.1.1"), Decision::Pass);
        assert_eq!(of(Some("guest"), "other.example", "10.1.1.1"), denied("inside"));
        assert!(policy.looks_at_addresses());
    }

    #[test]
    fn zones_come_after_rules_and_the_first_zone_decides() {
        let first = "$ORIGIN one.\nok.test CNAME rpz-passthru.\n*.bad.test CNAME .\n24.0.2.0.192.rpz-ip CNAME *.\n";
        let second = "$ORIGIN two.\nok.test CNAME .\nx.bad.test CNAME rpz-drop.\nwalled.test CNAME garden.test.\n";
        let policy = policy("[[rule]]\nname = \"free.bad.test\"\naction = \"allow\"\n", &[first, second]);
        let of = |text| policy.for_name(None, &name(text));
        assert_eq!(of("ok.test"), Decision::Allow);
        assert_eq!(of("x.bad.test"), denied("refused by the policy zone one: NXDOMAIN"));
        assert_eq!(of("free.bad.test"), Decision::Allow);
        assert_eq!(of("walled.test"), Decision::Redirect(name("garden.test")));
        let at = |text, address: &str| policy.for_address(None, &name(text), address.parse().unwrap());
        assert_eq!(at("any.test", "192.0.2.7"), denied("refused by the policy zone one: NODATA"));
        assert_eq!(at("ok.test", "192.0.2.7"), Decision::Allow, "a name that passes takes its addresses along");
        assert_eq!(at("any.test", "198.51.100.1"), Decision::Pass);
    }

    #[test]
    fn the_shortest_and_the_longest_prefix_work() {
        let policy = policy(
            "[[rule]]\naddress = \"192.0.2.1\"\naction = \"allow\"\n[[rule]]\naddress = \"0.0.0.0/0\"\naction = \"deny\"\n[[rule]]\naddress = \"::/0\"\naction = \"deny\"\n",
            &[],
        );
        let of = |address: &str| policy.for_address(None, &name("x"), address.parse().unwrap());
        assert_eq!(of("192.0.2.1"), Decision::Allow);
        assert!(matches!(of("192.0.2.2"), Decision::Deny(_)));
        assert!(matches!(of("2001:db8::1"), Decision::Deny(_)));
    }
}
