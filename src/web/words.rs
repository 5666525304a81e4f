//! A certificate's fingerprint for people: groups of hex digits to compare on a screen, words to compare over a phone.
//!
//! The words are the first 132 bits of the SHA-256 fingerprint, eleven bits a word, in the English list of BIP 39: words of common
//! use, no two of which begin with the same four letters. Twelve words are enough: whoever wants a certificate with the words of
//! another has 2^132 of them to make and sign; who may choose both, to show different members different services, 2^66. Eight
//! words would leave the latter 2^44, an afternoon's work. They are no mnemonic: there is no check sum, and nothing secret in them.

use bip39::Language;

use crate::crypto::Digest;

/// Words of a fingerprint.
pub const WORDS: usize = 12;
/// Bits that a word stands for: the list has 2048.
const BITS: usize = 11;
/// Hex digits that are read as one.
const GROUP: usize = 4;

/// The words of a fingerprint, first to last.
pub fn of(fingerprint: &Digest) -> [&'static str; WORDS] {
    let list = Language::English.word_list();
    std::array::from_fn(|word| {
        let bits = word * BITS..(word + 1) * BITS;
        let index = bits.fold(0, |index, bit| index << 1 | usize::from(is_set(fingerprint, bit)));
        list.get(index).copied().unwrap_or_default()
    })
}

/// Whether a bit is set, counted from the first byte's highest.
fn is_set(fingerprint: &Digest, bit: usize) -> bool {
    let byte = fingerprint.get(bit / 8).copied().unwrap_or_default();
    byte >> (7 - bit % 8) & 1 == 1
}

/// The whole fingerprint as sixteen groups of four hex digits: what `openssl x509 -fingerprint -sha256` prints, without colons and
/// in small letters.
pub fn groups(fingerprint: &Digest) -> Vec<String> {
    let digits = hex::encode(fingerprint);
    let mut groups = Vec::with_capacity(digits.len() / GROUP);
    let mut rest = digits.as_str();
    while let Some((group, after)) = rest.split_at_checked(GROUP) {
        groups.push(group.to_owned());
        rest = after;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;

    #[test]
    fn words_are_the_first_bits_in_order() {
        // BIP 39's first word is for eleven zeros, its last for eleven ones.
        assert_eq!(of(&[0; 32]), ["abandon"; WORDS]);
        assert_eq!(of(&[0xff; 32]), ["zoo"; WORDS]);
        let mut one = [0; 32];
        one[1] = 0b0010_0000;
        assert_eq!(of(&one)[..2], ["ability", "abandon"]);
    }

    #[test]
    fn words_are_those_of_the_list_s_own_reader() {
        // A mnemonic of 24 words holds the same bits in the same order, and a check sum after them.
        let digest = sha256(b"rekindle");
        let mnemonic = bip39::Mnemonic::from_entropy_in(Language::English, &digest).unwrap();
        assert!(mnemonic.words().zip(of(&digest)).all(|(theirs, ours)| theirs == ours));
    }

    #[test]
    fn every_bit_that_a_word_stands_for_changes_it() {
        for bit in 0..WORDS * BITS {
            let mut changed = [0; 32];
            changed[bit / 8] ^= 0x80 >> (bit % 8);
            let differ = of(&changed).iter().zip(of(&[0; 32])).filter(|(a, b)| *a != b).count();
            assert_eq!(differ, 1, "bit {bit}");
        }
    }

    #[test]
    fn groups_are_the_whole_fingerprint() {
        let digest = sha256(b"rekindle");
        assert_eq!(groups(&digest).len(), 16);
        assert_eq!(groups(&digest).concat(), hex::encode(digest));
    }
}
