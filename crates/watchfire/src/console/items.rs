//! What services tell the hub, and what they let it look at.

use std::net::SocketAddr;
use std::sync::Arc;

use repute_proto::{Application, Reputon};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::store::AlertRecord;

/// Something that happened.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_enums)]
pub enum Happened {
    /// An alert was kept.
    Alert(Arc<AlertRecord>),
    /// A broker answered.
    Answer(Arc<BrokerAnswer>),
    /// Somebody asked for a reputation here.
    Reputation(Arc<ReputationAnswer>),
    /// A DOTS session or mitigation changed.
    Dots(Arc<DotsChange>),
    /// Something came of an order of a certificate.
    Star(Arc<StarChange>),
}

impl Happened {
    /// Where it is shown.
    pub fn panel(&self) -> Panel {
        match self {
            Self::Alert(_) => Panel::Alerts,
            Self::Answer(_) => Panel::Answers,
            Self::Reputation(_) => Panel::Reputations,
            Self::Dots(_) => Panel::Dots,
            Self::Star(_) => Panel::Star,
        }
    }

    /// About how much memory it holds, in octets.
    pub(super) fn octets(&self) -> usize {
        match self {
            // What was read from the body takes a few times its room.
            Self::Alert(record) => record.body.len() * 4 + 1024,
            Self::Answer(answer) => 512 + answer.names.iter().chain(&answer.addresses).map(String::len).sum::<usize>(),
            Self::Reputation(answer) => 512 + answer.subject.len() + answer.opinions.len() * 512,
            Self::Dots(change) => 512 + Value::Object(change.members.clone()).to_string().len(),
            Self::Star(change) => 512 + change.detail.len(),
        }
    }
}

/// A page of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums)]
pub enum Panel {
    /// Alerts.
    Alerts,
    /// What brokers answered.
    Answers,
    /// Reputations that were looked up.
    Reputations,
    /// DOTS sessions and mitigations.
    Dots,
    /// Orders of certificates.
    Star,
}

impl Panel {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Alerts, Self::Answers, Self::Reputations, Self::Dots, Self::Star];

    /// The name in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alert",
            Self::Answers => "answer",
            Self::Reputations => "reputation",
            Self::Dots => "dots",
            Self::Star => "star",
        }
    }
}

/// One answer of a broker; also a line of its audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct BrokerAnswer {
    /// When, RFC 3339.
    pub time: String,
    /// Who asked; empty for somebody without account.
    pub account: String,
    /// The name of the message that was asked.
    pub question: String,
    /// The names that it was about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The service that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The port that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The status of the answer.
    pub status: i64,
    /// What the answer says in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The addresses that were given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Whether it was known already.
    pub cached: bool,
}

impl BrokerAnswer {
    /// Whether a certificate or a name was refused.
    pub fn is_veto(&self) -> bool {
        self.status >= 300
    }
}

/// What was said about a subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct ReputationAnswer {
    /// When, RFC 3339.
    pub time: String,
    /// `console` for a look-up in it, `client` for an answer that a rater gave somebody.
    pub by: &'static str,
    /// The application.
    pub application: String,
    /// The subject.
    pub subject: String,
    /// What the opinions that count say together; nothing for a single answer.
    pub combined: Vec<CombinedRating>,
    /// Who said what.
    pub opinions: Vec<Opinion>,
    /// Raters that have nothing to say.
    pub silent: Vec<String>,
}

/// What several raters say of one assertion.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct CombinedRating {
    /// The assertion.
    pub assertion: String,
    /// How far it holds.
    pub rating: f64,
    /// How far raters disagree.
    pub spread: f64,
    /// How many opinions count.
    pub opinions: usize,
}

/// One reputon.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct Opinion {
    /// Who says so.
    pub rater: String,
    /// What is said.
    pub assertion: String,
    /// How far it holds.
    pub rating: f64,
    /// How sure the rater is.
    pub confidence: Option<f64>,
    /// From how much.
    pub sample_size: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub generated: Option<u64>,
    /// What it weighs where several were asked.
    pub weight: Option<f64>,
    /// Why it does not count, if so.
    pub reason: Option<&'static str>,
}

impl From<&Reputon<'_>> for Opinion {
    fn from(reputon: &Reputon<'_>) -> Self {
        Self {
            rater: reputon.rater.to_string(),
            assertion: reputon.assertion.to_string(),
            rating: reputon.rating.value(),
            confidence: reputon.confidence.as_ref().map(repute_proto::Score::value),
            sample_size: reputon.sample_size,
            generated: reputon.generated,
            weight: None,
            reason: None,
        }
    }
}

/// A change of a session or of a mitigation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct DotsChange {
    /// When, RFC 3339.
    pub time: String,
    /// `session` or `mitigation`.
    pub kind: &'static str,
    /// The role that says so: `call-home-client` or `call-home-server`.
    pub role: &'static str,
    /// The peer.
    pub peer: String,
    /// What it is now.
    pub status: String,
    /// More: the scope of a mitigation by the names of RFC 7951, or the address of a session.
    pub members: Map<String, Value>,
}

/// Something that came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct StarChange {
    /// When, RFC 3339.
    pub time: String,
    /// Who says so: `lurk ido` or `lurk ndc`.
    pub role: &'static str,
    /// The order or, of a delegate, its names.
    pub order: String,
    /// What happened: `ordered`, `issued`, `canceled` and so on.
    pub what: String,
    /// In words.
    pub detail: String,
}

/// A session with a peer, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct DotsSession {
    /// Whose.
    pub peer: String,
    /// Where and by what; none when there is no session.
    pub session: Option<(SocketAddr, &'static str)>,
}

/// What a DOTS service has.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct DotsState {
    /// The role of the service.
    pub role: &'static str,
    /// Its peers.
    pub sessions: Vec<DotsSession>,
    /// Its mitigations: the names of RFC 7951, with `peer`, `cuid` and `mid`.
    pub mitigations: Vec<Value>,
}

/// An order, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::exhaustive_structs)]
pub struct StarOrder {
    /// Who has it: `lurk ido` or `lurk ndc`.
    pub role: &'static str,
    /// Its name; the URL of a delegate's order, when it is known.
    pub order: String,
    /// The names of the certificate.
    pub names: Vec<String>,
    /// How it stands.
    pub status: String,
    /// The delegation.
    pub delegation: String,
    /// Whether it is being stopped.
    pub stopping: bool,
    /// The end of the newest certificate that is known of, in seconds since 1970: it rolls before that.
    pub not_after: Option<i64>,
    /// The lifetime of each certificate in seconds, and the end of the last in seconds since 1970.
    pub renews: Option<(u64, i64)>,
    /// How many certificates there were.
    pub certificates: u64,
}

/// Gives what a rater says of a subject.
pub type AskRater = Arc<dyn Fn(&Application, &str) -> Vec<Reputon<'static>> + Send + Sync>;

/// A rater of this process.
#[derive(Clone)]
#[allow(clippy::exhaustive_structs)]
pub struct Rater {
    /// What it calls itself.
    pub name: String,
    /// The applications that it has entries of.
    pub applications: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What it says of an application's subject, which is normalised.
    pub ask: AskRater,
}

impl std::fmt::Debug for Rater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rater").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The time in the form that items have.
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
