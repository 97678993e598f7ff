//! Entries from a file: NDJSON, read in pieces by all processors, or one JSON document.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use repute_proto::{DecodeError, Decoder, Limits};

use super::snapshot::{Builder, Loaded, Loader, Shapes, Snapshot};
use crate::exit::{Failure, file_failure};

/// Octets that a thread takes at a time.
const PIECE: usize = 1 << 18;

/// Octets of the longest line.
const LINE: usize = 1 << 20;

/// Octets of the largest JSON document; lines have no such limit.
const DOCUMENT: u64 = 256 << 20;

/// Threads that read lines.
const THREADS: usize = 4;

/// Lines that were cut from a file.
struct Piece {
    number: usize,
    /// The number of its first line.
    line: usize,
    octets: Vec<u8>,
}

/// What is wrong, and in which line.
struct Fault {
    line: usize,
    what: String,
}

/// Reads a file of entries: `.json` is one document, all else has an entry in each line.
///
/// # Errors
/// When it cannot be read, or a line is wrong; the first one is named.
pub fn load(path: &Path) -> Result<Snapshot, Failure> {
    let failed = |error: std::io::Error| file_failure("read the entries", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        let mut octets = Vec::new();
        file.take(DOCUMENT + 1).read_to_end(&mut octets).map_err(failed)?;
        if octets.len() as u64 > DOCUMENT {
            let failure = Failure::usage(format!("larger than {DOCUMENT} octets")).at(path.display());
            return Err(failure.remedy("write one object a line, into a file that ends in .ndjson"));
        }
        return document(&octets).map_err(|fault| place(path, fault));
    }
    lines(&mut file).map_err(|error| match error {
        Broken::Read(error) => failed(error),
        Broken::Line(fault) => place(path, fault),
    })
}

fn place(path: &Path, fault: Fault) -> Failure {
    Failure::usage(fault.what).at(format!("{}:{}", path.display(), fault.line))
}

enum Broken {
    Read(std::io::Error),
    Line(Fault),
}

/// A line whose end was not found yet, and what was read behind the last whole one.
fn lines(source: &mut impl std::io::Read) -> Result<Snapshot, Broken> {
    let builder = Builder::new();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::sync_channel::<Piece>(threads);
    let receiver = Mutex::new(receiver);
    // What was read is used again: memory that comes and goes would lie between what stays.
    let (emptied, spare) = mpsc::channel::<Vec<u8>>();
    let (read, parts) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (loader, emptied) = (builder.loader(), emptied.clone());
                let (receiver, stop) = (&receiver, &stop);
                scope.spawn(move || work(loader, receiver, &emptied, stop))
            })
            .collect();
        let read = cut(source, &sender, &spare, &stop);
        drop(sender);
        let parts: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("loaders do not panic")).collect();
        (read, parts)
    });
    let mut loaded = Vec::new();
    let mut first: Option<Fault> = read?;
    for (part, shapes, fault) in parts {
        if let Some(fault) = fault.filter(|fault| first.as_ref().is_none_or(|first| fault.line < first.line)) {
            first = Some(fault);
        }
        loaded.push((part, shapes));
    }
    if let Some(fault) = first {
        return Err(Broken::Line(fault));
    }
    Ok(builder.finish(loaded))
}

/// Cuts a file into pieces of whole lines.
fn cut(
    source: &mut impl std::io::Read,
    pieces: &mpsc::SyncSender<Piece>,
    spare: &mpsc::Receiver<Vec<u8>>,
    stop: &AtomicBool,
) -> Result<Option<Fault>, Broken> {
    let (mut number, mut line) = (0, 1);
    let mut left: Vec<u8> = Vec::new();
    loop {
        let mut octets = spare.try_recv().unwrap_or_default();
        octets.clear();
        octets.reserve(PIECE + left.len());
        octets.append(&mut left);
        let before = octets.len();
        source.take(PIECE as u64).read_to_end(&mut octets).map_err(Broken::Read)?;
        let is_end = octets.len() == before;
        if !is_end {
            let end = memchr::memrchr(b'\n', &octets).map_or(0, |at| at + 1);
            left.extend_from_slice(octets.get(end..).unwrap_or(&[]));
            octets.truncate(end);
            if left.len() > LINE {
                return Ok(Some(Fault { line, what: format!("the line is longer than {LINE} octets") }));
            }
        }
        if !octets.is_empty() {
            let lines = memchr::memchr_iter(b'\n', &octets).count();
            if stop.load(Ordering::Relaxed) || pieces.send(Piece { number, line, octets }).is_err() {
                return Ok(None);
            }
            (number, line) = (number + 1, line + lines);
        }
        if is_end {
            return Ok(None);
        }
    }
}

