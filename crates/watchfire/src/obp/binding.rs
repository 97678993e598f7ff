//! `obp bind`, and the file that a binding is kept in.
//!
//! The file is the binding as the protocol writes it, with two more members that are this program's: `Broker`, the URL
//! that it came from, and `CA`, the authorities that were trusted then.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use obp_hyper::client::{self as bind, BindError, BindOptions, BrokerUrl, Client};
use obp_proto::client::ClientConfig;
use obp_proto::crypto::RustCrypto;
use obp_proto::error::PeerMisbehaved;
use obp_proto::message::{InstanceConnection, InstanceTransport};
use obp_proto::service_connect::{AccountName, Binding, Pin};
use obp_proto::{Error, Limits};
use zeroize::Zeroizing;

use crate::cli::{BindArgs, BindingArgs, ManageArgs, Resolver, Transport};
use crate::exit::{Failure, file_failure};
use crate::replace::replace_private;
use crate::{https, out};

/// Not read beyond this many octets.
const FILE_LIMIT: usize = 4 << 20;

/// `obp bind`
///
/// # Errors
/// A broker that cannot be reached or says no, or a file that cannot be written.
pub async fn run(args: &BindArgs, json: bool) -> Result<(), Failure> {
    let (url, binding) = obtain(args).await?;
    if json {
        let expires = binding.expires().map(|expires| expires.to_string());
        let object = serde_json::json!({
            "account": args.account,
            "broker": url.to_string(),
            "binding": args.out.display().to_string(),
            "expires": expires,
        });
        return out::line(&object.to_string());
    }
    out::line(&format!("bound; the keys are in {}", args.out.display()))
}

/// Binds, and writes the file.
///
/// # Errors
/// As [`run`].
pub async fn obtain(args: &BindArgs) -> Result<(BrokerUrl, Binding), Failure> {
    let url: BrokerUrl =
        args.broker.parse().map_err(|error| Failure::usage(format!("`{}`: {error}", args.broker)).at("--broker"))?;
    if args.out.is_dir() {
        return Err(Failure::usage("is a folder").at(args.out.display()).remedy("name the file of the binding"));
    }
    let options = options(&url, args.ca.as_deref(), args.resolver)?;
    let account: Option<AccountName> = match &args.account {
        Some(text) => Some(text.parse().map_err(|error| {
            Failure::usage(format!("`{text}`: {error}")).at("--account").remedy("write NAME@DOMAIN")
        })?),
        None => None,
    };
    let pin = pin(args)?;
    let by = match (&account, pin) {
        (Some(account), Some(pin)) => Some((account, pin)),
        (Some(_), None) if !args.anonymous => {
            let failure = Failure::usage("no PIN");
            return Err(failure.remedy("name its file with --pin-file, or set WATCHFIRE_PIN"));
        }
        _ => None,
    };
    let bound = tokio::time::timeout(args.timeout.0, bind::bind(&url, by, &options)).await;
    let bound = bound.unwrap_or_else(|_| Err(BindError::Protocol(Error::TimedOut("binding"))));
    let mut binding = bound.map_err(|error| bind_failure(&error, &url))?;
    complete(&mut binding, &url, args.ca.as_deref());
    write(&args.out, &binding)?;
    Ok((url, binding))
}

fn pin(args: &BindArgs) -> Result<Option<Pin>, Failure> {
    let text = match &args.pin_file {
        Some(path) => {
            let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read the PIN", path, &error))?;
            let octets = Zeroizing::new(octets);
            let text =
                std::str::from_utf8(&octets).map_err(|_| Failure::usage("the PIN is not UTF-8").at(path.display()))?;
            Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
        }
        None => std::env::var("WATCHFIRE_PIN").ok().map(Zeroizing::new),
    };
    let parse = |text: Zeroizing<String>| text.parse::<Pin>().map_err(|error| Failure::usage(error.to_string()));
    text.filter(|text| !text.trim().is_empty()).map(parse).transpose()
}

fn bind_failure(error: &BindError, url: &BrokerUrl) -> Failure {
    match error {
        BindError::Protocol(error) => match error {
            Error::PeerMisbehaved(PeerMisbehaved::WrongProof) => {
                Failure::refused("the broker and this device do not have the same PIN").at(url).remedy(
                    "look at the PIN again: where the account was given several, the broker asks for the newest; \
                        or ask for a new one; if it is right, somebody is in between",
                )
            }
            Error::Refused(_) => {
                protocol_failure(error).at(url).remedy("ask the broker's operator for the account's name and a new PIN")
            }
            other => protocol_failure(other).at(url),
        },
        BindError::Unreachable { what, .. } => Failure::unreachable(what.clone()).at(url),
        other => Failure::usage(other.to_string()).at(url),
    }
}

