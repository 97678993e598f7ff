//! A list, as the DNS sees it. [RFC 5782 section 2](https://www.rfc-editor.org/rfc/rfc5782#section-2)

use super::name;

/// A zone in which a list answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    pub(super) apex: Vec<u8>,
    pub(super) servers: Vec<Vec<u8>>,
    serial: u32,
    pub(super) ttl: u32,
    pub(super) negative_ttl: u32,
    pub(super) test_entries: bool,
    pub(super) soa: Vec<u8>,
}

/// A text that is no name of a zone, or of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not a name of the DNS: labels of letters, digits, hyphens and underscores with dots between them")]
pub struct InvalidZone;

impl Zone {
    /// A zone of this name, with the test entries of RFC 5782 section 5, answers good for 35 minutes, and their absence
    /// for 15.
    ///
    /// # Errors
    /// When that is no name, or the root.
    pub fn new(name: &str) -> Result<Self, InvalidZone> {
        let apex = name::encode(name).filter(|apex| apex.len() > 1).ok_or(InvalidZone)?;
        let zone = Self {
            name: name.trim_end_matches('.').to_ascii_lowercase(),
            apex,
            servers: Vec::new(),
            serial: 1,
            ttl: 2_100,
            negative_ttl: 900,
            test_entries: true,
            soa: Vec::new(),
        };
        Ok(zone.sealed())
    }

    /// Its name, in small letters and without the last dot.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with these name servers; the first also stands in the SOA record.
    ///
    /// # Errors
    /// When one of them is no name.
    pub fn with_servers<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Result<Self, InvalidZone> {
        self.servers = names.into_iter().map(|name| name::encode(name).ok_or(InvalidZone)).collect::<Result<_, _>>()?;
        Ok(self.sealed())
    }

    /// The same with this serial number, which says which data it has.
    #[must_use]
    pub fn with_serial(mut self, serial: u32) -> Self {
        self.serial = serial;
        self.sealed()
    }

    /// The same, with answers good for `listed` seconds, and their absence for `absent`.
    #[must_use]
    pub fn with_ttl(mut self, listed: u32, absent: u32) -> Self {
        (self.ttl, self.negative_ttl) = (listed, absent);
        self.sealed()
    }

    /// The same without the entries by which clients see that a list is alive.
    #[must_use]
    pub fn without_test_entries(mut self) -> Self {
        self.test_entries = false;
        self
    }

    /// Writes the SOA record anew. [RFC 1035 section 3.3.13](https://www.rfc-editor.org/rfc/rfc1035#section-3.3.13)
    fn sealed(mut self) -> Self {
        let mut soa = self.servers.first().unwrap_or(&self.apex).clone();
        soa.extend_from_slice(b"\x0ahostmaster");
        // A name that is too long with it has the zone's own instead.
        if self.apex.len().saturating_add(11) <= 255 {
            soa.extend_from_slice(&self.apex);
        } else {
            soa.truncate(soa.len().saturating_sub(11));
            soa.extend_from_slice(&self.apex);
        }
        for number in [self.serial, 3_600, 600, 604_800, self.negative_ttl] {
            soa.extend_from_slice(&number.to_be_bytes());
        }
        self.soa = soa;
        self
    }
}
