//! `watchfire pki`

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};

/// The certificate authority's commands.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum PkiCommand {
    /// Make the authority: DIR/ca.pem and DIR/ca.key
    Init(InitArgs),
    /// Issue a certificate: DIR/NAME.pem (leaf first) and DIR/NAME.key
    Issue(IssueArgs),
    /// Revoke certificates, or renew the list: DIR/ca.crl.pem
    Crl(CrlArgs),
}

/// `pki init`
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct InitArgs {
    /// Made when missing
    #[arg(long, value_hint = clap::ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The authority's common name
    #[arg(long, default_value = "Watchfire CA")]
    pub name: String,
    /// Days until it expires
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub days: u32,
    /// Replace an authority that is there already; what it issued is no longer trusted then
    #[arg(long)]
    pub force: bool,
}

impl InitArgs {
    /// The defaults of `pki init --dir DIR`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), name: "Watchfire CA".into(), days: 3650, force: false }
    }
}

/// `pki issue`
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct IssueArgs {
    /// Where ca.pem and ca.key are
    #[arg(long, value_hint = clap::ValueHint::DirPath)]
    pub dir: PathBuf,
    /// What the certificate is for
    #[arg(long, value_enum)]
    pub profile: Profile,
    /// Common name, and the files' name
    #[arg(long)]
    pub name: String,
    /// Subject alternative name, DNS:NAME or IP:ADDRESS, beside the name itself where that is a host's
    #[arg(long, value_name = "DNS:..|IP:..")]
    pub san: Vec<San>,
    /// Days until it expires
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub days: u32,
    /// Organisational unit; managers may admit by it
    #[arg(long)]
    pub ou: Option<String>,
    /// Replace files that are there already
    #[arg(long)]
    pub force: bool,
}

impl IssueArgs {
    /// The defaults of `pki issue --dir DIR --profile PROFILE --name NAME`.
    pub fn new(dir: impl Into<PathBuf>, profile: Profile, name: impl Into<String>) -> Self {
        Self { dir: dir.into(), profile, name: name.into(), san: Vec::new(), days: 365, ou: None, force: false }
    }
}

/// `pki crl`
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct CrlArgs {
    /// Where ca.pem and ca.key are
    #[arg(long, value_hint = clap::ValueHint::DirPath)]
    pub dir: PathBuf,
    /// A name that was issued here, or a certificate file; none only renews the list
    #[arg(long, value_name = "NAME|FILE.pem", num_args = 1..)]
    pub revoke: Vec<String>,
    /// Days until the next list is due
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

impl CrlArgs {
    /// The defaults of `pki crl --dir DIR`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), revoke: Vec::new(), days: 30 }
    }
}

/// What a certificate is for: decides its extended key usages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
#[non_exhaustive]
pub enum Profile {
    /// An IAP sensor: TLS client, alert generator.
    IapAnalyzer,
    /// An IAP manager: TLS server, alert consumer.
    IapManager,
    /// An IAP manager that may also configure sensors.
    IapConfigurator,
    /// The TLS client of a DOTS session.
    DotsClient,
    /// The TLS server of a DOTS session.
    DotsServer,
    /// Any TLS server.
    TlsServer,
    /// Any TLS client.
    TlsClient,
}

impl Profile {
    /// Whether its peers look for the name of the host that they called.
    pub fn names_a_host(self) -> bool {
        match self {
            Self::IapManager | Self::IapConfigurator | Self::DotsClient | Self::DotsServer | Self::TlsServer => true,
            Self::IapAnalyzer | Self::TlsClient => false,
        }
    }
}

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum San {
    /// A host name; its left-most label may be `*`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl FromStr for San {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once(':').ok_or("write DNS:NAME or IP:ADDRESS")?;
        match kind.to_ascii_uppercase().as_str() {
            "DNS" if crate::values::is_host_name(value.strip_prefix("*.").unwrap_or(value)) => {
                Ok(Self::Dns(value.to_owned()))
            }
            "DNS" => Err("not a host name".into()),
            "IP" => value.parse().map(Self::Ip).map_err(|_| "not an IPv4 or IPv6 address".into()),
            _ => Err("write DNS:NAME or IP:ADDRESS".into()),
        }
    }
}
