//! `iap sensor`

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iap_proto::{Config, Limits, MediaType, Party, Timeouts};
use iap_tokio::Endpoint;
use iap_tokio::sensor::{MakeHeartbeat, Sensor, SensorCounters};
use iap_tokio::spool::{Spool, SpoolConfig};
use idmef::eve::Converter;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::intake::{Intake, Kind};
use super::{host, tls};
use crate::cli::SensorArgs;
use crate::exit::{Blame, Failure};
use crate::metrics::{self, Health, Registry};
use crate::out;
use crate::progress::Progress;
use crate::service::Context;
use crate::tail::{Framing, TailOptions};

/// How long the answers that are due may take at the end.
const GRACE: Duration = Duration::from_secs(5);

/// A running sensor and its intake.
#[derive(Debug)]
pub struct SensorService {
    sensor: Sensor,
    intake: AbortOnDropHandle<Result<(), Failure>>,
    exit_when_drained: bool,
    give_up: Duration,
    /// Ends what goes on beside the sensor.
    stop: DropGuard,
}

impl SensorService {
    /// Opens the spool and, if it waits to be dialled, the socket; starts reading and sending.
    ///
    /// # Errors
    /// Whatever cannot be opened.
    pub async fn start(args: &SensorArgs, context: &Context) -> Result<Self, Failure> {
        let tls = tls::load(&args.tls, &[])?;
        let analyzer_id = args.analyzer_id.clone().unwrap_or_else(|| tls.own().display().to_owned());
        let kind = kind(args, &analyzer_id)?;
        let spool = open_spool(args)?;
        let manager = host(&args.manager_name)?;
        let mut builder = Sensor::builder(tls.clone(), &args.manager_name, spool.clone())
            .map_err(|error| Failure::usage(error.to_string()).at("--manager-name"))?
            .with_config(config(args)?)
            .with_retry(args.retry_min.0, args.retry_max.0)
            .with_heartbeat(args.heartbeat.0, heartbeat(analyzer_id, args.heartbeat.0));
        for address in &args.connect {
            builder = builder.connect(Endpoint::new(address.to_string(), manager.clone()));
        }
        if let Some(address) = &args.listen {
            builder = builder.listen(metrics::bind(address).await?);
        }
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let sensor = builder.start().map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
        let managers: Vec<String> = args.connect.iter().map(ToString::to_string).collect();
        if !managers.is_empty() && !args.exit_when_drained {
            context.hub.runs(&context.shutdown, "iap-sensor", format!("sends to {}", managers.join(", ")));
        }
        for address in sensor.local_addrs() {
            context.announce("iap-sensor", *address)?;
        }
        context.serve_metrics(metrics)?;
        count(&sensor, &context.metrics, &context.health);
        let stop = CancellationToken::new();
        tls::keep_fresh(tls, context, stop.clone());
        let progress = Progress::new(context.json || args.follow, "alerts", None);
        let intake = Intake::new(kind, tail(args), spool, context);
        let intake = AbortOnDropHandle::new(tokio::spawn(intake.run(progress)));
        let (exit_when_drained, give_up) = (args.exit_when_drained, args.give_up_after.0);
        Ok(Self { sensor, intake, exit_when_drained, give_up, stop: stop.drop_guard() })
    }

