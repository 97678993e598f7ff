//! The default provider: the crates of the RustCrypto project.

use std::fmt;
use std::sync::Arc;

use aes::{Aes128, Aes256};
use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt as _, BlockModeEncrypt as _, InnerIvInit as _,
};
use hkdf::Hkdf;
use hmac::{EagerHash, Hmac, Mac as _};
use sha2::{Sha256, Sha384, Sha512};

use super::provider::{CbcKey, CryptoError, GcmKey, IV_LEN, MacKey, NONCE_LEN, Provider, TAG_LEN};
use super::{HashAlgorithm, Mac};

/// HMAC, AES and HKDF in Rust, without `unsafe` of ours; AES and SHA instructions of the processor are used where it
/// has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RustCrypto;

impl RustCrypto {
    /// The provider, as the machines take it.
    pub fn shared() -> Arc<dyn Provider> {
        Arc::new(Self)
    }
}

impl Provider for RustCrypto {
    fn mac_key(&self, hash: HashAlgorithm, key: &[u8]) -> Arc<dyn MacKey> {
        match hash {
            HashAlgorithm::Sha256 => hmac_key::<Sha256>(key),
            HashAlgorithm::Sha384 => hmac_key::<Sha384>(key),
            HashAlgorithm::Sha512 => hmac_key::<Sha512>(key),
        }
    }

    fn cbc_key(&self, key: &[u8]) -> Result<Arc<dyn CbcKey>, CryptoError> {
        let wrong = |_| CryptoError::KeyLength(key.len());
        Ok(match key.len() {
            32 => Arc::new(Cbc(Aes256::new_from_slice(key).map_err(wrong)?)),
            _ => Arc::new(Cbc(Aes128::new_from_slice(key).map_err(wrong)?)),
        })
    }

    fn gcm_key(&self, key: &[u8]) -> Result<Arc<dyn GcmKey>, CryptoError> {
        let wrong = |_| CryptoError::KeyLength(key.len());
        Ok(match key.len() {
            32 => Arc::new(Gcm(Aes256Gcm::new_from_slice(key).map_err(wrong)?)),
            _ => Arc::new(Gcm(Aes128Gcm::new_from_slice(key).map_err(wrong)?)),
        })
    }

    fn hkdf_sha256(&self, secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        let len = out.len();
        Hkdf::<Sha256>::new(None, secret).expand(info, out).map_err(|_| CryptoError::DerivedLength(len))
    }
}

/// An HMAC after its key: cloned for each message, which saves two blocks of hashing.
struct Hs<H: EagerHash>(Hmac<H>);

fn hmac_key<H>(key: &[u8]) -> Arc<dyn MacKey>
where
    H: EagerHash + 'static,
    Hmac<H>: Send + Sync + Clone + hmac::KeyInit,
{
    Arc::new(Hs::<H>(Hmac::new_from_slice(key).expect("HMAC takes keys of any length")))
}

impl<H> MacKey for Hs<H>
where
    H: EagerHash,
    Hmac<H>: Send + Sync + Clone,
{
    fn sign(&self, parts: &[&[u8]]) -> Mac {
        let mut hmac = self.0.clone();
        for part in parts {
            hmac.update(part);
        }
        Mac::new(&hmac.finalize().into_bytes())
    }
}

/// A key schedule of AES.
struct Cbc<C>(C);

impl<C> CbcKey for Cbc<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + Send + Sync,
    for<'a> &'a C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>
        + BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>,
{
    fn encrypt(&self, iv: &[u8; IV_LEN], buffer: &mut Vec<u8>, from: usize) {
        let from = from.min(buffer.len());
        let len = buffer.len() - from;
        buffer.resize(buffer.len() + IV_LEN - len % IV_LEN, 0);
        let (_, plain) = buffer.split_at_mut(from);
        cbc::Encryptor::inner_iv_init(&self.0, &(*iv).into())
            .encrypt_padded::<Pkcs7>(plain, len)
            .expect("the buffer has room for the padding");
    }

    fn decrypt(&self, iv: &[u8; IV_LEN], buffer: &mut Vec<u8>) -> Result<(), CryptoError> {
        let plain = cbc::Decryptor::inner_iv_init(&self.0, &(*iv).into())
            .decrypt_padded::<Pkcs7>(buffer)
            .map_err(|_| CryptoError::Decrypt)?;
        let len = plain.len();
        buffer.truncate(len);
        Ok(())
    }
}

