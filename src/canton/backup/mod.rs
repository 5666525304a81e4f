//! Backups of a Super Validator, judged before they are needed: whether they belong together, and which way back is open.
//!
//! [`facts`] takes from databases what they say about themselves, [`volumes`] from snapshots of disks. [`order`] decides
//! whether the apps' backup is from before the participant's, [`lineage`] whether they are of one node, [`age`] whether they
//! are young enough, [`path`] which way back is open; [`judge()`] says it all. Nothing here reads or sends (SPEC-CANTON 2.1,
//! 2.4, 5.1).

pub mod age;
pub mod case;
pub mod facts;
pub mod instant;
pub mod judge;
pub mod lineage;
pub mod offset;
pub mod order;
pub mod path;
mod roles;
pub mod volumes;

pub use case::{Backup, Case};
pub use facts::{Facts, Role};
pub use judge::{Report, Verdict, judge};

#[cfg(test)]
mod tests;
