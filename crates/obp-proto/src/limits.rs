//! How large a message may be. Everything that a peer can make grow is bounded by one of these or by a limit in the
//! configuration of the machine that it grows in.

use watchfire_core::setters;

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

setters! { Limits {
    with_message => message: usize,
    with_depth => depth: u16,
    with_items => items: usize,
    with_values => values: usize,
    with_string => string: usize,
    with_unknown_fields => unknown_fields: usize,
} }

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
