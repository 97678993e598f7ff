//! Response policy zones (draft-vixie-dnsop-dns-rpz): zone files whose names are triggers and whose data are actions.
//!
//! Triggers on names (exact and wildcard) and on answered addresses (`rpz-ip`) are used. Those on the client's
//! address, on name servers' names and addresses cannot be: a broker sees none of them. They are counted, not obeyed,
//! and the loader says so.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::PolicyError;
use super::decide::AddressTable;
use crate::name::DomainName;

/// What a zone wants done with what it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneAction {
    /// `CNAME .`: as if the name did not exist.
    NonExistent,
    /// `CNAME *.`: as if it had no data.
    NoData,
    /// `CNAME rpz-passthru.`: answer, and ask no later zone.
    PassThrough,
    /// `CNAME rpz-drop.`: a resolver would stay silent.
    Drop,
    /// `CNAME rpz-tcp-only.`: means nothing to a broker, whose channel is authenticated.
    TcpOnly,
    /// Any other CNAME: look at this name instead, a walled garden.
    Redirect {
        /// Where to.
        target: DomainName,
        /// Written `*.target`: the name asked for goes before it.
        prepend: bool,
    },
    /// A and AAAA records: answer with these addresses.
    Addresses(Box<Vec<IpAddr>>),
}

/// A zone file, read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ResponsePolicyZone {
    /// The zone's own name, for the log and the answer's description.
    pub name: String,
    /// Triggers of kinds that a broker cannot see, and names that no service has: not obeyed.
    pub ignored: usize,
    exact: HashMap<Box<str>, ZoneAction>,
    wildcard: HashMap<Box<str>, ZoneAction>,
    addresses: AddressTable<ZoneAction>,
}

impl ResponsePolicyZone {
    /// Most octets of a zone file.
    pub const MAX_FILE: usize = 512 << 20;
    /// Most triggers of a zone.
    pub const MAX_TRIGGERS: usize = 5_000_000;

