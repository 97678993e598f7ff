//! Credentials: good ones, and every way to be bad.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector, TLSA};
use hickory_proto::rr::{RData, Record};
use obp_broker::Status;
use obp_broker::connect::{Advice, Broker, Question, Transport};
use obp_broker::sources::BoxFuture;
use obp_broker::validate::{Candidate, Credential, CrlFetcher, CrlStore, Purpose, Roots, ValidatorConfig, Verdict};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CustomExtension,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::server::{Dns, name};

/// A root, a CA below it, and what that CA issues.
struct Pki {
    root: CertificateDer<'static>,
    between: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn policies(oid: &[u8]) -> CustomExtension {
    // SEQUENCE OF PolicyInformation { OID }
    let oid = [&[6, oid.len() as u8], oid].concat();
    let one = [&[0x30, oid.len() as u8], oid.as_slice()].concat();
    let all = [&[0x30, one.len() as u8], one.as_slice()].concat();
    CustomExtension::from_oid_content(&[2, 5, 29, 32], all)
}

const ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x20, 0];
const DV: &[u8] = &[0x67, 0x81, 0x0c, 1, 2, 1];

impl Pki {
    fn new() -> Self {
        let ca = |common: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, common);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.custom_extensions = vec![policies(ANY_POLICY)];
            params
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root_params = ca("Test Root");
        let root = root_params.self_signed(&root_key).unwrap().der().clone();
        let root_issuer = Issuer::new(root_params, root_key);
        let params = ca("Test CA");
        let between = params.signed_by(&key, &root_issuer).unwrap().der().clone();
        Self { root, between, issuer: Issuer::new(params, key) }
    }

    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["web.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(vec![0x12, 0x34]));
        params.custom_extensions = vec![policies(DV)];
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }

    fn crl(&self, serials: &[&[u8]], next: Duration) -> Vec<u8> {
        let now = OffsetDateTime::now_utc();
        let revoked = |serial: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from(serial.to_vec()),
            revocation_time: now - Duration::hours(1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now - Duration::hours(2),
            next_update: now + next,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    fn roots(&self) -> Roots {
        Roots::from_der(vec![self.root.clone()]).unwrap()
    }
}

fn broker(dns: &Dns, pki: &Pki, crls: &[Vec<u8>], config: ValidatorConfig) -> Broker {
    let store = CrlStore::new();
    for crl in crls {
        store.add_der(crl).unwrap();
    }
    dns.broker_with("", &[], pki.roots(), config, Arc::new(store))
}

async fn judge(broker: &Broker, host: &str, chain: &[&CertificateDer<'_>]) -> Verdict {
    let credentials: Vec<_> = chain.iter().map(|one| Credential::new(None, one)).collect();
    broker.validate(&Candidate::new(&[Purpose::new(host, None)], &credentials)).await
}

#[track_caller]
fn danger(verdict: &Verdict, part: &str) {
    assert_eq!(verdict.status, Status::Danger, "{verdict:?}");
    assert!(verdict.description.as_deref().unwrap().contains(part), "{verdict:?}");
    assert!(verdict.policies.is_empty());
}

#[tokio::test]
async fn a_good_certificate_is_good_for_its_names_alone() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let broker = broker(&dns, &pki, &[], ValidatorConfig::default());
    let (leaf, _) = pki.leaf(|_| {});
    let verdict = judge(&broker, "WEB.test.", &[&leaf, &pki.between]).await;
    assert_eq!((verdict.status, verdict.policies), (Status::Success, vec!["2.23.140.1.2.1".to_owned()]));
    danger(&judge(&broker, "www.test", &[&leaf, &pki.between]).await, "not for www.test");
    danger(&judge(&broker, "web.test", &[&leaf]).await, "no path leads to a trusted root");
    danger(&judge(&broker, "web.test", &[&pki.between, &pki.root]).await, "not for web.test");
}

#[tokio::test]
async fn expired_early_and_foreign_certificates_are_a_danger() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let broker = broker(&dns, &pki, &[], ValidatorConfig::default());
    let now = OffsetDateTime::now_utc();
    let (old, _) = pki.leaf(|params| {
        params.not_before = now - Duration::days(90);
        params.not_after = now - Duration::days(1);
    });
    danger(&judge(&broker, "web.test", &[&old, &pki.between]).await, "expired on");
    let (early, _) = pki.leaf(|params| params.not_before = now + Duration::days(1));
    danger(&judge(&broker, "web.test", &[&early, &pki.between]).await, "not valid before");
    let foreign = Pki::new();
    let (stranger, _) = foreign.leaf(|_| {});
    danger(
        &judge(&broker, "web.test", &[&stranger, &foreign.between, &foreign.root]).await,
        "no path leads to a trusted root",
    );
    let (client, _) = pki.leaf(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    danger(&judge(&broker, "web.test", &[&client, &pki.between]).await, "not for TLS servers");
    let garbage = CertificateDer::from(vec![0x30, 3, 1, 2, 3]);
    danger(&judge(&broker, "web.test", &[&garbage]).await, "no X.509 certificate");
    danger(&judge(&broker, "web.test", &[&CertificateDer::from(vec![7; 40])]).await, "no certificate in DER");
}

#[tokio::test]
async fn the_drafts_certificate_is_refused_for_all_its_faults() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/obp/seed-certificate.der");
    let seed = CertificateDer::from(std::fs::read(path).unwrap());
    let (dns, pki) = (Dns::start().await, Pki::new());
    let broker = broker(&dns, &pki, &[], ValidatorConfig::default());
    let verdict = judge(&broker, "example.com", &[&seed]).await;
    danger(&verdict, "SHA-1");
    danger(&verdict, "expired on 2014-06-26");
    danger(&verdict, "not for example.com");
}

