//! `verify`: scan, join, check, window by window; then snapshots, spare files, and what an earlier report said.
//!
//! While the checks of one window's signatures are verified, the next window is scanned: both are spread over all
//! threads, so a ledger bound by hashing and one bound by signatures keep them equally busy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use crate::crypto::x509::Certificate;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::merkle::Accumulator;
use crate::recovery::against;
use crate::recovery::attest::{self, AttestReport};
use crate::recovery::check::{Check, Outcome};
use crate::recovery::checkpoint::{Asked, Checkpoint, refuse_what_is_none};
use crate::recovery::commits::{self};
use crate::recovery::foundation::Foundation;
use crate::recovery::gathered::Gathered;
use crate::recovery::join::{Joiner, Mode, SignedRoot};
use crate::recovery::scan::{SegmentScan, scan_segment_for};
use crate::recovery::segments::{Window, Windows};
use crate::recovery::snapshots::{self, SnapshotVerdict};
use crate::recovery::trust::Trust;
use crate::recovery::{service_links, spares};
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Severity, Verdict};
use crate::tables::values::HexDigest;

pub use crate::recovery::against::Earlier;
pub use crate::recovery::verified::VerifyReport;

/// What to verify, and against what.
#[derive(Clone, Default)]
pub struct Options {
    /// Which signatures are verified; audit if not given.
    pub mode: Option<Mode>,
    /// Directories with snapshots to check.
    pub snapshot_directories: Vec<PathBuf>,
    /// Start after a snapshot ([`snapshots::start_from`]) instead of at seqno 1.
    pub from_snapshot: Option<snapshots::Start>,
    /// Stop after this seqno.
    pub until: Option<Seqno>,
    /// The certificate that the last service must have.
    pub service_certificate: Option<Certificate>,
    /// An earlier report on the same ledger.
    pub against: Option<Earlier>,
    /// Where progress is saved, to go on from there after an interruption.
    pub checkpoint: Option<PathBuf>,
    /// Keep the root of every signature, for a comparison.
    pub keep_history: bool,
    /// Gather what a recovery builds on. Not to be had from a checkpoint.
    pub keep_foundation: bool,
    /// Note what a picture of the ledger shows.
    pub keep_chronicle: bool,
    /// Judge the evidence of every node too, by these.
    pub attest: Option<Arc<attest::Settings>>,
}

/// Verifies a ledger.
///
/// # Errors
/// If a file can't be read or written. Whatever is wrong with the ledger is in the report.
pub fn verify(files: &LedgerFiles, options: &Options, progress: &dyn Progress) -> Result<VerifyReport> {
    let began = Instant::now();
    let mode = options.mode.unwrap_or(Mode::Audit);
    if let Some(path) = &options.checkpoint {
        refuse_what_is_none(path)?;
    }
    let snapshot_files = snapshots::list(&options.snapshot_directories)?;
    let watch = snapshots::wanted_leaves(&snapshot_files, options.from_snapshot.as_ref());

    let (mut joiner, start) = begin(files, options, mode)?;
    let checkpoint = options
        .checkpoint
        .as_deref()
        .map(|path| Checkpoint::new(path, files, asked(options, mode, start, &watch)))
        .transpose()?;
    if let Some(saved) = checkpoint.as_ref().and_then(Checkpoint::load) {
        let wanted = joiner.against;
        joiner = Joiner::restore(files, mode, saved).unwrap_or(joiner);
        // Gathered already, or still to come.
        if joiner.against.map(|(seqno, _)| seqno) != wanted.map(|(seqno, _)| seqno) {
            joiner.against = wanted;
        }
    }
    if options.keep_history {
        joiner.keep_history();
    }
    if options.keep_chronicle {
        joiner.keep_chronicle();
    }

    progress.begin("verify", files.size_bytes());
    run(
        &mut joiner,
        options.until.unwrap_or(Seqno::MAX),
        (&watch, options.keep_foundation),
        checkpoint.as_ref(),
        progress,
    )?;
    if mode == Mode::Integrity && joiner.is_broken() {
        // Which signature is the last good one can only be said by verifying them all.
        progress.end();
        let audit = Options {
            mode: Some(Mode::Audit),
            ..options.clone()
        };
        return verify(files, &audit, progress);
    }
    joiner.report_notes();
    joiner.check_last_signature();
    if let Some(start) = &options.from_snapshot {
        snapshots::judge_start(start, &mut joiner);
    }
    let snapshots = snapshots::check_all(&snapshot_files, &mut joiner, options.from_snapshot.as_ref());
    spares::check_all(&mut joiner)?;
    let proven_to = joiner.proven().map_or(0, |signed| signed.txid.seqno);
    let links = service_links::check(&joiner.service_links, proven_to);
    links.into_iter().for_each(|finding| joiner.findings.push(finding));
    let nodes = match &options.attest {
        Some(settings) => Some(look_at_nodes(&joiner, options, start, settings)?),
        None => None,
    };
    progress.end();
    if let Some(checkpoint) = &checkpoint {
        checkpoint.remove();
    }
    let mut report = report(joiner, options, mode, snapshots, began);
    report.nodes = nodes.as_ref().map(|nodes| nodes.summary.clone());
    report.attestation = nodes.map(Box::new);
    Ok(report)
}

