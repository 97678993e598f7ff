//! Certificates from flags, for both sides, read again when they change.

use std::path::Path;
use std::time::{Duration, SystemTime};

use dots_tokio::{ConfigError, Security, SecurityConfig};
use zeroize::Zeroizing;

use crate::cli::DotsTlsArgs;
use crate::exit::{Failure, file_failure};
use crate::pki::read_bounded;
use crate::service::Context;

/// How often the files are looked at for changes.
const WATCH: Duration = Duration::from_secs(5);

/// When a file was changed, and its length.
type Stamp = Option<(SystemTime, u64)>;

/// Where certificate, key, authorities and revocation lists are, and who is let in.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    args: DotsTlsArgs,
    allow: Vec<String>,
}

impl Credentials {
    /// `allow` are the names that are let in; all if there are none.
    pub(super) fn new(args: &DotsTlsArgs, allow: &[String]) -> Self {
        Self { args: args.clone(), allow: allow.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Reads all files, and sees whether they fit together.
    ///
    /// # Errors
    /// What cannot be read or does not fit.
    pub(super) fn load(&self) -> Result<Security, Failure> {
        let args = &self.args;
        let read = |path: &Path| read_bounded(path).map_err(|error| file_failure("read", path, &error));
        let wrong = |place: String| move |error: ConfigError| Failure::usage(error.to_string()).at(place);
        let both = format!("{} and {}", args.cert.display(), args.key.display());
        let (chain, key) = (read(&args.cert)?, Zeroizing::new(read(&args.key)?));
        let mut config = SecurityConfig::new()
            .with_handshake_timeout(args.handshake_timeout.0)
            .with_listed_peers(self.allow.iter().cloned())
            .with_certificate(&chain, &key)
            .map_err(wrong(both.clone()))?
            .with_ca(&read(&args.ca)?)
            .map_err(wrong(args.ca.display().to_string()))?;
        if let Some(path) = &args.intermediates {
            config = config.with_intermediates(&read(path)?).map_err(wrong(path.display().to_string()))?;
        }
        for path in &args.crl {
            config = config.with_crl(&read(path)?).map_err(wrong(path.display().to_string()))?;
        }
        Security::new(&config).map_err(wrong(both))
    }

    /// Reads the files again when they change or a reload is asked for, until shutdown. Sessions that are up go on.
    pub(super) fn keep_fresh(self, context: &Context, replace: impl Fn(Security) + Send + 'static) {
        let (mut reload, shutdown, health) = (context.reload.clone(), context.shutdown.clone(), context.health.clone());
        let mut seen = self.stamps();
        tokio::spawn(async move {
            loop {
                let asked = tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = reload.requested() => true,
                    () = tokio::time::sleep(WATCH) => false,
                };
                let now = self.stamps();
                if !asked && now == seen {
                    continue;
                }
                seen = now;
                let this = self.clone();
                let Ok(loaded) = tokio::task::spawn_blocking(move || this.load()).await else { return };
                health.set("dots certificates", loaded.as_ref().map(drop).map_err(ToString::to_string));
                match loaded {
                    Ok(security) => {
                        replace(security);
                        tracing::info!("certificates read again, for sessions from now on");
                    }
                    Err(error) => tracing::error!("the old certificates stay: {error}"),
                }
            }
        });
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.args
            .files()
            .map(|path| {
                let meta = std::fs::metadata(path).ok()?;
                Some((meta.modified().ok()?, meta.len()))
            })
            .collect()
    }
}
