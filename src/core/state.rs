//! The core itself, and its one way in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::chunks::Chunks;
use super::due::{DISK_PATIENCE, InFlight, SignatureSettings, Signing};
use super::effect::{Announcement, Effect, Outcome, Refusal};
use super::event::{Event, Failure, Milestone, Now, Role, Submission, Ticket};
use super::log::{LastSigned, Log, Start};
use super::operations::{Operations, Progress};
use super::others::Others;
use super::snapshots::{SnapshotSettings, Snapshots};
use crate::consensus::Consensus;
use crate::crypto::digest::Digest;
use crate::format::domain::{EntryType, WriteSet};
use crate::format::{Seqno, TxId, View};
use crate::journal::snapshot::Draft;
use crate::journal::{SealKey, Signers};
use crate::tables::names;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);
/// Bytes of entries that may wait for the disk, of which nothing more is taken beyond that.
pub(super) const MAX_KEPT_BYTES: u64 = 256 << 20;

/// How a ledger is written.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A chunk ends with the first signature that brings it to this many bytes.
    pub chunk_size: u64,
    /// Type of the entries: 4, or an older one.
    pub entry_type: EntryType,
    /// When signatures are made; `None` where somebody asks for each.
    pub signatures: Option<SignatureSettings>,
    /// Transactions that may be uncommitted; 0 for any number.
    pub max_uncommitted: u64,
    /// When snapshots are made; `None` where somebody else makes them.
    pub snapshots: Option<SnapshotSettings>,
}

/// The writer of a ledger.
pub struct Core {
    pub(super) settings: Settings,
    pub(super) role: Role,
    /// Who else writes the same ledger, and what they have agreed on; none where somebody else decides that.
    pub(super) others: Option<Others>,
    pub(super) log: Log,
    pub(super) chunks: Chunks,
    pub(super) operations: Operations,
    pub(super) signing: Signing,
    pub(super) snapshots: Snapshots,
    /// Signatures that are not committed, in order.
    pub(super) in_flight: VecDeque<InFlight>,
    /// Who waits for an entry to be in its file, in order.
    pub(super) waiting: VecDeque<(TxId, Ticket)>,
    /// What follows from transactions that are not committed, in order.
    pub(super) milestones: VecDeque<(Seqno, Milestone)>,
    /// Transactions that write to the nodes' table, since the last that were looked at.
    pub(super) nodes_written: VecDeque<Seqno>,
    /// The last seqno that is durable.
    pub(super) durable: Seqno,
    /// The last signature that the others have agreed to.
    pub(super) agreed: Seqno,
    /// The last signature that can't be rolled back.
    pub(super) committed: Seqno,
    /// The private ledger of the service before is in place.
    pub(super) is_private_read: bool,
    /// Where the recovered service was opened.
    pub(super) opened_at: Option<Seqno>,
    pub(super) stopping: bool,
    /// How long others are waited for, once it stops.
    pub(super) stops_waiting_at: Option<Duration>,
    /// How long a disk is waited for that refuses, once it stops.
    pub(super) gives_up_at: Option<Duration>,
    pub(super) has_stopped: bool,
}

impl Core {
    /// Begins to write.
    pub fn new(start: Start, settings: Settings, key: Arc<SealKey>, signers: Signers) -> Core {
        let keys = [(start.tree.len(), key)];
        Core::with_keys(start, settings, keys, signers)
    }

    /// The same with several keys, by the first seqno that each seals: at least one.
    pub fn with_keys(
        start: Start,
        settings: Settings,
        keys: impl IntoIterator<Item = (Seqno, Arc<SealKey>)>,
        signers: Signers,
    ) -> Core {
        let last = start.tree.len() - 1;
        let recovering = start.is_recovery;
        Core {
            role: Role::Alone,
            others: None,
            log: Log::new(start, settings.entry_type, keys, signers),
            chunks: Chunks::new(recovering),
            operations: Operations::after(last),
            signing: Signing::default(),
            snapshots: Snapshots::new(settings.snapshots, last),
            in_flight: VecDeque::new(),
            waiting: VecDeque::new(),
            milestones: VecDeque::new(),
            nodes_written: VecDeque::new(),
            durable: last,
            agreed: last,
            committed: last,
            is_private_read: false,
            opened_at: None,
            stopping: false,
            stops_waiting_at: None,
            gives_up_at: None,
            has_stopped: false,
            settings,
        }
    }

