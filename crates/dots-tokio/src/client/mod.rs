//! The Call Home client: an operator's side. It listens, is the (D)TLS server, and asks. RFC 9066 section 5.

mod events;
mod peer;
mod tcp;
mod udp;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dots_callhome::body::{AttackStatus, Lifetime, RedirectedSignal, Scope, SignalConfig};
use dots_callhome::{ClientConfig, ClientConfigBuilder, ClientEvent, ClientPolicy, Transport};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

pub use crate::limits::ClientLimits;
pub use events::{ClientEvents, Missed};
pub use peer::{CallHomeClientEvent, MitigationInfo, PeerInfo, SessionInfo};
pub use udp::SocketStats;

use crate::clock::Clock;
use crate::context::Security;
use crate::error::{ConfigError, RequestError, StartError};
use peer::{Peers, SharedPolicy};

/// What a Call Home client is made of.
pub struct CallHomeClientBuilder {
    security: Security,
    policy: Arc<dyn ClientPolicy + Send + Sync>,
    machine: ClientConfigBuilder,
    limits: ClientLimits,
    streams: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
    workers: usize,
}

impl fmt::Debug for CallHomeClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHomeClientBuilder")
            .field("streams", &self.streams)
            .field("datagrams", &self.datagrams)
            .finish_non_exhaustive()
    }
}

impl CallHomeClientBuilder {
    /// Listens here for TLS. May be called several times.
    #[must_use]
    pub fn listen_tls(mut self, listener: TcpListener) -> Self {
        self.streams.push(listener);
        self
    }

    /// Listens here for DTLS. May be called several times.
    #[must_use]
    pub fn listen_dtls(mut self, socket: UdpSocket) -> Self {
        self.datagrams.push(socket);
        self
    }

    /// How the machines behave: profile, cuid, limits, heartbeats. `server` is set for each peer. The cuid that is set
    /// from the start is that of our own key.
    #[must_use]
    pub fn with_machine(mut self, change: impl FnOnce(ClientConfigBuilder) -> ClientConfigBuilder) -> Self {
        self.machine = change(self.machine);
        self
    }

    /// How far things may grow.
    #[must_use]
    pub fn with_limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Tasks that read each socket for DTLS. Default 2, at most 64.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers.clamp(1, 64);
        self
    }

    /// Begins, on the tokio runtime that calls.
    ///
    /// # Errors
    /// When there is nothing to listen on, the credentials are not for it, or the machine cannot be as it was set.
    pub fn start(self) -> Result<CallHomeClient, StartError> {
        if self.streams.is_empty() && self.datagrams.is_empty() {
            return Err(StartError::Nothing);
        }
        let used = [(Transport::Stream, self.streams.len()), (Transport::Datagram, self.datagrams.len())];
        if let Some((transport, _)) = used.into_iter().find(|(t, count)| *count > 0 && !self.security.supports(*t)) {
            return Err(StartError::Transport(transport));
        }
        let machine = self.machine.build().map_err(ConfigError::from)?;
        let stop = CancellationToken::new();
        let peers = Arc::new(Peers::new(Clock::start(), self.limits, machine, SharedPolicy(self.policy), stop.clone()));
        let tls: Result<Vec<_>, _> = self.streams.iter().map(TcpListener::local_addr).collect();
        let tls = tls?;
        let mut endpoints = Vec::new();
        for socket in self.datagrams {
            endpoints.push(Arc::new(udp::Endpoint::new(socket, self.security.clone(), Arc::clone(&peers))?));
        }
        let dtls: Result<Vec<_>, _> = endpoints.iter().map(|endpoint| endpoint.local_addr()).collect();
        let dtls = dtls?;
        for listener in self.streams {
            peers.tasks.spawn(tcp::listen(listener, self.security.clone(), Arc::clone(&peers)));
        }
        for endpoint in &endpoints {
            for _ in 0..self.workers {
                peers.tasks.spawn(Arc::clone(endpoint).listen());
            }
            peers.tasks.spawn(Arc::clone(endpoint).sweep());
        }
        Ok(CallHomeClient { inner: Arc::new(Inner { peers, security: self.security, endpoints, tls, dtls }) })
    }
}

