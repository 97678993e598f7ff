//! SIGTERM and SIGINT drain and end; a second one ends at once. SIGHUP reloads.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// Tells that certificates, lists and output files should be opened anew. Clones share it.
#[derive(Debug, Clone)]
pub struct Reload(watch::Receiver<u64>);

impl Reload {
    /// Waits for the next reload. Cancel safe; several that come while nobody waits count as one. Never returns when
    /// no signal can come any more.
    pub async fn requested(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A reload that is requested by the returned sender instead of a signal, for tests and the quickstart.
    pub fn manual() -> (watch::Sender<u64>, Self) {
        let (sender, receiver) = watch::channel(0);
        (sender, Self(receiver))
    }
}

/// Listens to the signals from now on, within the current tokio runtime.
///
/// # Errors
/// When the system does not let us.
pub fn install() -> Result<(CancellationToken, Reload), Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("cannot listen to signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let shutdown = CancellationToken::new();
    let (sender, reload) = Reload::manual();
    let token = shutdown.clone();
    tokio::spawn(async move {
        // By a signal: the token may be cancelled because a service has failed.
        let mut is_asked = false;
        loop {
            // The exit codes with which a shell knows a program that a signal ended.
            let (name, code) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 143),
                _ = interrupt.recv() => ("SIGINT", 130),
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: reloading");
                    sender.send_modify(|count| *count += 1);
                    continue;
                }
            };
            if is_asked {
                tracing::warn!("{name} again: ending at once");
                std::process::exit(code);
            }
            is_asked = true;
            token.cancel();
            tracing::info!("{name}: draining; once more ends at once");
        }
    });
    Ok((shutdown, reload))
}
