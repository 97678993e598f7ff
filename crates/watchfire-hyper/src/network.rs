//! Who counts as one client.

use std::net::IpAddr;

/// The network of an address: the address itself for IPv4, its /64 for IPv6, because whoever has one address of IPv6
/// has all of its /64. Different numbers are different clients.
pub fn network(from: IpAddr) -> u128 {
    match from.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_an_address_are_one_client_and_so_is_a_64() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
