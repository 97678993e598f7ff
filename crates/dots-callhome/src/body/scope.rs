//! What a mitigation is about and how it stands. RFC 9132 section 4.4, RFC 9066 section 5.3.

use super::encode::Writer;
use super::enums::{ActivationType, AttackStatus, ConflictCause, ConflictStatus, Status};
use super::error::BodyErrorKind;
use super::key;
use super::list::List;
use super::prefix::Prefix;
use super::reader::{Direction, Extra, Reader, Result};

/// Ports from `lower` to `upper`; without `upper` the one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "two members in the YANG module")]
pub struct PortRange {
    /// The first.
    pub lower: u16,
    /// The last; not below the first.
    pub upper: Option<u16>,
}

/// ICMP or ICMPv6 types, by the family of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "two members in the YANG module")]
pub struct IcmpRange {
    /// The first.
    pub lower: u8,
    /// The last; not below the first.
    pub upper: Option<u8>,
}

impl PortRange {
    /// First and last.
    pub fn bounds(self) -> (u16, u16) {
        (self.lower, self.upper.unwrap_or(self.lower))
    }

    /// Whether a port is in both.
    pub fn overlaps(self, other: Self) -> bool {
        let ((a, b), (c, d)) = (self.bounds(), other.bounds());
        a <= d && c <= b
    }
}

impl IcmpRange {
    /// First and last.
    pub fn bounds(self) -> (u8, u8) {
        (self.lower, self.upper.unwrap_or(self.lower))
    }
}

/// How long a mitigation lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the union of the YANG module")]
pub enum Lifetime {
    /// Seconds. Zero is refused in requests.
    Seconds(u32),
    /// Until it is withdrawn: -1.
    Indefinite,
}

impl Lifetime {
    /// What is asked for when nothing else is wanted.
    pub const DEFAULT: Self = Self::Seconds(3600);
}

/// A named access list (RFC 9133, and in conflicts RFC 9132).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acl {
    /// Its name.
    pub name: String,
    /// What kind of list.
    pub acl_type: Option<String>,
    /// When it is in force.
    pub activation: Option<ActivationType>,
}

/// One mitigation: asked for in a request, reported in a response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Scope {
    /// Which; only in responses, because requests have it in their path.
    pub mid: Option<u32>,
    /// What is attacked.
    pub target_prefix: List<Prefix>,
    /// On which ports.
    pub target_port_range: List<PortRange>,
    /// By which protocols; none for any.
    pub target_protocol: List<u8>,
    /// Names of what is attacked; for people only in Call Home.
    pub target_fqdn: List<String>,
    /// URIs of what is attacked; for people only in Call Home.
    pub target_uri: List<String>,
    /// Names agreed on over the data channel.
    pub alias_name: List<String>,
    /// How long, or how much longer.
    pub lifetime: Option<Lifetime>,
    /// Since when it is active: seconds since 1970.
    pub mitigation_start: Option<u64>,
    /// How it stands.
    pub status: Option<Status>,
    /// With what it is in conflict.
    pub conflict: Option<Box<ConflictInformation>>,
    /// Octets dropped so far.
    pub bytes_dropped: Option<u64>,
    /// Octets dropped per second.
    pub bps_dropped: Option<u64>,
    /// Packets dropped so far.
    pub pkts_dropped: Option<u64>,
    /// Packets dropped per second.
    pub pps_dropped: Option<u64>,
    /// How the client sees it; only in efficacy updates.
    pub attack_status: Option<AttackStatus>,
    /// Whether to begin now, which is the default, or when the signal is lost.
    pub trigger_mitigation: Option<bool>,
    /// Access lists to switch (RFC 9133).
    pub acl_list: List<Acl>,
    /// Where the attack comes from.
    pub source_prefix: List<Prefix>,
    /// From which ports.
    pub source_port_range: List<PortRange>,
    /// By which ICMP types.
    pub source_icmp_type_range: List<IcmpRange>,
    /// What is not interpreted here, telemetry among it.
    pub extra: Vec<Extra>,
}

/// With what a request is in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConflictInformation {
    /// What becomes of the request.
    pub status: Option<ConflictStatus>,
    /// Why.
    pub cause: Option<ConflictCause>,
    /// Seconds to wait before asking again.
    pub retry_timer: Option<u32>,
    /// What of the request is in conflict.
    pub scope: Option<ConflictScope>,
    /// What is not interpreted here.
    pub extra: Vec<Extra>,
}

impl ConflictInformation {
    /// A conflict of which only the cause is said.
    pub fn caused_by(cause: ConflictCause) -> Self {
        Self { cause: Some(cause), ..Self::default() }
    }
}

