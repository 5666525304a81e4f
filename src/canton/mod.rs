//! Disaster recovery for Canton's Super Validators (SVs): backups and identities judged, the timestamp that the SVs agree on,
//! the dump fetched, merged and placed, and the whole procedure led. SPEC-CANTON describes files, log lines and services.
//!
//! It stands beside the CCF engine and shares with it cryptography, findings' severities and what makes text fit to be
//! shown; nothing of a ledger. Like the engine it decides apart from doing: what a log, a dump or an answer means is
//! decided by functions that neither read nor send.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod agreement;
pub mod dump;
pub mod evidence;
pub mod finding;
pub mod logs;
pub mod name;
pub mod release;
pub mod timestamp;
pub mod unpack;

pub use finding::{Code, Finding, Findings};
pub use timestamp::Timestamp;
