//! The requests that come, and how each is answered. RFC 9132 sections 4.4 to 4.6.

use super::*;

impl<P: ServerPolicy> Server<P> {
    pub(super) fn answer(
        &mut self,
        now: Instant,
        id: SessionId,
        peer: &mut Peer,
        to: ReplyTo,
        message: &Message<'_>,
    ) -> Option<MessageBuf> {
        if let Err(refused) = Session::check_options(message, to.is_con()) {
            return refused;
        }
        let resource = match resource(message) {
            Ok(resource) => resource,
            Err(InvalidPath::Unknown) => return Some(diagnostic(Code::NOT_FOUND, "no such resource")),
            Err(invalid) => return Some(diagnostic(Code::BAD_REQUEST, &invalid.to_string())),
        };
        match (resource, message.code) {
            (Resource::Heartbeat, _) => {
                peer.session.heartbeat(now, to, message);
                None
            }
            (Resource::Mitigate(path), Code::PUT) => self.put(now, peer, path, message),
            (Resource::Mitigate(path), Code::GET) => Some(self.get(now, peer, path, message)),
            (Resource::Mitigate(path), Code::DELETE) => Some(self.delete(now, peer, path)),
            (Resource::Config { sid }, Code::GET) => Some(self.get_config(peer, sid, message)),
            (Resource::Config { sid }, Code::PUT) => Some(self.put_config(id, peer, sid, message)),
            (Resource::Config { .. }, Code::DELETE) => {
                peer.session.config = self.config.session;
                peer.sid = None;
                self.events.push_back(ServerEvent::Configured { session: id });
                Some(MessageBuf::new(Code::DELETED, Token::default()))
            }
            (Resource::Redirect { mid, .. }, Code::PUT) if self.config.profile == Profile::Rfc9066 => {
                self.redirect(id, peer, to, mid, message)
            }
            (Resource::Redirect { .. }, _) if self.config.profile != Profile::Rfc9066 => {
                Some(diagnostic(Code::NOT_FOUND, "no such resource"))
            }
            (_, method) => Some(diagnostic(Code::METHOD_NOT_ALLOWED, &format!("not with {method} here"))),
        }
    }

    pub(super) fn put(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        path: MitigatePath<'_>,
        message: &Message<'_>,
    ) -> Option<MessageBuf> {
        let bad = |text: &str| Some(diagnostic(Code::BAD_REQUEST, text));
        let Some(mid) = path.mid else { return bad("mid is missing in the path") };
        if !self.take_credit(now, peer) {
            return Some(busy(1, "too many requests"));
        }
        let request = match MitigationRequest::from_message(message, self.config.profile) {
            Ok(request) => request,
            Err(invalid) => return Some(diagnostic(invalid.code(), &invalid.to_string())),
        };
        if self.config.profile.is_call_home()
            && let Some(foreign) = request.sources().iter().find(|source| !self.policy.owns_source(source))
        {
            return bad(&format!("source-prefix {foreign} is not in this domain"));
        }
        let cuid = self.client(peer, path);
        match self.policy.authorize(&peer.name, &request) {
            Ok(()) => {}
            Err(Refusal::Unauthorized) => return Some(diagnostic(Code::UNAUTHORIZED, "not allowed to ask for this")),
            Err(Refusal::ForeignSource(source)) => {
                return bad(&format!("source-prefix {source} is not in this domain"));
            }
            Err(Refusal::Conflict(cause)) => {
                let conflict = ConflictInformation::caused_by(cause);
                return Some(conflict_answer(Some(mid), conflict));
            }
            Err(Refusal::Busy(seconds)) => return Some(busy(seconds, "no capacity for another mitigation")),
        }
        let efficacy = message.option(OptionNumber::IF_MATCH).is_some();
        let known = self.table.find(&cuid, mid).and_then(|id| self.table.get(id)).is_some_and(|row| row.is_wanted());
        let judgement = if known { Judgement::Attack } else { self.policy.judge(&peer.name, &request) };
        if judgement == Judgement::Legitimate && !efficacy && !self.table.collides(&peer.name, &cuid) {
            let conflict = ConflictInformation::caused_by(ConflictCause::LegitimateTraffic);
            return Some(conflict_answer(Some(mid), conflict));
        }
        let lifetime = self.policy.grant(&peer.name, request.lifetime());
        let (code, id) = match self.table.put(now, (&peer.name, &cuid, mid), request, efficacy, lifetime) {
            Put::Created(id) => {
                if judgement == Judgement::AskConsent {
                    if let Some(row) = self.table.get_mut(id) {
                        row.awaits_consent = true;
                    }
                    self.events.push_back(ServerEvent::ConsentNeeded { id });
                } else {
                    self.enforce(now, id);
                }
                (Code::CREATED, id)
            }
            Put::Refreshed(id) => {
                self.events.push_back(ServerEvent::Extended { id, lifetime });
                (Code::CHANGED, id)
            }
            Put::Conflict(conflict) => return Some(conflict_answer(None, conflict)),
            Put::Changed => {
                return bad("parameters other than lifetime differ from those of this mid: use a higher mid");
            }
            Put::Ignored => return None,
            Put::Full => return Some(busy(60, "too many mitigations")),
        };
        let row = self.table.get(id)?;
        let mut scope = Scope { mid: Some(mid), lifetime: Some(row.lifetime(now)), ..Scope::default() };
        if code == Code::CREATED {
            scope.status = Some(row.status);
            scope.conflict = row.conflict.clone().map(Box::new);
        }
        let mut answer = MessageBuf::new(code, Token::default());
        answer.set_dots_payload(&Body::from(scope).to_vec());
        Some(answer)
    }

