//! `--output`: alerts as lines of JSON or documents of XML, in files or on standard output, and as messages of NATS
//! JetStream.
//!
//! For files, one thread writes for all callers, so that lines never mix and forcing the disk is shared. A file that was moved
//! away or deleted (logrotate) is made anew before the next write, and so it is when [`Outputs::reopen`] is called. A
//! write that fails half-way is taken back, so that no file ends in half a line.

mod nats;

use std::io::{self, Write as _};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::appended::Appended;
use crate::exit::{Failure, file_failure};
use crate::store::AlertRecord;
use crate::values::OutputSpec;

pub use nats::{NatsOptions, NatsOutput};

/// So many octets that could not be written are kept for the next try.
const PENDING_LIMIT: usize = 64 << 20;
/// So many calls are answered by one write at most.
const GROUP: usize = 256;

/// How to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct OutputOptions {
    /// Files are forced to disk before a write is done: needed when nothing else keeps the alerts.
    pub sync: bool,
    /// What could not be written is kept (up to 64 MiB per sink) and written before the next batch. For use with a
    /// store: there the alert is a duplicate when it comes again, and would be missing here. Without a store the
    /// sender's next try writes it.
    pub keep_failed: bool,
}

/// The sinks of a manager. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outputs {
    jobs: Option<mpsc::Sender<Job>>,
    streams: Vec<NatsOutput>,
    keep_failed: bool,
}

/// A sink failed; the alerts must not be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sink}: cannot write: {what}")]
#[non_exhaustive]
pub struct OutputError {
    /// Which, as the flag names it.
    pub sink: String,
    /// The system's words.
    pub what: String,
}

enum Job {
    Write(Vec<Arc<AlertRecord>>, oneshot::Sender<Result<(), OutputError>>),
    Reopen,
}

impl Outputs {
    /// Opens every sink that is a file or standard output; files are made when missing and appended to. Streams come by
    /// [`with_stream`](Self::with_stream).
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(specs: &[OutputSpec], options: OutputOptions) -> Result<Self, Failure> {
        let keep_failed = options.keep_failed;
        let files = specs.iter().filter(|spec| !matches!(spec, OutputSpec::Nats(_)));
        let sinks = files.map(|spec| Sink::open(spec, options)).collect::<Result<Vec<_>, _>>()?;
        if sinks.is_empty() {
            return Ok(Self { jobs: None, streams: Vec::new(), keep_failed });
        }
        let (jobs, queue) = mpsc::channel(1024);
        std::thread::Builder::new()
            .name("output".into())
            .spawn(move || run(sinks, queue))
            .map_err(|error| Failure::usage(format!("cannot start a thread: {error}")))?;
        Ok(Self { jobs: Some(jobs), streams: Vec::new(), keep_failed })
    }

    /// Publishes to this stream too.
    #[must_use]
    pub fn with_stream(mut self, stream: NatsOutput) -> Self {
        self.streams.push(stream);
        self
    }

    /// Whether there is no sink at all.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_none() && self.streams.is_empty()
    }

    /// Whether an alert is larger than a stream takes.
    pub fn is_too_large(&self, record: &AlertRecord) -> bool {
        self.streams.iter().any(|stream| stream.is_too_large(record))
    }

    /// Hands a batch to every sink: `all` of it to streams, which know what they have already, and of it what is `fresh`
    /// to files, which do not.
    ///
    /// # Errors
    /// A sink that did not take it; the others may have.
    pub async fn hand_on(&self, fresh: Vec<Arc<AlertRecord>>, all: &[Arc<AlertRecord>]) -> Result<(), OutputError> {
        let mut published = Ok(());
        for stream in &self.streams {
            let outcome = stream.publish(all).await;
            published = published.and(outcome);
        }
        if !self.keep_failed {
            // The alerts come again, and a file would have them twice.
            published?;
            return self.write_batch(fresh).await;
        }
        self.write_batch(fresh).await.and(published)
    }

    /// Writes a batch to every file, after what is still pending; done when it is written (and on disk, when asked
    /// for). An empty batch only tries the pending. Bodies that are not IDMEF are left out of XML sinks.
    ///
    /// # Errors
    /// A sink that cannot be written; the others may have been.
    pub async fn write_batch(&self, batch: Vec<Arc<AlertRecord>>) -> Result<(), OutputError> {
        let Some(jobs) = &self.jobs else { return Ok(()) };
        let ended = || OutputError { sink: "output".into(), what: "the writer has ended".into() };
        let (answer, answered) = oneshot::channel();
        jobs.send(Job::Write(batch, answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Opens every file anew before the next write: for SIGHUP.
    pub async fn reopen(&self) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Job::Reopen).await;
        }
    }
}

