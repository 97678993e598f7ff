//! Zones of rbldnsd: ip4set, ip4trie, ip6trie, dnset and generic, each as its manual describes it; and master files, by
//! [`master`].
//!
//! A line has an entry and, behind white space, a value: `:CODE:TEXT`, or a text alone. A line that begins with a colon
//! changes the value of entries that have none. `!` makes an exception, `$` in a text stands for what was asked about,
//! and `$0` to `$9` for texts that were set before. Lines that begin with `$` and other words are about the zone, and
//! are passed over.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::{Ipv4Subnets, Ipv6Net};
use repute_proto::Score;

use super::master::{self, Master};
use super::records::{Records, forwards};
use super::{Broken, Defaults, Lines, Sink, wrong};
use crate::cli::ZoneFormat;

/// What an entry answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    code: Ipv4Addr,
    text: String,
}

struct Zone<'z> {
    format: ZoneFormat,
    defaults: &'z Defaults,
    value: Value,
    /// `$0` to `$9`.
    texts: [String; 10],
    /// A name of a generic zone whose records are still coming.
    records: Records,
    /// What reads the file once it turns out to be a master file.
    master: Option<Master>,
}

pub(super) fn read(path: &Path, format: ZoneFormat, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
    let mut lines = Lines::open(path)?;
    let value = Value { code: Ipv4Addr::new(127, 0, 0, 2), text: String::new() };
    let mut zone =
        Zone { format, defaults, value, texts: Default::default(), records: Records::default(), master: None };
    if format == ZoneFormat::Master {
        zone.master = Some(Master::default());
    }
    let mut is_begun = false;
    loop {
        let place = format!("{}:{}", path.display(), lines.number + 1);
        let Some(line) = lines.next()? else { break };
        let line = String::from_utf8_lossy(line);
        if format == ZoneFormat::Auto && zone.master.is_none() && !is_begun && master::is_sign(&line) {
            zone.master = Some(Master::default());
        }
        // Directives do not tell which kind it is.
        is_begun |= !line.is_empty() && !line.starts_with(['$', ';', '#']);
        let read = match &mut zone.master {
            Some(master) => master.line(&line, &place, defaults, sink),
            None => zone.line(&line, &place, sink),
        };
        read.map_err(|broken| match broken {
            Broken::Source(failure) if failure.to_string().starts_with(&place) => Broken::Source(failure),
            Broken::Source(failure) => Broken::Source(failure.at(&place)),
            Broken::Store => Broken::Store,
        })?;
    }
    match &mut zone.master {
        Some(master) => master.end(defaults, sink),
        None => zone.records.settle(defaults, sink),
    }
}

