//! Certificates from flags, for both sides.

use std::path::Path;

use dots_tokio::{ConfigError, Security, SecurityConfig};
use zeroize::Zeroizing;

use crate::cli::DotsTlsArgs;
use crate::exit::{Failure, file_failure};
use crate::pki::read_bounded;

/// Reads certificate, key and authorities, and sees whether they fit together. `allow` are the names that are let in.
///
/// # Errors
/// What cannot be read or does not fit.
pub(super) fn load(args: &DotsTlsArgs, allow: &[String]) -> Result<Security, Failure> {
    let read = |path: &Path| read_bounded(path).map_err(|error| file_failure("read", path, &error));
    let wrong = |place: String| move |error: ConfigError| Failure::usage(error.to_string()).at(place);
    let both = format!("{} and {}", args.cert.display(), args.key.display());
    let (chain, key) = (read(&args.cert)?, Zeroizing::new(read(&args.key)?));
    let mut config = SecurityConfig::new()
        .with_handshake_timeout(args.handshake_timeout.0)
        .with_listed_peers(allow.iter().map(|name| name.to_ascii_lowercase()))
        .with_certificate(&chain, &key)
        .map_err(wrong(both.clone()))?
        .with_ca(&read(&args.ca)?)
        .map_err(wrong(args.ca.display().to_string()))?;
    if let Some(path) = &args.intermediates {
        config = config.with_intermediates(&read(path)?).map_err(wrong(path.display().to_string()))?;
    }
    Security::new(&config).map_err(wrong(both))
}
