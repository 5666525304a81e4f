//! The one pen: a write set becomes a sealed entry, a leaf of the tree, and bytes in a chunk file.
//!
//! [`Journal`] is everything that writing a ledger needs; the fixture generator and the node's sequencer both hold one.
//! [`seal`] makes an entry, [`files`] knows chunk files and their names, [`sign`] and [`snapshot`] what is signed,
//! [`succession`] what ties a service and its secret to those before.
//!
//! Invariants of the floor:
//! - Nothing is written outside the directories that were given, and no directory that holds anything is taken.
//! - A chunk ends only after a signature; a nonce is never used twice under one ledger secret.
//! - The same calls write the same bytes: no clock, no random number in here.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod files;
mod pen;
pub mod seal;
pub mod sign;
pub mod snapshot;
pub mod succession;

pub use pen::{Journal, LastSigned, Mark, Recovered, Settings};
pub use seal::SealKey;
pub use sign::{SignatureMode, Signers};
pub use snapshot::{Draft, Written};
