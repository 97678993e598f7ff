//! The configuration file of a running process: read again, and checked before anything ends for it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use super::plan::Plan;
use crate::config::{self, Config, Proto, Service};
use crate::exit::Failure;
use crate::listening;
use crate::metrics::{self, Counter, Gauge, Registry};

/// The file and what it names are read in this time, or it has a fault: a disk that hangs is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the configuration comes from.
pub(super) struct Watched {
    path: PathBuf,
    /// As it was at the start, without the services.
    settings: Config,
    is_valid: Gauge,
    taken: Counter,
    refused: Counter,
}

impl Watched {
    /// `settings` were read from `path` and are in force.
    pub(super) fn new(path: PathBuf, settings: Config, registry: &Registry) -> Self {
        let help = "Whether the configuration file is in force: 0 when it had a fault at the last SIGHUP.";
        let is_valid = registry.gauge("watchfire_config_valid", help, &[]);
        is_valid.set(1);
        let count = |outcome| {
            let help = "Times that the configuration file was read again, by what became of it.";
            registry.counter("watchfire_config_reloads_total", help, &[("outcome", outcome)])
        };
        Self { path, settings, is_valid, taken: count("taken"), refused: count("refused") }
    }

    /// Reads the file again, and says what is to be done with these services.
    ///
    /// # Errors
    /// The first fault; it has been said in the log.
    pub(super) async fn read(&self, running: &[Service]) -> Result<Plan<Service>, Failure> {
        let read = tokio::time::timeout(PATIENCE, self.checked(running)).await.unwrap_or_else(|_| {
            let failure = Failure::usage(format!("it and what it names cannot be read within {PATIENCE:?}"));
            Err((failure.at(self.path.display()).remedy("look for files on disks that hang, and for FIFOs"), 0))
        });
        self.is_valid.set(i64::from(read.is_ok()));
        match &read {
            Ok(_) => self.taken.increment(),
            Err((failure, more)) => {
                self.refused.increment();
                let more = match more {
                    0 => String::new(),
                    more => format!(" ({more} more: `watchfire config check {}`)", self.path.display()),
                };
                tracing::error!("the configuration file has a fault, all goes on as before: {failure}{more}");
            }
        }
        read.map_err(|(failure, _)| failure)
    }

    /// What is to be done if the file has no fault; else the first fault and the number of others.
    async fn checked(&self, running: &[Service]) -> Result<Plan<Service>, (Failure, usize)> {
        let path = self.path.clone();
        let looked = tokio::task::spawn_blocking(move || -> Result<Config, Vec<Failure>> {
            if path.exists() && !path.is_file() {
                let failure = Failure::usage("not a file: it cannot be read again").at(path.display());
                return Err(vec![failure.remedy("put the configuration into a file")]);
            }
            let config = match config::load(&path) {
                Err(failure) => return Err(vec![failure]),
                Ok(Err(problems)) => return Err(problems.into_iter().map(Failure::from).collect()),
                Ok(Ok(config)) => config,
            };
            let found = config::check(&config);
            if found.is_empty() { Ok(config) } else { Err(found) }
        });
        let looked = looked.await.map_err(|error| (Failure::misbehaved(format!("broke down: {error}")), 0))?;
        let first = |found: Vec<Failure>| {
            let more = found.len().saturating_sub(1);
            (found.into_iter().next().unwrap_or_else(|| Failure::usage("invalid configuration")), more)
        };
        let mut config = looked.map_err(first)?;
        let services = std::mem::take(&mut config.services);
        let running: Vec<&Service> = running.iter().collect();
        let plan = Plan::new(&running, services, |one, other| one.identity == other.identity);
        let found = unavailable(&running, &plan).await;
        if !found.is_empty() {
            return Err(first(found));
        }
        self.compare(&config);
        Ok(plan)
    }

    /// Says what takes effect at the next start only.
    fn compare(&self, new: &Config) {
        let is_changed = [
            ("log-format", new.log_format != self.settings.log_format),
            ("metrics", new.metrics != self.settings.metrics),
            ("console", new.console != self.settings.console),
        ];
        for (key, _) in is_changed.iter().filter(|(_, is_changed)| *is_changed) {
            let path = self.path.display();
            tracing::warn!("{path}: {key}: has changed; takes effect when the process is started anew");
        }
    }
}

/// Tries whether what is to start can listen, as far as that can be known while what is to end still does.
async fn unavailable(running: &[&Service], plan: &Plan<Service>) -> Vec<Failure> {
    let leaving =
        plan.ended.iter().filter_map(|at| running.get(*at)).flat_map(|service| config::sockets(&service.args));
    let leaving: Vec<(Proto, u16)> = leaving.map(|(proto, addr)| (proto, addr.port())).collect();
    // Port 0 is any.
    let is_leaving = |proto, port| leaving.contains(&(proto, port)) || leaving.contains(&(proto, 0));
    let mut found = Vec::new();
    for service in &plan.started {
        for (proto, addr) in config::sockets(&service.args) {
            let tried = match proto {
                Proto::Tcp => metrics::try_bind(addr).await.map(drop),
                Proto::Udp => listening::try_bind_udp(addr).await.map(drop),
            };
            match tried {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AddrInUse && is_leaving(proto, addr.port()) => {}
                Err(error) => found.push(metrics::cannot_listen(addr, &error).within(&service.place)),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[tokio::test]
    async fn a_file_that_hangs_is_given_up() {
        let dir = TempDir::new("watched");
        let zone = dir.path().join("slow.zone");
        if !std::process::Command::new("mkfifo").arg(&zone).status().is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: mkfifo cannot be run; what hangs was not tested");
            return;
        }
        std::fs::write(dir.path().join("accounts.toml"), "").unwrap();
        std::fs::write(dir.path().join("policy.toml"), "rpz = [\"slow.zone\"]\n").unwrap();
        let path = dir.path().join("c.toml");
        let broker = "[obp.broker]\nlisten = \"127.0.0.1:0\"\naccounts = \"accounts.toml\"\npolicy = \"policy.toml\"\n";
        std::fs::write(&path, broker).unwrap();
        let registry = Registry::default();
        let watched = Watched::new(path, Config::of(Vec::new()), &registry);
        let reading = tokio::spawn(async move { watched.read(&[]).await.map(drop) });
        // Opened as soon as it is read from; nothing is written.
        let held = tokio::task::spawn_blocking(move || std::fs::File::options().write(true).open(zone).unwrap());
        let held = held.await.unwrap();
        tokio::time::pause();
        tokio::time::advance(PATIENCE + Duration::from_secs(1)).await;
        let failure = reading.await.unwrap().unwrap_err().to_string();
        assert!(failure.contains("cannot be read within 60s"), "{failure}");
        assert!(registry.render().contains("watchfire_config_valid 0"));
        drop(held);
    }
}
