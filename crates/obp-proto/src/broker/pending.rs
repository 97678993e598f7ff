//! Queries that wait for the application, and how each is answered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt as _;
use watchfire_core::{Datagram, Output};
use zeroize::Zeroizing;

use super::event::{BrokerTransmit, QueryId};
use super::replies::Key;
use super::tickets::OpenTicket;
use super::{Broker, Identity};
use crate::crypto::Mac;
use crate::error::ApiMisuse;
use crate::http::Response;
use crate::message::{ErrorResponse, QueryConnectResponse, ValidateResponse};
use crate::session::{HEADER_NAME, SessionHeader};
use crate::uyfm::{Entry, SealError};
use crate::{Encoding, Message, Status};

/// One query.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) asked: Asked,
    pub(super) reply: Reply,
}

/// What was asked, and so what kind of answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    QueryConnect,
    Validate,
    Dns,
    Connect,
    /// What it was cannot be told.
    Unknown,
}

/// How it is answered.
#[derive(Debug)]
pub(super) enum Reply {
    Http {
        encoding: Encoding,
        /// What signs the answer, with headers that want their MACs.
        sessions: Vec<(Arc<OpenTicket>, SessionHeader)>,
    },
    Udp(UdpReply),
}

#[derive(Debug)]
pub(super) struct UdpReply {
    pub(super) open: Arc<OpenTicket>,
    pub(super) to: SocketAddr,
    pub(super) key: Key,
    pub(super) mac: Mac,
    pub(super) encoding: Encoding,
    pub(super) replacement: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Asked {
    /// The answer that is nothing but a status.
    fn refusal(self, status: Status) -> Message {
        match self {
            Self::QueryConnect => QueryConnectResponse::new(status).into(),
            Self::Validate => ValidateResponse::new(status).into(),
            Self::Dns | Self::Connect | Self::Unknown => ErrorResponse::new(status).into(),
        }
    }

    /// Whether the message answers it.
    fn is_answered_by(self, message: &Message) -> bool {
        match message {
            Message::ErrorResponse(_) => self != Self::Dns,
            Message::QueryConnectResponse(_) => self == Self::QueryConnect,
            Message::ValidateResponse(_) => self == Self::Validate,
            other => self == Self::Connect && !other.is_request(),
        }
    }
}

impl Broker {
    /// Answers a query. The response is encoded, signed and, for datagrams, encrypted as the query was.
    ///
    /// # Errors
    /// When the query is unknown, answered or given up; or the message does not answer it: then it may be answered
    /// still. A response that cannot be written is replaced by one with status 500.
    pub fn respond(&mut self, id: QueryId, message: &Message) -> Result<(), ApiMisuse> {
        let pending = self.pending.get(&id).ok_or(ApiMisuse::UnknownId)?;
        if !pending.asked.is_answered_by(message) {
            return Err(ApiMisuse::Unusable("the message is no answer to the query"));
        }
        let pending = self.take(id)?;
        self.answer(id, pending, message);
        Ok(())
    }

    /// Answers a request of service-connect with a message that is encoded already, in the encoding of the request.
    /// `status` is that of the message, for HTTP.
    ///
    /// # Errors
    /// When the request is unknown, answered or given up, or is a query.
    pub fn respond_octets(&mut self, id: QueryId, status: Status, octets: Bytes) -> Result<(), ApiMisuse> {
        match self.pending.get(&id) {
            None => return Err(ApiMisuse::UnknownId),
            Some(Pending { asked: Asked::Connect, .. }) => {}
            Some(_) => return Err(ApiMisuse::Unusable("only service-connect is answered by octets")),
        }
        if let Reply::Http { encoding, sessions } = self.take(id)?.reply {
            let http_status = status.http_status(self.config.http_mapping);
            self.send_response(id, http_status, encoding, octets, sessions);
        }
        Ok(())
    }

    /// Answers DNS messages with DNS messages.
    ///
    /// # Errors
    /// When the query is unknown, answered or given up, or not one of DNS; or an answer is longer than 65535 octets.
    pub fn respond_dns(&mut self, id: QueryId, answers: &[Bytes]) -> Result<(), ApiMisuse> {
        match self.pending.get(&id) {
            None => return Err(ApiMisuse::UnknownId),
            Some(Pending { asked: Asked::Dns, .. }) => {}
            Some(_) => return Err(ApiMisuse::Unusable("the query is not one of DNS")),
        }
        if answers.iter().any(|answer| answer.len() > usize::from(u16::MAX)) {
            return Err(ApiMisuse::Unusable("a DNS message longer than 65535 octets"));
        }
        if let Reply::Udp(reply) = self.take(id)?.reply {
            let entries: Vec<Entry<'_>> = answers.iter().map(|answer| Entry::Dns(answer)).collect();
            self.send_datagrams(&reply, Status::SUCCESS, &entries);
        }
        Ok(())
    }

