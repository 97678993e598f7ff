//! `quickstart`: every service there is so far, on loopback, with real data, and nothing else installed.

mod delegation;
mod dots;
mod laboratory;
mod obp;
mod rendezvous;
mod repute;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Command, ConsoleArgs, IapCommand, InitArgs, IssueArgs, Profile, QuickstartArgs};
use crate::console::{self, Hub};
use crate::exit::{Failure, file_failure};
use crate::iap::manager::ManagerService;
use crate::iap::proxy::ProxyService;
use crate::iap::sensor::SensorService;
use crate::service::Context;
use crate::store::{self, Access, Filter};
use crate::values::StoreUrl;
use crate::{alerts, out, pki, signals};

/// What Suricata wrote: 49 events, 9 of them alerts.
const SAMPLE: &str = include_str!("../../samples/suricata-eve.json");
const ALERTS: usize = 9;

/// The name in the manager's certificate.
const MANAGER: &str = "manager.localhost";

/// How long the sample may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long services that are ending may still write.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Folders of other runs that are passed by: their processes had the number of this one.
const MOST_FOLDERS: u32 = 100;

/// Runs all steps; without `--exit` the services stay until a signal comes.
///
/// # Errors
/// The first step that did not work, nobody who reads what they say, or a signal before the last one.
pub async fn run(args: &QuickstartArgs, json: bool) -> Result<(), Failure> {
    // That every step succeeded is not said to a reader who has gone away.
    out::serves();
    let (shutdown, reload) = signals::install()?;
    let mut tour = Tour { json, steps: 0 };
    let folder = Folder::make(args)?;
    let stop = shutdown.child_token();
    let outcome = all(args, &folder.path, &mut tour, &stop, reload).await;
    // Where a step failed, what the others started still runs.
    stop.cancel();
    folder.leave().await;
    let ok = outcome.is_ok();
    if json {
        let steps = tour.steps;
        out::line(&serde_json::json!({ "event": "summary", "ok": ok, "steps": steps }).to_string())?;
    }
    outcome
}

/// All steps, and what comes after the last one.
async fn all(
    args: &QuickstartArgs,
    dir: &Path,
    tour: &mut Tour,
    stop: &CancellationToken,
    reload: signals::Reload,
) -> Result<(), Failure> {
    let (console, services) = tokio::select! {
        biased;
        () = stop.cancelled() => {
            let failure = Failure::usage(format!("ended by a signal after {} steps", tour.steps)).at("quickstart");
            return Err(failure.remedy("let it come to its last step"));
        }
        begun = steps(dir, tour, stop, reload) => begun?,
    };
    if !args.exit {
        tour.say(&format!(
            "http://{console}/ shows all that happened here, and all of it goes on until you press Ctrl-C."
        ))?;
        stop.cancelled().await;
    }
    stop.cancel();
    for service in services {
        let _ = service.await;
    }
    Ok(())
}

