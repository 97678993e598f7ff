//! Records as the broker keeps them: small, without anything it does not use, and only with usable names.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::tlsa::TLSA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{RecordKind, Records};
use crate::name::DomainName;

/// A service's host (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Srv {
    /// Lower goes first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
    /// TCP or UDP port.
    pub port: u16,
    /// The host; the root says that the service is not offered.
    pub target: DomainName,
}

impl Srv {
    /// From its four fields.
    #[must_use]
    pub fn new(priority: u16, weight: u16, port: u16, target: DomainName) -> Self {
        Self { priority, weight, port, target }
    }
}

/// An alternative endpoint (RFC 9460).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServiceBinding {
    /// 0 is AliasMode; lower goes first.
    pub priority: u16,
    /// The host; `None` is "." in the record: the owner itself, or for AliasMode "not offered".
    pub target: Option<DomainName>,
    /// Protocols, in the order of the record.
    pub alpn: Box<[Box<str>]>,
    /// Whether the scheme's default protocol is excluded.
    pub no_default_alpn: bool,
    /// Port, if not the scheme's.
    pub port: Option<u16>,
    /// Addresses to begin with.
    pub ipv4_hint: Box<[Ipv4Addr]>,
    /// Addresses to begin with.
    pub ipv6_hint: Box<[Ipv6Addr]>,
}

/// A pinned certificate or key (RFC 6698).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tlsa {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// 0 whole certificate, 1 its public key.
    pub selector: u8,
    /// 0 the octets themselves, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// What to compare with.
    pub data: Box<[u8]>,
}

impl Tlsa {
    /// From its four fields.
    #[must_use]
    pub fn new(usage: u8, selector: u8, matching: u8, data: impl Into<Box<[u8]>>) -> Self {
        Self { usage, selector, matching, data: data.into() }
    }
}

/// More records of one set than anybody needs; the rest is left out.
const MAX_RECORDS: usize = 64;
/// Longest list within one SVCB parameter that is kept.
const MAX_LIST: usize = 16;

impl RecordKind {
    pub(super) fn record_type(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Srv => RecordType::SRV,
            Self::Https => RecordType::HTTPS,
            Self::Svcb => RecordType::SVCB,
            Self::Tlsa => RecordType::TLSA,
            Self::Dnskey => RecordType::DNSKEY,
            Self::Ds => RecordType::DS,
        }
    }
}

/// The broker's name for a DNS name; `None` for one that no service has.
pub(crate) fn domain(name: &Name) -> Option<DomainName> {
    if name.is_root() { Some(DomainName::root()) } else { DomainName::parse(&name.to_ascii()).ok() }
}

/// The records of `owner`, as far as they are of this kind and usable.
pub(crate) fn records<'a>(kind: RecordKind, owner: &Name, all: impl Iterator<Item = &'a Record>) -> Records {
    let ours = all.filter(|record| record.name == *owner && record.record_type() == kind.record_type());
    let data = ours.map(|record| &record.data).take(MAX_RECORDS);
    match kind {
        RecordKind::A => Records::A(
            data.filter_map(|data| if let RData::A(address) = data { Some(address.0) } else { None }).collect(),
        ),
        RecordKind::Aaaa => Records::Aaaa(
            data.filter_map(|data| if let RData::AAAA(address) = data { Some(address.0) } else { None }).collect(),
        ),
        RecordKind::Srv => Records::Srv(
            data.filter_map(|data| {
                let RData::SRV(srv) = data else { return None };
                let target = domain(&srv.target)?;
                Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
            })
            .collect(),
        ),
        RecordKind::Https => Records::Bindings(
            data.filter_map(|data| if let RData::HTTPS(https) = data { binding(&https.0) } else { None }).collect(),
        ),
        RecordKind::Svcb => Records::Bindings(
            data.filter_map(|data| if let RData::SVCB(svcb) = data { binding(svcb) } else { None }).collect(),
        ),
        RecordKind::Tlsa => Records::Tlsa(
            data.filter_map(|data| if let RData::TLSA(tlsa) = data { Some(pin(tlsa)) } else { None }).collect(),
        ),
        RecordKind::Dnskey | RecordKind::Ds => Records::Opaque,
    }
}

/// `None` when the record demands what is not understood (RFC 9460 section 8), or its target has no usable name.
fn binding(record: &SVCB) -> Option<ServiceBinding> {
    let mut binding = ServiceBinding {
        priority: record.svc_priority,
        target: if record.target_name.is_root() { None } else { Some(domain(&record.target_name)?) },
        ..ServiceBinding::default()
    };
    if binding.priority == 0 {
        // Parameters of an alias are to be ignored.
        return Some(binding);
    }
    for (_, value) in &record.svc_params {
        match value {
            SvcParamValue::Mandatory(mandatory) => {
                let understood = |key: &SvcParamKey| {
                    matches!(
                        key,
                        SvcParamKey::Alpn
                            | SvcParamKey::NoDefaultAlpn
                            | SvcParamKey::Port
                            | SvcParamKey::Ipv4Hint
                            | SvcParamKey::Ipv6Hint
                    )
                };
                if !mandatory.0.iter().all(understood) {
                    return None;
                }
            }
            SvcParamValue::Alpn(alpn) => {
                // Only what can stand in a policy label: no comma, no space, no control.
                let usable = |id: &&String| {
                    (1..=32).contains(&id.len())
                        && id.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-./_".contains(&octet))
                };
                binding.alpn = alpn.0.iter().filter(usable).take(MAX_LIST).map(|id| id.as_str().into()).collect();
            }
            SvcParamValue::NoDefaultAlpn => binding.no_default_alpn = true,
            SvcParamValue::Port(port) => binding.port = Some(*port),
            SvcParamValue::Ipv4Hint(hint) => binding.ipv4_hint = hint.0.iter().take(MAX_LIST).map(|a| a.0).collect(),
            SvcParamValue::Ipv6Hint(hint) => binding.ipv6_hint = hint.0.iter().take(MAX_LIST).map(|a| a.0).collect(),
            _ => {}
        }
    }
    (binding.port != Some(0)).then_some(binding)
}

fn pin(record: &TLSA) -> Tlsa {
    Tlsa {
        usage: record.cert_usage.into(),
        selector: record.selector.into(),
        matching: record.matching.into(),
        data: record.cert_data.as_slice().into(),
    }
}
