//! What happens, one thing after the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::super::chance::Chance;
use super::network::Network;
use super::peer::{Peer, Record};
use super::promises::Promises;
use crate::consensus::{Effect, Message, NodeId, NodesChange, Role, Settings};
use crate::format::Seqno;

/// Longest first: everything else is told in these.
pub(super) const ELECTION: Duration = Duration::from_millis(1000);
/// Once faults have ended, the cluster is well again within so many of them.
const PATIENCE: u32 = 40;
/// Things that happen to a node which has done what it was told, at most: more is a circle.
const DEPTH: usize = 100_000;

/// What happened in a life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Things that happened.
    pub steps: u64,
    /// Entries that were committed.
    pub committed: u64,
    /// Nodes that became leader.
    pub elections: u64,
    /// Nodes that joined.
    pub joined: u64,
    /// Nodes that were retired.
    pub retired: u64,
    /// Leaders that retired for good.
    pub leaders_retired: u64,
    /// Nodes that crashed.
    pub crashed: u64,
    /// Times that entries were rolled back.
    pub rolled_back: u64,
    /// Nodes that were forgotten because they knew.
    pub told: u64,
    /// Nodes that were forgotten because they were silent.
    pub silent: u64,
    /// Frames with an entry that was bad.
    pub bad_frames: u64,
    /// From the end of the faults until the cluster was well, at most.
    pub healed_ms: u64,
}

impl Tally {
    /// Adds what happened in another life.
    pub fn add(&mut self, other: &Tally) {
        self.steps += other.steps;
        self.committed += other.committed;
        self.elections += other.elections;
        self.joined += other.joined;
        self.retired += other.retired;
        self.leaders_retired += other.leaders_retired;
        self.crashed += other.crashed;
        self.rolled_back += other.rolled_back;
        self.told += other.told;
        self.silent += other.silent;
        self.bad_frames += other.bad_frames;
        self.healed_ms = self.healed_ms.max(other.healed_ms);
    }
}

/// A message on its way, with its entries.
#[derive(Clone)]
pub(super) struct Parcel {
    from: NodeId,
    to: NodeId,
    message: Message,
    records: Vec<Record>,
}

pub(super) enum Event {
    Arrives(Box<Parcel>),
    Tick(NodeId),
    Synced(NodeId),
    /// Clients write.
    Clients,
    /// The network or a machine changes for the worse, or better.
    Fault,
    /// Members change who takes part.
    Members,
}

pub(super) struct World {
    pub(super) chance: ChaCha20Rng,
    pub(super) now: Duration,
    order: u64,
    events: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    /// What happens, by its place in the queue.
    planned: BTreeMap<usize, Event>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) network: Network,
    pub(super) promises: Promises,
    pub(super) settings: Settings,
    pub(super) entries_per_frame: u64,
    pub(super) slow_disks: bool,
    /// Leaders send what is new with every answer, not only when it is time.
    is_prompt: bool,
    payload: u64,
    /// Configurations that were written of late.
    pub(super) recent: VecDeque<(Duration, BTreeSet<NodeId>)>,
    pub(super) faults_end: Duration,
    /// What must be committed after the faults for the cluster to be well.
    pub(super) mark: Seqno,
    is_healed: bool,
    pub(super) tally: Tally,
    is_traced: bool,
    pub(super) trace: Vec<String>,
    #[cfg(test)]
    pub(super) broken: Option<crate::consensus::Rule>,
}

