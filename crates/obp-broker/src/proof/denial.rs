//! Expanded wildcards: an answer made from `*.example.com` is good only if the name itself does not exist (RFC 4035
//! section 5.3.4, RFC 5155 section 8.8).

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{RData, Record};

use super::{Expansion, ProofError};

/// More rounds of hashing than anybody should ask for (RFC 9276 section 3.2).
const MAX_ITERATIONS: u16 = 100;

pub(crate) fn check(expansions: &[Expansion], records: &[Record]) -> Result<(), ProofError> {
    for expansion in expansions {
        if !records.iter().any(|record| denies(record, expansion)) {
            return Err(ProofError::Wildcard { name: expansion.name.to_ascii() });
        }
    }
    Ok(())
}

fn denies(record: &Record, expansion: &Expansion) -> bool {
    if !expansion.zone.zone_of(&record.name) {
        return false;
    }
    // What the wildcard hangs on is the closest name that exists; one label more must not exist, not even as a name
    // that only has others below it. Denying just the name itself would let a wildcard reach below names that exist.
    let closer = expansion.name.trim_to(usize::from(expansion.labels) + 1);
    match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
            let next = nsec.next_domain_name();
            // A record of the parent's side of a delegation says nothing about names below it.
            !(nsec.is_ancestor_delegation() && record.name.zone_of(&closer))
                && between(&record.name, &closer, next)
                && !closer.zone_of(next)
        }
        RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) => {
            if nsec3.iterations() > MAX_ITERATIONS || record.name.base_name() != expansion.zone {
                return false;
            }
            let Ok(hash) = nsec3.hash_algorithm().hash(nsec3.salt(), &closer, nsec3.iterations()) else { return false };
            let Some(owner) = record.name.iter().next().and_then(base32hex) else { return false };
            between(&owner.as_slice(), &hash.as_ref(), &nsec3.next_hashed_owner_name())
        }
        _ => false,
    }
}

/// Strictly between `from` and `to` on the ring of names.
fn between<T: Ord + ?Sized>(from: &T, what: &T, to: &T) -> bool {
    if from < to { from < what && what < to } else { from < what || what < to }
}

/// RFC 4648 section 7, without padding, as in the first label of an NSEC3 owner.
fn base32hex(label: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(label.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for octet in label {
        let value = match octet.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => digit - b'0',
            letter @ b'a'..=b'v' => letter - b'a' + 10,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;

    use super::*;

    #[test]
    fn the_ring_closes() {
        assert!(between(&1, &2, &3));
        assert!(!between(&1, &1, &3) && !between(&1, &3, &3) && !between(&1, &4, &3));
        assert!(between(&8, &9, &2) && between(&8, &1, &2) && !between(&8, &5, &2));
        let name = |text: &str| Name::from_ascii(text).unwrap();
        assert!(between(&name("a.example."), &name("b.example."), &name("c.example.")));
        assert!(between(&name("z.example."), &name("zz.example."), &name("example.")));
    }

    #[test]
    fn base32hex_as_rfc_4648_has_it() {
        assert_eq!(base32hex(b"CPNMUOJ1").unwrap(), b"fooba");
        assert_eq!(base32hex(b"cpnmuoj1e8").unwrap(), b"foobar");
        assert_eq!(base32hex(b"w"), None);
    }
}
