//! The parallel pass: every leaf digested, subtrees reduced, signature and trust transactions picked out.
//!
//! A segment is scanned without knowing anything about what stands before it. What comes out is small: a few subtree
//! roots per signature interval, the signatures, and the writes to the tables that say who may sign. Nothing in a
//! [`SegmentScan`] borrows from the map.

use crate::crypto::digest::{Digest, sha256_many};
use crate::format::chunk::{Fault, Located, Step};
use crate::format::entry::FLAG_CHUNK_AFTER;
use crate::format::{Seqno, View};
use crate::merkle::accumulator::{Subtree, Subtrees};
use crate::recovery::fingerprint::Fingerprint;
use crate::recovery::segments::Segment;
use crate::tables::names;

mod signature;
mod types;

pub use types::TypesSeen;

pub use signature::SignatureTx;
use signature::pick_out;

/// The leaf that stands in for an entry that can't be read: no transaction's digest.
pub const LOST_LEAF: Digest = [0xff; 32];

/// Tables whose writes decide who may sign, or that snapshots and recoveries are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TrustTable {
    /// `service.info`.
    ServiceInfo,
    /// `nodes.info`.
    NodesInfo,
    /// `nodes.endorsed_certificates`.
    NodesEndorsedCertificates,
    /// `service.previous_service_identity`.
    PreviousServiceIdentity,
    /// `previous_service_last_signed_root`.
    PreviousServiceLastSignedRoot,
    /// `previous_service_identity_endorsement`.
    IdentityEndorsement,
    /// `snapshot_evidence`.
    SnapshotEvidence,
    /// `historical_encrypted_ledger_secret`.
    HistoricalSecret,
}

impl TrustTable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            TrustTable::ServiceInfo => names::SERVICE_INFO,
            TrustTable::NodesInfo => names::NODES_INFO,
            TrustTable::NodesEndorsedCertificates => names::NODES_ENDORSED_CERTIFICATES,
            TrustTable::PreviousServiceIdentity => names::PREVIOUS_SERVICE_IDENTITY,
            TrustTable::PreviousServiceLastSignedRoot => names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT,
            TrustTable::IdentityEndorsement => names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT,
            TrustTable::SnapshotEvidence => names::SNAPSHOT_EVIDENCE,
            TrustTable::HistoricalSecret => names::HISTORICAL_ENCRYPTED_LEDGER_SECRET,
        }
    }

    fn of(name: &str) -> Option<TrustTable> {
        Some(match name {
            names::SERVICE_INFO => TrustTable::ServiceInfo,
            names::NODES_INFO => TrustTable::NodesInfo,
            names::NODES_ENDORSED_CERTIFICATES => TrustTable::NodesEndorsedCertificates,
            names::PREVIOUS_SERVICE_IDENTITY => TrustTable::PreviousServiceIdentity,
            names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT => TrustTable::PreviousServiceLastSignedRoot,
            names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT => TrustTable::IdentityEndorsement,
            names::SNAPSHOT_EVIDENCE => TrustTable::SnapshotEvidence,
            names::HISTORICAL_ENCRYPTED_LEDGER_SECRET => TrustTable::HistoricalSecret,
            _ => return None,
        })
    }
}

/// Largest key or value of such a table, or of a signature, that is looked at: certificates and what operators attach to
/// nodes and services have kilobytes, and each is copied out of the file.
pub const MAX_TRUST_BYTES: usize = 4 << 20;

/// A write to one of those tables.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct TrustWrite {
    /// Seqno of the transaction.
    pub seqno: Seqno,
    /// Its view.
    pub view: View,
    /// Offset of its entry.
    pub offset: u64,
    /// Which chunk of the ledger.
    pub chunk_index: usize,
    /// Which table.
    pub table: TrustTable,
    /// Serialised key.
    pub key: Vec<u8>,
    /// Serialised value.
    pub value: Option<Vec<u8>>,
    /// The transaction's claims digest.
    pub claims_digest: Option<Digest>,
}

