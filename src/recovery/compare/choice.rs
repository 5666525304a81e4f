//! Which copy to recover from, and what would be lost by each choice.
//!
//! Whoever can write to a copy can start a recovery of his own on top of it, as CCF itself would: the copy is then longer than
//! every other one and beyond reproach. Only a certificate from elsewhere tells: what another service signed counts for nothing.

use std::collections::BTreeSet;

use super::{Copy, CopyReport, Loss, PairReport, Relation, name};
use crate::crypto::digest::Digest;
use crate::format::directory::Note;
use crate::format::{Seqno, TxId};

/// What copies are ranked by: whether the service that was asked for stands behind what is signed, or any service at all, and
/// then how far that reaches.
pub(super) fn standing(copy: &Copy) -> (Option<bool>, bool, Option<TxId>) {
    (
        is_expected(copy),
        copy.report.identity.is_some(),
        copy.report.last_signed,
    )
}

/// Whether the last signature is of the service whose certificate was given; none if none was.
pub(super) fn is_expected(copy: &Copy) -> Option<bool> {
    copy.expected.map(|expected| copy.report.identity == Some(expected))
}

/// The service whose certificate was given and those before it, as far as copies hold something that it signed.
fn succession(copies: &[Copy]) -> BTreeSet<Digest> {
    let of_copy = |copy: &Copy| {
        let signed = copy
            .report
            .history
            .iter()
            .filter(|signed| signed.service == copy.expected);
        let last = signed.map(|signed| signed.txid.seqno).max().unwrap_or(0);
        let services = copy
            .report
            .services
            .iter()
            .filter(move |service| service.from_seqno <= last);
        services.map(|service| service.identity.0).collect::<Vec<_>>()
    };
    copies.iter().flat_map(of_copy).collect()
}

/// The last transaction in a copy that is worth keeping: what is proven, and not by a service outside the succession if one
/// was given.
fn worth_keeping(copy: &Copy, succession: &BTreeSet<Digest>) -> Option<TxId> {
    if copy.expected.is_none() {
        return copy.report.last_signed;
    }
    let mut history = copy.report.history.iter().rev();
    let own = history.find(|signed| signed.service.is_none_or(|service| succession.contains(&service.0)));
    own.map(|signed| signed.txid)
}

pub(super) fn copy_report(copy: &Copy, all: &[Copy], pairs: &[PairReport]) -> CopyReport {
    let report = &copy.report;
    let better = all.iter().filter(|other| standing(other) > standing(copy)).count();
    let succession = succession(all);
    let directory = name(copy);
    let loses = all
        .iter()
        .filter_map(|other| {
            let other_name = name(other);
            let pair = pairs.iter().find(|pair| {
                (pair.a == directory && pair.b == other_name) || (pair.b == directory && pair.a == other_name)
            })?;
            let from_seqno = pair.first_difference?;
            let to_seqno = worth_keeping(other, &succession)?.seqno;
            // What was superseded was dropped by the service itself, long before anybody chooses.
            let superseded = pair.relation == Relation::Superseded && report.last_signed > other.report.last_signed;
            let counts = pair.relation != Relation::OtherService && !superseded;
            (counts && to_seqno >= from_seqno).then_some(Loss {
                to: other_name,
                from_seqno,
                to_seqno,
            })
        })
        .collect();
    CopyReport {
        directory,
        rank: better + 1,
        verdict: report.verdict,
        last_signed: report.last_signed,
        root: report.root,
        first_seqno: copy.files.first_seqno(),
        gaps: copy.files.notes.iter().filter_map(gap).collect(),
        last_seqno: report.last_seqno,
        unsigned_entries: report.unsigned_entries,
        service: report.identity,
        is_expected_service: is_expected(copy),
        loses,
        findings: report.findings.clone(),
    }
}

fn gap(note: &Note) -> Option<(Seqno, Seqno)> {
    match note {
        Note::Gap { from, to } => Some((*from, *to)),
        _ => None,
    }
}

