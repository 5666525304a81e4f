//! How much is kept of one SV: so many facts, and so many bytes. Both depend on what is kept alone, not on the order in which it
//! came, so that what was written into a file has room again when it is read.

use crate::canton::name::Participant;

/// Facts that one source may give on all synchronizers together: what twenty SVs give that compare every minute for a month,
/// or forty that compare every half an hour for a year.
pub const MOST_FACTS: usize = 1_000_000;
/// Bytes that they may take: 260,000 runs of periods that do not follow each other, or 20,000 counterparties.
pub const MOST_BYTES: usize = 12 << 20;

/// Bytes of a run in a tree whose nodes are half full.
pub const RUN: usize = 48;
/// Bytes of a counterparty beside its names: its place in a tree, and the first node of its runs.
const COUNTERPARTY: usize = 512;
/// Bytes of who sent something, and when, beside its names.
const SENDER: usize = 128;
/// Bytes of a synchronizer beside its name.
const SYNCHRONIZER: usize = 1024;

/// What is taken of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    facts: usize,
    bytes: usize,
}

fn names(participant: &Participant) -> usize {
    participant.identifier().len() + participant.fingerprint().len()
}

/// What a counterparty takes before its first run.
pub fn counterparty(participant: &Participant) -> usize {
    COUNTERPARTY + names(participant)
}

/// What one who sent something takes.
pub fn sender(participant: &Participant) -> usize {
    SENDER + names(participant)
}

/// What a synchronizer takes.
pub fn synchronizer(name: &str) -> usize {
    SYNCHRONIZER + name.len()
}

impl Room {
    /// Whether there is still so much.
    pub fn has(&self, facts: usize, bytes: usize) -> bool {
        self.facts.saturating_add(facts) <= MOST_FACTS && self.bytes.saturating_add(bytes) <= MOST_BYTES
    }

    /// Takes so much, if it is there.
    pub fn take(&mut self, facts: usize, bytes: usize) -> bool {
        let has = self.has(facts, bytes);
        if has {
            self.facts += facts;
            self.bytes += bytes;
        }
        has
    }

    /// Counts what was added: facts, bytes, and by how many there are more runs, or fewer.
    pub fn add(&mut self, facts: usize, bytes: usize, runs: isize) {
        self.facts = self.facts.saturating_add(facts);
        let of_runs = runs.saturating_mul(RUN as isize);
        self.bytes = self.bytes.saturating_add(bytes).saturating_add_signed(of_runs);
    }
}
