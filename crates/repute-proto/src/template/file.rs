//! What `/.well-known/repute-template` holds. [RFC 7072 section 3.2](https://www.rfc-editor.org/rfc/rfc7072#section-3.2)

use super::{Template, TemplateError};
use crate::error::Limit;
use crate::limits::Limits;

/// Templates in the order in which they are to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TemplateFile {
    /// Those that are well-formed.
    pub templates: Vec<Template>,
    /// The others: which line, counted from 1, and why.
    pub rejected: Vec<(usize, TemplateError)>,
}

impl TemplateFile {
    /// Reads a file: lines that end in CR LF, LF or CR, empty ones passed over.
    ///
    /// # Errors
    /// When it exceeds [`Limits::template_file`] or [`Limits::templates`].
    pub fn decode(octets: &[u8], limits: &Limits) -> Result<Self, Limit> {
        Limits::check(Limit::TemplateFile, octets.len(), limits.template_file)?;
        let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
        let text = String::from_utf8_lossy(octets);
        let mut file = Self { templates: Vec::new(), rejected: Vec::new() };
        let lines = text.split(['\r', '\n']).map(|line| line.trim_matches([' ', '\t']));
        for (index, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            Limits::check(Limit::Templates, index.saturating_add(1), limits.templates)?;
            match Template::parse(line, limits) {
                Ok(template) => file.templates.push(template),
                Err(error) => file.rejected.push((index.saturating_add(1), error)),
            }
        }
        Ok(file)
    }

    /// Writes templates, CR LF between them and none behind: OpenDKIM takes what follows into the URI.
    pub fn encode(templates: &[Template]) -> String {
        templates.iter().map(Template::as_str).collect::<Vec<_>>().join("\r\n")
    }
}
