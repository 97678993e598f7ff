//! `watchfire lurk ca`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::cli::Resolver;
use crate::values::{HostPort, Span};

/// `lurk ca`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct CaArgs {
    /// Answer over HTTPS here
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: HostPort,
    /// Keys, certificates and all orders; made when missing. DIR/ca.pem is what clients must trust
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// How URLs begin, as clients see them [default: https:// with the address of --listen]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The shortest lifetime of certificates that renew themselves, in seconds
    #[arg(long, default_value_t = 86_400, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=31_622_400))]
    pub min_lifetime: u64,
    /// How long an order of such certificates may go on
    #[arg(long, default_value = "365d", value_name = "SPAN")]
    pub max_duration: Span,
    /// Whether such certificates are renewed at half of their lifetime (0.5) or earlier: up to 0.99
    #[arg(long, default_value_t = 0.5, value_name = "F", value_parser = fraction)]
    pub renew_fraction: f64,
    /// How long other certificates are valid
    #[arg(long, default_value = "90d", value_name = "SPAN")]
    pub validity: Span,
    /// Where http-01 is looked for
    #[arg(long, default_value_t = 80, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub http01_port: u16,
    /// Where tls-alpn-01 is looked for
    #[arg(long, default_value_t = 443, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub tls_alpn01_port: u16,
    /// Who is asked for addresses and records: an address, or `system`
    #[arg(long, default_value = "system", value_name = "ADDR|system")]
    pub resolver: Resolver,
    /// Look for challenges at addresses that are not public too: for private networks
    #[arg(long)]
    pub validate_private: bool,
    /// Believe every account every name: no challenges. For laboratories alone
    #[arg(long)]
    pub trust_identifiers: bool,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Connections at one time
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
    /// Orders at one time
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub max_orders: u32,
}

impl CaArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        self.dir = base.join(&self.dir);
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.5..=0.99).contains(number));
    number.ok_or_else(|| "write a number from 0.5 to 0.99".to_owned())
}
