//! The command line: one binary, one family of subcommands per protocol.
//!
//! Every service's flags are one `Args` struct. A configuration file is read through the same struct
//! (see [`crate::config`]), so that a key and a flag cannot drift apart.

mod console;
mod dots;
mod iap;
mod lurk;
mod obp;
mod pki;
mod repute;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use console::ConsoleArgs;
pub use dots::{
    ApiArgs, CallHomeClientArgs, CallHomeServerArgs, Carrier, ConnectTo, ConsentArgs, DotsCodecCommand, DotsCommand,
    DotsTlsArgs, Enforce, FlowSpecDialect, ListenAt, MitigateArgs, ProposalArgs, StatusArgs, WithdrawArgs,
};
pub use iap::{
    AlertsArgs, Compat, EkuMode, IapCommand, ManagerArgs, OutputSync, ProxyArgs, SensorArgs, StoreArgs, TlsArgs,
    TlsVersion,
};
pub use lurk::{
    CaArgs, CancelArgs, CsrTemplateCommand, GetArgs, IdoArgs, KeyType, LurkCommand, NdcArgs, PutArgs, RelayArgs,
    SubjectRule, TemplateCheckArgs, TemplateLintArgs,
};
pub use obp::{
    AccountAddArgs, AccountCommand, AccountFileArgs, AccountNameArgs, Advertised, BindArgs, BindingArgs, BrokerArgs,
    CodecArgs, CodecCommand, CodecFormat, CodecProfile, ConnectArgs, Dialect, DnsArgs, Dnssec, ManageArgs, ObpCommand,
    Resolver, Transport, ValidateArgs,
};
pub use pki::{CrlArgs, InitArgs, IssueArgs, PkiCommand, Profile, San};
pub use repute::{
    DnsblArgs, ExpandArgs, ImportArgs, KeyRule, LintArgs, ReputeCommand, ReputeQueryArgs, ReputeServeArgs,
    TemplateCommand, TrustRule, WebScheme, ZoneFormat,
};

/// Intrusion alerts delivered, acknowledged and never lost.
#[derive(Debug, Parser)]
#[command(name = "watchfire", version, propagate_version = true, arg_required_else_help = true)]
#[allow(clippy::exhaustive_structs)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct GlobalArgs {
    /// How log lines on standard error look; RUST_LOG chooses which
    #[arg(long, global = true, value_enum, default_value_t, env = "WATCHFIRE_LOG_FORMAT", help_heading = "Global")]
    pub log_format: LogFormat,
    /// One JSON object per line on standard output, nothing else
    #[arg(long, global = true, help_heading = "Global")]
    pub json: bool,
}

/// The look of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Try everything on loopback, with a throw-away PKI and a bundled Suricata sample
    Quickstart(QuickstartArgs),
    /// A small certificate authority for laboratories and closed fleets
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Intrusion Alert Protocol: sensors, managers, proxies, and what they stored
    #[command(subcommand)]
    Iap(IapCommand),
    /// OmniBroker: one trusted answer to how a service is best reached, and whether a certificate is to be trusted
    #[command(subcommand)]
    Obp(ObpCommand),
    /// REPUTE: answers from raters about names and addresses, and lists that mail servers ask for over the DNS
    #[command(subcommand)]
    Repute(ReputeCommand),
    /// ACME with delegation: certificates for names that somebody else owns, and that end when the owner says so
    #[command(subcommand)]
    Lurk(LurkCommand),
    /// DOTS Call Home: stop an outgoing attack at its source, over a channel that survives it
    #[command(subcommand)]
    Dots(DotsCommand),
    /// Run a set of services from one file
    Run(RunArgs),
    /// Look at configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Write the manual pages into a folder
    Man(ManArgs),
}

/// `quickstart`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct QuickstartArgs {
    /// Where the throw-away files go [default: a new folder among the temporary files]
    #[arg(long, value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Stop after the last step
    #[arg(long)]
    pub exit: bool,
}

