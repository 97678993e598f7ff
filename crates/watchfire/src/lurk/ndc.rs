//! `lurk ndc`: obtains certificates for names of somebody else, keeps them fresh and installs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acme_lurk::acme::client::{Answer, ClientConfig};
use acme_lurk::crypto::{Ring, Signer};
use acme_lurk::delegation::{Installation, Ndc, NdcConfig, NdcConfigBuilder, NdcEnd, NdcError, NdcEvent};
use acme_lurk::time::format_rfc3339;
use acme_lurk_hyper::Going;
use acme_lurk_hyper::client::Pool;
use acme_lurk_hyper::delegate::{Delegate, DelegateNotice, Host};
use acme_lurk_hyper::keep::KeepError;

use tokio::sync::mpsc;

use super::console::DelegateOrder;
use super::{account, peer};
use crate::cli::{KeyType, NdcArgs};
use crate::exit::{Failure, file_failure};
use crate::metrics::{self, Counter, Health, Registry};
use crate::out;
use crate::pki::files;
use crate::service::Context;

/// For the command of `--reload`.
const RELOAD_PATIENCE: Duration = Duration::from_secs(60);

/// The counter of installations: its name, and what it is.
pub const INSTALLED: (&str, &str) = ("watchfire_lurk_ndc_installed_total", "Certificates installed.");

/// A lifetime below an hour is one of a laboratory.
const HOUR: u64 = 3600;
/// What certificates of web servers should live for at most.
const DAYS_4: u64 = 4 * 86_400;

/// A delegate that is about to begin.
#[derive(Debug)]
pub struct NdcService {
    delegate: Delegate,
    installer: Installer,
    /// What failed when the one certificate that is wanted was installed.
    given_up: mpsc::Receiver<String>,
    pool: Pool,
}

impl NdcService {
    /// Reads or makes the keys, and looks what the name owner gives.
    ///
    /// # Errors
    /// Files that cannot be read or written, names that are none, a name owner that cannot be reached.
    pub async fn start(args: &NdcArgs, context: &Context) -> Result<Self, Failure> {
        let config = NdcConfig::builder(&args.name);
        let config = config.map_err(|_| Failure::usage("one of the names is no DNS name").at("--name"))?;
        files::make_folder(&args.out)?;
        let signer = account::read_or_make(&args.account_key)?;
        let (key_file, chain_file) = (args.out.join("key.pem"), args.out.join("chain.pem"));
        let state = args.out.join("state.json");
        let known = read_state(&state, &key_file, &chain_file)?;
        let key = certificate_key(&key_file, args.key_type)?;
        if signer.public_key() == key.public_key() {
            let failure = Failure::usage("is the key of the account too").at(key_file.display());
            return Err(failure.remedy("name another file by --account-key"));
        }
        tracing::info!(thumbprint = %signer.public_key().thumbprint_text(), "the account's key; the name owner must know it");
        let pool = peer::pool(args.ca.as_deref())?;
        let server = peer::config(&args.ido, "--ido", args.timeout.0)?;
        context.serve_metrics(metrics::bind_optional(args.metrics.as_ref()).await?)?;
        let config = tokio::select! {
            config = configure(config, args, &server, &signer, &pool, known.is_some()) => config?,
            failure = peer::refused(&pool, &args.ido), if args.once => return Err(failure.at(&args.ido)),
        };
        let config = config.build().map_err(|error| Failure::usage(error.to_string()))?;
        let delegate = make(config, server, signer, key, pool.clone(), known.as_deref(), &state)?;
        let (give_up, given_up) = mpsc::channel(1);
        let installer = Installer {
            json: context.json,
            key: key_file,
            chain: chain_file,
            state,
            reload: args.reload.clone(),
            ido: args.ido.clone(),
            health: context.health.clone(),
            meters: Meters::new(&context.metrics),
            shown: DelegateOrder::new(context, &args.name, args.delegation.as_deref()),
            give_up: args.once.then_some(give_up),
        };
        context.hub.runs(&context.shutdown, "lurk-ndc", format!("certificates of {}", args.ido));
        Ok(Self { delegate, installer, given_up, pool })
    }