    /// Decides what follows from an event.
    ///
    /// # Panics
    /// If a promise of this module would be broken: whoever drives it ends then, and does not go on with what is left.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Transaction(submission) => self.transaction(now, submission, &mut out),
            // Who only follows signs nothing, whoever asks.
            Event::Sign { .. } if self.role == Role::Backup || self.has_signed_off() => {}
            Event::Sign { end_chunk, snapshot } => {
                self.signing.end_chunk |= end_chunk;
                self.snapshots.asked |= snapshot;
                self.sign_or_give_up(now, &mut out);
            }
            Event::Tick => self.agree(now, &mut out, |consensus, sizes| consensus.tick(now.elapsed, sizes)),
            Event::Done => self.done(now, &mut out),
            Event::Failed(failure) => self.failed(now, &failure, &mut out),
            Event::SnapshotWritten { seqno, digest } => self.snapshot_written(now, seqno, digest, &mut out),
            Event::SnapshotFailed { seqno } => self.snapshots.failed(now, seqno),
            Event::PrivateLedgerRead => self.private_ledger_read(&mut out),
            Event::Committed(seqno) => {
                self.agreed = self.agreed.max(seqno);
                self.commit(now, &mut out);
            }
            Event::RollBack { to, view } => self.roll_back(to, view, &mut out),
            Event::Heard { from, message } => self.heard(now, from, message, &mut out),
            Event::Followed(followed) => self.follow(now, followed, &mut out),
            Event::FrameRefused => self.frame_verified(now, false, &mut out),
            Event::Role(role) => {
                self.role = role;
                self.commit(now, &mut out);
            }
            Event::HandOver => self.agree(now, &mut out, |consensus, _| consensus.nominate(now.elapsed)),
            Event::Withdraw => self.agree(now, &mut out, |consensus, _| consensus.withdraw(now.elapsed)),
            Event::OpenedElsewhere => self.opened_elsewhere(&mut out),
            Event::Stop => {
                self.stopping = true;
                self.stops_waiting_at = Some(now.elapsed + self.consensus().map_or(FOR_EVER, Consensus::patience));
                self.gives_up_at = Some(now.elapsed + DISK_PATIENCE);
            }
        }
        self.sign_if_due(now, &mut out);
        self.send_news(now, &mut out);
        if self.snapshots.is_tried_again(now) {
            self.snapshot_if_due(now, &mut out);
        }
        if let Some(operation) = self.operations.next(now.elapsed) {
            out.push(Effect::Perform(operation));
        }
        if self.stopping && !self.has_stopped && self.is_at_rest(now) {
            self.has_stopped = true;
            // Whoever has most of the log goes on at once, without waiting for this node.
            self.agree(now, &mut out, |consensus, _| consensus.nominate(now.elapsed));
            out.push(Effect::Stopped);
        }
        self.end_if_refused(now, &mut out);
        // What is said of this state is carried out before anything that leads to another one.
        out.sort_by_key(Effect::steps_again);
        out
    }

    /// When the core wants to know that time has passed, if nothing happens before.
    pub fn wakes_at(&self) -> Option<Duration> {
        // A backup signs nothing, whatever is due.
        let signs = self.role != Role::Backup && !self.has_signed_off();
        let due = self.settings.signatures.as_ref().filter(|_| signs);
        let due = due.and_then(|settings| self.signing.due_at(settings));
        let retries = [self.operations.retry_at(), self.snapshots.retry_at()];
        let agreement = self.consensus().and_then(Consensus::due);
        retries.into_iter().chain([due, agreement]).flatten().min()
    }

    fn transaction(&mut self, now: Now, submission: Submission, out: &mut Vec<Effect>) {
        let Submission {
            ticket,
            writes,
            claims,
            is_own,
            follow,
        } = submission;
        // Who only reads needs nobody who writes.
        let refusal = match writes.is_empty() {
            true => self.stopping.then_some(Refusal::Stopping),
            false => self.refusal(&writes, is_own),
        };
        if let Some(refusal) = refusal {
            return out.push(Effect::Answer(ticket, Outcome::Refused(refusal)));
        }
        if writes.is_empty() {
            let read = self.last_sealed();
            return match self.operations.has_written(read.seqno) {
                true => out.push(Effect::Answer(ticket, Outcome::Written(read))),
                // What it read may be lost as long as it is not in its file.
                false => self.waiting.push_back((read, ticket)),
            };
        }
        let txid = match self.append(now, &writes, claims.as_ref()) {
            Ok((txid, _)) => txid,
            Err(why) => {
                let refusal = Refusal::Unsealable(why.to_string());
                return out.push(Effect::Answer(ticket, Outcome::Refused(refusal)));
            }
        };
        self.waiting.push_back((txid, ticket));
        if follow.milestone != Some(Milestone::RetirementsCommitted) && writes.writes_to(names::NODES_INFO) {
            self.nodes_written.push_back(txid.seqno);
        }
        // Who was let in before, by an entry that was given up, has gone on standing since, and answers with its view: this node
        // follows it, and what is not signed goes. Its admission must stay, or it could never come in.
        let lets_in = self.sealed(now, txid, false, &writes, out);
        out.push(Effect::applied(txid, writes));
        if let Some(key) = follow.rekey {
            self.log.rekey(key);
        }
        self.signing.end_chunk |= follow.end_chunk;
        self.snapshots.asked |= follow.snapshot;
        if let Some(milestone) = follow.milestone {
            self.begins(milestone, txid.seqno);
            self.milestones.push_back((txid.seqno, milestone));
        }
        if follow.sign || lets_in {
            self.sign_or_give_up(now, out);
        }
    }

    fn refusal(&self, writes: &WriteSet, is_own: bool) -> Option<Refusal> {
        if self.stopping {
            return Some(Refusal::Stopping);
        }
        if self.role == Role::Backup || self.has_signed_off() {
            return Some(Refusal::NotPrimary);
        }
        let most = self.settings.max_uncommitted;
        let uncommitted = self.last_sealed().seqno - self.committed;
        let too_many = (most > 0 && uncommitted >= most) || self.operations.kept_bytes() >= MAX_KEPT_BYTES;
        if too_many && !is_own {
            return Some(Refusal::TooManyUncommitted);
        }
        let size = size_bound(writes);
        if !self.chunks.has_room(size) {
            return Some(Refusal::Unsealable(format!(
                "an entry of up to {size} bytes does not fit its chunk, whose positions end at 4 GiB"
            )));
        }
        None
    }

    /// Seals an entry, and gives it its place.
    fn append(
        &mut self,
        now: Now,
        writes: &WriteSet,
        claims: Option<&Digest>,
    ) -> crate::Result<(TxId, crate::journal::seal::Sealed)> {
        let (txid, sealed, raw) = self.log.seal(writes, claims, |_| 0)?;
        self.signing.count(now, raw.len() as u64);
        let place = self.chunks.place(txid.seqno, raw.len() as u64);
        self.operations.write(txid.seqno, place, raw);
        Ok((txid, sealed))
    }

    fn done(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.operations.has_failed() {
            out.push(Effect::Announce(Announcement::Resumed));
        }
        match self.operations.done() {
            Progress::Written(through) => self.answer_up_to(through, out),
            Progress::Durable(through) => {
                self.durable = self.durable.max(through);
                self.is_durable(now, through, out);
                self.commit(now, out);
            }
            Progress::Named => self.named(out),
            Progress::Other => {}
        }
    }

    fn answer_up_to(&mut self, through: Seqno, out: &mut Vec<Effect>) {
        while let Some((txid, ticket)) = self.waiting.pop_front_if(|(txid, _)| txid.seqno <= through) {
            out.push(Effect::Answer(ticket, Outcome::Written(txid)));
        }
    }

    fn failed(&mut self, now: Now, failure: &Failure, out: &mut Vec<Effect>) {
        let reason = failure.reason.clone();
        match self.operations.failed(now.elapsed, failure) {
            Ok(()) if self.operations.has_just_failed() => {
                out.push(Effect::Announce(Announcement::Waiting { reason }));
            }
            Ok(()) => {}
            Err(reason) => out.push(Effect::GiveUp { reason }),
        }
    }

    /// Commits the newest signature that is durable here, and that the others have agreed to where there are others.
    pub(super) fn commit(&mut self, now: Now, out: &mut Vec<Effect>) {
        let agreed = match self.role {
            Role::Alone => self.durable,
            Role::Primary | Role::Backup => self.agreed.min(self.durable),
        };
        let Some(last) = self.in_flight.iter().rposition(|signed| signed.seqno <= agreed) else {
            return;
        };
        let Some(signed) = self.log.signature_up_to(agreed) else {
            unreachable!("a signature in flight is in the log");
        };
        let txid = signed.last.txid;
        assert!(
            self.committed < txid.seqno && txid.seqno <= self.durable,
            "signature {txid} is committed, but only what is up to {} is durable",
            self.durable
        );
        self.committed = txid.seqno;
        let proven: Vec<_> = self.in_flight.drain(..=last).flat_map(|signed| signed.proven).collect();
        for operation in self.chunks.complete(txid.seqno).into_iter().rev() {
            self.operations.complete(operation, txid.seqno);
        }
        self.log.committed(txid.seqno);
        let view_history = self.log.view_history().to_vec();
        out.push(Effect::Announce(Announcement::Committed { txid, view_history }));
        for proven in proven {
            out.push(Effect::ProveSnapshot {
                seqno: proven.seqno,
                evidence_seqno: proven.evidence_seqno,
                receipt: proven.receipt,
            });
        }
        self.snapshot_if_due(now, out);
        self.live(txid.seqno, out);
    }

    /// Has the state at the last committed signature written, where that is due.
    fn snapshot_if_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(signed) = self.log.signature_up_to(self.committed) else {
            return; // nothing was committed yet
        };
        let (seqno, leaf) = (signed.last.txid.seqno, signed.leaf);
        // Who follows is not asked to witness a snapshot: only who leads writes.
        let is_possible = self.log.entry_type().has_commit_evidence() && !self.stopping && self.role != Role::Backup;
        if is_possible && self.snapshots.is_due(now, seqno) {
            self.snapshots.drafts(seqno);
            out.push(Effect::Snapshot(Draft {
                seqno,
                leaf,
                view_history: self.log.view_history_at(signed.last.txid.view),
                key: self.log.key_at(seqno),
                max_conflict_version: 0,
            }));
        }
    }

    fn snapshot_written(&mut self, now: Now, seqno: Seqno, digest: Digest, out: &mut Vec<Effect>) {
        assert_eq!(self.snapshots.drafting, Some(seqno), "that snapshot was asked for");
        let writes = super::snapshots::evidence(seqno, digest);
        let key = self.log.key();
        let appended = match self.role {
            Role::Backup => Err(crate::Error::Usage("another node writes".to_owned())),
            _ if self.has_signed_off() => Err(crate::Error::Usage("another node will write".to_owned())),
            Role::Alone | Role::Primary => self.append(now, &writes, Some(&digest)),
        };
        let Ok((txid, sealed)) = appended else {
            self.snapshots.failed(now, seqno);
            return out.push(Effect::DropSnapshot {
                seqno,
                evidence_seqno: None,
            });
        };
        let components = crate::merkle::receipt::LeafComponents {
            write_set_digest: sealed.write_set_digest,
            commit_evidence: key.evidence_text(txid),
            claims_digest: digest,
        };
        self.snapshots.witnessed(now, seqno, txid.seqno, components);
        out.push(Effect::NameSnapshot {
            seqno,
            evidence_seqno: txid.seqno,
        });
        self.sealed(now, txid, false, &writes, out);
        out.push(Effect::applied(txid, writes));
    }

    /// The last transaction that is sealed. Its view is that of the signature it is, or of what comes next.
    fn last_sealed(&self) -> TxId {
        let next = self.log.next();
        let seqno = next.seqno - 1;
        match self.log.last_signed() {
            Some(signed) if signed.txid.seqno == seqno => signed.txid,
            _ => TxId { view: next.view, seqno },
        }
    }
}

