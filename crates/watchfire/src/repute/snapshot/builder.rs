//! Snapshots in the making: several loaders write entries at the same time, and the builder puts them in a table.

use std::collections::{BTreeSet, HashMap};
use std::hash::RandomState;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use repute_proto::{Application, Identity, Reputon, SubjectSyntax};

use super::record::{self, Head};
use super::table::Table;
use super::{Record, SEGMENT, SEGMENT_BITS, Snapshot};
use crate::repute::place::Place;

/// The extension that says what a DNSBL answers.
pub(crate) const CODE: &str = "dnsbl-code";

/// Extensions are shared up to so many heads; from then on every entry has its own.
const SHARED: usize = 1 << 16;

/// Octets beyond a full segment, for the record that no longer fits.
const SLACK: usize = 4_096;

/// Segments at most: what 32 bits lead to.
const SEGMENTS: usize = 1 << (32 - SEGMENT_BITS);

/// What all loaders share.
#[derive(Debug, Default)]
struct Shared {
    heads: Vec<Head>,
    by_octets: HashMap<Box<[u8]>, u32>,
    statements: HashMap<Box<[u8]>, u32>,
    segments: Vec<Vec<u8>>,
}

/// Makes a snapshot.
#[derive(Debug)]
pub struct Builder {
    shared: Arc<Mutex<Shared>>,
    hasher: RandomState,
    email_id: Application,
}

/// Where entries are, in order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// A hash and a place for each.
    places: Vec<u64>,
    /// Numbers of pieces, and where in `places` they begin; what is before belongs to the first piece.
    pieces: Vec<(usize, usize)>,
    above: Vec<u32>,
    /// So many of `above` are in order and differ.
    tidy: usize,
}

/// Names above others are collected up to so many before those are thrown out that were there already.
const UNTIDY: usize = 1 << 15;

impl Loaded {
    /// What follows is from this piece of the source; pieces are put in order in the end.
    pub fn begin(&mut self, piece: usize) {
        self.pieces.push((piece, self.places.len()));
        if self.above.len() > 2 * self.tidy + UNTIDY {
            self.shrink();
        }
    }

    /// Makes it as small as it gets: names share most of what is above them.
    pub fn shrink(&mut self) {
        self.above.sort_unstable();
        self.above.dedup();
        self.tidy = self.above.len();
    }

    /// The pieces with their numbers.
    fn runs(&self) -> impl Iterator<Item = (usize, &[u64])> {
        let before = self.pieces.first().map_or(self.places.len(), |(_, first)| *first);
        let ends = self.pieces.iter().skip(1).map(|(_, start)| *start).chain([self.places.len()]);
        let runs = self.pieces.iter().zip(ends).map(|((number, start), end)| (*number, *start, end));
        let all = [(0, 0, before)].into_iter().chain(runs);
        all.map(|(number, start, end)| (number, self.places.get(start..end).unwrap_or(&[])))
    }
}

/// Writes entries: one for each thread.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Mutex<Shared>>,
    hasher: RandomState,
    email_id: Application,
    known: HashMap<Box<[u8]>, u32>,
    segment: Vec<u8>,
    number: usize,
    prefixes: BTreeSet<(bool, u8)>,
    tree_depths: u128,
    /// Scratch.
    octets: Vec<u8>,
    key: Vec<u8>,
    own: Vec<u8>,
}

