//! `repute dnsbl`: the entries of a store as a DNSBL, over UDP and TCP. [RFC 5782](https://www.rfc-editor.org/rfc/rfc5782)
//!
//! Over UDP threads of their own wait for packets: between a packet and its answer there is nothing but a look into the
//! snapshot. The messages are `repute_proto`'s.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use repute_proto::dnsbl::{Key, Listing, Outcome, Responder, Transport, Zone};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::codes::Codes;
use super::data::Data;
use super::datagrams::Datagrams;
use super::import::TEXT;
use super::place::Target;
use super::snapshot::{Hit, Snapshot};
use super::turnstile::{Pass, Turnstile};
use crate::cli::DnsblArgs;
use crate::exit::Failure;
use crate::metrics::{self, Registry};
use crate::service::Context;

/// How often a thread without packets looks whether it shall end, and whether there are new entries.
const PAUSE: Duration = Duration::from_millis(250);

/// Octets of queries that may wait while a thread gets no processor, as when entries are read anew.
const QUEUE: usize = 4 << 20;

/// A connection over TCP that asks nothing is closed after this.
const IDLE: Duration = Duration::from_secs(10);

/// Records of one answer.
const MOST: usize = 64;

/// How long threads and connections may take at the end.
const GRACE: Duration = Duration::from_secs(5);

/// A DNSBL that listens.
pub struct DnsblService {
    list: Arc<List>,
    workers: Workers,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    connections: Arc<Semaphore>,
}

impl std::fmt::Debug for DnsblService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsblService").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl DnsblService {
    /// Reads the entries, opens the sockets and says where it listens.
    ///
    /// # Errors
    /// A store that cannot be read, a name that is none, an address that cannot be listened at.
    pub async fn start(args: &DnsblArgs, context: &Context) -> Result<Self, Failure> {
        let zones = zones(args)?;
        let data = Data::open(&args.store, args.store_password_file.as_deref()).await?;
        let list = Arc::new(List {
            data,
            zones,
            codes: Codes::new(&args.code),
            text: args.text.clone(),
            rate: args.rate,
            counts: Counts::default(),
            is_over: AtomicBool::new(false),
            over: CancellationToken::new(),
            recent: Mutex::default(),
        });
        let mut sockets = Vec::new();
        for address in &args.listen {
            // Both at the same port, which is the system's choice at times: what is free for TCP may be taken for UDP.
            let mut tries = 0;
            let (tcp, udp) = loop {
                let tcp = metrics::bind(address).await?;
                let local = tcp.local_addr().map_err(|error| Failure::usage(error.to_string()).at(address))?;
                match UdpSocket::bind(local) {
                    Ok(udp) => break (tcp, udp),
                    Err(_) if address.port() == 0 && tries < 16 => tries += 1,
                    Err(error) => return Err(Failure::usage(format!("cannot listen over UDP: {error}")).at(address)),
                }
            };
            sockets.push((tcp, udp));
        }
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let mut workers = Workers { list: Arc::clone(&list), threads: Vec::new() };
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for (tcp, udp) in sockets {
            let failed = |error: std::io::Error| Failure::usage(format!("cannot listen: {error}")).at("--listen");
            let local = tcp.local_addr().map_err(failed)?;
            udp.set_read_timeout(Some(PAUSE)).map_err(failed)?;
            // As much of it as the system allows; less does as well while nothing else takes the processor.
            let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(QUEUE);
            for _ in 0..args.threads {
                let (list, socket) = (Arc::clone(&list), udp.try_clone().map_err(failed)?);
                let thread = std::thread::Builder::new().name("dnsbl".into()).spawn(move || list.answer_all(&socket));
                workers.threads.push(thread.map_err(failed)?);
            }
            context.announce("repute-dnsbl", local)?;
            listeners.push(tcp);
            addresses.push(local);
        }
        context.serve_metrics(metrics)?;
        list.count(&context.metrics);
        list.data.count(&context.metrics);
        let connections = Arc::new(Semaphore::new(args.max_connections as usize));
        Ok(Self { list, workers, listeners, addresses, connections })
    }

    /// Where it answers.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// None; it has the form of every service.
    pub async fn run(self, context: Context) -> Result<(), Failure> {
        let fresh = tokio::spawn(Arc::clone(&self.list.data).keep_fresh(context.clone()));
        let tasks = TaskTracker::new();
        for listener in self.listeners {
            let accepting = accept(listener, Arc::clone(&self.list), Arc::clone(&self.connections), tasks.clone());
            tasks.spawn(self.list.over.clone().run_until_cancelled_owned(accepting));
        }
        context.shutdown.cancelled().await;
        tasks.close();
        let _ = tokio::join!(fresh, self.workers.end(), tokio::time::timeout(GRACE, tasks.wait()));
        Ok(())
    }
}

