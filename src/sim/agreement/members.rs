//! Who takes part, as members decide it; how it begins, and when all is well.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::chance::Chance;
use super::ground::EVER;
use super::peer::{Body, Peer, Plan, Wanted};
use super::promises::Promises;
use super::world::{ELECTION, Event, World, short};
use crate::channel::NodeId;
use crate::consensus::NodesChange;
use crate::format::Seqno;

type Done = Result<(), String>;

impl<B: Body> World<'_, B> {
    /// One node that leads after a recovery, and soon more.
    pub(super) fn begin(&mut self) -> Done {
        let plan = self.plan_of();
        let id = plan.id;
        let (mut body, beginning, deeds) = B::first(self.ground, plan)?;
        self.prepare(&mut body);
        self.promises = Promises::begins_with(&beginning.ledger);
        self.peers.insert(id, Peer::new(id, body, beginning));
        self.see(id, deeds)?;
        for _ in 1..self.begin_with {
            self.admit(id)?;
        }
        self.plan(Duration::from_millis(50), Event::Clients);
        self.plan(ELECTION, Event::Fault);
        self.plan(ELECTION * 2, Event::Members);
        Ok(())
    }

    #[cfg(test)]
    fn prepare(&self, body: &mut B) {
        if let Some(rule) = self.broken {
            body.break_rule(rule);
        }
    }

    #[cfg(not(test))]
    fn prepare(&self, _: &mut B) {}

    /// Of the next node.
    fn plan_of(&mut self) -> Plan {
        Plan {
            id: B::id(self.ground, self.peers.len()),
            settings: self.settings,
            chance: self.chance.branch(),
            entries_per_frame: self.entries_per_frame,
            now: self.now,
        }
    }

    /// A node joins, with nothing or with a snapshot, and the leader adds it.
    fn admit(&mut self, leader: NodeId) -> Done {
        let plan = self.plan_of();
        let id = plan.id;
        let mut trusted = self.newest_nodes(leader);
        trusted.insert(id);
        if self.peers.len() >= EVER || trusted.len() > self.most || !self.survives(&trusted, None) {
            return Ok(());
        }
        let with_snapshot = self.chance.one_in(2);
        let giver = self.peers.get(&leader).filter(|_| with_snapshot);
        let (mut body, beginning) = B::joins(self.ground, plan, giver)?;
        self.prepare(&mut body);
        let given = beginning.ledger.len();
        self.peers.insert(id, Peer::new(id, body, beginning));
        self.tally.joined += 1;
        self.say(|| format!("{} joins with {given} entries", short(id)));
        self.write(leader, Wanted::Pending(id))?;
        // What was read may be old by now: who leads may have signed for who asks, and lost the lead by that.
        let mut trusted = self.newest_nodes(leader);
        trusted.insert(id);
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
        self.write(leader, Wanted::Nodes(change))?;
        match self.chance.one_in(2) {
            true => self.write(leader, Wanted::Signature),
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

    fn newest_nodes(&self, node: NodeId) -> BTreeSet<NodeId> {
        self.peers.get(&node).map(Peer::newest_nodes).unwrap_or_default()
    }

    /// A majority of these nodes lives, also without one of them.
    fn lives(&self, nodes: &BTreeSet<NodeId>, without: Option<NodeId>) -> bool {
        let alive = |node: &&NodeId| {
            without != Some(**node) && self.peers.get(node).is_none_or(|peer| peer.is_alive && !peer.is_doomed)
        };
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
                        .is_none_or(|peer| !peer.is_alive || peer.is_doomed || mark(peer.committed))
                })
            };
            mark(leader.committed) && configurations.len() == 1 && configurations.iter().all(|it| all_know(&it.nodes))
        })
    }
}
