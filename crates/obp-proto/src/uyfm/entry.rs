//! What is inside the encryption: a list of typed entries (draft-hallambaker-wsconnect-08 section 8.3).

/// One entry. Unknown types are kept, for whoever knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// `PaddingEntry` (0): so many octets that mean nothing.
    Padding(usize),
    /// `SecurityContextIDEntry` (2): a ticket that replaces the one in use. Its key follows.
    SecurityContextId(&'a [u8]),
    /// `KeyEntry` (3): the secret of the ticket before it.
    Key(&'a [u8]),
    /// `LastMac` (4): the MAC of the message that this one answers, untruncated.
    LastMac(&'a [u8]),
    /// `JSONData` (16): a message in JSON.
    Json(&'a [u8]),
    /// `JSONCData` (17): a message in JSON-C, of which JSON-B is a part.
    JsonC(&'a [u8]),
    /// `DNSMessageEntry` (18): a DNS message (draft-hallambaker-privatedns-01).
    Dns(&'a [u8]),
    /// Another type.
    Other(u8, &'a [u8]),
}

impl<'a> Entry<'a> {
    /// Octets before the data of an entry.
    pub const HEAD_LEN: usize = 3;

    fn parts(&self) -> (u8, &'a [u8]) {
        match *self {
            Self::Padding(_) => (0, &[]),
            Self::SecurityContextId(data) => (2, data),
            Self::Key(data) => (3, data),
            Self::LastMac(data) => (4, data),
            Self::Json(data) => (16, data),
            Self::JsonC(data) => (17, data),
            Self::Dns(data) => (18, data),
            Self::Other(code, data) => (code, data),
        }
    }

    /// Octets of the data.
    pub(super) fn data_len(&self) -> usize {
        match self {
            Self::Padding(len) => *len,
            other => other.parts().1.len(),
        }
    }

    /// Appends the entry; false, and nothing appended, when its data is longer than 65535 octets.
    #[must_use]
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> bool {
        let Ok(len) = u16::try_from(self.data_len()) else { return false };
        let (code, data) = self.parts();
        out.push(code);
        out.extend_from_slice(&len.to_be_bytes());
        match self {
            Self::Padding(len) => out.resize(out.len().saturating_add(*len), 0),
            _ => out.extend_from_slice(data),
        }
        true
    }
}

/// The entries of a decrypted payload, one after the other. Ends at the end, or with None inside at the first entry
/// that is cut off: use [`Entries::decode`], which refuses such payloads as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    payload: &'a [u8],
}

impl<'a> Entries<'a> {
    /// The most entries in a payload.
    pub const MAX: usize = 64;

    /// Checks a decrypted payload: whole entries, [`Self::MAX`] at most, and a key only directly after the ticket that
    /// it belongs to. None when it fails.
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let entries = Self { payload };
        let (mut rest, mut after_ticket) = (payload, false);
        for _ in 0..Self::MAX {
            if rest.is_empty() {
                return Some(entries);
            }
            let (entry, behind) = next(rest)?;
            if matches!(entry, Entry::Key(_)) && !after_ticket {
                return None;
            }
            after_ticket = matches!(entry, Entry::SecurityContextId(_));
            rest = behind;
        }
        rest.is_empty().then_some(entries)
    }

    /// The ticket and secret that replace those in use, if there are any; the last if there are several.
    pub fn replacement(self) -> Option<(&'a [u8], &'a [u8])> {
        let (mut ticket, mut found) = (None, None);
        for entry in self {
            if let (Some(ticket), Entry::Key(key)) = (ticket, entry) {
                found = Some((ticket, key));
            }
            ticket = if let Entry::SecurityContextId(id) = entry { Some(id) } else { None };
        }
        found
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (entry, rest) = next(self.payload)?;
        self.payload = rest;
        Some(entry)
    }
}

fn next(payload: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let ([code, high, low], rest) = payload.split_first_chunk()?;
    let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    let entry = match code {
        0 => Entry::Padding(data.len()),
        2 => Entry::SecurityContextId(data),
        3 => Entry::Key(data),
        4 => Entry::LastMac(data),
        16 => Entry::Json(data),
        17 => Entry::JsonC(data),
        18 => Entry::Dns(data),
        other => Entry::Other(*other, data),
    };
    Some((entry, rest))
}
