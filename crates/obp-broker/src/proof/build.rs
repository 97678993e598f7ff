//! Making chains: the records themselves, then keys and digests of each zone up to a trust anchor.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{LowerName, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use super::{Anchors, MAX_CHAIN, MAX_ZONES, verify};
use crate::name::DomainName;
use crate::sources::{RecordKind, Resolver};

/// A chain that proves these records, in wire form with their signatures; `None` when there is none. What leaves this
/// function was verified by the same code that clients use.
pub(crate) async fn build(resolver: &Resolver, anchors: &Anchors, evidence: &[Arc<[u8]>]) -> Option<Bytes> {
    if evidence.is_empty() {
        return None;
    }
    let mut parts: Vec<Arc<[u8]>> = Vec::new();
    let mut zones: Vec<Name> = Vec::new();
    let mut done: BTreeSet<Name> = BTreeSet::new();
    for part in evidence {
        take(part, &mut parts, &mut zones)?;
    }
    while let Some(zone) = zones.pop() {
        if !done.insert(zone.clone()) {
            continue;
        }
        if done.len() > MAX_ZONES {
            return None;
        }
        let name = if zone.is_root() { DomainName::root() } else { DomainName::parse(&zone.to_ascii()).ok()? };
        let (keys, digests) = tokio::join!(resolver.resolve(&name, RecordKind::Dnskey, true), async {
            // The root has no parent.
            if name.is_root() { None } else { resolver.resolve(&name, RecordKind::Ds, true).await.ok() }
        });
        let keys = keys.ok()?;
        let anchored = keys.evidence.iter().any(|part| has_anchor(part, &zone, anchors));
        for part in &keys.evidence {
            take(part, &mut parts, &mut zones)?;
        }
        if !anchored {
            let digests = digests?;
            if digests.evidence.is_empty() {
                return None;
            }
            for part in &digests.evidence {
                take(part, &mut parts, &mut zones)?;
            }
        }
    }
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > MAX_CHAIN {
        return None;
    }
    let chain = Bytes::from(parts.concat());
    match verify(&chain, anchors, resolver.clock().unix().as_secs()) {
        Ok(_) => Some(chain),
        Err(error) => {
            tracing::debug!(%error, "no proof could be made");
            None
        }
    }
}

/// Adds a part once, and the zones that signed it.
fn take(part: &Arc<[u8]>, parts: &mut Vec<Arc<[u8]>>, zones: &mut Vec<Name>) -> Option<()> {
    if parts.contains(part) {
        return Some(());
    }
    for record in records(part)? {
        if let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data {
            zones.push(signature.input().signer_name.to_lowercase());
        }
    }
    parts.push(Arc::clone(part));
    Some(())
}

fn has_anchor(part: &[u8], zone: &Name, anchors: &Anchors) -> bool {
    let lower = LowerName::from(zone);
    records(part).into_iter().flatten().any(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => anchors.inner().contains_with_name(key.public_key(), &lower),
        _ => false,
    })
}

fn records(part: &[u8]) -> Option<Vec<Record>> {
    let mut decoder = BinDecoder::new(part);
    let mut all = Vec::new();
    while !decoder.is_empty() {
        all.push(Record::read(&mut decoder).ok()?);
    }
    Some(all)
}
