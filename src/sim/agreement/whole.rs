//! A whole core with a store, chunk files on a disk that lies, entries that are sealed and signed. What the node's driver does
//! with the effects of a core is done here in the same order, with the same functions.

mod body;
#[cfg(test)]
mod broken;
mod origin;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::super::chance::Chance;
use super::super::disk::{LyingDisk, Weather};
use super::super::service::is_chunk;
use super::ground::{Founded, copy, record, trusted, with_status};
use super::model::Frames;
use super::peer::{Beginning, Body, Deed, Deeds, Disk, Peer, Plan, Wanted, nodes_after, start};
use crate::channel::NodeId;
use crate::consensus::{Consensus, Message, NodesChange, Role};
use crate::core::{
    Agreed, Announcement, Core, Effect, Event, Failure, Follow, LastSigned, Milestone, Now, Outcome, Proposal, Refusal,
    Settings, SignatureSettings, Start, Submission, Ticket, state_after,
};
use crate::crypto::Digest;
use crate::format::domain::{EntryType, WriteSet};
use crate::format::entry::Entry;
use crate::format::names::{ChunkName, FileName};
use crate::format::{Seqno, TxId};
use crate::journal::Signers;
use crate::journal::files::{ChunkFiles, Operation};
use crate::kv::store::Store;
use crate::merkle::Tree;
use crate::merkle::tree::TreeView;
use crate::recovery::foundation::leaf_of;
use crate::recovery::writes::Keys;
use crate::service::create::commit_retirements;
use crate::service::following;
use crate::tables::node_info::NodeRecord;
use crate::tables::{SINGLETON_KEY, names};

/// What of an entry is its header, which nothing covers.
const HEADER: usize = 8;

pub(super) struct Whole {
    ground: Arc<Founded>,
    pub(super) core: Core,
    pub(super) store: Store,
    pub(super) disk: LyingDisk,
    files: ChunkFiles<LyingDisk>,
    rng: ChaCha20Rng,
    /// Every entry of its ledger.
    raws: Vec<Bytes>,
    /// Where entries were written that did not come with the ground: their chunk, and where they begin in it.
    places: BTreeMap<Seqno, (Seqno, u64)>,
    /// An operation that the core waits for.
    under_way: Option<Operation>,
    /// The disk syncs nothing ever again.
    is_broken: bool,
    /// How many times in a row the disk has refused for other reasons than that it is full.
    refused: u32,
    next_ticket: u64,
    /// Tickets of clients.
    asked: BTreeSet<Ticket>,
    #[cfg(test)]
    broken: Option<super::tests::Broken>,
}

/// After so many refusals in a row a disk that is only bad does as it is told, once: a node gives up after 20.
const MOST_REFUSALS: u32 = 15;

type Cargo = Arc<Vec<u8>>;

/// What a step applies, by seqno.
struct Applied {
    /// The bytes of entries that another node has sealed.
    raws: BTreeMap<Seqno, Bytes>,
    writes: BTreeMap<Seqno, WriteSet>,
}

fn written(effect: &Effect) -> Option<(Seqno, WriteSet)> {
    match effect {
        Effect::Announce(Announcement::Applied { txid, writes, .. }) => Some((txid.seqno, writes.clone())),
        _ => None,
    }
}

impl Whole {
    /// Tells the core what happened, and carries out what it decides.
    fn step(&mut self, now: Duration, event: Event, frame: &[u8], deeds: &mut Vec<Deed<Cargo>>) -> Result<(), String> {
        let at = Now {
            elapsed: now,
            unix_s: 1_750_000_000 + now.as_secs(),
        };
        let raws = match &event {
            Event::Followed(run) => run.iter().map(|it| (it.txid.seqno, it.raw.clone())).collect(),
            _ => BTreeMap::new(),
        };
        let (durable, agreed) = (self.durable(), self.consensus().committed());
        let mut effects = self.core.step(at, event);
        let applied = Applied {
            raws,
            writes: effects.iter().filter_map(written).collect(),
        };
        let mut agrees = Some(self.consensus().committed()).filter(|now| *now > agreed);
        self.bring_state_along(&mut effects);
        if self.durable() > durable {
            self.is_on_disk(durable, self.durable())?;
            deeds.push(Deed::Durable(self.durable()));
        }
        for effect in effects {
            if matches!(
                effect,
                Effect::Announce(Announcement::Committed { .. } | Announcement::Agreed(Agreed::Role(_)))
            ) {
                deeds.extend(agrees.take().map(Deed::Agreed));
            }
            self.carry_out(now, effect, &applied, frame, deeds)?;
        }
        deeds.extend(agrees.take().map(Deed::Agreed));
        Ok(())
    }