/// Judges the evidence of all nodes that what is proven tells of.
fn look_at_nodes(
    joiner: &Joiner<'_>,
    options: &Options,
    start: Seqno,
    settings: &attest::Settings,
) -> Result<AttestReport> {
    let proven_to = joiner.proven().map_or(0, |signed| signed.txid.seqno);
    let look = attest::Look {
        files: joiner.files,
        attesting: &joiner.attesting,
        snapshot: options.from_snapshot.as_ref().map(|start| start.path.as_path()),
        from: start + 1,
        proven_to,
        tables_hold: !joiner.findings.has_any(&[Code::Position, Code::ChunkHeader]),
    };
    attest::look(&look, settings)
}

/// What a checkpoint must have gathered.
fn asked(options: &Options, mode: Mode, start: Seqno, watch: &[Seqno]) -> Asked {
    let last = options.against.as_ref().and_then(|earlier| earlier.last_signed);
    let from = options.from_snapshot.as_ref();
    Asked {
        mode,
        start,
        snapshot: from.map(|start| HexDigest(start.digest)),
        watch: watch.to_vec(),
        against: last.map(|last| last.seqno),
        until: options.until.unwrap_or(Seqno::MAX),
    }
}

/// The joiner at the start: of the ledger, or of a snapshot.
fn begin<'f>(files: &'f LedgerFiles, options: &Options, mode: Mode) -> Result<(Joiner<'f>, Seqno)> {
    let (mut joiner, start) = match options.from_snapshot.clone() {
        Some(start) => {
            let next = start.seqno + 1;
            let mut joiner = Joiner::new(files, mode, next, Some(start.accumulator), start.trust);
            joiner.gathered = Gathered::after(start.seqno, start.view_history, start.historical);
            joiner.begin_proven(start.signed);
            (joiner, start.seqno)
        }
        None => (
            Joiner::new(files, mode, 1, Some(Accumulator::genesis()), Trust::default()),
            0,
        ),
    };
    if let Some(earlier) = options.against.as_ref().and_then(|earlier| earlier.last_signed) {
        joiner.watch_root_at(earlier.seqno);
    }
    Ok((joiner, start))
}

