//! PIN proofs: how either side shows that it knows the PIN without sending it. draft-hallambaker-wsconnect-08
//! section 5.1, as far as its figures agree with it.
//!
//! What the text says and what the figures compute are not the same. The figures can be checked, so they win, but for
//! the service's proof: there the text binds the proof to the key that the service hands out and the figure does not,
//! so both are here and [`ServerProof`] chooses.
//!
//! | value | here |
//! | --- | --- |
//! | KPC | A(key = client's challenge, PIN) |
//! | SR | A(key = KPC, Secret ‖ OpenPINRequest), or without the Secret |
//! | CR | A(key = A(key = service's challenge, PIN), OpenPINResponse) |
//!
//! A is the HMAC that the service selected, never cut when written. Messages are the octets of the bodies as they were
//! sent.
//!
//! Whoever opens a binding is shown SR and can try PINs against it at leisure: no limit of attempts at the service
//! helps against that. Only a PIN that is too long to be tried does; [`Pin::random`] makes such ones.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use crate::crypto::{Authentication, HashAlgorithm, Mac, Provider};
use crate::error::PeerMisbehaved;
use crate::message::Secret;

/// Octets of a challenge, at least: 128 bits.
pub const MIN_CHALLENGE: usize = 16;
/// Octets of a challenge, at most: 640 bits.
pub const MAX_CHALLENGE: usize = 80;

/// A PIN: any text, known to both sides from somewhere else. Spaces and hyphens, by which people group it, do not
/// count, nor do tabs, line ends and underscores. Wiped when dropped, compared in constant time, not printed.
///
/// ```
/// use obp_proto::service_connect::Pin;
/// let pin: Pin = "Q80370-1RA606-F04B".parse()?;
/// assert_eq!(pin, "Q803701RA606F04B".parse()?);
/// # Ok::<(), obp_proto::service_connect::InvalidPin>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(Secret);

/// Not a [`Pin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPin {
    /// Nothing but what does not count.
    #[error("a PIN is empty")]
    Empty,
    /// More than 128 octets.
    #[error("a PIN is longer than 128 octets")]
    TooLong,
}

impl Pin {
    const MAX: usize = 128;

    /// The octets over which proofs are made: UTF-8.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// A new PIN of digits alone, in groups of five, as text to be shown once: 66 bits, beyond what can be tried.
    /// Every client has to let digits in.
    pub fn random(rng: &mut StdRng) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(23));
        for group in 0..4 {
            if group > 0 {
                text.push('-');
            }
            for _ in 0..5 {
                text.push(char::from(rng.random_range(b'0'..=b'9')));
            }
        }
        text
    }
}

impl FromStr for Pin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        let counts = |octet: &u8| !matches!(octet, b' ' | b'-' | b'\t' | b'\r' | b'\n' | b'_');
        let octets: Vec<u8> = text.bytes().filter(counts).take(Self::MAX.saturating_add(1)).collect();
        let pin = Self(octets.into());
        match pin.0.len() {
            0 => Err(InvalidPin::Empty),
            1..=Self::MAX => Ok(pin),
            _ => Err(InvalidPin::TooLong),
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(…)")
    }
}

/// What the service's proof covers besides the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ServerProof {
    /// The key that it hands out, as the text says: nobody in between can put another in its place.
    #[default]
    Text,
    /// Nothing, as the reference code had it.
    Reference,
}

/// The algorithm A, for one transaction.
#[derive(Debug)]
pub(crate) struct Prover<'a> {
    provider: &'a dyn Provider,
    hash: HashAlgorithm,
    least: usize,
}

impl<'a> Prover<'a> {
    /// None for an algorithm that this crate does not know.
    pub(crate) fn new(provider: &'a dyn Provider, authentication: &Authentication) -> Option<Self> {
        Some(Self { provider, hash: authentication.hash()?, least: authentication.mac_len()? })
    }

    fn key(&self, challenge: &[u8], pin: &Pin) -> Mac {
        self.provider.hmac(self.hash, challenge, &[pin.expose()])
    }

    /// SR.
    pub(crate) fn server(
        &self,
        variant: ServerProof,
        pin: &Pin,
        client_challenge: &[u8],
        secret: &Secret,
        open_request: &[u8],
    ) -> Mac {
        let kpc = self.key(client_challenge, pin);
        let secret = match variant {
            ServerProof::Text => secret.expose(),
            ServerProof::Reference => &[],
        };
        self.provider.hmac(self.hash, kpc.as_bytes(), &[secret, open_request])
    }

    /// CR.
    pub(crate) fn client(&self, pin: &Pin, server_challenge: &[u8], open_response: &[u8]) -> Mac {
        let key = self.key(server_challenge, pin);
        self.provider.hmac(self.hash, key.as_bytes(), &[open_response])
    }

    /// Whether `shown` is `proof`, whole, or cut as far as the label allows. Takes a time that depends on lengths only.
    pub(crate) fn accepts(&self, proof: &Mac, shown: &[u8]) -> bool {
        proof.matches(shown, self.least)
    }
}

