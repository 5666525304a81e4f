//! Whether what came out of a rehearsal is whole.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::clock::Clock;
use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::recovery::compare::{PairReport, Relation, compare, examine};
use crate::recovery::snapshots::{self, SnapshotFile, start_from};
use crate::recovery::verify::{Options, verify};
use crate::report::progress::Silent;

/// Verifies the ledger that came out.
pub(super) fn check(directory: &Path, opened: bool, clock: &mut Clock<'_>) -> Result<bool> {
    let began = Instant::now();
    let files = LedgerFiles::list(&[directory.join("ledger")], !opened)?;
    let directories = vec![directory.join("snapshots")];
    // A ledger whose beginning is gone is proven from the snapshot that stands in for it.
    let first = files.first_seqno();
    let stands_in = |file: &SnapshotFile| file.name.committed && file.name.seqno + 1 >= first;
    let from_snapshot = match first {
        1 => None,
        _ => snapshots::list(&directories)?.into_iter().find(stands_in),
    };
    let options = Options {
        from_snapshot: from_snapshot.map(|file| start_from(&file.path)).transpose()?,
        snapshot_directories: directories,
        ..Options::default()
    };
    let report = verify(&files, &options, &Silent)?;
    let verified = report.verdict.exit_code() == 0;
    let words = match verified {
        true => "the resulting ledger verifies",
        false => "the resulting ledger DOES NOT VERIFY",
    };
    let last = report.last_signed.map_or("nothing".to_owned(), |txid| txid.to_string());
    clock.step(
        format!("{words}: {} entries, signed up to {last}", report.entries),
        Some(began.elapsed().as_secs_f64()),
    );
    Ok(verified)
}

/// Whether the ledgers in these directories are one, as far as each goes: what a leader that was killed has signed and nobody else
/// has is superseded, and no contradiction.
pub(super) fn agree(directories: &[PathBuf], clock: &mut Clock<'_>) -> Result<bool> {
    let copies = directories
        .iter()
        .map(|directory| examine(directory.join("ledger"), None, &Silent));
    let report = compare(copies.collect::<Result<Vec<_>>>()?)?;
    // One that began with a snapshot has no beginning, which is not said to be wrong here.
    let contradicts = |pair: &PairReport| matches!(pair.relation, Relation::Fork | Relation::OtherService);
    let agree = !report.pairs.iter().any(contradicts);
    let words = match agree {
        true => "the ledgers of all nodes are one",
        false => "the ledgers of the nodes CONTRADICT each other",
    };
    clock.step(format!("{words}: {} compared", directories.len()), None);
    Ok(agree)
}
