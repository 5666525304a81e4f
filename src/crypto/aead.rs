//! AES-256-GCM: ledger entries, snapshots, and the small blobs that wrap secrets.
//!
//! Tags are always 16 bytes and IVs always 12 (format specification, sections 2.3 and 8.1). Plaintext is
//! never handed out before its tag is checked.

use zeroize::{Zeroize, Zeroizing};

use super::{error::Error, provider};

/// An AES-256-GCM key, expanded once.
pub struct AeadKey(provider::AesKey);

impl AeadKey {
    /// Expands `key`.
    pub fn new(key: &[u8; 32]) -> AeadKey {
        AeadKey(provider::AesKey::new(key))
    }

    /// Decrypts `ciphertext` into `out`, which is cleared first and then holds exactly the plaintext.
    ///
    /// An empty ciphertext is allowed: it still authenticates `aad`. Nothing is allocated where `out` has the
    /// capacity.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`]; `out` is then empty, and what was in it is wiped.
    pub fn open(
        &self,
        iv: &[u8; 12],
        aad: &[u8],
        tag: &[u8; 16],
        ciphertext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.clear();
        if self.0.open(iv, aad, tag, ciphertext, out) {
            return Ok(());
        }
        out.zeroize();
        Err(Error::AuthenticationFailed)
    }

    /// Encrypts `plaintext`, appends the ciphertext to `out` and returns the tag.
    ///
    /// The caller answers for never using the same `iv` twice under this key.
    ///
    /// # Errors
    /// [`Error::EncryptionFailed`] where the plaintext is beyond the limit of GCM; `out` is then as before.
    pub fn seal(
        &self,
        iv: &[u8; 12],
        aad: &[u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<[u8; 16], Error> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = out
            .get_mut(start..)
            .and_then(|buffer| self.0.seal(iv, aad, buffer));
        tag.ok_or_else(|| {
            if let Some(buffer) = out.get_mut(start..) {
                buffer.zeroize();
            }
            out.truncate(start);
            Error::EncryptionFailed
        })
    }
}

/// An encrypted blob `tag(16) ‖ iv(12) ‖ ciphertext`, without AAD (format specification, section 8.1).
#[derive(Clone, Copy, Debug)]
pub struct GcmBlob<'a> {
    /// Authentication tag.
    pub tag: &'a [u8; 16],
    /// Initialisation vector.
    pub iv: &'a [u8; 12],
    /// As long as the plaintext.
    pub ciphertext: &'a [u8],
}

impl<'a> GcmBlob<'a> {
    /// Splits `bytes` into its three parts.
    ///
    /// # Errors
    /// [`Error::BlobTooShort`] below 28 bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<GcmBlob<'a>, Error> {
        let too_short = Error::BlobTooShort { found: bytes.len() };
        let Some((tag, rest)) = bytes.split_first_chunk() else {
            return Err(too_short);
        };
        let Some((iv, ciphertext)) = rest.split_first_chunk() else {
            return Err(too_short);
        };
        Ok(GcmBlob {
            tag,
            iv,
            ciphertext,
        })
    }

    /// The plaintext, wiped on drop.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`].
    pub fn open(&self, key: &AeadKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.ciphertext.len()));
        key.open(self.iv, &[], self.tag, self.ciphertext, &mut out)?;
        Ok(out)
    }
}

/// Encrypts `plaintext` into a blob (format specification, section 8.1).
///
/// # Errors
/// [`Error::EncryptionFailed`] where the plaintext is beyond the limit of GCM.
pub fn seal_blob(key: &AeadKey, iv: &[u8; 12], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let mut blob = Vec::with_capacity(28 + plaintext.len());
    blob.extend_from_slice(&[0; 16]);
    blob.extend_from_slice(iv);
    let tag = key.seal(iv, &[], plaintext, &mut blob)?;
    if let Some(room) = blob.first_chunk_mut() {
        *room = tag;
    }
    Ok(blob)
}