type Part = (Loaded, Shapes, Option<Fault>);

/// Reads pieces until there are no more, or a line is wrong. Pieces come in order, so that of several wrong lines the
/// first is always seen by one of the threads.
fn work(
    mut loader: Loader,
    pieces: &Mutex<mpsc::Receiver<Piece>>,
    emptied: &mpsc::Sender<Vec<u8>>,
    stop: &AtomicBool,
) -> Part {
    let mut loaded = Loaded::default();
    let mut fault = None;
    let decoder = Decoder::new();
    loop {
        let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(piece) = next else { break };
        // The reader must not wait for those who have given up.
        if fault.is_some() {
            continue;
        }
        loaded.begin(piece.number);
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', &piece.octets).chain([piece.octets.len()]);
        for (line, end) in (piece.line..).zip(ends) {
            let octets = piece.octets.get(from..end).unwrap_or(&[]);
            from = end + 1;
            if let Err(what) = entry(&decoder, octets, &mut loader, &mut loaded) {
                fault = Some(Fault { line, what });
                stop.store(true, Ordering::Relaxed);
                break;
            }
        }
        // Nobody waits for it after the last piece.
        let _ = emptied.send(piece.octets);
    }
    loaded.shrink();
    (loaded, loader.end(), fault)
}

/// One line.
fn entry(decoder: &Decoder, line: &[u8], loader: &mut Loader, loaded: &mut Loaded) -> Result<(), String> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let read = decoder.decode_line(line, "").map_err(|error| told(&error))?;
    let Some(reputon) = read.reputons.first() else { return Err("the object has no members".to_owned()) };
    let application = read.application.as_deref().ok_or("application is missing")?;
    loader.add(application, reputon, loaded)
}

/// The error, with its place as people count: columns from 1.
fn told(error: &DecodeError) -> String {
    format!("column {}: {}", error.offset + 1, error.kind)
}

