//! One node as somebody sees it who sees all: its ledger, what is on its disk and what is committed there. What decides for
//! it is a [`Body`]: consensus alone, or a whole core.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;

use crate::channel::NodeId;
use crate::consensus::{
    Configuration, Consensus, Departure, Entry, Message, NodesChange, Note, Role, Settings, Start, ViewStart,
};
use crate::format::{Seqno, TxId, View};

/// An entry, and something to tell it from any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) entry: Entry,
    pub(super) payload: u64,
}

/// What a node has done, in order.
#[derive(Debug)]
pub(super) enum Deed<C> {
    /// It sends this, with what goes along.
    Sends { to: NodeId, message: Message, cargo: C },
    /// An entry is the last of its ledger now.
    Appended(Record),
    /// Nothing after this is in its ledger any more.
    RolledBack(Seqno),
    /// Its ledger is on its disk up to here.
    Durable(Seqno),
    /// It leads this view.
    Leads(View),
    /// It does not lead.
    Follows,
    /// Its consensus knows that everything up to here is committed.
    Agreed(Seqno),
    /// It says so: what is not on its own disk, it does not say.
    Committed(Seqno),
    /// A node that left is sent nothing more.
    Forgot { node: NodeId, told: bool },
    /// It is retired for good.
    MayLeave,
    /// An operator may want to know this.
    Notes(Note),
    /// An entry of a frame was bad.
    Refused,
    /// A client was told that its transaction is written.
    Told(TxId),
    /// Its disk has failed for good, and its process ends.
    GivesUp,
}

/// What a leader is to write.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// What a client wants.
    Entry,
    Signature,
    /// A node asks to take part.
    Pending(NodeId),
    /// Who takes part changes: all that do from then on, and who is retired.
    Nodes(NodesChange),
}

/// What a node begins with.
pub(super) struct Plan {
    pub(super) id: NodeId,
    pub(super) settings: Settings,
    pub(super) chance: ChaCha20Rng,
    pub(super) entries_per_frame: u64,
    pub(super) now: Duration,
}

/// The first node: its body, what it begins with, and what it has done.
pub(super) type First<B> = (B, Beginning, Vec<Deed<<B as Body>::Cargo>>);

pub(super) type Deeds<B> = Result<Vec<Deed<<B as Body>::Cargo>>, String>;

/// What decides for a node, and what it decides about.
pub(super) trait Body: Sized {
    /// What goes along with a message.
    type Cargo: Clone + Default;
    /// What all lives begin with.
    type Ground;
    /// Its disk can fail.
    const HAS_DISK: bool;
    /// Clients write after so many milliseconds, from and to.
    const CLIENTS_MS: (usize, usize);
    /// Faults end after so many election time-outs, from and to.
    const FAULTS: (usize, usize);

    /// The id of the node that is the `number`th of a life.
    fn id(ground: &Self::Ground, number: usize) -> NodeId;

    /// The first node, which leads after a recovery, with what its ledger holds and what it has done already.
    fn first(ground: &Self::Ground, plan: Plan) -> Result<First<Self>, String>;

    /// A node that joins with nothing, or with what `giver` has committed.
    fn joins(ground: &Self::Ground, plan: Plan, giver: Option<&Peer<Self>>) -> Result<(Self, Beginning), String>;

    fn consensus(&self) -> &Consensus;
    /// When time is to be told to it, if nothing happens before.
    fn due(&self) -> Option<Duration>;
    fn hear(&mut self, now: Duration, from: NodeId, message: Message, cargo: Self::Cargo) -> Deeds<Self>;
    fn tick(&mut self, now: Duration) -> Deeds<Self>;
    fn flush(&mut self, now: Duration) -> Deeds<Self>;
    fn nominate(&mut self, now: Duration) -> Deeds<Self>;
    fn withdraw(&mut self, now: Duration) -> Deeds<Self>;
    fn write(&mut self, now: Duration, wanted: Wanted) -> Deeds<Self>;

    /// Something waits for its disk.
    fn waits_for_disk(&self) -> bool;
    /// Its disk begins what [`Body::disk_ends`] will end.
    fn disk_begins(&mut self);
    fn disk_ends(&mut self, now: Duration) -> Deeds<Self>;
    /// Its disk gets worse, or does as it is told.
    fn change_disk(&mut self, weather: Disk);

    /// One of the entries that go along with a message becomes another.
    fn spoil(ground: &Self::Ground, cargo: &mut Self::Cargo, chance: &mut ChaCha20Rng);
    /// The machine is gone, all of a sudden. Answers up to where its disk has the ledger.
    fn crash(&mut self, durable: Seqno) -> Result<Seqno, String>;
    /// Nothing that it keeps contradicts `peer`, which it is the body of.
    fn is_consistent(&self, peer: &Peer<Self>) -> Result<(), String>;

    #[cfg(test)]
    fn break_rule(&mut self, rule: super::tests::Broken);
}

/// How a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// It does as it is told.
    Calm,
    /// Calls fail, or it is full.
    Bad {
        failures: u32,
        failed_syncs: u32,
        is_full: bool,
    },
    /// No sync succeeds ever again.
    Broken,
}

