//! Messages and structures of service-connect. draft-hallambaker-wsconnect-08 sections 3.3 and 4.

use std::fmt;
use std::net::IpAddr;

use super::binary::{Binary, Secret};
use super::datetime::DateTime;
use super::name::{Name, Port};
use super::structure::{Extra, List, structure};
use super::token::InstanceTransport;
use crate::crypto::{Authentication, Encryption};
use crate::status::Status;

structure! {
    /// A key, what it is for, and the ticket that names it to the service (section 3.3.4).
    pub struct Cryptographic {
        /// The protocol that the ticket is for: `sxs-connect`, and nothing or a service's label otherwise.
        protocol: opt String = "Protocol",
        /// The key.
        secret: one Secret = "Secret",
        /// How datagrams are encrypted.
        encryption: one Encryption = "Encryption",
        /// How messages are authenticated.
        authentication: one Authentication = "Authentication",
        /// What names the key to the service; opaque to everybody else.
        ticket: one Binary = "Ticket",
        /// Until when.
        expires: opt DateTime = "Expires",
    }
}

impl Cryptographic {
    /// The label of service-connect itself, in [`Cryptographic::protocol`].
    pub const CONNECT: &'static str = "sxs-connect";

    /// A key with its ticket, for use without end.
    pub fn new(
        secret: impl Into<Secret>,
        encryption: Encryption,
        authentication: Authentication,
        ticket: impl Into<Binary>,
    ) -> Self {
        Self {
            protocol: None,
            secret: secret.into(),
            encryption,
            authentication,
            ticket: ticket.into(),
            expires: None,
            extra: Extra::default(),
        }
    }
}

structure! {
    /// An image (section 3.3.5).
    #[derive(Default)]
    pub struct ImageLink {
        /// Its encoding: `JPG`, `PNG`.
        algorithm: opt String = "Algorithm",
        /// The image.
        image: opt Binary = "Image",
    }
}

structure! {
    /// One instance of a service, and how it is reached (section 3.3.6, where it is called Connection).
    #[derive(Default)]
    pub struct InstanceConnection {
        /// The service: `omni-query`.
        service: opt String = "Service",
        /// The host's name, for when the address does not answer, and for TLS.
        name: opt Name = "Name",
        /// The port.
        port: opt Port = "Port",
        /// The host's address.
        address: ip IpAddr = "Address",
        /// Instances with lower numbers are tried first.
        priority: opt u16 = "Priority",
        /// The share among instances of the same priority.
        weight: opt u16 = "Weight",
        /// How it is reached.
        transport: opt InstanceTransport = "Transport",
        /// Until when.
        expires: opt DateTime = "Expires",
        /// The key.
        cryptographic: opt Cryptographic = "Cryptographic",
    }
}

structure! {
    /// An answer that is nothing but a status (JCX-05 section 4.3).
    #[derive(Default)]
    pub struct ErrorResponse {
        /// What is wrong.
        status: opt Status = "Status",
        /// The same in words.
        status_description: opt String = "StatusDescription",
    }
}

impl ErrorResponse {
    /// This status, with its usual words.
    pub fn new(status: Status) -> Self {
        let status_description = status.description().map(str::to_owned);
        Self { status: Some(status), status_description, ..Self::default() }
    }
}

structure! {
    /// Asks for services without a PIN: anonymously, or to be confirmed out of band (section 4.1.1).
    #[derive(Default)]
    pub struct BindRequest {
        /// The services wanted, by their labels.
        service: list String = "Service",
        /// Acceptable encryption; when any is named, only those named are acceptable.
        encryption: list Encryption = "Encryption",
        /// Acceptable authentication; likewise.
        authentication: list Authentication = "Authentication",
    }
}

