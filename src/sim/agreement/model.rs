//! Consensus alone: a ledger of entries without contents, and a disk that is late.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;

use super::super::chance::Chance;
use super::peer::{Beginning, Body, Deed, Deeds, Disk, Peer, Plan, Record, Wanted, nodes_after, start};
use crate::channel::NodeId;
use crate::consensus::{Consensus, Effect, Entry, Message, NodesChange, Role, Sizes};
use crate::format::{Seqno, TxId};

/// What a spoiled entry has for contents.
const SPOILED: u64 = u64::MAX;

/// So many entries fit into a frame.
pub(super) struct Frames(pub(super) u64);

impl Sizes for Frames {
    fn reach(&self, after: Seqno, at_most: Seqno, _: u64) -> Seqno {
        at_most.min(after + self.0)
    }
}

pub(super) struct Model {
    consensus: Consensus,
    ledger: Vec<Record>,
    durable: Seqno,
    /// What is being synced.
    syncing: Option<Seqno>,
    frames: Frames,
    written: u64,
}

impl Model {
    fn new(consensus: Consensus, ledger: Vec<Record>, plan_frames: u64) -> Model {
        Model {
            consensus,
            durable: ledger.len() as Seqno,
            ledger,
            syncing: None,
            frames: Frames(plan_frames),
            written: 0,
        }
    }

    fn last(&self) -> Seqno {
        self.ledger.len() as Seqno
    }

    fn record(&self, seqno: Seqno) -> Option<&Record> {
        self.ledger.get(usize::try_from(seqno).ok()?.checked_sub(1)?)
    }

    /// Does what consensus wants, and then what follows from that.
    fn obey(&mut self, now: Duration, effects: Vec<Effect>, cargo: &[Record]) -> Deeds<Model> {
        let mut deeds = Vec::new();
        let mut effects = VecDeque::from(effects);
        let (mut must_sign, mut to_mark) = (false, BTreeSet::new());
        loop {
            while let Some(effect) = effects.pop_front() {
                match effect {
                    Effect::Send { to, message } => deeds.push(Deed::Sends {
                        to,
                        cargo: self.cargo(&message),
                        message,
                    }),
                    Effect::Verify {
                        after, through, view, ..
                    } => {
                        let verified = self.verify(now, (after, through, view), cargo, &mut deeds)?;
                        verified.into_iter().rev().for_each(|next| effects.push_front(next));
                    }
                    Effect::RollBack { to, .. } => {
                        self.ledger.truncate(to as usize);
                        self.durable = self.durable.min(to);
                        self.syncing = self.syncing.map(|through| through.min(to));
                        deeds.push(Deed::RolledBack(to));
                    }
                    Effect::Role(Role::Leader) => {
                        must_sign = true;
                        deeds.push(Deed::Leads(self.consensus.view()));
                    }
                    Effect::Role(_) => deeds.push(Deed::Follows),
                    Effect::Commit(to) => deeds.extend([Deed::Agreed(to), Deed::Committed(to)]),
                    Effect::MarkRetired(nodes) => to_mark.extend(nodes),
                    Effect::Forgotten { node, told } => deeds.push(Deed::Forgot { node, told }),
                    Effect::MayLeave { .. } => deeds.push(Deed::MayLeave),
                    Effect::Note(note) => deeds.push(Deed::Notes(note)),
                    Effect::View(_) | Effect::Retirement(_) => {}
                }
            }
            let leads = self.consensus.role() == Role::Leader;
            if std::mem::take(&mut must_sign) && leads {
                effects = self.append_own(now, true, None, &mut deeds).into();
            } else if !to_mark.is_empty() && leads {
                let change = NodesChange {
                    trusted: self.newest_nodes(),
                    retired: BTreeSet::new(),
                    retired_committed: std::mem::take(&mut to_mark),
                };
                effects = self.append_own(now, false, Some(change), &mut deeds).into();
                must_sign = true;
            } else {
                return Ok(deeds);
            }
        }
    }

    fn newest_nodes(&self) -> BTreeSet<NodeId> {
        let newest = self.consensus.configurations().last();
        newest.map(|it| it.nodes.clone()).unwrap_or_default()
    }

    /// Entries of the ledger that go along with a message.
    fn cargo(&self, message: &Message) -> Vec<Record> {
        match message {
            Message::AppendEntries(frame) => (frame.prev_idx + 1..=frame.idx)
                .filter_map(|seqno| self.record(seqno).cloned())
                .collect(),
            _ => Vec::new(),
        }
    }

    fn append_own(
        &mut self,
        now: Duration,
        is_signature: bool,
        nodes: Option<NodesChange>,
        deeds: &mut Vec<Deed<Vec<Record>>>,
    ) -> Vec<Effect> {
        let txid = TxId {
            view: self.consensus.view(),
            seqno: self.last() + 1,
        };
        let entry = Entry {
            txid,
            is_signature,
            nodes,
        };
        self.written += 1;
        let [of, ..] = self.consensus.id().0;
        let payload = u64::from(of) << 40 | self.written;
        self.append(now, Record { entry, payload }, deeds)
    }

    fn append(&mut self, now: Duration, record: Record, deeds: &mut Vec<Deed<Vec<Record>>>) -> Vec<Effect> {
        let effects = self.consensus.appended(now, &record.entry);
        self.ledger.push(record.clone());
        deeds.push(Deed::Appended(record));
        effects
    }

