//! A keyed fingerprint of entries: cheap proof that a second pass read what the first one verified.
//!
//! The first pass hashes every byte; the second decrypts every entry, which authenticates public and private domain
//! under the entry's GCM tag. What ties the two together is then only the header, tag and nonce of each entry: 36 bytes,
//! hashed with a key that no file can know, and summed so that segments may come in any order. Equal sums therefore mean
//! equal entries, and with them the same Merkle root, for a fiftieth of the cost of hashing again.

use std::hash::Hasher;
use std::sync::LazyLock;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Entry header, GCM tag and nonce.
const HEAD: usize = 36;

static KEY: LazyLock<[u8; 16]> = LazyLock::new(|| {
    let mut key = [0; 16];
    // Without random numbers no key of this process is worth anything: nothing to go on with.
    if getrandom::fill(&mut key).is_err() {
        std::process::abort();
    }
    key
});

/// Sum over the entries seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Takes one raw entry.
    #[inline]
    pub fn add_entry(&mut self, raw: &[u8]) {
        let mut hasher = SipHasher13::new_with_key(&KEY);
        hasher.write(raw.get(..HEAD).unwrap_or(raw));
        self.0 = self.0.wrapping_add(hasher.finish128().as_u128());
    }

    /// Takes the entries of another part.
    pub fn add(&mut self, other: Fingerprint) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[&[u8]]) -> Fingerprint {
        let mut sum = Fingerprint::default();
        entries.iter().for_each(|entry| sum.add_entry(entry));
        sum
    }

    #[test]
    fn parts_in_any_order_have_the_fingerprint_of_the_whole() {
        let (a, b) = ([1u8; 50], [2u8; 50]);
        let mut parts = of(&[&b]);
        parts.add(of(&[&a]));
        assert_eq!(parts, of(&[&a, &b]));
    }

    #[test]
    fn a_changed_tag_changes_the_fingerprint() {
        let entry = [7u8; 60];
        let mut other = entry;
        other[20] ^= 1;
        assert_ne!(of(&[&entry]), of(&[&other]));
    }
}
