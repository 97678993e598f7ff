//! Whose sources these are: what a Call Home server lets itself be asked for. RFC 9066 sections 5.3.1 and 8.

use std::time::Duration;

use dots_callhome::body::{ConflictCause, Lifetime, Prefix};
use dots_callhome::{Judgement, MitigationRequest, Refusal, ServerPolicy};

/// Stops what is in the domain and not exempt.
#[derive(Debug, Clone, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct DomainPolicy {
    /// Where sources may be; none for anywhere.
    pub domain: Vec<Prefix>,
    /// What is never stopped.
    pub exempt: Vec<Prefix>,
    /// The longest lifetime that is granted; zero for any.
    pub max_lifetime: Duration,
    /// Nothing is stopped before an administrator agrees.
    pub consent: bool,
}

impl ServerPolicy for DomainPolicy {
    fn owns_source(&self, source: &Prefix) -> bool {
        self.domain.is_empty() || self.domain.iter().any(|ours| ours.contains(source))
    }

    fn authorize(&self, _peer: &str, request: &MitigationRequest) -> Result<(), Refusal> {
        let is_exempt = |source: &Prefix| self.exempt.iter().any(|exempt| exempt.overlaps(source));
        match request.sources().iter().any(is_exempt) {
            true => Err(Refusal::Conflict(ConflictCause::ConflictWithAcceptlist)),
            false => Ok(()),
        }
    }

    fn judge(&self, _peer: &str, _request: &MitigationRequest) -> Judgement {
        if self.consent { Judgement::AskConsent } else { Judgement::Attack }
    }

    fn grant(&self, _peer: &str, asked: Lifetime) -> Lifetime {
        let most = u32::try_from(self.max_lifetime.as_secs()).unwrap_or(u32::MAX);
        match (most, asked) {
            (0, asked) => asked,
            (most, Lifetime::Seconds(seconds)) => Lifetime::Seconds(seconds.min(most)),
            (most, Lifetime::Indefinite) => Lifetime::Seconds(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use dots_callhome::Profile;
    use dots_callhome::body::{List, Scope};

    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_what_is_here_and_not_exempt_is_stopped() {
        let policy = DomainPolicy {
            domain: prefixes(&["192.0.2.0/24", "2001:db8::/32"]),
            exempt: prefixes(&["192.0.2.53/32"]),
            max_lifetime: Duration::from_secs(600),
            consent: false,
        };
        for (source, owned) in
            [("192.0.2.7/32", true), ("192.0.0.0/16", false), ("2001:db8::1/128", true), ("198.51.100.1/32", false)]
        {
            assert_eq!(policy.owns_source(&source.parse().unwrap()), owned, "{source}");
        }
        let allowed = |source: &str| {
            let mut scope = Scope::default();
            scope.target_prefix = List::one("198.51.100.7/32".parse().unwrap());
            scope.source_prefix = List::one(source.parse().unwrap());
            scope.lifetime = Some(Lifetime::DEFAULT);
            policy.authorize("p", &MitigationRequest::check(scope, Profile::Rfc9066, false).unwrap())
        };
        assert_eq!(allowed("192.0.2.7/32"), Ok(()));
        let refused = Err(Refusal::Conflict(ConflictCause::ConflictWithAcceptlist));
        assert_eq!(allowed("192.0.2.53/32"), refused);
        assert_eq!(allowed("192.0.2.0/24"), refused, "it would be stopped too");
        assert_eq!(policy.grant("p", Lifetime::Indefinite), Lifetime::Seconds(600));
        assert_eq!(policy.grant("p", Lifetime::Seconds(5)), Lifetime::Seconds(5));
        assert_eq!(DomainPolicy::default().grant("p", Lifetime::Indefinite), Lifetime::Indefinite);
    }
}
