//! Cutting octets into lines or length-prefixed records.

use bytes::{Buf as _, Bytes, BytesMut};

use super::position::Trace;
use super::{Line, Skipped};

/// How the input is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Each ends in a line feed.
    Lines,
    /// Each is preceded by its length as 4 octets, big-endian.
    Records,
}

/// Takes octets in any pieces, gives lines or records.
#[derive(Debug)]
pub(super) struct Cutter {
    framing: Framing,
    limit: usize,
    buffer: BytesMut,
    /// Where the buffer starts in the file.
    start: u64,
    /// How much of the buffer is known to hold no line feed.
    searched: usize,
    /// Where the line starts that is being left out because it is too long, and the trace up to there.
    skipping: Option<(u64, Trace)>,
    /// What stands before `start`.
    trace: Trace,
}

/// What the cutter found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Line(Line),
    Skipped(Skipped),
    /// The length of the record at `start` is over the limit.
    TooLong(u32),
    /// More octets are needed.
    More,
}

impl Cutter {
    /// Starts at offset `start`, before which `trace` stands.
    pub(super) fn new(framing: Framing, limit: usize, start: u64, trace: Trace) -> Self {
        Self { framing, limit, buffer: BytesMut::new(), start, searched: 0, skipping: None, trace }
    }

    /// The offset up to which everything has been handed out.
    pub(super) fn consumed(&self) -> u64 {
        self.skipping.as_ref().map_or(self.start, |(from, _)| *from)
    }

    /// What stands before [`Cutter::consumed`].
    pub(super) fn trace(&self) -> &Trace {
        self.skipping.as_ref().map_or(&self.trace, |(_, trace)| trace)
    }