    /// Works until the order ends, or `context.shutdown`.
    ///
    /// # Errors
    /// When the name owner refuses or stops the order, or cannot be reached; when one certificate alone is wanted, and
    /// cannot be installed.
    pub async fn run(mut self, context: Context) -> Result<(), Failure> {
        let (ido, is_once) = (self.installer.ido.clone(), self.installer.give_up.is_some());
        let end = tokio::select! {
            end = self.delegate.run(&mut self.installer) => end,
            failure = peer::refused(&self.pool, &ido), if is_once => return Err(failure.at(&ido)),
            Some(detail) = self.given_up.recv() => {
                let failure = Failure::usage(format!("the certificate is not in use: {detail}"));
                let failure = failure.at(self.installer.chain.display());
                return Err(failure.remedy("mend that and call it again; the order goes on"));
            }
            () = context.shutdown.cancelled() => return Ok(()),
        };
        self.installer.shown.ended(&end);
        let place = &self.installer.ido;
        match end {
            NdcEnd::Installed => Ok(()),
            NdcEnd::Canceled { not_after } => {
                let until = not_after.map(format_rfc3339);
                self.installer.say_json(&serde_json::json!({ "event": "canceled", "not_after": until }));
                let what = match &until {
                    Some(until) => {
                        format!("the name owner has stopped the order; what is installed is good until {until}")
                    }
                    None => "the name owner has stopped the order; nothing is installed that is good".to_owned(),
                };
                Err(Failure::refused(what).at(place))
            }
            NdcEnd::Failed(error) => Err(failure(&error).at(place)),
            end => Err(Failure::misbehaved(end.to_string()).at(place)),
        }
    }
}

/// What an end means for whoever has typed the command.
fn failure(error: &NdcError) -> Failure {
    match error {
        NdcError::Client(client) => peer::failure(client),
        error if error.is_refusal() => Failure::refused(error.to_string()),
        error => Failure::misbehaved(error.to_string()),
    }
}

/// The key that the certificate is for.
fn certificate_key(path: &Path, kind: KeyType) -> Result<Arc<dyn Signer>, Failure> {
    account::read_or_make_kind(
        path,
        match kind {
            KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Ed25519 => &rcgen::PKCS_ED25519,
        },
    )
}

/// What is known from before. It counts for nothing when the key that it was for is gone, or the chain that it says is
/// installed.
fn read_state(path: &Path, key: &Path, chain: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let octets = match crate::pki::read_bounded(path) {
        Ok(octets) => octets,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_failure("read the state", path, &error)),
    };
    let is_installed =
        serde_json::from_slice::<serde_json::Value>(&octets).is_ok_and(|state| state["installed"].is_string());
    let missing = [(key, true), (chain, is_installed)].into_iter().find(|(file, needed)| *needed && !file.exists());
    if let Some((file, _)) = missing {
        tracing::warn!(file = %file.display(), "it is gone: all begins anew");
        return Ok(None);
    }
    Ok(Some(octets))
}

/// What is ordered, by the flags and by what the server gives.
async fn configure(
    mut config: NdcConfigBuilder,
    args: &NdcArgs,
    server: &Arc<ClientConfig>,
    signer: &Arc<dyn Signer>,
    pool: &Pool,
    goes_on: bool,
) -> Result<NdcConfigBuilder, Failure> {
    for rule in &args.subject {
        config = config.with_subject(rule.field, rule.value.clone());
    }
    if let Some(url) = &args.delegation {
        config = config.with_delegation(url);
    }
    if args.once {
        config = config.once();
    }
    if args.no_star {
        return Ok(config.without_star());
    }
    let (mut lifetime, mut duration) = (args.lifetime.map(|span| span.0.as_secs()), args.duration.0.as_secs());
    if lifetime.is_none() {
        let client = acme_lurk_hyper::client::Client::builder((**server).clone(), Arc::clone(signer), pool.clone());
        let client = client.start().map_err(|error| peer::failure(&error))?;
        let read = client.call(|machine, now| machine.read_directory(now)).await;
        let star = match read {
            Ok(Answer::Directory(directory)) => directory.meta.auto_renewal,
            Ok(_) => None,
            // What is installed is kept fresh all the same: that needs the CA alone.
            Err(error) if goes_on => {
                tracing::warn!("{}", peer::failure(&error).at(&args.ido));
                None
            }
            Err(error) => return Err(peer::failure(&error).at(&args.ido)),
        };
        if let Some(star) = star {
            let least = star.min_lifetime.max(1);
            lifetime = Some(if least < HOUR { least } else { least.max(DAYS_4) });
            duration = duration.min(star.max_duration);
        }
    }
    let lifetime = lifetime.unwrap_or(DAYS_4).max(1);
    let adjust = args.lifetime_adjust.map_or(lifetime / 2, |span| span.0.as_secs());
    Ok(config.with_star(lifetime, adjust, duration.max(lifetime)))
}

