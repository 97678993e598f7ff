//! The first lines of a service: where it listens.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use crate::exit::Failure;
use crate::values::HostPort;
use crate::{metrics, out};

/// Opens a socket for datagrams.
///
/// # Errors
/// As [`metrics::bind`].
pub(crate) async fn bind_udp(addr: &HostPort) -> Result<UdpSocket, Failure> {
    try_bind_udp(addr).await.map_err(|error| metrics::cannot_listen(addr, &error))
}

/// As [`bind_udp`], for who wants to know what kind of error it was.
pub(crate) async fn try_bind_udp(addr: &HostPort) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(addr.resolve().await?.as_slice()).await
}

/// Says that `service` listens at `addr`: with `json` as
/// `{"event":"listening","service":"..","addr":".."}` on standard output, else in the log. Members of `more` (an
/// object, or null) are added to the object.
///
/// # Errors
/// When standard output cannot be written to.
pub fn announce(json: bool, service: &str, addr: SocketAddr, more: &serde_json::Value) -> Result<(), Failure> {
    if json {
        out::line(&line(service, addr, more))
    } else {
        tracing::info!(%service, %addr, "listening");
        Ok(())
    }
}

fn line(service: &str, addr: SocketAddr, more: &serde_json::Value) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    // Put together by hand: the order of the members is part of the contract.
    let mut line = format!("{{\"event\":\"listening\",\"service\":{},\"addr\":\"{addr}\"", text(service));
    for (name, value) in more.as_object().into_iter().flatten() {
        line.push_str(&format!(",{}:{value}", text(name)));
    }
    line.push('}');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_contract() {
        let addr = "127.0.0.1:40123".parse().unwrap();
        assert_eq!(
            line("iap-manager", addr, &serde_json::Value::Null),
            r#"{"event":"listening","service":"iap-manager","addr":"127.0.0.1:40123"}"#
        );
        assert_eq!(
            line("x", addr, &serde_json::json!({"directory": "https://h/d"})),
            r#"{"event":"listening","service":"x","addr":"127.0.0.1:40123","directory":"https://h/d"}"#
        );
    }
}
