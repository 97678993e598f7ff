//! Mitigation requests that passed every check that needs no knowledge of the network. RFC 9132 section 4.4.1,
//! RFC 9066 section 5.3.1.

use crate::body::{Body, BodyError, Direction, IcmpRange, InvalidPrefix, Lifetime, PortRange, Prefix, Scope};
use crate::wire::{Code, Message, OptionNumber};

/// Which document the peers agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Profile {
    /// DOTS Call Home: RFC 9066.
    #[default]
    Rfc9066,
    /// Its fourth draft: no redirection, no aliases.
    Draft04,
    /// Base DOTS, RFC 9132: the client dials.
    Base,
}

impl Profile {
    /// Whether the server is near the sources, and dials.
    pub const fn is_call_home(self) -> bool {
        matches!(self, Self::Rfc9066 | Self::Draft04)
    }

    /// The port used when none is agreed on. 4647 is what implementations and the drafts use for Call Home; RFC 9066
    /// itself names none.
    pub const fn default_port(self) -> u16 {
        if self.is_call_home() { 4647 } else { 4646 }
    }
}

/// A request that is well-formed and complete; whether it is allowed is for a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MitigationRequest {
    // One, and on the heap because it is large: the vector that it was read into.
    scope: Box<[Scope; 1]>,
    lifetime: Lifetime,
}

