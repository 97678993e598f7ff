//! Validate: may this credential be used for this service? (Draft sections 5.1.3 and 6.2.)
//!
//! # Veto, never assert
//! A verdict of Success says that the broker found nothing against the credential. It is no permission: a client goes
//! on to check the certificate path for itself, against its own roots, before it relies on it (draft section 4.2). So
//! a broker that is taken over can keep its clients from a server, but cannot talk them into trusting one. Only a
//! client that was configured to substitute the broker's judgement for its own may do otherwise.

mod certid;
mod credential;
mod crl;
mod dane;
mod evidence;
mod fetch;
mod policies;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor};
use watchfire_core::{Instant, UnixTime};
use webpki::{EndEntityCert, KeyUsage, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use credential::Credential;
pub use crl::{CrlError, CrlFetcher, CrlStore};
pub use fetch::HttpFetcher;

use crate::cache::{Cache, Hit};
use crate::clock::Clock;
use crate::connect::{Advice, tlsa};
use crate::name::DomainName;
use crate::sources::Resolver;
use crate::status::Status;
use certid::{CertId, Issuer, pki_time};
use credential::NoCertificate;
use dane::Pinned;

/// A service that a credential is presented for.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Purpose<'a> {
    /// Identifier.Name.
    pub name: &'a str,
    /// Identifier.Port; 443 when absent. Only DANE asks for it.
    pub port: Option<u16>,
}

impl<'a> Purpose<'a> {
    /// A name and port.
    #[must_use]
    pub fn new(name: &'a str, port: Option<u16>) -> Self {
        Self { name, port }
    }
}

/// A ValidateRequest (draft section 6.2.1).
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The identifiers of the service; the certificate must be good for each.
    pub purposes: &'a [Purpose<'a>],
    /// Credentials, the end entity first.
    pub credentials: &'a [Credential<'a>],
    /// CertIDs in DER.
    pub certificate_ids: &'a [&'a [u8]],
    /// Acceptable policies; none means any.
    pub policies: &'a [String],
}

impl<'a> Candidate<'a> {
    /// Credentials for a service.
    #[must_use]
    pub fn new(purposes: &'a [Purpose<'a>], credentials: &'a [Credential<'a>]) -> Self {
        Self { purposes, credentials, ..Self::default() }
    }
}

/// A ValidateResponse (draft section 6.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Success, Revoked, Danger, PolicyViolation, or what went wrong.
    pub status: Status,
    /// Every reason, for people.
    pub description: Option<String>,
    /// Policies that hold: of the acceptable ones if any were named, else all that are known.
    pub policies: Vec<String>,
}

impl Verdict {
    fn of(status: Status, description: impl Into<String>) -> Self {
        Self { status, description: Some(description.into()), policies: Vec::new() }
    }
}

/// How credentials are judged.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ValidatorConfig {
    /// Certificates between, for servers that present too few.
    pub intermediates: Vec<CertificateDer<'static>>,
    /// Whether a certificate whose revocation status is not known is refused (default no: many CAs publish no list
    /// for their end entities' reach).
    pub require_revocation_status: bool,
    /// Whether a pin that DNSSEC proves stands in for a path to a root (default yes: it is what DANE-EE and DANE-TA
    /// are for, RFC 7671).
    pub dane_replaces_path: bool,
    /// Where revocation lists are fetched that certificates point to; `None` uses files alone.
    pub fetcher: Option<Arc<dyn CrlFetcher>>,
    /// How long a judged certificate's evidence is kept for ProveIt (default an hour).
    pub remember: Duration,
}

impl Default for ValidatorConfig {
    fn default() -> Self {
        Self {
            intermediates: Vec::new(),
            require_revocation_status: false,
            dane_replaces_path: true,
            fetcher: None,
            remember: Duration::from_secs(3600),
        }
    }
}

/// What is wrong with a set of roots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// No PEM.
    #[error("the roots are no PEM: {0}; give certificates between BEGIN CERTIFICATE and END CERTIFICATE")]
    Pem(String),
    /// A certificate that cannot be a root.
    #[error("root {index} cannot be used: {what}; take it out")]
    Certificate {
        /// Which, from 1.
        index: usize,
        /// Why.
        what: String,
    },
}

