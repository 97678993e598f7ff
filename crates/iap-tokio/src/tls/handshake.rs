//! Handshakes: an analyzer [connects](Tls::connect), a manager [accepts](Tls::accept), whoever dialled.
//! draft-ietf-idwg-iap-01 sections 3.2, 6.3 to 6.7.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iap_proto::TlsRole;
use rustls::{HandshakeKind, ProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authorize::Claim;
use super::context::{State, Tls};
use super::error::{AuthError, TlsError};
use super::identity::Identity;
use super::prefixed::Prefixed;
use super::verifier::{QUESTION, Question, name_for_log};

/// How long and how much is read from a refused peer, so that closing does not reset the connection before the peer
/// has read why.
const PARTING_TIME: Duration = Duration::from_millis(500);
const PARTING_OCTETS: u64 = 64 << 10;

/// A TLS stream of either side over a transport `S`.
pub type TlsStream<S> = tokio_rustls::TlsStream<Prefixed<S>>;

/// A connection whose peer is authenticated and authorised.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established<S> {
    /// The encrypted stream.
    pub stream: TlsStream<S>,
    /// Who is at the other end.
    pub peer: Identity,
    /// How the handshake went.
    pub handshake: Handshake,
}

/// How a handshake went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Handshake {
    /// The negotiated version.
    pub version: Version,
    /// The negotiated cipher suite, as IANA names it (with the `TLS13_` prefix of rustls for those of TLS 1.3).
    pub cipher_suite: &'static str,
    /// Whether an earlier session was resumed, which saves certificates and signatures.
    pub resumed: bool,
}

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

