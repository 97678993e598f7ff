//! How large a message may be. Everything that a peer can make grow is bounded by one of these or by a limit in the
//! configuration of the machine that it grows in.

/// Limits of the codec. No announced length is ever allocated, whatever the limits.
///
/// ```
/// use obp_proto::Limits;
/// let limits = Limits::default().with_message(16 * 1024).with_items(64);
/// assert_eq!((limits.message, limits.depth), (16_384, 32));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of a message: 64 KiB.
    pub message: usize,
    /// Objects and arrays inside each other: 32.
    pub depth: u16,
    /// Elements of one array, and members of one object: 256.
    pub items: usize,
    /// Values in a message, all levels together: 8192.
    pub values: usize,
    /// Octets of one text string: 4096. Octet strings are limited by the message alone.
    pub string: usize,
    /// Unknown members of one structure: 64.
    pub unknown_fields: usize,
}

impl Limits {
    /// The defaults, each said above.
    pub const DEFAULT: Self =
        Self { message: 64 * 1024, depth: 32, items: 256, values: 8192, string: 4096, unknown_fields: 64 };

    /// The same with messages of up to so many octets.
    #[must_use]
    pub const fn with_message(mut self, octets: usize) -> Self {
        self.message = octets;
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
    pub const fn with_items(mut self, items: usize) -> Self {
        self.items = items;
        self
    }

    /// The same with so many values.
    #[must_use]
    pub const fn with_values(mut self, values: usize) -> Self {
        self.values = values;
        self
    }

    /// The same with text strings of up to so many octets.
    #[must_use]
    pub const fn with_string(mut self, octets: usize) -> Self {
        self.string = octets;
        self
    }

    /// The same with so many unknown members in a structure.
    #[must_use]
    pub const fn with_unknown_fields(mut self, fields: usize) -> Self {
        self.unknown_fields = fields;
        self
    }

    pub(crate) fn of_codec(&self) -> jsonbcd::Limits {
        jsonbcd::Limits::DEFAULT
            .with_input(self.message)
            .with_depth(self.depth)
            .with_item(self.message)
            .with_members(self.items)
            .with_values(self.values)
            .with_expansion(self.message)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
