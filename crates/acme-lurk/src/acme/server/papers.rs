//! The request and the certificate of an order, small: most of both is the same in all orders, and stands once.

use std::borrow::Cow;
use std::sync::Arc;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// A request and the certificate that it led to, if there is one yet.
#[derive(Debug)]
pub(super) struct Papers {
    octets: Box<[u8]>,
    /// What they were packed by; none if they are as they are.
    model: Option<Arc<Box<[u8]>>>,
    /// Octets of the request. The rest is the certificate.
    request: usize,
}

impl Papers {
    /// A request alone.
    pub(super) fn new(request: Vec<u8>) -> Self {
        Self { request: request.len(), octets: request.into(), model: None }
    }

    fn whole(&self) -> Cow<'_, [u8]> {
        match &self.model {
            None => Cow::Borrowed(&self.octets),
            Some(model) => {
                let whole = decompress_size_prepended_with_dict(&self.octets, model);
                Cow::Owned(whole.expect("it was looked at when it was packed"))
            }
        }
    }

    /// The request, DER.
    pub(super) fn request(&self) -> Vec<u8> {
        let mut whole = self.whole().into_owned();
        whole.truncate(self.request);
        whole
    }

    /// The certificate, DER.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        self.has_certificate().then(|| self.whole().into_owned().split_off(self.request))
    }

    /// Whether there is a certificate.
    pub(super) fn has_certificate(&self) -> bool {
        self.model.is_some() || self.octets.len() > self.request
    }
}

/// Packs requests and certificates: what they have in common with a model is not repeated.
#[derive(Debug, Default)]
pub(super) struct Press {
    model: Option<Arc<Box<[u8]>>>,
}

impl Press {
    /// A request with its certificate. One that has little in common with the model is the next model: the CA has a new
    /// issuer, or others ask now.
    pub(super) fn pack(&mut self, request: &[u8], certificate: &[u8]) -> Papers {
        let whole: Box<[u8]> = [request, certificate].concat().into();
        let by = |model: &Arc<Box<[u8]>>| {
            let octets = compress_prepend_size_with_dict(&whole, model).into_boxed_slice();
            Papers { octets, model: Some(Arc::clone(model)), request: request.len() }
        };
        let is_short = |papers: &Papers| papers.octets.len() < whole.len() / 4 * 3;
        let packed = self.model.as_ref().map(by).filter(is_short).unwrap_or_else(|| {
            let model = Arc::new(whole.clone());
            let packed = by(&model);
            self.model = Some(model);
            packed
        });
        let model = packed.model.as_deref().map(|model| &**model).unwrap_or_default();
        let is_whole = decompress_size_prepended_with_dict(&packed.octets, model).is_ok_and(|read| read == *whole);
        if is_whole { packed } else { Papers { octets: whole, model: None, request: request.len() } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_packed_is_found_again() {
        let alone = Papers::new(b"a request".to_vec());
        assert_eq!(
            (alone.request(), alone.certificate(), alone.has_certificate()),
            (b"a request".to_vec(), None, false)
        );
        let mut press = Press::default();
        let text = |part: u8| (0..=255).map(|octet: u8| octet.wrapping_mul(7) ^ part).collect::<Vec<u8>>();
        let (first, second, other) = (text(0), [&text(0)[..], b"!"].concat(), text(85));
        let papers = press.pack(&first, &first);
        assert_eq!((papers.request(), papers.certificate()), (first.clone(), Some(first.clone())));
        let papers = press.pack(&first, &second);
        assert!(papers.octets.len() < 64, "{} octets", papers.octets.len());
        assert_eq!((papers.request(), papers.certificate()), (first.clone(), Some(second)));
        // Nothing in common: a model of its own, and what came before is still read by the one before.
        let another = press.pack(&other, &text(170));
        assert_eq!((another.request(), another.certificate()), (other, Some(text(170))));
        assert!(!Arc::ptr_eq(another.model.as_ref().unwrap(), papers.model.as_ref().unwrap()));
        assert_eq!(papers.request(), first);
    }

    proptest! {
        #[test]
        fn anything_is_packed(
            pairs in proptest::collection::vec((proptest::collection::vec(0..4_u8, 0..300), "[ab]{1,300}"), 1..8),
        ) {
            let mut press = Press::default();
            let packed: Vec<Papers> = pairs.iter().map(|(one, two)| press.pack(one, two.as_bytes())).collect();
            for (papers, (one, two)) in packed.iter().zip(&pairs) {
                prop_assert_eq!(&papers.request(), one);
                prop_assert_eq!(papers.certificate(), Some(two.clone().into_bytes()));
            }
        }
    }
}
