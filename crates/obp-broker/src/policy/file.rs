//! The policy file (TOML): `[[rule]]` entries and the list of response policy zones.

use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use crate::name::DomainName;

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Answer as found; response policy zones are not asked.
    Allow,
    /// Status Refused with the rule's reason, and no address.
    Deny,
    /// Answer, with TLS before and instead of plain TCP.
    Upgrade,
}

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// Exactly this name.
    Name(DomainName),
    /// Every name below this one, and this one itself unless `below_only`.
    Suffix {
        /// The name that ends the matching ones.
        suffix: DomainName,
        /// Written with a leading dot or `*.`: the suffix itself does not match.
        below_only: bool,
    },
    /// Any address of the answer within this prefix.
    Address(IpNet),
}

/// One `[[rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// What it looks at.
    pub subject: Subject,
    /// What it does.
    pub action: Action,
    /// Told to the client in StatusDescription when the rule refuses.
    pub reason: Option<Arc<str>>,
    /// Only for questions of this account.
    pub account: Option<Arc<str>>,
    /// Line of the file on which the rule begins, from 1.
    pub line: usize,
}

/// A policy file, read: its rules in order and the zone files that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleSet {
    /// The rules, first match wins.
    pub rules: Vec<Rule>,
    /// Paths of response policy zones as written, with the line that names each.
    pub zones: Vec<(String, usize)>,
}

/// `FILE:LINE`, or the file alone.
fn place(file: &str, line: usize) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}

/// What is wrong with a policy or zone file, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}; {remedy}", place(file, *line))]
#[non_exhaustive]
pub struct PolicyError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What was found.
    pub what: String,
    /// What would be right.
    pub remedy: String,
}

impl PolicyError {
    pub(super) fn new(file: &str, line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into(), remedy: remedy.into() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    rpz: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Option<Spanned<String>>,
    suffix: Option<Spanned<String>>,
    address: Option<Spanned<String>>,
    action: Option<Spanned<String>>,
    reason: Option<Spanned<String>>,
    account: Option<Spanned<String>>,
}

impl RuleSet {
    /// Most octets of a policy file.
    pub const MAX_FILE: usize = 32 << 20;
    /// Most rules of a policy file.
    pub const MAX_RULES: usize = 200_000;
    /// Most response policy zones.
    pub const MAX_ZONES: usize = 64;
    /// Most octets of a reason: it travels to the client.
    pub const MAX_REASON: usize = 200;

    /// Reads a policy file's text; `file` is its name for the errors.
    ///
    /// # Errors
    /// [`PolicyError`] with the line and the remedy: no TOML, an unknown key, a rule without action or with none or
    /// several subjects, a bad name, prefix or action.
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_FILE {
            let what = format!("the file has {} octets", text.len());
            return Err(PolicyError::new(file, 0, what, "keep it below 32 MiB; long lists belong in an RPZ zone"));
        }
        let lines = Lines::of(text);
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| lines.at(&span));
            PolicyError::new(
                file,
                line,
                error.message().trim().replace('\n', " "),
                "write [[rule]] entries with name, suffix or address, action, reason, account, and rpz = [\"FILE.zone\"]",
            )
        })?;
        if raw.rule.len() > Self::MAX_RULES {
            let what = format!("{} rules", raw.rule.len());
            return Err(PolicyError::new(file, 0, what, "at most 200000; long lists belong in an RPZ zone"));
        }
        if raw.rpz.len() > Self::MAX_ZONES {
            let what = format!("{} response policy zones", raw.rpz.len());
            return Err(PolicyError::new(file, 0, what, "at most 64: join some"));
        }
        let rules = raw
            .rule
            .into_iter()
            .map(|rule| {
                let line = lines.at(&rule.span());
                rule_from(rule.into_inner(), line, &lines, file)
            })
            .collect::<Result<_, _>>()?;
        let zones = raw.rpz.into_iter().map(|zone| {
            let line = lines.at(&zone.span());
            (zone.into_inner(), line)
        });
        Ok(Self { rules, zones: zones.collect() })
    }
}

