//! What goes wrong on this side.

/// A bound of [`crate::Limits`] or of a machine's configuration that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// Assertions in one query.
    #[error("too many assertions in one query")]
    Assertions,
    /// Octets of a document of reputons.
    #[error("the document is too large")]
    Document,
    /// Nesting of JSON or XML.
    #[error("nested too deep")]
    Depth,
    /// Members of a reputon.
    #[error("too many members in one reputon")]
    Members,
    /// Queries that wait for an answer.
    #[error("too many queries wait for an answer")]
    Queries,
    /// Octets of one reputon.
    #[error("the reputon is too large")]
    Reputon,
    /// Reputons in a document.
    #[error("too many reputons in one document")]
    Reputons,
    /// Services that the client has asked.
    #[error("too many services are in use")]
    Services,
    /// Octets of a template.
    #[error("the template is too long")]
    Template,
    /// Octets of a template file.
    #[error("the template file is too large")]
    TemplateFile,
    /// Templates in a file.
    #[error("too many templates in one file")]
    Templates,
    /// Octets of an expanded URI.
    #[error("the URI would be too long")]
    Uri,
    /// Variables in a template.
    #[error("too many variables in one template")]
    Variables,
}
