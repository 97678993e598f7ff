//! A CA, a client and an issuer in one process and without a network: an account, an order that renews itself, three
//! certificates fetched by somebody without account, a cancellation. `cargo run -p acme-lurk --example laboratory`.

use std::sync::Arc;

use acme_lurk::Limits;
use acme_lurk::acme::server::{Ca, CaConfig, CaEvent, Issuance, Request, Response};
use acme_lurk::acme::{Finalize, Identifier, NewAccount, NewOrder, Order};
use acme_lurk::certificate::{Certificate, decode_chain};
use acme_lurk::crypto::{KeyParts, Ring, RingSigner, Signer};
use acme_lurk::csr::{Csr, CsrPlan};
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::star::{AutoRenewal, Fraction, Look, RollTimer, StarMeta, StarPolicy};
use acme_lurk::time::format_rfc3339;
use watchfire_core::UnixTime;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BASE: &str = "https://ca.example/acme";

fn main() -> Outcome<()> {
    let star = StarPolicy::new(StarMeta::new(10, 86_400, true));
    let config = CaConfig::builder(BASE).with_trusted_identifiers(true).with_star(star, Fraction::HALF).build()?;
    // In earnest the seed comes from the system, and is told nobody.
    let mut ca = Ca::new(Arc::new(config), Arc::new(Ring::new()), [7; 32]);
    let mut now = UnixTime::from_secs(1_700_000_000);
    let issuer = Issuer::new()?;

    // The client: an account, an order for a minute of certificates that live for twenty seconds.
    let (account_key, _pkcs8) = RingSigner::generate_p256()?;
    let mut nonce = header(&ca.handle_request(now, &Request::get(&format!("{BASE}/new-nonce"))), "replay-nonce")?;
    let mut post = |ca: &mut Ca, now, key: KeyRef<'_>, url: &str, payload: &[u8]| -> Outcome<Response> {
        let body = sign(&account_key, key, Some(&nonce), url, payload)?;
        let response = ca.handle_request(now, &Request::post(url, &body));
        nonce = header(&response, "replay-nonce")?;
        if response.status >= 400 {
            return Err(String::from_utf8_lossy(&response.body).into());
        }
        Ok(response)
    };
    let own = KeyRef::Jwk(account_key.public_key());
    let made = post(&mut ca, now, own, &format!("{BASE}/new-account"), &NewAccount::default().encode())?;
    let kid = header(&made, "location")?;
    let end = UnixTime::from_secs(now.as_secs() + 60);
    let names = vec![Identifier::dns("abc.ido.example").ok_or("a name")?];
    let wanted = AutoRenewal::new(end, 20).with_certificate_get(true);
    let order = NewOrder::new(names).with_auto_renewal(wanted);
    let made = post(&mut ca, now, KeyRef::Kid(&kid), &format!("{BASE}/new-order"), &order.encode())?;
    let order_url = header(&made, "location")?;
    let order = Order::decode(&made.body, &Limits::DEFAULT)?;
    let agreed = order.auto_renewal.ok_or("the CA does not speak STAR")?;
    let (server_key, _pkcs8) = RingSigner::generate_p256()?;
    let finalize = Finalize { csr: CsrPlan::for_names(["abc.ido.example"]).build(&server_key)? };
    post(&mut ca, now, KeyRef::Kid(&kid), &order.finalize, &finalize.encode())?;
    issuer.work(&mut ca, now)?;
    let shown = post(&mut ca, now, KeyRef::Kid(&kid), &order_url, b"")?;
    let star = Order::decode(&shown.body, &Limits::DEFAULT)?.star_certificate.ok_or("no certificate")?;

    // Whoever serves HTTPS: without account, looking when the timer says so.
    let mut timer = RollTimer::new(&agreed, [3; 32]);
    let mut installed = UnixTime::from_secs(0);
    for _ in 0..3 {
        let look = loop {
            let chain = decode_chain(&ca.handle_request(now, &Request::get(&star)).body, &Limits::DEFAULT)?;
            let leaf = Certificate::decode(&chain[0], &Limits::DEFAULT)?;
            let is_ours = leaf.is_for_key(server_key.public_key()) && leaf.is_for_names(&["abc.ido.example".into()]);
            if is_ours && leaf.not_after() > installed {
                installed = leaf.not_after();
                println!("{}  installed, good until {}", format_rfc3339(now), format_rfc3339(installed));
                break timer.installed(now, installed);
            }
            now = match timer.unchanged(now, None) {
                Look::At(at) | Look::Alarm(at) => at,
                _ => return Err("no certificate is to come".into()),
            };
            ca.handle_timeout(now);
            issuer.work(&mut ca, now)?;
        };
        if let Look::At(at) = look {
            now = at;
            ca.handle_timeout(now);
            issuer.work(&mut ca, now)?;
        }
    }

    post(&mut ca, now, KeyRef::Kid(&kid), &order_url, br#"{"status":"canceled"}"#)?;
    let refused = ca.handle_request(now, &Request::get(&star));
    println!("{}  canceled: {} {}", format_rfc3339(now), refused.status, String::from_utf8_lossy(&refused.body));
    assert_eq!(refused.status, 403);
    Ok(())
}

fn header(response: &Response, name: &str) -> Outcome<String> {
    Ok(response.header(name).ok_or_else(|| format!("no {name}"))?.to_owned())
}

/// Makes certificates with rcgen; a CA in earnest has another one.
struct Issuer {
    params: rcgen::CertificateParams,
    key: rcgen::KeyPair,
}

struct Subject(Vec<u8>);

impl rcgen::PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl Issuer {
    fn new() -> Outcome<Self> {
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Ok(Self { params, key: rcgen::KeyPair::generate()? })
    }

    /// Makes every certificate that the CA asks for.
    fn work(&self, ca: &mut Ca, now: UnixTime) -> Outcome<()> {
        while let Some(event) = ca.poll_event() {
            if let CaEvent::Issue(issuance) = event {
                let leaf = self.make(&issuance)?;
                ca.issued(now, &issuance.order, issuance.index, &leaf)?;
            }
        }
        Ok(())
    }

    fn make(&self, issuance: &Issuance) -> Outcome<Vec<u8>> {
        let names: Vec<String> = issuance.identifiers.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names)?;
        params.not_before = time::OffsetDateTime::from_unix_timestamp(issuance.not_before.as_secs())?;
        params.not_after = time::OffsetDateTime::from_unix_timestamp(issuance.not_after.as_secs())?;
        params.serial_number = Some((issuance.index + 1).into());
        let csr = Csr::decode(&issuance.csr, &Limits::DEFAULT)?;
        let KeyParts::Ec { point, .. } = csr.key().map_err(Clone::clone)?.parts() else {
            return Err("keys are P-256 here".into());
        };
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        Ok(params.signed_by(&Subject(point.to_vec()), &issuer)?.der().to_vec())
    }
}