#[tokio::test]
async fn credentials_come_in_many_types() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let broker = broker(&dns, &pki, &[], ValidatorConfig::default());
    let (leaf, _) = pki.leaf(|_| {});
    let pem = |der: &[u8]| {
        let digits = openssl_base64(der);
        format!("-----BEGIN CERTIFICATE-----\n{digits}-----END CERTIFICATE-----\n")
    };
    let chain = pem(&leaf) + &pem(&pki.between);
    // A PkiPath has the end entity last.
    let path = {
        let inside = [pki.between.as_ref(), leaf.as_ref()].concat();
        [&[0x30, 0x82], &(inside.len() as u16).to_be_bytes()[..], &inside].concat()
    };
    let purposes = [Purpose::new("web.test", None)];
    let of = |media_type, data| {
        let broker = &broker;
        async move { broker.validate(&Candidate::new(&purposes, &[Credential::new(media_type, data)])).await }
    };
    assert_eq!(of(Some("application/x-pem-file"), chain.as_bytes()).await.status, Status::Success);
    assert_eq!(of(None, chain.as_bytes()).await.status, Status::Success);
    assert_eq!(of(Some("application/pkix-pkipath"), path.as_slice()).await.status, Status::Success);
    assert_eq!(of(Some("application/pgp-keys"), chain.as_bytes()).await.status, Status::NotImplemented);
    assert_eq!(of(Some("application/x-pem-file"), &b"-----"[..]).await.status, Status::Danger);
    let two = [
        Credential::new(Some("application/pkix-cert"), leaf.as_ref()),
        Credential::new(Some("application/x-x509-server-cert; v=1"), pki.between.as_ref()),
    ];
    assert_eq!(broker.validate(&Candidate::new(&purposes, &two)).await.status, Status::Success);
    assert_eq!(broker.validate(&Candidate::new(&purposes, &[])).await.status, Status::Syntax);
    let many = vec![two[0]; 17];
    assert_eq!(broker.validate(&Candidate::new(&purposes, &many)).await.status, Status::Syntax);
}

fn openssl_base64(der: &[u8]) -> String {
    let mut text = super::server::base64(der);
    let mut at = 64;
    while at < text.len() {
        text.insert(at, '\n');
        at += 65;
    }
    text + "\n"
}

