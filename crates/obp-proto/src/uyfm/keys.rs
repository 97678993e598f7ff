//! Sealing and opening datagrams under the secret of a ticket.
//!
//! Three ways, chosen by the encryption label of the binding. Keys that are derived come out of HKDF-SHA-256 without
//! salt, for the purpose `obp uyfm enc request A128GCM` or the like: `enc` or `mac`, `request` or `response`, the label.
//!
//! - `A128CBC`, `A256CBC`: as in 2014. The secret is the key of AES-CBC and of HMAC; the initialisation vector is the
//!   start of the transaction ID; the MAC covers the packet and is truncated as the authentication label says.
//! - `A128CBC-HKDF`, `A256CBC-HKDF`: the same layout under four keys, one for each purpose and direction, that
//!   HKDF-SHA-256 derives from the secret: the drafts say that a derivation was still to be specified.
//! - `A128GCM`, `A256GCM`: the authentication code is the tag, the associated data is the packet without the payload,
//!   the nonce is the start of the transaction ID, with the number of the packet mixed into its last octet so that the
//!   packets of one response differ. Keys are derived for each direction.

use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{Entry, MAX_PACKETS, RequestPacket, ResponsePacket};
use crate::crypto::{
    Authentication, CbcKey, Cipher, CryptoError, Encryption, GcmKey, IV_LEN, KeySchedule, Mac, MacKey, NONCE_LEN,
    Provider, TAG_LEN,
};

/// The keys of one ticket, prepared once for all its datagrams.
#[derive(Debug, Clone)]
pub struct PacketKeys {
    request: DirectionKeys,
    response: DirectionKeys,
}

#[derive(Debug, Clone)]
enum DirectionKeys {
    Cbc { cipher: Arc<dyn CbcKey>, mac: Arc<dyn MacKey>, mac_len: usize },
    Gcm(Arc<dyn GcmKey>),
}

/// How long datagrams are made, against those who watch lengths (draft-hallambaker-privatedns-01 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Padding {
    /// As long as they are.
    #[default]
    None,
    /// So many octets, with UDP's payload counted; longer ones are left as they are. CBC comes in steps of 16 octets:
    /// the largest step that fits. A GCM datagram that is one or two octets short stays so, because an entry has three.
    To(usize),
    /// The next multiple of so many octets, or the largest step below it. Zero is as [`Self::None`]. Responses that need
    /// several packets are not padded.
    Multiple(usize),
}

/// A sealed request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SealedRequest {
    /// The octets to send.
    pub datagram: Bytes,
    /// The MAC, untruncated: the response must repeat it as its `LastMac`.
    pub mac: Mac,
}

impl PacketKeys {
    /// Prepares the keys of a ticket.
    ///
    /// # Errors
    /// When a label is unknown, or the secret is shorter than the cipher's key.
    pub fn new(
        provider: &dyn Provider,
        secret: &[u8],
        authentication: &Authentication,
        encryption: &Encryption,
    ) -> Result<Self, KeyError> {
        let unknown = |label: &str| KeyError::Algorithm(label.into());
        let (Some(cipher), Some(key_len), Some(schedule)) =
            (encryption.cipher(), encryption.key_len(), encryption.schedule())
        else {
            return Err(unknown(encryption.label()));
        };
        let (Some(hash), Some(mac_len)) = (authentication.hash(), authentication.mac_len()) else {
            return Err(unknown(authentication.label()));
        };
        let shared = secret.get(..key_len).ok_or(KeyError::SecretLength { got: secret.len(), need: key_len })?;
        // Each purpose, direction and algorithm has a key of its own.
        let derived = |purpose: &str, direction: &str, len: usize| {
            let mut key = Zeroizing::new(vec![0; len]);
            let info = format!("obp uyfm {purpose} {direction} {encryption}");
            provider.hkdf_sha256(secret, info.as_bytes(), &mut key).map(|()| key)
        };
        let direction = |name: &str| -> Result<DirectionKeys, CryptoError> {
            let cipher_key = match schedule {
                KeySchedule::Shared => Zeroizing::new(shared.to_vec()),
                KeySchedule::Derived => derived("enc", name, key_len)?,
            };
            Ok(match cipher {
                Cipher::Gcm => DirectionKeys::Gcm(provider.gcm_key(&cipher_key)?),
                Cipher::Cbc => {
                    let mac_key = match schedule {
                        KeySchedule::Shared => Zeroizing::new(secret.to_vec()),
                        KeySchedule::Derived => derived("mac", name, hash.output_len())?,
                    };
                    DirectionKeys::Cbc {
                        cipher: provider.cbc_key(&cipher_key)?,
                        mac: provider.mac_key(hash, &mac_key),
                        mac_len,
                    }
                }
            })
        };
        Ok(Self { request: direction("request")?, response: direction("response")? })
    }