/// Why a request is answered 4.00 or 4.15. Its text is the diagnostic payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// 4.15.
    #[error("content format is not application/dots+cbor (271)")]
    ContentFormat,
    /// The body cannot be read.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// Another body than this resource takes.
    #[error("the body is not the one for this resource")]
    WrongBody,
    /// Not exactly one.
    #[error("{0} entries in scope, not one")]
    Scopes(usize),
    /// A mandatory attribute.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// One that must not be said here.
    #[error("{0} must not be in this request")]
    Forbidden(&'static str),
    /// Zero.
    #[error("lifetime 0")]
    ZeroLifetime,
    /// A prefix that no attack can come from or go to.
    #[error("{0}: {1}")]
    Prefix(&'static str, #[source] InvalidPrefix),
    /// Sources and targets have no address family in common.
    #[error("no source and target of the same address family")]
    Families,
}

impl InvalidRequest {
    /// The code that answers it.
    pub const fn code(&self) -> Code {
        match self {
            Self::ContentFormat => Code::UNSUPPORTED_CONTENT_FORMAT,
            _ => Code::BAD_REQUEST,
        }
    }
}

impl MitigationRequest {
    /// Reads and checks the body of a PUT on a mitigation.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in the order of section 4.4.1: format, body, attributes, prefixes.
    #[inline]
    pub fn from_message(message: &Message<'_>, profile: Profile) -> Result<Self, InvalidRequest> {
        if !message.is_dots() {
            return Err(InvalidRequest::ContentFormat);
        }
        let efficacy = message.option(OptionNumber::IF_MATCH).is_some();
        let Body::Mitigation(scopes) = Body::decode(message.payload, Direction::Request)? else {
            return Err(InvalidRequest::WrongBody);
        };
        let scope: Box<[Scope; 1]> =
            scopes.try_into().map_err(|scopes: Vec<_>| InvalidRequest::Scopes(scopes.len()))?;
        let lifetime = Self::lifetime_if_valid(Self::only(&scope), profile, efficacy)?;
        Ok(Self { scope, lifetime })
    }

    /// Checks a scope. An efficacy update must say `attack-status`, and may leave out the lifetime; other requests the
    /// reverse.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(scope: Scope, profile: Profile, efficacy: bool) -> Result<Self, InvalidRequest> {
        let lifetime = Self::lifetime_if_valid(&scope, profile, efficacy)?;
        Ok(Self { scope: Box::new([scope]), lifetime })
    }

    fn lifetime_if_valid(scope: &Scope, profile: Profile, efficacy: bool) -> Result<Lifetime, InvalidRequest> {
        let forbidden = [
            ("mid", scope.mid.is_some()),
            ("mitigation-start", scope.mitigation_start.is_some()),
            ("status", scope.status.is_some()),
            ("conflict-information", scope.conflict.is_some()),
            ("bytes-dropped", scope.bytes_dropped.is_some()),
            ("bps-dropped", scope.bps_dropped.is_some()),
            ("pkts-dropped", scope.pkts_dropped.is_some()),
            ("pps-dropped", scope.pps_dropped.is_some()),
            ("attack-status", scope.attack_status.is_some() && !efficacy),
            // RFC 9133 is not implemented: its keys are unknown ones that must be understood.
            ("acl-list", !scope.acl_list.is_empty()),
            // There is no data channel that could have made an alias.
            ("alias-name", !scope.alias_name.is_empty()),
            ("trigger-mitigation false", profile.is_call_home() && scope.trigger_mitigation == Some(false)),
        ];
        if let Some((name, _)) = forbidden.into_iter().find(|(_, there)| *there) {
            return Err(InvalidRequest::Forbidden(name));
        }
        if efficacy && scope.attack_status.is_none() {
            return Err(InvalidRequest::Missing("attack-status"));
        }
        let lifetime = match scope.lifetime {
            Some(Lifetime::Seconds(0)) => return Err(InvalidRequest::ZeroLifetime),
            Some(lifetime) => lifetime,
            None if efficacy => Lifetime::DEFAULT,
            None => return Err(InvalidRequest::Missing("lifetime")),
        };
        if profile.is_call_home() {
            for (name, there) in
                [("target-prefix", !scope.target_prefix.is_empty()), ("source-prefix", !scope.source_prefix.is_empty())]
            {
                if !there {
                    return Err(InvalidRequest::Missing(name));
                }
            }
        } else if scope.target_prefix.is_empty() && scope.target_fqdn.is_empty() && scope.target_uri.is_empty() {
            return Err(InvalidRequest::Missing("target-prefix, target-fqdn or target-uri"));
        }
        for (name, prefixes) in [("target-prefix", &scope.target_prefix), ("source-prefix", &scope.source_prefix)] {
            for prefix in prefixes {
                prefix.check_unicast().map_err(|invalid| InvalidRequest::Prefix(name, invalid))?;
            }
        }
        let family = |prefixes: &[Prefix], v4: bool| prefixes.iter().any(|prefix| prefix.is_ipv4() == v4);
        if profile.is_call_home()
            && ![true, false].into_iter().any(|v4| family(&scope.target_prefix, v4) && family(&scope.source_prefix, v4))
        {
            return Err(InvalidRequest::Families);
        }
        Ok(lifetime)
    }

    /// What was asked.
    pub const fn scope(&self) -> &Scope {
        Self::only(&self.scope)
    }

    /// For how long.
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// What is attacked.
    pub fn targets(&self) -> &[Prefix] {
        &self.scope().target_prefix
    }

    /// Where it comes from.
    pub fn sources(&self) -> &[Prefix] {
        &self.scope().source_prefix
    }

    /// From which ports; none for all.
    pub fn source_ports(&self) -> &[PortRange] {
        &self.scope().source_port_range
    }

    /// By which ICMP types, and for which target each range counts as ICMP (`true`) or ICMPv6: the family of the target
    /// decides (RFC 9066 section 5.3.1).
    pub fn icmp_ranges(&self) -> impl Iterator<Item = (bool, IcmpRange)> + '_ {
        [true, false]
            .into_iter()
            .filter(|v4| self.scope().target_prefix.iter().any(|target| target.is_ipv4() == *v4))
            .flat_map(|v4| self.scope().source_icmp_type_range.iter().map(move |range| (v4, *range)))
    }

    /// Whether both ask for the same, lifetime and attack status aside: then one refreshes the other.
    pub fn same_parameters(&self, other: &Self) -> bool {
        let (a, b) = (self.scope(), other.scope());
        a.target_prefix == b.target_prefix
            && a.target_port_range == b.target_port_range
            && a.target_protocol == b.target_protocol
            && a.target_fqdn == b.target_fqdn
            && a.target_uri == b.target_uri
            && a.source_prefix == b.source_prefix
            && a.source_port_range == b.source_port_range
            && a.source_icmp_type_range == b.source_icmp_type_range
            && a.trigger_mitigation.unwrap_or(true) == b.trigger_mitigation.unwrap_or(true)
    }

    /// Whether their scopes have something in common. Only targets count (RFC 9132 section 4.4.1), and with
    /// `sources` both must overlap.
    pub fn overlaps(&self, other: &Self, sources: bool) -> bool {
        overlap(self.scope(), other.scope(), sources)
    }

    const fn only([scope]: &[Scope; 1]) -> &Scope {
        scope
    }

    pub(crate) fn set_lifetime(&mut self, lifetime: Lifetime) {
        self.lifetime = lifetime;
        let [scope] = &mut *self.scope;
        scope.lifetime = Some(lifetime);
    }
}