    /// Reads a zone in master-file form; `file` is its name for the errors.
    ///
    /// # Errors
    /// [`PolicyError`] with the line and the remedy.
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_FILE {
            return Err(PolicyError::new(file, 0, "the zone is larger than 512 MiB", "split it into several zones"));
        }
        let mut zone = Self::default();
        let mut origin = String::new();
        let mut apex: Option<String> = None;
        let mut owner: Option<String> = None;
        for entry in Entries::of(text, file) {
            let Entry { line, continues_owner, fields } = entry?;
            match fields.first().map(|field| field.to_ascii_uppercase()).as_deref() {
                Some("$ORIGIN") => {
                    let [_, name] = fields.as_slice() else {
                        return Err(PolicyError::new(
                            file,
                            line,
                            "$ORIGIN without one name",
                            "write $ORIGIN rpz.example.",
                        ));
                    };
                    origin = absolute(name, &origin);
                    continue;
                }
                Some("$TTL") => continue,
                Some(directive) if directive.starts_with('$') => {
                    let what = format!("the directive {directive}");
                    return Err(PolicyError::new(
                        file,
                        line,
                        what,
                        "only $ORIGIN and $TTL are read: write the records out",
                    ));
                }
                _ => {}
            }
            let mut rest = fields.as_slice();
            if !continues_owner && let Some((first, others)) = rest.split_first() {
                owner = Some(absolute(first, &origin));
                rest = others;
            }
            while let Some((first, others)) = rest.split_first()
                && (is_class(first) || is_ttl(first))
            {
                rest = others;
            }
            let (Some(owner), Some((kind, data))) = (&owner, rest.split_first()) else {
                return Err(PolicyError::new(file, line, "no record", "write NAME [TTL] [IN] TYPE DATA"));
            };
            let kind = kind.to_ascii_uppercase();
            if kind == "SOA" {
                zone.name = if owner.is_empty() { file.to_owned() } else { owner.clone() };
                apex = Some(owner.clone());
                continue;
            }
            let base = apex.as_deref().unwrap_or(&origin);
            let Some(trigger) = within(owner, base) else {
                let what = format!("{owner} is not below the zone {base}");
                return Err(PolicyError::new(file, line, what, "check $ORIGIN and the final dots"));
            };
            zone.add(trigger, &origin, &kind, data, line, file)?;
        }
        if zone.name.is_empty() {
            zone.name = if origin.is_empty() { file.to_owned() } else { origin };
        }
        Ok(zone)
    }

    #[allow(clippy::too_many_arguments, reason = "one record with its surroundings")]
    fn add(
        &mut self,
        trigger: &str,
        origin: &str,
        kind: &str,
        data: &[&str],
        line: usize,
        file: &str,
    ) -> Result<(), PolicyError> {
        let one = |what: &str| match data {
            [value] => Ok(*value),
            _ => Err(PolicyError::new(
                file,
                line,
                format!("{kind} with {} fields", data.len()),
                format!("write one {what}"),
            )),
        };
        let address = |value: &str, good: fn(&IpAddr) -> bool| {
            value.parse::<IpAddr>().ok().filter(good).ok_or_else(|| {
                PolicyError::new(
                    file,
                    line,
                    format!("{kind} {value:?} is no address"),
                    "write an address of that family",
                )
            })
        };
        let action = match kind {
            "CNAME" => match cname_action(&absolute(one("name")?, origin)) {
                Some(action) => action,
                None => {
                    self.ignored += 1;
                    return Ok(());
                }
            },
            "A" => ZoneAction::Addresses(Box::new(vec![address(one("address")?, IpAddr::is_ipv4)?])),
            "AAAA" => ZoneAction::Addresses(Box::new(vec![address(one("address")?, IpAddr::is_ipv6)?])),
            // The apex's own records.
            "NS" if trigger.is_empty() => return Ok(()),
            kind if kind.bytes().all(|octet| octet.is_ascii_alphanumeric()) => {
                // Local data of types that a connection list is not made of.
                self.ignored += 1;
                return Ok(());
            }
            other => {
                let what = format!("{other:?} is no record type");
                return Err(PolicyError::new(file, line, what, "write NAME [TTL] [IN] CNAME ACTION"));
            }
        };
        if self.len() >= Self::MAX_TRIGGERS {
            return Err(PolicyError::new(file, line, "more than 5000000 triggers", "split the zone"));
        }
        let conflict = || {
            let what = format!("{trigger} has two different actions");
            PolicyError::new(file, line, what, "keep one CNAME, or only A and AAAA records")
        };
        if let Some(encoded) = trigger.strip_suffix(".rpz-ip") {
            let Some(net) = trigger_prefix(encoded) else {
                let what = format!("{encoded:?} is no address trigger");
                return Err(PolicyError::new(
                    file,
                    line,
                    what,
                    "write LENGTH.D.C.B.A.rpz-ip, or IPv6 groups with zz for ::",
                ));
            };
            return self.addresses.merge_at(net, action, merge).map_err(|()| conflict());
        }
        let kind_label = trigger.rsplit('.').next().unwrap_or_default();
        if matches!(kind_label, "rpz-client-ip" | "rpz-nsip" | "rpz-nsdname") {
            self.ignored += 1;
            return Ok(());
        }
        let (table, bare) = match trigger.strip_prefix("*.") {
            Some(bare) => (&mut self.wildcard, bare),
            None => (&mut self.exact, trigger),
        };
        let Ok(name) = DomainName::parse(bare) else {
            self.ignored += 1;
            return Ok(());
        };
        match table.entry(name.as_str().into()) {
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(action);
            }
            std::collections::hash_map::Entry::Occupied(mut taken) => {
                merge(taken.get_mut(), action).map_err(|()| conflict())?;
            }
        }
        Ok(())
    }

    /// How many triggers it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len() + self.addresses.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any trigger looks at addresses.
    #[must_use]
    pub fn has_address_triggers(&self) -> bool {
        self.addresses.len() > 0
    }

    /// The action for a name: the exact trigger, else the longest wildcard above it.
    #[must_use]
    pub fn name_action(&self, name: &DomainName) -> Option<&ZoneAction> {
        if let Some(action) = self.exact.get(name.as_str()) {
            return Some(action);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        name.and_parents().skip(1).find_map(|parent| self.wildcard.get(parent))
    }

    /// The action for an answered address: the longest prefix around it.
    #[must_use]
    pub fn address_action(&self, address: IpAddr) -> Option<&ZoneAction> {
        self.addresses.longest(address)
    }
}

