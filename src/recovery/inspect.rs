//! What is in a ledger's directories: the chunks, the snapshots, and what was found beside them.
//!
//! Only the ends of each chunk are read, so that listing hundreds of gigabytes takes as long as opening their files.
//! [`entries`] decodes single entries and tables' histories.

pub mod entries;

use std::path::PathBuf;

use serde::Serialize;

use super::faults;
use super::segments::OpenChunk;
use super::snapshots::{self, SnapshotFile};
use super::writes::is_signature;
use crate::error::{Error, Result};
use crate::format::chunk::{FIRST_ENTRY, Located, Step, Walker};
use crate::format::directory::{ChunkFile, LedgerFiles};
use crate::format::entry::{FLAG_CHUNK_AFTER, FLAG_CHUNK_BEFORE};
use crate::format::map::MappedFile;
use crate::format::snapshot::Snapshot;
use crate::format::{Seqno, View};
use crate::report::{Finding, Verdict};

/// A ledger's files.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// First seqno.
    pub first_seqno: Seqno,
    /// Last seqno.
    pub last_seqno: Seqno,
    /// Entries in the chunks that are read.
    pub entries: u64,
    /// Bytes in them.
    pub size_bytes: u64,
    /// Chunks that are read, in order.
    pub chunks: Vec<ChunkRow>,
    /// Chunks that hold what is read from another file.
    pub spares: Vec<SpareRow>,
    /// Snapshots, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Vec<SnapshotRow>>,
    /// What else was seen in the directories.
    pub findings: Vec<Finding>,
}

/// One chunk.
#[derive(Clone, Debug, Serialize)]
pub struct ChunkRow {
    /// Where it is.
    #[serde(serialize_with = "crate::shown::serialize_path")]
    pub file: PathBuf,
    /// First seqno in it.
    pub first: Seqno,
    /// Last seqno in it.
    pub last: Seqno,
    /// First seqno that is read from it; those before are read from another file.
    pub read_from: Seqno,
    /// Entries in it.
    pub entries: u64,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Whether it has its positions table.
    pub complete: bool,
    /// Whether its name says it is committed.
    pub committed: bool,
    /// Whether it was written by a recovery that did not open.
    pub recovery: bool,
    /// View of the first and the last entry.
    pub views: Option<(View, View)>,
    /// Flag on the first entry: a recovered service starts here.
    pub starts_service: bool,
    /// Flag on the last entry: the primary ended the chunk here.
    pub ends_chunk: bool,
    /// Whether the last entry is a signature.
    pub ends_with_signature: bool,
    /// What is wrong with it at first sight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A chunk that is not read.
#[derive(Clone, Debug, Serialize)]
pub struct SpareRow {
    /// Where it is.
    #[serde(serialize_with = "crate::shown::serialize_path")]
    pub file: PathBuf,
    /// First seqno in it.
    pub first: Seqno,
    /// Last seqno in it.
    pub last: Seqno,
    /// Bytes of the file.
    pub size_bytes: u64,
}

/// A snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotRow {
    /// Where it is.
    #[serde(serialize_with = "crate::shown::serialize_path")]
    pub file: PathBuf,
    /// Seqno of the state it holds.
    pub seqno: Seqno,
    /// Seqno of the transaction with its evidence.
    pub evidence_seqno: Seqno,
    /// Whether its name says it is committed.
    pub committed: bool,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// "json", "cose" or "none".
    pub receipt: &'static str,
    /// Bytes of encrypted private state.
    pub private_bytes: u64,
    /// Number of views up to it.
    pub views: u64,
    /// What is wrong with it at first sight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Listing {
    /// Whether something is wrong at first sight. Only `verify` says that nothing is.
    pub fn is_wrong(&self) -> bool {
        let snapshots = self.snapshots.as_deref().unwrap_or_default();
        Verdict::of(&self.findings) == Verdict::Findings
            || self.chunks.iter().any(|chunk| chunk.fault.is_some())
            || snapshots.iter().any(|snapshot| snapshot.fault.is_some())
    }
}

/// Lists a ledger's files and, if a directory is given, its snapshots.
///
/// # Errors
/// If a file can't be opened.
pub fn list(files: &LedgerFiles, directories: &[PathBuf]) -> Result<Listing> {
    let chunk = |planned: &crate::format::directory::PlannedChunk| chunk_row(&planned.file, planned.use_from);
    let chunks = files.chunks.iter().map(chunk).collect::<Result<Vec<_>>>()?;
    let spares = files.spares.iter().map(|file| SpareRow {
        file: file.path.clone(),
        first: file.first,
        last: file.last,
        size_bytes: file.size,
    });
    Ok(Listing {
        first_seqno: files.first_seqno(),
        last_seqno: files.last_seqno(),
        entries: chunks
            .iter()
            .map(|chunk| (chunk.last + 1).saturating_sub(chunk.read_from))
            .sum(),
        size_bytes: files.size_bytes(),
        chunks,
        spares: spares.collect(),
        snapshots: match directories.is_empty() {
            true => None,
            false => Some(
                snapshots::list(directories)?
                    .iter()
                    .map(snapshot_row)
                    .collect::<Result<_>>()?,
            ),
        },
        findings: files.notes.iter().map(faults::of_note).collect(),
    })
}

