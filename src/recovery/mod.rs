//! The reading engine: everything that can be said about a ledger without starting a service. No sockets, no terminal.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod inspect;
pub mod output;
pub mod segments;
pub mod state;
pub mod writes;
