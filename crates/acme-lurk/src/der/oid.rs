//! Object identifiers: those that are known, and the dotted form of all.

pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
pub(crate) const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
pub(crate) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
pub(crate) const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
pub(crate) const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
pub(crate) const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
pub(crate) const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
pub(crate) const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
pub(crate) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
pub(crate) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
pub(crate) const P384: &[u8] = &[0x2b, 0x81, 4, 0, 34];
/// 1.3.132.0.35. The comment in RFC 9115 appendix A lacks the last digit.
pub(crate) const P521: &[u8] = &[0x2b, 0x81, 4, 0, 35];
pub(crate) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub(crate) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
pub(crate) const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
pub(crate) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
pub(crate) const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
pub(crate) const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
pub(crate) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
pub(crate) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
pub(crate) const COUNTRY: &[u8] = &[0x55, 4, 6];
pub(crate) const LOCALITY: &[u8] = &[0x55, 4, 7];
pub(crate) const STATE: &[u8] = &[0x55, 4, 8];
pub(crate) const ORGANIZATION: &[u8] = &[0x55, 4, 10];
pub(crate) const ORGANIZATIONAL_UNIT: &[u8] = &[0x55, 4, 11];

/// Octets of the longest object identifier that is read.
const MAX: usize = 64;

/// The dotted form; none if the octets are no object identifier, or one that nobody has.
pub(crate) fn to_text(octets: &[u8]) -> Option<String> {
    if octets.is_empty() || octets.len() > MAX {
        return None;
    }
    let mut text = String::new();
    let mut arc: Option<u128> = None;
    for octet in octets {
        if arc.is_none() && *octet == 0x80 {
            return None;
        }
        let value = arc.unwrap_or(0).checked_mul(128)?.checked_add(u128::from(octet & 0x7f))?;
        arc = Some(value);
        if octet & 0x80 == 0 {
            if text.is_empty() {
                let first = (value / 40).min(2);
                text = format!("{first}.{}", value.checked_sub(first.checked_mul(40)?)?);
            } else {
                text.push('.');
                text.push_str(&value.to_string());
            }
            arc = None;
        }
    }
    arc.is_none().then_some(text)
}

/// The octets of a dotted form; none if it is none: at least two arcs, the first up to 2, the second below 40 under 0
/// and 1, no leading zeros.
pub(crate) fn from_text(text: &str) -> Option<Vec<u8>> {
    let mut arcs = text.split('.').map(|arc| {
        let is_number = !arc.is_empty() && arc.bytes().all(|octet| octet.is_ascii_digit());
        let is_short = arc == "0" || !arc.starts_with('0');
        (is_number && is_short).then(|| arc.parse::<u128>().ok()).flatten()
    });
    let (first, second) = (arcs.next()??, arcs.next()??);
    if first > 2 || (first < 2 && second > 39) {
        return None;
    }
    let mut octets = Vec::new();
    push(&mut octets, first.checked_mul(40)?.checked_add(second)?);
    for arc in arcs {
        push(&mut octets, arc?);
        if octets.len() > MAX {
            return None;
        }
    }
    Some(octets)
}

fn push(octets: &mut Vec<u8>, arc: u128) {
    let groups = (128_u32.saturating_sub(arc.leading_zeros())).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let septet = u8::try_from((arc >> group.saturating_mul(7)) & 0x7f).unwrap_or(0);
        octets.push(if group == 0 { septet } else { septet | 0x80 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_forms_are_read_and_written() {
        for (text, octets) in [
            ("1.2.840.113549.1.9.14", EXTENSION_REQUEST),
            ("1.3.132.0.35", P521),
            ("2.5.29.17", SUBJECT_ALT_NAME),
            ("0.0", &[0]),
            ("1.39", &[79]),
            ("2.999.3", &[0x88, 0x37, 3]),
            ("2.16.840.1.101.3.4.2.1", SHA256),
        ] {
            assert_eq!(to_text(octets).as_deref(), Some(text));
            assert_eq!(from_text(text).as_deref(), Some(octets), "{text}");
        }
        let huge = format!("2.25.{}", u128::MAX);
        assert_eq!(to_text(&from_text(&huge).unwrap()), Some(huge));
        for bad in ["", "1", "1.", ".1", "3.1", "0.40", "1.40", "1.02", "01.2", "1..2", "1.2.", "1.a", "1.+2", " 1.2"] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
        assert_eq!(from_text(&format!("1.2.{}0", u128::MAX)), None);
        for bad in [&[][..], &[0x80, 1], &[0x2a, 0x80, 1], &[0x2a, 0x81], &[1; 65]] {
            assert_eq!(to_text(bad), None, "{bad:?}");
        }
    }
}
