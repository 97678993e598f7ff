//! DANE (RFC 6698, RFC 7671): comparing what was presented with what the domain's owner pinned.

use ring::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::sources::Tlsa;

/// What the pins say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pinned {
    /// No pin that can be used: as if there were none (RFC 6698 section 4.1).
    Nothing,
    /// Not one of them fits.
    Mismatch,
    /// DANE-EE: this very certificate or key, no path needed.
    EndEntity,
    /// DANE-TA: a path must lead to this certificate.
    Anchor(CertificateDer<'static>),
    /// PKIX-TA or PKIX-EE: the path to a trusted root must hold as well; for PKIX-TA this certificate must be on it.
    Constrained(Option<CertificateDer<'static>>),
}

/// The best that the pins say about a presented chain, end entity first. `path` are the certificates of the path to
/// a trusted root, when there is one.
pub(super) fn judge(pins: &[Tlsa], presented: &[CertificateDer<'static>], path: &[CertificateDer<'static>]) -> Pinned {
    let usable = |pin: &&Tlsa| {
        pin.usage <= 3
            && pin.selector <= 1
            && match pin.matching {
                0 => !pin.data.is_empty(),
                1 => pin.data.len() == 32,
                2 => pin.data.len() == 64,
                _ => false,
            }
    };
    let usable: Vec<&Tlsa> = pins.iter().filter(usable).take(32).collect();
    if usable.is_empty() {
        return Pinned::Nothing;
    }
    let Some(leaf) = presented.first() else { return Pinned::Mismatch };
    let mut best = Pinned::Mismatch;
    for pin in usable {
        match pin.usage {
            3 if fits(pin, leaf) => return Pinned::EndEntity,
            2 => {
                // A pin that is the whole certificate need not be presented.
                let whole = (pin.selector == 0 && pin.matching == 0).then(|| CertificateDer::from(pin.data.to_vec()));
                let anchor = presented.iter().skip(1).find(|certificate| fits(pin, certificate)).cloned().or(whole);
                if let Some(anchor) = anchor {
                    best = Pinned::Anchor(anchor);
                }
            }
            1 if fits(pin, leaf) && best == Pinned::Mismatch => best = Pinned::Constrained(None),
            0 if best == Pinned::Mismatch => {
                let on_path = path.iter().find(|certificate| fits(pin, certificate));
                if let Some(anchor) = on_path {
                    best = Pinned::Constrained(Some(anchor.clone()));
                }
            }
            _ => {}
        }
    }
    best
}

fn fits(pin: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match pin.selector {
        0 => certificate.as_ref(),
        _ => match X509Certificate::from_der(certificate) {
            Ok((_, parsed)) => parsed.tbs_certificate.subject_pki.raw,
            Err(_) => return false,
        },
    };
    match pin.matching {
        0 => *pin.data == *selected,
        1 => *pin.data == *digest::digest(&digest::SHA256, selected).as_ref(),
        _ => *pin.data == *digest::digest(&digest::SHA512, selected).as_ref(),
    }
}
