//! Why octets are no reputons.

use crate::error::Limit;

/// Where a document goes wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("octet {offset}: {kind}")]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// Where in the body, in octets.
    pub offset: usize,
}

/// What is wrong with a document or a reputon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// Two identities are named, and they differ.
    #[error("identity and email-id-identity differ")]
    ConflictingIdentity,
    /// A name or value with a control character, which no rater and no subject has.
    #[error("{0} has a control character")]
    ControlCharacter(&'static str),
    /// A document type declaration or a reference to an entity that is not built in.
    #[error("document types and entities are refused")]
    Entity,
    /// An extension without an application that could define it.
    #[error("an extension without an application that defines it")]
    ExtensionWithoutApplication,
    /// It is not well-formed.
    #[error("not well-formed: {0}")]
    IllFormed(&'static str),
    /// A limit of this side.
    #[error("{0}")]
    Limit(#[source] Limit),
    /// A required member is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The octets are no UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A number beyond what the member allows.
    #[error("{name} must be {wanted}")]
    OutOfRange {
        /// The member.
        name: &'static str,
        /// What it can be.
        wanted: &'static str,
    },
    /// A member stands there twice.
    #[error("{0:?} is repeated")]
    Repeated(String),
    /// The media type is none of reputons.
    #[error("not a media type of reputons")]
    UnknownMediaType,
    /// Another type than the member has.
    #[error("{name} must be {wanted}")]
    WrongType {
        /// The member.
        name: &'static str,
        /// What it can be.
        wanted: &'static str,
    },
    /// The dialect has another form.
    #[error("not of the dialect that was asked for")]
    WrongDialect,
    /// XML declares an encoding that is not read.
    #[error("the declared encoding is none of UTF-8, US-ASCII, ISO-8859-1")]
    XmlEncoding,
}

impl DecodeErrorKind {
    pub(crate) const fn at(self, offset: usize) -> DecodeError {
        DecodeError { kind: self, offset }
    }
}

/// What an encoding cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A character that XML, or a line of text, cannot hold.
    #[error("{0} has a character that this encoding cannot hold")]
    Character(&'static str),
    /// Extensions of an unnamed application.
    #[error("extensions need an application that defines them")]
    ExtensionWithoutApplication,
    /// More than one reputon in a form that holds one.
    #[error("this form holds one reputon, not {0}")]
    OneOnly(usize),
    /// RFC 7071 requires the application's name.
    #[error("the application is not named")]
    ApplicationMissing,
}