/// Where the console is, and the services, which go on until `stop`.
async fn steps(
    dir: &Path,
    tour: &mut Tour,
    stop: &CancellationToken,
    reload: signals::Reload,
) -> Result<(SocketAddr, Vec<JoinHandle<Result<(), Failure>>>), Failure> {
    let file = |name: &str| dir.join(name).display().to_string();

    tour.step("pki", || {
        pki::init(&InitArgs::new(dir))?;
        pki::issue(&IssueArgs::new(dir, Profile::IapManager, MANAGER))?;
        pki::issue(&IssueArgs::new(dir, Profile::IapAnalyzer, "sensor-1"))?;
        Ok(format!("an authority, a manager's and an analyzer's certificate in {}", dir.display()))
    })?;

    // The services speak for themselves only in their steps.
    let hub = Hub::default();
    let context = |stop: &CancellationToken| {
        let context = Context::new(false, stop.clone(), reload.clone());
        Context { hub: hub.clone(), ..context }
    };
    let store = format!("sqlite:{}", file("alerts.db"));
    // First, so that it has seen everything by the time it is looked at.
    let address = "127.0.0.1:0".parse().map_err(|_| Failure::usage("no address"))?;
    let console = console::start(&ConsoleArgs::at(address), &context(stop)).await?;
    let manager = tour.try_step("manager", async {
        let args = flags(&[
            "iap",
            "manager",
            "--listen",
            "127.0.0.1:0",
            "--cert",
            &file(&format!("{MANAGER}.pem")),
            "--key",
            &file(&format!("{MANAGER}.key")),
            "--ca",
            &file("ca.pem"),
            "--store",
            &store,
            "--output",
            &format!("ndjson:{}", file("alerts.ndjson")),
        ])?;
        let IapCommand::Manager(args) = args else { return Err(Failure::usage("not a manager")) };
        let manager = ManagerService::start(&args, &context(stop)).await?;
        let address = first(manager.local_addrs())?;
        Ok((format!("listens at {address}, stores in {store}"), manager))
    });
    let manager = manager.await?;
    let inner = proxy(tour, "inner proxy", "p2.localhost", first(manager.local_addrs())?, &context(stop)).await?;
    let outer = proxy(tour, "outer proxy", "p1.localhost", first(&inner.local_addrs())?, &context(stop)).await?;
    let outer_address = first(&outer.local_addrs())?.to_string();
    let services = [
        tokio::spawn(manager.run(context(stop))),
        tokio::spawn(inner.run(context(stop))),
        tokio::spawn(outer.run(context(stop))),
    ];

    let sensor = tour.try_step("sensor", async {
        std::fs::write(dir.join("eve.json"), SAMPLE)
            .map_err(|error| file_failure("write the sample", &dir.join("eve.json"), &error))?;
        let args = flags(&[
            "iap",
            "sensor",
            "--connect",
            &outer_address,
            "--manager-name",
            MANAGER,
            "--cert",
            &file("sensor-1.pem"),
            "--key",
            &file("sensor-1.key"),
            "--ca",
            &file("ca.pem"),
            "--eve",
            &file("eve.json"),
            "--spool",
            &file("spool"),
            "--exit-when-drained",
        ])?;
        let IapCommand::Sensor(args) = args else { return Err(Failure::usage("not a sensor")) };
        let sensor = SensorService::start(&args, &context(stop)).await?;
        let sent = tokio::time::timeout(PATIENCE, sensor.run(context(stop))).await;
        sent.unwrap_or_else(|_| Err(Failure::unreachable("the sample was not delivered in time")))?;
        Ok((format!("sent {} through both proxies, and each was acknowledged", file("eve.json")), ()))
    });
    sensor.await?;

    let shown = tour.try_step("alerts", async {
        let url: StoreUrl = store.parse().map_err(Failure::usage)?;
        let mut stream = store::open(&url, None, Access::Read).await?.query(Filter::default()).await?;
        let mut lines = Vec::new();
        while let Some(record) = stream.next().await {
            lines.extend(alerts::rows(&record?));
        }
        if lines.len() != ALERTS {
            return Err(Failure::misbehaved(format!("{} alerts are stored, not {ALERTS}", lines.len())));
        }
        Ok((format!("{} alerts are stored", lines.len()), lines))
    });
    for line in shown.await? {
        tour.say(&format!("    {line}"))?;
    }

    let obp = obp::steps(tour, dir, &context(stop)).await?;
    let repute = repute::steps(tour, dir, &context(stop)).await?;
    let delegation = delegation::steps(tour, dir, &context(stop)).await?;
    let dots = dots::steps(tour, dir, &context(stop)).await?;
    let relay = rendezvous::steps(tour, dir, &context(stop)).await?;

    tour.step("console", || Ok(format!("http://{console}/")))?;
    let services = services.into_iter().chain(obp).chain(repute).chain(dots).chain(delegation).chain([relay]);
    Ok((console, services.collect()))
}

async fn proxy(
    tour: &mut Tour,
    step: &'static str,
    name: &str,
    next_hop: SocketAddr,
    context: &Context,
) -> Result<ProxyService, Failure> {
    let started = tour.try_step(step, async {
        let next_hop = next_hop.to_string();
        let args = flags(&["iap", "proxy", "--listen", "127.0.0.1:0", "--next-hop", &next_hop, "--name", name])?;
        let IapCommand::Proxy(args) = args else { return Err(Failure::usage("not a proxy")) };
        let proxy = ProxyService::start(&args, context).await?;
        Ok((format!("listens at {}, passes on to {next_hop}", first(&proxy.local_addrs())?), proxy))
    });
    started.await
}

