//! ACME with delegation.

pub mod ca;
pub mod csr;
pub mod ido;
pub mod jws;
mod leaf;
pub mod message;
pub mod relay;
pub mod star;

use acme_lurk::crypto::{Curve, KeyError, PublicKey, Scheme, SignError, Signer, Verifier, VerifyError};

/// Signs with the same octets whatever it is, and takes every signature: what is behind cryptography shall be reached.
#[derive(Debug)]
struct Anyone(PublicKey);

impl Anyone {
    fn new(octet: u8) -> Self {
        Self(PublicKey::ec_coordinates(Curve::P256, &[octet; 32], &[7; 32]).expect("these are the lengths"))
    }
}

impl Signer for Anyone {
    fn scheme(&self) -> Scheme {
        Scheme::EcdsaFixed(Curve::P256)
    }

    fn public_key(&self) -> &PublicKey {
        &self.0
    }

    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(vec![1; 64])
    }
}

impl Verifier for Anyone {
    fn supports(&self, _scheme: Scheme) -> bool {
        true
    }

    fn check_key(&self, _key: &PublicKey) -> Result<(), KeyError> {
        Ok(())
    }

    fn verify(&self, _scheme: Scheme, _key: &PublicKey, _message: &[u8], _signature: &[u8]) -> Result<(), VerifyError> {
        Ok(())
    }
}
