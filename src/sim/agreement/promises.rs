//! What must hold at every step, seen from outside by somebody who sees all nodes at once.

use std::collections::BTreeMap;

use super::peer::{Peer, Record};
use crate::channel::NodeId;
use crate::consensus::Configuration;
use crate::format::{Seqno, View};

#[derive(Default)]
pub(super) struct Promises {
    /// What any leader has committed, with the view that it led.
    committed: Vec<(Record, View)>,
    leaders: BTreeMap<View, NodeId>,
}

type Kept = Result<(), String>;

impl Promises {
    pub(super) fn begins_with(ledger: &[Record]) -> Promises {
        Promises {
            committed: ledger.iter().map(|record| (record.clone(), 0)).collect(),
            leaders: BTreeMap::new(),
        }
    }

    pub(super) fn committed(&self) -> Seqno {
        self.committed.len() as Seqno
    }

    /// One a view, and with everything that was committed in earlier ones.
    pub(super) fn leads(&mut self, peer: &Peer) -> Kept {
        let view = peer.view();
        if let Some(other) = self.leaders.insert(view, peer.id) {
            return Err(format!("view {view} is led by {other} and by {}", peer.id));
        }
        for (at, (record, by)) in self.committed.iter().enumerate() {
            if *by < view && peer.ledger.get(at) != Some(record) {
                return Err(format!(
                    "{} leads view {view} without {}, which was committed in view {by}",
                    peer.id, record.entry.txid
                ));
            }
        }
        Ok(())
    }

    /// What a node says is committed is what others say, and enough disks have it. `active` is what was active before.
    pub(super) fn commits(
        &mut self,
        peers: &BTreeMap<NodeId, Peer>,
        peer: &Peer,
        to: Seqno,
        active: &[Configuration],
    ) -> Kept {
        if to <= peer.committed || to > peer.last() {
            return Err(format!(
                "{} commits {to} of {}, after {}",
                peer.id,
                peer.last(),
                peer.committed
            ));
        }
        for seqno in peer.committed + 1..=to {
            let Some(own) = peer.record(seqno) else { continue };
            match self.committed.get(seqno as usize - 1) {
                Some((record, _)) if record == own => {}
                Some((record, _)) => {
                    return Err(format!(
                        "{} commits {}, where {} was committed",
                        peer.id, own.entry.txid, record.entry.txid
                    ));
                }
                None if peer.led => self.committed.push((own.clone(), peer.view())),
                None => return Err(format!("{} commits {} before any leader", peer.id, own.entry.txid)),
            }
        }
        let signature = peer.record(to).filter(|record| record.entry.is_signature);
        let Some(signature) = signature else {
            return Err(format!("{} commits {to}, which is no signature", peer.id));
        };
        if !peer.led {
            return Ok(());
        }
        for configuration in active {
            let on_disk = |node: &&NodeId| {
                peers
                    .get(node)
                    .is_some_and(|other| other.durable >= to && other.record(to) == Some(signature))
            };
            let disks = configuration.nodes.iter().filter(on_disk).count();
            if disks <= configuration.nodes.len() / 2 {
                return Err(format!(
                    "{} commits {}, which is on {disks} disks of the {} of configuration {}",
                    peer.id,
                    signature.entry.txid,
                    configuration.nodes.len(),
                    configuration.seqno
                ));
            }
        }
        Ok(())
    }

    /// Nothing that is committed is taken back: no signature. What is not signed here may go, also where others have committed
    /// it with a signature that is not here yet: nobody counts on this node for it.
    pub(super) fn rolls_back(&self, peer: &Peer, to: Seqno) -> Kept {
        for seqno in to + 1..=peer.last().min(self.committed()) {
            let Some(own) = peer.record(seqno) else { continue };
            let is_committed = self
                .committed
                .get(seqno as usize - 1)
                .is_some_and(|(record, _)| record == own);
            if is_committed && own.entry.is_signature || seqno <= peer.committed {
                return Err(format!("{} rolls back {seqno}, which is committed", peer.id));
            }
        }
        Ok(())
    }

    /// In the end all that take part have the same.
    pub(super) fn ends(&self, peer: &Peer) -> Kept {
        // A machine that was lost may not have brought to its disk what others have.
        let known = if peer.is_alive {
            peer.committed
        } else {
            peer.committed.min(peer.last())
        } as usize;
        let same = self.committed.iter().map(|(record, _)| record).take(known);
        match same.eq(peer.ledger.iter().take(known)) && peer.committed <= self.committed() {
            true => Ok(()),
            false => Err(format!("{} ends with another ledger", peer.id)),
        }
    }
}