    #[cfg(not(test))]
    fn keys<'k>(&self, ground: &'k Founded) -> &'k dyn Keys {
        &ground.secrets
    }

    #[cfg(not(test))]
    fn bring_state_along(&mut self, effects: &mut [Effect]) {
        state_after(effects, &mut self.store);
    }

    fn durable(&self) -> Seqno {
        self.consensus().durable()
    }

    fn carry_out(
        &mut self,
        now: Duration,
        effect: Effect,
        applied: &Applied,
        frame: &[u8],
        deeds: &mut Vec<Deed<Cargo>>,
    ) -> Result<(), String> {
        match effect {
            Effect::Perform(operation) => match self.under_way.replace(operation) {
                None => {}
                Some(before) => return Err(format!("two operations are under way, of which one is {before:?}")),
            },
            Effect::Send { to, message } => {
                let cargo = self.cargo(&message)?;
                deeds.push(Deed::Sends { to, message, cargo });
            }
            Effect::Verify { after, through, .. } => self.verify(now, (after, through), frame, deeds)?,
            Effect::Answer(ticket, outcome) => self.answered(ticket, &outcome, deeds)?,
            Effect::Announce(announcement) => self.hears(announcement, applied, deeds)?,
            Effect::Propose(Proposal::Retirements) => {
                let frozen = self.store.freeze();
                let mut transaction = frozen.transaction();
                if commit_retirements(&mut transaction, self.core.agreed()) {
                    let writes = transaction.into_writes();
                    drop(frozen);
                    self.submit(now, writes, Some(Milestone::RetirementsCommitted), deeds)?;
                }
            }
            Effect::GiveUp { .. } => deeds.push(Deed::GivesUp),
            Effect::Snapshot(_)
            | Effect::NameSnapshot { .. }
            | Effect::ProveSnapshot { .. }
            | Effect::DropSnapshot { .. }
            | Effect::Propose(Proposal::Opening)
            | Effect::Stopped => return Err("nobody asked for that".to_owned()),
        }
        Ok(())
    }

    fn hears(
        &mut self,
        announcement: Announcement,
        applied: &Applied,
        deeds: &mut Vec<Deed<Cargo>>,
    ) -> Result<(), String> {
        match announcement {
            Announcement::Applied { txid, .. } => {
                let raw = applied.raws.get(&txid.seqno).or_else(|| self.core.kept(txid.seqno));
                let raw = raw.cloned();
                let raw = raw.ok_or_else(|| format!("{txid} is applied, and its bytes are gone"))?;
                let writes = applied.writes.get(&txid.seqno);
                let writes = writes.ok_or_else(|| format!("{txid} is applied, and nobody knows what it writes"))?;
                deeds.push(Deed::Appended(record(txid, &raw, writes, &self.store)));
                self.raws.push(raw);
            }
            Announcement::RolledBack { to } => {
                self.raws.truncate(to as usize);
                self.places.split_off(&(to + 1));
                deeds.push(Deed::RolledBack(to));
            }
            Announcement::Committed { txid, .. } => {
                self.store.compact(txid.seqno);
                deeds.push(Deed::Committed(txid.seqno));
            }
            Announcement::Agreed(Agreed::Role(Role::Leader)) => {
                deeds.push(Deed::Leads(self.consensus().view()));
            }
            Announcement::Agreed(Agreed::Role(_)) => deeds.push(Deed::Follows),
            Announcement::Agreed(Agreed::MayLeave { .. }) => deeds.push(Deed::MayLeave),
            Announcement::Agreed(Agreed::Forgotten { node, told }) => deeds.push(Deed::Forgot { node, told }),
            Announcement::Agreed(Agreed::Note(note)) => deeds.push(Deed::Notes(note)),
            Announcement::Agreed(Agreed::Retirement(_))
            | Announcement::Reached(_)
            | Announcement::Open
            | Announcement::Waiting { .. }
            | Announcement::Resumed => {}
        }
        Ok(())
    }

    fn answered(&mut self, ticket: Ticket, outcome: &Outcome, deeds: &mut Vec<Deed<Cargo>>) -> Result<(), String> {
        if !self.asked.remove(&ticket) {
            return Err(format!("{ticket:?} is answered twice"));
        }
        match outcome {
            Outcome::Written(txid) => match self.places.contains_key(&txid.seqno) {
                true => deeds.push(Deed::Told(*txid)),
                false => return Err(format!("{txid} is answered, and is in no file")),
            },
            Outcome::Refused(Refusal::Unsealable(why)) => return Err(format!("refused as unsealable: {why}")),
            Outcome::Refused(_) | Outcome::RolledBack => {}
        }
        Ok(())
    }

    fn cargo(&self, message: &Message) -> Result<Cargo, String> {
        let Message::AppendEntries(frame) = message else {
            return Ok(Cargo::default());
        };
        let entries = self.raws.get(frame.prev_idx as usize..frame.idx as usize);
        let entries = entries.ok_or_else(|| format!("{frame:?} names entries that are not there"))?;
        Ok(Arc::new(entries.concat()))
    }

    /// As the node's driver does it.
    fn verify(
        &mut self,
        now: Duration,
        (after, through): (Seqno, Seqno),
        frame: &[u8],
        deeds: &mut Vec<Deed<Cargo>>,
    ) -> Result<(), String> {
        let ground = Arc::clone(&self.ground);
        let frame = Bytes::copy_from_slice(frame);
        let mut entries = following::Frame::new(&frame, after, through);
        loop {
            let checked = {
                let state = self.store.freeze();
                entries.check_next(&state, self.keys(&ground))
            };
            match checked {
                None => return Ok(()),
                Some(following::Run { entries, refused }) => {
                    if !entries.is_empty() {
                        self.step(now, Event::Followed(entries), &[], deeds)?;
                    }
                    if refused.is_some() {
                        deeds.push(Deed::Refused);
                        return self.step(now, Event::FrameRefused, &[], deeds);
                    }
                }
            }
        }
    }

    fn submit(
        &mut self,
        now: Duration,
        writes: WriteSet,
        milestone: Option<Milestone>,
        deeds: &mut Vec<Deed<Cargo>>,
    ) -> Result<(), String> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.asked.insert(ticket);
        let submission = Submission {
            ticket,
            is_own: milestone.is_some(),
            writes,
            claims: None,
            follow: Follow {
                milestone,
                ..Follow::default()
            },
        };
        self.step(now, Event::Transaction(submission), &[], deeds)
    }

    fn told(&mut self, now: Duration, event: Event) -> Deeds<Whole> {
        let mut deeds = Vec::new();
        self.step(now, event, &[], &mut deeds)?;
        Ok(deeds)
    }

    /// What the core takes for durable is on the disk, whatever happens.
    fn is_on_disk(&self, after: Seqno, through: Seqno) -> Result<(), String> {
        for seqno in after + 1..=through {
            let Some((chunk, offset)) = self.places.get(&seqno) else {
                return Err(format!("{seqno} is durable, and was never written"));
            };
            let raw = self.raws.get(seqno as usize - 1).map(|raw| &**raw).unwrap_or_default();
            if raw.is_empty() || !self.disk.holds(|path: &Path| is_chunk(path, *chunk), *offset, raw) {
                return Err(format!("{seqno} is durable, and not on the disk"));
            }
        }
        Ok(())
    }

    /// An operation is given to the disk.
    fn gives(&mut self, operation: &Operation) -> Result<(), String> {
        let Operation::Write { chunk, offset, entries } = operation else {
            return Ok(());
        };
        let mut offset = *offset;
        for bytes in entries {
            let entry = Entry::parse(bytes).map_err(|why| format!("what is written is no entry: {why}"))?;
            let seqno = entry.iv().seqno;
            // What was rolled back meanwhile is written all the same, and cut off later.
            if self.raws.get(seqno as usize - 1).is_some_and(|raw| raw == bytes) {
                self.places.insert(seqno, (*chunk, offset));
            }
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), Failure> {
        #[cfg(test)]
        if self.is_left_out(operation) {
            return Ok(());
        }
        // A disk that refuses the same for ever is broken, and a node may give it up; one that is only bad must not seem so by
        // chance, where everybody counts on the node.
        let weather = self.disk.weather();
        let is_enough = self.refused >= MOST_REFUSALS && !self.is_broken;
        if is_enough {
            let is_full = weather.is_full;
            self.disk.set_weather(Weather {
                is_full,
                ..Weather::default()
            });
        }
        let done = self.files.perform(operation).map_err(|why| Failure::from(&why));
        if is_enough {
            self.disk.set_weather(weather);
        }
        match &done {
            Ok(()) => self.refused = 0,
            Err(failure) => self.refused += u32::from(!failure.is_waited_for),
        }
        done
    }
}
