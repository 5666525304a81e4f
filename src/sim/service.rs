//! A service that is driven: the core, the lying disk, and what it takes to do what the core decides. One operation at a
//! time, as in a node; what became of it is told when the life says so.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::chance::Chance;
use super::disk::LyingDisk;
use super::promises::Promises;
use crate::core::{
    Announcement, Core, Effect, Event, Failure, Milestone, Now, Outcome, Proposal, Refusal, Role, Submission, Ticket,
    state_after,
};
use crate::crypto::Digest;
use crate::format::domain::WriteSet;
use crate::format::names::{ChunkKind, FileName};
use crate::format::{Seqno, TxId};
use crate::journal::SealKey;
use crate::journal::files::{ChunkFiles, Operation};
use crate::journal::snapshot::{Draft, SnapshotFiles, Written};
use crate::journal::succession::KnownSecret;
use crate::kv::store::{Committed, Frozen, Store};
use crate::node::afterwards::{Afterwards, Learned};
use crate::node::session::Session;
use crate::node::status::NodeState;
use crate::service::create::commit_retirements;
use crate::service::identity::ServiceIdentity;
use crate::service::open::{Opening, open_recovered};
use crate::service::submit::Opened;
use crate::tables::values::HistoricalSecret;

/// An operation that the core waits for.
pub(super) struct UnderWay {
    pub(super) operation: Operation,
    /// What came of it, once it is done.
    pub(super) result: Option<Result<(), Failure>>,
}

/// What of a node's life is not a file.
pub(super) struct Service {
    pub(super) core: Core,
    pub(super) disk: LyingDisk,
    pub(super) files: ChunkFiles<LyingDisk>,
    pub(super) snapshots: SnapshotFiles<LyingDisk>,
    pub(super) store: Store,
    pub(super) now: Now,
    pub(super) rng: ChaCha20Rng,
    pub(super) identity: Arc<ServiceIdentity>,
    pub(super) secrets: Arc<Vec<KnownSecret>>,
    pub(super) historical: Arc<Vec<(Seqno, HistoricalSecret)>>,
    pub(super) root: Digest,
    pub(super) state: NodeState,
    pub(super) under_way: Option<UnderWay>,
    /// A snapshot that is to be written, and one that is.
    pub(super) draft: Option<(Draft, Committed)>,
    pub(super) written: Option<Written>,
    /// What the shares opened, until it is committed; and then until the private ledger is read.
    pub(super) unlocked: Option<Opened>,
    pub(super) unread: Option<Opened>,
    /// The last secret of the service before.
    pub(super) before: Option<KnownSecret>,
    pub(super) next_ticket: u64,
    pub(super) is_open: bool,
    pub(super) has_stopped: bool,
    pub(super) has_given_up: bool,
    pub(super) role: Role,
    /// Only room may be missing: nobody is refused for anything else.
    pub(super) only_full: bool,
}

impl Service {
    /// Tells the core what happened, and carries out what it decides. Answers how a transaction was refused, if it was.
    pub(super) fn step(&mut self, promises: &mut Promises, event: Event) -> Result<Option<Refusal>, String> {
        self.step_and(promises, event, Learned::default())
    }

    fn step_and(
        &mut self,
        promises: &mut Promises,
        event: Event,
        mut learned: Learned,
    ) -> Result<Option<Refusal>, String> {
        let mut events = VecDeque::from([event]);
        let mut refused = None;
        while let Some(event) = events.pop_front() {
            let mut effects = self.core.step(self.now, event);
            // What comes of the transaction itself is in the first.
            let learned = std::mem::take(&mut learned).if_written(&effects);
            self.apply(&mut effects, learned);
            for effect in effects {
                // Whatever follows, nobody is there to do it.
                if self.disk.has_crashed() {
                    return Ok(None);
                }
                if let Some(refusal) = self.carry_out(promises, effect, &mut events)? {
                    refused = Some(refusal);
                }
            }
        }
        Ok(refused)
    }

