//! Tickets for a binding: one to manage it, one for each instance of each service.

use rand::RngExt as _;
use rand::rngs::StdRng;
use watchfire_core::{Duration, UnixTime};
use zeroize::Zeroizing;

use super::pending::Wanted;
use crate::message::{Cryptographic, DateTime, InstanceConnection, InstanceTransport, List, Secret, TicketResponse};
use crate::service_connect::config::ConnectBrokerConfig;
use crate::service_connect::negotiate::Suite;
use crate::service_connect::pin::random;
use crate::status::Status;
use crate::ticket::{KeyRing, MAX_DATAGRAM_LEN, Scope, SealError, TicketContent, TicketKind};

/// Makes keys and seals them.
pub(super) struct Issuer<'a> {
    pub(super) config: &'a ConnectBrokerConfig,
    pub(super) keys: &'a KeyRing,
    pub(super) rng: &'a mut StdRng,
    pub(super) now: UnixTime,
}

impl Issuer<'_> {
    /// A new key with its ticket.
    pub(super) fn key(
        &mut self,
        suite: &Suite,
        kind: TicketKind,
        scope: Scope,
        lifetime: Duration,
        account: &str,
        binding: [u8; 16],
    ) -> Result<Cryptographic, SealError> {
        let mut secret = Zeroizing::new(vec![0; suite.secret_len()]);
        self.rng.fill(&mut secret[..]);
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let content = TicketContent {
            kind,
            scope,
            authentication: suite.authentication.clone(),
            encryption: suite.encryption.clone(),
            secret: secret.clone(),
            account: account.to_owned(),
            binding,
            issued: self.now,
            expires: UnixTime::from_secs(self.now.as_secs().saturating_add(lifetime)),
        };
        let ticket = self.keys.seal(&content, random(self.rng))?;
        let mut key = Cryptographic::new(
            Secret::from(&secret[..]),
            suite.encryption.clone(),
            suite.authentication.clone(),
            ticket,
        );
        key.expires = DateTime::from_unix(content.expires).ok();
        Ok(key)
    }

    /// All that a new or renewed binding consists of. An anonymous one, of no account, cannot be managed.
    pub(super) fn binding(
        &mut self,
        wanted: &Wanted,
        account: &str,
        binding: [u8; 16],
    ) -> Result<TicketResponse, SealError> {
        let mut response = TicketResponse::new(Status::SUCCESS);
        response.cryptographic = List::present(Vec::new());
        if !account.is_empty() {
            let lifetime = self.config.management_lifetime;
            let mut key =
                self.key(&wanted.suite, TicketKind::Binding, Scope::Management, lifetime, account, binding)?;
            key.protocol = Some(Cryptographic::CONNECT.to_owned());
            response.cryptographic.push(key);
        }
        for instance in &self.config.instances {
            let label = instance.service.as_deref().unwrap_or_default();
            if !(wanted.services.is_empty() || wanted.services.iter().any(|service| service == label)) {
                continue;
            }
            let lifetime = self.config.ticket_lifetime;
            let key = self.key(&wanted.suite, TicketKind::Binding, Scope::Query, lifetime, account, binding)?;
            let fits = key.ticket.as_bytes().len() <= MAX_DATAGRAM_LEN;
            if instance.transport == Some(InstanceTransport::Udp) && !fits {
                continue;
            }
            response.service.push(InstanceConnection { cryptographic: Some(key), ..instance.clone() });
        }
        Ok(response)
    }
}
