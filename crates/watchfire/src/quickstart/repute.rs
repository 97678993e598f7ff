//! The tour's part about REPUTE: two raters that are combined, an answer that is known already, and a look at a DNSBL.

use std::net::SocketAddr;
use std::path::Path;

use tokio::task::JoinHandle;

use super::{PATIENCE, Tour, command, first, obp};
use crate::cli::{Command, ReputeCommand};
use crate::exit::Failure;
use crate::repute::dnsbl::DnsblService;
use crate::repute::query::Asker;
use crate::repute::serve::ServeService;
use crate::service::Context;

/// What two raters think of the same name.
const ENTRIES: [(&str, &str); 2] = [
    (
        "rater-1",
        r#"{"application":"email-id","assertion":"spam","rated":"offers.example","rating":0.9,"confidence":0.9,"sample-size":1000}"#,
    ),
    (
        "rater-2",
        r#"{"application":"email-id","assertion":"spam","rated":"offers.example","rating":0.6,"confidence":0.3,"sample-size":50}"#,
    ),
];

/// Runs the steps. What goes on afterwards is given back.
pub(super) async fn steps(
    tour: &mut Tour,
    dir: &Path,
    context: &Context,
) -> Result<Vec<JoinHandle<Result<(), Failure>>>, Failure> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut going = Vec::new();
    let mut raters = Vec::new();
    for (name, entries) in ENTRIES {
        let (rater, address) = tour.try_step(name, rater(name, entries, dir, context)).await?;
        raters.push(address.to_string());
        going.push(tokio::spawn(rater.run(context.clone())));
    }

    let services: Vec<&str> = raters.iter().flat_map(|address| ["--service", address]).collect();
    let words = [&["repute", "query", "--subject", "offers.example", "--assertion", "spam"][..], &services].concat();
    let Command::Repute(ReputeCommand::Query(args)) = command(&words)? else {
        return Err(Failure::usage("not a question"));
    };
    let asker = Asker::start(&args)?;
    let combined = tour.try_step("two raters", async {
        let found = asker.ask("offers.example").await?;
        found.end()?;
        let rating = found.verdict.rating("spam").filter(|_| found.verdict.is_complete);
        match rating {
            Some(rating) if rating > 0.6 && rating < 0.9 => Ok((
                format!("spam of offers.example is 0.9 to the one, 0.6 to the other, and {rating:.3} together"),
                (),
            )),
            _ => Err(Failure::misbehaved(format!("the raters say {:?}", found.verdict))),
        }
    });
    combined.await?;

    let cached = tour.try_step("cached answer", async {
        let before = asker.exchanges();
        asker.ask("offers.example").await?.end()?;
        match asker.exchanges() - before {
            0 => Ok((format!("asked again, the answer was known: {before} exchanges before and after"), ())),
            more => Err(Failure::misbehaved(format!("{more} exchanges for what was known"))),
        }
    });
    cached.await?;

    let list = tour.try_step("dnsbl", async {
        let store = file("rater-1.ndjson");
        let words = ["repute", "dnsbl", "--listen", "127.0.0.1:0", "--zone", "bl.example", "--store", &store];
        let Command::Repute(ReputeCommand::Dnsbl(args)) = command(&words)? else {
            return Err(Failure::usage("not a list"));
        };
        let list = DnsblService::start(&args, context).await?;
        let address = first(list.local_addrs())?;
        let late = || Failure::unreachable("the list did not answer in time");
        for (name, wanted) in
            [("offers.example", &["127.0.0.2"][..]), ("2.0.0.127", &["127.0.0.2"]), ("other.example", &[])]
        {
            let name = format!("{name}.bl.example.");
            let found = tokio::time::timeout(PATIENCE, obp::look_up(address, &name)).await.map_err(|_| late())??;
            if found != wanted {
                return Err(Failure::misbehaved(format!("{name} is at {found:?}")));
            }
        }
        Ok((format!("the list at {address} has offers.example.bl.example at 127.0.0.2"), list))
    });
    going.push(tokio::spawn(list.await?.run(context.clone())));
    Ok(going)
}

async fn rater(
    name: &str,
    entries: &str,
    dir: &Path,
    context: &Context,
) -> Result<(String, (ServeService, SocketAddr)), Failure> {
    let data = dir.join(format!("{name}.ndjson"));
    std::fs::write(&data, format!("{entries}\n"))
        .map_err(|error| crate::exit::file_failure("write the entries", &data, &error))?;
    let data = data.display().to_string();
    let words = ["repute", "serve", "--listen", "127.0.0.1:0", "--rater", name, "--data", &data];
    let Command::Repute(ReputeCommand::Serve(args)) = command(&words)? else {
        return Err(Failure::usage("not a rater"));
    };
    let rater = ServeService::start(&args, context).await?;
    let address = first(rater.local_addrs())?;
    Ok((format!("answers at http://{address} from {data}"), (rater, address)))
}
