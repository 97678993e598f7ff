//! `watchfire lurk ndc`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use acme_lurk::csr::SubjectField;
use clap::{Args, ValueEnum, ValueHint};

use crate::values::{HostPort, Span};

/// `lurk ndc`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct NdcArgs {
    /// The directory of the name owner
    #[arg(long, value_name = "URL")]
    pub ido: String,
    /// Certificate authorities that may vouch for the name owner and its CA, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// The key of the account, PEM; made when missing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub account_key: PathBuf,
    /// Which delegation [default: the one whose template has the names]
    #[arg(long, value_name = "URL")]
    pub delegation: Option<String>,
    /// A name that the certificate is for; may be given again
    #[arg(long, value_name = "DNS", required = true)]
    pub name: Vec<String>,
    /// Where the certificate goes: DIR/key.pem, DIR/chain.pem, both for the owner alone; made when missing
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// A part of the subject that the template leaves open, as in organization=Example; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub subject: Vec<SubjectRule>,
    /// Obtain one certificate, install it and end, also when it cannot be installed
    #[arg(long)]
    pub once: bool,
    /// Run this by /bin/sh after each installation; the variables WATCHFIRE_KEY and WATCHFIRE_CHAIN name the files
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub reload: Option<String>,
    /// The kind of a key that is made
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub key_type: KeyType,
    /// How long each certificate is valid [default: 4d, or what the server gives at least; of a server that gives
    /// less than an hour the least]
    #[arg(long, value_name = "SPAN")]
    pub lifetime: Option<Span>,
    /// How much earlier each certificate begins to be valid [default: half of the lifetime]
    #[arg(long, value_name = "SPAN")]
    pub lifetime_adjust: Option<Span>,
    /// How long an order goes on before there is a new one
    #[arg(long, default_value = "90d", value_name = "SPAN")]
    pub duration: Span,
    /// Order certificates that the CA does not renew by itself
    #[arg(long, conflicts_with_all = ["lifetime", "lifetime_adjust"])]
    pub no_star: bool,
    /// Give up a call to the server after this long
    #[arg(long, default_value = "30s", value_name = "SPAN")]
    pub timeout: Span,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
}

impl NdcArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        for path in [&mut self.account_key, &mut self.out].into_iter().chain(&mut self.ca) {
            *path = base.join(&*path);
        }
    }
}

/// A kind of key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// A part of the subject: `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectRule {
    /// Which.
    pub field: SubjectField,
    /// What it is.
    pub value: String,
}

impl FromStr for SubjectRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || SubjectField::ALL.map(SubjectField::name).join(", ");
        let (key, value) = text.split_once('=').ok_or_else(|| format!("write KEY=VALUE; KEY is one of {}", known()))?;
        let field = SubjectField::ALL.into_iter().find(|field| field.name().eq_ignore_ascii_case(key));
        let field = field.ok_or_else(|| format!("`{key}` is none of {}", known()))?;
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err("the value is empty, or has control characters".into());
        }
        Ok(Self { field, value: value.to_owned() })
    }
}
