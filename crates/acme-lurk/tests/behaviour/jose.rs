//! Signed requests: recorded ones of real clients, examples of the RFCs, and everything that is to be refused.

use acme_lurk::base64url;
use acme_lurk::crypto::{
    Curve, KeyError, PublicKey, Ring, RingSigner, Scheme, Signer as _, Verifier as _, VerifyError,
};
use acme_lurk::jose::{
    Algorithm, Jws, JwsError, KeyRef, MacAlgorithm, MacKey, Purpose, sign, sign_external_account,
    verify_external_account,
};
use acme_lurk::{DecodeErrorKind, Limits};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{self, signer};

const LIMITS: Limits = Limits::DEFAULT;

fn jwk(value: &Value) -> PublicKey {
    PublicKey::from_jwk(&support::octets(value), &LIMITS).unwrap().unwrap()
}

fn decode(body: &[u8]) -> Result<Jws<'_>, JwsError> {
    Jws::decode(body, Purpose::Request, &LIMITS)
}

#[test]
fn requests_of_real_clients_are_read_and_verified() {
    let mut requests = 0;
    for file in ["jws/lego.json", "jws/certbot21.json"] {
        let transcript = support::json(file);
        let account = jwk(&transcript["account_jwk"]);
        assert_eq!(account.thumbprint_text(), transcript["jwk_thumbprint"].as_str().unwrap());
        for exchange in transcript["exchanges"].as_array().unwrap().iter().filter(|one| one.get("jws").is_some()) {
            let body = support::octets(&exchange["jws"]);
            let jws = decode(&body).unwrap();
            let header = &exchange["protected"];
            assert_eq!(jws.header().algorithm().name(), header["alg"]);
            assert_eq!(jws.header().nonce().unwrap(), header["nonce"]);
            assert_eq!(jws.header().url(), header["url"]);
            match jws.header().key() {
                KeyRef::Kid(kid) => assert_eq!(kid, header["kid"]),
                KeyRef::Jwk(key) => {
                    assert_eq!(*key, jwk(&header["jwk"]));
                    assert_eq!(jws.verify_own(&Ring::new()).unwrap().0, account);
                }
                other => panic!("{other:?}"),
            }
            let payload = jws.verify(&Ring::new(), &account).unwrap();
            assert_eq!(jws.is_post_as_get(), payload.is_empty());
            if !payload.is_empty() {
                assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), exchange["payload"]);
            }
            requests += 1;
        }
    }
    assert!(requests >= 18, "{requests}");
}

