//! The requests that the client makes, and what their answers mean to it.

use super::*;

/// A request whose place a later one took here, and at the server when that has arrived there.
#[derive(Debug)]
pub(super) struct Superseded {
    mid: u32,
    by: u32,
    /// `by` took the place of what took this one's place: that it arrives says nothing of this one.
    indirect: bool,
    /// The server granted the later one, and so gave up this one; or its withdrawal is under way.
    settled: bool,
}

impl<P: ClientPolicy> Client<P> {
    pub(super) fn mitigate_path(&self, mid: Option<u32>) -> Resource<'_> {
        Resource::Mitigate(MitigatePath { cdid: None, cuid: &self.cuid, mid })
    }

    pub(super) fn put_message(&self, mid: u32, scope: &Scope, efficacy: Option<AttackStatus>) -> MessageBuf {
        let mut message = request(Code::PUT, self.mitigate_path(Some(mid)));
        let mut scope = scope.clone();
        if efficacy.is_some() {
            message.push_option(OptionNumber::IF_MATCH, &[]);
            scope.attack_status = efficacy;
        }
        message.set_dots_payload(&Body::from(scope).to_vec());
        message
    }

    pub(super) fn send_put(&mut self, now: Instant, mid: u32, efficacy: Option<AttackStatus>) {
        let Some(scope) = self.rows.get(&mid).map(|row| row.scope.clone()) else { return };
        let message = self.put_message(mid, &scope, efficacy);
        let ask = if efficacy.is_some() { Ask::Efficacy { mid } } else { Ask::Put { mid } };
        let mode = if efficacy.is_some() { Mode::Once } else { Mode::Repeat };
        if let Some(session) = &mut self.session {
            session.endpoint.request(now, ask, mode, message);
        }
    }

    pub(super) fn send_delete(&mut self, now: Instant, mid: u32) {
        let message = request(Code::DELETE, self.mitigate_path(Some(mid)));
        if let Some(session) = &mut self.session {
            session.endpoint.request(now, Ask::Delete { mid }, Mode::Repeat, message);
        }
    }

    pub(super) fn ask_status(&mut self, now: Instant) {
        let mut message = request(Code::GET, self.mitigate_path(None));
        message.push_option(OptionNumber::OBSERVE, &[]);
        if let Some(session) = &mut self.session {
            session.endpoint.request(now, Ask::Status, Mode::Repeat, message);
        }
    }

    pub(super) fn ask_config(&mut self, now: Instant) {
        self.config_due = None;
        let mut message = request(Code::GET, Resource::Config { sid: None });
        message.push_option(OptionNumber::OBSERVE, &[]);
        if let Some(session) = &mut self.session {
            session.endpoint.request(now, Ask::Config, Mode::Con, message);
        }
    }

    pub(super) fn send_config(&mut self, now: Instant) {
        let Some(config) = self.wanted.clone() else { return };
        self.sid = self.sid.saturating_add(1);
        let sid = self.sid;
        let mut message = request(Code::PUT, Resource::Config { sid: Some(sid) });
        message.set_dots_payload(&Body::from(config).to_vec());
        if let Some(session) = &mut self.session {
            session.endpoint.request(now, Ask::ConfigPut { sid }, Mode::Con, message);
        }
    }

    // --- answers ------------------------------------------------------------------------------------------------------

    /// `Some` when the server said goodbye.
    pub(super) fn take(&mut self, now: Instant, session: &mut Session, input: Input<'_>) -> Option<Option<u32>> {
        if self.silent && !matches!(input, Input::Goodbye { .. }) {
            self.silent = false;
            self.events.push_back(ClientEvent::SessionRevived);
        }
        match input {
            Input::Nothing => {}
            Input::Request(to, message) => {
                if let Err(refused) = Session::check_options(&message, to.is_con()) {
                    refused.into_iter().for_each(|answer| session.endpoint.reply(to, answer));
                    return None;
                }
                match resource(&message) {
                    Ok(Resource::Heartbeat) => session.heartbeat(now, to, &message),
                    // A client answers life signs and nothing else.
                    _ => session.endpoint.reply(to, diagnostic(Code::NOT_FOUND, "no such resource at a dots client")),
                }
            }
            Input::Answer(answer) => {
                session.liveness.heard(now);
                if answer.ask == Ask::Heartbeat {
                    if answer.code.is_success() {
                        session.liveness.answered(now);
                    }
                    return None;
                }
                // The session is put back before requests are made.
                return self.answered(now, session, answer);
            }
            Input::Rejected(Some(Ask::Put { mid }), _) if self.rows.get(&mid).is_none_or(Row::is_live) => {
                self.refused(mid, Refused::Reset);
            }
            Input::Rejected(..) => {}
            Input::Goodbye { hold_off } => return Some(hold_off),
        }
        None
    }

    pub(super) fn answered(&mut self, now: Instant, session: &mut Session, answer: Answer<'_>) -> Option<Option<u32>> {
        let text = || {
            String::from_utf8_lossy(answer.payload.get(..answer.payload.len().min(512)).unwrap_or_default())
                .into_owned()
        };
        let code = answer.code;
        match answer.ask {
            Ask::Put { mid } | Ask::Efficacy { mid } => {
                let efficacy = matches!(answer.ask, Ask::Efficacy { .. });
                self.put_answered(now, mid, efficacy, &answer, text());
            }
            Ask::Delete { mid } => {
                if code.is_success() || code == Code::NOT_FOUND {
                    if let Some(row) = self.rows.get_mut(&mid) {
                        if row.state == State::Withdrawing {
                            row.state = State::Terminating(now + Duration::from_secs(300));
                            self.events.push_back(ClientEvent::Withdrawn { mid });
                        }
                        if core::mem::take(&mut row.overtaken) {
                            self.orphans.push(mid);
                        }
                    }
                } else {
                    let why = Refused::Code(code, text());
                    self.events.push_back(ClientEvent::Refused { mid, why });
                    self.rows.remove(&mid);
                }
            }
            Ask::Status => {
                if answer.truncated {
                    // The rest is fetched by a request of its own.
                    self.session_request(session, now, Ask::Status, Mode::Repeat);
                } else if code.is_success() {
                    if let Ok(Body::Mitigation(scopes)) = Body::decode(&answer.payload, Direction::Response) {
                        let known: Vec<u32> = scopes.iter().filter_map(|scope| scope.mid).collect();
                        scopes.into_iter().for_each(|scope| self.status(now, scope));
                        if !answer.notification {
                            self.resynchronise(now, session, &known);
                        }
                    }
                } else if code == Code::NOT_FOUND {
                    self.resynchronise(now, session, &[]);
                }
            }
            Ask::Config => {
                if let Ok(Body::Config(config)) = Body::decode(&answer.payload, Direction::Response)
                    && code.is_success()
                {
                    let age = Duration::from_secs(answer.max_age.unwrap_or(60).clamp(1, u64::from(u32::MAX)));
                    let for_ever = answer.max_age == Some(u64::from(u32::MAX));
                    self.config_due = (!for_ever).then(|| now + age.mul_f64(0.9));
                    session.config = SessionConfig::from_signal(&config);
                    session.apply(self.is_mitigating());
                    self.events.push_back(ClientEvent::Configured { config: session.config });
                    if self.wanted.is_some() && self.sid == 0 && !answer.notification {
                        self.put_config(now, session);
                    }
                }
            }
            Ask::ConfigPut { .. } if code.is_success() => {
                if let Some(config) = &self.wanted {
                    session.config = SessionConfig::from_signal(config);
                    session.apply(self.is_mitigating());
                    self.events.push_back(ClientEvent::Configured { config: session.config });
                }
            }
            Ask::ConfigPut { .. } => self.events.push_back(ClientEvent::ConfigRefused { code, text: text() }),
            Ask::ConfigDelete => {
                if code.is_success() {
                    self.config_due = Some(now);
                }
            }
            Ask::Redirect => self.events.push_back(ClientEvent::Redirected { accepted: code.is_success() }),
            Ask::Heartbeat => {}
        }
        None
    }

    pub(super) fn session_request(&self, session: &mut Session, now: Instant, ask: Ask, mode: Mode) {
        session.endpoint.request(now, ask, mode, request(Code::GET, self.mitigate_path(None)));
    }

    pub(super) fn put_config(&mut self, now: Instant, session: &mut Session) {
        let Some(config) = self.wanted.clone() else { return };
        self.sid = self.sid.saturating_add(1);
        let mut message = request(Code::PUT, Resource::Config { sid: Some(self.sid) });
        message.set_dots_payload(&Body::from(config).to_vec());
        session.endpoint.request(now, Ask::ConfigPut { sid: self.sid }, Mode::Con, message);
    }

    pub(super) fn put_answered(&mut self, now: Instant, mid: u32, efficacy: bool, answer: &Answer<'_>, text: String) {
        let first = Body::decode(&answer.payload, Direction::Response).ok().and_then(|body| match body {
            Body::Mitigation(scopes) => scopes.into_iter().next(),
            _ => None,
        });
        let conflict = first.as_ref().and_then(|scope| scope.conflict.as_deref().cloned());
        let Some(row) = self.rows.get_mut(&mid).filter(|row| row.is_live()) else {
            // Taken back, and answered late.
            if answer.code.is_success() {
                self.unanswered(mid);
            }
            return;
        };
        match answer.code {
            code if code.is_success() => {
                let granted = first.as_ref().and_then(|scope| scope.lifetime);
                let lifetime = granted.or(row.scope.lifetime).unwrap_or(Lifetime::DEFAULT);
                let renewed = row.state == State::Active;
                row.state = State::Active;
                row.known = true;
                Self::schedule(&mut self.rng, row, now, lifetime);
                self.status_due = true;
                for earlier in self.superseded.iter_mut().filter(|earlier| earlier.by == mid && !earlier.indirect) {
                    earlier.settled = true;
                }
                if !renewed || !efficacy {
                    self.events.push_back(ClientEvent::Granted { mid, lifetime, conflict });
                }
                self.disown(mid);
                if let Some(scope) = first.filter(|scope| scope.status.is_some()) {
                    self.status(now, scope);
                }
            }
            Code::CONFLICT if conflict.as_ref().and_then(|c| c.cause) == Some(ConflictCause::CuidCollision) => {
                // Everything is asked again under another name.
                self.cuid = random_cuid(self.rng.random());
                self.events.push_back(ClientEvent::CuidChanged { cuid: self.cuid.clone() });
                self.rows.values_mut().filter(|row| row.is_live()).for_each(|row| row.state = State::Waiting(now));
                self.reobserve = true;
            }
            Code::CONFLICT => {
                let information = conflict.unwrap_or_default();
                let retry =
                    information.retry_timer.filter(|_| information.cause != Some(ConflictCause::LegitimateTraffic));
                if let Some(seconds) = retry {
                    row.state = State::Waiting(now + Duration::from_secs(u64::from(seconds)));
                    self.events.push_back(ClientEvent::Waiting { mid, seconds });
                    return;
                }
                let legitimate = information.cause == Some(ConflictCause::LegitimateTraffic);
                let why = if legitimate { Refused::LegitimateTraffic } else { Refused::Conflict(information) };
                self.refused(mid, why);
            }
            Code::SERVICE_UNAVAILABLE => {
                if self.config.profile.is_call_home()
                    && matches!(Body::decode(&answer.payload, Direction::Response), Ok(Body::Redirect(_)))
                {
                    // RFC 9066 section 5.2.2: discarded as if it had not come, so the request goes on.
                    self.send_later(now, mid, 3);
                    return;
                }
                let seconds = u32::try_from(answer.max_age.unwrap_or(60)).unwrap_or(u32::MAX).max(3);
                self.send_later(now, mid, seconds);
                self.events.push_back(ClientEvent::Waiting { mid, seconds });
            }
            _ if efficacy => {}
            code => self.refused(mid, Refused::Code(code, text)),
        }
    }

    pub(super) fn send_later(&mut self, now: Instant, mid: u32, seconds: u32) {
        if let Some(row) = self.rows.get_mut(&mid) {
            row.state = State::Waiting(now + Duration::from_secs(u64::from(seconds)));
        }
    }

    pub(super) fn refused(&mut self, mid: u32, why: Refused) {
        self.rows.remove(&mid);
        self.disown(mid);
        self.events.push_back(ClientEvent::Refused { mid, why });
    }

    /// When a mitigation ends, and when to ask again before: at a quarter of its lifetime, 300 s at most, by chance a
    /// little earlier.
    pub(super) fn schedule(rng: &mut StdRng, row: &mut Row, now: Instant, lifetime: Lifetime) {
        let Lifetime::Seconds(seconds) = lifetime else {
            (row.expires, row.refresh) = (None, None);
            return;
        };
        let whole = Duration::from_secs(u64::from(seconds));
        let before = whole.mul_f64(0.25).min(Duration::from_secs(300));
        let chance = before.mul_f64(f64::from(rng.random_range(0..=100u8)) / 400.0);
        row.expires = Some(now + whole);
        row.refresh = Some(now + whole.saturating_sub(before.saturating_add(chance)));
    }

    pub(super) fn status(&mut self, now: Instant, scope: Scope) {
        let Some(mid) = scope.mid else { return };
        let Some(row) = self.rows.get_mut(&mid) else {
            // The request that took its place may have been withdrawn before it was ever sent.
            if in_force(&scope) && self.superseded.iter().any(|earlier| earlier.mid == mid) {
                self.orphan(mid);
            }
            return;
        };
        row.status = scope.status;
        if !row.is_live() && in_force(&scope) {
            self.overtaken(mid);
        }
        let Some(row) = self.rows.get_mut(&mid) else { return };
        let over = matches!(scope.status, Some(Status::Terminated | Status::Withdrawn));
        let conflict = scope.conflict.as_deref().cloned();
        if let (State::Active, Some(lifetime), false) = (row.state, scope.lifetime, over)
            && scope.status != Some(Status::ClientWithdrawn)
        {
            match lifetime {
                // What the server says goes; but the point of refreshing stays as it is while it is right.
                Lifetime::Seconds(seconds) => {
                    let expires = now + Duration::from_secs(u64::from(seconds));
                    if row.expires.is_none_or(|known| known > expires + Duration::from_secs(30)) {
                        Self::schedule(&mut self.rng, row, now, lifetime);
                    }
                }
                Lifetime::Indefinite => (row.expires, row.refresh) = (None, None),
            }
        }
        self.events.push_back(ClientEvent::Status { scope: Box::new(scope) });
        if !over {
            return;
        }
        let conflict = conflict.unwrap_or_default();
        match conflict.retry_timer {
            Some(seconds) if conflict.cause != Some(ConflictCause::LegitimateTraffic) => {
                self.send_later(now, mid, seconds);
                self.events.push_back(ClientEvent::Waiting { mid, seconds });
            }
            _ => self.end(mid),
        }
    }

    /// The server mitigates what was withdrawn: a datagram with the request came behind the one with the withdrawal, or
    /// it is not there yet. Withdraws once more as soon as it has been answered.
    fn overtaken(&mut self, mid: u32) {
        match self.rows.get_mut(&mid) {
            Some(row) if row.state == State::Withdrawing => row.overtaken = true,
            Some(_) => self.orphan(mid),
            None => {}
        }
    }

    /// What was sent in a session that ends may have arrived.
    pub(super) fn remember_sent(&mut self) {
        let Some(session) = &self.session else { return };
        for (mid, row) in &mut self.rows {
            row.known |= session.endpoint.was_sent(Ask::Put { mid: *mid });
        }
    }

    /// A request that was taken back, or superseded, arrived in spite of that; or it may have, and its answer was lost.
    pub(super) fn unanswered(&mut self, mid: u32) {
        match self.rows.get(&mid) {
            Some(row) if row.is_live() => {}
            Some(_) => self.overtaken(mid),
            None => {
                // Whoever took its place replaces it at the server, unless it is gone itself.
                let earlier = self.superseded.iter().find(|earlier| earlier.mid == mid);
                if earlier.is_some_and(|it| it.indirect || !self.rows.get(&it.by).is_some_and(Row::is_live)) {
                    self.orphan(mid);
                }
            }
        }
    }

    /// Withdraws what the server may have as soon as there is a session.
    fn orphan(&mut self, mid: u32) {
        if !self.orphans.contains(&mid) && self.orphans.len() < self.config.limits.mitigations {
            self.orphans.push(mid);
        }
    }

    /// The request `by` takes the place of `mid`, here at once, at the server when it arrives there.
    pub(super) fn supersede(&mut self, now: Instant, mid: u32, by: u32) {
        for earlier in self.superseded.iter_mut().filter(|earlier| earlier.by == mid) {
            (earlier.by, earlier.indirect) = (by, true);
        }
        let was_sent = self.session.as_ref().is_some_and(|session| session.endpoint.was_sent(Ask::Put { mid }));
        if was_sent || self.rows.get(&mid).is_some_and(|row| row.known) {
            if self.superseded.len() >= self.config.limits.mitigations
                && let Some(oldest) = self.superseded.pop_front()
                && !oldest.settled
            {
                self.orphan(oldest.mid);
            }
            self.superseded.push_back(Superseded { mid, by, indirect: false, settled: false });
        }
        if let Some(session) = &mut self.session {
            session.endpoint.recall(now, Ask::Put { mid });
            session.endpoint.recall(now, Ask::Efficacy { mid });
        }
        if self.rows.remove(&mid).is_some() {
            self.events.push_back(ClientEvent::Ended { mid });
        }
    }

    /// What `by` took the place of and the server did not replace by it may still be there.
    pub(super) fn disown(&mut self, by: u32) {
        let mut left = Vec::new();
        for earlier in self.superseded.iter_mut().filter(|earlier| earlier.by == by && !earlier.settled) {
            earlier.settled = true;
            left.push(earlier.mid);
        }
        left.into_iter().for_each(|mid| self.orphan(mid));
    }

    pub(super) fn end(&mut self, mid: u32) {
        self.disown(mid);
        if self.rows.remove(&mid).is_some() {
            self.events.push_back(ClientEvent::Ended { mid });
        }
        if let Some(session) = &mut self.session {
            session.endpoint.forget(Ask::Put { mid });
            session.endpoint.forget(Ask::Efficacy { mid });
        }
    }

    /// Asks again for what the server has forgotten.
    pub(super) fn resynchronise(&mut self, now: Instant, session: &mut Session, known: &[u32]) {
        if self.resync.take().is_none() {
            return;
        }
        let missing: Vec<u32> = self
            .rows
            .iter()
            .filter(|(mid, row)| row.state == State::Active && !known.contains(mid))
            .map(|(mid, _)| *mid)
            .collect();
        for mid in missing {
            if let Some(scope) = self.rows.get(&mid).map(|row| row.scope.clone()) {
                let message = self.put_message(mid, &scope, None);
                session.endpoint.request(now, Ask::Put { mid }, Mode::Repeat, message);
            }
        }
    }

    /// Takes back requests for what ended meanwhile, and registers for notifications where that is due.
    pub(super) fn tidy(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let (rows, superseded) = (&self.rows, &self.superseded);
        session.endpoint.retain(|ask| match ask {
            Ask::Put { mid } | Ask::Efficacy { mid } => {
                rows.contains_key(&mid) || superseded.iter().any(|earlier| earlier.mid == mid)
            }
            _ => true,
        });
        for mid in core::mem::take(&mut self.orphans) {
            if !self.session.as_ref().is_some_and(|session| session.endpoint.is_pending(Ask::Delete { mid })) {
                self.send_delete(now, mid);
            }
        }
        let Some(session) = &mut self.session else { return };
        if core::mem::take(&mut self.status_due)
            && !session.endpoint.is_pending(Ask::Status)
            && !session.endpoint.is_observing(Ask::Status)
        {
            self.ask_status(now);
        }
    }
}

/// Whether the server mitigates, and has not heard that it need not.
fn in_force(scope: &Scope) -> bool {
    scope.status.is_none_or(|status| status.code() < Status::ClientWithdrawn.code())
}
