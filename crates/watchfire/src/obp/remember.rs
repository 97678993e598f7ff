//! What a broker remembers over a restart, in files or in a database: the keys that seal tickets, and the bindings that
//! have ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use obp_hyper::server::{Knowledge, Server};
use obp_proto::crypto::RustCrypto;
use obp_proto::ticket::{KeyRing, KeyRingError};
use watchfire_core::UnixTime;

use super::directory::{AccountsUrl, Directory};
use super::keys::{Ended, TicketKeys};
use super::shared::{Shared, SharedKey};
use crate::cli::BrokerArgs;
use crate::exit::Failure;
use crate::replace::beside;

/// How often a file of keys is looked at.
const FILE: Duration = Duration::from_secs(600);

/// How often the database is asked what the other brokers have done.
const SHARED: Duration = Duration::from_secs(2);

/// How often what has expired is deleted from the database, in looks.
const TIDY: u64 = 300;

/// Bindings that have ended, and until when that has to be remembered.
type EndedBindings = Vec<([u8; 16], UnixTime)>;

/// Keys, and where ended bindings go.
#[derive(Debug)]
pub struct Memory {
    keys: Keys,
    ending: Ending,
}

#[derive(Debug)]
enum Keys {
    File(TicketKeys),
    Shared(SharedKeys),
}

/// What of the database is in the machine already.
#[derive(Debug)]
struct SharedKeys {
    shared: Arc<Shared>,
    /// In seconds.
    lifetime: i64,
    known: BTreeSet<u32>,
    current: u32,
    last_end: i64,
    looks: u64,
    is_reached: bool,
}

/// Where the bindings go that end here. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Ending {
    /// Into a file.
    File(Arc<Ended>),
    /// Into a database.
    Shared(Arc<Shared>),
}

impl Memory {
    /// Reads the keys, or makes the first one; gives them as the machine wants them, with the bindings that have ended.
    ///
    /// # Errors
    /// A file or a database that cannot be read or written.
    pub async fn load(
        args: &BrokerArgs,
        directory: &Directory,
        now: i64,
    ) -> Result<(Self, KeyRing, EndedBindings), Failure> {
        let lifetime = args.ticket_lifetime.0;
        match (directory, &args.accounts) {
            (Directory::Shared(shared), _) => {
                if args.ticket_keys.is_some() {
                    let failure = Failure::usage("the keys are in the database, where the accounts are");
                    return Err(failure.at("--ticket-keys").remedy("leave it out"));
                }
                let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX).max(60);
                let keys = shared.keys(lifetime, now).await?;
                let current = current(&keys, now).ok_or_else(|| Failure::usage("there is no ticket key"))?;
                let failed = |error: KeyRingError| Failure::usage(error.to_string()).at(&args.accounts);
                let mut ring = KeyRing::new(Arc::new(RustCrypto), current.id, &current.octets[..]).map_err(failed)?;
                for key in keys.iter().filter(|key| key.id != current.id) {
                    ring.add(key.id, &key.octets[..]).map_err(failed)?;
                }
                let (ended, last_end) = shared.ended(0, now).await?;
                let keys = SharedKeys {
                    shared: Arc::clone(shared),
                    lifetime,
                    known: keys.iter().map(|key| key.id).collect(),
                    current: current.id,
                    last_end,
                    looks: 0,
                    is_reached: true,
                };
                Ok((Self { keys: Keys::Shared(keys), ending: Ending::Shared(Arc::clone(shared)) }, ring, ended))
            }
            (Directory::File(_), AccountsUrl::File(accounts)) => {
                let path = args.ticket_keys.clone().unwrap_or_else(|| beside(accounts, ".keys"));
                let keys = TicketKeys::load(&path, lifetime, now)?;
                let ring = keys.ring()?;
                let ended = Arc::new(Ended::at(&beside(accounts, ".ended")));
                let known = ended.load(now)?;
                Ok((Self { keys: Keys::File(keys), ending: Ending::File(ended) }, ring, known))
            }
            _ => Err(Failure::usage("accounts are in a file or in PostgreSQL").at(&args.accounts)),
        }
    }

    /// Where the bindings go that end here.
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// How often to look.
    pub fn pace(&self) -> Duration {
        match self.keys {
            Keys::File(_) => FILE,
            Keys::Shared(_) => SHARED,
        }
    }

    /// Rotates keys when it is time, and takes over what other brokers have done.
    pub async fn look<K: Knowledge>(&mut self, server: &Server<K>, now: i64) {
        match &mut self.keys {
            Keys::File(keys) => rotate(keys, server, now),
            Keys::Shared(keys) => keys.look(server, now).await,
        }
    }
}

