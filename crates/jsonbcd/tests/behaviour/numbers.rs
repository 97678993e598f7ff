//! Integers and floats: nothing is lost, nothing wraps.

use jsonbcd::{Decoder, Dialect, Encoder, ErrorKind, Integer, Profile, Scalar, Value, text};

use crate::support::{hex, kind, read, read_with};

fn one(octets: &str) -> Value {
    read(&[b"[", &hex(octets)[..], b"]"].concat()).unwrap()[0].clone()
}

#[test]
fn negative_integers_are_minus_their_magnitude() {
    assert_eq!(one("A8 01"), (-1).into());
    assert_eq!(one("A8 FF"), (-255).into());
    assert_eq!(one("A9 01 00"), (-256).into());
    assert_eq!(one("AA 80 00 00 00"), (-(1i64 << 31)).into());
    assert_eq!(jsonbcd::from_slice::<Vec<i16>>(b"[\xa8\x80\xa9\x80\x00]").unwrap(), [-128, -32768]);
    assert!(jsonbcd::from_slice::<Vec<i16>>(b"[\xa9\x80\x01]").is_err());
    assert!(jsonbcd::from_slice::<Vec<u16>>(b"[\xa8\x01]").is_err());
}

#[test]
fn minus_zero_is_zero_unless_canonical() {
    assert_eq!(one("A8 00"), 0.into());
    assert_eq!(one("AB 00 00 00 00 00 00 00 00"), 0.into());
    assert_eq!(one("AF 00 00"), 0.into());
    let canonical = Decoder::new().with_canonical(true);
    assert!(matches!(kind(read_with(&canonical, b"[\xa8\x00]")), ErrorKind::NotCanonical(_)));
    // Text has a minus zero, which is a float, as everywhere.
    let zero: Value = text::from_str("-0").unwrap();
    assert_eq!(zero, (-0.0).into());
    assert_eq!(text::to_string(&zero).unwrap(), "-0.0");
}

#[test]
fn magnitudes_of_64_bits_do_not_wrap() {
    assert_eq!(one("A3 FF FF FF FF FF FF FF FF"), u64::MAX.into());
    assert_eq!(one("AB 80 00 00 00 00 00 00 00"), i64::MIN.into());
    assert_eq!(one("AB 80 00 00 00 00 00 00 01"), (i128::from(i64::MIN) - 1).into());
    assert_eq!(one("AB FF FF FF FF FF FF FF FF"), (-i128::from(u64::MAX)).into());
    let least = b"[\xab\xff\xff\xff\xff\xff\xff\xff\xff]";
    assert_eq!(jsonbcd::from_slice::<[i128; 1]>(least).unwrap(), [-i128::from(u64::MAX)]);
    assert!(jsonbcd::from_slice::<[i64; 1]>(least).is_err());
    assert_eq!(jsonbcd::from_slice::<[f64; 1]>(least).unwrap(), [-18_446_744_073_709_551_615.0]);
    assert_eq!(jsonbcd::to_vec(&[-i128::from(u64::MAX)]).unwrap(), least);
}