fn chunk_row(file: &ChunkFile, read_from: Seqno) -> Result<ChunkRow> {
    let chunk = OpenChunk::open(file)?;
    let ends = Ends::read(&chunk);
    let mut fault = chunk.layout_fault.as_ref().map(|(_, why)| why.clone());
    let mut note_fault = |why: Option<String>| fault = fault.take().or(why);
    note_fault(ends.fault.clone());
    if file.first != file.name.first {
        note_fault(Some(format!("its first entry has seqno {}", file.first)));
    }
    let view = |located: &Option<Located<'_>>| located.as_ref().map(|located| located.entry.iv().view);
    let has_flag = |located: &Option<Located<'_>>, flag: u8| {
        located.as_ref().is_some_and(|located| located.entry.flags & flag != 0)
    };
    Ok(ChunkRow {
        file: file.path.clone(),
        first: file.first,
        last: file.last,
        read_from,
        entries: ends.entries,
        size_bytes: file.size,
        complete: chunk.layout.table_len.is_some(),
        committed: file.name.kind.is_committed(),
        recovery: file.name.kind.is_recovery(),
        views: view(&ends.first).zip(view(&ends.last)),
        starts_service: has_flag(&ends.first, FLAG_CHUNK_BEFORE),
        ends_chunk: has_flag(&ends.last, FLAG_CHUNK_AFTER),
        ends_with_signature: ends.last.as_ref().is_some_and(is_signature),
        fault,
    })
}

/// The two ends of a chunk.
struct Ends<'a> {
    first: Option<Located<'a>>,
    last: Option<Located<'a>>,
    entries: u64,
    fault: Option<String>,
}

impl<'a> Ends<'a> {
    /// By the positions table where there is one; an open chunk is walked.
    fn read(chunk: &'a OpenChunk) -> Ends<'a> {
        let bytes = chunk.map.bytes();
        let entry_at = |offset: u64, seqno: Seqno| {
            let mut faults = Vec::new();
            let mut walker =
                Walker::starting_at(bytes, chunk.layout, chunk.file.first, offset, seqno).sharing(chunk.map.search());
            match walker.step(&mut faults) {
                Step::Entry(located) if faults.is_empty() => Ok(located),
                _ => Err(format!("the entry of seqno {seqno} can't be read at byte {offset}")),
            }
        };
        match chunk.layout.table_len {
            Some(len) if len > 0 => {
                let first = entry_at(FIRST_ENTRY, chunk.file.first);
                let offset = chunk.layout.position(bytes, len - 1).unwrap_or(0);
                let last = entry_at(offset, chunk.file.first.saturating_add(len - 1));
                let fault = first.as_ref().err().or(last.as_ref().err()).cloned();
                Ends {
                    first: first.ok(),
                    last: last.ok(),
                    entries: len,
                    fault,
                }
            }
            _ => Self::walk(chunk),
        }
    }

    fn walk(chunk: &'a OpenChunk) -> Ends<'a> {
        let mut ends = Ends {
            first: None,
            last: None,
            entries: 0,
            fault: None,
        };
        let mut faults = Vec::new();
        let mut walker = chunk.walker();
        loop {
            match walker.step(&mut faults) {
                Step::Entry(located) => {
                    ends.entries += 1;
                    if ends.first.is_none() {
                        ends.first = Some(located.clone());
                    }
                    ends.last = Some(located);
                }
                Step::Lost(_) => {}
                Step::End => break,
            }
        }
        if !faults.is_empty() {
            let after = chunk.map.bytes().len() as u64 - walker.offset().min(chunk.map.bytes().len() as u64);
            ends.fault = Some(match after {
                0 => "entries in it can't be read".to_owned(),
                n => format!("{n} bytes after the last whole entry are none"),
            });
        }
        ends
    }
}

fn snapshot_row(SnapshotFile { path, name }: &SnapshotFile) -> Result<SnapshotRow> {
    let map = MappedFile::open(path).map_err(Error::io("open", path))?;
    let mut row = SnapshotRow {
        file: path.clone(),
        seqno: name.seqno,
        evidence_seqno: name.evidence_seqno,
        committed: name.committed,
        size_bytes: map.bytes().len() as u64,
        receipt: "none",
        private_bytes: 0,
        views: 0,
        fault: None,
    };
    match Snapshot::parse(map.bytes()) {
        Ok(snapshot) => {
            row.receipt = match snapshot.receipt.first() {
                None => "none",
                Some(0xd2) => "cose",
                Some(_) => "json",
            };
            row.private_bytes = snapshot.entry.private.len() as u64;
            row.views = snapshot.view_history().count() as u64;
            if snapshot.seqno != name.seqno {
                row.fault = Some(format!("it holds the state at seqno {}", snapshot.seqno));
            }
        }
        Err(why) => row.fault = Some(format!("can't be read: {why}")),
    }
    Ok(row)
}
