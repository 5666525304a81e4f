//! What is left on the disks of a cluster: read by the engine and by the official reader, and compared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::format::directory::LedgerFiles;
use rekindle::format::names::FileName;
use rekindle::recovery::compare::{Copy, Relation, compare};
use rekindle::recovery::snapshots::{self, SnapshotFile, start_from};
use rekindle::recovery::verify::{Options, VerifyReport, verify};
use rekindle::report::progress::Silent;
use rekindle::report::{Code, Severity};

use serde_json::Value;

use super::promises::Promises;
use crate::node::program;

/// What was found in the ledgers of one cluster.
#[derive(Debug, Default)]
pub struct Found {
    pub ledgers: usize,
    pub read_officially: usize,
    /// Ledgers of killed nodes whose last bytes are half of something: they were cut for the official reader, as a restart would.
    pub cut: usize,
    /// Ledgers of nodes that began with a snapshot, which the official reader cannot read.
    pub begun_with_snapshot: usize,
    pub pairs: std::collections::BTreeMap<String, usize>,
}

fn has_ledger(directory: &Path) -> bool {
    let names = std::fs::read_dir(directory.join("ledger"))
        .into_iter()
        .flatten()
        .flatten();
    let mut names = names.map(|file| FileName::parse(&file.file_name().to_string_lossy()));
    // A chunk without an entry is none yet.
    names.any(|name| matches!(name, FileName::Chunk(_)))
}

/// Verifies and compares everything in these directories; those of `stopped` were not killed. Where `whole` is given, that
/// node's ledger holds all that was promised; otherwise one of them does.
pub fn check(
    directories: &[PathBuf],
    stopped: &[PathBuf],
    whole: Option<&Path>,
    promises: &Promises,
    python: Option<&Path>,
) -> Result<Found, String> {
    let mut found = Found::default();
    let directories: Vec<&PathBuf> = directories.iter().filter(|it| has_ledger(it)).collect();
    let (mut copies, mut readable) = (Vec::new(), Vec::new());
    for directory in &directories {
        let ledger = directory.join("ledger");
        let words = |why: rekindle::Error| format!("{}: {why}", ledger.display());
        let files = LedgerFiles::list(std::slice::from_ref(&ledger), true).map_err(words)?;
        let directories: Vec<PathBuf> = [directory.join("snapshots")]
            .into_iter()
            .filter(|it| it.is_dir())
            .collect();
        // A ledger without a beginning is proven from the snapshot that its node began with.
        let first = files.first_seqno();
        let stands_in = |file: &SnapshotFile| file.name.committed && file.name.seqno + 1 >= first;
        let from_snapshot = match first {
            1 => None,
            _ => snapshots::list(&directories)
                .map_err(words)?
                .into_iter()
                .find(stands_in),
        };
        let options = Options {
            keep_history: true,
            from_snapshot: from_snapshot
                .map(|file| start_from(&file.path))
                .transpose()
                .map_err(words)?,
            snapshot_directories: directories,
            ..Options::default()
        };
        let report = verify(&files, &options, &Silent).map_err(words)?;
        let errors: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .collect();
        if !errors.is_empty() {
            return Err(format!("{} does not verify: {errors:#?}", ledger.display()));
        }
        let torn = report.findings.iter().filter(|finding| finding.code == Code::TornTail);
        let torn: Vec<(PathBuf, u64)> = torn
            .filter_map(|finding| Some((finding.file.as_ref()?.into(), finding.offset?)))
            .collect();
        if !torn.is_empty() && stopped.contains(directory) {
            return Err(format!("{} was not killed, and is torn: {torn:?}", ledger.display()));
        }
        found.cut += usize::from(!torn.is_empty());
        match (first, torn.is_empty()) {
            (1, true) => readable.push(ledger.clone()),
            (1, false) => readable.push(cut(&ledger, &torn)),
            // The official reader has no way to begin with a snapshot.
            _ => found.begun_with_snapshot += 1,
        }
        copies.push(Copy {
            directory: (*directory).clone(),
            files,
            report,
            expected: None,
        });
    }
    found.ledgers = copies.len();
    let lost = |report: &VerifyReport| what_is_lost(report, promises);
    match whole {
        Some(whole) => {
            let copy = copies
                .iter()
                .find(|copy| copy.directory == whole)
                .ok_or("the last leader has no ledger")?;
            if let Some(lost) = lost(&copy.report) {
                return Err(format!("{}: {lost}", whole.display()));
            }
            find_acts(&whole.join("ledger"), copy.files.first_seqno(), promises)?;
        }
        None => {
            let losses: Vec<String> = copies.iter().map_while(|copy| lost(&copy.report)).collect();
            if losses.len() == copies.len() {
                return Err(format!("no ledger holds everything that was promised: {losses:#?}"));
            }
        }
    }
    let report = compare(copies).map_err(|why| why.to_string())?;
    for pair in &report.pairs {
        if matches!(pair.relation, Relation::Fork | Relation::OtherService) {
            return Err(format!("{pair:#?}"));
        }
        *found.pairs.entry(format!("{:?}", pair.relation)).or_default() += 1;
    }
    if let Some(python) = python {
        found.read_officially = read_officially(python, &readable)?;
    }
    Ok(found)
}

