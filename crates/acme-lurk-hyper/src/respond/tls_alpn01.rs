//! tls-alpn-01 by a listener of its own. [RFC 8737](https://www.rfc-editor.org/rfc/rfc8737)

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acme_lurk::acme::ChallengeKind;
use acme_lurk::acme::challenge::TLS_ALPN_PROTOCOL;
use acme_lurk::acme::client::Provision;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::Responder;
use crate::Going;

/// Handshakes at one time; more wait in the system's queue.
const HANDSHAKES: usize = 64;
/// For one handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shakes hands with who asks for `acme-tls/1`, and nobody else.
pub struct TlsAlpn01 {
    certificates: Arc<Certificates>,
    address: SocketAddr,
    task: AbortHandle,
}

impl TlsAlpn01 {
    /// Answers at this listener.
    ///
    /// # Errors
    /// When it has no address, or TLS cannot be set up.
    pub fn start(listener: TcpListener) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let certificates = Arc::new(Certificates::default());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(crate::provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(std::io::Error::other)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(&certificates) as Arc<_>);
        config.alpn_protocols = vec![TLS_ALPN_PROTOCOL.into()];
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)))).abort_handle();
        Ok(Self { certificates, address, task })
    }

    /// Where it answers.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsAlpn01 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Responder for TlsAlpn01 {
    fn present<'a>(&'a self, provision: &'a Provision) -> Going<'a, Result<(), String>> {
        let name = provision.identifier.value();
        let made = certificate(name, &provision.key_authorization).map(|made| {
            self.certificates.lock().insert(name.to_owned(), made);
        });
        Box::pin(async move { made })
    }

    fn clean_up<'a>(&'a self, provision: &'a Provision) -> Going<'a, ()> {
        self.certificates.lock().remove(provision.identifier.value());
        Box::pin(async {})
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        vec![ChallengeKind::TlsAlpn01]
    }
}

impl std::fmt::Debug for TlsAlpn01 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAlpn01").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The certificates that are shown, by their names.
#[derive(Debug, Default)]
struct Certificates(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl Certificates {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        let asked = hello.alpn()?.any(|protocol| protocol == TLS_ALPN_PROTOCOL.as_bytes());
        self.lock().get(&name).filter(|_| asked).cloned()
    }
}

fn certificate(name: &str, key_authorization: &str) -> Result<Arc<CertifiedKey>, String> {
    let failed = |error: rcgen::Error| format!("no certificate for tls-alpn-01 of {name}: {error}");
    let mut params = CertificateParams::new([name.to_owned()]).map_err(failed)?;
    let digest = Sha256::digest(key_authorization);
    params.custom_extensions.push(CustomExtension::new_acme_identifier(&digest));
    let pair = KeyPair::generate().map_err(failed)?;
    let made = params.self_signed(&pair).map_err(failed)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = crate::provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    Ok(Arc::new(CertifiedKey::new(vec![made.der().clone()], key)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            // The handshake is all there is; whoever made it goes.
            if let Ok(Ok(mut stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(tcp)).await {
                let _ = tokio::time::timeout(PATIENCE, tokio::io::AsyncWriteExt::shutdown(&mut stream)).await;
            }
            drop(place);
        });
    }
}
