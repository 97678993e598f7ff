//! The octets that begin a binary lexeme. draft-hallambaker-jsonbcd sections 4 and 5, and the frames of its later
//! revisions' section 7.

/// Last or only segment of a string; the lowest two bits say how wide the length is: 1, 2, 4 or 8 octets.
pub(crate) const STRING_TERM: u8 = 0x80;
/// A segment of a string that others follow.
pub(crate) const STRING_CHUNK: u8 = 0x84;
/// Last or only segment of data.
pub(crate) const DATA_TERM: u8 = 0x88;
/// A segment of data that others follow.
pub(crate) const DATA_CHUNK: u8 = 0x8c;
pub(crate) const BINARY16: u8 = 0x90;
pub(crate) const BINARY32: u8 = 0x91;
pub(crate) const BINARY64: u8 = 0x92;
pub(crate) const BINARY128: u8 = 0x94;
pub(crate) const INTEL80: u8 = 0x95;
pub(crate) const DECIMAL32: u8 = 0x96;
pub(crate) const DECIMAL64: u8 = 0x97;
pub(crate) const DECIMAL128: u8 = 0x98;
/// Non-negative integer of one octet; the next three are of 2, 4 and 8, the one after of 16.
pub(crate) const P_INT8: u8 = 0xa0;
pub(crate) const P_INT16: u8 = 0xa1;
pub(crate) const P_INT128: u8 = 0xa4;
/// `p-bignum16` of the first draft, a 256-bit integer in later ones.
pub(crate) const A5: u8 = 0xa5;
/// Nothing in the first draft, a 512-bit integer in later ones.
pub(crate) const A6: u8 = 0xa6;
/// Nothing in the first draft, `p-bignum16` in later ones.
pub(crate) const A7: u8 = 0xa7;
/// Negative integer whose magnitude has one octet.
pub(crate) const N_INT8: u8 = 0xa8;
pub(crate) const N_INT128: u8 = 0xac;
/// `n-bignum16` of the first draft.
pub(crate) const AD: u8 = 0xad;
/// `n-bignum16` of later ones.
pub(crate) const AF: u8 = 0xaf;
pub(crate) const TRUE: u8 = 0xb0;
pub(crate) const FALSE: u8 = 0xb1;
pub(crate) const NULL: u8 = 0xb2;
/// A member name as the author's later reference code writes it; in no draft.
pub(crate) const TAG_STRING: u8 = 0xb4;
/// Insert what is defined for a code of 1 octet; then 2 and 4.
pub(crate) const REFERENCE: u8 = 0xc0;
/// Define a code silently.
pub(crate) const DEFINE: u8 = 0xc4;
/// Define a code and insert what it is defined as.
pub(crate) const DEFINE_INSERT: u8 = 0xc8;
/// Load a dictionary, named by its digest.
pub(crate) const DICTIONARY: u8 = 0xd0;
/// Frame that is read forward.
pub(crate) const UFRAME: u8 = 0xf0;
/// Frame that is read forward and backward.
pub(crate) const BFRAME: u8 = 0xf4;
