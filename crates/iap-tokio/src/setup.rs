//! From a TCP connection to an open channel: the setup exchange in clear text, the TLS handshake, the channel setup
//! inside it. draft-ietf-idwg-iap-01 section 3, steps in that order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use iap_proto::message::Connect;
use iap_proto::{
    Channel, CloseReason, Config, DataRole, Host, Initiator, InitiatorEvent, Party, Responder, ResponderEvent, Status,
    Step, TlsRole,
};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::tls::{AuthError, Claim, Established, Handshake, Identity, Tls, TlsError, TlsStream, manager_name};
use crate::urgent;
use crate::wire::{IapMachine, OverTcp, Wire};

/// Why there is no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The connection could not be made or used.
    #[error("{what}: {problem}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        problem: String,
    },
    /// The peer said no, or this node did.
    #[error("{step} refused with status {status}")]
    Refused {
        /// To which request.
        step: Step,
        /// With which status.
        status: Status,
    },
    /// The peer broke the protocol, or took too long.
    #[error(transparent)]
    Protocol(#[from] iap_proto::Error),
    /// The handshake failed, or a certificate was refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer's certificate does not allow the role it asks for.
    #[error("{peer}: {error}")]
    Role {
        /// Who.
        peer: String,
        /// Why.
        error: AuthError,
    },
    /// This node gave up, because it is shutting down.
    #[error("given up")]
    GivenUp,
}

impl SetupError {
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { what, problem: error.to_string() }
    }

    /// A short word for metrics: `io`, `refused`, `invalid_message`, `misbehaved`, `incompatible`, `limit`,
    /// `timeout`, `tls_*`, `role`, `given_up`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Refused { .. } => "refused",
            Self::Protocol(error) => error_label(error),
            Self::Tls(error) => error.reason().as_str(),
            Self::Role { .. } => "role",
            Self::GivenUp => "given_up",
        }
    }
}

/// A short word for an error of a machine, for metrics.
pub(crate) fn error_label(error: &iap_proto::Error) -> &'static str {
    match error {
        iap_proto::Error::InvalidMessage(_) => "invalid_message",
        iap_proto::Error::PeerMisbehaved(_) => "misbehaved",
        iap_proto::Error::PeerIncompatible(_) => "incompatible",
        iap_proto::Error::LimitExceeded(_) => "limit",
        iap_proto::Error::TimedOut(_) => "timeout",
        _ => "api",
    }
}

/// An open channel, who is at its other end, and the wire below it.
pub(crate) struct Open<C = Channel> {
    pub(crate) channel: C,
    pub(crate) wire: Wire<TlsStream<TcpStream>>,
    pub(crate) peer: Arc<Identity>,
    pub(crate) handshake: Handshake,
}

impl Open {
    /// As a channel on which this node sends.
    ///
    /// # Errors
    /// When it receives, which does not happen to a node that asked to send.
    pub(crate) fn into_sending(self) -> Result<Open<iap_proto::Sender>, SetupError> {
        let Self { channel, wire, peer, handshake } = self;
        let channel = channel.into_sender().ok_or(SetupError::GivenUp)?;
        Ok(Open { channel, wire, peer, handshake })
    }
}

/// What a node brings to every setup.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) config: Arc<Config>,
    pub(crate) tls: Tls,
    /// At an analyzer: what the manager's certificate must be for. Not used by a manager.
    pub(crate) manager: Option<ServerName<'static>>,
}

impl Node {
    /// What the peer must be for alerts to flow, or for commands if those are what the channel is for.
    fn claim(&self, own_role: Option<DataRole>) -> Claim {
        let claim = match self.config.party {
            Party::Analyzer => Claim::MANAGER,
            Party::Manager => Claim::ANALYZER,
        };
        match own_role {
            Some(role) => claim.with_role(role.opposite()),
            None => claim,
        }
    }

