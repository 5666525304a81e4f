//! The nodes of a living service, asked again and again: is it stable, and is a recovery needed? Recovery specification, 3.2 and 10.
//!
//! ```text
//!  poll (one task an address) ─► answers ─► known ─► judge (pure) ─► Judgement ─► events, metrics, table, command
//! ```
//! With an election time-out of E: nodes are asked every E/5, several times at once where answers are slow. A node of which nothing is
//! heard for 1.5 E (not from itself, nor from a leader that has its acknowledgement, nor from one that follows it) is lost, if its machine
//! answers in its place. So a loss is declared within 1.5 E and a tick of E/20: two time-outs leave 0.45 E for a busy machine. A node whose
//! machine says nothing either may only be out of our sight: it is given 4 E, and as long without a primary, and only where somebody else
//! answers us. An election takes 0.5 to 1 E, twice that if votes are split, and the living answer meanwhile: it is never near a loss.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod answers;
pub mod clock;
pub mod command;
pub mod events;
mod evidence;
pub mod judge;
pub mod judgement;
pub mod known;
pub mod memory;
pub mod metrics;
mod names;
pub mod poll;
mod seen;
pub mod settings;
pub mod watcher;

#[cfg(test)]
mod tests;