/// Leaves up to a signature transaction (which is not among them), as subtrees.
pub struct Run {
    /// Perfect subtrees in leaf order.
    pub nodes: Vec<Subtree>,
    /// The signature over everything before it; none where the segment ends.
    pub signature: Option<Box<SignatureTx>>,
    /// Seqno after the run's last leaf.
    pub until: Seqno,
    /// View of the run's last entry that could be read.
    pub last_view: View,
    /// Of the run's entries.
    pub fingerprint: Fingerprint,
    /// Types of the run's entries.
    pub types: TypesSeen,
}

/// An entry with flags that an ordinary one does not have.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Flagged {
    /// Its seqno.
    pub seqno: Seqno,
    /// Offset of its entry.
    pub offset: u64,
    /// Which chunk of the ledger.
    pub chunk_index: usize,
    /// The flags.
    pub flags: u8,
}

/// A step of the view from one entry to the next that is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct ViewStep {
    /// Seqno of the later entry.
    pub seqno: Seqno,
    /// Its offset.
    pub offset: u64,
    /// Its view.
    pub view: View,
    /// View of the entry before it.
    pub before: View,
}

/// What the scan of one segment found.
pub struct SegmentScan {
    /// The segment.
    pub segment: Segment,
    /// Seqno after the last entry.
    pub until: Seqno,
    /// Offset after it.
    pub end_offset: u64,
    /// Entries that could be read.
    pub entries: u64,
    /// Subtrees and signatures, in order.
    pub runs: Vec<Run>,
    /// Writes to trust tables, in order.
    pub writes: Vec<TrustWrite>,
    /// What is wrong with the structure.
    pub faults: Vec<Fault>,
    /// Leaves that were asked for.
    pub watched: Vec<(Seqno, Digest)>,
    /// Entries whose view can't follow that of the one before; what is beyond the bound of a segment is like those listed.
    pub view_steps: Vec<ViewStep>,
    /// Entries with flags, but for signatures that end a chunk; bounded like the steps of views.
    pub flagged: Vec<Flagged>,
    /// View of the first entry that could be read.
    pub first_view: Option<View>,
    /// Seqnos of entries that write to public tables beside those of signatures. Empty where nothing is recovered.
    pub public_writers: Vec<Seqno>,
    /// Seqnos of entries that write what the attestation of nodes is judged by: nodes, their policies, the service.
    pub attesting: Vec<Seqno>,
    recovering: bool,
}

/// Entries digested together: enough to fill the vector lanes and a whole block of the tree, few enough that their
/// digests stay in the first-level cache.
pub(super) const BATCH: usize = 1024;

/// Steps of views and entries with flags that are listed for one segment.
const ODDITIES: usize = 1024;

pub use crate::format::{MAX_VIEW, MAX_VIEW_STEP};

/// Whether the view may go from one entry to the next like this: it never falls, and rises by elections and recoveries alone.
pub fn is_sound_step(before: View, view: View) -> bool {
    view != 0 && view <= MAX_VIEW && view.checked_sub(before).is_some_and(|step| step <= MAX_VIEW_STEP)
}

/// Scans a segment. `watch` holds seqnos, sorted, whose leaves are wanted.
pub fn scan_segment(segment: Segment, watch: &[Seqno]) -> SegmentScan {
    scan_segment_for(segment, watch, true)
}

