//! `--output nats://`: alerts as messages of a JetStream stream.
//!
//! One task publishes for all callers: what waits is sent without waiting in between, then all acknowledgements are
//! waited for. A message has an id that is made of whose alert it is and of its number, so that the stream takes an
//! alert once that is sent again, by whichever manager.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{Context as JetStream, ContextBuilder, GetStreamErrorKind, PublishAckFuture};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::{ConnectErrorKind, ConnectOptions, ServerAddr};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use watchfire_core::Backoff;
use zeroize::Zeroizing;

use super::OutputError;
use crate::exit::{Failure, file_failure};
use crate::metrics::{Counter, Gauge, Registry};
use crate::store::AlertRecord;
use crate::values::NatsUrl;

/// So many batches may wait for the publisher.
const QUEUE: usize = 1024;
/// So many octets are on their way without an acknowledgement at most, one message more or less.
const IN_FLIGHT: usize = 16 << 20;
/// Room for the headers and the subject of a message.
const HEADERS: usize = 1024;
/// A body of so many times fewer octets than fit is not measured: its JSON is not so much longer.
const SURELY: usize = 16;
/// The longest name of a sensor in a subject; longer ones end in a digest.
const TOKEN_LIMIT: usize = 128;
/// Pauses between tries to connect.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// How a stream is reached and made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatsOptions {
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// Its first line is `USER:PASSWORD` or a token.
    pub password_file: Option<PathBuf>,
    /// Who may vouch for the servers, PEM. With it TLS is demanded.
    pub ca: Option<PathBuf>,
    /// Own certificate and key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// For a connection, and for an acknowledgement.
    pub timeout: Duration,
    /// Messages on their way without an acknowledgement.
    pub window: usize,
    /// When the stream is made: on so many servers.
    pub replicas: usize,
    /// When the stream is made: how long it knows a message again.
    pub duplicates: Duration,
}

impl Default for NatsOptions {
    /// No credentials, 10 s, 1024 messages, one server, two minutes.
    fn default() -> Self {
        Self {
            credentials: None,
            password_file: None,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(10),
            window: 1024,
            replicas: 1,
            duplicates: Duration::from_secs(120),
        }
    }
}

/// A stream that alerts are published to. Cheap to clone.
#[derive(Clone)]
pub struct NatsOutput {
    url: Arc<NatsUrl>,
    /// The largest message that the stream takes.
    largest: Arc<AtomicUsize>,
    jobs: mpsc::Sender<Job>,
}

struct Job {
    messages: Vec<Message>,
    done: oneshot::Sender<Result<(), OutputError>>,
}

struct Message {
    subject: String,
    id: String,
    payload: Bytes,
}

impl fmt::Debug for NatsOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOutput").field("url", &self.url).finish_non_exhaustive()
    }
}

impl NatsOutput {
    /// Connects; the stream is made when there is none. Call it in a tokio runtime.
    ///
    /// # Errors
    /// No server answers, it refuses the credentials, it has no JetStream, or the stream is not for our subjects.
    pub async fn connect(url: &NatsUrl, options: NatsOptions, metrics: &Registry) -> Result<Self, Failure> {
        let url = Arc::new(url.clone());
        let largest = Arc::new(AtomicUsize::new(0));
        let counts = Counts {
            messages: metrics.counter("watchfire_nats_messages_total", "Alerts acknowledged by JetStream.", &[]),
            duplicates: metrics.counter("watchfire_nats_duplicates_total", "Alerts that the stream had already.", &[]),
            failures: metrics.counter("watchfire_nats_failures_total", "Batches that were not all acknowledged.", &[]),
            connected: metrics.gauge("watchfire_nats_connected", "Connections to NATS that are up.", &[]),
        };
        let link = Link { url: Arc::clone(&url), options, largest: Arc::clone(&largest) };
        let session = link.open().await?;
        counts.connected.add(1);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let seed = std::array::from_fn(|i| (std::process::id() >> (i % 4 * 8)) as u8);
        let backoff = Backoff::new(AGAIN.0, AGAIN.1, seed);
        tokio::spawn(Publisher { link, session: Some(session), retry_at: None, backoff, counts }.run(queue));
        Ok(Self { url, largest, jobs })
    }

    /// Whether an alert is larger than the stream takes.
    pub fn is_too_large(&self, record: &AlertRecord) -> bool {
        let largest = self.largest.load(Relaxed).saturating_sub(HEADERS);
        if record.body.len() <= largest / SURELY {
            return false;
        }
        let mut line = Vec::new();
        record.write_json_line(&mut line);
        line.len() > largest
    }

