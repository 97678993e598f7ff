//! Strings and data in segments, and the widths of lengths.

use jsonbcd::{ErrorKind, Value, Writer};

use crate::support::{hex, kind, read};

#[test]
fn every_width_of_length_is_read_and_the_shortest_is_written() {
    for octets in ["80 01 61", "81 00 01 61", "82 00000001 61", "83 0000000000000001 61"] {
        let octets = [b"[", &hex(octets)[..], b"]"].concat();
        assert_eq!(read(&octets).unwrap()[0], "a".into());
        assert_eq!(jsonbcd::from_slice::<[&str; 1]>(&octets).unwrap(), ["a"]);
        let data: Vec<u8> = octets.iter().map(|octet| if octet & 0xfc == 0x80 { octet | 8 } else { *octet }).collect();
        assert_eq!(read(&data).unwrap()[0], vec![b'a'].into());
    }
    for (len, head) in [(0, "8800"), (255, "88ff"), (256, "890100"), (65535, "89ffff"), (65536, "8a00010000")] {
        let octets = jsonbcd::to_vec(&Value::from(vec![1; len])).unwrap();
        let head = hex(head);
        assert_eq!(octets[..head.len()], head);
        assert_eq!(octets.len(), head.len() + len);
        assert_eq!(read(&octets).unwrap().as_data().unwrap().len(), len);
    }
}

#[test]
fn segments_are_put_together_and_the_last_may_be_empty() {
    for octets in [
        "84 05 48656c6c6f 80 00",
        "84 00 84 02 4865 85 0003 6c6c6f 80 00",
        "84 01 48 86 00000001 65 87 0000000000000002 6c6c 81 0001 6f",
    ] {
        let octets = [b"[", &hex(octets)[..], b"]"].concat();
        assert_eq!(read(&octets).unwrap()[0], "Hello".into());
        assert_eq!(jsonbcd::from_slice::<[String; 1]>(&octets).unwrap(), ["Hello"]);
    }
    assert_eq!(read(&hex("5b 8c 02 cafe 8d 0000 88 01 00 5d")).unwrap()[0], vec![0xca, 0xfe, 0].into());
    assert_eq!(read(&hex("7b 84 01 61 80 01 62 a0 01 7d")).unwrap()["ab"], 1.into());
}

#[test]
fn a_run_of_segments_is_of_one_kind_and_has_an_end() {
    for octets in ["5b 84 01 61 88 01 62 5d", "5b 84 01 61 8c 01 62 88 00 5d", "5b 84 01 61 a0 01 5d", "5b 84 01 61 5d"]
    {
        let error = kind(read(&hex(octets)));
        assert!(matches!(error, ErrorKind::MixedChunks { expected: "strings", .. }), "{octets}: {error:?}");
    }
    let error = kind(read(&hex("5b 8c 01 61 80 01 62 5d")));
    assert_eq!(error, ErrorKind::MixedChunks { found: 0x80, expected: "data" });
    for octets in ["5b 84 01 61", "5b 84 01 61 80", "5b 84 05 61", "5b 84"] {
        let error = read(&hex(octets)).unwrap_err();
        assert!(error.needed().is_some(), "{octets}: {error}");
    }
}

#[test]
fn utf8_is_judged_over_all_segments() {
    // A character of two octets, one in each.
    assert_eq!(read(&hex("5b 84 01 c3 80 01 a9 5d")).unwrap()[0], "é".into());
    for octets in
        ["5b 80 01 c3 5d", "5b 84 01 c3 80 00 5d", "5b 80 02 c3 28 5d", "5b 80 03 eda080 5d", "5b 22 c3 22 5d"]
    {
        assert_eq!(kind(read(&hex(octets))), ErrorKind::Utf8, "{octets}");
    }
    assert_eq!(kind(read(&hex("7b 80 01 ff a0 01 7d"))), ErrorKind::Utf8);
    let error = jsonbcd::from_slice::<Value>(&hex("5b 80 04 6162ff63 5d")).unwrap_err();
    assert_eq!(error.offset(), Some(5));
}

#[test]
fn writing_in_segments_divides_no_character() {
    let text = "aé€😀".repeat(20);
    for max in 0..12 {
        let mut octets = Vec::new();
        let mut writer = Writer::new(&mut octets);
        writer.array_start().unwrap();
        writer.string_in_chunks(&text, max).unwrap();
        writer.array_end().unwrap();
        assert_eq!(read(&octets).unwrap()[0], text.as_str().into());
        // Each segment alone is UTF-8, and as long as was wanted unless it is one character.
        let mut rest = &octets[1..octets.len() - 1];
        while let [code @ 0x80..=0x84, len, behind @ ..] = rest {
            let (segment, behind) = behind.split_at(usize::from(*len));
            let segment = std::str::from_utf8(segment).unwrap();
            assert!(segment.len() <= max || segment.chars().count() <= 1, "{max}: {segment}");
            assert_eq!(*code == 0x80, behind.is_empty());
            rest = behind;
        }
        assert!(rest.is_empty());
    }
    let mut octets = Vec::new();
    let mut writer = Writer::new(&mut octets);
    writer.data_chunk(&[1]).unwrap();
    writer.data(&[2]).unwrap();
    assert_eq!(octets, hex("8c 01 01 88 01 02"));
}
