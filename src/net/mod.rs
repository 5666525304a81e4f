//! What clients of any kind need of a network: TLS as CCF speaks it, whom to trust, and one document fetched within bounds.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod exchange;
pub mod fetch;
pub mod tls;
