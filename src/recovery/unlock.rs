//! `unlock`: the rehearsal. Would these shares open the ledger, and all of it?
//!
//! Reassembles the newest secret, walks the chain, then opens every entry with the secret in force there: the GCM tag
//! authenticates public and private domain, and the commit evidence digest must be the one the secret gives.

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::format::domain::Maps;
use crate::format::{Seqno, View};
use crate::recovery::recovery_tables::{Found, RecoveryTables, pick_out};
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::secrets::{LedgerSecrets, Material, Opened, ShareReport};
use crate::recovery::segments::{Segment, Windows};
use crate::recovery::snapshots::{self, SnapshotVerdict};
use crate::recovery::state::{MappedSnapshot, completing_snapshot};
use crate::recovery::unsealing::open_with;
use crate::recovery::writes::{Reader, finding, in_windows, last_signed};
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Findings, Severity, Verdict};
use crate::shown::Show;

mod one_pass;

/// One secret of the chain, in a report. Never the secret itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SecretReport {
    /// First seqno it is valid for.
    pub from_seqno: Seqno,
    /// Seqno of the write it was recovered from.
    pub recovered_at_seqno: Seqno,
}

/// What was found. Serialised, it is the document that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct UnlockReport {
    /// The short answer.
    pub verdict: Verdict,
    /// Seqno of the shares that were used.
    pub generation_seqno: Option<Seqno>,
    /// Shares needed.
    pub threshold: u64,
    /// The shares at hand.
    pub shares: Vec<ShareReport>,
    /// The sealed files, if some were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealedReport>,
    /// The chain of secrets, oldest first.
    pub secrets: Vec<SecretReport>,
    /// Entries read.
    pub entries: u64,
    /// Entries with a private domain.
    pub private_domains: u64,
    /// Of those, decrypted and read.
    pub private_decrypted: u64,
    /// Commit evidence digests recomputed.
    pub evidence_checked: u64,
    /// Of those, right.
    pub evidence_ok: u64,
    /// Snapshots whose private part was decrypted.
    pub snapshots: Vec<SnapshotVerdict>,
    /// Everything that was found.
    pub findings: Vec<Finding>,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// Rate.
    pub entries_per_s: f64,
    /// Rate.
    pub bytes_per_s: f64,
}

impl UnlockReport {
    /// Counts the time from `began`, where something was done before the rehearsal: listing the files, for one.
    pub fn timed_from(mut self, began: Instant) -> Self {
        let elapsed_s = began.elapsed().as_secs_f64();
        self.entries_per_s *= self.elapsed_s / elapsed_s;
        self.bytes_per_s *= self.elapsed_s / elapsed_s;
        self.elapsed_s = elapsed_s;
        self
    }
}

/// What decrypting part of a ledger gave.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Entries read.
    pub entries: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Entries with a private domain.
    pub private_domains: u64,
    /// Of those, decrypted.
    pub private_decrypted: u64,
    /// Commit evidence digests recomputed.
    pub evidence_checked: u64,
    /// Of those, right.
    pub evidence_ok: u64,
    /// Entries for which no secret is known: first, last, how many, how many of them with a private domain.
    locked: Option<(Seqno, Seqno, u64, u64)>,
    findings: Findings,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.private_domains += other.private_domains;
        self.private_decrypted += other.private_decrypted;
        self.evidence_checked += other.evidence_checked;
        self.evidence_ok += other.evidence_ok;
        self.locked = match (self.locked, other.locked) {
            (Some((first, _, n, private)), Some((_, last, m, more))) => Some((first, last, n + m, private + more)),
            (one, other) => one.or(other),
        };
        other
            .findings
            .finish()
            .into_iter()
            .for_each(|finding| self.findings.push(finding));
    }

    fn lock(&mut self, seqno: Seqno, private: bool) {
        let (first, _, n, p) = self.locked.unwrap_or((seqno, seqno, 0, 0));
        self.locked = Some((first, seqno, n + 1, p + u64::from(private)));
    }
}

/// Opens a ledger's secrets as they are after `at`, or after the last signature.
///
/// # Errors
/// If a file can't be read.
pub fn open_secrets(
    files: &LedgerFiles,
    snapshot_directories: &[PathBuf],
    material: &Material,
    at: Option<Seqno>,
) -> Result<(Opened, Seqno)> {
    let at = end_of_reading(files, at)?;
    let snapshot: Option<MappedSnapshot> = completing_snapshot(files, snapshot_directories, at)?;
    let tables = RecoveryTables::read(files, snapshot.as_ref(), at)?;
    Ok((open_with(&tables, material, files, at), at))
}

