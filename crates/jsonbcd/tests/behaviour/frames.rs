//! Frames, forward and backward.

use jsonbcd::ErrorKind;
use jsonbcd::frame::{self, Frames, Kind};
use proptest::prelude::*;

#[test]
fn the_printed_frames_are_read_and_written() {
    let content = vec![7; 300];
    let one_way = [&b"\xf1\x01\x2c"[..], &content].concat();
    let two_way = [&b"\xf5\x01\x2c"[..], &content, b"\x2c\x01\xf5"].concat();
    for (octets, kind) in [(&one_way, Kind::OneWay), (&two_way, Kind::TwoWay)] {
        let (frame, len) = frame::read(octets).unwrap();
        assert_eq!((frame.kind, frame.content, len), (kind, &content[..], octets.len()));
        let mut written = Vec::new();
        frame::write(&mut written, kind, &content).unwrap();
        assert_eq!(&written, octets);
    }
    let (frame, len) = frame::read_back(&two_way).unwrap();
    assert_eq!((frame.content, len), (&content[..], 306));
    assert!(frame::read_back(&one_way).is_err());
}

#[test]
fn every_width_of_length_is_read() {
    for (octets, content) in [
        (&b"\xf0\x01a"[..], 2..3),
        (b"\xf1\x00\x01a", 3..4),
        (b"\xf2\x00\x00\x00\x01a", 5..6),
        (b"\xf3\x00\x00\x00\x00\x00\x00\x00\x01a", 9..10),
        (b"\xf4\x01a\x01\xf4", 2..3),
        (b"\xf6\x00\x00\x00\x01a\x01\x00\x00\x00\xf6", 5..6),
        (b"\xf7\x00\x00\x00\x00\x00\x00\x00\x01a\x01\x00\x00\x00\x00\x00\x00\x00\xf7", 9..10),
    ] {
        let (frame, len) = frame::read(octets).unwrap();
        assert_eq!((frame.content, len), (&octets[content], octets.len()));
    }
}

#[test]
fn lengths_are_written_as_short_as_they_can_be() {
    for (len, head) in [
        (0, &[0xf0, 0][..]),
        (0xff, &[0xf0, 0xff]),
        (0x100, &[0xf1, 1, 0]),
        (0xffff, &[0xf1, 0xff, 0xff]),
        (0x1_0000, &[0xf2, 0, 1, 0, 0]),
    ] {
        let content = vec![7; len];
        let mut written = Vec::new();
        frame::write(&mut written, Kind::OneWay, &content).unwrap();
        assert_eq!(&written[..head.len()], head);
        assert_eq!(written.len(), head.len() + len);
        let mut both = Vec::new();
        frame::write(&mut both, Kind::TwoWay, &content).unwrap();
        let (frame, whole) = frame::read_back(&both).unwrap();
        assert_eq!((frame.content, whole, both.len()), (&content[..], both.len(), written.len() + head.len()));
        // One octet less is one octet missing.
        assert_eq!(frame::read(&both[..both.len() - 1]).unwrap_err().needed(), Some(1));
    }
}

#[test]
fn lies_about_lengths_are_errors_and_cost_nothing() {
    let lie = frame::read(b"\xf3\xff\xff\xff\xff\xff\xff\xff\xffa").unwrap_err();
    assert!(matches!(lie.kind(), ErrorKind::Incomplete { .. }));
    assert!(frame::read_back(b"a\xff\xff\xff\xff\xff\xff\xff\xff\xf7").unwrap_err().needed().is_some());
    let differing = frame::read(b"\xf4\x01a\x02\xf4").unwrap_err();
    assert_eq!((differing.kind(), differing.offset()), (&ErrorKind::Frame, Some(3)));
    assert_eq!(frame::read(b"[]").unwrap_err().offset(), Some(0));
    assert_eq!(*frame::read_back(b"aaa\x00\xf4").unwrap_err().kind(), ErrorKind::Frame);
    // What begins where the length at the end points to is a frame, but a shorter one, or one that is read forward only.
    for log in [&b"\xf0\x00a\x01\xf4"[..], b"\xf4\x00\x00\xf4\x02\xf4", b"\xf0\x03a\x01\xf4"] {
        let error = frame::read_back(log).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Frame, "{log:02x?}");
        assert!(Frames::new(log).next_back().unwrap().is_err());
    }
    assert_eq!(frame::read(b"").unwrap_err().needed(), Some(1));
    assert_eq!(frame::read(b"\xf4\x05ab").unwrap_err().needed(), Some(5));
}

#[test]
fn an_error_ends_the_traversal_and_says_where() {
    let mut log = Vec::new();
    frame::write(&mut log, Kind::TwoWay, b"one").unwrap();
    let good = log.len();
    log.extend(b"\xf4\x03two\x03\xf5");
    let mut frames = Frames::new(&log);
    assert_eq!(frames.next().unwrap().unwrap().content, b"one");
    assert_eq!(frames.next().unwrap().unwrap_err().offset(), Some(good + 5));
    assert!(frames.next().is_none());
    let mut back = Frames::new(&log).rev();
    assert!(back.next().unwrap().is_err());
    assert!(back.next().is_none());
}

proptest! {
    #[test]
    fn logs_are_the_same_forward_and_backward(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..20),
        one_way in any::<bool>(),
    ) {
        let mut log = Vec::new();
        let kind = if one_way { Kind::OneWay } else { Kind::TwoWay };
        for content in &contents {
            frame::write(&mut log, kind, content).unwrap();
        }
        let forward: Vec<_> = Frames::new(&log).map(|frame| frame.unwrap().content.to_vec()).collect();
        prop_assert_eq!(&forward, &contents);
        if !one_way {
            let mut backward: Vec<_> = Frames::new(&log).rev().map(|frame| frame.unwrap().content.to_vec()).collect();
            backward.reverse();
            prop_assert_eq!(&backward, &contents);
            // From both ends at once.
            let mut frames = Frames::new(&log);
            let mut met = 0;
            while frames.next().is_some() {
                met += 1 + usize::from(frames.next_back().is_some());
            }
            prop_assert_eq!(met, contents.len());
        }
    }

    #[test]
    fn noise_is_no_panic(octets in proptest::collection::vec(any::<u8>(), 0..64), head in 0xf0u8..) {
        let octets = [&[head][..], &octets].concat();
        let _ = frame::read(&octets);
        let back: Vec<u8> = octets.iter().rev().copied().collect();
        let _ = frame::read_back(&back);
        prop_assert!(Frames::new(&octets).count() <= octets.len());
    }
}
