//! The mitigations of a server: what overlaps, what is granted, how each ends. RFC 9132 sections 4.4.1 to 4.4.4.

use std::collections::BTreeMap;

use watchfire_core::{Duration, Instant, setters};

use crate::body::{ConflictCause, ConflictInformation, ConflictScope, ConflictStatus, Lifetime, Scope, Status};
use crate::limits::Limits;
use crate::request::MitigationRequest;

/// Names a mitigation at a server; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MitigationId(pub(crate) u64);

impl MitigationId {
    /// Its number, which no other of this server has or had.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a server does when two clients ask for the same targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OtherClients {
    /// Mitigates both, and says so by conflict-status 2.
    #[default]
    Accept,
    /// Keeps the later one inactive until the first one ends.
    Inactive,
    /// Refuses the later one by 4.09.
    Reject,
}

/// The rules of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Whether requests conflict only when their sources overlap too. RFC 9132 counts targets alone: so by default not.
    pub sources_too: bool,
    /// What happens between clients.
    pub other_clients: OtherClients,
    /// How long a withdrawn or expired mitigation stays active. Default 120 s (RFC 9132 section 4.4.4).
    pub terminating: Duration,
    /// How far that doubles when it is asked for and withdrawn again. Default 300 s.
    pub terminating_max: Duration,
    /// How long its end can be asked for. Default 30 s.
    pub epitaph: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            sources_too: false,
            other_clients: OtherClients::Accept,
            terminating: Duration::from_secs(120),
            terminating_max: Duration::from_secs(300),
            epitaph: Duration::from_secs(30),
        }
    }
}

setters! { Rules {
    with_sources_too => sources_too: bool,
    with_other_clients => other_clients: OtherClients,
    with_terminating => terminating: Duration,
    with_terminating_max => terminating_max: Duration,
    with_epitaph => epitaph: Duration,
} }

/// What was dropped so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs, reason = "the counters of RFC 8612 SIG-006")]
pub struct Counters {
    /// Octets.
    pub bytes: u64,
    /// Octets per second.
    pub bps: u64,
    /// Packets.
    pub pkts: u64,
    /// Packets per second.
    pub pps: u64,
}

/// One mitigation at a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mitigation {
    /// Who asked, as (D)TLS proved.
    pub peer: String,
    /// Under which name.
    pub cuid: String,
    /// Under which number.
    pub mid: u32,
    /// For what.
    pub request: MitigationRequest,
    /// How it stands.
    pub status: Status,
    /// Kept, but not in force, because of another client.
    pub inactive: bool,
    /// Not in force before an administrator agrees.
    pub awaits_consent: bool,
    pub(crate) expires: Option<Instant>,
    pub(crate) started: Option<u64>,
    pub(crate) counters: Option<Counters>,
    pub(crate) conflict: Option<ConflictInformation>,
    terminating: Duration,
    /// Status changed since the observers heard.
    pub(crate) dirty: bool,
}

impl Mitigation {
    /// Whether it is asked for: neither being terminated nor over.
    pub fn is_wanted(&self) -> bool {
        matches!(
            self.status,
            Status::InProgress | Status::SuccessfullyMitigated | Status::Stopped | Status::ExceededCapability
        )
    }

    /// Whether filters are, or may be, installed.
    pub fn is_active(&self) -> bool {
        !self.inactive && (self.is_wanted() || self.status == Status::ClientWithdrawn)
    }

    /// Seconds left; `None` for ever.
    fn left(&self, now: Instant) -> Option<u32> {
        self.expires.map(|at| u32::try_from((at - now).as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX))
    }

    pub(crate) fn lifetime(&self, now: Instant) -> Lifetime {
        self.left(now).map_or(Lifetime::Indefinite, Lifetime::Seconds)
    }