/// What a driver reads.
impl Core {
    /// Whether it takes nothing more.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The transaction that will be sealed next.
    pub fn next(&self) -> TxId {
        self.log.next()
    }

    /// The root of everything sealed so far.
    pub fn root(&self) -> Digest {
        self.log.root()
    }

    /// The last signature, if there is one.
    pub fn last_signed(&self) -> Option<LastSigned> {
        self.log.last_signed()
    }

    /// The last signature that can't be rolled back.
    pub fn committed(&self) -> Seqno {
        self.committed
    }

    /// What this node is among the others.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The oldest signature that is not committed.
    pub fn awaited(&self) -> Option<Seqno> {
        self.in_flight.front().map(|signed| signed.seqno)
    }

    /// The view of a transaction that is sealed.
    pub fn view_of(&self, seqno: Seqno) -> View {
        let agreed = self.consensus().and_then(|consensus| consensus.view_at(seqno));
        agreed.unwrap_or_else(|| self.last_sealed().view)
    }

    /// First seqno of each view, from view 1 on.
    pub fn view_history(&self) -> &[Seqno] {
        self.log.view_history()
    }

    /// Who signs.
    pub fn signers(&self) -> &Signers {
        self.log.signers()
    }

    /// Lets other keys, or another certificate, sign from here on.
    pub fn set_signers(&mut self, signers: Signers) {
        self.log.set_signers(signers);
    }
}

/// At least as many bytes as the entry of these writes will have.
fn size_bound(writes: &WriteSet) -> u64 {
    const ENTRY: u64 = 1 << 10;
    const WRITE: u64 = 64;
    let sizes = writes.iter().map(|(map, write)| {
        let lens = map.len() + write.key.len() + write.value.map_or(0, <[u8]>::len);
        WRITE + lens as u64
    });
    ENTRY + sizes.sum::<u64>()
}
