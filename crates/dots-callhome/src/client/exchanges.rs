//! The requests that the client makes, and what their answers mean to it.

use super::*;

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

    pub(super) fn is_pending(&self, ask: Ask) -> bool {
        self.session.as_ref().is_some_and(|session| session.endpoint.is_pending(ask))
    }

    pub(super) fn has_room(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.endpoint.room() > 0)
    }

    /// Asks for all mitigations, and for notifications where they do not come yet.
    pub(super) fn ask_status(&mut self, now: Instant) {
        let mut message = request(Code::GET, self.mitigate_path(None));
        let Some(session) = &mut self.session else { return };
        if !session.endpoint.is_observing(Ask::Status) {
            message.push_option(OptionNumber::OBSERVE, &[]);
        }
        if session.endpoint.request(now, Ask::Status, Mode::Repeat, message) {
            self.doubt.asked(now);
        } else {
            self.doubt.unanswered(now);
        }
    }

    pub(super) fn ask_config(&mut self, now: Instant) {
        self.config_due = None;
        let mut message = request(Code::GET, Resource::Config { sid: None });
        message.push_option(OptionNumber::OBSERVE, &[]);
        if let Some(session) = &mut self.session {
            let sent = session.endpoint.request(now, Ask::Config, Mode::Con, message);
            self.config_due = (!sent).then(|| now + CONFIG_AGAIN);
        }
    }

    pub(super) fn send_config(&mut self, now: Instant) {
        let (Some(config), Some(session)) = (self.wanted.clone(), &mut self.session) else { return };
        self.sid = self.sid.saturating_add(1);
        let sid = self.sid;
        let mut message = request(Code::PUT, Resource::Config { sid: Some(sid) });
        message.set_dots_payload(&Body::from(config).to_vec());
        // Settings that wait and are not wanted any more would take a place.
        session.endpoint.retain(|ask| !matches!(ask, Ask::ConfigPut { .. }));
        if session.endpoint.request(now, Ask::ConfigPut { sid }, Mode::Con, message) {
            self.unconfigured = false;
        } else {
            self.config_due = Some(now + CONFIG_AGAIN);
        }
    }

    /// Has under way what the mitigations ask for, and nothing else; asks for reports that are due.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.supersede();
        let Some(session) = &mut self.session else { return };
        let endpoint = &mut session.endpoint;
        if core::mem::take(&mut self.renamed) {
            let named = |ask| matches!(ask, Ask::Put { .. } | Ask::Efficacy { .. } | Ask::Delete { .. } | Ask::Status);
            endpoint.retain(|ask| !named(ask));
            endpoint.stop_observing(Ask::Status);
            self.status_due = true;
        }
        endpoint.retain(|ask| match ask {
            Ask::Put { mid } | Ask::Efficacy { mid } => {
                self.rows.get(&mid).is_some_and(|row| matches!(row.state, State::Requesting | State::Active))
            }
            // Of what is no row any more, or was withdrawn once, only while there is hope.
            Ask::Delete { mid } => {
                self.rows.get(&mid).is_some_and(|row| row.state == State::Withdrawing) || self.doubt.goes_on()
            }
            _ => true,
        });
        // A refresh that is still on its way is looked after again later.
        for (mid, row) in self.rows.iter_mut().filter(|(_, row)| row.is_due(now)) {
            if endpoint.is_pending(Ask::Put { mid: *mid }) {
                row.asked(now);
            }
        }
        let wanted = self.rows.iter().filter_map(|(mid, row)| match row.state {
            State::Requesting if row.overridden.is_none() && self.quiet <= now => Some(Ask::Put { mid: *mid }),
            State::Active if row.is_due(now) => Some(Ask::Put { mid: *mid }),
            State::Withdrawing => Some(Ask::Delete { mid: *mid }),
            _ => None,
        });
        let missing: Vec<Ask> = wanted.filter(|ask| !endpoint.is_pending(*ask)).take(endpoint.room()).collect();
        for ask in missing {
            match ask {
                Ask::Put { mid } => {
                    self.send_put(now, mid, None);
                    if let Some(row) = self.rows.get_mut(&mid) {
                        row.asked(now);
                    }
                }
                Ask::Delete { mid } => self.send_delete(now, mid),
                _ => {}
            }
        }
        // Without room it would be a round of the doubt in which nobody is asked.
        if self.is_pending(Ask::Status) || !self.has_room() {
            return;
        }
        let observing = self.session.as_ref().is_some_and(|session| session.endpoint.is_observing(Ask::Status));
        let status_due = core::mem::take(&mut self.status_due) && !observing;
        let report_due = core::mem::take(&mut self.report_due);
        if self.doubt.take_due(now) || status_due || report_due {
            self.ask_status(now);
        }
    }

    /// Gives up what a later request has taken the place of; also when that was withdrawn before it was decided, as
    /// nobody knows what the server made of it.
    fn supersede(&mut self) {
        let is_decided = |mid| self.rows.get(mid).is_none_or(|later| later.granted || !later.is_live());
        let replaced = self.rows.iter().filter(|(_, row)| row.overridden.as_ref().is_some_and(is_decided));
        for mid in replaced.map(|(mid, _)| *mid).collect::<Vec<_>>() {
            self.end(mid, false);
        }
    }

    // --- answers ------------------------------------------------------------------------------------------------------

    /// What arrived of a stream. `Some` when the server said goodbye.
    ///
    /// # Errors
    /// The session is gone, and its farewell is queued.
    pub(super) fn take_stream(&mut self, now: Instant, octets: &[u8]) -> Result<Option<Option<u32>>, Error> {
        let Some(session) = &mut self.session else { return Ok(None) };
        let buffer = session.endpoint.take_stream(octets);
        let mut at = 0usize;
        while let Some(session) = &mut self.session {
            match session.endpoint.frame(now, buffer.get(at..).unwrap_or_default()) {
                Ok(Some((input, used))) => {
                    at = at.saturating_add(used);
                    let goodbye = self.take(now, input);
                    if goodbye.is_some() {
                        return Ok(goodbye);
                    }
                }
                Ok(None) => {
                    session.endpoint.keep_stream(buffer.get(at..).unwrap_or_default().to_vec());
                    break;
                }
                Err(error) => {
                    self.farewells.extend(core::iter::from_fn(|| session.endpoint.poll()));
                    self.session_down(now);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// `Some` when the server said goodbye.
    pub(super) fn take(&mut self, now: Instant, input: Input<'_>) -> Option<Option<u32>> {
        if self.silent && !matches!(input, Input::Goodbye { .. }) {
            self.silent = false;
            self.events.push_back(ClientEvent::SessionRevived);
        }
        let session = self.session.as_mut()?;
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
                if answer.ask != Ask::Heartbeat {
                    self.answered(now, answer);
                } else if answer.code.is_success() {
                    session.liveness.answered(now);
                }
            }
            // It may be that of a request that was taken back, and arrived.
            Input::Unexpected => self.doubt.hint(now),
            Input::Rejected(Some(Ask::Put { mid }), _) => self.refused(mid, Refused::Reset),
            Input::Rejected(Some(Ask::Delete { mid }), _) => self.not_withdrawn(mid, Refused::Reset),
            Input::Rejected(Some(Ask::Status), _) => self.doubt.unanswered(now),
            Input::Broken(Ask::Put { mid }, _) => self.refused(mid, Refused::Reset),
            Input::Broken(Ask::Delete { mid }, _) => self.not_withdrawn(mid, Refused::Reset),
            Input::Broken(Ask::Status, Broken::TooLarge) => {
                self.unreadable(now, Unreadable::TooLarge(self.config.limits.body));
            }
            Input::Broken(Ask::Status, Broken::Unsteady) => self.unreadable(now, Unreadable::Unsteady),
            Input::Rejected(..) | Input::Broken(..) => {}
            Input::Goodbye { hold_off } => return Some(hold_off),
        }
        None
    }

    pub(super) fn answered(&mut self, now: Instant, answer: Answer<'_>) {
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
            Ask::Delete { mid } if code.is_success() || code == Code::NOT_FOUND => {
                if let Some(row) = self.rows.get_mut(&mid).filter(|row| row.state == State::Withdrawing) {
                    row.state = State::Terminating(now + Duration::from_secs(300));
                    self.events.push_back(ClientEvent::Withdrawn { mid });
                }
            }
            Ask::Delete { mid } => self.not_withdrawn(mid, Refused::Code(code, text())),
            Ask::Status => self.status_answered(now, &answer, text),
            Ask::Config => {
                if let Ok(Body::Config(config)) = Body::decode(&answer.payload, Direction::Response)
                    && code.is_success()
                    && let Some(session) = &mut self.session
                {
                    let age = Duration::from_secs(answer.max_age.unwrap_or(60).clamp(1, u64::from(u32::MAX)));
                    let for_ever = answer.max_age == Some(u64::from(u32::MAX));
                    self.config_due = (!for_ever).then(|| now + age.mul_f64(0.9));
                    let config = SessionConfig::from_signal(&config);
                    session.config = config;
                    self.apply();
                    self.events.push_back(ClientEvent::Configured { config });
                    if self.unconfigured && !answer.notification {
                        self.send_config(now);
                    }
                }
            }
            Ask::ConfigPut { .. } if code.is_success() => {
                if let (Some(config), Some(session)) = (&self.wanted, &mut self.session) {
                    let config = SessionConfig::from_signal(config);
                    session.config = config;
                    self.apply();
                    self.events.push_back(ClientEvent::Configured { config });
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
    }

    /// What the server has, all of it or what changed.
    fn status_answered(&mut self, now: Instant, answer: &Answer<'_>, text: impl Fn() -> String) {
        if answer.truncated {
            // It is fetched by a request of its own, behind the one that is under way: in a burst none would come to its end.
            self.report_due = true;
            return;
        }
        let read = match answer.code {
            code if code.is_success() => match Body::decode_report(&answer.payload, self.config.limits.scopes) {
                Ok(Body::Mitigation(scopes)) => Ok(scopes),
                Ok(_) => Err(Unreadable::WrongBody),
                Err(error) => Err(Unreadable::Body(error)),
            },
            Code::NOT_FOUND => Ok(Vec::new()),
            code => Err(Unreadable::Code(code, text())),
        };
        let scopes = match read {
            Ok(scopes) => scopes,
            Err(why) => return self.unreadable(now, why),
        };
        let known: Vec<u32> = scopes.iter().filter_map(|scope| scope.mid).collect();
        let too_much = self.too_much(&scopes);
        scopes.into_iter().for_each(|scope| self.status(now, scope));
        if !answer.notification {
            self.resynchronise(&known);
        }
        self.reported(now, &too_much, !answer.notification);
    }

    fn unreadable(&mut self, now: Instant, why: Unreadable) {
        self.events.push_back(ClientEvent::ReportUnreadable { why });
        self.doubt.unanswered(now);
    }

    pub(super) fn put_answered(&mut self, now: Instant, mid: u32, efficacy: bool, answer: &Answer<'_>, text: String) {
        let first = Body::decode(&answer.payload, Direction::Response).ok().and_then(|body| match body {
            Body::Mitigation(scopes) => scopes.into_iter().next(),
            _ => None,
        });
        let conflict = first.as_ref().and_then(|scope| scope.conflict.as_deref().cloned());
        let in_the_way = conflict.as_ref().and_then(|conflict| conflict.scope.as_ref()?.mid);
        if in_the_way.is_some_and(|mid| self.is_unwanted(mid)) {
            self.doubt.suspect(now);
        }
        let Some(row) = self.rows.get_mut(&mid).filter(|row| row.is_live()) else { return };
        match answer.code {
            code if code.is_success() => {
                let granted = first.as_ref().and_then(|scope| scope.lifetime);
                let lifetime = granted.or(row.scope.lifetime).unwrap_or(Lifetime::DEFAULT);
                let renewed = row.state == State::Active;
                self.collisions = 0;
                (row.state, row.granted) = (State::Active, true);
                row.schedule(&mut self.rng, now, lifetime);
                if !efficacy {
                    row.renewed();
                }
                self.status_due = true;
                self.doubt.hint(now);
                if !renewed || !efficacy {
                    self.events.push_back(ClientEvent::Granted { mid, lifetime, conflict });
                }
                if let Some(scope) = first.filter(|scope| scope.status.is_some()) {
                    self.status(now, scope);
                }
            }
            Code::CONFLICT if conflict.as_ref().and_then(|c| c.cause) == Some(ConflictCause::CuidCollision) => {
                if self.renamed {
                    // It is about the name before, which we have left already.
                    return;
                }
                // Everything is asked again under another name: at once, unless that is taken too, which chance does not do.
                let wait = match self.collisions {
                    0 => Duration::ZERO,
                    times => {
                        COLLISION_WAIT.saturating_mul(1 << times.saturating_sub(1).min(16)).min(COLLISION_WAIT_MAX)
                    }
                };
                self.collisions = self.collisions.saturating_add(1);
                self.quiet = now + wait;
                self.cuid = random_cuid(self.rng.random());
                self.events.push_back(ClientEvent::CuidChanged { cuid: self.cuid.clone() });
                // What may stand under the old one is another client's, as far as anybody can tell.
                self.rows.values_mut().filter(|row| row.is_live()).for_each(|row| row.state = State::Requesting);
                self.renamed = true;
            }
            // The answer to that one was lost, or comes later.
            Code::CONFLICT if in_the_way.is_some() && in_the_way == row.overridden => self.end(mid, false),
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
        let Some(row) = self.rows.remove(&mid) else { return };
        self.events.push_back(ClientEvent::Refused { mid, why });
        // What was never granted is not there, or is somebody else's.
        if row.granted {
            self.leave(mid, false);
        } else {
            // So it took no other one's place.
            let kept = self.rows.values_mut().filter(|earlier| earlier.overridden == Some(mid));
            kept.for_each(|earlier| earlier.overridden = None);
            self.doubt_unless_settled();
        }
    }

    /// The server does not let us withdraw it.
    fn not_withdrawn(&mut self, mid: u32, why: Refused) {
        if self.rows.get(&mid).is_some_and(|row| row.state == State::Withdrawing) {
            self.rows.remove(&mid);
            self.events.push_back(ClientEvent::Refused { mid, why });
            self.leave(mid, false);
        }
    }

    pub(super) fn status(&mut self, now: Instant, scope: Scope) {
        let Some(mid) = scope.mid else { return };
        let Some(row) = self.rows.get_mut(&mid) else { return };
        row.status = scope.status;
        // Its answer may have been lost. Or it is another one of that number.
        row.granted |= scope.target_prefix == row.scope.target_prefix && scope.source_prefix == row.scope.source_prefix;
        let live = row.is_live();
        // Its time was over before we could ask for more: that is no decision against it.
        let lapsed = scope.status == Some(Status::Terminated) && (row.is_undecided() || row.is_overdue(now));
        let over = matches!(scope.status, Some(Status::Terminated | Status::Withdrawn));
        let conflict = scope.conflict.as_deref().cloned();
        if let (State::Active, Some(lifetime), false) = (row.state, scope.lifetime, over)
            && scope.status != Some(Status::ClientWithdrawn)
        {
            row.reported(&mut self.rng, now, lifetime);
        }
        self.events.push_back(ClientEvent::Status { scope: Box::new(scope) });
        if !over {
            return;
        }
        let conflict = conflict.unwrap_or_default();
        let legitimate = conflict.cause == Some(ConflictCause::LegitimateTraffic);
        match conflict.retry_timer {
            Some(seconds) if live && !legitimate => {
                self.send_later(now, mid, seconds);
                self.events.push_back(ClientEvent::Waiting { mid, seconds });
            }
            _ if lapsed && !legitimate => self.lapse(mid),
            _ => self.end(mid, true),
        }
    }

    /// `known`: the server says so, or said that it will be.
    pub(super) fn end(&mut self, mid: u32, known: bool) {
        if self.rows.remove(&mid).is_some() {
            self.events.push_back(ClientEvent::Ended { mid });
            self.leave(mid, known);
        }
    }

    /// It is not in force any more, as far as we know, and is asked for anew: only the application takes it back.
    pub(super) fn lapse(&mut self, mid: u32) {
        if let Some(row) = self.rows.get_mut(&mid).filter(|row| row.state == State::Active) {
            row.lapse();
            self.events.push_back(ClientEvent::Lapsed { mid });
        }
    }

    /// Asks again for what the server has forgotten.
    pub(super) fn resynchronise(&mut self, known: &[u32]) {
        if self.resync.take().is_none() {
            return;
        }
        let forgotten = self.rows.iter_mut().filter(|(mid, row)| row.state == State::Active && !known.contains(mid));
        forgotten.for_each(|(_, row)| row.state = State::Requesting);
    }
}
