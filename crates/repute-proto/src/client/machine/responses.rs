//! What comes back: templates and answers, and what is done when they do not.

use super::*;

impl Client {
    pub(super) fn template_response(&mut self, service: &Service, response: &Received) {
        let Some(state) = self.services.get_mut(service) else { return };
        let TemplateState::Fetching { stale } = &state.template else { return };
        let lifetime = lifetime(&response.headers, response.at, self.config.template_lifetime);
        // What must not be stored is good for those that wait, and for the floor.
        let fresh_until = self.now + lifetime.fresh_for;
        let etag = response.headers.get(ETAG).cloned();
        let stored = match (response.status, stale) {
            (StatusCode::OK, _) => templates(response, &self.config).map(|templates| Stored {
                templates: templates.into(),
                fetched: self.now,
                fresh_until,
                etag,
            }),
            (StatusCode::NOT_MODIFIED, Some(stale)) => Ok(Stored {
                fetched: self.now,
                fresh_until,
                etag: etag.or_else(|| stale.etag.clone()),
                ..stale.clone()
            }),
            (status, _) => Err(TemplateProblem::Status(status.as_u16())),
        };
        match stored {
            Ok(stored) => {
                state.backoff.reset();
                state.template = TemplateState::Ready(stored.clone());
                self.release(service, &stored);
            }
            Err(problem) => {
                let after = retry_after(&response.headers, response.at);
                self.template_failed(service, problem, after);
            }
        }
    }

    pub(super) fn template_failed(&mut self, service: &Service, problem: TemplateProblem, after: Option<Duration>) {
        let Some(state) = self.services.get_mut(service) else { return };
        let TemplateState::Fetching { stale } = std::mem::replace(&mut state.template, TemplateState::Empty) else {
            return;
        };
        let wait = state.backoff.next_delay();
        let wait = after.map_or(wait, |after| after.clamp(wait, self.config.backoff.1.max(wait)));
        let is_usable = |stale: &Stored| self.now < stale.fresh_until + self.config.stale_if_error;
        let stale = stale.filter(is_usable);
        state.template =
            TemplateState::Failed { retry_at: self.now + wait, cause: problem.clone(), stale: stale.clone() };
        match stale {
            Some(stale) => self.release(service, &stale),
            None => {
                let waiting = std::mem::take(&mut state.waiting);
                for flight in waiting {
                    self.land(flight, Err(QueryError::Template(problem.clone())));
                }
            }
        }
    }

    /// Lets go who waited for the templates.
    pub(super) fn release(&mut self, service: &Service, stored: &Stored) {
        let waiting = self.services.get_mut(service).map(|state| std::mem::take(&mut state.waiting));
        for id in waiting.unwrap_or_default() {
            if let Some(flight) = self.flights.get_mut(&id) {
                flight.templates = Some(Arc::clone(&stored.templates));
                flight.fetched = stored.fetched;
                flight.next = 0;
                self.depart(id);
            }
        }
    }

    // --- answers -----------------------------------------------------------------------------------------------------

