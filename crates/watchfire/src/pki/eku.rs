//! Extended key usages: the three of IAP ([draft-ietf-idwg-iap-01 section 6.5]) beside those of TLS.
//!
//! The document promised object identifiers and never gave them. Ours are on the UUID arc 2.25, which needs no
//! registration: 2.25.162314025578861311036066743155577370371, then 1 to 3. The second component has 128 bits, more
//! than certificate libraries take as numbers, so the extension's DER is put together here.

use crate::cli::Profile;

/// Object identifier of the extended key usage extension.
pub(super) const EXTENSION: [u64; 4] = [2, 5, 29, 37];

/// Content of the DER OBJECT IDENTIFIER of IAP_ALERT_GENERATOR: an analyzer.
pub const IAP_ALERT_GENERATOR: [u8; 21] = iap(1);
/// Content of the DER OBJECT IDENTIFIER of IAP_ALERT_CONSUMER: a manager.
pub const IAP_ALERT_CONSUMER: [u8; 21] = iap(2);
/// Content of the DER OBJECT IDENTIFIER of IAP_IDEF_CONFIGURATOR: a manager that configures analyzers.
pub const IAP_IDEF_CONFIGURATOR: [u8; 21] = iap(3);

const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

const fn iap(last: u8) -> [u8; 21] {
    [
        0x69, 0x81, 0xf4, 0x9c, 0xc5, 0xd4, 0xcb, 0xf0, 0xf2, 0xb4, 0xf7, 0x9c, 0xa0, 0xcf, 0xc5, 0xf6, 0xd6, 0xc2,
        0xee, 0x03, last,
    ]
}

/// The value of the extension for a profile.
///
/// The analyzer is always the TLS client, whoever dialled; TLS libraries insist on the usage of that side, so it
/// stands beside the role's own. DOTS agents get both sides: in Call Home the TLS roles are the other way round.
pub(super) fn of(profile: Profile) -> Vec<u8> {
    let usages: &[&[u8]] = match profile {
        Profile::IapAnalyzer => &[CLIENT_AUTH, &IAP_ALERT_GENERATOR],
        Profile::IapManager => &[SERVER_AUTH, &IAP_ALERT_CONSUMER],
        Profile::IapConfigurator => &[SERVER_AUTH, &IAP_ALERT_CONSUMER, &IAP_IDEF_CONFIGURATOR],
        Profile::DotsClient | Profile::DotsServer => &[SERVER_AUTH, CLIENT_AUTH],
        Profile::TlsServer => &[SERVER_AUTH],
        Profile::TlsClient => &[CLIENT_AUTH],
    };
    let mut body = Vec::new();
    for usage in usages {
        element(0x06, usage, &mut body);
    }
    let mut out = Vec::new();
    element(0x30, &body, &mut out);
    out
}

/// One DER element; the longest here, three usages, has 54 octets and thus a length of one octet.
fn element(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    debug_assert!(content.len() < 128);
    out.push(tag);
    out.push(content.len() as u8);
    out.extend_from_slice(content);
}
