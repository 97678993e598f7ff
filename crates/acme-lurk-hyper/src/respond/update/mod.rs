//! dns-01 by dynamic updates of the zone, signed with TSIG.
//! [RFC 2136](https://www.rfc-editor.org/rfc/rfc2136), [RFC 8945](https://www.rfc-editor.org/rfc/rfc8945)

mod key;

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acme_lurk::acme::ChallengeKind;
use acme_lurk::acme::challenge::{dns01_name, dns01_text};
use acme_lurk::acme::client::Provision;
use hickory_proto::op::update_message::{append, delete_by_rdata};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use key::{TsigKey, TsigKeyError};

use super::Responder;
use crate::Going;

/// Seconds that a record may stay in caches.
const TTL: u32 = 1;

/// Puts TXT records into a zone, and takes them out, by updates that its primary server (BIND, Knot, PowerDNS and others)
/// takes under a key.
///
/// Records beside those of the challenge are left alone, also others at the same name. Updates go over TCP, and what the
/// server says counts only when it has signed it.
#[derive(Clone)]
pub struct DnsUpdate {
    server: String,
    key: TsigKey,
    zone: Option<Name>,
    settling: Duration,
    patience: Duration,
}

/// The text is no name of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no DNS name")]
#[non_exhaustive]
pub struct NoZone;

impl DnsUpdate {
    /// Updates zones at this server, `HOST:PORT`, with this key. An update has half a minute.
    pub fn new(server: impl Into<String>, key: TsigKey) -> Self {
        let (settling, patience) = (Duration::ZERO, Duration::from_secs(30));
        Self { server: server.into(), key, zone: None, settling, patience }
    }

    /// The same for this zone alone. Without, the server is asked which zone a name is in.
    ///
    /// # Errors
    /// When it is no DNS name.
    pub fn with_zone(mut self, zone: &str) -> Result<Self, NoZone> {
        let mut name = Name::from_ascii(zone).map_err(|_| NoZone)?;
        name.set_fqdn(true);
        self.zone = Some(name);
        Ok(self)
    }

    /// The same, waiting so long until a record counts as there: for secondary servers, which get it later. The default
    /// is not to wait.
    #[must_use]
    pub const fn with_settling(mut self, time: Duration) -> Self {
        self.settling = time;
        self
    }

    /// The same with another time for an update.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn call(&self, provision: &Provision, change: Change) -> Result<(), String> {
        let name = dns01_name(provision.identifier.value());
        let what = |error: UpdateError| format!("update of {name} at {}: {error}", self.server);
        let text = dns01_text(&provision.key_authorization);
        let changing = tokio::time::timeout(self.patience, self.change(&name, text, change));
        changing.await.unwrap_or(Err(UpdateError::Late(self.patience))).map_err(what)?;
        if change == Change::Add {
            tokio::time::sleep(self.settling).await;
        }
        Ok(())
    }

    async fn change(&self, name: &str, text: String, change: Change) -> Result<(), UpdateError> {
        let mut name = Name::from_ascii(name)?;
        name.set_fqdn(true);
        let zone = match &self.zone {
            Some(zone) => zone.clone(),
            None => self.zone_of(&name).await?,
        };
        if !zone.zone_of(&name) {
            return Err(UpdateError::OtherZone(zone.to_string()));
        }
        let records = RecordSet::from(Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec![text]))));
        let mut update = match change {
            Change::Add => append(records, zone, false, false),
            Change::Remove => delete_by_rdata(records, zone, false),
        };
        let verifier = update.finalize(&self.key.0, unix())?;
        let answer = self.exchange(&update).await?;
        let read = Message::from_vec(&answer).map_err(|_| UpdateError::Unreadable)?;
        if read.response_code != ResponseCode::NoError {
            // A refusal need not be signed: who does not know the key cannot.
            return Err(match read.response_code {
                ResponseCode::Refused | ResponseCode::NotAuth => UpdateError::Refused(read.response_code),
                code => UpdateError::Failed(code),
            });
        }
        let mut verifier = verifier.ok_or(UpdateError::Unsigned)?;
        let verified = verifier.verify(&answer).map_err(|_| UpdateError::Unsigned)?;
        if verified.id != update.id { Err(UpdateError::Unreadable) } else { Ok(()) }
    }

    /// The zone that a name is in, as the server has it: the owner of the SOA record that it answers with.
    async fn zone_of(&self, name: &Name) -> Result<Name, UpdateError> {
        let mut question = Message::query();
        question.metadata.recursion_desired = false;
        question.add_query(Query::query(name.clone(), RecordType::SOA));
        let answer = self.exchange(&question).await?;
        let answer = Message::from_vec(&answer).map_err(|_| UpdateError::Unreadable)?;
        let records = answer.answers.iter().chain(&answer.authorities);
        let mut zones = records.filter(|record| record.record_type() == RecordType::SOA).map(|record| &record.name);
        zones.find(|zone| zone.zone_of(name)).cloned().ok_or(UpdateError::NoZone(answer.response_code))
    }

    /// Sends a message over a connection of its own, and receives one.
    async fn exchange(&self, message: &Message) -> Result<Vec<u8>, UpdateError> {
        let octets = message.to_vec()?;
        let length = u16::try_from(octets.len()).map_err(|_| UpdateError::Unreadable)?;
        let mut stream = TcpStream::connect(&self.server).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&[&length.to_be_bytes()[..], &octets].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = Vec::new();
        stream.take(length.into()).read_to_end(&mut answer).await?;
        if answer.len() < usize::from(length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(answer)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

/// Seconds since 1970, which signatures have.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Why a zone was not changed.
#[derive(Debug, thiserror::Error)]
enum UpdateError {
    #[error("not done within {0:?}")]
    Late(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Proto(#[from] hickory_proto::ProtoError),
    #[error("the server refuses: {0} (does it know the key, and may that change this name?)")]
    Refused(ResponseCode),
    #[error("the server answers: {0}")]
    Failed(ResponseCode),
    #[error("the answer is not signed with the key; is the secret the same on both sides, and the time?")]
    Unsigned,
    #[error("the answer is no answer to that")]
    Unreadable,
    #[error("the name is not in the zone {0}")]
    OtherZone(String),
    #[error("the server knows no zone for the name: {0}")]
    NoZone(ResponseCode),
}

impl Responder for DnsUpdate {
    fn present<'a>(&'a self, provision: &'a Provision) -> Going<'a, Result<(), String>> {
        Box::pin(self.call(provision, Change::Add))
    }

    fn clean_up<'a>(&'a self, provision: &'a Provision) -> Going<'a, ()> {
        Box::pin(async move {
            // A record that stays behind does no harm: its token is used up.
            let _ = self.call(provision, Change::Remove).await;
        })
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        vec![ChallengeKind::Dns01]
    }
}

impl fmt::Debug for DnsUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsUpdate").field("server", &self.server).field("key", &self.key).finish_non_exhaustive()
    }
}
