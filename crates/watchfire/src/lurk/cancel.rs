//! `lurk cancel`: takes certificates back.

use acme_lurk::acme::Order;
use acme_lurk::acme::client::Answer;
use acme_lurk::time::format_rfc3339;
use serde_json::json;

use super::{account, peer};
use crate::cli::CancelArgs;
use crate::exit::Failure;
use crate::out;

/// Cancels an order, which the CA then renews no more.
///
/// # Errors
/// A key that cannot be read, a CA that cannot be reached or refuses.
pub async fn run(args: &CancelArgs, json: bool) -> Result<(), Failure> {
    let order = order(args).await?;
    let expires = order.expires.map(format_rfc3339);
    if json {
        let status = order.status.as_str();
        let object = json!({ "event": "canceled", "order": args.order, "status": status, "expires": expires });
        return out::line(&object.to_string());
    }
    out::line(&format!("{}: {}; what was fetched before is good until it runs out", args.order, order.status))
}

/// Cancels an order, and gives it as it is then.
///
/// # Errors
/// As [`run`].
pub async fn order(args: &CancelArgs) -> Result<Order, Failure> {
    let signer = account::require(&args.account_key)?;
    let pool = peer::pool(args.ca.as_deref())?;
    let client = peer::client(&args.directory, "--directory", signer, pool.clone(), args.timeout.0)?;
    let client = client.start().map_err(|error| peer::failure(&error))?;
    let failed = |error| peer::failure(&error).at(&args.order);
    tokio::select! {
        found = client.call(|machine, now| machine.find_account(now)) => found.map_err(failed)?,
        failure = peer::refused(&pool, &args.directory) => return Err(failure.at(&args.directory)),
    };
    let order = args.order.clone();
    let answer = client.call(|machine, now| machine.cancel(now, order)).await.map_err(failed)?;
    match answer {
        Answer::Order { order, .. } => Ok(*order),
        _ => Err(Failure::misbehaved("no order").at(&args.order)),
    }
}