#[test]
fn integers_are_as_short_as_they_can_be() {
    for (value, octets) in [
        (0i128, "a000"),
        (255, "a0ff"),
        (256, "a10100"),
        (65535, "a1ffff"),
        (65536, "a200010000"),
        (0xffff_ffff, "a2ffffffff"),
        (0x1_0000_0000, "a30000000100000000"),
        (i128::from(u64::MAX), "a3ffffffffffffffff"),
        (1 << 64, "a70009010000000000000000"),
        (-1, "a801"),
        (-255, "a8ff"),
        (-256, "a90100"),
        (-(1 << 64), "af0009010000000000000000"),
    ] {
        let octets = [b"[", &hex(octets)[..], b"]"].concat();
        assert_eq!(jsonbcd::to_vec(&[value]).unwrap(), octets, "{value}");
        assert_eq!(jsonbcd::to_vec(&[Integer::from(value)]).unwrap(), octets, "{value}");
        assert_eq!(jsonbcd::from_slice::<[i128; 1]>(&octets).unwrap(), [value]);
    }
    let wide = Encoder::new().with_dialect(Dialect::D);
    let octets = wide.to_vec(&[1i128 << 64, -(1 << 64)]).unwrap();
    assert_eq!(
        octets,
        [b"[", &hex("a4 0000000000000001 0000000000000000 ac 0000000000000001 0000000000000000")[..], b"]"].concat()
    );
    assert_eq!(jsonbcd::from_slice::<[i128; 2]>(&octets).unwrap(), [1 << 64, -(1 << 64)]);
    assert_eq!(read(&wide.to_vec(&[u128::MAX]).unwrap()).unwrap()[0], Value::from(u128::MAX), "above what is signed");
}

#[test]
fn integers_of_any_size_survive_in_both_forms() {
    let digits = "123456789012345678901234567890123456789012345678901234567890";
    for text_form in [digits.to_owned(), format!("-{digits}")] {
        let value: Value = text::from_str(&format!("[{text_form}]")).unwrap();
        assert_eq!(value[0].as_integer().unwrap().to_string(), text_form);
        assert_eq!(text::to_string(&value).unwrap(), format!("[{text_form}]"));
        for profile in [Profile::Bcd01, Profile::Bcd16Plus] {
            let octets = Encoder::new().with_profile(profile).to_vec(&value).unwrap();
            assert_eq!(read_with(&Decoder::new().with_profile(profile), &octets).unwrap(), value);
        }
        // A type that has no room says so, instead of something near it.
        let error = text::from_str::<[serde_json::Value; 1]>(&format!("[{text_form}]")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotRepresentable(_)), "{error}");
    }
    let large = Value::Integer(Integer::from_magnitude(false, &vec![1; 65535]));
    assert_eq!(read(&jsonbcd::to_vec(&[&large]).unwrap()).unwrap()[0], large);
    let larger = Value::Integer(Integer::from_magnitude(false, &vec![1; 65536]));
    assert!(matches!(jsonbcd::to_vec(&larger).unwrap_err().kind(), ErrorKind::NotRepresentable(_)));
}

#[test]
fn integers_take_no_fraction_exponent_or_overflow() {
    for document in ["1.0", "1e2", "1E+2", "256", "-1", "-0", "18446744073709551616", "\"1\"", "true", "null"] {
        assert!(text::from_str::<u8>(document).is_err(), "{document}");
    }
    for document in ["65536", "1.5", "99999999999999999999999999999999999999999999999"] {
        assert!(text::from_str::<u16>(document).is_err(), "{document}");
    }
    assert_eq!(text::from_str::<u64>("18446744073709551615").unwrap(), u64::MAX);
    assert_eq!(text::from_str::<i64>("-9223372036854775808").unwrap(), i64::MIN);
    assert!(text::from_str::<i64>("-9223372036854775809").is_err());
}

#[test]
fn all_bits_of_a_binary64_survive() {
    for bits in [
        0x7ff8_0000_0000_0001u64,
        0x7ff0_0000_0000_0001,
        0xffff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0x0000_0000_0000_0001,
        0x7ff0_0000_0000_0000,
    ] {
        let octets = [b"[\x92", &bits.to_be_bytes()[..], b"]"].concat();
        let value = read(&octets).unwrap();
        assert!(matches!(value[0], Value::Float(float) if float.to_bits() == bits), "{bits:x}");
        assert_eq!(jsonbcd::to_vec(&value).unwrap(), octets);
        let [float] = jsonbcd::from_slice::<[f64; 1]>(&octets).unwrap();
        assert_eq!(float.to_bits(), bits);
        let finite = float.is_finite();
        assert_eq!(text::to_vec(&value).is_ok(), finite, "{float} in json");
        assert_eq!(text::to_vec(&[float]).is_ok(), finite);
    }
    assert!(matches!(text::to_vec(&f32::NAN).unwrap_err().kind(), ErrorKind::NotRepresentable(_)));
}

