//! The keys that seal tickets, the current one and those that still open older tickets.

use std::collections::BTreeMap;
use std::sync::Arc;

use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use super::{MAX_LEN, MIN_LEN, TicketContent};
use crate::crypto::{CryptoError, GcmKey, NONCE_LEN, Provider, TAG_LEN};

/// The first octet of every ticket of this format.
const FORMAT: u8 = 1;
/// Format and key number.
const HEAD_LEN: usize = 5;
/// What is in a ticket besides its content.
const OVERHEAD: usize = HEAD_LEN + NONCE_LEN + TAG_LEN;

/// Keys that seal and open tickets.
///
/// ```
/// use obp_proto::crypto::RustCrypto;
/// use obp_proto::ticket::KeyRing;
///
/// let mut keys = KeyRing::new(RustCrypto::shared(), 1, &[7; 32])?;
/// keys.rotate(2, &[8; 32])?; // new tickets are sealed by key 2, those of key 1 still open
/// keys.retire(1)?; // when the last of them has expired
/// # Ok::<(), obp_proto::ticket::KeyRingError>(())
/// ```
#[derive(Debug, Clone)]
pub struct KeyRing {
    provider: Arc<dyn Provider>,
    keys: BTreeMap<u32, Arc<dyn GcmKey>>,
    current: u32,
}

impl KeyRing {
    /// The most keys at a time.
    pub const MAX_KEYS: usize = 64;

    /// A ring of one key of 32 octets, numbered `id`. The number is seen by everybody who sees a ticket.
    ///
    /// # Errors
    /// [`KeyRingError::KeyLength`].
    pub fn new(provider: Arc<dyn Provider>, id: u32, key: &[u8]) -> Result<Self, KeyRingError> {
        let mut ring = Self { provider, keys: BTreeMap::new(), current: id };
        ring.add(id, key)?;
        Ok(ring)
    }

    /// Adds a key that opens tickets and does not seal them: one of another broker of the same service, or an older
    /// one read back after a restart.
    ///
    /// # Errors
    /// When the key is not 32 octets long, its number is taken, or there are [`Self::MAX_KEYS`].
    pub fn add(&mut self, id: u32, key: &[u8]) -> Result<(), KeyRingError> {
        if key.len() != 32 {
            return Err(KeyRingError::KeyLength(key.len()));
        }
        if self.keys.contains_key(&id) {
            return Err(KeyRingError::Taken(id));
        }
        if self.keys.len() >= Self::MAX_KEYS {
            return Err(KeyRingError::Full);
        }
        let key = self.provider.gcm_key(key).map_err(|_| KeyRingError::KeyLength(key.len()))?;
        self.keys.insert(id, key);
        Ok(())
    }

    /// Adds a key and seals with it from now on. Do so before a key has sealed 2^32 tickets.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn rotate(&mut self, id: u32, key: &[u8]) -> Result<(), KeyRingError> {
        self.add(id, key)?;
        self.current = id;
        Ok(())
    }

    /// Seals with a key from now on that was added before: so that all brokers of a service can open what it seals by
    /// the time that the first of them seals with it.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn seal_with(&mut self, id: u32) -> Result<(), KeyRingError> {
        if !self.keys.contains_key(&id) {
            return Err(KeyRingError::Unknown(id));
        }
        self.current = id;
        Ok(())
    }

    /// Forgets a key: tickets that it sealed are unknown from now on.
    ///
    /// # Errors
    /// When it is the current key, or there is none of this number.
    pub fn retire(&mut self, id: u32) -> Result<(), KeyRingError> {
        if id == self.current {
            return Err(KeyRingError::Current(id));
        }
        self.keys.remove(&id).map(drop).ok_or(KeyRingError::Unknown(id))
    }

    /// The number of the key that seals.
    pub const fn current(&self) -> u32 {
        self.current
    }

    /// Seals a ticket. `nonce` must come fresh from a good source of randomness each time: two tickets under one
    /// nonce and key give both away.
    ///
    /// The ticket is padded to a multiple of 16 octets, [`MIN_LEN`] at least, so that its length says little about the
    /// account.
    ///
    /// # Errors
    /// When the content does not fit, or names an algorithm that this crate does not compute.
    pub fn seal(&self, content: &TicketContent, nonce: [u8; NONCE_LEN]) -> Result<Vec<u8>, SealError> {
        let key = self.keys.get(&self.current).ok_or(SealError::NoKey)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(MAX_LEN));
        content.encode(&mut plain)?;
        let len = plain.len().saturating_add(OVERHEAD).next_multiple_of(16).max(MIN_LEN);
        if len > MAX_LEN {
            return Err(SealError::TooLong);
        }
        plain.resize(len.saturating_sub(OVERHEAD), 0);
        let mut ticket = Vec::with_capacity(len);
        ticket.push(FORMAT);
        ticket.extend_from_slice(&self.current.to_be_bytes());
        let tag = key.seal(&nonce, &ticket, &mut plain);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&plain);
        ticket.extend_from_slice(&tag);
        Ok(ticket)
    }

    /// Opens a ticket at the time `now`.
    ///
    /// # Errors
    /// Tell the reasons apart in logs alone: to a peer they all are `TicketNotRecognized`.
    pub fn open(&self, ticket: &[u8], now: UnixTime) -> Result<TicketContent, OpenError> {
        if ticket.len() > MAX_LEN {
            return Err(OpenError::Malformed);
        }
        let (head, rest) = ticket.split_first_chunk::<HEAD_LEN>().ok_or(OpenError::Malformed)?;
        let [FORMAT, id @ ..] = *head else { return Err(OpenError::Malformed) };
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenError::Malformed)?;
        let (sealed, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError::Malformed)?;
        let key = self.keys.get(&u32::from_be_bytes(id)).ok_or(OpenError::UnknownKey)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        key.open(nonce, head, &mut plain, tag).map_err(|_: CryptoError| OpenError::Forged)?;
        let content = TicketContent::decode(&plain).ok_or(OpenError::Malformed)?;
        if content.expires <= now {
            return Err(OpenError::Expired);
        }
        Ok(content)
    }
}