/// What loaders leave behind besides entries.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Shapes {
    prefixes: BTreeSet<(bool, u8)>,
    tree_depths: u128,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// One without entries.
    pub fn new() -> Self {
        Self { shared: Arc::default(), hasher: RandomState::new(), email_id: Application::email_id() }
    }

    /// A loader for another thread.
    pub fn loader(&self) -> Loader {
        Loader {
            shared: Arc::clone(&self.shared),
            hasher: self.hasher.clone(),
            email_id: self.email_id.clone(),
            known: HashMap::new(),
            segment: Vec::new(),
            number: 0,
            prefixes: BTreeSet::new(),
            tree_depths: 0,
            octets: Vec::new(),
            key: Vec::new(),
            own: Vec::new(),
        }
    }

    /// The snapshot: what is `loaded` later replaces what says the same. Loaders must have ended.
    pub fn finish(self, loaded: Vec<(Loaded, Shapes)>) -> Snapshot {
        let mut shared = std::mem::take(&mut *lock(&self.shared));
        shared.by_octets = HashMap::new();
        shared.statements = HashMap::new();
        let mut snapshot = Snapshot {
            segments: shared.segments,
            heads: shared.heads,
            table: Table::default(),
            hasher: self.hasher,
            prefixes_v4: Vec::new(),
            prefixes_v6: Vec::new(),
            tree_depths: 0,
            above: Vec::new(),
        };
        let mut runs: Vec<(usize, &[u64])> = loaded.iter().flat_map(|(part, _)| part.runs()).collect();
        runs.sort_by_key(|(number, _)| *number);
        let table = Table::new(runs.iter().map(|(_, run)| *run), |earlier, later| snapshot.is_same(earlier, later));
        snapshot.table = table;
        let mut prefixes = BTreeSet::new();
        for (part, shapes) in loaded {
            snapshot.above.extend(part.above);
            prefixes.extend(shapes.prefixes);
            snapshot.tree_depths |= shapes.tree_depths;
        }
        snapshot.above.sort_unstable();
        snapshot.above.dedup();
        snapshot.above.shrink_to_fit();
        for (is_v4, len) in prefixes.into_iter().rev() {
            if is_v4 { snapshot.prefixes_v4.push(len) } else { snapshot.prefixes_v6.push(len) }
        }
        snapshot
    }
}

impl Snapshot {
    /// Whether two records say the same about the same.
    fn is_same(&self, earlier: u32, later: u32) -> bool {
        let statement = |record: &Record<'_>| self.heads.get(record.head as usize).map(|head| head.statement);
        match (self.record(earlier), self.record(later)) {
            (Some(earlier), Some(later)) => earlier.key == later.key && statement(&earlier) == statement(&later),
            _ => false,
        }
    }
}

impl Loader {
    /// Takes an entry.
    ///
    /// # Errors
    /// When it is about nothing that can be looked up, or there are too many.
    pub fn add(&mut self, application: &str, reputon: &Reputon<'_>, loaded: &mut Loaded) -> Result<(), String> {
        let is_email = self.email_id.is(application);
        let syntax = if is_email { SubjectSyntax::NameOrAddress } else { SubjectSyntax::Free };
        let place = Place::parse(syntax, &reputon.rated).map_err(|error| format!("rated: {error}"))?;
        place.key(&mut self.key);
        match &place {
            Place::Net(net) => {
                self.prefixes.insert((net.max_prefix_len() == 32, net.prefix_len()));
            }
            Place::Tree(name) | Place::Below(name) => {
                let labels = 1 + name.bytes().filter(|octet| *octet == b'.').count();
                self.tree_depths |= 1 << labels.min(127);
                self.parents(name, loaded);
            }
            Place::Name(name) => self.parents(name, loaded),
            Place::Free(_) => {}
        }
        let head = self.head(if is_email { "email-id" } else { application }, reputon)?;
        let own = std::mem::take(&mut self.own);
        let before = self.segment.len();
        Record::write(&self.key, head, reputon, &own, &mut self.segment);
        self.own = own;
        if before == 0 || self.segment.len() > SEGMENT {
            // It goes to the beginning of a new segment.
            let record = self.segment.split_off(before);
            if record.len() >= SEGMENT {
                return Err("the entry is too large".to_owned());
            }
            self.seal();
            self.number = {
                let mut shared = lock(&self.shared);
                let number = shared.segments.len();
                if number >= SEGMENTS {
                    return Err("there are more than 4 GiB of entries".to_owned());
                }
                shared.segments.push(Vec::new());
                number
            };
            self.segment.reserve_exact(SEGMENT + SLACK);
            self.segment.extend_from_slice(&record);
            return self.put(0, loaded);
        }
        self.put(before, loaded)
    }

    fn put(&mut self, offset: usize, loaded: &mut Loaded) -> Result<(), String> {
        let place = (self.number << SEGMENT_BITS | offset) as u64;
        loaded.places.push(self.hash(&self.key) << 32 | place);
        Ok(())
    }

    fn hash(&self, key: &[u8]) -> u64 {
        use std::hash::BuildHasher as _;
        self.hasher.hash_one(key) >> 32
    }

