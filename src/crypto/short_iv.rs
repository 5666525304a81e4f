//! AES-256-GCM with IVs of 8 bytes, as CCF nodes seal what they say to each other (node-to-node specification, section 3).
//!
//! GCM takes an IV of 12 bytes as it is and digests any other to its first counter block (NIST SP 800-38D, section 7.1), so a key
//! must be used with one length only. aws-lc does 12 bytes alone: this is RustCrypto in both providers.

use aes_gcm::aead::consts::U8;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, aes::Aes256};
use zeroize::Zeroizing;

use super::error::Error;

/// A key of AES-256-GCM that takes IVs of 8 bytes and makes tags of 16; wiped on drop.
pub struct ShortIvKey(AesGcm<Aes256, U8>);

impl ShortIvKey {
    /// Expands `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(AesGcm::new(key.into()))
    }

    /// Encrypts `plaintext`, which may be empty, appends the ciphertext to `out` and returns the tag over `aad` and it.
    ///
    /// The caller answers for never using the same `iv` twice under this key.
    ///
    /// # Errors
    /// [`Error::EncryptionFailed`] where the plaintext is beyond the limit of GCM; `out` is then as before.
    pub fn seal(&self, iv: &[u8; 8], aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) -> Result<[u8; 16], Error> {
        // Encrypted in a buffer of its own: no plaintext is left in what `out` held before it grew.
        let mut buffer = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .0
            .encrypt_inout_detached(iv.into(), aad, buffer.as_mut_slice().into())
            .map_err(|_| Error::EncryptionFailed)?;
        out.extend_from_slice(&buffer);
        Ok(tag.into())
    }

    /// The plaintext of `ciphertext`, wiped on drop. An empty ciphertext is allowed: it still authenticates `aad`.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`].
    pub fn open(
        &self,
        iv: &[u8; 8],
        aad: &[u8],
        tag: &[u8; 16],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        self.0
            .decrypt_inout_detached(iv.into(), aad, buffer.as_mut_slice().into(), tag.into())
            .map_err(|_| Error::AuthenticationFailed)?;
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST's vectors for AES-256 (The Galois/Counter Mode of Operation, test case 17): an IV of 8 bytes.
    #[test]
    fn the_published_vector_with_an_iv_of_eight_bytes_is_met() {
        let key = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").unwrap();
        let key = ShortIvKey::new(&key.try_into().unwrap());
        let iv = hex::decode("cafebabefacedbad").unwrap().try_into().unwrap();
        let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let plaintext = hex::decode(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        )
        .unwrap();
        let mut out = b"before".to_vec();
        let tag = key.seal(&iv, &aad, &plaintext, &mut out).unwrap();
        assert_eq!(
            hex::encode(&out[6..]),
            "c3762df1ca787d32ae47c13bf19844cbaf1ae14d0b976afac52ff7d79bba9de0feb582d33934a4f0954cc2363bc73f7862ac430e64abe499f47c9b1f"
        );
        assert_eq!(hex::encode(tag), "3a337dbf46a792c45e454913fe2ea8f2");
        assert_eq!(*key.open(&iv, &aad, &tag, &out[6..]).unwrap(), plaintext);
    }

    #[test]
    fn an_altered_iv_header_tag_or_ciphertext_is_refused() {
        let key = ShortIvKey::new(&[7; 32]);
        let mut sealed = Vec::new();
        let tag = key.seal(&[1; 8], b"header", b"secret", &mut sealed).unwrap();
        let refused = |iv: [u8; 8], aad: &[u8], tag: [u8; 16], sealed: &[u8]| {
            key.open(&iv, aad, &tag, sealed).err() == Some(Error::AuthenticationFailed)
        };
        assert!(!refused([1; 8], b"header", tag, &sealed));
        assert!(refused([2; 8], b"header", tag, &sealed));
        assert!(refused([1; 8], b"heeder", tag, &sealed));
        assert!(refused([1; 8], b"header", [0; 16], &sealed));
        assert!(refused([1; 8], b"header", tag, b"sealed"));
        assert!(refused([1; 8], b"header", tag, &sealed[1..]));
    }
}
