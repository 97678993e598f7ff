//! `postgres://USER@HOST/DATABASE`: a database, and what must be so before anything is said to it.
//!
//! The parameters for TLS are libpq's, with another default: a host beyond this machine must show who it is, and there is
//! no mode that falls back to clear text by itself.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// A database of PostgreSQL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PostgresUrl {
    /// Without the parameters that are read here; it may hold a password.
    text: String,
    tls: Option<PostgresTls>,
    is_far: bool,
}

/// What TLS is demanded of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct PostgresTls {
    /// What is looked at of its certificate.
    pub check: ServerCheck,
    /// The authorities, PEM; those of the system without.
    pub roots: Option<PathBuf>,
    /// Our certificate and its key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What is looked at of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum ServerCheck {
    /// `require`: nothing. Whoever is in between can be the server.
    Nothing,
    /// `verify-ca`: that it comes from the authority.
    Authority,
    /// `verify-full`: that, and that it is for the host.
    Full,
}

const PREFIXES: [&str; 2] = ["postgres://", "postgresql://"];

impl PostgresUrl {
    /// Whether this text is meant to be one.
    pub fn is_one(text: &str) -> bool {
        PREFIXES.iter().any(|prefix| text.starts_with(prefix))
    }

    /// How it is reached, TLS aside.
    ///
    /// # Errors
    /// None: it was read before.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let mut config = read(&self.text)?;
        config.ssl_mode(if self.tls.is_some() { SslMode::Require } else { SslMode::Disable });
        Ok(config)
    }

    /// The TLS that is demanded; none for clear text.
    pub fn tls(&self) -> Option<&PostgresTls> {
        self.tls.as_ref()
    }

    /// Whether it is beyond this machine.
    pub(crate) fn is_far(&self) -> bool {
        self.is_far
    }

    /// Whether it says this parameter.
    pub(crate) fn says(&self, name: &str) -> bool {
        let query = self.text.split_once('?').map_or("", |(_, query)| query);
        query.split('&').any(|pair| pair.split('=').next() == Some(name))
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.tls.iter().flat_map(|tls| {
            let (cert, key) = tls.client.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path())).unzip();
            tls.roots.as_deref().into_iter().chain(cert).chain(key)
        })
    }

    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        if let Some(tls) = &mut self.tls {
            let client = tls.client.iter_mut().flat_map(|(cert, key)| [cert, key]);
            for path in tls.roots.iter_mut().chain(client) {
                *path = base.join(&*path);
            }
        }
    }
}

/// The parameters that are read here, as they stand in a URL.
#[derive(Default)]
struct Parameters {
    mode: Option<String>,
    roots: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !Self::is_one(text) {
            return Err("write postgres://USER@HOST/DATABASE".into());
        }
        let (text, parameters) = split(text)?;
        let config = read(&text)?;
        check_hosts(&config)?;
        let is_far = is_far(&config);
        let tls = parameters.tls(is_far)?;
        let sockets = config.get_hosts().iter().filter(|host| matches!(host, Host::Unix(_))).count();
        let tls = match sockets {
            0 => tls,
            // As with libpq, for which a socket is a file and no network.
            all if all == config.get_hosts().len() => None,
            _ if tls.is_some() => return Err("a socket and a host in one URL: TLS is for hosts alone".into()),
            _ => None,
        };
        Ok(Self { text, tls, is_far })
    }
}

/// Whether its hosts, addresses and ports can belong together.
fn check_hosts(config: &Config) -> Result<(), String> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    if hosts.is_empty() && addresses.is_empty() {
        return Err("names no host: write postgres://USER@HOST/DATABASE".into());
    }
    if !addresses.is_empty() && hosts.iter().any(|host| matches!(host, Host::Unix(_))) {
        // An address is reached through the network, whatever the host is called.
        return Err("host=/FOLDER is a socket on this machine, and hostaddr is not: leave one of them out".into());
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(format!("{} hosts and {} in hostaddr: write one for each", hosts.len(), addresses.len()));
    }
    if ports.len() > 1 && ports.len() != hosts.len().max(addresses.len()) {
        return Err(format!("{} ports: write one for all hosts, or one for each", ports.len()));
    }
    Ok(())
}

