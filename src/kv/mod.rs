//! The key-value state: what is alive after a ledger was read, and what a node writes on top of it.
//!
//! [`base::Base`] holds a whole state in memory close to the size of its bytes, loaded in either direction of time.
//! [`store::Store`] adds a small overlay of transactions that may still be rolled back, and the transactions that read
//! from both. Keys and values are serialised bytes here; `tables` knows what they mean.
//!
//! Invariants of the layer:
//! - Memory is bounded by what is alive, never by the number of writes.
//! - What was in memory is overwritten before it is given back: private maps are secrets.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod arena;
pub mod base;
mod pending;
pub mod store;
