//! How records lie in a row: one after the other, and the row under a checksum.
//!
//! A record is: length of the content type (1 octet; 0: the same as the record before), content type, length of the
//! body (4 octets, big-endian), body. A row's first record always has its content type, so rows may be joined.

use std::sync::Arc;

use bytes::Bytes;

use super::Record;
use super::record::Spooled;

/// Records in the stored form, and what must be known without unpacking them.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    pub(super) data: Vec<u8>,
    pub(super) count: u32,
    /// What the bodies count for, in octets.
    pub(super) octets: u64,
}

/// What a body counts for: its octets, and never nothing, so that no number of empty bodies fits into a limit.
pub(super) fn charge(body: usize) -> u64 {
    body.max(16) as u64
}

/// Packs records into rows of up to `group` octets of bodies (one record at least).
pub(super) fn pack(records: &[Record], group: usize) -> Vec<Packed> {
    let mut rows: Vec<Packed> = Vec::new();
    let mut before: Option<&Arc<str>> = None;
    for record in records {
        let octets = charge(record.body.len());
        let row = match rows.last_mut() {
            Some(row) if row.octets + octets <= group as u64 => row,
            _ => {
                before = None;
                rows.push(Packed::default());
                rows.last_mut().expect("pushed just now")
            }
        };
        if before.is_some_and(|before| Arc::ptr_eq(before, &record.content_type) || **before == *record.content_type) {
            row.data.push(0);
        } else {
            let length = u8::try_from(record.content_type.len()).expect("append checked content types: 255 at most");
            row.data.push(length);
            row.data.extend_from_slice(record.content_type.as_bytes());
            before = Some(&record.content_type);
        }
        let length = u32::try_from(record.body.len()).expect("append checked bodies: 256 MiB at most");
        row.data.extend_from_slice(&length.to_be_bytes());
        row.data.extend_from_slice(&record.body);
        row.count += 1;
        row.octets += octets;
    }
    rows
}

/// The records of a row walked through without copying: content type if it changes, and the body's place.
struct Walk<'a> {
    data: &'a [u8],
    at: usize,
}

/// One step of a [`Walk`]: content type if it changed, where the body starts and ends.
type Step<'a> = (Option<&'a [u8]>, usize, usize);

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Step<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.data.get(self.at..).filter(|rest| !rest.is_empty())?;
        let step = || {
            let (&length, rest) = rest.split_first()?;
            let (content_type, rest) = rest.split_at_checked(usize::from(length))?;
            let (body, rest) = rest.split_first_chunk::<4>()?;
            let body = usize::try_from(u32::from_be_bytes(*body)).ok()?;
            let start = self.data.len() - rest.len();
            rest.len().checked_sub(body)?;
            Some(((length > 0).then_some(content_type), start, start + body))
        };
        match step() {
            Some(step) => {
                self.at = step.2;
                Some(Ok(step))
            }
            None => {
                self.at = self.data.len();
                Some(Err("a record is cut short"))
            }
        }
    }
}

/// Unpacks a row whose first record has the number `first`; bodies stay slices of `data`.
pub(super) fn unpack(first: u64, count: u32, data: &Bytes, mut each: impl FnMut(Spooled)) -> Result<(), &'static str> {
    let mut content_type: Option<Arc<str>> = None;
    let mut seq = first;
    for step in (Walk { data, at: 0 }) {
        let (changed, start, end) = step?;
        if let Some(octets) = changed {
            content_type = Some(std::str::from_utf8(octets).map_err(|_| "a content type is not text")?.into());
        }
        let content_type = content_type.clone().ok_or("the first record lacks its content type")?;
        each(Spooled { seq, record: Record { content_type, body: data.slice(start..end) } });
        seq += 1;
    }
    if seq - first == u64::from(count) { Ok(()) } else { Err("a row holds another number of records than it says") }
}

/// What each body of a row counts for.
pub(super) fn charges(data: &[u8]) -> impl Iterator<Item = u32> + '_ {
    Walk { data, at: 0 }.map_while(Result::ok).map(|(_, start, end)| charge(end - start) as u32)
}

/// Cuts a row after as many records as have at most `octets` octets of bodies.
pub(super) fn truncate(row: &mut Packed, octets: u64) {
    let (mut count, mut sum, mut length) = (0, 0, 0);
    for (_, start, end) in (Walk { data: &row.data, at: 0 }).map_while(Result::ok) {
        if sum + charge(end - start) > octets {
            break;
        }
        sum += charge(end - start);
        count += 1;
        length = end;
    }
    row.data.truncate(length);
    (row.count, row.octets) = (count, sum);
}

// Not a constant: without optimisation each use of one would be a copy of all of it.
static TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(value & 1));
            bit += 1;
        }
        tables[0][i] = value;
        i += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[table - 1][i];
            tables[table][i] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            i += 1;
        }
        table += 1;
    }
    tables
};

/// CRC-32C over `data`, eight octets at a step: SQLite itself does not notice a flipped bit in a row.
pub(super) fn checksum(data: &[u8]) -> u32 {
    let (words, rest) = data.as_chunks::<8>();
    let mut crc = !0u32;
    for word in words {
        let word = u64::from_le_bytes(*word) ^ u64::from(crc);
        crc = (0..8).fold(0, |sum, i| sum ^ TABLES[7 - i][(word >> (8 * i) & 0xFF) as usize]);
    }
    for octet in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*octet)) & 0xFF) as usize];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        ["a/b", "a/b", "c/d", "a/b"]
            .iter()
            .enumerate()
            .map(|(i, content_type)| Record::new(*content_type, vec![i as u8; 20 * i]))
            .collect()
    }

    #[test]
    fn checksum_is_crc_32c() {
        // The check value that every catalogue of CRCs gives.
        assert_eq!(checksum(b"123456789"), 0xE306_9283);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn what_is_packed_comes_out() {
        for group in [1, 30, 1000] {
            let (mut seq, mut out) = (7, Vec::new());
            for row in pack(&records(), group) {
                assert_eq!(charges(&row.data).map(u64::from).sum::<u64>(), row.octets);
                unpack(seq, row.count, &Bytes::from(row.data), |one| out.push(one)).unwrap();
                seq += u64::from(row.count);
            }
            assert_eq!(out.iter().map(|one| one.record.clone()).collect::<Vec<_>>(), records());
            assert_eq!(out.iter().map(|one| one.seq).collect::<Vec<_>>(), [7, 8, 9, 10]);
        }
    }

    #[test]
    fn cutting_keeps_whole_records() {
        let mut row = pack(&records(), 1000).remove(0);
        truncate(&mut row, 77);
        assert_eq!((row.count, row.octets), (3, 76));
        let mut out = Vec::new();
        unpack(0, 3, &Bytes::from(row.data), |one| out.push(one.record)).unwrap();
        assert_eq!(out, records()[..3]);
    }

    #[test]
    fn damage_is_said_and_never_a_panic() {
        let row = pack(&records(), 1000).remove(0);
        assert!(unpack(0, row.count + 1, &Bytes::from(row.data.clone()), |_| ()).is_err());
        for at in 0..row.data.len() {
            assert!(unpack(0, row.count, &Bytes::copy_from_slice(&row.data[..at]), |_| ()).is_err());
            let mut data = row.data.clone();
            data[at] ^= 0xFF;
            assert_ne!(checksum(&data), checksum(&row.data));
            let _ = unpack(0, row.count, &Bytes::from(data), |_| ());
        }
    }
}
