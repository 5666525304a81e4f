//! A whole core with a store, chunk files on a disk that lies, entries that are sealed and signed. What the node's driver does
//! with the effects of a core is done here in the same order, with the same functions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    raws: Vec<Arc<[u8]>>,
    /// Where entries were written that did not come with the ground: their chunk, and where they begin in it.
    places: BTreeMap<Seqno, (Seqno, u64)>,
    /// An operation that the core waits for.
    under_way: Option<Operation>,
    next_ticket: u64,
    /// Tickets of clients.
    asked: BTreeSet<Ticket>,
    #[cfg(test)]
    broken: Option<super::tests::Broken>,
}

type Cargo = Arc<Vec<u8>>;

/// What a core begins with.
struct Origin {
    tree: Tree,
    view_history: Vec<Seqno>,
    last: Option<LastSigned>,
    store: Store,
    raws: Vec<Arc<[u8]>>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Origin {
    fn nothing() -> Origin {
        let Start { tree, view_history, .. } = Start::genesis();
        Origin {
            tree,
            view_history,
            last: None,
            store: Store::new(),
            raws: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Whole {
    fn new(
        ground: &Arc<Founded>,
        plan: &mut Plan,
        signers: Signers,
        origin: Origin,
        agree: impl FnOnce(&Plan, ChaCha20Rng) -> Consensus,
    ) -> Whole {
        let mut rng = plan.chance.branch();
        let settings = Settings {
            chunk_size: rng.pick(&[1000, 4000, 12_000, 50_000]).unwrap_or(4000),
            entry_type: EntryType::WriteSetWithCommitEvidenceAndClaims,
            signatures: Some(SignatureSettings {
                tx_count: rng.within(3, 30) as u64,
                delay: Duration::from_millis(rng.within(200, 1500) as u64),
            }),
            max_uncommitted: rng.pick(&[0, 0, 40]).unwrap_or(0),
            snapshots: None,
        };
        let start = Start {
            tree: origin.tree,
            view_history: origin.view_history,
            last: origin.last,
            is_recovery: false,
        };
        let core = Core::new(start, settings, Arc::clone(&ground.newest), signers);
        let consensus = agree(plan, rng.branch());
        let disk = LyingDisk::new(rng.branch(), false);
        disk.take_over(origin.files);
        Whole {
            ground: Arc::clone(ground),
            core: core.agreeing(consensus, Box::new(Frames(plan.entries_per_frame))),
            store: origin.store,
            files: ChunkFiles::new(disk.clone(), &ground.ledger),
            disk,
            raws: origin.raws,
            places: BTreeMap::new(),
            under_way: None,
            next_ticket: 0,
            asked: BTreeSet::new(),
            rng,
            #[cfg(test)]
            broken: None,
        }
    }

    /// Tells the core what happened, and carries out what it decides.
    fn step(&mut self, now: Duration, event: Event, frame: &[u8], deeds: &mut Vec<Deed<Cargo>>) -> Result<(), String> {
        let at = Now {
            elapsed: now,
            unix_s: 1_750_000_000 + now.as_secs(),
        };
        let raw = match &event {
            Event::Followed(followed) => Some(Arc::clone(&followed.raw)),
            _ => None,
        };
        let (durable, agreed) = (self.durable(), self.consensus().committed());
        let effects = self.core.step(at, event);
        let mut agrees = Some(self.consensus().committed()).filter(|now| *now > agreed);
        self.bring_state_along(&effects);
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
            self.carry_out(now, effect, raw.as_ref(), frame, deeds)?;
        }
        deeds.extend(agrees.take().map(Deed::Agreed));
        Ok(())
    }

    #[cfg(not(test))]
    fn bring_state_along(&mut self, effects: &[Effect]) {
        state_after(effects, &mut self.store);
    }

    fn durable(&self) -> Seqno {
        self.consensus().durable()
    }

    fn carry_out(
        &mut self,
        now: Duration,
        effect: Effect,
        raw: Option<&Arc<[u8]>>,
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
            Effect::Announce(announcement) => self.hears(announcement, raw, deeds)?,
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
        raw: Option<&Arc<[u8]>>,
        deeds: &mut Vec<Deed<Cargo>>,
    ) -> Result<(), String> {
        match announcement {
            Announcement::Applied { txid, writes } => {
                let raw = raw.or_else(|| self.core.kept(txid.seqno)).map(Arc::clone);
                let raw = raw.ok_or_else(|| format!("{txid} is applied, and its bytes are gone"))?;
                deeds.push(Deed::Appended(record(txid, &raw, &writes, &self.store)));
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
        let mut entries = following::Frame::new(frame, after, through);
        loop {
            let checked = {
                let state = self.store.freeze();
                entries.check_next(&state, &ground.secrets)
            };
            match checked {
                None => return Ok(()),
                Some((_, Ok(followed))) => {
                    #[cfg(test)]
                    let followed = self.without_root(followed);
                    self.step(now, Event::Followed(Box::new(followed)), &[], deeds)?;
                }
                Some((_, Err(_))) => {
                    deeds.push(Deed::Refused);
                    return self.step(now, Event::FrameRefused, &[], deeds);
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
        self.files.perform(operation).map_err(|why| Failure::from(&why))
    }

    /// What a client writes.
    fn something(&mut self) -> WriteSet {
        let mut writes = WriteSet::new();
        for _ in 0..self.rng.within(1, 3) {
            let most = self.rng.pick(&[40, 40, 400]).unwrap_or(40);
            let mut text = vec![0; self.rng.within(1, most)];
            self.rng.fill_bytes(&mut text);
            let key = format!("key{}", self.rng.below(9));
            let map = match self.rng.one_in(2) {
                true => "public:simulated",
                false => "simulated",
            };
            writes.put(map, key, text);
        }
        writes
    }

    /// What members' decision about nodes writes.
    fn decided(&self, change: &NodesChange) -> Result<WriteSet, String> {
        let mut writes = WriteSet::new();
        let before = trusted(&self.store);
        for node in change.trusted.difference(&before) {
            let id = node.to_string();
            let (_, record) = self
                .store
                .get(names::NODES_INFO, id.as_bytes())
                .ok_or_else(|| format!("{id} never asked to join"))?;
            let joiner = self.ground.joiners.iter().find(|joiner| joiner.id == *node);
            let joiner = joiner.ok_or_else(|| format!("{id} is nobody"))?;
            writes.put(names::NODES_INFO, id.as_str(), with_status(record, "Trusted")?);
            writes.put(names::NODES_ENDORSED_CERTIFICATES, id, joiner.endorsed.as_str());
        }
        for node in before.difference(&change.trusted) {
            let id = node.to_string();
            let record = self.store.get(names::NODES_INFO, id.as_bytes());
            if let Some(mut record) = record.and_then(|(_, record)| NodeRecord::read(record)) {
                record.retire();
                writes.put(names::NODES_INFO, id, record.to_json());
            }
        }
        Ok(writes)
    }

    /// The state that is committed, with the files of the ledger up to there: where a chunk ends there.
    fn given(&self, committed: Seqno) -> Option<Origin> {
        let state = self.store.committed_at(committed)?;
        let mut files = self.disk.durable();
        let name = |path: &Path| match path.file_name().and_then(|name| name.to_str()).map(FileName::parse) {
            Some(FileName::Chunk(name)) => Some(name),
            _ => None,
        };
        files.retain(|(path, _)| name(path).is_some_and(|name: ChunkName| name.kind.is_committed()));
        files.retain(|(path, _)| name(path).is_some_and(|name| name.last.is_some_and(|last| last <= committed)));
        files.sort_by_key(|(path, _)| name(path).map(|name| name.first));
        let mut next = 1;
        for (path, _) in &files {
            let name = name(path).filter(|name| name.first == next)?;
            next = name.last? + 1;
        }
        if next != committed + 1 {
            return None;
        }
        let raws = self.raws.get(..committed as usize)?.to_vec();
        let raw = raws.last()?;
        let entry = Entry::parse(raw).ok()?;
        let iv = entry.iv();
        let mut store = Store::with_public(copy(&state.public), committed);
        store.set_private(copy(&state.private));
        // As a snapshot has it: the tree is in the tables, up to the signature.
        let (_, tree) = store.get(names::TREE, &SINGLETON_KEY)?;
        let accumulator = TreeView::parse(tree).ok()?.accumulator(committed)?;
        let root: Digest = accumulator.root();
        let tree = Tree::continuing(accumulator, vec![leaf_of(&entry)?]);
        let view_history = self.core.view_history().iter().take(iv.view as usize).copied();
        Some(Origin {
            tree,
            view_history: view_history.collect(),
            last: Some(LastSigned {
                txid: TxId {
                    view: iv.view,
                    seqno: iv.seqno,
                },
                root,
            }),
            store,
            raws,
            files,
        })
    }
}

impl Body for Whole {
    type Cargo = Cargo;
    type Ground = Arc<Founded>;
    const HAS_DISK: bool = true;
    const CLIENTS_MS: (usize, usize) = (50, 600);
    const FAULTS: (usize, usize) = (8, 30);

    fn id(ground: &Arc<Founded>, number: usize) -> NodeId {
        match number.checked_sub(1).and_then(|at| ground.joiners.get(at)) {
            Some(joiner) => joiner.id,
            None => NodeId(ground.signers.node.verifying_key().id()),
        }
    }

    /// The node that opened the service, in a view of its own.
    fn first(ground: &Arc<Founded>, mut plan: Plan) -> Result<(Whole, Beginning, Vec<Deed<Cargo>>), String> {
        let mut store = Store::with_public(copy(&ground.state.public), ground.last.txid.seqno);
        store.set_private(copy(&ground.state.private));
        let origin = Origin {
            tree: ground.tree.clone(),
            view_history: ground.view_history.clone(),
            last: Some(ground.last),
            store,
            raws: ground.raws.clone(),
            files: ground.files.clone(),
        };
        let mut decided = Vec::new();
        let whole = Whole::new(ground, &mut plan, ground.signers.clone(), origin, |plan, chance| {
            let start = start(plan.id, &ground.records, ground.last.txid.view + 1);
            let (consensus, effects) = Consensus::lead(plan.settings, start, chance, plan.now);
            decided = effects;
            consensus
        });
        let leads = decided
            .iter()
            .any(|effect| matches!(effect, crate::consensus::Effect::Role(Role::Leader)));
        if !leads {
            return Err("the first node does not lead".to_owned());
        }
        let mut whole = whole;
        let mut deeds = vec![Deed::Leads(ground.last.txid.view + 1)];
        let sign = Event::Sign {
            end_chunk: false,
            snapshot: false,
        };
        whole.step(plan.now, sign, &[], &mut deeds)?;
        let beginning = Beginning {
            took_part: nodes_after(&ground.records).0.last().cloned().into_iter().collect(),
            ledger: ground.records.clone(),
        };
        Ok((whole, beginning, deeds))
    }

    fn joins(ground: &Arc<Founded>, mut plan: Plan, giver: Option<&Peer<Whole>>) -> Result<(Whole, Beginning), String> {
        let joiner = ground.joiners.iter().find(|joiner| joiner.id == plan.id);
        let joiner = joiner.ok_or("nobody is left to join")?;
        let given = giver.and_then(|giver| Some((giver, giver.body.given(giver.committed)?)));
        let (ledger, origin) = match given {
            Some((giver, origin)) => (giver.ledger.get(..giver.committed as usize), origin),
            None => (None, Origin::nothing()),
        };
        let ledger = ledger.unwrap_or_default().to_vec();
        let whole = Whole::new(ground, &mut plan, joiner.signers.clone(), origin, |plan, chance| {
            Consensus::follow(plan.settings, start(plan.id, &ledger, 0), chance, plan.now)
        });
        let took_part = nodes_after(&ledger).0.last().cloned().into_iter().collect();
        Ok((whole, Beginning { ledger, took_part }))
    }

    fn consensus(&self) -> &Consensus {
        match self.core.consensus() {
            Some(consensus) => consensus,
            None => unreachable!("it was begun with one"),
        }
    }

    fn due(&self) -> Option<Duration> {
        self.core.wakes_at()
    }

    fn hear(&mut self, now: Duration, from: NodeId, message: Message, cargo: Cargo) -> Deeds<Whole> {
        let mut deeds = Vec::new();
        self.step(now, Event::Heard { from, message }, &cargo, &mut deeds)?;
        Ok(deeds)
    }

    fn tick(&mut self, now: Duration) -> Deeds<Whole> {
        self.told(now, Event::Tick)
    }

    /// A core sends what is new after every step.
    fn flush(&mut self, _: Duration) -> Deeds<Whole> {
        Ok(Vec::new())
    }

    fn nominate(&mut self, now: Duration) -> Deeds<Whole> {
        self.told(now, Event::HandOver)
    }

    fn withdraw(&mut self, now: Duration) -> Deeds<Whole> {
        self.told(now, Event::Withdraw)
    }

    fn write(&mut self, now: Duration, wanted: Wanted) -> Deeds<Whole> {
        let mut deeds = Vec::new();
        match wanted {
            Wanted::Entry => {
                let writes = self.something();
                self.submit(now, writes, None, &mut deeds)?;
            }
            Wanted::Signature => {
                let sign = Event::Sign {
                    end_chunk: self.rng.one_in(10),
                    snapshot: false,
                };
                self.step(now, sign, &[], &mut deeds)?;
            }
            Wanted::Pending(node) => {
                let joiner = self.ground.joiners.iter().find(|joiner| joiner.id == node);
                let joiner = joiner.ok_or("nobody asks to join")?;
                let mut writes = WriteSet::new();
                writes.put(names::NODES_INFO, node.to_string(), joiner.pending.as_slice());
                self.submit(now, writes, None, &mut deeds)?;
            }
            Wanted::Nodes(change) => {
                let known = |node: &&NodeId| self.store.get(names::NODES_INFO, node.to_string().as_bytes()).is_some();
                // The limit of what may be uncommitted has refused what asks for it.
                if change.trusted.iter().all(|node| known(&node)) {
                    let writes = self.decided(&change)?;
                    self.submit(now, writes, None, &mut deeds)?;
                }
            }
        }
        Ok(deeds)
    }

    fn waits_for_disk(&self) -> bool {
        self.under_way.is_some()
    }

    fn disk_begins(&mut self) {}

    fn disk_ends(&mut self, now: Duration) -> Deeds<Whole> {
        let Some(operation) = self.under_way.take() else {
            return Ok(Vec::new());
        };
        self.gives(&operation)?;
        let event = match self.perform(&operation) {
            Ok(()) => Event::Done,
            Err(failure) => Event::Failed(failure),
        };
        self.told(now, event)
    }

    fn change_disk(&mut self, disk: Disk) {
        let calm = Weather::default();
        self.disk.set_weather(match disk {
            Disk::Calm => calm,
            Disk::Bad {
                failures,
                failed_syncs,
                is_full,
            } => Weather {
                failures,
                failed_syncs,
                is_full,
            },
            Disk::Broken => Weather {
                failed_syncs: 1000,
                ..calm
            },
        });
    }

    /// Any bit but those of the header: nothing covers its flags, here or in CCF.
    fn spoil(ground: &Arc<Founded>, cargo: &mut Cargo, chance: &mut ChaCha20Rng) {
        let bytes = Arc::make_mut(cargo);
        let mut entries = Vec::new();
        let mut at = 0;
        while let Some(Ok(entry)) = bytes.get(at..).filter(|rest| !rest.is_empty()).map(Entry::parse) {
            // Nobody gave out the secrets of the services before.
            if entry.iv().seqno > ground.last.txid.seqno {
                entries.push((at + HEADER, entry.raw.len() - HEADER));
            }
            at += entry.raw.len();
        }
        if let Some((first, len)) = chance.pick(&entries)
            && let Some(byte) = bytes.get_mut(first + chance.below(len))
        {
            *byte ^= 1 << chance.below(8);
        }
    }

    fn crash(&mut self, durable: Seqno) -> Result<Seqno, String> {
        if let Some(operation) = self.under_way.take() {
            self.disk.crash_after(self.rng.below(6) as u64);
            let _ = self.files.perform(&operation);
        }
        self.disk.crash();
        let own = self.places.keys().next().map_or(durable, |first| first - 1);
        self.is_on_disk(own.min(durable), durable)?;
        Ok(durable)
    }

    fn is_consistent(&self, peer: &Peer<Whole>) -> Result<(), String> {
        let state = self.store.freeze().seqno();
        match state == peer.last() && self.core.next().seqno == peer.last() + 1 {
            true => Ok(()),
            false => Err(format!(
                "{} has a state at {state} and a log up to {}, of {}",
                peer.id,
                self.core.next().seqno - 1,
                peer.last()
            )),
        }
    }

    #[cfg(test)]
    fn break_rule(&mut self, rule: super::tests::Broken) {
        match rule {
            super::tests::Broken::Agreement(rule) => self.core.break_rule(rule),
            other => self.broken = Some(other),
        }
    }
}

/// What tests break.
#[cfg(test)]
impl Whole {
    fn is_left_out(&self, operation: &Operation) -> bool {
        use super::tests::Broken;
        match operation {
            Operation::Cut { .. } | Operation::Remove { .. } => self.broken == Some(Broken::FilesKeepTheTail),
            Operation::Sync { .. } => self.broken == Some(Broken::SyncIsNotMade),
            _ => false,
        }
    }

    fn bring_state_along(&mut self, effects: &[Effect]) {
        if self.broken != Some(super::tests::Broken::StateKeepsTheTail) {
            return drop(state_after(effects, &mut self.store));
        }
        for effect in effects {
            if let Effect::Announce(Announcement::Applied { txid, writes }) = effect {
                self.store.apply(txid.seqno, writes);
            }
        }
    }

    fn without_root(&self, mut followed: crate::core::Followed) -> crate::core::Followed {
        if self.broken == Some(super::tests::Broken::RootIsNotCompared) && followed.signs.is_some() {
            followed.signs = Some(self.core.root());
        }
        followed
    }
}
