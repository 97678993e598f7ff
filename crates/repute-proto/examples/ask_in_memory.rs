//! A client asks a rater in the same process: the template, the question, and the answer from memory the second time.
//!
//! `cargo run -p repute-proto --example ask_in_memory`. Over HTTP it is the crate `repute-hyper`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use repute_proto::client::{ClientConfig, ClientEvent, Received};
use repute_proto::{Applications, Client, Dispatch, Query, Reputon, Score, Server, ServerConfig, Service};
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

/// Nothing takes time here.
const NOW: Instant = Instant::ZERO;
const TIME: UnixTime = UnixTime::from_secs(1_700_000_000);

/// What an HTTP server would do with a request, and the store behind it.
fn serve(rater: &Server, request: &http::Request<Bytes>) -> Result<http::Response<Bytes>, Box<dyn Error>> {
    match rater.handle_request(TIME, request) {
        Dispatch::Respond(response) => Ok(response),
        Dispatch::Lookup(lookup) => {
            let known = lookup.subject.as_str() == "example.org";
            let found = Reputon::new("rep.example.net", "spam", lookup.subject.to_string(), Score::new(0.012)?);
            let found = if known { vec![found.with_sample_size(16_938_213)] } else { Vec::new() };
            Ok(rater.respond(TIME, &lookup, found))
        }
        other => Err(format!("not asked for: {other:?}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let rater = Server::new(Arc::new(ServerConfig::builder("rep.example.net").build()?));
    let mut client = Client::new(Arc::new(ClientConfig::default()), [0; 32], NOW);
    let service: Service = "http://rep.example.net".parse()?;

    let mut exchanges = 0;
    for round in 1..=2 {
        let query = Query::builder("email-id", "example.org").assertion("spam").build(&Applications::default())?;
        client.query(NOW, &service, query, Duration::from_secs(2))?;
        loop {
            match client.poll_output(NOW) {
                Output::Event(ClientEvent::Exchange(exchange)) => {
                    println!("client: GET {}", exchange.target.uri());
                    let mut request = http::Request::get(exchange.target.uri()).body(Bytes::new())?;
                    *request.headers_mut() = exchange.headers;
                    let (head, body) = serve(&rater, &request)?.into_parts();
                    println!("rater: {} {}", head.status, String::from_utf8_lossy(&body));
                    client.handle_response(NOW, exchange.id, Received::new(head.status, head.headers, body, TIME))?;
                    exchanges += 1;
                }
                Output::Event(ClientEvent::Answered { answer, .. }) => {
                    println!("round {round}: {} after {exchanges} exchanges", answer.reputons[0].rating.value());
                    break;
                }
                Output::Event(other) => return Err(format!("{other:?}").into()),
                Output::Timeout(_) => return Err("nothing to wait for".into()),
                Output::Transmit(never) => match never {},
            }
        }
    }
    if exchanges == 2 { Ok(()) } else { Err("the second answer was not remembered".into()) }
}
