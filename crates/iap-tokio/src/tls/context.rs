//! [`Tls`]: the loaded certificates and policies, ready for handshakes, and their exchange while running.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use iap_proto::{Party, TlsRole};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error, InconsistentKeys, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::authorize::{Authorizer, Claim};
use super::config::{EkuPolicy, MinVersion, Sessions, TlsConfig, built_in_ticketer};
use super::error::{AuthError, ConfigError};
use super::files::{CrlStatus, read_chain, read_key, readable_by_others};
use super::identity::Identity;
use super::verifier::Verifier;

/// Sessions that a manager remembers when tickets are not to be had.
const FALLBACK_SESSIONS: usize = 1024;

/// What both parties need for TLS: own certificate, trust, policies, session memory.
///
/// A handle: clones share everything, and see a [`reload`](Self::reload) at their next handshake.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    state: RwLock<Arc<State>>,
    /// Held during a reload, so that two do not mix.
    reloading: Mutex<()>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// One loaded configuration. Never changed: a reload makes another.
pub(super) struct State {
    pub(super) config: TlsConfig,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    pub(super) authorizer: Arc<Authorizer>,
    provider: Arc<CryptoProvider>,
    /// The verifier of `client`. Survives reloads: rustls resumes a session only under the verifier it began with.
    verifier: Arc<Verifier>,
    /// Survives reloads that keep the own certificate, for the same reason.
    resolver: Arc<SingleCertAndKey>,
    chain: Vec<CertificateDer<'static>>,
    managers: Option<Arc<ClientSessionMemoryCache>>,
    own: Identity,
    warnings: Vec<Warning>,
}

impl Tls {
    /// Reads and checks all files of a configuration. Blocks on files.
    ///
    /// # Errors
    /// [`ConfigError`] says which file is wrong, where, and what to do.
    pub fn new(config: TlsConfig) -> Result<Self, ConfigError> {
        let state = RwLock::new(Arc::new(State::load(config, None)?));
        let (succeeded, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { inner: Arc::new(Inner { state, reloading: Mutex::new(()), succeeded, failed }) })
    }

    /// Reads the files again and, if all are good, puts them in force at once for all later handshakes. Blocks on
    /// files. Connections that are up stay up; sessions that are resumed later are judged by the new policy.
    ///
    /// # Errors
    /// [`ConfigError`]; then nothing has changed.
    pub fn reload(&self) -> Result<Vec<Warning>, ConfigError> {
        self.exchange(None)
    }

    /// Like [`reload`](Self::reload) with another configuration, for example another allow list.
    ///
    /// # Errors
    /// [`ConfigError`]; then nothing has changed.
    pub fn replace(&self, config: TlsConfig) -> Result<Vec<Warning>, ConfigError> {
        self.exchange(Some(config))
    }

