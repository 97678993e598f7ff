//! The proxy: knows where connections may come from and where they may want to go, and nothing else.
//! draft-ietf-idwg-iap-01 sections 2.3.1, 3.1, 5.2, 7.5.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iap_proto::{CloseReason, Config, Host, ProxyEvent, ProxyTransmit, Side, Status};
use ipnet::IpNet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchfire_core::{Eof, Machine as _, Output};

use crate::admission::Admission;
use crate::clock::Clock;
use crate::ending::Tasks;
use crate::setup::{SetupError, keep_alive};
use crate::wire::{FAREWELL, FAREWELL_OCTETS};

/// How a [`Proxy`] works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// The proxy's names: the first goes into Via lines, all of them are recognised in those that come in.
    pub names: Vec<Host>,
    /// Where every connection goes: the manager (or analyzer), or the next proxy. The name in a request is never
    /// dialled.
    pub next_hop: String,
    /// Networks that may connect; any if empty.
    pub allow_from: Vec<IpNet>,
    /// Names that may be asked for; any if empty.
    pub allow_target: Vec<Host>,
    /// Connections at the same time. Default 1024.
    pub max_connections: usize,
    /// Connections at the same time from one address. Default 256.
    pub max_per_address: usize,
    /// After so long without an octet either way the pipe is closed; zero is never. Default zero: alert channels may
    /// be silent for days, and TCP keepalive finds peers that are gone.
    pub idle: Duration,
    /// Limits, timers and tolerance of the setup exchange.
    pub iap: Arc<Config>,
}

impl ProxyConfig {
    /// A proxy called `name` in front of `next_hop` (`host:port`).
    pub fn new(name: Host, next_hop: impl Into<String>) -> Self {
        Self {
            names: vec![name],
            next_hop: next_hop.into(),
            allow_from: Vec::new(),
            allow_target: Vec::new(),
            max_connections: 1024,
            max_per_address: 256,
            idle: Duration::ZERO,
            iap: Arc::new(Config::manager()),
        }
    }

    fn serves(&self, target: &Host) -> bool {
        self.allow_target.is_empty() || self.allow_target.iter().any(|host| host.is_same(target))
    }
}

/// What a proxy has done so far.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ProxyCounters {
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Connections that became a pipe.
    pub piped: AtomicU64,
    /// Connections that did not.
    pub refused: AtomicU64,
    /// Pipes open now.
    pub open: AtomicU64,
    /// Octets from initiators to next hops.
    pub octets_forward: AtomicU64,
    /// Octets from next hops to initiators.
    pub octets_back: AtomicU64,
}

/// A running proxy. Dropping it cuts everything off; [`shutdown`](Self::shutdown) is polite.
#[derive(Debug)]
pub struct Proxy {
    local: SocketAddr,
    counters: Arc<ProxyCounters>,
    tasks: Tasks,
}

impl Proxy {
    /// Serves on `listener`.
    ///
    /// # Errors
    /// When the listener has no address, or the proxy no name.
    pub fn start(listener: TcpListener, config: ProxyConfig) -> io::Result<Self> {
        let local = listener.local_addr()?;
        if config.names.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a proxy needs a name for its Via line"));
        }
        let this = Self { local, counters: Arc::default(), tasks: Tasks::default() };
        let shared = Shared {
            names: config.names.clone().into(),
            admission: Admission::new(&config.allow_from, config.max_per_address),
            config: Arc::new(config),
            counters: Arc::clone(&this.counters),
            cut: this.tasks.cut.clone(),
        };
        let serve = serve(listener, shared, this.tasks.stop.clone(), this.tasks.tracker.clone());
        this.tasks.tracker.spawn(serve);
        Ok(this)
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What it has done.
    pub fn counters(&self) -> &Arc<ProxyCounters> {
        &self.counters
    }

    /// Takes no more connections, waits up to `grace` for those there are to end by themselves, and ends the rest.
    pub async fn shutdown(self, grace: Duration) {
        self.tasks.shutdown(grace).await;
    }
}

/// Connections at the same time, from addresses that are not allowed, of which each is told so.
const MOST_STRANGERS: usize = 16;

/// What all passages of a proxy share.
#[derive(Clone)]
struct Shared {
    config: Arc<ProxyConfig>,
    names: Arc<[Host]>,
    counters: Arc<ProxyCounters>,
    admission: Admission,
    cut: CancellationToken,
}

