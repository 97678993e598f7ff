//! Proofs that a client checks for itself: chains of DNSSEC records (RFC 9102 section 5), from a trust anchor down to
//! the records from which a connection list was made.
//!
//! [`verify`] needs nothing but the chain, trust anchors and a time: no network, no runtime. It is what a client uses
//! (feature `verify` alone). The broker's side is `build`, which makes chains for records of every type; it is our own
//! because no crate at hand does so for SRV and HTTPS records.

mod anchors;
#[cfg(feature = "broker")]
mod build;
pub(crate) mod denial;
mod proven;

use std::collections::BTreeMap;

use hickory_proto::dnssec::Verifier as _;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::dnssec::{DigestType, PublicKey as _};
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

pub use anchors::{Anchors, AnchorsError};
#[cfg(feature = "broker")]
pub(crate) use build::build;
pub use proven::Proof;

/// Most octets of a chain: its length has two octets in RFC 9102.
pub const MAX_CHAIN: usize = 65_535;
/// Most records of a chain.
const MAX_RECORDS: usize = 512;
/// Most signatures that are checked for one chain: a chain must not be a way to keep a client busy (CVE-2023-50387).
const MAX_CHECKS: u32 = 192;
/// Most delegations from an anchor down.
const MAX_ZONES: usize = 32;

/// Why a chain proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Longer than RFC 9102 allows, or with more records than any proof has.
    #[error("the chain is too long")]
    TooLong,
    /// Not a sequence of records.
    #[error("the chain cannot be read at octet {offset}")]
    Malformed {
        /// Where.
        offset: usize,
    },
    /// It does not begin at a trust anchor.
    #[error("no key of the chain is a trust anchor")]
    NoAnchor,
    /// Records without a good signature.
    #[error("the signature of {name} {kind} is missing, wrong, or by a key that nothing leads to")]
    BadSignature {
        /// Owner of the records.
        name: String,
        /// Their type.
        kind: String,
    },
    /// The signature is good, but not at this time.
    #[error("the signature of {name} {kind} is not valid at this time")]
    NotNow {
        /// Owner of the records.
        name: String,
        /// Their type.
        kind: String,
    },
    /// A wildcard was expanded, and nothing proves that the name itself does not exist.
    #[error("{name} comes from a wildcard, without proof that there is no such name")]
    Wildcard {
        /// Owner of the records.
        name: String,
    },
    /// More signatures than any honest chain needs.
    #[error("the chain asks for too many signature checks")]
    TooMuchWork,
}

/// Records of one owner and type with their signatures.
#[derive(Debug, Default)]
struct Set {
    records: Vec<Record>,
    signatures: Vec<RRSIG>,
}

type Sets = BTreeMap<(Name, RecordType), Set>;

/// Checks a chain against trust anchors at a time (seconds since 1970).
///
/// Every record of the chain must be covered by a good signature; one that is not spoils all of it.
///
/// # Errors
/// [`ProofError`] with the first fault.
pub fn verify(chain: &[u8], anchors: &Anchors, unix: i64) -> Result<Proof, ProofError> {
    let sets = read(chain)?;
    // Signatures count seconds modulo 2^32 (RFC 4034 section 3.1.5).
    let mut checker =
        Checker { now: unix.rem_euclid(1 << 32) as u32, left: MAX_CHECKS, soonest: u32::MAX, wildcards: Vec::new() };
    let trusted = checker.zones(&sets, anchors)?;
    let mut records = Vec::new();
    for ((name, kind), set) in &sets {
        if matches!(kind, RecordType::DNSKEY | RecordType::DS) {
            continue;
        }
        checker.any_zone(name, *kind, set, &trusted)?;
        records.extend(set.records.iter().cloned());
    }
    denial::check(&checker.wildcards, &records)?;
    let seconds = checker.soonest;
    Ok(Proof::new(records, unix.saturating_add(i64::from(seconds))))
}

