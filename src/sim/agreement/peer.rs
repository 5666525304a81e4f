//! One node: its consensus, a ledger of entries without contents, and a disk that is late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;

use crate::channel::NodeId;
use crate::consensus::{
    Configuration, Consensus, Departure, Effect, Entry, Message, NodesChange, Role, Settings, Sizes, Start, ViewStart,
};
use crate::format::{Seqno, TxId};

/// An entry, and something to tell it from any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) entry: Entry,
    pub(super) payload: u64,
}

/// So many entries fit into a frame.
struct Frames(u64);

impl Sizes for Frames {
    fn reach(&self, after: Seqno, at_most: Seqno, _: u64) -> Seqno {
        at_most.min(after + self.0)
    }
}

pub(super) struct Peer {
    pub(super) id: NodeId,
    consensus: Consensus,
    pub(super) ledger: Vec<Record>,
    /// Who took part, from each entry on that changed it.
    took_part: Vec<Configuration>,
    /// What consensus said is committed.
    pub(super) committed: Seqno,
    /// What its disk has.
    pub(super) durable: Seqno,
    /// What is being synced.
    pub(super) syncing: Option<Seqno>,
    pub(super) is_alive: bool,
    /// It led when it decided what is being carried out.
    pub(super) led: bool,
    /// It does nothing before then.
    pub(super) stalled_until: Duration,
    /// For which time a tick is planned.
    pub(super) next_tick: Option<Duration>,
    /// What it is to write as leader, as soon as it has done what it was told.
    pub(super) must_sign: bool,
    pub(super) to_mark: BTreeSet<NodeId>,
    entries_per_frame: u64,
}

/// Who takes part from this entry on, if it changes that.
fn configuration(before: Option<&Configuration>, record: &Record) -> Option<Configuration> {
    let change = record.entry.nodes.as_ref()?;
    before
        .is_none_or(|newest| newest.nodes != change.trusted)
        .then(|| Configuration {
            seqno: record.entry.txid.seqno,
            nodes: change.trusted.clone(),
        })
}

/// Who took part, oldest first, and who left.
fn nodes_after(ledger: &[Record]) -> (Vec<Configuration>, BTreeMap<NodeId, Departure>) {
    let mut all: Vec<Configuration> = Vec::new();
    let mut departures: BTreeMap<NodeId, Departure> = BTreeMap::new();
    for record in ledger {
        let seqno = record.entry.txid.seqno;
        if let Some(change) = &record.entry.nodes {
            for node in &change.retired {
                departures.entry(*node).or_default().retired = seqno;
            }
            for node in &change.retired_committed {
                departures.entry(*node).or_default().marked = Some(seqno);
            }
        }
        all.extend(configuration(all.last(), record));
    }
    (all, departures)
}

impl Peer {
    fn new(consensus: Consensus, ledger: Vec<Record>, entries_per_frame: u64) -> Peer {
        let committed = consensus.committed();
        Peer {
            id: consensus.id(),
            consensus,
            durable: ledger.len() as Seqno,
            took_part: nodes_after(&ledger).0,
            ledger,
            committed,
            syncing: None,
            is_alive: true,
            led: false,
            stalled_until: Duration::ZERO,
            next_tick: None,
            must_sign: false,
            to_mark: BTreeSet::new(),
            entries_per_frame,
        }
    }

    /// The first node, which leads after a recovery, with a ledger of views 2 and 4.
    pub(super) fn first(id: NodeId, settings: Settings, chance: ChaCha20Rng, per_frame: u64) -> (Peer, Vec<Effect>) {
        let ledger: Vec<Record> = (1..=6)
            .map(|seqno| Record {
                entry: Entry {
                    txid: TxId {
                        view: if seqno < 4 { 2 } else { 4 },
                        seqno,
                    },
                    is_signature: seqno % 3 == 0,
                    nodes: (seqno == 4).then(|| NodesChange {
                        trusted: BTreeSet::from([id]),
                        ..NodesChange::default()
                    }),
                },
                payload: seqno,
            })
            .collect();
        let start = Peer::start(id, &ledger, 6);
        let (consensus, effects) = Consensus::lead(settings, start, chance, Duration::ZERO);
        (Peer::new(consensus, ledger, per_frame), effects)
    }

    /// A node that joins with what others have committed up to a snapshot: with nothing where that is 0.
    pub(super) fn joins(
        id: NodeId,
        snapshot: &[Record],
        settings: Settings,
        chance: ChaCha20Rng,
        now: Duration,
        per_frame: u64,
    ) -> Peer {
        let start = Peer::start(id, snapshot, 0);
        Peer::new(
            Consensus::follow(settings, start, chance, now),
            snapshot.to_vec(),
            per_frame,
        )
    }

