//! Certificates of the HTTPS services and of their clients. What the services of one protocol share with those of the
//! next: a server's certificate that can be replaced while it serves, and whom a client trusts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use watchfire_hyper::ConnectionEvent;

use crate::exit::Failure;
use crate::pki::read_bounded;
use crate::service::Context;

/// How often the files are looked at for changes.
const WATCH: Duration = Duration::from_secs(5);

/// Logs what happens to connections. Those of others fail all the time; that none can be taken is for an operator.
pub(crate) fn told(event: &ConnectionEvent<'_>) {
    match event {
        ConnectionEvent::AcceptFailed { .. } => tracing::warn!("{event}"),
        _ => tracing::debug!("{event}"),
    }
}

/// The certificate of a server, from two files that may change.
#[derive(Debug)]
pub struct ServerCertificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    /// Of the files, before they were read.
    seen: Mutex<Stamp>,
}

/// When each file was changed, and its size.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl ServerCertificate {
    /// Reads both files, PEM, the server's own certificate first.
    ///
    /// # Errors
    /// When they cannot be read, or the key is not that of the certificate.
    pub fn load(chain: &Path, key: &Path) -> Result<Arc<Self>, Failure> {
        let seen = Mutex::new(stamp(chain, key));
        let current = RwLock::new(Arc::new(certified(chain, key)?));
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current, seen }))
    }

    /// Reads both files again; connections that are open keep what they have. On an error the old ones stay.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn reload(&self) -> Result<(), Failure> {
        let new = Arc::new(certified(&self.chain, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// TLS 1.2 and 1.3 with this certificate, for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// Never with the provider that is built in.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Failure::usage(format!("TLS: {error}")))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(self) as Arc<_>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again when they change or a reload is asked for, until shutdown.
    pub fn keep_fresh(self: &Arc<Self>, context: &Context) {
        let (this, mut reload, shutdown) = (Arc::clone(self), context.reload.clone(), context.shutdown.clone());
        tokio::spawn(async move {
            // As they were when they were read: what has changed since is noticed.
            let mut seen = *this.seen.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let asked = tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = reload.requested() => true,
                    () = tokio::time::sleep(WATCH) => false,
                };
                let now = stamp(&this.chain, &this.key);
                if !asked && now == seen {
                    continue;
                }
                seen = now;
                match this.reload() {
                    Ok(()) => tracing::info!(chain = %this.chain.display(), "certificate read again"),
                    Err(error) => tracing::error!("the old certificate stays: {error}"),
                }
            }
        });
    }
}

fn stamp(chain: &Path, key: &Path) -> Stamp {
    [chain, key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    })
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Where a service over HTTP is entered: in clear text, or by TLS with a certificate that is kept fresh.
#[derive(Debug)]
pub struct Entrance(Option<Arc<ServerCertificate>>);

impl Entrance {
    /// With the certificate of these files, if both are named.
    ///
    /// # Errors
    /// As [`ServerCertificate::load`].
    pub fn load(chain: Option<&Path>, key: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self(chain.zip(key).map(|(chain, key)| ServerCertificate::load(chain, key)).transpose()?))
    }

    /// What connections are taken with; none in clear text.
    ///
    /// # Errors
    /// As [`ServerCertificate::server_config`].
    pub fn tls(&self) -> Result<Option<Arc<ServerConfig>>, Failure> {
        self.0.as_ref().map(ServerCertificate::server_config).transpose()
    }

    /// Reads the files again when they change or a reload is asked for, until shutdown.
    pub fn keep_fresh(&self, context: &Context) {
        if let Some(certificate) = &self.0 {
            certificate.keep_fresh(context);
        }
    }

    /// Lets `serve` take what comes to these sockets, says where that is under this name, and keeps the certificate
    /// fresh.
    ///
    /// # Errors
    /// When a socket has no address, or standard output cannot be written to.
    pub fn open(
        &self,
        listeners: Vec<TcpListener>,
        name: &str,
        context: &Context,
        serve: impl Fn(TcpListener, Option<Arc<ServerConfig>>) -> std::io::Result<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let tls = self.tls()?;
        let mut open = Vec::new();
        for listener in listeners {
            let local = serve(listener, tls.clone());
            let local = local.map_err(|error| Failure::usage(error.to_string()).at("--listen"))?;
            context.announce(name, local)?;
            open.push(local);
        }
        self.keep_fresh(context);
        Ok(open)
    }
}

