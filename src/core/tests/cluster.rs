//! Cores of several nodes, their disks, and a network that carries what they say: for tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::*;
use crate::channel::NodeId;
use crate::consensus::{Consensus, Message, Settings as Agreeing, Sizes, Start as Beginning};
use crate::format::cursor::Cursor;
use crate::format::domain::{Maps, PublicHeader};
use crate::format::entry::Entry;
use crate::format::private::PrivateWrites;
use crate::tables::{SINGLETON_KEY, names};

/// What a node's disk has: entries by seqno.
pub(super) type Disk = BTreeMap<Seqno, Bytes>;

pub(super) struct OneByOne;

impl Sizes for OneByOne {
    fn reach(&self, after: Seqno, at_most: Seqno, _: u64) -> Seqno {
        at_most.min(after + 1)
    }
}

pub(super) struct Node {
    pub(super) core: Core,
    pub(super) disk: Disk,
    /// An operation that is under way, while the disk is slow.
    pub(super) under_way: VecDeque<Operation>,
    pub(super) is_slow: bool,
    pub(super) applied: BTreeMap<Seqno, WriteSet>,
    pub(super) committed: Seqno,
    pub(super) leads: bool,
    pub(super) proposed: Vec<Proposal>,
}

/// From whom, to whom, what, and the entries that go along.
pub(super) type Said = (NodeId, NodeId, Message, Vec<Bytes>);

/// Nodes, and what they have said that has not arrived.
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) on_the_way: VecDeque<Said>,
    pub(super) now: Now,
    pub(super) unreachable: BTreeSet<NodeId>,
    /// What they say is lost; they hear.
    pub(super) mute: BTreeSet<NodeId>,
    pub(super) tickets: u64,
}

pub(super) fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

pub(super) fn agreeing() -> Agreeing {
    Agreeing {
        election_timeout: Duration::from_secs(1),
        ..Agreeing::default()
    }
}

pub(super) fn beginning(n: u8, view: u64) -> Beginning {
    Beginning {
        id: id(n),
        view,
        views: Vec::new(),
        last: 0,
        committed: 0,
        signatures: Vec::new(),
        first_held: 1,
        configurations: Vec::new(),
        departures: BTreeMap::new(),
    }
}

pub(super) fn node(core: Core) -> Node {
    Node {
        core,
        disk: Disk::new(),
        under_way: VecDeque::new(),
        is_slow: false,
        applied: BTreeMap::new(),
        committed: 0,
        leads: false,
        proposed: Vec::new(),
    }
}

pub(super) fn trusts(nodes: &[(u8, &str)]) -> WriteSet {
    let mut writes = WriteSet::new();
    for (n, status) in nodes {
        writes.put(
            names::NODES_INFO,
            id(*n).to_string(),
            format!("{{\"status\":\"{status}\"}}"),
        );
    }
    writes
}

