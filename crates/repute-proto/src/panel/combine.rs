//! From opinions to a verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use watchfire_core::UnixTime;

use super::local::List;
use crate::client::{NoData, Query, QueryError};
use crate::reputon::Reputon;
use crate::template::Service;

/// How opinions are weighed.
///
/// The weight of a reputon is *trust in the rater* times *its confidence* times *n / (n + half_samples)*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weighing {
    /// The sample size that counts half as much as endless samples: 10.
    pub half_samples: u64,
    /// Fewer samples than this do not count: 1.
    pub min_samples: u64,
    /// The number of samples that is taken for granted where a rater does not say: 10.
    pub assumed_samples: u64,
    /// Percent of confidence where a rater does not say: 50.
    pub assumed_confidence: u8,
    /// How old a rating may be at most, where it says when it was made; for ever by default.
    pub max_age: Option<Duration>,
}

impl Default for Weighing {
    fn default() -> Self {
        Self { half_samples: 10, min_samples: 1, assumed_samples: 10, assumed_confidence: 50, max_age: None }
    }
}

impl Weighing {
    /// The confidence that is taken for granted, from 0.0 to 1.0.
    pub(crate) fn confidence(&self) -> f64 {
        f64::from(self.assumed_confidence.min(100)) / 100.0
    }
}

/// What one rater of the panel brought.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Opinion {
    /// Who was asked.
    pub service: Service,
    /// How much the operator trusts it, from 0.0 up.
    pub trust: f64,
    /// What became of it.
    pub standing: Standing,
}

/// What became of an opinion.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It counts, with this weight.
    Counted {
        /// What was said.
        reputon: Reputon<'static>,
        /// Its share before all weights are summed.
        weight: f64,
    },
    /// There was no answer. That is no verdict.
    Failed(QueryError),
    /// The rater has nothing to say.
    NoData(NoData),
    /// No answer came in the time there was.
    Pending,
    /// It does not count, and why.
    Uncounted {
        /// What was said.
        reputon: Reputon<'static>,
        /// Why it does not count.
        reason: &'static str,
    },
}

/// All opinions about one assertion.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Combined {
    /// The weighted mean.
    pub rating: f64,
    /// The sum of the weights: how much stands behind it.
    pub weight: f64,
    /// The largest rating less the smallest: how far raters disagree.
    pub spread: f64,
    /// How many reputons count.
    pub opinions: usize,
}

/// What a panel says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Verdict {
    /// The subject.
    pub subject: String,
    /// The list that the subject is on, and the entry that says so. Nobody was asked then.
    pub local: Option<(List, String)>,
    /// By assertion, in the vocabulary's names. Empty when nobody said anything that counts.
    pub combined: BTreeMap<String, Combined>,
    /// Who said what, in the order of the panel.
    pub opinions: Vec<Opinion>,
    /// Whether every rater answered, be it that it has no data.
    pub is_complete: bool,
}

impl Verdict {
    /// How far the assertion holds; `None` when nobody said anything that counts.
    pub fn rating(&self, assertion: &str) -> Option<f64> {
        self.combined.get(assertion).map(|combined| combined.rating)
    }
}

/// Who said what and what it weighs, a line for each.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from the network, and lines are for terminals and logs.
        let clean = |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
        writeln!(f, "{}{}", self.subject, if self.is_complete { "" } else { " (not all raters answered)" })?;
        if let Some((list, entry)) = &self.local {
            let list = match list {
                List::Allow => "allowed",
                List::Deny => "denied",
            };
            writeln!(f, "  {list} by the local entry {entry}")?;
        }
        for (assertion, combined) in &self.combined {
            let Combined { rating, weight, spread, opinions } = combined;
            let assertion = clean(assertion);
            writeln!(f, "  {assertion}: {rating:.3} of {opinions} opinions, weight {weight:.3}, spread {spread:.3}")?;
        }
        for Opinion { service, trust, standing } in &self.opinions {
            write!(f, "  {service} (trust {trust:.2}): ")?;
            let mut said = |reputon: &Reputon<'_>| {
                let samples = reputon.sample_size.map_or_else(String::new, |samples| format!(", {samples} samples"));
                let confidence =
                    reputon.effective_confidence().map_or_else(String::new, |sure| format!(", confidence {sure}"));
                let (rater, assertion) = (clean(&reputon.rater), clean(&reputon.assertion));
                write!(f, "{rater} says {assertion} {}{confidence}{samples}", reputon.rating)
            };
            match standing {
                Standing::Counted { reputon, weight } => {
                    said(reputon)?;
                    writeln!(f, "; weight {weight:.3}")?;
                }
                Standing::Uncounted { reputon, reason } => {
                    said(reputon)?;
                    writeln!(f, "; not counted: {reason}")?;
                }
                Standing::Failed(error) => writeln!(f, "failed: {}", clean(&error.to_string()))?,
                Standing::NoData(NoData::NotFound) => writeln!(f, "does not do this application")?,
                Standing::NoData(NoData::Unknown) => writeln!(f, "has no data")?,
                Standing::NoData(NoData::Unusable) => writeln!(f, "said nothing that answers the question")?,
                Standing::Pending => writeln!(f, "no answer in time")?,
            }
        }
        Ok(())
    }
}