#[tokio::test]
async fn revoked_certificates_are_revoked_while_the_list_is_current() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let (leaf, _) = pki.leaf(|_| {});
    let day = Duration::days(1);
    let with = |crls: &[Vec<u8>]| broker(&dns, &pki, crls, ValidatorConfig::default());
    let revoked = judge(&with(&[pki.crl(&[&[0x12, 0x34]], day)]), "web.test", &[&leaf, &pki.between]).await;
    assert_eq!(revoked.status, Status::Revoked, "{revoked:?}");
    let other = judge(&with(&[pki.crl(&[&[0x12, 0x35]], day)]), "web.test", &[&leaf, &pki.between]).await;
    assert_eq!(other.status, Status::Success, "{other:?}");
    // A list that ran out says nothing; whether that is enough is configured.
    let old = pki.crl(&[&[0x12, 0x34]], -Duration::minutes(1));
    assert_eq!(
        judge(&with(std::slice::from_ref(&old)), "web.test", &[&leaf, &pki.between]).await.status,
        Status::Success
    );
    let mut strict = ValidatorConfig::default();
    strict.require_revocation_status = true;
    let verdict = judge(&broker(&dns, &pki, &[old], strict.clone()), "web.test", &[&leaf, &pki.between]).await;
    danger(&verdict, "not known whether");
    // The same name, another key: not this CA's list.
    let forged = Pki::new().crl(&[&[0x12, 0x34]], day);
    let verdict = judge(&with(&[forged]), "web.test", &[&leaf, &pki.between]).await;
    assert_ne!(verdict.status, Status::Revoked, "a forged list revokes nothing");
}

#[derive(Debug)]
struct Lists {
    crl: Vec<u8>,
    asked: AtomicUsize,
}

impl CrlFetcher for Lists {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(url, "http://crl.test/ca.crl");
        Box::pin(async move { Ok(self.crl.clone()) })
    }
}

#[tokio::test]
async fn lists_are_fetched_where_certificates_say_and_kept() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let (leaf, _) = pki.leaf(|params| {
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://crl.test/ca.crl".to_owned()] }];
    });
    let lists = Arc::new(Lists { crl: pki.crl(&[&[0x12, 0x34]], Duration::days(1)), asked: AtomicUsize::new(0) });
    let mut config = ValidatorConfig::default();
    config.fetcher = Some(lists.clone());
    let broker = broker(&dns, &pki, &[], config);
    for _ in 0..3 {
        assert_eq!(judge(&broker, "web.test", &[&leaf, &pki.between]).await.status, Status::Revoked);
    }
    assert_eq!(lists.asked.load(Ordering::SeqCst), 1);
    // Nobody who cannot show a path makes the broker fetch anything.
    let foreign = Pki::new();
    let (stranger, _) = foreign.leaf(|params| {
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec!["http://169.254.169.254/".to_owned()] }];
    });
    danger(&judge(&broker, "web.test", &[&stranger, &foreign.between]).await, "no path");
    assert_eq!(lists.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_http_fetcher_gets_lists_from_where_it_may() {
    use obp_broker::validate::HttpFetcher;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dns = Dns::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let reply: &[u8] = if text.starts_with("GET /ca.crl HTTP/1.1\r\n") {
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"
            } else if text.starts_with("GET /moved") {
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"
            };
            stream.write_all(reply).await.unwrap();
        }
    });
    let fetcher = HttpFetcher::new(dns.resolver()).anywhere();
    let url = |path: &str| format!("http://ns.test:{port}/{path}");
    assert_eq!(fetcher.fetch(&url("ca.crl")).await.unwrap(), b"abcde");
    assert!(fetcher.fetch(&url("moved")).await.unwrap_err().contains("302"));
    assert!(fetcher.fetch(&url("huge")).await.is_err());
    let careful = HttpFetcher::new(dns.resolver());
    assert!(careful.fetch(&url("ca.crl")).await.unwrap_err().contains("port 80"));
    assert!(careful.fetch("http://ns.test/ca.crl").await.unwrap_err().contains("no address that may be asked"));
    assert!(careful.fetch("https://ns.test/ca.crl").await.is_err());
    assert!(careful.fetch("file:///etc/passwd").await.is_err());
    assert!(careful.fetch("http://127.0.0.1/").await.is_err());
}

#[tokio::test]
async fn acceptable_policies_decide() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let broker = broker(&dns, &pki, &[], ValidatorConfig::default());
    let (leaf, _) = pki.leaf(|_| {});
    let credentials = [Credential::new(None, leaf.as_ref()), Credential::new(None, pki.between.as_ref())];
    let purposes = [Purpose::new("web.test", None)];
    for (wanted, status, held) in [
        (vec!["dv"], Status::Success, vec!["dv"]),
        (vec!["ev", "2.23.140.1.2.1"], Status::Success, vec!["2.23.140.1.2.1"]),
        (vec!["ev"], Status::PolicyViolation, vec![]),
        (vec!["dane"], Status::PolicyViolation, vec![]),
        (vec!["no such policy"], Status::PolicyViolation, vec![]),
    ] {
        let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
        let mut candidate = Candidate::new(&purposes, &credentials);
        candidate.policies = &wanted;
        let verdict = broker.validate(&candidate).await;
        assert_eq!(
            (verdict.status, verdict.policies),
            (status, held.into_iter().map(str::to_owned).collect()),
            "{wanted:?}"
        );
    }
}

