//! The request and the certificate of an order, small: most of both is the same in all orders, and stands once.

use std::borrow::Cow;
use std::sync::Arc;

use lz4_flex::block::{compress_into_with_dict, decompress_with_dict, get_maximum_output_size};

/// A request and the certificate that it led to, if there is one yet.
#[derive(Debug)]
pub(super) struct Papers {
    octets: Box<[u8]>,
    /// What they were packed by; none if they are as they are.
    model: Option<Arc<Box<[u8]>>>,
    /// Octets of the request, and of both.
    lengths: (u32, u32),
}

/// Messages and certificates have limits that are far below.
fn length(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).expect("a message is shorter than 4 GiB")
}

impl Papers {
    /// A request alone.
    pub(super) fn new(request: &[u8]) -> Self {
        Self { octets: request.into(), model: None, lengths: (length(request), length(request)) }
    }

    fn whole(&self) -> Cow<'_, [u8]> {
        match &self.model {
            None => Cow::Borrowed(&self.octets),
            Some(model) => {
                let length = usize::try_from(self.lengths.1).unwrap_or(0);
                let whole = decompress_with_dict(&self.octets, length, model);
                Cow::Owned(whole.expect("what is packed can be unpacked"))
            }
        }
    }

    /// The request, DER.
    pub(super) fn request(&self) -> Vec<u8> {
        let mut whole = self.whole().into_owned();
        whole.truncate(usize::try_from(self.lengths.0).unwrap_or(0));
        whole
    }

    /// The certificate, DER.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        let at = usize::try_from(self.lengths.0).unwrap_or(0);
        self.has_certificate().then(|| self.whole().into_owned().split_off(at))
    }

    /// Whether there is a certificate.
    pub(super) fn has_certificate(&self) -> bool {
        self.lengths.0 < self.lengths.1
    }
}

/// Packs requests and certificates: what they have in common with a model is not repeated.
#[derive(Debug, Default)]
pub(super) struct Press {
    model: Option<Arc<Box<[u8]>>>,
    /// Where they are packed. What is kept is copied from there, so that it fits where an older one has made room.
    room: Vec<u8>,
}

impl Press {
    /// A request with its certificate. One that has little in common with the model is the next model: the CA has a new
    /// issuer, or others ask now.
    pub(super) fn pack(&mut self, request: &[u8], certificate: &[u8]) -> Papers {
        let whole = [request, certificate].concat();
        let lengths = (length(request), length(&whole));
        self.room.resize(get_maximum_output_size(whole.len()), 0);
        if let Some(model) = &self.model {
            let octets = squeeze(&whole, model, &mut self.room).filter(|octets| octets.len() < whole.len() / 4 * 3);
            if let Some(octets) = octets {
                return Papers { octets: octets.into(), model: Some(Arc::clone(model)), lengths };
            }
        }
        let model = Arc::new(whole.clone().into_boxed_slice());
        let packed = squeeze(&whole, &model, &mut self.room).map(Into::into);
        self.model = packed.as_ref().map(|_| Arc::clone(&model));
        match packed {
            Some(octets) => Papers { octets, model: Some(model), lengths },
            None => Papers { octets: whole.into(), model: None, lengths },
        }
    }
}

/// What is left of the octets beside the model; none if that does not lead back to them.
fn squeeze<'a>(whole: &[u8], model: &[u8], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = compress_into_with_dict(whole, room, model).ok()?;
    let octets = room.get(..length)?;
    decompress_with_dict(octets, whole.len(), model).is_ok_and(|read| read == whole).then_some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_packed_is_found_again() {
        let alone = Papers::new(b"a request");
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