/// The protocol's error with the exit code of whom it blames.
pub(super) fn protocol_failure(error: &Error) -> Failure {
    let text = error.to_string();
    match error {
        Error::Refused(status) if status.code() == 504 => Failure::unreachable(text),
        Error::Refused(_) => Failure::refused(text),
        Error::TimedOut(_) | Error::Unreachable(_) => Failure::unreachable(text),
        Error::InvalidMessage(_) | Error::PeerMisbehaved(_) | Error::PeerIncompatible(_) => Failure::misbehaved(text),
        _ => Failure::usage(text),
    }
}

/// How to reach the service at this URL.
fn options(url: &BrokerUrl, ca: Option<&Path>, resolver: Resolver) -> Result<BindOptions, Failure> {
    let mut options = BindOptions::new(tls(ca, url.is_tls())?);
    if url.srv_name().is_some() {
        options.services = match super::services::Lookup::new(resolver) {
            Ok(lookup) => Some(Arc::new(lookup)),
            // Then the host's addresses must do, wherever this system has them from.
            Err(_) if resolver == Resolver::System => None,
            Err(failure) => return Err(failure),
        };
    }
    Ok(options)
}

/// `obp refresh`
///
/// # Errors
/// As [`run`]; then the file is as it was.
pub async fn refresh(args: &ManageArgs, json: bool) -> Result<(), Failure> {
    let Managed { binding, url, options, ca } = managed(args)?;
    let fresh =
        in_time(args, bind::refresh(&url, binding, &options)).await.map_err(|error| manage_failure(&error, &url))?;
    let mut fresh = fresh;
    complete(&mut fresh, &url, ca.as_deref());
    write(&args.binding, &fresh)?;
    let expires = fresh.expires().map(|expires| expires.to_string());
    if json {
        let object = serde_json::json!({ "binding": args.binding.display().to_string(), "expires": expires });
        return out::line(&object.to_string());
    }
    let until = expires.map(|expires| format!(", good until {expires}")).unwrap_or_default();
    out::line(&format!("new keys are in {}{until}", args.binding.display()))
}

/// `obp unbind`
///
/// # Errors
/// As [`run`]; then the binding is as good as it was.
pub async fn unbind(args: &ManageArgs, json: bool) -> Result<(), Failure> {
    let Managed { binding, url, options, .. } = managed(args)?;
    in_time(args, bind::unbind(&url, binding, &options)).await.map_err(|error| manage_failure(&error, &url))?;
    let path = &args.binding;
    // Its keys open nothing any more.
    std::fs::remove_file(path).map_err(|error| file_failure("unbound, but cannot remove the binding", path, &error))?;
    if json {
        return out::line(&serde_json::json!({ "removed": path.display().to_string() }).to_string());
    }
    out::line(&format!("the binding has ended; {} is gone", path.display()))
}

/// A binding that is to be refreshed or ended.
struct Managed {
    binding: Binding,
    url: BrokerUrl,
    options: BindOptions,
    ca: Option<PathBuf>,
}

fn managed(args: &ManageArgs) -> Result<Managed, Failure> {
    let binding = read(&args.binding)?;
    let at = args.binding.display();
    let url = text_of(&binding, "Broker").ok_or_else(|| {
        let failure = Failure::usage("does not say where the broker is").at(&at);
        failure.remedy("add `\"Broker\": \"https://HOST\"`, or make a new one with `watchfire obp bind`")
    })?;
    let url: BrokerUrl = url.parse().map_err(|error| Failure::usage(format!("Broker `{url}`: {error}")).at(&at))?;
    let ca = args.ca.clone().or_else(|| text_of(&binding, "CA").map(PathBuf::from));
    let options = options(&url, ca.as_deref(), args.resolver)?;
    Ok(Managed { binding, url, options, ca })
}

async fn in_time<T>(args: &ManageArgs, done: impl Future<Output = Result<T, BindError>>) -> Result<T, BindError> {
    let late = |_| Err(BindError::Protocol(Error::TimedOut("service-connect")));
    tokio::time::timeout(args.timeout.0, done).await.unwrap_or_else(late)
}

fn manage_failure(error: &BindError, url: &BrokerUrl) -> Failure {
    match error {
        BindError::Unreachable { what, .. } => Failure::unreachable(what.clone()).at(url),
        BindError::Protocol(error @ Error::Refused(status)) if status.code() >= 500 => protocol_failure(error)
            .at(url)
            .remedy("the binding is as it was: try again later, or ask the broker's operator"),
        BindError::Protocol(error @ Error::Refused(_)) => {
            protocol_failure(error).at(url).remedy("the broker does not know this binding any more: bind again")
        }
        BindError::Protocol(error) => protocol_failure(error).at(url),
        other => Failure::usage(other.to_string()).at(url),
    }
}

/// Whom to trust; over plain HTTP nobody has to be.
fn tls(ca: Option<&Path>, needed: bool) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let roots = if needed { https::roots(ca)? } else { rustls::RootCertStore::empty() };
    https::client_config(roots)
}