    /// What is said about it.
    pub(crate) fn to_scope(&self, now: Instant) -> Scope {
        let asked = self.request.scope();
        let mut scope = Scope {
            mid: Some(self.mid),
            target_prefix: asked.target_prefix.clone(),
            target_port_range: asked.target_port_range.clone(),
            target_protocol: asked.target_protocol.clone(),
            target_fqdn: asked.target_fqdn.clone(),
            target_uri: asked.target_uri.clone(),
            source_prefix: asked.source_prefix.clone(),
            source_port_range: asked.source_port_range.clone(),
            source_icmp_type_range: asked.source_icmp_type_range.clone(),
            lifetime: Some(self.lifetime(now)),
            status: Some(self.status),
            conflict: self.conflict.clone().map(Box::new),
            ..Scope::default()
        };
        if self.status != Status::SignalLoss {
            scope.mitigation_start = self.started;
        }
        if let Some(counters) = self.counters {
            scope.bytes_dropped = Some(counters.bytes);
            scope.bps_dropped = Some(counters.bps);
            scope.pkts_dropped = Some(counters.pkts);
            scope.pps_dropped = Some(counters.pps);
        }
        scope
    }
}

/// What became of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "answered at once")]
pub enum Put {
    /// New: 2.01.
    Created(MitigationId),
    /// Refreshed or extended: 2.04.
    Refreshed(MitigationId),
    /// In conflict: 4.09.
    Conflict(ConflictInformation),
    /// The same mid with other parameters: 4.00.
    Changed,
    /// An efficacy update for nothing: silence.
    Ignored,
    /// Too many: 5.03.
    Full,
}

/// What happened by itself, or as a consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Its status changed.
    Status(MitigationId),
    /// It is not in force any more: filters go.
    Lifted(MitigationId),
    /// It is in force again, because a conflict ended: filters come.
    Activated(MitigationId),
}

/// All mitigations of a server.
#[derive(Debug)]
pub struct Table {
    rules: Rules,
    limits: Limits,
    rows: BTreeMap<MitigationId, Mitigation>,
    names: BTreeMap<(String, u32), MitigationId>,
    next: u64,
    changes: Vec<Change>,
}

impl Table {
    /// An empty table.
    pub fn new(rules: Rules, limits: Limits) -> Self {
        Self { rules, limits, rows: BTreeMap::new(), names: BTreeMap::new(), next: 0, changes: Vec::new() }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (MitigationId, &Mitigation)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// One of them.
    pub fn get(&self, id: MitigationId) -> Option<&Mitigation> {
        self.rows.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: MitigationId) -> Option<&mut Mitigation> {
        self.rows.get_mut(&id)
    }

    /// The one with this name.
    pub fn find(&self, cuid: &str, mid: u32) -> Option<MitigationId> {
        self.names.get(&(cuid.to_owned(), mid)).copied()
    }

    /// Those of a client, in the order of their mids.
    pub fn of_client<'a>(&'a self, cuid: &'a str) -> impl Iterator<Item = (MitigationId, &'a Mitigation)> {
        let names = self.names.range((cuid.to_owned(), 0)..=(cuid.to_owned(), u32::MAX));
        names.filter_map(|(_, id)| self.rows.get(id).map(|row| (*id, row)))
    }

    /// Whether any is in force.
    pub fn is_mitigating(&self, peer: &str) -> bool {
        self.rows.values().any(|row| row.peer == peer && row.is_active())
    }

    /// Whether the cuid belongs to another peer.
    pub fn collides(&self, peer: &str, cuid: &str) -> bool {
        self.of_client(cuid).next().is_some_and(|(_, row)| row.peer != peer)
    }

