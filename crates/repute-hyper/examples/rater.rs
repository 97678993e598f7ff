//! A rater of made-up subjects: `cargo run --example rater -- 127.0.0.1:8053 1000000`, and then
//! `curl http://127.0.0.1:8053/email-id/n7.example/spam`.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use repute_hyper::repute_proto::{Lookup, Reputon, Score, ServerConfig};
use repute_hyper::server::{Finding, Server, Store};

/// How much spam comes from a name, in thousandths of its mail, and how much mail there was.
struct Table(HashMap<String, (u16, u64)>);

impl Table {
    fn known<'r>(&self, lookup: &'r Lookup) -> Vec<Reputon<'r>> {
        let Some((thousandths, samples)) = self.0.get(lookup.subject.as_str()) else { return Vec::new() };
        let rating = Score::new(f64::from(*thousandths) / 1_000.0).unwrap_or(Score::ZERO);
        let reputon = Reputon::new("rep.example", "spam", lookup.subject.as_str(), rating);
        vec![reputon.with_sample_size(*samples).with_generated(1_700_000_000)]
    }
}

impl Store for Table {
    fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
        answer(self.known(lookup));
    }

    fn find<'a>(&'a self, lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
        Box::pin(async { Ok(self.known(lookup).into_iter().map(Reputon::into_owned).collect()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8053".to_owned());
    let entries: u32 = arguments.next().as_deref().unwrap_or("1000").parse()?;
    let made_up = |n: u32| (format!("n{n}.example"), ((n % 1_001) as u16, u64::from(n % 10_000)));
    let server =
        Server::builder(ServerConfig::builder("rep.example").build()?, Table((0..entries).map(made_up).collect()))
            .on_event(|event| eprintln!("{event}"))
            .start();
    let address = server.serve(tokio::net::TcpListener::bind(&address).await?, None)?;
    println!("http://{address}/email-id/n7.example/spam");
    tokio::signal::ctrl_c().await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
