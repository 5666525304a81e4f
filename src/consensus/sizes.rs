//! How much goes into a frame.

use crate::format::Seqno;

/// How many bytes entries have.
pub trait Sizes {
    /// The greatest seqno up to `at_most` so that the entries after `after` are of `bytes` together, or the one after
    /// `after` where that alone is greater.
    fn reach(&self, after: Seqno, at_most: Seqno, bytes: u64) -> Seqno;
}
