//! Addresses that no other test uses.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of this machine, for tests that give a port up and take it again.
///
/// A port of 127.0.0.1 that is free for a moment goes to the next test that asks for any port. Here nobody asks: the
/// addresses of 127.0.0.0/8 are dealt out by process and by call.
pub fn own_loopback() -> Ipv4Addr {
    // Systems other than Linux answer at 127.0.0.1 alone.
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST;
    }
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed) & 0xff;
    // 127.64.0.0 to 127.127.255.255: far from what systems use.
    Ipv4Addr::from(0x7f40_0000 | (std::process::id() & 0x3fff) << 8 | call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_own() {
        let (one, two) = (own_loopback(), own_loopback());
        assert!(one.is_loopback() && two.is_loopback());
        assert!(one != two || !cfg!(target_os = "linux"));
        std::net::TcpListener::bind((one, 0)).unwrap();
    }
}
