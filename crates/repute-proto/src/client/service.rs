//! What the client knows of one service: its templates, and when it may be asked again.

use std::sync::Arc;

use http::HeaderValue;
use watchfire_core::{Backoff, Instant};

use super::failure::{QueryError, TemplateProblem};
use super::machine::FlightId;
use crate::template::Template;

/// Templates that were fetched.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) templates: Arc<[Template]>,
    pub(super) fetched: Instant,
    pub(super) fresh_until: Instant,
    pub(super) etag: Option<HeaderValue>,
}

#[derive(Debug)]
pub(super) enum TemplateState {
    Empty,
    Fetching { stale: Option<Stored> },
    Ready(Stored),
    Failed { retry_at: Instant, cause: TemplateProblem, stale: Option<Stored> },
}

#[derive(Debug)]
pub(super) struct ServiceState {
    pub(super) template: TemplateState,
    /// What waits for the template.
    pub(super) waiting: Vec<FlightId>,
    pub(super) backoff: Backoff,
    pub(super) last_fetch: Option<Instant>,
    /// Until when it wants to be left alone, and what it said.
    pub(super) blocked: Option<(Instant, QueryError)>,
    /// After failed exchanges, until when no other is tried.
    pub(super) failing: Option<(Instant, QueryError)>,
    pub(super) query_backoff: Backoff,
    /// Flights that are under way.
    pub(super) flights: usize,
    pub(super) used: u64,
}

impl ServiceState {
    /// Why it is not asked now.
    pub(super) fn hold_off(&mut self, now: Instant) -> Option<QueryError> {
        for hold in [&mut self.blocked, &mut self.failing] {
            match hold {
                Some((until, error)) if *until > now => {
                    return Some(match error {
                        QueryError::RateLimited { .. } => {
                            QueryError::RateLimited { retry_after: Some(until.saturating_since(now)) }
                        }
                        error => error.clone(),
                    });
                }
                Some(_) => *hold = None,
                None => {}
            }
        }
        None
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flights == 0 && !matches!(self.template, TemplateState::Fetching { .. })
    }
}
