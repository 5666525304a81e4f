//! What a node has done becomes part of the world, and what it waits for is planned.

use super::super::chance::Chance;
use super::peer::{Body, Deed};
use super::world::{Event, Parcel, World, short};
use crate::channel::NodeId;
use crate::consensus::{Message, Note};
use crate::format::Seqno;

impl<B: Body> World<'_, B> {
    /// What a node has done is seen, then what it waits for is planned.
    pub(super) fn see(&mut self, node: NodeId, deeds: Vec<Deed<B::Cargo>>) -> Result<(), String> {
        for deed in deeds {
            self.say(|| match &deed {
                Deed::Sends { to, message, .. } => format!("  {} sends {} {message:?}", short(node), short(*to)),
                Deed::Appended(record) => {
                    let what = if record.entry.is_signature { " (signature)" } else { "" };
                    format!(
                        "  {} appends {}{what} {:?}",
                        short(node),
                        record.entry.txid,
                        record.entry.nodes
                    )
                }
                Deed::RolledBack(to) => format!("  {} rolls back to {to}", short(node)),
                Deed::Durable(to) => format!("  {} is durable up to {to}", short(node)),
                Deed::Leads(view) => format!("  {} leads view {view}", short(node)),
                Deed::Follows => format!("  {} follows", short(node)),
                Deed::Agreed(to) => format!("  {} knows that {to} is committed", short(node)),
                Deed::Committed(to) => format!("  {} commits {to}", short(node)),
                Deed::Forgot { node: left, told } => format!("  {} forgets {}: told {told}", short(node), short(*left)),
                Deed::MayLeave => format!("  {} may leave", short(node)),
                Deed::Notes(note) => format!("  {}: {note}", short(node)),
                Deed::Refused => format!("  {} refuses an entry", short(node)),
                Deed::Told(txid) => format!("  {} tells a client of {txid}", short(node)),
                Deed::GivesUp => format!("  {} gives up", short(node)),
            });
            self.see_one(node, deed)?;
        }
        self.wait_for_its_next(node);
        match self.peers.get(&node) {
            Some(peer) if peer.is_alive => peer.agrees_with_itself(),
            _ => Ok(()),
        }
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
        if let Some(due) = peer.body.due()
            && peer.next_tick.is_none_or(|planned| planned > due)
        {
            peer.next_tick = Some(due);
            plans.push((due.max(self.now), Event::Tick(node)));
        }
        if !peer.is_writing && peer.body.waits_for_disk() {
            peer.is_writing = true;
            peer.body.disk_begins();
            plans.push((self.now + slow, Event::Disk(node)));
        }
        for (at, event) in plans {
            self.plan_at(at, event);
        }
    }

    fn see_one(&mut self, node: NodeId, deed: Deed<B::Cargo>) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(&node) else {
            return Ok(());
        };
        match deed {
            Deed::Sends { to, message, cargo } => {
                let is_answer = matches!(message, Message::AppendEntriesResponse(_));
                let parcel = Parcel {
                    from: node,
                    to,
                    message,
                    cargo,
                };
                for at in self.network.arrivals(self.now, node, to, is_answer) {
                    self.plan_at(at, Event::Arrives(Box::new(parcel.clone())));
                }
            }
            Deed::Appended(record) => {
                self.promises.appends(&record, peer.led)?;
                peer.append(record)?;
            }
            Deed::RolledBack(to) => {
                self.tally.rolled_back += 1;
                self.promises.rolls_back(peer, to)?;
                peer.roll_back(to);
            }
            Deed::Durable(to) => peer.durable = peer.durable.max(to),
            Deed::Leads(view) => {
                self.tally.elections += 1;
                peer.led = true;
                self.promises.leads(peer, view)?;
            }
            Deed::Follows => peer.led = false,
            Deed::Agreed(to) => {
                // A leader may commit several signatures at once, each by those who take part after the one before it.
                let is_signature = |seqno: &Seqno| peer.record(*seqno).is_some_and(|record| record.entry.is_signature);
                let signatures: Vec<Seqno> = (peer.agreed + 1..to).filter(is_signature).collect();
                for seqno in signatures.into_iter().chain([to]) {
                    let Some(peer) = self.peers.get(&node) else { continue };
                    match self.promises.commits(&self.peers, peer, seqno, peer.configurations()) {
                        Ok(()) => drop(self.peers.entry(node).and_modify(|peer| peer.agreed = seqno)),
                        Err(why) if seqno == to => return Err(why),
                        Err(_) => {}
                    }
                }
            }
            Deed::Committed(to) => {
                let is_due = to > peer.committed && to <= peer.agreed;
                let is_signature = peer.record(to).is_some_and(|record| record.entry.is_signature);
                if !is_due || !is_signature || to > peer.durable && B::HAS_DISK {
                    let (agreed, durable) = (peer.agreed, peer.durable);
                    return Err(format!("{node} says {to} is committed, of {agreed}, durable {durable}"));
                }
                peer.committed = to;
                self.tally.acknowledged += self.promises.acknowledges(peer)?;
            }
            Deed::Forgot { node: left, told: true } => {
                self.tally.told += 1;
                let knows = self
                    .peers
                    .get(&left)
                    .is_none_or(|it| it.has_retired_for_good() || !it.is_alive);
                if !knows && self.network.was_always_orderly {
                    return Err(format!("{left} left, does not know it, and is forgotten"));
                }
            }
            Deed::Forgot { told: false, .. } => self.tally.silent += 1,
            Deed::MayLeave => self.may_leave(node),
            Deed::Notes(Note::Contradiction { what, .. }) if self.network.was_always_orderly => {
                return Err(format!("{node} sees a contradiction: {what}"));
            }
            Deed::Notes(_) => {}
            Deed::Refused => self.tally.bad_frames += 1,
            Deed::Told(txid) => peer.told.push(txid),
            Deed::GivesUp if peer.is_doomed => {
                self.tally.gave_up += 1;
                peer.crash()?;
            }
            Deed::GivesUp => return Err(format!("{node} gives up, and its disk is not broken")),
        }
        Ok(())
    }
}
