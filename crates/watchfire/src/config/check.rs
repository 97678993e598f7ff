//! `config check` beyond the grammar: files exist, certificates parse and are valid today, keys belong to them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use obp_broker::policy::PolicyStore;
use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::{Config, ServiceArgs};
use crate::cli::{
    BrokerArgs, CallHomeClientArgs, CallHomeServerArgs, Carrier, ConnectTo, ConsoleArgs, DotsTlsArgs, ManagerArgs,
    RelayArgs, ReputeServeArgs, SensorArgs, TlsArgs,
};
use crate::console::open_to_network;
use crate::dots::api::for_the_loopback_only;
use crate::dots::rules::Rules;
use crate::exit::{Failure, file_failure};
use crate::obp::accounts::Accounts;
use crate::obp::directory::AccountsUrl;
use crate::repute::data::DataUrl;
use crate::values::{HostPort, OutputSpec, PostgresUrl, StoreUrl};

/// Everything that would keep the services of `config` from starting, as far as can be seen without starting them.
/// An empty list means that nothing was found.
pub fn check(config: &Config) -> Vec<Failure> {
    let mut found = Vec::new();
    let mut taken: BTreeMap<(Proto, String), String> = BTreeMap::new();
    let mut claim = |(proto, addr): (Proto, &HostPort), place: &str, found: &mut Vec<Failure>| {
        if addr.port() != 0
            && let Some(other) = taken.insert((proto, addr.to_string()), place.to_owned())
        {
            let failure = Failure::usage(format!("{addr} is used twice over {proto}, also at {other}")).at(place);
            found.push(failure.remedy("give each service its own port"));
        }
    };
    if let Some(metrics) = &config.metrics {
        claim((Proto::Tcp, metrics), "metrics", &mut found);
    }
    if let Some(args) = &config.console {
        claim((Proto::Tcp, &args.listen), "console", &mut found);
        console(args, &mut found);
    }
    for service in &config.services {
        let place = service.place.as_str();
        let mut problems = Vec::new();
        service_itself(&service.args, &mut problems);
        let mut problems: Vec<_> = problems.into_iter().map(|problem| service.locate(problem)).collect();
        for socket in sockets(&service.args) {
            claim(socket, place, &mut problems);
        }
        found.extend(problems);
    }
    found
}

/// What comes to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proto {
    Tcp,
    Udp,
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Where a service listens.
pub(crate) fn sockets(args: &ServiceArgs) -> Vec<(Proto, &HostPort)> {
    let none = Vec::new;
    let (tcp, udp): (Vec<&HostPort>, Vec<&HostPort>) = match args {
        ServiceArgs::IapManager(args) => {
            (args.listen.iter().chain(&args.console).chain(&args.metrics).collect(), none())
        }
        ServiceArgs::IapSensor(args) => (args.listen.iter().chain(&args.metrics).collect(), none()),
        ServiceArgs::IapProxy(args) => (args.listen.iter().chain(&args.metrics).collect(), none()),
        ServiceArgs::ObpBroker(args) => (args.listen.iter().chain(&args.metrics).collect(), args.udp.iter().collect()),
        // DNS is asked either way.
        ServiceArgs::ObpDns(args) => (args.listen.iter().chain(&args.metrics).collect(), args.listen.iter().collect()),
        ServiceArgs::ReputeServe(args) => (args.listen.iter().chain(&args.metrics).collect(), none()),
        ServiceArgs::ReputeDnsbl(args) => {
            (args.listen.iter().chain(&args.metrics).collect(), args.listen.iter().collect())
        }
        ServiceArgs::LurkIdo(args) => {
            (std::iter::once(&args.listen).chain(&args.http01_listen).chain(&args.metrics).collect(), none())
        }
        ServiceArgs::LurkNdc(args) => (args.metrics.iter().collect(), none()),
        ServiceArgs::LurkRelay(args) => (args.listen.iter().chain(&args.metrics).collect(), none()),
        ServiceArgs::LurkCa(args) => (std::iter::once(&args.listen).chain(&args.metrics).collect(), none()),
        ServiceArgs::DotsClient(args) => {
            let of = |carrier| args.listen.iter().filter(move |at| at.carrier == carrier).map(|at| &at.address);
            (of(Carrier::Tls).chain(&args.api).chain(&args.metrics).collect(), of(Carrier::Dtls).collect())
        }
        ServiceArgs::DotsServer(args) => (args.api.iter().chain(&args.metrics).collect(), none()),
    };
    let (tcp, udp) = (tcp.into_iter().map(|at| (Proto::Tcp, at)), udp.into_iter().map(|at| (Proto::Udp, at)));
    tcp.chain(udp).collect()
}

