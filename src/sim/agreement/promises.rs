//! What must hold at every step, seen from outside by somebody who sees all nodes at once.

use std::collections::BTreeMap;

use super::peer::{Body, Peer, Record};
use crate::channel::NodeId;
use crate::consensus::Configuration;
use crate::format::{Seqno, TxId, View};

#[derive(Default)]
pub(super) struct Promises {
    /// What any leader has committed, with the view that it led.
    committed: Vec<(Record, View)>,
    leaders: BTreeMap<View, NodeId>,
    /// What each transaction is, wherever it is.
    entries: BTreeMap<TxId, u64>,
    /// What clients were told is committed.
    acknowledged: BTreeMap<TxId, u64>,
}

type Kept = Result<(), String>;

impl Promises {
    pub(super) fn begins_with(ledger: &[Record]) -> Promises {
        Promises {
            committed: ledger.iter().map(|record| (record.clone(), 0)).collect(),
            ..Promises::default()
        }
    }

    /// What is committed, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.committed.iter().map(|(record, _)| record)
    }

    /// What clients were told is committed.
    pub(super) fn acknowledged(&self) -> &BTreeMap<TxId, u64> {
        &self.acknowledged
    }

    /// There is one entry for a transaction, wherever it is. Only what was spoiled on its way is another, as long as no
    /// signature comes after it.
    pub(super) fn appends(&mut self, record: &Record, by_leader: bool) -> Kept {
        let txid = record.entry.txid;
        let payload = *self.entries.entry(txid).or_insert(record.payload);
        match payload == record.payload || !by_leader && !record.entry.is_signature {
            true => Ok(()),
            false => Err(format!("{txid} is two entries")),
        }
    }

    /// Clients that ask this node hear that what they wrote is committed. Answers how many.
    pub(super) fn acknowledges<B: Body>(&mut self, peer: &mut Peer<B>) -> Result<u64, String> {
        let committed = peer.committed;
        let mut count = 0;
        for txid in std::mem::take(&mut peer.told) {
            if txid.seqno > committed {
                peer.told.push(txid);
                continue;
            }
            let record = peer.record(txid.seqno).filter(|record| record.entry.txid == txid);
            let Some(record) = record else {
                return Err(format!("{} told a client of {txid}, and committed another", peer.id));
            };
            self.acknowledged.insert(txid, record.payload);
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn committed(&self) -> Seqno {
        self.committed.len() as Seqno
    }

    /// One a view, and with everything that was committed in earlier ones.
    pub(super) fn leads<B: Body>(&mut self, peer: &Peer<B>, view: View) -> Kept {
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
    pub(super) fn commits<B: Body>(
        &mut self,
        peers: &BTreeMap<NodeId, Peer<B>>,
        peer: &Peer<B>,
        to: Seqno,
        active: &[Configuration],
    ) -> Kept {
        if to <= peer.agreed || to > peer.last() {
            return Err(format!(
                "{} commits {to} of {}, after {}",
                peer.id,
                peer.last(),
                peer.agreed
            ));
        }
        let signature = peer.record(to).filter(|record| record.entry.is_signature);
        let Some(signature) = signature else {
            return Err(format!("{} commits {to}, which is no signature", peer.id));
        };
        for configuration in active.iter().filter(|_| peer.led) {
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
        for seqno in peer.agreed + 1..=to {
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
        Ok(())
    }

    /// Nothing that is committed is taken back: no signature. What is not signed here may go, also where others have committed
    /// it with a signature that is not here yet: nobody counts on this node for it.
    pub(super) fn rolls_back<B: Body>(&self, peer: &Peer<B>, to: Seqno) -> Kept {
        for seqno in to + 1..=peer.last().min(self.committed()) {
            let Some(own) = peer.record(seqno) else { continue };
            let is_committed = self
                .committed
                .get(seqno as usize - 1)
                .is_some_and(|(record, _)| record == own);
            if is_committed && own.entry.is_signature || seqno <= peer.agreed {
                return Err(format!("{} rolls back {seqno}, which is committed", peer.id));
            }
        }
        Ok(())
    }

    /// In the end all that take part have the same.
    pub(super) fn ends<B: Body>(&self, peer: &Peer<B>) -> Kept {
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
