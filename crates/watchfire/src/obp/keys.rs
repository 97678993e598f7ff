//! The keys that seal tickets, and the bindings that have ended: what a broker has to remember over a restart.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use obp_proto::crypto::RustCrypto;
use obp_proto::ticket::KeyRing;
use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use crate::exit::{Failure, file_failure};
use crate::pki::files::sync_folder;
use crate::replace::{self, make_private, replace_private};

/// One key: its number, when it was made, and its octets.
#[derive(Clone)]
struct Key {
    id: u32,
    made: i64,
    octets: Zeroizing<[u8; 32]>,
}

/// The file of keys: a line each, `NUMBER SECONDS BASE64`, the newest last. It is its owner's alone.
pub struct TicketKeys {
    path: PathBuf,
    lifetime: Duration,
    keys: Vec<Key>,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKeys").field("path", &self.path).field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// What a look at the clock brought about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// A new key: from now on it seals.
    pub new: Option<(u32, Zeroizing<[u8; 32]>)>,
    /// Keys all of whose tickets have expired.
    pub retired: Vec<u32>,
}

impl TicketKeys {
    /// Reads the file, or makes it. A key seals for `lifetime`, which is also how long its tickets are good.
    ///
    /// # Errors
    /// A file that cannot be read, written, or understood.
    pub fn load(path: &Path, lifetime: Duration, now: i64) -> Result<Self, Failure> {
        let mut keys = Self { path: path.to_owned(), lifetime, keys: Vec::new() };
        keys.keys = keys.read()?;
        keys.rotate(now)?;
        Ok(keys)
    }

    /// What is in the file: none where there is no file.
    fn read(&self) -> Result<Vec<Key>, Failure> {
        let octets = match crate::pki::read_bounded(&self.path) {
            Ok(octets) => Zeroizing::new(octets),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file_failure("read the ticket keys", &self.path, &error)),
        };
        let mut keys = Vec::new();
        let wrong = |line: usize| {
            let failure = Failure::usage("not a ticket key").at(format!("{}:{line}", self.path.display()));
            failure.remedy("remove the line; devices whose tickets it sealed have to bind again")
        };
        let text = std::str::from_utf8(&octets).map_err(|_| wrong(1))?;
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let mut words = line.split_ascii_whitespace();
            let (Some(id), Some(made), Some(key), None) = (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong(number));
            };
            let mut octets = Zeroizing::new([0; 32]);
            let decoded = STANDARD.decode_slice(key, &mut octets[..]);
            match (id.parse(), made.parse(), decoded) {
                (Ok(id), Ok(made), Ok(32)) => keys.push(Key { id, made, octets }),
                _ => return Err(wrong(number)),
            }
        }
        keys.sort_by_key(|key| (key.made, key.id));
        Ok(keys)
    }

    /// Makes a new key when the newest has sealed long enough, and drops those whose tickets have all expired. Two
    /// processes at one file do so one after the other, and the second takes the key that the first has made.
    ///
    /// # Errors
    /// A file that cannot be read or written, or no randomness; then nothing has changed, and the next call tries again.
    pub fn rotate(&mut self, now: i64) -> Result<Rotation, Failure> {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX).max(60);
        let aged = |keys: &[Key]| keys.last().is_none_or(|newest| now.saturating_sub(newest.made) >= lifetime);
        // It sealed until the next one was made, however late that was, and what it sealed last is good for a lifetime.
        let over =
            |keys: &[Key]| keys.iter().skip(1).take_while(|next| now.saturating_sub(next.made) >= lifetime).count();
        let mut rotation = Rotation { new: None, retired: Vec::new() };
        if !aged(&self.keys) && over(&self.keys) == 0 {
            return Ok(rotation);
        }
        let lock = replace::lock(&self.path);
        let _lock = lock.map_err(|error| file_failure("lock the ticket keys", &self.path, &error))?;
        let mut keys = self.read()?;
        let there = keys.len();
        if aged(&keys) {
            let mut octets = Zeroizing::new([0; 32]);
            getrandom::fill(&mut octets[..]).map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
            let id = keys.iter().chain(&self.keys).map(|key| key.id).max().map_or(1, |id| id.wrapping_add(1));
            keys.push(Key { id, made: now, octets });
        }
        let gone = over(&keys);
        keys.drain(..gone);
        if keys.len() != there || gone > 0 {
            self.write(&keys)?;
        }
        let is_in = |keys: &[Key], id| keys.iter().any(|key| key.id == id);
        rotation.new =
            keys.last().filter(|newest| !is_in(&self.keys, newest.id)).map(|newest| (newest.id, newest.octets.clone()));
        rotation.retired = self.keys.iter().map(|key| key.id).filter(|id| !is_in(&keys, *id)).collect();
        self.keys = keys;
        Ok(rotation)
    }

    fn write(&self, keys: &[Key]) -> Result<(), Failure> {
        let mut text = Zeroizing::new(String::new());
        for key in keys {
            text.push_str(&format!("{} {} ", key.id, key.made));
            STANDARD.encode_string(&key.octets[..], &mut text);
            text.push('\n');
        }
        let written = replace_private(&self.path, text.as_bytes());
        written.map_err(|error| file_failure("write the ticket keys", &self.path, &error))
    }

    /// The keys as the protocol's machine wants them: the newest seals, all of them open.
    ///
    /// # Errors
    /// More keys than the machine takes.
    pub fn ring(&self) -> Result<KeyRing, Failure> {
        let wrong = |error: obp_proto::ticket::KeyRingError| Failure::usage(error.to_string()).at(self.path.display());
        let (newest, older) = self.keys.split_last().ok_or_else(|| Failure::usage("there is no ticket key"))?;
        let mut ring = KeyRing::new(Arc::new(RustCrypto), newest.id, &newest.octets[..]).map_err(wrong)?;
        for key in older {
            ring.add(key.id, &key.octets[..]).map_err(wrong)?;
        }
        Ok(ring)
    }
}

