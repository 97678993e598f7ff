//! A list that forgets its oldest entries.

use std::collections::VecDeque;

/// Entries with rising numbers: at most so many, and of at most so many octets together, though always the newest.
#[derive(Debug)]
pub(super) struct Ring<T> {
    entries: VecDeque<(u64, usize, T)>,
    octets: usize,
    most: usize,
    most_octets: usize,
    /// The number of the newest entry that was forgotten.
    forgotten: Option<u64>,
}

impl<T> Ring<T> {
    /// An empty list with these bounds.
    pub(super) fn new(most: usize, most_octets: usize) -> Self {
        Self { entries: VecDeque::new(), octets: 0, most: most.max(1), most_octets, forgotten: None }
    }

    /// Adds an entry of about so many octets, whose number is above all others.
    pub(super) fn push(&mut self, number: u64, octets: usize, entry: T) {
        self.entries.push_back((number, octets, entry));
        self.octets += octets;
        while self.entries.len() > 1 && (self.entries.len() > self.most || self.octets > self.most_octets) {
            let Some((number, octets, _)) = self.entries.pop_front() else { break };
            self.octets -= octets;
            self.forgotten = Some(number);
        }
    }

    /// The entries above a number, oldest first.
    pub(super) fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let from = self.entries.partition_point(|(entry, ..)| *entry <= number);
        self.entries.range(from..).map(|(number, _, entry)| (*number, entry))
    }

    /// Whether entries above a number were forgotten.
    pub(super) fn has_forgotten(&self, number: u64) -> bool {
        self.forgotten.is_some_and(|forgotten| forgotten > number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_by_number_and_by_size_but_never_the_newest() {
        let mut ring = Ring::new(3, 100);
        for number in 1..=4 {
            ring.push(number, 10, number);
        }
        let kept = |ring: &Ring<u64>, after| ring.after(after).map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(kept(&ring, 0), [2, 3, 4]);
        assert_eq!(kept(&ring, 3), [4]);
        assert!(ring.has_forgotten(0) && !ring.has_forgotten(1));
        ring.push(9, 95, 9);
        assert_eq!(kept(&ring, 0), [9]);
        ring.push(10, 500, 10);
        assert_eq!((kept(&ring, 0), ring.octets), (vec![10], 500));
        assert!(ring.has_forgotten(8) && !ring.has_forgotten(9));
    }
}
