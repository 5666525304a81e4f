//! What happened in a life, in numbers.

/// What happened in a life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Things that happened.
    pub steps: u64,
    /// Entries that were committed.
    pub committed: u64,
    /// Nodes that became leader.
    pub elections: u64,
    /// Nodes that joined.
    pub joined: u64,
    /// Nodes that were retired.
    pub retired: u64,
    /// Leaders that retired for good.
    pub leaders_retired: u64,
    /// Nodes that crashed.
    pub crashed: u64,
    /// Times that entries were rolled back.
    pub rolled_back: u64,
    /// Nodes that were forgotten because they knew.
    pub told: u64,
    /// Nodes that were forgotten because they were silent.
    pub silent: u64,
    /// Frames with an entry that was bad.
    pub bad_frames: u64,
    /// Transactions of which clients were told that they are committed.
    pub acknowledged: u64,
    /// Nodes whose disk failed for good.
    pub gave_up: u64,
    /// Recoveries on the best ledger, after all.
    pub recovered: u64,
    /// From the end of the faults until the cluster was well, at most.
    pub healed_ms: u64,
}

impl Tally {
    /// Adds what happened in another life.
    pub fn add(&mut self, other: &Tally) {
        self.steps += other.steps;
        self.committed += other.committed;
        self.elections += other.elections;
        self.joined += other.joined;
        self.retired += other.retired;
        self.leaders_retired += other.leaders_retired;
        self.crashed += other.crashed;
        self.rolled_back += other.rolled_back;
        self.told += other.told;
        self.silent += other.silent;
        self.bad_frames += other.bad_frames;
        self.acknowledged += other.acknowledged;
        self.recovered += other.recovered;
        self.gave_up += other.gave_up;
        self.healed_ms = self.healed_ms.max(other.healed_ms);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
