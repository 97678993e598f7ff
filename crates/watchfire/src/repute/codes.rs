//! Which addresses a DNSBL answers for which assertions.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use repute_proto::Application;
use repute_proto::vocabulary::is_token;

/// One code: `ASSERTION[:RATING]=ADDRESS`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CodeRule {
    /// The assertion, by the vocabulary's name where it has one.
    pub assertion: String,
    /// From which rating on it counts.
    pub from: f64,
    /// What is answered.
    pub code: Ipv4Addr,
}

impl FromStr for CodeRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write ASSERTION=127.x.y.z or ASSERTION:RATING=127.x.y.z, as in spam:0.5=127.0.0.2";
        let (said, code) = text.split_once('=').ok_or(wanted)?;
        let (assertion, from) = match said.split_once(':') {
            Some((assertion, from)) => (assertion, from.parse().map_err(|_| format!("not a rating: {wanted}"))?),
            None => (said, 0.5),
        };
        if !is_token(assertion) {
            return Err(format!("not the name of an assertion: {wanted}"));
        }
        if !(0.0..=1.0).contains(&from) {
            return Err(format!("a rating is from 0.0 to 1.0: {wanted}"));
        }
        let code: Ipv4Addr = code.parse().map_err(|_| format!("not an address: {wanted}"))?;
        // RFC 5782 section 2.3: others could be mistaken for hosts. Those above say that something is wrong.
        if !code.is_loopback() || code.octets() == [127, 0, 0, 1] || code.octets().starts_with(&[127, 255]) {
            return Err(format!("a code is within 127.0.0.0/8, not 127.0.0.1 and not within 127.255.0.0/16: {wanted}"));
        }
        Ok(Self { assertion: Application::email_id().canonical_assertion(assertion), from, code })
    }
}

impl fmt::Display for CodeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.assertion, self.from, self.code)
    }
}

/// All codes of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes(Vec<CodeRule>);

impl Codes {
    /// These codes, or the usual ones where none are given.
    pub fn new(rules: &[CodeRule]) -> Self {
        let mut rules = rules.to_vec();
        if rules.is_empty() {
            let usual = ["spam", "fraud", "malware", "abusive", "invalid-recipients"].into_iter().zip(2..);
            rules.extend(usual.map(|(assertion, last)| CodeRule {
                assertion: assertion.to_owned(),
                from: 0.5,
                code: Ipv4Addr::new(127, 0, 0, last),
            }));
        }
        // The highest rating first.
        rules.sort_by(|one, other| other.from.total_cmp(&one.from));
        Self(rules)
    }

    /// What is answered for a rating; `given` is the code that the entry has itself, which takes the place of the
    /// rule's.
    pub fn code(&self, assertion: &str, rating: f64, given: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let rule = self.0.iter().find(|rule| rule.assertion == assertion && rating >= rule.from)?;
        Some(given.unwrap_or(rule.code))
    }

    /// The assertions that have codes, each once.
    pub fn assertions(&self) -> impl Iterator<Item = &str> {
        let names = self.0.iter().map(|rule| rule.assertion.as_str());
        names
            .enumerate()
            .filter(|(at, name)| !self.0.iter().take(*at).any(|rule| rule.assertion == *name))
            .map(|(_, name)| name)
    }

    /// The assertion that a code stands for.
    pub fn assertion(&self, code: Ipv4Addr) -> Option<&str> {
        self.0.iter().find(|rule| rule.code == code).map(|rule| rule.assertion.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_and_nonsense_is_refused() {
        let rule: CodeRule = "SENDS-SPAM:0.9=127.0.0.10".parse().unwrap();
        assert_eq!(rule.to_string(), "spam:0.9=127.0.0.10");
        assert_eq!("malware=127.0.0.4".parse::<CodeRule>().unwrap().from, 0.5);
        for bad in [
            "spam",
            "=127.0.0.2",
            "spam:2=127.0.0.2",
            "spam:x=127.0.0.2",
            "spam=10.0.0.1",
            "spam=127.0.0.1",
            "spam=127.255.255.254",
            "spam=::1",
        ] {
            assert!(bad.parse::<CodeRule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_highest_rating_that_is_reached_counts() {
        let rules = ["spam:0.5=127.0.0.2", "spam:0.9=127.0.0.9", "other:0=127.0.0.3"].map(|text| text.parse().unwrap());
        let codes = Codes::new(&rules);
        let code = |assertion, rating| codes.code(assertion, rating, None).map(|code| code.octets()[3]);
        assert_eq!([code("spam", 0.49), code("spam", 0.5), code("spam", 0.9)], [None, Some(2), Some(9)]);
        assert_eq!([code("other", 0.0), code("malware", 1.0)], [Some(3), None]);
        assert_eq!(codes.code("spam", 0.6, Some(Ipv4Addr::new(127, 0, 0, 7))), Some(Ipv4Addr::new(127, 0, 0, 7)));
        assert_eq!(codes.code("spam", 0.4, Some(Ipv4Addr::new(127, 0, 0, 7))), None);
        assert_eq!(Codes::new(&[]).assertion(Ipv4Addr::new(127, 0, 0, 4)), Some("malware"));
        assert_eq!(Codes::new(&[]).code("fraud", 1.0, None), Some(Ipv4Addr::new(127, 0, 0, 3)));
    }
}
