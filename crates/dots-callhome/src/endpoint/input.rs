//! What comes in: datagrams with their duplicates, the stream with its signals, answers to what was asked.

use super::*;

impl Endpoint {
    /// A datagram arrived. What is no CoAP is dropped.
    pub(crate) fn datagram<'a>(&mut self, now: Instant, octets: &'a [u8]) -> Input<'a> {
        let Ok(datagram) = udp::decode(octets) else {
            self.stats.malformed = self.stats.malformed.saturating_add(1);
            return Input::Nothing;
        };
        let (message, mid) = (datagram.message, datagram.message_id);
        match datagram.kind {
            udp::Type::Rst => {
                let at = self.pending.iter().position(|pending| pending.sent.is_some() && pending.mid == mid);
                return Input::Rejected(at.map(|at| self.pending.remove(at).ask), mid);
            }
            udp::Type::Ack if message.code == Code::EMPTY => {
                let wait = STREAM_WAIT;
                for pending in self.pending.iter_mut().filter(|p| p.mode == Mode::Con && p.mid == mid) {
                    (pending.acked, pending.due) = (true, now + wait);
                }
                return Input::Nothing;
            }
            udp::Type::Ack => {
                return if message.code.is_response() { self.answer(now, message) } else { Input::Nothing };
            }
            udp::Type::Con | udp::Type::Non => {}
        }
        let con = datagram.kind == udp::Type::Con;
        if message.code == Code::EMPTY {
            // A ping at the message layer.
            if con {
                self.put_out(udp::empty(udp::Type::Rst, mid).to_vec());
            }
            return Input::Nothing;
        }
        if let Some(seen) = self.seen.get(&mid).filter(|seen| seen.expires > now) {
            self.stats.duplicates = self.stats.duplicates.saturating_add(1);
            if let Some(answer) = seen.answer.clone().filter(|_| con) {
                self.out.push_back(answer);
            }
            return Input::Nothing;
        }
        if self.seen_order.len() >= self.limits.duplicates {
            self.forget_oldest();
        }
        let life = if con { EXCHANGE_LIFETIME } else { NON_LIFETIME };
        self.seen.insert(mid, Seen { expires: now + life, answer: None });
        self.seen_order.push_back((mid, now + life));
        self.stats.received = self.stats.received.saturating_add(1);
        if message.code.is_request() {
            return Input::Request(ReplyTo { token: message.token, con: con.then_some(mid) }, message);
        }
        if !message.code.is_response() {
            return Input::Nothing;
        }
        let known = self.knows(message.token);
        if con || !known {
            let kind = if known { udp::Type::Ack } else { udp::Type::Rst };
            self.put_out(udp::empty(kind, mid).to_vec());
        }
        self.answer(now, message)
    }

    pub(super) fn forget_oldest(&mut self) {
        let Some((mid, expires)) = self.seen_order.pop_front() else { return };
        // Unless the number came again since.
        if self.seen.get(&mid).is_some_and(|seen| seen.expires == expires) {
            self.seen.remove(&mid);
        }
    }

    pub(super) fn knows(&self, token: Token) -> bool {
        self.pending.iter().any(|pending| pending.sent.is_some() && pending.message.token() == token)
            || self.observing.iter().any(|observing| observing.token == token)
    }

    /// Octets of the stream arrived: gives the buffer, to be read by [`Self::frame`] and given back.
    pub(crate) fn take_stream(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut buffer = core::mem::take(&mut self.stream);
        buffer.extend_from_slice(octets);
        buffer
    }

    pub(crate) fn keep_stream(&mut self, rest: Vec<u8>) {
        self.stream = rest;
    }

    /// The next message of a stream.
    ///
    /// # Errors
    /// The farewell is queued.
    pub(crate) fn frame<'a>(&mut self, now: Instant, octets: &'a [u8]) -> Result<Option<(Input<'a>, usize)>, Error> {
        let (message, used) = match tcp::decode(octets, self.limits.message) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.put_stream(&MessageBuf::new(Code::ABORT, Token::default()));
                return Err(error.into());
            }
        };
        self.stats.received = self.stats.received.saturating_add(1);
        if self.peer.is_none() && message.code != Code::CSM {
            self.put_stream(&MessageBuf::new(Code::ABORT, Token::default()));
            return Err(Error::PeerMisbehaved(PeerMisbehaved::MissingCsm));
        }
        let input = if message.code.is_signal() {
            self.signal(message)?
        } else if message.code.is_request() {
            Input::Request(ReplyTo { token: message.token, con: None }, message)
        } else if message.code.is_response() {
            self.answer(now, message)
        } else {
            // Empty messages keep the connection open (RFC 8323 section 3.4).
            Input::Nothing
        };
        if self.overflow {
            return Err(Error::LimitExceeded(Limit::Queued));
        }
        Ok(Some((input, used)))
    }

    pub(super) fn signal(&mut self, message: Message<'_>) -> Result<Input<'static>, Error> {
        match Signal::decode(&message) {
            Ok(Signal::Csm(csm)) => {
                self.peer = Some(csm);
                Ok(Input::Nothing)
            }
            Ok(Signal::Ping) => {
                self.put_stream(&MessageBuf::new(Code::PONG, message.token));
                Ok(Input::Nothing)
            }
            Ok(Signal::Pong) => Ok(Input::Nothing),
            Ok(Signal::Release { hold_off }) => Ok(Input::Goodbye { hold_off }),
            Ok(Signal::Abort { .. }) => Ok(Input::Goodbye { hold_off: None }),
            Err(invalid) => {
                let mut abort = MessageBuf::new(Code::ABORT, Token::default());
                if let crate::wire::InvalidSignal::CriticalOption { code: Code::CSM, number } = invalid {
                    abort.push_uint(OptionNumber(2), u64::from(number));
                }
                self.put_stream(&abort);
                Err(Error::PeerMisbehaved(PeerMisbehaved::Signal(invalid)))
            }
        }
    }

    pub(super) fn answer<'a>(&mut self, now: Instant, message: Message<'a>) -> Input<'a> {
        let at = self.pending.iter().position(|p| p.sent.is_some() && p.message.token() == message.token);
        let observe = message.option_uint(OptionNumber::OBSERVE).map(|seq| (seq & 0xff_ffff) as u32);
        let block = message.option(OptionNumber::BLOCK2).and_then(Block::decode);
        let max_age = message.option_uint(OptionNumber::MAX_AGE);
        let whole = |ask, notification, truncated| {
            let payload = Cow::Borrowed(message.payload);
            Input::Answer(Answer { ask, code: message.code, payload, max_age, notification, truncated })
        };
        let Some(pending) = at.and_then(|at| self.pending.get_mut(at)) else {
            let observing = self.observing.iter_mut().find(|observing| observing.token == message.token);
            let Some(observing) = observing else {
                self.stats.unexpected = self.stats.unexpected.saturating_add(1);
                return Input::Unexpected;
            };
            if self.transport == Transport::Datagram
                && let Some(seq) = observe
            {
                // RFC 7641 section 3.4.
                let fresh = observing.last.is_none_or(|(last, at)| {
                    let ahead = seq.wrapping_sub(last) & 0xff_ffff;
                    ahead != 0 && ahead < 1 << 23 || now > at + Duration::from_secs(128)
                });
                if !fresh {
                    self.stats.duplicates = self.stats.duplicates.saturating_add(1);
                    return Input::Nothing;
                }
                observing.last = Some((seq, now));
            }
            let ask = observing.ask;
            if !message.code.is_success() {
                self.observing.retain(|observing| observing.token != message.token);
            }
            return whole(ask, true, block.is_some_and(|block| block.more));
        };
        if pending.attempts == 1
            && let Some(sent) = pending.sent
        {
            let sample = now - sent;
            self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt.mul_f64(0.875).saturating_add(sample.mul_f64(0.125))));
        }
        let (ask, token) = (pending.ask, message.token);
        if let Some(observe) = observe.filter(|_| message.code.is_success()) {
            self.observing.retain(|observing| observing.ask != ask && observing.token != token);
            if self.observing.len() < self.limits.observers {
                self.observing.push(Observing { ask, token, last: Some((observe, now)) });
            }
        }
        // Of all answers in blocks, because a peer may begin as many as we have asked for.
        let held: usize = self.pending.iter().map(|pending| pending.body.len()).sum();
        let Some(pending) = at.and_then(|at| self.pending.get_mut(at)) else { return Input::Nothing };
        let others = held.saturating_sub(pending.body.len());
        let in_blocks = |block: &Block| message.code.is_success() && (block.more || block.number > 0);
        let Some(block) = block.filter(in_blocks) else {
            self.pending.retain(|pending| pending.message.token() != token);
            return whole(ask, false, false);
        };
        let etag = message.option(OptionNumber::ETAG).unwrap_or_default();
        let fits = block.number == 0 || pending.etag == etag && pending.body.len() == block.offset();
        let mut next = Block { number: block.number.saturating_add(1), more: false, exponent: block.exponent.min(6) };
        if block.number == 0 {
            pending.body.clear();
            pending.etag = etag.to_vec();
        }
        if fits {
            pending.body.extend_from_slice(message.payload);
        } else {
            // Another state of the resource: from the start, though not for ever.
            pending.restarts = pending.restarts.saturating_add(1);
            pending.body.clear();
            next.number = 0;
        }
        let too_large = others.saturating_add(pending.body.len()) > self.limits.body;
        if too_large || pending.restarts > 3 {
            self.pending.retain(|pending| pending.message.token() != token);
            return Input::Broken(ask, if too_large { Broken::TooLarge } else { Broken::Unsteady });
        }
        if fits && !block.more {
            let payload = Cow::Owned(core::mem::take(&mut pending.body));
            self.pending.retain(|pending| pending.message.token() != token);
            return Input::Answer(Answer {
                ask,
                code: message.code,
                payload,
                max_age,
                notification: false,
                truncated: false,
            });
        }
        let mut request = MessageBuf::new(pending.message.code(), token);
        for option in pending.message.as_message().options {
            if !matches!(option.number, OptionNumber::BLOCK2 | OptionNumber::ETAG | OptionNumber::OBSERVE) {
                request.push_option(option.number, option.value);
            }
        }
        request.push_uint(OptionNumber::BLOCK2, next.value());
        if !pending.etag.is_empty() && next.number > 0 {
            let etag = pending.etag.clone();
            request.push_option(OptionNumber::ETAG, &etag);
        }
        (pending.message, pending.sent, pending.attempts, pending.due) = (request, None, 0, now);
        // Blocks are paced by their answers, not by the clock.
        self.last_paced = None;
        self.flush(now);
        Input::Nothing
    }
}