/// The same; only where the ledger is to be recovered are its entries fingerprinted and its public writers listed.
pub fn scan_segment_for(segment: Segment, watch: &[Seqno], recovering: bool) -> SegmentScan {
    let mut scan = SegmentScan {
        until: segment.from,
        end_offset: segment.offset,
        entries: 0,
        runs: Vec::new(),
        writes: Vec::new(),
        faults: Vec::new(),
        watched: Vec::new(),
        view_steps: Vec::new(),
        flagged: Vec::new(),
        first_view: None,
        public_writers: Vec::new(),
        attesting: Vec::new(),
        recovering,
        segment,
    };
    let segment = scan.segment.clone();
    let mut batch = Batch::new(segment.from, watch, recovering);
    let mut walker = segment.walker();
    while segment.until.is_none_or(|until| walker.seqno() < until) {
        match walker.step(&mut scan.faults) {
            Step::Entry(located) => {
                let view = located.entry.iv().view;
                scan.first_view.get_or_insert(view);
                if batch.last_view != 0 && !is_sound_step(batch.last_view, view) && scan.view_steps.len() < ODDITIES {
                    scan.view_steps.push(ViewStep {
                        seqno: located.seqno,
                        offset: located.offset,
                        view,
                        before: batch.last_view,
                    });
                }
                batch.last_view = view;
                scan.entries += 1;
                batch.push(&located);
                let before = batch.fingerprint;
                batch.take_fingerprint(located.entry.raw);
                let (seqno, offset, flags) = (located.seqno, located.offset, located.entry.flags);
                let entry_type = located.public.entry_type;
                let signature = pick_out(located, segment.chunk_index, &mut scan);
                if flags != 0 && (flags != FLAG_CHUNK_AFTER || signature.is_none()) && scan.flagged.len() < ODDITIES {
                    scan.flagged.push(Flagged {
                        seqno,
                        offset,
                        chunk_index: segment.chunk_index,
                        flags,
                    });
                }
                match signature {
                    Some(signature) => batch.end_run(before, view, signature),
                    None => batch.types.see(entry_type, seqno, offset),
                }
            }
            Step::Lost(_) => batch.push_lost(),
            Step::End => break,
        }
        if batch.messages.len() == BATCH {
            batch.digest(&mut scan);
        }
    }
    batch.digest(&mut scan);
    scan.until = batch.subtrees.next();
    scan.end_offset = walker.offset();
    scan.runs.push(Run {
        nodes: batch.subtrees.take(),
        signature: None,
        until: scan.until,
        last_view: batch.last_view,
        fingerprint: batch.fingerprint,
        types: batch.types,
    });
    scan
}

/// Entries whose digests are still to be made.
struct Batch<'a> {
    /// Raw entries; empty for one that can't be read.
    messages: Vec<&'a [u8]>,
    /// Their commit evidence and claims digests.
    headers: Vec<Header<'a>>,
    /// Signature transactions among them.
    signatures: Vec<RunEnd>,
    /// Of the entries since the last signature, that one included.
    fingerprint: Fingerprint,
    /// Of the same entries.
    types: TypesSeen,
    /// Whether anybody asks for it.
    recovering: bool,
    subtrees: Subtrees,
    last_view: View,
    watch: std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, Seqno>>>,
    digests: Vec<Digest>,
    /// What the leaves are made of.
    parts: Vec<[Digest; 3]>,
    leaves: Vec<Digest>,
}

/// A signature transaction in a batch, which ends a run.
struct RunEnd {
    index: usize,
    view: View,
    fingerprint: Fingerprint,
    types: TypesSeen,
    signature: Box<SignatureTx>,
}

#[derive(Clone, Copy)]
enum Header<'a> {
    /// The leaf is made of the entry's digest and these.
    Digests(Option<&'a Digest>, Option<&'a Digest>),
    /// There is no entry to speak of.
    Lost,
}

impl<'a> Batch<'a> {
    fn new(first: Seqno, watch: &'a [Seqno], recovering: bool) -> Self {
        let first_watched = watch.partition_point(|&seqno| seqno < first);
        Batch {
            messages: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
            signatures: Vec::new(),
            fingerprint: Fingerprint::default(),
            types: TypesSeen::default(),
            recovering,
            subtrees: Subtrees::starting_at(first),
            last_view: 0,
            watch: watch.get(first_watched..).unwrap_or(&[]).iter().copied().peekable(),
            digests: Vec::with_capacity(BATCH),
            parts: Vec::with_capacity(BATCH),
            leaves: Vec::with_capacity(BATCH),
        }
    }