/// The pipeline. While a window is scanned, the one before it is joined, the signatures of the one before that are
/// verified, and the next one is mapped: all of it spread over all threads.
fn run(
    joiner: &mut Joiner<'_>,
    until: Seqno,
    (watch, recovering): (&[Seqno], bool),
    checkpoint: Option<&Checkpoint<'_>>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut windows = Windows::new(joiner.files, joiner.next, until).reading_ahead();
    let mut next = windows.next_window()?;
    let mut scans: Vec<SegmentScan> = Vec::new();
    let mut checks: Vec<Check> = Vec::new();
    let mut saved_to = joiner.next;
    while next.is_some() || !scans.is_empty() {
        let (scanned, made) = (std::mem::take(&mut scans), std::mem::take(&mut checks));
        let window = next.take().unwrap_or_default();
        let (following, (joined, (more, outcomes))) = rayon::join(
            || windows.next_window(),
            || {
                rayon::join(
                    || join_all(joiner, scanned, watch),
                    || {
                        rayon::join(
                            || scan_window(window, (watch, recovering), progress),
                            || verify_checks(made),
                        )
                    },
                )
            },
        );
        (next, scans, checks) = (following?, more, joined);
        joiner.settle(outcomes);
        if let Some(proven) = joiner.proven() {
            progress.signed(proven.txid.seqno);
        }
        // What is scanned and not joined yet is scanned again: only what was joined is worth saving.
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| joiner.next > saved_to && checkpoint.is_due()) {
            checks.extend(joiner.release());
            joiner.settle(verify_checks(std::mem::take(&mut checks)));
            checkpoint.save(&joiner.save())?;
            saved_to = joiner.next;
        }
    }
    joiner.settle(verify_checks(checks));
    let held = joiner.release();
    joiner.settle(verify_checks(held));
    Ok(())
}

/// Joins the segments of a window, and answers the checks that this gave.
fn join_all(joiner: &mut Joiner<'_>, scans: Vec<SegmentScan>, watch: &[Seqno]) -> Vec<Check> {
    scans.into_iter().flat_map(|scan| joiner.join(scan, watch)).collect()
}

fn scan_window(window: Window, (watch, recovering): (&[Seqno], bool), progress: &dyn Progress) -> Vec<SegmentScan> {
    window
        .into_par_iter()
        .with_max_len(1)
        .map(|segment| {
            let bytes = segment.size_bytes;
            let scan = scan_segment_for(segment, watch, recovering);
            progress.advance(bytes, scan.entries);
            scan
        })
        .collect()
}

fn verify_checks(checks: Vec<Check>) -> Vec<(Check, Outcome)> {
    checks
        .into_par_iter()
        .map(|check| {
            let outcome = check.verify();
            (check, outcome)
        })
        .collect()
}