fn run(mut sinks: Vec<Sink>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        let mut records = Vec::new();
        let mut answers = Vec::new();
        let mut next = Some(job);
        while let Some(job) = next {
            match job {
                Job::Write(batch, answer) => {
                    records.extend(batch);
                    answers.push(answer);
                }
                Job::Reopen => sinks.iter_mut().filter_map(|sink| sink.file.as_mut()).for_each(Appended::close),
            }
            next = (answers.len() < GROUP).then(|| jobs.try_recv().ok()).flatten();
        }
        let mut outcome = Ok(());
        for sink in &mut sinks {
            // All are tried: a full disk of one is no reason to leave out the others.
            let written = sink.write(&records);
            outcome = outcome.and(written);
        }
        for answer in answers {
            let _ = answer.send(outcome.clone());
        }
    }
}

struct Sink {
    spec: OutputSpec,
    options: OutputOptions,
    file: Option<Appended>,
    pending: Vec<u8>,
}

impl Sink {
    fn open(spec: &OutputSpec, options: OutputOptions) -> Result<Self, Failure> {
        let file = match spec {
            OutputSpec::Ndjson(path) | OutputSpec::Xml(path) => {
                Some(Appended::open(path).map_err(|error| file_failure("open the output", path, &error))?)
            }
            OutputSpec::Nats(_) | OutputSpec::Stdout => None,
        };
        Ok(Self { spec: spec.clone(), options, file, pending: Vec::new() })
    }

    fn write(&mut self, records: &[Arc<AlertRecord>]) -> Result<(), OutputError> {
        let mut octets = std::mem::take(&mut self.pending);
        let old = octets.len();
        for record in records {
            match self.spec {
                OutputSpec::Xml(_) => write_xml(record, &mut octets),
                OutputSpec::Ndjson(_) | OutputSpec::Nats(_) | OutputSpec::Stdout => record.write_json_line(&mut octets),
            }
        }
        if octets.is_empty() {
            return Ok(());
        }
        let written = match self.spec {
            OutputSpec::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&octets).and_then(|()| out.flush())
            }
            OutputSpec::Ndjson(_) | OutputSpec::Nats(_) | OutputSpec::Xml(_) => match &mut self.file {
                Some(file) => file.append(&octets, self.options.sync),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        };
        written.map_err(|error| {
            if self.options.keep_failed {
                if octets.len() > PENDING_LIMIT {
                    tracing::error!(sink = %self.spec, alerts = records.len(), "too much waits to be written; these alerts are in the store only");
                    octets.truncate(old);
                }
                self.pending = octets;
            }
            OutputError { sink: self.spec.to_string(), what: error.to_string() }
        })
    }
}