#[test]
fn floats_of_json_d_survive_bit_by_bit() {
    let scalars = [
        ("90 7e01", Scalar::Binary16([0x7e, 1])),
        ("91 7fa00001", Scalar::Binary32([0x7f, 0xa0, 0, 1])),
        ("94 000102030405060708090a0b0c0d0e0f", Scalar::Binary128(core::array::from_fn(|n| u8::try_from(n).unwrap()))),
        ("95 00010203040506070809", Scalar::Intel80(core::array::from_fn(|n| u8::try_from(n).unwrap()))),
        ("96 22500001", Scalar::Decimal32([0x22, 0x50, 0, 1])),
        ("97 2238000000000001", Scalar::Decimal64([0x22, 0x38, 0, 0, 0, 0, 0, 1])),
        ("98 22080000000000000000000000000001", {
            let mut octets = [0; 16];
            (octets[0], octets[1], octets[15]) = (0x22, 8, 1);
            Scalar::Decimal128(octets)
        }),
    ];
    let encoder = Encoder::new().with_dialect(Dialect::D);
    for (octets, scalar) in scalars {
        assert_eq!(one(octets), scalar.into(), "{octets}");
        let document = [b"[", &hex(octets)[..], b"]"].concat();
        assert_eq!(encoder.to_vec(&[Value::from(scalar)]).unwrap(), document);
        assert_eq!(encoder.to_vec(&[scalar]).unwrap(), document);
        assert_eq!(jsonbcd::from_slice::<[Scalar; 1]>(&document).unwrap(), [scalar]);
        // In a smaller dialect they have no form, nor are they ignored when they are malformed.
        assert!(Encoder::new().to_vec(&[Value::from(scalar)]).is_err());
        assert!(read_with(&Decoder::new().with_dialect(Dialect::C), &document).is_err());
        assert!(jsonbcd::from_slice::<[serde::de::IgnoredAny; 1]>(&document).is_ok());
        assert!(jsonbcd::from_slice::<[serde::de::IgnoredAny; 1]>(&document[..document.len() - 2]).is_err());
    }
}

#[test]
fn small_floats_of_json_d_are_floats_to_types() {
    let octets = [b"[", &hex("90 3c00 91 3fc00000 92 4000000000000000")[..], b"]"].concat();
    assert_eq!(jsonbcd::from_slice::<[f64; 3]>(&octets).unwrap(), [1.0, 1.5, 2.0]);
    assert_eq!(jsonbcd::from_slice::<[f32; 3]>(&octets).unwrap(), [1.0, 1.5, 2.0]);
    assert_eq!(Encoder::new().with_dialect(Dialect::D).to_vec(&1.5f32).unwrap(), hex("91 3fc00000"));
    assert_eq!(jsonbcd::to_vec(&1.5f32).unwrap(), hex("92 3ff8000000000000"));
    let value: Value = jsonbcd::from_slice(&octets).unwrap();
    assert_eq!(text::to_string(&value).unwrap(), "[1.0,1.5,2.0]");
    assert_eq!(jsonbcd::to_vec(&value).unwrap()[..2], *b"[\x92", "what binary64 holds exactly can be written as it");
    let error = jsonbcd::from_slice::<[f64; 1]>(&[b"[", &hex("96 22500001")[..], b"]"].concat()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotRepresentable(_)));
}

#[test]
fn values_of_other_formats_become_values() {
    let json = serde_json::json!({"a": [1, -1, 2.5, true, null, "text"]});
    let value: Value = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&value).unwrap(), json);
    assert_eq!(jsonbcd::to_vec(&json).unwrap(), jsonbcd::to_vec(&value).unwrap());
}