    /// Publishes a batch; done when JetStream has acknowledged all of it.
    ///
    /// # Errors
    /// Not all of it was acknowledged; some of it may be in the stream.
    pub async fn publish(&self, batch: &[Arc<AlertRecord>]) -> Result<(), OutputError> {
        let ended = || OutputError { sink: self.url.to_string(), what: "the publisher has ended".into() };
        let messages = batch.iter().map(|record| Message::of(&self.url.stream, record)).collect();
        let (done, told) = oneshot::channel();
        self.jobs.send(Job { messages, done }).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }
}

impl Message {
    fn of(stream: &str, record: &AlertRecord) -> Self {
        let mut line = Vec::new();
        record.write_json_line(&mut line);
        line.pop();
        Self {
            subject: format!("{stream}.{}", token(&record.peer)),
            id: crate::pki::hex(&Sha256::digest(&record.key)[..16]),
            payload: line.into(),
        }
    }
}

/// A sensor's name as a part of a subject: what has a meaning there, and all that is not ASCII, is written `%XX`.
fn token(peer: &str) -> String {
    use fmt::Write as _;
    let mut token = String::with_capacity(peer.len());
    for octet in peer.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => token.push(char::from(octet)),
            _ => {
                let _ = write!(token, "%{octet:02X}");
            }
        }
    }
    if token.is_empty() {
        return "%".into();
    }
    if token.len() > TOKEN_LIMIT {
        token.truncate(TOKEN_LIMIT - 33);
        token.push('~');
        token.push_str(&crate::pki::hex(&Sha256::digest(peer.as_bytes())[..16]));
    }
    token
}

#[derive(Debug)]
struct Counts {
    messages: Counter,
    duplicates: Counter,
    failures: Counter,
    connected: Gauge,
}

/// How to connect.
struct Link {
    url: Arc<NatsUrl>,
    options: NatsOptions,
    largest: Arc<AtomicUsize>,
}

struct Session {
    client: async_nats::Client,
    stream: JetStream,
}

impl Link {
    /// A connection, with the stream behind it.
    async fn open(&self) -> Result<Session, Failure> {
        let there = |failure: Failure| failure.at(&self.url);
        let scheme = if self.url.tls || self.options.ca.is_some() { "tls" } else { "nats" };
        let servers = self.url.servers.iter().map(|server| format!("{scheme}://{server}").parse::<ServerAddr>());
        let servers = servers.collect::<Result<Vec<_>, _>>();
        let servers = servers.map_err(|error| there(Failure::usage(format!("not an address: {error}"))))?;
        let client = self.settings()?.connect(servers).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let what = format!("cannot connect: {}{cause}", error.kind());
            there(match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    Failure::refused(what).remedy("give --nats-credentials or --nats-password-file")
                }
                ConnectErrorKind::Tls => Failure::usage(what).remedy("check --nats-ca"),
                _ => Failure::unreachable(what),
            })
        })?;
        let stream = ContextBuilder::new()
            .timeout(self.options.timeout)
            .ack_timeout(self.options.timeout)
            .max_ack_inflight(self.options.window.saturating_add(1))
            .build(client.clone());
        let config = self.stream(&stream).await.map_err(there)?;
        let of_stream = usize::try_from(config.max_message_size).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
        self.largest.store(client.max_payload().min(of_stream), Relaxed);
        Ok(Session { client, stream })
    }

    fn settings(&self) -> Result<ConnectOptions, Failure> {
        let options = &self.options;
        let mut settings = ConnectOptions::new()
            .name("watchfire")
            .connection_timeout(options.timeout)
            .request_timeout(Some(options.timeout))
            .ping_interval(Duration::from_secs(10))
            .client_capacity(options.window.saturating_add(1))
            // Each server once; then this connection is given up with all that it still had to send, and made anew.
            .max_reconnects(self.url.servers.len());
        if self.url.tls || options.ca.is_some() {
            settings = settings.require_tls(true);
        }
        if let Some(ca) = &options.ca {
            crate::https::certificates(ca)?;
            settings = settings.add_root_certificates(ca.clone());
        }
        if let Some((cert, key)) = &options.identity {
            settings = settings.add_client_certificate(cert.clone(), key.clone());
        }
        if let Some(path) = &options.credentials {
            let text = secret(path)?;
            return settings.credentials(&text).map_err(|error| {
                Failure::usage(format!("no credentials: {error}")).at(path.display()).remedy("write it with `nsc`")
            });
        }
        let line = match &options.password_file {
            Some(path) => {
                let line = secret(path)?.lines().next().map(|line| Zeroizing::new(line.to_owned()));
                let line = line.filter(|line| !line.is_empty());
                let empty = || Failure::usage("the first line is empty").at(path.display());
                Some(line.ok_or_else(|| empty().remedy("write USER:PASSWORD or a token there"))?)
            }
            None => variable("NATS_TOKEN").or_else(|| {
                let (user, password) = (variable("NATS_USER")?, variable("NATS_PASSWORD").unwrap_or_default());
                Some(Zeroizing::new(format!("{}:{}", *user, *password)))
            }),
        };
        Ok(match line.as_ref().map(|line| (line.as_str(), line.split_once(':'))) {
            Some((_, Some((user, password)))) => settings.user_and_password(user.to_owned(), password.to_owned()),
            Some((token, None)) => settings.token(token.to_owned()),
            None => settings,
        })
    }

    /// The stream's configuration; it is made when there is none.
    async fn stream(&self, jetstream: &JetStream) -> Result<Config, Failure> {
        let name = &self.url.stream;
        let subjects = format!("{name}.*");
        let found = match jetstream.get_stream(name).await {
            Ok(stream) => stream.cached_info().config.clone(),
            Err(error) => match error.kind() {
                // 404: there is none, but there is JetStream.
                GetStreamErrorKind::JetStream(error) if error.code() == 404 => {
                    let made = jetstream.create_stream(self.wanted(&subjects)).await;
                    let made = made.map_err(|error| {
                        let failure = Failure::usage(format!("the stream cannot be made: {error}"));
                        failure.remedy("make it yourself, or check the limits and rights of this user")
                    })?;
                    tracing::info!(stream = %name, "the stream is made");
                    made.cached_info().config.clone()
                }
                GetStreamErrorKind::Request => {
                    let failure = Failure::unreachable(format!("JetStream does not answer: {error}"));
                    return Err(failure.remedy("switch JetStream on, and let this user call its API"));
                }
                _ => return Err(Failure::usage(format!("the stream cannot be used: {error}"))),
            },
        };
        let refused = |what: &str, remedy: String| Err(Failure::usage(what.to_owned()).remedy(remedy));
        if !found.subjects.iter().any(|pattern| covers(pattern, name)) {
            let remedy = format!("add the subject {subjects} to it, or name another stream");
            return refused("the stream takes no messages of our subjects", remedy);
        }
        if found.no_ack {
            return refused("the stream acknowledges nothing", "set no_ack to false".into());
        }
        if found.storage == StorageType::Memory {
            tracing::warn!(stream = %name, "the stream is in memory: what was acknowledged is lost when its server ends");
        }
        Ok(found)
    }

    fn wanted(&self, subjects: &str) -> Config {
        Config {
            name: self.url.stream.clone(),
            description: Some("Intrusion alerts, from Watchfire".into()),
            subjects: vec![subjects.to_owned()],
            storage: StorageType::File,
            num_replicas: self.options.replicas,
            duplicate_window: self.options.duplicates,
            // A full stream refuses: alerts stay with their sensors, and nothing is dropped in silence.
            discard: DiscardPolicy::New,
            ..Config::default()
        }
    }
}

