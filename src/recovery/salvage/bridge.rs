//! Snapshots: those that belong beside the result, and the one that leads over what is missing.
//!
//! A snapshot counts if its receipt verifies by a service that its own state names, and that service is one of the result's, or
//! what it leads to ends with the service that was asked for. Whoever recovers from it loses the history before it; so what
//! it bridges is offered beside the longest part from the start, never in its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::growth::grow;
use super::history::{Grown, State};
use super::pool::Pool;
use super::report::{Bridged, Range, SnapshotUsed};
use super::write::write_ledger;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::names::SnapshotName;
use crate::format::whole_file::{PUBLIC, write_whole};
use crate::recovery::snapshots::{Start, start_from};
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Findings};
use crate::shown::Show;

/// Snapshots that a bridge is tried from; the first few after what is missing lead where the others do.
const MAX_TRIES: usize = 16;

/// A snapshot whose receipt verifies.
pub struct Proven {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub start: Start,
}

impl Proven {
    fn name(&self) -> String {
        SnapshotName {
            seqno: self.start.seqno,
            evidence_seqno: self.start.evidence.seqno,
            committed: true,
        }
        .to_string()
    }
}

/// All snapshots in the copies whose receipts verify, by seqno, each once.
///
/// # Errors
/// If a file can't be read.
pub fn find(pool: &Pool, findings: &mut Findings) -> Result<Vec<Proven>> {
    let mut found: BTreeMap<(Seqno, [u8; 32]), Proven> = BTreeMap::new();
    for (source, survey) in pool.sources.iter().zip(&pool.surveys) {
        if !survey.is_snapshot || source.same_as.is_some() {
            continue;
        }
        match start_from(&source.path) {
            Ok(start) => {
                let path = source.path.clone();
                found
                    .entry((start.seqno, start.digest))
                    .or_insert(Proven { path, start });
            }
            Err(why @ Error::Io { .. }) => return Err(why),
            Err(why) => findings.push(Finding::new(Code::SalvageSnapshot, why.to_string()).file(&source.path)),
        }
    }
    Ok(found.into_values().collect())
}

/// Those of the result's own history, up to its last signature.
///
/// # Errors
/// If a file can't be read.
pub fn beside<'s>(
    pool: &Pool,
    grown: &Grown,
    snapshots: &'s [Proven],
    last_signed: Seqno,
    findings: &mut Findings,
) -> Result<Vec<&'s Proven>> {
    let mut kept = Vec::new();
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.start.seqno <= last_signed) {
        let start = &snapshot.start;
        let place = grown.place_of(pool, start.seqno)?;
        let mut leaf = None;
        if let Some((source, offset, _)) = place {
            let chunk = pool.open(source)?;
            leaf = super::pool::Found::at(chunk.map.bytes(), offset).map(|found| found.leaf());
        }
        if leaf == Some(start.leaf) {
            kept.push(snapshot);
        } else {
            let text = "it is of another history than the result: the entry at its seqno is another one";
            findings.push(
                Finding::new(Code::SalvageSnapshot, text)
                    .file(&snapshot.path)
                    .seqno(start.seqno),
            );
        }
    }
    Ok(kept)
}

/// Copies a snapshot, under the name that it should have.
///
/// # Errors
/// If it can't be read or written.
pub fn copy(snapshot: &Proven, directory: &Path) -> Result<SnapshotUsed> {
    let name = snapshot.name();
    let bytes = std::fs::read(&snapshot.path).map_err(Error::io("read", &snapshot.path))?;
    write_whole(&directory.join(&name), &bytes, PUBLIC)?;
    Ok(SnapshotUsed {
        file: snapshot.path.shown().to_string(),
        name,
        seqno: snapshot.start.seqno,
    })
}

/// A ledger that goes on after what is missing.
pub struct Bridge {
    snapshot: SnapshotCopy,
    grown: Grown,
}

struct SnapshotCopy {
    path: PathBuf,
    name: String,
    seqno: Seqno,
}

/// What a snapshot bridges, where something is missing: from the one that leads furthest, and of these from the earliest.
///
/// # Errors
/// If a file can't be read.
pub fn over(
    pool: &Pool,
    snapshots: &[Proven],
    grown: &Grown,
    prefer: Option<usize>,
    progress: &dyn Progress,
) -> Result<Option<Bridge>> {
    let last = grown.last().unwrap_or(0);
    let known = grown.state.trust.services();
    let mut best: Option<Bridge> = None;
    let after = snapshots.iter().filter(|snapshot| snapshot.start.seqno > last);
    for snapshot in after.take(MAX_TRIES) {
        let start = &snapshot.start;
        let mine = |id| known.is_empty() || known.iter().any(|service| Some(service.identity) == id);
        if !mine(start.signed.service) {
            continue;
        }
        let state = State {
            next: start.seqno + 1,
            accumulator: start.accumulator.clone(),
            trust: start.trust.clone(),
            signed: None,
        };
        let mut suffix = grow(pool, Grown::from(state), prefer, progress)?;
        if suffix.signed.is_empty() {
            // Nothing after it is proven: the snapshot's state is all there is.
            suffix.pieces.clear();
        }
        let reaches = |suffix: &Grown| suffix.last().unwrap_or(0);
        if best.as_ref().is_none_or(|best| reaches(&suffix) > reaches(&best.grown)) {
            best = Some(Bridge {
                snapshot: SnapshotCopy {
                    path: snapshot.path.clone(),
                    name: snapshot.name(),
                    seqno: start.seqno,
                },
                grown: suffix,
            });
        }
    }
    Ok(best)
}

/// Writes a bridge: ledger and snapshot.
///
/// # Errors
/// If a file can't be read or written.
pub fn write(pool: &Pool, bridge: &Bridge, directory: &Path, progress: &dyn Progress) -> Result<()> {
    let make = |name: &str| {
        let path = directory.join(name);
        std::fs::create_dir(&path).map_err(Error::io("create directory", &path))?;
        Ok::<_, Error>(path)
    };
    write_ledger(pool, &bridge.grown, &make("ledger")?, progress)?;
    let snapshot = &bridge.snapshot;
    let bytes = std::fs::read(&snapshot.path).map_err(Error::io("read", &snapshot.path))?;
    write_whole(&make("snapshots")?.join(&snapshot.name), &bytes, PUBLIC)
}

impl Bridge {
    /// What is said of it; `last` is the last entry from the start on.
    pub fn describe(&self, last: Seqno, directory: &Path) -> Bridged {
        Bridged {
            directory: directory.shown().to_string(),
            snapshot_seqno: self.snapshot.seqno,
            lost: Range {
                from_seqno: last + 1,
                to_seqno: self.snapshot.seqno,
            },
            last_signed: self.grown.signed.last().copied(),
            last_seqno: self.grown.last().unwrap_or(self.snapshot.seqno),
        }
    }
}
