//! Cores of several nodes that write one ledger: what one seals, the others take over, and all commit the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::channel::NodeId;
use crate::consensus::{Consensus, Message, Settings as Agreeing, Sizes, Start as Beginning};
use crate::format::cursor::Cursor;
use crate::format::domain::{Maps, PublicHeader};
use crate::format::entry::Entry;
use crate::tables::{SINGLETON_KEY, names};

/// What a node's disk has: entries by seqno.
type Disk = BTreeMap<Seqno, Arc<[u8]>>;

struct OneByOne;

impl Sizes for OneByOne {
    fn reach(&self, after: Seqno, at_most: Seqno, _: u64) -> Seqno {
        at_most.min(after + 1)
    }
}

struct Node {
    core: Core,
    disk: Disk,
    /// An operation that is under way, while the disk is slow.
    under_way: VecDeque<Operation>,
    is_slow: bool,
    applied: BTreeMap<Seqno, WriteSet>,
    committed: Seqno,
    leads: bool,
    proposed: Vec<Proposal>,
}

/// From whom, to whom, what, and the entries that go along.
type Said = (NodeId, NodeId, Message, Vec<Arc<[u8]>>);

/// Nodes, and what they have said that has not arrived.
struct Cluster {
    nodes: BTreeMap<NodeId, Node>,
    on_the_way: VecDeque<Said>,
    now: Now,
    unreachable: BTreeSet<NodeId>,
    tickets: u64,
}

fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn agreeing() -> Agreeing {
    Agreeing {
        election_timeout: Duration::from_secs(1),
        ..Agreeing::default()
    }
}