    /// Where it waits to be dialled.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.sensor.local_addrs()
    }

    /// Sends until `context.shutdown`, or until all is read and answered if it is to end then. Says at the end what
    /// was sent.
    ///
    /// # Errors
    /// An input that cannot be read; with `--exit-when-drained` also a manager that cannot be reached, or that refused
    /// an alert for good.
    pub async fn run(mut self, context: Context) -> Result<(), Failure> {
        let outcome = tokio::select! {
            () = context.shutdown.cancelled() => Ok(()),
            outcome = self.work() => outcome,
        };
        self.intake.abort();
        drop(self.stop);
        let counters = Arc::clone(self.sensor.counters());
        let spool = self.sensor.spool().clone();
        self.sensor.shutdown(GRACE).await;
        let left = spool.stats().depth;
        // A disk that hangs is not waited for: what is not answered is there at the next start.
        let closed = tokio::time::timeout(GRACE, spool.close()).await;
        report(&counters, left, outcome.is_ok() && self.exit_when_drained, context.json)?;
        outcome?;
        let closed =
            closed.map_err(|_| format!("not within {GRACE:?}")).and_then(|closed| closed.map_err(|e| e.to_string()));
        closed.map_err(|error| Failure::usage(format!("the spool was not closed in good order: {error}")))
    }

    /// Reads to the end, and waits for all answers; for ever, if it is not to end then.
    async fn work(&mut self) -> Result<(), Failure> {
        let read = tokio::select! {
            read = &mut self.intake => read.unwrap_or_else(|error| Err(Failure::usage(format!("reading broke down: {error}")))),
            failure = given_up(self.exit_when_drained.then_some(self.give_up), self.sensor.counters()) => Err(failure),
        };
        read?;
        tracing::info!("the input is read to its end");
        if !self.exit_when_drained {
            return std::future::pending().await;
        }
        tokio::select! {
            () = self.sensor.drained() => {}
            failure = given_up(Some(self.give_up), self.sensor.counters()) => return Err(failure),
        }
        match self.sensor.counters().rejected.load(Relaxed) {
            0 => Ok(()),
            rejected => {
                let failure = Failure::refused(format!("{rejected} alerts were refused for good"));
                Err(failure.remedy("they are in the spool's dead letters, if it is on disk; the log says why"))
            }
        }
    }
}

/// Ready when no channel has been open for so long, or the manager has put alerts off and taken none since; never
/// without a limit.
async fn given_up(limit: Option<Duration>, counters: &SensorCounters) -> Failure {
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else { return std::future::pending().await };
    let mut open = Instant::now();
    let (mut answered, mut put_off) = (0, 0);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // A channel that is gone before it is seen counts if anything came of it.
        let now = counters.acked.load(Relaxed) + counters.rejected.load(Relaxed);
        let deferred = counters.deferred.load(Relaxed);
        if now > answered {
            (answered, put_off) = (now, deferred);
            open = Instant::now();
        } else if counters.connected.load(Relaxed) && deferred == put_off {
            open = Instant::now();
        }
        if open.elapsed() >= limit && deferred > put_off {
            let what = format!("the manager has taken nothing for {} s, and says to come back later", limit.as_secs());
            return Failure::unreachable(what)
                .remedy("see why in its log; what is spooled on disk will be sent by the next run");
        }
        if open.elapsed() >= limit {
            let failures = counters.failures();
            let last = counters.last_failure().unwrap_or_else(|| match counters.channels.load(Relaxed) {
                0 => "nobody called".to_owned(),
                channels => format!("{channels} channels were opened, and closed by the manager"),
            });
            let most = failures.iter().max_by_key(|(_, times)| **times).map_or("", |(reason, _)| *reason);
            let what = format!("no channel to a manager for {} s: {last}", limit.as_secs());
            return Failure::new(blame(most), what).remedy("what is spooled on disk will be sent by the next run");
        }
    }
}

/// Whose fault it is that there is no channel.
fn blame(reason: &str) -> Blame {
    match reason {
        "" | "io" | "timeout" | "timed_out" | "given_up" => Blame::Unreachable,
        "invalid_message" | "misbehaved" | "incompatible" | "limit" => Blame::PeerMisbehaved,
        // Refused with a status, or by certificate.
        _ => Blame::PeerRefused,
    }
}

fn report(counters: &SensorCounters, left: u64, drained: bool, json: bool) -> Result<(), Failure> {
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    let (sent, acked) = (of(&counters.sent), of(&counters.acked));
    let (rejected, resent) = (of(&counters.rejected), of(&counters.resent));
    if json {
        let event = if drained || left == 0 { "drained" } else { "stopped" };
        let mut line = format!(
            "{{\"event\":\"{event}\",\"sent\":{sent},\"acked\":{acked},\"rejected\":{rejected},\"resent\":{resent}"
        );
        if left > 0 {
            line.push_str(&format!(",\"left\":{left}"));
        }
        line.push('}');
        return out::line(&line);
    }
    tracing::info!(sent, acked, rejected, resent, left, "the sensor has ended");
    Ok(())
}

