//! The tour's part about the rendezvous: a file from one to another by way of a relay, open and sealed.

use std::path::Path;

use tokio::task::JoinHandle;

use super::{MANAGER, Tour, command, first};
use crate::cli::{Command, LurkCommand};
use crate::exit::Failure;
use crate::lurk::relay::RelayService;
use crate::lurk::rendezvous::{fetch, store};
use crate::service::Context;

/// Runs the steps. What goes on afterwards is given back.
pub(super) async fn steps(
    tour: &mut Tour,
    dir: &Path,
    context: &Context,
) -> Result<JoinHandle<Result<(), Failure>>, Failure> {
    let relay = tour.try_step("relay", async {
        let Command::Lurk(LurkCommand::Relay(args)) = command(&["lurk", "relay", "--listen", "127.0.0.1:0"])? else {
            return Err(Failure::usage("not a relay"));
        };
        let relay = RelayService::start(&args, context).await?;
        Ok((format!("keeps chunks at http://{}/", first(relay.local_addrs())?), relay))
    });
    let relay = relay.await?;
    let url = format!("http://{}/", first(relay.local_addrs())?);
    let going = tokio::spawn(relay.run(context.clone()));

    let file = dir.join(format!("{MANAGER}.pem"));
    let path = file.display().to_string();
    let octets = std::fs::read(&file).map_err(|error| crate::exit::file_failure("read", &file, &error))?;
    for (step, flags) in [("rendezvous, open", &[][..]), ("rendezvous, sealed", &["--seal"][..])] {
        let passed = tour.try_step(step, async {
            let words = [&["lurk", "put", "--relay", &url], flags, &[&path]].concat();
            let Command::Lurk(LurkCommand::Put(args)) = command(&words)? else {
                return Err(Failure::usage("not a put"));
            };
            let notification = store(&args).await?;
            let told = String::from_utf8_lossy(&notification.encode()).into_owned();
            let got = fetched(&told).await?;
            let at_relay = fetched(notification.url()).await?;
            match (got == octets, at_relay == octets, notification.key().is_some()) {
                (true, true, false) => Ok((format!("{} octets put there, notified, got", got.len()), ())),
                (true, false, true) => {
                    let what = format!("{} octets put there, notified, got; the relay cannot read them", got.len());
                    Ok((what, ()))
                }
                _ => Err(Failure::misbehaved("what came is not what was put there")),
            }
        });
        passed.await?;
    }
    Ok(going)
}

async fn fetched(notification: &str) -> Result<Vec<u8>, Failure> {
    match command(&["lurk", "get", notification])? {
        Command::Lurk(LurkCommand::Get(args)) => fetch(&args).await.map(|fetched| fetched.octets),
        _ => Err(Failure::usage("not a get")),
    }
}
