//! What is allowed in a template, and still unwise.

use std::fmt;

use super::{Pattern, Template};
use crate::csr::{KeyUsage, SubjectField};

/// Something that whoever wrote a template should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lint {
    /// The names are left open: without a policy of the IdO every request will be refused.
    DnsWildcard,
    /// `*` and `**` both stand for any further names; the first adds nothing to the second.
    RedundantWildcard,
    /// A literal stands for all names below a domain, as wildcard certificates do.
    WildcardName,
    /// A name with an underscore, for which public CAs do not issue.
    Underscore,
    /// The same value twice.
    Repeated,
    /// Certificates of servers need serverAuth among the extended purposes, if there are any.
    NoServerAuth,
    /// The key may sign certificates or revocation lists: that is for CAs.
    CaUsage,
    /// commonName is left open. It is still only taken if it is one of the names in subjectAltName.
    OpenCommonName,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DnsWildcard => "DNS names are left open: without a policy for names every request is refused",
            Self::RedundantWildcard => "more than one wildcard among the DNS names: one says it all",
            Self::WildcardName => "a DNS name with \"*.\" delegates all names below it",
            Self::Underscore => "a DNS name with an underscore: public CAs do not issue for it",
            Self::Repeated => "the same value stands twice in a list",
            Self::NoServerAuth => "extendedKeyUsage lacks serverAuth: the certificate will not serve HTTPS",
            Self::CaUsage => "keyUsage has keyCertSign or cRLSign, which only CAs need",
            Self::OpenCommonName => "commonName is left open: it must be one of the names in subjectAltName anyway",
        })
    }
}

impl Template {
    /// What is unwise, in a fixed order and each once.
    pub fn lint(&self) -> Vec<Lint> {
        let literals = || {
            self.dns.iter().filter_map(|pattern| match pattern {
                Pattern::Literal(name) => Some(name.as_str()),
                _ => None,
            })
        };
        let wildcards = self.dns.len().saturating_sub(literals().count());
        let usages = self.key_usages.as_deref().unwrap_or_default();
        let extended = self.extended_key_usages.as_deref();
        let is_ca = |usage: &KeyUsage| matches!(usage, KeyUsage::KeyCertSign | KeyUsage::CRLSign);
        let is_open = |(field, pattern): &(SubjectField, Pattern)| {
            *field == SubjectField::CommonName && !matches!(pattern, Pattern::Literal(_))
        };
        let repeated = has_twice(literals().map(str::to_ascii_lowercase))
            || has_twice(self.email.iter())
            || has_twice(self.uri.iter())
            || has_twice(usages.iter())
            || has_twice(extended.unwrap_or_default().iter())
            || has_twice(self.key_types.iter().map(|key_type| format!("{key_type} {}", key_type.signature())));
        [
            (Lint::DnsWildcard, wildcards > 0),
            (Lint::RedundantWildcard, wildcards > 1),
            (Lint::WildcardName, literals().any(|name| name.starts_with("*."))),
            (Lint::Underscore, literals().any(|name| name.contains('_'))),
            (Lint::Repeated, repeated),
            (Lint::NoServerAuth, extended.is_some_and(|list| !list.iter().any(|usage| usage.name() == "serverAuth"))),
            (Lint::CaUsage, usages.iter().any(is_ca)),
            (Lint::OpenCommonName, self.subject.iter().any(is_open)),
        ]
        .into_iter()
        .filter_map(|(lint, holds)| holds.then_some(lint))
        .collect()
    }
}

fn has_twice<T: Ord>(values: impl Iterator<Item = T>) -> bool {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.windows(2).any(|pair| pair.first() == pair.last())
}
