//! One attempt after the other: what is sent where, again, and in what order (draft-hallambaker-omnibroker-08
//! section 2.2).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt as _;
use watchfire_core::{Datagram, Duration, Output};

use super::event::{ClientEvent, HttpTarget, QueryId, ResolveId};
use super::instance::{Credentials, Slot};
use super::{Ask, Client};
use crate::Encoding;
use crate::crypto::Mac;
use crate::error::{ApiMisuse, Error, ExchangeFailure, Limit};
use crate::http::{QUERY_PATH, Request};
use crate::message::Name;
use crate::service_connect::ExchangeId;
use crate::session::{Expected, HEADER_NAME};
use crate::uyfm::{Entry, SealError};

/// What a query is doing.
#[derive(Debug)]
pub(super) enum Step {
    Idle,
    /// Waiting for datagrams.
    Udp {
        to: SocketAddr,
        datagram: Bytes,
        sent: u8,
        wait: Duration,
    },
    /// Waiting for a response over HTTP.
    Http {
        exchange: ExchangeId,
        to: SocketAddr,
        expected: Box<Expected>,
        tls: bool,
    },
    /// Waiting for the addresses of a name.
    Resolving {
        id: ResolveId,
        port: u16,
        /// The address that was tried already.
        tried: Option<IpAddr>,
    },
}

/// A request that was sent in a datagram.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) to: SocketAddr,
    pub(super) mac: Mac,
    pub(super) credentials: Arc<Credentials>,
}

/// Requests that one query sends in datagrams, retransmissions not counted.
const MAX_ATTEMPTS: usize = 32;

impl Client {
    /// Tries the next address, the name, or the next instance; or gives up.
    pub(super) fn advance(&mut self, id: QueryId) {
        while let Some(query) = self.queries.get_mut(&id) {
            if let (Some(slot), Some(to)) = (query.current, query.targets.pop_front()) {
                match self.attempt(id, slot, to) {
                    Ok(()) => return,
                    Err(error) => {
                        if let Some(query) = self.queries.get_mut(&id) {
                            // What does not fit does not fit another address of the same instance either.
                            query.targets.clear();
                            query.name_used = true;
                            query.error = error;
                        }
                    }
                }
                continue;
            }
            if let Some(slot) = query.current
                && !std::mem::replace(&mut query.name_used, true)
                && self.resolve(id, slot)
            {
                return;
            }
            let Some(query) = self.queries.get_mut(&id) else { return };
            if query.current.is_some() {
                self.stats.fail_overs = self.stats.fail_overs.saturating_add(1);
            }
            query.current = query.plan.pop_front();
            let Some(slot) = query.current else { return self.exhausted(id) };
            let Some(instance) = self.instance(slot) else { continue };
            let target = instance.address.map(|address| SocketAddr::new(address, instance.port));
            if let Some(query) = self.queries.get_mut(&id) {
                query.targets = target.into_iter().collect();
                query.name_used = false;
            }
        }
    }

    /// All instances were tried.
    fn exhausted(&mut self, id: QueryId) {
        let Some(error) = self.queries.get(&id).map(|query| query.error.clone()) else { return };
        let good = self.has_good_instance();
        let error = match error {
            // Nothing was tried at all.
            Error::TimedOut(_) if !good => Error::Refused(crate::Status::TICKET_NOT_RECOGNIZED),
            error => error,
        };
        self.fail(id, error);
        self.rebind_if_needed();
    }

    /// Says once that no ticket is good any more.
    pub(super) fn rebind_if_needed(&mut self) {
        if !self.has_good_instance() && !std::mem::replace(&mut self.told_to_rebind, true) {
            self.event(ClientEvent::Rebind);
        }
    }

    /// Asks for the addresses of an instance's name. False when it has none.
    fn resolve(&mut self, id: QueryId, slot: Slot) -> bool {
        let resolve = ResolveId(self.next());
        let Some(instance) = self.instance(slot) else { return false };
        let (Some(name), tried, port) = (instance.name.clone(), instance.address, instance.port) else { return false };
        self.resolving.insert(resolve, id);
        if let Some(query) = self.queries.get_mut(&id) {
            query.step = Step::Resolving { id: resolve, port, tried };
        }
        self.event(ClientEvent::Resolve { id: resolve, name });
        self.set_timer(id, self.now + self.config.resolve_timeout);
        true
    }

    /// Sends a query to one address.
    fn attempt(&mut self, id: QueryId, slot: Slot, to: SocketAddr) -> Result<(), Error> {
        let Some(instance) = self.instance(slot) else {
            return Err(Error::Unreachable(ExchangeFailure::Connect));
        };
        let (credentials, udp, name) = (Arc::clone(&instance.credentials), instance.udp, instance.name.clone());
        if udp { self.attempt_udp(id, credentials, to) } else { self.attempt_http(id, &credentials, to, name) }
    }

