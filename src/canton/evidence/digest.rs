//! Sixteen hexadecimal digits that stand for evidence: operators read them to each other, and know that they have the same.

use sha2::{Digest, Sha256};

use super::{Evidence, Observations};
use crate::canton::Timestamp;
use crate::canton::name::Participant;

/// Bytes of a SHA-256 that a digest keeps.
const KEPT: usize = 8;

/// What the digest of one source's evidence says: its owner where known, and everything it says about each synchronizer.
/// Order, repetition, the name of the SV and how much of a fingerprint was seen change nothing.
pub fn digest(evidence: &Evidence) -> String {
    let mut hash = Hash::new(b"rekindle canton evidence 1");
    hash.owner(evidence.participant.as_ref());
    hash.count(evidence.observations.len());
    for (synchronizer, observations) in &evidence.observations {
        hash.text(synchronizer);
        hash.observations(observations);
    }
    hash.finish()
}

/// One digest of what several owners say about one synchronizer, in whatever order they are given. An owner that says
/// nothing counts as not given.
pub fn digest_of_all<'a>(all: impl IntoIterator<Item = (Option<&'a Participant>, &'a Observations)>) -> String {
    let said = |(_, observations): &(Option<&Participant>, &Observations)| **observations != Observations::default();
    let mut each: Vec<[u8; 32]> = all
        .into_iter()
        .filter(said)
        .map(|(owner, observations)| {
            let mut hash = Hash::new(b"rekindle canton observations 1");
            hash.owner(owner);
            hash.observations(observations);
            hash.0.finalize().into()
        })
        .collect();
    each.sort_unstable();
    let mut hash = Hash::new(b"rekindle canton agreement 1");
    each.iter().for_each(|one| hash.0.update(one));
    hash.finish()
}

/// Every field is hashed with its length or a fixed size, so that no two sets give the same bytes.
struct Hash(Sha256);

impl Hash {
    fn new(purpose: &[u8]) -> Hash {
        Hash(Sha256::new_with_prefix(purpose))
    }

    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text);
    }

    fn owner(&mut self, owner: Option<&Participant>) {
        self.text(&owner.map(Participant::to_string).unwrap_or_default());
    }

    fn at(&mut self, at: Timestamp) {
        self.0.update(at.micros().to_be_bytes());
    }

    fn maybe_at(&mut self, at: Option<Timestamp>) {
        self.0.update([u8::from(at.is_some())]);
        self.at(at.unwrap_or(Timestamp::MIN));
    }

    fn observations(&mut self, observations: &Observations) {
        self.maybe_at(observations.reached);
        self.maybe_at(observations.pruned);
        self.0.update([u8::from(observations.was_catching_up)]);
        self.count(observations.sent.len());
        for (counterparty, latest) in &observations.sent {
            self.text(&counterparty.to_string());
            self.at(*latest);
        }
        // A set of comparisons has one form in runs.
        self.count(observations.compared.runs().count());
        for (counterparty, comparison, run) in observations.compared.runs() {
            self.text(&counterparty.to_string());
            self.0.update([comparison as u8]);
            self.at(run.first.from_exclusive);
            self.at(run.first.to_inclusive);
            self.count(run.count as usize);
        }
    }

    fn finish(self) -> String {
        let hash: [u8; 32] = self.0.finalize().into();
        hex::encode(hash.get(..KEPT).unwrap_or_default())
    }
}
