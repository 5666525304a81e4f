//! Carries out what the core decides: the ledger's files, the readers' state, answers, and what else follows in the node.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::afterwards::{Afterwards, Learned};
use super::chatter::Chatter;
use super::cluster::Cluster;
use super::disk::{Disk, Job, Word, draft_path};
use super::followed_keys::FollowedKeys;
use super::old_ledger::OldLedger;
use super::places_of_nodes::PlacesOfNodes;
use super::sealer::Sealer;
use super::session::Standing;
use super::shared::Node;
use super::writer::{Answer, Made, Message, SnapshotResult, Writer};
use crate::core::{Announcement, Core, Effect, Event, Milestone, Now, Outcome, Proposal, Submission, Ticket};
use crate::crypto::rsa::DecryptionKey;
use crate::error::Error;
use crate::format::Seqno;
use crate::format::domain::WriteSet;
use crate::journal::disk::Files;
use crate::journal::snapshot::{Draft, Written};
use crate::recovery::sealed_report::SealedReport;
use crate::service::create::commit_retirements;
use crate::service::identity::now_s;
use crate::service::submit::Opened;

/// Whose transaction it is that the core answers.
enum Asker {
    /// A request's.
    Request(oneshot::Sender<Answer>),
    /// The node's own, which this names.
    Node(&'static str),
}

/// The writer's thread: the core, and everything that it takes to do what it decides.
pub struct Driver {
    pub(super) node: Arc<Node>,
    pub(super) core: Core,
    pub(super) standing: Arc<RwLock<Standing>>,
    /// The ledger that was recovered, until its private part is.
    pub(super) old: OldLedger,
    /// What became of each attempt to unseal, in the newest state, with the transaction that says so.
    pub(super) unsealings: Vec<(Seqno, SealedReport)>,
    /// What the shares opened, until the private phase begins.
    pub(super) unlocked: Option<(Seqno, Box<Opened>)>,
    /// The transaction that opened the service, in the newest state.
    pub(super) opened_at: Option<Seqno>,
    /// Does what takes as long as it takes.
    disk: Disk,
    files: Files,
    snapshots: PathBuf,
    /// The snapshot that is written, until the core has given it a name.
    written: Option<Written>,
    pub(super) began: Instant,
    askers: BTreeMap<Ticket, Asker>,
    next_ticket: u64,
    /// A transaction has written to the table of token issuers since the last commit.
    pub(super) issuers_changed: bool,
    /// The other nodes, if there may be any.
    pub(super) cluster: Option<Cluster>,
    /// Opens what other nodes write.
    pub(super) keys: FollowedKeys,
    /// Reads what is sent to this node alone.
    pub(super) decryption: Option<DecryptionKey>,
    /// Everybody who takes part has read the private ledger.
    pub(super) others_read: bool,
    /// What was said last of this node's part.
    pub(super) said: Option<String>,
    /// Of requests that other nodes pass on.
    pub(super) places_of_nodes: PlacesOfNodes,
    /// Bounds what others have this node say.
    pub(super) chatter: Chatter,
    /// Entries that came with what is being heard, of which the core has asked for none yet.
    pub(super) frame: Vec<u8>,
    /// Seals the service's secrets, if that is asked for.
    pub(super) sealer: Option<Sealer>,
    /// Renewed certificates, with the files that they belong into.
    pub(super) unwritten: Vec<(std::path::PathBuf, String)>,
    has_ended: bool,
}

impl Driver {
    /// Drives `core`, whose files are in `ledger` and `snapshots`; `writer` is where the disk's thread says what it has done.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn new(
        node: &Arc<Node>,
        core: Core,
        standing: Arc<RwLock<Standing>>,
        old: OldLedger,
        writer: &Writer,
        files: Files,
        directories: (&Path, &Path),
    ) -> std::io::Result<Driver> {
        let hears = writer.clone();
        let disk = Disk::start(files, directories, move |word| hears.urge(Message::Disk(word)))?;
        Ok(Driver {
            node: Arc::clone(node),
            core,
            standing,
            old,
            unsealings: Vec::new(),
            unlocked: None,
            opened_at: None,
            disk,
            files,
            snapshots: directories.1.to_owned(),
            written: None,
            began: Instant::now(),
            askers: BTreeMap::new(),
            next_ticket: 0,
            issuers_changed: false,
            cluster: None,
            keys: FollowedKeys::default(),
            decryption: None,
            others_read: false,
            said: None,
            places_of_nodes: PlacesOfNodes::default(),
            chatter: Chatter::default(),
            frame: Vec::new(),
            sealer: None,
            unwritten: Vec::new(),
            has_ended: false,
        })
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Whether there is nothing more to drive.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a transaction of the node's own waits for the disk.
    pub(super) fn awaits_own(&self) -> bool {
        self.askers.values().any(|asker| matches!(asker, Asker::Node(_)))
    }

    /// How long nothing has to be done.
    pub(super) fn sleep(&self) -> Duration {
        let wakes = self.core.wakes_at().unwrap_or(Duration::MAX);
        wakes.saturating_sub(self.began.elapsed())
    }

    /// A request's transaction: its writes become an entry where what it read still holds.
    pub(super) fn take(&mut self, made: Made) {
        let Made {
            writes,
            reads,
            afterwards,
            answer,
        } = made;
        let holds = self.node.read(|store| store.still_holds(&reads)).0;
        match holds {
            true => self.submit(writes, afterwards, Asker::Request(answer), None),
            false => drop(answer.send(Answer::Stale)),
        }
    }

    /// A transaction of the node's own, which is to be committed soon.
    pub(super) fn propose(&mut self, what: &'static str, writes: WriteSet, milestone: Milestone) {
        self.submit(writes, Afterwards::default(), Asker::Node(what), Some(milestone));
    }

    fn submit(&mut self, writes: WriteSet, afterwards: Afterwards, asker: Asker, milestone: Option<Milestone>) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let is_own = matches!(asker, Asker::Node(_));
        self.askers.insert(ticket, asker);
        let (follow, learned) = afterwards.split(ticket, self.core.next().seqno, milestone);
        let submission = Submission {
            ticket,
            writes,
            claims: None,
            is_own,
            follow,
        };
        self.step_and(Event::Transaction(submission), learned);
    }

