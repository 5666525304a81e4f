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
mod ground;
mod ledgers;
mod members;
mod model;
mod network;
mod obedience;
mod peer;
mod promises;
mod tally;
#[cfg(test)]
mod tests;
mod whole;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::life::Life;
use super::recovery::Place;
pub use ground::Grounds;
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

/// Lives through a seed, consensus alone.
pub fn run(seed: u64, traced: bool) -> Outcome {
    lived(world::World::<model::Model>::new(&(), None, seed, traced), |_| Ok(()))
}

/// Lives through a seed with so many whole cores at a time. `scratch` is a directory that nobody else uses meanwhile.
pub fn run_whole(grounds: &Grounds<'_>, nodes: usize, seed: u64, scratch: &Path, traced: bool) -> Outcome {
    let ground = usize::try_from(seed).unwrap_or_default() % grounds.all.len().max(1);
    let (Some(ground), Ok(place)) = (grounds.all.get(ground), Place::new(scratch)) else {
        return Outcome {
            tally: Tally::default(),
            failure: Some("there is nothing to stand on".to_owned()),
            trace: Vec::new(),
        };
    };
    let world = world::World::<whole::Whole>::new(ground, Some(nodes), seed, traced);
    lived(world, |world| aftermath(world, grounds.world, &place, seed))
}

/// The ledgers are looked at; and one in a few is recovered: a new service opens on the best of them.
fn aftermath(
    world: &mut world::World<'_, whole::Whole>,
    dead: &super::World,
    place: &Place,
    seed: u64,
) -> Result<(), String> {
    let best = world.look(place, &mut super::Tally::default())?;
    if !seed.is_multiple_of(RECOVERED) {
        return Ok(());
    }
    // The service that is dead now was made by a life of a small seed: members do not say the same again.
    let of_its_own = (world.ground.which, seed ^ u64::MAX);
    let mut life = Life::after(dead, place, of_its_own, best.files, best.entries)?;
    let recovered = life.serve(true).and_then(|_| life.look());
    world.tally.recovered += 1;
    recovered.map_err(|why| format!("a recovery on the best ledger: {why}"))
}

/// After one life in so many, the best ledger is recovered.
const RECOVERED: u64 = 4;

fn lived<'g, B: peer::Body>(
    mut world: world::World<'g, B>,
    look: impl FnOnce(&mut world::World<'g, B>) -> Result<(), String>,
) -> Outcome {
    let lived = catch_unwind(AssertUnwindSafe(|| world.live().and_then(|()| look(&mut world))));
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
