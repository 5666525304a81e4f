//! A reader over a borrowed slice that can't run past its end.
//!
//! Everything CCF writes into entries is a sequence of little-endian integers and length-prefixed byte strings;
//! this is the only place that turns lengths found on disk into slices.

use super::Malformed;

/// A position in a slice of hostile bytes.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Starts at byte `at`.
    #[inline]
    pub fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Cursor { bytes, at }
    }

    /// Offset of the next byte.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Number of bytes left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// True when nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// What is left, without taking it.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    /// Takes `n` bytes; `what` names them in the complaint if they are not there.
    #[inline]
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += n;
                Ok(taken)
            }
            None => Err(self.short(n as u64, what)),
        }
    }

    /// Takes a fixed number of bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<&'a [u8; N], Malformed> {
        match self.rest().first_chunk::<N>() {
            Some(array) => {
                self.at += N;
                Ok(array)
            }
            None => Err(self.short(N as u64, what)),
        }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(what).map(|[byte]| *byte)
    }

    /// A little-endian u32.
    #[inline]
    pub fn u32_le(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(|b| u32::from_le_bytes(*b))
    }

    /// A little-endian u64.
    #[inline]
    pub fn u64_le(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(|b| u64::from_le_bytes(*b))
    }

    /// A little-endian i64.
    #[inline]
    pub fn i64_le(&mut self, what: &'static str) -> Result<i64, Malformed> {
        self.array(what).map(|b| i64::from_le_bytes(*b))
    }

    /// A big-endian u64 (only the serialised Merkle tree has them).
    #[inline]
    pub fn u64_be(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(|b| u64::from_be_bytes(*b))
    }

    /// A byte string prefixed by its length as a little-endian u64.
    #[inline]
    pub fn prefixed(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        let n = self.u64_le(what)?;
        let rest = self.rest();
        match usize::try_from(n).ok().and_then(|n| rest.get(..n)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => {
                self.at = start;
                Err(self.short(n.saturating_add(8), what))
            }
        }
    }

    #[cold]
    fn short(&self, wanted: u64, what: &'static str) -> Malformed {
        Malformed::at(
            self.at,
            format!("{what} needs {wanted} bytes, {} are left", self.remaining()),
        )
    }
}