/// The very flags that a user would give.
fn flags(words: &[&str]) -> Result<IapCommand, Failure> {
    match command(words)? {
        Command::Iap(command) => Ok(command),
        _ => Err(Failure::usage("not an iap command")),
    }
}

/// The command that a user would type.
fn command(words: &[&str]) -> Result<Command, Failure> {
    let cli = Cli::try_parse_from(["watchfire"].iter().chain(words));
    Ok(cli.map_err(|error| crate::exit::clap_failure(&error))?.command)
}

fn first(addresses: &[SocketAddr]) -> Result<SocketAddr, Failure> {
    addresses.first().copied().ok_or_else(|| Failure::usage("no address"))
}

/// Where all of it is kept.
struct Folder {
    path: PathBuf,
    /// Nobody has named it: it goes when the program does.
    is_ours: bool,
}

impl Folder {
    /// A new folder, or the one that was named, if nothing of ours is in it.
    fn make(args: &QuickstartArgs) -> Result<Self, Failure> {
        let Some(dir) = &args.dir else { return Self::of_our_own(&std::env::temp_dir()) };
        if dir.join("ca.pem").exists() {
            let failure = Failure::usage("there is a PKI already").at(dir.display());
            return Err(failure.remedy("give a new folder to --dir, or remove this one"));
        }
        std::fs::create_dir_all(dir).map_err(|error| file_failure("make the folder", dir, &error))?;
        Ok(Self { path: dir.clone(), is_ours: false })
    }

    /// A new folder for this user alone. One that is there is left alone: it may be somebody else's.
    fn of_our_own(parent: &Path) -> Result<Self, Failure> {
        let mut number = 0;
        loop {
            let mut name = format!("watchfire-quickstart-{}", std::process::id());
            if number > 0 {
                name.push_str(&format!("-{number}"));
            }
            let path = parent.join(name);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, is_ours: true }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < MOST_FOLDERS => number += 1,
                Err(error) => {
                    let failure = file_failure("make the folder", &path, &error);
                    return Err(failure.remedy("name a folder with --dir"));
                }
            }
        }
    }

    /// Removes what nobody has named. Services that have just been told to end may still write for a moment.
    async fn leave(self) {
        if !self.is_ours {
            return;
        }
        let began = tokio::time::Instant::now();
        loop {
            match std::fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound && began.elapsed() < LAST_WRITES => {}
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return tracing::warn!(folder = %self.path.display(), %error, "it is left behind: remove it");
                }
                _ => return,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Says what happens, step by step.
struct Tour {
    json: bool,
    steps: usize,
}

impl Tour {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<String, Failure>) -> Result<(), Failure> {
        let outcome = work();
        self.report(name, outcome.as_deref().map_err(Clone::clone))
    }

    async fn try_step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(String, T), Failure>>,
    ) -> Result<T, Failure> {
        match work.await {
            Ok((text, value)) => self.report(name, Ok(&text)).map(|()| value),
            Err(failure) => Err(self.report(name, Err(failure.clone())).err().unwrap_or(failure)),
        }
    }

    fn report(&mut self, name: &str, outcome: Result<&str, Failure>) -> Result<(), Failure> {
        self.steps += 1;
        let ok = outcome.is_ok();
        let text = match &outcome {
            Ok(text) => (*text).to_owned(),
            Err(failure) => failure.to_string(),
        };
        if self.json {
            out::line(&serde_json::json!({ "event": "step", "name": name, "ok": ok, "message": text }).to_string())?;
        } else {
            let mark = if ok { "ok" } else { "FAILED" };
            out::line(&format!("{:>2}. {name}: {mark}: {text}", self.steps))?;
        }
        outcome.map(drop).map_err(|failure| failure.within(&format!("quickstart, step {name}")))
    }

    /// A line for people.
    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { out::line(text) }
    }
}
