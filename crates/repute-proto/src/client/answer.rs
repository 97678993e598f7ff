//! What a service says, after what it may not say is taken out.

use watchfire_core::UnixTime;

use super::config::{ClientConfig, RaterPolicy};
use super::failure::QueryError;
use super::query::Query;
use crate::reputon::{Reputation, Reputon};
use crate::template::Service;

/// What a service says about a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// Who was asked.
    pub service: Service,
    /// The reputons that answer the question, good until they expire. Empty when [`Self::no_data`] says why.
    pub reputons: Vec<Reputon<'static>>,
    /// Why there is nothing, if there is nothing.
    pub no_data: Option<NoData>,
    /// How many reputons were left out, and why.
    pub dropped: Dropped,
    /// Until when it may be used.
    pub expires_at: UnixTime,
}

/// Why there is nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NoData {
    /// The service does not do this application, or knows no such resource: 404.
    NotFound,
    /// The service has no data about the subject.
    Unknown,
    /// What it has does not answer the question: see [`Answer::dropped`].
    Unusable,
}

/// Reputons that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Dropped {
    /// They break a rule of the format.
    pub invalid: usize,
    /// They are about somebody else.
    pub other_subject: usize,
    /// They say what was not asked.
    pub other_assertion: usize,
    /// They are about another identity.
    pub other_identity: usize,
    /// Their time is over.
    pub expired: usize,
    /// They say that they were made in the future.
    pub future: usize,
    /// Their rater may not speak here.
    pub rater: usize,
}

/// Takes the reputons that answer the query.
pub(super) fn filter(
    document: Reputation<'_>,
    query: &Query,
    service: &Service,
    now: UnixTime,
    config: &ClientConfig,
) -> Result<Answer, QueryError> {
    if let Some(application) = &document.application
        && !query.application().is(application)
    {
        return Err(QueryError::WrongApplication(application.chars().take(64).collect()));
    }
    let now_secs = u64::try_from(now.as_secs()).unwrap_or(0);
    let latest = now_secs.saturating_add(config.clock_skew.as_secs());
    let mut dropped = Dropped { invalid: document.rejected.len(), ..Dropped::default() };
    let mut answer = Answer {
        service: service.clone(),
        reputons: Vec::new(),
        no_data: None,
        dropped,
        expires_at: UnixTime::from_secs(i64::MAX),
    };
    let mut is_empty = document.empty > 0 || (document.reputons.is_empty() && document.rejected.is_empty());
    let broken = document.rejected.into_iter().next().map(|(_, error)| error);
    for reputon in document.reputons {
        let counter = if !query.subject().matches(query.application().subject, &reputon.rated) {
            &mut dropped.other_subject
        } else if !query.asks_for(&reputon.assertion) {
            &mut dropped.other_assertion
        } else if query.identity().is_some_and(|asked| reputon.identity().is_some_and(|said| said != asked)) {
            &mut dropped.other_identity
        } else if reputon.expires.is_some_and(|expires| expires <= now_secs) {
            &mut dropped.expired
        } else if reputon.generated.is_some_and(|generated| generated > latest) {
            &mut dropped.future
        } else if !may_speak(&config.raters, &reputon, service) {
            &mut dropped.rater
        } else {
            if let Some(expires) = reputon.expires {
                let expires = UnixTime::from_secs(i64::try_from(expires).unwrap_or(i64::MAX));
                answer.expires_at = answer.expires_at.min(expires);
            }
            if reputon.is_no_data() {
                is_empty = true;
            } else {
                answer.reputons.push(reputon.into_owned());
            }
            continue;
        };
        *counter = counter.saturating_add(1);
    }
    answer.dropped = dropped;
    if answer.reputons.is_empty() {
        // Who breaks the rules wherever it matters did not say that there is no data.
        if let Some(error) = broken.filter(|_| !is_empty) {
            return Err(QueryError::InvalidMessage(error));
        }
        answer.no_data = Some(if is_empty { NoData::Unknown } else { NoData::Unusable });
    }
    Ok(answer)
}

fn may_speak(policy: &RaterPolicy, reputon: &Reputon<'_>, service: &Service) -> bool {
    match policy {
        RaterPolicy::Any => true,
        RaterPolicy::Service => reputon.rater.eq_ignore_ascii_case(service.host()),
        RaterPolicy::Listed(names) => names.iter().any(|name| reputon.rater.eq_ignore_ascii_case(name)),
    }
}
