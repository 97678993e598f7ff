//! Requests over HTTP (draft-hallambaker-omnibroker-08 section 7.2).

use std::sync::Arc;

use bytes::Bytes;
use watchfire_core::{Instant, Output};

use super::event::{BrokerTransmit, QueryId, Question};
use super::pending::{Asked, Pending, Reply};
use super::tickets::OpenTicket;
use super::{Broker, BrokerEvent};
use crate::http::{QUERY_PATH, RequestHead, Response, Security};
use crate::message::ErrorResponse;
use crate::session::{Profile, ReplayError, SessionHeader};
use crate::ticket::Scope;
use crate::{Encoding, Message, Status, service_connect};

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Query,
    Connect,
}

/// A verified header, and what the response says in its place.
type Verified = (Arc<OpenTicket>, SessionHeader);

impl Broker {
    /// Takes a request. `security` is what protects the connection that it came on. The response follows, sooner or
    /// later, as a [`BrokerTransmit::Response`] of the same ID; exactly one, unless the request is
    /// [cancelled](Self::cancel).
    pub fn handle_request(&mut self, now: Instant, head: &RequestHead<'_>, body: Bytes, security: Security) -> QueryId {
        self.tick(now);
        self.stats.requests = self.stats.requests.saturating_add(1);
        let id = QueryId(self.next_id);
        match self.route(head, &body, security) {
            Ok((route, encoding)) => self.authenticated(id, route, encoding, head, body, security),
            Err((http_status, headers)) => {
                self.stats.malformed = self.stats.malformed.saturating_add(1);
                self.bare(id, http_status, Encoding::Json, headers);
            }
        }
        self.next_id = self.next_id.max(id.0.saturating_add(1));
        id
    }

