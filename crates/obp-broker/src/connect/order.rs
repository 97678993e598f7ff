//! The order of address families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv6 and IPv4 in turns, IPv6 first (RFC 8305 section 4).
pub(super) fn interleave(six: &[Ipv6Addr], four: &[Ipv4Addr], most: usize) -> Vec<IpAddr> {
    let mut all = Vec::with_capacity(six.len() + four.len());
    for turn in 0..six.len().max(four.len()) {
        all.extend(six.get(turn).map(|address| IpAddr::V6(*address)));
        all.extend(four.get(turn).map(|address| IpAddr::V4(*address)));
    }
    all.truncate(most);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let six: Vec<Ipv6Addr> = ["2001:db8::1", "2001:db8::2"].iter().map(|text| text.parse().unwrap()).collect();
        let four: Vec<Ipv4Addr> = ["192.0.2.1"].iter().map(|text| text.parse().unwrap()).collect();
        let all: Vec<String> = interleave(&six, &four, 9).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["2001:db8::1", "192.0.2.1", "2001:db8::2"]);
        assert_eq!(interleave(&six, &four, 1).len(), 1);
    }
}