/// The document in our own writing: UTF-8, no document type, whatever the sender wrote.
fn write_xml(record: &AlertRecord, into: &mut Vec<u8>) {
    let Some(message) = &record.message else {
        tracing::debug!(peer = %record.peer, content_type = %record.content_type, "not IDMEF: left out of the XML output");
        return;
    };
    if idmef::Encoder::new().encode_into(message, into).is_err() {
        // Read leniently, it breaks the rules for writing: its own octets, when they are text.
        match std::str::from_utf8(&record.body) {
            Ok(text) => into.extend_from_slice(text.trim_start_matches('\u{feff}').trim().as_bytes()),
            Err(_) => return,
        }
    }
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::tests_support::xml;
    use crate::testing::TempDir;

    fn record(n: usize) -> Arc<AlertRecord> {
        Arc::new(AlertRecord::now("s", "application/x-idef-alert", Bytes::from(xml(n, "192.0.2.1"))))
    }

    fn count(path: &std::path::Path) -> usize {
        std::fs::read_to_string(path).unwrap_or_default().lines().count()
    }

    #[tokio::test]
    async fn lines_are_appended_through_rotation() {
        let dir = TempDir::new("output");
        let (json, xml) = (dir.path().join("a.ndjson"), dir.path().join("a.xml"));
        let specs = [OutputSpec::Ndjson(json.clone()), OutputSpec::Xml(xml.clone())];
        let outputs = Outputs::open(&specs, OutputOptions { sync: true, keep_failed: false }).unwrap();
        let opaque = Arc::new(AlertRecord::now("s", "x/y", Bytes::from_static(b"\xff")));
        outputs.write_batch(vec![record(1), opaque, record(2)]).await.unwrap();
        let lines: Vec<serde_json::Value> =
            std::fs::read_to_string(&json).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1]["body"], "/w==");
        let documents = std::fs::read_to_string(&xml).unwrap();
        let documents: Vec<&str> = documents.split("<?xml").skip(1).collect();
        assert_eq!(documents.len(), 2);
        for document in documents {
            assert!(idmef::Message::decode(format!("<?xml{document}").as_bytes()).is_ok());
        }
        // Renamed: the next write makes the file anew.
        let old = dir.path().join("a.ndjson.1");
        std::fs::rename(&json, &old).unwrap();
        outputs.write_batch(vec![record(3)]).await.unwrap();
        assert_eq!((count(&old), count(&json)), (3, 1));
        std::fs::remove_file(&json).unwrap();
        outputs.reopen().await;
        outputs.write_batch(vec![record(4)]).await.unwrap();
        assert_eq!(count(&json), 1);
    }

    #[tokio::test]
    async fn what_could_not_be_written_comes_with_the_next_batch_when_kept() {
        let dir = TempDir::new("output");
        let folder = dir.path().join("d");
        for keep_failed in [true, false] {
            std::fs::create_dir(&folder).unwrap();
            let path = folder.join("a.ndjson");
            let outputs =
                Outputs::open(&[OutputSpec::Ndjson(path.clone())], OutputOptions { sync: false, keep_failed }).unwrap();
            outputs.write_batch(vec![record(1)]).await.unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            assert!(
                outputs.write_batch(vec![record(2)]).await.unwrap_err().to_string().contains("a.ndjson: cannot write")
            );
            assert_eq!(outputs.write_batch(Vec::new()).await.is_err(), keep_failed);
            std::fs::create_dir(&folder).unwrap();
            outputs.write_batch(vec![record(3)]).await.unwrap();
            assert_eq!(count(&path), if keep_failed { 2 } else { 1 });
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[tokio::test]
    async fn a_full_device_is_an_error() {
        let full = std::path::Path::new("/dev/full");
        if !full.exists() {
            eprintln!("SKIPPED: no /dev/full here");
            return;
        }
        let outputs = Outputs::open(&[OutputSpec::Ndjson(full.into())], OutputOptions::default()).unwrap();
        assert!(outputs.write_batch(vec![record(1)]).await.is_err());
    }

    #[tokio::test]
    async fn no_sink_takes_everything() {
        let outputs = Outputs::open(&[], OutputOptions::default()).unwrap();
        assert!(outputs.is_empty());
        assert_eq!(outputs.write_batch(vec![record(1)]).await, Ok(()));
    }
}