fn pin(host: &str, usage: u8, selector: u8, matching: u8, data: &[u8]) -> Record {
    let tlsa = TLSA::new(CertUsage::from(usage), Selector::from(selector), Matching::from(matching), data.to_vec());
    Record::from_rdata(name(&format!("_443._tcp.{host}")), 60, RData::TLSA(tlsa))
}

fn sha256(octets: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, octets).as_ref().to_vec()
}

#[tokio::test]
async fn dane_vetoes_what_it_does_not_pin_and_vouches_for_what_it_does() {
    let pki = Pki::new();
    let (leaf, key) = pki.leaf(|_| {});
    let own = KeyPair::generate().unwrap();
    let lonely = CertificateParams::new(vec!["im.test".to_owned()]).unwrap().self_signed(&own).unwrap().der().clone();
    use rcgen::PublicKeyData as _;
    let extra = [
        pin("web.test", 3, 1, 1, &sha256(&key.subject_public_key_info())),
        pin("www.test", 3, 1, 1, &[7; 32]),
        pin("im.test", 3, 0, 1, &sha256(&lonely)),
        pin("x1.test", 2, 0, 0, &pki.root),
        pin("x2.test", 1, 0, 1, &sha256(&leaf)),
        pin("multi.test", 0, 0, 1, &sha256(&pki.root)),
        pin("plain.test", 9, 9, 9, &[1]),
    ];
    let dns = Dns::with(&extra, false).await;
    let names = |params: &mut CertificateParams| {
        let all = ["www.test", "web.test", "x1.test", "x2.test", "multi.test", "plain.test"];
        params.subject_alt_names = CertificateParams::new(all.map(str::to_owned).to_vec()).unwrap().subject_alt_names;
    };
    let trusting = broker(&dns, &pki, &[], ValidatorConfig::default());
    let nobody = dns.broker_with("", &[], Roots::none(), ValidatorConfig::default(), Arc::new(CrlStore::new()));

    let verdict = judge(&trusting, "web.test", &[&leaf, &pki.between]).await;
    assert_eq!(verdict.status, Status::Success, "{verdict:?}");
    assert!(verdict.policies.contains(&"dane".to_owned()));
    let verdict = judge(&nobody, "im.test", &[&lonely]).await;
    assert_eq!((verdict.status, verdict.policies), (Status::Success, vec!["dane".to_owned()]), "DANE-EE needs no root");
    let mut strict = ValidatorConfig::default();
    strict.dane_replaces_path = false;
    let strict = dns.broker_with("", &[], Roots::none(), strict, Arc::new(CrlStore::new()));
    danger(&judge(&strict, "im.test", &[&lonely]).await, "no path");

    let (many, _) = pki.leaf(names);
    danger(&judge(&trusting, "www.test", &[&many, &pki.between]).await, "no TLSA record of www.test fits");
    assert_eq!(judge(&nobody, "x1.test", &[&many, &pki.between]).await.status, Status::Success, "DANE-TA");
    let foreign = Pki::new();
    let (stranger, _) = foreign.leaf(names);
    danger(&judge(&nobody, "x1.test", &[&stranger, &foreign.between]).await, "pins (DANE)");
    danger(&judge(&trusting, "x2.test", &[&many, &pki.between]).await, "no TLSA record of x2.test fits");
    assert_eq!(judge(&trusting, "multi.test", &[&many, &pki.between]).await.status, Status::Success, "PKIX-TA");
    danger(&judge(&nobody, "multi.test", &[&many, &pki.between]).await, "no TLSA record of multi.test fits");
    let verdict = judge(&trusting, "plain.test", &[&many, &pki.between]).await;
    assert_eq!(verdict.status, Status::Success, "pins that nobody understands are none");
    assert!(!verdict.policies.contains(&"dane".to_owned()));
    // What was pinned long ago has still expired.
    let old_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["old.test".to_owned()]).unwrap();
    params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
    let old = params.self_signed(&old_key).unwrap().der().clone();
    let dns = Dns::with(&[pin("old.test", 3, 0, 1, &sha256(&old))], false).await;
    let nobody = dns.broker_with("", &[], Roots::none(), ValidatorConfig::default(), Arc::new(CrlStore::new()));
    danger(&judge(&nobody, "old.test", &[&old]).await, "expired");
}