impl Zone<'_> {
    fn line(&mut self, line: &str, place: &str, sink: &mut Sink) -> Result<(), Broken> {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Ok(());
        }
        if let Some(directive) = line.strip_prefix('$') {
            return self.directive(directive, sink);
        }
        let is_v6 = |text: &str| text.split(char::is_whitespace).next().is_some_and(|word| word.contains("::"));
        if line.starts_with(':') && !is_v6(line) {
            self.value = self.parse_value(line)?;
            return Ok(());
        }
        if line.starts_with(char::is_whitespace) {
            return Err(wrong("a line that begins with white space"));
        }
        if self.format == ZoneFormat::Generic {
            return self.record(line, place, sink);
        }
        let (entry, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (entry, is_exception) = entry.strip_prefix('!').map_or((entry, false), |entry| (entry, true));
        // A comment may follow.
        let rest = rest.trim_start();
        let value = match rest {
            "" => self.value.clone(),
            rest if rest.starts_with('#') => self.value.clone(),
            rest => self.parse_value(rest)?,
        };
        for rated in self.rated(entry)? {
            if is_exception {
                // It is on none of the lists that the zone is.
                for assertion in self.defaults.assertions() {
                    let mut reputon = self.defaults.listed(&rated, 0.0, None, "").with_sample_size(0);
                    reputon.rating = Score::ZERO;
                    reputon.assertion = assertion.to_owned().into();
                    sink.add(&self.defaults.application, &reputon, || place.to_owned())?;
                }
            } else {
                let reputon = self.defaults.listed(&rated, 1.0, Some(value.code), &value.text);
                sink.add(&self.defaults.application, &reputon, || place.to_owned())?;
            }
        }
        Ok(())
    }

    /// `$0 text`, `$DATASET type ...`; others are about the zone's own records.
    fn directive(&mut self, directive: &str, sink: &mut Sink) -> Result<(), Broken> {
        let (word, rest) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
        let digit = word.parse::<usize>().ok().and_then(|digit| self.texts.get_mut(digit));
        if let (Some(text), 1) = (digit, word.len()) {
            rest.trim().clone_into(text);
            return Ok(());
        }
        match word.to_ascii_uppercase().as_str() {
            "DATASET" => {
                self.records.settle(self.defaults, sink)?;
                let kind = rest.trim_start().split([' ', '\t', ':']).next().unwrap_or_default();
                self.format = match kind {
                    "ip4set" | "ip4tset" => ZoneFormat::Ip4set,
                    "ip4trie" => ZoneFormat::Ip4trie,
                    "ip6trie" | "ip6tset" => ZoneFormat::Ip6trie,
                    "dnset" => ZoneFormat::Dnset,
                    "generic" => ZoneFormat::Generic,
                    other => return Err(wrong(format!("a data set of type {other:?}"))),
                };
                self.value = Value { code: Ipv4Addr::new(127, 0, 0, 2), text: String::new() };
                Ok(())
            }
            "SOA" | "NS" | "TTL" | "TIMESTAMP" | "MAXRANGE4" => {
                sink.skipped += 1;
                Ok(())
            }
            _ => Err(wrong(format!("unknown directive ${word}"))),
        }
    }

    /// `:CODE:TEXT`, `:CODE`, or a text with the code that holds here.
    fn parse_value(&self, text: &str) -> Result<Value, Broken> {
        let Some(behind) = text.strip_prefix(':') else {
            return Ok(Value { code: self.value.code, text: self.filled(text) });
        };
        let (code, text) = behind.split_once(':').unwrap_or((behind, ""));
        let code = match code.trim() {
            "" => self.value.code,
            code => match code.parse::<u8>() {
                Ok(last) => Ipv4Addr::new(127, 0, 0, last),
                Err(_) => code.parse().map_err(|_| wrong(format!("{code:?} is no code: 127.0.0.2, or 2 for short")))?,
            },
        };
        if !code.is_loopback() {
            return Err(wrong(format!("the code {code} is not within 127.0.0.0/8")));
        }
        Ok(Value { code, text: self.filled(text.trim_start()) })
    }

    /// The text with what was set for `$0` to `$9`.
    fn filled(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let digit = characters.peek().and_then(|next| next.to_digit(10)).filter(|_| character == '$');
            match digit.and_then(|digit| self.texts.get(digit as usize)) {
                Some(set) => {
                    characters.next();
                    filled.push_str(set);
                }
                None => filled.push(character),
            }
        }
        filled
    }

    /// What an entry is about; a range can be several networks.
    fn rated(&self, entry: &str) -> Result<Vec<String>, Broken> {
        let looks_v4 =
            !entry.is_empty() && entry.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'.' | b'/' | b'-'));
        match self.format {
            ZoneFormat::Ip4set => v4(entry, true),
            ZoneFormat::Ip4trie => v4(entry, false),
            ZoneFormat::Ip6trie => v6(entry),
            ZoneFormat::Auto if looks_v4 => v4(entry, true),
            ZoneFormat::Auto if entry.contains(':') => v6(entry),
            _ => Ok(vec![entry.to_owned()]),
        }
    }

    /// A record of a generic zone: `NAME [TTL] [IN] TYPE DATA`.
    fn record(&mut self, line: &str, place: &str, sink: &mut Sink) -> Result<(), Broken> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let mut kind = words.next();
        while let Some(word) = kind {
            if word.bytes().all(|octet| octet.is_ascii_digit()) || word.eq_ignore_ascii_case("IN") {
                kind = words.next();
            } else {
                break;
            }
        }
        let kind = kind.ok_or_else(|| wrong("the type of the record is missing"))?.to_ascii_uppercase();
        let is_known = matches!(kind.as_str(), "A" | "TXT") && name != "@";
        if !is_known {
            sink.skipped += 1;
            return Ok(());
        }
        let data = line.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case(&kind)).skip(1);
        let data = data.collect::<Vec<_>>().join(" ");
        let rated = forwards(&name);
        if kind == "A" {
            let code: Ipv4Addr = data.parse().map_err(|_| wrong(format!("{data:?} is no IPv4 address")))?;
            self.records.code(rated, code, place, self.defaults, sink)
        } else {
            self.records.text(rated, data.trim_matches('"'), place, self.defaults, sink)
        }
    }
}

/// `127.0.0.2`, `127.0.0` (all that begins so), `127.0.0/24`, `127.0.0.1-127.0.0.5`, `127.0.0.1-5`.
fn v4(entry: &str, ranges: bool) -> Result<Vec<String>, Broken> {
    let bad = || wrong(format!("{entry:?} is no IPv4 address, network or range"));
    // The octets that are there, and what the others are.
    let octets = |text: &str, rest: u8| {
        let mut octets = [rest; 4];
        let mut count = 0;
        for part in text.split('.') {
            *octets.get_mut(count)? = part.parse().ok()?;
            count += 1;
        }
        Some((octets, count))
    };
    if let Some((from, to)) = entry.split_once('-').filter(|_| ranges) {
        let (start, count) = octets(from, 0).ok_or_else(bad)?;
        let (end, _) = if to.contains('.') || count == 1 {
            octets(to, 255).ok_or_else(bad)?
        } else {
            // Only the last octet of those that are there.
            let mut end = octets(from, 255).ok_or_else(bad)?;
            *end.0.get_mut(count - 1).ok_or_else(bad)? = to.parse().map_err(|_| bad())?;
            end
        };
        let (start, end) = (Ipv4Addr::from(start), Ipv4Addr::from(end));
        if start > end {
            return Err(wrong(format!("{entry:?}: the range ends before it begins")));
        }
        return Ok(Ipv4Subnets::new(start, end, 0).map(|net| net.to_string()).collect());
    }
    let (address, len) = match entry.split_once('/') {
        Some((address, len)) => (address, Some(len.parse::<u8>().ok().filter(|len| *len <= 32).ok_or_else(bad)?)),
        None => (entry, None),
    };
    let (start, count) = octets(address, 0).ok_or_else(bad)?;
    let len = len.unwrap_or_else(|| 8 * u8::try_from(count).unwrap_or(4));
    Ok(vec![format!("{}/{len}", Ipv4Addr::from(start))])
}

/// `2001:db8::/32`, `2001:db8::1`.
fn v6(entry: &str) -> Result<Vec<String>, Broken> {
    let is_good = entry.parse::<Ipv6Net>().is_ok() || entry.parse::<Ipv6Addr>().is_ok();
    if is_good { Ok(vec![entry.to_owned()]) } else { Err(wrong(format!("{entry:?} is no IPv6 address or network"))) }
}
