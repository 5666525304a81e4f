//! The service at work: transactions, signatures, commits, snapshots. Owned by the sequencer's thread alone.
//!
//! Order of things, always: a transaction is appended; sooner or later a signature covers it; that is settled on disk;
//! then it is committed, and what waited for the commit happens. Nothing is appended between a signature and its
//! settling, and where writing fails, nothing has changed and it is tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

use super::http::{ApiError, ApiResult};
use super::identity::{ServiceIdentity, now_s};
use super::private::OldLedger;
use super::replication::Replication;
use super::service::create::commit_retirements;
use super::service::submit::Opened;
use super::session::{Afterwards, Session, rng};
use super::shared::Node;
use crate::crypto::Certificate;
use crate::error::{Error, Result};
use crate::format::domain::WriteSet;
use crate::format::{Seqno, TxId};
use crate::journal::succession::KnownSecret;
use crate::journal::{Journal, SealKey, Written};
use crate::kv::store::Transaction;
use crate::shown::Show;
use crate::tables::names;

/// The service, with everything it takes to write its ledger.
pub struct Ledger {
    pub(super) node: Arc<Node>,
    pub(super) journal: Journal,
    pub(super) replication: Box<dyn Replication>,
    pub(super) service: ServiceIdentity,
    /// The service's own secrets, oldest first.
    pub(super) secrets: Vec<KnownSecret>,
    /// The ledger that was recovered, until its private part is.
    pub(super) old: OldLedger,
    /// What the shares opened, until the private phase begins.
    pub(super) unlocked: Option<Box<Opened>>,
    pub(super) writing: Writing,
}

/// Where the writing stands.
#[derive(Default)]
pub(super) struct Writing {
    /// Transactions since the last signature, and when the first of them was written.
    pub(super) unsigned: u64,
    pub(super) unsigned_since: Option<Instant>,
    /// A signature that is not settled yet.
    pub(super) unsettled: Option<TxId>,
    /// The next signature ends the chunk.
    pub(super) end_chunk: bool,
    /// The next signature is followed by a snapshot.
    pub(super) snapshot: bool,
    /// Snapshots are made: not before the private state is there.
    pub(super) snapshots_enabled: bool,
    /// Seqno of the last snapshot, and when it was made.
    pub(super) last_snapshot: Seqno,
    pub(super) last_snapshot_at: Option<Instant>,
    /// Writes a snapshot beside everything else.
    pub(super) drafting: Option<Receiver<Result<Written>>>,
    /// A transaction has written to the nodes' table since the last commit.
    pub(super) nodes_changed: bool,
    /// Renewed certificates, with the files that they belong into.
    pub(super) unwritten: Vec<(PathBuf, String)>,
    /// A transaction has written to the table of token issuers since the last commit.
    pub(super) issuers_changed: bool,
    /// The service was opened by a transaction that is not committed yet.
    pub(super) opens_at: Option<Seqno>,
}

impl Ledger {
    /// Runs `body` in a transaction and writes what it wrote.
    ///
    /// # Errors
    /// Whatever `body` answers; 500 if the ledger can't be written.
    pub fn transact<T>(
        &mut self,
        body: impl FnOnce(&mut Transaction<'_>, &mut Session<'_>) -> ApiResult<T>,
    ) -> ApiResult<(T, TxId)> {
        self.settle().map_err(unwritable)?;
        let node = Arc::clone(&self.node);
        let most = node.config.consensus.max_uncommitted_tx_count;
        if most > 0 && self.writing.unsigned >= most {
            return Err(too_many());
        }
        let store = node.store.read().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = store.transaction();
        let mut session = Session {
            txid: self.journal.next(),
            root: self.journal.root(),
            state: node.status.state(),
            rng: rng().map_err(ApiError::internal)?,
            historical: &self.old.historical,
            service: &self.service,
            secrets: &self.secrets,
            afterwards: Afterwards::default(),
        };
        let answer = body(&mut transaction, &mut session)?;
        let afterwards = session.afterwards;
        let writes = transaction.into_writes();
        drop(store);
        let txid = match writes.is_empty() {
            true => self.last_written(),
            false => self.append(&writes).map_err(unwritable)?,
        };
        self.after(txid, afterwards);
        Ok((answer, txid))
    }

    fn last_written(&self) -> TxId {
        self.node.status.last_written()
    }

    /// Writes a transaction, and shows it to readers.
    pub(super) fn append(&mut self, writes: &WriteSet) -> Result<TxId> {
        let txid = self.journal.append(writes, None)?;
        self.wrote(txid, writes);
        Ok(txid)
    }

    fn wrote(&mut self, txid: TxId, writes: &WriteSet) {
        self.node
            .store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(txid.seqno, writes);
        self.node.status.wrote(txid);
        let writing = &mut self.writing;
        writing.unsigned += 1;
        writing.unsigned_since.get_or_insert_with(Instant::now);
        writing.nodes_changed |= writes.iter().any(|(map, _)| map == names::NODES_INFO);
        writing.issuers_changed |= writes.iter().any(|(map, _)| map == names::JWT_ISSUERS);
    }