/// A CertID by SHA-1, as OCSP clients write it.
fn cert_id(issuer: &CertificateDer<'_>, serial: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::FromDer as _;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(issuer).unwrap();
    let sha1 = |octets: &[u8]| ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref().to_vec();
    let element = |tag: u8, value: &[u8]| [&[tag, value.len() as u8], value].concat();
    let algorithm = element(0x30, &[&element(6, &[0x2b, 0x0e, 3, 2, 0x1a])[..], &[5, 0]].concat());
    let key = &parsed.public_key().subject_public_key.data;
    let inside = [algorithm, element(4, &sha1(parsed.subject().as_raw())), element(4, &sha1(key)), element(2, serial)];
    element(0x30, &inside.concat())
}

#[tokio::test]
async fn certificate_ids_are_answered_from_revocation_lists() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let mut config = ValidatorConfig::default();
    config.intermediates = vec![pki.between.clone()];
    let with = |crls: &[Vec<u8>]| broker(&dns, &pki, crls, config.clone());
    let (bad, good) = (cert_id(&pki.between, &[0x12, 0x34]), cert_id(&pki.between, &[0x12, 0x35]));
    let ask = |broker: Broker, id: Vec<u8>| async move {
        let ids = [id.as_slice()];
        let mut candidate = Candidate::default();
        candidate.certificate_ids = &ids;
        broker.validate(&candidate).await.status
    };
    let lists = [pki.crl(&[&[0x12, 0x34]], Duration::days(1))];
    assert_eq!(ask(with(&lists), bad.clone()).await, Status::Revoked);
    assert_eq!(ask(with(&lists), good.clone()).await, Status::Success);
    assert_eq!(ask(with(&[]), good.clone()).await, Status::Unknown);
    assert_eq!(
        ask(with(&[Pki::new().crl(&[], Duration::days(1))]), good).await,
        Status::Unknown,
        "somebody else's list"
    );
    assert_eq!(ask(with(&lists), cert_id(&Pki::new().between, &[1])).await, Status::Unknown);
    assert_eq!(ask(with(&lists), bad[..20].to_vec()).await, Status::Syntax);
}

#[tokio::test]
async fn a_judged_certificate_leaves_evidence_for_prove_it() {
    let (dns, pki) = (Dns::start().await, Pki::new());
    let crl = pki.crl(&[], Duration::days(1));
    let broker = broker(&dns, &pki, std::slice::from_ref(&crl), ValidatorConfig::default());
    let mut question = Question::new("web.test", Some("https"), None);
    question.prove = true;
    let (leaf, _) = pki.leaf(|_| {});
    assert_eq!(judge(&broker, "web.test", &[&leaf, &pki.between]).await.status, Status::Success);
    let answer = broker.connect(&question).await;
    let first = &answer.connections[0];
    assert_eq!(first.transport, Transport::Tls);
    let advice = first.advice.as_ref().unwrap();
    assert_eq!(advice.media_type, Advice::CERTS_ONLY);
    let holds = |part: &[u8]| advice.data.windows(part.len()).any(|window| window == part);
    assert!(holds(&pki.between) && holds(&crl));
    // Another reader takes it apart, when there is one on this machine.
    let file = std::env::temp_dir().join(format!("obp-broker-certs-only-{}", std::process::id()));
    std::fs::write(&file, &advice.data).unwrap();
    let shown = std::process::Command::new("openssl")
        .args(["pkcs7", "-inform", "DER", "-print_certs", "-noout", "-in"])
        .arg(&file)
        .output();
    std::fs::remove_file(&file).unwrap();
    match shown {
        Ok(output) => assert!(String::from_utf8_lossy(&output.stdout).contains("Test CA"), "{output:?}"),
        Err(error) => println!("openssl was not asked: {error}"),
    }
}
