//! The load of `rates.py`: one and the same for every CA.
//!
//! `CASE DIRECTORY CA.pem REQUESTS CONNECTIONS` with the case `new-order`, `post-as-get`, `star-get` or `star-304`: each
//! connection sends one request after the other, all of them signed with ES256 for accounts of its own, each with the nonce
//! that the answer before brought.
#![allow(clippy::print_stdout, reason = "it says what it measured")]

mod https;

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use acme_lurk::Limits;
use acme_lurk::acme::{Directory, Finalize, Identifier, NewOrder, Order};
use acme_lurk::crypto::{RingSigner, Signer as _};
use acme_lurk::csr::CsrPlan;
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::star::AutoRenewal;
use https::{Answer, Https, Outcome, Tls};
use watchfire_core::UnixTime;

/// Orders that one account has open at most: CAs want no more.
const OPEN: u64 = 200;

/// One connection, and the account that it asks for.
struct Client {
    https: Https,
    directory: Directory,
    nonce: String,
    key: RingSigner,
    kid: String,
}

impl Client {
    fn new(tls: &Tls, directory: &str) -> Outcome<Self> {
        let mut https = Https::connect(tls, directory)?;
        let directory = Directory::decode(&https.get(directory, &[])?.expect(200)?.body, &Limits::DEFAULT)?;
        let head = https.request("HEAD", &directory.new_nonce, &[], b"")?;
        let nonce = head.header("replay-nonce").ok_or("no nonce")?.to_owned();
        let mut client = Self { https, directory, nonce, key: RingSigner::generate_p256()?.0, kid: String::new() };
        client.register()?;
        Ok(client)
    }

    /// A new account.
    fn register(&mut self) -> Outcome<()> {
        self.key = RingSigner::generate_p256()?.0;
        let url = self.directory.new_account.clone();
        let body = sign(
            &self.key,
            KeyRef::Jwk(self.key.public_key()),
            Some(&self.nonce),
            &url,
            br#"{"termsOfServiceAgreed":true}"#,
        )?;
        self.kid = self.send(&url, &body)?.expect(201)?.header("location").ok_or("no account URL")?.to_owned();
        Ok(())
    }

    fn send(&mut self, url: &str, body: &[u8]) -> Outcome<Answer> {
        let answer = self.https.request("POST", url, &[("Content-Type", "application/jose+json")], body)?;
        self.nonce = answer.header("replay-nonce").ok_or("an answer without a nonce")?.to_owned();
        Ok(answer)
    }

    fn post(&mut self, url: &str, payload: &[u8]) -> Outcome<Answer> {
        let body = sign(&self.key, KeyRef::Kid(&self.kid), Some(&self.nonce), url, payload)?;
        self.send(url, &body)
    }

    fn order(&mut self, order: &NewOrder) -> Outcome<String> {
        let url = self.directory.new_order.clone();
        let answer = self.post(&url, &order.encode())?.expect(201)?;
        Ok(answer.header("location").ok_or("no order URL")?.to_owned())
    }

    /// A certificate that is renewed automatically: where everybody can fetch it.
    fn star(&mut self) -> Outcome<String> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let end = UnixTime::from_secs(i64::try_from(unix)? + 30 * 86_400);
        let asked = NewOrder::new(vec![dns("star.example.com")?]);
        let order =
            self.order(&asked.with_auto_renewal(AutoRenewal::new(end, 4 * 86_400).with_certificate_get(true)))?;
        let csr = CsrPlan::for_names(["star.example.com"]).build(&RingSigner::generate_p256()?.0)?;
        self.post(&format!("{order}/finalize"), &Finalize { csr }.encode())?.expect(200)?;
        loop {
            let shown = Order::decode(&self.post(&order, b"")?.expect(200)?.body, &Limits::DEFAULT)?;
            if let Some(url) = shown.star_certificate {
                return Ok(url);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn dns(name: &str) -> Outcome<Identifier> {
    Identifier::dns(name).ok_or_else(|| format!("{name} is no name").into())
}

/// What is asked again and again.
enum Case {
    NewOrder,
    /// This order.
    PostAsGet(String),
    /// This certificate, with what is known of it.
    Star(String, Option<String>),
}

impl Case {
    fn new(name: &str, client: &mut Client) -> Outcome<Self> {
        let order = NewOrder::new(vec![dns("www.example.com")?]);
        Ok(match name {
            "new-order" => Self::NewOrder,
            "post-as-get" => Self::PostAsGet(client.order(&order)?),
            "star-get" => Self::Star(client.star()?, None),
            "star-304" => {
                let url = client.star()?;
                let found = client.https.get(&url, &[])?.expect(200)?;
                let caching = found.header("cache-control").unwrap_or_default();
                if !caching.starts_with("public, max-age=") {
                    return Err(format!("no cache may keep it: {caching}").into());
                }
                Self::Star(url, Some(found.header("etag").ok_or("no ETag")?.to_owned()))
            }
            other => return Err(format!("no case {other}").into()),
        })
    }

    fn ask(&self, client: &mut Client, number: u64) -> Outcome<()> {
        match self {
            Self::NewOrder => {
                if number % OPEN == OPEN - 1 {
                    client.register()?;
                }
                // No name twice, so that nothing that was proved before is found again.
                let name = format!("n{number}.example.com");
                client.order(&NewOrder::new(vec![dns(&name)?]))?;
            }
            Self::PostAsGet(url) => drop(client.post(url, b"")?.expect(200)?),
            Self::Star(url, None) => drop(client.https.get(url, &[])?.expect(200)?),
            Self::Star(url, Some(tag)) => drop(client.https.get(url, &[("If-None-Match", tag)])?.expect(304)?),
        }
        Ok(())
    }
}

fn load(case: &str, directory: &str, ca: &Path, requests: u64, connections: u64) -> Outcome<()> {
    let tls = Tls::trusting(ca)?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::new(&tls, directory)?;
        let case = Case::new(case, &mut client)?;
        clients.push((client, case));
    }
    let each = requests / connections;
    let ready = Arc::new(Barrier::new(clients.len() + 1));
    let threads: Vec<_> = clients
        .into_iter()
        .map(|(mut client, case)| {
            let ready = Arc::clone(&ready);
            std::thread::spawn(move || -> Result<Vec<Duration>, String> {
                let mut ask = |number| case.ask(&mut client, number).map_err(|error| error.to_string());
                let mut times = Vec::with_capacity(usize::try_from(each).unwrap_or(0));
                let warm = (0..each / 10).try_for_each(&mut ask);
                // Once for the end of the warming, once for the beginning.
                ready.wait();
                ready.wait();
                warm?;
                for number in each / 10..each / 10 + each {
                    let began = Instant::now();
                    ask(number)?;
                    times.push(began.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    ready.wait();
    println!(r#"{{"event":"warm"}}"#);
    // Until whoever measures has looked at the clock.
    std::io::stdin().read_line(&mut String::new())?;
    let began = Instant::now();
    ready.wait();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a connection has failed")??);
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1e6;
    let (answered, p50, p99) = (times.len(), at(50), at(99));
    println!(r#"{{"event":"done","answered":{answered},"seconds":{seconds},"p50":{p50},"p99":{p99}}}"#);
    Ok(())
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [case, directory, ca, requests, connections] => {
            load(case, directory, Path::new(ca), requests.parse()?, connections.parse()?)
        }
        // As `cargo bench` without words: that it can be called at all.
        [] => Ok(()),
        other => Err(format!("what is {other:?}?").into()),
    }
}
