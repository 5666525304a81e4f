//! HMAC-SHA256, HKDF-SHA256 and the commit secret.
//!
//! Checking commit evidence takes two keyed hashes for every transaction, so [`CommitSecret`] keeps the two
//! HMAC states that depend on the key alone, and formats its messages into blocks on the stack: four
//! compressions a transaction, no allocation.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::digest::{Digest, INITIAL_STATE, last_block_of_96_bytes, state_to_digest};
use super::lanes;
use super::sha256::Prefix;

/// Message from which the commit secret is derived: these 8 bytes, no more (format specification, section 0).
const COMMIT_SECRET_LABEL: &[u8; 8] = b"Commit S";

/// HMAC-SHA256 of `message` under `key` (of any length).
#[allow(clippy::expect_used)] // The trait also serves algorithms with fixed key sizes; HMAC takes keys of any length.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Digest {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

/// HKDF-SHA256 with an empty salt: 32 bytes from `ikm` and `info`.
pub fn hkdf_sha256(ikm: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    expanded(&Hkdf::new(None, ikm), info)
}

/// HKDF-SHA256 with a salt: 32 bytes from `ikm` and `info`.
pub fn hkdf_sha256_salted(salt: &[u8], ikm: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    expanded(&Hkdf::new(Some(salt), ikm), info)
}

#[allow(clippy::expect_used)] // 32 bytes are below the limit of 255 * 32.
fn expanded(extracted: &Hkdf<Sha256>, info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut output = Zeroizing::new([0; 32]);
    extracted
        .expand(info, output.as_mut())
        .expect("32 bytes are below HKDF's limit of 255 * 32");
    output
}

/// The commit secret of one ledger secret (format specification, section 4).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CommitSecret {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl CommitSecret {
    /// The commit secret that belongs to `ledger_secret`.
    pub fn new(ledger_secret: &[u8; 32]) -> Self {
        let secret = Zeroizing::new(hmac_sha256(ledger_secret, COMMIT_SECRET_LABEL));
        Self {
            inner: keyed_state(&secret, 0x36),
            outer: keyed_state(&secret, 0x5c),
        }
    }

    /// HMAC of `{view}.{seqno}` in decimal.
    pub fn nonce(&self, view: u64, seqno: u64) -> Digest {
        let mut text = Text::new();
        text.push_txid(view, seqno);
        self.mac(&text)
    }

    /// The evidence itself, `ce:{view}.{seqno}:{hex of the nonce}`, as it appears in receipts.
    pub fn evidence_text(&self, view: u64, seqno: u64) -> String {
        format!("ce:{view}.{seqno}:{}", hex::encode(self.nonce(view, seqno)))
    }

    /// SHA-256 of the evidence: the `commit evidence digest` of the transaction.
    pub fn evidence_digest(&self, view: u64, seqno: u64) -> Digest {
        let mut text = Text::new();
        text.begin_evidence(view, seqno);
        text.push_hex(&self.nonce(view, seqno));
        let mut state = INITIAL_STATE;
        // 3 + (3..=41) + 1 + 64 bytes of text, so with its padding it always fills exactly two blocks.
        compress256(&mut state, &text.padded_to_two_blocks());
        state_to_digest(&state)
    }

    /// The commit evidence digests of many transactions `(view, seqno)`, appended to `digests` in order: the same as
    /// [`CommitSecret::evidence_digest`] of each, on all vector lanes of the processor.
    pub fn evidence_digests(&self, txids: &[(u64, u64)], digests: &mut Vec<Digest>) {
        // Written where they lie: a text is larger than what there is to write.
        let mut texts = vec![Text::new(); txids.len()];
        for (text, &(view, seqno)) in texts.iter_mut().zip(txids) {
            text.begin_evidence(view, seqno);
        }
        let mut inner = Vec::with_capacity(txids.len());
        let messages: Vec<&[u8]> = texts.iter().map(Text::txid_in_evidence).collect();
        let after = |state: [u32; 8]| Prefix { state, bytes: 64 };
        if !lanes::digest_many(&after(self.inner), &messages, &mut inner) {
            digests.extend(txids.iter().map(|&(view, seqno)| self.evidence_digest(view, seqno)));
            return;
        }
        let mut nonces = Vec::with_capacity(txids.len());
        let messages: Vec<&[u8]> = inner.iter().map(<[u8; 32]>::as_slice).collect();
        lanes::digest_many(&after(self.outer), &messages, &mut nonces);
        for (text, nonce) in texts.iter_mut().zip(&nonces) {
            text.push_hex(nonce);
        }
        let messages: Vec<&[u8]> = texts.iter().map(Text::as_bytes).collect();
        lanes::digest_many(&lanes::START, &messages, digests);
    }

    /// HMAC of a text of at most 55 bytes, which with its padding fills exactly one block.
    fn mac(&self, text: &Text) -> Digest {
        let mut state = self.inner;
        compress256(&mut state, &[text.padded_to_one_block_after_a_key()]);
        let inner = state_to_digest(&state);
        let mut state = self.outer;
        // 64 bytes of key block and 32 of inner digest make 96.
        compress256(&mut state, &[last_block_of_96_bytes(&inner)]);
        state_to_digest(&state)
    }
}

