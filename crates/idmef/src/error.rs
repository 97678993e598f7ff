//! Errors, named by who is to blame.

use crate::limits::Limit;
use thiserror::Error;

/// A document was refused: why, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("octet {offset}, in {element}: {kind}")]
#[non_exhaustive]
pub struct DecodeError {
    /// Why.
    pub kind: DecodeErrorKind,
    /// The octet of the input at which the offending markup, value or end tag starts.
    pub offset: usize,
    /// The innermost IDMEF class that was being read; `document` outside of the root.
    pub element: &'static str,
}

/// Why a document was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The octets are not an IDMEF document.
    #[error("{0}")]
    InvalidMessage(#[from] InvalidMessage),
    /// A legal document of a kind that this reader does not read.
    #[error("{0}")]
    PeerIncompatible(#[from] PeerIncompatible),
    /// The document is larger than the reader was told to accept.
    #[error("limit exceeded: {0}")]
    LimitExceeded(Limit),
}

/// How a document breaks the rules of XML or of IDMEF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// Not well-formed XML; the text says what is wrong.
    #[error("not well-formed: {0}")]
    IllFormed(&'static str),
    /// The root element is not an `IDMEF-Message`.
    #[error("the root element is not IDMEF-Message")]
    NotIdmef,
    /// The value of the attribute or element `name` is not of its type.
    #[error("{name} is not a valid {expected}")]
    InvalidValue {
        /// The attribute or element.
        name: &'static str,
        /// The type it should be of, in the RFC's words; `ENUM` for a word that is not in the list (strict only).
        expected: &'static str,
    },
    /// A required attribute or element is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An element that may occur once occurs twice.
    #[error("{0} occurs twice")]
    Duplicate(&'static str),
    /// The class breaks one of the DTD's content models (strict only); the text says which.
    #[error("{0}")]
    Model(&'static str),
    /// An element that the DTD does not allow at this place (strict only).
    #[error("element or text not allowed here")]
    Unexpected,
    /// An element after one that the DTD puts behind it (strict only).
    #[error("{0} is out of order")]
    OutOfOrder(&'static str),
    /// An element outside the namespace `http://iana.org/idmef` (strict only).
    #[error("element outside the namespace http://iana.org/idmef")]
    Namespace,
}

/// What this reader refuses although XML allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerIncompatible {
    /// An encoding other than UTF-8 and UTF-16 with byte order mark.
    #[error("encoding other than UTF-8 or UTF-16")]
    Encoding,
    /// An XML version other than 1.0.
    #[error("XML version other than 1.0")]
    XmlVersion,
    /// A document type declaration: it could define entities.
    #[error("document type declaration")]
    Doctype,
    /// A reference to an entity other than the five that XML itself defines.
    #[error("entity reference other than lt, gt, amp, apos, quot")]
    Entity,
    /// An `IDMEF-Message` of a version other than 1.0.
    #[error("IDMEF version other than 1.0")]
    IdmefVersion,
}

/// A message cannot be written: the caller made one that the DTD does not allow.
///
/// Text is never the reason: see [`Message::encode`](crate::Message::encode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{element}: {problem}")]
#[non_exhaustive]
pub struct EncodeError {
    /// The class that is wrong.
    pub element: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}