    fn after(&mut self, txid: TxId, afterwards: Afterwards) {
        let Afterwards {
            rekey,
            chunk,
            snapshot,
            unlocked,
        } = afterwards;
        if let Some(secret) = rekey {
            self.journal.rekey(SealKey::new(&secret));
            self.node.knows_secret(txid.seqno + 1, &secret);
            self.secrets.push(KnownSecret {
                secret,
                from: txid.seqno + 1,
                previous_stored: Some(txid.seqno),
            });
        }
        self.writing.end_chunk |= chunk;
        self.writing.snapshot |= snapshot;
        if let Some(unlocked) = unlocked {
            self.unlocked = Some(Box::new(unlocked));
            // The private phase begins once this is committed, so now and not when a signature is due.
            self.sign();
        }
    }

    /// When the next signature is due.
    pub fn signature_due(&self) -> Option<Instant> {
        let since = self.writing.unsigned_since?;
        Some(since + self.node.config.ledger_signatures.delay)
    }

    /// Signs if that is due, and settles a signature that could not be settled before.
    pub fn sign_if_due(&mut self) {
        let settled = self.settle();
        if let Err(why) = settled {
            return tracing::error!("a signature could not be written to disk, it is tried again: {why}");
        }
        let by_count = self.writing.unsigned >= self.node.config.ledger_signatures.tx_count.max(1);
        let by_delay = self.signature_due().is_some_and(|due| due <= Instant::now());
        if self.writing.unsigned > 0 && (by_count || by_delay) {
            self.sign();
        }
    }

    /// Signs everything that is written. What fails is logged, and tried again when the next signature is due.
    pub(super) fn sign(&mut self) {
        if let Err(why) = self.try_sign() {
            // Due again a moment later, not at once: a full disk stays full for a while.
            self.writing.unsigned_since = Some(Instant::now());
            tracing::error!("the ledger can't be signed, it is tried again: {why}");
        }
    }

    fn try_sign(&mut self) -> Result<()> {
        self.settle()?;
        let (txid, writes) = self.journal.sign(now_s(), self.writing.end_chunk)?;
        self.wrote(txid, &writes);
        self.writing.unsigned = 0;
        self.writing.unsigned_since = None;
        self.writing.end_chunk = false;
        self.writing.unsettled = Some(txid);
        self.settle()
    }

    /// Brings the last signature to disk; then it is committed.
    fn settle(&mut self) -> Result<()> {
        let Some(txid) = self.writing.unsettled else {
            return Ok(());
        };
        self.journal.settle()?;
        self.writing.unsettled = None;
        let committed = self.replication.signed(txid);
        self.commit(committed);
        Ok(())
    }

    /// Everything up to `seqno` can't be taken back any more: what waited for that happens.
    fn commit(&mut self, seqno: Seqno) {
        let node = Arc::clone(&self.node);
        // Before anybody hears of the commit: who renewed a certificate sees it in the next session.
        self.adopt_certificates();
        node.status.set_view_history(self.journal.view_history());
        node.status.committed(seqno);
        node.store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .compact(seqno);
        match self.journal.prove_snapshots() {
            Ok(proven) => {
                for path in proven {
                    tracing::info!(path = %path.shown(), "snapshot committed");
                }
            }
            Err(why) => tracing::error!("a snapshot could not be committed: {why}"),
        }
        self.snapshot_if_due(seqno);
        if !node.status.gov_is_open() {
            node.status.open_gov();
        }
        if self.writing.opens_at.is_some_and(|opened| opened <= seqno) {
            self.finish_opening();
        }
        if std::mem::take(&mut self.writing.nodes_changed) {
            self.retire();
        }
        if std::mem::take(&mut self.writing.issuers_changed) {
            node.jwt.wake();
        }
        if let Some(unlocked) = self.unlocked.take() {
            self.begin_private_phase(*unlocked);
        }
    }

    fn snapshot_if_due(&mut self, seqno: Seqno) {
        let settings = &self.node.config.snapshots;
        let since = seqno.saturating_sub(self.writing.last_snapshot);
        let waited = self
            .writing
            .last_snapshot_at
            .is_none_or(|at| at.elapsed() >= settings.time_interval);
        let by_time = !settings.time_interval.is_zero() && waited && since >= settings.min_tx_count;
        let due = self.writing.snapshot || since >= settings.tx_count.max(1) || by_time;
        let at_signature = self.journal.next().seqno == seqno + 1;
        if !self.writing.snapshots_enabled || !due || !at_signature {
            return;
        }
        // Another that is still being written holds back the committed state: this one is due again at a later signature.
        let store = self.node.store.read().unwrap_or_else(PoisonError::into_inner);
        let state = store.committed_at(seqno).filter(|_| self.writing.drafting.is_none());
        drop(store);
        let Some(state) = state else { return };
        self.writing.snapshot = false;
        self.writing.last_snapshot = seqno;
        let node = Arc::clone(&self.node);
        let (done, drafted) = channel();
        let spawned = self.journal.draft_snapshot().and_then(|draft| {
            let thread = std::thread::Builder::new().name("snapshot".to_owned());
            let spawned = thread.spawn(move || {
                let written = draft.write(&state);
                drop(state); // before anybody hears of it: the store may be compacted again
                let _ = done.send(written);
                if let Some(sequencer) = node.sequencer.get() {
                    sequencer.wake();
                }
            });
            spawned.map_err(Error::io("start", Path::new("a thread for a snapshot")))
        });
        match spawned {
            Ok(_) => self.writing.drafting = Some(drafted),
            // Asked for again by the next that is due by count.
            Err(why) => tracing::error!("no snapshot could be made: {why}"),
        }
    }

