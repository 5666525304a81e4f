//! Whether a Super Validator is well after a recovery (SPEC-CANTON 4, 8.8).
//!
//! What its services answer ([`answers`]), what its cluster says of its deployments ([`deployments`]), what its logs say
//! about agreement since the start ([`agreement`]) and what its wallet holds ([`balances`]) become lines of a report, by
//! functions that neither read nor send; [`asking`] asks.

pub mod agreement;
pub mod answers;
pub mod asking;
pub mod balances;
pub mod deployments;
mod report;
pub mod settings;
#[cfg(test)]
mod tests;

pub use report::{Line, Report, State};
