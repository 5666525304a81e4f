//! No corruption passes: faults of every kind are made in copies of real and made-up ledgers, and `verify` must find
//! each, name its place, and prove nothing beyond it. What nothing covers is in docs/coverage.md, by name.

#![allow(dead_code, reason = "the example exhaustive_flips uses the rest")]

mod about;
mod anatomy;
mod flips;
mod forged;
mod forger;
mod ground;
mod hostile;
#[path = "../support/identity.rs"]
mod identity;
mod invented;
mod judge;
#[path = "../support/scribe.rs"]
mod scribe;
mod seeded;
