//! Why a configuration was not taken, why a peer was refused, why a handshake failed, and the short names of these
//! for metrics.

use std::io;
use std::time::Duration;

use rustls::AlertDescription;

/// Reason of a failed or refused connection: a small closed set of names, for metrics labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The certificate does not lead to one of the configured CAs.
    WrongCa,
    /// The certificate is past its end date.
    Expired,
    /// The certificate's begin date is in the future.
    NotYetValid,
    /// The peer showed no certificate.
    NoCertificate,
    /// The certificate is for another manager name.
    BadName,
    /// The certificate does not allow this use: TLS purpose or IAP role.
    MissingEku,
    /// The certificate is on a revocation list.
    Revoked,
    /// The revocation list itself is out of date or unusable.
    CrlUnusable,
    /// The certificate is good, but the allow list does not name it.
    NotAllowed,
    /// No common TLS version.
    ProtocolVersion,
    /// The handshake took too long.
    TimedOut,
    /// Anything else: garbage, a lost connection, no common cipher suite.
    Other,
}

impl Reason {
    /// All reasons, in the order of declaration; a metrics exporter may start each at zero.
    pub const ALL: [Self; 12] = [
        Self::WrongCa,
        Self::Expired,
        Self::NotYetValid,
        Self::NoCertificate,
        Self::BadName,
        Self::MissingEku,
        Self::Revoked,
        Self::CrlUnusable,
        Self::NotAllowed,
        Self::ProtocolVersion,
        Self::TimedOut,
        Self::Other,
    ];

    /// The name in snake case, as a metrics label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongCa => "wrong_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoCertificate => "no_certificate",
            Self::BadName => "bad_name",
            Self::MissingEku => "missing_eku",
            Self::Revoked => "revoked",
            Self::CrlUnusable => "crl_unusable",
            Self::NotAllowed => "not_allowed",
            Self::ProtocolVersion => "protocol_version",
            Self::TimedOut => "timed_out",
            Self::Other => "other",
        }
    }

    /// What a TLS alert from the peer says about its reason. Alerts are coarser than our reasons: `bad_certificate`
    /// may mean a wrong name or a broken encoding and becomes [`Other`](Self::Other).
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA => Self::WrongCa,
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::NoCertificate | AlertDescription::CertificateRequired => Self::NoCertificate,
            AlertDescription::UnsupportedCertificate => Self::MissingEku,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::AccessDenied => Self::NotAllowed,
            AlertDescription::ProtocolVersion => Self::ProtocolVersion,
            _ => Self::Other,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a peer was refused by our policy. draft-ietf-idwg-iap-01 sections 6.4 to 6.6.
///
/// Dates are seconds since 1970-01-01 UTC. Names that come from the peer's certificate have their control characters
/// escaped, so that the text can go to a log as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The certificate does not lead to a configured CA, or a signature on the way is wrong.
    #[error("its certificate was issued by {issuer:?}, which leads to none of the configured CAs")]
    WrongCa {
        /// The issuer's name as the certificate gives it.
        issuer: String,
    },
    /// The certificate, or one above it, is past its end date.
    #[error("its certificate, or that of a CA above it, expired {} s ago (end {not_after}, now {now})", now.saturating_sub(*not_after))]
    Expired {
        /// End of validity, in seconds since 1970.
        not_after: u64,
        /// The time of the check, in seconds since 1970.
        now: u64,
    },
    /// The certificate, or one above it, is not valid yet. Often the clock of this node or of the issuer is wrong.
    #[error("its certificate, or that of a CA above it, is valid only in {} s (from {not_before}, now {now}); check the clocks", not_before.saturating_sub(*now))]
    NotYetValid {
        /// Begin of validity, in seconds since 1970.
        not_before: u64,
        /// The time of the check, in seconds since 1970.
        now: u64,
    },
    /// The peer showed no certificate; both sides of IAP must.
    #[error("it showed no certificate; IAP requires one from both sides")]
    NoCertificate,
    /// The manager's certificate does not carry the name that the analyzer was configured with.
    #[error("its certificate is for {}, not for {wanted:?}", list(present))]
    BadName {
        /// The configured manager name.
        wanted: String,
        /// The DNS names and addresses that the certificate has.
        present: Vec<String>,
    },
    /// The certificate is not for this side of a TLS connection: its extended key usage lacks the standard purpose.
    #[error("its certificate is not for use as TLS {side} (extended key usage)")]
    WrongPurpose {
        /// `client` or `server`.
        side: &'static str,
    },
    /// The certificate lacks the IAP role that the peer needs.
    #[error("its certificate lacks the extended key usage {wanted}; it has {}", list(present))]
    MissingEku {
        /// The names of the wanted roles.
        wanted: &'static str,
        /// The IAP roles that the certificate has.
        present: Vec<&'static str>,
    },
    /// The certificate, or one above it, is on a revocation list.
    #[error("its certificate, or that of a CA above it, has been revoked")]
    Revoked,
    /// The revocation list of the issuer is past its next update, and the policy is to refuse then.
    #[error("the revocation list of its issuer expired {} s ago (next update {next_update}, now {now}); fetch a new one", now.saturating_sub(*next_update))]
    CrlExpired {
        /// When the list should have been replaced, in seconds since 1970.
        next_update: u64,
        /// The time of the check, in seconds since 1970.
        now: u64,
    },
    /// The revocation list of the issuer cannot be used, for example because its signature is wrong.
    #[error("the revocation list of its issuer cannot be used: {problem}")]
    CrlUnusable {
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate is good, but no rule of the allow list names it.
    #[error("no rule of the allow list names it (sha256:{fingerprint})")]
    NotAllowed {
        /// SHA-256 of the certificate, in hexadecimal, ready for a rule.
        fingerprint: String,
    },
    /// The certificate cannot be read, or breaks a rule of path validation.
    #[error("its certificate is not acceptable: {problem}")]
    BadCertificate {
        /// What is wrong with it.
        problem: String,
    },
}

