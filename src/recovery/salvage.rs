//! `salvage`: the longest provable ledger that damaged copies, snapshots and leftovers hold together.
//!
//! In order: *survey* (every file is walked, whatever its name: `survey`, `pool`), *prove* (a history grows from signature to
//! signature: `growth`, and where copies are damaged `mend` takes the candidate whose digest the signed tree has), *rivals*
//! (what differs from it: damage, or another signed history, decided as `compare` does), *bridge* (what follows a hole, from
//! a snapshot), *write* (chunks as they were: `chunks`, `write`).
//!
//! Arithmetic: of n equal copies one is walked and digested and all are compared, at the speed of memory; what differs is digested
//! once more for each file that has it. Kept are a record for each run of sound entries and each signature, the files' maps,
//! and a window of 64 MiB being scanned; never a record for each entry.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::crypto::x509::Certificate;
use crate::error::Result;
use crate::format::Seqno;
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Findings, Severity, Verdict};
use crate::shown::Show;
use crate::tables::values::HexDigest;

mod bridge;
mod chunks;
mod differences;
mod growth;
mod history;
mod joining;
mod mend;
mod options;
mod pool;
mod related;
pub mod report;
mod rivals;
mod sources;
pub mod survey;
mod tail;
mod write;

pub use write::{Left, clear_unfinished};

use history::{End, Grown, State};
use pool::Pool;
use report::{CopyRead, LISTED, Part, Range, SalvageReport};
use rivals::{Settled, Wish};

/// What to salvage, and whereto.
#[derive(Clone)]
pub struct Options {
    /// The copies: each a directory with everything that is left of one node.
    pub copies: Vec<PathBuf>,
    /// The directory to write.
    pub output: PathBuf,
    /// The certificate that the last service of the result must have.
    pub service_certificate: Option<Certificate>,
    /// The copy whose history is taken where two contradict each other.
    pub prefer: Option<usize>,
}

