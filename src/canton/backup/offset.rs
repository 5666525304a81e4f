//! Offsets: how far a participant's ledger reaches, and how far an app has read it (SPEC-CANTON 2.4).

use std::fmt;

use serde::{Serialize, Serializer};

/// A place in a participant's ledger; 0 is its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

/// Hexadecimal digits of an offset as Splice's apps store it: a version byte, which is 0, and eight bytes.
const STORED_DIGITS: usize = 18;

impl Offset {
    /// The offset that is this number; Canton counts with 63 bits.
    pub fn new(number: u64) -> Option<Offset> {
        i64::try_from(number).is_ok().then_some(Offset(number))
    }

    /// Parses an offset as apps store it (`000000000000001a2b`, hexadecimal) or as participants do (`6699`, decimal).
    pub fn parse(text: &[u8]) -> Option<Offset> {
        let digits = std::str::from_utf8(text).ok()?;
        if text.len() == STORED_DIGITS && text.starts_with(b"00") && text.iter().all(u8::is_ascii_hexdigit) {
            return Offset::new(u64::from_str_radix(digits, 16).ok()?);
        }
        // Leading zeros are of the other way of writing, with a digit lost.
        let is_decimal =
            !text.is_empty() && text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
        Offset::new(is_decimal.then(|| digits.parse().ok())??)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_an_offset_are_read() {
        let read = |text: &str| Offset::parse(text.as_bytes()).map(Offset::number);
        assert_eq!(read("00000000000000003f"), Some(63));
        assert_eq!(read("000000000000001A2b"), Some(0x1a2b));
        assert_eq!(read("007fffffffffffffff"), Some(i64::MAX as u64));
        assert_eq!(read("65"), Some(65));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("9223372036854775807"), Some(i64::MAX as u64));
    }

    #[test]
    fn what_is_no_offset_is_refused() {
        for text in [
            "",
            "-1",
            "+5",
            " 5",
            "5 ",
            "1.5",
            "3f",
            "00000000000000003",
            "0000000000000000003f",
            "065",
            "01000000000000003f",
            "00000000000000003g",
            "008000000000000000",
            "9223372036854775808",
            "99999999999999999999999999",
            "\\N",
            "é",
        ] {
            assert_eq!(Offset::parse(text.as_bytes()), None, "{text}");
        }
    }
}