impl Tls {
    /// The TLS client's part, which in IAP/0.3 is the analyzer's, whoever dialled.
    ///
    /// `manager` is the configured name that the manager's certificate must carry (see
    /// [`manager_name`](super::manager_name)): a `dNSName`, whose left-most label may be `*`, or an `iPAddress`. `claim`
    /// is what the peer must be, usually [`Claim::MANAGER`]. Whoever is TLS client speaks first, so octets that were
    /// received before are an attack, and there is no way to give them here.
    ///
    /// Under TLS 1.3 this may succeed although the manager is about to refuse us: it looks at our certificate last. The
    /// refusal is an error of the first read, which [`TlsError::from_io`] understands.
    ///
    /// # Errors
    /// [`TlsError`]. The connection is closed; if we refused the peer it was told by an alert.
    pub async fn connect<S>(
        &self,
        stream: S,
        manager: &ServerName<'static>,
        claim: Claim,
    ) -> Result<Established<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let state = self.state();
        let connector = TlsConnector::from(Arc::clone(&state.client));
        let transport = Prefixed::new(Bytes::new(), stream);
        let handshake = connector.connect(manager.clone(), transport).into_fallible();
        let handshake = async { handshake.await.map(TlsStream::from) };
        let result = self.run(&state, handshake, TlsRole::Server, claim, Some(manager)).await;
        if let Err(TlsError::Refused { .. } | TlsError::RefusedByPeer { .. }) = &result {
            // What was remembered led to a refusal: a full handshake may do better, for example with a new certificate.
            state.forget_sessions(manager);
        }
        result
    }

    /// The TLS server's part, which in IAP/0.3 is the manager's, whoever dialled.
    ///
    /// `early` are octets that were read already: an analyzer that was dialled may have written its ClientHello right
    /// behind the response in clear text. `claim` is what the peer must be, usually [`Claim::ANALYZER`].
    ///
    /// # Errors
    /// [`TlsError`]. The connection is closed; if we refused the peer it was told by an alert.
    pub async fn accept<S>(&self, stream: S, early: Bytes, claim: Claim) -> Result<Established<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_named(stream, early, None, claim).await
    }

    /// As [`accept`](Self::accept), from a peer whose certificate must carry `name` if one is given: the manager that
    /// dials an analyzer in the later dialects, where it is the TLS client.
    pub(crate) async fn accept_named<S>(
        &self,
        stream: S,
        early: Bytes,
        name: Option<&ServerName<'static>>,
        claim: Claim,
    ) -> Result<Established<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let state = self.state();
        let acceptor = TlsAcceptor::from(Arc::clone(&state.server));
        let handshake = acceptor.accept(Prefixed::new(early, stream)).into_fallible();
        let handshake = async { handshake.await.map(TlsStream::from) };
        self.run(&state, handshake, TlsRole::Client, claim, name).await
    }

    async fn run<S>(
        &self,
        state: &State,
        handshake: impl Future<Output = Result<TlsStream<S>, (io::Error, Prefixed<S>)>>,
        peer_side: TlsRole,
        claim: Claim,
        name: Option<&ServerName<'static>>,
    ) -> Result<Established<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let question = RefCell::new(Question { claim, answer: None });
        let asked = QUESTION.scope(question, async {
            let result = handshake.await;
            (result, QUESTION.with(|question| question.borrow_mut().answer.take()))
        });
        let limit = state.config.handshake_timeout;
        let (result, answer) = tokio::time::timeout(limit, asked).await.map_err(|_| TlsError::TimedOut(limit))?;
        let mut stream = match result {
            Ok(stream) => stream,
            Err((error, mut transport)) => {
                let error = match answer.map(|answer| answer.verdict) {
                    Some(Err((peer, error))) => TlsError::Refused { peer, error },
                    _ => TlsError::from_io(&error),
                };
                if matches!(error, TlsError::Refused { .. } | TlsError::Protocol { .. }) {
                    part(&mut transport).await;
                }
                return Err(error);
            }
        };
        // Only a full handshake under the policy that is still in force has been judged already, and a TLS client
        // without regard to its name.
        let current = self.state();
        let judged = peer_side == TlsRole::Server || name.is_none();
        let fresh =
            answer.filter(|answer| judged && Arc::ptr_eq(&answer.by, &current.authorizer) && !is_resumed(&stream));
        let verdict = match fresh {
            Some(answer) => answer.verdict,
            None => judge(&current, &stream, peer_side, claim, name),
        };
        match verdict {
            Ok(peer) => {
                let handshake = describe(&stream)?;
                Ok(Established { stream, peer, handshake })
            }
            Err((peer, error)) => {
                // The handshake is over, and rustls makes no alerts of ours: the peer sees a `close_notify`.
                let _ = tokio::time::timeout(PARTING_TIME, stream.shutdown()).await;
                part(stream.get_mut().0).await;
                Err(TlsError::Refused { peer, error })
            }
        }
    }
}

fn is_resumed<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Judges the certificates of a connection whose handshake is over.
fn judge<S>(
    state: &State,
    stream: &TlsStream<S>,
    peer_side: TlsRole,
    claim: Claim,
    name: Option<&ServerName<'static>>,
) -> Result<Identity, (String, AuthError)> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let refusal =
        |error| (chain.first().map_or_else(|| "peer".to_owned(), |leaf| name_for_log(leaf, &state.authorizer)), error);
    let now = state.now().ok_or_else(|| {
        refusal(AuthError::BadCertificate { problem: "its dates cannot be checked: there is no clock".to_owned() })
    })?;
    state.authorizer.authorize(chain, peer_side, claim, name, now).map_err(refusal)
}

fn describe<S>(stream: &TlsStream<S>) -> Result<Handshake, TlsError> {
    let session = stream.get_ref().1;
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
        Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
        other => {
            let problem = format!("unexpected version {other:?}");
            return Err(TlsError::Protocol { problem, reason: super::Reason::ProtocolVersion });
        }
    };
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    Ok(Handshake { version, cipher_suite: suite.unwrap_or("unknown"), resumed: is_resumed(stream) })
}

/// Ends our half and reads a little of the peer's, both within a time.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(transport: &mut S) {
    let goodbye = async {
        transport.shutdown().await?;
        tokio::io::copy(&mut transport.take(PARTING_OCTETS), &mut tokio::io::sink()).await
    };
    // The connection is given up in any case.
    let _ = tokio::time::timeout(PARTING_TIME, goodbye).await;
}