    /// Tells the core what happened, and carries out what it decides.
    pub(super) fn step(&mut self, event: Event) {
        self.step_and(event, Learned::default());
    }

    pub(super) fn step_and(&mut self, event: Event, mut learned: Learned) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Now {
                elapsed: self.began.elapsed(),
                unix_s: now_s(),
            };
            let mut effects = self.core.step(now, event);
            // What comes of the transaction itself is in the first.
            let learned = std::mem::take(&mut learned).if_written(&effects);
            self.show(&mut effects, learned);
            for effect in effects {
                self.carry_out(effect, &mut events);
            }
        }
        self.tell_of_others();
    }

    /// What the disk's thread says.
    pub(super) fn disk(&mut self, word: Word) {
        match word {
            Word::Came(event) => self.step(event),
            Word::Panicked(why) => std::panic::resume_unwind(why),
        }
    }

    fn carry_out(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Perform(operation) => self.disk.give(Job::Perform(operation)),
            Effect::Snapshot(draft) => self.write_snapshot(draft, events),
            Effect::NameSnapshot { seqno, evidence_seqno } => {
                let Some(written) = self.written.take() else { return };
                self.disk.give(Job::Name {
                    seqno,
                    evidence_seqno,
                    written,
                });
            }
            Effect::ProveSnapshot {
                seqno,
                evidence_seqno,
                receipt,
            } => self.disk.give(Job::Prove {
                seqno,
                evidence_seqno,
                receipt,
            }),
            Effect::DropSnapshot { seqno, evidence_seqno } => self.disk.give(Job::GiveUp { seqno, evidence_seqno }),
            Effect::Answer(ticket, outcome) => self.answer(ticket, outcome),
            Effect::Announce(announcement) => self.hear(announcement),
            Effect::Send { to, message } => {
                if let Some(cluster) = &self.cluster {
                    cluster.send(&self.core, to, message);
                }
            }
            Effect::Verify { after, through, .. } => self.verify(after, through),
            Effect::Propose(Proposal::Retirements) => self.retire(),
            Effect::Propose(Proposal::Opening) => self.open(),
            Effect::Stopped => self.end(),
            Effect::GiveUp { reason } => {
                self.node.status.stop();
                self.end();
                (self.node.fatal)(Error::Unreadable(format!(
                    "the ledger can't be written any more: {reason}; it is left as it is"
                )));
            }
        }
    }

    /// Nothing more is driven. What was committed is still sealed, and what the disk was given it does.
    fn end(&mut self) {
        self.disk.finish();
        if let Some(cluster) = &self.cluster {
            cluster.stop();
        }
        if let Some(sealer) = &mut self.sealer {
            sealer.finish();
        }
        self.has_ended = true;
    }

    fn answer(&mut self, ticket: Ticket, outcome: Outcome) {
        match self.askers.remove(&ticket) {
            // A client that has gone away does not stop its transaction, as in CCF.
            Some(Asker::Request(answer)) => drop(answer.send(Answer::Outcome(outcome))),
            Some(Asker::Node(what)) => {
                if !matches!(outcome, Outcome::Written(_)) {
                    tracing::error!("{what}: {outcome:?}");
                }
            }
            None => unreachable!("a transaction is answered once"),
        }
    }

    fn hear(&mut self, announcement: Announcement) {
        let node = Arc::clone(&self.node);
        match announcement {
            // All of a step's were shown together.
            Announcement::Applied { .. } | Announcement::RolledBack { .. } => {}
            Announcement::Committed { txid, view_history } => self.committed(txid.seqno, &view_history),
            Announcement::Reached(Milestone::Opened) => {
                self.old.latest = None;
                if let Some(sealer) = &mut self.sealer {
                    sealer.opened();
                }
                self.seal(node.status.last_signed());
            }
            Announcement::Reached(Milestone::Created | Milestone::SecretsKnown | Milestone::RetirementsCommitted) => {}
            Announcement::Open => {
                node.status.open_users();
                // What was fetched last, a dead service fetched.
                node.jwt.wake();
                tracing::info!("the service is open");
            }
            Announcement::Waiting { reason } => {
                tracing::error!("the ledger can't be written, which is tried again until it can: {reason}");
                node.status.waits_for(Some(reason));
            }
            Announcement::Agreed(agreed) => self.agreed(agreed),
            Announcement::Resumed => {
                node.status.waits_for(None);
                tracing::info!("the ledger can be written again");
            }
        }
    }

    /// Seals what is to be sealed of what is committed up to `seqno`.
    fn seal(&mut self, seqno: Seqno) {
        if let Some(sealer) = &mut self.sealer {
            let standing = self.standing.read().unwrap_or_else(PoisonError::into_inner);
            sealer.committed(seqno, &standing.secrets);
        }
    }

    /// Everything up to `seqno` can't be taken back any more: what waited for that happens.
    fn committed(&mut self, seqno: Seqno, view_history: &[Seqno]) {
        let node = Arc::clone(&self.node);
        // Before anybody hears of the commit: who renewed a certificate sees it in the next session.
        self.adopt_certificates();
        self.renew_for_others();
        node.status.set_view_history(view_history);
        node.status.committed(seqno);
        node.store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .compact(seqno);
        if !node.status.gov_is_open() && self.is_in() {
            node.status.open_gov();
        }
        if std::mem::take(&mut self.issuers_changed) {
            node.jwt.wake();
        }
        self.seal(seqno);
        if let Some((_, unlocked)) = self.unlocked.take_if(|(at, _)| *at <= seqno) {
            self.begin_private_phase(*unlocked);
        }
        self.open_if_it_is_open();
    }

    /// Marks nodes whose retirement has been committed.
    fn retire(&mut self) {
        let frozen = self.node.read(|store| store.freeze()).0;
        let mut transaction = frozen.transaction();
        if commit_retirements(&mut transaction, self.core.agreed()) {
            let writes = transaction.into_writes();
            self.propose("mark retired nodes", writes, Milestone::RetirementsCommitted);
        }
    }

    /// Has a snapshot written beside everything else.
    fn write_snapshot(&mut self, draft: Draft, events: &mut VecDeque<Event>) {
        let seqno = draft.seqno;
        let state = {
            let mut store = self.node.store.write().unwrap_or_else(PoisonError::into_inner);
            // It could not be, if a transaction was being made that held the state still.
            store.compact(seqno);
            store.committed_at(seqno)
        };
        let Some(state) = state else {
            return events.push_back(Event::SnapshotFailed { seqno });
        };
        let (disk, path, node) = (
            self.files,
            draft_path(self.files, &self.snapshots),
            Arc::clone(&self.node),
        );
        let write = Box::new(move || {
            let written = draft.write(&state, &disk, &path);
            drop(state); // before anybody hears of it: the store may be compacted again
            if let Some(writer) = node.writer.get() {
                writer.tell(Message::Snapshot(SnapshotResult { seqno, written }));
            }
        });
        self.disk.give(Job::Draft { seqno, write });
    }

    /// The snapshot that was asked for is written, or not.
    pub(super) fn snapshot(&mut self, SnapshotResult { seqno, written }: SnapshotResult) {
        match written {
            Ok(written) => {
                self.written = Some(written);
                let digest = written.digest;
                self.step(Event::SnapshotWritten { seqno, digest });
            }
            Err(why) => {
                tracing::error!("a snapshot could not be written, another is made: {why}");
                self.step(Event::SnapshotFailed { seqno });
            }
        }
    }
}
