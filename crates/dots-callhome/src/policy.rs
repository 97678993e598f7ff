//! What only the network around a node knows: answered by the application, asked by the machines.

use core::net::IpAddr;

use crate::body::{Body, ConflictCause, Lifetime, List, PortRange, Prefix, Scope};
use crate::request::MitigationRequest;

/// What is known of a flow when a request arrives. RFC 9066 section 5.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the three answers of the RFC")]
pub enum Judgement {
    /// An attack, or nothing is known against it: mitigate.
    Attack,
    /// Legitimate: 4.09 with conflict-cause 4.
    Legitimate,
    /// An administrator has to be asked: `ServerEvent::ConsentNeeded`.
    AskConsent,
}

/// Why a policy says no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 4.01: this peer may not ask for it.
    Unauthorized,
    /// 4.00: a source that is not in our domain.
    ForeignSource(Prefix),
    /// 4.09 with this cause, such as an accept-list.
    Conflict(ConflictCause),
    /// 5.03: come back in so many seconds.
    Busy(u32),
}

/// What a server decides, given who asks. `peer` is the name that (D)TLS proved.
///
/// Every method has an answer for a cautious default; `owns_source` has none, because nobody but the operator knows.
pub trait ServerPolicy {
    /// Whether a source is in our domain, not merely inside another network (RFC 9066 section 8).
    fn owns_source(&self, source: &Prefix) -> bool;

    /// Whether this peer may ask for that. All is allowed by default: mutual authentication came before.
    ///
    /// # Errors
    /// Why not.
    fn authorize(&self, peer: &str, request: &MitigationRequest) -> Result<(), Refusal> {
        let _ = (peer, request);
        Ok(())
    }

    /// What the flow is. An attack by default.
    fn judge(&self, peer: &str, request: &MitigationRequest) -> Judgement {
        let _ = (peer, request);
        Judgement::Attack
    }

    /// How long it is granted. By default what was asked.
    fn grant(&self, peer: &str, asked: Lifetime) -> Lifetime {
        let _ = peer;
        asked
    }

    /// Which internal hosts are behind the sources (RFC 9066 section 5.3.2): the NAT table is asked with all that is
    /// known of the flow. By default the sources are the hosts.
    fn resolve_local(&self, request: &MitigationRequest) -> List<Prefix> {
        request.sources().iter().copied().collect()
    }

    /// Whether `peer` is a gateway whose `cdid` is believed. By default none is.
    fn trusts_gateway(&self, peer: &str) -> bool {
        let _ = peer;
        false
    }
}

/// What a client decides.
pub trait ClientPolicy {
    /// Whether a source is in the domain of this server, and may be sent to it (RFC 9066 section 5.3.1).
    fn is_in_domain(&self, server: &str, source: &Prefix) -> bool;

    /// The internal source behind an external one, where a CGN is on the path (RFC 9066 section 5.3.2), with the ports
    /// that must be said because the address is shared. `None` when no translator is known on the path.
    fn map_external(&self, server: &str, source: &Prefix, ports: &[PortRange]) -> Option<(Prefix, List<PortRange>)> {
        let _ = (server, source, ports);
        None
    }

    /// Whether the address is shared by several subscribers by ports (MAP, lightweight 4over6): then ports must be said.
    fn shares_by_ports(&self, source: &Prefix) -> bool {
        let _ = source;
        false
    }

    /// The NAT64 prefix (RFC 6052, 96 bits) under which the server's hosts reach IPv4 targets, if they do.
    fn nat64_prefix(&self, server: &str) -> Option<Prefix> {
        let _ = server;
        None
    }
}

/// Everything is in the domain; nothing is translated. For tests and for base DOTS.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs, reason = "nothing to say")]
pub struct AnySource;

impl ServerPolicy for AnySource {
    fn owns_source(&self, _: &Prefix) -> bool {
        true
    }
}

impl ClientPolicy for AnySource {
    fn is_in_domain(&self, _: &str, _: &Prefix) -> bool {
        true
    }
}

/// The IPv6 prefix by which an IPv4 one is reached through NAT64, for the well-known and other 96-bit prefixes.
/// RFC 6052 section 2.2.
pub fn nat64(prefix96: &Prefix, v4: &Prefix) -> Option<Prefix> {
    let (IpAddr::V6(base), IpAddr::V4(target), 96) = (prefix96.address(), v4.address(), prefix96.len()) else {
        return None;
    };
    let address = base.to_bits() | u128::from(target.to_bits());
    Prefix::new(IpAddr::V6(address.into()), v4.len().saturating_add(96)).ok()
}

/// Several requests out of one that does not fit a datagram of `max` body octets: the targets are shared out, each part
/// has all sources (requests that share a target would override each other). `None` when even one target does not fit.
pub fn split_request(scope: &Scope, max: usize) -> Option<Vec<Scope>> {
    if Body::from(scope.clone()).to_vec().len() <= max {
        return Some(vec![scope.clone()]);
    }
    let middle = scope.target_prefix.len() / 2;
    let (left, right) = scope.target_prefix.split_at_checked(middle).filter(|(left, _)| !left.is_empty())?;
    let mut parts = Vec::new();
    for half in [left, right] {
        let half = Scope { target_prefix: half.iter().copied().collect(), ..scope.clone() };
        parts.extend(split_request(&half, max)?);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_targets_behind_nat64_are_those_of_the_rfc() {
        let well_known = "64:ff9b::/96".parse().unwrap();
        assert_eq!(nat64(&well_known, &"192.0.2.33/32".parse().unwrap()), "64:ff9b::c000:221/128".parse().ok());
        assert_eq!(nat64(&"2001:db8::/32".parse().unwrap(), &"192.0.2.33/32".parse().unwrap()), None);
    }

    #[test]
    fn a_request_beyond_a_datagram_becomes_several_that_share_no_target() {
        let target_prefix: List<Prefix> = (0..100).map(|n| format!("2001:db8:{n:x}::/48").parse().unwrap()).collect();
        let source_prefix = List::one("2001:db8:ffff::1/128".parse().unwrap());
        let scope = Scope { target_prefix, source_prefix, lifetime: Some(Lifetime::DEFAULT), ..Scope::default() };
        let parts = split_request(&scope, 1024).unwrap();
        assert!(parts.len() > 1);
        let all: Vec<Prefix> = parts.iter().flat_map(|part| part.target_prefix.to_vec()).collect();
        assert_eq!(all, scope.target_prefix.to_vec());
        for part in parts {
            assert_eq!(part.source_prefix, scope.source_prefix);
            assert!(Body::from(part).to_vec().len() <= 1024);
        }
        assert_eq!(split_request(&scope, 40), None);
    }
}