    fn exchange(&self, config: Option<TlsConfig>) -> Result<Vec<Warning>, ConfigError> {
        let _one_at_a_time = self.inner.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.state();
        let config = config.unwrap_or_else(|| old.config.clone());
        match State::load(config, Some(&old)) {
            Ok(new) => {
                let warnings = new.warnings.clone();
                // A handshake between these two lines is judged again when it ends: see `Tls::admit`.
                new.verifier.replace(Arc::clone(&new.authorizer));
                *self.inner.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                self.inner.succeeded.fetch_add(1, Ordering::Relaxed);
                Ok(warnings)
            }
            Err(error) => {
                self.inner.failed.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The policy in force.
    pub fn authorizer(&self) -> Arc<Authorizer> {
        Arc::clone(&self.state().authorizer)
    }

    /// Whether an authenticated peer has the IAP role for what it turned out to want, by the policy in force.
    ///
    /// # Errors
    /// [`AuthError::MissingEku`].
    pub fn check_role(&self, identity: &Identity, claim: Claim) -> Result<(), AuthError> {
        self.state().authorizer.check_role(identity, claim)
    }

    /// The own certificate.
    pub fn own(&self) -> Identity {
        self.state().own.clone()
    }

    /// What is not wrong but worth a line in the log, as of the last (re)load.
    pub fn warnings(&self) -> Vec<Warning> {
        self.state().warnings.clone()
    }

    /// The revocation lists in force, newest first: for metrics such as the time until the next update.
    pub fn crls(&self) -> Vec<CrlStatus> {
        self.state().authorizer.crls().to_vec()
    }

    /// How many reloads succeeded, and how many failed.
    pub fn reloads(&self) -> (u64, u64) {
        (self.inner.succeeded.load(Ordering::Relaxed), self.inner.failed.load(Ordering::Relaxed))
    }

    /// Forgets the analyzer's sessions with a manager: the next connection makes a full handshake. For when the
    /// manager ended a resumed connection without taking data.
    pub fn forget_sessions(&self, manager: &ServerName<'static>) {
        self.state().forget_sessions(manager);
    }

    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.inner.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn downgrade(&self) -> std::sync::Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    pub(super) fn upgrade(inner: &std::sync::Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(|inner| Self { inner })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Tls").field("own", &state.own).field("config", &state.config).finish_non_exhaustive()
    }
}

/// Reads a manager name as operators write it: a DNS name (a final dot is dropped) or an IP address.
///
/// # Errors
/// [`ConfigError::ManagerName`].
pub fn manager_name(text: &str) -> Result<ServerName<'static>, ConfigError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).map_err(|_| ConfigError::ManagerName { name: text.to_owned() })
}

/// Something that works now but should be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Anybody on the system can read or change the key.
    #[error("key {file} is accessible to everybody (mode {mode:03o}); run `chmod 600` on it")]
    KeyOpen {
        /// The key's file.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The own certificate is outside of its dates: peers will refuse it.
    #[error("certificate {file} is not valid now; peers will refuse it")]
    OwnCertificateDates {
        /// The certificate's file.
        file: String,
    },
    /// The own certificate has no IAP role, while this node asks for roles in others.
    #[error("certificate {file} has no IAP extended key usage; peers that require one will refuse it")]
    OwnCertificateRoles {
        /// The certificate's file.
        file: String,
    },
    /// A revocation list is past its next update.
    #[error("the revocation list of {issuer} in {file} has expired; fetch a new one")]
    CrlExpired {
        /// The list's file.
        file: String,
        /// Its issuer.
        issuer: String,
    },
}

impl State {
    fn load(config: TlsConfig, old: Option<&Self>) -> Result<Self, ConfigError> {
        let provider = match (old, &config.provider) {
            (Some(old), None) if old.config.provider.is_none() => Arc::clone(&old.provider),
            _ => config.provider()?,
        };
        let old = old.filter(|old| Arc::ptr_eq(&old.provider, &provider));
        let chain = read_chain(&config.certificate)?;
        let loaded = load_key(&config, chain.clone(), &provider)?;
        let authorizer = Arc::new(Authorizer::load(&config, &provider)?);
        let own = Identity::from_certificate(&chain[0], &config.oids)
            .map_err(|error| own_problem(&config, error.to_string()))?;
        let warnings = warnings(&config, &own, &authorizer);
        // The same certificate has the same key: it was just found to match.
        let resolver = match old {
            Some(old) if old.chain == chain => Arc::clone(&old.resolver),
            _ => Arc::new(SingleCertAndKey::from(loaded)),
        };
        let verifier = match old {
            Some(old) => Arc::clone(&old.verifier),
            None => Arc::new(Verifier::new(Arc::clone(&authorizer), provider.signature_verification_algorithms)),
        };
        let managers = match old {
            Some(old) if old.config.remembered_managers == config.remembered_managers => old.managers.clone(),
            _ => remember(config.remembered_managers),
        };
        let client = client_config(&config, &provider, &verifier, &resolver, managers.as_ref())?;
        let server = server_config(&config, &provider, &authorizer, &resolver, old)?;
        Ok(Self {
            config,
            client: Arc::new(client),
            server: Arc::new(server),
            authorizer,
            provider,
            verifier,
            resolver,
            chain,
            managers,
            own,
            warnings,
        })
    }

    pub(super) fn forget_sessions(&self, manager: &ServerName<'static>) {
        if let Some(managers) = &self.managers {
            managers.remove_tls12_session(manager);
            while managers.take_tls13_ticket(manager).is_some() {}
        }
    }
}

fn load_key(
    config: &TlsConfig,
    chain: Vec<CertificateDer<'static>>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, ConfigError> {
    let key_file = config.key.to_string();
    let key = provider.key_provider.load_private_key(read_key(&config.key)?).map_err(|error| ConfigError::Line {
        what: "key",
        file: key_file.clone(),
        line: 1,
        problem: format!("not a usable private key ({error})"),
    })?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(Error::InconsistentKeys(_)) => {
            Err(ConfigError::KeyMismatch { key: key_file, certificate: config.certificate.to_string() })
        }
        Err(error) => Err(own_problem(config, error.to_string())),
    }
}

fn own_problem(config: &TlsConfig, problem: String) -> ConfigError {
    ConfigError::Line { what: "certificate", file: config.certificate.to_string(), line: 1, problem }
}

fn warnings(config: &TlsConfig, own: &Identity, authorizer: &Authorizer) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let file = config.certificate.to_string();
    if let Some(mode) = readable_by_others(&config.key) {
        warnings.push(Warning::KeyOpen { file: config.key.to_string(), mode });
    }
    let now = config.clock.current_time().map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if now < own.not_before() || now > own.not_after() {
        warnings.push(Warning::OwnCertificateDates { file: file.clone() });
    }
    if config.eku == EkuPolicy::Require && own.roles().is_empty() {
        warnings.push(Warning::OwnCertificateRoles { file });
    }
    for crl in authorizer.crls().iter().filter(|crl| crl.next_update <= now) {
        warnings.push(Warning::CrlExpired { file: crl.file.clone(), issuer: crl.issuer.clone() });
    }
    warnings
}

