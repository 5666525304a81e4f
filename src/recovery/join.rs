//! Joining scanned segments in order: the sequential part of a verification, a handful of hashes per signature.
//!
//! The [`Joiner`] holds the accumulator and the trust in force. At every signature it compares the root of all entries so
//! far with the recorded one, and makes the check of the signatures that is then verified in parallel. Where the roots
//! differ it asks `diagnose` which entries are not the signed ones, and goes on from the signed tree.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use crate::crypto::digest::{Digest, sha256};
use crate::crypto::x509::Certificate;
use crate::format::chunk::Fault;
use crate::format::directory::{LedgerFiles, Note};
use crate::format::{Seqno, TxId, View};
use crate::merkle::Accumulator;
use crate::recovery::check::{Check, Outcome};
use crate::recovery::chronicle::Chronicle;
use crate::recovery::faults::{self, Described};
use crate::recovery::gathered::Gathered;
use crate::recovery::scan::{Flagged, Run, SegmentScan, TrustWrite, scan_segment};
use crate::recovery::segments::Segment;
use crate::recovery::seqno_set::SeqnoSet;
use crate::recovery::service_links::ServiceLinks;
use crate::recovery::signed::LastSignature;
use crate::recovery::trust::{Trust, TypesSeen};
use crate::report::{Code, Finding, Findings, Severity};
use crate::tables::values::HexDigest;

mod diagnose;
mod saved;
mod signatures;
mod views;

pub use super::scan::{MAX_VIEW, MAX_VIEW_STEP};
pub use super::signed::SignedRoot;
pub use saved::SavedJoiner;

/// Numbers that a report gives.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Entries that could be read.
    pub entries: u64,
    /// Signature transactions with a node's signature.
    pub signatures: u64,
    /// Signature transactions with a COSE signature.
    pub cose_signatures: u64,
    /// Signature transactions of any kind.
    pub signature_transactions: u64,
    /// Bytes of the segments read.
    pub bytes: u64,
}

/// Which signatures are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every signature.
    Audit,
    /// The last one of each service identity: its root covers every earlier entry.
    Integrity,
}

/// The evidence of a snapshot, as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// Seqno of the transaction that wrote it.
    pub seqno: Seqno,
    /// Seqno of the snapshot.
    pub snapshot_seqno: Seqno,
    /// The snapshot's digest.
    pub digest: HexDigest,
    /// The transaction's claims digest, which must be the same.
    pub claims_digest: Option<HexDigest>,
}

/// Whether a finding of this kind means that nothing from its place on is proven. Positions tables, names and
/// endorsements can be wrong beside entries whose signatures verify.
fn breaks_proof(code: Code) -> bool {
    code.severity() == Severity::Error
        && !matches!(
            code,
            Code::Position
                | Code::ChunkHeader
                | Code::ChunkEndsUnsigned
                | Code::NameDisagrees
                | Code::TreeDiffers
                | Code::Endorsement
        )
}

/// The sequential state of a verification.
pub struct Joiner<'f> {
    pub(super) files: &'f LedgerFiles,
    mode: Mode,
    /// Peaks of everything read so far; none where something before is missing and no tree has bridged it yet.
    pub(super) accumulator: Option<Accumulator>,
    /// The next seqno.
    pub(super) next: Seqno,
    /// Where the next segment should begin, if it is in the chunk read last.
    position: Option<(usize, u64)>,
    pub(super) trust: Trust,
    pub(super) service_links: ServiceLinks,
    /// Entries that the attestation of nodes is judged by.
    pub(super) attesting: SeqnoSet,
    pub(super) pending: VecDeque<TrustWrite>,
    pub(super) counts: Counts,
    pub(super) findings: Findings,
    pub(super) evidence: Vec<Evidence>,
    pub(super) watched: Vec<(Seqno, Digest)>,
    /// Nothing at or after this seqno is proven from the start.
    pub(super) broken_at: Option<Seqno>,
    /// The last signature whose root was found right; whether it verifies may not be known yet.
    pub(super) last_matching: Option<TxId>,
    /// The last signature that verified, with everything before it.
    proven: Option<SignedRoot>,
    /// The one before: what is proven where the last one's own entry turns out to be damaged.
    proven_before: Option<SignedRoot>,
    /// The last signature transaction read, for the check of its tree.
    pub(super) last_signature: Option<LastSignature>,
    /// The last one whose root was found right before anything that ends the proof: nothing sound covers it either.
    last_good: Option<LastSignature>,
    /// In integrity mode, the check that stands for all since the last identity change.
    held: Option<Check>,
    last_view: View,
    /// The run began after this seqno: a snapshot's, or 0.
    start: Seqno,
    /// Entries with flags that are judged at the next signature.
    flagged: VecDeque<Flagged>,
    /// Types of the entries since the last signature.
    types: TypesSeen,
    /// Every signature's root, kept only when asked for.
    pub(super) history: Option<Vec<SignedRoot>>,
    /// What a picture shows, kept only when asked for.
    chronicle: Option<Box<Chronicle>>,
    /// What signature transactions say was committed, kept with the history.
    pub(super) claims: Vec<(TxId, Seqno)>,
    /// The signature at the seqno that an earlier report ended at.
    pub(super) against: Option<(Seqno, Option<SignedRoot>)>,
    checks: Vec<Check>,
    /// Bytes of entries that were read again to find which ones differ.
    pub(super) read_again: u64,
    /// What a recovery would need. Not part of a checkpoint.
    pub(super) gathered: Gathered,
}

