//! Revocation lists: from files that are watched, and fetched from where the certificates say, kept until they run out.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use watchfire_core::{Instant, UnixTime};
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::der;
use crate::sources::BoxFuture;

/// Largest list that is read, in octets.
pub(super) const MAX_CRL: usize = 64 << 20;
/// Most lists kept.
const MAX_LISTS: usize = 4096;
/// Most places whose fetches are remembered.
const MAX_PLACES: usize = 8192;

/// A list, read.
pub(crate) struct Crl {
    /// As it came.
    pub(super) der: Vec<u8>,
    /// The issuer's name with its SEQUENCE.
    pub(super) issuer: Vec<u8>,
    pub(super) this_update: i64,
    pub(super) next_update: i64,
    pub(super) parsed: CertRevocationList<'static>,
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crl")
            .field("octets", &self.der.len())
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

impl Crl {
    fn read(octets: &[u8]) -> Result<Self, String> {
        let parsed = BorrowedCertRevocationList::from_der(octets)
            .and_then(|list| list.to_owned())
            .map_err(|error| format!("no usable revocation list: {error}"))?;
        let (_, header) =
            CertificateRevocationList::from_der(octets).map_err(|error| format!("no revocation list: {error}"))?;
        let next_update = header.next_update().ok_or("the list does not say when the next one comes")?;
        Ok(Self {
            issuer: header.issuer().as_raw().to_vec(),
            this_update: header.last_update().timestamp(),
            next_update: next_update.timestamp(),
            parsed: CertRevocationList::from(parsed),
            der: octets.to_vec(),
        })
    }

    pub(super) fn is_current(&self, now: UnixTime) -> bool {
        // A clock may be a little slow.
        self.this_update <= now.as_secs().saturating_add(300) && now.as_secs() < self.next_update
    }

    /// The list's signed part, and by which algorithm it is signed, in DER, with the signature.
    pub(super) fn signed(&self) -> Option<(&[u8], &[u8], &[u8])> {
        let (inside, _) = der::expect(der::SEQUENCE, &self.der)?;
        let tbs = der::take(inside)?;
        let (algorithm, rest) = der::expect(der::SEQUENCE, tbs.rest)?;
        let (bits, _) = der::expect(der::BITS, rest)?;
        Some((tbs.whole, algorithm, bits.strip_prefix(&[0])?))
    }
}

/// Gets a revocation list from a URL.
pub trait CrlFetcher: Send + Sync + std::fmt::Debug + 'static {
    /// The octets behind `url`, or why there are none.
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>>;
}

/// What is wrong with a file of revocation lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}; give a revocation list in DER or PEM", file.display())]
#[non_exhaustive]
pub struct CrlError {
    /// The file.
    pub file: PathBuf,
    /// What was found.
    pub what: String,
}

/// The lists at hand.
#[derive(Debug, Default)]
pub struct CrlStore {
    lists: RwLock<HashMap<Vec<u8>, Vec<Arc<Crl>>>>,
    files: Mutex<Vec<(PathBuf, Option<SystemTime>)>>,
    fetched: Mutex<HashMap<String, Instant>>,
}

impl CrlStore {
    /// A store without lists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a list in DER.
    ///
    /// # Errors
    /// A text when it is none that can be used.
    pub fn add_der(&self, octets: &[u8]) -> Result<(), String> {
        self.put(Crl::read(octets)?)
    }

    /// Adds the lists of a file (DER or PEM) and remembers the file for [`CrlStore::reload`].
    ///
    /// # Errors
    /// [`CrlError`] with the file.
    pub fn add_file(&self, file: &Path) -> Result<(), CrlError> {
        let stamp = modified(file);
        self.read_file(file)?;
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push((file.to_owned(), stamp));
        Ok(())
    }