/// What of a request is in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConflictScope {
    /// Which prefixes.
    pub target_prefix: List<Prefix>,
    /// Which ports.
    pub target_port_range: List<PortRange>,
    /// Which protocols.
    pub target_protocol: List<u8>,
    /// Which names.
    pub target_fqdn: List<String>,
    /// Which URIs.
    pub target_uri: List<String>,
    /// Which aliases.
    pub alias_name: List<String>,
    /// Which access lists.
    pub acl_list: List<Acl>,
    /// Which other mitigation of the same client.
    pub mid: Option<u32>,
    /// What is not interpreted here.
    pub extra: Vec<Extra>,
}

pub(super) fn read_container(reader: &mut Reader<'_>) -> Result<Vec<Scope>> {
    let mut scopes = None;
    let direction = reader.direction();
    reader.map(&mut Vec::new(), |reader, key| {
        if key != key::SCOPE {
            return Ok(false);
        }
        let mut read = Vec::new();
        reader.scopes(key, |reader| {
            // A request has one; it is filled where it stands, because it is large.
            if read.is_empty() {
                read.reserve_exact(1);
            }
            read.push(Scope::default());
            read.last_mut().map_or(Ok(()), |scope| scope.read(reader))
        })?;
        scopes = Some(read);
        Ok(true)
    })?;
    match scopes {
        Some(scopes) => Ok(scopes),
        None if direction == Direction::Response => Ok(Vec::new()),
        None => Err(reader.error(BodyErrorKind::Missing(key::SCOPE))),
    }
}

