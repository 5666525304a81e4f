//! Lost snapshots: which can be had, why the others can't, and having them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::evidence::{Evidence, Found};
use super::rebuild::{Rebuilding, Refusal, maps_after};
use super::receipt;
use super::replay::Replay;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::names::SnapshotName;
use crate::recovery::recovery_tables::RecoveryTables;
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::segments::Windows;
use crate::recovery::state::MappedSnapshot;
use crate::recovery::writes::is_signature;
use crate::report::{Code, Finding, Severity};
use crate::shown::Show;

/// What is to be said of one snapshot that a ledger has evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that it takes is in the ledger, as far as can be said before it is done.
    CanBeRebuilt,
    /// No signature covers its evidence.
    Unsigned,
    /// Its state is before what is read.
    BeforeTheLedger,
    /// Its evidence says that its state is that of the evidence itself, or of a later transaction.
    Impossible,
    /// It was rebuilt: it has the digest of its evidence.
    Rebuilt,
    /// It could not be; a finding says why.
    Refused,
}

/// One snapshot that a ledger has evidence of.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The evidence.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// The name that the service gave its file.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The snapshots of a ledger, oldest evidence first. `begins_at` is the first seqno that is read.
pub fn rows(found: &Found, begins_at: Seqno) -> Vec<Row> {
    let row = |evidence: &Evidence| Row {
        evidence: *evidence,
        name: name(evidence).to_string(),
        outcome: match evidence.signed_at {
            _ if evidence.seqno >= evidence.evidence.seqno => Outcome::Impossible,
            _ if evidence.seqno < begins_at => Outcome::BeforeTheLedger,
            None => Outcome::Unsigned,
            Some(_) => Outcome::CanBeRebuilt,
        },
        file: None,
        bytes: None,
    };
    found.evidence.iter().map(row).collect()
}

fn name(evidence: &Evidence) -> SnapshotName {
    SnapshotName {
        seqno: evidence.seqno,
        evidence_seqno: evidence.evidence.seqno,
        committed: true,
    }
}

/// The rows that are asked for: those at a seqno, all of them, or the newest that can be had.
pub fn choose(rows: &[Row], at: Option<Seqno>, all: bool) -> Vec<usize> {
    let numbered = rows.iter().enumerate();
    match at {
        Some(at) => numbered
            .filter(|(_, row)| row.evidence.seqno == at)
            .map(|(number, _)| number)
            .collect(),
        None => {
            let possible = numbered.filter(|(_, row)| row.outcome == Outcome::CanBeRebuilt);
            let possible: Vec<usize> = possible.map(|(number, _)| number).collect();
            match all {
                true => possible,
                false => possible.last().copied().into_iter().collect(),
            }
        }
    }
}

/// Why there is no snapshot at this seqno, which no evidence names.
pub fn why_none(files: &LedgerFiles, rows: &[Row], at: Seqno) -> Finding {
    let mut seqnos: Vec<Seqno> = rows.iter().map(|row| row.evidence.seqno).collect();
    seqnos.dedup();
    let before = seqnos.iter().rev().find(|seqno| **seqno < at);
    let after = seqnos.iter().find(|seqno| **seqno > at);
    let near = match (before, after) {
        (None, None) => "the ledger holds no evidence of any snapshot".to_owned(),
        (Some(one), None) | (None, Some(one)) => format!("the nearest one with evidence is at {one}"),
        (Some(one), Some(other)) => format!("the nearest ones with evidence are at {one} and {other}"),
    };
    let (first, last) = (files.first_seqno(), files.last_seqno());
    let why = match at {
        at if at > last => format!("the ledger ends at {last}"),
        at if at < first => format!("the ledger begins at {first}"),
        at => match signs(files, at) {
            None => format!("transaction {at} can't be read"),
            Some(false) => format!("transaction {at} is no signature, and snapshots are of the state at one"),
            Some(true) => format!(
                "no transaction holds evidence of a snapshot at {at}: none was taken, or its evidence was lost with what a recovery \
                 dropped"
            ),
        },
    };
    Finding::new(Code::SnapshotNoEvidence, format!("{why}; {near}")).seqno(at)
}

fn signs(files: &LedgerFiles, at: Seqno) -> Option<bool> {
    let mut windows = Windows::new(files, at, at);
    let mut found = None;
    while let Ok(Some(window)) = windows.next_window() {
        for segment in &window {
            segment.for_each(|located| {
                if located.seqno == at {
                    found = Some(is_signature(&located));
                }
            });
        }
    }
    found
}

/// What is missing where there are no keys, with the members that have shares.
///
/// # Errors
/// If the ledger can't be read.
pub fn locked(files: &LedgerFiles, start: Option<&MappedSnapshot>, row: &Row) -> Result<Finding> {
    let tables = RecoveryTables::read(files, start, Seqno::MAX)?;
    let shares = tables.shares.as_ref();
    let members: Vec<&str> = shares
        .into_iter()
        .flat_map(|(_, shares)| shares.encrypted_shares.keys())
        .map(String::as_str)
        .collect();
    let text = format!(
        "a snapshot is sealed with the ledger secret, also where all of its state is public, and so is the evidence in its receipt: \
         that takes keys of {} of {} members ({})",
        tables.threshold.unwrap_or(1),
        members.len(),
        members.join(", ")
    );
    Ok(Finding::new(Code::SnapshotLocked, text).seqno(row.evidence.seqno))
}