structure! {
    /// Begins a binding by PIN (section 4.2.1).
    #[derive(Default)]
    pub struct OpenPinRequest {
        /// Acceptable encryption; when any is named, only those named are acceptable.
        encryption: list Encryption = "Encryption",
        /// Acceptable authentication; likewise.
        authentication: list Authentication = "Authentication",
        /// The account, without its domain.
        account: opt String = "Account",
        /// The services wanted, by their labels.
        service: list String = "Service",
        /// The domain of the account.
        domain: opt Name = "Domain",
        /// Whether the user has entered a PIN; absent means no.
        have_passcode: opt bool = "HavePasscode",
        /// Whether the device can show an image; absent means no.
        have_display: opt bool = "HaveDisplay",
        /// The client's challenge: 16 to 80 octets.
        challenge: opt Binary = "Challenge",
        /// A URI that names this very device.
        device_id: opt String = "DeviceID",
        /// A URI that names the kind of device.
        device_uri: opt String = "DeviceURI",
        /// What it looks like.
        device_image: opt ImageLink = "DeviceImage",
        /// What its owner calls it.
        device_name: opt String = "DeviceName",
    }
}

structure! {
    /// The service proves that it knows the PIN, and asks the same of the client (section 4.2.2).
    #[derive(Default)]
    pub struct OpenPinResponse {
        /// 281, or 203 in older drafts, when all is well.
        status: opt Status = "Status",
        /// The same in words.
        status_description: opt String = "StatusDescription",
        /// The service's challenge: 16 to 80 octets.
        challenge: opt Binary = "Challenge",
        /// The service's proof.
        challenge_response: opt Binary = "ChallengeResponse",
        /// The key for the rest of this transaction.
        cryptographic: opt Cryptographic = "Cryptographic",
        /// An image that the user compares with the one shown elsewhere.
        verification_image: list ImageLink = "VerificationImage",
    }
}

structure! {
    /// Asks whether a pending binding is confirmed (section 4.3.1).
    #[derive(Default)]
    pub struct PollRequest {
        /// Which one. The examples leave it out, where nobody can tell.
        transaction_id: opt Binary = "TransactionID",
    }
}

structure! {
    /// Completes a binding by PIN, or refreshes the tickets of one (section 4.4.1).
    #[derive(Default)]
    pub struct TicketRequest {
        /// The services wanted, by their labels.
        service: list String = "Service",
        /// The client's proof; absent when tickets are refreshed.
        challenge_response: opt Binary = "ChallengeResponse",
    }
}

structure! {
    /// The binding, or why there is none yet (section 4.4.2).
    #[derive(Default)]
    pub struct TicketResponse {
        /// 200 when the binding is in here; 282, or 350, when it is pending.
        status: opt Status = "Status",
        /// The same in words.
        status_description: opt String = "StatusDescription",
        /// Keys for service-connect itself.
        cryptographic: list Cryptographic = "Cryptographic",
        /// Instances of the services, each with a key.
        service: list InstanceConnection = "Service",
        /// What a poll names.
        transaction_id: opt Binary = "TransactionID",
        /// Seconds to wait before the next poll, at least.
        min_retry: opt u32 = "MinRetry",
    }
}

impl TicketResponse {
    /// This status, with its usual words.
    pub fn new(status: Status) -> Self {
        let status_description = status.description().map(str::to_owned);
        Self { status: Some(status), status_description, ..Self::default() }
    }
}

structure! {
    /// Ends the binding whose ticket authenticates this request (section 4.5.1).
    #[derive(Default)]
    pub struct UnbindRequest {}
}

structure! {
    /// Whether the binding has ended (section 4.5.2).
    #[derive(Default)]
    pub struct UnbindResponse {
        /// 200 when it has.
        status: opt Status = "Status",
        /// The same in words.
        status_description: opt String = "StatusDescription",
    }
}

impl UnbindResponse {
    /// This status, with its usual words.
    pub fn new(status: Status) -> Self {
        let status_description = status.description().map(str::to_owned);
        Self { status: Some(status), status_description, ..Self::default() }
    }
}

/// The host to connect to, in words: for logs.
impl fmt::Display for InstanceConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service.as_deref().unwrap_or("?"))?;
        f.write_str(" at ")?;
        match (&self.address, &self.name) {
            (Some(IpAddr::V6(address)), _) => write!(f, "[{address}]")?,
            (Some(address), _) => write!(f, "{address}")?,
            (None, Some(name)) => write!(f, "{name}")?,
            (None, None) => f.write_str("?")?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match &self.transport {
            Some(transport) => write!(f, " over {transport}"),
            None => Ok(()),
        }
    }
}
