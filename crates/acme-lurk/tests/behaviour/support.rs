//! Files and keys that tests share.

use std::path::PathBuf;

use acme_lurk::crypto::RingSigner;
use serde_json::Value;

/// A file of `tests/vectors/acme-lurk`.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/acme-lurk").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file of JSON.
pub(crate) fn json(name: &str) -> Value {
    serde_json::from_slice(&file(name)).unwrap()
}

/// Octets of JSON.
pub(crate) fn octets(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// A new key for ES256.
pub(crate) fn signer() -> RingSigner {
    RingSigner::generate_p256().unwrap().0
}
