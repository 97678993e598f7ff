//! Which algorithms are used. draft-hallambaker-wsconnect-08 sections 3.1 and 4.1.1.

use crate::crypto::{Authentication, Encryption};
use crate::error::{PeerIncompatible, PeerMisbehaved};
use crate::message::Cryptographic;

/// A pair of algorithms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) authentication: Authentication,
    pub(crate) encryption: Encryption,
}

impl Suite {
    /// The first of `ours` that the client accepts. When it names any, it accepts only those that it names; when it
    /// names none, the draft has a mandatory algorithm stand in, which it does not name: then all of ours may.
    pub(crate) fn select(
        ours: (&[Authentication], &[Encryption]),
        theirs: (&[Authentication], &[Encryption]),
    ) -> Result<Self, PeerIncompatible> {
        fn first<T: PartialEq + Clone>(ours: &[T], theirs: &[T]) -> Result<T, PeerIncompatible> {
            let common = ours.iter().find(|ours| theirs.is_empty() || theirs.contains(ours));
            common.cloned().ok_or(PeerIncompatible::NoCommonAlgorithm)
        }
        Ok(Self { authentication: first(ours.0, theirs.0)?, encryption: first(ours.1, theirs.1)? })
    }

    /// Octets of a key for both.
    pub(crate) fn secret_len(&self) -> usize {
        self.encryption.key_len().unwrap_or(0).max(16)
    }
}

/// Whether a key is one that can be used, of algorithms that were offered.
pub(crate) fn check(
    cryptographic: &Cryptographic,
    offered: (&[Authentication], &[Encryption]),
) -> Result<(), PeerMisbehaved> {
    let known = cryptographic.authentication.hash().is_some() && cryptographic.encryption.cipher().is_some();
    let named = offered.0.contains(&cryptographic.authentication) && offered.1.contains(&cryptographic.encryption);
    if !(known && named) {
        return Err(PeerMisbehaved::NotOffered);
    }
    let least = cryptographic.encryption.key_len().unwrap_or(0).max(16);
    match cryptographic.secret.len() {
        len if (least..=64).contains(&len) => Ok(()),
        len => Err(PeerMisbehaved::KeyLength(len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Authentication::{Hs256, Hs256T128, Hs512};
    use Encryption::{A128Cbc, A128Gcm, A256Gcm};

    #[test]
    fn only_what_is_named_is_selected() {
        let ours = (&[Hs512, Hs256][..], &[A256Gcm, A128Cbc][..]);
        let pair = |authentication, encryption| Ok(Suite { authentication, encryption });
        assert_eq!(Suite::select(ours, (&[Hs256, Hs512], &[A128Cbc, A256Gcm])), pair(Hs512, A256Gcm));
        assert_eq!(Suite::select(ours, (&[Hs256], &[A128Cbc])), pair(Hs256, A128Cbc));
        assert_eq!(Suite::select(ours, (&[], &[])), pair(Hs512, A256Gcm));
        assert_eq!(Suite::select(ours, (&[Hs256T128], &[])), Err(PeerIncompatible::NoCommonAlgorithm));
        assert_eq!(Suite::select(ours, (&[], &[A128Gcm])), Err(PeerIncompatible::NoCommonAlgorithm));
        let unknown = Authentication::from_label("X");
        assert_eq!(Suite::select(ours, (&[unknown], &[])), Err(PeerIncompatible::NoCommonAlgorithm));
    }

    #[test]
    fn keys_must_be_offered_and_fit() {
        let offered = (&[Hs256][..], &[A128Cbc, A256Gcm][..]);
        let key = |len: usize, encryption, authentication| {
            check(&Cryptographic::new(vec![1; len], encryption, authentication, [1; 80]), offered)
        };
        assert_eq!(key(16, A128Cbc, Hs256), Ok(()));
        assert_eq!(key(16, A256Gcm, Hs256), Err(PeerMisbehaved::KeyLength(16)));
        assert_eq!(key(32, A256Gcm, Hs256), Ok(()));
        assert_eq!(key(65, A128Cbc, Hs256), Err(PeerMisbehaved::KeyLength(65)));
        assert_eq!(key(0, A128Cbc, Hs256), Err(PeerMisbehaved::KeyLength(0)));
        assert_eq!(key(16, A128Gcm, Hs256), Err(PeerMisbehaved::NotOffered));
        assert_eq!(key(16, A128Cbc, Hs512), Err(PeerMisbehaved::NotOffered));
        let odd = (&[Authentication::from_label("X")][..], &[A128Cbc][..]);
        let cryptographic = Cryptographic::new(vec![1; 16], A128Cbc, Authentication::from_label("X"), [1; 80]);
        assert_eq!(check(&cryptographic, odd), Err(PeerMisbehaved::NotOffered));
    }
}
