//! How much a peer may make this crate hold or do.

use watchfire_core::setters;

use crate::error::Limit;

/// Bounds on everything that grows. Each has a test that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of a document of reputons: 16 MiB.
    pub document: usize,
    /// Reputons in a document, the empty ones included: 10 000.
    pub reputons: usize,
    /// Octets of one reputon: 64 KiB.
    pub reputon: usize,
    /// Members of one reputon: 64.
    pub members: usize,
    /// How deep JSON or XML may nest: 16.
    pub depth: usize,
    /// Octets of a template file: 64 KiB.
    pub template_file: usize,
    /// Templates in a file: 64.
    pub templates: usize,
    /// Octets of one template: 8 KiB.
    pub template: usize,
    /// Variables that the expressions of one template name, repetitions counted: 64.
    pub variables: usize,
    /// Octets of an expanded URI: 8 KiB.
    pub uri: usize,
    /// Assertions in one query: 64.
    pub assertions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: 16 << 20,
            reputons: 10_000,
            reputon: 64 << 10,
            members: 64,
            depth: 16,
            template_file: 64 << 10,
            templates: 64,
            template: 8 << 10,
            variables: 64,
            uri: 8 << 10,
            assertions: 64,
        }
    }
}

setters! { Limits {
    with_document => document: usize,
    with_reputons => reputons: usize,
    with_reputon => reputon: usize,
    with_members => members: usize,
    with_depth => depth: usize,
    with_template_file => template_file: usize,
    with_templates => templates: usize,
    with_template => template: usize,
    with_variables => variables: usize,
    with_uri => uri: usize,
    with_assertions => assertions: usize,
} }

impl Limits {
    /// `Err` when `found` is more than `most`.
    pub(crate) fn check(limit: Limit, found: usize, most: usize) -> Result<(), Limit> {
        if found > most { Err(limit) } else { Ok(()) }
    }
}