/// A running Call Home client. Clones are handles to the same; when the last is dropped, it stops, and waits for
/// nothing.
#[derive(Clone)]
pub struct CallHomeClient {
    inner: Arc<Inner>,
}

struct Inner {
    peers: Arc<Peers>,
    security: Security,
    endpoints: Vec<Arc<udp::Endpoint>>,
    tls: Vec<SocketAddr>,
    dtls: Vec<SocketAddr>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.peers.all().iter().for_each(|peer| peer.disconnect());
        self.peers.stop.cancel();
    }
}

impl fmt::Debug for CallHomeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHomeClient").field("tls", &self.inner.tls).field("dtls", &self.inner.dtls).finish()
    }
}

impl CallHomeClient {
    /// Begins with these credentials and this policy, such as [`AnySource`](dots_callhome::AnySource).
    pub fn builder(security: Security, policy: impl ClientPolicy + Send + Sync + 'static) -> CallHomeClientBuilder {
        let machine = ClientConfig::builder(security.cuid(), "");
        CallHomeClientBuilder {
            security,
            policy: Arc::new(policy),
            machine,
            limits: ClientLimits::default(),
            streams: Vec::new(),
            datagrams: Vec::new(),
            workers: 2,
        }
    }

    /// Every handshake from now on is made with these credentials: see [`Security::replace`].
    pub fn set_security(&self, security: &Security) {
        self.inner.security.replace(security);
    }

    /// Where it listens for TLS.
    pub fn tls_addrs(&self) -> &[SocketAddr] {
        &self.inner.tls
    }

    /// Where it listens for DTLS.
    pub fn dtls_addrs(&self) -> &[SocketAddr] {
        &self.inner.dtls
    }

    /// What was seen at each socket for DTLS.
    pub fn socket_stats(&self) -> Vec<SocketStats> {
        self.inner.endpoints.iter().map(|endpoint| endpoint.stats()).collect()
    }

    /// TLS connections for which there was no room.
    pub fn refused_connections(&self) -> u64 {
        self.inner.peers.refused.load(Ordering::Relaxed)
    }

    /// Sessions there are.
    pub fn session_count(&self) -> usize {
        self.inner.peers.sessions.load(Ordering::Relaxed)
    }