/// The copy to recover from, if there is one, and why; the copies come in the order of their ranks.
pub(super) fn recommend(copies: &[CopyReport], pairs: &[PairReport]) -> (Option<String>, String) {
    let Some(best) = copies.first().filter(|best| best.last_signed.is_some()) else {
        return (None, "nothing is proven in any of the copies".to_owned());
    };
    if best.service.is_none() {
        let why = "nothing ties what is signed in any of the copies to the service that they name, as in CCF 1.x";
        return (None, why.to_owned());
    }
    if best.is_expected_service == Some(false) {
        let why = "in none of the copies is what is signed last of the service whose certificate was given";
        return (None, why.to_owned());
    }
    let pinned = best.is_expected_service.is_some();
    if !pinned && pairs.iter().any(|pair| pair.relation == Relation::OtherService) {
        return (None, "the copies belong to different services".to_owned());
    }
    let txid = best.last_signed.map_or(String::new(), |txid| txid.to_string());
    let furthest = match pinned {
        true => {
            format!("of what the service whose certificate was given has signed, it reaches furthest, up to {txid}")
        }
        false => format!("it is signed furthest, up to {txid}"),
    };
    let contested = pairs
        .iter()
        .any(|pair| pair.relation == Relation::Fork && (pair.a == best.directory || pair.b == best.directory));
    let supersedes = pairs
        .iter()
        .any(|pair| pair.relation == Relation::Superseded && pair.a == best.directory);
    let reason = match (contested, best.loses.is_empty()) {
        (false, true) if supersedes => format!(
            "it is of the highest view, signed up to {txid}; of what other copies have signed, nothing is missing in it but \
             tails that were superseded, of which nothing is proven to have been committed"
        ),
        (true, _) => format!(
            "{furthest}, but another copy holds a signed history that contradicts it: find out first which one clients saw"
        ),
        (false, true) if pinned => {
            format!(
                "{furthest}, and nothing that this service or one before it signed in any other copy is missing in it"
            )
        }
        (false, true) => format!("{furthest}, and nothing signed in any other copy is missing in it"),
        (false, false) => furthest,
    };
    (Some(best.directory.clone()), reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::directory::LedgerFiles;
    use crate::recovery::signed::SignedRoot;
    use crate::tables::values::HexDigest;

    const OURS: HexDigest = HexDigest([1; 32]);
    const THEIRS: HexDigest = HexDigest([2; 32]);

    /// A copy, signed last at `signed` by `service`, with a signature at each of `history`.
    fn copy(name: &str, signed: TxId, service: Option<HexDigest>, history: &[(u64, Option<HexDigest>)]) -> Copy {
        let report = serde_json::json!({
            "verdict": "ok", "mode": "audit", "entries": 0, "signatures": 0, "cose_signatures": 0, "chunks": 0,
            "bytes": 0, "last_seqno": signed.seqno, "last_signed": signed, "root": null, "signer": null,
            "unsigned_entries": 0, "snapshots": [], "findings": [], "elapsed_s": 0.0, "entries_per_s": 0.0,
            "bytes_per_s": 0.0,
            "services": [{"from_seqno": 1, "identity": OURS, "recovery_count": null}],
        });
        let mut copy = Copy {
            directory: name.into(),
            files: LedgerFiles {
                chunks: Vec::new(),
                spares: Vec::new(),
                notes: Vec::new(),
            },
            report: serde_json::from_value(report).unwrap(),
            expected: None,
        };
        copy.report.identity = service;
        let signed = |(seqno, service): &(u64, Option<HexDigest>)| SignedRoot {
            txid: TxId { view: 2, seqno: *seqno },
            root: THEIRS,
            signer: None,
            service: *service,
        };
        copy.report.history = history.iter().map(signed).collect();
        copy
    }

    fn pair(relation: Relation, first_difference: u64) -> PairReport {
        PairReport {
            a: "a".to_owned(),
            b: "b".to_owned(),
            relation,
            last_common_signed: None,
            first_difference: Some(first_difference),
            evidence: Vec::new(),
            cause: String::new(),
        }
    }

    fn txid(view: u64, seqno: u64) -> TxId {
        TxId { view, seqno }
    }

    fn said(copies: &[Copy], pairs: &[PairReport]) -> (Option<String>, String) {
        let mut reports: Vec<_> = copies.iter().map(|copy| copy_report(copy, copies, pairs)).collect();
        reports.sort_by_key(|report| report.rank);
        recommend(&reports, pairs)
    }

    #[test]
    fn a_copy_that_a_service_stands_behind_is_better_than_a_longer_one_of_nobody() {
        let copies = [
            copy("a", txid(2, 90), None, &[]),
            copy("b", txid(2, 50), Some(OURS), &[]),
        ];
        let (best, _) = said(&copies, &[pair(Relation::UnsignedDifference, 51)]);
        assert_eq!(best.as_deref(), Some("b"));
    }

    #[test]
    fn nothing_is_recommended_where_no_service_stands_behind_any_copy() {
        let copies = [copy("a", txid(2, 90), None, &[]), copy("b", txid(2, 50), None, &[])];
        let (best, why) = said(&copies, &[pair(Relation::Prefix, 51)]);
        assert!(best.is_none() && why.contains("CCF 1.x"), "{why}");
    }

    #[test]
    fn what_another_service_has_is_no_loss() {
        let copies = [
            copy("a", txid(3, 90), Some(OURS), &[]),
            copy("b", txid(2, 80), Some(THEIRS), &[]),
        ];
        let loses = |relation| copy_report(&copies[0], &copies, &[pair(relation, 2)]).loses.len();
        assert_eq!(loses(Relation::OtherService), 0);
        assert_eq!(loses(Relation::Superseded), 0);
        assert_eq!(loses(Relation::Fork), 1);
        // From the other side the superseded history is the longer one.
        let other = copy_report(&copies[1], &copies, &[pair(Relation::Superseded, 2)]);
        assert_eq!(other.loses.len(), 1);
    }

    #[test]
    fn what_a_stranger_signed_on_top_is_no_loss_and_what_the_service_signed_is() {
        let pin = |mut copy: Copy| {
            copy.expected = Some(OURS);
            copy
        };
        let history = [(50, Some(OURS)), (90, Some(THEIRS))];
        let copies = [
            pin(copy("a", txid(2, 40), Some(OURS), &[(40, Some(OURS))])),
            pin(copy("b", txid(4, 90), Some(THEIRS), &history)),
        ];
        let loses = copy_report(&copies[0], &copies, &[pair(Relation::Prefix, 41)]).loses;
        assert_eq!(loses.iter().map(|loss| loss.to_seqno).collect::<Vec<_>>(), [50]);
        let (best, _) = said(&copies, &[pair(Relation::Prefix, 41)]);
        assert_eq!(best.as_deref(), Some("a"), "the other one is of another service");
    }

    #[test]
    fn a_contradiction_is_said_on_whichever_side_of_the_pair_the_best_copy_is() {
        let (low, high) = (txid(2, 50), txid(2, 90));
        for (a, b) in [(low, high), (high, low)] {
            let copies = [copy("a", a, Some(OURS), &[]), copy("b", b, Some(OURS), &[])];
            let (_, why) = said(&copies, &[pair(Relation::Fork, 41)]);
            assert!(why.contains("contradicts"), "{why}");
            let (_, why) = said(&copies, &[pair(Relation::Prefix, 51)]);
            assert!(!why.contains("contradicts"), "{why}");
        }
    }
}
