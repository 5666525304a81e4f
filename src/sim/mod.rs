//! The simulator: whole lives of services over a clock and a disk from a seed. The disk lies, tears, fills up and crashes.
//!
//! What decides how a ledger is written ([`crate::core`]), what carries that out ([`crate::journal`]), the recovery and
//! governance of a node are the real ones; time, the disk, and the order in which things happen are made up. The same
//! seed gives the same life. What is checked, and what is not simulated: docs/simulation.md.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod agreement;
mod chance;
mod checks;
pub mod disk;
pub mod healing;
mod inode;
mod life;
mod people;
mod promises;
mod recovery;
mod service;
mod tally;
#[cfg(test)]
mod tests;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use tally::Tally;
pub use world::World;

/// What became of a seed.
pub struct Outcome {
    /// What it lived through.
    pub tally: Tally,
    /// Which promise was broken.
    pub failure: Option<String>,
    /// What happened, line by line, where that was asked for.
    pub trace: Vec<String>,
}

/// Lives through a seed. `scratch` is a directory that nobody else uses meanwhile.
pub fn run(world: &World, seed: u64, scratch: &Path, traced: bool) -> Outcome {
    let broken = |failure: String| Outcome {
        tally: Tally::default(),
        failure: Some(failure),
        trace: Vec::new(),
    };
    let place = match recovery::Place::new(scratch) {
        Ok(place) => place,
        Err(why) => return broken(why),
    };
    let mut life = match life::Life::new(world, &place, seed, traced) {
        Ok(life) => life,
        Err(why) => return broken(why),
    };
    let lived = catch_unwind(AssertUnwindSafe(|| life.live()));
    let failure = match lived {
        Ok(lived) => lived.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panicked: {}", text.unwrap_or_default()))
        }
    };
    Outcome {
        tally: life.tally.clone(),
        failure,
        trace: life.disk.take_trace(),
    }
}

/// An error in words, for a trace.
fn of_error(why: impl std::fmt::Display) -> String {
    why.to_string()
}