/// Adds what the protocol does not carry.
fn complete(binding: &mut Binding, url: &BrokerUrl, ca: Option<&Path>) {
    let host = url.host().parse::<obp_proto::message::Name>().ok();
    let host = host.filter(|_| url.host().parse::<std::net::IpAddr>().is_err());
    for instance in binding.service.iter_mut() {
        // The name is what the certificate will be checked for.
        if matches!(instance.transport, None | Some(InstanceTransport::Http)) && instance.name.is_none() {
            instance.name.clone_from(&host);
        }
    }
    binding.extra.set("Broker", url.to_string().into());
    if let Some(ca) = ca {
        let whole = std::path::absolute(ca).unwrap_or_else(|_| ca.to_owned());
        binding.extra.set("CA", whole.display().to_string().into());
    }
}

fn write(path: &Path, binding: &Binding) -> Result<(), Failure> {
    let mut text = binding.to_json();
    text.push(b'\n');
    replace_private(path, &text).map_err(|error| file_failure("write the binding", path, &error))
}

/// Reads the file of a binding.
fn read(path: &Path) -> Result<Binding, Failure> {
    let text = crate::pki::read_bounded(path)
        .map_err(|error| file_failure("read the binding", path, &error).remedy("make one with `watchfire obp bind`"))?;
    let text = Zeroizing::new(text);
    if text.len() > FILE_LIMIT {
        return Err(Failure::usage("too large for a binding").at(path.display()));
    }
    Binding::from_json(&text, &Limits::DEFAULT).map_err(|error| {
        let failure = Failure::usage(format!("not a binding: {error}")).at(path.display());
        failure.remedy("make a new one with `watchfire obp bind`")
    })
}

/// What is asked over HTTP or HTTPS.
fn over_http(binding: &Binding) -> impl Iterator<Item = &InstanceConnection> {
    binding.service.iter().filter(|one| matches!(one.transport, None | Some(InstanceTransport::Http)))
}

/// Whether it is asked at the loopback: also by its name, which is looked up where the address does not answer.
fn stays_on_this_host(instance: &InstanceConnection) -> bool {
    instance.address.is_some_and(|address| address.to_canonical().is_loopback())
        && instance.name.as_ref().is_none_or(|name| name.to_canonical() == "localhost")
}

/// One of the members that are this program's.
fn text_of(binding: &Binding, name: &str) -> Option<String> {
    binding.extra.get(name).and_then(|value| value.as_str().map(str::to_owned))
}

/// A binding from its file, and the client that asks with it.
pub struct Asker {
    path: PathBuf,
    /// The client has the instances of one transport alone: not to be written over the whole.
    partial: bool,
    /// Asks.
    pub client: Client,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Asker {
    /// Reads the file and starts the client.
    ///
    /// # Errors
    /// A file that cannot be read or is no binding, or certificates that cannot be.
    pub async fn start(args: &BindingArgs) -> Result<Self, Failure> {
        let path = &args.binding;
        let mut binding = read(path)?;
        if let Some(wanted) = args.transport {
            let wanted = match wanted {
                Transport::Http => InstanceTransport::Http,
                Transport::Udp => InstanceTransport::Udp,
            };
            let all = std::mem::take(&mut binding.service).into_vec();
            let fits = |transport: &Option<InstanceTransport>| match transport {
                Some(transport) => *transport == wanted,
                None => wanted == InstanceTransport::Http,
            };
            binding.service = all.into_iter().filter(|instance| fits(&instance.transport)).collect();
            if binding.service.is_empty() {
                let failure = Failure::usage(format!("has no instance over {wanted}")).at(path.display());
                return Err(failure.remedy("leave --transport away, or bind to a broker that serves it"));
            }
        }
        let ca = args.ca.clone().or_else(|| text_of(&binding, "CA").map(PathBuf::from));
        let over_tls = match text_of(&binding, "Broker") {
            Some(url) => !url.starts_with("http://"),
            // Nothing says it. In clear text nobody is asked but who is on this host, where no authority is named.
            None => ca.is_some() || !over_http(&binding).all(stays_on_this_host),
        };
        let http = over_http(&binding).next().is_some();
        let tls = tls(ca.as_deref(), over_tls && http)?;
        let config = ClientConfig::builder(Arc::new(RustCrypto)).with_tls(over_tls).with_total_timeout(args.timeout.0);
        let config = config.build().map_err(|error| Failure::usage(error.to_string()))?;
        let client = Client::builder(binding).with_config(config).with_tls(tls).start().await;
        let client = client.map_err(|error| Failure::usage(error.to_string()).at(path.display()))?;
        Ok(Self { path: path.clone(), partial: args.transport.is_some(), client })
    }

    /// Keeps the tickets that the broker handed out meanwhile, if it did.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<(), Failure> {
        if self.client.binding().has_changed().unwrap_or(false) { self.save_now() } else { Ok(()) }
    }

    /// Keeps the binding as it is now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_now(&self) -> Result<(), Failure> {
        if self.partial { Ok(()) } else { write(&self.path, &self.client.binding().borrow()) }
    }
}