    /// The handshake, within the time that `machine` leaves for it.
    async fn start_tls<M: IapMachine>(
        &self,
        mut wire: Wire<TcpStream>,
        machine: &mut M,
        start: StartTls<'_>,
    ) -> Result<(Wire<TlsStream<TcpStream>>, Arc<Identity>, Handshake), SetupError> {
        let StartTls { role, received, claim, target } = start;
        let due = wire.drain(machine).err().flatten();
        let clock = wire.clock();
        let (tcp, mut urgent) = wire.into_parts();
        let handshake = async {
            match (role, &self.manager, target) {
                (TlsRole::Client, Some(manager), _) => self.tls.connect(tcp, manager, claim).await,
                // A manager that dials in a later dialect: the analyzer is who it was dialled as.
                (TlsRole::Client, None, Some(target)) => match manager_name(target.as_str()) {
                    Ok(name) => self.tls.connect(tcp, &name, claim).await,
                    Err(error) => {
                        Err(TlsError::Protocol { problem: error.to_string(), reason: crate::tls::Reason::BadName })
                    }
                },
                (TlsRole::Client, None, None) => {
                    let problem = "no name to know the peer by".to_owned();
                    Err(TlsError::Protocol { problem, reason: crate::tls::Reason::BadName })
                }
                // An analyzer knows its manager by name in the later dialects, too, where it may be the TLS server.
                (TlsRole::Server, manager, _) => self.tls.accept_named(tcp, received, manager.as_ref(), claim).await,
            }
        };
        let Established { stream, peer, handshake, .. } = tokio::select! {
            biased;
            done = handshake => done?,
            () = urgent::came(&mut urgent) => {
                return Err(machine.handle_urgent_data().err().map_or(SetupError::GivenUp, SetupError::Protocol));
            }
            () = clock.until(due) => {
                return Err(machine.handle_timeout(clock.now()).err().map_or(SetupError::GivenUp, SetupError::Protocol));
            }
        };
        Ok((Wire::new(stream, urgent, clock), Arc::new(peer), handshake))
    }

    /// Drives the setup of a connection that this node dialled.
    pub(crate) async fn initiate(&self, tcp: TcpStream, target: Host, role: DataRole) -> Result<Open, SetupError> {
        let port = tcp.peer_addr().ok().map(|address| address.port());
        let mut wire = clear_wire(tcp)?;
        // Only the later drafts' CONNECT has room for these.
        let source = self.tls.own().display().parse().ok();
        let mut machine = Initiator::new(Arc::clone(&self.config), target.clone(), role, wire.now())
            .with_port_and_source(port, source);
        let (tls_role, received) = loop {
            match wire.next_event(&mut machine).await {
                InitiatorEvent::Connected { via } => tracing::debug!(?via, "connected"),
                InitiatorEvent::StartTls { role, received } => break (role, received),
                InitiatorEvent::Closed { reason } => return Err(closed(wire, reason).await),
                _ => {}
            }
        };
        wire.flush().await.map_err(SetupError::io("asking for tls"))?;
        let start = StartTls { role: tls_role, received, claim: self.claim(Some(role)), target: Some(&target) };
        let (mut wire, peer, handshake) = self.start_tls(wire, &mut machine, start).await?;
        machine.tls_started(wire.now()).map_err(iap_proto::Error::from)?;
        loop {
            match wire.next_event(&mut machine).await {
                InitiatorEvent::Ready(channel) => return Ok(Open { channel, wire, peer, handshake }),
                InitiatorEvent::Closed { reason } => {
                    if let (true, Some(manager)) = (handshake.resumed, &self.manager) {
                        // What was remembered may be what the peer does not like.
                        self.tls.forget_sessions(manager);
                    }
                    return Err(closed_inside(wire, reason).await);
                }
                _ => {}
            }
        }
    }