/// The state after hashing one block of `key ⊕ pad`.
fn keyed_state(key: &[u8; 32], pad: u8) -> [u32; 8] {
    let mut block = Zeroizing::new([pad; 64]);
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut state = INITIAL_STATE;
    compress256(&mut state, std::slice::from_ref(&*block));
    state
}

/// A short ASCII text in a buffer of two SHA-256 blocks.
///
/// Bytes that would not fit are dropped; no text made here is longer than 109 bytes.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; 128],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self {
            bytes: [0; 128],
            length: 0,
        }
    }

    /// `ce:{txid}:`, after which the nonce's hex digits go.
    #[inline]
    fn begin_evidence(&mut self, view: u64, seqno: u64) {
        self.push(b"ce:");
        self.push_txid(view, seqno);
        self.push(b":");
    }

    /// The transaction's id in a text that has just been begun.
    #[inline]
    fn txid_in_evidence(&self) -> &[u8] {
        self.bytes.get(3..self.length.saturating_sub(1)).unwrap_or_default()
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    #[inline]
    fn push(&mut self, text: &[u8]) {
        let end = self.length + text.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(text);
            self.length = end;
        }
    }

    /// `{view}.{seqno}`: at most 41 bytes.
    #[inline]
    fn push_txid(&mut self, view: u64, seqno: u64) {
        self.push_decimal(view);
        self.push(b".");
        self.push_decimal(seqno);
    }

    #[inline]
    fn push_decimal(&mut self, mut number: u64) {
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        let end = self.length + digits;
        for digit in self
            .bytes
            .get_mut(self.length..end)
            .unwrap_or_default()
            .iter_mut()
            .rev()
        {
            // A remainder of 10 fits in a byte.
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.length = end;
    }

    #[inline]
    fn push_hex(&mut self, digest: &Digest) {
        let end = self.length + 64;
        let room = self.bytes.get_mut(self.length..end).unwrap_or_default();
        for (pair, byte) in room.as_chunks_mut().0.iter_mut().zip(digest) {
            *pair = hex_pair(*byte);
        }
        self.length = end;
    }

    /// The text with the padding of a message of this length, where that takes two blocks (56 to 119 bytes).
    #[inline]
    fn padded_to_two_blocks(&self) -> [[u8; 64]; 2] {
        let mut blocks = [[0; 64]; 2];
        for (block, bytes) in blocks.iter_mut().zip(self.bytes.chunks_exact(64)) {
            block.copy_from_slice(bytes);
        }
        if let Some(byte) = blocks.as_flattened_mut().get_mut(self.length) {
            *byte = 0x80;
        }
        blocks[1][56..].copy_from_slice(&(self.length as u64 * 8).to_be_bytes());
        blocks
    }

    /// The text (at most 55 bytes) as the last block of a message that began with one whole block.
    #[inline]
    fn padded_to_one_block_after_a_key(&self) -> [u8; 64] {
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(&self.bytes) {
            *to = *from;
        }
        if let Some(byte) = block.get_mut(self.length) {
            *byte = 0x80;
        }
        block[56..].copy_from_slice(&((self.length as u64 + 64) * 8).to_be_bytes());
        block
    }
}

