//! Clusters of real processes whose nodes are killed while they recover, govern, hand over and join; what the rest does, and
//! what is left. Used by `examples/kill_cluster.rs`.

pub mod acts;
pub mod ending;
pub mod killing;
pub mod ledgers;
pub mod life;
pub mod nodes;
pub mod process;
pub mod promises;
pub mod tally;
pub mod tending;

use std::path::{Path, PathBuf};
use std::time::Duration;

use life::Life;
use tally::Tally;

/// What to do.
pub struct Plan {
    pub kills: u32,
    pub seed: u64,
    /// Nodes of a cluster.
    pub nodes: usize,
    /// Without a leader for so long, nodes stand for election.
    pub election: Duration,
    /// The rest must go on within so many of them.
    pub limit: u32,
    /// The official reader's Python.
    pub python: Option<PathBuf>,
    /// A dead service: `ledger`, `common`.
    pub service: PathBuf,
    /// Where clusters live; those in which something failed stay.
    pub scratch: PathBuf,
}

/// Numbers that look random and are the same each time (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap()
    }

    pub fn within_ms(&mut self, ms: usize) -> Duration {
        Duration::from_micros(self.below(ms * 1000) as u64)
    }

    pub fn one_of<T: Copy>(&mut self, what: &[T]) -> T {
        what[self.below(what.len())]
    }
}

/// Kills nodes of one cluster after the other until there were enough kills.
pub async fn kill_clusters(plan: &Plan, tell: &dyn Fn(&str)) -> Tally {
    let mut tally = Tally::default();
    let mut number = 0;
    while tally.killed() < plan.kills && tally.failures.len() < 10 {
        let seed = plan.seed.wrapping_mul(1_000_003).wrapping_add(number);
        let directory = plan.scratch.join(format!("cluster-{number}"));
        number += 1;
        tally.clusters += 1;
        tell(&format!("cluster {number} (seed {seed})"));
        match Life::begin(plan, Dice(seed), &directory, &mut tally, tell).live().await {
            Ok(()) => std::fs::remove_dir_all(&directory).unwrap(),
            Err(why) => {
                tell(&format!("FAILED in {}: {why}", directory.display()));
                tally.failures.push(format!("{}: {why}", directory.display()));
            }
        }
    }
    tally
}

/// Copies the files of a directory.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