async fn serve(listener: TcpListener, shared: Shared, stop: CancellationToken, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(shared.config.max_connections.min(Semaphore::MAX_PERMITS)));
    let strangers = Arc::new(Semaphore::new(MOST_STRANGERS));
    loop {
        // A place first: who cannot be served waits in the system's queue.
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let (tcp, from) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        // Who is not allowed at all is told so, as far as the protocol can, but takes no place from those who are; who
        // has too many already is not told.
        let place = match shared.admission.knows(from.ip()) {
            true => place.ok(),
            false => Arc::clone(&strangers).try_acquire_owned().ok(),
        };
        let (Some(place), Some(admitted)) = (place, shared.admission.count(from.ip())) else {
            shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%from, "connection closed: its address has too many already");
            continue;
        };
        let passage = Passage { shared: shared.clone(), from };
        tasks.spawn(async move {
            tokio::select! {
                passed = passage.run(tcp) => if let Err(error) = passed {
                    passage.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(%from, %error, "connection not passed on");
                },
                () = passage.shared.cut.cancelled() => {}
            }
            drop((admitted, place));
        });
    }
}

/// One connection through the proxy.
struct Passage {
    shared: Shared,
    from: SocketAddr,
}

impl Passage {
    async fn run(&self, mut initiator: TcpStream) -> Result<(), SetupError> {
        let io = SetupError::io;
        prepare(&initiator).map_err(io("setting up the socket"))?;
        let clock = Clock::start();
        let mut machine =
            iap_proto::Proxy::new(Arc::clone(&self.shared.config.iap), Arc::clone(&self.shared.names), clock.now());
        let mut next_hop: Option<TcpStream> = None;
        let mut dialling = None;
        let mut from_initiator = vec![0; 4096];
        let mut from_next_hop = vec![0; 4096];
        loop {
            let due = match machine.poll_output(clock.now()) {
                Output::Transmit(ProxyTransmit { to, octets }) => {
                    let stream = match to {
                        Side::Initiator => Some(&mut initiator),
                        Side::Responder => next_hop.as_mut(),
                    };
                    if let Some(stream) = stream {
                        let limit = self.shared.config.iap.timeouts.next_hop;
                        let written = tokio::time::timeout(limit, stream.write_all(&octets)).await;
                        written
                            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                            .map_err(io("relaying the setup"))?;
                    }
                    continue;
                }
                Output::Event(ProxyEvent::Connect(connect)) => {
                    let admits =
                        self.shared.admission.knows(self.from.ip()) && self.shared.config.serves(&connect.host);
                    tracing::debug!(from = %self.from, host = %connect.host, via = ?connect.via, admits, "connect");
                    match admits {
                        true => machine.accept(clock.now()),
                        false => machine.refuse(clock.now(), Status::FORBIDDEN),
                    }
                    .map_err(iap_proto::Error::from)?;
                    continue;
                }
                Output::Event(ProxyEvent::Dial) => {
                    dialling = Some(Box::pin(TcpStream::connect(self.shared.config.next_hop.as_str())));
                    continue;
                }
                Output::Event(ProxyEvent::Pipe { .. }) => {
                    let next_hop = next_hop.ok_or(SetupError::GivenUp)?;
                    self.pipe(initiator, next_hop).await;
                    return Ok(());
                }
                Output::Event(ProxyEvent::Closed { reason }) => {
                    drop(next_hop);
                    part(initiator, from_initiator).await;
                    return Err(match reason {
                        CloseReason::Refused { step, status } => SetupError::Refused { step, status },
                        CloseReason::Failed(error) => error.into(),
                        _ => SetupError::GivenUp,
                    });
                }
                Output::Event(_) => continue,
                Output::Timeout(due) => due,
            };
            let wait = due.map_or(Duration::MAX, |due| due - clock.now());
            let (side, read) = tokio::select! {
                dialled = dialled(&mut dialling) => {
                    dialling = None;
                    match dialled.and_then(|tcp| prepare(&tcp).map(|()| tcp)) {
                        Ok(tcp) => {
                            next_hop = Some(tcp);
                            machine.dialled(clock.now())
                        }
                        Err(error) => {
                            tracing::warn!(next_hop = %self.shared.config.next_hop, %error, "next hop not reached");
                            machine.dial_failed(clock.now())
                        }
                    }
                    .map_err(iap_proto::Error::from)?;
                    continue;
                }
                // Also while dialling: an initiator that has gone away needs no next hop.
                read = initiator.read(&mut from_initiator) => (Side::Initiator, read),
                read = read_some(&mut next_hop, &mut from_next_hop) => (Side::Responder, read),
                () = tokio::time::sleep(wait) => {
                    // The machine queues its farewell and its `Closed` event.
                    let _ = machine.handle_timeout(clock.now());
                    continue;
                }
            };
            let now = clock.now();
            let octets = if side == Side::Initiator { &from_initiator } else { &from_next_hop };
            let _ = match read {
                Ok(0) => machine.handle_eof(now, side, Eof::Closed),
                Ok(len) => machine.handle_input(now, side, octets.get(..len).unwrap_or_default()),
                Err(_) => machine.handle_eof(now, side, Eof::Truncated),
            };
        }
    }

