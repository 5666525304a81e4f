//! A node does what its consensus wants.

use std::collections::BTreeSet;

use super::super::chance::Chance;
use super::peer::Record;
use super::world::{Event, Parcel, World, short};
use crate::channel::NodeId;
use crate::consensus::{Effect, Message, NodesChange, Note, Role};
use crate::format::{Seqno, View};

/// What follows from one thing that happened to a node, at most: more is a circle.
const MOST: usize = 1000;

impl World {
    /// A node does what its consensus wants, then what follows from it, then plans what it waits for.
    pub(super) fn obey(&mut self, node: NodeId, effects: Vec<Effect>, cargo: &[Record]) -> Result<(), String> {
        self.carry_out(node, effects, cargo)?;
        for _ in 0..MOST {
            let Some(peer) = self.peers.get_mut(&node) else {
                return Ok(());
            };
            let (now, leads) = (self.now, peer.leads());
            let must_sign = std::mem::take(&mut peer.must_sign) && leads;
            let to_mark = std::mem::take(&mut peer.to_mark);
            if must_sign {
                let payload = self.payload();
                let effects = self
                    .peers
                    .get_mut(&node)
                    .map(|peer| peer.write(now, true, None, payload));
                self.carry_out(node, effects.unwrap_or_default(), &[])?;
            } else if !to_mark.is_empty() && leads {
                let payload = self.payload();
                let trusted = self.newest_nodes(node);
                let change = NodesChange {
                    trusted,
                    retired: BTreeSet::new(),
                    retired_committed: to_mark,
                };
                let Some(peer) = self.peers.get_mut(&node) else {
                    return Ok(());
                };
                let effects = peer.write(now, false, Some(change), payload);
                peer.must_sign = true;
                self.carry_out(node, effects, &[])?;
            } else {
                break;
            }
        }
        self.wait_for_its_next(node);
        match self.peers.get(&node) {
            Some(peer) if peer.is_alive => peer.agrees_with_itself(),
            _ => Ok(()),
        }
    }

    pub(super) fn newest_nodes(&self, node: NodeId) -> BTreeSet<NodeId> {
        let newest = self.peers.get(&node).and_then(|peer| peer.configurations().last());
        newest.map(|it| it.nodes.clone()).unwrap_or_default()
    }

    fn wait_for_its_next(&mut self, node: NodeId) {
        let slow = match (self.slow_disks && !self.is_healed, self.chance.below(20)) {
            (true, 0) => self.ms(200, 3000),
            (true, _) => self.ms(5, 150),
            (false, _) => self.ms(0, 8),
        };
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.is_alive) else {
            return;
        };
        let mut plans = Vec::new();
        if let Some(due) = peer.due()
            && peer.next_tick.is_none_or(|planned| planned > due)
        {
            peer.next_tick = Some(due);
            plans.push((due.max(self.now), Event::Tick(node)));
        }
        if peer.syncing.is_none() && peer.durable < peer.last() {
            peer.syncing = Some(peer.last());
            plans.push((self.now + slow, Event::Synced(node)));
        }
        for (at, event) in plans {
            self.plan_at(at, event);
        }
    }

    fn carry_out(&mut self, node: NodeId, effects: Vec<Effect>, cargo: &[Record]) -> Result<(), String> {
        for effect in effects {
            self.say(|| format!("  {} {effect:?}", short(node)));
            let Some(peer) = self.peers.get_mut(&node) else {
                return Ok(());
            };
            match effect {
                Effect::Send { to, message } => {
                    let is_answer = matches!(message, Message::AppendEntriesResponse(_));
                    let parcel = Parcel {
                        from: node,
                        to,
                        message,
                        records: peer.cargo(&message),
                    };
                    for at in self.network.arrivals(self.now, node, to, is_answer) {
                        self.plan_at(at, Event::Arrives(Box::new(parcel.clone())));
                    }
                }
                Effect::Verify {
                    after, through, view, ..
                } => self.verify(node, after, through, view, cargo)?,
                Effect::RollBack { to, .. } => {
                    self.tally.rolled_back += 1;
                    let Some(peer) = self.peers.get(&node) else { continue };
                    self.promises.rolls_back(peer, to)?;
                    self.peers.entry(node).and_modify(|peer| peer.roll_back(to));
                }
                Effect::Role(Role::Leader) => {
                    self.tally.elections += 1;
                    peer.must_sign = true;
                    peer.led = true;
                    let Some(peer) = self.peers.get(&node) else { continue };
                    self.promises.leads(peer)?;
                }
                Effect::Role(_) => peer.led = false,
                Effect::Commit(to) => {
                    let Some(peer) = self.peers.get(&node) else { continue };
                    let active = peer.configurations();
                    self.promises.commits(&self.peers, peer, to, active)?;
                    self.peers.entry(node).and_modify(|peer| peer.committed = to);
                }
                Effect::MarkRetired(nodes) => peer.to_mark = nodes.into_iter().collect(),
                Effect::Forgotten { node: left, told: true } => {
                    self.tally.told += 1;
                    let knows = self
                        .peers
                        .get(&left)
                        .is_none_or(|it| it.has_retired_for_good() || !it.is_alive);
                    if !knows && self.network.was_always_orderly {
                        return Err(format!("{left} left, does not know it, and is forgotten"));
                    }
                }
                Effect::Forgotten { told: false, .. } => self.tally.silent += 1,
                Effect::MayLeave { .. } => self.may_leave(node),
                Effect::Note(Note::Contradiction { what, .. }) if self.network.was_always_orderly => {
                    return Err(format!("{node} sees a contradiction: {what}"));
                }
                Effect::View(_) | Effect::Retirement(_) | Effect::Note(_) => {}
            }
        }
        Ok(())
    }

    fn verify(
        &mut self,
        node: NodeId,
        after: Seqno,
        through: Seqno,
        view: View,
        cargo: &[Record],
    ) -> Result<(), String> {
        let now = self.now;
        let is_spoiled = !self.is_healed && self.chance.one_in(300);
        let mut all_are_good = true;
        for seqno in after + 1..=through {
            let record = cargo.iter().find(|record| record.entry.txid.seqno == seqno);
            let Some(record) = record.filter(|record| record.entry.txid.view == view) else {
                return Err(format!(
                    "{node} is to verify {seqno} of view {view}, which is not in the frame"
                ));
            };
            if is_spoiled && self.chance.one_in(2) {
                self.tally.bad_frames += 1;
                all_are_good = false;
                break;
            }
            let Some(peer) = self.peers.get_mut(&node) else {
                return Ok(());
            };
            let effects = peer.append(now, record.clone());
            self.carry_out(node, effects, &[])?;
        }
        let Some(peer) = self.peers.get_mut(&node) else {
            return Ok(());
        };
        let effects = peer.verified(now, all_are_good);
        self.carry_out(node, effects, &[])
    }
}
