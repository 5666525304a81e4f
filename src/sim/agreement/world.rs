//! What happens, one thing after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::super::chance::Chance;
use super::network::Network;
use super::peer::{Body, Deeds, Peer, Wanted};
use super::promises::Promises;
use super::tally::Tally;
use crate::channel::NodeId;
use crate::consensus::{Message, Settings};
use crate::format::Seqno;

/// Longest first: everything else is told in these.
pub(super) const ELECTION: Duration = Duration::from_millis(1000);
/// Once faults have ended, the cluster is well again within so many of them.
const PATIENCE: u32 = 40;

/// A message on its way, with its entries.
#[derive(Clone)]
pub(super) struct Parcel<C> {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message,
    pub(super) cargo: C,
}

pub(super) enum Event<C> {
    Arrives(Box<Parcel<C>>),
    Tick(NodeId),
    /// What was given to the disk is done, or has failed.
    Disk(NodeId),
    /// Clients write.
    Clients,
    /// The network or a machine changes for the worse, or better.
    Fault,
    /// Members change who takes part.
    Members,
}

pub(super) struct World<'g, B: Body> {
    pub(super) ground: &'g B::Ground,
    pub(super) chance: ChaCha20Rng,
    pub(super) now: Duration,
    order: u64,
    /// What is to happen, and when; at the same time in the order in which it was planned.
    planned: BTreeMap<(Duration, u64), Event<B::Cargo>>,
    pub(super) peers: BTreeMap<NodeId, Peer<B>>,
    pub(super) network: Network,
    pub(super) promises: Promises,
    pub(super) settings: Settings,
    pub(super) entries_per_frame: u64,
    pub(super) slow_disks: bool,
    /// Leaders send what is new with every answer, not only when it is time.
    is_prompt: bool,
    /// Nodes that take part at first, and at most.
    pub(super) begin_with: usize,
    pub(super) most: usize,
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
    pub(super) broken: Option<super::tests::Broken>,
}

impl<'g, B: Body> World<'g, B> {
    /// With so many nodes, or as many as the seed says.
    pub(super) fn new(ground: &'g B::Ground, nodes: Option<usize>, seed: u64, is_traced: bool) -> World<'g, B> {
        let mut chance = ChaCha20Rng::seed_from_u64(seed);
        let settings = Settings {
            election_timeout: ELECTION,
            frames_under_way: chance.within(1, 8),
            pre_vote: chance.one_in(4),
            frame_bytes: chance.pick(&[500, 5000, 1 << 20]).unwrap_or(1 << 20),
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
            begin_with: nodes.unwrap_or_else(|| chance.within(3, 5)),
            most: nodes.unwrap_or(5),
            ground,
            recent: VecDeque::new(),
            faults_end: ELECTION * chance.within(B::FAULTS.0, B::FAULTS.1) as u32,
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

    pub(super) fn plan(&mut self, after: Duration, event: Event<B::Cargo>) {
        self.plan_at(self.now + after, event);
    }

    pub(super) fn plan_at(&mut self, at: Duration, event: Event<B::Cargo>) {
        self.order += 1;
        self.planned.insert((at, self.order), event);
    }

    pub(super) fn ms(&mut self, first: usize, last: usize) -> Duration {
        Duration::from_millis(self.chance.within(first, last) as u64)
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
        let of = |peer: &Peer<B>| {
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

    fn happens(&mut self, event: Event<B::Cargo>) -> Result<(), String> {
        let busy = match &event {
            Event::Arrives(parcel) => self.peers.get(&parcel.to),
            Event::Tick(node) | Event::Disk(node) => self.peers.get(node),
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
                self.does(node, |body| body.tick(now))
            }
            Event::Disk(node) => {
                let now = self.now;
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.is_writing = false;
                }
                self.does(node, |body| body.disk_ends(now))
            }
            Event::Clients => {
                let after = self.ms(B::CLIENTS_MS.0, B::CLIENTS_MS.1);
                self.plan(after, Event::Clients);
                self.clients_write()
            }
            Event::Fault if self.is_healed => Ok(()),
            Event::Fault => self.fault(),
            Event::Members if self.is_healed => Ok(()),
            Event::Members => self.members_decide(),
        }
    }

    /// A node that lives does something.
    pub(super) fn does(&mut self, node: NodeId, act: impl FnOnce(&mut B) -> Deeds<B>) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.is_alive) else {
            return Ok(());
        };
        let deeds = act(&mut peer.body)?;
        self.see(node, deeds)
    }

    fn arrives(&mut self, mut parcel: Parcel<B::Cargo>) -> Result<(), String> {
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
        if let Message::AppendEntries(frame) = &parcel.message
            && frame.idx > frame.prev_idx
            && !self.is_healed
            && self.chance.one_in(300)
        {
            self.say(|| "an entry is spoiled on its way".to_owned());
            B::spoil(self.ground, &mut parcel.cargo, &mut self.chance);
        }
        let Parcel {
            from,
            to,
            message,
            cargo,
        } = parcel;
        self.say(|| format!("{} gets {message:?} from {}", short(to), short(from)));
        self.does(to, |body| body.hear(now, from, message, cargo))?;
        match message {
            Message::AppendEntriesResponse(_) if self.is_prompt || self.is_healed => self.flush(to),
            _ => Ok(()),
        }
    }

    fn flush(&mut self, node: NodeId) -> Result<(), String> {
        let now = self.now;
        self.does(node, |body| body.flush(now))
    }

    fn clients_write(&mut self) -> Result<(), String> {
        for node in self.leaders() {
            for _ in 0..self.chance.below(3) {
                let Some(peer) = self.peers.get(&node).filter(|peer| peer.leads()) else {
                    break;
                };
                if peer.last() - peer.committed < 60 || self.is_healed {
                    self.write(node, Wanted::Entry)?;
                }
            }
            if self.chance.one_in(2) {
                self.write(node, Wanted::Signature)?;
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

    /// A leader writes something.
    pub(super) fn write(&mut self, node: NodeId, wanted: Wanted) -> Result<(), String> {
        let now = self.now;
        match self.peers.get(&node).is_some_and(Peer::leads) {
            true => self.does(node, |body| body.write(now, wanted)),
            false => Ok(()),
        }
    }
}

pub(super) fn short(node: NodeId) -> String {
    node.to_string()[..2].to_owned()
}