/// Why a key was not taken or forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// Keys have 32 octets.
    #[error("a ticket key has 32 octets, not {0}")]
    KeyLength(usize),
    /// Two keys cannot have one number.
    #[error("there is a ticket key number {0} already")]
    Taken(u32),
    /// [`KeyRing::MAX_KEYS`] are there.
    #[error("there are {} ticket keys already: retire old ones", KeyRing::MAX_KEYS)]
    Full,
    /// The key still seals.
    #[error("ticket key {0} is in use: rotate first")]
    Current(u32),
    /// There is no such key.
    #[error("there is no ticket key number {0}")]
    Unknown(u32),
}

/// Why a ticket could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// An algorithm that this crate does not compute.
    #[error("algorithm {0:?} is not known here")]
    Algorithm(Box<str>),
    /// The secret is shorter than its algorithms need, or longer than 64 octets.
    #[error("a secret of {0} octets does not suit the algorithms (16 to 64, and the cipher's key at least)")]
    SecretLength(usize),
    /// Account or challenges do not fit.
    #[error("the account or a challenge is too long for a ticket")]
    TooLong,
    /// The ring lost its current key; cannot happen through its own calls.
    #[error("the current ticket key is missing")]
    NoKey,
}

/// Why a ticket was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a ticket of this format.
    #[error("malformed ticket")]
    Malformed,
    /// Sealed by a key that is not on the ring: retired, or of another broker.
    #[error("ticket of an unknown key")]
    UnknownKey,
    /// Altered, or made by somebody else.
    #[error("forged ticket")]
    Forged,
    /// It was good once.
    #[error("expired ticket")]
    Expired,
}

