//! Writing CBOR: definite lengths, shortest forms; the keys are put in order by whoever calls.

use core::net::IpAddr;

use super::address;
use super::list::List;
use super::prefix::Prefix;
use super::reader::Extra;

/// Major types (RFC 8949 section 3.1).
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Keys written so far in the map that is being written.
    keys: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, keys: 0 }
    }

    /// The head of an item: its type and its number, in the shortest form.
    #[inline(always)]
    fn head(&mut self, major: u8, number: u64) {
        let major = major << 5;
        match number {
            0..=23 => self.out.push(major | number as u8),
            24..=0xff => self.out.extend_from_slice(&[major | 24, number as u8]),
            0x100..=0xffff => {
                let [a, b] = (number as u16).to_be_bytes();
                self.out.extend_from_slice(&[major | 25, a, b]);
            }
            0x1_0000..=0xffff_ffff => {
                self.out.push(major | 26);
                self.out.extend_from_slice(&(number as u32).to_be_bytes());
            }
            _ => {
                self.out.push(major | 27);
                self.out.extend_from_slice(&number.to_be_bytes());
            }
        }
    }

    /// A map: `members` writes keys and values, and the keys are counted.
    #[inline]
    pub(super) fn map(&mut self, members: impl FnOnce(&mut Self)) {
        let outer = core::mem::take(&mut self.keys);
        let start = self.out.len();
        self.out.push(MAP << 5);
        members(self);
        let count = core::mem::replace(&mut self.keys, outer);
        match self.out.get_mut(start) {
            Some(head) if count <= 23 => *head |= count as u8,
            _ => self.longer_head(start, MAP, count as u64),
        }
    }

    /// A map with this key alone, whose value is to be written next.
    #[inline(always)]
    pub(super) fn map_of_one(&mut self, key: u32) {
        self.pair(MAP, 1, UNSIGNED, u64::from(key));
    }

    /// Puts another head where one of a single octet stands.
    #[cold]
    fn longer_head(&mut self, start: usize, major: u8, number: u64) {
        let content = self.out.split_off(start);
        self.head(major, number);
        self.out.extend_from_slice(content.get(1..).unwrap_or_default());
    }

    /// Two heads in a row. Most are short, and then written at once.
    #[inline(always)]
    fn pair(&mut self, major: u8, number: u64, second: u8, value: u64) {
        match (number, value) {
            (0..=23, 0..=23) => {
                self.out.extend_from_slice(&[major << 5 | number as u8, second << 5 | value as u8]);
            }
            (0..=23, 0x100..=0xffff) => {
                let [a, b] = (value as u16).to_be_bytes();
                self.out.extend_from_slice(&[major << 5 | number as u8, second << 5 | 25, a, b]);
            }
            (0x100..=0xffff, 0..=23) => {
                let [a, b] = (number as u16).to_be_bytes();
                self.out.extend_from_slice(&[major << 5 | 25, a, b, second << 5 | value as u8]);
            }
            _ => {
                self.head(major, number);
                self.head(second, value);
            }
        }
    }

    /// The key of the next member of a map.
    #[inline(always)]
    pub(super) fn key(&mut self, key: u32) {
        self.keys = self.keys.wrapping_add(1);
        self.head(UNSIGNED, u64::from(key));
    }

    /// A member of a map: a number.
    #[inline(always)]
    pub(super) fn uint(&mut self, key: u32, number: u64) {
        self.keys = self.keys.wrapping_add(1);
        self.pair(UNSIGNED, u64::from(key), UNSIGNED, number);
    }

    /// A member of a map: an array whose elements are to be written next.
    #[inline(always)]
    pub(super) fn array(&mut self, key: u32, len: usize) {
        self.keys = self.keys.wrapping_add(1);
        self.pair(UNSIGNED, u64::from(key), ARRAY, len as u64);
    }

    /// An element of an array: a number.
    pub(super) fn element(&mut self, number: u64) {
        self.head(UNSIGNED, number);
    }

    pub(super) fn minus_one(&mut self) {
        self.head(NEGATIVE, 0);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.out.push(0xf4 | u8::from(value));
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A decimal fraction with two digits (RFC 8949 section 3.4.4).
    pub(super) fn hundredths(&mut self, value: u64) {
        self.head(TAG, 4);
        self.head(ARRAY, 2);
        self.head(NEGATIVE, 1);
        self.head(UNSIGNED, value);
    }

    #[inline]
    pub(super) fn prefixes(&mut self, key: u32, prefixes: &List<Prefix>) {
        self.array(key, prefixes.len());
        for prefix in prefixes {
            self.address(prefix.as_address(), Some(prefix.len()));
        }
    }

    pub(super) fn addresses(&mut self, key: u32, addresses: &List<IpAddr>) {
        self.array(key, addresses.len());
        for address in addresses {
            self.address(address, None);
        }
    }

    /// The text of an address or a prefix; its head is put in front when its length is known. Most fit one octet.
    #[inline]
    fn address(&mut self, address: &IpAddr, prefix: Option<u8>) {
        let start = self.out.len();
        let len = address::write::<1>(address, prefix, self.out);
        if let Some(head) = self.out.get_mut(start) {
            // Addresses have 49 octets at most.
            *head = TEXT << 5 | len.min(24) as u8;
        }
        if len > 23 {
            self.out.insert(start.saturating_add(1), len.min(255) as u8);
        }
    }

    pub(super) fn texts(&mut self, key: u32, texts: &List<String>) {
        self.array(key, texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    /// The extras with keys from `from` to before `to`, ascending.
    #[inline]
    pub(super) fn extras(&mut self, extras: &[Extra], from: u32, to: u32) {
        if !extras.is_empty() {
            self.sorted_extras(extras, from, to);
        }
    }

    #[cold]
    fn sorted_extras(&mut self, extras: &[Extra], from: u32, to: u32) {
        let mut chosen: Vec<&Extra> = extras.iter().filter(|extra| (from..to).contains(&extra.key)).collect();
        chosen.sort_by_key(|extra| extra.key);
        for extra in chosen {
            self.key(extra.key);
            self.out.extend_from_slice(&extra.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_the_shortest_as_minicbor_writes_them() {
        for number in [0, 1, 23, 24, 255, 256, 65535, 65536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut out = Vec::new();
            Writer::new(&mut out).element(number);
            assert_eq!(out, minicbor::to_vec(number).unwrap());
            for key in [1, 23, 24, 255, 256, 65535, 65536] {
                let mut out = Vec::new();
                Writer::new(&mut out).map(|writer| writer.uint(key, number));
                assert_eq!(out, minicbor::to_vec(std::collections::BTreeMap::from([(key, number)])).unwrap());
            }
        }
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.bool(true);
        writer.bool(false);
        writer.minus_one();
        writer.hundredths(300);
        assert_eq!(out, [0xf5, 0xf4, 0x20, 0xc4, 0x82, 0x21, 0x19, 0x01, 0x2c]);
    }

    #[test]
    fn maps_of_any_size_have_the_right_head() {
        for count in [0u32, 1, 23, 24, 255, 256, 70_000] {
            let mut out = Vec::new();
            Writer::new(&mut out).map(|writer| {
                writer.key(7);
                // What is inside does not count outside.
                writer.map(|writer| {
                    for key in 0..count {
                        writer.key(key);
                        writer.bool(true);
                    }
                });
            });
            let mut decoder = minicbor::Decoder::new(&out);
            assert_eq!((decoder.map().unwrap(), decoder.u32().unwrap()), (Some(1), 7));
            assert_eq!(decoder.map().unwrap(), Some(u64::from(count)));
            for key in 0..count {
                assert_eq!((decoder.u32().unwrap(), decoder.bool().unwrap()), (key, true));
            }
            assert_eq!(decoder.position(), out.len());
        }
    }
}
