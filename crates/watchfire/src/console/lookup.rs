//! Asks the raters of this process, and puts together what they say.

use std::sync::Arc;

use repute_proto::panel::{Standing, combine};
use repute_proto::{Application, Applications, Query, Scheme, Service, SubjectSyntax, Weighing};
use serde::Deserialize;
use watchfire_core::UnixTime;

use super::hub::Hub;
use super::items::{CombinedRating, Happened, Opinion, Rater, ReputationAnswer, now};

/// Opinions of an answer.
const OPINIONS: usize = 200;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    application: String,
    subject: String,
    #[serde(default)]
    assertion: Option<String>,
}

/// The applications that may be asked for: those that are known, and those of the raters' entries.
pub(super) fn applications(raters: &[Rater]) -> Vec<String> {
    let mut all: Vec<String> = raters.iter().flat_map(|rater| (rater.applications)()).collect();
    all.sort();
    all.dedup();
    all
}

/// Asks them, and tells the hub what was found.
///
/// # Errors
/// A question that is none.
pub(super) fn look_up(hub: &Hub, question: &Question) -> Result<Arc<ReputationAnswer>, String> {
    let raters = hub.sources().raters();
    let mut known = Applications::default();
    if known.find(&question.application).is_none() {
        let made = Application::new(question.application.clone(), SubjectSyntax::Free, Vec::new());
        known.add(made.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let mut query = Query::builder(&question.application, question.subject.trim());
    if let Some(assertion) = question.assertion.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        query = query.assertion(assertion);
    }
    let query = query.build(&known).map_err(|error| error.to_string())?;
    // All of them are here: trusted alike, and told apart by their names.
    let here = Service::new(Scheme::Http, "localhost").map_err(|error| error.to_string())?;
    let (mut said, mut silent) = (Vec::new(), Vec::new());
    for rater in &raters {
        let reputons = (rater.ask)(query.application(), query.subject().as_str());
        if reputons.is_empty() {
            silent.push(rater.name.clone());
        }
        said.extend(reputons.into_iter().map(|reputon| (here.clone(), 1.0, reputon)));
    }
    said.truncate(OPINIONS);
    let now_seconds = UnixTime::from_secs(jiff::Timestamp::now().as_second());
    let verdict = combine(&query, said, &Weighing::default(), now_seconds);
    let opinion = |standing: &Standing| match standing {
        Standing::Counted { reputon, weight } => Some(Opinion { weight: Some(*weight), ..Opinion::from(reputon) }),
        Standing::Uncounted { reputon, reason } => Some(Opinion { reason: Some(*reason), ..Opinion::from(reputon) }),
        _ => None,
    };
    let combined = verdict.combined.iter().map(|(assertion, combined)| CombinedRating {
        assertion: assertion.clone(),
        rating: combined.rating,
        spread: combined.spread,
        opinions: combined.opinions,
    });
    let answer = Arc::new(ReputationAnswer {
        time: now(),
        by: "console",
        application: query.application().name.to_string(),
        subject: query.subject().to_string(),
        combined: combined.collect(),
        opinions: verdict.opinions.iter().filter_map(|one| opinion(&one.standing)).collect(),
        silent,
    });
    hub.tell(|| Happened::Reputation(Arc::clone(&answer)));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use repute_proto::{Reputon, Score};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::console::hub::HubLimits;
    use crate::console::items::Panel;

    fn rater(name: &'static str, rating: Option<f64>) -> Rater {
        Rater {
            name: name.to_owned(),
            applications: Arc::new(|| vec!["email-id".to_owned()]),
            ask: Arc::new(move |_, subject| {
                let said = rating.filter(|_| subject == "offers.example");
                said.map(|rating| Reputon::new(name, "spam", "offers.example", Score::new(rating).unwrap()))
                    .into_iter()
                    .collect()
            }),
        }
    }

    #[test]
    fn raters_are_asked_and_it_is_said_who_said_what() {
        let hub = Hub::default();
        hub.turn_on(&HubLimits::default());
        [rater("a", Some(0.9)), rater("b", Some(0.5)), rater("c", None)]
            .into_iter()
            .for_each(|rater| hub.has_rater(&CancellationToken::new(), rater));
        assert_eq!(applications(&hub.sources().raters()), ["email-id"]);
        let ask = |subject: &str, assertion: Option<&str>| {
            let question = Question {
                application: "email-id".into(),
                subject: subject.into(),
                assertion: assertion.map(str::to_owned),
            };
            look_up(&hub, &question)
        };
        let answer = ask(" Offers.Example ", Some("spam")).unwrap();
        assert_eq!((answer.silent.as_slice(), answer.opinions.len()), (&["c".to_owned()][..], 2));
        assert!((answer.combined[0].rating - 0.7).abs() < 1e-9, "{answer:?}");
        assert_eq!(answer.opinions.iter().map(|one| one.rater.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(ask("other.example", None).unwrap().combined.is_empty());
        assert!(ask("", None).is_err() && ask("a b", None).is_err());
        assert_eq!(hub.kept(Panel::Reputations, 0).len(), 2);
    }
}
