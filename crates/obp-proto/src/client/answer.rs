//! What comes back: verified, put together, matched with its query.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use super::attempt::Step;
use super::event::{ClientEvent, QueryId};
use super::instance::Credentials;
use super::{Ask, Client};
use crate::error::{Error, Limit, PeerIncompatible, PeerMisbehaved};
use crate::http::Response;
use crate::session::{Clock, HEADER_NAME, ResponseError};
use crate::uyfm::{Entries, Entry, Progress, ResponsePacket};
use crate::{Encoding, Message, Status};

impl Client {
    pub(super) fn datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        let counted = |count: &mut u64| *count = count.saturating_add(1);
        let Ok(packet) = ResponsePacket::parse(datagram) else { return counted(&mut self.stats.malformed) };
        let routes = self.routes.get(&from).map(Vec::as_slice).unwrap_or_default();
        let opened = routes.iter().find_map(|(credentials, _)| {
            let segment = credentials.packets.open_segment(&packet).ok()?;
            Some((Arc::clone(credentials), segment))
        });
        let Some((credentials, segment)) = opened else { return counted(&mut self.stats.bad_mac) };
        let payload = match self.reassembler.add(self.now, from, &packet, segment) {
            Ok(Progress::Complete(payload)) => payload,
            Ok(Progress::Incomplete) => return,
            Ok(_) => return counted(&mut self.stats.unexpected),
            Err(_) => return counted(&mut self.stats.reassembly),
        };
        // Keys may be in there.
        let mut payload = Zeroizing::new(payload);
        if credentials.packets.open_response(packet.transaction_id, &mut payload).is_err() {
            // If the peer counts from 0, its first packet is still to come.
            return counted(&mut self.stats.unexpected);
        }
        let Some(mut entries) = Entries::decode(&payload) else { return counted(&mut self.stats.unexpected) };
        let replacement = entries.replacement();
        let Some(Entry::LastMac(mac)) = entries.next() else { return counted(&mut self.stats.unexpected) };
        self.reassembler.finish(from, packet.transaction_id);
        let waiting = self.waiting.get(mac).copied().filter(|id| {
            self.queries.get(id).is_some_and(|query| {
                query.attempts.iter().any(|attempt| {
                    attempt.to == from
                        && Arc::ptr_eq(&attempt.credentials, &credentials)
                        && attempt.mac.matches(mac, attempt.mac.as_bytes().len())
                })
            })
        });
        let Some(id) = waiting else { return counted(&mut self.stats.unexpected) };
        if let Some((ticket, secret)) = replacement
            && self.adopt(&credentials, ticket, secret)
        {
            counted(&mut self.stats.replaced);
            self.event(ClientEvent::BindingChanged);
        }
        for instance in self.instances.iter_mut().filter(|instance| Arc::ptr_eq(&instance.credentials, &credentials)) {
            instance.down_until = watchfire_core::Instant::ZERO;
        }
        self.entries(id, &credentials, entries, Status::new(i64::from(packet.clear_response)));
    }

    /// The entries of an authentic response to a query.
    fn entries(&mut self, id: QueryId, credentials: &Arc<Credentials>, entries: Entries<'_>, clear: Status) {
        let (mut found, mut dns) = (None, Vec::new());
        for entry in entries {
            match entry {
                Entry::Json(octets) | Entry::JsonC(octets) if found.is_none() => found = Some(octets),
                Entry::Dns(octets) => dns.push(Bytes::copy_from_slice(octets)),
                _ => {}
            }
        }
        let Some(query) = self.queries.get(&id) else { return };
        match (&query.ask, found) {
            (Ask::Dns(_), None) if !dns.is_empty() => {
                self.answer(id, |id| ClientEvent::DnsAnswer { id, messages: dns });
            }
            (_, Some(octets)) => match Message::decode_with(octets, Encoding::JsonC, &self.config.decode) {
                Ok(message) => self.message(id, Some(credentials), message),
                Err(error) => self.instance_failed(id, error.into()),
            },
            // The answer does not fit datagrams: HTTP has no such limit.
            (Ask::Message(_), None) if clear.code() == 413 => self.over_http(id, Limit::Message.into()),
            (_, None) if matches!(clear.code(), 0 | 200) => {
                self.instance_failed(id, PeerMisbehaved::MissingField("message").into());
            }
            (_, None) => self.instance_failed(id, Error::Refused(clear)),
        }
    }

    /// Goes on with the instances that are reached over HTTP alone.
    fn over_http(&mut self, id: QueryId, error: Error) {
        let Some(mut plan) = self.queries.get(&id).map(|query| query.plan.clone()) else { return };
        plan.retain(|slot| self.instance(*slot).is_some_and(|instance| !instance.udp));
        self.stop(id);
        if let Some(query) = self.queries.get_mut(&id) {
            query.plan = plan;
            query.targets.clear();
            query.name_used = true;
            query.error = error;
        }
        self.advance(id);
    }

    /// An authentic message in answer to a query.
    fn message(&mut self, id: QueryId, credentials: Option<&Arc<Credentials>>, message: Message) {
        let Some(query) = self.queries.get(&id) else { return };
        let Ask::Message(request) = &query.ask else {
            let status = message.status().unwrap_or(Status::UNKNOWN);
            return self.instance_failed(id, Error::Refused(status));
        };
        let due = match **request {
            Message::QueryConnectRequest(_) => "QueryConnectResponse",
            _ => "ValidateResponse",
        };
        if message.name() == due {
            return self.answer(id, |id| ClientEvent::Answer { id, message });
        }
        let Message::ErrorResponse(error) = &message else {
            let error = PeerMisbehaved::UnexpectedMessage { expected: due, got: message.name() };
            return self.instance_failed(id, error.into());
        };
        match error.status.unwrap_or(Status::UNKNOWN) {
            status @ Status::TICKET_NOT_RECOGNIZED => {
                if let Some(credentials) = credentials {
                    self.refuse_ticket(credentials);
                }
                self.instance_failed(id, Error::Refused(status));
            }
            // Another instance may have more time.
            status @ (Status::TOO_MANY | Status::UNKNOWN | Status::TIME_OUT) => {
                self.instance_failed(id, Error::Refused(status));
            }
            status => self.fail(id, Error::Refused(status)),
        }
    }

    fn refuse_ticket(&mut self, credentials: &Arc<Credentials>) {
        for instance in self.instances.iter_mut().filter(|instance| Arc::ptr_eq(&instance.credentials, credentials)) {
            instance.refused = true;
        }
    }

    pub(super) fn response(&mut self, id: QueryId, response: &Response) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        let Step::Http { expected, tls, to, .. } = std::mem::replace(&mut query.step, Step::Idle) else { return };
        let checked = expected.check(response.headers(HEADER_NAME), &response.body);
        let slot = query.current;
        match checked {
            Ok(time) => {
                let message = match self.read(response) {
                    Ok(message) => message,
                    Err(error) => return self.instance_failed(id, error),
                };
                let stale =
                    message.status() == Some(Status::AUTHENTICATION) && matches!(message, Message::ErrorResponse(_));
                if let (true, Some(time)) = (stale, time)
                    && self.correct_clock(id, time)
                {
                    // The ticket is good, our clock was not.
                    if let Some(query) = self.queries.get_mut(&id) {
                        query.targets.push_front(to);
                    }
                    return self.advance(id);
                }
                self.time_accepted |= !stale;
                // Signed, the status is not about the ticket: that would not be known.
                self.message(id, None, message);
            }
            Err(ResponseError::Missing) if response.status == 401 => {
                let instance = slot.and_then(|slot| self.instance(slot));
                if let Some(credentials) = instance.map(|instance| Arc::clone(&instance.credentials)) {
                    self.refuse_ticket(&credentials);
                }
                self.instance_failed(id, Error::Refused(Status::TICKET_NOT_RECOGNIZED));
            }
            Err(ResponseError::Missing) if !(200..300).contains(&response.status) => {
                self.instance_failed(id, Error::Refused(Status::new(i64::from(response.status))));
            }
            Err(ResponseError::Missing) if !self.config.require_response_mac && tls => match self.read(response) {
                Ok(message) => self.message(id, None, message),
                Err(error) => self.instance_failed(id, error),
            },
            Err(_) => {
                self.stats.bad_mac = self.stats.bad_mac.saturating_add(1);
                self.instance_failed(id, PeerMisbehaved::NotAuthenticated.into());
            }
        }
    }

    fn read(&self, response: &Response) -> Result<Message, Error> {
        let encoding = response.header("content-type").map_or(Some(Encoding::Json), Encoding::from_content_type);
        let encoding = encoding.ok_or(PeerIncompatible::MediaType)?;
        Ok(Message::decode_with(&response.body, encoding, &self.config.decode)?)
    }

    /// Takes the broker's time, once for a query. False when that was done, or would change nothing.
    fn correct_clock(&mut self, id: QueryId, time: u64) -> bool {
        let Some(query) = self.queries.get_mut(&id) else { return false };
        let ours = self.session_clock.now(self.now);
        if ours == time || std::mem::replace(&mut query.clock_corrected, true) {
            return false;
        }
        let time = UnixTime::from_secs(i64::try_from(time).unwrap_or(i64::MAX));
        if self.time_accepted {
            self.session_clock.correct(self.now, time);
        } else {
            // No broker has taken a time from us yet: this is where time begins.
            self.session_clock = Clock::new(self.now, time);
        }
        true
    }
}
