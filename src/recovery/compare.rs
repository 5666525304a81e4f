//! `compare`: copies of one service's ledger, one for each dead node. Which is the best, and what would each lose?
//!
//! Every copy is verified. Two copies are then compared by the roots that both have signed: the first root that differs
//! is found by bisection, and only the entries between it and the root before are read again. What the two suffixes that
//! differ mean is decided in the module `contest`, and which copy to recover from in `choice`.

use std::path::PathBuf;

use serde::Serialize;

use crate::crypto::digest::Digest;
use crate::crypto::x509::Certificate;
use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::format::{Seqno, TxId};
use crate::recovery::commits;
use crate::recovery::join::SignedRoot;
use crate::recovery::reading::for_each_entry;
use crate::recovery::verify::{Options, VerifyReport, verify};
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Severity, Verdict};
use crate::shown::Show;
use crate::tables::values::HexDigest;

mod choice;
pub(super) mod contest;
mod dates;

use choice::{copy_report, is_expected, recommend, standing};
use contest::{Contest, Suffix};

/// One copy of a ledger.
pub struct Copy {
    /// Its directory.
    pub directory: PathBuf,
    /// Its files.
    pub files: LedgerFiles,
    /// What verifying it found, with the root of every signature.
    pub report: VerifyReport,
    /// Identity of the service that must stand behind what is signed last, if one was given.
    pub expected: Option<HexDigest>,
}

/// What is said of one copy.
#[derive(Clone, Debug, Serialize)]
pub struct CopyReport {
    /// Its directory.
    pub directory: String,
    /// 1 is the best; copies that reach equally far share a rank.
    pub rank: usize,
    /// Whether anything is wrong with it.
    pub verdict: Verdict,
    /// The last transaction up to which everything in it is proven.
    pub last_signed: Option<TxId>,
    /// The root it signs.
    pub root: Option<HexDigest>,
    /// The first entry of its files.
    #[serde(skip)]
    pub first_seqno: Seqno,
    /// First and last seqnos of what none of its files holds between others.
    #[serde(skip)]
    pub gaps: Vec<(Seqno, Seqno)>,
    /// The last entry that can be read.
    pub last_seqno: Seqno,
    /// Entries after the last signed one.
    pub unsigned_entries: u64,
    /// Identity of the service that stands behind what is signed last; none where nothing ties it to one.
    pub service: Option<HexDigest>,
    /// Whether that is the service whose certificate was given; none if none was.
    pub is_expected_service: Option<bool>,
    /// What would be lost by choosing it: signed entries that another copy has.
    pub loses: Vec<Loss>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// Signed entries that one copy has and another has not.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    /// The copy that has them.
    pub to: String,
    /// First.
    pub from_seqno: Seqno,
    /// Last.
    pub to_seqno: Seqno,
}

/// How two copies stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The same entries.
    Same,
    /// One begins with all of the other.
    Prefix,
    /// They differ, but at most one of them has signed what differs.
    UnsignedDifference,
    /// Both have signed what differs; one is the tail of a lower view, which ends where a higher view begins.
    Superseded,
    /// Two signed histories contradict each other.
    Fork,
    /// They belong to different services.
    OtherService,
}

/// A pair of copies.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// The first one's directory.
    pub a: String,
    /// The other one's.
    pub b: String,
    /// How they stand to each other.
    pub relation: Relation,
    /// The last transaction that both have signed with the same root.
    pub last_common_signed: Option<TxId>,
    /// The first seqno at which they differ; for a prefix, the first one that only one of them has.
    pub first_difference: Option<Seqno>,
    /// For a fork and a superseded tail: the first signature of each in what differs.
    pub evidence: Vec<Evidence>,
    /// For a fork: what makes it one, in words; for a superseded tail: whether a recovery did it.
    #[serde(skip)]
    pub cause: String,
}

/// A signature over a contested history.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// The copy that holds it.
    pub directory: String,
    /// The signature transaction.
    pub txid: TxId,
    /// The root it signs.
    pub root: HexDigest,
    /// The node that signed.
    pub signer: Option<HexDigest>,
}

/// What was found. Serialised, it is the document that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    /// The short answer.
    pub verdict: Verdict,
    /// The copies, best first.
    pub copies: Vec<CopyReport>,
    /// Every pair of them.
    pub pairs: Vec<PairReport>,
    /// The copy to recover from; none if they are of different services, or nothing is proven in any, or in none by the
    /// service whose certificate was given.
    pub recommended: Option<String>,
    /// Why.
    pub reason: String,
    /// What is wrong between the copies; what is wrong inside one is listed with it.
    pub findings: Vec<Finding>,
}

/// Verifies a copy for a comparison. With a certificate only a copy whose last signature is by that service, or by a node
/// that it endorsed, will be recommended.
///
/// # Errors
/// If a file can't be read.
pub fn examine(directory: PathBuf, service: Option<&Certificate>, progress: &dyn Progress) -> Result<Copy> {
    let files = LedgerFiles::list(std::slice::from_ref(&directory), false)?;
    let options = Options {
        keep_history: true,
        service_certificate: service.cloned(),
        ..Options::default()
    };
    let report = verify(&files, &options, progress)?;
    Ok(Copy {
        directory,
        files,
        report,
        expected: service.map(|service| HexDigest(service.key_id())),
    })
}

