//! Writing CBOR: definite lengths, shortest forms; the keys are put in order by whoever calls.

use core::net::IpAddr;

use minicbor::data::Tag;
use minicbor::encode::Encoder;

use super::list::List;
use super::prefix::{Prefix, encode_address};
use super::reader::Extra;

#[derive(Debug)]
pub(super) struct Writer<'a> {
    encoder: Encoder<&'a mut Vec<u8>>,
}

macro_rules! infallible {
    ($result:expr) => {
        // Writing to a vector cannot fail.
        let _ = $result;
    };
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { encoder: Encoder::new(out) }
    }

    #[inline]
    pub(super) fn map(&mut self, len: usize) {
        infallible!(self.encoder.map(len as u64));
    }

    #[inline]
    pub(super) fn array(&mut self, len: usize) {
        infallible!(self.encoder.array(len as u64));
    }

    #[inline]
    pub(super) fn key(&mut self, key: u32) {
        infallible!(self.encoder.u32(key));
    }

    #[inline]
    pub(super) fn uint(&mut self, number: u64) {
        infallible!(self.encoder.u64(number));
    }

    pub(super) fn minus_one(&mut self) {
        infallible!(self.encoder.i8(-1));
    }

    pub(super) fn bool(&mut self, value: bool) {
        infallible!(self.encoder.bool(value));
    }

    pub(super) fn text(&mut self, text: &str) {
        infallible!(self.encoder.str(text));
    }

    pub(super) fn hundredths(&mut self, value: u64) {
        infallible!(
            self.encoder.tag(Tag::new(4)).and_then(|e| e.array(2)).and_then(|e| e.i8(-2)).and_then(|e| e.u64(value))
        );
    }

    /// Writes a short text into its place, and its length in front of it.
    fn short_text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut **self.encoder.writer_mut();
        let start = out.len();
        out.push(0);
        write(out);
        let len = out.len().saturating_sub(start).saturating_sub(1);
        if let Some(place) = out.get_mut(start) {
            *place = 0x60 | len.min(23) as u8;
        }
        if len > 23 {
            out.insert(start.saturating_add(1), len.min(255) as u8);
            if let Some(place) = out.get_mut(start) {
                *place = 0x78;
            }
        }
    }

    pub(super) fn prefixes(&mut self, prefixes: &List<Prefix>) {
        self.array(prefixes.len());
        for prefix in prefixes {
            self.short_text(|out| prefix.encode(out));
        }
    }

    pub(super) fn addresses(&mut self, addresses: &List<IpAddr>) {
        self.array(addresses.len());
        for &address in addresses {
            self.short_text(|out| encode_address(address, out));
        }
    }

    pub(super) fn texts(&mut self, texts: &List<String>) {
        self.array(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    /// The extras with keys from `from` to before `to`, ascending.
    pub(super) fn extras(&mut self, extras: &[Extra], from: u32, to: u32) {
        if extras.is_empty() {
            return;
        }
        let mut chosen: Vec<&Extra> = extras.iter().filter(|extra| (from..to).contains(&extra.key)).collect();
        chosen.sort_by_key(|extra| extra.key);
        for extra in chosen {
            self.key(extra.key);
            self.encoder.writer_mut().extend_from_slice(&extra.value);
        }
    }
}
