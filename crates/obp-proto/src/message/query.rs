//! Messages and structures of OBPQuery. draft-hallambaker-omnibroker-08 sections 5.1.4 to 5.1.12 and 6.

use std::net::IpAddr;

use super::binary::Binary;
use super::name::{Name, Port, ServicePrefix};
use super::structure::{Extra, List, structure};
use super::token::{ProtocolPolicy, Transport, TransportPolicy};
use crate::status::Status;

structure! {
    /// A service on the network, or a peer: a DNS name, and what is wanted there (section 5.1.7).
    ///
    /// A query must say [`service`](Self::service) or [`port`](Self::port) or both; the example of a validation in the
    /// draft says neither, so that this is checked where it matters, by [`QueryConnectRequest::target`].
    pub struct Identifier {
        /// The name of the host or domain.
        name: one Name = "Name",
        /// With it the connection is one to a peer: `alice` of alice@example.com.
        account: opt String = "Account",
        /// The prefix under which the DNS lists the service.
        service: opt ServicePrefix = "Service",
        /// The port.
        port: opt Port = "Port",
    }
}

impl Identifier {
    /// A name alone: enough to say whose certificate is to be validated.
    pub fn new(name: Name) -> Self {
        Self { name, account: None, service: None, port: None, extra: Extra::default() }
    }

    /// The same with this service.
    #[must_use]
    pub fn with_service(mut self, service: ServicePrefix) -> Self {
        self.service = Some(service);
        self
    }

    /// The same with this port.
    #[must_use]
    pub fn with_port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// The same with this account: a peer.
    #[must_use]
    pub fn with_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Whether it says service or port, as section 5.1.7 demands.
    pub fn is_complete(&self) -> bool {
        self.service.is_some() || self.port.is_some()
    }
}

structure! {
    /// One way to connect (section 5.1.8).
    #[derive(Default)]
    pub struct Connection {
        /// Where to: IPv4 or IPv6 without zone, brackets or port.
        ip_address: ip IpAddr = "IPAddress",
        /// At which port.
        ip_port: opt Port = "IPPort",
        /// What secures it; absent means nothing does.
        transport: opt Transport = "Transport",
        /// What may be done about that.
        transport_policy: opt TransportPolicy = "TransportPolicy",
        /// What the application's protocol demands.
        protocol_policy: opt ProtocolPolicy = "ProtocolPolicy",
        /// Evidence for this connection.
        advice: opt Advice = "Advice",
    }
}

impl Connection {
    /// A connection without security to this address and port.
    pub fn new(address: IpAddr, port: Port) -> Self {
        Self { ip_address: Some(address), ip_port: Some(port), ..Self::default() }
    }

    /// The same over this transport.
    #[must_use]
    pub fn with_transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// What secures it. Absent means [`Transport::Raw`].
    pub fn transport(&self) -> &Transport {
        self.transport.as_ref().unwrap_or(&Transport::Raw)
    }

    /// Whether this crate knows how to reach it: an address, a port, and a transport that has a meaning.
    pub fn is_usable(&self) -> bool {
        self.ip_address.is_some() && self.ip_port.is_some() && !matches!(self.transport(), Transport::Other(_))
    }
}

structure! {
    /// A certificate or the like, to be validated (section 5.1.9). The draft leaves both members open: here `Type` is
    /// a media type, and without one the data are a certificate in DER.
    #[derive(Default)]
    pub struct Credential {
        /// The media type of the data: see [`CredentialType`].
        media_type: opt String = "Type",
        /// The credential.
        data: opt Binary = "Data",
    }
}

impl Credential {
    /// A certificate in DER, written as the draft's example does it: without a type.
    pub fn certificate(der: impl Into<Binary>) -> Self {
        Self { data: Some(der.into()), ..Self::default() }
    }

    /// What the data are, by the type, or by the look of them when there is none.
    pub fn credential_type(&self) -> CredentialType {
        let Some(media_type) = &self.media_type else {
            // A SEQUENCE with a long length: every certificate begins so.
            let der = self.data.as_ref().is_some_and(|data| matches!(data.as_bytes(), [0x30, 0x81 | 0x82, ..]));
            return if der { CredentialType::Certificate } else { CredentialType::Unknown };
        };
        // Parameters are of no concern.
        match media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/pkix-cert" | "application/x-x509-server-cert" => CredentialType::Certificate,
            "application/pkix-pkipath" => CredentialType::PkiPath,
            "application/x-pem-file" => CredentialType::Pem,
            _ => CredentialType::Unknown,
        }
    }
}

/// What a [`Credential`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialType {
    /// One X.509 certificate in DER: `application/pkix-cert`, the older `application/x-x509-server-cert`, or no type.
    Certificate,
    /// A path of certificates in DER: `application/pkix-pkipath`.
    PkiPath,
    /// Certificates in PEM: `application/x-pem-file`.
    Pem,
    /// None of these.
    Unknown,
}

