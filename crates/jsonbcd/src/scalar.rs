//! The numbers that JSON-D adds and Rust has no types for. draft-hallambaker-jsonbcd section 6.

use crate::code;

/// A float of JSON-D, as its bits, most significant octet first: nothing is lost in reading and writing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the drafts define these")]
pub enum Scalar {
    /// IEEE 754 binary16.
    Binary16([u8; 2]),
    /// IEEE 754 binary32.
    Binary32([u8; 4]),
    /// IEEE 754 binary128.
    Binary128([u8; 16]),
    /// The 80-bit format of the x87.
    Intel80([u8; 10]),
    /// IEEE 754 decimal32.
    Decimal32([u8; 4]),
    /// IEEE 754 decimal64.
    Decimal64([u8; 8]),
    /// IEEE 754 decimal128. The first draft gives it 18 octets, which must be a misprint: it has 16.
    Decimal128([u8; 16]),
}

impl Scalar {
    /// The octet that begins it.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Binary16(_) => code::BINARY16,
            Self::Binary32(_) => code::BINARY32,
            Self::Binary128(_) => code::BINARY128,
            Self::Intel80(_) => code::INTEL80,
            Self::Decimal32(_) => code::DECIMAL32,
            Self::Decimal64(_) => code::DECIMAL64,
            Self::Decimal128(_) => code::DECIMAL128,
        }
    }

    /// Its bits, most significant octet first.
    pub const fn octets(&self) -> &[u8] {
        match self {
            Self::Binary16(octets) => octets,
            Self::Binary32(octets) | Self::Decimal32(octets) => octets,
            Self::Binary128(octets) | Self::Decimal128(octets) => octets,
            Self::Intel80(octets) => octets,
            Self::Decimal64(octets) => octets,
        }
    }

    /// How many octets follow that code, if it is that of a scalar.
    pub(crate) const fn width(code: u8) -> Option<usize> {
        match code {
            code::BINARY16 => Some(2),
            code::BINARY32 | code::DECIMAL32 => Some(4),
            code::BINARY128 | code::DECIMAL128 => Some(16),
            code::INTEL80 => Some(10),
            code::DECIMAL64 => Some(8),
            _ => None,
        }
    }

    /// From the code and exactly as many octets as it has.
    pub(crate) fn from_code(code: u8, octets: &[u8]) -> Option<Self> {
        Some(match code {
            code::BINARY16 => Self::Binary16(octets.try_into().ok()?),
            code::BINARY32 => Self::Binary32(octets.try_into().ok()?),
            code::BINARY128 => Self::Binary128(octets.try_into().ok()?),
            code::INTEL80 => Self::Intel80(octets.try_into().ok()?),
            code::DECIMAL32 => Self::Decimal32(octets.try_into().ok()?),
            code::DECIMAL64 => Self::Decimal64(octets.try_into().ok()?),
            code::DECIMAL128 => Self::Decimal128(octets.try_into().ok()?),
            _ => return None,
        })
    }

    /// As binary64, if that holds it exactly whatever its value: binary16 and binary32. Of a NaN only that it is one
    /// is sure to be kept.
    pub fn to_f64(&self) -> Option<f64> {
        match *self {
            Self::Binary16(octets) => Some(half_to_f64(u16::from_be_bytes(octets))),
            Self::Binary32(octets) => Some(f64::from(f32::from_be_bytes(octets))),
            _ => None,
        }
    }

    /// What the drafts call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Binary16(_) => "binary16",
            Self::Binary32(_) => "binary32",
            Self::Binary128(_) => "binary128",
            Self::Intel80(_) => "intel80",
            Self::Decimal32(_) => "decimal32",
            Self::Decimal64(_) => "decimal64",
            Self::Decimal128(_) => "decimal128",
        }
    }
}

impl From<f32> for Scalar {
    fn from(value: f32) -> Self {
        Self::Binary32(value.to_be_bytes())
    }
}

/// Widens: 1 bit of sign, 5 of exponent, 10 of fraction become 1, 11 and 52.
fn half_to_f64(bits: u16) -> f64 {
    let sign = u64::from(bits >> 15) << 63;
    let exponent = u64::from(bits >> 10 & 0x1f);
    let fraction = u64::from(bits & 0x3ff);
    let magnitude = match (exponent, fraction) {
        // Subnormal: a whole number of 2^-24, which binary64 holds as a normal number.
        #[allow(clippy::cast_precision_loss, reason = "ten bits")]
        (0, _) => (fraction as f64 * (1.0 / 16_777_216.0)).to_bits(),
        (0x1f, _) => 0x7ff << 52 | fraction << 42,
        // The biases are 15 and 1023.
        _ => exponent.wrapping_add(1008) << 52 | fraction << 42,
    };
    f64::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen_exactly() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_625e-5),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x3555, 0.333_251_953_125),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half_to_f64(bits), value, "{bits:#06x}");
        }
        assert_eq!(half_to_f64(0x8000).to_bits(), (-0.0f64).to_bits());
        assert!(half_to_f64(0x7e01).is_nan());
    }
}
