//! Asks raters about a domain: `cargo run --example ask -- bad.example http://127.0.0.1:8053 [ADDRESS...]`.
//! An address may have a user and a password, `http://user:password@host`.

use std::error::Error;
use std::time::Duration;

use repute_hyper::client::{Address, Client};
use repute_hyper::repute_proto::{Applications, LocalLists, Query, Rater, Weighing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let subject = arguments.next().ok_or("usage: ask SUBJECT ADDRESS...")?;
    let addresses = arguments.map(|text| text.parse::<Address>()).collect::<Result<Vec<_>, _>>()?;
    let query = Query::builder("email-id", &subject).build(&Applications::default())?;
    let builder = addresses.iter().fold(Client::builder(), |builder, address| {
        if address.credentials().is_some() { builder.with_access(address.service(), address.access()) } else { builder }
    });
    let raters = addresses.iter().map(|address| Rater::new(address.service().clone(), 1.0)).collect();
    let panel = builder.start_panel(raters, LocalLists::new(), Weighing::default())?;
    print!("{}", panel.consult(query, Duration::from_secs(2)).await?);
    Ok(())
}