fn port_range(reader: &mut Reader<'_>) -> Result<PortRange> {
    let (mut lower, mut upper) = (None, None);
    reader.map(&mut Vec::new(), |reader, key| {
        match key {
            key::LOWER_PORT => lower = Some(reader.u16(key)?),
            key::UPPER_PORT => upper = Some(reader.u16(key)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let lower = lower.ok_or_else(|| reader.error(BodyErrorKind::Missing(key::LOWER_PORT)))?;
    if upper.is_some_and(|upper| upper < lower) {
        return Err(reader.error(BodyErrorKind::Range(key::UPPER_PORT)));
    }
    Ok(PortRange { lower, upper })
}

fn icmp_range(reader: &mut Reader<'_>) -> Result<IcmpRange> {
    let (mut lower, mut upper) = (None, None);
    reader.map(&mut Vec::new(), |reader, key| {
        match key {
            key::LOWER_TYPE => lower = Some(reader.u8(key)?),
            key::UPPER_TYPE => upper = Some(reader.u8(key)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let lower = lower.ok_or_else(|| reader.error(BodyErrorKind::Missing(key::LOWER_TYPE)))?;
    if upper.is_some_and(|upper| upper < lower) {
        return Err(reader.error(BodyErrorKind::Range(key::UPPER_TYPE)));
    }
    Ok(IcmpRange { lower, upper })
}

impl Acl {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let (mut name, mut acl_type, mut activation) = (None, None, None);
        reader.map(&mut Vec::new(), |reader, key| {
            match key {
                key::ACL_NAME => name = Some(reader.text(key)?),
                key::ACL_TYPE => acl_type = Some(reader.text(key)?),
                key::ACTIVATION_TYPE => activation = Some(ActivationType::from_code(reader.u32(key)?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let name = name.ok_or_else(|| reader.error(BodyErrorKind::Missing(key::ACL_NAME)))?;
        Ok(Self { name, acl_type, activation })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.map(|writer| {
            writer.key(key::ACL_NAME);
            writer.text(&self.name);
            if let Some(acl_type) = &self.acl_type {
                writer.key(key::ACL_TYPE);
                writer.text(acl_type);
            }
            if let Some(activation) = self.activation {
                writer.uint(key::ACTIVATION_TYPE, u64::from(activation.code()));
            }
        });
    }
}

impl Scope {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let mut extra = Vec::new();
        let scope = &mut *self;
        reader.map(&mut extra, |reader, key| {
            match key {
                key::MID => scope.mid = Some(reader.u32(key)?),
                key::TARGET_PREFIX => reader.prefixes(key, &mut scope.target_prefix)?,
                key::TARGET_PORT_RANGE => reader.list(key, &mut scope.target_port_range, port_range)?,
                key::TARGET_PROTOCOL => reader.list(key, &mut scope.target_protocol, |r| r.u8(key))?,
                key::TARGET_FQDN => reader.list(key, &mut scope.target_fqdn, |r| r.text(key))?,
                key::TARGET_URI => reader.list(key, &mut scope.target_uri, |r| r.text(key))?,
                key::ALIAS_NAME => reader.list(key, &mut scope.alias_name, |r| r.text(key))?,
                key::LIFETIME => {
                    let seconds = reader.uint_or_minus_one(key)?;
                    scope.lifetime = Some(seconds.map_or(Lifetime::Indefinite, Lifetime::Seconds));
                }
                key::MITIGATION_START => scope.mitigation_start = Some(reader.u64(key)?),
                key::STATUS => scope.status = Some(Status::from_code(reader.u32(key)?)),
                key::CONFLICT_INFORMATION => scope.conflict = Some(Box::new(ConflictInformation::read(reader)?)),
                key::BYTES_DROPPED => scope.bytes_dropped = Some(reader.u64(key)?),
                key::BPS_DROPPED => scope.bps_dropped = Some(reader.u64(key)?),
                key::PKTS_DROPPED => scope.pkts_dropped = Some(reader.u64(key)?),
                key::PPS_DROPPED => scope.pps_dropped = Some(reader.u64(key)?),
                key::ATTACK_STATUS => scope.attack_status = Some(AttackStatus::from_code(reader.u32(key)?)),
                key::TRIGGER_MITIGATION => scope.trigger_mitigation = Some(reader.bool()?),
                key::CONTROL_ACL_LIST => reader.list(key, &mut scope.acl_list, Acl::read)?,
                key::SOURCE_PREFIX => reader.prefixes(key, &mut scope.source_prefix)?,
                key::SOURCE_PORT_RANGE => reader.list(key, &mut scope.source_port_range, port_range)?,
                key::SOURCE_ICMP_TYPE_RANGE => reader.list(key, &mut scope.source_icmp_type_range, icmp_range)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        self.extra = extra;
        Ok(())
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.map(|writer| self.write_members(writer));
    }

    #[inline]
    fn write_members(&self, writer: &mut Writer<'_>) {
        uint(writer, key::MID, self.mid.map(u64::from));
        prefixes(writer, key::TARGET_PREFIX, &self.target_prefix);
        ports(writer, key::TARGET_PORT_RANGE, &self.target_port_range);
        protocols(writer, &self.target_protocol);
        texts(writer, key::TARGET_FQDN, &self.target_fqdn);
        texts(writer, key::TARGET_URI, &self.target_uri);
        texts(writer, key::ALIAS_NAME, &self.alias_name);
        match self.lifetime {
            Some(Lifetime::Seconds(seconds)) => uint(writer, key::LIFETIME, Some(u64::from(seconds))),
            Some(Lifetime::Indefinite) => {
                writer.key(key::LIFETIME);
                writer.minus_one();
            }
            None => {}
        }
        uint(writer, key::MITIGATION_START, self.mitigation_start);
        uint(writer, key::STATUS, self.status.map(|status| u64::from(status.code())));
        if let Some(conflict) = &self.conflict {
            writer.key(key::CONFLICT_INFORMATION);
            conflict.write(writer);
        }
        uint(writer, key::BYTES_DROPPED, self.bytes_dropped);
        uint(writer, key::BPS_DROPPED, self.bps_dropped);
        uint(writer, key::PKTS_DROPPED, self.pkts_dropped);
        uint(writer, key::PPS_DROPPED, self.pps_dropped);
        uint(writer, key::ATTACK_STATUS, self.attack_status.map(|status| u64::from(status.code())));
        if let Some(trigger) = self.trigger_mitigation {
            writer.key(key::TRIGGER_MITIGATION);
            writer.bool(trigger);
        }
        acls(writer, key::CONTROL_ACL_LIST, &self.acl_list);
        writer.extras(&self.extra, 0, key::SOURCE_PREFIX);
        prefixes(writer, key::SOURCE_PREFIX, &self.source_prefix);
        ports(writer, key::SOURCE_PORT_RANGE, &self.source_port_range);
        if !self.source_icmp_type_range.is_empty() {
            writer.array(key::SOURCE_ICMP_TYPE_RANGE, self.source_icmp_type_range.len());
            for range in &self.source_icmp_type_range {
                let (lower, upper) = (u64::from(range.lower), range.upper.map(u64::from));
                bounds(writer, [key::LOWER_TYPE, key::UPPER_TYPE], lower, upper);
            }
        }
        writer.extras(&self.extra, key::SOURCE_PREFIX, u32::MAX);
    }
}

impl ConflictInformation {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut extra = Vec::new();
        let mut conflict = Self::default();
        reader.map(&mut extra, |reader, key| {
            match key {
                key::CONFLICT_STATUS => conflict.status = Some(ConflictStatus::from_code(reader.u32(key)?)),
                key::CONFLICT_CAUSE => conflict.cause = Some(ConflictCause::from_code(reader.u32(key)?)),
                key::RETRY_TIMER => conflict.retry_timer = Some(reader.u32(key)?),
                key::CONFLICT_SCOPE => conflict.scope = Some(ConflictScope::read(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        conflict.extra = extra;
        Ok(conflict)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.map(|writer| {
            uint(writer, key::CONFLICT_STATUS, self.status.map(|status| u64::from(status.code())));
            uint(writer, key::CONFLICT_CAUSE, self.cause.map(|cause| u64::from(cause.code())));
            uint(writer, key::RETRY_TIMER, self.retry_timer.map(u64::from));
            if let Some(scope) = &self.scope {
                writer.key(key::CONFLICT_SCOPE);
                scope.write(writer);
            }
            writer.extras(&self.extra, 0, u32::MAX);
        });
    }
}

impl ConflictScope {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut extra = Vec::new();
        let mut scope = Self::default();
        reader.map(&mut extra, |reader, key| {
            match key {
                key::MID => scope.mid = Some(reader.u32(key)?),
                key::TARGET_PREFIX => reader.prefixes(key, &mut scope.target_prefix)?,
                key::TARGET_PORT_RANGE => reader.list(key, &mut scope.target_port_range, port_range)?,
                key::TARGET_PROTOCOL => reader.list(key, &mut scope.target_protocol, |r| r.u8(key))?,
                key::TARGET_FQDN => reader.list(key, &mut scope.target_fqdn, |r| r.text(key))?,
                key::TARGET_URI => reader.list(key, &mut scope.target_uri, |r| r.text(key))?,
                key::ALIAS_NAME => reader.list(key, &mut scope.alias_name, |r| r.text(key))?,
                key::ACL_LIST => reader.list(key, &mut scope.acl_list, Acl::read)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        scope.extra = extra;
        Ok(scope)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.map(|writer| {
            uint(writer, key::MID, self.mid.map(u64::from));
            prefixes(writer, key::TARGET_PREFIX, &self.target_prefix);
            ports(writer, key::TARGET_PORT_RANGE, &self.target_port_range);
            protocols(writer, &self.target_protocol);
            texts(writer, key::TARGET_FQDN, &self.target_fqdn);
            texts(writer, key::TARGET_URI, &self.target_uri);
            texts(writer, key::ALIAS_NAME, &self.alias_name);
            acls(writer, key::ACL_LIST, &self.acl_list);
            writer.extras(&self.extra, 0, u32::MAX);
        });
    }
}

#[inline(always)]
fn uint(writer: &mut Writer<'_>, key: u32, number: Option<u64>) {
    if let Some(number) = number {
        writer.uint(key, number);
    }
}

#[inline(always)]
fn prefixes(writer: &mut Writer<'_>, key: u32, prefixes: &List<Prefix>) {
    if !prefixes.is_empty() {
        writer.prefixes(key, prefixes);
    }
}

#[inline(always)]
fn texts(writer: &mut Writer<'_>, key: u32, texts: &List<String>) {
    if !texts.is_empty() {
        writer.texts(key, texts);
    }
}

#[inline(always)]
fn protocols(writer: &mut Writer<'_>, protocols: &List<u8>) {
    if !protocols.is_empty() {
        writer.array(key::TARGET_PROTOCOL, protocols.len());
        protocols.iter().for_each(|&protocol| writer.element(u64::from(protocol)));
    }
}

#[inline(always)]
fn acls(writer: &mut Writer<'_>, key: u32, acls: &List<Acl>) {
    if !acls.is_empty() {
        writer.array(key, acls.len());
        acls.iter().for_each(|acl| acl.write(writer));
    }
}

#[inline(always)]
fn ports(writer: &mut Writer<'_>, key: u32, ranges: &List<PortRange>) {
    if !ranges.is_empty() {
        writer.array(key, ranges.len());
        for range in ranges {
            let (lower, upper) = (u64::from(range.lower), range.upper.map(u64::from));
            bounds(writer, [key::LOWER_PORT, key::UPPER_PORT], lower, upper);
        }
    }
}

fn bounds(writer: &mut Writer<'_>, [lower_key, upper_key]: [u32; 2], lower: u64, upper: Option<u64>) {
    writer.map(|writer| {
        writer.uint(lower_key, lower);
        uint(writer, upper_key, upper);
    });
}
