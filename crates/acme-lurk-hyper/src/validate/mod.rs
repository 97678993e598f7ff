//! Looking whether challenges are met, over the network. [RFC 8555 section 8](https://www.rfc-editor.org/rfc/rfc8555#section-8),
//! [RFC 8737](https://www.rfc-editor.org/rfc/rfc8737)
//!
//! Names below `.localhost` mean the loopback ([RFC 6761 section 6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)).
//!
//! Whoever may order has requests made to names of his choice. So connections are made to public addresses alone, unless
//! the configuration says otherwise, and to the loopback where only a laboratory looks: for names below `.localhost`, and
//! at other ports than 80 and 443. What is outside leads to nothing inside, and no address that is inside is told.

mod http01;
mod resolve;
mod tls_alpn01;

use std::net::IpAddr;
use std::time::Duration;

use acme_lurk::Limits;
use acme_lurk::acme::challenge::{dns01_is_met, dns01_name};
use acme_lurk::acme::{ChallengeKind, Identifier, Problem, ProblemType};
use acme_lurk::url::{Reach, is_public};
use tokio::net::TcpStream;

pub use resolve::{Resolver, ResolverError};

use crate::Going;

/// A challenge to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Validation {
    /// How.
    pub kind: ChallengeKind,
    /// For what; without a star.
    pub identifier: Identifier,
    /// The token.
    pub token: String,
    /// What must be found.
    pub key_authorization: String,
}

impl Validation {
    /// One.
    pub fn new(kind: ChallengeKind, identifier: Identifier, token: String, key_authorization: String) -> Self {
        Self { kind, identifier, token, key_authorization }
    }
}

/// Looks whether challenges are met.
pub trait Validator: Send + Sync + 'static {
    /// Looks at one; says what was wrong.
    fn validate<'a>(&'a self, challenge: &'a Validation) -> Going<'a, Result<(), Problem>>;
}

/// Looks over the network.
#[derive(Debug)]
pub struct NetworkValidator {
    resolver: Resolver,
    config: ValidatorConfig,
    tls: tls_alpn01::Probe,
}

/// How is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidatorConfig {
    /// The port of http-01. 80.
    pub http01_port: u16,
    /// The port of tls-alpn-01. 443.
    pub tls_alpn01_port: u16,
    /// For one attempt, all of it. 10 s.
    pub attempt: Duration,
    /// How often is looked, if nobody is there. 3.
    pub attempts: u32,
    /// Between two looks. 1 s.
    pub pause: Duration,
    /// How often http-01 is led elsewhere (always over http, and to the same port or to 80). 5.
    pub redirects: u32,
    /// Octets that http-01 may answer. 4 KiB.
    pub octets: usize,
    /// Where http-01 and tls-alpn-01 may be looked for. Public addresses, and the loopback as the module says.
    pub reach: Reach,
}

impl Default for ValidatorConfig {
    fn default() -> Self {
        Self {
            http01_port: 80,
            tls_alpn01_port: 443,
            attempt: Duration::from_secs(10),
            attempts: 3,
            pause: Duration::from_secs(1),
            redirects: 5,
            octets: 4096,
            reach: Reach::Public,
        }
    }
}

impl NetworkValidator {
    /// A validator that asks this resolver for addresses and records.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(resolver: Resolver, config: ValidatorConfig) -> Result<Self, rustls::Error> {
        Ok(Self { resolver, config, tls: tls_alpn01::Probe::new()? })
    }

    async fn look(&self, challenge: &Validation) -> Result<(), Problem> {
        let name = challenge.identifier.value();
        match challenge.kind {
            ChallengeKind::Http01 => self.http01(name, &challenge.token, &challenge.key_authorization).await,
            ChallengeKind::Dns01 => self.dns01(name, &challenge.key_authorization).await,
            ChallengeKind::TlsAlpn01 => {
                let port = self.config.tls_alpn01_port;
                let tcp = self.connect(name, port, may_be_loopback(name, port)).await?;
                self.tls.look(tcp, name, &challenge.key_authorization, &Limits::DEFAULT).await
            }
            _ => Err(Problem::new(ProblemType::Malformed, "this kind of challenge is not known here")),
        }
    }

    async fn dns01(&self, name: &str, key_authorization: &str) -> Result<(), Problem> {
        let name = dns01_name(name);
        let records = self.resolver.texts(&name).await.map_err(|error| Problem::new(ProblemType::Dns, error.0))?;
        if dns01_is_met(records.iter().map(Vec::as_slice), key_authorization) {
            return Ok(());
        }
        let detail = format!("{} TXT records are at {name}, and none is the one", records.len());
        Err(Problem::new(if records.is_empty() { ProblemType::Dns } else { ProblemType::IncorrectResponse }, detail))
    }

    /// A connection to the first address that takes one, of those that may be connected to.
    async fn connect(&self, name: &str, port: u16, loopback_too: bool) -> Result<TcpStream, Problem> {
        let addresses = self.resolver.addresses(name).await;
        let addresses: Vec<IpAddr> = addresses.map_err(|error| Problem::new(ProblemType::Dns, error.0))?;
        let mut last = format!("{name} has no address");
        for address in addresses {
            let is_loopback = address.to_canonical().is_loopback();
            if self.config.reach == Reach::Public && !is_public(address) && !(loopback_too && is_loopback) {
                // Which one is nobody's business outside.
                last = format!("{name} has no public address, and others are not looked at here");
                continue;
            }
            match TcpStream::connect((address, port)).await {
                Ok(tcp) => {
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Err(error) => last = format!("{address} port {port}: {error}"),
            }
        }
        Err(Problem::new(ProblemType::Connection, last))
    }
}

/// Where nobody but a laboratory looks.
fn may_be_loopback(name: &str, port: u16) -> bool {
    resolve::is_loopback(name) || !matches!(port, 80 | 443)
}

impl Validator for NetworkValidator {
    fn validate<'a>(&'a self, challenge: &'a Validation) -> Going<'a, Result<(), Problem>> {
        Box::pin(async move {
            let mut left = self.config.attempts.max(1);
            loop {
                let late = || {
                    let detail = format!("{}: nothing within {:?}", challenge.identifier, self.config.attempt);
                    Err(Problem::new(ProblemType::Connection, detail))
                };
                let looked = tokio::time::timeout(self.config.attempt, self.look(challenge)).await;
                let looked = looked.unwrap_or_else(|_| late());
                left -= 1;
                match looked {
                    // Somebody who is not there may be about to come; a wrong answer will not become right.
                    Err(Problem { kind: ProblemType::Connection | ProblemType::Dns, .. }) if left > 0 => {
                        tokio::time::sleep(self.config.pause).await;
                    }
                    looked => return looked,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