    /// Seals a request. `transaction_id` must be fresh and unpredictable.
    ///
    /// # Errors
    /// When an entry or the ticket does not fit its field, or the datagram is longer than `max_datagram` octets: then
    /// HTTP has to carry the query.
    pub fn seal_request(
        &self,
        transaction_id: &[u8; IV_LEN],
        ticket: &[u8],
        entries: &[Entry<'_>],
        padding: Padding,
        max_datagram: usize,
    ) -> Result<SealedRequest, SealError> {
        let ticket_len = u8::try_from(ticket.len()).map_err(|_| SealError::Ticket(ticket.len()))?;
        if ticket.is_empty() {
            return Err(SealError::Ticket(0));
        }
        let overhead = RequestPacket::overhead(IV_LEN, ticket.len(), self.request.code_len());
        let mut packet = Vec::with_capacity(overhead.saturating_add(plain_len(entries)).saturating_add(IV_LEN));
        packet.push(IV_LEN as u8);
        packet.extend_from_slice(transaction_id);
        packet.push(ticket_len);
        packet.extend_from_slice(ticket);
        packet.extend_from_slice(&[0, 0]);
        let from = packet.len();
        write_entries(&mut packet, from, entries)?;
        self.request.pad(&mut packet, from, overhead, padding, max_datagram);
        let mac = self.request.seal(transaction_id, 1, &mut packet, from)?;
        if packet.len() > max_datagram {
            return Err(SealError::TooLong { len: packet.len(), max: max_datagram });
        }
        Ok(SealedRequest { datagram: packet.into(), mac })
    }

    /// Verifies a request and decrypts its entries into `plain`, which is cleared first. Returns the MAC, untruncated.
    ///
    /// # Errors
    /// When the packet is not one made with these keys; `plain` is worthless then. No answer may be given.
    pub fn open_request(&self, packet: &RequestPacket<'_>, plain: &mut Vec<u8>) -> Result<Mac, OpenError> {
        plain.clear();
        plain.extend_from_slice(packet.payload);
        let keys = &self.request;
        let mac = keys.verify(packet.transaction_id, 1, packet.signed, packet.authentication_code, plain)?;
        keys.decrypt(packet.transaction_id, plain)?;
        Ok(mac)
    }

    /// Seals a response into one to sixteen datagrams of at most `max_datagram` octets each. `transaction_id` must be
    /// fresh and unpredictable, not that of the request: under `A128CBC` they would share an initialisation vector.
    ///
    /// # Errors
    /// When an entry is longer than its field, or sixteen datagrams do not hold all.
    pub fn seal_response(
        &self,
        transaction_id: &[u8; IV_LEN],
        clear_response: u16,
        entries: &[Entry<'_>],
        padding: Padding,
        max_datagram: usize,
    ) -> Result<Vec<Bytes>, SealError> {
        let keys = &self.response;
        let overhead = ResponsePacket::overhead(keys.code_len());
        let room = max_datagram.min(usize::from(u16::MAX)).saturating_sub(overhead).max(1);
        let mut payload = Vec::with_capacity(plain_len(entries).saturating_add(2 * IV_LEN));
        write_entries(&mut payload, 0, entries)?;
        keys.pad(&mut payload, 0, overhead, padding, max_datagram);
        if let DirectionKeys::Cbc { cipher, .. } = keys {
            cipher.encrypt(transaction_id, &mut payload, 0);
        }
        let count = payload.len().div_ceil(room).max(1);
        let max_index = u8::try_from(count).ok().filter(|count| *count <= MAX_PACKETS);
        let max = room.saturating_mul(usize::from(MAX_PACKETS));
        let Some(max_index) = max_index else { return Err(SealError::TooLong { len: payload.len(), max }) };
        let mut packets = Vec::with_capacity(count);
        for (index, segment) in (1..=max_index).zip(payload.chunks(room)) {
            let mut packet = Vec::with_capacity(segment.len().saturating_add(overhead));
            packet.push(IV_LEN as u8);
            packet.extend_from_slice(transaction_id);
            packet.extend_from_slice(&[index, max_index]);
            packet.extend_from_slice(&clear_response.to_be_bytes());
            let len = u16::try_from(segment.len()).map_err(|_| SealError::Entry)?;
            packet.extend_from_slice(&len.to_be_bytes());
            let from = packet.len();
            packet.extend_from_slice(segment);
            keys.authenticate(transaction_id, index, &mut packet, from);
            packets.push(packet.into());
        }
        Ok(packets)
    }

    /// Verifies one packet of a response. The segment that it returns goes to a
    /// [`Reassembler`](super::Reassembler), and all of them together to [`Self::open_response`].
    ///
    /// # Errors
    /// When the packet is not one made with these keys: drop it.
    pub fn open_segment(&self, packet: &ResponsePacket<'_>) -> Result<Vec<u8>, OpenError> {
        let mut segment = packet.segment.to_vec();
        let code = packet.authentication_code;
        self.response.verify(packet.transaction_id, packet.index, packet.signed, code, &mut segment)?;
        Ok(segment)
    }

    /// Decrypts the segments of a whole response, put together in order, in place.
    ///
    /// # Errors
    /// When they do not decrypt; `payload` is worthless then.
    pub fn open_response(&self, transaction_id: &[u8], payload: &mut Vec<u8>) -> Result<(), OpenError> {
        self.response.decrypt(transaction_id, payload)
    }
}

impl DirectionKeys {
    /// Octets of the authentication code.
    fn code_len(&self) -> usize {
        match self {
            Self::Cbc { mac_len, .. } => *mac_len,
            Self::Gcm(_) => TAG_LEN,
        }
    }

    /// Adds a padding entry to the entries that begin at `from`.
    fn pad(&self, packet: &mut Vec<u8>, from: usize, overhead: usize, padding: Padding, max: usize) {
        let plain = packet.len().saturating_sub(from);
        // Octets of the datagram, if its entries have so many.
        let sealed = |plain: usize| match self {
            Self::Cbc { .. } => overhead.saturating_add(plain).saturating_add(IV_LEN - plain % IV_LEN),
            Self::Gcm(_) => overhead.saturating_add(plain),
        };
        // The most octets that the entries can have in a datagram of so many.
        let most = |datagram: usize| {
            let room = datagram.min(max).saturating_sub(overhead);
            match self {
                // The padding of the cipher takes one octet at least.
                Self::Cbc { .. } => (room - room % IV_LEN).saturating_sub(1),
                Self::Gcm(_) => room,
            }
        };
        let most = match padding {
            Padding::None | Padding::Multiple(0) => return,
            Padding::To(len) => most(len),
            Padding::Multiple(of) => {
                // An entry has three octets at least: what cannot be filled up exactly goes to the next multiple.
                let reached = |most: usize| {
                    plain.saturating_add(Entry::HEAD_LEN) <= most || (plain <= most && sealed(plain) == sealed(most))
                };
                let first = sealed(plain).next_multiple_of(of);
                let mut multiples = (0..4).map(|n| most(first.saturating_add(of.saturating_mul(n))));
                multiples.find(|most| reached(*most)).unwrap_or_default()
            }
        };
        if let Some(len) = most.checked_sub(plain).and_then(|gap| gap.checked_sub(Entry::HEAD_LEN)) {
            let fits = Entry::Padding(len).encode(packet);
            debug_assert!(fits || len > usize::from(u16::MAX));
        }
    }

    /// Encrypts the entries that begin at `from`, behind two octets for their length, and appends the authentication
    /// code. Returns the whole MAC.
    fn seal(
        &self,
        transaction_id: &[u8; IV_LEN],
        index: u8,
        packet: &mut Vec<u8>,
        from: usize,
    ) -> Result<Mac, SealError> {
        if let Self::Cbc { cipher, .. } = self {
            cipher.encrypt(transaction_id, packet, from);
        }
        let len = packet.len().saturating_sub(from);
        let len = u16::try_from(len).map_err(|_| SealError::TooLong { len, max: usize::from(u16::MAX) })?;
        if let Some(field) = packet.get_mut(from.saturating_sub(2)..from) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        Ok(self.authenticate(transaction_id, index, packet, from))
    }

    /// Appends the authentication code to a packet whose payload begins at `from` (and, with GCM, encrypts it).
    fn authenticate(&self, transaction_id: &[u8; IV_LEN], index: u8, packet: &mut Vec<u8>, from: usize) -> Mac {
        match self {
            Self::Cbc { mac, mac_len, .. } => {
                packet.push(u8::try_from(*mac_len).unwrap_or(u8::MAX));
                let mac = mac.sign(&[packet]);
                packet.extend_from_slice(mac.truncated(*mac_len));
                mac
            }
            Self::Gcm(key) => {
                let (head, payload) = packet.split_at_mut(from);
                let tag = key.seal(&nonce(transaction_id, index), &associated_data(head), payload);
                packet.push(TAG_LEN as u8);
                packet.extend_from_slice(&tag);
                Mac::new(&tag)
            }
        }
    }

    /// Verifies a packet. With GCM this decrypts `payload`, with CBC it is left as it is.
    fn verify(
        &self,
        transaction_id: &[u8],
        index: u8,
        signed: &[u8],
        code: &[u8],
        payload: &mut [u8],
    ) -> Result<Mac, OpenError> {
        match self {
            Self::Cbc { mac, mac_len, .. } => {
                let mac = mac.sign(&[signed]);
                if mac.matches(code, *mac_len) { Ok(mac) } else { Err(OpenError::Mac) }
            }
            Self::Gcm(key) => {
                let tag: &[u8; TAG_LEN] = code.try_into().map_err(|_| OpenError::Mac)?;
                // What is signed is head, payload and the length of the code.
                let head = signed.len().saturating_sub(payload.len()).saturating_sub(1);
                let aad = associated_data(signed.get(..head).unwrap_or_default());
                key.open(&nonce(transaction_id, index), &aad, payload, tag).map_err(|_| OpenError::Mac)?;
                Ok(Mac::new(tag))
            }
        }
    }

    /// Decrypts what has been verified.
    fn decrypt(&self, transaction_id: &[u8], payload: &mut Vec<u8>) -> Result<(), OpenError> {
        match self {
            Self::Cbc { cipher, .. } => {
                let iv = transaction_id.first_chunk().ok_or(OpenError::Padding)?;
                cipher.decrypt(iv, payload).map_err(|_| OpenError::Padding)
            }
            Self::Gcm(_) => Ok(()),
        }
    }
}

/// The nonce of packet `index` of a transaction, which is 1 for requests.
fn nonce(transaction_id: &[u8], index: u8) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    for (to, from) in nonce.iter_mut().zip(transaction_id) {
        *to = *from;
    }
    if let Some(last) = nonce.last_mut() {
        *last ^= index.wrapping_sub(1);
    }
    nonce
}

/// The head of the packet and the length of the tag.
fn associated_data(head: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(head.len().saturating_add(1));
    aad.extend_from_slice(head);
    aad.push(TAG_LEN as u8);
    aad
}

fn plain_len(entries: &[Entry<'_>]) -> usize {
    entries.iter().map(|entry| entry.data_len().saturating_add(Entry::HEAD_LEN)).fold(0, usize::saturating_add)
}

fn write_entries(packet: &mut Vec<u8>, from: usize, entries: &[Entry<'_>]) -> Result<(), SealError> {
    if !entries.iter().all(|entry| entry.encode(packet)) {
        return Err(SealError::Entry);
    }
    // A payload that is nothing at all has no place in the layout.
    if packet.len() == from && !Entry::Padding(0).encode(packet) {
        return Err(SealError::Entry);
    }
    Ok(())
}

/// Why keys could not be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// An algorithm that this crate does not compute.
    #[error("algorithm {0:?} is not known here")]
    Algorithm(Box<str>),
    /// The secret is shorter than the key of the cipher.
    #[error("a secret of {got} octets; the cipher needs {need}")]
    SecretLength {
        /// Octets of the secret.
        got: usize,
        /// Octets needed.
        need: usize,
    },
    /// The provider refused.
    #[error("{0}")]
    Provider(#[from] CryptoError),
}

/// Why a message does not go into datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Datagrams carry tickets of 1 to 255 octets.
    #[error("a ticket of {0} octets does not fit a datagram, 1 to 255 do")]
    Ticket(usize),
    /// An entry holds 65535 octets at most.
    #[error("an entry is longer than 65535 octets")]
    Entry,
    /// The message is too long.
    #[error("{len} octets do not fit, {max} do")]
    TooLong {
        /// Octets there are.
        len: usize,
        /// Octets that fit.
        max: usize,
    },
}

/// Why a datagram is not one of this ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The MAC or tag is wrong or too short.
    #[error("the authentication code is wrong")]
    Mac,
    /// It is authentic, and does not decrypt.
    #[error("the padding is wrong")]
    Padding,
}
