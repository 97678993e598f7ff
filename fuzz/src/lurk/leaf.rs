//! Certificates of a CA whose signatures nobody checks.

use acme_lurk::time::format_rfc3339;
use watchfire_core::UnixTime;

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        len @ 0..=127 => out.push(len as u8),
        len @ 128..=255 => out.extend([0x81, len as u8]),
        len => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend(content);
    out
}

fn time(time: UnixTime) -> Vec<u8> {
    let digits: String = format_rfc3339(time).chars().filter(char::is_ascii_digit).collect();
    let (tag, digits) = if digits.as_str() < "2050" { (0x17, &digits[2..]) } else { (0x18, &digits[..]) };
    tlv(tag, &[digits.as_bytes(), b"Z"])
}

/// A certificate for a key and a name, in DER.
pub(super) fn certificate(serial: u8, spki: &[u8], name: &str, begin: UnixTime, end: UnixTime) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])]);
    let names = tlv(0x30, &[&tlv(0x82, &[name.as_bytes()])]);
    let extension = tlv(0x30, &[&tlv(6, &[&[0x55, 0x1d, 0x11]]), &tlv(4, &[&names])]);
    let extensions = tlv(0xa3, &[&tlv(0x30, &[&extension])]);
    let empty = tlv(0x30, &[]);
    let fields = tlv(
        0x30,
        &[
            &tlv(0xa0, &[&[2, 1, 2]]),
            &tlv(2, &[&[1, serial]]),
            &algorithm,
            &empty,
            &tlv(0x30, &[&time(begin), &time(end)]),
            &empty,
            spki,
            &extensions,
        ],
    );
    tlv(0x30, &[&fields, &algorithm, &tlv(3, &[&[0, 1]])])
}
