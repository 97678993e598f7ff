//! The neutral model: what every dialect and every encoding says about a subject.
//! [RFC 7071 section 3](https://www.rfc-editor.org/rfc/rfc7071#section-3)

mod extension;
mod score;

pub use extension::{Extension, ExtensionValue, InvalidJson};
pub use score::{OutOfRange, Score};

use std::borrow::Cow;

use crate::vocabulary::Identity;
use crate::wire::DecodeError;

/// One rater's statement that an assertion about a subject holds to a degree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reputon<'a> {
    /// Who says so, usually a DNS name. The sender claims it; what may be believed is the service it came from.
    pub rater: Cow<'a, str>,
    /// What is said: a name of the application's vocabulary, such as `spam`.
    pub assertion: Cow<'a, str>,
    /// About whom.
    pub rated: Cow<'a, str>,
    /// How far it holds: 0.0 not at all, 1.0 in full.
    pub rating: Score<'a>,
    /// How sure the rater is.
    pub confidence: Option<Score<'a>>,
    /// What would be nothing out of the ordinary.
    pub normal_rating: Option<Score<'a>>,
    /// How many data points the rating comes from; 0 means that there are none.
    pub sample_size: Option<u64>,
    /// When it was made, in seconds since 1970. The drafts say `updated`.
    pub generated: Option<u64>,
    /// From when on it shall not be used, in seconds since 1970.
    pub expires: Option<u64>,
    /// How sure it is that the rater said it: in the drafts of 2011 and 2012 only.
    pub rater_authenticity: Option<Score<'a>>,
    /// All else, in the order of the message.
    pub extensions: Vec<Extension<'a>>,
}

impl<'a> Reputon<'a> {
    /// A reputon with the four members that are required.
    pub fn new(
        rater: impl Into<Cow<'a, str>>,
        assertion: impl Into<Cow<'a, str>>,
        rated: impl Into<Cow<'a, str>>,
        rating: Score<'a>,
    ) -> Self {
        Self {
            rater: rater.into(),
            assertion: assertion.into(),
            rated: rated.into(),
            rating,
            confidence: None,
            normal_rating: None,
            sample_size: None,
            generated: None,
            expires: None,
            rater_authenticity: None,
            extensions: Vec::new(),
        }
    }

    /// The value of the extension of this name, ASCII case ignored.
    pub fn extension(&self, name: &str) -> Option<&ExtensionValue<'a>> {
        self.extensions.iter().find(|extension| extension.name.eq_ignore_ascii_case(name)).map(|found| &found.value)
    }

    /// Which identity of a message was rated: `email-id-identity`, or `identity` as examples and older software say.
    /// `None` when it is absent or no token of RFC 7073.
    pub fn identity(&self) -> Option<Identity> {
        let value = self.extension(Identity::EXTENSION).or_else(|| self.extension(Identity::ALIAS))?;
        value.as_text()?.parse().ok()
    }

    /// The message limit that the drafts' `rate` recommends.
    pub fn rate(&self) -> Option<u64> {
        self.extension("rate")?.as_u64()
    }

    /// How many sources contributed.
    pub fn sources(&self) -> Option<u64> {
        self.extension("sources")?.as_u64()
    }

    /// How sure the rater is: `confidence`, and in its absence what the drafts call `rater-authenticity`.
    pub fn effective_confidence(&self) -> Option<&Score<'a>> {
        self.confidence.as_ref().or(self.rater_authenticity.as_ref())
    }

    /// Whether it only says that there is no data: a sample size of 0.
    pub fn is_no_data(&self) -> bool {
        self.sample_size == Some(0)
    }

    /// Sets an extension, in place of one of the same name.
    pub fn set_extension(&mut self, name: impl Into<Cow<'a, str>>, value: ExtensionValue<'a>) {
        let name = name.into();
        match self.extensions.iter_mut().find(|extension| extension.name.eq_ignore_ascii_case(&name)) {
            Some(extension) => extension.value = value,
            None => self.extensions.push(Extension { name, value }),
        }
    }

    /// The same with this confidence.
    #[must_use]
    pub fn with_confidence(mut self, confidence: Score<'a>) -> Self {
        self.confidence = Some(confidence);
        self
    }

    /// The same with this sample size.
    #[must_use]
    pub fn with_sample_size(mut self, samples: u64) -> Self {
        self.sample_size = Some(samples);
        self
    }

    /// The same, made then, in seconds since 1970.
    #[must_use]
    pub fn with_generated(mut self, generated: u64) -> Self {
        self.generated = Some(generated);
        self
    }

    /// The same, not to be used from then on, in seconds since 1970.
    #[must_use]
    pub fn with_expires(mut self, expires: u64) -> Self {
        self.expires = Some(expires);
        self
    }

    /// The same with an extension, in place of one of the same name.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<Cow<'a, str>>, value: ExtensionValue<'a>) -> Self {
        self.set_extension(name, value);
        self
    }

    /// Writes it as one JSON object by the names of RFC 7071, with the application's name in it if there is one: what
    /// [`crate::Decoder::decode_line`] reads.
    pub fn encode_line(&self, application: Option<&str>, digits: crate::wire::Digits, out: &mut impl bytes::BufMut) {
        crate::wire::json::write_line(application, self, digits, out);
    }

    /// The same, holding what it borrowed.
    pub fn into_owned(self) -> Reputon<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Reputon {
            rater: own(self.rater),
            assertion: own(self.assertion),
            rated: own(self.rated),
            rating: self.rating.into_owned(),
            confidence: self.confidence.map(Score::into_owned),
            normal_rating: self.normal_rating.map(Score::into_owned),
            sample_size: self.sample_size,
            generated: self.generated,
            expires: self.expires,
            rater_authenticity: self.rater_authenticity.map(Score::into_owned),
            extensions: self.extensions.into_iter().map(Extension::into_owned).collect(),
        }
    }
}

/// A document of reputons: what RFC 7071 calls a reputation object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reputation<'a> {
    /// Which application's vocabulary it speaks. Drafts say it in the media type, and may leave it out.
    pub application: Option<Cow<'a, str>>,
    /// The reputons that say something.
    pub reputons: Vec<Reputon<'a>>,
    /// How many were empty: the request was understood, and there is nothing to say.
    pub empty: usize,
    /// Those that break a rule, each by its index and why; the others are good.
    pub rejected: Vec<(usize, DecodeError)>,
}

impl<'a> Reputation<'a> {
    /// A document of this application.
    pub fn new(application: impl Into<Cow<'a, str>>, reputons: Vec<Reputon<'a>>) -> Self {
        Self { application: Some(application.into()), reputons, empty: 0, rejected: Vec::new() }
    }

    /// How many reputons were read, of whatever kind.
    pub(crate) fn count(&self) -> usize {
        self.reputons.len().saturating_add(self.empty).saturating_add(self.rejected.len())
    }

    /// The same, holding what it borrowed.
    pub fn into_owned(self) -> Reputation<'static> {
        Reputation {
            application: self.application.map(|name| Cow::Owned(name.into_owned())),
            reputons: self.reputons.into_iter().map(Reputon::into_owned).collect(),
            empty: self.empty,
            rejected: self.rejected,
        }
    }
}