fn service_itself(args: &ServiceArgs, problems: &mut Vec<Failure>) {
    match args {
        ServiceArgs::IapManager(args) => manager(args, problems),
        ServiceArgs::IapSensor(args) => sensor(args, problems),
        ServiceArgs::IapProxy(_) => {}
        ServiceArgs::ObpBroker(args) => broker(args, problems),
        ServiceArgs::ObpDns(args) => readable(&args.binding.binding, problems),
        ServiceArgs::ReputeServe(args) => rater(args, problems),
        ServiceArgs::ReputeDnsbl(args) => source(&args.store, args.store_password_file.as_deref(), problems),
        ServiceArgs::LurkIdo(args) => {
            if at_hand(&args.delegations, problems) {
                problems.extend(crate::lurk::delegations::read(&args.delegations).err());
            }
            if !args.dir.is_dir() {
                folder_of(&args.dir, problems);
            }
            if let Some(ca) = &args.upstream_ca {
                certificates(ca, problems);
            }
            args.store.iter().for_each(|url| stored(url, problems));
            args.store_password_file.iter().for_each(|path| readable(path, problems));
            if args.dns_update_key.iter().all(|path| at_hand(path, problems)) {
                problems.extend(crate::lurk::ido::updates(args).err());
            }
        }
        ServiceArgs::LurkNdc(args) => {
            if !args.out.is_dir() {
                folder_of(&args.out, problems);
            }
            if let Some(ca) = &args.ca {
                certificates(ca, problems);
            }
        }
        ServiceArgs::LurkRelay(args) => relay(args, problems),
        ServiceArgs::LurkCa(args) => {
            if !args.dir.is_dir() {
                folder_of(&args.dir, problems);
            }
        }
        ServiceArgs::DotsClient(args) => call_home_client(args, problems),
        ServiceArgs::DotsServer(args) => call_home_server(args, problems),
    }
}

fn console(args: &ConsoleArgs, found: &mut Vec<Failure>) {
    token(args.token_file.as_deref(), found);
    if let (Some(cert), Some(key)) = (&args.cert, &args.key)
        && at_hand(cert, found)
        && at_hand(key, found)
        && let Err(failure) = crate::https::ServerCertificate::load(cert, key)
    {
        found.push(failure);
    }
    if is_open_to_network(&args.listen) && args.token_file.is_none() {
        found.push(open_to_network(&args.listen));
    }
}

/// Whether others than programs of this machine come to it, as far as its host says.
fn is_open_to_network(address: &HostPort) -> bool {
    match address.host().parse::<std::net::IpAddr>() {
        Ok(ip) => !ip.to_canonical().is_loopback(),
        Err(_) => address.host() != "localhost",
    }
}

fn token(path: Option<&Path>, found: &mut Vec<Failure>) {
    if let Some(path) = path
        && at_hand(path, found)
        && let Err(failure) = crate::dots::api::read_token(path)
    {
        found.push(failure);
    }
}

fn manager(args: &ManagerArgs, found: &mut Vec<Failure>) {
    tls(&args.tls, found);
    args.store.store.iter().for_each(|url| stored(url, found));
    if let Some(path) = &args.store.store_password_file {
        readable(path, found);
    }
    token(args.console_token_file.as_deref(), found);
    if let Some(console) = args.console.as_ref().filter(|console| is_open_to_network(console))
        && args.console_token_file.is_none()
    {
        found.push(open_to_network(console));
    }
    for output in &args.output {
        if let OutputSpec::Ndjson(path) | OutputSpec::Xml(path) = output {
            folder_of(path, found);
        }
    }
    args.nats.files().for_each(|path| readable(path, found));
}

fn sensor(args: &SensorArgs, found: &mut Vec<Failure>) {
    tls(&args.tls, found);
    if let Some(eve) = &args.eve {
        // A followed file may appear later; its folder must be there.
        if args.follow { folder_of(eve, found) } else { input(eve, found) }
    }
    match &args.input {
        Some(path) if path != Path::new("-") => input(path, found),
        _ => {}
    }
    if let Some(spool) = &args.spool
        && !spool.is_dir()
    {
        folder_of(spool, found);
    }
}

fn broker(args: &BrokerArgs, found: &mut Vec<Failure>) {
    served_with(args.cert.as_deref(), args.key.as_deref(), found);
    if let Some(roots) = &args.roots {
        certificates(roots, found);
    }
    args.trust_anchor.iter().chain(&args.crl).for_each(|path| readable(path, found));
    // With the zones that it names.
    if let Some(path) = &args.policy
        && at_hand(path, found)
        && let Err(error) = PolicyStore::open(path)
    {
        found.push(Failure::usage(error.to_string()));
    }
    match &args.accounts {
        AccountsUrl::File(path) if at_hand(path, found) => found.extend(Accounts::at(path).names().err()),
        AccountsUrl::File(_) => {}
        AccountsUrl::Shared(url) => postgres(url, found),
    }
    args.accounts_password_file.iter().for_each(|path| readable(path, found));
    if let Some(audit) = args.audit.as_ref().filter(|path| path.as_os_str() != "-") {
        folder_of(audit, found);
    }
}