/// Whether a pattern of subjects stands for all of `STREAM.*`.
fn covers(pattern: &str, stream: &str) -> bool {
    match pattern.split('.').collect::<Vec<_>>()[..] {
        [">"] => true,
        [first, second] => (first == stream || first == "*") && (second == "*" || second == ">"),
        _ => false,
    }
}

/// A text file that is secret.
fn secret(path: &std::path::Path) -> Result<Zeroizing<String>, Failure> {
    let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read", path, &error))?;
    let octets = Zeroizing::new(octets);
    let text = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
}

struct Publisher {
    link: Link,
    session: Option<Session>,
    retry_at: Option<(Instant, OutputError)>,
    backoff: Backoff,
    counts: Counts,
}

impl Publisher {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.recv().await {
            let mut group = vec![first];
            while group.iter().map(|job| job.messages.len()).sum::<usize>() < self.link.options.window {
                let Ok(job) = queue.try_recv() else { break };
                group.push(job);
            }
            let (mut messages, mut waiting) = (Vec::new(), Vec::new());
            for job in group {
                messages.extend(job.messages);
                waiting.push(job.done);
            }
            let outcome = self.publish(messages).await;
            if outcome.is_err() {
                self.counts.failures.increment();
            }
            for done in waiting {
                // A caller that has gone away does not want to know.
                let _ = done.send(outcome.clone());
            }
        }
    }

    fn failed(&self, what: impl Into<String>) -> OutputError {
        OutputError { sink: self.link.url.to_string(), what: what.into() }
    }

    fn give_up(&mut self) {
        if self.session.take().is_some() {
            self.counts.connected.add(-1);
        }
    }

    async fn publish(&mut self, messages: Vec<Message>) -> Result<(), OutputError> {
        self.reconnect().await?;
        let Some(session) = &self.session else { return Err(self.failed("not connected")) };
        let sent = send(session, &self.link, messages, &self.counts).await;
        sent.map_err(|(what, lasting)| {
            if !lasting {
                // Whatever this connection still has to send would come at another time.
                self.give_up();
            }
            self.failed(what)
        })
    }

    /// Connects again when that is due.
    async fn reconnect(&mut self) -> Result<(), OutputError> {
        if self.session.as_ref().is_some_and(|session| session.client.connection_state() == State::Connected) {
            return Ok(());
        }
        self.give_up();
        if let Some((at, error)) = &self.retry_at
            && Instant::now() < *at
        {
            return Err(error.clone());
        }
        match self.link.open().await {
            Ok(session) => {
                tracing::info!(output = %self.link.url, "connected again");
                self.session = Some(session);
                self.counts.connected.add(1);
                self.retry_at = None;
                self.backoff.reset();
                Ok(())
            }
            Err(failure) => {
                tracing::warn!("alerts cannot be published; sensors are told to come again: {failure}");
                let error = self.failed(failure.to_string());
                self.retry_at = Some((Instant::now() + self.backoff.next_delay(), error.clone()));
                Err(error)
            }
        }
    }
}

