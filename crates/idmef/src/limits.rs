//! What a reader accepts at most.

/// Upper bounds on a document, each of them tested; a document beyond one is refused with
/// [`LimitExceeded`](crate::DecodeErrorKind::LimitExceeded).
///
/// ```
/// let limits = idmef::Limits { size: 64 << 10, ..Default::default() };
/// assert_eq!(limits.depth, 32);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made to be written as a literal; a new limit is a new major version")]
pub struct Limits {
    /// Octets of the document as received, padding included. Default 1 MiB.
    pub size: usize,
    /// Elements inside one another, the root included. Default 32.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included. Default 64.
    pub attributes: usize,
    /// Elements in all. Default 16384.
    pub elements: usize,
    /// Octets of the text of one element, of one attribute value, or of the content of one `xmltext`, in UTF-8.
    /// Default 64 KiB.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size: 1 << 20, depth: 32, attributes: 64, elements: 16_384, text: 64 << 10 }
    }
}

/// The member of [`Limits`] that a document went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::size`].
    Size,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::attributes`].
    Attributes,
    /// [`Limits::elements`].
    Elements,
    /// [`Limits::text`].
    Text,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Size => "document size",
            Self::Depth => "depth of elements",
            Self::Attributes => "number of attributes",
            Self::Elements => "number of elements",
            Self::Text => "length of a text",
        })
    }
}
