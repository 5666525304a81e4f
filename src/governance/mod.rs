//! Governance: proposals, ballots, acknowledgements, shares, and the ledger's own constitution.
//!
//! Everything here is a function over one [`Transaction`](crate::kv::store::Transaction): it reads what the transaction sees
//! and writes into it; an error means that the caller drops the transaction. What an accepted proposal does to the service
//! beyond its tables goes through [`Effects`](crate::script::Effects). Recovery specification, sections 3.3, 3.4, 4 and 5.5.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod acks;
pub mod answers;
pub mod ballots;
pub mod parameters;
pub mod proposals;
mod refusal;
pub mod request;
mod resolution;
#[cfg(test)]
pub(crate) mod testing;
pub mod views;

pub use refusal::{Reason, Refusal};