/// The threads that answer over UDP. When this is dropped they end, and connections over TCP take no more questions.
struct Workers {
    list: Arc<List>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Ends them, and waits a while until they have.
    async fn end(mut self) {
        self.list.end();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = tokio::time::timeout(GRACE, joined).await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.list.end();
    }
}

fn zones(args: &DnsblArgs) -> Result<Vec<Zone>, Failure> {
    let seconds = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX).min(i32::MAX as u32);
    let zone = |name: &String| {
        let failed =
            |error: repute_proto::dnsbl::InvalidZone| Failure::usage(format!("`{name}`: {error}")).at("--zone");
        let zone = Zone::new(name).map_err(failed)?;
        let zone = zone.with_ttl(seconds(args.ttl.0), seconds(args.negative_ttl.0));
        let zone = zone
            .with_servers(args.ns.iter().map(String::as_str))
            .map_err(|error| Failure::usage(error.to_string()).at("--ns"))?;
        Ok(if args.no_test_entries { zone.without_test_entries() } else { zone })
    };
    args.zone.iter().map(zone).collect()
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What all threads and connections answer from.
struct List {
    data: Arc<Data>,
    zones: Vec<Zone>,
    codes: Codes,
    text: String,
    rate: u32,
    counts: Counts,
    /// For the threads, which look often.
    is_over: AtomicBool,
    /// The same for connections.
    over: CancellationToken,
    /// The view that was made last.
    recent: Mutex<Option<Arc<View>>>,
}

/// A snapshot, and zones whose serial number says which.
struct View {
    generation: u64,
    snapshot: Arc<Snapshot>,
    responder: Responder,
}

#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; 7],
    limited: AtomicU64,
    unsent: AtomicU64,
    connections: AtomicU64,
}

fn index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Listed => 0,
        Outcome::NotListed => 1,
        Outcome::Refused => 3,
        Outcome::Malformed => 4,
        Outcome::Truncated => 5,
        Outcome::Dropped => 6,
        _ => 2,
    }
}

const OUTCOMES: [&str; 7] = ["listed", "not_listed", "other", "refused", "malformed", "truncated", "dropped"];

