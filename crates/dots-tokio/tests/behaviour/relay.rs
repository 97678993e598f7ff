//! A little UDP relay between a server and a client: what a NAT and a bad line do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::support::loopback;

/// What happens to datagrams, in per cent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub loss: u64,
    pub duplicates: u64,
    /// Held back, so that later ones overtake.
    pub late: u64,
}

/// Stands between; each server that sends to it gets an outer socket of its own, as at a NAT.
pub struct Relay {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    inner: UdpSocket,
    to: SocketAddr,
    weather: Mutex<Weather>,
    chance: AtomicU64,
    outer: Mutex<BTreeMap<SocketAddr, Arc<UdpSocket>>>,
    /// All datagrams that came through, and whether from the side that dialled.
    seen: Mutex<Vec<(bool, Vec<u8>)>>,
    rebound: AtomicUsize,
}

impl Shared {
    fn percent(&self, percent: u64) -> bool {
        // A linear congruential generator: the same weather for the same seed and order.
        let step = |x: u64| x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let before = self.chance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x))).unwrap();
        (step(before) >> 33) % 100 < percent
    }
}

async fn pass(shared: Arc<Shared>, from_dialler: bool, datagram: Vec<u8>, socket: Arc<UdpSocket>, to: SocketAddr) {
    let weather = *shared.weather.lock().unwrap();
    shared.seen.lock().unwrap().push((from_dialler, datagram.clone()));
    let copies = if shared.percent(weather.duplicates) { 2 } else { 1 };
    for _ in 0..copies {
        if shared.percent(weather.loss) {
            continue;
        }
        let late = shared.percent(weather.late);
        let (datagram, socket, shared) = (datagram.clone(), Arc::clone(&socket), Arc::clone(&shared));
        let send = async move {
            if late {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            let _ = if from_dialler {
                socket.send_to(&datagram, to).await
            } else {
                shared.inner.send_to(&datagram, to).await
            };
        };
        if late {
            tokio::spawn(send);
        } else {
            send.await;
        }
    }
}

impl Relay {
    pub async fn new(to: SocketAddr, weather: Weather, seed: u64) -> Self {
        let inner = UdpSocket::bind(loopback()).await.unwrap();
        let address = inner.local_addr().unwrap();
        let shared = Arc::new(Shared {
            inner,
            to,
            weather: Mutex::new(weather),
            chance: AtomicU64::new(seed),
            outer: Mutex::default(),
            seen: Mutex::default(),
            rebound: AtomicUsize::new(0),
        });
        tokio::spawn(from_dialler(Arc::clone(&shared)));
        Self { address, shared }
    }

    pub fn weather(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// From here on, whoever sends has another outer address.
    pub fn rebind(&self) {
        self.shared.outer.lock().unwrap().clear();
        self.shared.rebound.fetch_add(1, Ordering::Relaxed);
    }

    /// Datagrams so far.
    pub fn seen(&self) -> Vec<(bool, Vec<u8>)> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn from_dialler(shared: Arc<Shared>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, from)) = shared.inner.recv_from(&mut buffer).await else { continue };
        let known = shared.outer.lock().unwrap().get(&from).cloned();
        let socket = match known {
            Some(socket) => socket,
            None => {
                let socket = Arc::new(UdpSocket::bind(loopback()).await.unwrap());
                shared.outer.lock().unwrap().insert(from, Arc::clone(&socket));
                tokio::spawn(from_listener(Arc::clone(&shared), Arc::clone(&socket), from));
                socket
            }
        };
        let to = shared.to;
        pass(Arc::clone(&shared), true, buffer[..length].to_vec(), socket, to).await;
    }
}

async fn from_listener(shared: Arc<Shared>, socket: Arc<UdpSocket>, to: SocketAddr) {
    let epoch = shared.rebound.load(Ordering::Relaxed);
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, _)) = socket.recv_from(&mut buffer).await else { continue };
        // What comes to an address that the NAT has given up reaches nobody.
        if shared.rebound.load(Ordering::Relaxed) == epoch {
            pass(Arc::clone(&shared), false, buffer[..length].to_vec(), Arc::clone(&socket), to).await;
        }
    }
}
