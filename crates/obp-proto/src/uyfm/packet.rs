//! The two datagram layouts (draft-hallambaker-wsconnect-08 sections 8.1 and 8.2). All numbers are big-endian. There is
//! no version and no type: the port says which of the two a datagram is.

use super::{MAX_PACKETS, MIN_TRANSACTION_ID};

/// A request: exactly one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestPacket<'a> {
    /// Names the transaction; 16 to 255 octets. The first 16 are the initialisation vector.
    pub transaction_id: &'a [u8],
    /// The security context: a ticket; 1 to 255 octets.
    pub ticket: &'a [u8],
    /// The encrypted entries; 1 octet at least.
    pub payload: &'a [u8],
    /// The MAC or tag; 1 to 255 octets.
    pub authentication_code: &'a [u8],
    /// What the MAC covers: all from the start through the length of the authentication code.
    pub signed: &'a [u8],
}

impl<'a> RequestPacket<'a> {
    /// Finds the fields. Verifies nothing.
    ///
    /// # Errors
    /// When the octets are not exactly one request.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DatagramError> {
        let mut reader = Reader { datagram, at: 0 };
        let transaction_id = reader.transaction_id()?;
        let ticket = reader.short("ticket")?;
        if ticket.is_empty() {
            return Err(DatagramError::Empty("ticket"));
        }
        let payload = reader.long("payload")?;
        if payload.is_empty() {
            return Err(DatagramError::Empty("payload"));
        }
        let (signed, authentication_code) = reader.authentication_code()?;
        Ok(Self { transaction_id, ticket, payload, authentication_code, signed })
    }

    /// Octets of a request besides its payload.
    pub const fn overhead(transaction_id: usize, ticket: usize, authentication_code: usize) -> usize {
        1usize
            .saturating_add(transaction_id)
            .saturating_add(1)
            .saturating_add(ticket)
            .saturating_add(2 + 1)
            .saturating_add(authentication_code)
    }
}

/// One of the datagrams of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponsePacket<'a> {
    /// Names the response; the same in all its packets, not that of the request.
    pub transaction_id: &'a [u8],
    /// Which packet: from 1. Some peers may count from 0.
    pub index: u8,
    /// The last index; at most 16, the same in all packets.
    pub max_index: u8,
    /// The status in clear: 0 or 200 is success. Means nothing before the MAC is verified.
    pub clear_response: u16,
    /// This packet's part of the encrypted entries.
    pub segment: &'a [u8],
    /// The MAC or tag of this packet.
    pub authentication_code: &'a [u8],
    /// What the MAC covers.
    pub signed: &'a [u8],
}

impl<'a> ResponsePacket<'a> {
    /// Octets of a response packet besides its segment, with a transaction ID of 16 octets and a code of that many.
    pub const fn overhead(authentication_code: usize) -> usize {
        authentication_code.saturating_add(1 + 16 + 1 + 1 + 2 + 2 + 1)
    }

    /// Finds the fields. Verifies nothing but that the index is possible.
    ///
    /// # Errors
    /// When the octets are not exactly one response packet, or the index is beyond the last.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DatagramError> {
        let mut reader = Reader { datagram, at: 0 };
        let transaction_id = reader.transaction_id()?;
        let [index, max_index, high, low] = reader.array("index and status")?;
        if index > max_index || max_index > MAX_PACKETS || (index == 0 && max_index == MAX_PACKETS) {
            return Err(DatagramError::Index { index, max_index });
        }
        let segment = reader.long("payload")?;
        let (signed, authentication_code) = reader.authentication_code()?;
        Ok(Self {
            transaction_id,
            index,
            max_index,
            clear_response: u16::from_be_bytes([high, low]),
            segment,
            authentication_code,
            signed,
        })
    }
}

/// Why octets are not a datagram of UYFM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// The datagram ends inside a field.
    #[error("the datagram ends inside its {0}")]
    Short(&'static str),
    /// A field that must not be empty is.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// The transaction ID has fewer than 16 octets, which the initialisation vector needs.
    #[error("a transaction ID of {0} octets: 16 are needed")]
    TransactionId(usize),
    /// Octets after the authentication code.
    #[error("{0} octets after the end")]
    Trailing(usize),
    /// A packet beyond the last one, or more than sixteen of them.
    #[error("packet {index} of {max_index}: there are 16 at most")]
    Index {
        /// Of this packet.
        index: u8,
        /// Of the last packet.
        max_index: u8,
    },
}

struct Reader<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DatagramError> {
        let end = self.at.checked_add(len).ok_or(DatagramError::Short(field))?;
        let octets = self.datagram.get(self.at..end).ok_or(DatagramError::Short(field))?;
        self.at = end;
        Ok(octets)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DatagramError> {
        self.take(N, field)?.try_into().map_err(|_| DatagramError::Short(field))
    }

    fn short(&mut self, field: &'static str) -> Result<&'a [u8], DatagramError> {
        let [len] = self.array(field)?;
        self.take(usize::from(len), field)
    }

    fn long(&mut self, field: &'static str) -> Result<&'a [u8], DatagramError> {
        let len = u16::from_be_bytes(self.array(field)?);
        self.take(usize::from(len), field)
    }

    fn transaction_id(&mut self) -> Result<&'a [u8], DatagramError> {
        let id = self.short("transaction ID")?;
        if id.len() < MIN_TRANSACTION_ID { Err(DatagramError::TransactionId(id.len())) } else { Ok(id) }
    }

    /// The octets that are signed, and the code, which ends the datagram.
    fn authentication_code(&mut self) -> Result<(&'a [u8], &'a [u8]), DatagramError> {
        let [len] = self.array("authentication code")?;
        let signed = self.datagram.get(..self.at).unwrap_or_default();
        let code = self.take(usize::from(len), "authentication code")?;
        if code.is_empty() {
            return Err(DatagramError::Empty("authentication code"));
        }
        match self.datagram.len().saturating_sub(self.at) {
            0 => Ok((signed, code)),
            more => Err(DatagramError::Trailing(more)),
        }
    }
}
