//! `--against`: this ledger held against what an earlier run reported of it.
//!
//! An earlier report is taken whole or not at all: whoever could leave fields out of it could leave out what tells. What
//! lies before the place where this run begins, or after the one where it was told to end, is not compared, and said.

use serde::Deserialize;

use crate::format::{Seqno, TxId};
use crate::recovery::join::{Joiner, SignedRoot};
use crate::recovery::trust::ServiceRecord;
use crate::recovery::verified::VerifyReport;
use crate::report::{Code, Finding, Verdict};
use crate::tables::values::HexDigest;

/// What is needed of an earlier report. Deserialised from a whole [`VerifyReport`], and from nothing else.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "VerifyReport")]
pub struct Earlier {
    /// The last signed transaction it found.
    pub last_signed: Option<TxId>,
    /// The root signed there.
    pub root: Option<HexDigest>,
    /// The service identities it found, oldest first.
    pub services: Vec<ServiceRecord>,
}

impl TryFrom<VerifyReport> for Earlier {
    type Error = String;

    /// Takes a report whose parts fit each other, as those of every report do that was printed.
    fn try_from(report: VerifyReport) -> Result<Earlier, String> {
        let in_order = |pair: &[ServiceRecord]| matches!(pair, [a, b] if a.from_seqno < b.from_seqno);
        let wrong = match (report.last_signed, report.root) {
            (Some(_), None) | (None, Some(_)) => Some("one of last_signed and root is missing"),
            (Some(last), _) if last.seqno > report.last_seqno => Some("last_signed is after last_seqno"),
            (Some(last), _) if report.unsigned_entries != report.last_seqno - last.seqno => {
                Some("unsigned_entries is not the difference of last_seqno and last_signed")
            }
            (Some(_), _) if report.services.is_empty() => Some("something is signed, and services is empty"),
            _ if !report.services.windows(2).all(in_order) => Some("services are out of order"),
            _ if report.verdict != Verdict::of(&report.findings) => {
                Some("the verdict does not follow from the findings")
            }
            _ => None,
        };
        match wrong {
            Some(wrong) => Err(format!("its parts don't fit each other: {wrong}")),
            None => Ok(Earlier {
                last_signed: report.last_signed,
                root: report.root,
                services: report.services,
            }),
        }
    }
}

/// What this run read.
pub(super) struct Range {
    /// It began after this seqno: a snapshot's, or 0.
    pub(super) start: Seqno,
    /// The signature that this snapshot is of.
    pub(super) start_signed: Option<SignedRoot>,
    /// It was told to end here.
    pub(super) until: Option<Seqno>,
}

/// Compares; what is found goes to the joiner's findings.
pub(super) fn check(joiner: &mut Joiner<'_>, earlier: &Earlier, range: &Range, proven: Option<SignedRoot>) {
    let here = joiner.trust.services().to_vec();
    for finding in findings(
        earlier,
        &here,
        range,
        proven,
        joiner.against.and_then(|(_, found)| found),
    ) {
        joiner.findings.push(finding);
    }
}

