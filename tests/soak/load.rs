//! Mixed load, each kind in a thread of its own: alerts, names through the stub, reputations, a relay, mitigations.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::site::Place;

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    paused: AtomicBool,
    /// Threads that wait because of it.
    waiting: AtomicU64,
    alerts: AtomicU64,
    /// By kind: what went well, what did not.
    done: Mutex<BTreeMap<&'static str, (u64, u64)>>,
    /// What failed since failures count.
    failures: Mutex<Option<Vec<String>>>,
}

/// The load, until it is stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    kinds: u64,
}

type Outcome = Result<(), String>;

impl Load {
    pub(crate) fn start(place: &Place) -> Self {
        let shared = Arc::new(Shared::default());
        let (host, edge) = (place.host, place.edge_host);
        let mut threads = Vec::new();
        let mut each = |kind: &'static str, pause: u64, mut work: Box<dyn FnMut(u64) -> Outcome + Send>| {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || {
                for n in 0.. {
                    shared.wait();
                    if shared.over.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = work(n);
                    shared.count(kind, outcome);
                    std::thread::sleep(Duration::from_millis(pause));
                }
            }));
        };
        let (eve, counted) = (place.site.file("eve.json"), Arc::clone(&shared));
        each("alerts", 20, Box::new(move |n| alerts(&eve, n, &counted.alerts)));
        each("names", 2, Box::new(move |n| name(edge, n)));
        each("reputations", 5, Box::new(move |n| reputation(host, n)));
        each("dnsbl", 2, Box::new(move |n| listed(host, n)));
        each("relay", 10, Box::new(move |n| chunk(host, n)));
        each("mitigations", 500, Box::new(move |n| mitigation(host, n)));
        let kinds = threads.len() as u64;
        Self { shared, threads: Mutex::new(threads), kinds }
    }

    /// Alerts that were written so far.
    pub(crate) fn alerts(&self) -> u64 {
        self.shared.alerts.load(Ordering::Relaxed)
    }

    /// Stops for a while; returns when nothing is under way.
    pub(crate) fn pause(&self) {
        self.shared.paused.store(true, Ordering::Relaxed);
        while self.shared.waiting.load(Ordering::Relaxed) < self.kinds {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn resume_counting_failures(&self) {
        *self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        self.shared.paused.store(false, Ordering::Relaxed);
    }

    pub(crate) fn summary(&self) -> String {
        let done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<String> =
            done.iter().map(|(kind, (well, not))| format!("{kind} {well} well, {not} not")).collect();
        parts.join("; ")
    }

    /// Ends it; gives what failed since failures count.
    pub(crate) fn stop(&self) -> Vec<String> {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
        let done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failures =
            self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        failures.extend(done.iter().filter(|(_, (well, _))| *well == 0).map(|(kind, _)| format!("{kind}: never well")));
        failures
    }
}

impl Shared {
    fn wait(&self) {
        if self.paused.load(Ordering::Relaxed) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            while self.paused.load(Ordering::Relaxed) && !self.over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn count(&self, kind: &'static str, outcome: Outcome) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let (well, not) = done.entry(kind).or_default();
        match outcome {
            Ok(()) => *well += 1,
            Err(error) => {
                *not += 1;
                if let Some(failures) = &mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner) {
                    failures.push(format!("{kind}: {error}"));
                }
            }
        }
    }
}

/// Four alerts, as Suricata appends them.
fn alerts(eve: &str, n: u64, count: &AtomicU64) -> Outcome {
    let sample = include_str!("../vectors/suricata/eve.json");
    let line = sample.lines().find(|line| line.contains("\"event_type\":\"alert\"")).ok_or("no sample")?;
    let mut lines = String::new();
    for m in 0..4 {
        let flow = format!("\"flow_id\":{}", 1_000_000 + n * 4 + m);
        let _ = writeln!(lines, "{}", line.replace("\"flow_id\":4298091302500", &flow));
    }
    let mut file = std::fs::OpenOptions::new().append(true).open(eve).map_err(|error| error.to_string())?;
    file.write_all(lines.as_bytes()).map_err(|error| error.to_string())?;
    count.fetch_add(4, Ordering::Relaxed);
    Ok(())
}

/// A question for the address of a name; gives the answer. As those do who ask by datagrams, it asks again when none
/// comes, or one that says so.
fn ask(server: (Ipv4Addr, u16), name: &str, n: u64) -> Result<Vec<u8>, String> {
    let error = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(error)?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).map_err(error)?;
    let mut query = (n as u16).to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let mut last = String::new();
    for _ in 0..3 {
        socket.send_to(&query, server).map_err(error)?;
        let mut answer = [0; 1500];
        match socket.recv(&mut answer) {
            Ok(length) if answer[3] & 15 != 2 => return Ok(answer[..length].to_vec()),
            Ok(_) => last = "SERVFAIL".to_owned(),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// One of a thousand names, through stub and broker.
fn name(edge: Ipv4Addr, n: u64) -> Outcome {
    let answer = ask((edge, 5354), &format!("host{}.soak.test", n % 1000), n)?;
    if answer.ends_with(&[192, 0, 2, 7]) { Ok(()) } else { Err(format!("answered {answer:02x?}")) }
}

/// An address that is listed, or one that is not.
fn listed(host: Ipv4Addr, n: u64) -> Outcome {
    let (third, fourth) = (n / 250 % 8, n % 250);
    let answer = ask((host, 5353), &format!("{fourth}.{third}.0.192.bl.test"), n)?;
    let is_listed = answer.get(7) == Some(&1);
    if is_listed == (third < 4) { Ok(()) } else { Err(format!("192.0.{third}.{fourth}: {answer:02x?}")) }
}

fn exchange(address: String, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let error = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(&address).map_err(error)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(error)?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let head = format!("{head}Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).map_err(error)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(error)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no answer")?;
    let status = String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).parse().map_err(|_| "no status")?;
    Ok((status, answer.split_off(end + 4)))
}

fn reputation(host: Ipv4Addr, n: u64) -> Outcome {
    let path = format!("/email-id/192.0.{}.{}/spam", n / 250 % 4, n % 250);
    let (status, body) = exchange(format!("{host}:8080"), "GET", &path, &[])?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if status == 200 && body.contains("0.9") { Ok(()) } else { Err(format!("{path}: {status} {body}")) }
}

/// A chunk that is left and fetched.
fn chunk(host: Ipv4Addr, n: u64) -> Outcome {
    let (path, octets) = (format!("/?chid=soak-{n}"), n.to_be_bytes().repeat(512));
    let (status, body) = exchange(format!("{host}:8600"), "POST", &path, &octets)?;
    if !(200..300).contains(&status) {
        return Err(format!("POST: {status} {}", String::from_utf8_lossy(&body)));
    }
    let (status, body) = exchange(format!("{host}:8600"), "GET", &path, &[])?;
    if status == 200 && body == octets { Ok(()) } else { Err(format!("GET: {status}, {} octets", body.len())) }
}

/// A mitigation that is asked for and withdrawn.
fn mitigation(host: Ipv4Addr, n: u64) -> Outcome {
    let (api, mid) = (format!("{host}:8647"), (n + 1).to_string());
    let run = |words: &[&str]| {
        let output = watchfire_tests::run(
            &[words, &["--api", &api, "--peer", "home.test", "--mid", &mid, "--timeout", "30s"]].concat(),
        );
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{}: {failed}", words[1])) }
    };
    let target = format!("198.51.100.{}/32", n % 200);
    run(&["dots", "mitigate", "--source-prefix", "192.0.2.10/32", "--target-prefix", &target])?;
    run(&["dots", "withdraw"])
}
