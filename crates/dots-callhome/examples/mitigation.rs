//! A network and an operator in one process: an attack is asked to be stopped, is stopped, and is withdrawn.
//!
//! `cargo run -p dots-callhome --example mitigation`. Time is a number here, so two minutes pass at once. With sockets
//! and (D)TLS it is the crate `dots-tokio`.

use std::error::Error;
use std::sync::Arc;

use dots_callhome::body::{Scope, Status};
use dots_callhome::{
    AnySource, Client, ClientConfig, ClientEvent, Server, ServerConfig, ServerEvent, SessionId, Transport, cuid,
};
use watchfire_core::{Duration, Instant, Machine as _, Output, StreamMachine as _};

const SESSION: SessionId = SessionId(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut now = Instant::ZERO;
    let config = ClientConfig::builder(cuid(b"the public key of our certificate"), "home.example").build()?;
    let mut operator = Client::new(Arc::new(config), AnySource, [1; 32], now);
    let mut network = Server::new(Arc::new(ServerConfig::default()), AnySource, [2; 32], now);

    // The network called, the handshake is over, both know who the other is.
    operator.session_up(now, Transport::Datagram);
    network.session_up(now, SESSION, "isp.example", Transport::Datagram);

    let mut scope = Scope::default();
    scope.target_prefix.push("198.51.100.7/32".parse()?);
    scope.source_prefix.push("192.0.2.10/32".parse()?);
    let mid = operator.request_mitigation(now, scope)?;

    let mut withdrawn = false;
    let end = now + Duration::from_secs(3600);
    while now < end {
        // Both machines say what they have; the earlier of their times is when somebody has to be called again.
        let mut wake = None::<Instant>;
        let mut quiet = true;
        match operator.poll_output(now) {
            Output::Transmit(datagram) => {
                quiet = false;
                network.handle_input(now, SESSION, &datagram)?;
            }
            Output::Event(ClientEvent::Granted { mid, lifetime, .. }) => {
                quiet = false;
                println!("operator: {mid} is granted for {lifetime:?}");
            }
            Output::Event(ClientEvent::Status { scope }) => {
                quiet = false;
                println!("operator: {:?}", scope.status);
                if scope.status == Some(Status::SuccessfullyMitigated) && !withdrawn {
                    withdrawn = true;
                    operator.withdraw(now, mid)?;
                }
            }
            Output::Event(ClientEvent::Ended { .. }) => {
                println!("operator: over after {:?}", now - Instant::ZERO);
                return if withdrawn { Ok(()) } else { Err("it ended by itself".into()) };
            }
            Output::Event(other) => {
                quiet = false;
                println!("operator: {other:?}");
            }
            Output::Timeout(at) => wake = at,
        }
        match network.poll_output(now) {
            Output::Transmit((_, datagram)) => {
                quiet = false;
                operator.handle_input(now, &datagram)?;
            }
            Output::Event(ServerEvent::Enforce { id, hosts, .. }) => {
                quiet = false;
                println!("network: filters {hosts:?}");
                network.enforced(now, id, true)?; // only when it is really so
            }
            Output::Event(other) => {
                quiet = false;
                println!("network: {other:?}");
            }
            Output::Timeout(at) => wake = [wake, at].into_iter().flatten().min(),
        }
        if quiet {
            now = now.max(wake.ok_or("nothing to wait for")?);
            operator.handle_timeout(now)?;
            network.handle_timeout(now)?;
        }
    }
    Err("it did not end".into())
}
