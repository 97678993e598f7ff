//! One attempt to reach a Call Home client: the socket, the handshake, and who answers. RFC 9066 section 5.1.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use dots_callhome::Transport;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;

use crate::clock::sleep_until;
use crate::context::Security;
use crate::error::SecurityError;
use crate::identity::Identity;
use crate::link::{Arrived, Content, DatagramLink, Wire};
use crate::trust::PeerSide;

/// A session that waits to be used.
pub(super) enum Ready {
    Stream { stream: Box<TlsStream<TcpStream>>, address: SocketAddr, identity: Identity, resumed: bool },
    Datagram { link: Arc<DatagramLink>, socket: Arc<UdpSocket>, early: Vec<Arrived>, identity: Identity },
}

impl Ready {
    /// Nobody needs it.
    pub(super) fn discard(self) {
        if let Self::Datagram { link, .. } = self {
            link.close();
        }
    }
}

/// Connects, and shakes hands with whoever proves to be `name`.
pub(super) async fn attempt(
    security: &Security,
    transport: Transport,
    to: SocketAddr,
    name: &str,
) -> Result<Ready, SecurityError> {
    let reference = ServerName::try_from(name.to_owned())
        .map_err(|_| SecurityError::Handshake(format!("{name:?} is no name that a certificate could have")))?;
    let attempt = async {
        match transport {
            Transport::Stream => stream(security, to, &reference).await,
            Transport::Datagram => datagram(security, to, &reference).await,
        }
    };
    timeout(security.handshake_timeout(), attempt).await.unwrap_or(Err(SecurityError::TimedOut))
}

async fn stream(security: &Security, to: SocketAddr, name: &ServerName<'static>) -> Result<Ready, SecurityError> {
    let tls = security.tls()?;
    // TCP first, then TLS on it.
    let tcp = TcpStream::connect(to).await?;
    tcp.set_nodelay(true)?;
    let established = tls.connect(tcp, name).await?;
    Ok(Ready::Stream {
        stream: Box::new(established.stream),
        address: to,
        identity: established.identity,
        resumed: established.resumed,
    })
}

async fn datagram(security: &Security, to: SocketAddr, name: &ServerName<'static>) -> Result<Ready, SecurityError> {
    let dtls = security.dtls()?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Arc::new(UdpSocket::bind(any).await?);
    socket.connect(to).await?;
    // Before that is known once, nothing can be sent without waiting.
    socket.writable().await?;
    let engine = dtls.connect(Instant::now().into_std(), name)?;
    let link = Arc::new(DatagramLink::new(Wire::Own(Arc::clone(&socket)), engine, to));
    let mut arrived = link.begin();
    let mut buffer = vec![0; 4096];
    loop {
        let mut rest = arrived.into_iter();
        while let Some(next) = rest.next() {
            match next {
                Arrived::Established(proof) => {
                    let judged = security.judge(&proof, PeerSide::Server, Some(name));
                    let identity = judged.inspect_err(|_| link.close())?;
                    return Ok(Ready::Datagram { link, socket, early: rest.collect(), identity });
                }
                Arrived::Closed(why) => return Err(why.unwrap_or(SecurityError::Closed)),
                Arrived::Data(_) => {}
            }
        }
        tokio::select! {
            received = socket.recv(&mut buffer) => {
                let length = received?;
                arrived = link.input(buffer.get(..length).unwrap_or_default());
            }
            () = sleep_until(link.wake()) => arrived = link.tick(),
        }
    }
}

/// Carries a DTLS session to its end.
pub(super) async fn carry(
    link: Arc<DatagramLink>,
    socket: Arc<UdpSocket>,
    early: Vec<Arrived>,
    most: usize,
    content: Arc<dyn Content>,
) {
    let mut buffer = vec![0; most.clamp(512, 65535)];
    let mut arrived = early;
    loop {
        for next in std::mem::take(&mut arrived) {
            match next {
                Arrived::Data(octets) => content.arrived(link.id(), &octets),
                Arrived::Closed(why) => return content.ended(link.id(), why),
                Arrived::Established(_) => {}
            }
        }
        tokio::select! {
            received = socket.recv(&mut buffer) => match received {
                Ok(length) => arrived = link.input(buffer.get(..length).unwrap_or_default()),
                // Nobody listens there right now, says a router. That is no reason to give up: only silence is.
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            },
            () = sleep_until(link.wake()) => arrived = link.tick(),
        }
    }
}