    fn attempt_udp(&mut self, id: QueryId, credentials: Arc<Credentials>, to: SocketAddr) -> Result<(), Error> {
        let Some(query) = self.queries.get_mut(&id) else { return Ok(()) };
        if query.attempts.len() >= MAX_ATTEMPTS {
            return Err(Limit::Unanswered.into());
        }
        let encoded;
        let entries: Vec<Entry<'_>> = match &query.ask {
            Ask::Message(message) => {
                encoded = message.encode(self.config.datagram_encoding).map_err(|_| UNWRITABLE)?;
                vec![match self.config.datagram_encoding {
                    Encoding::Json => Entry::Json(&encoded),
                    Encoding::JsonB | Encoding::JsonC => Entry::JsonC(&encoded),
                }]
            }
            Ask::Dns(messages) => messages.iter().map(|message| Entry::Dns(message)).collect(),
        };
        let transaction: [u8; 16] = self.rng.random();
        let (ticket, padding, most) = (credentials.ticket.as_bytes(), self.config.padding, self.config.max_datagram);
        let sealed = credentials.packets.seal_request(&transaction, ticket, &entries, padding, most);
        let sealed = sealed.map_err(|error| match error {
            SealError::Ticket(_) => Error::from(ApiMisuse::Unusable("the ticket is too long for datagrams")),
            SealError::Entry | SealError::TooLong { .. } => Limit::Message.into(),
        })?;
        self.waiting.insert(sealed.mac.as_bytes().into(), id);
        let route = self.routes.entry(to).or_default();
        match route.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &credentials)) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => route.push((Arc::clone(&credentials), 1)),
        }
        query.attempts.push(Attempt { to, mac: sealed.mac, credentials });
        let wait = self.config.retransmission.first_wait;
        query.step = Step::Udp { to, datagram: sealed.datagram.clone(), sent: 1, wait };
        self.out.push_back(Output::Transmit(Datagram { to, payload: sealed.datagram }));
        self.set_timer(id, self.now + wait);
        Ok(())
    }

    fn attempt_http(
        &mut self,
        id: QueryId,
        credentials: &Credentials,
        to: SocketAddr,
        name: Option<Name>,
    ) -> Result<(), Error> {
        let exchange = ExchangeId(self.next());
        let time = self.session_clock.now(self.now);
        let Some(query) = self.queries.get_mut(&id) else { return Ok(()) };
        let Ask::Message(message) = &query.ask else {
            return Err(Error::Unreachable(ExchangeFailure::Connect));
        };
        let encoding = self.config.http_encoding;
        let body = message.encode(encoding).map_err(|_| UNWRITABLE)?;
        let (session, expected) = credentials.signer.sign(self.config.profile, time, &mut self.rng, &body);
        let headers = vec![
            ("content-type", encoding.content_type().to_owned()),
            ("accept", encoding.media_type().to_owned()),
            ("cache-control", "no-store".to_owned()),
            (HEADER_NAME, session),
        ];
        let request = Request { path: QUERY_PATH, headers, body: body.into() };
        let tls = self.config.tls;
        query.step = Step::Http { exchange, to, expected: Box::new(expected), tls };
        self.exchanges.insert(exchange, id);
        self.stats.exchanges = self.stats.exchanges.saturating_add(1);
        self.event(ClientEvent::Exchange { id: exchange, to: HttpTarget { address: to, name, tls }, request });
        self.set_timer(id, self.now + self.config.http_timeout);
        Ok(())
    }

    /// The wait of the current step is over.
    pub(super) fn step_timed_out(&mut self, id: QueryId) {
        let (most, now) = (self.config.retransmission.tries, self.now);
        let Some(query) = self.queries.get_mut(&id) else { return };
        match &mut query.step {
            Step::Udp { to, datagram, sent, wait } if *sent < most => {
                *sent = sent.saturating_add(1);
                *wait = wait.saturating_mul(2);
                let at = now + *wait;
                let datagram = Datagram { to: *to, payload: datagram.clone() };
                self.out.push_back(Output::Transmit(datagram));
                self.stats.retransmissions = self.stats.retransmissions.saturating_add(1);
                self.set_timer(id, at);
            }
            Step::Idle => self.advance(id),
            Step::Resolving { .. } => self.attempt_failed(id, Error::TimedOut("addresses of the broker's name")),
            Step::Udp { .. } => self.attempt_failed(id, Error::TimedOut("datagram from the broker")),
            Step::Http { .. } => self.attempt_failed(id, Error::Unreachable(ExchangeFailure::TimedOut)),
        }
    }

    /// The current attempt has failed: on to the next one.
    pub(super) fn attempt_failed(&mut self, id: QueryId, error: Error) {
        self.stop(id);
        let down_until = self.now + self.config.down_time;
        let Some(query) = self.queries.get_mut(&id) else { return };
        query.error = error;
        if let Some(slot) = query.current
            && let Some(instance) = self.instance(slot)
        {
            instance.down_until = down_until;
        }
        self.advance(id);
    }

    /// The instance said no for itself: neither another address nor its name will do better.
    pub(super) fn instance_failed(&mut self, id: QueryId, error: Error) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.targets.clear();
            query.name_used = true;
        }
        self.attempt_failed(id, error);
    }

    /// Ends the current step.
    pub(super) fn stop(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        match std::mem::replace(&mut query.step, Step::Idle) {
            Step::Http { exchange, .. } => {
                if self.exchanges.remove(&exchange).is_some() {
                    self.event(ClientEvent::CancelExchange { id: exchange });
                }
            }
            Step::Resolving { id, .. } => {
                self.resolving.remove(&id);
            }
            Step::Idle | Step::Udp { .. } => {}
        }
    }
}

const UNWRITABLE: Error = Error::ApiMisuse(ApiMisuse::Unusable("an unknown member of the query cannot be written"));
