//! Who asked what, and what was answered: a line of JSON each.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use obp_proto::Message;
use sha2::{Digest as _, Sha256};

use crate::console::BrokerAnswer;
use crate::exit::{Failure, file_failure};

/// Lines that wait to be written; beyond it they are dropped and counted, so that a slow disk does not stop answers.
const QUEUE: usize = 16 * 1024;

/// Writes the lines, on a thread of its own. Clones share it.
#[derive(Debug, Clone)]
pub struct Audit {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    /// Names, accounts and addresses are written as digests under this key, different in each run.
    redaction: Option<[u8; 32]>,
}

impl Audit {
    /// Appends to a file; `-` is the log.
    ///
    /// # Errors
    /// A file that cannot be opened, or no randomness.
    pub fn open(path: &Path, redact: bool) -> Result<Self, Failure> {
        let file = match path.as_os_str() == "-" {
            true => None,
            false => {
                let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
                Some(BufWriter::new(opened.map_err(|error| file_failure("open the audit file", path, &error))?))
            }
        };
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
        let (lines, queue) = sync_channel(QUEUE);
        let name = path.display().to_string();
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || write(&queue, file, &name));
        writer.map_err(|error| Failure::usage(format!("cannot start a thread: {error}")))?;
        Ok(Self { lines, dropped: Arc::default(), redaction: redact.then_some(key) })
    }

    /// Lines that were dropped because they came faster than they could be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// One question and its answer, as it is noted and shown here: without names, if they are to be hidden.
    pub fn answer(&self, account: &str, question: &Message, answer: &Message, cached: bool) -> BrokerAnswer {
        let Some(key) = &self.redaction else { return of(account, question, answer, cached, str::to_owned) };
        let hide = |text: &str| {
            let digest = Sha256::new().chain_update(key).chain_update(text.to_ascii_lowercase()).finalize();
            crate::pki::hex(&digest[..8])
        };
        let shown = of(account, question, answer, cached, hide);
        // The words may hold names.
        BrokerAnswer { description: None, ..shown }
    }

    /// Writes a line.
    pub fn note(&self, answer: &BrokerAnswer) {
        let Ok(text) = serde_json::to_string(answer) else { return };
        if let Err(TrySendError::Full(_)) = self.lines.try_send(text) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One question and its answer; `name` is how names, accounts and addresses are written.
pub fn of(
    account: &str,
    question: &Message,
    answer: &Message,
    cached: bool,
    name: impl Fn(&str) -> String,
) -> BrokerAnswer {
    let mut line = BrokerAnswer {
        time: jiff::Timestamp::now().to_string(),
        account: name(account),
        question: question.name().to_owned(),
        names: Vec::new(),
        service: None,
        port: None,
        status: answer.status().map_or(0, |status| status.code()),
        description: None,
        addresses: Vec::new(),
        cached,
    };
    match question {
        Message::QueryConnectRequest(request) => {
            if let Some(identifier) = &request.identifier {
                line.names.push(name(identifier.name.as_str()));
                line.service = identifier.service.as_ref().map(|service| service.as_str().to_owned());
                line.port = identifier.port.map(u16::from);
            }
        }
        Message::ValidateRequest(request) => line.names.extend(request.names().map(|one| name(one.as_str()))),
        _ => {}
    }
    match answer {
        Message::QueryConnectResponse(response) => {
            let addresses = response.connection.iter().filter_map(|connection| connection.ip_address);
            line.addresses.extend(addresses.map(|address| name(&address.to_string())));
            line.description.clone_from(&response.status_description);
        }
        Message::ValidateResponse(response) => line.description.clone_from(&response.status_description),
        _ => {}
    }
    line
}

fn write(queue: &Receiver<String>, mut file: Option<BufWriter<std::fs::File>>, name: &str) {
    let mut failing = false;
    while let Ok(first) = queue.recv() {
        let mut outcome = Ok(());
        let mut next = Some(first);
        while let Some(line) = next {
            match &mut file {
                Some(file) => outcome = outcome.and_then(|()| writeln!(file, "{line}")),
                None => tracing::info!(target: "audit", "{line}"),
            }
            next = queue.try_recv().ok();
        }
        if let Some(file) = &mut file {
            outcome = outcome.and_then(|()| file.flush());
        }
        match &outcome {
            Err(error) if !failing => tracing::error!(%error, file = name, "audit lines are lost"),
            Ok(()) if failing => tracing::info!(file = name, "audit lines are written again"),
            _ => {}
        }
        failing = outcome.is_err();
    }
}
