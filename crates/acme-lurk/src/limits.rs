//! How large messages may be. Everything that a peer can make grow is bounded by one of these, or by a limit in the
//! configuration of the machine that it grows in.

/// Limits of what is read. They are looked at before any cryptography is done; no announced length is ever allocated.
///
/// ```
/// use acme_lurk::Limits;
/// let limits = Limits::default().with_body(16 * 1024).with_identifiers(10);
/// assert_eq!((limits.body, limits.identifiers), (16_384, 10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of a request or response: 64 KiB.
    pub body: usize,
    /// JSON objects and arrays inside each other: 16.
    pub depth: u16,
    /// Elements of one JSON array, and members of one object: 256.
    pub members: usize,
    /// JSON values in a message, all levels together: 4096.
    pub values: usize,
    /// Octets of a URL: 2048.
    pub url: usize,
    /// Octets of a certification request: 16 KiB.
    pub csr: usize,
    /// Identifiers of one order, and names of one certification request: 100.
    pub identifiers: usize,
    /// Bits of an RSA key at most: 8192. Fewer than 2048 are never taken.
    pub rsa_bits: usize,
}

impl Limits {
    /// The defaults, each said above.
    pub const DEFAULT: Self = Self {
        body: 64 * 1024,
        depth: 16,
        members: 256,
        values: 4096,
        url: 2048,
        csr: 16 * 1024,
        identifiers: 100,
        rsa_bits: 8192,
    };

    /// The same with bodies of up to so many octets.
    #[must_use]
    pub const fn with_body(mut self, octets: usize) -> Self {
        self.body = octets;
        self
    }

    /// The same with so many levels.
    #[must_use]
    pub const fn with_depth(mut self, levels: u16) -> Self {
        self.depth = levels;
        self
    }

    /// The same with so many elements in an array, and members in an object.
    #[must_use]
    pub const fn with_members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// The same with so many values.
    #[must_use]
    pub const fn with_values(mut self, values: usize) -> Self {
        self.values = values;
        self
    }

    /// The same with URLs of up to so many octets.
    #[must_use]
    pub const fn with_url(mut self, octets: usize) -> Self {
        self.url = octets;
        self
    }

    /// The same with certification requests of up to so many octets.
    #[must_use]
    pub const fn with_csr(mut self, octets: usize) -> Self {
        self.csr = octets;
        self
    }

    /// The same with so many identifiers.
    #[must_use]
    pub const fn with_identifiers(mut self, identifiers: usize) -> Self {
        self.identifiers = identifiers;
        self
    }

    /// The same with RSA keys of up to so many bits.
    #[must_use]
    pub const fn with_rsa_bits(mut self, bits: usize) -> Self {
        self.rsa_bits = bits;
        self
    }

    pub(crate) const fn of_json(&self) -> jsonbcd::Limits {
        jsonbcd::Limits::DEFAULT
            .with_input(self.body)
            .with_depth(self.depth)
            .with_item(self.body)
            .with_digits(32)
            .with_members(self.members)
            .with_values(self.values)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
