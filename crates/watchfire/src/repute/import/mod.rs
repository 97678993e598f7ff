//! `repute import`: from files of several kinds to a store; all of a file, or nothing of it.

mod csv;
mod lines;
mod master;
mod misp;
mod records;
mod zone;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use repute_proto::{ExtensionValue, Reputon, Score};
use tokio::sync::mpsc;

use super::codes::Codes;
use super::row::Row;
use super::snapshot::CODE;
use super::write::{self, Message, Replace, Written};
use crate::cli::ImportArgs;
use crate::exit::{Failure, file_failure};
use crate::out;
use crate::progress::Progress;

/// The extension that says what a TXT record of a DNSBL is.
pub(crate) const TEXT: &str = "dnsbl-text";

/// Entries that go to the store at a time.
const BATCH: usize = 4_096;

/// Octets of the longest line.
pub(super) const LINE: usize = 1 << 20;

/// What was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Entries that were read.
    pub entries: u64,
    /// Things of the source that no entry can be made of, such as records of other types.
    pub skipped: u64,
    /// Entries that were removed first.
    pub removed: u64,
    /// Entries that the store has now.
    pub stored: u64,
}

/// Runs the command.
///
/// # Errors
/// A source with a mistake, whose line is named, or a store that cannot be written to; nothing is imported then.
pub async fn run(args: &ImportArgs, json: bool) -> Result<(), Failure> {
    let imported = import(args, json).await?;
    let Imported { entries, skipped, removed, stored } = imported;
    let store = args.store.to_string();
    if json {
        let object = serde_json::json!({
            "event": "imported", "store": store, "entries": entries, "skipped": skipped, "removed": removed, "stored": stored,
        });
        return out::line(&object.to_string());
    }
    let also = [(skipped, "skipped"), (removed, "removed")].into_iter().filter(|(count, _)| *count > 0);
    let also: String = also.map(|(count, what)| format!(", {count} {what}")).collect();
    out::line(&format!("{entries} entries imported{also}; {store} has {stored} now"))
}

/// Imports a source.
///
/// # Errors
/// As [`run`].
pub async fn import(args: &ImportArgs, json: bool) -> Result<Imported, Failure> {
    let defaults = Defaults::new(args)?;
    let replace =
        args.replace.then(|| Replace { application: args.application.to_ascii_lowercase(), rater: args.rater.clone() });
    let (sender, rows) = mpsc::channel(4);
    let source = args.clone();
    let progress = Progress::new(json, "importing", None);
    let shown = progress.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut sink = Sink { sender, rows: Vec::with_capacity(BATCH), entries: 0, skipped: 0, progress: shown };
        read(&source, &defaults, &mut sink)?;
        sink.end()
    });
    let writing = write::write(&args.store, args.store_password_file.as_deref(), replace, rows);
    let (read, written) = tokio::join!(reading, writing);
    progress.finish();
    let read = read.map_err(|error| Failure::usage(format!("reading broke down: {error}")))?;
    match (read, written) {
        // The store's mistake is why the reader could not go on.
        (Err(Broken::Store), Err(failure)) | (Ok(_), Err(failure)) => Err(failure),
        (Err(Broken::Source(failure)), _) => Err(failure.remedy("nothing was imported")),
        (Ok((entries, skipped)), Ok(Some(Written { removed, stored }))) => {
            Ok(Imported { entries, skipped, removed, stored })
        }
        (Err(Broken::Store), Ok(_)) | (Ok(_), Ok(None)) => Err(Failure::usage("the store ended early").at(&args.store)),
    }
}

/// Why a source was not read to its end.
enum Broken {
    Source(Failure),
    /// The store takes nothing any more, and says why itself.
    Store,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Source(failure)
    }
}

fn wrong(what: impl Into<String>) -> Broken {
    Broken::Source(Failure::usage(what))
}

fn read(args: &ImportArgs, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
    if let Some(path) = &args.ndjson {
        lines::read(path, defaults, sink)
    } else if let Some(path) = &args.csv {
        csv::read(path, defaults, sink)
    } else if let Some(path) = &args.dnsbl_zone {
        zone::read(path, args.format, defaults, sink)
    } else if let Some(path) = &args.misp {
        misp::read(path, defaults, sink)
    } else {
        // One of them is required.
        Ok(())
    }
}

/// Where entries go.
struct Sink {
    sender: mpsc::Sender<Message>,
    rows: Vec<Row>,
    entries: u64,
    skipped: u64,
    progress: Progress,
}