/// A reputation object of RFC 7071, or a list of entries.
fn document(octets: &[u8]) -> Result<Snapshot, Fault> {
    let builder = Builder::new();
    let mut loader = builder.loader();
    let mut loaded = Loaded::default();
    let line_of = |offset: usize| 1 + memchr::memchr_iter(b'\n', octets.get(..offset).unwrap_or(octets)).count();
    if octets.trim_ascii_start().first() == Some(&b'[') {
        let items: Vec<&serde_json::value::RawValue> =
            serde_json::from_slice(octets).map_err(|error| Fault { line: error.line(), what: error.to_string() })?;
        for item in items {
            let text = item.get();
            let at = text.as_ptr() as usize - octets.as_ptr() as usize;
            entry(&Decoder::new(), text.as_bytes(), &mut loader, &mut loaded)
                .map_err(|what| Fault { line: line_of(at), what })?;
        }
    } else {
        let limits = {
            let mut limits = Limits::default();
            limits.document = octets.len();
            limits.reputons = usize::MAX;
            limits
        };
        let read = Decoder::new().with_limits(limits).decode_json(octets);
        let read = read.map_err(|error| Fault { line: line_of(error.offset), what: error.kind.to_string() })?;
        if let Some((index, error)) = read.rejected.first() {
            return Err(Fault { line: line_of(error.offset), what: format!("reputon {}: {}", index + 1, error.kind) });
        }
        let application = read.application.as_deref();
        let application = application.ok_or_else(|| Fault { line: 1, what: "application is missing".to_owned() })?;
        for (index, reputon) in read.reputons.iter().enumerate() {
            loader
                .add(application, reputon, &mut loaded)
                .map_err(|what| Fault { line: 1, what: format!("reputon {}: {what}", index + 1) })?;
        }
    }
    let shapes = loader.end();
    Ok(builder.finish(vec![(loaded, shapes)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repute::place::Target;
    use crate::testing::TempDir;

    fn line(rated: &str, rating: f64) -> String {
        format!(r#"{{"application":"email-id","assertion":"spam","rated":"{rated}","rating":{rating},"rater":"r"}}"#)
    }

    fn load_text(name: &str, text: &str) -> Result<Snapshot, Failure> {
        let dir = TempDir::new("repute-file");
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    fn rating(snapshot: &Snapshot, name: &str) -> Option<f64> {
        let mut found = Vec::new();
        snapshot.find(Target::Name(name), None, 0, &mut found);
        found.first().map(|hit| hit.record.rating)
    }

    #[test]
    fn a_file_of_many_pieces_is_read_in_order() {
        let mut text = String::new();
        for number in 0..40_000 {
            text += &line(&format!("n{}.example", number % 30_000), f64::from(number % 1000) / 1000.0);
            text.push('\n');
        }
        assert!(text.len() > 3 * PIECE);
        let snapshot = load_text("a.ndjson", &text).unwrap();
        assert_eq!(snapshot.entries(), 30_000);
        for number in [0, 9_999, 10_000, 29_999] {
            let last = if number < 10_000 { number + 30_000 } else { number };
            let wanted = f64::from(last % 1000) / 1000.0;
            assert_eq!(rating(&snapshot, &format!("n{number}.example")), Some(wanted), "{number}");
        }
        assert!(snapshot.has_below("example") && !snapshot.has_below("n1.example"));
    }

    #[test]
    fn the_first_wrong_line_is_named() {
        let mut lines: Vec<String> = (0..20_000).map(|number| line(&format!("n{number}.example"), 0.5)).collect();
        lines[15_000] = "{".to_owned();
        lines[9_000] = line("a b", 0.5);
        let failure = load_text("a.ndjson", &lines.join("\n")).unwrap_err().to_string();
        assert!(failure.contains("a.ndjson:9001: rated: "), "{failure}");
        for (bad, why) in [
            (r#"{"assertion":"spam","rated":"a","rating":1}"#, "a.ndjson:2: application is missing"),
            (
                r#"{"application":"email-id","assertion":"spam","rated":"a","rating":2}"#,
                "a.ndjson:2: column 67: rating must",
            ),
            ("{}", "a.ndjson:2: the object has no members"),
            ("nonsense", "a.ndjson:2: column 1"),
        ] {
            let failure = load_text("a.ndjson", &format!("\n{bad}\n")).unwrap_err().to_string();
            assert!(failure.contains(why), "{failure}");
        }
        let long = format!("{}\n\"{}\"", line("a", 0.5), "x".repeat(3 * LINE));
        let failure = load_text("a.ndjson", &long).unwrap_err().to_string();
        assert!(failure.contains("a.ndjson:2: ") && failure.contains("longer"), "{failure}");
    }

    #[test]
    fn documents_are_read_too() {
        let list = format!("[\n{},\n{}\n]", line("a.example", 0.25), line("b.example", 0.75));
        let snapshot = load_text("a.json", &list).unwrap();
        assert_eq!((snapshot.entries(), rating(&snapshot, "b.example")), (2, Some(0.75)));
        let object = r#"{"application":"email-id","reputons":[{"rater":"r","assertion":"spam","rated":"a.example","rating":1.0}]}"#;
        assert_eq!(rating(&load_text("a.json", object).unwrap(), "a.example"), Some(1.0));
        for (bad, why) in [
            (format!("[\n{},\n{}]", line("a", 0.5), line("a b", 0.5)), "a.json:3: rated"),
            (object.replace("1.0", "\n9"), "a.json:2: reputon 1: rating must"),
            ("{".to_owned(), "a.json:1: "),
        ] {
            let failure = load_text("a.json", &bad).unwrap_err().to_string();
            assert!(failure.contains(why), "{failure}");
        }
    }
}
