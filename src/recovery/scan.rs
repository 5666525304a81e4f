//! The parallel pass: every leaf digested, subtrees reduced, signature and trust transactions picked out.
//!
//! A segment is scanned without knowing anything about what stands before it. What comes out is small: a few subtree
//! roots per signature interval, the signatures, and the writes to the tables that say who may sign. Nothing in a
//! [`SegmentScan`] borrows from the map.

use crate::crypto::digest::{Digest, sha256_many};
use crate::format::chunk::{Fault, Located, Step};
use crate::format::domain::Write;
use crate::format::{Malformed, Seqno, View};
use crate::merkle::accumulator::{Node, Subtrees};
use crate::merkle::tree::TreeView;
use crate::recovery::fingerprint::Fingerprint;
use crate::recovery::segments::Segment;
use crate::tables::{names, values};

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

/// A signature transaction, taken apart but not checked.
#[derive(Clone, Debug)]
pub struct SignatureTx {
    /// Its seqno: it signs the root of all leaves below.
    pub seqno: Seqno,
    /// Its view, by the nonce.
    pub view: View,
    /// Offset of its entry.
    pub offset: u64,
    /// Which chunk of the ledger.
    pub chunk_index: usize,
    /// The node's signature, where there is one.
    pub node: Option<Result<values::Signature, Malformed>>,
    /// The COSE signature, where there is one.
    pub cose: Option<Result<Vec<u8>, Malformed>>,
    /// What is wrong with the serialised tree, or that there is none.
    pub tree_fault: Option<String>,
    /// Root of the serialised tree: computed only where no root is recorded, as in COSE-only transactions.
    pub tree_root: Option<Digest>,
    /// A table that a signature transaction may not write.
    pub foreign_table: Option<String>,
}

impl SignatureTx {
    /// The root that the transaction itself records.
    pub fn recorded_root(&self) -> Option<Digest> {
        match &self.node {
            Some(Ok(signature)) => Some(signature.root.0),
            _ => self.tree_root,
        }
    }
}

/// Leaves up to a signature transaction (which is not among them), as subtrees.
pub struct Run {
    /// Perfect subtrees in leaf order.
    pub nodes: Vec<Node>,
    /// The signature over everything before it; none where the segment ends.
    pub signature: Option<Box<SignatureTx>>,
    /// Seqno behind the run's last leaf.
    pub until: Seqno,
    /// View of the run's last entry that could be read.
    pub last_view: View,
    /// Of the run's entries.
    pub fingerprint: Fingerprint,
}

/// What the scan of one segment found.
pub struct SegmentScan {
    /// The segment.
    pub segment: Segment,
    /// Seqno behind the last entry.
    pub until: Seqno,
    /// Offset behind it.
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
    /// Entries whose view is lower than that of the one before: (seqno, offset, view, view before).
    pub view_drops: Vec<(Seqno, u64, View, View)>,
    /// View of the first entry that could be read.
    pub first_view: Option<View>,
    /// Seqnos of entries that write to public tables beside those of signatures. Empty where nothing is recovered.
    pub public_writers: Vec<Seqno>,
    recovering: bool,
}

/// Entries digested together: enough to fill the vector lanes and a whole block of the tree, few enough that their
/// digests stay in the first-level cache.
pub(super) const BATCH: usize = 1024;

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
        view_drops: Vec::new(),
        first_view: None,
        public_writers: Vec::new(),
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
                if view < batch.last_view {
                    scan.view_drops
                        .push((located.seqno, located.offset, view, batch.last_view));
                }
                batch.last_view = view;
                scan.entries += 1;
                batch.push(&located);
                let before = batch.fingerprint;
                batch.take_fingerprint(located.entry.raw);
                if let Some(signature) = pick_out(located, segment.chunk_index, &mut scan) {
                    batch.end_run(before, view, signature);
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
    /// Whether anybody asks for it.
    recovering: bool,
    subtrees: Subtrees,
    last_view: View,
    watch: std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, Seqno>>>,
    digests: Vec<Digest>,
    leaves: Vec<Digest>,
}