    /// Reads the files again that changed. Blocks on files.
    ///
    /// # Errors
    /// The first file's error; the lists at hand stay, and the other files are read all the same.
    pub fn reload(&self) -> Result<usize, CrlError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut read = 0;
        let mut outcome = Ok(());
        for (file, stamp) in files.iter_mut() {
            let now = modified(file);
            if now != *stamp {
                *stamp = now;
                match self.read_file(file) {
                    Ok(()) => read += 1,
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
        }
        outcome.map(|()| read)
    }

    fn read_file(&self, file: &Path) -> Result<(), CrlError> {
        let error = |what: String| CrlError { file: file.to_owned(), what };
        let mut octets = Vec::new();
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_CRL as u64 + 1).read_to_end(&mut octets))
            .map_err(|io| error(io.to_string()))?;
        if octets.len() > MAX_CRL {
            return Err(error("larger than 64 MiB".to_owned()));
        }
        let mut lists = Vec::new();
        if octets.starts_with(b"-----") {
            for list in CertificateRevocationListDer::pem_slice_iter(&octets) {
                let list = list.map_err(|pem| error(format!("no PEM: {pem}")))?;
                lists.push(Crl::read(&list).map_err(error)?);
            }
            if lists.is_empty() {
                return Err(error("the PEM has no X509 CRL".to_owned()));
            }
        } else {
            lists.push(Crl::read(&octets).map_err(error)?);
        }
        lists.into_iter().try_for_each(|list| self.put(list)).map_err(error)
    }

    fn put(&self, crl: Crl) -> Result<(), String> {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if !lists.contains_key(&crl.issuer) && lists.len() >= MAX_LISTS {
            return Err(format!("more than {MAX_LISTS} issuers"));
        }
        let of_issuer = lists.entry(crl.issuer.clone()).or_default();
        // Lists with different distribution points stand side by side; of the same, the later one counts.
        let same =
            |known: &Arc<Crl>| known.parsed.issuing_distribution_point() == crl.parsed.issuing_distribution_point();
        let room = of_issuer.len() < 64;
        match of_issuer.iter_mut().find(|known| same(known)) {
            Some(known) if known.this_update > crl.this_update => {}
            Some(known) => *known = Arc::new(crl),
            None if room => of_issuer.push(Arc::new(crl)),
            None => return Err("more than 64 lists of one issuer".to_owned()),
        }
        Ok(())
    }

    /// The current lists of an issuer.
    pub(super) fn current(&self, issuer: &[u8], now: UnixTime) -> Vec<Arc<Crl>> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let of_issuer = lists.get(issuer).into_iter().flatten();
        of_issuer.filter(|crl| crl.is_current(now)).cloned().collect()
    }

    /// Every current list, for when only hashes of the issuer are known.
    pub(super) fn all_current(&self, now: UnixTime) -> Vec<Arc<Crl>> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        lists.values().flatten().filter(|crl| crl.is_current(now)).cloned().collect()
    }

    /// How many lists there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fetches the list at `url`, unless that was done or tried a short while ago.
    pub(super) async fn refresh(&self, fetcher: &dyn CrlFetcher, url: &str, now: Instant) {
        {
            let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            if fetched.get(url).is_some_and(|again| *again > now) {
                return;
            }
            if fetched.len() >= MAX_PLACES {
                fetched.retain(|_, again| *again > now);
                if fetched.len() >= MAX_PLACES {
                    return;
                }
            }
            // Also while it is under way: one fetch at a time, and none again for a minute after a failure.
            fetched.insert(url.to_owned(), now + Duration::from_secs(60));
        }
        let got = fetcher.fetch(url).await;
        let outcome = got.and_then(|octets| {
            let octets = match CertificateRevocationListDer::from_pem_slice(&octets) {
                Ok(list) => list.as_ref().to_vec(),
                Err(_) => octets,
            };
            self.add_der(&octets)
        });
        match outcome {
            Ok(()) => {
                let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
                // The list says itself until when it holds; a newer one may say more within the hour.
                fetched.insert(url.to_owned(), now + Duration::from_secs(3600));
            }
            Err(error) => tracing::warn!(url, error, "a revocation list could not be fetched"),
        }
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|meta| meta.modified()).ok()
}
