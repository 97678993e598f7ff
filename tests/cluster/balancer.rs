//! One address for several instances: each connection goes to one that takes it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A balancer; it serves until the test's process ends.
pub(crate) struct Balancer {
    address: SocketAddr,
    instances: Arc<Mutex<Vec<SocketAddr>>>,
    connections: Arc<AtomicUsize>,
}

impl Balancer {
    /// Takes connections before there is anybody to pass them to: they wait until [`serve`](Self::serve).
    pub(crate) fn bind() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Passes connections on to these, in turn; one that refuses is left out.
    pub(crate) fn serve(listener: TcpListener, instances: &[&str]) -> Self {
        let address = listener.local_addr().unwrap();
        let instances: Vec<SocketAddr> = instances.iter().map(|instance| instance.parse().unwrap()).collect();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let instances = Arc::new(Mutex::new(instances));
        let known = Arc::clone(&instances);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let turn = count.fetch_add(1, Ordering::Relaxed);
                let instances = known.lock().unwrap().clone();
                std::thread::spawn(move || {
                    let order = (0..instances.len()).map(|n| instances[(turn + n) % instances.len()]);
                    if let Some(server) = order.map(TcpStream::connect).find_map(Result::ok) {
                        join(client, server);
                    }
                });
            }
        });
        Self { address, instances, connections }
    }

    /// Passes connections on to this one too.
    pub(crate) fn add(&self, instance: &str) {
        self.instances.lock().unwrap().push(instance.parse().unwrap());
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn join(client: TcpStream, server: TcpStream) {
    let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || pass(&server, &client));
    pass(&client_too, &server_too);
}

/// Copies until one side has ended; then neither goes on.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