#[cfg(all(test, feature = "rust-crypto"))]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::{Authentication, Encryption, RustCrypto};
    use crate::ticket::{Scope, TicketKind};

    const NOW: UnixTime = UnixTime::from_secs(1_400_000_000);

    fn ring() -> KeyRing {
        KeyRing::new(RustCrypto::shared(), 1, &[7; 32]).unwrap()
    }

    fn content(account: &str, kind: TicketKind) -> TicketContent {
        TicketContent {
            kind,
            scope: Scope::Query,
            authentication: Authentication::Hs256T128,
            encryption: Encryption::A128Gcm,
            secret: Zeroizing::new(vec![9; 16]),
            account: account.into(),
            binding: [3; 16],
            issued: NOW,
            expires: UnixTime::from_secs(NOW.as_secs() + 100),
        }
    }

    fn temporary(len: usize) -> TicketKind {
        TicketKind::Temporary { client_challenge: vec![1; len], server_challenge: vec![2; len] }
    }

    #[test]
    fn lengths_stay_between_80_and_512_octets_and_say_little() {
        let ring = ring();
        let mut lens = Vec::new();
        for len in 0..=255 {
            let ticket = ring.seal(&content(&"a".repeat(len), TicketKind::Binding), [0; 12]).unwrap();
            assert!((MIN_LEN..=MAX_LEN).contains(&ticket.len()) && ticket.len().is_multiple_of(16), "{}", ticket.len());
            lens.push(ticket.len());
        }
        lens.dedup();
        assert_eq!(lens.len(), 17, "255 accounts, 17 lengths: {lens:?}");
        let longest = ring.seal(&content(&"a".repeat(205), temporary(80)), [0; 12]).unwrap();
        assert_eq!(ring.open(&longest, NOW).unwrap(), content(&"a".repeat(205), temporary(80)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let ring = ring();
        let seal = |content: &TicketContent| ring.seal(content, [0; 12]).map(drop);
        assert_eq!(seal(&content(&"a".repeat(256), TicketKind::Binding)), Err(SealError::TooLong));
        assert_eq!(seal(&content("", temporary(81))), Err(SealError::TooLong));
        let mut long = content(&"a".repeat(255), temporary(80));
        assert_eq!(seal(&long), Ok(()));
        long.secret = Zeroizing::new(vec![9; 64]);
        assert_eq!(seal(&long), Err(SealError::TooLong));
        let mut short = content("", TicketKind::Binding);
        short.encryption = Encryption::A256Gcm;
        assert_eq!(seal(&short), Err(SealError::SecretLength(16)));
        short.encryption = Encryption::from_label("ROT13");
        assert_eq!(seal(&short), Err(SealError::Algorithm("ROT13".into())));
    }

    #[test]
    fn expiry_is_exact() {
        let ring = ring();
        let ticket = ring.seal(&content("a", TicketKind::Binding), [0; 12]).unwrap();
        let at = |secs| ring.open(&ticket, UnixTime::from_secs(NOW.as_secs() + secs)).map(|content| content.account);
        assert_eq!(at(99).as_deref(), Ok("a"));
        assert_eq!(at(100), Err(OpenError::Expired));
    }

    #[test]
    fn keys_rotate_while_old_tickets_live() {
        let mut ring = ring();
        let old = ring.seal(&content("old", TicketKind::Binding), [0; 12]).unwrap();
        ring.rotate(2, &[8; 32]).unwrap();
        let new = ring.seal(&content("new", TicketKind::Binding), [0; 12]).unwrap();
        assert_eq!((ring.current(), &new[..5]), (2, &[1, 0, 0, 0, 2][..]));
        assert_eq!(ring.open(&old, NOW).unwrap().account, "old");
        assert_eq!(ring.retire(2), Err(KeyRingError::Current(2)));
        ring.retire(1).unwrap();
        assert_eq!(ring.open(&old, NOW), Err(OpenError::UnknownKey));
        assert_eq!(ring.open(&new, NOW).unwrap().account, "new");
        assert_eq!(ring.retire(1), Err(KeyRingError::Unknown(1)));
        assert_eq!(ring.add(2, &[0; 32]), Err(KeyRingError::Taken(2)));
        assert_eq!(ring.add(3, &[0; 16]), Err(KeyRingError::KeyLength(16)));
        (3..).take(KeyRing::MAX_KEYS - 1).for_each(|id| ring.add(id, &[0; 32]).unwrap());
        assert_eq!(ring.add(1, &[0; 32]), Err(KeyRingError::Full));
    }

    #[test]
    fn a_key_is_known_before_it_seals() {
        let (mut one, mut other) = (ring(), ring());
        one.add(2, &[2; 32]).unwrap();
        assert_eq!(one.seal_with(3), Err(KeyRingError::Unknown(3)));
        assert_eq!((one.current(), one.seal_with(2), one.current()), (1, Ok(()), 2));
        let ticket = one.seal(&content("a", TicketKind::Binding), [0; 12]).unwrap();
        assert_eq!(other.open(&ticket, NOW), Err(OpenError::UnknownKey));
        other.add(2, &[2; 32]).unwrap();
        assert_eq!(other.open(&ticket, NOW).unwrap().account, "a");
        assert_eq!(one.retire(1), Ok(()));
    }

    #[test]
    fn the_number_of_the_key_is_sealed_too() {
        let mut ring = ring();
        ring.rotate(2, &[7; 32]).unwrap(); // the same key under two numbers
        let mut ticket = ring.seal(&content("a", TicketKind::Binding), [0; 12]).unwrap();
        ticket[4] = 1;
        assert_eq!(ring.open(&ticket, NOW), Err(OpenError::Forged));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", content("a", temporary(16)), ring());
        assert!(!shown.contains("9, 9") && !shown.contains("7, 7") && !shown.contains("1, 1"), "{shown}");
    }

    proptest! {
        #[test]
        fn tickets_round_trip_and_garbled_ones_never_open(
            account in "[a-z@.]{0,60}",
            challenge in proptest::option::of(0usize..=80),
            secret in proptest::collection::vec(any::<u8>(), 16..=64),
            nonce: [u8; 12],
            at: proptest::sample::Index,
            flip in 1u8..,
        ) {
            let kind = challenge.map_or(TicketKind::Binding, temporary);
            let mut content = content(&account, kind);
            content.secret = Zeroizing::new(secret);
            let ring = ring();
            let ticket = ring.seal(&content, nonce).unwrap();
            let opened = ring.open(&ticket, NOW);
            prop_assert_eq!(opened.as_ref(), Ok(&content));
            let at = at.index(ticket.len());
            let mut garbled = ticket.clone();
            garbled[at] ^= flip;
            prop_assert!(ring.open(&garbled, NOW).is_err());
            prop_assert!(ring.open(&ticket[..at], NOW).is_err());
            prop_assert!(ring.open(&[&ticket[..], &[0]].concat(), NOW).is_err());
        }

        #[test]
        fn arbitrary_octets_never_open(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(ring().open(&octets, NOW).is_err());
            let _ = TicketContent::decode(&octets);
        }
    }
}
