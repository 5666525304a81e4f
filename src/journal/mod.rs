//! From a write set to a sealed entry, and from decisions to files: what writing a ledger takes, and decides nothing.
//!
//! [`seal`] makes an entry, [`sign`] a signature transaction, [`files`] changes chunk files, [`snapshot`] writes snapshots,
//! both through a [`disk`]; [`succession`] is what ties a service and its secret to those before. When which of it happens
//! is the core's to say.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod disk;
pub mod files;
pub mod seal;
pub mod shelf;
pub mod sign;
pub mod snapshot;
pub mod succession;

pub use seal::SealKey;
pub use shelf::Shelf;
pub use sign::{SignatureMode, Signers};
