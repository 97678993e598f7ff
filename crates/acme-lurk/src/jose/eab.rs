//! External account binding: whoever has a secret from the CA's front desk binds an ACME key to it.
//! [RFC 8555 section 7.3.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.3.4)

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::algorithm::MacAlgorithm;
use super::fields::Text;
use super::header::{Raw, unsupported};
use super::jws::{Flattened, JwsError, Small, flattened, quoted, signing_input};
use crate::base64url;
use crate::crypto::{PublicKey, VerifyError};
use crate::error::DecodeErrorKind;
use crate::limits::Limits;

/// A secret of an external account, wiped when dropped.
#[derive(Clone)]
pub struct MacKey {
    algorithm: MacAlgorithm,
    secret: Zeroizing<Vec<u8>>,
}

impl MacKey {
    /// A secret, for this algorithm alone.
    pub fn new(algorithm: MacAlgorithm, secret: &[u8]) -> Self {
        Self { algorithm, secret: Zeroizing::new(secret.to_vec()) }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        macro_rules! mac {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self.algorithm {
            MacAlgorithm::Hs256 => mac!(Sha256),
            MacAlgorithm::Hs384 => mac!(Sha384),
            MacAlgorithm::Hs512 => mac!(Sha512),
        }
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKey({})", self.algorithm)
    }
}

/// The value of `externalAccountBinding`: binds `account_key` to the external account `kid`. `url` is that of the
/// request, newAccount.
pub fn sign_external_account(mac: &MacKey, kid: &str, url: &str, account_key: &PublicKey) -> Vec<u8> {
    let header = format!(r#"{{"alg":"{}","kid":{},"url":{}}}"#, mac.algorithm, quoted(kid), quoted(url));
    let (protected, payload) = (base64url::encode(header), base64url::encode(account_key.to_jwk()));
    let signature = base64url::encode(mac.sign(&signing_input(protected.as_bytes(), payload.as_bytes())));
    flattened(&protected, &payload, &signature)
}

/// Checks the value of `externalAccountBinding`, and gives the `kid` of the external account.
///
/// `url` is that of the outer JWS and `account_key` its key; `secret` finds the secret of a `kid`.
///
/// # Errors
/// When it is no such JWS, is for another URL or another key, has a nonce, or the MAC is wrong. A `kid` that is not known
/// is the same error as a wrong MAC.
pub fn verify_external_account(
    binding: &[u8],
    url: &str,
    account_key: &PublicKey,
    secret: impl FnOnce(&str) -> Option<MacKey>,
    limits: &Limits,
) -> Result<String, JwsError> {
    let raw = Flattened::decode(binding, limits)?;
    let mut octets = Small::new();
    let header = Raw::decode(raw.protected_octets(&mut octets)?, limits)?;
    let name = header.alg()?;
    let algorithm = header.mac().ok_or_else(|| unsupported(name))?;
    if header.nonce.is_some() {
        return Err(DecodeErrorKind::Forbidden("the outer JWS has it").at("protected.nonce").into());
    }
    if header.has_jwk() {
        return Err(DecodeErrorKind::Forbidden("the key is the payload").at("protected.jwk").into());
    }
    if header.url.as_ref().map(Text::as_str) != Some(url) {
        return Err(DecodeErrorKind::Expected("the URL of the outer JWS").at("protected.url").into());
    }
    let kid = header.kid.ok_or_else(|| DecodeErrorKind::Missing.at("protected.kid"))?.into_string();
    let signature = raw.signature_octets()?;
    let Some(secret) = secret(&kid).filter(|secret| secret.algorithm == algorithm) else {
        return Err(JwsError::Signature(VerifyError::Signature));
    };
    let expected = secret.sign(&signing_input(raw.protected, raw.payload));
    if !bool::from(expected.ct_eq(&signature)) {
        return Err(JwsError::Signature(VerifyError::Signature));
    }
    let payload = base64url::decode(raw.payload).ok_or_else(|| DecodeErrorKind::Base64.at("payload"))?;
    let bound = PublicKey::from_jwk(&payload, limits)?.map_err(JwsError::Key)?;
    if bound != *account_key {
        return Err(DecodeErrorKind::Expected("the key of the outer JWS").at("payload").into());
    }
    Ok(kid)
}