/// A signature transaction in a batch, which ends a run.
struct RunEnd {
    index: usize,
    view: View,
    fingerprint: Fingerprint,
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
            recovering,
            subtrees: Subtrees::starting_at(first),
            last_view: 0,
            watch: watch.get(first_watched..).unwrap_or(&[]).iter().copied().peekable(),
            digests: Vec::with_capacity(BATCH),
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
        if let Some(raw) = self.messages.last() {
            self.take_fingerprint(raw);
        }
        self.signatures.push(RunEnd {
            index: self.messages.len() - 1,
            view,
            fingerprint: before,
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
                signature: Some(end.signature),
            });
        }
        self.subtrees.append_all(self.leaves.get(from..).unwrap_or(&[]));
        self.messages.clear();
        self.headers.clear();
    }

    fn make_leaves(&mut self) {
        let mut parts: Vec<[Digest; 3]> = Vec::with_capacity(self.headers.len());
        for (digest, header) in self.digests.iter().zip(&self.headers) {
            parts.push(match header {
                Header::Digests(Some(evidence), Some(claims)) => [*digest, **evidence, **claims],
                Header::Digests(Some(one), None) | Header::Digests(None, Some(one)) => [*digest, **one, [0; 32]],
                Header::Digests(None, None) | Header::Lost => [*digest, [0; 32], [0; 32]],
            });
        }
        let messages: Vec<&[u8]> = parts
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

/// The public values of a signature transaction, while its maps are walked.
#[derive(Default)]
struct SignatureValues<'a> {
    node: Option<&'a [u8]>,
    cose: Option<&'a [u8]>,
    tree: Option<&'a [u8]>,
    others: Option<&'a str>,
}

/// Walks an entry's public writes: keeps those to trust tables, and takes a signature transaction apart.
#[inline]
fn pick_out(located: Located<'_>, chunk_index: usize, scan: &mut SegmentScan) -> Option<SignatureTx> {
    let Located {
        offset,
        seqno,
        entry,
        public,
        mut maps,
    } = located;
    let mut signature = SignatureValues::default();
    let outcome = loop {
        let name = match maps.next_name() {
            Ok(Some(name)) => name,
            Ok(None) => break Ok(()),
            Err(why) => break Err(why),
        };
        if !name.starts_with(names::CCF_PREFIX) {
            signature.others = Some(name);
            match maps.writes(|_| ()) {
                Ok(()) => continue,
                Err(why) => break Err(why),
            }
        }
        let mut singleton = None;
        let trust = TrustTable::of(name);
        let walked = maps.writes(|write: Write<'_>| {
            if let Some(table) = trust {
                scan.writes.push(TrustWrite {
                    seqno,
                    view: entry.iv().view,
                    offset,
                    chunk_index,
                    table,
                    key: write.key.to_vec(),
                    value: write.value.map(<[u8]>::to_vec),
                    claims_digest: public.claims_digest.copied(),
                });
            }
            if write.key == crate::tables::SINGLETON_KEY {
                singleton = write.value;
            }
        });
        if let Err(why) = walked {
            break Err(why);
        }
        match name {
            names::SIGNATURES => signature.node = singleton.or(Some(&[])),
            names::COSE_SIGNATURES => signature.cose = singleton.or(Some(&[])),
            names::TREE => signature.tree = singleton.or(Some(&[])),
            other => signature.others = Some(other),
        }
    };
    if let Err(why) = outcome {
        let public_at = offset + (entry.raw.len() - entry.private.len() - entry.public.len()) as u64;
        scan.faults.push(Fault::Writes {
            seqno,
            offset: public_at + why.offset as u64,
            why,
        });
    }
    if signature.others.is_some() && scan.recovering {
        scan.public_writers.push(seqno);
    }
    // Nothing but a signature transaction writes a tree: one without a signature is a damaged one.
    if signature.node.is_none() && signature.cose.is_none() && signature.tree.is_none() {
        return None;
    }
    Some(take_apart(signature, offset, seqno, entry.iv().view, chunk_index))
}

#[cold]
fn take_apart(found: SignatureValues<'_>, offset: u64, seqno: Seqno, view: View, chunk_index: usize) -> SignatureTx {
    let tree = found.tree.map(TreeView::parse);
    let tree_fault = match &tree {
        _ if found.node.is_none() && found.cose.is_none() => Some("it writes a tree, but no signature".to_owned()),
        None => Some("it writes no tree".to_owned()),
        Some(Err(why)) => Some(format!("its tree can't be read: {why}")),
        Some(Ok(tree)) if tree.len() != seqno => Some(format!("its tree has {} leaves, expected {seqno}", tree.len())),
        Some(Ok(_)) => None,
    };
    let node = found.node.map(values::from_json::<values::Signature>);
    let recorded = matches!(node, Some(Ok(_)));
    SignatureTx {
        seqno,
        view,
        offset,
        chunk_index,
        cose: found
            .cose
            .map(|value| values::from_json::<values::Base64>(value).map(|b| b.0)),
        tree_root: match (&tree, recorded) {
            (Some(Ok(tree)), false) if tree_fault.is_none() => tree.root(),
            _ => None,
        },
        node,
        tree_fault,
        foreign_table: found.others.map(str::to_owned),
    }
}