impl Sink {
    /// Takes an entry; `place` says where it stands if something is wrong with it.
    fn add(&mut self, application: &str, reputon: &Reputon<'_>, place: impl FnOnce() -> String) -> Result<(), Broken> {
        let row = Row::of(application, reputon).map_err(|what| Failure::usage(what).at(place()))?;
        self.rows.push(row);
        self.entries += 1;
        if self.rows.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Broken> {
        let rows = std::mem::replace(&mut self.rows, Vec::with_capacity(BATCH));
        self.progress.add(rows.len() as u64);
        self.sender.blocking_send(Message::Rows(rows)).map_err(|_| Broken::Store)
    }

    /// All was good.
    fn end(mut self) -> Result<(u64, u64), Broken> {
        self.flush()?;
        self.sender.blocking_send(Message::Whole).map_err(|_| Broken::Store)?;
        Ok((self.entries, self.skipped))
    }
}

/// What entries have that the source does not say.
struct Defaults {
    application: String,
    assertion: String,
    rater: String,
    rating: Option<Score<'static>>,
    confidence: Option<Score<'static>>,
    expires: Option<u64>,
    codes: Option<Codes>,
}

impl Defaults {
    fn new(args: &ImportArgs) -> Result<Self, Failure> {
        for (flag, name) in [("--application", &args.application), ("--assertion", &args.assertion)] {
            if !repute_proto::vocabulary::is_token(name) {
                return Err(Failure::usage(format!("`{name}` is no token")).at(flag));
            }
        }
        if args.rater.chars().any(char::is_control) {
            return Err(Failure::usage("has a control character").at("--rater"));
        }
        let score = |flag: &str, value: Option<f64>| {
            value.map(|value| Score::new(value).map_err(|error| Failure::usage(error.to_string()).at(flag))).transpose()
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Self {
            application: args.application.clone(),
            assertion: args.assertion.clone(),
            rater: args.rater.clone(),
            rating: score("--rating", args.rating)?,
            confidence: score("--confidence", args.confidence)?,
            expires: args.expires_in.map(|span| now.saturating_add(span.0).as_secs()),
            codes: (!args.code.is_empty()).then(|| Codes::new(&args.code)),
        })
    }

    /// An entry of a list that only says who is on it.
    fn listed(&self, rated: &str, rating: f64, code: Option<Ipv4Addr>, text: &str) -> Reputon<'static> {
        let assertion = self.codes.as_ref().zip(code).and_then(|(codes, code)| codes.assertion(code));
        let assertion = assertion.unwrap_or(&self.assertion).to_owned();
        let rating = self.rating.clone().unwrap_or_else(|| Score::new(rating).unwrap_or(Score::ZERO));
        let mut reputon = Reputon::new(self.rater.clone(), assertion, rated.to_owned(), rating);
        if let Some(code) = code {
            reputon.set_extension(CODE, ExtensionValue::text(code.to_string()));
        }
        if !text.is_empty() {
            reputon.set_extension(TEXT, ExtensionValue::text(text.to_owned()));
        }
        self.complete(&mut reputon);
        reputon
    }

    /// The assertions that entries of a list can have.
    fn assertions(&self) -> impl Iterator<Item = &str> {
        let by_code = self.codes.iter().flat_map(Codes::assertions).filter(|name| **name != self.assertion);
        std::iter::once(self.assertion.as_str()).chain(by_code)
    }

    /// Adds what an entry does not say itself.
    fn complete(&self, reputon: &mut Reputon<'_>) {
        if reputon.confidence.is_none() {
            reputon.confidence.clone_from(&self.confidence);
        }
        reputon.expires = reputon.expires.or(self.expires);
    }
}

/// A file, or standard input.
fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|error| file_failure("read the entries", path, &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

/// Lines of a file, each with its number, none of them longer than a limit.
struct Lines {
    path: PathBuf,
    source: Box<dyn BufRead>,
    line: Vec<u8>,
    number: usize,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self { path: path.to_owned(), source: open(path)?, line: Vec::new(), number: 0 })
    }

    /// The next line without its end.
    fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        use std::io::Read as _;
        self.line.clear();
        self.number += 1;
        let read = self.source.by_ref().take(LINE as u64 + 1).read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| file_failure("read the entries", &self.path, &error))?;
        if self.line.len() > LINE {
            return Err(Failure::usage(format!("the line is longer than {LINE} octets")).at(self.place()));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok((read > 0).then_some(line))
    }

    fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.number)
    }
}

#[cfg(test)]
mod tests;
