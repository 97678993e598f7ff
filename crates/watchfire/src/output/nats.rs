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
use async_nats::jetstream::context::{
    Context as JetStream, ContextBuilder, GetStreamErrorKind, PublishAckFuture, PublishError, PublishErrorKind,
};
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
        let backoff = Backoff::new(AGAIN.0, AGAIN.1, watchfire_hyper::seed().unwrap_or_default());
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
        let session = Session { client, stream };
        self.note_largest(&session, &config);
        Ok(session)
    }

    fn note_largest(&self, session: &Session, config: &Config) {
        let of_stream = usize::try_from(config.max_message_size).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
        self.largest.store(session.client.max_payload().min(of_stream), Relaxed);
    }

    /// The stream refuses what it took before: its limits may be others by now. What is too large for it comes to its
    /// sensor's dead letters at the next try then, and is not sent for ever.
    async fn look_again(&self, session: &Session) {
        match session.stream.get_stream(&self.url.stream).await {
            Ok(stream) => self.note_largest(session, &stream.cached_info().config),
            Err(error) => tracing::debug!(output = %self.url, "the stream's limits cannot be read: {error}"),
        }
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
            let (messages, waiting): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.messages, job.done)).unzip();
            let outcomes = self.publish(messages).await;
            for (outcome, done) in outcomes.into_iter().zip(waiting) {
                if outcome.is_err() {
                    self.counts.failures.increment();
                }
                // A caller that has gone away does not want to know.
                let _ = done.send(outcome);
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

    /// What became of each batch.
    async fn publish(&mut self, batches: Vec<Vec<Message>>) -> Vec<Result<(), OutputError>> {
        let count = batches.len();
        if let Err(error) = self.reconnect().await {
            return vec![Err(error); count];
        }
        let Some(session) = &self.session else { return vec![Err(self.failed("not connected")); count] };
        let sent = send(session, &self.link, batches, &self.counts).await;
        if sent.is_refused {
            self.link.look_again(session).await;
        }
        if sent.is_broken {
            // Whatever this connection still has to send would come at another time.
            self.give_up();
        }
        sent.outcomes.into_iter().map(|outcome| outcome.map_err(|what| self.failed(what))).collect()
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

/// What became of batches.
struct Sent {
    /// Of each: all of it is acknowledged, or why not.
    outcomes: Vec<Result<(), String>>,
    /// The stream has refused a message.
    is_refused: bool,
    /// The connection is not good any more.
    is_broken: bool,
}

/// A message without an answer yet.
struct OnTheWay {
    acknowledgement: PublishAckFuture,
    octets: usize,
    batch: usize,
}

/// Why a message is not in the stream.
enum Trouble {
    /// It is the stream's answer, or would be: other messages may be taken.
    Refused(String),
    /// Nothing can be said of whatever else is on its way.
    Broken(String),
}

/// Sends all and waits for all acknowledgements. A message that is refused fails its batch, of which no more is sent
/// then; others go on.
async fn send(session: &Session, link: &Link, batches: Vec<Vec<Message>>, counts: &Counts) -> Sent {
    let mut left: Vec<usize> = batches.iter().map(Vec::len).collect();
    let mut sent = Sent { outcomes: vec![Ok(()); left.len()], is_refused: false, is_broken: false };
    if let Err(what) = send_each(session, link, batches, counts, &mut left, &mut sent).await {
        sent.is_broken = true;
        for (outcome, left) in sent.outcomes.iter_mut().zip(left) {
            if left > 0 && outcome.is_ok() {
                *outcome = Err(what.clone());
            }
        }
    }
    sent
}

/// An error is one of the connection. `left` counts what is not acknowledged of each batch.
async fn send_each(
    session: &Session,
    link: &Link,
    batches: Vec<Vec<Message>>,
    counts: &Counts,
    left: &mut [usize],
    sent: &mut Sent,
) -> Result<(), String> {
    let mut answered = |batch: usize, answer: Result<bool, Trouble>, sent: &mut Sent| {
        match answer {
            Ok(is_known) => {
                counts.messages.increment();
                if is_known {
                    counts.duplicates.increment();
                }
                left[batch] -= 1;
            }
            Err(Trouble::Refused(what)) => {
                sent.is_refused = true;
                sent.outcomes[batch] = Err(what);
            }
            Err(Trouble::Broken(what)) => return Err(what),
        }
        Ok(())
    };
    let mut in_flight: VecDeque<OnTheWay> = VecDeque::new();
    let mut octets = 0;
    for (batch, messages) in batches.into_iter().enumerate() {
        for Message { subject, id, payload } in messages {
            while in_flight.len() >= link.options.window || octets > IN_FLIGHT {
                let Some(oldest) = in_flight.pop_front() else { break };
                octets -= oldest.octets;
                answered(oldest.batch, acknowledged(oldest.acknowledgement).await, sent)?;
            }
            if sent.outcomes[batch].is_err() {
                break;
            }
            let len = payload.len();
            let message = PublishMessage::build().payload(payload).message_id(id).expected_stream(&link.url.stream);
            match session.stream.send_publish(subject, message).await {
                Ok(acknowledgement) => {
                    octets += len;
                    in_flight.push_back(OnTheWay { acknowledgement, octets: len, batch });
                }
                Err(error) => answered(batch, Err(explained(&error)), sent)?,
            }
        }
    }
    for one in in_flight {
        answered(one.batch, acknowledged(one.acknowledgement).await, sent)?;
    }
    Ok(())
}

/// Whether the stream had it already.
async fn acknowledged(acknowledgement: PublishAckFuture) -> Result<bool, Trouble> {
    let acknowledgement = acknowledgement.await.map_err(|error| explained(&error))?;
    Ok(acknowledgement.duplicate)
}

fn explained(error: &PublishError) -> Trouble {
    let source = std::error::Error::source(error);
    let cause = source.map(|cause| format!(": {cause}")).unwrap_or_default();
    let is_answer = source.is_some_and(|source| source.is::<async_nats::jetstream::Error>());
    match error.kind() {
        PublishErrorKind::TimedOut => Trouble::Broken("no acknowledgement in time".into()),
        PublishErrorKind::BrokenPipe => Trouble::Broken("the connection broke".into()),
        PublishErrorKind::StreamNotFound => Trouble::Broken("there is no such stream any more".into()),
        kind if is_answer || kind == PublishErrorKind::MaxPayloadExceeded => Trouble::Refused(format!("{kind}{cause}")),
        kind => Trouble::Broken(format!("{kind}{cause}")),
    }
}

#[cfg(test)]
mod tests {
    use watchfire_testkit::servers::Nats;

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
    async fn at(nats: &Nats, change: &str) -> NatsOutput {
        let url = format!("nats://{}/alerts", nats.address()).parse().unwrap();
        let output = NatsOutput::connect(&url, NatsOptions::default(), &Registry::default()).await.unwrap();
        let config = format!(
            "{{\"name\":\"alerts\",\"subjects\":[\"alerts.*\"],\"storage\":\"file\",\"retention\":\"limits\",\
             \"num_replicas\":1,\"discard\":\"new\",\"duplicate_window\":120000000000,{change}}}"
        );
        let changed = nats.ask(&[("STREAM.UPDATE.alerts".into(), config)]);
        assert!(!changed[0].contains("\"error\""), "{}", changed[0]);
        output
    }

    fn batch(peer: &str, bodies: &[&str]) -> Vec<Arc<AlertRecord>> {
        let record = |body: &&str| Arc::new(AlertRecord::now(peer, "x/y", Bytes::copy_from_slice(body.as_bytes())));
        bodies.iter().map(record).collect()
    }

    #[tokio::test]
    async fn who_is_refused_fails_alone_and_what_is_too_large_is_known_afterwards() {
        let Some(nats) = Nats::start("") else { return };
        let output = at(&nats, "\"max_msg_size\":2000").await;
        let large = "x".repeat(3000);
        let batches = [batch("a", &["1"]), batch("b", &["2", &large, "3"]), batch("c", &["4", "5"])];
        assert!(batches.iter().flatten().all(|record| !output.is_too_large(record)), "it is not known yet");
        // Three that wait at one time are one group.
        let [a, b, c] = &batches;
        let (a, b, c) = tokio::join!(output.publish(a), output.publish(b), output.publish(c));
        assert_eq!((a, c), (Ok(()), Ok(())));
        assert!(b.unwrap_err().to_string().contains("exceeds maximum"));
        let large: Vec<bool> = batches.iter().flatten().map(|record| output.is_too_large(record)).collect();
        assert_eq!(large, [false, false, true, false, false, false]);
    }

    #[tokio::test]
    async fn a_sensor_whose_share_of_the_stream_is_full_holds_nobody_else_up() {
        let Some(nats) = Nats::start("") else { return };
        let output = at(&nats, "\"max_msgs_per_subject\":2,\"discard_new_per_subject\":true").await;
        let batches = [batch("a", &["1", "2", "3"]), batch("b", &["4", "5"])];
        let [a, b] = &batches;
        for _ in 0..2 {
            let (a, b) = tokio::join!(output.publish(a), output.publish(b));
            assert!(a.unwrap_err().to_string().contains("per subject"));
            assert_eq!(b, Ok(()), "these are there");
        }
    }
}