/// A copy of a ledger without what follows the last whole entry of these files. The official reader has no word for a chunk whose
/// table of positions was being written, or an entry that was.
fn cut(ledger: &Path, torn: &[(PathBuf, u64)]) -> PathBuf {
    let copy = ledger.with_file_name("ledger-cut");
    super::copy(ledger, &copy);
    for (file, length) in torn {
        let file = std::fs::File::options()
            .write(true)
            .open(copy.join(file.file_name().unwrap()))
            .unwrap();
        file.set_len(*length).unwrap();
    }
    copy
}

/// What of the promises a ledger has not, in words.
fn what_is_lost(report: &VerifyReport, promises: &Promises) -> Option<String> {
    let signed: Vec<(u64, u64)> = report
        .history
        .iter()
        .map(|signed| (signed.txid.seqno, signed.txid.view))
        .collect();
    let first = signed.first().map_or(0, |(first, _)| *first);
    for (seqno, (view, by)) in promises.committed.range(first..) {
        // An entry is of the view of the signature that covers it: who wins an election drops what is not signed.
        let at = signed.partition_point(|(signature, _)| signature < seqno);
        match signed.get(at) {
            Some((_, found)) if found == view => {}
            other => {
                return Some(format!(
                    "{view}.{seqno} was called committed (by node {by}), and is covered by {other:?}, of {:?}",
                    signed.last()
                ));
            }
        }
    }
    None
}

/// Every proposal that members were told is accepted and committed was accepted in the transaction that they were told.
fn find_acts(ledger: &Path, first: u64, promises: &Promises) -> Result<(), String> {
    let output = Command::new(program())
        .args([
            "export",
            "--history",
            "--table",
            "public:ccf.gov.proposals_info",
            "-o",
            "-",
        ])
        .arg(ledger)
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let accepted: BTreeSet<(u64, String)> = lines
        .lines()
        .filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let info: Value = serde_json::from_str(line["value"].as_str()?).ok()?;
            (info["state"] == "Accepted").then_some((line["seqno"].as_u64()?, line["key"].as_str()?.to_owned()))
        })
        .collect();
    for act in promises.acts.iter().filter(|act| act.transaction.1 >= first) {
        if !accepted.contains(&(act.transaction.1, act.proposal.clone())) {
            return Err(format!(
                "{}: the proposal {} was accepted in {:?}, which was committed, and is not there",
                ledger.display(),
                act.proposal,
                act.transaction
            ));
        }
    }
    Ok(())
}

/// The official reader finds nothing wrong; answers how many ledgers it has read.
fn read_officially(python: &Path, ledgers: &[PathBuf]) -> Result<usize, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official_reader.py");
    let run = |ledgers: Vec<PathBuf>| {
        let output = Command::new(python)
            .arg(&script)
            .arg("--recovery-files")
            .args(&ledgers)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(ledgers.len()),
            false => Err(format!("{ledgers:?}: {}", String::from_utf8_lossy(&output.stderr))),
        }
    };
    run(ledgers.to_vec()).map_err(|_| {
        let each = ledgers.iter().filter_map(|ledger| run(vec![ledger.clone()]).err());
        format!("the official reader objects: {}", each.collect::<Vec<_>>().join("\n"))
    })
}