impl<'f> Joiner<'f> {
    /// Starts before seqno `next`, with the accumulator of everything before it where that is known.
    pub fn new(
        files: &'f LedgerFiles,
        mode: Mode,
        next: Seqno,
        accumulator: Option<Accumulator>,
        trust: Trust,
    ) -> Self {
        let last_view = trust.last_view();
        Joiner {
            files,
            mode,
            accumulator,
            next,
            position: None,
            trust,
            service_links: ServiceLinks::default(),
            attesting: SeqnoSet::default(),
            pending: VecDeque::new(),
            counts: Counts::default(),
            findings: Findings::default(),
            evidence: Vec::new(),
            watched: Vec::new(),
            broken_at: None,
            last_matching: None,
            proven: None,
            proven_before: None,
            last_signature: None,
            last_good: None,
            held: None,
            last_view,
            start: next.saturating_sub(1),
            flagged: VecDeque::new(),
            types: TypesSeen::default(),
            history: None,
            claims: Vec::new(),
            chronicle: None,
            against: None,
            checks: Vec::new(),
            read_again: 0,
            gathered: Gathered::default(),
        }
    }

    /// Keeps the root of every signature that is found right.
    pub fn keep_history(&mut self) {
        self.history = Some(Vec::new());
    }

    /// Notes what a picture shows, from here on.
    pub fn keep_chronicle(&mut self) {
        self.chronicle = Some(Box::new(Chronicle::from(self.next)));
    }

    /// What was noted for a picture, if it was asked for.
    pub(super) fn take_chronicle(&mut self) -> Option<Chronicle> {
        let mut chronicle = *self.chronicle.take()?;
        chronicle.set_secrets(&self.gathered.historical);
        let evidence = self.evidence.iter();
        chronicle.snapshots = evidence
            .map(|evidence| (evidence.seqno, evidence.snapshot_seqno))
            .collect();
        let certificates = self.trust.identities().iter();
        chronicle.certificates = certificates.map(|certificate| sha256(certificate.der())).collect();
        Some(chronicle)
    }

    /// Remembers the root signed at this seqno, if one is.
    pub fn watch_root_at(&mut self, seqno: Seqno) {
        self.against = Some((seqno, None));
    }

    /// Begins after a snapshot, which is of the state at this signature.
    pub(super) fn begin_proven(&mut self, signed: SignedRoot) {
        self.proven = Some(signed);
        self.last_matching = Some(signed.txid);
    }

