//! The services of a process: each is a task that can end and be started anew without the others.
//!
//! On SIGHUP the configuration file is read again. A service whose table says what it said before goes on, wherever the
//! table stands now, and is told to open its files anew. The others are drained as on SIGTERM; when all of them have
//! ended, and with them their sockets and files, what the file has instead is started. A file with a fault changes
//! nothing.

mod plan;
mod watched;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use watchfire_core::Backoff;

use crate::config::{Config, Service, ServiceArgs};
use crate::exit::Failure;
use crate::service::{self, Context};
use crate::signals::{self, Reload};
use crate::{console, metrics, out};
use plan::Plan;
use watched::Watched;

/// A service that was told to end has ended after this time, or is given up. None of them takes much more than ten
/// seconds, but `lurk ido` while a program of `--dns-hook` is at work: that may take two minutes, and is not waited for.
const DRAIN: Duration = Duration::from_secs(30);

/// Pauses before a service that could not start at a reload is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Runs services until they end by themselves, one fails, or a signal comes; the others drain then. `file` is where
/// `config` comes from and is read again on SIGHUP, if it is from a file.
///
/// # Errors
/// The first failure.
pub async fn run(mut config: Config, file: Option<PathBuf>, json: bool) -> Result<(), Failure> {
    let (shutdown, reload) = signals::install()?;
    out::serves();
    let context = Context::new(json, shutdown, reload);
    let services = std::mem::take(&mut config.services);
    let mut all = Supervisor {
        entries: services.into_iter().map(|service| Entry::new(service, &context)).collect(),
        tasks: JoinSet::new(),
        outcome: Ok(()),
        file: None,
        context: context.clone(),
    };
    metrics::process::watch(&context.metrics);
    context.serve_metrics(metrics::bind_optional(config.metrics.as_ref()).await?)?;
    if let Some(args) = &config.console {
        // Before the services, so that nothing of them is missed.
        console::start(args, &context).await?;
    }
    all.file = file.map(|path| Arc::new(Watched::new(path, config, &context.metrics)));
    all.spawn(true);
    all.run().await
}

struct Supervisor {
    context: Context,
    file: Option<Arc<Watched>>,
    entries: Vec<Entry>,
    tasks: JoinSet<Result<(), Failure>>,
    /// The first failure.
    outcome: Result<(), Failure>,
}

/// A service of the file that is in force, or one that is ending.
struct Entry {
    service: Service,
    context: Context,
    reload: watch::Sender<u64>,
    task: Task,
    /// It is no longer in the file.
    is_leaving: bool,
}

enum Task {
    Waits,
    Runs(AbortHandle),
    Ended,
}

impl Supervisor {
    async fn run(mut self) -> Result<(), Failure> {
        let shutdown = self.context.shutdown.clone();
        let mut reload = self.context.reload.clone();
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    Some(ended) => self.ended(ended),
                    None => break,
                },
                () = reload.requested(), if !shutdown.is_cancelled() => self.reload().await,
            }
        }
        // The metrics' task watches this too.
        shutdown.cancel();
        self.outcome
    }

    /// Starts what waits. A service that fails to start ends the process if `is_first`, and is tried again otherwise.
    fn spawn(&mut self, is_first: bool) {
        for entry in self.entries.iter_mut().filter(|entry| matches!(entry.task, Task::Waits)) {
            let task = keep(entry.service.args.clone(), entry.context.clone(), is_first);
            entry.task = Task::Runs(self.tasks.spawn(task));
        }
    }

    fn ended(&mut self, ended: Result<(Id, Result<(), Failure>), JoinError>) {
        let (id, ended) = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => (error.id(), Err(Failure::misbehaved("was given up"))),
            Err(error) => (error.id(), Err(Failure::misbehaved(format!("a service broke down: {error}")))),
        };
        let is_it = |entry: &&mut Entry| matches!(&entry.task, Task::Runs(task) if task.id() == id);
        let Some(entry) = self.entries.iter_mut().find(is_it) else { return };
        entry.task = Task::Ended;
        entry.context.health.forget();
        let Err(failure) = ended else { return };
        let failure = if entry.service.place.is_empty() { failure } else { failure.within(&entry.service.place) };
        if entry.is_leaving {
            tracing::error!("a service that is no longer in the file did not end well: {failure}");
            return;
        }
        self.context.shutdown.cancel();
        if self.outcome.is_err() {
            tracing::error!("{failure}");
            return;
        }
        if self.entries.iter().any(Entry::is_alive) {
            tracing::error!("a service has failed, the others drain: {failure}");
        }
        self.outcome = Err(failure);
    }

    /// What SIGHUP asks for.
    async fn reload(&mut self) {
        let Some(file) = self.file.clone() else {
            self.entries.iter().for_each(Entry::reopen);
            return;
        };
        let running: Vec<Service> = self.entries.iter().map(|entry| entry.service.clone()).collect();
        let shutdown = self.context.shutdown.clone();
        let mut reading = std::pin::pin!(file.read(&running));
        let read = loop {
            tokio::select! {
                // Who ends does not look for more to do.
                () = shutdown.cancelled() => return,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                read = &mut reading => break read,
            }
        };
        let plan = match read {
            Ok(plan) => plan,
            Err(failure) => {
                // Log files may have been moved away all the same.
                self.entries.iter().for_each(Entry::reopen);
                self.tell(serde_json::json!({"event": "reloaded", "ok": false, "message": failure.to_string()}));
                return;
            }
        };
        // One that has ended by itself neither goes on nor ends now.
        let is_alive = |number: usize| self.entries.get(number).is_some_and(Entry::is_alive);
        let kept = plan.kept.iter().filter(|(number, _)| is_alive(*number)).count();
        let ended = plan.ended.iter().filter(|number| is_alive(**number)).count();
        let started = plan.started.len();
        self.change(plan).await;
        if !shutdown.is_cancelled() {
            self.spawn(false);
            tracing::info!("the configuration file is in force: {kept} services go on, {ended} ended, {started} begin");
            let told =
                serde_json::json!({"event": "reloaded", "ok": true, "kept": kept, "ended": ended, "started": started});
            self.tell(told);
        }
    }

    /// Ends what the plan ends, and lets what it starts wait.
    async fn change(&mut self, plan: Plan<Service>) {
        for (number, service) in plan.kept {
            if let Some(entry) = self.entries.get_mut(number) {
                entry.context.health.relabel(service.label());
                entry.service.place = service.place;
                entry.reopen();
            }
        }
        for number in plan.ended {
            if let Some(entry) = self.entries.get_mut(number) {
                if entry.is_alive() {
                    tracing::info!("{}: no longer in the file as it was: drains", entry.service.label());
                }
                entry.is_leaving = true;
                entry.context.shutdown.cancel();
            }
        }
        for service in plan.started {
            tracing::info!("{}: was not in the file before: starts", service.label());
            self.entries.push(Entry::new(service, &self.context));
        }
        self.drained().await;
    }

    /// Waits until all that is leaving has ended, or does not even when it is given up.
    async fn drained(&mut self) {
        let mut deadline = Instant::now() + DRAIN;
        let mut is_given_up = false;
        while self.entries.iter().any(|entry| entry.is_leaving && entry.is_alive()) {
            match tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(Some(ended)) => self.ended(ended),
                Ok(None) => break,
                Err(_) if is_given_up => break,
                Err(_) => {
                    for entry in self.entries.iter().filter(|entry| entry.is_leaving) {
                        if let Task::Runs(task) = &entry.task {
                            tracing::error!("{}: does not end in {DRAIN:?}: given up", entry.service.label());
                            task.abort();
                        }
                    }
                    (is_given_up, deadline) = (true, deadline + DRAIN);
                }
            }
        }
        self.entries.retain(|entry| !entry.is_leaving);
    }

    fn tell(&self, event: serde_json::Value) {
        if self.context.json
            && let Err(failure) = out::line(&event.to_string())
        {
            tracing::error!("{failure}");
        }
    }
}