    /// Gives up a query, because the client of its HTTP request went away. Unknown ones are ignored.
    pub fn cancel(&mut self, id: QueryId) {
        if self.take(id).is_ok() {
            self.out.push_back(Output::Event(super::BrokerEvent::Cancelled { id }));
        }
    }

    /// Answers with nothing but a status.
    pub(super) fn refuse(&mut self, id: QueryId, pending: Pending, status: Status) {
        let message = pending.asked.refusal(status);
        self.answer(id, pending, &message);
    }

    fn answer(&mut self, id: QueryId, pending: Pending, message: &Message) {
        let Pending { asked, reply } = pending;
        let encoding = match &reply {
            Reply::Http { encoding, .. } => *encoding,
            Reply::Udp(reply) => reply.encoding,
        };
        let mut status = message.status().unwrap_or(Status::SUCCESS);
        let octets = message.encode(encoding).unwrap_or_else(|_| {
            // Only members that the application added by hand can have no form. A bare status has none of them.
            status = Status::UNKNOWN;
            asked.refusal(status).encode(encoding).unwrap_or_default()
        });
        match reply {
            Reply::Http { encoding, sessions } => {
                let http_status = status.http_status(self.config.http_mapping);
                self.send_response(id, http_status, encoding, octets.into(), sessions);
            }
            Reply::Udp(reply) => {
                let entry = match encoding {
                    Encoding::Json => Entry::Json(&octets),
                    Encoding::JsonB | Encoding::JsonC => Entry::JsonC(&octets),
                };
                self.send_datagrams(&reply, status, &[entry]);
            }
        }
    }

    pub(super) fn send_response(
        &mut self,
        id: QueryId,
        status: u16,
        encoding: Encoding,
        body: Bytes,
        sessions: Vec<(Arc<OpenTicket>, SessionHeader)>,
    ) {
        let mut headers = Vec::with_capacity(sessions.len().saturating_add(3));
        headers.push(("content-type", encoding.content_type().to_owned()));
        headers.push(("cache-control", "no-store".to_owned()));
        for (open, header) in sessions {
            let signed = match self.config.truncate_macs {
                true => open.session.sign_truncated(header, &body),
                false => open.session.sign(header, &body),
            };
            headers.push((HEADER_NAME, signed.to_string()));
        }
        self.stats.responses = self.stats.responses.saturating_add(1);
        let response = Response { status, headers, body };
        self.out.push_back(Output::Transmit(BrokerTransmit::Response { id, response }));
    }

    /// Seals an answer, sends it, and keeps it for retransmissions.
    fn send_datagrams(&mut self, reply: &UdpReply, status: Status, payload: &[Entry<'_>]) {
        let mut entries = Vec::with_capacity(payload.len().saturating_add(3));
        entries.push(Entry::LastMac(reply.mac.as_bytes()));
        if let Some((ticket, key)) = &reply.replacement {
            entries.extend([Entry::SecurityContextId(ticket), Entry::Key(key)]);
        }
        let head = entries.len();
        entries.extend_from_slice(payload);
        // What concerns the question is said inside alone: outside everybody reads it.
        let clear = status.http_status(crate::HttpMapping::Body);
        let clear = if (200..300).contains(&clear) { 200 } else { clear };
        let transaction: [u8; 16] = self.rng.random();
        let (padding, most) = (self.config.padding, self.config.max_datagram);
        let keys = &reply.open.packets;
        let packets = match keys.seal_response(&transaction, clear, &entries, padding, most) {
            Ok(packets) => packets,
            Err(SealError::TooLong { .. } | SealError::Entry | SealError::Ticket(_)) => {
                // Nothing was sent under this transaction ID yet. The client comes back over HTTP.
                let bare = entries.get(..head).unwrap_or_default();
                keys.seal_response(&transaction, TOO_LONG, bare, padding, most).unwrap_or_default()
            }
        };
        self.stats.responses = self.stats.responses.saturating_add(1);
        self.replies.answer(&reply.key, &packets);
        for payload in packets {
            let datagram = Datagram { to: reply.to, payload };
            self.out.push_back(Output::Transmit(BrokerTransmit::Datagram(datagram)));
        }
    }
}

/// Said in the clear when an answer does not fit its sixteen datagrams.
pub(crate) const TOO_LONG: u16 = 413;

impl std::ops::Deref for OpenTicket {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}