impl AuthError {
    /// The short name, for metrics.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::WrongCa { .. } => Reason::WrongCa,
            Self::Expired { .. } => Reason::Expired,
            Self::NotYetValid { .. } => Reason::NotYetValid,
            Self::NoCertificate => Reason::NoCertificate,
            Self::BadName { .. } => Reason::BadName,
            Self::WrongPurpose { .. } | Self::MissingEku { .. } => Reason::MissingEku,
            Self::Revoked => Reason::Revoked,
            Self::CrlExpired { .. } | Self::CrlUnusable { .. } => Reason::CrlUnusable,
            Self::NotAllowed { .. } => Reason::NotAllowed,
            Self::BadCertificate { .. } => Reason::Other,
        }
    }
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// Why there is no authenticated connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// We refused the peer. It was told by an alert, or by `close_notify` if the session was a resumed one.
    #[error("refused {peer}: {error}")]
    Refused {
        /// The name of the peer for logs; `peer` if its certificate gave none.
        peer: String,
        /// Why.
        error: AuthError,
    },
    /// The peer refused us, by a TLS alert.
    #[error("the peer refused us with the TLS alert {alert}; its log says why")]
    RefusedByPeer {
        /// The name of the alert in the TLS documents' terms.
        alert: String,
        /// What the alert says about the reason.
        reason: Reason,
    },
    /// The octets are not TLS, or there is nothing in common: version, cipher suite, group.
    #[error("TLS failed: {problem}")]
    Protocol {
        /// What is wrong.
        problem: String,
        /// [`Reason::ProtocolVersion`] or [`Reason::Other`].
        reason: Reason,
    },
    /// The handshake did not end in time.
    #[error("no TLS handshake within {0:?}")]
    TimedOut(Duration),
    /// The peer closed the connection during the handshake.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The transport failed.
    #[error("connection lost during the TLS handshake: {problem}")]
    Io {
        /// The kind of the failure.
        kind: io::ErrorKind,
        /// The system's words.
        problem: String,
    },
}

impl TlsError {
    /// The short name, for metrics.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Refused { error, .. } => error.reason(),
            Self::RefusedByPeer { reason, .. } | Self::Protocol { reason, .. } => *reason,
            Self::TimedOut(_) => Reason::TimedOut,
            Self::Closed | Self::Io { .. } => Reason::Other,
        }
    }

    /// Reads an error of a TLS stream.
    ///
    /// Also for errors after the handshake: under TLS 1.3 an analyzer is done before the manager has looked at its
    /// certificate, so a refusal reaches it as an alert at its first read.
    pub fn from_io(error: &io::Error) -> Self {
        use rustls::{Error, PeerIncompatible as P};
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return if error.kind() == io::ErrorKind::UnexpectedEof {
                Self::Closed
            } else {
                Self::Io { kind: error.kind(), problem: error.to_string() }
            };
        };
        let reason = match tls {
            Error::NoCertificatesPresented => {
                return Self::Refused { peer: "peer".to_owned(), error: AuthError::NoCertificate };
            }
            Error::AlertReceived(alert) => {
                return Self::RefusedByPeer { alert: alert_name(*alert), reason: Reason::of_alert(*alert) };
            }
            // Only hellos from before TLS 1.2 come without signature algorithms; rustls looks for these first.
            Error::PeerIncompatible(
                P::ServerDoesNotSupportTls12Or13
                | P::ServerTlsVersionIsDisabledByOurConfig
                | P::SignatureAlgorithmsExtensionRequired
                | P::SupportedVersionsExtensionRequired
                | P::Tls12NotOffered
                | P::Tls12NotOfferedOrEnabled
                | P::Tls13RequiredForQuic,
            ) => Reason::ProtocolVersion,
            _ => Reason::Other,
        };
        Self::Protocol { problem: tls.to_string(), reason }
    }
}

