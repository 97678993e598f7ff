//! The values that go into a spool and come out of it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

/// One alert as the sensor will send it: a media type and a body that the spool does not look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) content_type: Arc<str>,
    pub(super) body: Bytes,
}

impl Record {
    /// A record. The content type has 1 to 255 octets and the body at most
    /// [`SpoolConfig::with_max_record`](super::SpoolConfig::with_max_record); `append` says if not.
    ///
    /// Give the same `Arc<str>` to many records to keep the content type once in memory.
    pub fn new(content_type: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self { content_type: content_type.into(), body: body.into() }
    }

    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The media type and the body.
    #[must_use]
    pub fn into_parts(self) -> (Arc<str>, Bytes) {
        (self.content_type, self.body)
    }
}

/// How far the intake has read, kept in the same transaction as the records that it read: after a crash the intake
/// goes on exactly behind the last accepted record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)] // two fields that are the whole idea; callers build it
pub struct Checkpoint {
    /// Which intake; the path of a followed file, say. At most 4096 octets.
    pub source: String,
    /// Its position in its own notation, at most 65536 octets.
    pub position: Vec<u8>,
}

/// What an append did: the sequence numbers of the accepted records, which follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The first record's number.
    pub first_seq: u64,
    /// The last record's number; `first_seq - 1` if none was accepted.
    pub last_seq: u64,
    /// How many records at the end of the append were dropped for lack of room; only with
    /// [`OnFull::DropNewest`](super::OnFull::DropNewest).
    pub dropped: u64,
}

impl Accepted {
    /// How many records were accepted.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.last_seq + 1).saturating_sub(self.first_seq)
    }
}

/// A record out of the spool, with the number to settle it by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spooled {
    /// Its sequence number: rising, never used twice in a spool's life.
    pub seq: u64,
    /// The record.
    pub record: Record,
}

/// How a record's stay in the spool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // a third way to end must be noticed by every sender
pub enum Settled {
    /// The manager answered 200 and has it now.
    Delivered,
    /// The manager will never take it. It is set aside, where an operator can look at it and put it back.
    DeadLetter {
        /// The manager's status code.
        status: u16,
    },
}

/// A record that was set aside because the manager refused it for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The sequence number that it had in the spool.
    pub seq: u64,
    /// The manager's status code.
    pub status: u16,
    /// When it was set aside, to the millisecond.
    pub time: SystemTime,
    /// The record.
    pub record: Record,
}