/// Compares copies.
///
/// # Errors
/// If a file can't be read.
pub fn compare(mut copies: Vec<Copy>) -> Result<CompareReport> {
    dates::take_back(&mut copies);
    copies.sort_by_key(|copy| std::cmp::Reverse((standing(copy), copy.report.verdict == Verdict::Ok)));
    let mut pairs = Vec::new();
    let mut findings = Vec::new();
    for (i, a) in copies.iter().enumerate() {
        for b in copies.iter().skip(i + 1) {
            let pair = compare_pair(a, b)?;
            findings.extend(finding_of(&pair));
            pairs.push(pair);
        }
    }
    let reports: Vec<CopyReport> = copies.iter().map(|copy| copy_report(copy, &copies, &pairs)).collect();
    let (recommended, reason) = recommend(&reports, &pairs);
    let wrong_inside = reports.iter().any(|copy| copy.verdict != Verdict::Ok);
    Ok(CompareReport {
        verdict: match wrong_inside {
            true => Verdict::Findings,
            false => Verdict::of(&findings),
        },
        copies: reports,
        pairs,
        recommended,
        reason,
        findings,
    })
}

fn name(copy: &Copy) -> String {
    copy.directory.shown().to_string()
}

fn finding_of(pair: &PairReport) -> Option<Finding> {
    let at = pair.first_difference;
    let finding = match pair.relation {
        Relation::Fork => Finding::new(
            Code::Fork,
            format!(
                "{} and {} hold two signed histories that differ from seqno {} on: {}",
                pair.a,
                pair.b,
                at.unwrap_or(0),
                pair.cause
            ),
        ),
        Relation::Superseded => Finding::new(Code::Superseded, superseded_text(pair)),
        Relation::OtherService => Finding::new(
            Code::OtherService,
            format!("{} and {} belong to different services", pair.a, pair.b),
        ),
        Relation::UnsignedDifference => Finding::new(
            Code::Fork,
            format!(
                "{} and {} differ from seqno {} on, where at most one of them is proven",
                pair.a,
                pair.b,
                at.unwrap_or(0)
            ),
        )
        .severity(Severity::Info)
        .next("what is proven stands; the other copy's entries from there on would be dropped"),
        Relation::Same | Relation::Prefix => return None,
    };
    Some(Finding { seqno: at, ..finding })
}

fn superseded_text(pair: &PairReport) -> String {
    let at = pair.first_difference.unwrap_or(0);
    let view = |copy: &str| {
        let own = pair.evidence.iter().find(|evidence| evidence.directory == copy);
        own.map_or(0, |evidence| evidence.txid.view)
    };
    format!(
        "what {} has signed from seqno {at} on in view {} was superseded{}: {} goes on from {} in view {}",
        pair.b,
        view(&pair.b),
        pair.cause,
        pair.a,
        at.saturating_sub(1),
        view(&pair.a)
    )
}

/// Compares two copies, the better one first.
fn compare_pair(a: &Copy, b: &Copy) -> Result<PairReport> {
    let mut pair = PairReport {
        a: name(a),
        b: name(b),
        relation: Relation::Same,
        last_common_signed: None,
        first_difference: None,
        evidence: Vec::new(),
        cause: String::new(),
    };
    let first_service = |copy: &Copy| copy.report.services.first().map(|service| service.identity);
    let (starts_a, starts_b) = (a.files.first_seqno(), b.files.first_seqno());
    if starts_a == starts_b
        && first_service(a).is_some()
        && first_service(b).is_some()
        && first_service(a) != first_service(b)
    {
        pair.relation = Relation::OtherService;
        return Ok(pair);
    }
    pair.last_common_signed = last_common(&a.report.history, &b.report.history);
    let from = pair
        .last_common_signed
        .map_or(starts_a.max(starts_b), |txid| txid.seqno);
    let shorter = a.report.last_seqno.min(b.report.last_seqno);
    pair.first_difference = first_difference(a, b, from, shorter)?;
    if pair.first_difference.is_none() {
        if a.report.last_seqno != b.report.last_seqno {
            pair.relation = Relation::Prefix;
            pair.first_difference = Some(shorter + 1);
        }
        return Ok(pair);
    }
    let at = pair.first_difference.unwrap_or(0);
    let (of_a, of_b) = (suffix(a, at)?, suffix(b, at)?);
    match contest::decide(at, (&pair.a, &of_a), (&pair.b, &of_b)) {
        Contest::Unsigned => pair.relation = Relation::UnsignedDifference,
        // The other one would supersede it, but is of another service than the one that was asked for.
        Contest::Superseded if of_a.last_view() < of_b.last_view() && is_expected(b) == Some(false) => {
            pair.relation = Relation::Fork;
            pair.cause = format!(
                "what {} goes on with is not of the service whose certificate was given",
                pair.b
            );
        }
        Contest::Superseded => {
            pair.relation = Relation::Superseded;
            if of_a.service.is_some() {
                pair.cause = " by a recovery, after which clients may miss what they had seen".to_owned();
            }
        }
        Contest::Fork(cause) => {
            pair.relation = Relation::Fork;
            pair.cause = cause;
        }
    }
    // A signature that is itself the first difference does not cover it, but begins the higher view.
    let from = match pair.relation {
        Relation::Superseded => at,
        _ => at + 1,
    };
    for copy in [a, b] {
        let first = copy.report.history.iter().find(|signed| signed.txid.seqno >= from);
        pair.evidence.extend(first.map(|signed| Evidence {
            directory: name(copy),
            txid: signed.txid,
            root: signed.root,
            signer: signed.signer,
        }));
    }
    Ok(pair)
}

