//! The usual way to read a signed request: types with derived `Deserialize`, serde_json, the crate base64.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use x509_parser::prelude::FromDer as _;

#[derive(Deserialize)]
struct Body<'a> {
    protected: &'a str,
    payload: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    kid: String,
    nonce: String,
    url: String,
}

/// What a server needs of it, owned as ours is.
pub(super) struct Read {
    pub(super) kid: String,
    _rest: (String, String, String, Vec<u8>, usize),
}

pub(super) fn decode(body: &[u8]) -> Read {
    let body: Body<'_> = serde_json::from_slice(body).unwrap();
    let protected = URL_SAFE_NO_PAD.decode(body.protected).unwrap();
    let header: Protected = serde_json::from_slice(&protected).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(body.signature).unwrap();
    Read { kid: header.kid, _rest: (header.alg, header.nonce, header.url, signature, body.payload.len()) }
}

/// What is signed, and the signature.
pub(super) fn signed(body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let body: Body<'_> = serde_json::from_slice(body).unwrap();
    (format!("{}.{}", body.protected, body.payload).into_bytes(), URL_SAFE_NO_PAD.decode(body.signature).unwrap())
}

pub(super) fn csr(der: &[u8]) -> usize {
    let (_, csr) = x509_parser::certification_request::X509CertificationRequest::from_der(der).unwrap();
    csr.requested_extensions().map_or(0, Iterator::count)
}