/// The bindings that have ended: a line each, `HEX SECONDS`.
#[derive(Debug)]
pub struct Ended {
    path: PathBuf,
    file: Mutex<()>,
}

impl Ended {
    /// The file, which need not exist.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), file: Mutex::new(()) }
    }

    /// Those that still have to be remembered; the file is written anew without the others.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn load(&self, now: i64) -> Result<Vec<([u8; 16], UnixTime)>, Failure> {
        let octets = match crate::pki::read_bounded(&self.path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file_failure("read the ended bindings", &self.path, &error)),
        };
        let text = String::from_utf8_lossy(&octets);
        let read = |line: &str| {
            let (hex, until) = line.split_once(' ')?;
            let until: i64 = until.trim().parse().ok()?;
            let octets: Option<Vec<u8>> = (0..16)
                .map(|at| hex.get(at * 2..at * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect();
            Some((<[u8; 16]>::try_from(octets?).ok()?, UnixTime::from_secs(until)))
        };
        let all: Vec<_> = text.lines().filter_map(read).collect();
        let left: Vec<_> = all.iter().copied().filter(|(_, until)| until.as_secs() > now).collect();
        if left.len() < text.lines().count() {
            let lines: String = left.iter().map(|(binding, until)| line(binding, *until)).collect();
            let written = replace_private(&self.path, lines.as_bytes());
            written.map_err(|error| file_failure("write the ended bindings", &self.path, &error))?;
        }
        Ok(left)
    }

    /// Remembers one, on the disk.
    ///
    /// # Errors
    /// A file that cannot be written; then it is as it was.
    pub fn add(&self, binding: &[u8; 16], until: UnixTime) -> Result<(), Failure> {
        let _one = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match make_private(&self.path, &self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                OpenOptions::new().append(true).open(&self.path)
            }
            made => made.inspect(|_| sync_folder(&self.path)),
        };
        let written = opened.and_then(|mut file| {
            let before = file.metadata()?.len();
            let written = file.write_all(line(binding, until).as_bytes()).and_then(|()| file.sync_data());
            // Half a line would spoil the next one too.
            written.inspect_err(|_| drop(file.set_len(before)))
        });
        written.map_err(|error| file_failure("write the ended bindings", &self.path, &error))
    }
}

