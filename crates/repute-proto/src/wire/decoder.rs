//! From a body and its media type to a document.

use super::{DecodeError, DecodeErrorKind, Dialect, MediaType, json, xml};
use crate::error::Limit;
use crate::limits::Limits;
use crate::reputon::Reputation;

/// Reads documents of reputons, within its [`Limits`].
///
/// A reputon that breaks a rule is put aside with the reason, and the others are read; a document that is not
/// well-formed is an error.
///
/// ```
/// use repute_proto::Decoder;
/// let body = br#"{"application":"email-id","reputons":[
///     {"rater":"rep.example.net","assertion":"spam","rated":"example.org","rating":0.012,"sources":3},
///     {"rater":"rep.example.net","assertion":"spam","rated":"example.org","rating":7}]}"#;
/// let document = Decoder::new().decode("application/reputon+json", body)?;
/// assert_eq!(document.reputons[0].rating.value(), 0.012);
/// assert_eq!(document.reputons[0].sources(), Some(3));
/// assert_eq!(document.rejected[0].1.to_string(), "octet 221: rating must be a number from 0.0 to 1.0");
/// # Ok::<(), repute_proto::DecodeError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    limits: Limits,
    dialect: Dialect,
    strictness: Strictness,
}

/// How much is made of what senders do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Strictness {
    /// What can mean only one thing is taken, such as `1.0` for a count; what is dangerous is not, such as control
    /// characters in names or two identities that differ.
    #[default]
    Lenient,
    /// The letter of RFC 7071.
    Strict,
}

impl Decoder {
    /// A lenient reader of every dialect, with default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same under these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same for one dialect.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The same, as strict as this.
    #[must_use]
    pub fn with_strictness(mut self, strictness: Strictness) -> Self {
        self.strictness = strictness;
        self
    }

    /// Reads a body by its media type: `application/reputon+json` is JSON, `application/reputon` is XML unless the
    /// body says otherwise. Nothing else is read: an error page is no verdict.
    ///
    /// # Errors
    /// When the media type is another, or the document is not well-formed, too large or not of the dialect.
    pub fn decode<'a>(&self, content_type: &str, body: &'a [u8]) -> Result<Reputation<'a>, DecodeError> {
        let media = MediaType::parse(content_type);
        let is_json = media.is("application/reputon+json");
        if !is_json && !media.is("application/reputon") {
            return Err(DecodeErrorKind::UnknownMediaType.at(0));
        }
        let looks_like_json = body.iter().find(|octet| !octet.is_ascii_whitespace()) == Some(&b'{');
        let mut document = if is_json || looks_like_json { self.decode_json(body) } else { self.decode_xml(body) }?;
        if document.application.is_none() {
            document.application = media.app.map(|name| name.into_owned().into());
        }
        // REP-024, judged by the reputons: the others are good.
        if document.application.is_none() && !looks_like_json && !is_json {
            let reputons = std::mem::take(&mut document.reputons);
            for (index, reputon) in reputons.into_iter().enumerate() {
                if reputon.extensions.is_empty() || self.strictness == Strictness::Lenient {
                    document.reputons.push(reputon);
                } else {
                    document.rejected.push((index, DecodeErrorKind::ExtensionWithoutApplication.at(0)));
                }
            }
        }
        Ok(document)
    }

    /// Reads JSON: RFC 7071, and unless that is asked for the two forms of the drafts.
    ///
    /// # Errors
    /// When it is no JSON, too large, or no document of the dialect.
    pub fn decode_json<'a>(&self, body: &'a [u8]) -> Result<Reputation<'a>, DecodeError> {
        self.check_size(body)?;
        json::read(body, &self.limits, self.dialect, self.strictness)
    }

    /// Reads a line of a data file: one reputon in an object of its own, which has the application's name as a member
    /// `application`, and need not name a rater.
    ///
    /// # Errors
    /// When it is no JSON object, or the reputon breaks a rule.
    pub fn decode_line<'a>(&self, line: &'a [u8], rater: &'a str) -> Result<Reputation<'a>, DecodeError> {
        self.check_size(line)?;
        json::read_line(line, &self.limits, self.strictness, rater)
    }

    /// Reads the XML of draft-ietf-repute-media-type-01.
    ///
    /// # Errors
    /// When it is no XML without document type, too large, or the dialect has none.
    pub fn decode_xml<'a>(&self, body: &'a [u8]) -> Result<Reputation<'a>, DecodeError> {
        self.check_size(body)?;
        if self.dialect == Dialect::Rfc7072 {
            return Err(DecodeErrorKind::WrongDialect.at(0));
        }
        xml::read(body, &self.limits, self.strictness)
    }

    fn check_size(&self, body: &[u8]) -> Result<(), DecodeError> {
        Limits::check(Limit::Document, body.len(), self.limits.document)
            .map_err(|limit| DecodeErrorKind::Limit(limit).at(self.limits.document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Digits;

    #[test]
    fn lines_of_data_name_their_application_and_need_no_rater() {
        let line = br#"{"application":"email-id","assertion":"spam","rated":"example.org","rating":0.0120,"confidence":0.95,"x":[1]}"#;
        let document = Decoder::new().decode_line(line, "rep.example.net").unwrap();
        assert_eq!(document.application.as_deref(), Some("email-id"));
        let reputon = document.reputons.first().unwrap();
        assert_eq!((reputon.rater.as_ref(), reputon.extensions.len()), ("rep.example.net", 1));
        let mut written = Vec::new();
        reputon.encode_line(document.application.as_deref(), Digits::AsReceived, &mut written);
        assert_eq!(Decoder::new().decode_line(&written, "other"), Ok(document), "and back");
        for (bad, why) in [
            (&b"{\"assertion\":\"spam\",\"rated\":\"a\",\"rating\":2}"[..], "rating must be a number from 0.0 to 1.0"),
            (b"{\"assertion\":\"spam\",\"rating\":1}", "rated is missing"),
            (b"{\"application\":1,\"assertion\":\"a\",\"rated\":\"a\",\"rating\":1}", "application must be a string"),
            (b"{\"assertion\":\"a\",\"rated\":\"a\",\"rating\":1} x", "something follows"),
            (b"{\"rater\":\"a\",\"rater\":\"b\",\"assertion\":\"a\",\"rated\":\"a\",\"rating\":1}", "repeated"),
            (b"[]", "an object"),
        ] {
            let error = Decoder::new().decode_line(bad, "r").unwrap_err().to_string();
            assert!(error.contains(why), "{error} for {}", String::from_utf8_lossy(bad));
        }
    }
}
