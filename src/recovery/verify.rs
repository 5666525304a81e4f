//! `verify`: scan, join, check, window by window; then snapshots, spare files, and what an earlier report said.
//!
//! While the checks of one window's signatures are verified, the next window is scanned: both are spread over all
//! threads, so a ledger bound by hashing and one bound by signatures keep them equally busy.

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::crypto::x509::Certificate;
use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::format::{Seqno, TxId};
use crate::merkle::Accumulator;
use crate::recovery::check::{Check, Outcome};
use crate::recovery::checkpoint::Checkpoint;
use crate::recovery::foundation::{Foundation, Gathered};
use crate::recovery::join::{Joiner, Mode, SignedRoot};
use crate::recovery::progress::Progress;
use crate::recovery::report::{Code, Finding, Severity, Verdict};
use crate::recovery::scan::{SegmentScan, scan_segment};
use crate::recovery::segments::{Window, Windows};
use crate::recovery::snapshots::{self, SnapshotVerdict};
use crate::recovery::trust::{ServiceRecord, Trust};
use crate::recovery::{service_links, spares};
use crate::tables::values::HexDigest;

/// What to verify, and against what.
#[derive(Clone, Default)]
pub struct Options {
    /// Which signatures are verified; audit if not given.
    pub mode: Option<Mode>,
    /// Directories with snapshots to check.
    pub snapshot_directories: Vec<PathBuf>,
    /// Start behind a snapshot ([`snapshots::start_from`]) instead of at seqno 1.
    pub from_snapshot: Option<snapshots::Start>,
    /// Stop behind this seqno.
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
}

/// What is needed of an earlier report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Earlier {
    /// The last signed transaction it found.
    pub last_signed: Option<TxId>,
    /// The root signed there.
    pub root: Option<HexDigest>,
    /// The service identities it found.
    #[serde(default)]
    pub services: Vec<ServiceRecord>,
}

/// What was found. Serialised, it is the document that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// The short answer.
    pub verdict: Verdict,
    /// Which signatures were verified: where `integrity` finds damage, all of them are.
    pub mode: Mode,
    /// Entries that could be read.
    pub entries: u64,
    /// Signature transactions with a node's signature.
    pub signatures: u64,
    /// Signature transactions with a COSE signature.
    pub cose_signatures: u64,
    /// Chunk files read.
    pub chunks: usize,
    /// Bytes of entries read.
    pub bytes: u64,
    /// Seqno of the last entry that could be read.
    pub last_seqno: Seqno,
    /// The last transaction up to which everything is proven: what a recovery would keep.
    pub last_signed: Option<TxId>,
    /// The root it signs.
    pub root: Option<HexDigest>,
    /// The node that signed it.
    pub signer: Option<HexDigest>,
    /// Entries behind it: what a recovery would drop.
    pub unsigned_entries: u64,
    /// The service identities, oldest first.
    pub services: Vec<ServiceRecord>,
    /// The snapshots.
    pub snapshots: Vec<SnapshotVerdict>,
    /// Everything that was found.
    pub findings: Vec<Finding>,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// Rate.
    pub entries_per_s: f64,
    /// Rate.
    pub bytes_per_s: f64,
    /// Root of every signature, where it was asked for.
    #[serde(skip)]
    pub history: Vec<SignedRoot>,
    /// What a recovery would build on, where it was asked for.
    #[serde(skip)]
    pub foundation: Option<Box<Foundation>>,
}

/// Verifies a ledger.
///
/// # Errors
/// If a file can't be read or written. Whatever is wrong with the ledger is in the report.
pub fn verify(files: &LedgerFiles, options: &Options, progress: &dyn Progress) -> Result<VerifyReport> {
    let began = Instant::now();
    let mode = options.mode.unwrap_or(Mode::Audit);
    let snapshot_files = snapshots::list(&options.snapshot_directories)?;
    let mut watch: Vec<Seqno> = snapshot_files
        .iter()
        .flat_map(|file| [file.name.seqno, file.name.evidence_seqno])
        .collect();
    watch.sort_unstable();
    watch.dedup();

    let (mut joiner, start) = begin(files, options, mode)?;
    let checkpoint = options
        .checkpoint
        .as_deref()
        .map(|path| Checkpoint::new(path, files, mode, start));
    if let Some(saved) = checkpoint.as_ref().and_then(Checkpoint::load) {
        joiner = Joiner::restore(files, mode, saved).unwrap_or(joiner);
    }
    if options.keep_history {
        joiner.keep_history();
    }

    progress.begin("verify", files.size_bytes());
    run(
        &mut joiner,
        options.until.unwrap_or(Seqno::MAX),
        &watch,
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
    joiner.check_last_signature();
    let snapshots = snapshots::check_all(&snapshot_files, &mut joiner, start);
    spares::check_all(&mut joiner)?;
    service_links::check(&mut joiner);
    progress.end();
    if let Some(checkpoint) = &checkpoint {
        checkpoint.remove();
    }
    Ok(report(joiner, options, mode, snapshots, began))
}

/// The joiner at the start: of the ledger, or of a snapshot.
fn begin<'f>(files: &'f LedgerFiles, options: &Options, mode: Mode) -> Result<(Joiner<'f>, Seqno)> {
    let (mut joiner, start) = match options.from_snapshot.clone() {
        Some(start) => {
            let next = start.seqno + 1;
            let mut joiner = Joiner::new(files, mode, next, Some(start.accumulator), start.trust);
            joiner.gathered = Gathered::behind(start.seqno, start.view_history, start.historical);
            (joiner, start.seqno)
        }
        None => (
            Joiner::new(files, mode, 1, Some(Accumulator::genesis()), Trust::default()),
            0,
        ),
    };
    joiner.report_notes();
    if let Some(earlier) = options.against.as_ref().and_then(|earlier| earlier.last_signed) {
        joiner.watch_root_at(earlier.seqno);
    }
    Ok((joiner, start))
}

