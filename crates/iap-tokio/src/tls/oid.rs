//! Object identifiers, and the three that say what a certificate may do in IAP. draft-ietf-idwg-iap-01 section 6.5.

use std::fmt;
use std::str::FromStr;

/// An object identifier: a dotted sequence of numbers, each below 2^128.
///
/// ```
/// use iap_tokio::tls::Oid;
/// let oid: Oid = "1.3.6.1.5.5.7.3.2".parse()?;
/// assert_eq!(oid.to_string(), "1.3.6.1.5.5.7.3.2");
/// # Ok::<(), iap_tokio::tls::InvalidOid>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid {
    /// The contents octets of the DER encoding (without tag and length).
    der: Vec<u8>,
}

/// Longest accepted text of an object identifier, in octets.
const MAX_TEXT: usize = 512;

impl Oid {
    /// The contents octets of the DER encoding, without tag and length.
    pub fn as_der_contents(&self) -> &[u8] {
        &self.der
    }
}

/// The text is not an object identifier: dotted decimal numbers, at least two, the first 0 to 2, the second below 40
/// under 0 and 1, each below 2^128.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an object identifier (dotted numbers such as 1.3.6.1): {text:?}")]
#[non_exhaustive]
pub struct InvalidOid {
    /// What was given, cut to 512 octets.
    pub text: String,
}

impl FromStr for Oid {
    type Err = InvalidOid;

    fn from_str(text: &str) -> Result<Self, InvalidOid> {
        parse(text).ok_or_else(|| InvalidOid { text: text.chars().take(MAX_TEXT).collect() })
    }
}

fn parse(text: &str) -> Option<Oid> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let mut arcs = text.split('.').map(|arc| {
        let plain = !arc.is_empty() && arc.bytes().all(|octet| octet.is_ascii_digit());
        let canonical = arc == "0" || !arc.starts_with('0');
        if plain && canonical { arc.parse::<u128>().ok() } else { None }
    });
    let (first, second) = (arcs.next()??, arcs.next()??);
    if first > 2 || (first < 2 && second >= 40) {
        return None;
    }
    let mut der = Vec::new();
    push_base128(&mut der, (first * 40).checked_add(second)?);
    for arc in arcs {
        push_base128(&mut der, arc?);
    }
    Some(Oid { der })
}

fn push_base128(der: &mut Vec<u8>, value: u128) {
    let groups = (128 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let low = u8::try_from((value >> (group * 7)) & 0x7f).expect("seven bits fit in an octet");
        der.push(if group == 0 { low } else { low | 0x80 });
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = 0_u128;
        let mut first = true;
        for octet in &self.der {
            value = (value << 7) | u128::from(octet & 0x7f);
            if octet & 0x80 != 0 {
                continue;
            }
            if first {
                let top = (value / 40).min(2);
                write!(f, "{top}.{}", value - top * 40)?;
                first = false;
            } else {
                write!(f, ".{value}")?;
            }
            value = 0;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

/// The extended key usages that give a certificate its IAP roles. draft-ietf-idwg-iap-01 section 6.5.
///
/// The draft left the numbers to a companion document that never appeared. The defaults hang under a UUID
/// (`2.25.162314025578861311036066743155577370371`), which needs no registration; a site with an agreement of its own
/// sets others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IapOids {
    /// `IAP_ALERT_GENERATOR`: an analyzer. Default: arc 1 under the UUID.
    pub generator: Oid,
    /// `IAP_ALERT_CONSUMER`: a manager that takes alerts. Default: arc 2.
    pub consumer: Oid,
    /// `IAP_IDEF_CONFIGURATOR`: a manager that sends commands. Default: arc 3.
    pub configurator: Oid,
}

impl IapOids {
    /// Three object identifiers of one's own.
    pub fn new(generator: Oid, consumer: Oid, configurator: Oid) -> Self {
        Self { generator, consumer, configurator }
    }
}

impl Default for IapOids {
    fn default() -> Self {
        let under_uuid = |arc: u8| {
            let mut der = Vec::new();
            push_base128(&mut der, 2 * 40 + 25);
            push_base128(&mut der, 162_314_025_578_861_311_036_066_743_155_577_370_371);
            push_base128(&mut der, arc.into());
            Oid { der }
        };
        Self { generator: under_uuid(1), consumer: under_uuid(2), configurator: under_uuid(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_oids_have_the_published_encoding() {
        let published = [
            0x69, 0x81, 0xf4, 0x9c, 0xc5, 0xd4, 0xcb, 0xf0, 0xf2, 0xb4, 0xf7, 0x9c, 0xa0, 0xcf, 0xc5, 0xf6, 0xd6, 0xc2,
            0xee, 0x03,
        ];
        let oids = IapOids::default();
        for (oid, arc) in [(&oids.generator, 1), (&oids.consumer, 2), (&oids.configurator, 3)] {
            assert_eq!(oid.as_der_contents(), [&published[..], &[arc]].concat());
            let text = format!("2.25.162314025578861311036066743155577370371.{arc}");
            assert_eq!(oid.to_string(), text);
            assert_eq!(text.parse::<Oid>().unwrap(), *oid);
        }
    }

    #[test]
    fn known_oids_round_trip() {
        for (text, der) in [
            ("1.3.6.1.5.5.7.3.2", &[0x2b, 6, 1, 5, 5, 7, 3, 2][..]),
            ("2.5.29.37.0", &[0x55, 29, 37, 0]),
            ("2.999.3", &[0x88, 0x37, 3]),
            ("0.0", &[0]),
            ("2.100000", &[0x86, 0x8d, 0x70]),
        ] {
            let oid: Oid = text.parse().unwrap();
            assert_eq!(oid.as_der_contents(), der, "{text}");
            assert_eq!(oid.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let huge = "1.2.340282366920938463463374607431768211456";
        for text in [
            "",
            "1",
            "1.",
            ".1",
            "3.1",
            "1.40",
            "1.2.x",
            "1.2.+3",
            "1..2",
            "1.2.03",
            "2.340282366920938463463374607431768211455",
            huge,
        ] {
            assert!(text.parse::<Oid>().is_err(), "{text}");
        }
        assert!("1.2".repeat(400).parse::<Oid>().is_err());
    }
}
