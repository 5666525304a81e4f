//! What goes wrong, and that it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::chance::Chance;
use super::peer::{Body, Disk, Peer};
use super::world::{ELECTION, Event, World, short};
use crate::channel::NodeId;
use crate::format::Seqno;

impl<B: Body> World<'_, B> {
    pub(super) fn fault(&mut self) -> Result<(), String> {
        let after = match self.chance.below(3) {
            0 => self.ms(20, 300),
            1 => self.ms(300, 1500),
            _ => self.ms(1500, 5000),
        };
        self.plan(after, Event::Fault);
        let alive: Vec<NodeId> = self
            .peers
            .values()
            .filter(|peer| peer.is_alive)
            .map(|peer| peer.id)
            .collect();
        let leaders = self.leaders();
        let one = self.chance.pick(&alive);
        match self.chance.below(14) {
            0..3 => self.network.cuts.clear(),
            3 | 4 => {
                let mut all = alive;
                self.chance.shuffle(&mut all);
                let (some, others) = all.split_at(self.chance.below(all.len()));
                self.say(|| format!("cut: {some:?} from {others:?}"));
                self.network.cuts.clear();
                self.network.split(some, others);
            }
            5 | 6 => {
                // Those who led are cut off, with perhaps one other: they go on to write for nobody.
                let with = self.chance.pick(&alive).filter(|_| self.chance.one_in(2));
                let group: BTreeSet<NodeId> = self.chance.pick(&leaders).into_iter().chain(with).collect();
                let others: Vec<NodeId> = alive.into_iter().filter(|node| !group.contains(node)).collect();
                self.network.cuts.clear();
                self.network.split(&group.into_iter().collect::<Vec<_>>(), &others);
            }
            7 | 8 => {
                if let (Some(from), Some(to)) = (one, self.chance.pick(&alive)) {
                    self.network.cuts.insert((from, to));
                }
            }
            9 => {
                if let Some(node) = one {
                    self.crash(node)?;
                }
            }
            10 => {
                let until = self.now + self.ms(50, 3000);
                if let Some(peer) = one.and_then(|node| self.peers.get_mut(&node)) {
                    peer.stalled_until = until;
                }
            }
            11 => {
                // A leader that is about to end asks another to lead; one that is alone gives up those who don't answer.
                if let Some(leader) = self.chance.pick(&leaders) {
                    let (now, gives_up) = (self.now, self.chance.one_in(2));
                    self.does(leader, |body| match gives_up {
                        true => body.withdraw(now),
                        false => body.nominate(now),
                    })?;
                }
            }
            _ => {
                if let Some(node) = one {
                    self.spoil_disk(node);
                }
            }
        }
        Ok(())
    }

    /// A machine is lost for ever, if a majority of every configuration stays.
    fn crash(&mut self, node: NodeId) -> Result<(), String> {
        if !self.survives(&BTreeSet::new(), Some(node)) {
            return Ok(());
        }
        self.say(|| format!("{} crashes", short(node)));
        self.tally.crashed += 1;
        self.peers.get_mut(&node).map_or(Ok(()), Peer::crash)
    }

    /// A disk gets worse, better, or fails for good, if a majority of every configuration stays.
    fn spoil_disk(&mut self, node: NodeId) {
        let disk = match self.chance.below(8) {
            0 if self.survives(&BTreeSet::new(), Some(node)) => Disk::Broken,
            0..=3 => Disk::Calm,
            4 => Disk::Bad {
                failures: 0,
                failed_syncs: 0,
                is_full: true,
            },
            _ => Disk::Bad {
                failures: self.chance.pick(&[0, 20, 150]).unwrap_or(0),
                failed_syncs: self.chance.pick(&[0, 50, 250]).unwrap_or(0),
                is_full: self.chance.one_in(4),
            },
        };
        self.say(|| format!("disk of {}: {disk:?}", short(node)));
        if let Some(peer) = self.peers.get_mut(&node).filter(|peer| !peer.is_doomed) {
            peer.is_doomed = disk == Disk::Broken && B::HAS_DISK;
            peer.body.change_disk(disk);
        }
    }

    /// No more faults. What was written until now is to be replaced or committed soon, and more after it.
    pub(super) fn heal(&mut self) {
        self.say(|| "faults end".to_owned());
        self.network.heal();
        for peer in self.peers.values_mut() {
            peer.stalled_until = Duration::ZERO;
            if !peer.is_doomed {
                peer.body.change_disk(Disk::Calm);
            }
        }
        let longest = self.peers.values().map(|peer| peer.last()).max().unwrap_or(0);
        self.mark = longest + 3;
        debug_assert!(self.now < self.faults_end + ELECTION);
    }

    /// The seqno that must be committed for the cluster to be well.
    pub(super) fn promises_mark(&self) -> Seqno {
        self.mark
    }
}
