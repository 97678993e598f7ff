//! Keys of accounts: PEM, made when missing.

use std::path::Path;
use std::sync::Arc;

use acme_lurk::crypto::{RingSigner, Signer};
use rustls::pki_types::PrivateKeyDer;
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
    let wrong = |what: &str| {
        let failure = Failure::usage(what).at(path.display());
        failure.remedy("write it as PKCS#8 in PEM: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW")
    };
    let key = PrivateKeyDer::from_pem_slice(&octets).map_err(|_| wrong("holds no private key in PEM"))?;
    let signer = documents(&key).iter().find_map(|document| RingSigner::from_pkcs8(document).ok());
    let signer = signer.ok_or_else(|| wrong("none of P-256, P-384, Ed25519 and RSA with 2048 bits or more"))?;
    Ok(Some(Arc::new(signer)))
}

/// A key as PKCS#8, or what may be one: older forms do not always say which curve they are on.
fn documents(key: &PrivateKeyDer<'_>) -> Vec<Zeroizing<Vec<u8>>> {
    const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let wrap = |algorithm: &[&[u8]], key: &[u8]| {
        let key = tlv(4, key);
        tlv(0x30, &Zeroizing::new([&[2, 1, 0][..], &tlv(0x30, &algorithm.concat()), &key].concat()))
    };
    match key {
        PrivateKeyDer::Pkcs8(key) => vec![Zeroizing::new(key.secret_pkcs8_der().to_vec())],
        PrivateKeyDer::Sec1(key) => [P256, P384].map(|curve| wrap(&[EC, curve], key.secret_sec1_der())).into(),
        PrivateKeyDer::Pkcs1(key) => vec![wrap(&[RSA], key.secret_pkcs1_der())],
        _ => Vec::new(),
    }
}

/// A value of DER behind its tag and length. Files are far below the 16 MiB that fit here.
fn tlv(tag: u8, value: &[u8]) -> Zeroizing<Vec<u8>> {
    let [_, high, middle, low] = u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes();
    let head: &[u8] = match value.len() {
        0..128 => &[tag, low],
        128..256 => &[tag, 0x81, low],
        256..65_536 => &[tag, 0x82, middle, low],
        _ => &[tag, 0x83, high, middle, low],
    };
    Zeroizing::new([head, value].concat())
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
        assert!(failure.contains("none of P-256") && failure.contains("openssl pkcs8"), "{failure}");
        std::fs::write(&path, "nothing").unwrap();
        let failure = read_or_make(&path).map(drop).unwrap_err().to_string();
        assert!(failure.contains("no private key in PEM"), "{failure}");
    }

    #[test]
    fn keys_in_older_forms_are_the_same_keys() {
        let dir = TempDir::new("lurk-account-forms");
        let file = |name: &str| dir.path().join(name).display().to_string();
        let openssl = |words: &[&str]| {
            let status = std::process::Command::new("openssl").args(words).stderr(std::process::Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        if !openssl(&["version"]) {
            eprintln!("SKIPPED: keys in older forms: openssl is not installed");
            return;
        }
        let (old, new) = (file("old"), file("new"));
        for words in [
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &old][..],
            &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", &old],
            &["genrsa", "-traditional", "-out", &old, "2048"],
        ] {
            assert!(openssl(words), "{words:?}");
            assert!(openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", &old, "-out", &new]));
            let thumbprint = |name: &str| require(&dir.path().join(name)).unwrap().public_key().thumbprint_text();
            assert_eq!(thumbprint("old"), thumbprint("new"), "{words:?}");
        }
    }
}