fn make(
    config: NdcConfig,
    server: Arc<ClientConfig>,
    signer: Arc<dyn Signer>,
    key: Arc<dyn Signer>,
    pool: Pool,
    known: Option<&[u8]>,
    state: &Path,
) -> Result<Delegate, Failure> {
    let seed = watchfire_hyper::seed().map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
    let (config, verifier) = (Arc::new(config), Arc::new(Ring::new()));
    let made = Delegate::new(pool, |now| match known {
        Some(known) => Ndc::restore(config, server, signer, key, verifier, seed, now, known),
        None => Ndc::new(config, server, signer, key, verifier, seed, now),
    });
    made.map_err(|error| {
        let failure = Failure::usage(error.to_string()).at(state.display());
        failure.remedy("move the file away to begin anew")
    })
}

/// Where certificates go.
#[derive(Debug)]
struct Installer {
    json: bool,
    key: PathBuf,
    chain: PathBuf,
    state: PathBuf,
    reload: Option<String>,
    ido: String,
    health: Health,
    meters: Meters,
    shown: DelegateOrder,
    /// Whoever wants one certificate alone does not wait for another attempt to install it.
    give_up: Option<mpsc::Sender<String>>,
}

impl Installer {
    fn say(&self, object: &serde_json::Value, text: impl FnOnce() -> String) {
        self.say_json(object);
        if !self.json {
            tracing::info!("{}", text());
        }
    }

    fn say_json(&self, object: &serde_json::Value) {
        if let Some(Err(error)) = self.json.then(|| out::line(&object.to_string())) {
            tracing::error!("{error}");
        }
    }

    async fn reload(&self) -> Result<(), String> {
        let Some(command) = &self.reload else { return Ok(()) };
        let mut shell = tokio::process::Command::new("/bin/sh");
        shell.arg("-c").arg(command).env("WATCHFIRE_KEY", &self.key).env("WATCHFIRE_CHAIN", &self.chain);
        // What it says goes to our own standard error.
        shell.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = shell.spawn().map_err(|error| format!("--reload: {error}"))?;
        match tokio::time::timeout(RELOAD_PATIENCE, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("--reload: {command}: {status}")),
            Ok(Err(error)) => Err(format!("--reload: {error}")),
            Err(_) => Err(format!("--reload: {command}: not done within {RELOAD_PATIENCE:?}")),
        }
    }
}

