//! Who takes part, as members decide it; how it begins, and when all is well.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::chance::Chance;
use super::peer::Peer;
use super::promises::Promises;
use super::world::{ELECTION, Event, World, short};
use crate::channel::NodeId;
use crate::consensus::NodesChange;
use crate::format::Seqno;

/// Nodes that take part at once, at most.
const MOST: usize = 5;
/// Nodes of a life, at most.
const EVER: usize = 24;

type Done = Result<(), String>;

impl World {
    /// One node that leads after a recovery, and soon two to four more.
    pub(super) fn begin(&mut self) -> Done {
        let id = self.new_id();
        let (mut peer, effects) = Peer::first(id, self.settings, self.chance.branch(), self.entries_per_frame);
        self.prepare(&mut peer);
        self.promises = Promises::begins_with(&peer.ledger);
        self.peers.insert(id, peer);
        self.obey(id, effects, &[])?;
        for _ in 0..self.chance.within(2, 4) {
            self.admit(id)?;
        }
        self.plan(Duration::from_millis(50), Event::Clients);
        self.plan(ELECTION, Event::Fault);
        self.plan(ELECTION * 2, Event::Members);
        Ok(())
    }

    #[cfg(test)]
    fn prepare(&self, peer: &mut Peer) {
        peer.break_rule(self.broken);
    }

    #[cfg(not(test))]
    fn prepare(&self, _: &mut Peer) {}

    fn new_id(&mut self) -> NodeId {
        let mut bytes = [0; 32];
        bytes[0] = self.peers.len() as u8 + 1;
        NodeId(bytes)
    }

    /// A node joins, with nothing or with a snapshot, and the leader adds it.
    fn admit(&mut self, leader: NodeId) -> Done {
        let id = self.new_id();
        let mut trusted = self.newest_nodes(leader);
        trusted.insert(id);
        let committed = self.peers.get(&leader).map_or(0, |peer| peer.committed);
        if self.peers.len() >= EVER || trusted.len() > MOST || !self.survives(&trusted, None) {
            return Ok(());
        }
        let until = if self.chance.one_in(2) { committed } else { 0 };
        let snapshot = self
            .peers
            .get(&leader)
            .map(|peer| peer.ledger.iter().take(until as usize).cloned().collect());
        let snapshot: Vec<_> = snapshot.unwrap_or_default();
        let chance = self.chance.branch();
        let mut peer = Peer::joins(id, &snapshot, self.settings, chance, self.now, self.entries_per_frame);
        self.prepare(&mut peer);
        self.peers.insert(id, peer);
        self.tally.joined += 1;
        self.say(|| format!("{} joins with {} entries", short(id), snapshot.len()));
        self.change(leader, trusted, BTreeSet::new())
    }

    fn change(&mut self, leader: NodeId, trusted: BTreeSet<NodeId>, retired: BTreeSet<NodeId>) -> Done {
        self.recent.push_back((self.now, trusted.clone()));
        self.tally.retired += retired.len() as u64;
        self.say(|| format!("{} writes who takes part: {trusted:?}", short(leader)));
        let change = NodesChange {
            trusted,
            retired,
            retired_committed: BTreeSet::new(),
        };
        self.write(leader, false, Some(change))?;
        match self.chance.one_in(2) {
            true => self.write(leader, true, None),
            false => Ok(()),
        }
    }

    /// At any leader, also one that is deposed and does not know.
    pub(super) fn members_decide(&mut self) -> Done {
        let after = self.ms(200, 5000);
        self.plan(after, Event::Members);
        let leaders = self.leaders();
        let Some(leader) = self.chance.pick(&leaders) else {
            return Ok(());
        };
        match self.chance.below(8) {
            0..3 => self.admit(leader),
            3..5 => self.retire(leader, 1, false),
            5 => self.retire(leader, 2, false),
            6 => self.retire(leader, 1, true),
            _ => {
                self.retire(leader, 1, false)?;
                self.admit(leader)
            }
        }
    }

    fn retire(&mut self, leader: NodeId, how_many: usize, itself: bool) -> Done {
        let mut trusted = self.newest_nodes(leader);
        let mut retired = BTreeSet::new();
        for _ in 0..how_many {
            let all: Vec<NodeId> = trusted.iter().copied().collect();
            let node = if itself { Some(leader) } else { self.chance.pick(&all) };
            if let Some(node) = node.filter(|node| trusted.contains(node)) {
                trusted.remove(&node);
                retired.insert(node);
            }
        }
        if trusted.is_empty() || retired.is_empty() || !self.survives(&trusted, None) {
            return Ok(());
        }
        self.tally.leaders_retired += u64::from(retired.contains(&leader));
        self.change(leader, trusted, retired)
    }

    /// A majority of these nodes lives, also without one of them.
    fn lives(&self, nodes: &BTreeSet<NodeId>, without: Option<NodeId>) -> bool {
        let alive = |node: &&NodeId| without != Some(**node) && self.peers.get(node).is_none_or(|peer| peer.is_alive);
        nodes.iter().filter(alive).count() > nodes.len() / 2
    }

    /// A majority of every configuration that may count lives: these nodes, and all that anybody believes in.
    pub(super) fn survives(&mut self, nodes: &BTreeSet<NodeId>, without: Option<NodeId>) -> bool {
        while self
            .recent
            .front()
            .is_some_and(|(at, _)| *at + ELECTION * 10 < self.now)
        {
            self.recent.pop_front();
        }
        let mut believed = self.peers.values().flat_map(Peer::configurations);
        let recent_live = self.recent.iter().all(|(_, nodes)| self.lives(nodes, without));
        (nodes.is_empty() || self.lives(nodes, without))
            && recent_live
            && believed.all(|it| self.lives(&it.nodes, without))
    }

    /// A node that is retired for good may end its process.
    pub(super) fn may_leave(&mut self, node: NodeId) {
        if self.chance.one_in(2) {
            self.say(|| format!("{} ends", short(node)));
            self.peers.entry(node).and_modify(|peer| peer.is_alive = false);
        }
    }

    /// One node leads, has committed what was written after the faults, and all that take part know it.
    pub(super) fn is_well(&self) -> bool {
        let mark = |last: Seqno| last >= self.promises_mark();
        self.peers.values().filter(|peer| peer.leads()).any(|leader| {
            let configurations = leader.configurations();
            let all_know = |nodes: &BTreeSet<NodeId>| {
                nodes.iter().all(|node| {
                    self.peers
                        .get(node)
                        .is_none_or(|peer| !peer.is_alive || mark(peer.committed))
                })
            };
            mark(leader.committed) && configurations.len() == 1 && configurations.iter().all(|it| all_know(&it.nodes))
        })
    }
}