    async fn pipe(&self, initiator: TcpStream, next_hop: TcpStream) {
        self.shared.counters.piped.fetch_add(1, Ordering::Relaxed);
        let _open = OpenGuard::new(&self.shared.counters);
        let last = AtomicU64::new(0);
        let clock = Clock::start();
        let (mut initiator_in, mut initiator_out) = initiator.into_split();
        let (mut next_hop_in, mut next_hop_out) = next_hop.into_split();
        let copies = async {
            tokio::join!(
                copy(&mut initiator_in, &mut next_hop_out, &self.shared.counters.octets_forward, &last, clock),
                copy(&mut next_hop_in, &mut initiator_out, &self.shared.counters.octets_back, &last, clock),
            )
        };
        let silence = async {
            if self.shared.config.idle.is_zero() {
                std::future::pending::<()>().await;
            }
            loop {
                let idle = clock.now() - watchfire_core::Instant::from_micros(last.load(Ordering::Relaxed));
                match self.shared.config.idle.checked_sub(idle).filter(|left| !left.is_zero()) {
                    Some(left) => tokio::time::sleep(left).await,
                    None => return,
                }
            }
        };
        tokio::select! {
            _ = copies => {}
            () = silence => tracing::info!(from = %self.from, "pipe closed after being idle"),
        }
    }
}

/// Counts a pipe as open until it is dropped, however it ends.
struct OpenGuard<'a>(&'a ProxyCounters);

impl<'a> OpenGuard<'a> {
    fn new(counters: &'a ProxyCounters) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    keep_alive(tcp)?;
    // An urgent octet would otherwise be missing from the stream. This way it goes on as an ordinary one: nothing is
    // lost, and nothing urgent is sent (section 6.2).
    socket2::SockRef::from(tcp).set_out_of_band_inline(true)
}

async fn dialled<F: Future<Output = io::Result<TcpStream>> + Unpin>(dialling: &mut Option<F>) -> F::Output {
    match dialling {
        Some(dialling) => dialling.await,
        None => std::future::pending().await,
    }
}

/// Closes, after reading what the peer may still have sent: closing on unread octets would be a reset, and throw away
/// the answer that the peer has not read yet.
async fn part(mut stream: TcpStream, mut buffer: Vec<u8>) {
    let _ = tokio::time::timeout(FAREWELL, async {
        stream.shutdown().await?;
        let mut left = FAREWELL_OCTETS;
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                len => left = left.saturating_sub(len),
            }
        }
        io::Result::Ok(())
    })
    .await;
}

async fn read_some(stream: &mut Option<TcpStream>, buffer: &mut [u8]) -> io::Result<usize> {
    match stream {
        Some(stream) => stream.read(buffer).await,
        None => std::future::pending().await,
    }
}

/// Reads from the pipe. tokio's own read takes a buffer that was not filled for a sign that there is no more for now;
/// but the system also stops before an urgent octet, and what stands behind would wait for octets yet to come.
async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let socket = socket2::SockRef::from(stream);
    stream.async_io(Interest::READABLE, || io::Read::read(&mut &*socket, buffer)).await
}

/// One direction of the pipe, to its end, which is handed on as a half-close. An error ends this direction only; the
/// other will notice by itself.
async fn copy(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    octets: &AtomicU64,
    last: &AtomicU64,
    clock: Clock,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len) = read(from.as_ref(), &mut buffer).await {
        if len == 0 {
            break;
        }
        last.store(clock.now().as_micros(), Ordering::Relaxed);
        if to.write_all(buffer.get(..len).unwrap_or_default()).await.is_err() {
            break;
        }
        octets.fetch_add(len as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown().await;
}