    fn verify(
        &mut self,
        now: Duration,
        (after, through, view): (Seqno, Seqno, u64),
        cargo: &[Record],
        deeds: &mut Vec<Deed<Vec<Record>>>,
    ) -> Result<Vec<Effect>, String> {
        let mut effects = Vec::new();
        for seqno in after + 1..=through {
            let record = cargo.iter().find(|record| record.entry.txid.seqno == seqno);
            let Some(record) = record.filter(|record| record.entry.txid.view == view) else {
                return Err(format!(
                    "{} is to verify {seqno} of view {view}, which is not in the frame",
                    self.consensus.id()
                ));
            };
            if record.payload == SPOILED {
                deeds.push(Deed::Refused);
                effects.extend(self.consensus.rejected(now));
                return Ok(effects);
            }
            effects.extend(self.append(now, record.clone(), deeds));
        }
        effects.extend(self.consensus.accepted(now));
        Ok(effects)
    }
}

impl Body for Model {
    type Cargo = Vec<Record>;
    type Ground = ();
    const HAS_DISK: bool = false;
    const CLIENTS_MS: (usize, usize) = (5, 80);
    const FAULTS: (usize, usize) = (20, 70);

    fn id((): &(), number: usize) -> NodeId {
        let mut bytes = [0; 32];
        bytes[0] = number as u8 + 1;
        NodeId(bytes)
    }

    /// With a ledger of views 2 and 4.
    fn first((): &(), plan: Plan) -> Result<(Model, Beginning, Vec<Deed<Vec<Record>>>), String> {
        let ledger: Vec<Record> = (1..=6)
            .map(|seqno| Record {
                entry: Entry {
                    txid: TxId {
                        view: if seqno < 4 { 2 } else { 4 },
                        seqno,
                    },
                    is_signature: seqno % 3 == 0,
                    nodes: (seqno == 4).then(|| NodesChange {
                        trusted: BTreeSet::from([plan.id]),
                        ..NodesChange::default()
                    }),
                },
                payload: seqno,
            })
            .collect();
        let start = start(plan.id, &ledger, 6);
        let (consensus, effects) = Consensus::lead(plan.settings, start, plan.chance, Duration::ZERO);
        let beginning = Beginning {
            took_part: nodes_after(&ledger).0,
            ledger: ledger.clone(),
        };
        let mut model = Model::new(consensus, ledger, plan.entries_per_frame);
        let deeds = model.obey(plan.now, effects, &[])?;
        Ok((model, beginning, deeds))
    }

    fn joins((): &(), plan: Plan, giver: Option<&Peer<Model>>) -> Result<(Model, Beginning), String> {
        let given = giver.and_then(|giver| giver.ledger.get(..giver.committed as usize));
        let ledger = given.unwrap_or_default().to_vec();
        let start = start(plan.id, &ledger, 0);
        let beginning = Beginning {
            took_part: nodes_after(&ledger).0,
            ledger: ledger.clone(),
        };
        let consensus = Consensus::follow(plan.settings, start, plan.chance, plan.now);
        Ok((Model::new(consensus, ledger, plan.entries_per_frame), beginning))
    }

    fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    fn due(&self) -> Option<Duration> {
        self.consensus.due()
    }

    fn hear(&mut self, now: Duration, from: NodeId, message: Message, cargo: Vec<Record>) -> Deeds<Model> {
        let effects = self.consensus.received(now, from, message);
        self.obey(now, effects, &cargo)
    }

    fn tick(&mut self, now: Duration) -> Deeds<Model> {
        let effects = self.consensus.tick(now, &self.frames);
        self.obey(now, effects, &[])
    }

    fn flush(&mut self, now: Duration) -> Deeds<Model> {
        let effects = self.consensus.flush(now, &self.frames);
        self.obey(now, effects, &[])
    }

    fn nominate(&mut self, now: Duration) -> Deeds<Model> {
        let effects = self.consensus.nominate(now);
        self.obey(now, effects, &[])
    }

    fn withdraw(&mut self, now: Duration) -> Deeds<Model> {
        let effects = self.consensus.withdraw(now);
        self.obey(now, effects, &[])
    }

    fn write(&mut self, now: Duration, wanted: Wanted) -> Deeds<Model> {
        let (is_signature, nodes) = match wanted {
            Wanted::Entry | Wanted::Pending(_) => (false, None),
            Wanted::Signature => (true, None),
            Wanted::Nodes(change) => (false, Some(change)),
        };
        let mut deeds = Vec::new();
        let effects = self.append_own(now, is_signature, nodes, &mut deeds);
        deeds.extend(self.obey(now, effects, &[])?);
        Ok(deeds)
    }

    fn waits_for_disk(&self) -> bool {
        self.durable < self.last()
    }

    fn disk_begins(&mut self) {
        self.syncing = Some(self.last());
    }

    fn disk_ends(&mut self, now: Duration) -> Deeds<Model> {
        let Some(through) = self.syncing.take() else {
            return Ok(Vec::new());
        };
        self.durable = self.durable.max(through);
        let Some(txid) = self.record(through).map(|record| record.entry.txid) else {
            return Ok(Vec::new());
        };
        let mut deeds = vec![Deed::Durable(self.durable)];
        let effects = self.consensus.synced(now, txid);
        deeds.extend(self.obey(now, effects, &[])?);
        Ok(deeds)
    }

    fn change_disk(&mut self, _: Disk) {}

    fn spoil((): &(), cargo: &mut Vec<Record>, chance: &mut ChaCha20Rng) {
        let at = chance.below(cargo.len());
        if let Some(record) = cargo.get_mut(at) {
            record.payload = SPOILED;
        }
    }

    fn crash(&mut self, durable: Seqno) -> Result<Seqno, String> {
        Ok(durable)
    }

    fn is_consistent(&self, _: &Peer<Model>) -> Result<(), String> {
        Ok(())
    }

    #[cfg(test)]
    fn break_rule(&mut self, rule: super::tests::Broken) {
        if let super::tests::Broken::Agreement(rule) = rule {
            self.consensus.broken = Some(rule);
        }
    }
}