    /// All peers that have, or had, a session, or are expected.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.inner.peers.all().iter().map(|peer| peer.info()).collect()
    }

    /// One of them.
    pub fn peer(&self, name: &str) -> Option<PeerInfo> {
        self.inner.peers.get(name).ok().map(|peer| peer.info())
    }

    /// Makes a peer known before it calls: what is asked of it goes out when it does.
    ///
    /// # Errors
    /// When there are too many, or everything is stopped.
    pub fn expect(&self, peer: &str) -> Result<(), RequestError> {
        self.inner.peers.find_or_make(peer).map(drop)
    }

    /// Asks a peer to stop traffic. All sources of one target belong into one request: a later one for the same target
    /// takes the place of the earlier.
    ///
    /// # Errors
    /// When there is no such peer, or the request breaks a rule; then nothing was sent.
    pub fn mitigate(&self, peer: &str, scope: Scope) -> Result<u32, RequestError> {
        self.inner.peers.get(peer)?.mitigate(None, scope)
    }

    /// The same under a mid that is above all before.
    ///
    /// # Errors
    /// As above, and when it is not.
    pub fn mitigate_as(&self, peer: &str, mid: u32, scope: Scope) -> Result<(), RequestError> {
        self.inner.peers.get(peer)?.mitigate(Some(mid), scope).map(drop)
    }

    /// As [`Self::mitigate`], and waits until the peer has granted it.
    ///
    /// # Errors
    /// As there; and when it refuses, or says nothing in time. In the latter case it goes on being asked.
    pub async fn mitigate_granted(&self, peer: &str, scope: Scope, wait: Duration) -> Result<u32, RequestError> {
        let mut events = self.follow(peer);
        let asked = self.mitigate(peer, scope)?;
        let granted = async {
            loop {
                match events.next().await {
                    Ok(CallHomeClientEvent::Signal { peer: of, event }) if *of == *peer => match event {
                        ClientEvent::Granted { mid, .. } if mid == asked => return Ok(mid),
                        ClientEvent::Refused { mid, why } if mid == asked => {
                            return Err(RequestError::Refused(format!("{why:?}")));
                        }
                        _ => {}
                    },
                    Ok(_) => {}
                    Err(Missed::Events(_)) => {
                        // The answer may be among those.
                        let known = self.mitigations(peer)?;
                        match known.iter().find(|known| known.mid == asked) {
                            Some(known) if known.status.is_some() => return Ok(asked),
                            Some(_) => {}
                            None => return Err(RequestError::Refused("it is not wanted any more".to_owned())),
                        }
                    }
                    Err(Missed::Stopped) => return Err(RequestError::Stopped),
                }
            }
        };
        tokio::time::timeout(wait, granted).await.unwrap_or(Err(RequestError::TimedOut))
    }

    /// Withdraws a mitigation.
    ///
    /// # Errors
    /// When there is none such.
    pub fn withdraw(&self, peer: &str, mid: u32) -> Result<(), RequestError> {
        self.inner.peers.get(peer)?.withdraw(mid)
    }

    /// Asks for a mitigation again, for a new lifetime if one is given. This happens by itself in time.
    ///
    /// # Errors
    /// When there is none such.
    pub fn refresh(&self, peer: &str, mid: u32, lifetime: Option<Lifetime>) -> Result<(), RequestError> {
        self.inner.peers.get(peer)?.refresh(mid, lifetime)
    }

    /// Tells a peer how the attack looks from here.
    ///
    /// # Errors
    /// When there is no such mitigation.
    pub fn report_efficacy(&self, peer: &str, mid: u32, status: AttackStatus) -> Result<(), RequestError> {
        self.inner.peers.get(peer)?.efficacy(mid, status)
    }

    /// Asks a peer for other settings, now and after every reconnection.
    ///
    /// # Errors
    /// When nothing is set.
    pub fn configure(&self, peer: &str, config: SignalConfig) -> Result<(), RequestError> {
        self.inner.peers.get(peer)?.configure(config)
    }

    /// Sends a peer to another Call Home client (RFC 9066 section 5.2.2); `force` even while it mitigates.
    ///
    /// # Errors
    /// When it has no session, or mitigates.
    pub fn redirect(&self, peer: &str, to: RedirectedSignal, force: bool) -> Result<(), RequestError> {
        self.inner.peers.get(peer)?.redirect(to, force)
    }

    /// What a peer was asked for, and what it says.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn mitigations(&self, peer: &str) -> Result<Vec<MitigationInfo>, RequestError> {
        Ok(self.inner.peers.get(peer)?.mitigations())
    }

    /// Everything that happens from now on; the first who asks hears everything since the start.
    pub fn events(&self) -> ClientEvents {
        ClientEvents::new(self.inner.peers.events.listen(), None, self.inner.peers.stop.clone())
    }

    /// What happens with one peer: the notifications about its mitigations among it.
    pub fn follow(&self, peer: &str) -> ClientEvents {
        ClientEvents::new(self.inner.peers.events.subscribe(), Some(peer.into()), self.inner.peers.stop.clone())
    }

    /// Closes the session of a peer. It will call again.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn disconnect(&self, peer: &str) -> Result<(), RequestError> {
        self.inner.peers.get(peer)?.disconnect();
        Ok(())
    }

    /// Stops: says goodbye to all peers, and waits for it, at most for `grace`; two seconds are enough. Mitigations stay
    /// at the peers until their lifetime ends, unless they are withdrawn before.
    pub async fn shutdown(&self, grace: Duration) {
        let peers = &self.inner.peers;
        peers.all().iter().for_each(|peer| peer.disconnect());
        peers.tasks.close();
        peers.stop.cancel();
        let _ = tokio::time::timeout(grace, peers.tasks.wait()).await;
    }
}