fn findings(
    earlier: &Earlier,
    here: &[ServiceRecord],
    range: &Range,
    proven: Option<SignedRoot>,
    found: Option<SignedRoot>,
) -> Vec<Finding> {
    let (Some(last), Some(root)) = (earlier.last_signed, earlier.root) else {
        let text = "the earlier report found nothing signed: there is nothing to compare";
        return vec![Finding::new(Code::NotCompared, text)];
    };
    let at_end = |code: Code, text: String| Finding::new(code, text).seqno(last.seqno);
    let reach = proven.map_or(0, |signed| signed.txid.seqno);
    let (was, is) = (earlier.services.first(), here.first());
    let known = |is: &ServiceRecord| earlier.services.iter().any(|was| was.identity == is.identity);
    if let (Some(was), Some(is)) = (was, is)
        && range.start == 0
        && was.from_seqno <= reach
        && is.from_seqno <= last.seqno
        && !here.iter().any(known)
    {
        let text = format!(
            "the earlier report is about service {}, this ledger is of service {}",
            hex::encode(was.identity.0),
            hex::encode(is.identity.0)
        );
        return vec![at_end(Code::OtherService, text)];
    }
    let services = compare_services(&earlier.services, here, range, last.seqno.min(reach));
    let mut findings = services.wrong;
    let mut untold: Vec<String> = Vec::new();
    let found = match last.seqno == range.start {
        true => range.start_signed,
        false => found,
    };
    if range.start > last.seqno {
        untold.push(format!(
            "the earlier report ends at {last}, before seqno {}, after which this run begins",
            range.start
        ));
    } else if let Some(until) = range.until.filter(|until| *until < last.seqno) {
        untold.push(format!(
            "the earlier report ends at {last}, after seqno {until}, where this run was told to end"
        ));
    } else if reach < last.seqno {
        let now = proven.map_or("nothing".to_owned(), |signed| signed.txid.to_string());
        let later = match proven.is_some_and(|signed| signed.txid.view > last.view) {
            true => "; what a primary signed that lost an election can end so, `rekindle compare` with its copy tells",
            false => "",
        };
        findings.push(at_end(
            Code::RolledBack,
            format!("the earlier report found {last} signed, here the last proven signature is {now}{later}"),
        ));
    } else if found.is_none_or(|found| (found.txid, found.root) != (last, root)) {
        let now = found.map_or("no signature is there".to_owned(), |found| {
            format!("here {} signs root {}", found.txid, hex::encode(found.root.0))
        });
        findings.push(at_end(
            Code::Rewritten,
            format!(
                "the earlier report found root {} signed at {last}, {now}",
                hex::encode(root.0)
            ),
        ));
    }
    if services.untold > 0 {
        untold.push(format!(
            "{} of its service identities began before seqno {}, after which this run begins",
            services.untold, range.start
        ));
    }
    if !untold.is_empty() {
        let mut finding = at_end(Code::NotCompared, untold.join("; "));
        if range.start > 0 {
            finding = finding.next("to compare all of it, verify from seqno 1");
        }
        findings.push(finding);
    }
    findings
}

/// What comparing identities gave.
struct Compared {
    wrong: Vec<Finding>,
    /// How many are from before this run's beginning.
    untold: usize,
}

