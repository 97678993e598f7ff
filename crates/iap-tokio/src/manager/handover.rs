//! Where the manager's work ends: alerts are handed over to whoever takes responsibility for them.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use iap_proto::{MediaType, Status};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::tls::Identity;

/// An alert as it arrived.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Alert {
    /// When its last octet was read.
    pub received: SystemTime,
    /// Who sent it, by its certificate.
    pub peer: Arc<Identity>,
    /// What its sender says it is.
    pub content_type: MediaType,
    /// Its body, octet for octet, with any padding the sender added.
    pub body: Bytes,
    /// What tells it from other alerts of the same peer.
    pub key: AlertKey,
    /// The body as IDMEF, if it is.
    #[cfg(feature = "idmef")]
    pub message: Option<Arc<idmef::Message>>,
}

/// What tells an alert from other alerts of the same peer. A sender that lost its connection sends what was not
/// answered once more; by this key it is known again.
///
/// The rule, in one place ([`AlertKey::of`]): a document with exactly one alert or heartbeat whose `messageid` and
/// whose outermost analyzer's `analyzerid` are both given (neither empty nor `0`, which is how IDMEF writes "none") is
/// known by these two. Everything else is known by its octets. Whoever stores alerts should use this key, and no rule of
/// its own: where two rules differ, an alert that one of them takes for known is lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlertKey {
    /// The analyzer that sent it, and its number there (RFC 4765 section 4.2.2).
    Message {
        /// `analyzerid` of the outermost analyzer.
        analyzerid: String,
        /// `messageid` of the alert or heartbeat.
        messageid: String,
    },
    /// The SHA-256 of the body.
    Digest([u8; 32]),
}

impl AlertKey {
    /// The key of a body, which is `message` if it is IDMEF.
    #[cfg(feature = "idmef")]
    pub fn of(message: Option<&idmef::Message>, body: &[u8]) -> Self {
        let given = |id: &str| !matches!(id, "" | "0");
        if let Some([item]) = message.map(|message| &message.items[..]) {
            let (analyzerid, messageid) = (item.analyzer().analyzerid.as_str(), item.messageid().as_str());
            if given(analyzerid) && given(messageid) {
                return Self::Message { analyzerid: analyzerid.to_owned(), messageid: messageid.to_owned() };
            }
        }
        Self::digest(body)
    }

    /// The key of a body that is looked at as octets alone.
    pub fn digest(body: &[u8]) -> Self {
        Self::Digest(Sha256::digest(body).into())
    }
}

/// Takes responsibility for alerts.
///
/// Calls come from all connections at once; those of one connection come one after the other, each with everything
/// that arrived while the one before it was under way.
pub trait Handover: Send + Sync + 'static {
    /// Takes a batch, and says what became of each alert, in the same order: [`Status::OK`] once it would survive a
    /// crash of this node (or whatever else you promise), a 4xx to have its sender put it aside for good, a 5xx to
    /// have it sent again later. Alerts without an answer count as 503.
    fn hand_over(&self, alerts: Vec<Alert>) -> impl Future<Output = Vec<Status>> + Send;
}

impl<H: Handover> Handover for Arc<H> {
    fn hand_over(&self, alerts: Vec<Alert>) -> impl Future<Output = Vec<Status>> + Send {
        (**self).hand_over(alerts)
    }
}

/// A batch on its way through a channel, waiting for its answer.
///
/// ```no_run
/// # async fn doc() {
/// use iap_tokio::manager::Delivery;
///
/// let (handover, mut alerts) = tokio::sync::mpsc::channel::<Delivery>(16);
/// // Manager::builder(tls, handover)...
/// while let Some(delivery) = alerts.recv().await {
///     for alert in delivery.alerts() {
///         println!("{} says {} octets of {}", alert.peer, alert.body.len(), alert.content_type);
///     }
///     delivery.accept(); // now they are ours
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a delivery that is dropped is answered 503, and its alerts come again"]
pub struct Delivery {
    alerts: Vec<Alert>,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
enum Answer {
    All(Status),
    Each(Vec<Status>),
}

impl Delivery {
    /// What arrived, in order.
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Takes the alerts out; they are answered by the call on what remains.
    pub fn take(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.alerts)
    }

    /// Answers 200 to all of them.
    pub fn accept(self) {
        self.answer_all(Status::OK);
    }

    /// Answers the same to all of them.
    pub fn answer_all(self, status: Status) {
        // The connection may be gone; then the alerts will come again.
        let _ = self.answer.send(Answer::All(status));
    }

    /// Answers each, in order.
    pub fn answer_each(self, statuses: Vec<Status>) {
        let _ = self.answer.send(Answer::Each(statuses));
    }
}

/// Alerts go into a channel, and are answered when whoever reads it answers.
impl Handover for mpsc::Sender<Delivery> {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        let count = alerts.len();
        let (answer, answered) = oneshot::channel();
        if self.send(Delivery { alerts, answer }).await.is_err() {
            return Vec::new();
        }
        match answered.await {
            Ok(Answer::All(status)) => vec![status; count],
            Ok(Answer::Each(statuses)) => statuses,
            Err(_) => Vec::new(),
        }
    }
}