fn merge(present: &mut ZoneAction, more: ZoneAction) -> Result<(), ()> {
    match (present, more) {
        (ZoneAction::Addresses(present), ZoneAction::Addresses(more)) => {
            for address in *more {
                if !present.contains(&address) && present.len() < 64 {
                    present.push(address);
                }
            }
            Ok(())
        }
        (present, more) if *present == more => Ok(()),
        _ => Err(()),
    }
}

/// `None` for a target that no service has.
fn cname_action(target: &str) -> Option<ZoneAction> {
    Some(match target {
        "" => ZoneAction::NonExistent,
        "*" => ZoneAction::NoData,
        "rpz-passthru" => ZoneAction::PassThrough,
        "rpz-drop" => ZoneAction::Drop,
        "rpz-tcp-only" => ZoneAction::TcpOnly,
        _ => {
            let (prepend, bare) = target.strip_prefix("*.").map_or((false, target), |bare| (true, bare));
            ZoneAction::Redirect { target: DomainName::parse(bare).ok()?, prepend }
        }
    })
}

/// `24.0.2.0.192` or `128.1.zz.db8.2001`: the length, then the address backwards.
fn trigger_prefix(encoded: &str) -> Option<IpNet> {
    let mut labels = encoded.split('.');
    let length: u8 = labels.next()?.parse().ok()?;
    let mut groups: Vec<&str> = labels.collect();
    if groups.len() > 9 {
        return None;
    }
    groups.reverse();
    let four = groups.len() == 4 && !groups.contains(&"zz");
    let net = if four {
        let address: Ipv4Addr = groups.join(".").parse().ok()?;
        IpNet::from(Ipv4Net::new(address, length).ok()?)
    } else {
        let text = groups.iter().map(|group| if *group == "zz" { "" } else { group }).collect::<Vec<_>>().join(":");
        // A `zz` at an end leaves one colon where two are needed.
        let text = if text.starts_with(':') { format!(":{text}") } else { text };
        let text = if text.ends_with(':') { format!("{text}:") } else { text };
        let address: Ipv6Addr = text.parse().ok()?;
        IpNet::from(Ipv6Net::new(address, length).ok()?)
    };
    (net == net.trunc()).then_some(net)
}

fn is_class(field: &str) -> bool {
    ["IN", "CH", "HS"].iter().any(|class| field.eq_ignore_ascii_case(class))
}

/// `300`, `1h`, `1d12h`.
fn is_ttl(field: &str) -> bool {
    field.starts_with(|first: char| first.is_ascii_digit())
        && field.chars().all(|c| c.is_ascii_digit() || "smhdwSMHDW".contains(c))
}

/// The name in lower case without the final dot, relative ones below `origin`. The root is empty.
fn absolute(name: &str, origin: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower == "@" {
        return origin.to_owned();
    }
    match lower.strip_suffix('.') {
        Some(bare) => bare.to_owned(),
        None if origin.is_empty() => lower,
        None => format!("{lower}.{origin}"),
    }
}

/// The part of `name` before `base`; empty for the base itself.
fn within<'a>(name: &'a str, base: &str) -> Option<&'a str> {
    if base.is_empty() {
        return Some(name);
    }
    let front = name.strip_suffix(base)?;
    if front.is_empty() { Some(front) } else { front.strip_suffix('.') }
}

/// One record or directive, which parentheses may spread over several lines.
struct Entry<'a> {
    line: usize,
    continues_owner: bool,
    fields: Vec<&'a str>,
}