    /// What can be told from the head, before anything is verified.
    #[allow(clippy::type_complexity)]
    fn route(
        &self,
        head: &RequestHead<'_>,
        body: &Bytes,
        security: Security,
    ) -> Result<(Route, Encoding), (u16, Vec<(&'static str, String)>)> {
        let refuse = |status: u16| Err((status, Vec::new()));
        let same =
            |path: &str| head.path.trim_end_matches('/') == path.trim_end_matches('/') && !head.path.ends_with("//");
        let route = match () {
            () if same(QUERY_PATH) => Route::Query,
            () if same(service_connect::PATH) => Route::Connect,
            () => return refuse(404),
        };
        if head.method != "POST" {
            return Err((405, vec![("allow", "POST".to_owned())]));
        }
        let encoding = head.content_type.and_then(Encoding::from_content_type);
        let encoding = encoding.filter(|encoding| *encoding == Encoding::Json || self.config.binary_over_http);
        let Some(encoding) = encoding else { return refuse(415) };
        if head.conflicting {
            return refuse(400);
        }
        if body.len() > self.config.limits.body {
            return refuse(413);
        }
        // Keys travel in these messages.
        if route == Route::Connect && !security.is_protected() {
            return refuse(403);
        }
        Ok((route, encoding))
    }

    fn authenticated(
        &mut self,
        id: QueryId,
        route: Route,
        encoding: Encoding,
        head: &RequestHead<'_>,
        body: Bytes,
        security: Security,
    ) {
        let mut headers = Vec::with_capacity(head.sessions.len());
        for text in &head.sessions {
            let Ok(header) = SessionHeader::parse(text) else {
                self.stats.malformed = self.stats.malformed.saturating_add(1);
                return self.bare(id, 400, Encoding::Json, Vec::new());
            };
            headers.push(header);
        }
        let answer_in = match route {
            Route::Query => accepted(head.accept, encoding, self.config.binary_over_http),
            // Whoever answers those encodes the answer himself, as the request is.
            Route::Connect => encoding,
        };
        let mut verified = Vec::with_capacity(headers.len());
        for header in &headers {
            if let Some(open) = self.verify(header, &body, route) {
                verified.push((open, header));
            }
        }
        // Requests of service-connect need no header, as those who are not bound yet have no ticket.
        let anonymous = route == Route::Connect && headers.is_empty();
        if !anonymous && !self.config.required.is_satisfied(verified.len(), headers.len()) {
            return self.bare(id, 401, answer_in, Vec::new());
        }
        let time = self.clock.now(self.now);
        let sessions: Vec<Verified> =
            verified.iter().map(|(open, header)| (Arc::clone(open), echo(open, header, time))).collect();
        for (open, header) in &verified {
            if let Err(status) = self.fresh(open, header, time, security) {
                return self.refuse(
                    id,
                    Pending { asked: Asked::Unknown, reply: Reply::Http { encoding: answer_in, sessions } },
                    status,
                );
            }
        }
        let client = verified.first().map(|(open, _)| Arc::clone(&open.identity));
        let reply = Reply::Http { encoding: answer_in, sessions };
        if self.is_full() {
            self.stats.overloaded = self.stats.overloaded.saturating_add(1);
            return self.refuse(id, Pending { asked: Asked::Unknown, reply }, Status::TOO_MANY);
        }
        match (route, client) {
            (Route::Query, Some(client)) => match self.question(&body, encoding) {
                Ok((asked, message)) => {
                    self.stats.accepted = self.stats.accepted.saturating_add(1);
                    let question = Question::Message(message);
                    self.ask(Pending { asked, reply }, |id| BrokerEvent::Query { id, client, question });
                }
                Err(status) => self.refuse(id, Pending { asked: Asked::Unknown, reply }, status),
            },
            // A query without a client cannot come here: one header at least has been verified.
            (_, client) => {
                self.stats.accepted = self.stats.accepted.saturating_add(1);
                let pending = Pending { asked: Asked::Connect, reply };
                self.ask(pending, |id| BrokerEvent::Connect { id, client, encoding, body });
            }
        }
    }

    /// Reads a query.
    pub(super) fn question(&mut self, octets: &[u8], encoding: Encoding) -> Result<(Asked, Message), Status> {
        let message = Message::decode_with(octets, encoding, &self.config.decode).map_err(|error| {
            self.stats.malformed = self.stats.malformed.saturating_add(1);
            error.status()
        })?;
        match message {
            Message::QueryConnectRequest(_) => Ok((Asked::QueryConnect, message)),
            Message::ValidateRequest(_) => Ok((Asked::Validate, message)),
            // Well-formed, and not for this service.
            _ => Err(Status::NOT_IMPLEMENTED),
        }
    }

    /// Whether the header is that of a ticket of ours, and its MAC that of the body. Takes as long if it is not.
    fn verify(&mut self, header: &SessionHeader, body: &[u8], route: Route) -> Option<Arc<OpenTicket>> {
        let time = self.clock.unix(self.now);
        let held = self.tickets.get(header.id(), &self.config.keys, &*self.config.provider, time);
        let open = held.map(|held| Arc::clone(&held.open)).filter(|open| match route {
            Route::Query => open.may_query(),
            Route::Connect => open.scope() == Scope::Management,
        });
        let Some(open) = open else {
            let _ = self.decoy.verify(header, body);
            self.stats.bad_ticket = self.stats.bad_ticket.saturating_add(1);
            return None;
        };
        if !open.session.verify(header, body) {
            self.stats.bad_mac = self.stats.bad_mac.saturating_add(1);
            return None;
        }
        Some(open)
    }

    /// Whether a verified request may be taken: it was not seen before, and does not come too often.
    fn fresh(
        &mut self,
        open: &Arc<OpenTicket>,
        header: &SessionHeader,
        time: u64,
        security: Security,
    ) -> Result<(), Status> {
        let replayed = |broker: &mut Self, status| {
            broker.stats.replayed = broker.stats.replayed.saturating_add(1);
            Err(status)
        };
        match header.profile() {
            Profile::Strict => {
                let expires = open.identity.content().expires;
                match self.guard.admit(self.now, time, open.ticket_name(), expires, header) {
                    Ok(()) => {}
                    Err(ReplayError::Full) => {
                        self.stats.overloaded = self.stats.overloaded.saturating_add(1);
                        return Err(Status::TOO_MANY);
                    }
                    Err(ReplayError::Nothing | ReplayError::Stream(_)) => return replayed(self, Status::SYNTAX),
                    Err(_) => return replayed(self, Status::AUTHENTICATION),
                }
            }
            Profile::Seed if self.config.seed_profile && security.is_protected() => {}
            Profile::Seed => return replayed(self, Status::REFUSED),
        }
        let unix = self.clock.unix(self.now);
        let held = self.tickets.get(&open.octets, &self.config.keys, &*self.config.provider, unix);
        if held.is_some_and(|held| !held.spend(self.now, self.config.rate)) {
            self.stats.rate_limited = self.stats.rate_limited.saturating_add(1);
            return Err(Status::TOO_MANY);
        }
        Ok(())
    }

    /// A response that nobody's key signs.
    fn bare(&mut self, id: QueryId, http_status: u16, encoding: Encoding, extra: Vec<(&'static str, String)>) {
        let message = Message::from(ErrorResponse::new(Status::new(i64::from(http_status))));
        let body = message.encode(encoding).unwrap_or_default();
        let mut response = Response::new(http_status, body);
        response.headers = extra;
        response.headers.push(("content-type", encoding.content_type().to_owned()));
        response.headers.push(("cache-control", "no-store".to_owned()));
        self.stats.responses = self.stats.responses.saturating_add(1);
        self.out.push_back(Output::Transmit(BrokerTransmit::Response { id, response }));
    }
}

/// What the response says in place of the request's header, but for its MAC.
fn echo(open: &OpenTicket, header: &SessionHeader, time: u64) -> SessionHeader {
    let mut echo = SessionHeader::new(&open.octets);
    if let Some(nonce) = header.nonce() {
        echo = echo.with_nonce(nonce);
    }
    if let Some(count) = header.count() {
        echo = echo.with_count(header.stream().unwrap_or_default(), count);
    }
    if header.profile() == Profile::Strict { echo.with_time(time) } else { echo }
}

/// The encoding of the answer: the first of those accepted that there is, or that of the request.
fn accepted(accept: Option<&str>, asked_in: Encoding, binary: bool) -> Encoding {
    let named = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next()?;
        let refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim_end_matches(['0', '.']).is_empty())
        });
        if refused {
            return None;
        }
        if matches!(media_type, "*/*" | "application/*") {
            return Some(asked_in);
        }
        Encoding::ALL.into_iter().find(|known| media_type.eq_ignore_ascii_case(known.media_type()))
    };
    let mut ranges = accept.unwrap_or_default().split(',').filter_map(|range| named(range.trim()));
    ranges.find(|encoding| binary || *encoding == Encoding::Json).unwrap_or(asked_in)
}