    /// Remembers the names that are above one.
    fn parents(&self, name: &str, loaded: &mut Loaded) {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            loaded.above.push(self.hash(parent.as_bytes()) as u32);
            rest = parent;
        }
    }

    /// Keeps the segment that is written, where it is.
    fn seal(&mut self) {
        if !self.segment.is_empty() {
            let mut segment = std::mem::take(&mut self.segment);
            segment.shrink_to_fit();
            if let Some(place) = lock(&self.shared).segments.get_mut(self.number) {
                *place = segment;
            }
        }
    }

    /// The number of the head; what it does not have is left in `self.own`.
    fn head(&mut self, application: &str, reputon: &Reputon<'_>) -> Result<u32, String> {
        self.own.clear();
        self.octets.clear();
        for part in [application, &reputon.assertion, &reputon.rater] {
            record::text(part.as_bytes(), &mut self.octets);
        }
        for extension in &reputon.extensions {
            record::text(extension.name.as_bytes(), &mut self.octets);
            record::text(extension.value.to_json().as_bytes(), &mut self.octets);
        }
        if let Some(number) = self.known.get(self.octets.as_slice()) {
            return Ok(*number);
        }
        let mut shared = lock(&self.shared);
        if let Some(number) = shared.by_octets.get(self.octets.as_slice()).copied() {
            drop(shared);
            self.known.insert(self.octets.as_slice().into(), number);
            return Ok(number);
        }
        let (mut extensions, mut code) = (Vec::new(), None);
        let is_shared = shared.heads.len() < SHARED;
        let identity = reputon.identity();
        for extension in &reputon.extensions {
            let value = extension.value.to_json();
            if extension.name == CODE {
                let text = extension.value.as_text().unwrap_or_default();
                let parsed: Ipv4Addr =
                    text.parse().map_err(|_| format!("{CODE} must be an IPv4 address in a string"))?;
                code = Some(parsed);
            }
            let is_identity = [Identity::EXTENSION, Identity::ALIAS].contains(&extension.name.as_ref());
            if is_shared || is_identity || extension.name == CODE {
                extensions.push((extension.name.clone().into_owned(), value.into_owned()));
            } else {
                record::text(extension.name.as_bytes(), &mut self.own);
                record::text(value.as_bytes(), &mut self.own);
            }
        }
        let octets = if self.own.is_empty() {
            self.octets.clone()
        } else {
            let mut octets = Vec::new();
            for part in [application, &reputon.assertion, &reputon.rater] {
                record::text(part.as_bytes(), &mut octets);
            }
            for (name, value) in &extensions {
                record::text(name.as_bytes(), &mut octets);
                record::text(value.as_bytes(), &mut octets);
            }
            octets
        };
        if let Some(number) = shared.by_octets.get(octets.as_slice()).copied() {
            return Ok(number);
        }
        let assertion = if application == "email-id" {
            self.email_id.canonical_assertion(&reputon.assertion)
        } else {
            reputon.assertion.to_ascii_lowercase()
        };
        let mut said = Vec::new();
        for part in [application, &assertion, &reputon.rater, identity.map_or("", Identity::name)] {
            record::text(part.as_bytes(), &mut said);
        }
        said.extend_from_slice(&code.map_or([0; 4], |code| code.octets()));
        let next = shared.statements.len() as u32;
        let statement = *shared.statements.entry(said.into_boxed_slice()).or_insert(next);
        let number = u32::try_from(shared.heads.len()).map_err(|_| "too many raters and assertions".to_owned())?;
        let application = application.to_owned();
        shared.heads.push(Head {
            application,
            assertion,
            rater: reputon.rater.clone().into_owned(),
            extensions,
            code,
            statement,
        });
        shared.by_octets.insert(octets.into_boxed_slice(), number);
        drop(shared);
        if self.own.is_empty() {
            self.known.insert(self.octets.as_slice().into(), number);
        }
        Ok(number)
    }

    /// Ends: what is left is kept.
    pub fn end(mut self) -> Shapes {
        self.seal();
        Shapes { prefixes: std::mem::take(&mut self.prefixes), tree_depths: self.tree_depths }
    }
}