    /// A beginning with a ledger of which everything is committed; in the given view, or that of the last entry.
    fn start(id: NodeId, ledger: &[Record], view: u64) -> Start {
        let mut views: Vec<ViewStart> = Vec::new();
        for record in ledger {
            let txid = record.entry.txid;
            if views.last().is_none_or(|newest| newest.view < txid.view) {
                views.push(ViewStart {
                    view: txid.view,
                    first: txid.seqno,
                });
            }
        }
        let (configurations, departures) = nodes_after(ledger);
        let last = ledger.len() as Seqno;
        Start {
            id,
            view: view.max(views.last().map_or(0, |newest| newest.view)),
            views,
            last,
            committed: last,
            signatures: Vec::new(),
            first_held: 1,
            configurations: configurations.last().cloned().into_iter().collect(),
            departures,
        }
    }

    pub(super) fn record(&self, seqno: Seqno) -> Option<&Record> {
        self.ledger.get(usize::try_from(seqno).ok()?.checked_sub(1)?)
    }

    pub(super) fn last(&self) -> Seqno {
        self.ledger.len() as Seqno
    }

    pub(super) fn view(&self) -> u64 {
        self.consensus.view()
    }

    pub(super) fn leads(&self) -> bool {
        self.is_alive && self.consensus.role() == Role::Leader
    }

    pub(super) fn has_retired_for_good(&self) -> bool {
        self.consensus.phase() == Some(crate::consensus::Phase::RetiredCommitted)
    }

    /// Active configurations as its ledger says, without asking its consensus.
    pub(super) fn configurations(&self) -> &[Configuration] {
        let committed = self.took_part.partition_point(|it| it.seqno <= self.committed);
        self.took_part.get(committed.saturating_sub(1)..).unwrap_or_default()
    }

    /// Entries of the ledger that go along with a message.
    pub(super) fn cargo(&self, message: &Message) -> Vec<Record> {
        match message {
            Message::AppendEntries(frame) => (frame.prev_idx + 1..=frame.idx)
                .filter_map(|seqno| self.record(seqno).cloned())
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.consensus.due()
    }

    pub(super) fn tick(&mut self, now: Duration) -> Vec<Effect> {
        self.consensus.tick(now, &Frames(self.entries_per_frame))
    }

    pub(super) fn flush(&mut self, now: Duration) -> Vec<Effect> {
        self.consensus.flush(now, &Frames(self.entries_per_frame))
    }

    pub(super) fn nominate(&mut self, now: Duration) -> Vec<Effect> {
        self.consensus.nominate(now)
    }

    pub(super) fn withdraw(&mut self, now: Duration) -> Vec<Effect> {
        self.consensus.withdraw(now)
    }

    pub(super) fn received(&mut self, now: Duration, from: NodeId, message: Message) -> Vec<Effect> {
        self.consensus.received(now, from, message)
    }

    /// Writes an entry of its own.
    pub(super) fn write(
        &mut self,
        now: Duration,
        is_signature: bool,
        nodes: Option<NodesChange>,
        payload: u64,
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
        self.append(now, Record { entry, payload })
    }

    pub(super) fn append(&mut self, now: Duration, record: Record) -> Vec<Effect> {
        let effects = self.consensus.appended(now, &record.entry);
        self.took_part.extend(configuration(self.took_part.last(), &record));
        self.ledger.push(record);
        effects
    }

    pub(super) fn verified(&mut self, now: Duration, all_are_good: bool) -> Vec<Effect> {
        match all_are_good {
            true => self.consensus.accepted(now),
            false => self.consensus.rejected(now),
        }
    }

    pub(super) fn roll_back(&mut self, to: Seqno) {
        self.ledger.truncate(to as usize);
        self.took_part.retain(|it| it.seqno <= to);
        self.durable = self.durable.min(to);
        self.syncing = self.syncing.map(|through| through.min(to));
    }

    /// The sync that was under way is over.
    pub(super) fn synced(&mut self, now: Duration) -> Vec<Effect> {
        let Some(through) = self.syncing.take() else {
            return Vec::new();
        };
        self.durable = self.durable.max(through);
        match self.record(through).map(|record| record.entry.txid) {
            Some(txid) => self.consensus.synced(now, txid),
            None => Vec::new(),
        }
    }

    /// The machine is gone; its disk can still be looked at.
    pub(super) fn crash(&mut self) {
        self.is_alive = false;
        self.took_part.retain(|it| it.seqno <= self.durable);
        self.ledger.truncate(self.durable as usize);
    }

    /// What consensus believes is what is so.
    pub(super) fn agrees_with_itself(&self) -> Result<(), String> {
        let consensus = &self.consensus;
        let is_same = consensus.last() == self.last()
            && consensus.durable() == self.durable
            && consensus.committed() == self.committed
            && consensus.configurations().eq(self.configurations());
        match is_same {
            true => Ok(()),
            false => Err(format!(
                "consensus of {} believes last {}, durable {}, committed {}; it is {}, {}, {}",
                self.id,
                consensus.last(),
                consensus.durable(),
                consensus.committed(),
                self.last(),
                self.durable,
                self.committed
            )),
        }
    }

    #[cfg(test)]
    pub(super) fn break_rule(&mut self, rule: Option<crate::consensus::Rule>) {
        self.consensus.broken = rule;
    }
}