structure! {
    /// A certificate, named instead of shown (section 5.1.10). The draft leaves both members open: here the data are
    /// the CertID of OCSP (RFC 6960) in DER.
    #[derive(Default)]
    pub struct CertificateId {
        /// The media type of the data: [`CertificateId::OCSP`] or nothing.
        media_type: opt String = "Type",
        /// The identifier.
        data: opt Binary = "Data",
    }
}

impl CertificateId {
    /// A private media type: the CertID of OCSP.
    pub const OCSP: &'static str = "application/ocsp-certid";

    /// A CertID in DER.
    pub fn ocsp(der: impl Into<Binary>) -> Self {
        Self { media_type: Some(Self::OCSP.to_owned()), data: Some(der.into()), ..Self::default() }
    }

    /// The CertID in DER, unless the type says that the data are something else.
    pub fn as_ocsp(&self) -> Option<&[u8]> {
        let fits = |media_type: &String| media_type.eq_ignore_ascii_case(Self::OCSP);
        if !self.media_type.as_ref().is_none_or(fits) {
            return None;
        }
        self.data.as_ref().map(Binary::as_bytes)
    }
}

structure! {
    /// Evidence that lets the client check an answer for itself (section 5.1.11).
    #[derive(Default)]
    pub struct Advice {
        /// The media type of the data.
        media_type: opt String = "Type",
        /// The evidence.
        data: opt Binary = "Data",
    }
}

impl Advice {
    /// A private media type: the chain of DNSSEC records of RFC 9102.
    pub const DNSSEC_CHAIN: &'static str = "application/dnssec-chain";
    /// One certificate in DER.
    pub const CERTIFICATE: &'static str = "application/pkix-cert";
    /// An OCSP response in DER.
    pub const OCSP_RESPONSE: &'static str = "application/ocsp-response";
    /// A revocation list in DER.
    pub const REVOCATION_LIST: &'static str = "application/pkix-crl";
    /// An answer of the DNS, as it came.
    pub const DNS_MESSAGE: &'static str = "application/dns-message";

    /// Evidence of this media type.
    pub fn new(media_type: impl Into<String>, data: impl Into<Binary>) -> Self {
        Self { media_type: Some(media_type.into()), data: Some(data.into()), ..Self::default() }
    }
}

structure! {
    /// A service, for the sake of which credentials are validated (section 5.1.12).
    #[derive(Default)]
    pub struct Service {
        /// Its addresses.
        identifier: list Identifier = "Identifier",
        /// How it is connected to. At most one, though the prose speaks of several.
        connection: opt Connection = "Connection",
    }
}

structure! {
    /// Asks how best to connect to a service or peer (section 6.1.1).
    #[derive(Default)]
    pub struct QueryConnectRequest {
        /// Which of several answers is wanted; see [`QueryConnectResponse::count`].
        index: opt u32 = "Index",
        /// With whom. The schema lets it be absent; no broker can answer then.
        identifier: opt Identifier = "Identifier",
        /// Acceptable policies of credential validation; none named means any.
        policy: list String = "Policy",
        /// Whether evidence is wanted.
        prove_it: opt bool = "ProveIt",
    }
}

/// Why a query cannot be answered, although it is well-formed. All are answered [`Status::SYNTAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// A QueryConnectRequest without Identifier.
    #[error("the query has no Identifier: it does not say with whom to connect")]
    NoIdentifier,
    /// An Identifier with neither Service nor Port.
    #[error("the Identifier has neither Service nor Port: it does not say what is wanted of the host")]
    NoServiceNorPort,
    /// A ValidateRequest with neither Credential nor CertificateID.
    #[error("the query has neither Credential nor CertificateID: there is nothing to validate")]
    NothingToValidate,
    /// An Index for which there is no answer.
    #[error("the Index is beyond the answers there are")]
    IndexOutOfRange,
}

impl InvalidRequest {
    /// The status that says so.
    pub const fn status(self) -> Status {
        Status::SYNTAX
    }
}

impl QueryConnectRequest {
    /// Asks for `identifier`.
    pub fn new(identifier: Identifier) -> Self {
        Self { identifier: Some(identifier), ..Self::default() }
    }

    /// With whom and to what end: an Identifier that has service or port or both.
    ///
    /// # Errors
    /// When the request cannot be answered; answer [`InvalidRequest::status`].
    pub fn target(&self) -> Result<&Identifier, InvalidRequest> {
        let identifier = self.identifier.as_ref().ok_or(InvalidRequest::NoIdentifier)?;
        if identifier.is_complete() { Ok(identifier) } else { Err(InvalidRequest::NoServiceNorPort) }
    }

    /// Whether evidence is wanted.
    pub fn wants_proof(&self) -> bool {
        self.prove_it == Some(true)
    }

