//! dns-01 by a program of the operator.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use acme_lurk::acme::ChallengeKind;
use acme_lurk::acme::challenge::{dns01_name, dns01_text};
use acme_lurk::acme::client::Provision;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::Responder;
use crate::Going;

/// Octets of what the program says that are shown.
const WORDS: u64 = 4096;

/// Calls `CMD present NAME TXT-VALUE` and `CMD cleanup NAME TXT-VALUE`. No shell is in between; the program ends with 0
/// when the record can be found.
#[derive(Debug, Clone)]
pub struct DnsHook {
    program: PathBuf,
    arguments: Vec<String>,
    patience: Duration,
}

impl DnsHook {
    /// Calls this program, which has two minutes each time.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), patience: Duration::from_secs(120) }
    }

    /// The same with arguments before those.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.arguments = arguments.into_iter().collect();
        self
    }

    /// The same with another time.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn call(&self, verb: &str, provision: &Provision) -> Result<(), String> {
        let (name, text) = (dns01_name(provision.identifier.value()), dns01_text(&provision.key_authorization));
        let what = format!("{} {verb} {name}", self.program.display());
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args([verb, &name, &text])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(|error| format!("{what}: {error}"))?;
        let mut words = Vec::new();
        let running = async {
            if let Some(errors) = child.stderr.take() {
                let mut errors = errors.take(WORDS);
                let _ = errors.read_to_end(&mut words).await;
                // What it says beyond that is read, so that it does not wait for a reader, and dropped.
                let _ = tokio::io::copy(&mut errors.into_inner(), &mut tokio::io::sink()).await;
            }
            child.wait().await
        };
        let status = tokio::time::timeout(self.patience, running).await;
        match status {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                let words = String::from_utf8_lossy(&words);
                let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
                Err(format!("{what}: {status}{}", last.map(|line| format!(": {line}")).unwrap_or_default()))
            }
            Ok(Err(error)) => Err(format!("{what}: {error}")),
            Err(_) => Err(format!("{what}: not done within {:?}", self.patience)),
        }
    }
}

impl Responder for DnsHook {
    fn present<'a>(&'a self, provision: &'a Provision) -> Going<'a, Result<(), String>> {
        Box::pin(self.call("present", provision))
    }

    fn clean_up<'a>(&'a self, provision: &'a Provision) -> Going<'a, ()> {
        Box::pin(async move {
            // A record that stays behind does no harm: its token is used up.
            let _ = self.call("cleanup", provision).await;
        })
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        vec![ChallengeKind::Dns01]
    }
}