fn rater(args: &ReputeServeArgs, found: &mut Vec<Failure>) {
    source(&args.data, args.data_password_file.as_deref(), found);
    served_with(args.cert.as_deref(), args.key.as_deref(), found);
    if let Some(keys) = &args.keys {
        readable(keys, found);
    }
    for template in &args.template {
        if let Err(error) = template.parse::<repute_proto::Template>() {
            found.push(Failure::usage(format!("{template}: {error}")).at("template"));
        }
    }
}

fn relay(args: &RelayArgs, found: &mut Vec<Failure>) {
    served_with(args.cert.as_deref(), args.key.as_deref(), found);
    if let Some(path) = &args.post_auth
        && at_hand(path, found)
        && let Err(failure) = crate::lurk::relay::read_users(path)
    {
        found.push(failure);
    }
}

/// The certificate and the key of a service over HTTPS.
fn served_with(cert: Option<&Path>, private: Option<&Path>, found: &mut Vec<Failure>) {
    if let (Some(cert), Some(private)) = (cert, private)
        && let Some(leaf) = certificates(cert, found)
    {
        key(private, &leaf, found);
    }
}

fn call_home_client(args: &CallHomeClientArgs, found: &mut Vec<Failure>) {
    dots_tls(&args.tls, found);
    if let Some(path) = &args.rule
        && at_hand(path, found)
        && let Err(failure) = Rules::load(path)
    {
        found.push(failure);
    }
    interface(args.api.as_ref(), args.api_token_file.as_deref(), found);
    if let Some(eve) = &args.eve {
        if args.follow { folder_of(eve, found) } else { input(eve, found) }
    }
}

fn call_home_server(args: &CallHomeServerArgs, found: &mut Vec<Failure>) {
    dots_tls(&args.tls, found);
    let places = args.connect.len() + usize::from(args.discover.is_some());
    if places != args.peer_name.len() {
        let what = format!("{places} places to call, and {} names", args.peer_name.len());
        found.push(Failure::usage(what).at("peer-name").remedy("give a peer-name for each connect"));
    }
    if args.connect.iter().any(|place| matches!(place, ConnectTo::Address(_, address) if address.port() == 0)) {
        found.push(Failure::usage("nobody can be called at port 0").at("connect"));
    }
    interface(args.api.as_ref(), args.api_token_file.as_deref(), found);
    if let Some(state) = args.state.as_ref().filter(|state| !state.is_dir()) {
        folder_of(state, found);
    }
}

/// The one for the commands.
fn interface(address: Option<&HostPort>, token_file: Option<&Path>, found: &mut Vec<Failure>) {
    token(token_file, found);
    if let Some(address) = address.filter(|address| token_file.is_none() && is_open_to_network(address)) {
        found.push(for_the_loopback_only(address));
    }
}

fn dots_tls(args: &DotsTlsArgs, found: &mut Vec<Failure>) {
    if let Some(leaf) = certificates(&args.cert, found) {
        key(&args.key, &leaf, found);
    }
    certificates(&args.ca, found);
    if let Some(path) = &args.intermediates {
        certificates(path, found);
    }
    revocation_lists(&args.crl, found);
}

fn source(data: &DataUrl, password_file: Option<&Path>, found: &mut Vec<Failure>) {
    match data {
        DataUrl::File(path) | DataUrl::Store(StoreUrl::Sqlite(path)) => readable(path, found),
        DataUrl::Store(StoreUrl::Postgres(url)) => postgres(url, found),
    }
    if let Some(path) = password_file {
        readable(path, found);
    }
}

fn stored(url: &StoreUrl, found: &mut Vec<Failure>) {
    match url {
        StoreUrl::Sqlite(path) => folder_of(path, found),
        StoreUrl::Postgres(url) => postgres(url, found),
    }
}

/// The files for TLS; whether the server takes them is seen when it is asked.
fn postgres(url: &PostgresUrl, found: &mut Vec<Failure>) {
    let Some(tls) = url.tls() else { return };
    if let Some(roots) = &tls.roots {
        certificates(roots, found);
    }
    if let Some((cert, key)) = &tls.client {
        served_with(Some(cert), Some(key), found);
    }
}

