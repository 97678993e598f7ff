//! What a chain proved, and whether a connection follows from it.

use std::net::IpAddr;

use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{Name, RData, Record};

/// Longest chain of aliases that is followed.
const MAX_ALIASES: usize = 8;

/// Records that a chain proved.
#[derive(Debug, Clone)]
pub struct Proof {
    records: Vec<Record>,
    valid_until: i64,
}

impl Proof {
    pub(super) fn new(records: Vec<Record>, valid_until: i64) -> Self {
        Self { records, valid_until }
    }

    /// When the first signature ends, in seconds since 1970.
    #[must_use]
    pub fn valid_until(&self) -> i64 {
        self.valid_until
    }

    /// Owner and type of each proven record, as text; for logs and for people.
    #[must_use]
    pub fn proven(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> =
            self.records.iter().map(|record| (record.name.to_ascii(), record.record_type().to_string())).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The proven addresses of a host, its aliases followed.
    #[must_use]
    pub fn addresses(&self, host: &str) -> Vec<IpAddr> {
        fqdn(host).map(|name| self.addresses_of(&name)).unwrap_or_default()
    }

    /// The proven TLSA records of a host's port: usage, selector, matching type, data (RFC 6698).
    #[must_use]
    pub fn tlsa(&self, host: &str, port: u16) -> Vec<(u8, u8, u8, Vec<u8>)> {
        let Some(name) = fqdn(&format!("_{port}._tcp.{host}")) else { return Vec::new() };
        let owner = self.follow(&name);
        let pins = self.records.iter().filter(|record| record.name == owner).filter_map(|record| match &record.data {
            RData::TLSA(pin) => {
                Some((pin.cert_usage.into(), pin.selector.into(), pin.matching.into(), pin.cert_data.clone()))
            }
            _ => None,
        });
        pins.collect()
    }

    /// Whether the proven records name this address and port for the service: what a client asks about each
    /// connection of a list before it believes it.
    ///
    /// `service` is the prefix of SRV records (`_xmpp-client._tcp`), `asked_port` the port of the question or the
    /// service's usual one, under which the name's own addresses count.
    #[must_use]
    pub fn supports(
        &self,
        name: &str,
        service: Option<&str>,
        asked_port: Option<u16>,
        address: IpAddr,
        port: u16,
    ) -> bool {
        let Some(name_) = fqdn(name) else { return false };
        if asked_port == Some(port) && self.addresses_of(&name_).contains(&address) {
            return true;
        }
        let srv = service.and_then(|prefix| fqdn(&format!("{}.{name}", prefix.trim_end_matches('.'))));
        if let Some(owner) = srv.map(|srv| self.follow(&srv)) {
            for record in self.records.iter().filter(|record| record.name == owner) {
                if let RData::SRV(srv) = &record.data
                    && srv.port == port
                    && self.addresses_of(&srv.target).contains(&address)
                {
                    return true;
                }
            }
        }
        let label = service.and_then(|prefix| prefix.split('.').next()).unwrap_or("_https");
        let mut places = vec![name.to_owned(), format!("{label}.{name}")];
        if let Some(port) = asked_port {
            places.extend([format!("_{port}._https.{name}"), format!("_{port}.{label}.{name}")]);
        }
        places.iter().filter_map(|place| fqdn(place)).any(|place| self.bound(&place, &name_, address, port))
    }

    /// Whether HTTPS or SVCB records at `place` name the address and port.
    fn bound(&self, place: &Name, host: &Name, address: IpAddr, port: u16) -> bool {
        let mut owner = self.follow(place);
        let mut here = host.clone();
        for _ in 0..=MAX_ALIASES {
            let bindings: Vec<&SVCB> = self
                .records
                .iter()
                .filter(|record| record.name == owner)
                .filter_map(|record| match &record.data {
                    RData::HTTPS(https) => Some(&https.0),
                    RData::SVCB(svcb) => Some(svcb),
                    _ => None,
                })
                .collect();
            let alias = bindings.iter().find(|binding| binding.svc_priority == 0);
            if let Some(alias) = alias {
                here = alias.target_name.clone();
                owner = self.follow(&alias.target_name);
                // A host without records of its own serves at the usual port.
                if port == 443 && self.addresses_of(&here).contains(&address) {
                    return true;
                }
                continue;
            }
            return bindings.iter().any(|binding| {
                let target = if binding.target_name.is_root() {
                    if place == host || here != *host { &owner } else { host }
                } else {
                    &binding.target_name
                };
                let mut named = 443;
                let mut hinted = false;
                for (_, value) in &binding.svc_params {
                    match value {
                        SvcParamValue::Port(port) => named = *port,
                        SvcParamValue::Ipv4Hint(hint) => {
                            hinted |= hint.0.iter().any(|one| IpAddr::V4(one.0) == address)
                        }
                        SvcParamValue::Ipv6Hint(hint) => {
                            hinted |= hint.0.iter().any(|one| IpAddr::V6(one.0) == address)
                        }
                        _ => {}
                    }
                }
                named == port && (hinted || self.addresses_of(target).contains(&address))
            });
        }
        false
    }

    fn addresses_of(&self, host: &Name) -> Vec<IpAddr> {
        let owner = self.follow(host);
        let here = self.records.iter().filter(|record| record.name == owner);
        here.filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .collect()
    }

    fn follow(&self, name: &Name) -> Name {
        let mut here = name.clone();
        for _ in 0..MAX_ALIASES {
            let alias = self.records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == here => Some(target.0.clone()),
                _ => None,
            });
            match alias {
                Some(target) => here = target,
                None => break,
            }
        }
        here
    }
}

fn fqdn(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}
