//! Signatures by ring, the library that rustls uses here.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaKeyPair, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{agreement, signature};

use super::{Curve, KeyError, KeyParts, PublicKey, Scheme, SignError, Signer, Verifier, VerifyError};

/// Checks signatures: ES256, ES384, EdDSA, RS256, and what certification requests have beyond them, without P-521.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Ring;

impl Ring {
    /// The verifier.
    pub const fn new() -> Self {
        Self
    }

    fn plain(scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match scheme {
            Scheme::EcdsaFixed(Curve::P256) => &ECDSA_P256_SHA256_FIXED,
            Scheme::EcdsaFixed(Curve::P384) => &ECDSA_P384_SHA384_FIXED,
            Scheme::EcdsaDer(Curve::P256) => &ECDSA_P256_SHA256_ASN1,
            Scheme::EcdsaDer(Curve::P384) => &ECDSA_P384_SHA384_ASN1,
            Scheme::Ed25519 => &ED25519,
            _ => return None,
        })
    }

    fn rsa(scheme: Scheme) -> Option<&'static RsaParameters> {
        Some(match scheme {
            Scheme::RsaPkcs1(256) => &RSA_PKCS1_2048_8192_SHA256,
            Scheme::RsaPkcs1(384) => &RSA_PKCS1_2048_8192_SHA384,
            Scheme::RsaPkcs1(512) => &RSA_PKCS1_2048_8192_SHA512,
            Scheme::RsaPss(256) => &RSA_PSS_2048_8192_SHA256,
            Scheme::RsaPss(384) => &RSA_PSS_2048_8192_SHA384,
            Scheme::RsaPss(512) => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }
}

impl Verifier for Ring {
    fn supports(&self, scheme: Scheme) -> bool {
        Self::plain(scheme).is_some() || Self::rsa(scheme).is_some()
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), KeyError> {
        let KeyParts::Ec { curve, point } = key.parts() else { return Ok(()) };
        let algorithm = match curve {
            Curve::P256 => &agreement::ECDH_P256,
            Curve::P384 => &agreement::ECDH_P384,
            Curve::P521 => return Err(KeyError::Unknown(curve.jwk_name().into())),
        };
        // ring looks at points only when it computes with them. A key agreement, whose result nobody wants, is the
        // one computation that says nothing but whether the point is good.
        let point = agreement::UnparsedPublicKey::new(algorithm, point);
        agreement::EphemeralPrivateKey::generate(algorithm, &SystemRandom::new())
            .and_then(|ours| agreement::agree_ephemeral(ours, &point, |_| ()))
            .map_err(|_| KeyError::Point)
    }

    fn verify(&self, scheme: Scheme, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        let verified = match (scheme, key.parts()) {
            (Scheme::EcdsaFixed(wanted) | Scheme::EcdsaDer(wanted), KeyParts::Ec { curve, point })
                if wanted == curve =>
            {
                let algorithm = Self::plain(scheme).ok_or(VerifyError::Unsupported)?;
                UnparsedPublicKey::new(algorithm, point).verify(message, signature)
            }
            (Scheme::Ed25519, KeyParts::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            (Scheme::RsaPkcs1(_) | Scheme::RsaPss(_), KeyParts::Rsa { n, e }) => {
                let parameters = Self::rsa(scheme).ok_or(VerifyError::Unsupported)?;
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            _ => return Err(VerifyError::KeyMismatch),
        };
        verified.map_err(|_| VerifyError::Signature)
    }
}

/// A private key in the memory of the process.
#[derive(Debug)]
pub struct RingSigner {
    pair: Pair,
    public: PublicKey,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl RingSigner {
    /// The key in a PKCS #8 document (DER): P-256, P-384, Ed25519, or RSA.
    ///
    /// # Errors
    /// [`KeyError::Unknown`] when it is none of these.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        for (curve, algorithm) in
            [(Curve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING), (Curve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING)]
        {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, document, &random) {
                let public = PublicKey::ec(curve, pair.public_key().as_ref())?;
                return Ok(Self { pair: Pair::Ecdsa(curve, pair), public });
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document) {
            let public = PublicKey::ed25519(pair.public_key().as_ref())?;
            return Ok(Self { pair: Pair::Ed25519(pair), public });
        }
        if let Ok(pair) = RsaKeyPair::from_pkcs8(document) {
            let numbers = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
            let public = PublicKey::rsa(&numbers.n, &numbers.e, 8192)?;
            return Ok(Self { pair: Pair::Rsa(Box::new(pair)), public });
        }
        Err(KeyError::Unknown("a PKCS #8 document with none of P-256, P-384, Ed25519, RSA".into()))
    }

    /// A new key for ES256, and its PKCS #8 document, which is secret.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate_p256() -> Result<(Self, zeroize::Zeroizing<Vec<u8>>), SignError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let document = document.map_err(|_| SignError("the system gives no randomness".into()))?;
        let signer = Self::from_pkcs8(document.as_ref()).map_err(|error| SignError(error.to_string()))?;
        Ok((signer, zeroize::Zeroizing::new(document.as_ref().to_vec())))
    }
}

impl Signer for RingSigner {
    fn scheme(&self) -> Scheme {
        match &self.pair {
            Pair::Ecdsa(curve, _) => Scheme::EcdsaFixed(*curve),
            Pair::Ed25519(_) => Scheme::Ed25519,
            Pair::Rsa(_) => Scheme::RsaPkcs1(256),
        }
    }

    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError("ring could not sign".into());
        match &self.pair {
            Pair::Ecdsa(_, pair) => pair.sign(&SystemRandom::new(), message).map(octets).map_err(failed),
            Pair::Ed25519(pair) => Ok(octets(pair.sign(message))),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn octets(signature: signature::Signature) -> Vec<u8> {
    signature.as_ref().to_vec()
}