impl World {
    pub(super) fn new(seed: u64, is_traced: bool) -> World {
        let mut chance = ChaCha20Rng::seed_from_u64(seed);
        let settings = Settings {
            election_timeout: ELECTION,
            frames_under_way: chance.within(1, 8),
            pre_vote: chance.one_in(4),
            ..Settings::default()
        };
        World {
            network: Network::new(chance.branch()),
            entries_per_frame: chance.within(1, 6) as u64,
            slow_disks: chance.one_in(3),
            is_prompt: chance.one_in(2),
            now: Duration::ZERO,
            order: 0,
            events: BinaryHeap::new(),
            planned: BTreeMap::new(),
            peers: BTreeMap::new(),
            promises: Promises::default(),
            settings,
            payload: 1000,
            recent: VecDeque::new(),
            faults_end: ELECTION * chance.within(20, 70) as u32,
            mark: 0,
            is_healed: false,
            tally: Tally::default(),
            is_traced,
            trace: Vec::new(),
            chance,
            #[cfg(test)]
            broken: None,
        }
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.is_traced {
            self.trace.push(format!("{:>9.4} {}", self.now.as_secs_f64(), what()));
        }
    }

    pub(super) fn plan(&mut self, after: Duration, event: Event) {
        self.plan_at(self.now + after, event);
    }

    fn plan_at(&mut self, at: Duration, event: Event) {
        self.order += 1;
        let key = self.order as usize;
        self.events.push(Reverse((at, self.order, key)));
        self.planned.insert(key, event);
    }

    pub(super) fn ms(&mut self, first: usize, last: usize) -> Duration {
        Duration::from_millis(self.chance.within(first, last) as u64)
    }

    pub(super) fn payload(&mut self) -> u64 {
        self.payload += 1;
        self.payload
    }

    /// From a recovery to the end of all faults, and until the cluster is well.
    pub(super) fn live(&mut self) -> Result<(), String> {
        self.begin()?;
        while let Some(Reverse((at, _, key))) = self.events.pop() {
            let Some(event) = self.planned.remove(&key) else {
                continue;
            };
            self.now = at;
            self.tally.steps += 1;
            if self.now >= self.faults_end && !self.is_healed {
                self.is_healed = true;
                self.heal();
            }
            self.happens(event)?;
            if self.is_healed && self.is_well() {
                let healed = self.now - self.faults_end;
                self.tally.healed_ms = healed.as_millis() as u64;
                self.tally.committed = self.promises.committed();
                return self.peers.values().try_for_each(|peer| self.promises.ends(peer));
            }
            if self.now > self.faults_end + ELECTION * PATIENCE {
                return Err(format!(
                    "the cluster did not go on within {PATIENCE} election time-outs: {}",
                    self.summary()
                ));
            }
        }
        Err("nothing happens any more".to_owned())
    }

    /// Every node in one line.
    pub(super) fn summary(&self) -> String {
        let of = |peer: &Peer| {
            format!(
                "{} {} view {} last {} durable {} committed {} {:?}; ",
                &peer.id.to_string()[..2],
                if !peer.is_alive {
                    "dead"
                } else if peer.leads() {
                    "leads"
                } else {
                    "follows"
                },
                peer.view(),
                peer.last(),
                peer.durable,
                peer.committed,
                peer.configurations()
                    .iter()
                    .map(|it| it
                        .nodes
                        .iter()
                        .map(|node| node.to_string()[..2].to_owned())
                        .collect::<Vec<_>>()
                        .join(" "))
                    .collect::<Vec<_>>()
            )
        };
        self.peers.values().map(of).collect()
    }