    fn apply(&mut self, effects: &mut [Effect], mut learned: Learned) {
        for effect in effects.iter() {
            match effect {
                Effect::Announce(Announcement::Applied { txid, .. }) => self.disk.say(|| format!("  applied {txid}")),
                Effect::Announce(Announcement::RolledBack { to }) => {
                    Arc::make_mut(&mut self.secrets).retain(|known| known.from <= to + 1);
                }
                _ => {}
            }
        }
        if state_after(effects, &mut self.store).is_some() {
            self.root = self.core.root();
            self.unlocked = learned.unlocked.take().or_else(|| self.unlocked.take());
            learned.teach(&mut self.secrets);
            if learned.opened_at.is_some() {
                self.state = NodeState::PartOfNetwork;
            }
        }
    }

    fn carry_out(
        &mut self,
        promises: &mut Promises,
        effect: Effect,
        events: &mut VecDeque<Event>,
    ) -> Result<Option<Refusal>, String> {
        match effect {
            Effect::Send { .. } | Effect::Verify { .. } => {
                return Err("a node that is alone talks to others".to_owned());
            }
            Effect::Perform(operation) => {
                if self.under_way.is_some() {
                    return Err("two operations are under way".to_owned());
                }
                self.disk.say(|| format!("  perform {}", in_words(&operation)));
                self.under_way = Some(UnderWay {
                    operation,
                    result: None,
                });
            }
            Effect::Snapshot(draft) => match self.store.committed_at(draft.seqno) {
                Some(state) => {
                    promises.drafts(&draft, &state)?;
                    self.is_secret_of(&draft)?;
                    self.draft = Some((draft, state));
                }
                None => events.push_back(Event::SnapshotFailed { seqno: draft.seqno }),
            },
            Effect::NameSnapshot { seqno, evidence_seqno } => {
                if let Some(written) = self.written.take()
                    && self.snapshots.name(seqno, evidence_seqno, written).is_err()
                {
                    self.snapshots.give_up(seqno, Some(evidence_seqno));
                    events.push_back(Event::SnapshotFailed { seqno });
                }
            }
            Effect::ProveSnapshot {
                seqno,
                evidence_seqno,
                receipt,
            } => match self.snapshots.prove(seqno, evidence_seqno, &receipt) {
                Ok(path) => {
                    self.disk.say(|| format!("  snapshot {seqno} is committed"));
                    if !self.disk.holds(|name| name == path, 0, &[]) {
                        return Err(format!(
                            "the snapshot {seqno} is committed, and its name not on the disk"
                        ));
                    }
                }
                Err(why) => {
                    self.disk.say(|| format!("  snapshot {seqno}: {why}"));
                    self.snapshots.give_up(seqno, Some(evidence_seqno));
                    events.push_back(Event::SnapshotFailed { seqno });
                }
            },
            Effect::DropSnapshot { seqno, evidence_seqno } => self.snapshots.give_up(seqno, evidence_seqno),
            Effect::Answer(ticket, outcome) => {
                self.disk.say(|| format!("  {ticket:?}: {outcome:?}"));
                promises.answered(ticket, &outcome)?;
                return match outcome {
                    Outcome::Refused(Refusal::Unsealable(why)) => Err(format!("refused as unsealable: {why}")),
                    Outcome::Refused(refusal) => Ok(Some(refusal)),
                    Outcome::Written(_) | Outcome::RolledBack => Ok(None),
                };
            }
            Effect::Announce(announcement) => self.hear(promises, announcement)?,
            Effect::Propose(Proposal::Retirements) => {
                let frozen = self.store.freeze();
                let mut transaction = frozen.transaction();
                if commit_retirements(&mut transaction, self.core.agreed()) {
                    let writes = transaction.into_writes();
                    self.own(promises, writes, Milestone::RetirementsCommitted)?;
                }
            }
            Effect::Propose(Proposal::Opening) => self.open(promises)?,
            Effect::Stopped => self.has_stopped = true,
            Effect::GiveUp { reason } => {
                self.disk.say(|| format!("  given up: {reason}"));
                // Who is told to stop does not wait until there is room again.
                if self.only_full && !self.core.is_stopping() {
                    return Err(format!("a disk that is only full was given up: {reason}"));
                }
                self.has_given_up = true;
            }
        }
        Ok(None)
    }

