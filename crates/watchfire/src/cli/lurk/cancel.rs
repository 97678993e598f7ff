//! `watchfire lurk cancel`

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::values::Span;

/// `lurk cancel`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct CancelArgs {
    /// The order, at the CA
    #[arg(long, value_name = "URL")]
    pub order: String,
    /// The directory of the CA
    #[arg(long, value_name = "URL")]
    pub directory: String,
    /// The key of the account that has made the order, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub account_key: PathBuf,
    /// Certificate authorities that may vouch for the CA, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Give up after this long
    #[arg(long, default_value = "30s", value_name = "SPAN")]
    pub timeout: Span,
}