#[test]
fn examples_of_the_rfcs_verify() {
    // RFC 7515 appendix A.3.
    let key = jwk(&json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}));
    let message = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature =
        base64url::decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
            .unwrap();
    let es256 = Algorithm::Es256.scheme();
    assert_eq!(Ring::new().verify(es256, &key, message, &signature), Ok(()));
    assert_eq!(Ring::new().verify(es256, &key, b"other", &signature), Err(VerifyError::Signature));
    assert_eq!(Ring::new().check_key(&key), Ok(()));
    // RFC 8037 appendix A.3 and A.4.
    let key = jwk(&json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}));
    assert_eq!(key.thumbprint_text(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        base64url::decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
            .unwrap();
    assert_eq!(Ring::new().verify(Algorithm::EdDsa.scheme(), &key, message, &signature), Ok(()));
    assert_eq!(Ring::new().verify(es256, &key, message, &signature), Err(VerifyError::KeyMismatch));
    // RFC 7638 section 3.1, whose key has members that do not count.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let key = jwk(&json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}));
    assert_eq!(key.thumbprint_text(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let padded = base64url::encode([vec![0, 0], base64url::decode(n).unwrap()].concat());
    let same = jwk(&json!({"kty": "RSA", "n": padded, "e": "AAEAAQ"}));
    assert_eq!(same.thumbprint_text(), key.thumbprint_text(), "leading zeros are stripped");
}

/// The PKCS #8 of RFC 8037 appendix A.1, made by hand.
fn ed25519() -> RingSigner {
    let seed = base64url::decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    RingSigner::from_pkcs8(&[&head[..], &seed].concat()).unwrap()
}

#[test]
fn what_is_signed_here_is_read_here() {
    let url = "https://ca.example/acme/new-order?a=\"%2f\"";
    for (signer, algorithm) in [(signer(), Algorithm::Es256), (ed25519(), Algorithm::EdDsa)] {
        let key = signer.public_key().clone();
        for (named, payload) in [(KeyRef::Jwk(&key), &b"{}"[..]), (KeyRef::Kid("https://ca.example/acct/1"), b"")] {
            let body = sign(&signer, named, Some("bm9uY2U"), url, payload).unwrap();
            let jws = decode(&body).unwrap();
            assert_eq!((jws.header().algorithm(), jws.header().key()), (algorithm, named));
            assert_eq!((jws.header().url(), jws.header().nonce()), (url, Some("bm9uY2U")));
            assert_eq!(jws.is_post_as_get(), payload.is_empty());
            assert_eq!(jws.verify(&Ring::new(), &key).unwrap(), payload);
            assert!(!format!("{jws:?}").contains("bm9uY2U"), "nonces stay out of logs");
            // Another key, another payload, another header: none of it verifies.
            let other = support::signer().public_key().clone();
            assert!(matches!(jws.verify(&Ring::new(), &other), Err(JwsError::Signature(_))));
            let text = String::from_utf8(body).unwrap();
            let altered = text.replace("\"payload\":\"", "\"payload\":\"AAAA");
            assert_ne!(altered, text);
            assert_eq!(
                decode(altered.as_bytes()).unwrap().verify(&Ring::new(), &key),
                Err(JwsError::Signature(VerifyError::Signature))
            );
        }
    }
}

/// A body with this protected header, text as it is, and a signature that is none.
fn with_header(header: &str) -> Vec<u8> {
    support::octets(&json!({"protected": base64url::encode(header), "payload": "", "signature": "AA"}))
}

#[test]
fn headers_of_every_length_are_read_whole() {
    for len in (0..3).chain(400..460).chain([1500]) {
        let url = format!("https://a/{}", "x".repeat(len));
        let header = format!(r#"{{"alg":"ES256","kid":"https://a/1","nonce":"AAAA","url":"{url}"}}"#);
        assert_eq!(decode(&with_header(&header)).unwrap().header().url(), url, "a header of {} octets", header.len());
    }
}

#[test]
fn headers_that_acme_forbids_are_refused() {
    let jwk = signer().public_key().to_jwk();
    let good = r#"{"alg":"ES256","kid":"https://a/1","nonce":"AAAA","url":"https://a/2"}"#;
    assert!(decode(&with_header(good)).is_ok());
    let place = |header: &str| match decode(&with_header(header)) {
        Err(JwsError::Malformed(error)) => error.path().to_owned(),
        other => panic!("{header}: {other:?}"),
    };
    for (from, to, wrong) in [
        (r#""nonce":"AAAA","#, "", "protected.nonce"),
        ("AAAA", "", "protected.nonce"),
        ("AAAA", "AA+A", "protected.nonce"),
        ("AAAA", "AAA=", "protected.nonce"),
        (r#""kid":"https://a/1","#, "", "protected.jwk or kid"),
        (r#""kid":"https://a/1""#, r#""kid":null"#, "protected"),
        (r#""kid":"https://a/1""#, r#""kid":7"#, "protected"),
        (r#""kid":"https://a/1""#, r#""kid":"""#, "protected.kid"),
        (r#","url":"https://a/2""#, "", "protected.url"),
        ("https://a/2", "", "protected.url"),
        (r#""alg":"ES256","#, "", "protected.alg"),
        ("{", r#"{"b64":false,"#, "protected.b64"),
        ("{", r#"{"b64":true,"#, "protected.b64"),
        ("{", r#"{"crit":["exp"],"#, "protected.crit"),
        ("{", r#"{"crit":null,"#, "protected.crit"),
        // Twice the same name: known, unknown, and spelt with escapes.
        ("{", r#"{"alg":"ES256","#, "protected"),
        ("{", r#"{"\u0061lg":"none","#, "protected"),
        ("{", r#"{"url":"https://b/","#, "protected"),
        ("{", r#"{"x":1,"x":2,"#, "protected"),
        ("{", r#"{"x":1,"y":0,"\u0078":2,"#, "protected"),
        ("{", r#"{"x":{"y":1,"y":2},"#, "protected"),
        ("{", r#"{"alg":null,"#, "protected"),
        ("{", "[", "protected"),
        ("}", "} ", ""),
        ("}", "}{", "protected"),
    ] {
        let header = good.replacen(from, to, 1);
        assert_ne!(header, good);
        if wrong.is_empty() {
            assert!(decode(&with_header(&header)).is_ok(), "white space is JSON's");
        } else {
            assert_eq!(place(&header), wrong, "{header}");
        }
    }
    assert_eq!(place(&good.replace("\"nonce", &format!("\"jwk\":{jwk},\"nonce"))), "protected.kid", "both");
    let long = good.replace("https://a/2", &format!("https://a/{}", "x".repeat(LIMITS.url)));
    assert_eq!(place(&long), "protected.url");
    for unknown in ["none", "HS256", "es256", "RS1", "PS256", ""] {
        let error = decode(&with_header(&good.replace("ES256", unknown))).unwrap_err();
        assert_eq!(error, JwsError::UnsupportedAlgorithm(unknown.into()));
    }
}

#[test]
fn bodies_that_are_no_flattened_jws_are_refused() {
    let body = sign(&signer(), KeyRef::Kid("https://a/1"), Some("AAAA"), "https://a/2", b"{}").unwrap();
    let good: Value = serde_json::from_slice(&body).unwrap();
    assert!(decode(&body).is_ok());
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        support::octets(&body)
    };
    let mut bad = vec![
        with("header", json!({"nonce": "AAAA"})),
        with("header", Value::Null),
        with("signatures", json!([])),
        with("protected", json!("e30=")),
        with("protected", json!("")),
        with("signature", json!("A")),
        with("signature", json!(["AA"])),
        with("payload", Value::Null),
        with("payload", json!({})),
        b"[]".to_vec(),
        b"".to_vec(),
        [&body[..], b"x"].concat(),
        body[..body.len() - 1].to_vec(),
        // The compact form.
        b"e30.e30.AA".to_vec(),
        [&br#"{"payload":"","#[..], &body[1..]].concat(),
        [&br#"{"x":1,"x":1,"#[..], &body[1..]].concat(),
    ];
    for name in ["protected", "payload", "signature"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        bad.push(support::octets(&body));
    }
    for body in bad {
        let text = String::from_utf8_lossy(&body);
        assert!(matches!(decode(&body), Err(JwsError::Malformed(_))), "{text}");
    }
    assert!(decode(&with("x", json!(1))).is_ok(), "other members are ignored, as RFC 7515 wants");
    // A payload that is not base64url fails even if it is signed.
    let payload = with("payload", json!("e30=x"));
    assert!(decode(&payload).unwrap().verify(&Ring::new(), signer().public_key()).is_err());
    // Limits come before everything else.
    let limits = LIMITS.with_body(body.len() - 1);
    let Err(JwsError::Malformed(error)) = Jws::decode(&body, Purpose::Request, &limits) else { panic!() };
    assert!(matches!(error.kind(), DecodeErrorKind::Limit(_)), "{error}");
    let deep = with("x", (0..20).fold(json!(1), |inner, _| json!([inner])));
    assert!(decode(&deep).is_err());
}

#[test]
fn keys_that_are_none_are_refused() {
    let read = |jwk: Value| PublicKey::from_jwk(&support::octets(&jwk), &LIMITS);
    let key = signer().public_key().clone();
    let good: Value = serde_json::from_str(&key.to_jwk()).unwrap();
    assert_eq!(read(good.clone()), Ok(Ok(key)));
    let with = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        read(jwk).unwrap().unwrap_err()
    };
    for private in ["d", "p", "q", "k"] {
        assert_eq!(with(private, json!("AA")), KeyError::Private);
    }
    assert_eq!(with("x", json!("AA")), KeyError::Point);
    assert_eq!(with("x", json!("=")), KeyError::Point);
    assert_eq!(with("crv", json!("P-521")), KeyError::Unknown("EC P-521".into()));
    assert_eq!(with("crv", json!("secp256k1")), KeyError::Unknown("EC secp256k1".into()));
    assert_eq!(with("kty", json!("oct")), KeyError::Unknown("oct P-256".into()));
    let rsa = |bits: usize| base64url::encode([vec![0xc1], vec![0x11; bits / 8 - 1]].concat());
    let small = read(json!({"kty": "RSA", "n": rsa(512), "e": "AQAB"})).unwrap();
    assert_eq!(small, Err(KeyError::RsaBits { bits: 512, max: 8192 }));
    assert!(read(json!({"kty": "RSA", "n": rsa(16_384), "e": "AQAB"})).unwrap().is_err());
    assert!(read(json!({"kty": "RSA", "n": rsa(2048)})).unwrap().is_err());
    assert!(read(json!({"crv": "P-256"})).unwrap().is_err(), "no kty");
    assert!(PublicKey::from_jwk(br#"{"kty":"EC","kty":"EC"}"#, &LIMITS).is_err(), "twice");
    // A point that is not on the curve has the right form; the verifier finds it.
    for (curve, len) in [(Curve::P256, 32), (Curve::P384, 48)] {
        let off = PublicKey::ec_coordinates(curve, &vec![1; len], &vec![2; len]).unwrap();
        assert_eq!(Ring::new().check_key(&off), Err(KeyError::Point));
    }
    let off = PublicKey::ec_coordinates(Curve::P256, &[1; 32], &[2; 32]).unwrap();
    let body = sign(&signer(), KeyRef::Jwk(&off), Some("AAAA"), "https://a/2", b"{}").unwrap();
    assert_eq!(decode(&body).unwrap().verify_own(&Ring::new()).unwrap_err(), JwsError::Key(KeyError::Point));
    let by_account = sign(&signer(), KeyRef::Kid("https://a/1"), Some("AAAA"), "https://a/2", b"{}").unwrap();
    assert!(matches!(decode(&by_account).unwrap().verify_own(&Ring::new()), Err(JwsError::Malformed(_))));
}

#[test]
fn the_inner_jws_of_a_key_change_has_a_key_and_no_nonce() {
    let signer = signer();
    let key = signer.public_key();
    let inner = |body: &[u8]| Jws::decode(body, Purpose::KeyChange, &LIMITS).map(|jws| jws.verify_own(&Ring::new()));
    let body = sign(&signer, KeyRef::Jwk(key), None, "https://a/key-change", b"{}").unwrap();
    assert_eq!(inner(&body), Ok(Ok((key.clone(), b"{}".to_vec()))));
    assert!(decode(&body).is_err(), "a request without nonce");
    let with_nonce = sign(&signer, KeyRef::Jwk(key), Some("AAAA"), "https://a/key-change", b"{}").unwrap();
    assert!(matches!(inner(&with_nonce), Err(JwsError::Malformed(error)) if error.path() == "protected.nonce"));
    let with_kid = sign(&signer, KeyRef::Kid("https://a/1"), None, "https://a/key-change", b"{}").unwrap();
    assert!(matches!(inner(&with_kid), Err(JwsError::Malformed(error)) if error.path() == "protected.kid"));
}

#[test]
fn external_accounts_are_bound_to_one_key_and_one_url() {
    let key = signer().public_key().clone();
    let url = "https://a/new-account";
    for algorithm in MacAlgorithm::ALL {
        let secret = MacKey::new(algorithm, b"a secret of the front desk");
        let binding = sign_external_account(&secret, "kid \"1\"", url, &key);
        let find = |kid: &str| (kid == "kid \"1\"").then(|| secret.clone());
        assert_eq!(verify_external_account(&binding, url, &key, find, &LIMITS), Ok("kid \"1\"".into()));
        let wrong = JwsError::Signature(VerifyError::Signature);
        let other = |_: &str| Some(MacKey::new(algorithm, b"another"));
        assert_eq!(verify_external_account(&binding, url, &key, other, &LIMITS), Err(wrong.clone()));
        assert_eq!(verify_external_account(&binding, url, &key, |_| None, &LIMITS), Err(wrong.clone()));
        let weaker = MacAlgorithm::ALL.into_iter().find(|other| *other != algorithm).unwrap();
        let weak = |_: &str| Some(MacKey::new(weaker, b"a secret of the front desk"));
        assert_eq!(verify_external_account(&binding, url, &key, weak, &LIMITS), Err(wrong));
        let elsewhere = verify_external_account(&binding, "https://b/", &key, find, &LIMITS);
        assert!(matches!(elsewhere, Err(JwsError::Malformed(error)) if error.path() == "protected.url"));
        let stranger = signer().public_key().clone();
        let stolen = verify_external_account(&binding, url, &stranger, find, &LIMITS);
        assert!(matches!(stolen, Err(JwsError::Malformed(error)) if error.path() == "payload"));
        assert!(!format!("{secret:?}").contains("front"));
    }
    // Signed instead of MACed, and the other way round.
    let signed = sign(&signer(), KeyRef::Kid("1"), None, url, key.to_jwk().as_bytes()).unwrap();
    let refused = verify_external_account(&signed, url, &key, |_| None, &LIMITS);
    assert_eq!(refused, Err(JwsError::UnsupportedAlgorithm("ES256".into())));
    let secret = MacKey::new(MacAlgorithm::Hs256, b"x");
    let maced = sign_external_account(&secret, "1", url, &key);
    assert_eq!(decode(&maced).unwrap_err(), JwsError::UnsupportedAlgorithm("HS256".into()));
}

#[test]
fn names_of_algorithms_are_exact() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        assert_eq!(Algorithm::of_scheme(algorithm.scheme()), Some(algorithm));
        assert_eq!(Algorithm::from_name(&algorithm.name().to_ascii_lowercase()), None);
        assert!(Ring::new().supports(algorithm.scheme()));
    }
    assert_eq!(Algorithm::of_scheme(Scheme::EcdsaDer(Curve::P256)), None);
    assert!(!Ring::new().supports(Scheme::EcdsaDer(Curve::P521)));
    assert!(RingSigner::from_pkcs8(b"no key").is_err());
}

/// So few values that the parser reads all, and enough for every request.
const BY_THE_PARSER: Limits = Limits::DEFAULT.with_values(8);

proptest! {
    /// What is read without the parser is what the parser would have read.
    #[test]
    fn the_short_way_and_the_parser_agree(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..3, "[\"\\\\{},: a=é\u{7f}\n]"), 0..4),
        inside in any::<bool>(),
        spaced in any::<bool>(),
    ) {
        let edited = |mut text: String| {
            for (at, what, put) in &edits {
                let mut at = at.index(text.len().max(1));
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                match what {
                    0 => text.insert_str(at, put),
                    1 => drop((at < text.len()).then(|| text.remove(at))),
                    _ => text.truncate(at),
                }
            }
            text
        };
        let mut header = r#"{"alg":"ES256","kid":"https://a/1","nonce":"AAAA","url":"https://a/2"}"#.to_owned();
        if spaced {
            header = header.replace(':', " : ").replace(',', "\r\n,\t");
        }
        let body = if inside {
            with_header(&edited(header))
        } else {
            edited(String::from_utf8(with_header(&header)).unwrap()).into_bytes()
        };
        prop_assert_eq!(decode(&body), Jws::decode(&body, Purpose::Request, &BY_THE_PARSER));
    }
}