    /// A snapshot is sealed with the secret that sealed the entry of its seqno.
    fn is_secret_of(&self, draft: &Draft) -> Result<(), String> {
        let seqno = draft.seqno;
        let known = self.secrets.iter().rfind(|known| known.from <= seqno);
        let known = known.ok_or_else(|| format!("a snapshot at {seqno}, before the service"))?;
        let txid = TxId { view: 1, seqno };
        match SealKey::new(&known.secret).evidence_text(txid) == draft.key.evidence_text(txid) {
            true => Ok(()),
            false => Err(format!(
                "the snapshot at {seqno} is sealed with the secret of another seqno"
            )),
        }
    }

    fn hear(&mut self, promises: &mut Promises, announcement: Announcement) -> Result<(), String> {
        match announcement {
            Announcement::Applied { .. } => {}
            Announcement::Committed { txid, .. } => {
                self.disk.say(|| format!("  committed {txid}"));
                for (seqno, given) in promises.committed(txid)? {
                    let is_it = |path: &Path| is_chunk(path, given.chunk);
                    if !self.disk.holds(is_it, given.offset, &given.bytes) {
                        return Err(format!("{seqno} is announced committed, and not on the disk"));
                    }
                }
                self.store.compact(txid.seqno);
            }
            Announcement::RolledBack { to } => {
                self.disk.say(|| format!("  rolled back to {to}"));
                promises.rolled_back(to)?;
            }
            Announcement::Reached(milestone) => {
                self.disk.say(|| format!("  reached {milestone:?}"));
                match milestone {
                    Milestone::SecretsKnown => self.unread = self.unlocked.take(),
                    Milestone::Opened => {
                        if let Some((_, opened)) = &mut promises.service {
                            *opened = true;
                        }
                    }
                    Milestone::Created | Milestone::RetirementsCommitted => {}
                }
            }
            Announcement::Open => {
                self.disk.say(|| "  open".to_owned());
                self.is_open = true;
            }
            Announcement::Waiting { reason } => self.disk.say(|| format!("  waiting: {reason}")),
            Announcement::Resumed => self.disk.say(|| "  resumed".to_owned()),
            Announcement::Agreed(_) => return Err("a node that is alone has agreed on something".to_owned()),
        }
        Ok(())
    }

    /// A transaction of the node's own.
    pub(super) fn own(
        &mut self,
        promises: &mut Promises,
        writes: WriteSet,
        milestone: Milestone,
    ) -> Result<(), String> {
        self.disk.say(|| format!("own transaction: {milestone:?}"));
        let refused = self.submit(promises, writes, Afterwards::default(), Some(milestone))?;
        match refused {
            None | Some(Refusal::Stopping) => Ok(()),
            Some(refusal) => Err(format!("the node's own transaction is refused: {refusal:?}")),
        }
    }