    fn happens(&mut self, event: Event) -> Result<(), String> {
        let busy = match &event {
            Event::Arrives(parcel) => self.peers.get(&parcel.to),
            Event::Tick(node) | Event::Synced(node) => self.peers.get(node),
            _ => None,
        };
        if let Some(peer) = busy
            && peer.stalled_until > self.now
        {
            let until = peer.stalled_until;
            self.plan_at(until, event);
            return Ok(());
        }
        match event {
            Event::Arrives(parcel) => self.arrives(*parcel),
            Event::Tick(node) => {
                let (now, planned) = (self.now, Some(self.now));
                let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.is_alive) else {
                    return Ok(());
                };
                // A stalled node's tick is late.
                if peer.next_tick > planned {
                    return Ok(());
                }
                peer.next_tick = None;
                let effects = peer.tick(now);
                self.obey(node, effects, &[])
            }
            Event::Synced(node) => {
                let now = self.now;
                let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.is_alive) else {
                    return Ok(());
                };
                let effects = peer.synced(now);
                self.obey(node, effects, &[])
            }
            Event::Clients => {
                let after = self.ms(5, 80);
                self.plan(after, Event::Clients);
                self.clients_write()
            }
            Event::Fault if self.is_healed => Ok(()),
            Event::Fault => self.fault(),
            Event::Members if self.is_healed => Ok(()),
            Event::Members => self.members_decide(),
        }
    }

    fn arrives(&mut self, mut parcel: Parcel) -> Result<(), String> {
        let now = self.now;
        if let Message::AppendEntriesResponse(answer) = &mut parcel.message
            && !answer.ok
            && !self.is_healed
            && self.chance.one_in(8)
        {
            // A refusal is an upper bound only: a careful follower may say less.
            answer.last_idx = self.chance.below(answer.last_idx as usize + 1) as Seqno;
        }
        if self.network.cuts.contains(&(parcel.from, parcel.to)) {
            return Ok(());
        }
        let Some(peer) = self.peers.get_mut(&parcel.to).filter(|peer| peer.is_alive) else {
            return Ok(());
        };
        let effects = peer.received(now, parcel.from, parcel.message);
        self.say(|| {
            format!(
                "{} gets {:?} from {}",
                short(parcel.to),
                parcel.message,
                short(parcel.from)
            )
        });
        self.obey(parcel.to, effects, &parcel.records)?;
        match parcel.message {
            Message::AppendEntriesResponse(_) if self.is_prompt || self.is_healed => self.flush(parcel.to),
            _ => Ok(()),
        }
    }

    fn flush(&mut self, node: NodeId) -> Result<(), String> {
        let now = self.now;
        let effects = self
            .peers
            .get_mut(&node)
            .map(|peer| peer.flush(now))
            .unwrap_or_default();
        self.obey(node, effects, &[])
    }

    fn clients_write(&mut self) -> Result<(), String> {
        for node in self.leaders() {
            for _ in 0..self.chance.below(3) {
                let Some(peer) = self.peers.get(&node).filter(|peer| peer.leads()) else {
                    break;
                };
                if peer.last() - peer.committed < 60 || self.is_healed {
                    self.write(node, false, None)?;
                }
            }
            if self.chance.one_in(2) {
                self.write(node, true, None)?;
            }
            if self.chance.one_in(2) {
                self.flush(node)?;
            }
        }
        Ok(())
    }

    pub(super) fn leaders(&self) -> Vec<NodeId> {
        let ready = self
            .peers
            .values()
            .filter(|peer| peer.leads() && peer.stalled_until <= self.now);
        ready.map(|peer| peer.id).collect()
    }

    /// A leader writes an entry.
    pub(super) fn write(&mut self, node: NodeId, is_signature: bool, nodes: Option<NodesChange>) -> Result<(), String> {
        let (now, payload) = (self.now, self.payload());
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.leads()) else {
            return Ok(());
        };
        let effects = peer.write(now, is_signature, nodes, payload);
        self.obey(node, effects, &[])
    }

    /// A node does what its consensus wants, then what follows from it, then plans what it waits for.
    pub(super) fn obey(&mut self, node: NodeId, effects: Vec<Effect>, cargo: &[Record]) -> Result<(), String> {
        self.carry_out(node, effects, cargo)?;
        for _ in 0..DEPTH {
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
                    let parcel = Parcel {
                        from: node,
                        to,
                        message,
                        records: peer.cargo(&message),
                    };
                    for at in self.network.arrivals(self.now, node, to) {
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
                    if !knows && self.network.is_orderly {
                        return Err(format!("{left} left, does not know it, and is forgotten"));
                    }
                }
                Effect::Forgotten { told: false, .. } => self.tally.silent += 1,
                Effect::MayLeave { .. } => self.may_leave(node),
                Effect::Note(crate::consensus::Note::Contradiction { what, .. }) if self.network.is_orderly => {
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
        view: u64,
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

pub(super) fn short(node: NodeId) -> String {
    node.to_string()[..2].to_owned()
}
