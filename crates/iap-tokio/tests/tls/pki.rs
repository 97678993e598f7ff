//! Certificates and revocation lists for tests.

use std::net::IpAddr;
use std::time::Duration;

use iap_tokio::tls::{IapOids, Oid};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use super::{DAY, NOW};

/// What a certificate shall say.
pub(crate) struct Spec {
    pub(crate) common_name: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) ip: Vec<IpAddr>,
    pub(crate) uri: Vec<String>,
    pub(crate) usages: Vec<Oid>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

pub(crate) fn generator() -> Oid {
    IapOids::default().generator
}

pub(crate) fn consumer() -> Oid {
    IapOids::default().consumer
}

pub(crate) fn configurator() -> Oid {
    IapOids::default().configurator
}

pub(crate) fn client_auth() -> Oid {
    "1.3.6.1.5.5.7.3.2".parse().unwrap()
}

pub(crate) fn server_auth() -> Oid {
    "1.3.6.1.5.5.7.3.1".parse().unwrap()
}

/// A good analyzer certificate.
pub(crate) fn analyzer(name: &str) -> Spec {
    Spec {
        common_name: Some(name.to_owned()),
        unit: None,
        dns: vec![format!("{name}.sensors.example.org")],
        ip: Vec::new(),
        uri: Vec::new(),
        usages: vec![client_auth(), generator()],
        not_before: NOW - DAY,
        not_after: NOW + 30 * DAY,
    }
}

/// A good manager certificate.
pub(crate) fn manager(name: &str) -> Spec {
    Spec { dns: vec![name.to_owned()], usages: vec![server_auth(), consumer()], ..analyzer(name) }
}

pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) serial: SerialNumber,
    pub(crate) der: Vec<u8>,
}

pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// What a leaf's chain has after the leaf.
    above: String,
}

/// rcgen does not re-export the type of its dates, and everything here can do without its name.
macro_rules! at {
    ($seconds:expr) => {
        date_time_ymd(1970, 1, 1) + Duration::from_secs($seconds)
    };
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = Self::params(name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key), above: String::new() }
    }

    /// A CA under this one; `usages` restricts what it may issue.
    pub(crate) fn subordinate(&self, name: &str, usages: &[Oid]) -> (Self, Leaf) {
        let key = KeyPair::generate().unwrap();
        let mut params = Self::params(name);
        params.serial_number = Some(serial());
        add_usages(&mut params, usages);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let leaf = Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            serial: params.serial_number.clone().unwrap(),
            der: certificate.der().to_vec(),
        };
        (Self { pem: self.pem.clone(), issuer: Issuer::new(params, key), above: leaf.chain.clone() }, leaf)
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = at!(NOW - 100 * DAY);
        params.not_after = at!(NOW + 1000 * DAY);
        params
    }

    pub(crate) fn issue(&self, spec: Spec) -> Leaf {
        self.issue_to(KeyPair::generate().unwrap(), spec)
    }

    pub(crate) fn issue_to(&self, key: KeyPair, spec: Spec) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        if let Some(name) = spec.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        if let Some(unit) = spec.unit {
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        }
        let dns = spec.dns.into_iter().map(|name| SanType::DnsName(name.try_into().unwrap()));
        let ip = spec.ip.into_iter().map(SanType::IpAddress);
        let uri = spec.uri.into_iter().map(|name| SanType::URI(name.try_into().unwrap()));
        params.subject_alt_names = dns.chain(ip).chain(uri).collect();
        params.not_before = at!(spec.not_before);
        params.not_after = at!(spec.not_after);
        params.serial_number = Some(serial());
        add_usages(&mut params, &spec.usages);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            chain: certificate.pem() + &self.above,
            key: key.serialize_pem(),
            serial: params.serial_number.unwrap(),
            der: certificate.der().to_vec(),
        }
    }

    /// A revocation list in PEM, made a day before and expiring a day after [`NOW`].
    pub(crate) fn crl(&self, revoked: &[&Leaf]) -> String {
        self.crl_between(revoked, NOW - DAY, NOW + DAY).pem().unwrap()
    }

    pub(crate) fn crl_between(&self, revoked: &[&Leaf], from: u64, to: u64) -> rcgen::CertificateRevocationList {
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: leaf.serial.clone(),
            revocation_time: at!(from),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: at!(from),
            next_update: at!(to),
            crl_number: serial(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }
}

fn serial() -> SerialNumber {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    SerialNumber::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// rcgen's own list of usages takes 64-bit numbers only; ours are under a UUID.
fn add_usages(params: &mut CertificateParams, usages: &[Oid]) {
    if usages.is_empty() {
        return;
    }
    let length = |octets: &[u8]| u8::try_from(octets.len()).ok().filter(|length| *length < 128).unwrap();
    let oids: Vec<u8> =
        usages.iter().flat_map(|oid| [&[6, length(oid.as_der_contents())], oid.as_der_contents()].concat()).collect();
    let sequence = [&[0x30, length(&oids)][..], &oids].concat();
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 37], sequence));
}