/// Every identity of the earlier report must be in force here where it was there, and none between them that it does not
/// know; up to `reach`. Later ones may follow.
fn compare_services(earlier: &[ServiceRecord], here: &[ServiceRecord], range: &Range, reach: Seqno) -> Compared {
    let mut compared = Compared {
        wrong: Vec::new(),
        untold: 0,
    };
    let finding = |seqno: Seqno, text: String| Finding::new(Code::ServiceDiffers, text).seqno(seqno);
    let in_force = |services: &[ServiceRecord], at: Seqno| -> Option<ServiceRecord> {
        services.iter().rfind(|service| service.from_seqno <= at).cloned()
    };
    for (number, was) in earlier.iter().enumerate().filter(|(_, was)| was.from_seqno <= reach) {
        let is = in_force(here, was.from_seqno);
        // What a run begins with after a snapshot may be dated by its last change.
        let exact = |is: &ServiceRecord| number == 0 || is.from_seqno == was.from_seqno;
        match is {
            None if range.start > 0 => compared.untold += 1,
            Some(is) if is.identity == was.identity && exact(&is) => {}
            is => {
                let now = is.map_or("none is".to_owned(), |is| {
                    format!("it is {} from seqno {}", hex::encode(is.identity.0), is.from_seqno)
                });
                let text = format!(
                    "the earlier report found service identity {} from seqno {} on, here {now}",
                    hex::encode(was.identity.0),
                    was.from_seqno
                );
                compared.wrong.push(finding(was.from_seqno, text));
            }
        }
    }
    let known = earlier.first().map_or(Seqno::MAX, |service| service.from_seqno);
    for (number, is) in here.iter().enumerate().filter(|(_, is)| is.from_seqno <= reach) {
        let was = match number == 0 && range.start > 0 {
            // Before what the earlier report begins with there is nothing to compare.
            _ if is.from_seqno <= known => continue,
            true => in_force(earlier, is.from_seqno),
            false => earlier.iter().find(|was| was.from_seqno == is.from_seqno).cloned(),
        };
        let is_said = compared.wrong.iter().any(|said| said.seqno == Some(is.from_seqno));
        if !is_said && was.is_none_or(|was| was.identity != is.identity) {
            let text = format!(
                "service identity {} is here from seqno {} on, where the earlier report has another or none",
                hex::encode(is.identity.0),
                is.from_seqno
            );
            compared.wrong.push(finding(is.from_seqno, text));
        }
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(list: &[(Seqno, u8)]) -> Vec<ServiceRecord> {
        let record = |&(from_seqno, id): &(Seqno, u8)| ServiceRecord {
            from_seqno,
            identity: HexDigest([id; 32]),
            recovery_count: None,
        };
        list.iter().map(record).collect()
    }

    fn signed(view: u64, seqno: Seqno, root: u8) -> SignedRoot {
        SignedRoot {
            txid: TxId { view, seqno },
            root: HexDigest([root; 32]),
            signer: None,
            service: None,
        }
    }

    fn earlier(list: &[(Seqno, u8)]) -> Earlier {
        let last = signed(4, 300, 9);
        Earlier {
            last_signed: Some(last.txid),
            root: Some(last.root),
            services: services(list),
        }
    }

    const WHOLE: Range = Range {
        start: 0,
        start_signed: None,
        until: None,
    };

    fn after(seqno: Seqno) -> Range {
        Range {
            start: seqno,
            start_signed: Some(signed(4, seqno, 9)),
            ..WHOLE
        }
    }

    #[track_caller]
    fn codes(
        earlier: &Earlier,
        here: &[(Seqno, u8)],
        range: &Range,
        proven: Seqno,
        found: Option<SignedRoot>,
    ) -> String {
        let proven = Some(signed(4, proven, 8));
        let findings = findings(earlier, &services(here), range, proven, found);
        let codes: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
        codes.join(" ")
    }

    #[test]
    fn the_same_transaction_with_the_same_root_and_identities_is_no_finding() {
        let earlier = earlier(&[(1, 1), (200, 2)]);
        let same = Some(signed(4, 300, 9));
        assert_eq!(codes(&earlier, &[(1, 1), (200, 2)], &WHOLE, 300, same), "");
        assert_eq!(codes(&earlier, &[(1, 1), (200, 2), (350, 3)], &WHOLE, 400, same), "");
    }

    #[test]
    fn another_root_another_view_or_no_signature_is_another_history() {
        let earlier = earlier(&[(1, 1)]);
        for found in [Some(signed(4, 300, 7)), Some(signed(5, 300, 9)), None] {
            assert_eq!(codes(&earlier, &[(1, 1)], &WHOLE, 400, found), "L0602");
        }
        assert_eq!(codes(&earlier, &[(1, 1)], &WHOLE, 299, None), "L0601");
        assert_eq!(codes(&earlier, &[(1, 5)], &WHOLE, 400, None), "L0802");
    }

    #[test]
    fn every_identity_must_be_where_it_was_and_none_between() {
        let same = Some(signed(4, 300, 9));
        let two = earlier(&[(1, 1), (200, 2)]);
        for here in [
            &[(1, 1)][..],
            &[(1, 1), (201, 2)],
            &[(1, 1), (200, 3)],
            &[(1, 1), (100, 3), (200, 2)],
        ] {
            assert!(codes(&two, here, &WHOLE, 400, same).contains("L0604"), "{here:?}");
        }
        // What a rolled back ledger does not reach is said once.
        assert_eq!(codes(&two, &[(1, 1)], &WHOLE, 150, None), "L0601");
    }

    #[test]
    fn what_this_run_does_not_read_is_not_compared_and_said() {
        let two = earlier(&[(1, 1), (200, 2)]);
        // After the earlier report's end.
        assert_eq!(codes(&two, &[(200, 2)], &after(346), 400, None), "L0603");
        assert_eq!(codes(&two, &[(350, 3)], &after(360), 400, None), "L0603");
        assert_eq!(codes(&two, &[(200, 3)], &after(346), 400, None), "L0604 L0603");
        // At it, and before it.
        assert_eq!(codes(&two, &[(200, 2)], &after(300), 400, None), "L0603");
        assert_eq!(
            codes(&two, &[(200, 2)], &after(250), 400, Some(signed(4, 300, 9))),
            "L0603"
        );
        assert_eq!(
            codes(&two, &[(200, 2)], &after(250), 400, Some(signed(4, 300, 7))),
            "L0602 L0603"
        );
        let until = Range {
            until: Some(280),
            ..WHOLE
        };
        assert_eq!(codes(&two, &[(1, 1), (200, 2)], &until, 280, None), "L0603");
    }

    #[test]
    fn an_earlier_run_that_began_after_a_snapshot_is_no_false_alarm() {
        let later = earlier(&[(200, 2)]);
        let same = Some(signed(4, 300, 9));
        assert_eq!(codes(&later, &[(1, 1), (200, 2)], &WHOLE, 400, same), "");
        assert_eq!(codes(&later, &[(1, 1), (200, 2)], &after(100), 400, same), "");
        // 1.x does not say when a service was created: what a snapshot holds is its last change.
        assert_eq!(codes(&earlier(&[(230, 2)]), &[(1, 1), (200, 2)], &WHOLE, 400, same), "");
    }
}