impl Host for Installer {
    fn keep<'a>(&'a mut self, snapshot: Vec<u8>) -> Going<'a, Result<(), KeepError>> {
        Box::pin(async move {
            let text = String::from_utf8(snapshot).map_err(|error| KeepError(error.to_string()))?;
            files::write_private(&self.state, &text, true).map_err(|failure| KeepError(failure.to_string()))
        })
    }

    fn install<'a>(&'a mut self, installation: &'a Installation) -> Going<'a, Result<(), String>> {
        Box::pin(async move {
            let pem = String::from_utf8(installation.to_pem()).map_err(|error| error.to_string())?;
            // The key is there already, and stays: one file changes, whole or not at all.
            files::write_private(&self.chain, &pem, true).map_err(|failure| failure.to_string())?;
            self.reload().await
        })
    }

    fn tell(&mut self, notice: DelegateNotice<'_>) {
        self.shown.heard(&notice);
        match notice {
            DelegateNotice::Installed(installation) => {
                self.meters.installed.increment();
                self.health.set("certificate", Ok(()));
                let (begin, end) = (format_rfc3339(installation.not_before), format_rfc3339(installation.not_after));
                let object = serde_json::json!({
                    "event": "installed", "not_before": begin, "not_after": end, "key": self.key, "chain": self.chain,
                });
                self.say(&object, || format!("installed {}, good until {end}", self.chain.display()));
                if !installation.hints_agree {
                    tracing::warn!("the header fields say another validity than the certificate, which counts");
                }
            }
            DelegateNotice::Until(until) => {
                let until = until.map_or(0, |until| u64::try_from(until.as_secs()).unwrap_or(0));
                self.meters.until.store(until, Ordering::Relaxed);
            }
            DelegateNotice::InstallFailed(detail) => {
                self.meters.failed.increment();
                match &self.give_up {
                    Some(give_up) => drop(give_up.try_send(detail.to_owned())),
                    None => tracing::error!("the certificate is not in use: {detail}"),
                }
            }
            DelegateNotice::NotKept(error) => tracing::error!("{error}"),
            DelegateNotice::Event(NdcEvent::Ordered { url, lints }) => {
                self.say(&serde_json::json!({ "event": "ordered", "order": url }), || format!("ordered: {url}"));
                lints.iter().for_each(|lint| tracing::warn!("{lint}"));
            }
            DelegateNotice::Event(NdcEvent::Rejected(wrong)) => {
                self.meters.rejected.increment();
                tracing::error!("a certificate was not installed: {wrong}");
            }
            DelegateNotice::Event(NdcEvent::Alarm { not_after, last }) => {
                self.meters.alarms.increment();
                let until = format_rfc3339(*not_after);
                let why = last.as_deref().unwrap_or("there is no newer one");
                self.health.set("certificate", Err(format!("runs out at {until}: {why}")));
                let object = serde_json::json!({ "event": "alarm", "not_after": until, "reason": why });
                self.say_json(&object);
                tracing::error!("the certificate runs out at {until}, and the next is late: {why}");
            }
            DelegateNotice::Event(NdcEvent::Gap { not_after }) => {
                self.meters.gaps.increment();
                let since = format_rfc3339(*not_after);
                self.health.set("certificate", Err(format!("has run out at {since}")));
                self.say_json(&serde_json::json!({ "event": "gap", "not_after": since }));
                tracing::error!("the certificate has run out at {since}, and there is no newer one");
            }
            other => tracing::debug!("{other:?}"),
        }
    }
}

#[derive(Debug)]
struct Meters {
    installed: Counter,
    failed: Counter,
    rejected: Counter,
    alarms: Counter,
    gaps: Counter,
    /// Seconds since 1970; 0 while there is no certificate.
    until: Arc<AtomicU64>,
}

impl Meters {
    fn new(registry: &Registry) -> Self {
        let until = Arc::<AtomicU64>::default();
        let held = Arc::clone(&until);
        registry.at_each_look(move |registry| {
            let help = "Until when the certificate is good that runs out first, in seconds since 1970; 0 while one is \
                missing.";
            registry.lowest("watchfire_lurk_ndc_not_after_seconds", help, held.load(Ordering::Relaxed));
        });
        Self {
            installed: registry.counter(INSTALLED.0, INSTALLED.1, &[]),
            failed: registry.counter("watchfire_lurk_ndc_install_failed_total", "Installations that failed.", &[]),
            rejected: registry.counter("watchfire_lurk_ndc_rejected_total", "Certificates that were wrong.", &[]),
            alarms: registry.counter("watchfire_lurk_ndc_alarms_total", "Certificates whose successor was late.", &[]),
            gaps: registry.counter("watchfire_lurk_ndc_gaps_total", "Certificates that ran out.", &[]),
            until,
        }
    }
}