fn kind(args: &SensorArgs, analyzer_id: &str) -> Result<Kind, Failure> {
    if args.eve.is_some() {
        let limit = usize::try_from(args.line_limit.0).unwrap_or(usize::MAX);
        return Ok(Kind::Eve(Box::new(Converter::suricata(analyzer_id).with_max_line(limit))));
    }
    let content_type: MediaType = args
        .content_type
        .parse()
        .map_err(|error| Failure::usage(format!("`{}` is {error}", args.content_type)).at("--content-type"))?;
    Ok(Kind::Opaque(content_type.as_str().into()))
}

fn tail(args: &SensorArgs) -> TailOptions {
    let path = args.eve.as_deref().or(args.input.as_deref()).unwrap_or_else(|| Path::new("-"));
    let mut options = TailOptions::new(path);
    options.follow = args.follow;
    options.framing = if args.framed { Framing::Records } else { Framing::Lines };
    options.limit = usize::try_from(args.line_limit.0).unwrap_or(usize::MAX);
    // Memory follows from these; the disk is forced once for each batch, so they must not be small either.
    options.batch_octets = 512 << 10;
    options
}

fn open_spool(args: &SensorArgs) -> Result<Spool, Failure> {
    let config = SpoolConfig::default()
        .with_max_record(body_limit(args))
        .with_max_bytes(args.spool_max_bytes.0)
        .with_max_age(args.spool_max_age.map(|age| age.0));
    let opened = match &args.spool {
        Some(folder) => Spool::open(folder, config),
        None => Spool::in_memory(config.with_max_bytes(args.spool_max_bytes.0.min(MEMORY_SPOOL))),
    };
    opened.map_err(|error| Failure::usage(error.to_string()))
}

/// Without a folder the spool is memory, and the file that is read keeps what does not fit.
const MEMORY_SPOOL: u64 = 16 << 20;

/// The largest alert: as large as an input line may be, and what Suricata's lines become is never more than 1 MiB.
fn body_limit(args: &SensorArgs) -> usize {
    usize::try_from(args.line_limit.0).unwrap_or(usize::MAX).max(1 << 20)
}

fn config(args: &SensorArgs) -> Result<Config, Failure> {
    let timeouts = Timeouts::default()
        .with_setup(args.setup_timeout.0)
        .with_tls_handshake(args.tls.tls_timeout.0)
        .with_ack(args.ack_timeout.0);
    Config::builder(Party::Analyzer)
        .with_limits(Limits::default().with_body(body_limit(args) as u64))
        .with_compat(args.compat.into())
        .with_window(NonZeroUsize::new(args.window as usize).unwrap_or(NonZeroUsize::MIN))
        .with_timeouts(timeouts)
        .build()
        .map_err(|error| Failure::usage(error.to_string()))
}

/// RFC 4765 section 4.2.3: who is alive, and when it will say so again.
fn heartbeat(analyzer_id: String, every: Duration) -> MakeHeartbeat {
    Arc::new(move || {
        let now = jiff::Timestamp::now();
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        let time = idmef::DateTime::from_unix(now.as_second(), nanos).map(idmef::Time::new);
        let analyzer = idmef::Analyzer { analyzerid: analyzer_id.as_str().into(), ..idmef::Analyzer::default() };
        let body = time.and_then(|time| {
            let mut heartbeat = idmef::Heartbeat::new(analyzer, time);
            heartbeat.messageid = format!("heartbeat-{}", now.as_microsecond()).as_str().into();
            heartbeat.heartbeat_interval =
                Some(idmef::Integer::from(i64::try_from(every.as_secs()).unwrap_or(i64::MAX)));
            idmef::Message::from(heartbeat).encode().ok()
        });
        (MediaType::IDEF_ALERT, body.map_or_else(Bytes::new, Bytes::from))
    })
}

