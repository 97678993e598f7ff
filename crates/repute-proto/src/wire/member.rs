//! The members of a reputon that all encodings share, and how a reputon is put together from them.

use std::borrow::Cow;

use super::{DecodeErrorKind, Strictness};
use crate::reputon::{Extension, ExtensionValue, Reputon, Score};
use crate::vocabulary::Identity;

/// A member that the formats define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Rater,
    Assertion,
    Rated,
    Rating,
    Confidence,
    NormalRating,
    SampleSize,
    Generated,
    Updated,
    Expires,
    RaterAuthenticity,
}

/// What a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Score,
    Count,
}

pub(super) const SCORE: &str = "a number from 0.0 to 1.0";
pub(super) const COUNT: &str = "a whole number from 0 to 2^64-1";

impl Member {
    #[inline]
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "rater" => Self::Rater,
            "assertion" => Self::Assertion,
            "rated" => Self::Rated,
            "rating" => Self::Rating,
            "confidence" => Self::Confidence,
            "normal-rating" => Self::NormalRating,
            "sample-size" => Self::SampleSize,
            "generated" => Self::Generated,
            "updated" => Self::Updated,
            "expires" => Self::Expires,
            "rater-authenticity" => Self::RaterAuthenticity,
            _ => return None,
        })
    }

    /// The member whose name, with its closing quote and a colon, starts this text as the writers of JSON put it: what
    /// nearly every name looks like. `None` says nothing: the name may be spaced or escaped.
    #[inline]
    pub(super) fn at_start(text: &str) -> Option<(Self, &str)> {
        let is = |name: &'static str, member| text.strip_prefix(name).map(|rest| (member, rest));
        match text.as_bytes().first()? {
            b'a' => is("assertion\":", Self::Assertion),
            b'c' => is("confidence\":", Self::Confidence),
            b'e' => is("expires\":", Self::Expires),
            b'g' => is("generated\":", Self::Generated),
            b'n' => is("normal-rating\":", Self::NormalRating),
            b'r' => is("rater\":", Self::Rater)
                .or_else(|| is("rated\":", Self::Rated))
                .or_else(|| is("rating\":", Self::Rating))
                .or_else(|| is("rater-authenticity\":", Self::RaterAuthenticity)),
            b's' => is("sample-size\":", Self::SampleSize),
            b'u' => is("updated\":", Self::Updated),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rater => "rater",
            Self::Assertion => "assertion",
            Self::Rated => "rated",
            Self::Rating => "rating",
            Self::Confidence => "confidence",
            Self::NormalRating => "normal-rating",
            Self::SampleSize => "sample-size",
            Self::Generated => "generated",
            Self::Updated => "updated",
            Self::Expires => "expires",
            Self::RaterAuthenticity => "rater-authenticity",
        }
    }

    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Rater | Self::Assertion | Self::Rated => Kind::Text,
            Self::Rating | Self::Confidence | Self::NormalRating | Self::RaterAuthenticity => Kind::Score,
            Self::SampleSize | Self::Generated | Self::Updated | Self::Expires => Kind::Count,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A reputon whose members are still coming.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    seen: u16,
    rater: Cow<'a, str>,
    assertion: Cow<'a, str>,
    rated: Cow<'a, str>,
    rating: Option<Score<'a>>,
    confidence: Option<Score<'a>>,
    normal_rating: Option<Score<'a>>,
    rater_authenticity: Option<Score<'a>>,
    sample_size: Option<u64>,
    generated: Option<u64>,
    updated: Option<u64>,
    expires: Option<u64>,
    extensions: Vec<Extension<'a>>,
}

impl<'a> Draft<'a> {
    /// Notes that the member came; `Err` when it did before.
    #[inline]
    pub(super) fn first(&mut self, member: Member) -> Result<(), DecodeErrorKind> {
        if self.seen & member.bit() != 0 {
            return Err(DecodeErrorKind::Repeated(member.name().to_owned()));
        }
        self.seen |= member.bit();
        Ok(())
    }

    /// Whether nothing came at all.
    pub(super) fn is_empty(&self) -> bool {
        self.seen == 0 && self.extensions.is_empty()
    }

