//! Ports for programs that want to be told theirs.

use std::net::{TcpListener, UdpSocket};

/// Tries ports that nobody has, for TCP nor UDP, until `start` is content with one. Somebody else may take it first: then
/// it is not.
pub(crate) fn on_a_port<T>(what: &str, mut start: impl FnMut(u16) -> Option<T>) -> T {
    for _ in 0..20 {
        let Ok(tcp) = TcpListener::bind("127.0.0.1:0") else { continue };
        let port = tcp.local_addr().unwrap().port();
        let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
        drop((tcp, udp));
        if let Some(started) = start(port) {
            return started;
        }
    }
    panic!("no port for {what}");
}
