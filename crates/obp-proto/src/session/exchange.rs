//! One signed request, and what its response must show.

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Profile, SessionHeader, SessionKey};
use crate::crypto::Provider;
use crate::message::Cryptographic;

/// Signs requests under one ticket, for clients of queries and of service-connect alike.
///
/// ```
/// use obp_proto::crypto::{Authentication, Encryption, RustCrypto};
/// use obp_proto::message::Cryptographic;
/// use obp_proto::session::{Profile, Signer};
/// use rand::SeedableRng as _;
///
/// let mut rng = rand::rngs::StdRng::from_seed([1; 32]); // from the system, in earnest
/// let ticket = [9; 80];
/// let credentials = Cryptographic::new([7; 16].as_slice(), Encryption::A128Gcm, Authentication::Hs256, ticket);
/// let signer = Signer::new(&RustCrypto, &credentials).expect("HS256 is known");
/// let (header, expected) = signer.sign(Profile::Strict, 1_400_000_000, &mut rng, b"{}");
/// // Send `header` as the Session header; then, of the response:
/// assert!(expected.check(["Value=AQ; Id=Ag"], b"{}").is_err());
/// # let _ = header;
/// ```
#[derive(Debug, Clone)]
pub struct Signer {
    key: SessionKey,
    ticket: Box<[u8]>,
}

impl Signer {
    /// Prepares the key. None when its algorithm is unknown.
    pub fn new(provider: &dyn Provider, credentials: &Cryptographic) -> Option<Self> {
        let key = SessionKey::new(provider, credentials.secret.expose(), &credentials.authentication)?;
        Some(Self { key, ticket: credentials.ticket.as_bytes().into() })
    }

    /// Makes the `Session` header of a request. `time` is in seconds since 1970.
    pub fn sign(&self, profile: Profile, time: u64, rng: &mut StdRng, body: &[u8]) -> (String, Expected) {
        let mut header = SessionHeader::new(&self.ticket);
        let mut nonce = None;
        if profile == Profile::Strict {
            let fresh: [u8; 16] = rng.random();
            header = header.with_nonce(&fresh).with_time(time);
            nonce = Some(fresh);
        }
        let text = self.key.sign(header, body).to_string();
        (text, Expected { signer: self.clone(), nonce })
    }
}

/// What the response to a signed request must show.
#[derive(Debug, Clone)]
pub struct Expected {
    signer: Signer,
    nonce: Option<[u8; 16]>,
}

impl Expected {
    /// Checks the `Session` headers of the response against its body. Returns the time that the service told, if it
    /// did.
    ///
    /// # Errors
    /// When no header is of our ticket, or that one is not good.
    pub fn check<'a>(
        &self,
        headers: impl IntoIterator<Item = &'a str>,
        body: &[u8],
    ) -> Result<Option<u64>, ResponseError> {
        let mut found = Err(ResponseError::Missing);
        for text in headers {
            let Ok(header) = SessionHeader::parse(text) else { continue };
            if *header.id() != *self.signer.ticket {
                continue;
            }
            match self.check_one(&header, body) {
                Ok(()) => return Ok(header.time()),
                Err(error) => found = Err(error),
            }
        }
        found
    }

    fn check_one(&self, header: &SessionHeader, body: &[u8]) -> Result<(), ResponseError> {
        if !self.signer.key.verify(header, body) {
            return Err(ResponseError::Mac);
        }
        match &self.nonce {
            Some(nonce) if header.nonce() != Some(nonce) => Err(ResponseError::Nonce),
            _ => Ok(()),
        }
    }
}

/// Why a response is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// No header of our ticket.
    #[error("the response has no Session header of our ticket")]
    Missing,
    /// The MAC is wrong.
    #[error("the MAC of the response is wrong")]
    Mac,
    /// Our nonce is not repeated: the response is to something else.
    #[error("the response does not repeat the nonce of the request")]
    Nonce,
}
