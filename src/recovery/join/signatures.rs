//! What happens at a signature transaction: roots compared, trust brought up to date, the check made.

use super::diagnose::{self, Diagnosis};
use super::{Evidence, Joiner, Mode, SignedRoot, breaks_proof};
use crate::crypto::digest::Digest;
use crate::format::entry::FLAG_CHUNK_BEFORE;
use crate::format::{Seqno, TxId};
use crate::merkle::Accumulator;
use crate::recovery::check::Check;
use crate::recovery::scan::{Flagged, SignatureTx, TrustTable, TrustWrite};
use crate::recovery::signed::LastSignature;
use crate::recovery::trust::Transaction;
use crate::report::Code;
use crate::tables::values::{HexDigest, SnapshotEvidence, from_json};

impl Joiner<'_> {
    pub(super) fn join_signature(&mut self, tx: Box<SignatureTx>) {
        self.counts.signature_transactions += 1;
        self.counts.signatures += u64::from(tx.node.is_some());
        self.counts.cose_signatures += u64::from(tx.cose.is_some());
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.sign(TxId {
                view: tx.view,
                seqno: tx.seqno,
            });
        }
        let root = self.accumulator.as_ref().map(Accumulator::root);
        let recorded = tx.recorded_root();
        let is_recorded = root.is_some() && root == recorded;
        let has_writes = self.pending.front().is_some_and(|write| write.seqno < tx.seqno);
        // Taken back where entries turn out not to be the signed ones; as large as all nodes and identities so far.
        let before = (has_writes && !is_recorded).then(|| self.trust.clone());
        let writes = self.apply_writes_before(tx.seqno);
        self.judge_entries_before(&tx);
        self.last_signature = Some(LastSignature {
            seqno: tx.seqno,
            chunk_index: tx.chunk_index,
            offset: tx.offset,
            root: root.map(HexDigest),
            tree_is_judged: tx.tree_fault.is_some() || tx.tree_root.is_some(),
        });
        if is_recorded {
            self.accept(&tx, recorded.unwrap_or_default());
            return;
        }
        match diagnose::mismatch(self, &tx, root) {
            Diagnosis::RecordWrong(text) => {
                self.trust.accept(&tx, root);
                self.report(Code::RootDiffers, text, tx.chunk_index, tx.offset, tx.seqno);
            }
            Diagnosis::EntriesDiffer {
                accumulator,
                differing,
                is_all,
            } => {
                if root.is_some() || !differing.is_empty() {
                    self.break_by(&tx, differing.first().copied().filter(|_| is_all));
                }
                if let Some(before) = before.filter(|_| !differing.is_empty()) {
                    self.trust = before;
                    let sound = writes.into_iter().filter(|write| !differing.contains(&write.seqno));
                    self.apply(&sound.collect::<Vec<_>>());
                }
                self.accumulator = Some(accumulator);
                let root = self.accumulator.as_ref().map_or([0; 32], Accumulator::root);
                self.accept(&tx, root);
            }
            Diagnosis::NothingKnown(text) => {
                if let Some(last) = &mut self.last_signature {
                    last.root = None;
                }
                let code = if root.is_some() {
                    Code::RootDiffers
                } else {
                    Code::NodeSignature
                };
                self.report(code, text, tx.chunk_index, tx.offset, tx.seqno);
            }
        }
    }

    /// Ends the proof where entries differ from a signature's tree, `first` being the first that does. What an earlier
    /// signature covers stays proven by it: then two signatures contradict each other, and the later history is another.
    fn break_by(&mut self, tx: &SignatureTx, first: Option<Seqno>) {
        let covered = self.last_matching.map_or(0, |txid| txid.seqno);
        let contradicts = first.is_none_or(|first| first < covered);
        let was_broken = self.broken_at.is_some();
        match first {
            Some(first) if !contradicts => self.break_at(first),
            _ => self.break_at(covered + 1),
        }
        if contradicts && covered > 0 && !was_broken {
            let text = format!("its tree contradicts the root that was signed at {covered}: two histories are mixed");
            self.list(Code::RootDiffers, text, tx.chunk_index, tx.offset, tx.seqno);
        }
    }

    /// A signature whose root is the one of the entries (or of the tree that replaces them): its check is made.
    fn accept(&mut self, tx: &SignatureTx, root: Digest) {
        let (mut check, wrong) = self.trust.check(tx, root);
        check.fingerprint = self.gathered.fingerprint;
        self.gathered.sign(tx.seqno, tx.view);
        for (code, text) in wrong {
            self.report(code, text, tx.chunk_index, tx.offset, tx.seqno);
        }
        self.trust.accept(tx, Some(root));
        if let Some(last) = &mut self.last_signature {
            last.root = Some(HexDigest(root));
        }
        if self.broken_at.is_none_or(|at| check.txid.seqno < at) {
            self.last_matching = Some(check.txid);
            self.last_good = self.last_signature;
            self.remember(&check, tx);
        }
        match self.mode {
            Mode::Audit => self.checks.push(check),
            Mode::Integrity => self.held = Some(check),
        }
    }

    fn remember(&mut self, check: &Check, tx: &SignatureTx) {
        let signed = SignedRoot {
            txid: check.txid,
            root: HexDigest(check.root),
            signer: check.signer,
            service: check.service,
        };
        if let Some((_, found)) = self.against.as_mut().filter(|(seqno, _)| *seqno == check.txid.seqno) {
            *found = Some(signed);
        }
        if let Some(history) = &mut self.history {
            if let Some(Ok(signature)) = &tx.node
                && signature.commit_seqno > 0
            {
                self.claims.push((check.txid, signature.commit_seqno));
            }
            history.push(signed);
        }
    }

    /// Applies the writes of transactions below `seqno`, and returns them.
    fn apply_writes_before(&mut self, seqno: Seqno) -> Vec<TrustWrite> {
        let mut taken = Vec::new();
        while let Some(write) = self.pending.pop_front_if(|write| write.seqno < seqno) {
            taken.push(write);
        }
        self.apply(&taken);
        taken
    }

    fn apply(&mut self, writes: &[TrustWrite]) {
        for transaction in Transaction::each(writes) {
            self.apply_transaction(&transaction);
        }
    }

    fn apply_transaction(&mut self, transaction: &Transaction<'_>) {
        let services = self.trust.services().len();
        for write in transaction.writes {
            self.service_links.note(write);
        }
        let chunk_index = transaction.writes.first().map_or(0, |write| write.chunk_index);
        for finding in self.trust.apply(transaction) {
            let mut finding = finding.file(self.path(chunk_index));
            finding.proven_to = self.last_matching.map(|txid| txid.seqno);
            if breaks_proof(finding.code) {
                self.break_at(transaction.txid.seqno);
            }
            self.findings.push(finding);
        }
        for write in transaction.writes {
            match write.table {
                TrustTable::SnapshotEvidence => self.note_evidence(write),
                TrustTable::HistoricalSecret => self.gathered.take_historical(write),
                _ => {}
            }
        }
        // The identity changes: the held check stands for everything up to the recovery.
        if self.trust.services().len() > services
            && let Some(held) = self.held.take()
        {
            self.checks.push(held);
        }
    }

    /// Judges flags and types of the entries since the last signature transaction, now that it is known which of them
    /// created a service.
    fn judge_entries_before(&mut self, tx: &SignatureTx) {
        while let Some(flagged) = self.flagged.pop_front_if(|flagged| flagged.seqno < tx.seqno) {
            let recovers = |flagged: &Flagged| {
                let later = self.trust.services().iter().skip(usize::from(!self.trust.is_partial()));
                later.rev().any(|service| service.from_seqno == flagged.seqno)
            };
            if flagged.flags == FLAG_CHUNK_BEFORE && recovers(&flagged) {
                continue;
            }
            let text = format!(
                "the flags are {:#04x}: signatures may have 0x01, the first entry of a recovered service 0x02",
                flagged.flags
            );
            self.report(
                Code::EntryFlags,
                text,
                flagged.chunk_index,
                flagged.offset,
                flagged.seqno,
            );
        }
        let types = std::mem::take(&mut self.types);
        for (seqno, offset, text) in self.trust.meet_types(&types) {
            self.report(Code::EntryType, text, tx.chunk_index, offset, seqno);
        }
    }

    fn note_evidence(&mut self, write: &TrustWrite) {
        if let Some(Ok(evidence)) = write.value.as_deref().map(from_json::<SnapshotEvidence>) {
            self.evidence.push(Evidence {
                seqno: write.seqno,
                snapshot_seqno: evidence.version,
                digest: evidence.hash,
                claims_digest: write.claims_digest.map(HexDigest),
            });
        }
    }
}
