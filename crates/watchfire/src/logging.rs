//! Log lines on standard error; `RUST_LOG` chooses which, `info` by default.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;
use crate::exit::Failure;

/// Starts logging; once per process.
///
/// # Errors
/// `RUST_LOG` cannot be understood, or logging was started before.
pub fn init(format: LogFormat) -> Result<(), Failure> {
    init_or(format, "info")
}

/// As [`init`], with another level where `RUST_LOG` says none.
///
/// # Errors
/// As [`init`].
pub fn init_or(format: LogFormat, level: &str) -> Result<(), Failure> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            Failure::usage(format!("RUST_LOG=`{text}`: {error}")).remedy("write a level, as in RUST_LOG=debug")
        })?,
        // hickory logs whole messages of peers; what matters of it is said by those who use it.
        _ => {
            EnvFilter::new(format!("{level},hickory_net=off,hickory_proto=off,hickory_resolver=off,hickory_server=off"))
        }
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // That a line cannot be written would be said on standard error as well, which panics when that is closed.
    let builder = builder.log_internal_errors(false);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::usage(format!("cannot start logging: {error}")))
}