fn tls(args: &TlsArgs, found: &mut Vec<Failure>) {
    let chain = certificates(&args.cert, found);
    certificates(&args.ca, found);
    revocation_lists(&args.crl, found);
    if let Some(leaf) = chain {
        key(&args.key, &leaf, found);
    }
}

fn revocation_lists(paths: &[std::path::PathBuf], found: &mut Vec<Failure>) {
    for path in paths {
        if let Some(pems) = pems(path, found)
            && !pems.iter().any(|pem| CertificateRevocationList::from_der(&pem.contents).is_ok())
        {
            found
                .push(Failure::usage("holds no revocation list").at(path.display()).remedy("write one with `pki crl`"));
        }
    }
}

/// Checks every certificate of a file; gives the public key of the first, as DER of the SubjectPublicKeyInfo.
fn certificates(path: &Path, found: &mut Vec<Failure>) -> Option<Vec<u8>> {
    let pems = pems(path, found)?;
    let mut first = None;
    let mut count = 0;
    for pem in pems.iter().filter(|pem| pem.label == "CERTIFICATE") {
        count += 1;
        match X509Certificate::from_der(&pem.contents) {
            Ok((_, certificate)) => {
                let name = certificate.subject().to_string();
                if !certificate.validity().is_valid() {
                    let validity = certificate.validity();
                    let what = format!("{name} is valid from {} to {} only", validity.not_before, validity.not_after);
                    found.push(Failure::usage(what).at(path.display()).remedy("issue it again, or set the clock"));
                }
                first.get_or_insert_with(|| certificate.public_key().raw.to_vec());
            }
            Err(error) => {
                let what = format!("certificate {count} does not parse: {error}");
                found.push(Failure::usage(what).at(path.display()).remedy("write it again as PEM"));
            }
        }
    }
    if count == 0 {
        found.push(Failure::usage("holds no certificate").at(path.display()).remedy("write it as PEM"));
    }
    first
}

fn key(path: &Path, leaf: &[u8], found: &mut Vec<Failure>) {
    let Some(pems) = pems(path, found) else { return };
    let Some(pem) = pems.iter().find(|pem| pem.label.ends_with("PRIVATE KEY")) else {
        found.push(Failure::usage("holds no private key").at(path.display()).remedy("write it as PEM"));
        return;
    };
    // Older forms than PKCS #8 are for the TLS library to judge.
    if pem.label == "PRIVATE KEY" {
        match rcgen::KeyPair::try_from(pem.contents.as_slice()) {
            Ok(pair) if rcgen::PublicKeyData::subject_public_key_info(&pair) != leaf => {
                let failure = Failure::usage("is not the key of the certificate").at(path.display());
                found.push(failure.remedy("name the key that was issued with it"));
            }
            Ok(_) => {}
            Err(error) => found.push(Failure::usage(format!("does not parse: {error}")).at(path.display())),
        }
    }
}

fn pems(path: &Path, found: &mut Vec<Failure>) -> Option<Vec<Pem>> {
    if !at_hand(path, found) {
        return None;
    }
    let octets = match crate::pki::read_bounded(path) {
        Ok(octets) => octets,
        Err(error) => {
            found.push(file_failure("read", path, &error));
            return None;
        }
    };
    match Pem::iter_from_buffer(&octets).collect::<Result<Vec<_>, _>>() {
        Ok(pems) => Some(pems),
        Err(error) => {
            found.push(Failure::usage(format!("not PEM: {error}")).at(path.display()));
            None
        }
    }
}

/// Says no to what is no file, where there is something. Who opens a FIFO waits for its writer; and what was read from
/// one once is not there when a service is started anew.
fn at_hand(path: &Path, found: &mut Vec<Failure>) -> bool {
    let is_at_hand = std::fs::metadata(path).map_or(true, |meta| meta.is_file());
    if !is_at_hand {
        let failure = Failure::usage("not a file: it cannot be read again").at(path.display());
        found.push(failure.remedy("put what it gives into a file"));
    }
    is_at_hand
}

fn readable(path: &Path, found: &mut Vec<Failure>) {
    if at_hand(path, found) {
        input(path, found);
    }
}

/// What is read once, and may be a FIFO.
fn input(path: &Path, found: &mut Vec<Failure>) {
    // Opening a FIFO would wait for its writer.
    let opened = std::fs::metadata(path)
        .and_then(|meta| if meta.is_file() { std::fs::File::open(path).map(drop) } else { Ok(()) });
    if let Err(error) = opened {
        found.push(file_failure("read", path, &error));
    }
}

fn folder_of(path: &Path, found: &mut Vec<Failure>) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if !folder.is_dir() {
        let failure = Failure::usage("no such folder").at(folder.display());
        found.push(failure.remedy(format!("make it, or choose another place than {}", path.display())));
    }
}