    /// The place of the wanted answer among `count`, counted from 0 here and from 1 on the wire; 0 there means the
    /// first as well.
    ///
    /// # Errors
    /// [`InvalidRequest::IndexOutOfRange`].
    pub fn wanted(&self, count: usize) -> Result<usize, InvalidRequest> {
        let index = usize::try_from(self.index.unwrap_or(1)).unwrap_or(usize::MAX).saturating_sub(1);
        if index < count { Ok(index) } else { Err(InvalidRequest::IndexOutOfRange) }
    }

    /// The request that follows when every connection of `response` failed: for the next answer, if there is one.
    /// The protocol has no other way to report a failure.
    pub fn after_failure(&self, response: &QueryConnectResponse) -> Option<Self> {
        let next = response.index.or(self.index).unwrap_or(1).max(1).checked_add(1)?;
        (next <= response.count?).then(|| Self { index: Some(next), ..self.clone() })
    }
}

structure! {
    /// One or more ways to connect (section 6.1.2).
    pub struct QueryConnectResponse {
        /// How the query went.
        status: one Status = "Status",
        /// The same in words, for people.
        status_description: opt String = "StatusDescription",
        /// Which of several answers this is, from 1 on.
        index: opt u32 = "Index",
        /// How many answers there are.
        count: opt u32 = "Count",
        /// Ways to connect, the best first.
        connection: list Connection = "Connection",
        /// Evidence.
        advice: opt Advice = "Advice",
        /// The policies by which credentials were verified.
        policy: list String = "Policy",
    }
}

impl QueryConnectResponse {
    /// An answer with nothing but a status and its usual words.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            status_description: status.description().map(str::to_owned),
            index: None,
            count: None,
            connection: List::ABSENT,
            advice: None,
            policy: List::ABSENT,
            extra: Extra::default(),
        }
    }
}

structure! {
    /// Asks whether credentials are good (section 6.2.1).
    #[derive(Default)]
    pub struct ValidateRequest {
        /// Which of several answers is wanted.
        index: opt u32 = "Index",
        /// What the credentials were shown for.
        service: opt Service = "Service",
        /// Credentials, that of the end entity first; the others help to build its path.
        credential: list Credential = "Credential",
        /// Certificates that are named instead of shown.
        certificate_id: list CertificateId = "CertificateID",
        /// Acceptable policies.
        policy: list String = "Policy",
    }
}

impl ValidateRequest {
    /// Asks about a chain that was shown by `name`: the certificate of the end entity first.
    pub fn new<C: Into<Binary>>(name: Name, chain: impl IntoIterator<Item = C>) -> Self {
        let service = Service { identifier: [Identifier::new(name)].into(), ..Service::default() };
        Self {
            service: Some(service),
            credential: chain.into_iter().map(Credential::certificate).collect(),
            ..Self::default()
        }
    }

    /// Whether it can be answered. An Identifier with neither service nor port is let pass: the draft's own example
    /// has one.
    ///
    /// # Errors
    /// When there is nothing to validate; answer [`InvalidRequest::status`].
    pub fn check(&self) -> Result<(), InvalidRequest> {
        if self.credential.is_empty() && self.certificate_id.is_empty() {
            return Err(InvalidRequest::NothingToValidate);
        }
        Ok(())
    }

    /// The names that the credentials must be good for.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.service.iter().flat_map(|service| service.identifier.iter()).map(|identifier| &identifier.name)
    }
}

structure! {
    /// What the broker thinks of the credentials (section 6.2.2).
    ///
    /// [`Status::VALID`] means that the broker has no objection. It does not replace the client's own check of the
    /// path: a broker may veto, not vouch (section 4.2), unless the client was configured to trust it with that.
    pub struct ValidateResponse {
        /// Valid, revoked, dangerous; for all credentials together.
        status: one Status = "Status",
        /// The same in words, for people.
        status_description: opt String = "StatusDescription",
        /// Which of several answers this is.
        index: opt u32 = "Index",
        /// How many answers there are.
        count: opt u32 = "Count",
        /// The policies by which the credentials were verified.
        policy: list String = "Policy",
    }
}

impl ValidateResponse {
    /// An answer with nothing but a status and its usual words.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            status_description: status.description().map(str::to_owned),
            index: None,
            count: None,
            policy: List::ABSENT,
            extra: Extra::default(),
        }
    }

    /// Whether the broker objects: anything but [`Status::VALID`], also a question that it could not answer. That it
    /// does not is no assertion, and no method says so: check the path yourself in any case (section 4.2).
    ///
    /// ```
    /// use obp_proto::Status;
    /// use obp_proto::message::ValidateResponse;
    ///
    /// // What the client's own check says decides; the broker can only take it away.
    /// fn trusted(checked_by_us: bool, broker: &ValidateResponse) -> bool {
    ///     checked_by_us && !broker.is_veto()
    /// }
    /// let (valid, revoked) = (ValidateResponse::new(Status::VALID), ValidateResponse::new(Status::REVOKED));
    /// assert!(!trusted(false, &valid));
    /// assert!(trusted(true, &valid) && !trusted(true, &revoked));
    /// ```
    pub fn is_veto(&self) -> bool {
        self.status != Status::VALID
    }
}