    /// Under which name a client is kept. A cdid is believed from gateways only; otherwise it is as if it were not there.
    pub(super) fn client(&self, peer: &Peer, path: MitigatePath<'_>) -> String {
        match path.cdid.filter(|_| self.policy.trusts_gateway(&peer.name)) {
            Some(cdid) => format!("{cdid}/{}", path.cuid),
            None => path.cuid.to_owned(),
        }
    }

    pub(super) fn enforce(&mut self, now: Instant, id: MitigationId) {
        let Some(row) = self.table.get(id).filter(|row| row.is_active() && !row.awaits_consent) else { return };
        let hosts = self.policy.resolve_local(&row.request);
        self.events.push_back(ServerEvent::Enforce { id, hosts, lifetime: row.lifetime(now) });
    }

    pub(super) fn take_credit(&self, now: Instant, peer: &mut Peer) -> bool {
        peer.credit = peer.credit.saturating_add(now - peer.credit_at).min(Duration::from_secs(10));
        peer.credit_at = now;
        let cost = Duration::from_secs(1).checked_div(self.config.requests_per_second).unwrap_or_default();
        match peer.credit.checked_sub(cost) {
            Some(left) => {
                peer.credit = left;
                true
            }
            None => false,
        }
    }

    pub(super) fn get(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        path: MitigatePath<'_>,
        message: &Message<'_>,
    ) -> MessageBuf {
        let query = message.option(OptionNumber::URI_QUERY);
        let filter = match query {
            Some(b"c=c") => Filter::Configured,
            Some(b"c=n") => Filter::NonConfigured,
            _ => Filter::All,
        };
        let cuid = self.client(peer, path);
        let resource = format!("{cuid}/{:?}/{filter:?}", path.mid);
        let mut next = MessageBuf::new(Code::CONTENT, Token::default());
        if peer.session.endpoint.put_next_block(&mut next, message, resource.as_bytes()) {
            return next;
        }
        let Some(body) = self.report(now, &peer.name, &cuid, path.mid, filter) else {
            return diagnostic(Code::NOT_FOUND, "no such mitigation");
        };
        let what = Observed::Mitigations { cuid, mid: path.mid, filter };
        let mut answer = MessageBuf::new(Code::CONTENT, Token::default());
        observe(peer, message, what, self.config.limits.observers, &mut answer);
        peer.session.endpoint.put_body(&mut answer, Some(message), resource.as_bytes(), body);
        answer
    }

    pub(super) fn report(
        &self,
        now: Instant,
        peer: &str,
        cuid: &str,
        mid: Option<u32>,
        filter: Filter,
    ) -> Option<Vec<u8>> {
        let rows =
            self.table.of_client(cuid).filter(|(_, row)| row.peer == peer && mid.is_none_or(|mid| mid == row.mid));
        let scopes: Vec<Scope> = rows
            .map(|(_, row)| {
                let mut scope = row.to_scope(now);
                match filter {
                    Filter::All => {}
                    Filter::Configured => {
                        (scope.bytes_dropped, scope.bps_dropped) = (None, None);
                        (scope.pkts_dropped, scope.pps_dropped) = (None, None);
                    }
                    Filter::NonConfigured => {
                        let all = scope;
                        scope = Scope {
                            mid: all.mid,
                            lifetime: all.lifetime,
                            status: all.status,
                            mitigation_start: all.mitigation_start,
                            conflict: all.conflict,
                            bytes_dropped: all.bytes_dropped,
                            bps_dropped: all.bps_dropped,
                            pkts_dropped: all.pkts_dropped,
                            pps_dropped: all.pps_dropped,
                            ..Scope::default()
                        };
                    }
                }
                scope
            })
            .collect();
        (!scopes.is_empty()).then(|| Body::Mitigation(scopes).to_vec())
    }