/// Two lowercase hex digits.
#[inline]
fn hex_pair(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| {
        if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
    };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{digest::sha256, testing::SPEC_LEDGER_SECRET};

    fn spec_secret() -> [u8; 32] {
        hex::decode(SPEC_LEDGER_SECRET).unwrap().try_into().unwrap()
    }

    #[test]
    fn hmac_matches_rfc_4231_case_2() {
        assert_eq!(
            hex::encode(hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn hkdf_is_extract_with_zero_salt_then_one_expand_step() {
        let (ikm, info) = ([7; 40], [9; 40]);
        let extracted = hmac_sha256(&[0; 32], &ikm);
        let expected = hmac_sha256(&extracted, &[&info[..], &[1]].concat());
        assert_eq!(*hkdf_sha256(&ikm, &info), expected);
    }

    #[test]
    fn a_salt_is_the_key_of_the_extraction() {
        let (salt, ikm, info) = ([3; 32], [7; 48], [9; 128]);
        let expected = hmac_sha256(&hmac_sha256(&salt, &ikm), &[&info[..], &[1]].concat());
        assert_eq!(*hkdf_sha256_salted(&salt, &ikm, &info), expected);
    }

    #[test]
    fn commit_evidence_is_the_one_of_the_worked_example() {
        // Format specification, section 10.1.
        assert_eq!(
            hex::encode(hmac_sha256(&spec_secret(), COMMIT_SECRET_LABEL)),
            "c7001b5933cecf49103c001e22641f7141f8b207acd21878b6f435b3291917cd"
        );
        let secret = CommitSecret::new(&spec_secret());
        let text = "ce:2.17:c6b549e9831683c505c6b39792b47f6f3a8897384090dbab705c349182ece503";
        assert_eq!(secret.evidence_text(2, 17), text);
        assert_eq!(
            hex::encode(secret.evidence_digest(2, 17)),
            "266ee6ffc4bd003458c67798796e06e07ee60c105c3fddeabdf831dca3572b78"
        );
    }

    #[test]
    fn evidence_is_right_for_every_number_of_digits() {
        let secret = CommitSecret::new(&spec_secret());
        let key = hmac_sha256(&spec_secret(), COMMIT_SECRET_LABEL);
        let mut numbers = vec![0, 1, u64::MAX];
        numbers.extend((0..20).flat_map(|power| [10u64.pow(power), 10u64.pow(power) - 1]));
        for &view in &numbers {
            for &seqno in &numbers {
                let nonce = hmac_sha256(&key, format!("{view}.{seqno}").as_bytes());
                assert_eq!(secret.nonce(view, seqno), nonce, "{view}.{seqno}");
                let text = secret.evidence_text(view, seqno);
                assert_eq!(secret.evidence_digest(view, seqno), sha256(text.as_bytes()), "{text}");
            }
        }
        let txids: Vec<(u64, u64)> = numbers.iter().map(|&number| (number, number)).collect();
        let mut many = Vec::new();
        secret.evidence_digests(&txids, &mut many);
        let one_by_one: Vec<_> = txids
            .iter()
            .map(|&(view, seqno)| secret.evidence_digest(view, seqno))
            .collect();
        assert_eq!(many, one_by_one);
    }
}
