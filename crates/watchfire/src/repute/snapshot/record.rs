//! One entry as octets: what it is about, which head it has, and its numbers.

use std::net::Ipv4Addr;

use repute_proto::{ExtensionValue, Reputon, Score};

/// What many entries share.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The application's name.
    pub application: String,
    /// The assertion, in small letters.
    pub assertion: String,
    /// The rater; empty when the data names none.
    pub rater: String,
    /// Names and JSON values of extensions.
    pub extensions: Vec<(String, String)>,
    /// The code that a DNSBL answers for it, where the data says so.
    pub code: Option<Ipv4Addr>,
    /// Which statements replace each other: same application, assertion, rater, identity and code.
    pub(super) statement: u32,
}

/// The rest of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Record<'s> {
    /// What it is about.
    pub(super) key: &'s [u8],
    pub(super) head: u32,
    /// How far the assertion holds.
    pub rating: f64,
    /// How sure the rater is.
    pub confidence: Option<f64>,
    /// What would be nothing out of the ordinary.
    pub normal_rating: Option<f64>,
    /// The confidence of the drafts.
    pub rater_authenticity: Option<f64>,
    /// How many data points; 0 for none.
    pub sample_size: Option<u64>,
    /// When it was made.
    pub generated: Option<u64>,
    /// When it ends.
    pub expires: Option<u64>,
    /// Extensions that the head does not have.
    extensions: &'s [u8],
}

const CONFIDENCE: u8 = 1;
const NORMAL: u8 = 2;
const AUTHENTICITY: u8 = 4;
const SAMPLES: u8 = 8;
const GENERATED: u8 = 16;
const EXPIRES: u8 = 32;
const EXTENSIONS: u8 = 64;

impl<'s> Record<'s> {
    /// Writes an entry.
    pub(super) fn write(key: &[u8], head: u32, reputon: &Reputon<'_>, extensions: &[u8], out: &mut Vec<u8>) {
        number(key.len() as u64, out);
        out.extend_from_slice(key);
        number(head.into(), out);
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        out.push(
            flag(reputon.confidence.is_some(), CONFIDENCE)
                | flag(reputon.normal_rating.is_some(), NORMAL)
                | flag(reputon.rater_authenticity.is_some(), AUTHENTICITY)
                | flag(reputon.sample_size.is_some(), SAMPLES)
                | flag(reputon.generated.is_some(), GENERATED)
                | flag(reputon.expires.is_some(), EXPIRES)
                | flag(!extensions.is_empty(), EXTENSIONS),
        );
        score(&reputon.rating, out);
        for optional in [&reputon.confidence, &reputon.normal_rating, &reputon.rater_authenticity].into_iter().flatten()
        {
            score(optional, out);
        }
        for count in [reputon.sample_size, reputon.generated, reputon.expires].into_iter().flatten() {
            number(count, out);
        }
        if !extensions.is_empty() {
            text(extensions, out);
        }
    }

    /// Reads an entry that was written.
    pub(super) fn read(octets: &'s [u8]) -> Option<Self> {
        let mut from = Reader(octets);
        let key = from.text()?;
        let head = u32::try_from(from.number()?).ok()?;
        let flags = from.octet()?;
        let rating = from.score()?;
        let mut optional = |flag: u8| if flags & flag == 0 { Some(None) } else { from.score().map(Some) };
        let (confidence, normal_rating, rater_authenticity) =
            (optional(CONFIDENCE)?, optional(NORMAL)?, optional(AUTHENTICITY)?);
        let mut count = |flag: u8| if flags & flag == 0 { Some(None) } else { from.number().map(Some) };
        let (sample_size, generated, expires) = (count(SAMPLES)?, count(GENERATED)?, count(EXPIRES)?);
        let extensions = if flags & EXTENSIONS == 0 { &[][..] } else { from.text()? };
        Some(Self {
            key,
            head,
            rating,
            confidence,
            normal_rating,
            rater_authenticity,
            sample_size,
            generated,
            expires,
            extensions,
        })
    }

    /// Its own extensions: names and JSON values.
    pub fn extensions(&self) -> impl Iterator<Item = (&'s str, &'s str)> + use<'s> {
        let mut from = Reader(self.extensions);
        std::iter::from_fn(move || {
            let (name, value) = (from.text()?, from.text()?);
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
        })
    }

    /// The reputon, about `subject`; `rater` is named where the data names none.
    pub fn reputon(&self, head: &'s Head, subject: &'s str, rater: &'s str) -> Reputon<'s> {
        // They were scores when they were written.
        let score = |value: f64| Score::new(value).unwrap_or(Score::ZERO);
        let rater = if head.rater.is_empty() { rater } else { &head.rater };
        let mut reputon = Reputon::new(rater, head.assertion.as_str(), subject, score(self.rating));
        reputon.confidence = self.confidence.map(score);
        reputon.normal_rating = self.normal_rating.map(score);
        reputon.rater_authenticity = self.rater_authenticity.map(score);
        reputon.sample_size = self.sample_size;
        reputon.generated = self.generated;
        reputon.expires = self.expires;
        let shared = head.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in shared.chain(self.extensions()) {
            if let Ok(value) = ExtensionValue::json(value) {
                reputon.set_extension(name, value);
            }
        }
        reputon
    }
}

/// Seven bits an octet, the lowest first.
fn number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Octets behind their number.
pub(super) fn text(octets: &[u8], out: &mut Vec<u8>) {
    number(octets.len() as u64, out);
    out.extend_from_slice(octets);
}

/// Thousandths in two octets where that is exact, which it nearly always is.
fn score(score: &Score<'_>, out: &mut Vec<u8>) {
    let value = score.value();
    let thousandths = (value * 1000.0).round();
    if thousandths / 1000.0 == value {
        out.extend_from_slice(&(thousandths as u16).to_le_bytes());
    } else {
        out.extend_from_slice(&u16::MAX.to_le_bytes());
        out.extend_from_slice(&value.to_le_bytes());
    }
}

struct Reader<'s>(&'s [u8]);

impl<'s> Reader<'s> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            number |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'s [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }

    fn score(&mut self) -> Option<f64> {
        let (short, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        match u16::from_le_bytes(*short) {
            u16::MAX => {
                let (long, rest) = self.0.split_first_chunk::<8>()?;
                self.0 = rest;
                Some(f64::from_le_bytes(*long))
            }
            thousandths => Some(f64::from(thousandths) / 1000.0),
        }
    }
}
