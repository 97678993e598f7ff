//! `--enforce exec`: a program of the user's, called with words, never through a shell.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_trait::async_trait;
use dots_callhome::body::Lifetime;
use dots_tokio::server::{Mitigator, MitigatorError, Order};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::dots::shown;
use crate::exit::Failure;

/// How much of what it says is read.
const WORDS: u64 = 4096;

/// Calls the program as `CMD [ARG..] start|refresh|stop PEER CUID MID`, with the request as one line of JSON on its
/// standard input. Exit code 0 says that it is done.
#[derive(Debug, Clone)]
pub struct Hook {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Hook {
    /// With these arguments before the others.
    ///
    /// # Errors
    /// A path where no file is.
    pub fn new(program: &Path, arguments: &[String]) -> Result<Self, Failure> {
        // A bare name is looked for by the system when it is called.
        if program.components().count() > 1 && !program.is_file() {
            return Err(Failure::usage("no such program").at(program.display()).remedy("check --hook"));
        }
        Ok(Self { program: program.to_owned(), arguments: arguments.iter().map(OsString::from).collect() })
    }

    async fn call(&self, what: &str, order: &Order) -> Result<(), MitigatorError> {
        let failed = |error: std::io::Error| MitigatorError::new(format!("{}: {error}", self.program.display()));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args([what, &order.peer, &order.cuid, &order.mid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut line = said(order).to_string();
        line.push('\n');
        let stdin = child.stdin.take();
        let write = async move {
            if let Some(mut stdin) = stdin {
                // It need not listen.
                let _ = stdin.write_all(line.as_bytes()).await;
            }
        };
        let stderr = child.stderr.take();
        let read = async move {
            let mut words = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = (&mut stderr).take(WORDS).read_to_end(&mut words).await;
                // What is more is read off, so that it can go on.
                let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            }
            words
        };
        let (_, words, ended) = tokio::join!(write, read, child.wait());
        let status = ended.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&words);
        let line: String = words.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
        Err(MitigatorError::new(format!("{}: {status}: {line}", self.program.display())))
    }
}

/// The request, with the hosts and the lifetime of the moment.
fn said(order: &Order) -> Value {
    let mut scope = order.request.scope().clone();
    scope.source_prefix = order.hosts.clone();
    scope.lifetime = Some(match order.lifetime {
        Lifetime::Seconds(seconds) => Lifetime::Seconds(seconds),
        Lifetime::Indefinite => Lifetime::Indefinite,
    });
    shown::object(&order.peer, &order.cuid, order.mid, &scope)
}

#[async_trait]
impl Mitigator for Hook {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        self.call("start", order).await
    }

    async fn refresh(&self, order: &Order) -> Result<(), MitigatorError> {
        self.call("refresh", order).await
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        self.call("stop", order).await
    }
}