impl Ending {
    /// Remembers a binding that has ended.
    ///
    /// # Errors
    /// When it cannot be written; then it has not ended.
    pub async fn add(&self, binding: [u8; 16], until: UnixTime) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.add(&binding, until),
            Self::Shared(shared) => shared.end(binding, until).await,
        }
    }
}

fn rotate<K: Knowledge>(keys: &mut TicketKeys, server: &Server<K>, now: i64) {
    match keys.rotate(now) {
        Ok(rotation) => {
            if let Some((id, key)) = rotation.new {
                match server.rotate_ticket_key(id, &key[..]) {
                    Ok(()) => tracing::info!(id, "tickets are sealed by a new key"),
                    Err(error) => tracing::error!(id, %error, "the new ticket key is not used"),
                }
            }
            for id in rotation.retired {
                // It may never have been loaded.
                let _ = server.retire_ticket_key(id);
            }
        }
        Err(error) => tracing::error!("the ticket key stays: {error}"),
    }
}

/// The key that seals now: the newest whose time has come.
fn current(keys: &[SharedKey], now: i64) -> Option<&SharedKey> {
    keys.iter().rev().find(|key| key.seals_from <= now).or_else(|| keys.first())
}

impl SharedKeys {
    async fn look<K: Knowledge>(&mut self, server: &Server<K>, now: i64) {
        let looked = self.take_over(server, now).await;
        match looked {
            Ok(()) if !self.is_reached => tracing::info!("the database of the brokers answers again"),
            Err(ref error) if self.is_reached => {
                tracing::error!("devices cannot bind, and what other brokers do is not seen: {error}");
            }
            _ => {}
        }
        self.is_reached = looked.is_ok();
    }

    async fn take_over<K: Knowledge>(&mut self, server: &Server<K>, now: i64) -> Result<(), Failure> {
        let keys = self.shared.keys(self.lifetime, now).await?;
        for key in &keys {
            if self.known.insert(key.id)
                && let Err(error) = server.add_ticket_key(key.id, &key.octets[..])
            {
                tracing::error!(id = key.id, %error, "the new ticket key is not used");
            }
        }
        if let Some(current) = current(&keys, now)
            && current.id != self.current
        {
            match server.seal_with_ticket_key(current.id) {
                Ok(()) => {
                    tracing::info!(id = current.id, "tickets are sealed by a new key");
                    self.current = current.id;
                }
                Err(error) => tracing::error!(id = current.id, %error, "the new ticket key is not used"),
            }
        }
        let gone: Vec<u32> = self.known.iter().copied().filter(|id| keys.iter().all(|key| key.id != *id)).collect();
        for id in gone.into_iter().filter(|id| *id != self.current) {
            self.known.remove(&id);
            let _ = server.retire_ticket_key(id);
        }
        let (ended, last) = self.shared.ended(self.last_end, now).await?;
        for (binding, until) in ended {
            if let Err(error) = server.end_binding(binding, until) {
                tracing::error!(%error, "the tickets of a binding that has ended are good until they expire");
            }
        }
        self.last_end = last;
        self.looks += 1;
        if self.looks.is_multiple_of(TIDY) {
            self.shared.tidy(now).await?;
        }
        Ok(())
    }
}