impl Entry {
    fn new(service: Service, context: &Context) -> Self {
        let (sender, reload) = Reload::manual();
        let health = context.health.service(service.label());
        health.set_whole(Err("is starting".to_owned()));
        let shutdown = context.shutdown.child_token();
        let context = Context { shutdown, reload, health, ..context.clone() };
        Self { service, context, reload: sender, task: Task::Waits, is_leaving: false }
    }

    /// Whether it has not ended.
    fn is_alive(&self) -> bool {
        !matches!(self.task, Task::Ended)
    }

    /// Lets the service open its files anew.
    fn reopen(&self) {
        self.reload.send_modify(|count| *count += 1);
    }
}

/// Runs one service until it ends by itself or `context.shutdown` is cancelled and it has drained.
async fn keep(args: ServiceArgs, mut context: Context, is_first: bool) -> Result<(), Failure> {
    let mut backoff = retries();
    loop {
        let part = context.part();
        let started = tokio::select! {
            // First: who is told to end while it starts ends well, whatever its start makes of that.
            biased;
            () = context.shutdown.cancelled() => None,
            started = service::start(&args, &part.0) => Some(started),
        };
        match started {
            None => {
                part.end().await;
                return Ok(());
            }
            Some(Ok(running)) => {
                // Ready is who has started; what a service says of its parts comes on top of that, some of it at looks only.
                context.metrics.refresh();
                context.health.set_whole(Ok(()));
                let outcome = running.await;
                part.end().await;
                return outcome;
            }
            Some(Err(failure)) if is_first => return Err(failure),
            Some(Err(failure)) => {
                let pause = backoff.next_delay();
                let label = context.health.label();
                tracing::error!("{label}: cannot start: {failure}; tried again in {pause:.1?}, and on SIGHUP");
                context.health.set_whole(Err(format!("cannot start: {failure}")));
                part.end().await;
                pause_or(pause, &context.shutdown, &mut context.reload).await;
            }
        }
    }
}

/// The pauses of one service. Those of several that fail together are not the same, so that they do not try in step.
fn retries() -> Backoff {
    Backoff::new(RETRY.0, RETRY.1, watchfire_hyper::seed().unwrap_or_default())
}

async fn pause_or(pause: Duration, shutdown: &CancellationToken, reload: &mut Reload) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = shutdown.cancelled() => {}
        () = reload.requested() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_fail_together_do_not_try_again_in_step() {
        let (mut one, mut other) = (retries(), retries());
        let pauses = |backoff: &mut Backoff| (0..8).map(|_| backoff.next_delay()).collect::<Vec<_>>();
        assert_ne!(pauses(&mut one), pauses(&mut other));
    }
}