fn beginning(n: u8, view: u64) -> Beginning {
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

fn node(core: Core) -> Node {
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

fn trusts(nodes: &[(u8, &str)]) -> WriteSet {
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
    fn begin() -> Cluster {
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            on_the_way: VecDeque::new(),
            now: Now::default(),
            unreachable: BTreeSet::new(),
            tickets: 0,
        };
        let chance = ChaCha20Rng::seed_from_u64(1);
        let (consensus, _) = Consensus::lead(agreeing(), beginning(1, 2), chance, Duration::ZERO);
        cluster.add(1, consensus);
        cluster.write(1, trusts(&[(1, "Trusted")]));
        cluster.run(20);
        cluster
    }

    fn add(&mut self, n: u8, consensus: Consensus) {
        let key = SealKey::new(&LedgerSecret::from_bytes([7; 32]));
        let core = Core::new(Start::genesis(), settings(), Arc::new(key), signers());
        self.nodes
            .insert(id(n), node(core.agreeing(consensus, Box::new(OneByOne))));
    }

    /// A node joins with nothing.
    fn joins(&mut self, n: u8) {
        let chance = ChaCha20Rng::seed_from_u64(n.into());
        self.add(
            n,
            Consensus::follow(agreeing(), beginning(n, 0), chance, self.now.elapsed),
        );
        let leader = self.leader();
        self.write(leader, trusts(&[(n, "Trusted")]));
        self.run(50);
    }

    fn leader(&self) -> u8 {
        let reachable = |id: &NodeId| !self.unreachable.contains(id);
        let leads = self.nodes.iter().filter(|(id, node)| reachable(id) && node.leads);
        leads.map(|(id, _)| id.0[0]).next_back().unwrap_or(1)
    }

    fn write(&mut self, n: u8, writes: WriteSet) {
        self.write_and(n, writes, Follow::default());
    }

    fn write_and(&mut self, n: u8, writes: WriteSet, follow: Follow) {
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

    fn put(&mut self, n: u8, key: &str) {
        let mut writes = WriteSet::new();
        writes.put("public:m", key, "value");
        self.write(n, writes);
    }

    fn step(&mut self, who: NodeId, event: Event) {
        self.step_with(who, event, Vec::new());
    }

    /// With the entries that came along.
    fn step_with(&mut self, who: NodeId, event: Event, mut frame: Vec<Arc<[u8]>>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.now;
            let node = self.nodes.get_mut(&who).unwrap();
            for effect in node.core.step(now, event) {
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
                                .map(|seqno| Arc::clone(node.core.kept(seqno).unwrap_or_else(|| &node.disk[&seqno])))
                                .collect(),
                            _ => Vec::new(),
                        };
                        self.on_the_way.push_back((who, to, message, entries));
                    }
                    Effect::Verify { after, through, .. } => {
                        let skipped = frame.len() - usize::try_from(through - after).unwrap();
                        for raw in frame.drain(..).skip(skipped).collect::<Vec<_>>().into_iter().rev() {
                            events.push_front(Event::Followed(Box::new(followed(&raw))));
                        }
                    }
                    Effect::Announce(Announcement::Applied { txid, writes }) => {
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
    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            while let Some((from, to, message, frame)) = self.on_the_way.pop_front() {
                let is_cut = self.unreachable.contains(&from) != self.unreachable.contains(&to);
                if !is_cut && self.nodes.contains_key(&to) {
                    self.step_with(to, Event::Heard { from, message }, frame);
                }
            }
            self.now.elapsed += Duration::from_millis(50);
            for who in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.step(who, Event::Tick);
            }
        }
    }

    fn of(&mut self, n: u8) -> &mut Node {
        self.nodes.get_mut(&id(n)).unwrap()
    }

    /// All of these nodes have committed the same, of which nothing is missing anywhere.
    fn agree(&self, nodes: &[u8]) -> Seqno {
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
fn followed(raw: &Arc<[u8]>) -> Followed {
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
        raw: Arc::clone(raw),
        leaf: entry.leaf(&header),
        flags: entry.flags,
        writes,
        signs: signs.or(tree),
        rekey: None,
    }
}

/// Chunks are by their first seqno: entries of one lie one after the other.
fn perform(disk: &mut Disk, operation: &Operation) {
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
                disk.insert(seqno, Arc::clone(raw));
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

#[test]
fn a_node_that_joins_takes_the_whole_ledger_and_what_follows_and_both_commit() {
    let mut cluster = Cluster::begin();
    (0..10).for_each(|n| cluster.put(1, &n.to_string()));
    cluster.run(30);
    let alone = cluster.of(1).committed;
    assert!(alone >= 11, "{alone}");
    cluster.joins(2);
    assert!(cluster.of(1).committed > alone);
    cluster.put(1, "more");
    cluster.run(30);
    let (one, two) = (cluster.of(1).committed, cluster.of(2).committed);
    assert_eq!(one, two);
    assert_eq!(cluster.agree(&[1, 2]), one);
    let applied = |cluster: &mut Cluster, n| cluster.of(n).applied.keys().copied().collect::<Vec<_>>();
    assert_eq!(applied(&mut cluster, 1), applied(&mut cluster, 2));
}

#[test]
fn nothing_is_committed_by_the_leader_as_long_as_the_only_other_disk_is_slow() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.of(2).is_slow = true;
    let before = cluster.of(1).committed;
    cluster.put(1, "k");
    cluster.run(15);
    assert_eq!(cluster.of(1).committed, before, "nobody else has it on a disk");
    cluster.of(2).is_slow = false;
    while let Some(operation) = cluster.of(2).under_way.pop_front() {
        perform(&mut cluster.of(2).disk, &operation);
        cluster.step(id(2), Event::Done);
    }
    cluster.run(30);
    assert!(cluster.of(1).committed > before);
    assert_eq!(cluster.agree(&[1, 2]), cluster.of(1).committed);
}

#[test]
fn when_the_leader_is_cut_off_another_leads_and_what_was_not_committed_is_replaced() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.joins(3);
    cluster.run(30);
    let before = cluster.agree(&[1, 2, 3]);
    cluster.unreachable.insert(id(1));
    cluster.put(1, "lost");
    cluster.run(80);
    let leader = cluster.leader();
    assert_ne!(leader, 1);
    cluster.put(leader, "kept");
    cluster.run(40);
    let after = cluster.of(leader).committed;
    assert!(after > before && cluster.of(1).committed == before);
    cluster.unreachable.clear();
    cluster.run(80);
    assert_eq!(cluster.agree(&[1, 2, 3]), cluster.of(leader).committed);
    let keys = |cluster: &mut Cluster, n| {
        let writes = cluster.of(n).applied.values();
        let keys = writes.flat_map(|writes| writes.iter().map(|(_, write)| write.key.to_vec()).collect::<Vec<_>>());
        keys.collect::<BTreeSet<_>>()
    };
    for n in [1, 2, 3] {
        let keys = keys(&mut cluster, n);
        assert!(keys.contains(&b"kept"[..]) && !keys.contains(&b"lost"[..]), "{n}");
    }
}