struct Entries<'a> {
    file: &'a str,
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
}

impl<'a> Entries<'a> {
    fn of(text: &'a str, file: &'a str) -> Self {
        Self { file, lines: text.lines().enumerate() }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, PolicyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut entry: Option<Entry<'a>> = None;
        let mut open = false;
        loop {
            let Some((at, text)) = self.lines.next() else {
                return entry.map(|entry| {
                    Err(PolicyError::new(self.file, entry.line, "a parenthesis is never closed", "close it with )"))
                });
            };
            let line = at + 1;
            let entry = entry.get_or_insert_with(|| Entry {
                line,
                continues_owner: text.starts_with([' ', '\t']),
                fields: Vec::new(),
            });
            if let Err(what) = split(text, &mut entry.fields, &mut open) {
                return Some(Err(PolicyError::new(
                    self.file,
                    line,
                    what,
                    "write one record per line, ; begins a comment",
                )));
            }
            if open {
                if entry.fields.len() > 64 {
                    let what = "a parenthesis with more than 64 fields";
                    return Some(Err(PolicyError::new(self.file, entry.line, what, "close it with )")));
                }
                continue;
            }
            if entry.fields.is_empty() {
                return self.next_nonempty();
            }
            return Some(Ok(Entry {
                line: entry.line,
                continues_owner: entry.continues_owner,
                fields: std::mem::take(&mut entry.fields),
            }));
        }
    }
}

impl<'a> Entries<'a> {
    /// Skips empty lines without recursion: a zone may have a million of them.
    fn next_nonempty(&mut self) -> Option<Result<Entry<'a>, PolicyError>> {
        loop {
            let mut ahead = self.lines.clone();
            let (_, text) = ahead.next()?;
            let bare = text.split(';').next().unwrap_or_default().trim();
            if !bare.is_empty() {
                return self.next();
            }
            self.lines = ahead;
        }
    }
}