fn read(chain: &[u8]) -> Result<Sets, ProofError> {
    if chain.len() > MAX_CHAIN {
        return Err(ProofError::TooLong);
    }
    let mut sets = Sets::new();
    let mut decoder = BinDecoder::new(chain);
    let mut count = 0;
    while !decoder.is_empty() {
        let offset = decoder.index();
        let record = Record::read(&mut decoder).map_err(|_| ProofError::Malformed { offset })?;
        count += 1;
        if count > MAX_RECORDS {
            return Err(ProofError::TooLong);
        }
        if record.dns_class != DNSClass::IN {
            return Err(ProofError::Malformed { offset });
        }
        match record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
                let key = (record.name, signature.input().type_covered);
                sets.entry(key).or_default().signatures.push(signature);
            }
            _ => {
                let set = sets.entry((record.name.clone(), record.record_type())).or_default();
                // The same record twice counts once (RFC 4034 section 6.3).
                if !set.records.iter().any(|known| known.data == record.data) {
                    set.records.push(record);
                }
            }
        }
    }
    // Signatures of nothing prove nothing.
    sets.retain(|_, set| !set.records.is_empty());
    Ok(sets)
}

/// A wildcard that was expanded: the name, and how many of its labels are the wildcard's.
#[derive(Debug)]
pub(crate) struct Expansion {
    pub(crate) name: Name,
    pub(crate) labels: u8,
    pub(crate) zone: Name,
}

struct Checker {
    now: u32,
    left: u32,
    soonest: u32,
    wildcards: Vec<Expansion>,
}

/// How a check went short of success.
enum Fault {
    Wrong,
    NotNow,
}

impl Checker {
    /// The zones whose keys an anchor leads to.
    fn zones(&mut self, sets: &Sets, anchors: &Anchors) -> Result<BTreeMap<Name, Vec<DNSKEY>>, ProofError> {
        let mut trusted: BTreeMap<Name, Vec<DNSKEY>> = BTreeMap::new();
        for ((name, kind), set) in sets {
            if *kind != RecordType::DNSKEY {
                continue;
            }
            let lower = LowerName::from(name);
            let anchored: Vec<DNSKEY> =
                keys(set).filter(|key| anchors.inner().contains_with_name(key.public_key(), &lower)).cloned().collect();
            if !anchored.is_empty() {
                self.must(name, *kind, set, name, &anchored)?;
                trusted.insert(name.clone(), keys(set).cloned().collect());
            }
        }
        if trusted.is_empty() {
            return Err(ProofError::NoAnchor);
        }
        // Parents come before their children in this order, so one pass is enough.
        for ((name, kind), set) in sets {
            if *kind != RecordType::DS || trusted.contains_key(name) {
                continue;
            }
            if trusted.len() > MAX_ZONES {
                return Err(ProofError::TooLong);
            }
            let parent = set.signatures.iter().map(|signature| &signature.input().signer_name).find_map(|signer| {
                let above = signer.zone_of(name) && signer != name;
                trusted.get_key_value(signer).filter(|_| above)
            });
            let Some((parent, parent_keys)) = parent.map(|(zone, keys)| (zone.clone(), keys.clone())) else {
                return Err(bad(name, *kind));
            };
            self.must(name, *kind, set, &parent, &parent_keys)?;
            let Some(own) = sets.get(&(name.clone(), RecordType::DNSKEY)) else { continue };
            let named: Vec<DNSKEY> = keys(own)
                .filter(|key| {
                    digests(set).any(|digest| {
                        digest.algorithm() == key.public_key().algorithm() && digest.covers(name, key).unwrap_or(false)
                    })
                })
                .cloned()
                .collect();
            self.must(name, RecordType::DNSKEY, own, name, &named)?;
            trusted.insert(name.clone(), keys(own).cloned().collect());
        }
        // Keys that nothing leads to have no place in a chain.
        let stray = sets.keys().find(|(name, kind)| *kind == RecordType::DNSKEY && !trusted.contains_key(name));
        match stray {
            Some((name, kind)) => Err(bad(name, *kind)),
            None => Ok(trusted),
        }
    }

