//! Certificates from flags.

use std::time::Duration;

use iap_tokio::tls::{AllowRule, ConfigError, EkuPolicy, MinVersion, Source, Tls, TlsConfig};
use tokio_util::sync::CancellationToken;

use crate::cli::{EkuMode, TlsArgs, TlsVersion};
use crate::exit::Failure;
use crate::service::Context;

/// How often the files are looked at for changes.
const WATCH: Duration = Duration::from_secs(5);

/// Reads certificates, keys and lists, and says in the log what should be looked at.
///
/// # Errors
/// What cannot be read or does not fit together.
pub(super) fn load(args: &TlsArgs, allow: &[String]) -> Result<Tls, Failure> {
    let rule =
        |text: &String| text.parse::<AllowRule>().map_err(|error| Failure::usage(error.to_string()).at("--allow"));
    let mut config = TlsConfig::new(args.cert.as_path(), args.key.as_path(), args.ca.as_path())
        .with_allow_list(allow.iter().map(rule).collect::<Result<Vec<_>, _>>()?)
        .with_handshake_timeout(args.tls_timeout.0)
        .with_min_version(match args.tls_min {
            TlsVersion::V12 => MinVersion::Tls12,
            TlsVersion::V13 => MinVersion::Tls13,
        })
        .with_eku_policy(match args.eku {
            EkuMode::Require => EkuPolicy::Require,
            EkuMode::IfPresent => EkuPolicy::IfPresent,
            EkuMode::Ignore => EkuPolicy::Ignore,
        });
    for crl in &args.crl {
        config = config.with_crl(Source::file(crl));
    }
    let tls = Tls::new(config).map_err(|error| {
        let failure = Failure::usage(error.to_string());
        match error {
            ConfigError::Read { .. } => failure.remedy("check the path, and the owner and mode of the file"),
            ConfigError::TooLong { .. } | ConfigError::Line { .. } | ConfigError::Empty { .. } => {
                failure.remedy("name another file, or write this one again as PEM")
            }
            ConfigError::KeyMismatch { .. } => failure.remedy("name the key that was issued with the certificate"),
            _ => failure,
        }
    })?;
    for warning in tls.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(tls)
}

/// Loads the files again when they change or a reload is asked for, until `stop`.
pub(super) fn keep_fresh(tls: Tls, context: &Context, stop: CancellationToken) {
    let mut reload = context.reload.clone();
    tokio::spawn(async move {
        let _watcher = tls.watch(WATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = reload.requested() => {
                    let tls = tls.clone();
                    match tokio::task::spawn_blocking(move || tls.reload()).await {
                        Ok(Ok(warnings)) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
                        Ok(Err(error)) => tracing::error!("nothing was reloaded, the old certificates stay: {error}"),
                        Err(_) => return,
                    }
                }
            }
        }
    });
}
