//! What happens, one thing after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::super::chance::Chance;
use super::network::Network;
use super::peer::{Peer, Record};
use super::promises::Promises;
use super::tally::Tally;
use crate::channel::NodeId;
use crate::consensus::{Message, NodesChange, Settings};
use crate::format::Seqno;

/// Longest first: everything else is told in these.
pub(super) const ELECTION: Duration = Duration::from_millis(1000);
/// Once faults have ended, the cluster is well again within so many of them.
const PATIENCE: u32 = 40;

/// A message on its way, with its entries.
#[derive(Clone)]
pub(super) struct Parcel {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message,
    pub(super) records: Vec<Record>,
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
    /// What is to happen, and when; at the same time in the order in which it was planned.
    planned: BTreeMap<(Duration, u64), Event>,
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
    pub(super) is_healed: bool,
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

    pub(super) fn plan_at(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.planned.insert((at, self.order), event);
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
        while let Some(((at, _), event)) = self.planned.pop_first() {
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
}

pub(super) fn short(node: NodeId) -> String {
    node.to_string()[..2].to_owned()
}