/// Shows the sensor's own counters among the metrics, and whether it is connected.
fn count(sensor: &Sensor, registry: &Registry, health: &Health) {
    let (counters, spool, health) = (Arc::clone(sensor.counters()), sensor.spool().clone(), health.clone());
    registry.at_each_look(move |registry| {
        let total = |name, help, value: u64| registry.counter(name, help, &[]).set(value);
        let level = |name, help, value: u64| {
            registry.gauge(name, help, &[]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        total("watchfire_sensor_sent_total", "Alerts sent, each counted once.", counters.sent.load(Relaxed));
        total("watchfire_sensor_resent_total", "Alerts sent again.", counters.resent.load(Relaxed));
        total("watchfire_sensor_acked_total", "Alerts the manager has.", counters.acked.load(Relaxed));
        total("watchfire_sensor_rejected_total", "Alerts refused for good.", counters.rejected.load(Relaxed));
        total("watchfire_sensor_deferred_total", "Answers to come back later.", counters.deferred.load(Relaxed));
        total("watchfire_sensor_heartbeats_total", "Heartbeats answered.", counters.heartbeats.load(Relaxed));
        total("watchfire_sensor_channels_total", "Channels opened.", counters.channels.load(Relaxed));
        total(
            "watchfire_sensor_channels_resumed_total",
            "Channels with a resumed session.",
            counters.resumed.load(Relaxed),
        );
        for (reason, times) in counters.failures() {
            let help = "Failed setups and broken channels, by reason.";
            registry.counter("watchfire_sensor_failures_total", help, &[("reason", reason)]).set(times);
        }
        let connected = counters.connected.load(Relaxed);
        let help = "1 while a channel is open; of several sensors, while each has one.";
        registry.lowest("watchfire_sensor_connected", help, connected.into());
        let stats = spool.stats();
        level("watchfire_spool_alerts", "Alerts waiting for their answer.", stats.depth);
        level("watchfire_spool_octets", "Octets of their bodies.", stats.bytes);
        let oldest = stats.oldest_age.map_or(0, |age| age.as_secs());
        registry.highest("watchfire_spool_oldest_seconds", "Age of the oldest.", oldest);
        level("watchfire_spool_dead_letters", "Alerts put aside.", stats.dead_letters);
        for (reason, count) in [
            ("oldest", stats.dropped.oldest),
            ("newest", stats.dropped.newest),
            ("expired", stats.dropped.expired),
            ("dead_letters", stats.dropped.dead_letters),
        ] {
            let help = "Alerts dropped by a limit of the spool.";
            registry.counter("watchfire_spool_dropped_total", help, &[("reason", reason)]).set(count);
        }
        let state = if connected {
            Ok(())
        } else {
            Err(counters.last_failure().unwrap_or_else(|| "no channel yet".to_owned()))
        };
        health.set("channel", state);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manager_that_puts_everything_off_is_given_up() {
        let counters = SensorCounters::default();
        counters.connected.store(true, Relaxed);
        let limit = Duration::from_millis(300);
        let soon = |counters| tokio::time::timeout(3 * limit, given_up(Some(limit), counters));
        assert!(soon(&counters).await.is_err(), "a channel is open");
        counters.deferred.store(1, Relaxed);
        let failure = tokio::time::timeout(Duration::from_secs(30), given_up(Some(limit), &counters)).await.unwrap();
        assert!(failure.blame() == Blame::Unreachable && failure.to_string().contains("come back later"), "{failure}");
        // One that takes something is not given up, whatever it puts off.
        let goes_on = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                counters.deferred.fetch_add(1, Relaxed);
                counters.acked.fetch_add(1, Relaxed);
            }
        };
        tokio::select! {
            failure = given_up(Some(Duration::from_secs(20)), &counters) => panic!("{failure}"),
            ended = tokio::time::timeout(3 * limit, goes_on) => assert!(ended.is_err()),
        }
    }

    #[test]
    fn a_heartbeat_is_idmef() {
        let (content_type, body) = heartbeat("sensor-1".to_owned(), Duration::from_secs(60))();
        assert_eq!(content_type, MediaType::IDEF_ALERT);
        let message = idmef::Message::decode(&body).unwrap();
        let heartbeat = message.heartbeats().next().unwrap();
        assert_eq!(heartbeat.analyzer.analyzerid.as_str(), "sensor-1");
        assert_eq!(heartbeat.heartbeat_interval.as_ref().and_then(|interval| interval.to_i64()), Some(60));
    }

    #[test]
    fn every_reason_has_somebody_to_blame() {
        assert_eq!(blame("io"), Blame::Unreachable);
        assert_eq!(blame("refused"), Blame::PeerRefused);
        assert_eq!(blame("wrong_ca"), Blame::PeerRefused);
        assert_eq!(blame("invalid_message"), Blame::PeerMisbehaved);
    }
}
