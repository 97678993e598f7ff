//! The relay. It never overwrites, keeps what it has for five minutes at least, and no more than its limits.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use watchfire_core::{Duration, Instant};

use super::query::chid;

/// How much a relay keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayLimits {
    /// Octets of one chunk: 65,536, which the draft wants at least.
    pub chunk: usize,
    /// Octets of a name: 128.
    pub chid: usize,
    /// Octets of all chunks of one owner, and 128 for each of them: 4 MiB.
    pub owner: usize,
    /// Octets of all chunks, and 128 for each of them: 64 MiB.
    pub total: usize,
    /// For how long a chunk is kept: five minutes, which the draft wants at least.
    pub keep: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { chunk: 65_536, chid: 128, owner: 4 << 20, total: 64 << 20, keep: Duration::from_secs(300) }
    }
}

impl RelayLimits {
    /// The same with chunks of up to so many octets.
    #[must_use]
    pub const fn with_chunk(mut self, octets: usize) -> Self {
        self.chunk = octets;
        self
    }

    /// The same, where chunks are kept for so long. Less than five minutes is less than the draft wants.
    #[must_use]
    pub const fn with_keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// The same with so many octets of one owner, and of all.
    #[must_use]
    pub const fn with_totals(mut self, owner: usize, total: usize) -> Self {
        (self.owner, self.total) = (owner, total);
        self
    }
}

/// A request to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "drivers make it")]
pub struct RelayRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The query of the URL, without question mark; empty if there is none.
    pub query: &'a str,
    /// From where it came.
    pub from: SocketAddr,
    /// Who has been authenticated; none for nobody. Only owners can store.
    pub owner: Option<&'a str>,
    /// The content. Its type is not looked at.
    pub body: &'a [u8],
}

/// A response of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayResponse {
    /// The status.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The content. For HEAD the driver leaves it out, and sends its length.
    pub body: Vec<u8>,
}

/// Why a chunk is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// There is a chunk of this name. It is not overwritten.
    #[error("there is a chunk of this name already")]
    Duplicate,
    /// The relay, or what it keeps for this owner, is full.
    #[error("there is no room now")]
    Full,
    /// The chunk is too large.
    #[error("chunks have {0} octets at most")]
    TooLarge(usize),
    /// The name is too long.
    #[error("names have {0} octets at most")]
    TooLong(usize),
}

impl PutError {
    /// The status that says it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Duplicate => 403,
            Self::Full => 503,
            Self::TooLarge(_) => 413,
            Self::TooLong(_) => 414,
        }
    }
}

struct Chunk {
    octets: Vec<u8>,
    owner: String,
    stored: Instant,
}

/// The digest of a name. Names are secrets: whoever knows one has the chunk. So they are not kept, and how long a search
/// takes says something about their digests at most, from which nobody comes to a name.
type Name = [u8; 32];

/// Chunks by their names.
pub struct Relay {
    limits: RelayLimits,
    chunks: BTreeMap<Name, Chunk>,
    oldest: VecDeque<(Instant, Name)>,
    owners: BTreeMap<String, usize>,
    total: usize,
    now: Instant,
}

