//! The reading engine: everything that can be said about a ledger without starting a service. No sockets, no terminal.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod against;
pub mod attest;
pub mod bench;
pub mod check;
pub mod checkpoint;
pub mod chronicle;
pub mod commits;
pub mod compare;
mod faults;
pub mod fingerprint;
pub mod foundation;
mod gathered;
pub mod inspect;
pub mod join;
mod loading;
pub mod private;
mod reading;
pub mod receipts;
pub mod recovery_tables;
pub mod salvage;
pub mod scan;
pub mod sealed_report;
pub mod sealed_share;
pub mod secrets;
pub mod segments;
pub mod seqno_set;
mod service_links;
mod shape;
mod signed;
pub mod snapshots;
mod spares;
pub mod state;
pub mod touchstone;
pub mod trust;
pub mod unlock;
pub mod unsealing;
mod verified;
pub mod verify;
pub mod writes;
