//! AES-256-GCM over data that is never in memory as a whole: snapshots are as large as a service's state.
//!
//! Encryption only: there is no safe way to hand out plaintext before its tag is checked. The same bytes as
//! [`super::AeadKey::seal`] gives (NIST SP 800-38D), in pieces of any size.

use aes::Aes256;
use ctr::Ctr32BE;
use ctr::cipher::{Block, BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

use super::error::Error;

const BLOCK: usize = 16;
/// What one key and nonce may encrypt: 2^32 − 2 blocks.
const MAX_TEXT: u64 = ((1 << 32) - 2) * BLOCK as u64;

/// A message being encrypted: first all of [`SealStream::authenticate`], then all of [`SealStream::encrypt`].
pub struct SealStream {
    keystream: Ctr32BE<Aes256>,
    hash: GHash,
    /// Hides the hash in the tag.
    mask: [u8; BLOCK],
    /// Bytes that don't fill a block yet.
    partial: [u8; BLOCK],
    partial_len: usize,
    aad_len: u64,
    text_len: u64,
}

impl SealStream {
    /// Begins a message. The caller answers for never using the same `iv` twice under this key.
    pub fn new(key: &[u8; 32], iv: &[u8; 12]) -> SealStream {
        let cipher = Aes256::new(key.into());
        let mut hash_key = Block::<Aes256>::default();
        cipher.encrypt_block(&mut hash_key);
        let mut counter = [0; BLOCK];
        let (nonce, one) = counter.split_at_mut(12);
        nonce.copy_from_slice(iv);
        one.copy_from_slice(&1u32.to_be_bytes());
        let mut keystream = Ctr32BE::<Aes256>::new(key.into(), (&counter).into());
        let mut mask = [0; BLOCK];
        keystream.apply_keystream(&mut mask);
        let hash = GHash::new(&hash_key);
        hash_key.as_mut_slice().zeroize();
        SealStream {
            keystream,
            hash,
            mask,
            partial: [0; BLOCK],
            partial_len: 0,
            aad_len: 0,
            text_len: 0,
        }
    }

    /// Takes data that is authenticated, not encrypted.
    pub fn authenticate(&mut self, aad: &[u8]) {
        self.aad_len += aad.len() as u64;
        self.update(aad);
    }

    /// Encrypts a piece in place.
    ///
    /// # Errors
    /// [`Error::EncryptionFailed`] beyond the limit of GCM.
    pub fn encrypt(&mut self, piece: &mut [u8]) -> Result<(), Error> {
        if self.text_len == 0 {
            self.pad();
        }
        self.text_len += piece.len() as u64;
        if self.text_len > MAX_TEXT {
            return Err(Error::EncryptionFailed);
        }
        self.keystream.apply_keystream(piece);
        self.update(piece);
        Ok(())
    }

    /// The tag.
    pub fn finish(mut self) -> [u8; BLOCK] {
        self.pad();
        let mut lengths = [0; BLOCK];
        let (aad, text) = lengths.split_at_mut(8);
        aad.copy_from_slice(&(self.aad_len * 8).to_be_bytes());
        text.copy_from_slice(&(self.text_len * 8).to_be_bytes());
        self.hash.update(&[lengths.into()]);
        let mut tag: [u8; BLOCK] = self.hash.clone().finalize().into();
        tag.iter_mut().zip(self.mask).for_each(|(tag, mask)| *tag ^= mask);
        tag
    }

    fn update(&mut self, mut bytes: &[u8]) {
        if self.partial_len > 0 {
            let room = BLOCK - self.partial_len;
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            if let Some(target) = self.partial.get_mut(self.partial_len..self.partial_len + now.len()) {
                target.copy_from_slice(now);
            }
            self.partial_len += now.len();
            bytes = rest;
            if self.partial_len < BLOCK {
                return;
            }
            self.pad();
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for block in blocks {
            self.hash.update(&[(*block).into()]);
        }
        if let Some(target) = self.partial.get_mut(..rest.len()) {
            target.copy_from_slice(rest);
        }
        self.partial_len = rest.len();
    }

    /// Fills the last block with zeros.
    fn pad(&mut self) {
        if self.partial_len == 0 {
            return;
        }
        if let Some(rest) = self.partial.get_mut(self.partial_len..) {
            rest.fill(0);
        }
        self.hash.update(&[self.partial.into()]);
        self.partial_len = 0;
    }
}

impl Drop for SealStream {
    fn drop(&mut self) {
        self.mask.zeroize();
        self.partial.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::AeadKey;

    #[test]
    fn pieces_of_any_size_give_what_one_message_gives() {
        let (key, iv) = ([7; 32], [9; 12]);
        let aad: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        let text: Vec<u8> = (0..3000u32).map(|i| (i * 7) as u8).collect();
        for (aad_len, text_len) in [(0, 0), (0, 1), (1, 0), (16, 16), (17, 31), (1000, 3000), (999, 2999)] {
            let mut expected = Vec::new();
            let tag = AeadKey::new(&key).seal(&iv, &aad[..aad_len], &text[..text_len], &mut expected);
            let tag = tag.unwrap();
            for piece in [1, 3, 16, 17, 64, 5000] {
                let mut stream = SealStream::new(&key, &iv);
                aad[..aad_len]
                    .chunks(piece)
                    .for_each(|piece| stream.authenticate(piece));
                let mut sealed = text[..text_len].to_vec();
                sealed
                    .chunks_mut(piece)
                    .for_each(|piece| stream.encrypt(piece).unwrap());
                assert_eq!(
                    (sealed, stream.finish()),
                    (expected.clone(), tag),
                    "{aad_len} {text_len} {piece}"
                );
            }
        }
    }
}