/// `count` managers; the cache counts sessions and keeps up to eight per name.
fn remember(count: usize) -> Option<Arc<ClientSessionMemoryCache>> {
    (count > 0).then(|| Arc::new(ClientSessionMemoryCache::new(count.saturating_mul(8))))
}

fn versions(config: &TlsConfig) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    match config.min_version {
        MinVersion::Tls12 => &BOTH,
        MinVersion::Tls13 => &BOTH[..1],
    }
}

fn provider_error(error: Error) -> ConfigError {
    ConfigError::Provider { problem: error.to_string() }
}

fn client_config(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<Verifier>,
    resolver: &Arc<SingleCertAndKey>,
    managers: Option<&Arc<ClientSessionMemoryCache>>,
) -> Result<ClientConfig, ConfigError> {
    let builder = ClientConfig::builder_with_details(Arc::clone(provider), Arc::clone(&config.clock));
    let mut client = builder
        .with_protocol_versions(versions(config))
        .map_err(provider_error)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as _)
        .with_client_cert_resolver(Arc::clone(resolver) as _);
    client.enable_early_data = false;
    // RFC 7627: without it a TLS 1.2 session with client certificates can be spliced into another.
    client.require_ems = true;
    client.resumption =
        managers.map_or_else(Resumption::disabled, |managers| Resumption::store(Arc::clone(managers) as _));
    Ok(client)
}

fn server_config(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
    authorizer: &Arc<Authorizer>,
    resolver: &Arc<SingleCertAndKey>,
    old: Option<&State>,
) -> Result<ServerConfig, ConfigError> {
    // Not the analyzer side's verifier: this one names the CAs to the peer, and these may have changed.
    let verifier = Verifier::new(Arc::clone(authorizer), provider.signature_verification_algorithms);
    let builder = ServerConfig::builder_with_details(Arc::clone(provider), Arc::clone(&config.clock));
    let mut server = builder
        .with_protocol_versions(versions(config))
        .map_err(provider_error)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::clone(resolver) as _);
    server.max_early_data_size = 0;
    server.require_ems = true;
    match old.filter(|old| same_sessions(&old.config.sessions, &config.sessions)) {
        Some(old) => {
            server.session_storage = Arc::clone(&old.server.session_storage);
            server.ticketer = Arc::clone(&old.server.ticketer);
            server.send_tls13_tickets = old.server.send_tls13_tickets;
        }
        None => {
            let memory = session_memory(config)?;
            server.session_storage = memory.storage;
            if let Some(ticketer) = memory.ticketer {
                server.ticketer = ticketer;
            }
            server.send_tls13_tickets = memory.tickets;
        }
    }
    Ok(server)
}

struct SessionMemory {
    storage: Arc<dyn StoresServerSessions>,
    ticketer: Option<Arc<dyn ProducesTickets>>,
    /// TLS 1.3 tickets sent after a handshake; each is good for one resumption.
    tickets: usize,
}

fn session_memory(config: &TlsConfig) -> Result<SessionMemory, ConfigError> {
    let none = || Arc::new(NoServerSessionStorage {});
    let stored = |count| SessionMemory { storage: ServerSessionMemoryCache::new(count), ticketer: None, tickets: 2 };
    let tickets = |ticketer| SessionMemory { storage: none(), ticketer: Some(ticketer), tickets: 2 };
    Ok(match &config.sessions {
        Sessions::Off | Sessions::Stored(0) => SessionMemory { storage: none(), ticketer: None, tickets: 0 },
        Sessions::Stored(count) => stored(*count),
        Sessions::Custom(ticketer) => tickets(Arc::clone(ticketer)),
        // A caller who brings the cryptography does not want tickets made by another.
        Sessions::Tickets if config.provider.is_some() => stored(FALLBACK_SESSIONS),
        Sessions::Tickets => match built_in_ticketer() {
            Some(ticketer) => tickets(ticketer.map_err(provider_error)?),
            None => stored(FALLBACK_SESSIONS),
        },
    })
}

fn same_sessions(old: &Sessions, new: &Sessions) -> bool {
    match (old, new) {
        (Sessions::Tickets, Sessions::Tickets) | (Sessions::Off, Sessions::Off) => true,
        (Sessions::Stored(old), Sessions::Stored(new)) => old == new,
        (Sessions::Custom(old), Sessions::Custom(new)) => Arc::ptr_eq(old, new),
        _ => false,
    }
}

impl State {
    /// The time by the configured clock.
    pub(super) fn now(&self) -> Option<UnixTime> {
        self.config.clock.current_time()
    }
}

/// What a party does in the TLS handshake of IAP/0.3: the analyzer is the TLS client, whoever dialled.
/// draft-ietf-idwg-iap-01 section 3.2.
pub const fn tls_role(party: Party) -> TlsRole {
    match party {
        Party::Analyzer => TlsRole::Client,
        Party::Manager => TlsRole::Server,
    }
}