    #[inline]
    fn push(&mut self, located: &Located<'a>) {
        self.messages.push(located.entry.raw);
        let public = &located.public;
        self.headers
            .push(Header::Digests(public.commit_evidence_digest, public.claims_digest));
    }

    #[inline]
    fn take_fingerprint(&mut self, raw: &[u8]) {
        if self.recovering {
            self.fingerprint.add_entry(raw);
        }
    }

    /// The entry pushed last is a signature transaction: the run before it, with this fingerprint, is over.
    #[cold]
    fn end_run(&mut self, before: Fingerprint, view: View, signature: SignatureTx) {
        self.fingerprint = Fingerprint::default();
        let types = std::mem::take(&mut self.types);
        self.types.see(signature.entry_type, signature.seqno, signature.offset);
        if let Some(raw) = self.messages.last() {
            self.take_fingerprint(raw);
        }
        self.signatures.push(RunEnd {
            index: self.messages.len() - 1,
            view,
            fingerprint: before,
            types,
            signature: Box::new(signature),
        });
    }

    #[cold]
    fn push_lost(&mut self) {
        self.messages.push(&[]);
        self.headers.push(Header::Lost);
    }

    /// Digests what was pushed (format specification, section 4), and hands it on: to the tree, and to whoever watches.
    fn digest(&mut self, scan: &mut SegmentScan) {
        self.digests.clear();
        sha256_many(&self.messages, &mut self.digests);
        self.make_leaves();
        let first = self.subtrees.next();
        while let Some(seqno) = self.watch.next_if(|seqno| *seqno < first + self.leaves.len() as u64) {
            if let Some(leaf) = self.leaves.get((seqno - first) as usize) {
                scan.watched.push((seqno, *leaf));
            }
        }
        let mut from = 0;
        for end in self.signatures.drain(..) {
            self.subtrees
                .append_all(self.leaves.get(from..end.index).unwrap_or(&[]));
            from = end.index;
            scan.runs.push(Run {
                nodes: self.subtrees.take(),
                until: end.signature.seqno,
                last_view: end.view,
                fingerprint: end.fingerprint,
                types: end.types,
                signature: Some(end.signature),
            });
        }
        self.subtrees.append_all(self.leaves.get(from..).unwrap_or(&[]));
        self.messages.clear();
        self.headers.clear();
    }

    fn make_leaves(&mut self) {
        self.parts.clear();
        for (digest, header) in self.digests.iter().zip(&self.headers) {
            self.parts.push(match header {
                Header::Digests(Some(evidence), Some(claims)) => [*digest, **evidence, **claims],
                Header::Digests(Some(one), None) | Header::Digests(None, Some(one)) => [*digest, **one, [0; 32]],
                Header::Digests(None, None) | Header::Lost => [*digest, [0; 32], [0; 32]],
            });
        }
        let messages: Vec<&[u8]> = self
            .parts
            .iter()
            .zip(&self.headers)
            .map(|(parts, header)| {
                let used = match header {
                    Header::Digests(Some(_), Some(_)) => 3,
                    Header::Digests(None, None) | Header::Lost => 0,
                    Header::Digests(..) => 2,
                };
                parts.get(..used).unwrap_or(&[]).as_flattened()
            })
            .collect();
        self.leaves.clear();
        sha256_many(&messages, &mut self.leaves);
        for ((leaf, digest), header) in self.leaves.iter_mut().zip(&self.digests).zip(&self.headers) {
            match header {
                Header::Digests(None, None) => *leaf = *digest,
                Header::Lost => *leaf = LOST_LEAF,
                Header::Digests(..) => {}
            }
        }
    }
}
