//! SHA-256 of one message, through the provider.
//!
//! Where a processor lacks SHA instructions, aws-lc's assembler is several times faster than the `sha2` crate, which
//! serves the pure provider and messages that come in pieces.

use sha2::{Digest as _, Sha256};

use super::provider;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Initial state of SHA-256 (FIPS 180-4, section 5.3.3).
pub(super) const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA-256 of `data`.
#[inline]
pub fn sha256(data: &[u8]) -> Digest {
    provider::sha256(data)
}

/// A state of SHA-256 after a whole number of blocks, and how many bytes those were.
#[derive(Clone, Copy)]
pub(super) struct Prefix {
    /// The state.
    pub state: [u32; 8],
    /// Bytes hashed so far, a multiple of 64.
    pub bytes: u64,
}

/// SHA-256 of `message` after a prefix that is hashed already.
#[cfg(any(target_arch = "x86_64", test))]
pub(super) fn sha256_after(prefix: &Prefix, message: &[u8]) -> Digest {
    use sha2::block_api::compress256;
    let mut state = prefix.state;
    let (body, rest) = message.as_chunks::<64>();
    compress256(&mut state, body);
    let mut tail = [[0; 64]; 2];
    // The end mark takes one byte, the length eight.
    let blocks = if rest.len() < 56 { 1 } else { 2 };
    for (to, from) in tail.as_flattened_mut().iter_mut().zip(rest.iter().chain(&[0x80])) {
        *to = *from;
    }
    let bits = prefix.bytes.wrapping_add(message.len() as u64).wrapping_mul(8);
    let tail = tail.get_mut(..blocks).unwrap_or_default();
    if let Some(length) = tail.as_flattened_mut().last_chunk_mut() {
        *length = bits.to_be_bytes();
    }
    compress256(&mut state, tail);
    state_to_digest(&state)
}

/// SHA-256 of the concatenation of `parts`.
pub fn sha256_parts(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SHA-256 of `left ‖ right`: a Merkle node.
#[inline]
pub fn sha256_pair(left: &Digest, right: &Digest) -> Digest {
    let mut block = [0; 64];
    block[..32].copy_from_slice(left);
    block[32..].copy_from_slice(right);
    sha256(&block)
}

/// SHA-256 of `a ‖ b ‖ c`: the leaf of a transaction (format specification, section 4).
#[inline]
pub fn sha256_three(a: &Digest, b: &Digest, c: &Digest) -> Digest {
    let mut bytes = [0; 96];
    bytes[..32].copy_from_slice(a);
    bytes[32..64].copy_from_slice(b);
    bytes[64..].copy_from_slice(c);
    sha256(&bytes)
}

/// The block that ends a message of 96 bytes of which the last 32 are `tail` (768 bits = 0x0300).
#[inline]
pub(super) fn last_block_of_96_bytes(tail: &Digest) -> [u8; 64] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(tail);
    block[32] = 0x80;
    block[62] = 0x03;
    block
}

/// The digest that a final state stands for: its words, big endian.
#[inline]
pub(super) fn state_to_digest(state: &[u32; 8]) -> Digest {
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// SHA-256 of data that comes in pieces.
#[derive(Clone, Default)]
pub struct Sha256Stream(Sha256);

impl Sha256Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was appended.
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_the_published_digest() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(sha256(b"abc")), expected);
        assert_eq!(hex::encode(sha256_parts(&[b"a", b"", b"bc"])), expected);
        let mut stream = Sha256Stream::new();
        stream.update(b"ab");
        stream.update(b"c");
        assert_eq!(hex::encode(stream.finish()), expected);
    }

    #[test]
    fn every_length_of_tail_is_padded_right() {
        let data = [0xa5; 300];
        for length in 0..=data.len() {
            assert_eq!(
                sha256(&data[..length]),
                sha256_parts(&[&data[..length]]),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn fixed_size_paths_equal_the_general_one() {
        let (a, b, c) = (sha256(b"a"), sha256(b"b"), sha256(b"c"));
        assert_eq!(sha256_pair(&a, &b), sha256_parts(&[&a, &b]));
        assert_eq!(sha256_three(&a, &b, &c), sha256_parts(&[&a, &b, &c]));
    }
}
