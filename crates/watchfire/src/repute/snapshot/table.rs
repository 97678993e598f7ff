//! From the hash of a subject to the places of its entries.

/// Entries of a bucket, on average.
const SHARE: usize = 8;

/// Bits of a hash that choose a bucket, at most: the eight behind them tell entries of a bucket apart.
const MOST_BITS: u32 = 24;

/// Places in the order of their hashes, about six octets each: a bucket is a few neighbours, which one look brings.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Bits of a hash that choose a bucket.
    bits: u32,
    /// Where each bucket begins, and where the last one ends.
    starts: Vec<u32>,
    /// Eight more bits of each hash: most of what is not meant is passed over by them.
    marks: Vec<u8>,
    places: Vec<u32>,
}

impl Table {
    /// Of hashes (upper half) and places (lower half), in the order of the entries. `replaces` tells whether the later
    /// of two places with the same hash takes the place of the earlier one.
    pub(super) fn new<'p>(
        entries: impl Iterator<Item = &'p [u64]> + Clone,
        replaces: impl Fn(u32, u32) -> bool,
    ) -> Self {
        let count: usize = entries.clone().map(<[u64]>::len).sum();
        if count == 0 {
            return Self::default();
        }
        let bits = (count / SHARE).max(1).next_power_of_two().trailing_zeros().min(MOST_BITS);
        let bucket = |entry: u64| bucket(bits, (entry >> 32) as u32);
        // How many are in the bucket before, then where each bucket begins.
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for entry in entries.clone().flatten() {
            if let Some(start) = starts.get_mut(bucket(*entry) + 1) {
                *start += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut sorted = vec![0_u64; count];
        let mut next = starts.clone();
        for entry in entries.flatten() {
            if let Some(at) = next.get_mut(bucket(*entry)) {
                if let Some(slot) = sorted.get_mut(*at as usize) {
                    *slot = *entry;
                }
                *at += 1;
            }
        }
        drop(next);
        let mut table = Self { bits, starts, marks: Vec::with_capacity(count), places: Vec::with_capacity(count) };
        let mut kept: Vec<u64> = Vec::new();
        for index in 0..1_usize << bits {
            let range = table.range(index);
            if let Some(start) = table.starts.get_mut(index) {
                *start = table.places.len() as u32;
            }
            kept.clear();
            for entry in sorted.get(range).unwrap_or(&[]) {
                let earlier = kept
                    .iter_mut()
                    .find(|earlier| **earlier >> 32 == *entry >> 32 && replaces(**earlier as u32, *entry as u32));
                match earlier {
                    Some(earlier) => *earlier = *entry,
                    None => kept.push(*entry),
                }
            }
            table.marks.extend(kept.iter().map(|entry| mark(bits, (*entry >> 32) as u32)));
            table.places.extend(kept.iter().map(|entry| *entry as u32));
        }
        if let Some(end) = table.starts.last_mut() {
            *end = table.places.len() as u32;
        }
        table.marks.shrink_to_fit();
        table.places.shrink_to_fit();
        table
    }

    fn range(&self, bucket: usize) -> std::ops::Range<usize> {
        match self.starts.get(bucket..).and_then(<[u32]>::first_chunk::<2>) {
            Some([start, end]) => *start as usize..*end as usize,
            None => 0..0,
        }
    }

    /// The places whose hash may be this one, and some others.
    pub(super) fn places(&self, hash: u32) -> impl Iterator<Item = u32> {
        let (range, wanted) = (self.range(bucket(self.bits, hash)), mark(self.bits, hash));
        let marks = self.marks.get(range.clone()).unwrap_or(&[]).iter();
        let places = self.places.get(range).unwrap_or(&[]);
        marks.zip(places).filter(move |(mark, _)| **mark == wanted).map(|(_, place)| *place)
    }

    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Memory that it takes.
    pub(super) fn octets(&self) -> usize {
        self.starts.len() * 4 + self.marks.len() + self.places.len() * 4
    }
}

fn bucket(bits: u32, hash: u32) -> usize {
    (u64::from(hash) >> (32 - bits)) as usize
}

fn mark(bits: u32, hash: u32) -> u8 {
    (hash >> (24 - bits)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }

    #[test]
    fn every_place_is_found_by_its_hash_and_nearly_no_other() {
        for count in [0, 1, 2, 7, 8, 9, 100, 50_000] {
            let entries: Vec<u64> = (0..count).map(|number| hash(number) << 32 | number).collect();
            // In pieces, as loaders leave them.
            let table = Table::new(entries.chunks(1_000), |_, _| false);
            assert_eq!(table.len() as u64, count);
            let mut others = 0;
            for number in 0..count {
                let found: Vec<u32> = table.places(hash(number) as u32).collect();
                assert!(found.contains(&(number as u32)), "{number} of {count}");
                others += found.len() - 1;
            }
            assert!(others as u64 <= count / 10, "{others} of {count}");
            assert!(count < 100 || table.octets() as u64 <= count * 6 + 100, "{table:?}");
        }
    }

    #[test]
    fn what_replaces_keeps_its_order_and_other_hashes_are_not_asked_about() {
        let entries = [7_u64 << 56 | 10, 7 << 56 | 21, 8 << 56 | 30, 7 << 56 | 11, 7 << 56 | 12];
        let replaces = |earlier: u32, later: u32| {
            assert!(earlier < 30 && later < 30, "{earlier} {later}");
            earlier / 10 == later / 10
        };
        let table = Table::new(entries.chunks(2), replaces);
        assert_eq!(table.places(7 << 24).collect::<Vec<_>>(), [12, 21]);
        assert_eq!((table.places(8 << 24).collect::<Vec<_>>(), table.len()), (vec![30], 3));
    }

    #[test]
    fn equal_hashes_beyond_a_bucket_are_all_kept() {
        let entries: Vec<u64> = (0..1_000).map(|place| u64::from(u32::MAX) << 32 | place).collect();
        let table = Table::new([&entries[..]].into_iter(), |_, _| false);
        assert_eq!(table.places(u32::MAX).count(), 1_000);
        assert_eq!(table.places(0).count(), 0);
    }
}