#[test]
fn who_takes_over_signs_as_the_ledger_has_it() {
    use SignatureMode::{Cose, Dual};
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.joins(3);
    let mode = |cluster: &mut Cluster, n| {
        let signed = cluster.of(n).applied.values().rev();
        signed.filter_map(SignatureMode::of).next().unwrap()
    };
    assert_eq!(mode(&mut cluster, 1), Dual);
    let mut alone = cluster.of(1).core.signers().clone();
    alone.mode = Cose;
    cluster.of(1).core.set_signers(alone);
    cluster.put(1, "by the service alone");
    cluster.run(40);
    assert_eq!(mode(&mut cluster, 2), Cose);
    // This one was started to sign with both.
    assert_eq!(cluster.of(2).core.signers().mode, Dual);
    cluster.unreachable.insert(id(1));
    cluster.run(80);
    let leader = cluster.leader();
    assert_ne!(leader, 1);
    for _ in 0..3 {
        cluster.put(leader, "more");
        cluster.run(40);
        assert_eq!(mode(&mut cluster, leader), Cose);
    }
    // What was never committed is no example.
    let mut both = cluster.of(1).core.signers().clone();
    both.mode = Dual;
    cluster.of(1).core.set_signers(both);
    cluster.put(1, "lost");
    cluster.run(20);
    cluster.unreachable.clear();
    cluster.run(80);
    assert_eq!(mode(&mut cluster, 1), Cose);
    cluster.agree(&[1, 2, 3]);
}

#[test]
fn an_entry_that_is_not_the_next_or_signs_another_root_ends_the_frame_and_the_right_one_is_taken_then() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.run(20);
    let last = cluster.of(2).core.next().seqno - 1;
    cluster.put(1, "k");
    let sent = cluster.on_the_way.iter().rposition(|(_, to, message, frame)| {
        *to == id(2) && matches!(message, Message::AppendEntries(_)) && !frame.is_empty()
    });
    let (from, _, message, frame) = cluster.on_the_way.remove(sent.unwrap()).unwrap();
    let other = Arc::clone(&cluster.of(1).disk[&1]);
    cluster.step_with(id(2), Event::Heard { from, message }, vec![other; frame.len()]);
    assert_eq!(cluster.of(2).core.next().seqno - 1, last, "nothing of it was taken");
    cluster.run(40);
    assert_eq!(cluster.agree(&[1, 2]), cluster.of(1).committed);
    assert!(cluster.of(1).committed > last);
}

#[test]
fn a_joiner_that_dies_before_it_answers_costs_what_came_after_it_and_an_opening_among_that_is_proposed_again() {
    let mut cluster = Cluster::begin();
    let before = cluster.of(1).committed;
    cluster.unreachable.insert(id(2));
    cluster.write(1, trusts(&[(2, "Trusted")]));
    cluster.step(id(1), Event::PrivateLedgerRead);
    assert_eq!(cluster.of(1).proposed, [Proposal::Opening]);
    let opens = Follow {
        milestone: Some(Milestone::Opened),
        ..Follow::default()
    };
    let mut writes = WriteSet::new();
    writes.put("public:m", "opened", "yes");
    cluster.write_and(1, writes, opens);
    cluster.run(60);
    assert_eq!(cluster.of(1).committed, before, "a node that takes part is silent");
    cluster.run(40);
    let leader = cluster.of(1);
    assert!(leader.leads && leader.committed > before);
    assert_eq!(leader.proposed, [Proposal::Opening, Proposal::Opening]);
    assert_eq!(leader.core.consensus().unwrap().configurations().count(), 1);
}

#[test]
fn a_leader_that_has_signed_its_own_retirement_off_writes_nothing_more() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.joins(3);
    cluster.write(1, trusts(&[(1, "Retired")]));
    cluster.run(30);
    cluster.unreachable.extend([id(2), id(3)]);
    let mut writes = WriteSet::new();
    let mark = "{\"status\":\"Retired\",\"retired_committed\":true}";
    writes.put(names::NODES_INFO, id(1).to_string(), mark);
    cluster.write(1, writes);
    let sign = || Event::Sign {
        end_chunk: false,
        snapshot: false,
    };
    cluster.step(id(1), sign());
    // Who reads the ledger believes this signature, and none after it.
    let last = cluster.of(1).core.next();
    assert_eq!(cluster.of(1).core.last_signed().unwrap().txid.seqno, last.seqno - 1);
    cluster.put(1, "k");
    cluster.step(id(1), sign());
    cluster.run(5);
    assert_eq!(cluster.of(1).core.next(), last);
    cluster.unreachable.clear();
    cluster.run(60);
    let leader = cluster.leader();
    assert_ne!(leader, 1);
    assert!(cluster.of(leader).committed >= last.seqno - 1);
}