impl List {
    /// Nobody is answered any more.
    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.over.cancel();
    }

    fn view(&self) -> Arc<View> {
        let generation = self.data.generation();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match &*recent {
            Some(view) if view.generation == generation => Arc::clone(view),
            _ => {
                let serial = unix_time() as u32;
                let zones = self.zones.iter().map(|zone| zone.clone().with_serial(serial)).collect();
                let snapshot = self.data.snapshot();
                let view = Arc::new(View { generation, snapshot, responder: Responder::new(zones) });
                *recent = Some(Arc::clone(&view));
                view
            }
        }
    }

    /// Answers over UDP until it is over.
    fn answer_all(&self, socket: &UdpSocket) {
        let mut view = self.view();
        let mut turnstile = Turnstile::new(self.rate);
        let (mut datagrams, mut listing) = (Datagrams::new(), Listing::default());
        while !self.is_over.load(Ordering::Relaxed) {
            let mut now = None;
            let exchanged = datagrams.exchange(socket, |packet, from, out| {
                let now = *now.get_or_insert_with(unix_time);
                self.refresh(&mut view);
                let outcome = match turnstile.pass(from, now) {
                    Pass::Free => self.respond(&view, now, packet, Transport::Udp, &mut listing, out),
                    limited => {
                        self.counts.limited.fetch_add(1, Ordering::Relaxed);
                        if limited == Pass::Silent {
                            return;
                        }
                        Responder::truncated(packet, out)
                    }
                };
                self.note(outcome);
            });
            // An error is the end of the pause, or the news that some earlier answer did not arrive.
            if let Ok(unsent @ 1..) = exchanged {
                self.counts.unsent.fetch_add(unsent, Ordering::Relaxed);
            }
            // Also when nobody asks: old entries are not to stay in memory.
            self.refresh(&mut view);
        }
    }

    fn refresh(&self, view: &mut Arc<View>) {
        if view.generation != self.data.generation() {
            *view = self.view();
        }
    }

    fn note(&self, outcome: Outcome) {
        if let Some(count) = self.counts.outcomes.get(index(outcome)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn respond(
        &self,
        view: &View,
        now: u64,
        packet: &[u8],
        transport: Transport,
        listing: &mut Listing,
        out: &mut Vec<u8>,
    ) -> Outcome {
        view.responder.respond(packet, transport, listing, out, |_, key, wants_text, listing| {
            let target = match key {
                Key::Address(address) => Target::Address(address),
                Key::Name(name) => Target::Name(name),
                _ => return,
            };
            let mut hits = Vec::new();
            view.snapshot.find(target, None, now, &mut hits);
            for hit in &hits {
                let given = hit.head.code;
                let Some(code) = self.codes.code(&hit.head.assertion, hit.record.rating, given) else { continue };
                if !listing.codes.contains(&code) && listing.codes.len() < MOST {
                    listing.codes.push(code);
                    if wants_text {
                        listing.texts.push(self.told(hit, target));
                    }
                }
            }
            if let (true, Target::Name(name)) = (hits.is_empty(), target) {
                listing.is_above = view.snapshot.has_below(name);
            }
        })
    }

    /// What a TXT record says: the entry's own text, in which `$` stands for the subject, or the usual one.
    fn told(&self, hit: &Hit<'_>, target: Target<'_>) -> String {
        let subject = match target {
            Target::Address(address) => address.to_string(),
            Target::Name(name) | Target::Free(name) => name.to_owned(),
        };
        let reputon = hit.record.reputon(hit.head, &subject, "");
        let text = match reputon.extension(TEXT).and_then(|text| text.as_text()) {
            Some(text) => text.replace('$', &subject),
            None => self
                .text
                .replace("{assertion}", &reputon.assertion)
                .replace("{rating}", &reputon.rating.to_string())
                .replace("{rater}", &reputon.rater)
                .replace("{subject}", &subject),
        };
        text.replace(char::is_control, " ")
    }

    fn count(self: &Arc<Self>, registry: &Registry) {
        let this = Arc::clone(self);
        registry.at_each_look(move |registry| {
            let counts = &this.counts;
            for (name, count) in OUTCOMES.iter().zip(&counts.outcomes) {
                let help = "DNS queries by what became of them.";
                let counter = registry.counter("watchfire_repute_dnsbl_queries_total", help, &[("outcome", name)]);
                counter.set(count.load(Ordering::Relaxed));
            }
            let help = "Queries beyond the rate of their network.";
            registry.total("watchfire_repute_dnsbl_limited_total", help, &counts.limited);
            registry.total("watchfire_repute_dnsbl_unsent_total", "Responses that could not be sent.", &counts.unsent);
            registry.total("watchfire_repute_dnsbl_connections_total", "Connections over TCP.", &counts.connections);
        });
    }
}

async fn accept(listener: TcpListener, list: Arc<List>, connections: Arc<Semaphore>, tasks: TaskTracker) {
    loop {
        // Those beyond the limit wait in the system's queue.
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        list.counts.connections.fetch_add(1, Ordering::Relaxed);
        let list = Arc::clone(&list);
        tasks.spawn(async move {
            // A client that goes away in between is nothing to talk about.
            let _ = converse(stream, &list).await;
            drop(place);
        });
    }
}

/// Answers over TCP: each message behind its length. [RFC 7766](https://www.rfc-editor.org/rfc/rfc7766)
async fn converse(mut stream: TcpStream, list: &List) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut packet = Vec::new();
    loop {
        let read = async {
            let len = stream.read_u16().await?;
            packet.clear();
            // As much as arrives, whatever was announced.
            (&mut stream).take(len.into()).read_to_end(&mut packet).await?;
            std::io::Result::Ok(packet.len() == usize::from(len))
        };
        let read = list.over.run_until_cancelled(tokio::time::timeout(IDLE, read)).await;
        if !read.unwrap_or(Ok(Ok(false))).unwrap_or(Ok(false))? {
            return Ok(());
        }
        let (mut out, mut listing) = (Vec::new(), Listing::default());
        let outcome = list.respond(&list.view(), unix_time(), &packet, Transport::Tcp, &mut listing, &mut out);
        list.note(outcome);
        if out.is_empty() {
            return Ok(());
        }
        let len = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
        out.splice(0..0, len);
        match tokio::time::timeout(IDLE, stream.write_all(&out)).await {
            Ok(written) => written?,
            Err(_) => return Ok(()),
        }
    }
}

/// What one network is, for the rate: those who can take one address can take its neighbours.
pub(super) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address) >> 8),
        IpAddr::V6(address) => 1 << 63 | (u128::from(address) >> 72) as u64,
    }
}
