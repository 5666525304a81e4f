//! The whole procedure of a recovery, for one installation and release (SPEC-CANTON 3.5, 5.1, 6, 8.7).
//!
//! A [`Plan`] is made by a function that neither reads nor sends; it is rendered for people ([`markdown`]) and for a shell
//! ([`script`]), and carried out with a journal ([`execute`]). All three say the same commands, which are this program's own
//! and the operator's.

mod commands;
pub mod execute;
pub mod journal;
mod lsu;
pub mod markdown;
mod names;
mod network;
mod parameters;
mod plan;
mod quoting;
mod reonboard;
mod restore;
pub mod script;
mod step;
#[cfg(test)]
mod tests;

pub use names::Names;
pub use parameters::{Commands, Installation, Kind, Lsu, Parameters, Reonboard};
pub use plan::Plan;
pub use step::{Block, By, Check, Doing, Invocation, Overruling, Step, Test, Word};

/// The variable of a script, and the mark in a text, for the value of an option: `TIMESTAMP`.
fn variable(option: &str) -> String {
    option.replace('-', "_").to_ascii_uppercase()
}
