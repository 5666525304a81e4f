//! Lives of clusters from a seed: consensus alone, over entries that are nothing but their place, a clock, a network that
//! loses, delays, repeats and cuts, and disks that are late.
//!
//! Nodes crash and never come back under their id; new ones join with nothing or with a snapshot; followers and leaders
//! retire, alone or several at once; leaders are deposed. At every step and at the end this is checked:
//!
//! - what is committed is the same on all, for ever, and on the disks of a majority of every active configuration;
//! - one node at most leads a view, and it has everything that was committed before;
//! - nothing that is committed is rolled back;
//! - a node that left is forgotten only when it knows;
//! - once faults have ended, the cluster goes on within a bounded time.
//!
//! Only `peer` knows [`crate::consensus::Consensus`]: whoever puts more of a node under the same life replaces that module.

mod faults;
mod members;
mod model;
mod network;
mod obedience;
mod peer;
mod promises;
mod tally;
#[cfg(test)]
mod tests;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use tally::Tally;

/// What became of a seed.
pub struct Outcome {
    /// What happened in it.
    pub tally: Tally,
    /// Which promise was broken.
    pub failure: Option<String>,
    /// What happened, line by line, where that was asked for.
    pub trace: Vec<String>,
}

/// Lives through a seed.
pub fn run(seed: u64, traced: bool) -> Outcome {
    live(world::World::<model::Model>::new(&(), None, seed, traced))
}

fn live<B: peer::Body>(mut world: world::World<'_, B>) -> Outcome {
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let failure = match lived {
        Ok(lived) => lived.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    Outcome {
        tally: world.tally,
        failure,
        trace: world.trace,
    }
}