/// The pipeline.
fn run(
    joiner: &mut Joiner<'_>,
    until: Seqno,
    watch: &[Seqno],
    checkpoint: Option<&Checkpoint<'_>>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut windows = Windows::new(joiner.files, joiner.next, until);
    let mut checks: Vec<Check> = Vec::new();
    while let Some(window) = windows.next_window()? {
        let taken = std::mem::take(&mut checks);
        let (scans, outcomes) = rayon::join(|| scan_window(window, watch, progress), || verify_checks(taken));
        joiner.settle(outcomes);
        if let Some(proven) = joiner.proven() {
            progress.signed(proven.txid.seqno);
        }
        for scan in scans {
            checks.extend(joiner.join(scan, watch));
        }
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.is_due()) {
            checks.extend(joiner.release());
            joiner.settle(verify_checks(std::mem::take(&mut checks)));
            checkpoint.save(&joiner.save())?;
        }
    }
    joiner.settle(verify_checks(checks));
    let held = joiner.release();
    joiner.settle(verify_checks(held));
    Ok(())
}

fn scan_window(window: Window, watch: &[Seqno], progress: &dyn Progress) -> Vec<SegmentScan> {
    window
        .into_par_iter()
        .with_max_len(1)
        .map(|segment| {
            let bytes = segment.size_bytes;
            let scan = scan_segment(segment, watch);
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
        check_against(&mut joiner, earlier, proven.as_ref());
    }
    if let Some(certificate) = &options.service_certificate {
        check_service(&mut joiner, certificate);
    }
    let proven_to = proven.map_or(0, |signed| signed.txid.seqno);
    let unsigned_entries = last_seqno.saturating_sub(proven_to.max(joiner.files.first_seqno().saturating_sub(1)));
    if proven.is_none() {
        let text = match joiner.counts.signature_transactions {
            0 => "there is no signature transaction".to_owned(),
            n => format!("none of {n} signature transactions proves anything from the start"),
        };
        joiner.findings.push(Finding::new(Code::NothingSigned, text));
    } else if unsigned_entries > 0 {
        let text = format!(
            "{unsigned_entries} entries, {} to {last_seqno}, are behind the last proven signature",
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
        true => Foundation::of(&joiner).map(Box::new),
        false => None,
    };
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
        unsigned_entries,
        services: joiner.trust.services().to_vec(),
        snapshots,
        findings,
        elapsed_s,
        entries_per_s: joiner.counts.entries as f64 / elapsed_s,
        bytes_per_s: joiner.counts.bytes as f64 / elapsed_s,
        history,
        foundation,
    }
}

/// Holds the ledger against what an earlier report said of it.
fn check_against(joiner: &mut Joiner<'_>, earlier: &Earlier, proven: Option<&SignedRoot>) {
    let Some(last) = earlier.last_signed else {
        return;
    };
    let shown = |root: Option<HexDigest>| root.map_or("none".to_owned(), |root| hex::encode(root.0));
    let found = joiner.against.and_then(|(_, root)| root);
    let first = |services: &[ServiceRecord]| services.first().map(|service| service.identity);
    let finding = if let (Some(was), Some(is)) = (first(&earlier.services), first(joiner.trust.services()))
        && was != is
        && earlier.services.iter().all(|service| service.identity != is)
    {
        Finding::new(
            Code::OtherService,
            format!(
                "the earlier report is about service {}, this ledger is of service {}",
                hex::encode(was.0),
                hex::encode(is.0)
            ),
        )
    } else if proven.is_none_or(|signed| signed.txid.seqno < last.seqno) {
        let now = proven.map_or("nothing".to_owned(), |signed| signed.txid.to_string());
        Finding::new(
            Code::RolledBack,
            format!("the earlier report found {last} signed, here the last proven signature is {now}"),
        )
    } else if found != earlier.root {
        Finding::new(
            Code::Rewritten,
            format!(
                "the earlier report found root {} signed at {last}, here it is {}",
                shown(earlier.root),
                shown(found)
            ),
        )
    } else {
        return;
    };
    joiner.findings.push(finding.seqno(last.seqno));
}

fn check_service(joiner: &mut Joiner<'_>, certificate: &Certificate) {
    let expected = certificate.key_id();
    let found = joiner.trust.services().last().map(|service| service.identity.0);
    if found != Some(expected) {
        let earlier = joiner
            .trust
            .services()
            .iter()
            .any(|service| service.identity.0 == expected);
        let found = found.map_or("none".to_owned(), hex::encode);
        let note = if earlier {
            ", which is an earlier one of this ledger"
        } else {
            ""
        };
        joiner.findings.push(Finding::new(
            Code::ServiceCertificate,
            format!(
                "the ledger's last service identity is {found}, the certificate given is of {}{note}",
                hex::encode(expected)
            ),
        ));
    }
}
