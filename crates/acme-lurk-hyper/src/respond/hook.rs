//! dns-01 by a program of the operator.

use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use acme_lurk::acme::ChallengeKind;
use acme_lurk::acme::challenge::{dns01_name, dns01_text};
use acme_lurk::acme::client::Provision;
use tokio::io::AsyncReadExt as _;
use tokio::process::{ChildStderr, Command};

use super::Responder;
use crate::Going;

/// Octets of what the program says that are shown.
const WORDS: u64 = 4096;

/// How long what it said is waited for when it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Calls `CMD present NAME TXT-VALUE` and `CMD cleanup NAME TXT-VALUE`. No shell is in between; the program ends with 0
/// when the record can be found; processes that it leaves behind are not waited for.
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

    async fn call_for(&self, verb: &str, provision: &Provision) -> Result<(), String> {
        let (name, text) = (dns01_name(provision.identifier.value()), dns01_text(&provision.key_authorization));
        self.call(verb, &name, &text).await
    }

    async fn call(&self, verb: &str, name: &str, text: &str) -> Result<(), String> {
        let what = format!("{} {verb} {name}", self.program.display());
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args([verb, name, text])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(|error| format!("{what}: {error}"))?;
        let mut words = Vec::new();
        let running = async {
            let mut reading = pin!(read(child.stderr.take(), &mut words));
            tokio::select! {
                () = &mut reading => child.wait().await,
                status = child.wait() => {
                    // What it left behind may hold its standard error for as long as it likes.
                    let _ = tokio::time::timeout(LAST_WORDS, reading).await;
                    status
                }
            }
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
        Box::pin(self.call_for("present", provision))
    }

    fn clean_up<'a>(&'a self, provision: &'a Provision) -> Going<'a, ()> {
        Box::pin(async move {
            // A record that stays behind does no harm: its token is used up.
            let _ = self.call_for("cleanup", provision).await;
        })
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        vec![ChallengeKind::Dns01]
    }
}

async fn read(errors: Option<ChildStderr>, words: &mut Vec<u8>) {
    let Some(errors) = errors else { return };
    let mut errors = errors.take(WORDS);
    let _ = errors.read_to_end(words).await;
    // What it says beyond that is read, so that it does not wait for a reader, and dropped.
    let _ = tokio::io::copy(&mut errors.into_inner(), &mut tokio::io::sink()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is gone at the end.
    struct Alive(PathBuf);

    impl Drop for Alive {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_is_not_waited_for() {
        let alive = std::env::temp_dir().join(format!("acme-lurk-hyper-hook-{}", std::process::id()));
        std::fs::write(&alive, "").unwrap();
        let alive = Alive(alive);
        // What is left behind has its standard error too, and lives as long as this test.
        let script = "while [ -e \"$0\" ]; do sleep 0.05; done & echo \"$1 $2\" >&2; [ \"$1\" = present ]";
        let hook = DnsHook::new("sh").with_patience(Duration::from_secs(60));
        let hook = hook.with_arguments(["-c".into(), script.into(), alive.0.display().to_string()]);
        assert_eq!(hook.call("present", "_acme-challenge.a.example", "x").await, Ok(()));
        let error = hook.call("cleanup", "_acme-challenge.a.example", "x").await.unwrap_err();
        assert!(error.ends_with(": cleanup _acme-challenge.a.example"), "{error}");
    }
}