/// What a copy holds from seqno `at` on.
fn suffix(copy: &Copy, at: Seqno) -> Result<Suffix> {
    let report = &copy.report;
    let mut begins = None;
    for_each_entry(&copy.files, at, at, |_, located| begins = Some(located.entry.iv().view))?;
    let signed = report.history.iter().map(|signed| signed.txid);
    let signed: Vec<TxId> = signed.filter(|txid| txid.seqno >= at).collect();
    let last = report.last_signed;
    // Whose own view may have been taken back.
    if let Some(last) = last.filter(|last| last.seqno == at) {
        begins = Some(last.view);
    }
    let named = last.and_then(|last| commits::in_names(&copy.files.chunks, last.seqno, last.view));
    let covered = |from: Seqno| from >= at && last.is_some_and(|last| from < last.seqno);
    let service = report.services.iter().find(|service| covered(service.from_seqno));
    Ok(Suffix {
        begins,
        signed,
        commits: report.commits.iter().cloned().chain(named).collect(),
        service: service.map(|service| service.identity),
    })
}

/// The last signature that both histories hold with the same root, by bisection over those at the same seqno: once two
/// histories differ, no later root is the same. Where a primary is cut off right before it signs, its last signature and
/// the first one of the next have the same root, but not the same view.
fn last_common(a: &[SignedRoot], b: &[SignedRoot]) -> Option<TxId> {
    let mut common = Vec::new();
    let mut rest = b.iter().peekable();
    for signed in a {
        while rest.next_if(|other| other.txid.seqno < signed.txid.seqno).is_some() {}
        if let Some(other) = rest.next_if(|other| other.txid.seqno == signed.txid.seqno) {
            common.push((signed, other));
        }
    }
    let same = common.partition_point(|(a, b)| a.root == b.root && a.txid == b.txid);
    common.get(same.checked_sub(1)?).map(|(signed, _)| signed.txid)
}

/// Entries compared at once: 64 k digests take 2 MB.
const BLOCK: u64 = 1 << 16;

/// The first seqno in `from..=until` whose entries differ. Reads no further than that.
fn first_difference(a: &Copy, b: &Copy, from: Seqno, until: Seqno) -> Result<Option<Seqno>> {
    let mut start = from;
    while start <= until {
        let end = until.min(start + BLOCK - 1);
        let (left, right) = (digests(a, start, end)?, digests(b, start, end)?);
        if let Some(at) = left.iter().zip(&right).position(|(left, right)| left != right) {
            return Ok(Some(start + at as u64));
        }
        start = end + 1;
    }
    Ok(None)
}

/// Digest of every entry in `from..=until`; none for one that can't be read.
fn digests(copy: &Copy, from: Seqno, until: Seqno) -> Result<Vec<Option<Digest>>> {
    let mut digests = vec![None; (until - from + 1) as usize];
    for_each_entry(&copy.files, from, until, |_, located| {
        if let Some(slot) = digests.get_mut((located.seqno - from) as usize) {
            *slot = Some(located.entry.write_set_digest());
        }
    })?;
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(roots: &[(u64, u8)]) -> Vec<SignedRoot> {
        roots
            .iter()
            .map(|&(seqno, root)| SignedRoot {
                service: None,
                txid: TxId { view: 2, seqno },
                root: HexDigest([root; 32]),
                signer: None,
            })
            .collect()
    }

    #[test]
    fn the_last_common_root_is_found_among_signatures_at_the_same_seqno() {
        let a = history(&[(2, 1), (5, 2), (9, 3), (12, 4)]);
        let b = history(&[(2, 1), (5, 2), (7, 9), (9, 8), (12, 7)]);
        assert_eq!(last_common(&a, &b).map(|txid| txid.seqno), Some(5));
        assert_eq!(last_common(&a, &a).map(|txid| txid.seqno), Some(12));
        assert_eq!(last_common(&a, &[]), None);
        let mut elected = a.clone();
        elected[3].txid.view = 3;
        assert_eq!(last_common(&a, &elected).map(|txid| txid.seqno), Some(9));
    }
}
