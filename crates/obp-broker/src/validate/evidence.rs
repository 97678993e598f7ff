//! Certificates and revocation lists as Advice.

use crate::connect::Advice;
use crate::der::{self, wrap};

/// Most octets of it: an answer over datagrams is no place for a large revocation list.
const MAX_OCTETS: usize = 16 * 1024;

/// One certificate or one list as it is, several together as the certs-only message of RFC 8551 section 3.8: a CMS
/// SignedData that nobody signed (RFC 5652 section 5.1). Lists that are too large are left out.
pub(super) fn advice(certificates: &[&[u8]], lists: &[&[u8]]) -> Option<Advice> {
    let mut left = MAX_OCTETS;
    let mut fitting = |one: &&&[u8]| {
        let fits = one.len() <= left;
        if fits {
            left -= one.len();
        }
        fits
    };
    let certificates: Vec<&[u8]> = certificates.iter().filter(&mut fitting).copied().collect();
    let lists: Vec<&[u8]> = lists.iter().filter(&mut fitting).copied().collect();
    match (certificates.as_slice(), lists.as_slice()) {
        ([], []) => None,
        ([one], []) => Some(Advice::new(Advice::CERTIFICATE, one.to_vec())),
        ([], [one]) => Some(Advice::new(Advice::CRL, one.to_vec())),
        (certificates, lists) => Some(Advice::new(Advice::CERTS_ONLY, certs_only(certificates, lists))),
    }
}

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

fn certs_only(certificates: &[&[u8]], lists: &[&[u8]]) -> Vec<u8> {
    // SET OF is ordered in DER.
    let (mut certificates, mut lists) = (certificates.to_vec(), lists.to_vec());
    certificates.sort_unstable();
    lists.sort_unstable();
    // Both are optional, and left out when empty.
    let unless_empty = |tag, all: &[&[u8]]| if all.is_empty() { Vec::new() } else { wrap(tag, all) };
    let signed = wrap(
        der::SEQUENCE,
        &[
            &wrap(der::INTEGER, &[&[1]]),
            &wrap(der::SET, &[]),
            &wrap(der::SEQUENCE, &[&wrap(der::OID, &[DATA])]),
            &unless_empty(0xa0, &certificates),
            &unless_empty(0xa1, &lists),
            &wrap(der::SET, &[]),
        ],
    );
    wrap(der::SEQUENCE, &[&wrap(der::OID, &[SIGNED_DATA]), &wrap(0xa0, &[&signed])])
}
