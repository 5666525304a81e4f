//! Snapshots held against the ledger key by key, and lost ones rebuilt from it bit for bit.
//!
//! One replay, oldest first, stops at the seqno of each snapshot: there its content is compared with the state
//! ([`content`]), or the state is sealed as a node would have done it ([`rebuild`]). What was sealed is the lost snapshot
//! exactly where its digest is the one that the ledger keeps as evidence: nothing else is ever written.
//! Format specification, section 7.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod check;
pub mod content;
pub mod evidence;
pub mod lost;
pub mod rebuild;
pub mod receipt;
pub mod replay;
