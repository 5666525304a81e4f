//! Names of nodes.

use std::fmt;
use std::str::FromStr;

use crate::crypto::Digest;

/// A node's id: SHA-256 of the DER of its public key, written as 64 lower-case hex digits wherever CCF writes it.
///
/// Ordered as CCF orders them: digits as text compare like the bytes that they stand for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub Digest);

impl NodeId {
    /// Digits of an id.
    pub const DIGITS: usize = 64;

    /// The digits, as frames and the derivation of keys have them.
    pub fn digits(&self) -> [u8; Self::DIGITS] {
        let mut digits = [0; Self::DIGITS];
        // The lengths fit: 2 digits a byte.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        digits
    }

    /// The id that these digits are; `None` unless each is one of `0` to `9` and `a` to `f`.
    pub fn from_digits(digits: &[u8; Self::DIGITS]) -> Option<Self> {
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut id = [0; 32];
        hex::decode_to_slice(digits, &mut id).ok()?;
        Some(Self(id))
    }

    /// The id that a table's key is, if it is one.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        key.try_into().ok().and_then(Self::from_digits)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.as_bytes().try_into().ok();
        digits
            .and_then(Self::from_digits)
            .ok_or_else(|| format!("a node id has 64 lower-case hex digits; this has {} bytes", text.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_shown_as_the_same_digits() {
        let text = "03a8ba91886f36aab557e7a4ed36fcf1588a49a05fcf5144ccf908d52c32e4dd";
        let id: NodeId = text.parse().unwrap();
        assert_eq!((id.to_string(), &id.digits()[..]), (text.to_owned(), text.as_bytes()));
        assert_eq!(format!("{id:?}"), format!("NodeId({text})"));
    }

    #[test]
    fn upper_case_other_letters_and_other_lengths_are_no_ids() {
        for text in [
            String::new(),
            "a".repeat(63),
            "a".repeat(65),
            "A".repeat(64),
            "g".repeat(64),
            format!("{}A", "a".repeat(63)),
        ] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_compare_as_their_digits_do() {
        let ids = [[0x9f; 32], [0xa0; 32], [0x0a; 32], [0xff; 32]].map(NodeId);
        for a in ids {
            for b in ids {
                assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            }
        }
    }
}
