//! The commands that read what is left of a service: each journey through the real binary, on made-up and on real ledgers.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod archive;
mod archive_attacks;
#[cfg(feature = "object-store")]
mod archive_lies;
#[cfg(feature = "object-store")]
mod archive_stores;
mod attest;
mod attestation;
mod bad_input;
#[path = "../support/browser.rs"]
#[allow(
    dead_code,
    reason = "reports change while nobody looks, and pages don't fetch: each asks for what is its own"
)]
mod browser;
mod cli;
mod compare;
mod damaged_receipts;
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/document.rs"]
mod document;
mod export;
mod fixtures;
mod governance;
mod html_in_a_browser;
mod html_reports;
mod inspect;
mod long_runs;
mod official_recovery;
mod oracle;
mod rebuilt_snapshots;
mod unlock;
mod verify;