    /// What happened since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        core::mem::take(&mut self.changes)
    }

    /// A request, already checked and granted `lifetime`.
    pub fn put(
        &mut self,
        now: Instant,
        (peer, cuid, mid): (&str, &str, u32),
        mut request: MitigationRequest,
        efficacy: bool,
        lifetime: Lifetime,
    ) -> Put {
        if self.collides(peer, cuid) {
            return Put::Conflict(ConflictInformation::caused_by(ConflictCause::CuidCollision));
        }
        let expires = match lifetime {
            Lifetime::Seconds(seconds) => Some(now + Duration::from_secs(u64::from(seconds))),
            Lifetime::Indefinite => None,
        };
        if let Some(id) = self.find(cuid, mid)
            && let Some(row) =
                self.rows.get_mut(&id).filter(|row| row.is_wanted() || row.status == Status::ClientWithdrawn)
        {
            if !row.request.same_parameters(&request) {
                return Put::Changed;
            }
            if !row.inactive {
                row.expires = expires;
            }
            if row.status == Status::ClientWithdrawn {
                // Asked for again: an extension.
                row.status = if row.started.is_some() { Status::SuccessfullyMitigated } else { Status::InProgress };
                row.dirty = true;
                self.changes.push(Change::Status(id));
            }
            return Put::Refreshed(id);
        }
        if efficacy {
            return Put::Ignored;
        }
        request.set_lifetime(lifetime);
        let mut conflict = None;
        let (mut overridden, mut mine, mut cuids) = (Vec::new(), 0usize, 0usize);
        let mut last_cuid = "";
        for ((of, _), id) in &self.names {
            let Some(row) = self.rows.get(id).filter(|row| row.peer == peer) else { continue };
            mine = mine.saturating_add(1);
            if of != last_cuid {
                cuids = cuids.saturating_add(1);
                last_cuid = of;
            }
            let over = !row.is_wanted() && row.status != Status::ClientWithdrawn;
            if row.cuid != cuid || over || !row.request.overlaps(&request, self.rules.sources_too) {
                continue;
            }
            if row.mid > mid && row.is_wanted() {
                let scope = ConflictScope {
                    mid: Some(row.mid),
                    target_prefix: common_targets(&request, &row.request),
                    ..ConflictScope::default()
                };
                return Put::Conflict(ConflictInformation {
                    cause: Some(ConflictCause::OverlappingTargets),
                    scope: Some(scope),
                    ..ConflictInformation::default()
                });
            }
            overridden.push(*id);
        }
        let new_cuid = self.of_client(cuid).next().is_none();
        if mine.saturating_sub(overridden.len()) >= self.limits.mitigations
            || self.rows.len().saturating_sub(overridden.len()) >= self.limits.all_mitigations
            || new_cuid && cuids >= self.limits.cuids
        {
            return Put::Full;
        }
        let mut inactive = None;
        let other = self.rows.values().find(|row| {
            row.cuid != cuid
                && row.is_wanted()
                && !row.inactive
                && row.request.overlaps(&request, self.rules.sources_too)
        });
        if let Some(other) = other {
            let retry = other.left(now).unwrap_or(3600);
            let scope =
                ConflictScope { target_prefix: common_targets(&request, &other.request), ..ConflictScope::default() };
            let mut information = ConflictInformation {
                status: Some(ConflictStatus::RequestActive),
                cause: Some(ConflictCause::OverlappingTargets),
                scope: Some(scope),
                ..ConflictInformation::default()
            };
            if self.rules.other_clients != OtherClients::Accept {
                information.status = Some(ConflictStatus::RequestInactiveOtherActive);
                information.retry_timer = Some(retry);
            }
            match self.rules.other_clients {
                OtherClients::Accept => {}
                OtherClients::Inactive => inactive = Some(Duration::from_secs(u64::from(retry).saturating_add(45))),
                OtherClients::Reject => return Put::Conflict(information),
            }
            conflict = Some(information);
        }
        overridden.into_iter().for_each(|id| self.remove(id));
        if let Some(id) = self.find(cuid, mid) {
            // Over, and only kept to be asked for.
            self.remove(id);
        }
        let id = MitigationId(self.next);
        self.next = self.next.saturating_add(1);
        let row = Mitigation {
            peer: peer.to_owned(),
            cuid: cuid.to_owned(),
            mid,
            request,
            status: Status::InProgress,
            inactive: inactive.is_some(),
            awaits_consent: false,
            expires: inactive.map_or(expires, |wait| Some(now + wait)),
            started: None,
            counters: None,
            conflict,
            terminating: self.rules.terminating,
            dirty: true,
        };
        self.names.insert((row.cuid.clone(), mid), id);
        self.rows.insert(id, row);
        Put::Created(id)
    }

    /// Puts back what was in force before a restart, as it was; `None` when there is no room, or the name is taken.
    pub fn restore(
        &mut self,
        now: Instant,
        (peer, cuid, mid): (&str, &str, u32),
        request: MitigationRequest,
        lifetime: Lifetime,
    ) -> Option<MitigationId> {
        match self.put(now, (peer, cuid, mid), request, false, lifetime) {
            Put::Created(id) => Some(id),
            _ => None,
        }
    }

    /// The client withdraws it. Unknown ones are withdrawn already.
    pub fn withdraw(&mut self, now: Instant, peer: &str, cuid: &str, mid: u32) {
        let Some(id) = self.find(cuid, mid) else { return };
        if self.rows.get(&id).is_some_and(|row| row.peer == peer && row.is_wanted()) {
            self.terminate(now, id);
        }
    }

    fn terminate(&mut self, now: Instant, id: MitigationId) {
        let max = self.rules.terminating_max;
        let Some(row) = self.rows.get_mut(&id) else { return };
        if row.inactive || row.started.is_none() {
            // Nothing is in force that could oscillate.
            return self.end(now, id, Status::Terminated);
        }
        row.status = Status::ClientWithdrawn;
        row.expires = Some(now + row.terminating);
        row.terminating = row.terminating.saturating_mul(2).min(max);
        row.dirty = true;
        self.changes.push(Change::Status(id));
    }

    /// It is over, with this last status; filters go at once.
    pub(crate) fn end(&mut self, now: Instant, id: MitigationId, status: Status) {
        let epitaph = self.rules.epitaph;
        let Some(row) = self.rows.get_mut(&id) else { return };
        let was_active = row.is_active();
        row.status = status;
        row.expires = Some(now + epitaph);
        row.dirty = true;
        self.changes.push(Change::Status(id));
        if was_active {
            self.changes.push(Change::Lifted(id));
            self.wake(now);
        }
    }

    fn remove(&mut self, id: MitigationId) {
        let Some(row) = self.rows.remove(&id) else { return };
        self.names.remove(&(row.cuid.clone(), row.mid));
        if row.is_active() {
            self.changes.push(Change::Lifted(id));
        }
    }

    /// Sets the status of one that is in force.
    pub(crate) fn set_status(&mut self, id: MitigationId, status: Status) {
        if let Some(row) = self.rows.get_mut(&id)
            && row.is_wanted()
            && row.status != status
        {
            row.status = status;
            row.dirty = true;
            self.changes.push(Change::Status(id));
        }
    }

    /// Ones that were kept inactive take their turn when nothing stands against them any more.
    fn wake(&mut self, now: Instant) {
        let waiting: Vec<MitigationId> =
            self.iter().filter(|(_, r)| r.inactive && r.is_wanted()).map(|(id, _)| id).collect();
        for id in waiting {
            let Some(row) = self.rows.get(&id) else { continue };
            let blocked = self.rows.values().any(|other| {
                other.cuid != row.cuid
                    && other.is_wanted()
                    && !other.inactive
                    && other.request.overlaps(&row.request, self.rules.sources_too)
            });
            if blocked {
                continue;
            }
            let lifetime = row.request.lifetime();
            let Some(row) = self.rows.get_mut(&id) else { continue };
            row.inactive = false;
            row.conflict = None;
            row.dirty = true;
            row.expires = match lifetime {
                Lifetime::Seconds(seconds) => Some(now + Duration::from_secs(u64::from(seconds))),
                Lifetime::Indefinite => None,
            };
            self.changes.push(Change::Activated(id));
            self.changes.push(Change::Status(id));
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<MitigationId> =
            self.iter().filter(|(_, row)| row.expires.is_some_and(|at| at <= now)).map(|(id, _)| id).collect();
        for id in due {
            let Some(row) = self.rows.get(&id) else { continue };
            match row.status {
                // RFC 8612 SIG-007: as if it were withdrawn.
                _ if row.is_wanted() => self.terminate(now, id),
                Status::ClientWithdrawn => self.end(now, id, Status::Terminated),
                _ => self.remove(id),
            }
        }
    }

    /// When something happens by itself.
    pub fn deadline(&self) -> Option<Instant> {
        self.rows.values().filter_map(|row| row.expires).min()
    }
}

fn common_targets(one: &MitigationRequest, other: &MitigationRequest) -> crate::body::List<crate::body::Prefix> {
    let overlaps = |target: &&crate::body::Prefix| other.targets().iter().any(|theirs| theirs.overlaps(target));
    one.targets().iter().filter(overlaps).copied().collect()
}