fn line(binding: &[u8; 16], until: UnixTime) -> String {
    format!("{} {}\n", crate::pki::hex(binding), until.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace::beside;
    use crate::testing::TempDir;

    const DAY: i64 = 86_400;

    #[test]
    fn a_key_seals_for_a_lifetime_and_opens_for_another() {
        let dir = TempDir::new("keys");
        let path = dir.path().join("keys");
        let load = |now| TicketKeys::load(&path, Duration::from_secs(30 * 86_400), now).unwrap();
        let ids = |keys: &TicketKeys| keys.keys.iter().map(|key| key.id).collect::<Vec<_>>();
        assert_eq!(ids(&load(0)), [1]);
        assert_eq!(ids(&load(29 * DAY)), [1]);
        assert_eq!(ids(&load(30 * DAY)), [1, 2], "a new one seals, the old one opens");
        let mut keys = load(59 * DAY);
        let rotation = keys.rotate(60 * DAY).unwrap();
        assert_eq!((rotation.new.unwrap().0, rotation.retired, ids(&keys)), (3, vec![1], vec![2, 3]));
        assert!(keys.ring().is_ok());
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_cannot_be_written_is_made_later_and_the_old_one_opens_until_then_and_a_lifetime_longer() {
        let dir = TempDir::new("keys-full");
        let path = dir.path().join("keys");
        let mut keys = TicketKeys::load(&path, Duration::from_secs(30 * 86_400), 0).unwrap();
        let said = |rotation: Rotation| (rotation.new.map(|(id, _)| id), rotation.retired);
        // Stands in the way of the lock, as a full disk does of the new file.
        let in_the_way = beside(&path, ".lock");
        std::fs::remove_file(&in_the_way).unwrap();
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &in_the_way).unwrap();
        for day in [30, 31, 69] {
            assert!(keys.rotate(day * DAY).is_err(), "day {day}");
        }
        std::fs::remove_file(&in_the_way).unwrap();
        assert_eq!(said(keys.rotate(70 * DAY).unwrap()), (Some(2), vec![]));
        assert_eq!(said(keys.rotate(99 * DAY).unwrap()), (None, vec![]));
        assert_eq!(said(keys.rotate(100 * DAY).unwrap()), (Some(3), vec![1]));
        let ids: Vec<_> =
            TicketKeys::load(&path, keys.lifetime, 100 * DAY).unwrap().keys.iter().map(|key| key.id).collect();
        assert_eq!(ids, [2, 3]);
    }

    #[test]
    fn two_that_begin_together_have_the_same_key() {
        let dir = TempDir::new("keys-two");
        for round in 0..20 {
            let path = dir.path().join(format!("keys-{round}"));
            let begin = std::sync::Barrier::new(4);
            let one = |now| {
                begin.wait();
                let mut keys = TicketKeys::load(&path, Duration::from_secs(30 * 86_400), now).unwrap();
                begin.wait();
                let rotation = keys.rotate(now + 30 * DAY).unwrap();
                let (id, new) = rotation.new.unwrap();
                assert_eq!((id, new), (keys.keys[1].id, keys.keys[1].octets.clone()));
                keys.keys.iter().map(|key| (key.id, key.octets.clone())).collect::<Vec<_>>()
            };
            let found: Vec<_> = std::thread::scope(|threads| {
                let begun: Vec<_> = (0..4).map(|_| threads.spawn(|| one(0))).collect();
                begun.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert!(found.iter().all(|keys| keys.len() == 2 && *keys == found[0]), "round {round}");
        }
    }

    #[test]
    fn a_damaged_key_is_named_by_line() {
        let dir = TempDir::new("keys-damaged");
        let path = dir.path().join("keys");
        std::fs::write(&path, format!("1 0 {}\n2 0 short\n", STANDARD.encode([7; 32]))).unwrap();
        let failure = TicketKeys::load(&path, Duration::from_secs(60), 0).unwrap_err().to_string();
        assert!(failure.contains("keys:2"), "{failure}");
    }

    #[test]
    fn ended_bindings_are_remembered_until_their_time() {
        let dir = TempDir::new("ended");
        let ended = Ended::at(&dir.path().join("ended"));
        assert_eq!(ended.load(0).unwrap(), []);
        ended.add(&[1; 16], UnixTime::from_secs(100)).unwrap();
        ended.add(&[2; 16], UnixTime::from_secs(200)).unwrap();
        assert_eq!(ended.load(50).unwrap().len(), 2);
        assert_eq!(ended.load(150).unwrap(), [([2; 16], UnixTime::from_secs(200))]);
        assert_eq!(std::fs::read_to_string(&ended.path).unwrap().lines().count(), 1);
        // What a crash left of a line does not spoil the next one.
        std::fs::write(&ended.path, "0102").unwrap();
        assert_eq!(ended.load(0).unwrap(), []);
        ended.add(&[3; 16], UnixTime::from_secs(300)).unwrap();
        assert_eq!(ended.load(0).unwrap(), [([3; 16], UnixTime::from_secs(300))]);
        let full = dir.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        assert!(Ended::at(&full).add(&[4; 16], UnixTime::from_secs(300)).is_err());
    }
}