/// Sends all and waits for all acknowledgements. An error says whether it is the stream's answer (and the connection is
/// good), or one of the connection.
async fn send(session: &Session, link: &Link, messages: Vec<Message>, counts: &Counts) -> Result<(), (String, bool)> {
    let mut in_flight: VecDeque<(PublishAckFuture, usize)> = VecDeque::new();
    let mut octets = 0;
    for Message { subject, id, payload } in messages {
        while in_flight.len() >= link.options.window || octets > IN_FLIGHT {
            let Some(oldest) = in_flight.pop_front() else { break };
            octets -= acknowledged(oldest, counts).await?;
        }
        let len = payload.len();
        let message = PublishMessage::build().payload(payload).message_id(id).expected_stream(&link.url.stream);
        let sent = session.stream.send_publish(subject, message).await.map_err(|error| explained(&error))?;
        octets += len;
        in_flight.push_back((sent, len));
    }
    for sent in in_flight {
        acknowledged(sent, counts).await?;
    }
    Ok(())
}

async fn acknowledged((sent, len): (PublishAckFuture, usize), counts: &Counts) -> Result<usize, (String, bool)> {
    let acknowledgement = sent.await.map_err(|error| explained(&error))?;
    counts.messages.increment();
    if acknowledgement.duplicate {
        counts.duplicates.increment();
    }
    Ok(len)
}

fn explained(error: &async_nats::jetstream::context::PublishError) -> (String, bool) {
    use async_nats::jetstream::context::PublishErrorKind as Kind;
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let what = match error.kind() {
        Kind::TimedOut => "no acknowledgement in time".to_owned(),
        Kind::BrokenPipe => "the connection broke".to_owned(),
        Kind::StreamNotFound => "there is no such stream any more".to_owned(),
        kind => format!("{kind}{cause}"),
    };
    (what, matches!(error.kind(), Kind::Other | Kind::MaxPayloadExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_subjects() {
        for (peer, wanted) in [
            ("sensor-1", "sensor-1"),
            ("a.b c", "a%2Eb%20c"),
            ("*", "%2A"),
            (">", "%3E"),
            ("ü", "%C3%BC"),
            ("\r\n", "%0D%0A"),
            ("", "%"),
        ] {
            assert_eq!(token(peer), wanted);
        }
        let (one, other) = (token(&format!("{}1", "x".repeat(300))), token(&format!("{}2", "x".repeat(300))));
        assert!(one.len() == TOKEN_LIMIT && other.len() == TOKEN_LIMIT && one != other);
        assert!(token(&".".repeat(300)).len() <= TOKEN_LIMIT);
    }

    #[test]
    fn a_stream_is_for_our_subjects_or_not() {
        for good in [">", "alerts.*", "alerts.>", "*.*", "*.>"] {
            assert!(covers(good, "alerts"), "{good}");
        }
        for bad in ["", "alerts", "alerts.a", "alerts.*.*", "other.*", "alerts.a.>"] {
            assert!(!covers(bad, "alerts"), "{bad}");
        }
    }

    #[test]
    fn an_alert_has_one_id_whoever_publishes_it() {
        let record = |peer: &str, body: &'static [u8]| AlertRecord::now(peer, "x/y", Bytes::from_static(body));
        let id = |peer: &str, body: &'static [u8]| Message::of("s", &record(peer, body)).id;
        assert_eq!(id("a", b"1"), id("a", b"1"));
        assert!(id("a", b"1") != id("a", b"2") && id("a", b"1") != id("b", b"1"));
        assert_eq!(id("a", b"1").len(), 32);
        let message = Message::of("s", &record("a.b", b"1"));
        assert_eq!(message.subject, "s.a%2Eb");
        assert!(serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap()["peer"] == "a.b");
    }
}