/// The seqno that was asked for, or the last signature's.
fn end_of_reading(files: &LedgerFiles, at: Option<Seqno>) -> Result<Seqno> {
    match at {
        Some(at) => Ok(at),
        None => Ok(last_signed(files, Seqno::MAX)?.map_or(0, |txid| txid.seqno)),
    }
}

/// Rehearses opening a ledger.
///
/// # Errors
/// If a file can't be read. Whatever is wrong with shares or ledger is in the report.
pub fn unlock(
    files: &LedgerFiles,
    snapshot_directories: &[PathBuf],
    material: &Material,
    at: Option<Seqno>,
    progress: &dyn Progress,
) -> Result<UnlockReport> {
    let began = Instant::now();
    let at = end_of_reading(files, at)?;
    let snapshot = completing_snapshot(files, snapshot_directories, at)?;
    progress.begin("unlock", files.size_bytes());
    let (opened, read) = one_pass::open_and_decrypt(files, snapshot.as_ref(), material, at, progress)?;
    progress.end();
    let mut tally = Tally::default();
    let mut verdicts = Vec::new();
    let mut secrets = Vec::new();
    if let Some(known) = &opened.secrets {
        secrets = known
            .iter()
            .map(|secret| SecretReport {
                from_seqno: secret.from_seqno,
                recovered_at_seqno: secret.recovered_at_seqno,
            })
            .collect();
        tally = read;
        verdicts = open_snapshots(snapshot_directories, known, at, &mut tally.findings)?;
        report_locked(&mut tally);
    }
    let mut findings = opened.findings;
    findings.extend(tally.findings.finish());
    let elapsed_s = began.elapsed().as_secs_f64();
    Ok(UnlockReport {
        verdict: Verdict::of(&findings),
        generation_seqno: opened.generation_seqno,
        threshold: opened.threshold,
        shares: opened.shares,
        sealed: opened.sealed,
        secrets,
        entries: tally.entries,
        private_domains: tally.private_domains,
        private_decrypted: tally.private_decrypted,
        evidence_checked: tally.evidence_checked,
        evidence_ok: tally.evidence_ok,
        snapshots: verdicts,
        findings,
        elapsed_s,
        entries_per_s: tally.entries as f64 / elapsed_s,
        bytes_per_s: tally.bytes as f64 / elapsed_s,
    })
}

fn report_locked(tally: &mut Tally) {
    if let Some((first, last, entries, private)) = tally.locked {
        let text = format!(
            "no secret is known for {entries} entries, {first} to {last}, of which {private} have a private part"
        );
        let mut finding = Finding::new(Code::NoSecret, text).seqno(first);
        if private == 0 {
            finding = finding.severity(Severity::Info).next("nothing private is lost with it");
        }
        tally.findings.push(finding);
    }
}

/// Opens every entry up to `until`.
///
/// # Errors
/// If a file can't be read.
pub fn decrypt_all(
    files: &LedgerFiles,
    secrets: &LedgerSecrets,
    until: Seqno,
    progress: &dyn Progress,
) -> Result<Tally> {
    decrypt_range(files, secrets, (files.first_seqno(), until), progress)
}

/// Opens every entry of a range.
fn decrypt_range(
    files: &LedgerFiles,
    secrets: &LedgerSecrets,
    (from, until): (Seqno, Seqno),
    progress: &dyn Progress,
) -> Result<Tally> {
    let mut total = Tally::default();
    in_windows(Windows::new(files, from, until).reading_ahead(), |window| {
        let tallies: Vec<Tally> = window
            .par_iter()
            .with_max_len(1)
            .map(|segment| {
                let tally = decrypt_segment(segment, Some(secrets), (from, until), &mut Vec::new());
                progress.advance(segment.size_bytes, tally.entries);
                tally
            })
            .collect();
        tallies.into_iter().for_each(|tally| total.add(tally));
        Ok(())
    })?;
    Ok(total)
}