/// `CertificateExpired` becomes `certificate_expired`, the spelling of the TLS documents.
fn alert_name(alert: AlertDescription) -> String {
    if alert == AlertDescription::UnknownCA {
        return "unknown_ca".to_owned();
    }
    let Some(camel) = alert.as_str() else { return format!("number {}", u8::from(alert)) };
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Why a configuration cannot be used. `file` is the path, or the label of octets given directly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Something that is needed was not configured.
    #[error("{what} not configured")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {file}: {problem}")]
    Read {
        /// The file.
        file: String,
        /// The system's words.
        problem: String,
        /// The kind of the failure.
        kind: io::ErrorKind,
    },
    /// A file is longer than what is reasonable for its purpose.
    #[error("{file} is longer than {limit} octets")]
    TooLong {
        /// The file.
        file: String,
        /// The most octets that are read.
        limit: u64,
    },
    /// A file is broken at a line.
    #[error("{what} {file} line {line}: {problem}")]
    Line {
        /// `certificate`, `key`, `CA` or `CRL`.
        what: &'static str,
        /// The file.
        file: String,
        /// The line, from 1, at which the broken section begins.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A file holds nothing of what it should.
    #[error("{file} holds no {what}; expected PEM with \"-----BEGIN {label}-----\", or DER")]
    Empty {
        /// `certificate`, `key`, `CA` or `CRL`.
        what: &'static str,
        /// The file.
        file: String,
        /// The PEM label looked for.
        label: &'static str,
    },
    /// The key does not belong to the certificate.
    #[error("key {key} does not match certificate {certificate}")]
    KeyMismatch {
        /// The key's file.
        key: String,
        /// The certificate's file.
        certificate: String,
    },
    /// Neither feature `ring` nor `aws-lc-rs` is on, and the caller gave no provider.
    #[error("no cryptography: enable feature `ring` or `aws-lc-rs`, or hand in a provider")]
    NoProvider,
    /// The provider cannot do what is asked of it.
    #[error("the cryptography provider cannot be used: {problem}")]
    Provider {
        /// What is wrong.
        problem: String,
    },
    /// The text is neither a DNS name nor an IP address.
    #[error("not a manager name (DNS name or IP address): {name:?}")]
    ManagerName {
        /// What was given.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_become_reasons() {
        for (alert, name, reason) in [
            (AlertDescription::UnknownCA, "unknown_ca", Reason::WrongCa),
            (AlertDescription::CertificateExpired, "certificate_expired", Reason::Expired),
            (AlertDescription::CertificateRequired, "certificate_required", Reason::NoCertificate),
            (AlertDescription::UnsupportedCertificate, "unsupported_certificate", Reason::MissingEku),
            (AlertDescription::CertificateRevoked, "certificate_revoked", Reason::Revoked),
            (AlertDescription::AccessDenied, "access_denied", Reason::NotAllowed),
            (AlertDescription::ProtocolVersion, "protocol_version", Reason::ProtocolVersion),
            (AlertDescription::BadCertificate, "bad_certificate", Reason::Other),
            (AlertDescription::Unknown(200), "number 200", Reason::Other),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
            assert_eq!(TlsError::from_io(&error), TlsError::RefusedByPeer { alert: name.to_owned(), reason });
        }
    }

    #[test]
    fn reasons_have_distinct_names() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn transport_errors_keep_their_kind() {
        let eof = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(TlsError::from_io(&eof), TlsError::Closed);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(matches!(TlsError::from_io(&reset), TlsError::Io { kind: io::ErrorKind::ConnectionReset, .. }));
    }
}