/// `run`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct RunArgs {
    /// TOML: one table per service, such as [[iap.manager]] or [[obp.broker]]; keys are the flags' names
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
}

/// `config`
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum ConfigCommand {
    /// Validate a file: syntax, keys, values, and that files it names exist and certificates parse
    Check(ConfigCheckArgs),
}

/// `config check`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ConfigCheckArgs {
    /// The file to look at
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `completions`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct CompletionsArgs {
    /// Whose script to print
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ManArgs {
    /// Made when missing
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_contract_is_accepted() {
        for line in [
            "watchfire quickstart --dir d --exit --json",
            "watchfire pki init --dir d",
            "watchfire pki issue --dir d --profile iap-manager --name m --san DNS:localhost --san IP:::1 --days 3 --ou x",
            "watchfire iap manager --listen 127.0.0.1:0 --dial a:1 --listen [::1]:0 --cert c --key k --ca a --store sqlite:x \
             --output ndjson:p --output xml:q --output - --allow s1 --allow s2 --crl f --eku ignore --console 127.0.0.1:0 \
             --metrics 127.0.0.1:0 --json --log-format json",
            "watchfire iap sensor --connect a:1,b:2 --manager-name m --cert c --key k --ca a --eve f --follow --spool d \
             --window 64 --exit-when-drained",
            "watchfire iap sensor --listen a:1 --manager-name m --cert c --key k --ca a --input - --content-type x/y --framed",
            "watchfire iap proxy --listen a:1 --next-hop b:2 --name p --allow-from 10.0.0.0/8 --allow-target m --metrics a:2",
            "watchfire iap alerts --store postgres://u@h/d --since 15m --source 192.0.2.0/24 --limit 5 --json",
            "watchfire obp broker --listen 127.0.0.1:0 --udp 127.0.0.1:0 --cert c --key k --accounts a --resolver 192.0.2.1:53 \
             --roots r --crl c --crl d --policy p --dialect strict --metrics 127.0.0.1:0",
            "watchfire obp broker --listen 127.0.0.1:0 --accounts a --resolver system --dialect seed",
            "watchfire obp account add --accounts a alice@example.com --pin --json",
            "watchfire obp account list --accounts postgres://u@h/d --accounts-password-file p",
            "watchfire iap manager --listen a:1 --cert c --key k --ca a --output nats://h/s --output tls://h:1,i/s --nats-ca a",
            "watchfire obp bind --broker https://b --account a@b --out o --pin-file p --ca c",
            "watchfire obp connect --binding b example.com _http --port 80 --prove --policy dv --policy ev --transport udp",
            "watchfire obp connect --binding b example.com --port 80 --transport http",
            "watchfire obp validate --binding b --name n --service s c.pem d.pem",
            "watchfire obp dns --binding b --listen 127.0.0.1:0",
            "watchfire obp codec encode --format json-b",
            "watchfire obp codec decode --format json-d",
            "watchfire repute serve --listen 127.0.0.1:0 --data d.ndjson --template http://{service}/{subject} --dialect rfc7072 \
             --keys k --cert c --key k",
            "watchfire repute serve --listen 127.0.0.1:0 --data postgres://u@h/d --dialect draft2012 --metrics 127.0.0.1:0",
            "watchfire repute query --service h:1 --scheme https --application email-id --subject s --assertion spam \
             --identity dkim --dialect auto --timeout 5 --explain --json",
            "watchfire repute query --service a --service dnsbl:bl.example@127.0.0.1:53 --trust a=0.5 --input -",
            "watchfire repute import --store sqlite:s --ndjson f",
            "watchfire repute import --store postgres://u@h/d --dnsbl-zone f --format ip4trie --code malware=127.0.0.4 --replace",
            "watchfire repute import --store s.ndjson --csv f --assertion spam --rating 0.9 --json",
            "watchfire repute dnsbl --listen 127.0.0.1:0 --store s.ndjson --zone bl.example --code spam:0.9=127.0.0.3",
            "watchfire repute template lint http://{service}/",
            "watchfire repute template expand {?a,b} a=1 b=2 --vars f.json",
            "watchfire lurk ca --listen 127.0.0.1:0 --dir d --min-lifetime 5 --http01-port 5002 --trust-identifiers",
            "watchfire lurk ca --listen 127.0.0.1:0 --dir d --resolver 127.0.0.1:53 --url https://ca.example/acme --json",
            "watchfire lurk ido --listen 127.0.0.1:0 --upstream https://c/d --delegations f --dir d --upstream-ca c --dns-hook h \
             --emulate-star --metrics 127.0.0.1:0 --json",
            "watchfire lurk ido --listen 127.0.0.1:0 --upstream https://c/d --delegations f --dir d --dns-update 127.0.0.1:53 \
             --dns-update-key k --dns-update-zone example.com --dns-update-wait 5s",
            "watchfire lurk ndc --ido https://i/d --ca c --account-key k --delegation https://i/g --name a.example --name b.example \
             --out d --subject organization=Example --once --reload r --metrics 127.0.0.1:0 --json",
            "watchfire lurk cancel --order https://c/o --directory https://c/d --account-key k --ca c",
            "watchfire lurk relay --listen 127.0.0.1:0 --post-auth f --cert c --key k --keep 10m --max-chunk 1M --metrics 127.0.0.1:0",
            "watchfire lurk put --relay https://r/ --seal f",
            "watchfire lurk put --relay http://r/ --post-auth u --ca c --timeout 5 --link -",
            "watchfire lurk get n.json",
            "watchfire lurk get https://r/?chid=a --ca c --max-octets 1M --json",
            "watchfire lurk template lint t.json",
            "watchfire lurk template check --template t.json --csr r.der --name a.example --json",
            "watchfire dots call-home-client --listen tls://127.0.0.1:0 --listen dtls://127.0.0.1:0 --cert c --key k --ca a \
             --api 127.0.0.1:0 --eve f --follow --rule r --metrics 127.0.0.1:0 --json",
            "watchfire dots call-home-server --connect tls://h:1 --peer-name n --cert c --key k --ca a --domain 192.0.2.0/24 \
             --domain 2001:db8::/32 --enforce nftables --state d --reconnect-min 5 --json",
            "watchfire dots call-home-server --connect dtls://[::1]:4647 --peer-name n --cert c --key k --ca a --enforce log",
            "watchfire dots call-home-server --connect h:1 --peer-name n --cert c --key k --ca a --enforce exec:/bin/x",
            "watchfire dots call-home-server --discover d.example --peer-name n --cert c --key k --ca a --enforce flowspec",
            "watchfire dots mitigate --api 127.0.0.1:1 --peer p --mid 1 --source-prefix 192.0.2.1/32 --source-prefix \
             2001:db8::1/128 --target-prefix 198.51.100.7/32 --lifetime 60",
            "watchfire dots withdraw --api 127.0.0.1:1 --peer p --mid 1",
            "watchfire dots status --api 127.0.0.1:1 --peer p --follow --json",
            "watchfire dots call-home-server --connect h:1 --peer-name n --cert c --key k --ca a --crl l --consent --api [::1]:0",
            "watchfire dots consents --api 127.0.0.1:1",
            "watchfire dots agree --api 127.0.0.1:1 3",
            "watchfire dots refuse --api 127.0.0.1:1 3",
            "watchfire dots codec encode",
            "watchfire dots codec decode",
            "watchfire run --config f.toml",
            "watchfire config check f.toml",
            "watchfire completions bash",
            "watchfire man d",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let sensor = "watchfire iap sensor --manager-name m --cert c --key k --ca a";
        for line in [
            "watchfire iap manager --cert c --key k --ca a".to_owned(),
            format!("{sensor} --eve f"),
            format!("{sensor} --connect a:1"),
            format!("{sensor} --connect a:1 --listen b:1 --eve f"),
            format!("{sensor} --connect a:1 --eve f --input g"),
            format!("{sensor} --connect a:1 --eve f --framed"),
            format!("{sensor} --connect a:1 --eve f --window 0"),
            "watchfire iap proxy --listen a:1 --name p".to_owned(),
            "watchfire obp broker --listen a:1".to_owned(),
            "watchfire obp broker --listen a:1 --accounts a --cert c".to_owned(),
            "watchfire obp connect --binding b example.com".to_owned(),
            "watchfire obp validate --binding b --name n".to_owned(),
            "watchfire obp bind --broker u --out o".to_owned(),
            "watchfire pki issue --dir d --profile nosuch --name x".to_owned(),
            "watchfire repute serve --listen a:1".to_owned(),
            "watchfire repute serve --listen a:1 --data d --cert c".to_owned(),
            "watchfire repute serve --listen a:1 --data d --dialect x".to_owned(),
            "watchfire repute query --service h".to_owned(),
            "watchfire repute query --service h --subject s --input f".to_owned(),
            "watchfire repute query --service h --subject s --identity x".to_owned(),
            "watchfire repute query --service h --subject s --trust x".to_owned(),
            "watchfire repute import --store s".to_owned(),
            "watchfire repute import --store s --csv f --ndjson g".to_owned(),
            "watchfire repute import --store s --csv f --format dnset".to_owned(),
            "watchfire repute import --store http://x --csv f".to_owned(),
            "watchfire repute dnsbl --listen a:1 --store s".to_owned(),
            "watchfire dots call-home-client --listen 127.0.0.1:0 --cert c --key k --ca a".to_owned(),
            "watchfire dots call-home-client --listen tls://a:1 --cert c --key k --ca a --eve f".to_owned(),
            "watchfire dots call-home-server --connect a:1 --cert c --key k --ca a".to_owned(),
            "watchfire dots call-home-server --peer-name n --cert c --key k --ca a".to_owned(),
            "watchfire dots call-home-server --connect h --peer-name n --cert c --key k --ca a --consent".to_owned(),
            "watchfire dots mitigate --api a:1 --peer p --mid 1 --source-prefix x --target-prefix 192.0.2.1".to_owned(),
            "watchfire dots mitigate --api a:1 --peer p --mid 1 --target-prefix 192.0.2.1".to_owned(),
            "watchfire repute dnsbl --listen a:1 --store s --zone z --code spam=10.0.0.1".to_owned(),
            "watchfire lurk ca --listen a:1".to_owned(),
            "watchfire lurk relay --listen a:1 --cert c".to_owned(),
            "watchfire lurk relay --listen a:1 --auth-in-clear-text".to_owned(),
            "watchfire lurk put f".to_owned(),
            "watchfire lurk put --relay u --link --json f".to_owned(),
            "watchfire lurk get".to_owned(),
            "watchfire lurk template check --template t".to_owned(),
            "watchfire lurk ido --listen a:1 --upstream u --dir d".to_owned(),
            "watchfire lurk ido --listen a:1 --upstream u --dir d --delegations f --dns-update a:1".to_owned(),
            "watchfire lurk ido --listen a:1 --upstream u --dir d --delegations f --dns-update a:1 --dns-update-key k \
             --dns-hook h"
                .to_owned(),
            "watchfire lurk ndc --ido u --account-key k --out d".to_owned(),
            "watchfire lurk ndc --ido u --account-key k --out d --name n --subject x=y".to_owned(),
            "watchfire lurk ca --listen a:1 --dir d --min-lifetime 0".to_owned(),
            "watchfire lurk ca --listen a:1 --dir d --renew-fraction 0.4".to_owned(),
        ] {
            assert!(parse(&line).is_err(), "{line} was taken");
        }
    }
}