    pub(super) fn delete(&mut self, now: Instant, peer: &Peer, path: MitigatePath<'_>) -> MessageBuf {
        let Some(mid) = path.mid else { return diagnostic(Code::BAD_REQUEST, "mid is missing in the path") };
        let cuid = self.client(peer, path);
        self.table.withdraw(now, &peer.name, &cuid, mid);
        MessageBuf::new(Code::DELETED, Token::default())
    }

    pub(super) fn get_config(&self, peer: &mut Peer, sid: Option<u32>, message: &Message<'_>) -> MessageBuf {
        if sid.is_some() && sid != peer.sid {
            return diagnostic(Code::NOT_FOUND, "no such sid");
        }
        let mut answer = MessageBuf::new(Code::CONTENT, Token::default());
        observe(peer, message, Observed::Config, self.config.limits.observers, &mut answer);
        self.fill_config(peer, &mut answer);
        answer
    }

    pub(super) fn fill_config(&self, peer: &Peer, answer: &mut MessageBuf) {
        let current = &peer.session.config;
        let ranges = &self.config.ranges;
        let body = SignalConfig::new(Some(ranges.offer(&current.mitigating)), Some(ranges.offer(&current.idle)));
        answer.push_uint(OptionNumber::MAX_AGE, u64::from(self.config.config_max_age.max(1)));
        answer.set_dots_payload(&Body::from(body).to_vec());
    }

    pub(super) fn put_config(
        &mut self,
        id: SessionId,
        peer: &mut Peer,
        sid: Option<u32>,
        message: &Message<'_>,
    ) -> MessageBuf {
        let bad = |text: &str| diagnostic(Code::BAD_REQUEST, text);
        let Some(sid) = sid else { return bad("sid is missing in the path") };
        if !message.is_dots() {
            return diagnostic(Code::UNSUPPORTED_CONTENT_FORMAT, "content format is not application/dots+cbor (271)");
        }
        let config = match Body::decode(message.payload, Direction::Request) {
            Ok(Body::Config(config)) => config,
            Ok(_) => return bad("the body is no signal-config"),
            Err(error) => return bad(&error.to_string()),
        };
        let sets: Vec<_> = [&config.mitigating, &config.idle].into_iter().flatten().collect();
        if sets.iter().all(|set| set.is_empty()) {
            return bad("a configuration must set something");
        }
        if peer.sid.is_some_and(|last| sid < last) {
            return bad("sid is below the last one");
        }
        if let Some(member) = sets.iter().find_map(|set| self.config.ranges.violation(set)) {
            return diagnostic(Code::UNPROCESSABLE_ENTITY, &format!("{member} is out of range"));
        }
        let code = if peer.sid == Some(sid) { Code::CHANGED } else { Code::CREATED };
        peer.sid = Some(sid);
        peer.session.config = SessionConfig::from_signal(&config);
        peer.session.apply(self.table.is_mitigating(&peer.name));
        peer.observers.iter_mut().filter(|o| o.what == Observed::Config).for_each(|observer| observer.dirty = true);
        self.events.push_back(ServerEvent::Configured { session: id });
        MessageBuf::new(code, Token::default())
    }

    /// Refuses at once what leads nowhere; anything else is answered by [`Server::redirected`].
    pub(super) fn redirect(
        &mut self,
        id: SessionId,
        peer: &mut Peer,
        reply: ReplyTo,
        mid: Option<u32>,
        message: &Message<'_>,
    ) -> Option<MessageBuf> {
        let bad = |text: &str| Some(diagnostic(Code::BAD_REQUEST, text));
        if !message.is_dots() {
            let text = "content format is not application/dots+cbor (271)";
            return Some(diagnostic(Code::UNSUPPORTED_CONTENT_FORMAT, text));
        }
        let to = match Body::decode(message.payload, Direction::Request) {
            Ok(Body::Redirect(to)) => *to,
            Ok(_) => return bad("the body is no redirected-signal"),
            Err(error) => return bad(&error.to_string()),
        };
        let Some(name) = &to.alt_ch_client else { return bad("alt-ch-client is missing") };
        if to.alt_server.is_some() || !to.alt_server_record.is_empty() {
            return bad("alt-server is not for call home");
        }
        if *name == peer.name || mid.is_some() && mid <= peer.redirect_mid {
            return bad("this redirection leads nowhere new");
        }
        if peer.redirect.replace((reply, mid)).is_none() {
            self.events.push_back(ServerEvent::Redirect { session: id, to });
        }
        None
    }
}
