//! What becomes of messages between nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;

use super::super::chance::Chance;
use crate::channel::NodeId;

/// Delays, losses, repetitions and cuts.
pub(super) struct Network {
    chance: ChaCha20Rng,
    /// From whom to whom nothing arrives.
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    /// Between two nodes messages keep their order and come once, as channels see to. Otherwise neither.
    pub(super) is_orderly: bool,
    /// It was so from the start: nothing is on its way that comes out of order.
    pub(super) was_always_orderly: bool,
    /// So many of a thousand are lost.
    pub(super) lost: u32,
    pub(super) slowest_ms: usize,
    /// Where there is no order, one in so many takes seconds.
    straggle: usize,
    /// When the last one arrives.
    arrivals: BTreeMap<(NodeId, NodeId), Duration>,
}

impl Network {
    pub(super) fn new(mut chance: ChaCha20Rng) -> Network {
        let is_orderly = !chance.one_in(3);
        let lost = chance.pick(&[0, 0, 10, 50, 200]).unwrap_or(0);
        let slowest_ms = chance.pick(&[2, 10, 40, 150, 400]).unwrap_or(2);
        let straggle = chance.pick(&[4, 15, 60]).unwrap_or(60);
        Network {
            straggle,
            chance,
            cuts: BTreeSet::new(),
            is_orderly,
            was_always_orderly: is_orderly,
            lost,
            slowest_ms,
            arrivals: BTreeMap::new(),
        }
    }

    /// When a message that is sent now arrives: never, once or more often. Answers may come again when nobody waits for them
    /// any more.
    pub(super) fn arrivals(&mut self, now: Duration, from: NodeId, to: NodeId, is_answer: bool) -> Vec<Duration> {
        if self.chance.one_in_thousand(self.lost) {
            return Vec::new();
        }
        let echo = !self.is_orderly && is_answer && self.chance.one_in(3);
        let late = echo.then(|| now + Duration::from_millis(self.chance.below(8000) as u64));
        let times = if !self.is_orderly && self.chance.one_in(15) {
            2
        } else {
            1
        };
        let arrivals = (0..times).map(|_| {
            let mut slow = self.chance.below(self.slowest_ms + 1);
            if !self.is_orderly && self.chance.one_in(self.straggle) {
                slow += self.chance.below(8000);
            }
            let arrives = now + Duration::from_micros(slow as u64 * 1000 + self.chance.below(1000) as u64);
            if !self.is_orderly {
                return arrives;
            }
            let last = self.arrivals.entry((from, to)).or_default();
            *last = arrives.max(*last);
            *last
        });
        arrivals.chain(late).collect()
    }

    /// Everything works from now on.
    pub(super) fn heal(&mut self) {
        self.cuts.clear();
        self.lost = 0;
        self.slowest_ms = 10;
        self.is_orderly = true;
    }

    /// Nothing passes between two groups.
    pub(super) fn split(&mut self, some: &[NodeId], others: &[NodeId]) {
        for one in some {
            for other in others {
                self.cuts.insert((*one, *other));
                self.cuts.insert((*other, *one));
            }
        }
    }
}