/// Salvages.
///
/// # Errors
/// If a file can't be read or written, or the output is not a new or empty directory outside the copies. Whatever is wrong with
/// the copies is in the report.
pub fn salvage(options: &Options, progress: &dyn Progress) -> Result<SalvageReport> {
    let began = Instant::now();
    write::refuse_place(&options.output, &options.copies)?;
    let mut pool = Pool::of(&options.copies, progress)?;
    let mut findings = Findings::default();
    for (source, survey) in pool.sources.iter().zip(&pool.surveys) {
        if survey.is_cut_short {
            let text = format!(
                "it is broken into more than {} pieces; what follows them was not looked at",
                survey::MAX_RUNS
            );
            findings.push(Finding::new(Code::SalvageBroken, text).file(&source.path));
        }
    }
    progress.begin("prove", longest(&pool));
    let start = Grown::from(State::genesis());
    let grown = growth::grow(&pool, start, options.prefer, progress)?;
    progress.end();
    let wish = Wish {
        prefer: options.prefer,
        service: options
            .service_certificate
            .as_ref()
            .map(|service| HexDigest(service.key_id())),
    };
    let Settled {
        grown,
        left_out,
        mut refused,
        differences,
    } = rivals::settle(&mut pool, grown, wish, &mut findings)?;
    if !refused {
        rivals::report_damage(&pool, &differences, &mut findings);
    }
    let mut report = SalvageReport {
        verdict: Verdict::Ok,
        output: None,
        is_complete: false,
        last_signed: grown.signed.last().copied(),
        root: grown.root().map(HexDigest),
        last_seqno: grown.last().unwrap_or(0),
        covered_entries: 0,
        unsigned_entries: 0,
        services: grown.state.trust.services().to_vec(),
        chunks: 0,
        bytes: 0,
        copies: copies_read(&pool, &grown, &options.copies),
        from: parts(&pool, &grown, &options.copies),
        from_not_listed: grown.pieces.len().saturating_sub(LISTED),
        missing: Vec::new(),
        left_out,
        snapshots: Vec::new(),
        bridged: None,
        findings: Vec::new(),
        elapsed_s: 0.0,
    };
    describe_end(&pool, &grown, &mut report, &mut findings);
    let snapshots = bridge::find(&pool, &mut findings)?;
    let mut bridge = None;
    if !refused {
        let found = bridge::over(&mut pool, &snapshots, &grown, wish, &mut findings, progress)?;
        (bridge, refused) = (found.bridge, found.refused);
    }
    if let Some(bridge) = &mut bridge {
        report.left_out.extend(bridge.take_left_out(&mut findings));
    }
    if !refused {
        let ends_with = bridge.as_ref().map_or(grown.service(), bridge::Bridge::service);
        if wish.service.is_some() && ends_with.is_some() && ends_with != wish.service {
            let text = "what is written does not end with the service whose certificate was given";
            findings.push(Finding::new(Code::ServiceCertificate, text));
        }
        write_out(
            options,
            &pool,
            &grown,
            &snapshots,
            bridge,
            (&mut report, &mut findings),
            progress,
        )?;
    }
    report.findings = findings.finish();
    report.verdict = Verdict::of(&report.findings);
    report.elapsed_s = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Bytes of the copy that has most: about what will be proven.
fn longest(pool: &Pool) -> u64 {
    let copies = pool
        .sources
        .iter()
        .map(|source| source.copy)
        .max()
        .map_or(0, |last| last + 1);
    let of = |copy| {
        pool.sources
            .iter()
            .filter(|source| source.copy == copy)
            .map(|source| source.size)
            .sum()
    };
    (0..copies).map(of).max().unwrap_or(0)
}

fn write_out(
    options: &Options,
    pool: &Pool,
    grown: &Grown,
    snapshots: &[bridge::Proven],
    bridge: Option<bridge::Bridge<'_>>,
    (report, findings): (&mut SalvageReport, &mut Findings),
    progress: &dyn Progress,
) -> Result<()> {
    if grown.pieces.is_empty() && bridge.is_none() {
        findings.push(Finding::new(
            Code::SalvageNothing,
            "no copy holds anything that is proven from seqno 1 or from a snapshot on",
        ));
        return Ok(());
    }
    let making = write::Making::begin(&options.output)?;
    let bytes = grown.pieces.iter().map(|piece| piece.end - piece.offset).sum();
    progress.begin("write", bytes);
    if !grown.pieces.is_empty() {
        let written = write::write_ledger(pool, grown, &making.directory("ledger")?, progress)?;
        (report.chunks, report.bytes) = (written.chunks, written.bytes);
    }
    let last = grown.signed.last().map_or(0, |signed| signed.seqno);
    let mut used: Vec<usize> = grown.pieces.iter().map(|piece| piece.source).collect();
    used.extend(bridge.iter().flat_map(bridge::Bridge::sources));
    for snapshot in bridge::beside(pool, grown, snapshots, last, findings)? {
        used.push(snapshot.source);
        report
            .snapshots
            .push(bridge::copy(snapshot, &making.directory("snapshots")?)?);
    }
    if let Some(bridge) = bridge {
        let below = making.directory("bridged")?;
        bridge::write(pool, &bridge, &below, progress)?;
        let bridged = bridge.describe(grown.last().unwrap_or(0), &options.output.join("bridged"));
        let text = format!(
            "the snapshot at {} bridges what is missing: {} holds it and what follows, up to {}; entries {} to {} are lost with it",
            bridged.snapshot_seqno,
            bridged.directory,
            bridged.last_seqno,
            bridged.lost.from_seqno,
            bridged.lost.to_seqno,
        );
        findings.push(Finding::new(Code::SalvageBridged, text).seqno(bridged.snapshot_seqno));
        report.bridged = Some(bridged);
    }
    progress.end();
    pool.check_unchanged(used)?;
    making.finish()?;
    report.output = Some(options.output.shown().to_string());
    Ok(())
}

/// Says why the result ends where it ends, and what no copy holds.
fn describe_end(pool: &Pool, grown: &Grown, report: &mut SalvageReport, findings: &mut Findings) {
    let last = grown.last().unwrap_or(0);
    let signed = grown.signed.last().map_or(0, |signed| signed.seqno);
    let after = last.saturating_sub(signed);
    report.covered_entries = grown.covered.min(last).saturating_sub(signed);
    report.unsigned_entries = after - report.covered_entries.min(after);
    // Whatever stands after the end was there, and so was all before it, unless it is of a history that was left out.
    let left_out = report
        .left_out
        .iter()
        .map(|left| left.from_seqno)
        .min()
        .unwrap_or(Seqno::MAX);
    let mut at = last + 1;
    let mut beyond = false;
    while let Some(held) = pool.next_held(at) {
        let until = match held > at {
            true => held - 1,
            false => break,
        };
        if left_out > at {
            report.missing.push(Range {
                from_seqno: at,
                to_seqno: until,
            });
            beyond = true;
        }
        at = held;
        while pool.next_held(at) == Some(at) {
            let furthest = pool
                .runs_over(at, at + 1)
                .into_iter()
                .filter_map(|run| pool.runs.get(run));
            at = furthest.map(|run| run.last).max().unwrap_or(at) + 1;
        }
        if report.missing.len() >= LISTED {
            break;
        }
    }
    match grown.end {
        End::Missing(at) => {
            let to = report
                .missing
                .first()
                .map_or(grown.covered.max(at), |missing| missing.to_seqno);
            if report.missing.first().is_none_or(|missing| missing.from_seqno != at) {
                let range = Range {
                    from_seqno: at,
                    to_seqno: to.max(at),
                };
                report.missing.insert(0, range);
            }
            let text = format!(
                "no copy holds entry {at}, which was signed: the result ends before it, and its last signature is at {signed}"
            );
            findings.push(Finding::new(Code::SalvageMissing, text).seqno(at));
        }
        End::Unclear(at) => {
            let text = format!(
                "the copies hold entry {at}, but nothing signs what they hold there and they differ, or it can't be read"
            );
            findings.push(Finding::new(Code::SalvageUnclear, text).seqno(at));
        }
        End::Unlinked(at, source) => {
            let text = format!(
                "a copy holds entry {at}, and nothing else that is left of that copy: whether it comes next can't be known"
            );
            let finding = Finding::new(Code::SalvageUnclear, text).seqno(at);
            findings.push(match pool.sources.get(source) {
                Some(source) => finding.file(&source.path),
                None => finding,
            });
        }
        End::Nothing if beyond => {
            let at = last + 1;
            let text = format!(
                "no copy holds entry {at}, and entries after it are there: the result ends before it, and its last signature is at {signed}"
            );
            findings.push(Finding::new(Code::SalvageMissing, text).seqno(at));
        }
        End::Nothing => report.is_complete = last > 0,
    }
    for &seqno in &grown.chosen {
        let text = format!(
            "no signature covers every byte of entry {seqno}, and copies differ in it: what most of them hold was taken"
        );
        findings.push(Finding::new(Code::SalvageChosen, text).seqno(seqno));
    }
    if report.unsigned_entries > 0 {
        let text = format!(
            "{} entries, {} to {last}, are after the last signature, and nothing proves them",
            report.unsigned_entries,
            last + 1 - report.unsigned_entries
        );
        findings.push(
            Finding::new(Code::Unsigned, text)
                .seqno(last + 1 - report.unsigned_entries)
                .severity(Severity::Info),
        );
    }
}

fn copies_read(pool: &Pool, grown: &Grown, copies: &[PathBuf]) -> Vec<CopyRead> {
    let mut read: Vec<CopyRead> = copies
        .iter()
        .map(|directory| CopyRead {
            directory: directory.shown().to_string(),
            files: 0,
            bytes: 0,
            entries: 0,
        })
        .collect();
    for source in &pool.sources {
        if let Some(copy) = read.get_mut(source.copy) {
            copy.files += 1;
            copy.bytes += source.size;
        }
    }
    for piece in &grown.pieces {
        for &copy in pool.holders(piece.source) {
            if let Some(copy) = read.get_mut(copy) {
                copy.entries += piece.last + 1 - piece.first;
            }
        }
    }
    read
}

fn parts(pool: &Pool, grown: &Grown, copies: &[PathBuf]) -> Vec<Part> {
    let part = |piece: &history::Piece| {
        let path = pool
            .sources
            .get(piece.source)
            .map_or(Path::new(""), |source| &source.path);
        let holders = pool.holders(piece.source).iter().filter_map(|&copy| copies.get(copy));
        Part {
            from_seqno: piece.first,
            to_seqno: piece.last,
            file: path.shown().to_string(),
            offset: piece.offset,
            copies: holders.map(|copy| copy.shown().to_string()).collect(),
        }
    };
    grown.pieces.iter().take(LISTED).map(part).collect()
}