    /// Writes the evidence of a snapshot whose file is ready; waits for that with `wait`.
    pub fn witness_snapshot(&mut self, wait: bool) {
        // First of all, because what that commits must find this snapshot still there.
        if self.writing.drafting.is_none() || self.settle().is_err() {
            return; // the loop says that it can't be settled
        }
        let Some(drafted) = &self.writing.drafting else { return };
        let written = match wait {
            true => drafted.recv().map_err(|_| TryRecvError::Disconnected),
            false => drafted.try_recv(),
        };
        let written = match written {
            Ok(written) => written,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(Error::Unreadable("the thread that wrote it panicked".to_owned())),
        };
        self.writing.drafting = None;
        let written = match written {
            Ok(written) => written,
            Err(why) => return tracing::error!("no snapshot could be made: {why}"),
        };
        let seqno = written.seqno();
        match self.journal.witness_snapshot(written) {
            Ok((txid, writes)) => {
                self.wrote(txid, &writes);
                self.writing.last_snapshot_at = Some(Instant::now());
                tracing::info!(seqno, "snapshot made, its evidence waits for a signature");
            }
            Err(why) => {
                self.writing.snapshot = true;
                tracing::error!("a snapshot's evidence could not be written, another is made: {why}");
            }
        }
    }

    /// Serves and signs with the certificates that the ledger has for this node and its service.
    fn adopt_certificates(&mut self) {
        let node = Arc::clone(&self.node);
        let ((own, info), _) = node.read(|store| {
            let own = store.get(names::NODES_ENDORSED_CERTIFICATES, node.id.as_bytes());
            let own = own.and_then(|(_, pem)| std::str::from_utf8(pem).ok().map(str::to_owned));
            let transaction = store.transaction();
            (own, super::service::service_info(&transaction).ok())
        });
        if let Some(info) = info
            && info.cert != self.service.certificate.to_pem()
            && let Ok(certificate) = Certificate::from_pem(&info.cert)
            && certificate.key_id() == self.service.certificate.key_id()
        {
            let path = node.config.command.service_certificate_file.clone();
            self.writing.unwritten.push((path, certificate.to_pem()));
            self.service.certificate = certificate;
        }
        let mut signers = self.journal.signers().clone();
        if let Some(own) = own
            && (own != signers.node_certificate.to_pem() || !node.status.gov_is_open())
            && let Ok(certificate) = Certificate::from_pem(&own)
        {
            node.certificates.endorsed(&certificate);
            signers.node_certificate = certificate;
            self.journal.set_signers(signers);
        }
        // Whoever trusts the files must not be left with certificates that expire.
        self.writing
            .unwritten
            .retain(|(path, pem)| match node.files.write(path, pem.as_bytes()) {
                Ok(()) => false,
                Err(why) => {
                    tracing::error!(
                        "a renewed certificate is not on disk, it is tried again with the next commit: {why}"
                    );
                    true
                }
            });
    }

    /// Marks nodes whose retirement has been committed.
    fn retire(&mut self) {
        let retired = self.transact(|transaction, _| Ok(commit_retirements(transaction)));
        if let Err(why) = retired {
            tracing::error!("retired nodes could not be marked: {}", why.message);
        }
        // That transaction wrote to the nodes' table itself, which is no reason to look again.
        self.writing.nodes_changed = false;
    }

    /// Signs what is left and closes the files. A snapshot that is being written is finished: the next start is then spared
    /// what lies before it.
    pub fn close(mut self) {
        self.writing.snapshots_enabled = false;
        self.sign_the_rest();
        if self.writing.drafting.is_some() {
            tracing::info!("finishing the snapshot that is being written; a second signal ends the node at once");
            self.witness_snapshot(true);
            self.sign_the_rest();
        }
        if let Err(why) = self.journal.close() {
            tracing::error!("the ledger could not be closed: {why}");
        }
    }

    fn sign_the_rest(&mut self) {
        if self.writing.unsigned > 0 {
            self.sign();
        }
    }
}

/// So much waits for a signature that can't be written that nothing more is taken.
fn too_many() -> ApiError {
    ApiError::new(
        hyper::StatusCode::SERVICE_UNAVAILABLE,
        "TooManyPendingTransactions",
        "Too many transactions are not committed yet; try again later.",
    )
}

fn unwritable(why: crate::Error) -> ApiError {
    ApiError::internal(format!("The ledger can't be written: {why}"))
}