    /// Submits a transaction that was made on the newest state.
    pub(super) fn submit(
        &mut self,
        promises: &mut Promises,
        writes: WriteSet,
        afterwards: Afterwards,
        milestone: Option<Milestone>,
    ) -> Result<Option<Refusal>, String> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        promises.asked(ticket);
        let is_own = milestone.is_some();
        let (follow, learned) = afterwards.split(ticket, self.core.next().seqno, milestone);
        let submission = Submission {
            ticket,
            writes,
            claims: None,
            is_own,
            follow,
        };
        self.step_and(promises, Event::Transaction(submission), learned)
    }

    /// The newest state, held still, and a session on it.
    pub(super) fn hold(&mut self) -> (Frozen, Session) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let session = Session {
            issuer_and_subject: Arc::default(),
            root: self.root,
            state: self.state,
            historical: Arc::clone(&self.historical),
            service: Arc::clone(&self.identity),
            secrets: Arc::clone(&self.secrets),
            unsealer: None,
            afterwards: Afterwards::default(),
            seed: Some(seed),
        };
        (self.store.freeze(), session)
    }

    fn open(&mut self, promises: &mut Promises) -> Result<(), String> {
        let before = self.before.take().ok_or("the secret before is not known")?;
        let (frozen, session) = self.hold();
        let opening = Opening {
            service: &self.identity,
            before: &before,
            current: session.current_secret()?,
            now_s: self.now.unix_s,
        };
        let mut rng = self.rng.branch();
        let writes = frozen.transact(|transaction| open_recovered(transaction, &opening, &mut rng))?;
        drop(frozen);
        self.own(promises, writes, Milestone::Opened)
    }

    /// Carries out what is under way, if it is not done yet.
    pub(super) fn perform(&mut self, promises: &mut Promises) -> Result<(), String> {
        let Some(under_way) = self.under_way.as_mut().filter(|under_way| under_way.result.is_none()) else {
            return Ok(());
        };
        let operation = &under_way.operation;
        promises.gives(operation)?;
        let performed = self.files.perform(operation);
        if performed.is_ok() {
            promises.gave(operation);
            is_on_disk(operation, &self.disk)?;
        }
        self.disk.say(|| match &performed {
            Ok(()) => format!("{}: done", in_words(operation)),
            Err(why) => format!("{}: {why}", in_words(operation)),
        });
        under_way.result = Some(performed.map_err(|why| Failure::from(&why)));
        Ok(())
    }

    /// Tells the core what came of it.
    pub(super) fn deliver(&mut self, promises: &mut Promises) -> Result<(), String> {
        let done = self.under_way.take_if(|under_way| under_way.result.is_some());
        match done.and_then(|under_way| under_way.result) {
            None => Ok(()),
            Some(Ok(())) => self.step(promises, Event::Done).map(drop),
            Some(Err(failure)) => self.step(promises, Event::Failed(failure)).map(drop),
        }
    }

    /// Writes the snapshot that was asked for.
    pub(super) fn write_snapshot(&mut self, promises: &mut Promises) -> Result<(), String> {
        let Some((draft, state)) = self.draft.take() else {
            return Ok(());
        };
        let seqno = draft.seqno;
        let written = draft.write(&state, &self.disk, &self.snapshots.draft_path());
        drop(state);
        if self.disk.has_crashed() {
            return Ok(());
        }
        self.disk
            .say(|| format!("snapshot at {seqno} written: {}", written.is_ok()));
        let event = match written {
            Ok(written) => {
                self.written = Some(written);
                let digest = written.digest;
                Event::SnapshotWritten { seqno, digest }
            }
            Err(_) => Event::SnapshotFailed { seqno },
        };
        self.step(promises, event).map(drop)
    }
}

/// What an operation has done to names and lengths, the disk has, whatever happens.
fn is_on_disk(operation: &Operation, disk: &LyingDisk) -> Result<(), String> {
    let files = match operation {
        Operation::Create { .. } | Operation::Write { .. } | Operation::Sync { .. } => return Ok(()),
        _ => disk.durable(),
    };
    let holds = match operation {
        Operation::Cut { chunk, end } => files
            .iter()
            .all(|(path, content)| !is_chunk(path, *chunk) || content.len() as u64 == *end),
        Operation::Remove { chunk } => files.iter().all(|(path, _)| !is_chunk(path, *chunk)),
        Operation::Complete { chunk, .. } => files
            .iter()
            .filter(|(path, _)| is_chunk(path, *chunk))
            .all(|(path, _)| kind(path).is_some_and(ChunkKind::is_committed)),
        _ => files
            .iter()
            .all(|(path, _)| !kind(path).is_some_and(ChunkKind::is_recovery)),
    };
    match holds {
        true => Ok(()),
        false => Err(format!("{}: done, and not on the disk", in_words(operation))),
    }
}

fn kind(path: &Path) -> Option<ChunkKind> {
    match path.file_name().and_then(|name| name.to_str()).map(FileName::parse) {
        Some(FileName::Chunk(name)) => Some(name.kind),
        _ => None,
    }
}

pub(super) fn is_chunk(path: &Path, first: Seqno) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).map(FileName::parse);
    matches!(name, Some(FileName::Chunk(name)) if name.first == first)
}

fn in_words(operation: &Operation) -> String {
    match operation {
        Operation::Write { chunk, offset, entries } => {
            let bytes: usize = entries.iter().map(|entry| entry.len()).sum();
            format!(
                "write {} entries, {bytes} bytes, to chunk {chunk} at {offset}",
                entries.len()
            )
        }
        Operation::Complete { chunk, last, end, .. } => format!("complete chunk {chunk} to {last} at {end}"),
        other => format!("{other:?}"),
    }
}
