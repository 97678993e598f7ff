//! From a file to the spool: Suricata's lines as IDMEF, or lines and records as they are.
//!
//! What was taken and how far the file has been read go into the spool in one step. So neither a crash of the sensor
//! nor of the machine makes it skip a line or, where there is a spool on disk, take one twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iap_tokio::spool::{Checkpoint, Record, Spool, SpoolError};
use idmef::eve::Converter;

use crate::exit::Failure;
use crate::metrics::{Counter, Health};
use crate::progress::Progress;
use crate::service::Context;
use crate::tail::{Batch, Line, Position, TailOptions, Tailer};

/// Batches that are read ahead.
const AHEAD: usize = 2;

/// What lines are, and what is made of them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Kind {
    /// Suricata's events: alerts become IDMEF, others are left out.
    Eve(Box<Converter>),
    /// Bodies of this type, sent as they are.
    Opaque(Arc<str>),
}

/// What was read.
#[derive(Debug, Clone)]
struct Counts {
    lines: Counter,
    taken: Counter,
    left_out: Counter,
    bad: Counter,
}

/// Reads one input into a spool.
#[derive(Debug)]
pub struct Intake {
    kind: Kind,
    options: TailOptions,
    source: String,
    spool: Spool,
    counts: Counts,
    health: Health,
    complaints: Complaints,
}

impl Intake {
    /// Reads what `options` name.
    pub fn new(kind: Kind, options: TailOptions, spool: Spool, context: &Context) -> Self {
        let metrics = &context.metrics;
        let counter = |name, help| metrics.counter(name, help, &[]);
        let counts = Counts {
            lines: counter("watchfire_intake_lines_total", "Lines or records read."),
            taken: counter("watchfire_intake_alerts_total", "Alerts put into the spool."),
            left_out: counter("watchfire_intake_left_out_total", "Events that are no alerts."),
            bad: counter("watchfire_intake_bad_total", "Lines that could not be understood, or were too long."),
        };
        // The name with which the file was found, made absolute: the same wherever the sensor is started.
        let path = std::path::absolute(&options.path).unwrap_or_else(|_| options.path.clone());
        let source = format!("file:{}", path.display());
        Self { kind, options, source, spool, counts, health: context.health.clone(), complaints: Complaints::default() }
    }

    /// Reads to the end of the input, or for ever if it is followed.
    ///
    /// # Errors
    /// An input that cannot be read, or that is not framed although it should be.
    pub async fn run(mut self, progress: Progress) -> Result<(), Failure> {
        let mut tailer = self.open()?;
        while let Some(batch) = tailer.next().await {
            let batch = batch.map_err(|error| Failure::usage(error.to_string()))?;
            let count = batch.lines.len() as u64;
            self.take(batch).await?;
            progress.add(count);
        }
        progress.finish();
        Ok(())
    }

    fn open(&self) -> Result<Tailer, Failure> {
        let stored = self.spool.checkpoint(&self.source);
        let position = match stored.as_deref().map(serde_json::from_slice::<Position>) {
            None => None,
            Some(Ok(position)) => Some(position),
            Some(Err(error)) => {
                let what = format!("the spool's note of how far {} was read is damaged: {error}", self.source);
                return Err(Failure::usage(what).remedy("start with another --spool to read the file anew"));
            }
        };
        if let Some(position) = &position {
            tracing::info!(input = self.source, offset = position.offset, "going on where reading ended");
        }
        crate::tail::spawn(self.options.clone(), position, AHEAD)
            .map_err(|error| Failure::usage(format!("cannot start a thread: {error}")))
    }

    async fn take(&mut self, batch: Batch) -> Result<(), Failure> {
        let Batch { lines, skipped, position, .. } = batch;
        self.counts.lines.add((lines.len() + skipped.len()) as u64);
        self.counts.bad.add(skipped.len() as u64);
        let mut offsets = Vec::with_capacity(lines.len());
        let mut records = Vec::with_capacity(lines.len());
        for line in &lines {
            if let Some(record) = self.record(line) {
                offsets.push(line.offset);
                records.push(record);
            }
        }
        let checkpoint = match &position {
            // Positions are made of numbers and hexadecimal text.
            Some(position) => Some(Checkpoint {
                source: self.source.clone(),
                position: serde_json::to_vec(position).map_err(|error| Failure::usage(error.to_string()))?,
            }),
            None => None,
        };
        if records.is_empty() && checkpoint.is_none() {
            return Ok(());
        }
        let mut complained = false;
        loop {
            match self.spool.append(records.clone(), checkpoint.clone()).await {
                Ok(_) => {
                    self.counts.taken.add(records.len() as u64);
                    if complained {
                        tracing::info!("the spool takes alerts again");
                    }
                    self.health.set("spool", Ok(()));
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    if !complained {
                        tracing::error!(%error, "alerts cannot be spooled; the input waits");
                        complained = true;
                    }
                    self.health.set("spool", Err(error.to_string()));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error @ SpoolError::RecordTooLarge { position, .. }) if position < records.len() => {
                    // This one will never fit; the others must not wait for it.
                    records.remove(position);
                    self.skip(offsets.remove(position), &error.to_string());
                }
                Err(error) => return Err(Failure::usage(error.to_string())),
            }
        }
    }

    fn skip(&mut self, offset: u64, problem: &str) {
        self.counts.bad.increment();
        let file = self.source.trim_start_matches("file:");
        self.complaints.say(|| tracing::warn!(file, offset, "line skipped: {problem}"));
    }

    fn record(&mut self, line: &Line) -> Option<Record> {
        match &self.kind {
            Kind::Opaque(_) if line.octets.is_empty() && self.options.framing == crate::tail::Framing::Lines => None,
            Kind::Opaque(content_type) => Some(Record::new(Arc::clone(content_type), line.octets.clone())),
            Kind::Eve(_) if line.octets.trim_ascii().is_empty() => None,
            Kind::Eve(converter) => match convert(converter, &line.octets) {
                Ok(Some(xml)) => Some(Record::new(iap_proto::MediaType::IDEF_ALERT.as_str(), xml)),
                Ok(None) => {
                    self.counts.left_out.increment();
                    None
                }
                Err(problem) => {
                    self.skip(line.offset, &problem);
                    None
                }
            },
        }
    }
}

fn convert(converter: &Converter, line: &[u8]) -> Result<Option<Bytes>, String> {
    let Some(mut message) = converter.convert(line).map_err(|error| error.to_string())? else { return Ok(None) };
    let now = jiff::Timestamp::now();
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    if let Some(time) = idmef::DateTime::from_unix(now.as_second(), nanos) {
        for item in &mut message.items {
            if let idmef::Item::Alert(alert) = item {
                alert.analyzer_time = Some(idmef::Time::new(time));
            }
        }
    }
    let mut xml = Vec::with_capacity(line.len() * 4);
    idmef::Encoder::new().encode_into(&message, &mut xml).map_err(|error| error.to_string())?;
    Ok(Some(xml.into()))
}

/// A log line for each of the first few, then one a second that says how many more there were.
#[derive(Debug, Default)]
struct Complaints {
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Complaints {
    fn say(&mut self, complain: impl FnOnce()) {
        let now = Instant::now();
        if self.since.is_none_or(|since| now - since >= Duration::from_secs(1)) {
            if self.unsaid > 0 {
                tracing::warn!(lines = self.unsaid, "more lines were skipped");
            }
            *self = Self { since: Some(now), ..Self::default() };
        }
        if self.said < 10 {
            self.said += 1;
            complain();
        } else {
            self.unsaid += 1;
        }
    }
}