/// What the library makes of a URL.
fn read(text: &str) -> Result<Config, String> {
    text.parse().map_err(|error: tokio_postgres::Error| {
        // Its own words lack the cause.
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    })
}

/// Takes the parameters for TLS out of a URL.
fn split(text: &str) -> Result<(String, Parameters), String> {
    let Some((bare, query)) = text.split_once('?') else { return Ok((text.to_owned(), Parameters::default())) };
    if query.contains('@') && !bare.contains('@') {
        // It could be the end of a password.
        return Err("has ? before @: write %3F in a password, and %40 behind the ?".into());
    }
    let mut parameters = Parameters::default();
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` has no value"))?;
        let slot = match name {
            "sslmode" => &mut parameters.mode,
            "sslrootcert" => &mut parameters.roots,
            "sslcert" => &mut parameters.cert,
            "sslkey" => &mut parameters.key,
            _ => {
                others.push(pair);
                continue;
            }
        };
        let value =
            percent_encoding::percent_decode_str(value).decode_utf8().map_err(|_| format!("{name}: not UTF-8"))?;
        *slot = Some(value.into_owned()).filter(|value| !value.is_empty());
    }
    let text = if others.is_empty() { bare.to_owned() } else { format!("{bare}?{}", others.join("&")) };
    Ok((text, parameters))
}

impl Parameters {
    fn tls(self, is_far: bool) -> Result<Option<PostgresTls>, String> {
        let has_files = self.roots.is_some() || self.cert.is_some() || self.key.is_some();
        let client = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => return Err("sslcert and sslkey belong together: name both".into()),
        };
        let is_system = self.roots.as_deref() == Some("system");
        let roots: Option<PathBuf> = self.roots.filter(|_| !is_system).map(PathBuf::from);
        let check = match self.mode.as_deref() {
            None if is_far || has_files => ServerCheck::Full,
            None => return Ok(None),
            Some("disable") if has_files => {
                return Err("sslmode=disable has no use for certificates: write sslmode=verify-full".into());
            }
            Some("disable") => return Ok(None),
            Some("require" | "verify-ca") if is_system => {
                return Err("anybody has a certificate of the system's authorities: write sslmode=verify-full".into());
            }
            // As with libpq: who names an authority wants it to be looked at.
            Some("require") if roots.is_some() => ServerCheck::Authority,
            Some("require") => ServerCheck::Nothing,
            Some("verify-ca") if roots.is_none() => return Err("sslmode=verify-ca needs sslrootcert=FILE".into()),
            Some("verify-ca") => ServerCheck::Authority,
            Some("verify-full") => ServerCheck::Full,
            Some(weak @ ("allow" | "prefer")) => {
                return Err(format!(
                    "sslmode={weak} speaks in clear text to whoever is in between: write verify-full, or disable"
                ));
            }
            Some(other) => {
                return Err(format!("sslmode={other}: write disable, require, verify-ca or verify-full"));
            }
        };
        Ok(Some(PostgresTls { check, roots, client }))
    }
}

/// Whether any of the addresses is not of this machine, as far as the URL says.
fn is_far(config: &Config) -> bool {
    let is_here = |address: &IpAddr| address.to_canonical().is_loopback();
    let host = |host: &Host| match host {
        Host::Tcp(name) => name != "localhost" && !name.parse().as_ref().is_ok_and(is_here),
        Host::Unix(_) => false,
    };
    config.get_hosts().iter().any(host) || !config.get_hostaddrs().iter().all(is_here)
}

impl fmt::Display for PostgresUrl {
    /// Never shows a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.text.split('?').next().unwrap_or(&self.text);
        let (scheme, rest) = bare.split_once("://").unwrap_or(("postgres", bare));
        match rest.rsplit_once('@') {
            Some((user, host)) => write!(f, "{scheme}://{}@{host}", user.split(':').next().unwrap_or(user)),
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self}, {:?})", self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(text: &str) -> Option<PostgresTls> {
        text.parse::<PostgresUrl>().unwrap().tls
    }

    fn check(text: &str) -> Option<ServerCheck> {
        tls(text).map(|tls| tls.check)
    }

    #[test]
    fn beyond_this_machine_the_server_must_show_who_it_is() {
        use ServerCheck::{Authority, Full, Nothing};
        let cases = [
            ("postgres://u@localhost/d", None),
            ("postgres://u@127.0.0.2:1/d", None),
            ("postgres://u@[::1]/d", None),
            ("postgres:///d?host=/run/postgresql", None),
            ("postgres:///d?host=/run/postgresql&sslmode=verify-full", None),
            ("postgres://u@db.example/d", Some(Full)),
            ("postgresql://u@192.0.2.1/d", Some(Full)),
            ("postgres://u@localhost,db.example/d", Some(Full)),
            ("postgres://u@localhost/d?hostaddr=192.0.2.1", Some(Full)),
            ("postgres://u@localhost/d?sslrootcert=ca.pem", Some(Full)),
            ("postgres://u@localhost/d?sslmode=verify-full", Some(Full)),
            ("postgres://u@db.example/d?sslrootcert=system", Some(Full)),
            ("postgres://u@db.example/d?sslmode=disable", None),
            ("postgres://u@db.example/d?sslmode=require", Some(Nothing)),
            ("postgres://u@db.example/d?sslmode=require&sslrootcert=ca.pem", Some(Authority)),
            ("postgres://u@db.example/d?sslmode=verify-ca&sslrootcert=ca.pem", Some(Authority)),
        ];
        for (text, wanted) in cases {
            assert_eq!(check(text), wanted, "{text}");
            let wanted = if wanted.is_some() { SslMode::Require } else { SslMode::Disable };
            assert_eq!(text.parse::<PostgresUrl>().unwrap().config().unwrap().get_ssl_mode(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_weak_or_makes_no_sense_is_refused() {
        for (text, said) in [
            ("postgres://h/d?sslmode=prefer", "write verify-full, or disable"),
            ("postgres://localhost/d?sslmode=allow", "write verify-full, or disable"),
            ("postgres://h/d?sslmode=on", "write disable, require, verify-ca or verify-full"),
            ("postgres://h/d?sslmode=verify-ca", "needs sslrootcert=FILE"),
            ("postgres://h/d?sslmode=verify-ca&sslrootcert=system", "write sslmode=verify-full"),
            ("postgres://h/d?sslmode=disable&sslrootcert=ca.pem", "write sslmode=verify-full"),
            ("postgres://h/d?sslcert=c.pem", "name both"),
            ("postgres:///d?host=/run/x&host=h", "TLS is for hosts alone"),
            ("postgres:///d", "names no host"),
            ("postgres:///d?host=/run/x&hostaddr=192.0.2.1", "leave one of them out"),
            ("postgres:///d?host=/run/x&hostaddr=192.0.2.1&sslmode=verify-full", "leave one of them out"),
            ("postgres://%2Frun%2Fx/d?host%61ddr=192.0.2.1", "leave one of them out"),
            ("postgres://h/d?host=/run/x&hostaddr=192.0.2.1,192.0.2.2", "leave one of them out"),
            ("postgres://h,i/d?hostaddr=192.0.2.1", "2 hosts and 1 in hostaddr"),
            ("postgres:///d?host=h&host=i&host=j&port=1,2", "2 ports: write one for all hosts"),
            ("postgres://h/d?sslcrl=c.pem", "unknown option"),
            ("postgres://u:a?b@h/d", "write %3F in a password"),
            ("postgres://h/d?sslmode", "has no value"),
            ("sqlite:d", "write postgres://"),
        ] {
            let error = text.parse::<PostgresUrl>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn files_start_at_the_folder_and_passwords_are_not_shown() {
        let text = "postgres://u:secret@h/d?sslrootcert=ca%20%2B.pem&connect_timeout=3&sslcert=/c.pem&sslkey=c.key";
        let mut url: PostgresUrl = text.parse().unwrap();
        url.rebase(Path::new("/etc/wf"));
        let files: Vec<_> = url.files().collect();
        assert_eq!(files, [Path::new("/etc/wf/ca +.pem"), Path::new("/c.pem"), Path::new("/etc/wf/c.key")]);
        let config = url.config().unwrap();
        assert_eq!(config.get_password(), Some(&b"secret"[..]));
        assert_eq!(config.get_connect_timeout(), Some(&std::time::Duration::from_secs(3)));
        assert_eq!(url.to_string(), "postgres://u@h/d");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