/// Certificates that paths may end at.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Roots {
    /// None: only DANE can vouch.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Certificates in PEM.
    ///
    /// # Errors
    /// [`RootsError`] when one cannot be used, or there is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, RootsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let certificates = certificates.map_err(|error| RootsError::Pem(error.to_string()))?;
        if certificates.is_empty() {
            return Err(RootsError::Pem("there is no certificate in it".to_owned()));
        }
        Self::from_der(certificates)
    }

    /// Certificates in DER.
    ///
    /// # Errors
    /// [`RootsError`] when one cannot be used.
    pub fn from_der(certificates: Vec<CertificateDer<'static>>) -> Result<Self, RootsError> {
        let anchors = certificates
            .iter()
            .enumerate()
            .map(|(index, certificate)| {
                anchor_from_trusted_cert(certificate)
                    .map(|anchor| anchor.to_owned())
                    .map_err(|error| RootsError::Certificate { index: index + 1, what: error.to_string() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { certificates, anchors })
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}

/// Judges credentials. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Validator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    roots: Roots,
    crls: Arc<CrlStore>,
    clock: Arc<dyn Clock>,
    config: ValidatorConfig,
    remembered: Cache<DomainName, Arc<Advice>>,
}

/// A path that holds: certificates from the end entity on, the root among them when it is known.
struct Path {
    certificates: Vec<CertificateDer<'static>>,
    anchor: TrustAnchor<'static>,
}

impl Validator {
    /// A judge with these roots and revocation lists.
    #[must_use]
    pub fn new(roots: Roots, crls: Arc<CrlStore>, clock: Arc<dyn Clock>, config: ValidatorConfig) -> Self {
        Self(Arc::new(Inner { roots, crls, clock, config, remembered: Cache::new(4096) }))
    }

    /// The revocation lists.
    #[must_use]
    pub fn crls(&self) -> &Arc<CrlStore> {
        &self.0.crls
    }

    /// Judges. All reasons against a credential are gathered into the description; expired certificates and SHA-1
    /// are refused whatever else holds. Success is no permission, see the [module](self).
    pub async fn validate(&self, resolver: &Resolver, candidate: &Candidate<'_>) -> Verdict {
        if candidate.credentials.is_empty() && candidate.certificate_ids.is_empty() {
            return Verdict::of(Status::Syntax, "neither Credential nor CertificateID: there is nothing to validate");
        }
        if candidate.certificate_ids.len() > 64 || candidate.purposes.len() > 16 {
            return Verdict::of(Status::Syntax, "at most 64 CertificateIDs and 16 Identifiers in one request");
        }
        let mut names = Vec::new();
        for purpose in candidate.purposes {
            match DomainName::parse(purpose.name) {
                Ok(name) => names.push((name, purpose.port.unwrap_or(443))),
                Err(error) => return Verdict::of(Status::Syntax, error.to_string()),
            }
        }
        let mut held = BTreeSet::new();
        if !candidate.credentials.is_empty() {
            match self.judge_credentials(resolver, candidate, &names).await {
                Ok(found) => held = found,
                Err(verdict) => return verdict,
            }
        }
        for octets in candidate.certificate_ids {
            if let Err(verdict) = self.judge_id(octets) {
                return verdict;
            }
        }
        let holds = |label: &&String| {
            held.contains(&label.to_ascii_lowercase()) || policies::oid_of(label).is_some_and(|oid| held.contains(oid))
        };
        if candidate.policies.is_empty() {
            return Verdict { status: Status::Success, description: None, policies: held.into_iter().collect() };
        }
        let satisfied: Vec<String> = candidate.policies.iter().filter(holds).cloned().collect();
        if satisfied.is_empty() {
            return Verdict::of(Status::PolicyViolation, "the credential meets none of the acceptable policies");
        }
        Verdict { status: Status::Success, description: None, policies: satisfied }
    }

    async fn judge_credentials(
        &self,
        resolver: &Resolver,
        candidate: &Candidate<'_>,
        names: &[(DomainName, u16)],
    ) -> Result<BTreeSet<String>, Verdict> {
        let inner = &self.0;
        let presented = credential::certificates(candidate.credentials).map_err(|error| match error {
            NoCertificate::Type(what) => Verdict::of(Status::NotImplemented, what),
            NoCertificate::Malformed(what) => Verdict::of(Status::Danger, what),
            NoCertificate::Limit(what) => Verdict::of(Status::Syntax, what),
        })?;
        let Some(leaf) = presented.first() else {
            return Err(Verdict::of(Status::Syntax, "the credentials hold no certificate"));
        };
        let now = inner.clock.unix();
        let mut reasons = plain_reasons(leaf, now)?;
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| {
            Verdict::of(Status::Danger, join(&reasons, format!("the certificate cannot be read: {error}")))
        })?;

        let path = self.find_path(&end_entity, &presented, &inner.roots.anchors, now);
        let mut held = BTreeSet::new();
        let mut by_dane = None;
        let pins = self.pins(resolver, names).await?;
        if !pins.is_empty() {
            let on_path = path.as_ref().map(|path| path.certificates.as_slice()).unwrap_or_default();
            let mut all_hold = pins.len() == names.len();
            for (name, pins) in &pins {
                match dane::judge(pins, &presented, on_path) {
                    Pinned::Nothing => all_hold = false,
                    Pinned::Mismatch => {
                        all_hold = false;
                        reasons.push(format!("no TLSA record of {name} fits the certificate (DANE)"));
                    }
                    Pinned::EndEntity => by_dane = by_dane.or(Some(None)),
                    Pinned::Anchor(anchor) => match self.path_to(&end_entity, &presented, &anchor, now) {
                        Ok(()) => by_dane = by_dane.or(Some(Some(anchor))),
                        Err(error) => {
                            all_hold = false;
                            reasons.push(format!("no path to the certificate that {name} pins (DANE): {error}"));
                        }
                    },
                    Pinned::Constrained(_) if path.is_ok() => {}
                    Pinned::Constrained(_) => all_hold = false,
                }
            }
            if all_hold {
                held.insert("dane".to_owned());
            }
        }
        let replaced = inner.config.dane_replaces_path && held.contains("dane") && by_dane.is_some();
        // With DANE-EE the names in the certificate do not matter (RFC 7671 section 5.1).
        if !(replaced && matches!(by_dane, Some(None))) {
            for (name, _) in names {
                let server = ServerName::try_from(name.as_str().to_owned());
                let good = server.is_ok_and(|server| end_entity.verify_is_valid_for_subject_name(&server).is_ok());
                if !good {
                    reasons.push(format!("the certificate is not for {name}"));
                }
            }
        }
        match &path {
            Err(error) if !replaced => reasons.extend(path_reason(error, &reasons)),
            _ => {}
        }
        if !reasons.is_empty() {
            return Err(Verdict::of(Status::Danger, reasons.join("; ")));
        }
        if let Ok(path) = path {
            let lists = self.check_revocation(&end_entity, &presented, &path, now).await?;
            held.extend(policies::along(
                path.certificates
                    .iter()
                    .take(path.certificates.len().max(2) - usize::from(self.ends_with_root(&path)))
                    .map(|one| one.as_ref()),
            ));
            self.remember(names, &path, &lists);
        }
        Ok(held)
    }

    fn ends_with_root(&self, path: &Path) -> bool {
        path.certificates.len() > 1
            && path.certificates.last().is_some_and(|last| self.0.roots.certificates.contains(last))
    }

    fn find_path(
        &self,
        end_entity: &EndEntityCert<'_>,
        presented: &[CertificateDer<'static>],
        anchors: &[TrustAnchor<'static>],
        now: UnixTime,
    ) -> Result<Path, webpki::Error> {
        let between: Vec<CertificateDer<'static>> =
            presented.iter().skip(1).chain(&self.0.config.intermediates).cloned().collect();
        let path = end_entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            &between,
            pki_time(now),
            KeyUsage::server_auth(),
            None,
            None,
        )?;
        let mut certificates: Vec<CertificateDer<'static>> = presented.iter().take(1).cloned().collect();
        certificates.extend(path.intermediate_certificates().map(|one| one.der().into_owned()));
        let anchor = path.anchor().to_owned();
        let roots = &self.0.roots;
        let root = roots.anchors.iter().zip(&roots.certificates).find(|(known, _)| **known == anchor);
        certificates.extend(root.map(|(_, certificate)| certificate.clone()));
        Ok(Path { certificates, anchor })
    }

    fn path_to(
        &self,
        end_entity: &EndEntityCert<'_>,
        presented: &[CertificateDer<'static>],
        anchor: &CertificateDer<'static>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let anchor = anchor_from_trusted_cert(anchor)?.to_owned();
        self.find_path(end_entity, presented, &[anchor], now).map(|_| ())
    }

    /// The validated pins of each name that has any.
    async fn pins(
        &self,
        resolver: &Resolver,
        names: &[(DomainName, u16)],
    ) -> Result<Vec<(DomainName, Box<[crate::sources::Tlsa]>)>, Verdict> {
        let asked = names.iter().map(|(name, port)| async move { (name, tlsa(resolver, name, *port, false).await) });
        let mut all = Vec::new();
        for (name, result) in futures_util::future::join_all(asked).await {
            match result {
                Ok(Some((_, pins))) => all.push((name.clone(), pins)),
                Ok(None) => {}
                Err(error) => {
                    return Err(Verdict::of(Status::Danger, format!("the TLSA records of {name}: {error}")));
                }
            }
        }
        Ok(all)
    }

    /// Every certificate of the path against its issuer's list. The lists that were used come back.
    async fn check_revocation(
        &self,
        end_entity: &EndEntityCert<'_>,
        presented: &[CertificateDer<'static>],
        path: &Path,
        now: UnixTime,
    ) -> Result<Vec<Arc<crl::Crl>>, Verdict> {
        let inner = &self.0;
        let steps = path.certificates.len() - usize::from(self.ends_with_root(path));
        let mut lists = Vec::new();
        for certificate in path.certificates.iter().take(steps) {
            let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { continue };
            let issuer = parsed.issuer().as_raw();
            if let Some(fetcher) = &inner.config.fetcher {
                for url in distribution_points(&parsed) {
                    inner.crls.refresh(fetcher.as_ref(), &url, inner.clock.now()).await;
                }
            }
            lists.extend(inner.crls.current(issuer, now));
        }
        let parsed: Vec<&webpki::CertRevocationList<'_>> = lists.iter().map(|crl| &crl.parsed).collect();
        let unknown = || Verdict::of(Status::Danger, "it is not known whether the certificate was revoked");
        let Ok(builder) = RevocationOptionsBuilder::new(&parsed) else {
            return if inner.config.require_revocation_status { Err(unknown()) } else { Ok(lists) };
        };
        let policy =
            if inner.config.require_revocation_status { UnknownStatusPolicy::Deny } else { UnknownStatusPolicy::Allow };
        let options = builder.with_status_policy(policy).build();
        let between: Vec<CertificateDer<'static>> =
            presented.iter().skip(1).chain(&inner.config.intermediates).cloned().collect();
        let anchors = [path.anchor.clone()];
        let outcome = end_entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            pki_time(now),
            KeyUsage::server_auth(),
            Some(options),
            None,
        );
        match outcome {
            Ok(_) => Ok(lists),
            Err(webpki::Error::CertRevoked) => {
                Err(Verdict::of(Status::Revoked, "the certificate, or one on its path, was revoked"))
            }
            Err(webpki::Error::UnknownRevocationStatus) => Err(unknown()),
            Err(error) => Err(Verdict::of(Status::Danger, format!("the revocation status cannot be checked: {error}"))),
        }
    }

    fn judge_id(&self, octets: &[u8]) -> Result<(), Verdict> {
        let inner = &self.0;
        let id = CertId::read(octets).ok_or_else(|| {
            Verdict::of(Status::Syntax, "a CertificateID is no CertID in DER (RFC 6960 section 4.1.1)")
        })?;
        let issuers = self.issuers();
        let Some(issuer) = issuers.iter().find(|issuer| id.is_of(issuer)) else {
            return Err(Verdict::of(Status::Unknown, "the issuer of a CertificateID is not known here"));
        };
        let mut covered = false;
        for crl in inner.crls.all_current(inner.clock.unix()) {
            // A list of part of the certificates cannot say that one is good without being shown it.
            if crl.issuer != issuer.name || !certid::is_signed_by(&crl, issuer) {
                continue;
            }
            match id.is_revoked_by(&crl) {
                Ok(true) => return Err(Verdict::of(Status::Revoked, "a CertificateID names a revoked certificate")),
                Ok(false) => covered |= crl.parsed.issuing_distribution_point().is_none(),
                Err(_) => {}
            }
        }
        if covered {
            Ok(())
        } else {
            Err(Verdict::of(Status::Unknown, "no current revocation list of that issuer is at hand"))
        }
    }

    fn issuers(&self) -> Vec<Issuer> {
        let known = self.0.roots.certificates.iter().chain(&self.0.config.intermediates);
        known
            .filter_map(|certificate| {
                let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
                let name = parsed.subject().as_raw().to_vec();
                Some(Issuer { name, key: parsed.tbs_certificate.subject_pki.raw.to_vec() })
            })
            .collect()
    }

    /// Keeps what proves the issuer and the revocation status, for answers with ProveIt.
    fn remember(&self, names: &[(DomainName, u16)], path: &Path, lists: &[Arc<crl::Crl>]) {
        let issuers: Vec<&[u8]> = path.certificates.iter().skip(1).map(|one| one.as_ref()).collect();
        let lists: Vec<&[u8]> = lists.iter().map(|crl| crl.der.as_slice()).collect();
        let Some(advice) = evidence::advice(&issuers, &lists) else { return };
        let advice = Arc::new(advice);
        for (name, _) in names {
            self.0.remembered.insert(
                name.clone(),
                Arc::clone(&advice),
                self.0.clock.now(),
                self.0.config.remember,
                Duration::ZERO,
            );
        }
    }

    /// The evidence of a certificate that was judged good for this name.
    pub(crate) fn remembered(&self, name: &DomainName, now: Instant) -> Option<Arc<Advice>> {
        match self.0.remembered.get(name, now) {
            Some(Hit::Fresh(advice, _)) => Some(advice),
            _ => None,
        }
    }
}

/// What can be said about a certificate without looking at any other.
fn plain_reasons(leaf: &[u8], now: UnixTime) -> Result<Vec<String>, Verdict> {
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|_| Verdict::of(Status::Danger, "the first credential is no X.509 certificate"))?;
    let mut reasons = Vec::new();
    let validity = parsed.validity();
    if now.as_secs() > validity.not_after.timestamp() {
        reasons.push(format!("the certificate expired on {}", day(validity.not_after)));
    }
    if now.as_secs() < validity.not_before.timestamp() {
        reasons.push(format!("the certificate is not valid before {}", day(validity.not_before)));
    }
    let algorithm = parsed.signature_algorithm.algorithm.to_id_string();
    let weak = match algorithm.as_str() {
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.3.14.3.2.29" | "1.2.840.10040.4.3" => Some("SHA-1"),
        "1.2.840.113549.1.1.4" => Some("MD5"),
        "1.2.840.113549.1.1.2" => Some("MD2"),
        _ => None,
    };
    reasons.extend(weak.map(|hash| format!("the certificate is signed with {hash}, which can be forged")));
    Ok(reasons)
}

fn day(time: x509_parser::time::ASN1Time) -> String {
    let (year, month, day) = time.to_datetime().to_calendar_date();
    format!("{year:04}-{:02}-{day:02}", u8::from(month))
}

/// Why there is no path, unless it was said already.
fn path_reason(error: &webpki::Error, said: &[String]) -> Option<String> {
    use webpki::Error;
    let what = match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } if !said.is_empty() => return None,
        Error::CertExpired { .. } => "a certificate of the path has expired".to_owned(),
        Error::CertNotValidYet { .. } => "a certificate of the path is not valid yet".to_owned(),
        Error::UnknownIssuer => "no path leads to a trusted root".to_owned(),
        Error::UnsupportedSignatureAlgorithmContext(_) if said.iter().any(|reason| reason.contains("signed with")) => {
            return None;
        }
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a certificate of the path is signed with an algorithm that is not accepted".to_owned()
        }
        Error::CaUsedAsEndEntity => "the certificate is that of a CA, not of a server".to_owned(),
        Error::RequiredEkuNotFoundContext(_) => "the certificate is not for TLS servers".to_owned(),
        other => format!("no path leads to a trusted root: {other}"),
    };
    Some(what)
}

fn join(reasons: &[String], last: String) -> String {
    reasons.iter().cloned().chain([last]).collect::<Vec<_>>().join("; ")
}

fn distribution_points(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut urls = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else { continue };
        for point in &points.points {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
            urls.extend(names.iter().filter_map(|name| match name {
                GeneralName::URI(url) if url.starts_with("http://") && url.len() <= 512 => Some((*url).to_owned()),
                _ => None,
            }));
        }
    }
    urls.truncate(4);
    urls
}
