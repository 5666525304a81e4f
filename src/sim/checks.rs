//! What must hold of the files that a disaster has left.

use super::of_error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::promises::Promises;
use super::recovery::Place;
use super::tally::Tally;
use crate::crypto::digest::{Digest, sha256};
use crate::format::chunk::{Layout, Step, Walker};
use crate::format::directory::LedgerFiles;
use crate::format::names::{FileName, SnapshotName};
use crate::format::{Seqno, TxId};
use crate::recovery::segments::Windows;
use crate::recovery::verify::{Options, verify};
use crate::report::progress::Silent;
use crate::report::{Code, Finding, Severity, Verdict};

/// What the reading engine says of them; that every promise is kept, and no name says what is not so.
pub(super) fn check(place: &Place, promises: &Promises, tally: &mut Tally) -> Result<(), String> {
    let found = read(place, promises.last(), tally)?.1;
    for (seqno, digest) in &promises.kept {
        match found.get(seqno) {
            Some(there) if there == digest => {}
            Some(_) => return Err(format!("{seqno} was promised with other bytes")),
            None => return Err(format!("{seqno} was promised, and is not there")),
        }
    }
    Ok(())
}

/// What the reading engine says of a ledger of which everything up to `promised` is whole and proven, and that no name says
/// what is not so. Answers the last signature that is proven, and digests of all entries.
pub(super) fn read(
    place: &Place,
    promised: Seqno,
    tally: &mut Tally,
) -> Result<(Option<TxId>, BTreeMap<Seqno, Digest>), String> {
    let files = LedgerFiles::list(std::slice::from_ref(&place.ledger), true).map_err(of_error)?;
    let options = Options {
        snapshot_directories: vec![place.snapshots.clone()],
        ..Options::default()
    };
    let report = verify(&files, &options, &Silent).map_err(of_error)?;
    for finding in &report.findings {
        if !is_explained(finding, promised) {
            let file = finding.file.as_deref().unwrap_or("");
            let seqno = finding.seqno.unwrap_or(0);
            let (code, message) = (finding.code.as_str(), &finding.message);
            let others = report.findings.iter().map(|other| format!("{other:?}"));
            let others = others.collect::<Vec<_>>().join("; ");
            return Err(format!("{code} at {seqno} in {file}: {message} ({others})"));
        }
        tally.finding(finding);
    }
    let proven = report.last_signed.map_or(0, |txid| txid.seqno);
    if proven < promised {
        return Err(format!(
            "{promised} was promised, and everything is proven up to {proven}"
        ));
    }
    for snapshot in &report.snapshots {
        let name = Path::new(&snapshot.file).file_name().and_then(|name| name.to_str());
        let is_committed = name.and_then(SnapshotName::parse).is_some_and(|name| name.committed);
        if is_committed {
            tally.snapshots += 1;
            if snapshot.verdict == Verdict::Findings {
                return Err(format!("{} does not verify", snapshot.file));
            }
        }
    }
    let found = entries(&files)?;
    names(&place.ledger)?;
    Ok((report.last_signed, found))
}

/// Whether a crash explains a finding. Nothing is wrong with what was promised; what was not may be torn, and so may a
/// snapshot that was not proven.
fn is_explained(finding: &Finding, promised: Seqno) -> bool {
    if finding.severity != Severity::Error {
        return true;
    }
    let file = finding.file.as_deref().unwrap_or("");
    let of_snapshot = file.contains("snapshot_") && !file.contains(".committed");
    // Who has just begun, and has promised nothing, may not have its first signature yet.
    let nothing_yet = finding.code == Code::NothingSigned && promised == 0;
    of_snapshot || nothing_yet || finding.seqno.is_some_and(|seqno| seqno > promised)
}

/// Digests of all entries that can be read.
fn entries(files: &LedgerFiles) -> Result<BTreeMap<Seqno, Digest>, String> {
    let mut found = BTreeMap::new();
    let mut windows = Windows::new(files, files.first_seqno(), Seqno::MAX);
    while let Some(window) = windows.next_window().map_err(of_error)? {
        for segment in &window {
            segment.for_each(|located| {
                found.insert(located.seqno, sha256(located.entry.raw));
            });
        }
    }
    Ok(found)
}

/// A committed name promises every entry from the first to the last.
fn names(ledger: &Path) -> Result<(), String> {
    let listing = std::fs::read_dir(ledger).map_err(of_error)?;
    let paths: Vec<PathBuf> = listing.flatten().map(|item| item.path()).collect();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
        let FileName::Chunk(chunk) = FileName::parse(&name) else {
            continue;
        };
        let Some(last) = chunk.last else { continue };
        let bytes = std::fs::read(&path).map_err(of_error)?;
        let layout = Layout::read(&bytes).map_err(|why| format!("{name}: {why}"))?;
        if layout.table_len.is_none() {
            return Err(format!("{name} is named as complete, and has no table"));
        }
        let (mut walker, mut faults) = (Walker::new(&bytes, layout, chunk.first), Vec::new());
        let mut count = 0;
        while let Step::Entry(_) = walker.step(&mut faults) {
            count += 1;
        }
        if count != last + 1 - chunk.first || !faults.is_empty() {
            return Err(format!("{name} holds {count} entries, {faults:?}"));
        }
    }
    Ok(())
}