    /// The path of a chunk.
    pub(super) fn path(&self, chunk_index: usize) -> &'f Path {
        self.files
            .chunks
            .get(chunk_index)
            .map_or(Path::new(""), |chunk| chunk.file.path.as_path())
    }

    /// Adds a finding about an entry.
    pub(super) fn report(&mut self, code: Code, message: String, chunk_index: usize, offset: u64, seqno: Seqno) {
        self.list(code, message, chunk_index, offset, seqno);
        if breaks_proof(code) {
            self.break_at(seqno);
        }
    }

    /// Adds a finding whose consequence for the proof the caller draws.
    pub(super) fn list(&mut self, code: Code, message: String, chunk_index: usize, offset: u64, seqno: Seqno) {
        let mut finding = Finding::new(code, message)
            .file(self.path(chunk_index))
            .offset(offset)
            .seqno(seqno);
        finding.proven_to = self.last_matching.map(|txid| txid.seqno);
        self.findings.push(finding);
    }

    pub(super) fn break_at(&mut self, seqno: Seqno) {
        self.broken_at = Some(self.broken_at.map_or(seqno, |at| at.min(seqno)));
    }

    /// Reports what the directories' listing showed.
    pub fn report_notes(&mut self) {
        // A gap is reported where the walk meets it, so that what lies before a snapshot does not count.
        let notes = self.files.notes.iter().filter(|note| !matches!(note, Note::Gap { .. }));
        notes
            .map(faults::of_note)
            .for_each(|finding| self.findings.push(finding));
    }

    /// Joins one segment, and returns the checks that can be verified now.
    pub fn join(&mut self, mut scan: SegmentScan, watch: &[Seqno]) -> Vec<Check> {
        let segment = scan.segment.clone();
        self.enter(&segment);
        if let Some((chunk, offset)) = self.position
            && chunk == segment.chunk_index
            && (offset, self.next) != (segment.offset, segment.from)
        {
            // The table pointed this segment to a wrong place: read it again from where the walk really is.
            let from = self.next;
            scan = scan_segment(
                Segment {
                    from,
                    offset,
                    ..segment.clone()
                },
                watch,
            );
        }
        self.counts.entries += scan.entries;
        self.counts.bytes += scan.end_offset.saturating_sub(scan.segment.offset);
        for fault in std::mem::take(&mut scan.faults) {
            self.report_fault(&fault, &scan.segment);
        }
        self.judge_views(&mut scan);
        self.flagged.extend(std::mem::take(&mut scan.flagged));
        self.pending.extend(std::mem::take(&mut scan.writes));
        self.gathered.written.set_all(&scan.public_writers);
        self.attesting.set_all(&scan.attesting);
        self.watched.append(&mut scan.watched);
        for run in std::mem::take(&mut scan.runs) {
            self.join_run(run);
        }
        self.next = scan.until;
        self.position = Some((segment.chunk_index, scan.end_offset));
        if scan.segment.until.is_none() {
            self.leave_chunk(&scan);
        }
        std::mem::take(&mut self.checks)
    }

    /// Meets a segment: reports a new chunk's header, and a gap before it.
    fn enter(&mut self, segment: &Segment) {
        if self.position.is_some_and(|(chunk, _)| chunk == segment.chunk_index) {
            return;
        }
        let follows = self.position.take().is_some();
        if let Some((offset, what)) = &segment.chunk.layout_fault {
            self.report(
                Code::ChunkHeader,
                what.clone(),
                segment.chunk_index,
                *offset,
                segment.from,
            );
        }
        if segment.from > self.next {
            let text = format!("seqnos {} to {} are missing", self.next, segment.from - 1);
            let code = if self.next == 1 { Code::LateStart } else { Code::Gap };
            let next = self.next;
            self.report(code, text, segment.chunk_index, segment.offset, next);
            self.lose(segment.from);
        } else if follows && segment.from < self.next {
            let text = format!(
                "seqnos {} to {} stand in the file before, too",
                segment.from,
                self.next - 1
            );
            self.report(Code::Gap, text, segment.chunk_index, segment.offset, segment.from);
            self.lose(segment.from);
        }
    }

    fn lose(&mut self, next: Seqno) {
        self.accumulator = None;
        self.trust.lose_history();
        self.next = next;
    }

    /// Leaves a chunk: it must end where its name says, and with a signature if it is complete.
    fn leave_chunk(&mut self, scan: &SegmentScan) {
        let segment = &scan.segment;
        let chunk = &segment.chunk;
        if chunk.map.shrank() {
            self.report(
                Code::Shrank,
                "the file became shorter while it was read".to_owned(),
                segment.chunk_index,
                scan.end_offset,
                self.next,
            );
        }
        if self.next <= chunk.file.last && (chunk.layout.table_len.is_some() || chunk.file.name.last.is_some()) {
            let text = format!(
                "the chunk ends before seqno {}, expected entries up to {}",
                self.next, chunk.file.last
            );
            self.report(
                Code::ChunkEndsEarly,
                text,
                segment.chunk_index,
                scan.end_offset,
                self.next,
            );
        }
        let signed = self.last_signature.is_some_and(|last| last.seqno + 1 == self.next);
        if chunk.layout.table_len.is_some() && !signed {
            let text = format!(
                "the chunk is complete, but its last entry ({}) is no signature",
                self.next.saturating_sub(1)
            );
            self.report(
                Code::ChunkEndsUnsigned,
                text,
                segment.chunk_index,
                scan.end_offset,
                self.next.saturating_sub(1),
            );
        }
    }

    fn report_fault(&mut self, fault: &Fault, segment: &Segment) {
        // What comes after the last entry of a chunk is torn, and no entry is lost with it, where the next chunk goes on with
        // the next entry: a crash while a positions table was written leaves that.
        let next = self.files.chunks.get(segment.chunk_index + 1);
        let is_last = next.is_none_or(|next| matches!(fault, Fault::End { seqno, .. } if *seqno == next.file.first));
        let Described {
            code,
            offset,
            seqno,
            text,
        } = faults::describe(fault, &segment.chunk, is_last);
        self.report(code, text, segment.chunk_index, offset, seqno);
    }

    fn join_run(&mut self, run: Run) {
        if let Some(accumulator) = &mut self.accumulator {
            run.nodes.into_iter().for_each(|node| accumulator.append_node(node));
        }
        self.next = run.until;
        self.gathered.fingerprint.add(run.fingerprint);
        self.types.append(&run.types);
        if run.last_view > 0 {
            self.last_view = run.last_view;
        }
        if let Some(tx) = run.signature {
            self.join_signature(tx);
        }
    }

    /// Takes the outcome of checks, in the order in which they were made.
    pub fn settle(&mut self, outcomes: Vec<(Check, Outcome)>) {
        for (check, outcome) in outcomes {
            for (code, text) in outcome {
                self.report(code, text, check.chunk_index, check.offset, check.txid.seqno);
            }
            if self.broken_at.is_some_and(|at| at <= check.txid.seqno) {
                continue;
            }
            self.gathered.prove(&check);
            self.proven_before = self.proven.take();
            self.proven = Some(SignedRoot {
                txid: check.txid,
                root: HexDigest(check.root),
                signer: check.signer,
                service: check.service,
            });
        }
    }

    /// Whether anything was found that ends the proof.
    pub fn is_broken(&self) -> bool {
        self.broken_at.is_some()
    }

    /// The last signature that verified before anything that ends the proof.
    pub(super) fn proven(&self) -> Option<SignedRoot> {
        let before_damage = |signed: &SignedRoot| self.broken_at.is_none_or(|at| signed.txid.seqno < at);
        [self.proven, self.proven_before]
            .into_iter()
            .flatten()
            .find(before_damage)
    }

    /// The service identities that began within what is proven, or where this run did.
    pub(super) fn proven_identities(&self) -> Vec<Arc<Certificate>> {
        let proven_to = self.proven().map_or(0, |signed| signed.txid.seqno).max(self.start);
        let services = self.trust.services().iter().zip(self.trust.identities());
        services
            .filter(|(service, _)| service.from_seqno <= proven_to)
            .map(|(_, certificate)| Arc::clone(certificate))
            .collect()
    }

    /// The checks that were held back.
    pub fn release(&mut self) -> Vec<Check> {
        let mut checks = std::mem::take(&mut self.checks);
        checks.extend(self.held.take());
        checks
    }

    /// Checks what the last signature transaction holds beside its signature, which no later signature covers.
    pub fn check_last_signature(&mut self) {
        let last = self.last_signature;
        let good = self
            .last_good
            .filter(|good| last.is_none_or(|last| last.seqno != good.seqno));
        for last in good.into_iter().chain(last) {
            for (code, text) in diagnose::last_signature(self.files, &last) {
                self.report(code, text, last.chunk_index, last.offset, last.seqno);
            }
        }
    }
}