fn report(
    mut joiner: Joiner<'_>,
    options: &Options,
    mode: Mode,
    snapshots: Vec<SnapshotVerdict>,
    began: Instant,
) -> VerifyReport {
    let proven = joiner.proven();
    let last_seqno = joiner.next.saturating_sub(1);
    if let Some(earlier) = &options.against {
        let start = options.from_snapshot.as_ref();
        let range = against::Range {
            start: start.map_or(0, |start| start.seqno),
            start_signed: start.map(|start| start.signed),
            until: options.until,
        };
        against::check(&mut joiner, earlier, &range, proven);
    }
    check_identity(&mut joiner, proven.as_ref(), options.service_certificate.as_ref());
    let proven_to = proven.map_or(0, |signed| signed.txid.seqno);
    let unsigned_entries = last_seqno.saturating_sub(proven_to.max(joiner.files.first_seqno().saturating_sub(1)));
    if joiner.files.chunks.is_empty() && options.from_snapshot.is_none() {
        joiner.findings.push(snapshots::alone(snapshots.len()));
    } else if proven.is_none() {
        let text = match joiner.counts.signature_transactions {
            0 => "there is no signature transaction".to_owned(),
            n => format!("none of {n} signature transactions proves anything from the start"),
        };
        joiner.findings.push(Finding::new(Code::NothingSigned, text));
    } else if unsigned_entries > 0 {
        let text = format!(
            "{unsigned_entries} entries, {} to {last_seqno}, are after the last proven signature",
            proven_to + 1
        );
        let mut finding = Finding::new(Code::Unsigned, text).seqno(proven_to + 1);
        if joiner.broken_at.is_some() {
            finding = finding
                .severity(Severity::Error)
                .next("a recovery from this copy would lose them, some of them signed: mend what is reported, or use another copy");
        }
        joiner.findings.push(finding);
    }
    for finding in joiner.findings.iter_mut() {
        finding.proven_to = match (finding.seqno, finding.proven_to) {
            // Faults are met before the signatures in front of them are joined.
            (Some(at), _) if at > proven_to => Some(proven_to),
            (_, Some(seqno)) => Some(seqno.min(proven_to)),
            (None, None) => Some(proven_to),
            (Some(_), None) => None,
        }
        .filter(|&seqno| seqno > 0);
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    let foundation = match options.keep_foundation && options.checkpoint.is_none() {
        true => foundation(&joiner, options).map(Box::new),
        false => None,
    };
    let commits = commits::in_entries(&joiner, proven_to);
    let chronicle = joiner.take_chronicle().map(Box::new);
    let mut history = joiner.history.take().unwrap_or_default();
    history.retain(|signed| signed.txid.seqno <= proven_to);
    let findings = joiner.findings.finish();
    VerifyReport {
        verdict: Verdict::of(&findings),
        mode,
        entries: joiner.counts.entries,
        signatures: joiner.counts.signatures,
        cose_signatures: joiner.counts.cose_signatures,
        chunks: joiner.files.chunks.len(),
        bytes: joiner.counts.bytes,
        last_seqno,
        last_signed: proven.map(|signed| signed.txid),
        root: proven.map(|signed| signed.root),
        signer: proven.and_then(|signed| signed.signer),
        identity: proven.and_then(|signed| signed.service),
        unsigned_entries,
        services: joiner.trust.services().to_vec(),
        snapshots,
        findings,
        elapsed_s,
        entries_per_s: joiner.counts.entries as f64 / elapsed_s.max(f64::MIN_POSITIVE),
        bytes_per_s: joiner.counts.bytes as f64 / elapsed_s.max(f64::MIN_POSITIVE),
        history,
        commits,
        foundation,
        chronicle,
        nodes: None,
        attestation: None,
    }
}

/// What a recovery would build on.
fn foundation(joiner: &Joiner<'_>, options: &Options) -> Option<Foundation> {
    let proven = joiner.proven()?.txid.seqno;
    let start = options.from_snapshot.as_ref().filter(|start| start.seqno == proven);
    match start {
        Some(start) => Foundation::at_snapshot(joiner, start),
        None => Foundation::of(joiner),
    }
}

/// Holds what comes after the last proven signature against the service that is expected, if one is.
fn check_identity(joiner: &mut Joiner<'_>, proven: Option<&SignedRoot>, expected: Option<&Certificate>) {
    let Some(proven) = proven else {
        // Nothing is proven, which is a finding of its own; but the certificate may tell why.
        if let Some(expected) = expected {
            let last = joiner.trust.services().last().map(|service| service.identity);
            other_service(joiner, last.filter(|last| last.0 != expected.key_id()), expected);
        }
        return;
    };
    match (proven.service, expected) {
        (Some(_), None) => {}
        (Some(service), Some(expected)) if service.0 == expected.key_id() => {}
        (None, expected) if expected.is_none_or(|expected| joiner.trust.names_last(expected.key_id())) => {
            let text = format!(
                "transaction {} is signed neither by the service's key nor by a node whose certificate it endorsed",
                proven.txid
            );
            joiner
                .findings
                .push(Finding::new(Code::Unproven, text).seqno(proven.txid.seqno));
        }
        (_, None) => {}
        (service, Some(expected)) => {
            let last = joiner.trust.services().last().map(|service| service.identity);
            other_service(joiner, service.or(last), expected);
        }
    }
}

fn other_service(joiner: &mut Joiner<'_>, found: Option<HexDigest>, expected: &Certificate) {
    let Some(found) = found else {
        return;
    };
    let expected = expected.key_id();
    let mut services = joiner.trust.services().iter();
    let note = match services.any(|service| service.identity.0 == expected) {
        true => ", which is another one of this ledger",
        false => "",
    };
    joiner.findings.push(Finding::new(
        Code::ServiceCertificate,
        format!(
            "what is signed last is of service identity {}, the certificate given is of {}{note}",
            hex::encode(found.0),
            hex::encode(expected)
        ),
    ));
}