/// What is known of one rater when opinions are put together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Brought {
    Reputons(Vec<Reputon<'static>>),
    NoData(NoData),
    Failed(QueryError),
    Nothing,
}

/// Weighs reputons and puts them together: a pure function, for answers that came in another way than by a panel.
pub fn combine(
    query: &Query,
    reputons: Vec<(Service, f64, Reputon<'static>)>,
    weighing: &Weighing,
    now: UnixTime,
) -> Verdict {
    let raters = reputons.into_iter();
    put_together(
        query,
        raters.map(|(service, trust, reputon)| (service, trust, Brought::Reputons(vec![reputon]))).collect(),
        weighing,
        now,
    )
}

pub(super) fn put_together(
    query: &Query,
    raters: Vec<(Service, f64, Brought)>,
    weighing: &Weighing,
    now: UnixTime,
) -> Verdict {
    let mut opinions = Vec::new();
    let mut is_complete = true;
    for (service, trust, brought) in raters {
        let mut add = |standing| opinions.push(Opinion { service: service.clone(), trust, standing });
        match brought {
            Brought::Reputons(reputons) => {
                for reputon in reputons {
                    add(stand(reputon, trust, weighing, now));
                }
            }
            Brought::NoData(reason) => add(Standing::NoData(reason)),
            Brought::Failed(error) => {
                is_complete = false;
                add(Standing::Failed(error));
            }
            Brought::Nothing => {
                is_complete = false;
                add(Standing::Pending);
            }
        }
    }
    let mut sums: BTreeMap<String, (f64, f64, f64, f64, usize)> = BTreeMap::new();
    for opinion in &opinions {
        let Standing::Counted { reputon, weight } = &opinion.standing else { continue };
        let rating = reputon.rating.value();
        let assertion = query.application().canonical_assertion(&reputon.assertion);
        let (sum, weights, low, high, count) = sums.entry(assertion).or_insert((0.0, 0.0, rating, rating, 0));
        *sum += weight * rating;
        *weights += weight;
        *low = low.min(rating);
        *high = high.max(rating);
        *count = count.saturating_add(1);
    }
    let combined = sums.into_iter().map(|(assertion, (sum, weight, low, high, opinions))| {
        // The mean of numbers lies between them, whatever rounding says.
        let rating = (sum / weight).clamp(low, high);
        (assertion, Combined { rating, weight, spread: high - low, opinions })
    });
    Verdict { subject: query.subject().to_string(), local: None, combined: combined.collect(), opinions, is_complete }
}

fn stand(reputon: Reputon<'static>, trust: f64, weighing: &Weighing, now: UnixTime) -> Standing {
    let now = u64::try_from(now.as_secs()).unwrap_or(0);
    let samples = reputon.sample_size.unwrap_or(weighing.assumed_samples);
    let age = reputon.generated.map(|generated| now.saturating_sub(generated));
    let reason = if reputon.expires.is_some_and(|expires| expires <= now) {
        Some("expired")
    } else if samples < weighing.min_samples {
        Some("too few samples")
    } else if age.zip(weighing.max_age).is_some_and(|(age, most)| age > most.as_secs()) {
        Some("too old")
    } else {
        None
    };
    if let Some(reason) = reason {
        return Standing::Uncounted { reputon, reason };
    }
    let confidence =
        reputon.effective_confidence().map_or_else(|| weighing.confidence(), |confidence| confidence.value());
    // Sample sizes are estimates: a float's precision is more than they have.
    #[allow(clippy::cast_precision_loss)]
    let share = if samples == 0 { 0.0 } else { samples as f64 / (samples as f64 + weighing.half_samples as f64) };
    let weight = trust * confidence * share;
    if weight > 0.0 && weight.is_finite() {
        Standing::Counted { reputon, weight }
    } else {
        Standing::Uncounted { reputon, reason: "no weight" }
    }
}
