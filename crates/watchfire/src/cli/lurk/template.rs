//! `watchfire lurk template`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// `lurk template`
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum CsrTemplateCommand {
    /// Say what is wrong or unwise about a CSR template
    Lint(TemplateLintArgs),
    /// Say whether a certification request fits a template, and everything in which it does not
    Check(TemplateCheckArgs),
}

/// `lurk template lint`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct TemplateLintArgs {
    /// The template, JSON; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `lurk template check`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct TemplateCheckArgs {
    /// The template, JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub template: PathBuf,
    /// The certification request, DER or PEM; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub csr: PathBuf,
    /// A name of the order; may be given again: the request must be for these names and no others
    /// [default: whatever the template admits]
    #[arg(long, value_name = "DNS")]
    pub name: Vec<String>,
    /// Take signatures of another kind than the template's SignatureType
    #[arg(long)]
    pub any_signature_type: bool,
}
