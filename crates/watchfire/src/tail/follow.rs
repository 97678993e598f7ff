//! The reader itself.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::chain::{self, Leg};
use super::framing::{Cut, Cutter};
use super::position::{Position, Trace, modified};
use super::stream::Stream;
use super::{Batch, TailError, TailOptions};

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// What a step of reading gave.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Lines.
    Batch(Batch),
    /// Nothing new: ask again in a while. Only when following.
    Idle,
    /// All is read. Only when not following.
    End,
}

/// Reads a file by name, or a stream; see the [module](super).
pub struct Tail {
    options: TailOptions,
    input: Input,
    cutter: Cutter,
    /// Where the last batch ended.
    last: Option<Position>,
    chunk: Vec<u8>,
    lost: u64,
}

enum Input {
    /// A file that is not there yet; the position it should be looked for at.
    Waiting,
    /// A file, and whether time has passed since it was known to be what it was.
    File {
        file: File,
        path: PathBuf,
        stale: bool,
    },
    Stream(Stream),
    Over,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("options", &self.options).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Tail {
    /// Starts at `position`, or at the start of the file without one. A file that is not there yet is waited for when
    /// following. A FIFO is opened by the first step, which waits for its writer.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(options: TailOptions, position: Option<Position>) -> Result<Self, TailError> {
        let mut tail = Self {
            cutter: Cutter::new(options.framing, options.limit, 0, Trace::default()),
            options,
            input: Input::Waiting,
            last: position,
            chunk: vec![0; CHUNK],
            lost: 0,
        };
        let path = tail.options.path.clone();
        let is_stream =
            path == Path::new("-") || std::fs::metadata(&path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
        if is_stream {
            tail.input = Input::Stream(Stream::new(&path));
            tail.last = None;
        } else if !tail.find().map_err(|error| tail.failed(&error))? && !tail.options.follow {
            return Err(
                tail.failed(&io::Error::new(io::ErrorKind::NotFound, "no such file; check the path, or follow it"))
            );
        }
        Ok(tail)
    }

    /// How often the file of a position was not found again, so that lines may be missing.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Reads on. Never waits, except on streams.
    ///
    /// # Errors
    /// When the file cannot be read, or a record is over the limit or cut off. The reader is finished then.
    pub fn step(&mut self) -> Result<Step, TailError> {
        let outcome = match self.input {
            Input::Stream(_) => self.step_stream(),
            Input::Over => return Ok(Step::End),
            _ => self.step_file(),
        };
        if outcome.is_err() {
            self.input = Input::Over;
        }
        outcome
    }

    fn step_stream(&mut self) -> Result<Step, TailError> {
        loop {
            let mut batch = Batch { lines: Vec::new(), skipped: Vec::new(), position: None };
            self.cut_into(&mut batch)?;
            if !batch.lines.is_empty() || !batch.skipped.is_empty() {
                return Ok(Step::Batch(batch));
            }
            let Input::Stream(stream) = &mut self.input else { return Ok(Step::End) };
            let count = match stream.read(&self.options.path, &mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome.map_err(|error| self.failed(&error))?,
            };
            if count > 0 {
                self.cutter.push(&self.chunk[..count]);
                continue;
            }
            let reopens = self.options.follow && matches!(self.input, Input::Stream(Stream::Open(_)));
            let tail = self.end_of_input(batch)?;
            self.input = if reopens { Input::Stream(Stream::Closed) } else { Input::Over };
            match tail {
                Some(batch) => return Ok(Step::Batch(batch)),
                None if reopens => {}
                None => return Ok(Step::End),
            }
        }
    }

    fn step_file(&mut self) -> Result<Step, TailError> {
        let mut batch = Batch { lines: Vec::new(), skipped: Vec::new(), position: None };
        if let Input::File { stale, .. } = &mut self.input {
            *stale = true;
        }
        loop {
            let full = self.cut_into(&mut batch)?;
            if full {
                return self.hand_over(batch);
            }
            match self.input {
                Input::Waiting => {
                    if self.find().map_err(|error| self.failed(&error))? {
                        continue;
                    }
                    return Ok(if self.options.follow { Step::Idle } else { Step::End });
                }
                Input::Over | Input::Stream(_) => return Ok(Step::End),
                Input::File { .. } => {}
            }
            if self.read_chunk().map_err(|error| self.failed(&error))? {
                continue;
            }
            // The end of this file. Lines first: what follows belongs to another file or another life of this one.
            if !batch.lines.is_empty() || !batch.skipped.is_empty() {
                return self.hand_over(batch);
            }
            if self.is_truncated().map_err(|error| self.failed(&error))? {
                batch = match self.after_truncation(batch)? {
                    Some(batch) => return Ok(Step::Batch(batch)),
                    None => Batch { lines: Vec::new(), skipped: Vec::new(), position: None },
                };
                continue;
            }
            match self.rotate()? {
                Rotation::Moved(Some(batch)) => return Ok(Step::Batch(batch)),
                Rotation::Moved(None) | Rotation::Grew => {}
                Rotation::None if self.options.follow => return Ok(Step::Idle),
                Rotation::None => {
                    let tail = self.end_of_input(batch)?;
                    let step = match tail {
                        Some(batch) => self.hand_over(batch)?,
                        None => Step::End,
                    };
                    self.input = Input::Over;
                    return Ok(step);
                }
            }
        }
    }

    /// Reads the next octets of the file, unless it is no longer the file it was.
    fn read_chunk(&mut self) -> io::Result<bool> {
        let Input::File { file, stale, .. } = &mut self.input else { return Ok(false) };
        if *stale {
            // Meanwhile the file may have been truncated and have grown beyond the old end again.
            let grown = file.metadata()?.len() > self.cutter.next_read();
            if !grown || !is_same(file, self.last.as_ref(), &self.cutter) {
                return Ok(false);
            }
        }
        if self.cutter.next_read() == 0 && missed_one(&self.options.path, self.last.as_ref(), &file.metadata()?) {
            return Ok(false);
        }
        let count = loop {
            match file.read_at(&mut self.chunk, self.cutter.next_read()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        *stale = count == 0;
        self.cutter.push(&self.chunk[..count]);
        Ok(count > 0)
    }

    fn is_truncated(&self) -> io::Result<bool> {
        let Input::File { file, .. } = &self.input else { return Ok(false) };
        let meta = file.metadata()?;
        if meta.len() < self.cutter.next_read() {
            return Ok(true);
        }
        let missed = self.cutter.next_read() == 0 && missed_one(&self.options.path, self.last.as_ref(), &meta);
        Ok(missed || !is_same(file, self.last.as_ref(), &self.cutter))
    }

    /// The file was emptied under us: what we had not read lies in a copy, when there is one.
    fn after_truncation(&mut self, batch: Batch) -> Result<Option<Batch>, TailError> {
        let Some(last) = self.last.clone() else { return Ok(None) };
        let route = chain::resume(&self.options.path, &last, true).map_err(|error| self.failed(&error))?;
        let unread = self.cutter.next_read() > last.offset;
        let tail = if route.found { None } else { self.end_of_input(batch)? };
        self.lost += u64::from(!route.found && unread);
        self.take(route.leg).map_err(|error| self.failed(&error))?;
        match tail {
            Some(mut batch) => {
                batch.position = self.position().map_err(|error| self.failed(&error))?;
                Ok(Some(batch))
            }
            None => Ok(None),
        }
    }

    /// Goes on to the next file when this one is done.
    fn rotate(&mut self) -> Result<Rotation, TailError> {
        let Input::File { file, .. } = &self.input else { return Ok(Rotation::None) };
        let next = chain::successor(&self.options.path, file).map_err(|error| self.failed(&error))?;
        if next.is_none() {
            return Ok(Rotation::None);
        }
        // Whatever was written here before its successor was written to is there by now.
        if self.read_chunk().map_err(|error| self.failed(&error))? {
            return Ok(Rotation::Grew);
        }
        let tail = self.end_of_input(Batch { lines: Vec::new(), skipped: Vec::new(), position: None })?;
        // The position is that of the finished file: the next one has given nothing yet.
        let tail = match tail {
            Some(mut batch) => {
                batch.position = self.position().map_err(|error| self.failed(&error))?;
                Some(batch)
            }
            None => None,
        };
        self.take(next).map_err(|error| self.failed(&error))?;
        Ok(Rotation::Moved(tail))
    }

    /// Looks for the file, or for the way from the position to it.
    fn find(&mut self) -> io::Result<bool> {
        let leg = match &self.last {
            Some(position) => {
                let route = chain::resume(&self.options.path, position, false)?;
                self.lost += u64::from(!route.found && position.offset > 0 && route.leg.is_some());
                route.leg
            }
            None => chain::open(&self.options.path)?.map(|(file, _)| Leg {
                file,
                path: self.options.path.clone(),
                offset: 0,
            }),
        };
        self.take(leg)
    }

    /// Reads this file from now on.
    fn take(&mut self, leg: Option<Leg>) -> io::Result<bool> {
        let Some(Leg { file, path, offset }) = leg else {
            self.input = Input::Waiting;
            return Ok(false);
        };
        let trace = Trace::read(&file, offset)?.unwrap_or_default();
        self.last = Some(Position::of(&file, offset, &trace)?);
        self.cutter = Cutter::new(self.options.framing, self.options.limit, offset, trace);
        self.input = Input::File { file, path, stale: true };
        Ok(true)
    }

    fn position(&self) -> io::Result<Option<Position>> {
        match &self.input {
            Input::File { file, .. } => Position::of(file, self.cutter.consumed(), self.cutter.trace()).map(Some),
            _ => Ok(None),
        }
    }

    fn hand_over(&mut self, mut batch: Batch) -> Result<Step, TailError> {
        batch.position = self.position().map_err(|error| self.failed(&error))?;
        self.last.clone_from(&batch.position);
        Ok(Step::Batch(batch))
    }

    /// Moves what is whole from the cutter to the batch; whether the batch is full.
    fn cut_into(&mut self, batch: &mut Batch) -> Result<bool, TailError> {
        let mut octets: usize = batch.lines.iter().map(|line| line.octets.len()).sum();
        loop {
            if batch.lines.len() + batch.skipped.len() >= self.options.batch_lines.max(1)
                || octets >= self.options.batch_octets
            {
                return Ok(true);
            }
            match self.cutter.cut() {
                Cut::Line(line) => {
                    octets += line.octets.len();
                    batch.lines.push(line);
                }
                Cut::Skipped(skipped) => batch.skipped.push(skipped),
                Cut::More => return Ok(false),
                // What came before it is handed over first.
                Cut::TooLong(_) if !batch.lines.is_empty() => return Ok(true),
                Cut::TooLong(length) => {
                    return Err(TailError::RecordTooLong {
                        path: self.options.path.display().to_string(),
                        offset: self.cutter.consumed(),
                        length,
                        limit: self.options.limit,
                    });
                }
            }
        }
    }

    /// What is left in the cutter counts as a line.
    fn end_of_input(&mut self, mut batch: Batch) -> Result<Option<Batch>, TailError> {
        match self.cutter.end() {
            Ok(Some(Cut::Line(line))) => batch.lines.push(line),
            Ok(Some(Cut::Skipped(skipped))) => batch.skipped.push(skipped),
            Ok(_) => {}
            Err(offset) => {
                return Err(TailError::RecordCut { path: self.options.path.display().to_string(), offset });
            }
        }
        Ok((!batch.lines.is_empty() || !batch.skipped.is_empty()).then_some(batch))
    }

    fn failed(&self, error: &io::Error) -> TailError {
        let path = match &self.input {
            Input::File { path, .. } => path,
            _ => &self.options.path,
        };
        TailError::io(path, error)
    }

    /// The device and inode being read, for tests and logs.
    pub fn reading(&self) -> Option<(u64, u64)> {
        match &self.input {
            Input::File { file, .. } => file.metadata().ok().map(|meta| (meta.dev(), meta.ino())),
            _ => None,
        }
    }
}

enum Rotation {
    /// Nothing follows.
    None,
    /// The file grew after all.
    Grew,
    /// Reading the next one, after a last line without line feed perhaps.
    Moved(Option<Batch>),
}

/// Whether the file still holds what was read from it, as far as the samples show.
fn is_same(file: &File, last: Option<&Position>, cutter: &Cutter) -> bool {
    let (at, begun) = cutter.begun();
    let mut found = [0; 64];
    let found = &mut found[..begun.len()];
    last.is_none_or(|last| last.matches(file).unwrap_or(false))
        && file.read_exact_at(found, at).is_ok()
        && found == begun
}

/// Whether the file was filled, copied and emptied while its reader still was at its start.
fn missed_one(path: &Path, last: Option<&Position>, meta: &Metadata) -> bool {
    last.is_some_and(|last| {
        last.offset == 0 && last.same_file(meta) && modified(meta) != last.modified && chain::has_younger(path, last)
    })
}

impl TailError {
    fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: path.display().to_string(), what: error.to_string() }
    }
}