/// See [`MitigationRequest::overlaps`].
pub(crate) fn overlap(a: &Scope, b: &Scope, sources: bool) -> bool {
    let prefixes = |a: &[Prefix], b: &[Prefix]| a.iter().any(|ours| b.iter().any(|theirs| ours.overlaps(theirs)));
    let names = |a: &[String], b: &[String]| a.iter().any(|ours| b.iter().any(|b| b.eq_ignore_ascii_case(ours)));
    let either_any = |a: usize, b: usize| a == 0 || b == 0;
    let places = prefixes(&a.target_prefix, &b.target_prefix)
        || names(&a.target_fqdn, &b.target_fqdn) && a.target_prefix.is_empty()
        || a.target_uri.iter().any(|uri| b.target_uri.contains(uri)) && a.target_prefix.is_empty();
    let protocols = either_any(a.target_protocol.len(), b.target_protocol.len())
        || a.target_protocol.iter().any(|protocol| b.target_protocol.contains(protocol));
    let ports = either_any(a.target_port_range.len(), b.target_port_range.len())
        || a.target_port_range.iter().any(|ours| b.target_port_range.iter().any(|b| ours.overlaps(*b)));
    places && protocols && ports && (!sources || prefixes(&a.source_prefix, &b.source_prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{AttackStatus, List, Status};

    pub(crate) fn scope(target: &str, source: &str) -> Scope {
        Scope {
            target_prefix: List::one(target.parse().unwrap()),
            source_prefix: List::one(source.parse().unwrap()),
            lifetime: Some(Lifetime::DEFAULT),
            ..Scope::default()
        }
    }

    fn check(change: impl FnOnce(&mut Scope)) -> Result<MitigationRequest, InvalidRequest> {
        let mut scope = scope("198.51.100.7/32", "192.0.2.10/32");
        change(&mut scope);
        MitigationRequest::check(scope, Profile::Rfc9066, false)
    }

    #[test]
    fn each_missing_or_forbidden_attribute_is_named() {
        assert!(check(|_| {}).is_ok());
        assert_eq!(check(|s| s.lifetime = None), Err(InvalidRequest::Missing("lifetime")));
        assert_eq!(check(|s| s.lifetime = Some(Lifetime::Seconds(0))), Err(InvalidRequest::ZeroLifetime));
        assert_eq!(check(|s| s.target_prefix = List::new()), Err(InvalidRequest::Missing("target-prefix")));
        assert_eq!(check(|s| s.source_prefix = List::new()), Err(InvalidRequest::Missing("source-prefix")));
        assert_eq!(check(|s| s.mid = Some(1)), Err(InvalidRequest::Forbidden("mid")));
        assert_eq!(check(|s| s.status = Some(Status::Stopped)), Err(InvalidRequest::Forbidden("status")));
        let refused = check(|s| s.trigger_mitigation = Some(false));
        assert_eq!(refused, Err(InvalidRequest::Forbidden("trigger-mitigation false")));
        assert!(check(|s| s.trigger_mitigation = Some(true)).is_ok());
        assert_eq!(check(|s| s.alias_name = List::one("a".into())), Err(InvalidRequest::Forbidden("alias-name")));
        let update = Some(AttackStatus::UnderAttack);
        assert_eq!(check(|s| s.attack_status = update), Err(InvalidRequest::Forbidden("attack-status")));
        assert_eq!(
            check(|s| s.source_prefix = List::one("2001:db8::/32".parse().unwrap())),
            Err(InvalidRequest::Families)
        );
    }

    #[test]
    fn efficacy_updates_need_the_attack_status_and_may_leave_out_the_lifetime() {
        let mut update = scope("198.51.100.7/32", "192.0.2.10/32");
        update.lifetime = None;
        let refused = MitigationRequest::check(update.clone(), Profile::Rfc9066, true);
        assert_eq!(refused, Err(InvalidRequest::Missing("attack-status")));
        update.attack_status = Some(AttackStatus::UnderAttack);
        assert!(MitigationRequest::check(update, Profile::Rfc9066, true).is_ok());
    }

    #[test]
    fn base_dots_needs_a_target_of_any_kind_and_no_source() {
        let base = |scope: Scope| MitigationRequest::check(scope, Profile::Base, false);
        let lifetime = Some(Lifetime::Indefinite);
        assert!(base(Scope { lifetime, ..Scope::default() }).is_err());
        assert!(base(Scope { lifetime, target_fqdn: List::one("a.example".into()), ..Scope::default() }).is_ok());
        let later = Scope { trigger_mitigation: Some(false), ..scope("10.0.0.1/32", "10.0.0.2/32") };
        assert!(base(later).is_ok());
    }

    #[test]
    fn places_where_no_attack_can_be_are_refused_and_link_local_sources_are_not() {
        for bad in ["127.0.0.1/32", "224.0.0.1/32", "255.255.255.255/32"] {
            assert!(check(|s| s.source_prefix = List::one(bad.parse().unwrap())).is_err(), "{bad}");
            assert!(check(|s| s.target_prefix = List::one(bad.parse().unwrap())).is_err(), "{bad}");
        }
        assert!(check(|s| s.source_prefix = List::one("169.254.0.1/32".parse().unwrap())).is_ok());
    }

    #[test]
    fn icmp_types_follow_the_family_of_the_target() {
        let request = check(|s| {
            s.source_icmp_type_range = List::one(IcmpRange { lower: 8, upper: None });
        });
        assert_eq!(request.unwrap().icmp_ranges().collect::<Vec<_>>(), [(true, IcmpRange { lower: 8, upper: None })]);
    }
}