    #[inline]
    pub(super) fn text(&mut self, member: Member, text: Cow<'a, str>) {
        match member {
            Member::Rater => self.rater = text,
            Member::Assertion => self.assertion = text,
            _ => self.rated = text,
        }
    }

    #[inline]
    pub(super) fn score(&mut self, member: Member, text: Cow<'a, str>) -> Result<(), DecodeErrorKind> {
        let score =
            Score::from_text(text).map_err(|_| DecodeErrorKind::OutOfRange { name: member.name(), wanted: SCORE })?;
        self.put_score(member, score);
        Ok(())
    }

    #[inline]
    pub(super) fn put_score(&mut self, member: Member, score: Score<'a>) {
        match member {
            Member::Confidence => self.confidence = Some(score),
            Member::NormalRating => self.normal_rating = Some(score),
            Member::RaterAuthenticity => self.rater_authenticity = Some(score),
            _ => self.rating = Some(score),
        }
    }

    #[inline]
    pub(super) fn count(&mut self, member: Member, count: u64) {
        let slot = match member {
            Member::SampleSize => &mut self.sample_size,
            Member::Generated => &mut self.generated,
            Member::Updated => &mut self.updated,
            _ => &mut self.expires,
        };
        *slot = Some(count);
    }

    /// Takes an extension; `Err` when there is one of this name.
    #[inline]
    pub(super) fn extension(
        &mut self,
        name: Cow<'a, str>,
        value: ExtensionValue<'a>,
        repeats: bool,
    ) -> Result<(), DecodeErrorKind> {
        if !repeats && self.extensions.iter().any(|extension| extension.name == name) {
            return Err(DecodeErrorKind::Repeated(name.into_owned()));
        }
        if self.extensions.is_empty() {
            // Most have one or two, and the list would begin with four.
            self.extensions.reserve_exact(2);
        }
        self.extensions.push(Extension::new(name, value));
        Ok(())
    }

    /// Takes this for the rater if none came.
    pub(super) fn assume_rater(&mut self, rater: &'a str) {
        if self.first(Member::Rater).is_ok() {
            self.rater = Cow::Borrowed(rater);
        }
    }

    /// The reputon, if all that is required came.
    #[inline]
    pub(super) fn finish(self, strictness: Strictness) -> Result<Reputon<'a>, DecodeErrorKind> {
        for member in [Member::Rater, Member::Assertion, Member::Rated, Member::Rating] {
            if self.seen & member.bit() == 0 {
                return Err(DecodeErrorKind::Missing(member.name()));
            }
        }
        if strictness == Strictness::Lenient {
            for (member, text) in
                [(Member::Rater, &self.rater), (Member::Assertion, &self.assertion), (Member::Rated, &self.rated)]
            {
                if has_control(text) {
                    return Err(DecodeErrorKind::ControlCharacter(member.name()));
                }
            }
        }
        let rating = self.rating.ok_or(DecodeErrorKind::Missing("rating"))?;
        let reputon = Reputon {
            rater: self.rater,
            assertion: self.assertion,
            rated: self.rated,
            rating,
            confidence: self.confidence,
            normal_rating: self.normal_rating,
            sample_size: self.sample_size,
            generated: self.generated.or(self.updated),
            expires: self.expires,
            rater_authenticity: self.rater_authenticity,
            extensions: self.extensions,
        };
        if strictness == Strictness::Lenient && reputon.extensions.len() > 1 && identities_differ(&reputon) {
            return Err(DecodeErrorKind::ConflictingIdentity);
        }
        Ok(reputon)
    }
}

fn has_control(text: &str) -> bool {
    // Octet by octet first: names are ASCII, and the compiler does many at once.
    let suspicious = text.bytes().fold(false, |found, octet| found | !(0x20..0x7f).contains(&octet));
    suspicious && text.chars().any(char::is_control)
}

fn identities_differ(reputon: &Reputon<'_>) -> bool {
    let text = |name| reputon.extension(name).and_then(ExtensionValue::as_text);
    // The alias first: hardly anybody writes it any more.
    let Some(alias) = text(Identity::ALIAS) else { return false };
    text(Identity::EXTENSION).is_some_and(|name| !name.eq_ignore_ascii_case(alias))
}
