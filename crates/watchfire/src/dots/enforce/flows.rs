//! What a request means for a packet filter: which protocols, ports and ICMP types. RFC 9132 section 4.4.1, RFC 9066
//! section 5.3.1.

use dots_callhome::MitigationRequest;
use dots_callhome::body::PortRange;

/// Protocols that have ports where TCP has them: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// One kind of traffic: everything that is said must hold; what is empty is not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Flow {
    /// Any of these protocols.
    pub protocols: Vec<u8>,
    /// From any of these ports, both ends included.
    pub source_ports: Vec<(u16, u16)>,
    /// To any of these.
    pub target_ports: Vec<(u16, u16)>,
    /// Any of these types of ICMP, or ICMPv6.
    pub icmp_types: Vec<(u8, u8)>,
}

/// The kinds of traffic of a request, for one address family; a packet of any of them is stopped.
///
/// Ports are for protocols that have them, types for ICMP; a request that names other protocols as well means those
/// whole.
pub fn flows(request: &MitigationRequest, v4: bool) -> Vec<Flow> {
    let scope = request.scope();
    let range = |range: &PortRange| (range.lower, range.upper.unwrap_or(range.lower));
    let source_ports: Vec<_> = scope.source_port_range.iter().map(range).collect();
    let target_ports: Vec<_> = scope.target_port_range.iter().map(range).collect();
    let icmp_types: Vec<_> = request
        .icmp_ranges()
        .filter(|(of_v4, _)| *of_v4 == v4)
        .map(|(_, range)| (range.lower, range.upper.unwrap_or(range.lower)))
        .collect();
    let icmp = if v4 { 1 } else { 58 };
    let has_ports = !source_ports.is_empty() || !target_ports.is_empty();
    let mut protocols = scope.target_protocol.to_vec();
    protocols.sort_unstable();
    protocols.dedup();
    if protocols.is_empty() {
        if !has_ports && icmp_types.is_empty() {
            return vec![Flow::default()];
        }
        if has_ports {
            protocols.extend(WITH_PORTS);
        }
        if !icmp_types.is_empty() {
            protocols.push(icmp);
        }
    }
    let is_special =
        |protocol: &u8| has_ports && WITH_PORTS.contains(protocol) || !icmp_types.is_empty() && *protocol == icmp;
    let whole: Vec<u8> = protocols.iter().copied().filter(|protocol| !is_special(protocol)).collect();
    let ported: Vec<u8> = protocols.iter().copied().filter(|p| has_ports && WITH_PORTS.contains(p)).collect();
    let mut flows = Vec::new();
    if !ported.is_empty() {
        flows.push(Flow { protocols: ported, source_ports, target_ports, icmp_types: Vec::new() });
    }
    if !icmp_types.is_empty() && protocols.contains(&icmp) {
        flows.push(Flow { protocols: vec![icmp], icmp_types, ..Flow::default() });
    }
    if !whole.is_empty() {
        flows.push(Flow { protocols: whole, ..Flow::default() });
    }
    flows
}

#[cfg(test)]
pub(super) mod tests {
    use dots_callhome::Profile;
    use dots_callhome::body::{IcmpRange, Lifetime, Scope};

    use super::*;

    pub(in super::super) fn request(change: impl FnOnce(&mut Scope)) -> MitigationRequest {
        let mut scope = Scope::default();
        scope.lifetime = Some(Lifetime::Seconds(60));
        scope.target_prefix.push("198.51.100.7/32".parse().unwrap());
        scope.source_prefix.push("192.0.2.0/24".parse().unwrap());
        change(&mut scope);
        MitigationRequest::check(scope, Profile::Rfc9066, false).unwrap()
    }

    #[test]
    fn nothing_said_is_everything() {
        assert_eq!(flows(&request(|_| {}), true), [Flow::default()]);
    }

    #[test]
    fn ports_are_for_protocols_that_have_them() {
        let one = PortRange { lower: 53, upper: None };
        let ports = request(|scope| scope.target_port_range.push(one));
        let expected = Flow { protocols: WITH_PORTS.to_vec(), target_ports: vec![(53, 53)], ..Flow::default() };
        assert_eq!(flows(&ports, true), [expected]);
        let mixed = request(|scope| {
            scope.source_port_range.push(PortRange { lower: 1, upper: Some(9) });
            [47, 17, 1, 17].into_iter().for_each(|protocol| scope.target_protocol.push(protocol));
        });
        let expected = [
            Flow { protocols: vec![17], source_ports: vec![(1, 9)], ..Flow::default() },
            Flow { protocols: vec![1, 47], ..Flow::default() },
        ];
        assert_eq!(flows(&mixed, true), expected);
    }

    #[test]
    fn types_are_for_icmp_of_the_targets_family() {
        let types = request(|scope| {
            scope.source_icmp_type_range.push(IcmpRange { lower: 3, upper: Some(5) });
            scope.target_prefix.push("2001:db8::1/128".parse().unwrap());
            scope.source_prefix.push("2001:db8:1::/48".parse().unwrap());
        });
        let of = |protocol| Flow { protocols: vec![protocol], icmp_types: vec![(3, 5)], ..Flow::default() };
        assert_eq!((flows(&types, true), flows(&types, false)), (vec![of(1)], vec![of(58)]));
        let tcp = request(|scope| {
            scope.source_icmp_type_range.push(IcmpRange { lower: 3, upper: None });
            scope.target_protocol.push(6);
        });
        assert_eq!(flows(&tcp, true), [Flow { protocols: vec![6], ..Flow::default() }]);
    }
}