/// Says why a row that was chosen can't be had, where that is known before anything is read.
pub fn hopeless(row: &Row, asked_for: bool) -> Option<Finding> {
    let (code, why) = match row.outcome {
        Outcome::Unsigned => (
            Code::SnapshotEvidenceUnsigned,
            format!(
                "its evidence, transaction {}, is covered by no signature: there is no receipt for it",
                row.evidence.evidence
            ),
        ),
        Outcome::Impossible => (
            Code::SnapshotStateLost,
            format!(
                "its evidence is transaction {}, which says that its state is of transaction {}: no service wrote that",
                row.evidence.evidence, row.evidence.seqno
            ),
        ),
        Outcome::BeforeTheLedger => (
            Code::SnapshotStateLost,
            format!(
                "its evidence is transaction {}, but its state is not after the beginning of what is read",
                row.evidence.evidence
            ),
        ),
        _ => return None,
    };
    let finding = Finding::new(code, why).seqno(row.evidence.seqno);
    Some(match asked_for {
        true => finding.severity(Severity::Error),
        false => finding.severity(Severity::Info),
    })
}

/// Rebuilds the chosen rows into `out`, a directory, and answers what is wrong.
///
/// # Errors
/// If a file can't be read or written.
pub fn rebuild(
    replay: &Replay<'_>,
    secrets: &LedgerSecrets,
    rows: &mut [Row],
    chosen: &[usize],
    out: &Path,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut stops: BTreeMap<Seqno, Vec<usize>> = BTreeMap::new();
    for &number in chosen {
        let Some(row) = rows.get(number) else { continue };
        match hopeless(row, true) {
            Some(finding) => findings.push(finding),
            None => stops.entry(row.evidence.seqno).or_default().push(number),
        }
    }
    let seqnos: Vec<Seqno> = stops.keys().copied().collect();
    replay.run(&seqnos, |state| {
        for number in stops.get(&state.at).into_iter().flatten() {
            let Some(row) = rows.get_mut(*number) else { continue };
            let Some(signed_at) = row.evidence.signed_at else {
                continue;
            };
            let refused = |why: Refusal| {
                let (code, text) = match why {
                    Refusal::Gap(text) => (Code::SnapshotStateLost, text),
                    Refusal::Locked(text) => (Code::SnapshotLocked, text),
                    Refusal::Differs(text) => (Code::SnapshotNotReproduced, text),
                    Refusal::Unproven(text) => (Code::SnapshotNotProven, text),
                };
                Finding::new(code, text).seqno(state.at)
            };
            row.outcome = Outcome::Refused;
            let proof = match receipt::read(replay.files, &row.evidence, signed_at) {
                Ok(proof) if proof.is_signature => proof,
                Ok(_) => {
                    let text = format!(
                        "its evidence says that it is of transaction {}, which is no signature",
                        state.at
                    );
                    findings.push(refused(Refusal::Unproven(text)));
                    continue;
                }
                Err(why) => {
                    findings.push(refused(Refusal::Gap(why)));
                    continue;
                }
            };
            let range = (row.evidence.seqno, row.evidence.evidence.seqno);
            let born = maps_after(replay.files, range, Some(secrets))?;
            let rebuilding = Rebuilding {
                evidence: &row.evidence,
                proof: &proof,
                born: &born,
                secrets,
            };
            let path = out.join(&row.name);
            match rebuilding.write(state, &path)? {
                Ok(rebuilt) => {
                    row.outcome = Outcome::Rebuilt;
                    row.file = Some(path.shown().to_string());
                    row.bytes = Some(rebuilt.bytes);
                    if let Some(why) = rebuilt.without_receipt {
                        findings.push(
                            Finding::new(Code::SnapshotWithoutReceipt, why)
                                .seqno(state.at)
                                .file(&path),
                        );
                    }
                }
                Err(refusal) => findings.push(refused(refusal)),
            }
        }
        Ok(())
    })?;
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::TxId;
    use crate::tables::values::HexDigest;

    #[test]
    fn evidence_of_a_state_that_comes_later_is_said_to_be_that() {
        let evidence = |seqno| Evidence {
            seqno,
            evidence: TxId { view: 2, seqno: 42 },
            digest: HexDigest([0; 32]),
            signed_at: Some(43),
        };
        let found = Found {
            evidence: [0, 9, 10, 41, 42, 99, Seqno::MAX].map(evidence).to_vec(),
            ..Found::default()
        };
        let rows = rows(&found, 10);
        let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
        let (before, possible, impossible) = (Outcome::BeforeTheLedger, Outcome::CanBeRebuilt, Outcome::Impossible);
        assert_eq!(
            outcomes,
            [before, before, possible, possible, impossible, impossible, impossible]
        );
        assert_eq!(choose(&rows, None, true), [2, 3]);
        for row in &rows[4..] {
            let finding = hopeless(row, true).unwrap();
            assert_eq!(
                (finding.code, finding.severity),
                (Code::SnapshotStateLost, Severity::Error)
            );
            let seqno = row.evidence.seqno;
            assert!(
                finding.message.contains(&format!("is of transaction {seqno}:")),
                "{}",
                finding.message
            );
        }
    }
}