    /// The offset of the next octet to read.
    pub(super) fn next_read(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// The last octets (up to 64) of the line that has begun, and where they stand.
    pub(super) fn begun(&self) -> (u64, &[u8]) {
        let octets = self.buffer.get(self.buffer.len().saturating_sub(64)..).unwrap_or_default();
        (self.next_read() - octets.len() as u64, octets)
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    pub(super) fn cut(&mut self) -> Cut {
        match self.framing {
            Framing::Lines => self.line(),
            Framing::Records => self.record(),
        }
    }

    fn line(&mut self) -> Cut {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', unseen).map(|at| at + self.searched) else {
            if self.skipping.is_some() || self.buffer.len() > self.limit {
                self.skipping.get_or_insert_with(|| (self.start, self.trace.clone()));
                self.start = self.next_read();
                self.trace.extend(&self.buffer);
                self.buffer.clear();
            }
            self.searched = self.buffer.len();
            return Cut::More;
        };
        let octets = self.take(at);
        self.buffer.advance(1);
        let offset = self.start;
        self.start += at as u64 + 1;
        self.trace.extend(&octets);
        self.trace.extend(b"\n");
        self.finish(offset, octets)
    }

    fn finish(&mut self, offset: u64, octets: Bytes) -> Cut {
        match self.skipping.take() {
            Some((from, _)) => Cut::Skipped(Skipped { offset: from, length: offset - from + octets.len() as u64 }),
            None if octets.len() > self.limit => Cut::Skipped(Skipped { offset, length: octets.len() as u64 }),
            None => Cut::Line(Line { offset, octets }),
        }
    }

    fn record(&mut self) -> Cut {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<4>() else { return Cut::More };
        let length = u32::from_be_bytes(*prefix);
        if length as usize > self.limit {
            return Cut::TooLong(length);
        }
        if rest.len() < length as usize {
            return Cut::More;
        }
        self.buffer.advance(4);
        let octets = self.take(length as usize);
        let offset = self.start;
        self.start += 4 + u64::from(length);
        self.trace.extend(&length.to_be_bytes());
        self.trace.extend(&octets);
        Cut::Line(Line { offset, octets })
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        self.buffer.split_to(length).freeze()
    }

    /// The input is over: what is left counts as a line. `Err` has the offset of a record that was cut off.
    pub(super) fn end(&mut self) -> Result<Option<Cut>, u64> {
        let empty = self.buffer.is_empty() && self.skipping.is_none();
        if empty {
            return Ok(None);
        }
        if self.framing == Framing::Records {
            return Err(self.start);
        }
        let octets = self.take(self.buffer.len());
        let offset = self.start;
        self.start += octets.len() as u64;
        self.trace.extend(&octets);
        Ok(Some(self.finish(offset, octets)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(cutter: &mut Cutter, input: &[u8], piece: usize) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for part in input.chunks(piece) {
            cutter.push(part);
            loop {
                match cutter.cut() {
                    Cut::More => break,
                    Cut::TooLong(length) => {
                        cuts.push(Cut::TooLong(length));
                        return cuts;
                    }
                    cut => cuts.push(cut),
                }
            }
        }
        cuts.extend(cutter.end().unwrap());
        cuts
    }

    fn line(offset: u64, octets: &'static [u8]) -> Cut {
        Cut::Line(Line { offset, octets: Bytes::from_static(octets) })
    }

    #[test]
    fn lines_with_one_too_long() {
        for piece in 1..20 {
            let mut cutter = Cutter::new(Framing::Lines, 4, 100, Trace::default());
            let cuts = all(&mut cutter, b"ab\n\nabcd\nabcde\n\xff\n123456789\nz", piece);
            let wanted = [
                line(100, b"ab"),
                line(103, b""),
                line(104, b"abcd"),
                Cut::Skipped(Skipped { offset: 109, length: 5 }),
                line(115, b"\xff"),
                Cut::Skipped(Skipped { offset: 117, length: 9 }),
                line(127, b"z"),
            ];
            assert_eq!(cuts, wanted, "in pieces of {piece}");
            assert_eq!(cutter.consumed(), 128);
        }
    }

    #[test]
    fn records_check_the_length_before_anything_else() {
        for piece in 1..12 {
            let mut cutter = Cutter::new(Framing::Records, 3, 0, Trace::default());
            let cuts = all(&mut cutter, b"\0\0\0\x03abc\0\0\0\0\x7b\x22\x74\x69", piece);
            assert_eq!(cuts, [line(0, b"abc"), line(7, b""), Cut::TooLong(0x7b22_7469)]);
        }
        let mut cutter = Cutter::new(Framing::Records, 3, 0, Trace::default());
        cutter.push(b"\0\0\0\x03ab");
        assert_eq!(cutter.cut(), Cut::More);
        assert_eq!(cutter.end(), Err(0));
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut cutter = Cutter::new(Framing::Lines, 1024, 0, Trace::default());
        for _ in 0..1000 {
            cutter.push(&[b'x'; 4096]);
            assert_eq!(cutter.cut(), Cut::More);
            assert!(cutter.buffer.len() <= 1024 + 4096);
        }
        assert_eq!(cutter.consumed(), 0);
        cutter.push(b"\nok\n");
        assert_eq!(cutter.cut(), Cut::Skipped(Skipped { offset: 0, length: 4_096_000 }));
        assert_eq!(cutter.cut(), line(4_096_001, b"ok"));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), piece in 1..50usize, limit in 0..20usize) {
            for framing in [Framing::Lines, Framing::Records] {
                let run = |piece| {
                    let mut cutter = Cutter::new(framing, limit, 0, Trace::default());
                    let mut cuts = Vec::new();
                    for part in input.chunks(piece) {
                        cutter.push(part);
                        loop {
                            match cutter.cut() {
                                Cut::More => break,
                                Cut::TooLong(length) => return (cuts, Err(u64::from(length))),
                                cut => cuts.push(cut),
                            }
                        }
                    }
                    (cuts, cutter.end().map(|cut| cut.is_some()))
                };
                prop_assert_eq!(run(piece), run(usize::MAX));
            }
        }
    }
}