    /// Signed by whichever trusted zone the signature names.
    fn any_zone(
        &mut self,
        name: &Name,
        kind: RecordType,
        set: &Set,
        trusted: &BTreeMap<Name, Vec<DNSKEY>>,
    ) -> Result<(), ProofError> {
        let mut fault = bad(name, kind);
        for (zone, keys) in trusted.iter().rev().filter(|(zone, _)| zone.zone_of(name)) {
            match self.signed(name, kind, set, zone, keys)? {
                Ok(()) => return Ok(()),
                Err(Fault::NotNow) => fault = not_now(name, kind),
                Err(Fault::Wrong) => {}
            }
        }
        Err(fault)
    }

    fn must(
        &mut self,
        name: &Name,
        kind: RecordType,
        set: &Set,
        zone: &Name,
        keys: &[DNSKEY],
    ) -> Result<(), ProofError> {
        match self.signed(name, kind, set, zone, keys)? {
            Ok(()) => Ok(()),
            Err(Fault::NotNow) => Err(not_now(name, kind)),
            Err(Fault::Wrong) => Err(bad(name, kind)),
        }
    }

    /// Whether one signature of the set is by one of the zone's keys, and good (RFC 4035 section 5.3).
    fn signed(
        &mut self,
        name: &Name,
        kind: RecordType,
        set: &Set,
        zone: &Name,
        keys: &[DNSKEY],
    ) -> Result<Result<(), Fault>, ProofError> {
        let mut fault = Fault::Wrong;
        for signature in &set.signatures {
            let input = signature.input();
            if input.signer_name != *zone || input.type_covered != kind || input.num_labels > name.num_labels() {
                continue;
            }
            let (begins, ends) = (input.sig_inception.get(), input.sig_expiration.get());
            let in_time = self.now.wrapping_sub(begins) < 1 << 31 && ends.wrapping_sub(self.now) < 1 << 31;
            for key in keys {
                let fits = key.zone_key()
                    && !key.revoke()
                    && key.public_key().algorithm() == input.algorithm
                    && key.calculate_key_tag().is_ok_and(|tag| tag == input.key_tag);
                if !fits {
                    continue;
                }
                self.left = self.left.checked_sub(1).ok_or(ProofError::TooMuchWork)?;
                if key.verify_rrsig(name, DNSClass::IN, signature, set.records.iter()).is_err() {
                    continue;
                }
                if !in_time {
                    fault = Fault::NotNow;
                    continue;
                }
                self.soonest = self.soonest.min(ends.wrapping_sub(self.now));
                if input.num_labels < name.num_labels() {
                    // Names of denials and delegations are never expanded.
                    if matches!(kind, RecordType::NSEC | RecordType::NSEC3 | RecordType::DS | RecordType::DNSKEY) {
                        continue;
                    }
                    self.wildcards.push(Expansion { name: name.clone(), labels: input.num_labels, zone: zone.clone() });
                }
                return Ok(Ok(()));
            }
        }
        Ok(Err(fault))
    }
}

fn keys(set: &Set) -> impl Iterator<Item = &DNSKEY> {
    set.records.iter().filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key),
        _ => None,
    })
}

/// SHA-1 digests lead nowhere: they can be forged, and no zone has only such (RFC 8624 section 3.3).
fn digests(set: &Set) -> impl Iterator<Item = &DS> {
    set.records.iter().filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DS(ds)) if ds.digest_type() != DigestType::SHA1 => Some(ds),
        _ => None,
    })
}

fn bad(name: &Name, kind: RecordType) -> ProofError {
    ProofError::BadSignature { name: name.to_ascii(), kind: kind.to_string() }
}

fn not_now(name: &Name, kind: RecordType) -> ProofError {
    ProofError::NotNow { name: name.to_ascii(), kind: kind.to_string() }
}