    pub(super) fn answer_response(&mut self, id: FlightId, response: Received) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some(state) = self.services.get_mut(&flight.service) else { return };
        match response.status.as_u16() {
            200 => {
                state.query_backoff.reset();
                let result = self.read_answer(id, &response);
                self.land(id, result);
            }
            404 => {
                let is_suspicious =
                    self.now.saturating_since(flight.fetched) >= self.config.suspicious_age && !flight.refetched;
                if is_suspicious {
                    flight.refetched = true;
                    if let TemplateState::Ready(stored) = &mut state.template {
                        stored.fresh_until = self.now;
                    }
                    return self.board(id);
                }
                let result = self.not_found(id, &response);
                self.land(id, Ok(result));
            }
            status @ (401 | 403) => self.land(id, Err(QueryError::Auth(status))),
            429 | 503 => self.told_to_wait(id, &response),
            status @ (300..=303 | 305..=399) => {
                let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                match location.filter(|_| flight.redirects < self.config.redirects.min(3)) {
                    Some(location) => match redirected(flight, location, &self.config) {
                        Ok(target) => {
                            flight.redirects = flight.redirects.saturating_add(1);
                            flight.target = Some(target);
                            self.send(id);
                        }
                        Err(_) => self.land(id, Err(QueryError::Redirect(status))),
                    },
                    None => self.land(id, Err(QueryError::Redirect(status))),
                }
            }
            status @ 500.. if flight.attempts < self.config.retries => {
                flight.attempts = flight.attempts.saturating_add(1);
                let at = self.now + state.query_backoff.next_delay();
                // Not worth a wait that nobody lives to see.
                let latest = flight.waiters.iter().filter_map(|waiter| self.queries.get(waiter)).map(|(_, at)| *at);
                if latest.max().is_some_and(|latest| latest <= at) {
                    return self.break_off(id, QueryError::Status(status));
                }
                self.timers.insert((at, Timer::Retry(id)));
            }
            status => self.break_off(id, QueryError::Status(status)),
        }
    }

    pub(super) fn told_to_wait(&mut self, id: FlightId, response: &Received) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some(state) = self.services.get_mut(&flight.service) else { return };
        let said = retry_after(&response.headers, response.at);
        let wait = said.unwrap_or_else(|| state.query_backoff.next_delay());
        let wait = wait.clamp(self.config.backoff.0, self.config.backoff.1.max(self.config.backoff.0));
        let until = self.now + wait;
        let error = QueryError::RateLimited { retry_after: Some(wait) };
        let latest = flight.waiters.iter().filter_map(|waiter| self.queries.get(waiter)).map(|(_, at)| *at).max();
        state.blocked = Some((until, error.clone()));
        if latest.is_some_and(|latest| latest > until) && flight.attempts < self.config.retries {
            flight.attempts = flight.attempts.saturating_add(1);
            self.timers.insert((until, Timer::Retry(id)));
        } else {
            self.land(id, Err(error));
        }
    }

    pub(super) fn read_answer(&mut self, id: FlightId, response: &Received) -> Result<Arc<Answer>, QueryError> {
        let flight = self.flights.get(&id).ok_or(QueryError::TimedOut)?;
        let media = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let decoder = Decoder::new().with_limits(self.config.limits);
        let document = decoder.decode(media, &response.body).map_err(QueryError::InvalidMessage)?;
        let mut answer = filter(document, &flight.query, &flight.service, response.at, &self.config)?;
        let by_headers = lifetime(&response.headers, response.at, self.config.answer_lifetime);
        let cap = Duration::from_secs(
            u64::try_from(answer.expires_at.as_secs().saturating_sub(response.at.as_secs())).unwrap_or(0),
        );
        // The reputons' own word counts; the header only where they are silent, or where it is stricter.
        let is_silent = answer.expires_at == UnixTime::from_secs(i64::MAX);
        let fresh = match (is_silent, by_headers.is_explicit) {
            (true, _) => by_headers.fresh_for,
            (false, true) => cap.min(by_headers.fresh_for),
            (false, false) => cap.min(self.config.answer_lifetime.most),
        };
        answer.expires_at = later(response.at, fresh);
        let answer = Arc::new(answer);
        if by_headers.may_store {
            self.cache.insert(&flight.key, Arc::clone(&answer), self.now, self.now + fresh);
        }
        Ok(answer)
    }

    pub(super) fn not_found(&mut self, id: FlightId, response: &Received) -> Arc<Answer> {
        let fresh = self.config.not_found_lifetime;
        let service = self.flights.get(&id).map(|flight| flight.service.clone());
        let answer = Arc::new(Answer {
            service: service.unwrap_or_else(Service::nobody),
            reputons: Vec::new(),
            no_data: Some(NoData::NotFound),
            dropped: Dropped::default(),
            expires_at: later(response.at, fresh),
        });
        if let Some(flight) = self.flights.get(&id) {
            self.cache.insert(&flight.key, Arc::clone(&answer), self.now, self.now + fresh);
        }
        answer
    }

    pub(super) fn failed(&mut self, purpose: Purpose, failure: ExchangeFailure) {
        match purpose {
            Purpose::Template(service) => self.template_failed(&service, TemplateProblem::Exchange(failure), None),
            Purpose::Flight(id) if failure == ExchangeFailure::Connect => {
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.unreachable = true;
                    self.depart(id);
                }
            }
            Purpose::Flight(id) => self.break_off(id, QueryError::Exchange(failure)),
        }
    }
}

fn later(at: UnixTime, by: Duration) -> UnixTime {
    UnixTime::from_secs(at.as_secs().saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX)))
}

/// The templates in a response.
fn templates(response: &Received, config: &ClientConfig) -> Result<Vec<Template>, TemplateProblem> {
    let media = response.headers.get(CONTENT_TYPE).map(HeaderValue::to_str);
    let is_text = match media {
        Some(Ok(media)) => media.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/plain"),
        Some(Err(_)) => false,
        // The draft only recommends it.
        None => config.dialect != Dialect::Rfc7072,
    };
    if !is_text {
        return Err(TemplateProblem::MediaType);
    }
    let file = TemplateFile::decode(&response.body, &config.limits).map_err(TemplateProblem::LimitExceeded)?;
    if file.templates.is_empty() { Err(TemplateProblem::NoneValid) } else { Ok(file.templates) }
}

/// Where a redirect leads: to the same host by the same or a better scheme, or nowhere.
fn redirected(flight: &Flight, location: &str, config: &ClientConfig) -> Result<Target, Refusal> {
    let from = flight.target.as_ref().ok_or(Refusal::Authority)?;
    let absolute = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}{location}", from.service)
    } else {
        location.to_owned()
    };
    let is_plain = absolute.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet));
    if !is_plain || absolute.len() > config.limits.uri {
        return Err(Refusal::Authority);
    }
    let policy = crate::template::Policy { https_only: config.policy.https_only, ..Default::default() };
    let target = crate::template::check(&absolute, &from.service, &policy)?;
    // Credentials in a Location are not ours; those that were sent go along to the same place.
    let is_same = target.service == from.service;
    Ok(Target { credentials: from.credentials.clone().filter(|_| is_same), is_secret: from.is_secret, ..target })
}