impl Cluster {
    /// One node, which leads, and has written that it is Trusted.
    pub(super) fn begin() -> Cluster {
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            on_the_way: VecDeque::new(),
            now: Now::default(),
            unreachable: BTreeSet::new(),
            mute: BTreeSet::new(),
            tickets: 0,
        };
        let chance = ChaCha20Rng::seed_from_u64(1);
        let (consensus, _) = Consensus::lead(agreeing(), beginning(1, 2), chance, Duration::ZERO);
        cluster.add(1, consensus);
        cluster.write(1, trusts(&[(1, "Trusted")]));
        cluster.run(20);
        cluster
    }

    pub(super) fn add(&mut self, n: u8, consensus: Consensus) {
        let key = SealKey::new(&LedgerSecret::from_bytes([7; 32]));
        let core = Core::new(Start::genesis(), settings(), Arc::new(key), signers());
        self.nodes
            .insert(id(n), node(core.agreeing(consensus, Box::new(OneByOne))));
    }

    /// A node joins with nothing.
    pub(super) fn joins(&mut self, n: u8) {
        let chance = ChaCha20Rng::seed_from_u64(n.into());
        self.add(
            n,
            Consensus::follow(agreeing(), beginning(n, 0), chance, self.now.elapsed),
        );
        let leader = self.leader();
        self.write(leader, trusts(&[(n, "Trusted")]));
        self.run(50);
    }

    pub(super) fn leader(&self) -> u8 {
        let reachable = |id: &NodeId| !self.unreachable.contains(id);
        let leads = self.nodes.iter().filter(|(id, node)| reachable(id) && node.leads);
        leads.map(|(id, _)| id.0[0]).next_back().unwrap_or(1)
    }

    pub(super) fn write(&mut self, n: u8, writes: WriteSet) {
        self.write_and(n, writes, Follow::default());
    }

    pub(super) fn write_and(&mut self, n: u8, writes: WriteSet, follow: Follow) {
        self.tickets += 1;
        self.step(
            id(n),
            Event::Transaction(Submission {
                ticket: Ticket(self.tickets),
                writes,
                claims: None,
                is_own: false,
                follow,
            }),
        );
    }

    pub(super) fn put(&mut self, n: u8, key: &str) {
        let mut writes = WriteSet::new();
        writes.put("public:m", key, "value");
        self.write(n, writes);
    }

    pub(super) fn step(&mut self, who: NodeId, event: Event) {
        self.step_with(who, event, Vec::new());
    }

    /// With the entries that came along.
    pub(super) fn step_with(&mut self, who: NodeId, event: Event, mut frame: Vec<Bytes>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.now;
            let node = self.nodes.get_mut(&who).unwrap();
            let effects = node.core.step(now, event);
            assert!(
                effects.is_sorted_by_key(Effect::steps_again),
                "what leads to another step is not the last of this one"
            );
            for effect in effects {
                match effect {
                    Effect::Perform(operation) => match node.is_slow {
                        true => node.under_way.push_back(operation),
                        false => {
                            perform(&mut node.disk, &operation);
                            events.push_back(Event::Done);
                        }
                    },
                    Effect::Send { to, message } => {
                        let entries = match &message {
                            Message::AppendEntries(frame) => (frame.prev_idx + 1..=frame.idx)
                                .map(|seqno| node.core.kept(seqno).unwrap_or_else(|| &node.disk[&seqno]).clone())
                                .collect(),
                            _ => Vec::new(),
                        };
                        self.on_the_way.push_back((who, to, message, entries));
                    }
                    Effect::Verify { after, through, .. } => {
                        let skipped = frame.len() - usize::try_from(through - after).unwrap();
                        for raw in frame.drain(..).skip(skipped).collect::<Vec<_>>().into_iter().rev() {
                            events.push_front(Event::Followed(vec![followed(&raw)]));
                        }
                    }
                    Effect::Announce(Announcement::Applied { txid, writes, .. }) => {
                        node.applied.insert(txid.seqno, writes);
                    }
                    Effect::Announce(Announcement::RolledBack { to }) => node.applied.retain(|seqno, _| *seqno <= to),
                    Effect::Announce(Announcement::Committed { txid, .. }) => {
                        assert!(txid.seqno > node.committed);
                        assert!(
                            node.disk.contains_key(&txid.seqno),
                            "{txid} is committed and not on the disk"
                        );
                        node.committed = txid.seqno;
                    }
                    Effect::Announce(Announcement::Agreed(Agreed::Role(role))) => {
                        node.leads = role == crate::consensus::Role::Leader;
                    }
                    Effect::Propose(proposal) => node.proposed.push(proposal),
                    _ => {}
                }
            }
        }
    }

    /// Everything that was said arrives, and time passes in steps of 50 ms.
    pub(super) fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            while let Some((from, to, message, frame)) = self.on_the_way.pop_front() {
                let is_cut = self.unreachable.contains(&from) != self.unreachable.contains(&to);
                if !is_cut && !self.mute.contains(&from) && self.nodes.contains_key(&to) {
                    self.step_with(to, Event::Heard { from, message }, frame);
                }
            }
            self.now.elapsed += Duration::from_millis(50);
            for who in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.step(who, Event::Tick);
            }
        }
    }

    pub(super) fn of(&mut self, n: u8) -> &mut Node {
        self.nodes.get_mut(&id(n)).unwrap()
    }

    /// All of these nodes have committed the same, of which nothing is missing anywhere.
    pub(super) fn agree(&self, nodes: &[u8]) -> Seqno {
        let all: Vec<_> = nodes.iter().map(|n| &self.nodes[&id(*n)]).collect();
        let least = all.iter().map(|node| node.committed).min().unwrap();
        for seqno in 1..=least {
            let entries: BTreeSet<_> = all.iter().map(|node| node.disk[&seqno].to_vec()).collect();
            assert_eq!(entries.len(), 1, "at {seqno} they differ");
        }
        least
    }
}

/// What the primary's entry says, as a driver reads it.
pub(super) fn followed(raw: &Bytes) -> Followed {
    let entry = Entry::parse(raw).unwrap();
    let mut cursor = Cursor::new(entry.public);
    let header = PublicHeader::read(&mut cursor).unwrap();
    let mut writes = WriteSet::new();
    let (mut signs, mut tree) = (None, None);
    Maps::new(cursor)
        .for_each(|map, write| {
            if let Some(value) = write.value {
                writes.put(map, write.key, value);
                // Where nobody else signs, the root is that of the tree in it.
                if map == names::TREE && write.key == SINGLETON_KEY {
                    tree = crate::merkle::tree::TreeView::parse(value).unwrap().root();
                }
                if map == names::SIGNATURES && write.key == SINGLETON_KEY {
                    let signature: crate::tables::values::Signature = crate::tables::values::from_json(value).unwrap();
                    signs = Some(signature.root.0);
                }
            }
        })
        .unwrap();
    let iv = entry.iv();
    Followed {
        txid: txid(iv.view, iv.seqno),
        raw: raw.clone(),
        leaf: entry.leaf(&header),
        flags: entry.flags,
        writes,
        private: PrivateWrites::default(),
        signs: signs.or(tree),
        rekey: None,
    }
}

/// Chunks are by their first seqno: entries of one lie one after the other.
pub(super) fn perform(disk: &mut Disk, operation: &Operation) {
    match operation {
        Operation::Write { chunk, offset, entries } => {
            let mut at = 8;
            let mut seqno = *chunk;
            while at < *offset {
                at += disk[&seqno].len() as u64;
                seqno += 1;
            }
            assert_eq!(at, *offset, "entries are written one after the other");
            for raw in entries {
                disk.insert(seqno, raw.clone());
                seqno += 1;
            }
        }
        Operation::Cut { chunk, end } => {
            let mut at = 8;
            let mut kept = *chunk;
            while at < *end {
                at += disk[&kept].len() as u64;
                kept += 1;
            }
            disk.retain(|seqno, _| *seqno < kept);
        }
        Operation::Remove { chunk } => disk.retain(|seqno, _| seqno < chunk),
        _ => {}
    }
}
