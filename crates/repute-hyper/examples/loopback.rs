//! Two raters on the loopback and a panel that asks both: who said what, and what it comes to.
//!
//! `cargo run -p repute-hyper --example loopback`

use std::error::Error;
use std::time::Duration;

use repute_hyper::client::Client;
use repute_hyper::repute_proto::{
    Applications, LocalLists, Lookup, Query, Rater, Reputon, Score, ServerConfig, Service, Weighing,
};
use repute_hyper::server::{Finding, Server, Store};

/// Says the same of everybody.
struct Opinion(&'static str, f64);

impl Store for Opinion {
    fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
        let rating = Score::new(self.1).unwrap_or(Score::ZERO);
        let reputon = Reputon::new(self.0, "spam", lookup.subject.as_str(), rating);
        answer(vec![reputon.with_sample_size(1_000)]);
    }

    /// Nothing has to be looked for: all of it is at hand.
    fn find<'a>(&'a self, _lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut servers = Vec::new();
    let mut raters = Vec::new();
    for (name, rating) in [("kind.example", 0.1), ("stern.example", 0.9)] {
        let server = Server::builder(ServerConfig::builder(name).build()?, Opinion(name, rating)).start();
        let address = server.serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, None)?;
        let service: Service = format!("http://{address}").parse()?;
        raters.push(Rater::new(service, 1.0));
        servers.push(server);
    }
    let panel = Client::builder().start_panel(raters, LocalLists::new(), Weighing::default())?;
    let query = Query::builder("email-id", "example.org").assertion("spam").build(&Applications::default())?;
    let consulted = panel.consult(query, Duration::from_secs(5)).await?.to_string();
    print!("{consulted}");
    for server in servers {
        server.shutdown(Duration::from_secs(5)).await;
    }
    if consulted.contains("0.5") { Ok(()) } else { Err("the panel does not weigh both".into()) }
}