fn rule_from(raw: RawRule, line: usize, lines: &Lines, file: &str) -> Result<Rule, PolicyError> {
    let subjects = [&raw.name, &raw.suffix, &raw.address].into_iter().filter(|subject| subject.is_some()).count();
    if subjects != 1 {
        let what = format!("the rule has {subjects} of name, suffix and address");
        return Err(PolicyError::new(file, line, what, "give exactly one of them"));
    }
    let domain = |text: &str, at: usize| {
        DomainName::parse(text).map_err(|error| {
            PolicyError::new(file, at, format!("{text:?}: {error}"), "write a name such as \"www.example.com\"")
        })
    };
    let subject = if let Some(name) = raw.name {
        let at = lines.at(&name.span());
        Subject::Name(domain(name.get_ref(), at)?)
    } else if let Some(suffix) = raw.suffix {
        let at = lines.at(&suffix.span());
        let text = suffix.get_ref();
        let bare = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        Subject::Suffix { suffix: domain(bare.unwrap_or(text), at)?, below_only: bare.is_some() }
    } else {
        let address = raw.address.expect("one of three is there, and it is not the first two");
        let at = lines.at(&address.span());
        Subject::Address(prefix(address.get_ref()).ok_or_else(|| {
            let what = format!("{:?} is no address prefix", address.get_ref());
            PolicyError::new(file, at, what, "write \"192.0.2.0/24\", \"2001:db8::/32\" or one address")
        })?)
    };
    let Some(action) = raw.action else {
        return Err(PolicyError::new(
            file,
            line,
            "the rule has no action",
            "add action = \"deny\", \"allow\" or \"upgrade\"",
        ));
    };
    let action = match action.get_ref().as_str() {
        "deny" => Action::Deny,
        "allow" => Action::Allow,
        "upgrade" => Action::Upgrade,
        other => {
            let at = lines.at(&action.span());
            return Err(PolicyError::new(
                file,
                at,
                format!("there is no action {other:?}"),
                "write \"deny\", \"allow\" or \"upgrade\"",
            ));
        }
    };
    let reason = match raw.reason {
        None => None,
        Some(reason) => {
            let at = lines.at(&reason.span());
            let text = reason.into_inner();
            if text.len() > RuleSet::MAX_REASON || text.chars().any(char::is_control) {
                return Err(PolicyError::new(
                    file,
                    at,
                    "the reason is too long or has control characters",
                    "the client is told it: one line of at most 200 octets",
                ));
            }
            Some(Arc::from(text))
        }
    };
    let account = raw.account.map(|account| Arc::from(account.into_inner()));
    Ok(Rule { subject, action, reason, account, line })
}

fn prefix(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<std::net::IpAddr>().ok()?),
    };
    Some(net.trunc())
}

/// From an octet's place in the text to its line.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(ends).collect() }
    }

    fn at(&self, span: &Range<usize>) -> usize {
        self.starts.partition_point(|start| *start <= span.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_file_is_read_in_order() {
        let text = r#"
            rpz = ["bad.zone", "worse.zone"]
            [[rule]]
            name = "Blocked.Example.COM"
            action = "deny"
            reason = "malware"
            [[rule]]
            suffix = ".example.net"
            action = "upgrade"
            account = "alice"
            [[rule]]
            address = "192.0.2.77/24"
            action = "allow"
        "#;
        let set = RuleSet::parse(text, "p.toml").unwrap();
        assert_eq!(set.zones, [("bad.zone".to_owned(), 2), ("worse.zone".to_owned(), 2)]);
        assert_eq!(set.rules.len(), 3);
        assert_eq!(set.rules[0].subject, Subject::Name(DomainName::parse("blocked.example.com").unwrap()));
        assert_eq!(set.rules[0].reason.as_deref(), Some("malware"));
        assert_eq!(set.rules[0].line, 3);
        assert!(matches!(&set.rules[1].subject, Subject::Suffix { below_only: true, .. }));
        assert_eq!(set.rules[1].account.as_deref(), Some("alice"));
        assert_eq!(set.rules[2].subject, Subject::Address("192.0.2.0/24".parse().unwrap()));
        assert_eq!(RuleSet::parse("", "p.toml").unwrap(), RuleSet::default());
    }

    #[test]
    fn an_error_names_file_line_and_remedy() {
        for (text, line, part) in [
            ("[[rule]]\nname = \"a.example\"\naction = \"dney\"\n", 3, "no action \"dney\""),
            ("[[rule]]\naction = \"deny\"\n", 1, "0 of name"),
            ("\n[[rule]]\nname = \"a\"\nsuffix = \"b\"\naction = \"deny\"\n", 2, "2 of name"),
            ("[[rule]]\nname = \"a b\"\naction = \"deny\"\n", 2, "character ' '"),
            ("[[rule]]\naddress = \"192.0.2.0/33\"\naction = \"deny\"\n", 2, "no address prefix"),
            ("[[rule]]\nname = \"a\"\n", 1, "no action"),
            ("[[rule]]\nnmae = \"a\"\naction = \"deny\"\n", 2, "nmae"),
            ("[[rule]]\nname = \n", 2, "TOML"),
            ("[[rule]]\nname = \"a\"\naction = \"deny\"\nreason = \"x\\ny\"\n", 4, "control"),
        ] {
            let error = RuleSet::parse(text, "p.toml").unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            let shown = error.to_string();
            assert!(shown.starts_with(&format!("p.toml:{line}: ")), "{shown}");
            assert!(!error.remedy.is_empty());
            if part != "TOML" {
                assert!(shown.contains(part), "{shown}");
            }
        }
    }
}
