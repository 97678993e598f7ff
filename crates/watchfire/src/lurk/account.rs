//! Keys of accounts: PKCS#8 in PEM, made when missing.

use std::path::Path;
use std::sync::Arc;

use acme_lurk::crypto::{RingSigner, Signer};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::exit::{Failure, file_failure};
use crate::pki::files;

/// Reads a key; none if there is no such file.
///
/// # Errors
/// A file that cannot be read, or holds no key that signs requests.
pub fn read(path: &Path) -> Result<Option<Arc<dyn Signer>>, Failure> {
    let octets = match crate::pki::read_bounded(path) {
        Ok(octets) => Zeroizing::new(octets),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_failure("read the account's key", path, &error)),
    };
    let wrong = |what: String| {
        let failure = Failure::usage(what).at(path.display());
        failure.remedy("write it as PKCS#8 in PEM: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW")
    };
    let key =
        PrivatePkcs8KeyDer::from_pem_slice(&octets).map_err(|_| wrong("holds no private key in PKCS#8".into()))?;
    let signer = RingSigner::from_pkcs8(key.secret_pkcs8_der())
        .map_err(|error| wrong(format!("no key of an account: {error}")))?;
    Ok(Some(Arc::new(signer)))
}

/// Reads a key that must be there.
///
/// # Errors
/// As [`read`], and when there is none.
pub fn require(path: &Path) -> Result<Arc<dyn Signer>, Failure> {
    let missing = || Failure::usage("there is no such file").at(path.display()).remedy("name the key of the account");
    read(path)?.ok_or_else(missing)
}

/// Reads a key, or makes one (ECDSA P-256) and keeps it for the owner alone.
///
/// # Errors
/// As [`read`], and when it cannot be written.
pub fn read_or_make(path: &Path) -> Result<Arc<dyn Signer>, Failure> {
    read_or_make_kind(path, &rcgen::PKCS_ECDSA_P256_SHA256)
}

/// The same with a key of another kind, if one is made.
///
/// # Errors
/// As [`read_or_make`].
pub fn read_or_make_kind(path: &Path, kind: &'static rcgen::SignatureAlgorithm) -> Result<Arc<dyn Signer>, Failure> {
    if let Some(signer) = read(path)? {
        return Ok(signer);
    }
    let pair = rcgen::KeyPair::generate_for(kind);
    let pair = pair.map_err(|error| Failure::usage(format!("cannot make a key: {error}")))?;
    // Not over one that somebody else has made meanwhile.
    files::write_private(path, &Zeroizing::new(pair.serialize_pem()), false)?;
    tracing::info!(file = %path.display(), "a new key");
    require(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_key_is_made_once_and_nonsense_is_named() {
        let dir = TempDir::new("lurk-account");
        let path = dir.path().join("account.key");
        assert!(read(&path).unwrap().is_none());
        assert!(require(&path).unwrap_err().to_string().contains("account.key: there is no such file"));
        let made = read_or_make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = read_or_make(&path).unwrap();
        assert_eq!(made.public_key().thumbprint(), again.public_key().thumbprint());
        std::fs::write(&path, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n").unwrap();
        let failure = read_or_make(&path).map(drop).unwrap_err().to_string();
        assert!(failure.contains("no private key in PKCS#8") && failure.contains("openssl pkcs8"), "{failure}");
    }
}