impl Relay {
    /// An empty relay.
    pub const fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            chunks: BTreeMap::new(),
            oldest: VecDeque::new(),
            owners: BTreeMap::new(),
            total: 0,
            now: Instant::ZERO,
        }
    }

    /// Answers a request.
    pub fn handle_request(&mut self, now: Instant, request: &RelayRequest<'_>) -> RelayResponse {
        let named = chid(request.query);
        match (request.method, named) {
            ("GET" | "HEAD", None) if request.query.is_empty() => respond(200, request.from.to_string().into_bytes()),
            ("GET" | "HEAD", named) => match named.and_then(|chid| self.get(now, &chid).map(<[u8]>::to_vec)) {
                Some(octets) => respond(200, octets),
                None => say(404, "there is no such chunk, or its time has passed"),
            },
            ("POST", Some(chid)) => {
                let Some(owner) = request.owner else {
                    let mut response = say(401, "only who is known here can store");
                    response.headers.push(("www-authenticate", "Basic realm=\"relay\", charset=\"UTF-8\"".into()));
                    return response;
                };
                match self.put(now, owner, &chid, request.body) {
                    Ok(()) => respond(200, Vec::new()),
                    Err(error) => say(error.status(), &error.to_string()),
                }
            }
            ("POST", None) => say(404, "the name of a chunk is missing: ?chid="),
            _ => {
                let mut response = say(405, "GET, HEAD and POST are used here");
                response.headers.push(("allow", "GET, HEAD, POST".into()));
                response
            }
        }
    }

    /// Stores a chunk.
    ///
    /// # Errors
    /// When there is one of this name, when it is too large, or when there is no room. Nothing has changed then.
    pub fn put(&mut self, now: Instant, owner: &str, chid: &str, octets: &[u8]) -> Result<(), PutError> {
        self.forget(now);
        if chid.len() > self.limits.chid {
            return Err(PutError::TooLong(self.limits.chid));
        }
        if octets.len() > self.limits.chunk {
            return Err(PutError::TooLarge(self.limits.chunk));
        }
        let name = digest(chid);
        if self.chunks.contains_key(&name) {
            return Err(PutError::Duplicate);
        }
        let size = size_of(octets);
        let owned = self.owners.get(owner).copied().unwrap_or(0).saturating_add(size);
        let total = self.total.saturating_add(size);
        if owned > self.limits.owner || total > self.limits.total {
            return Err(PutError::Full);
        }
        self.total = total;
        self.owners.insert(owner.to_owned(), owned);
        self.oldest.push_back((self.now, name));
        let chunk = Chunk { octets: octets.to_vec(), owner: owner.to_owned(), stored: self.now };
        self.chunks.insert(name, chunk);
        Ok(())
    }

    /// A chunk. It stays there.
    pub fn get(&mut self, now: Instant, chid: &str) -> Option<&[u8]> {
        self.forget(now);
        let name = digest(chid);
        let (found, chunk) = self.chunks.get_key_value(&name)?;
        bool::from(found.ct_eq(&name)).then_some(chunk.octets.as_slice())
    }

    /// Drops what is too old. The other calls do so too; this is for when there are none.
    pub fn forget(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some((stored, name)) = self.oldest.front() {
            if *stored + self.limits.keep > self.now {
                return;
            }
            let chunk = self.chunks.remove(name).filter(|chunk| chunk.stored == *stored);
            if let Some(chunk) = chunk {
                let size = size_of(&chunk.octets);
                self.total = self.total.saturating_sub(size);
                if let Some(owned) = self.owners.get_mut(&chunk.owner) {
                    *owned = owned.saturating_sub(size);
                    if *owned == 0 {
                        self.owners.remove(&chunk.owner);
                    }
                }
            }
            self.oldest.pop_front();
        }
    }

    /// When [`forget`](Self::forget) has something to do.
    pub fn wake(&self) -> Option<Instant> {
        self.oldest.front().map(|(stored, _)| *stored + self.limits.keep)
    }

    /// Chunks, and octets of them with 128 for each.
    pub fn usage(&self) -> (usize, usize) {
        (self.chunks.len(), self.total)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("limits", &self.limits).field("usage", &self.usage()).finish_non_exhaustive()
    }
}

fn digest(chid: &str) -> Name {
    Sha256::digest(chid).into()
}

/// What a chunk costs: its octets, and something for each.
fn size_of(octets: &[u8]) -> usize {
    octets.len().saturating_add(128)
}

fn respond(status: u16, body: Vec<u8>) -> RelayResponse {
    // Octets of a stranger: nobody shall guess what they are, and nobody shall keep them.
    let headers = [
        ("content-type", "application/octet-stream"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache, must-revalidate"),
        ("expires", "Sat, 26 Jul 1997 05:00:00 GMT"),
    ];
    RelayResponse { status, headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(), body }
}

fn say(status: u16, text: &str) -> RelayResponse {
    respond(status, format!("{text}\n").into_bytes())
}
