//! What both roles do alike in one session: heartbeats, settings, goodbyes.

use watchfire_core::Instant;

use crate::body::{Body, Direction};
use crate::endpoint::{Ask, Endpoint, Mode, ReplyTo, Transport};
use crate::limits::Limits;
use crate::liveness::{Liveness, Side};
use crate::params::SessionConfig;
use crate::path::Resource;
use crate::wire::{Code, Message, MessageBuf, OptionNumber, Token};

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) endpoint: Endpoint,
    pub(crate) liveness: Liveness,
    pub(crate) config: SessionConfig,
    side: Side,
    /// A client's "heartbeat right after the peer's".
    pub(crate) echo: bool,
}

/// A request of ours without a token.
pub(crate) fn request(code: Code, resource: Resource<'_>) -> MessageBuf {
    let mut message = MessageBuf::new(code, Token::default());
    resource.push_to(&mut message);
    message
}

/// An answer with a diagnostic payload (RFC 7252 section 5.5.2).
pub(crate) fn diagnostic(code: Code, text: &str) -> MessageBuf {
    let mut message = MessageBuf::new(code, Token::default());
    message.set_payload(text.as_bytes());
    message
}

impl Session {
    pub(crate) fn new(side: Side, transport: Transport, limits: Limits, seed: [u8; 32], now: Instant) -> Self {
        let config = SessionConfig::default();
        Self {
            endpoint: Endpoint::new(transport, limits, seed),
            liveness: Liveness::new(side, config.idle, now),
            config,
            side,
            echo: false,
        }
    }

    /// The right set of settings, as a mitigation is active or not.
    pub(crate) fn apply(&mut self, mitigating: bool) {
        let params = *self.config.active(mitigating);
        self.endpoint.set_params(params);
        self.liveness.set_params(params, mitigating && self.side == Side::Client);
    }

    /// Refuses what no resource of ours takes.
    pub(crate) fn check_options(message: &Message<'_>, con: bool) -> Result<(), Option<MessageBuf>> {
        for option in message.options {
            let number = option.number;
            let known = matches!(
                number,
                OptionNumber::IF_MATCH
                    | OptionNumber::URI_HOST
                    | OptionNumber::URI_PORT
                    | OptionNumber::URI_PATH
                    | OptionNumber::URI_QUERY
                    | OptionNumber::ACCEPT
                    | OptionNumber::BLOCK1
                    | OptionNumber::BLOCK2
            );
            if number.is_critical() && !known {
                return Err(
                    con.then(|| diagnostic(Code::BAD_OPTION, &format!("critical option not understood: {number}")))
                );
            }
            let uint = option.uint();
            match number {
                OptionNumber::HOP_LIMIT if !matches!(uint, Some(1..=255)) => {
                    return Err(Some(diagnostic(Code::BAD_REQUEST, "Hop-Limit must be 1 to 255")));
                }
                OptionNumber::ACCEPT if uint != Some(u64::from(crate::wire::CONTENT_FORMAT_DOTS)) => {
                    return Err(Some(diagnostic(Code::NOT_ACCEPTABLE, "only application/dots+cbor (271) is spoken")));
                }
                // All our requests fit one message; so must theirs.
                OptionNumber::BLOCK1 if uint.is_none_or(|value| value >> 3 != 0) => {
                    let mut message = diagnostic(Code::REQUEST_ENTITY_TOO_LARGE, "requests must fit one message");
                    message.push_uint(OptionNumber::SIZE1, 8192);
                    return Err(Some(message));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Answers a heartbeat of the peer.
    pub(crate) fn heartbeat(&mut self, now: Instant, to: ReplyTo, message: &Message<'_>) {
        if message.code != Code::PUT {
            return self.endpoint.reply(to, diagnostic(Code::METHOD_NOT_ALLOWED, "hb takes PUT"));
        }
        if !message.is_dots() {
            return self.endpoint.reply(
                to,
                diagnostic(Code::UNSUPPORTED_CONTENT_FORMAT, "content format is not application/dots+cbor (271)"),
            );
        }
        match Body::decode(message.payload, Direction::Request) {
            Ok(Body::Heartbeat { peer_hb_status }) => {
                self.endpoint.reply(to, MessageBuf::new(Code::CHANGED, Token::default()));
                self.liveness.peer_heartbeat(now, peer_hb_status);
                if self.echo {
                    self.liveness.hasten(now);
                }
            }
            Ok(_) => self.endpoint.reply(to, diagnostic(Code::BAD_REQUEST, "the body is no heartbeat")),
            Err(error) => self.endpoint.reply(to, diagnostic(Code::BAD_REQUEST, &error.to_string())),
        }
    }

    /// Sends what time brings; gives requests that stay unanswered.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Ask> {
        if let Some(peer_hb_status) = self.liveness.take_heartbeat(now) {
            let mut message = request(Code::PUT, Resource::Heartbeat);
            message.set_dots_payload(&Body::Heartbeat { peer_hb_status }.to_vec());
            self.endpoint.request(now, Ask::Heartbeat, Mode::Once, message);
        }
        self.endpoint.handle_timeout(now)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.endpoint.deadline(), self.liveness.deadline()].into_iter().flatten().min()
    }
}
