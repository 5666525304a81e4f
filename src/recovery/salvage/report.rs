//! What a salvage says: what came from where, what no copy holds, what was left out, what a snapshot bridges.

use serde::Serialize;

use crate::format::{Seqno, TxId};
use crate::recovery::trust::ServiceRecord;
use crate::report::{Finding, Verdict};
use crate::tables::values::HexDigest;

/// Ranges that a report lists; the rest is counted.
pub const LISTED: usize = 10_000;

/// What was found. Serialised, it is the document that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct SalvageReport {
    /// The short answer.
    pub verdict: Verdict,
    /// The directory that was written; none where nothing was.
    pub output: Option<String>,
    /// Whether nothing is missing: every entry that any copy shows to have been there is in the result.
    pub is_complete: bool,
    /// The last transaction up to which everything is proven by a signature in the result.
    pub last_signed: Option<TxId>,
    /// The root it signs.
    pub root: Option<HexDigest>,
    /// The last entry of the result.
    pub last_seqno: Seqno,
    /// Entries after the last signature whose digests a later signature covers, which is not in the result.
    pub covered_entries: u64,
    /// Entries at the end that no signature covers.
    pub unsigned_entries: u64,
    /// The services of the ledger.
    pub services: Vec<ServiceRecord>,
    /// Chunk files written.
    pub chunks: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What was read.
    pub copies: Vec<CopyRead>,
    /// Where the entries of the result come from, in order. A range in a file that several copies have the same is said to be
    /// from the first.
    pub from: Vec<Part>,
    /// Ranges that are not listed in `from`.
    pub from_not_listed: usize,
    /// What no copy holds, as far as anything is known to have been there.
    pub missing: Vec<Range>,
    /// Histories that were left out.
    pub left_out: Vec<LeftOut>,
    /// Snapshots that were copied beside the ledger.
    pub snapshots: Vec<SnapshotUsed>,
    /// What a snapshot bridges.
    pub bridged: Option<Bridged>,
    /// Everything else.
    pub findings: Vec<Finding>,
    /// Seconds.
    pub elapsed_s: f64,
}

/// One of the directories given.
#[derive(Clone, Debug, Serialize)]
pub struct CopyRead {
    /// It.
    pub directory: String,
    /// Files in it and below.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Entries of the result that it holds in files that were used, or are the same as those.
    pub entries: u64,
}

/// Entries that come from one file.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// First.
    pub from_seqno: Seqno,
    /// Last.
    pub to_seqno: Seqno,
    /// The file.
    pub file: String,
    /// Offset of the first.
    pub offset: u64,
    /// The copies that have this file, the same byte by byte.
    pub copies: Vec<String>,
}

/// Seqnos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// First.
    pub from_seqno: Seqno,
    /// Last.
    pub to_seqno: Seqno,
}

/// A history that was left out.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The first entry in which it differs.
    pub from_seqno: Seqno,
    /// Its last signature.
    pub last_signed: Option<TxId>,
    /// The files that hold it.
    pub files: Vec<String>,
    /// Why, in words.
    pub why: String,
}

/// A snapshot beside the result.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotUsed {
    /// Where it was.
    pub file: String,
    /// Its name in the result.
    pub name: String,
    /// Seqno of its state.
    pub seqno: Seqno,
}

/// A ledger that goes on after what is missing, from a snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct Bridged {
    /// The directory below the result.
    pub directory: String,
    /// Seqno of the snapshot's state.
    pub snapshot_seqno: Seqno,
    /// The entries that are lost: all after the first part, up to the snapshot's.
    pub lost: Range,
    /// The last transaction proven from there on.
    pub last_signed: Option<TxId>,
    /// The last entry.
    pub last_seqno: Seqno,
}
