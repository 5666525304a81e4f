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
        let opened = self.open_after(iv, aad, tag, ciphertext, out);
        if opened.is_err() {
            out.zeroize();
        }
        opened
    }

    /// Decrypts `ciphertext` to the end of `out`. Where `out` has no room for it, it is moved, and what it leaves is not wiped.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`]; `out` is then as before.
    pub fn open_after(
        &self,
        iv: &[u8; 12],
        aad: &[u8],
        tag: &[u8; 16],
        ciphertext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let start = out.len();
        if self.0.open(iv, aad, tag, ciphertext, out) {
            return Ok(());
        }
        if let Some(buffer) = out.get_mut(start..) {
            buffer.zeroize();
        }
        out.truncate(start);
        Err(Error::AuthenticationFailed)
    }

    /// Encrypts `plaintext`, appends the ciphertext to `out` and returns the tag.
    ///
    /// The caller answers for never using the same `iv` twice under this key.
    ///
    /// # Errors
    /// [`Error::EncryptionFailed`] where the plaintext is beyond the limit of GCM; `out` is then as before.
    pub fn seal(&self, iv: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) -> Result<[u8; 16], Error> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = out.get_mut(start..).and_then(|buffer| self.0.seal(iv, aad, buffer));
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
        Ok(GcmBlob { tag, iv, ciphertext })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::SPEC_LEDGER_SECRET;

    /// The entry of the format specification, section 10.1.
    const ENTRY: &str = "0100bb000000000067b30d330439b435fcd37fd402addd9011000000000000000200000051000000000000000411\
        000000000000000000000000000000000000000000000000000000000000000000000000000000266ee6ffc4bd00\
        3458c67798796e06e07ee60c105c3fddeabdf831dca3572b780000000000000000d0575ea51389082b5384f1a6d6\
        687dd5c47fd010e7f45e60cde4ec13609ff144981837ad3823855b1e8fd3e453b907752957c335e40c659d7b3270\
        fe87db64f87cdb12b232c1";

    fn spec_key() -> AeadKey {
        AeadKey::new(&hex::decode(SPEC_LEDGER_SECRET).unwrap().try_into().unwrap())
    }

    #[test]
    fn the_worked_example_opens() {
        let entry = hex::decode(ENTRY).unwrap();
        let (tag, iv) = (entry[8..24].try_into().unwrap(), entry[24..36].try_into().unwrap());
        let (aad, ciphertext) = (&entry[44..125], &entry[125..]);
        let mut out = b"left over".to_vec();
        spec_key().open(iv, aad, tag, ciphertext, &mut out).unwrap();
        assert_eq!(out.len(), 70);
        assert_eq!(&out[8..15], b"records");
        assert_eq!(&out[57..62], b"hello");
        let mut again = Vec::new();
        assert_eq!(spec_key().seal(iv, aad, &out, &mut again).as_ref(), Ok(tag));
        assert_eq!(again, ciphertext);
    }

    #[test]
    fn a_tag_over_associated_data_alone_is_checked() {
        let (mut out, iv) = (Vec::new(), [7; 12]);
        let tag = spec_key().seal(&iv, b"public", b"", &mut out).unwrap();
        assert!(out.is_empty());
        assert_eq!(spec_key().open(&iv, b"public", &tag, b"", &mut out), Ok(()));
        let altered = spec_key().open(&iv, b"publiC", &tag, b"", &mut out);
        assert_eq!(altered, Err(Error::AuthenticationFailed));
    }

    #[test]
    fn a_failed_open_leaves_nothing_in_the_output() {
        let mut out = Vec::new();
        let mut tag = spec_key().seal(&[1; 12], b"", b"secret text", &mut out).unwrap();
        let ciphertext = std::mem::take(&mut out);
        tag[0] ^= 1;
        let result = spec_key().open(&[1; 12], b"", &tag, &ciphertext, &mut out);
        assert_eq!((result, out.is_empty()), (Err(Error::AuthenticationFailed), true));
    }

    #[test]
    fn opening_reuses_the_capacity_of_the_output() {
        let mut sealed = Vec::new();
        let tag = spec_key().seal(&[1; 12], b"", &[5; 300], &mut sealed).unwrap();
        let mut out = Vec::with_capacity(300);
        let address = out.as_ptr();
        spec_key().open(&[1; 12], b"", &tag, &sealed, &mut out).unwrap();
        assert_eq!((out.as_ptr(), out.len()), (address, 300));
    }

    #[test]
    fn what_is_opened_after_something_else_leaves_that_alone_whether_its_tag_holds_or_not() {
        let mut sealed = Vec::new();
        let tag = spec_key().seal(&[1; 12], b"a", b"secret", &mut sealed).unwrap();
        let mut out = b"before".to_vec();
        spec_key().open_after(&[1; 12], b"a", &tag, &sealed, &mut out).unwrap();
        assert_eq!(out, b"beforesecret");
        let failed = spec_key().open_after(&[1; 12], b"b", &tag, &sealed, &mut out);
        assert_eq!(
            (failed, &*out),
            (Err(Error::AuthenticationFailed), &b"beforesecret"[..])
        );
    }

    #[test]
    fn blobs_round_trip_and_every_truncation_or_alteration_is_refused() {
        let blob = seal_blob(&spec_key(), &[3; 12], &[9; 32]).unwrap();
        assert_eq!(blob.len(), 60);
        assert_eq!(*GcmBlob::parse(&blob).unwrap().open(&spec_key()).unwrap(), [9; 32]);
        for length in 0..blob.len() {
            match GcmBlob::parse(&blob[..length]) {
                Err(error) => assert_eq!(error, Error::BlobTooShort { found: length }),
                Ok(cut) => assert_eq!(cut.open(&spec_key()).err(), Some(Error::AuthenticationFailed)),
            }
        }
        for byte in 0..blob.len() {
            let mut altered = blob.clone();
            altered[byte] ^= 0x10;
            let opened = GcmBlob::parse(&altered).unwrap().open(&spec_key());
            assert_eq!(opened.err(), Some(Error::AuthenticationFailed), "byte {byte}");
        }
    }
}