/// A key schedule of AES and GHASH.
struct Gcm<C>(C);

impl<C> GcmKey for Gcm<C>
where
    C: AeadInOut<NonceSize = aes::cipher::consts::U12, TagSize = aes::cipher::consts::U16> + Send + Sync,
{
    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        self.0
            .encrypt_inout_detached(&(*nonce).into(), aad, buffer.into())
            .expect("messages are far shorter than the 64 GiB that GCM takes")
            .into()
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.0
            .decrypt_inout_detached(&(*nonce).into(), aad, buffer.into(), &(*tag).into())
            .map_err(|_| CryptoError::Decrypt)
    }
}

impl<H: EagerHash> fmt::Debug for Hs<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hmac key")
    }
}

impl<C> fmt::Debug for Cbc<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cbc key")
    }
}

impl<C> fmt::Debug for Gcm<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gcm key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let parts: [&[u8]; 3] = [b"what do ya want ", b"", b"for nothing?"];
        for (hash, mac) in [
            (HashAlgorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                HashAlgorithm::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                HashAlgorithm::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
                 caeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            assert_eq!(RustCrypto.hmac(hash, b"Jefe", &parts).as_bytes(), hex(mac), "{hash:?}");
        }
    }

    /// RFC 5869, test case 3: no salt; with its info left empty.
    #[test]
    fn hkdf_is_that_of_rfc_5869() {
        let mut out = [0; 42];
        RustCrypto.hkdf_sha256(&[0x0b; 22], b"", &mut out).unwrap();
        assert_eq!(
            out.to_vec(),
            hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
        );
        let mut long = vec![0; 255 * 32 + 1];
        let len = long.len();
        assert_eq!(RustCrypto.hkdf_sha256(b"x", b"", &mut long), Err(CryptoError::DerivedLength(len)));
    }

    /// NIST SP 800-38A, F.2.1 and F.2.5, first block.
    #[test]
    fn cbc_is_that_of_sp_800_38a() {
        let iv: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let plain = hex("6bc1bee22e409f96e93d7e117393172a");
        for (key, first) in [
            ("2b7e151628aed2a6abf7158809cf4f3c", "7649abac8119b246cee98e9b12e9197d"),
            ("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "f58c4c04d6e5f1ba779eabfb5f7bfbd6"),
        ] {
            let key = RustCrypto.cbc_key(&hex(key)).unwrap();
            let mut buffer = [b"kept".as_slice(), &plain].concat();
            key.encrypt(&iv, &mut buffer, 4);
            assert_eq!(&buffer[..4], b"kept");
            assert_eq!(buffer[4..20], hex(first));
            assert_eq!(buffer.len(), 4 + 32, "a whole block of padding");
            let mut cipher = buffer.split_off(4);
            key.decrypt(&iv, &mut cipher).unwrap();
            assert_eq!(cipher, plain);
            for wrong in [vec![], vec![1; 15], vec![1; 32]] {
                assert_eq!(key.decrypt(&iv, &mut wrong.clone()), Err(CryptoError::Decrypt), "{wrong:?}");
            }
        }
    }

    /// The GCM specification's test case 4: 128-bit key, associated data.
    #[test]
    fn gcm_is_that_of_the_specification() {
        let key = RustCrypto.gcm_key(&hex("feffe9928665731c6d6a8f9467308308")).unwrap();
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let mut buffer = plain.clone();
        let tag = key.seal(&nonce, &aad, &mut buffer);
        assert_eq!(
            buffer,
            hex(
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
            )
        );
        assert_eq!(tag.to_vec(), hex("5bc94fbc3221a5db94fae95ae7121a47"));
        assert_eq!(key.open(&nonce, b"other", &mut buffer, &tag), Err(CryptoError::Decrypt));
        key.open(&nonce, &aad, &mut buffer, &tag).unwrap();
        assert_eq!(buffer, plain);
    }

    #[test]
    fn keys_of_odd_lengths_are_refused() {
        for len in [0, 15, 17, 24, 31, 33] {
            let key = vec![0; len];
            assert_eq!(RustCrypto.cbc_key(&key).map(|_| ()), Err(CryptoError::KeyLength(len)));
            assert_eq!(RustCrypto.gcm_key(&key).map(|_| ()), Err(CryptoError::KeyLength(len)));
        }
    }
}