/// What a node's ledger holds at first, all of it durable and committed, and who takes part after it.
pub(super) struct Beginning {
    pub(super) ledger: Vec<Record>,
    pub(super) took_part: Vec<Configuration>,
}

pub(super) struct Peer<B: Body> {
    pub(super) id: NodeId,
    pub(super) body: B,
    pub(super) ledger: Vec<Record>,
    /// Who took part, from each entry on that changed it.
    took_part: Vec<Configuration>,
    /// What its consensus knows is committed.
    pub(super) agreed: Seqno,
    /// What it said is committed.
    pub(super) committed: Seqno,
    /// What its disk has.
    pub(super) durable: Seqno,
    /// Something is under way to the disk.
    pub(super) is_writing: bool,
    pub(super) is_alive: bool,
    /// Its disk has failed for good: it will end.
    pub(super) is_doomed: bool,
    /// It led when it decided what is being carried out.
    pub(super) led: bool,
    /// It does nothing before then.
    pub(super) stalled_until: Duration,
    /// For which time a tick is planned.
    pub(super) next_tick: Option<Duration>,
    /// What clients were told that is not committed yet.
    pub(super) told: Vec<TxId>,
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
pub(super) fn nodes_after(ledger: &[Record]) -> (Vec<Configuration>, BTreeMap<NodeId, Departure>) {
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

/// A beginning with a ledger of which everything is committed; in the given view, or that of the last entry.
pub(super) fn start(id: NodeId, ledger: &[Record], view: View) -> Start {
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

impl<B: Body> Peer<B> {
    pub(super) fn new(id: NodeId, body: B, beginning: Beginning) -> Peer<B> {
        let last = beginning.ledger.len() as Seqno;
        Peer {
            id,
            body,
            durable: last,
            took_part: beginning.took_part,
            ledger: beginning.ledger,
            agreed: last,
            committed: last,
            is_writing: false,
            is_alive: true,
            is_doomed: false,
            led: false,
            stalled_until: Duration::ZERO,
            next_tick: None,
            told: Vec::new(),
        }
    }

    pub(super) fn record(&self, seqno: Seqno) -> Option<&Record> {
        self.ledger.get(usize::try_from(seqno).ok()?.checked_sub(1)?)
    }

    pub(super) fn last(&self) -> Seqno {
        self.ledger.len() as Seqno
    }

    pub(super) fn view(&self) -> View {
        self.body.consensus().view()
    }

    pub(super) fn leads(&self) -> bool {
        self.is_alive && self.body.consensus().role() == Role::Leader
    }

    pub(super) fn has_retired_for_good(&self) -> bool {
        self.body.consensus().phase() == Some(crate::consensus::Phase::RetiredCommitted)
    }

    /// Active configurations as its ledger says, without asking its consensus.
    pub(super) fn configurations(&self) -> &[Configuration] {
        let committed = self.took_part.partition_point(|it| it.seqno <= self.agreed);
        self.took_part.get(committed.saturating_sub(1)..).unwrap_or_default()
    }

    /// Who takes part in the newest of them.
    pub(super) fn newest_nodes(&self) -> BTreeSet<NodeId> {
        let newest = self.configurations().last();
        newest.map(|it| it.nodes.clone()).unwrap_or_default()
    }

    pub(super) fn append(&mut self, record: Record) -> Result<(), String> {
        let txid = record.entry.txid;
        if txid.seqno != self.last() + 1 {
            return Err(format!("{} appends {txid} after {}", self.id, self.last()));
        }
        self.took_part.extend(configuration(self.took_part.last(), &record));
        self.ledger.push(record);
        Ok(())
    }

    pub(super) fn roll_back(&mut self, to: Seqno) {
        self.ledger.truncate(to as usize);
        self.took_part.retain(|it| it.seqno <= to);
        self.durable = self.durable.min(to);
        self.told.retain(|txid| txid.seqno <= to);
    }

    /// The machine is gone; its disk can still be looked at.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        self.is_alive = false;
        self.durable = self.body.crash(self.durable)?;
        self.took_part.retain(|it| it.seqno <= self.durable);
        self.ledger.truncate(self.durable as usize);
        Ok(())
    }

    /// What consensus believes is what is so.
    pub(super) fn agrees_with_itself(&self) -> Result<(), String> {
        let consensus = self.body.consensus();
        let is_same = consensus.last() == self.last()
            && consensus.durable() == self.durable
            && consensus.committed() == self.agreed
            && consensus.configurations().eq(self.configurations());
        if !is_same {
            return Err(format!(
                "consensus of {} believes last {}, durable {}, committed {}, {:?}; it is {}, {}, {}, {:?}",
                self.id,
                consensus.last(),
                consensus.durable(),
                consensus.committed(),
                consensus.configurations().collect::<Vec<_>>(),
                self.last(),
                self.durable,
                self.agreed,
                self.configurations()
            ));
        }
        self.body.is_consistent(self)
    }
}