/// Opens every entry of a segment with these secrets, if there are any, and picks out what its public part says about the
/// secrets of the ledger.
fn decrypt_segment(
    segment: &Segment,
    secrets: Option<&LedgerSecrets>,
    (from, until): (Seqno, Seqno),
    found: &mut Vec<Found>,
) -> Tally {
    let mut tally = Tally {
        bytes: segment.size_bytes,
        ..Tally::default()
    };
    let reader = Reader {
        from,
        until,
        tables: None,
        keys: None,
        only: None,
    };
    let mut plaintext = zeroize::Zeroizing::new(Vec::new());
    let mut evidence = EvidenceBatch::default();
    let read = reader.entries(segment, |located, _| {
        let entry = &located.entry;
        let seqno = located.seqno;
        let has_private = !entry.private.is_empty();
        pick_out(located.maps(), seqno, found);
        tally.entries += 1;
        tally.private_domains += u64::from(has_private);
        let Some((secrets, secret)) = secrets.and_then(|secrets| Some((secrets, secrets.at(seqno)?))) else {
            tally.lock(seqno, has_private);
            return;
        };
        let mut report = |code: Code, text: &str| {
            tally
                .findings
                .push(finding(code, text.to_owned(), segment, located.offset, seqno));
        };
        if segment.is_sparse_in(entry.private) {
            // No key opens it, and decrypting it would take as much memory as it claims to have bytes.
            report(
                Code::NeverWritten,
                "part of the private domain was never written to the file",
            );
            return;
        }
        match secret
            .aead
            .open(entry.iv_bytes, entry.public, entry.tag, entry.private, &mut plaintext)
        {
            Err(_) => report(
                Code::Undecryptable,
                "the entry does not authenticate with the secret in force at its seqno",
            ),
            Ok(()) if has_private => match Maps::private(&plaintext).for_each(|_, _| ()) {
                Ok(()) => tally.private_decrypted += 1,
                Err(why) => report(
                    Code::PrivateWrites,
                    &format!("the decrypted private writes can't be read: {why}"),
                ),
            },
            Ok(()) => {}
        }
        if let Some(digest) = located.public.commit_evidence_digest {
            let due = Due {
                txid: (entry.iv().view, seqno),
                offset: located.offset,
                digest: *digest,
                secret: secret.from_seqno,
            };
            if !evidence.fits(&due) {
                evidence.check(segment, secrets, &mut tally);
            }
            evidence.due.push(due);
        }
    });
    if let Some(secrets) = secrets {
        evidence.check(segment, secrets, &mut tally);
    }
    read.findings
        .finish()
        .into_iter()
        .for_each(|finding| tally.findings.push(finding));
    tally
}

/// Evidence digests recomputed together, so that they fill the vector lanes.
pub(super) const EVIDENCE_BATCH: usize = 256;

struct Due {
    txid: (View, Seqno),
    offset: u64,
    digest: Digest,
    secret: Seqno,
}

/// Commit evidence digests of entries under one secret, still to be checked.
#[derive(Default)]
struct EvidenceBatch {
    due: Vec<Due>,
}

impl EvidenceBatch {
    fn fits(&self, next: &Due) -> bool {
        self.due.len() < EVIDENCE_BATCH && self.due.last().is_none_or(|last| last.secret == next.secret)
    }

    fn check(&mut self, segment: &Segment, secrets: &LedgerSecrets, tally: &mut Tally) {
        let Some(secret) = self.due.first().and_then(|due| secrets.at(due.txid.1)) else {
            return;
        };
        let txids: Vec<(View, Seqno)> = self.due.iter().map(|due| due.txid).collect();
        let mut digests = Vec::with_capacity(txids.len());
        secret.commit.evidence_digests(&txids, &mut digests);
        for (due, digest) in self.due.drain(..).zip(digests) {
            tally.evidence_checked += 1;
            if due.digest == digest {
                tally.evidence_ok += 1;
            } else {
                let text = "the commit evidence digest is not the one that the secret in force gives";
                tally.findings.push(finding(
                    Code::CommitEvidence,
                    text.to_owned(),
                    segment,
                    due.offset,
                    due.txid.1,
                ));
            }
        }
    }
}

/// Decrypts the private part of every snapshot up to `at`.
fn open_snapshots(
    directories: &[PathBuf],
    secrets: &LedgerSecrets,
    at: Seqno,
    findings: &mut Findings,
) -> Result<Vec<SnapshotVerdict>> {
    let mut verdicts = Vec::new();
    for file in snapshots::list(directories)?
        .into_iter()
        .filter(|file| file.name.seqno <= at)
    {
        let found = open_snapshot(&file, secrets);
        verdicts.push(SnapshotVerdict {
            file: file.path.shown().to_string(),
            seqno: file.name.seqno,
            verdict: Verdict::of(found.as_slice()),
            content: None,
        });
        found.into_iter().for_each(|finding| findings.push(finding));
    }
    Ok(verdicts)
}

fn open_snapshot(file: &snapshots::SnapshotFile, secrets: &LedgerSecrets) -> Option<Finding> {
    let report = |code: Code, text: String| Some(Finding::new(code, text).file(&file.path).seqno(file.name.seqno));
    let snapshot = match MappedSnapshot::open(&file.path) {
        Ok(snapshot) => snapshot,
        Err(why) => return report(Code::SnapshotUnreadable, why.to_string()),
    };
    let Some(secret) = secrets.at(file.name.seqno) else {
        return report(Code::NoSecret, "no secret is known for this snapshot".to_owned());
    };
    match snapshot.private_plaintext(&secret.aead) {
        Ok(_) => None,
        Err(why) => report(Code::Undecryptable, why.to_string()),
    }
}