fn split<'a>(text: &'a str, fields: &mut Vec<&'a str>, open: &mut bool) -> Result<(), &'static str> {
    let octets = text.as_bytes();
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        match octet {
            b' ' | b'\t' | b'\r' => at += 1,
            b';' => return Ok(()),
            b'(' if *open => return Err("a parenthesis within a parenthesis"),
            b')' if !*open => return Err("a ) without its ("),
            b'(' | b')' => {
                *open = octet == b'(';
                at += 1;
            }
            b'"' => {
                let rest = text.get(at + 1..).unwrap_or_default();
                let end = rest.find('"').ok_or("a quoted text is never closed")?;
                fields.push(rest.get(..end).unwrap_or_default());
                at += end + 2;
            }
            _ => {
                let rest = text.get(at..).ok_or("a field that is not UTF-8")?;
                let end = rest.find([' ', '\t', '\r', ';', '(', ')', '"']).unwrap_or(rest.len());
                fields.push(rest.get(..end).unwrap_or_default());
                at += end;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = include_str!("../../../../tests/vectors/obp/rpz/example.zone");

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn each_trigger_and_action() {
        let zone = ResponsePolicyZone::parse(ZONE, "example.zone").unwrap();
        assert_eq!(zone.name, "rpz.example");
        let of = |text: &str| zone.name_action(&name(text)).cloned();
        assert_eq!(of("gone.example"), Some(ZoneAction::NonExistent));
        assert_eq!(of("below.gone.example"), None);
        assert_eq!(of("empty.example"), Some(ZoneAction::NoData));
        assert_eq!(of("a.b.wild.example"), Some(ZoneAction::NonExistent));
        assert_eq!(of("wild.example"), None, "a wildcard does not match its own base");
        assert_eq!(of("ok.wild.example"), Some(ZoneAction::PassThrough), "exact before wildcard");
        assert_eq!(of("deep.inner.wild.example"), Some(ZoneAction::NoData), "the longest wildcard");
        assert_eq!(of("dropped.example"), Some(ZoneAction::Drop));
        assert_eq!(of("tcp.example"), Some(ZoneAction::TcpOnly));
        assert_eq!(
            of("phish.example"),
            Some(ZoneAction::Redirect { target: name("garden.example.net"), prepend: false })
        );
        assert_eq!(
            of("x.spread.example"),
            Some(ZoneAction::Redirect { target: name("garden.example.net"), prepend: true })
        );
        assert_eq!(
            of("local.example"),
            Some(ZoneAction::Addresses(Box::new(vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()])))
        );
        let at = |text: &str| zone.address_action(text.parse().unwrap()).cloned();
        assert_eq!(at("198.51.100.7"), Some(ZoneAction::NonExistent));
        assert_eq!(at("198.51.100.53"), Some(ZoneAction::PassThrough), "the longer prefix");
        assert_eq!(at("203.0.113.7"), None);
        assert_eq!(at("2001:db8:bad::1"), Some(ZoneAction::NoData));
        assert_eq!(at("2001:db8::1"), Some(ZoneAction::Drop));
        assert_eq!(at("2001:db8::2"), None);
        assert_eq!(zone.ignored, 5, "client-ip, nsdname, nsip, a TXT and a name that nothing has");
    }

    #[test]
    fn address_triggers_read_backwards() {
        for (text, net) in [
            ("24.0.2.0.192", "192.0.2.0/24"),
            ("32.1.2.3.4", "4.3.2.1/32"),
            ("128.1.zz.db8.2001", "2001:db8::1/128"),
            ("48.zz.bad.db8.2001", "2001:db8:bad::/48"),
            ("128.1.zz", "::1/128"),
            ("128.8.7.6.5.4.3.2.1", "1:2:3:4:5:6:7:8/128"),
        ] {
            assert_eq!(trigger_prefix(text), Some(net.parse().unwrap()), "{text}");
        }
        for text in ["", "24", "33.0.2.0.192", "24.1.2.0.192", "24.0.2.0", "129.1.zz.db8.2001", "x.0.2.0.192"] {
            assert_eq!(trigger_prefix(text), None, "{text}");
        }
    }

    #[test]
    fn a_broken_zone_names_its_line() {
        for (text, line, part) in [
            ("$ORIGIN a.\n@ SOA a. b. (1\n2 3 4 5\n", 2, "never closed"),
            ("$INCLUDE /etc/passwd\n", 1, "$INCLUDE"),
            ("$ORIGIN rpz.\n24.1.2.3.4.rpz-ip CNAME .\n", 2, "no address trigger"),
            ("$ORIGIN rpz.\nx CNAME\n", 2, "0 fields"),
            ("$ORIGIN rpz.\nx CNAME . extra\n", 2, "2 fields"),
            ("$ORIGIN rpz.\nx A 300.1.2.3\n", 2, "no address"),
            ("$ORIGIN rpz.\nx A 2001:db8::1\n", 2, "no address"),
            ("$ORIGIN rpz.\nx CNAME .\n\n;\nx CNAME *.\n", 5, "two different"),
            ("$ORIGIN rpz.\n@ SOA a b 1 2 3 4 5\ny.other. CNAME .\n", 3, "not below"),
            ("$ORIGIN rpz.\nx ) CNAME .\n", 2, "without its ("),
            (" CNAME .\n", 1, "no record"),
        ] {
            let error = ResponsePolicyZone::parse(text, "z").unwrap_err();
            assert!(error.line == line && error.to_string().contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_zone_without_origin_takes_its_soas_name() {
        let text = "rpz.example. 300 IN SOA a. b. 1 2 3 4 5\nbad.example.rpz.example. IN CNAME .\n";
        let zone = ResponsePolicyZone::parse(text, "z").unwrap();
        assert_eq!(zone.name_action(&name("bad.example")), Some(&ZoneAction::NonExistent));
        let text = "bad.example CNAME .\n".to_owned() + &"\n".repeat(100_000);
        assert_eq!(ResponsePolicyZone::parse(&text, "z").unwrap().len(), 1);
    }
}