    /// Drives the setup of a connection that the peer dialled. `admit` decides on the clear-text request, `welcome`
    /// on the authenticated peer.
    pub(crate) async fn respond(
        &self,
        tcp: TcpStream,
        admit: impl FnOnce(&Connect) -> Result<(), Status>,
        welcome: impl FnOnce(&Arc<Identity>) -> Result<(), Status>,
    ) -> Result<Open, SetupError> {
        let mut wire = clear_wire(tcp)?;
        let mut machine = Responder::new(Arc::clone(&self.config), wire.now());
        let mut admit = Some(admit);
        let (tls_role, received) = loop {
            match wire.next_event(&mut machine).await {
                ResponderEvent::Connect(connect) => {
                    let now = wire.now();
                    let verdict = admit.take().map_or(Err(Status::BAD_REQUEST), |admit| admit(&connect));
                    match verdict {
                        Ok(()) => machine.accept_connect(now),
                        Err(status) => machine.refuse_connect(now, status),
                    }
                    .map_err(iap_proto::Error::from)?;
                }
                ResponderEvent::StartTls { role, received } => break (role, received),
                ResponderEvent::Closed { reason } => return Err(closed(wire, reason).await),
                _ => {}
            }
        };
        wire.flush().await.map_err(SetupError::io("answering the upgrade request"))?;
        // A node without commands has only one role to play, so the peer's is known already.
        let own_role = (!self.config.commands).then_some(match self.config.party {
            Party::Analyzer => DataRole::Sender,
            Party::Manager => DataRole::Receiver,
        });
        let start = StartTls { role: tls_role, received, claim: self.claim(own_role), target: None };
        let (mut wire, peer, handshake) = self.start_tls(wire, &mut machine, start).await?;
        machine.tls_started(wire.now()).map_err(iap_proto::Error::from)?;
        let mut welcome = Some(welcome);
        let mut refused = None;
        loop {
            match wire.next_event(&mut machine).await {
                ResponderEvent::ChannelSetup { role } => {
                    let now = wire.now();
                    let allowed = self.tls.check_role(&peer, self.claim(Some(role)));
                    let verdict = match allowed {
                        Ok(()) => welcome.take().map_or(Err(Status::BAD_REQUEST), |welcome| welcome(&peer)),
                        Err(error) => {
                            refused = Some(SetupError::Role { peer: peer.display().to_owned(), error });
                            Err(Status::FORBIDDEN)
                        }
                    };
                    match verdict {
                        Ok(()) => machine.accept_channel(now),
                        Err(status) => machine.refuse_channel(now, status),
                    }
                    .map_err(iap_proto::Error::from)?;
                }
                ResponderEvent::Ready(channel) => return Ok(Open { channel, wire, peer, handshake }),
                ResponderEvent::Closed { reason } => {
                    let error = closed_inside(wire, reason).await;
                    return Err(refused.unwrap_or(error));
                }
                _ => {}
            }
        }
    }
}

/// What is known when TLS starts.
struct StartTls<'a> {
    role: TlsRole,
    /// Octets of TLS that came with the answer in clear text.
    received: bytes::Bytes,
    claim: Claim,
    /// Whom this node dialled.
    target: Option<&'a Host>,
}

fn clear_wire(tcp: TcpStream) -> Result<Wire<TcpStream>, SetupError> {
    // Small requests and answers alternate: waiting to fill a segment would cost a delayed acknowledgement each.
    tcp.set_nodelay(true).map_err(SetupError::io("setting up the socket"))?;
    keep_alive(&tcp).map_err(SetupError::io("setting up the socket"))?;
    let urgent = urgent::watch(&tcp).map_err(SetupError::io("watching for urgent data"))?;
    Ok(Wire::new(tcp, Some(urgent), Clock::start()))
}

/// A peer that vanished without a word is noticed within some three minutes (nine probes, unless the system is told
/// otherwise) even on an idle connection.
pub(crate) fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    let times = socket2::TcpKeepalive::new()
        .with_time(std::time::Duration::from_secs(60))
        .with_interval(std::time::Duration::from_secs(15));
    socket2::SockRef::from(tcp).set_tcp_keepalive(&times)
}

/// Sends the farewell that is still queued, and says what the end means.
async fn closed<S: OverTcp>(wire: Wire<S>, reason: CloseReason) -> SetupError {
    wire.farewell().await;
    match reason {
        CloseReason::Refused { step, status } => SetupError::Refused { step, status },
        CloseReason::Failed(error) => SetupError::Protocol(error),
        _ => SetupError::GivenUp,
    }
}

/// As [`closed`], inside TLS: under TLS 1.3 a peer refuses our certificate only after the handshake, by an alert that
/// comes out of the next read.
async fn closed_inside(mut wire: Wire<TlsStream<TcpStream>>, reason: CloseReason) -> SetupError {
    let alert = wire.take_trouble().map(|error| TlsError::from_io(&error));
    let error = closed(wire, reason).await;
    match alert {
        Some(alert @ TlsError::RefusedByPeer { .. }) => alert.into(),
        _ => error,
    }
}

/// Where a node dials to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// `host:port` of the peer or of the first proxy on the way to it; names are looked up anew each time.
    pub address: String,
    /// The name in the CONNECT request.
    pub target: Host,
}

impl Endpoint {
    /// The peer `target`, reached at `address`.
    pub fn new(address: impl Into<String>, target: Host) -> Self {
        Self { address: address.into(), target }
    }

    /// Connects TCP, within `limit`.
    pub(crate) async fn dial(&self, limit: std::time::Duration) -> Result<TcpStream, SetupError> {
        let timed = tokio::time::timeout(limit, TcpStream::connect(&self.address)).await;
        timed
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
            .map_err(SetupError::io("connecting"))
    }
}

/// The address of the other end, for logs and limits.
pub(crate) fn peer_address(tcp: &TcpStream) -> Result<SocketAddr, SetupError> {
    tcp.peer_addr().map_err(SetupError::io("reading the peer's address"))
}