/// A certificate chain and its key, PEM.
///
/// # Errors
/// When they cannot be read, or do not fit together.
pub(crate) fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey, Failure> {
    let certificates = certificates(chain)?;
    let octets = zeroize::Zeroizing::new(read_bounded(key).map_err(|error| failed(key, &error))?);
    let private = PrivateKeyDer::from_pem_slice(&octets).map_err(|error| {
        Failure::usage(format!("holds no private key: {error}")).at(key.display()).remedy("write it as PEM")
    })?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(certificates, private, &provider).map_err(|error| {
        let failure = Failure::usage(format!("certificate and key do not fit together: {error}"));
        failure.at(format!("{} and {}", chain.display(), key.display())).remedy("name the key that was issued with it")
    })
}

/// The certificates of a PEM file.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let octets = read_bounded(path).map_err(|error| failed(path, &error))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    match read {
        Ok(list) if list.is_empty() => {
            Err(Failure::usage("holds no certificate").at(path.display()).remedy("write it as PEM"))
        }
        Ok(list) => Ok(list),
        Err(error) => Err(Failure::usage(format!("not PEM: {error}")).at(path.display())),
    }
}

/// The authorities of a PEM file, or those of the system.
///
/// # Errors
/// When there are none, or one cannot be one.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                store.add(certificate).map_err(|error| {
                    Failure::usage(format!("holds what cannot be an authority: {error}")).at(path.display())
                })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
                let failure = Failure::usage(format!("the system has no certificate authorities{why}"));
                return Err(failure.remedy("install the package ca-certificates, or name a file of authorities"));
            }
        }
    }
    Ok(store)
}

/// TLS 1.2 and 1.3 that trusts these authorities, without a certificate of its own.
///
/// # Errors
/// Never with the provider that is built in.
pub fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::usage(format!("TLS: {error}")))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    crate::exit::file_failure("read", path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{InitArgs, IssueArgs, Profile};
    use crate::testing::TempDir;

    fn issued() -> TempDir {
        let dir = TempDir::new("https");
        crate::pki::init(&InitArgs::new(dir.path())).unwrap();
        for name in ["one.localhost", "two.localhost"] {
            crate::pki::issue(&IssueArgs::new(dir.path(), Profile::TlsServer, name)).unwrap();
        }
        dir
    }

    #[test]
    fn a_certificate_is_replaced_and_a_bad_one_is_not_taken() {
        let dir = issued();
        let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
        let put = |from: &str| {
            std::fs::copy(dir.path().join(format!("{from}.pem")), &chain).unwrap();
            std::fs::copy(dir.path().join(format!("{from}.key")), &key).unwrap();
        };
        put("one.localhost");
        let certificate = ServerCertificate::load(&chain, &key).unwrap();
        assert_eq!(certificate.server_config().unwrap().alpn_protocols.len(), 2);
        let first = |certificate: &ServerCertificate| certificate.current.read().unwrap().cert[0].clone();
        let before = first(&certificate);
        put("two.localhost");
        certificate.reload().unwrap();
        let after = first(&certificate);
        assert_ne!(before, after);
        std::fs::copy(dir.path().join("one.localhost.key"), &key).unwrap();
        let failure = certificate.reload().unwrap_err().to_string();
        assert!(failure.contains("do not fit together"), "{failure}");
        assert_eq!(first(&certificate), after, "the old one stays");
    }

    #[test]
    fn authorities_are_read_and_nonsense_is_named() {
        let dir = issued();
        assert_eq!(roots(Some(&dir.path().join("ca.pem"))).unwrap().len(), 1);
        let none = dir.path().join("none.pem");
        std::fs::write(&none, "nothing").unwrap();
        let failure = roots(Some(&none)).unwrap_err().to_string();
        assert!(failure.contains("none.pem") && failure.contains("no certificate"), "{failure}");
    }
}