/// Whether a challenge has a length that is allowed. The least key of every algorithm here is below the least
/// challenge, 128 bits, so that one bound serves for both.
pub(crate) fn check_challenge(challenge: &[u8]) -> Result<(), PeerMisbehaved> {
    match challenge.len() {
        MIN_CHALLENGE..=MAX_CHALLENGE => Ok(()),
        other => Err(PeerMisbehaved::ChallengeLength(other)),
    }
}

/// Octets from the machine's source of chance.
pub(crate) fn random<const N: usize>(rng: &mut StdRng) -> [u8; N] {
    let mut octets = [0; N];
    rng.fill(&mut octets[..]);
    octets
}

#[cfg(test)]
#[cfg(feature = "rust-crypto")]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::crypto::RustCrypto;

    fn vectors() -> serde_json::Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/obp/pin.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn hex(value: &serde_json::Value) -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    fn hs256() -> Prover<'static> {
        Prover::new(&RustCrypto, &Authentication::Hs256).unwrap()
    }

    #[test]
    fn proofs_are_those_of_the_draft() {
        let v = &vectors()["latin"];
        let pin: Pin = v["pin"].as_str().unwrap().parse().unwrap();
        let (cc, sc) = (hex(&v["client_challenge"]), hex(&v["server_challenge"]));
        let secret = Secret::from(hex(&v["secret"]));
        let payload = v["payload"].as_str().unwrap().as_bytes();
        assert_eq!(hs256().key(&cc, &pin).as_bytes(), hex(&v["kpc"]));
        let server = |variant| hs256().server(variant, &pin, &cc, &secret, payload);
        assert_eq!(server(ServerProof::Reference).as_bytes(), hex(&v["server_response_reference"]));
        assert_eq!(server(ServerProof::Text).as_bytes(), hex(&v["server_response_text"]));
        assert_eq!(hs256().client(&pin, &sc, payload).as_bytes(), hex(&v["client_response"]));
    }

    #[test]
    fn a_pin_in_other_letters_is_utf_8() {
        let v = &vectors()["cyrillic"];
        let pin: Pin = v["pin"].as_str().unwrap().parse().unwrap();
        assert_eq!(pin.expose(), hex(&v["pin_octets"]));
        let kpc = hs256().key(&hex(&v["client_challenge"]), &pin);
        assert_eq!(kpc.as_bytes(), hex(&v["kpc"]));
        assert_ne!(kpc.as_bytes(), hex(&v["kpc_as_printed"]), "the draft prints the value of the other PIN");
    }

    #[test]
    fn the_proof_in_the_recorded_exchange_is_that_of_the_client() {
        let exchanges = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/obp/exchanges/");
        let response = std::fs::read(format!("{exchanges}open-pin-response.json")).unwrap();
        let request = std::fs::read(format!("{exchanges}ticket-request.json")).unwrap();
        let v = &vectors()["latin"];
        let pin: Pin = v["pin"].as_str().unwrap().parse().unwrap();
        let proof = hs256().client(&pin, &hex(&v["server_challenge"]), &response);
        let shown = crate::message::Binary::from(proof.as_bytes()).to_base64url();
        assert!(String::from_utf8(request).unwrap().contains(&shown), "{shown}");
    }

    #[test]
    fn what_groups_a_pin_does_not_count() {
        let pin: Pin = "1234 5678-90".parse().unwrap();
        assert_eq!(pin.expose(), b"1234567890");
        assert_eq!(pin, "12_34\t5678\r\n90".parse().unwrap());
        assert_ne!(pin, "1234567891".parse().unwrap());
        assert_eq!(" - ".parse::<Pin>(), Err(InvalidPin::Empty));
        assert_eq!("1".repeat(129).parse::<Pin>(), Err(InvalidPin::TooLong));
        assert!("1".repeat(128).parse::<Pin>().is_ok());
        assert_eq!(format!("{pin:?}"), "Pin(…)");
    }

    #[test]
    fn new_pins_are_twenty_digits() {
        let mut rng = StdRng::from_seed([1; 32]);
        let (one, two) = (Pin::random(&mut rng), Pin::random(&mut rng));
        assert_ne!(*one, *two);
        let pin: Pin = one.parse().unwrap();
        assert!(pin.expose().len() == 20 && pin.expose().iter().all(u8::is_ascii_digit), "{}", *one);
    }

    #[test]
    fn challenges_have_128_to_640_bits() {
        for (len, good) in [(0, false), (15, false), (16, true), (80, true), (81, false)] {
            assert_eq!(check_challenge(&vec![7; len]).is_ok(), good, "{len}");
        }
    }

    #[test]
    fn only_a_label_that_says_so_lets_a_proof_be_cut() {
        let pin: Pin = "1234".parse().unwrap();
        for (label, cut) in [(Authentication::Hs256, false), (Authentication::Hs256T128, true)] {
            let prover = Prover::new(&RustCrypto, &label).unwrap();
            let proof = prover.client(&pin, &[7; 16], b"{}");
            assert!(prover.accepts(&proof, proof.as_bytes()));
            assert_eq!(prover.accepts(&proof, proof.truncated(16)), cut);
            assert!(!prover.accepts(&proof, proof.truncated(15)));
            assert!(!prover.accepts(&proof, &[]));
        }
        assert!(Prover::new(&RustCrypto, &Authentication::from_label("HS1")).is_none());
    }
}
