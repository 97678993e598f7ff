//! Bodies of requests.

use acme_lurk::crypto::PublicKey;
use acme_lurk::jose::{Jws, KeyRef, Purpose, verify_external_account};
use acme_lurk::{Limits, base64url};
use serde_json::Value;

use super::Anyone;

/// The octets are a body. To get behind base64url easily, they are the protected header of one, too.
pub fn run(data: &[u8]) {
    body(data);
    let text = base64url::encode(data);
    body(format!(r#"{{"protected":"{text}","payload":"e30","signature":"AA"}}"#).as_bytes());
    let limits = Limits::DEFAULT;
    if let Ok(Ok(key)) = PublicKey::from_jwk(data, &limits) {
        let again = PublicKey::from_jwk(key.to_jwk().as_bytes(), &limits);
        assert_eq!(again, Ok(Ok(key)), "what is written is read");
    }
    let anyone = Anyone::new(1);
    let _ = verify_external_account(data, "https://a/", &anyone.0, |_| None, &limits);
}

fn body(data: &[u8]) {
    let limits = Limits::DEFAULT;
    let request = Jws::decode(data, Purpose::Request, &limits);
    let inner = Jws::decode(data, Purpose::KeyChange, &limits);
    assert!(request.is_err() || inner.is_err(), "nothing is both");
    for jws in [&request, &inner].into_iter().flatten() {
        let whole: Value = serde_json::from_slice(data).expect("what is read is JSON");
        let protected = base64url::decode(whole["protected"].as_str().expect("a string")).expect("base64url");
        let header: Value = serde_json::from_slice(&protected).expect("what is read is JSON");
        assert!(whole.get("header").is_none() && whole.get("signatures").is_none());
        assert!(header.get("b64").is_none() && header.get("crit").is_none());
        assert_eq!(header["alg"], jws.header().algorithm().name());
        assert_eq!(header["url"], jws.header().url());
        assert_eq!(header.get("nonce").and_then(Value::as_str), jws.header().nonce());
        match jws.header().key() {
            KeyRef::Kid(kid) => assert!(header["kid"] == kid && header.get("jwk").is_none()),
            KeyRef::Jwk(_) => assert!(header.get("kid").is_none() && header["jwk"].is_object()),
            _ => {}
        }
        if let Ok(payload) = jws.verify(&Anyone::new(1), &Anyone::new(1).0) {
            assert_eq!(base64url::encode(&payload), whole["payload"]);
        }
    }
    let small = Limits::DEFAULT.with_body(data.len().saturating_sub(1));
    assert!(data.is_empty() || Jws::decode(data, Purpose::Request, &small).is_err());
}
