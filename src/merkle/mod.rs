//! The Merkle tree over the ledger: accumulator, serialised form, proofs and receipts.
//!
//! Leaf 0 is 32 zero bytes, leaf i is the digest of the transaction at seqno i. An inner node is SHA-256 of its two
//! children; an unpaired rightmost node moves up unchanged. A signature at seqno S signs the root of leaves 0 to S−1.
//! Format specification, section 5.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod accumulator;
pub mod presented;
pub mod receipt;
pub mod tree;

pub use accumulator::{Accumulator, Subtree, Subtrees};
pub use tree::Tree;
