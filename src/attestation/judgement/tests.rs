//! What follows from outcomes: the verdict, and who is let in.

use super::*;

fn judged_on(platform: Platform, checks: &[(Check, Outcome)]) -> Judgement {
    let mut judgement = Judgement::new(platform, false);
    judgement.extend(checks.iter().cloned());
    judgement
}

fn judged(checks: &[(Check, Outcome)]) -> Judgement {
    judged_on(Platform::Snp, checks)
}

fn refused(check: Check, outcome: Outcome) -> bool {
    match judged(&[(check, outcome)]).refusal() {
        None => false,
        Some((found, _)) => {
            assert_eq!(found, check);
            true
        }
    }
}

#[test]
fn the_verdict_is_the_first_failure_or_what_is_missing() {
    let failed = || Outcome::failed("text", "this", "that");
    assert_eq!(judged(&[(Check::Chain, Outcome::Passed)]).verdict(), Verdict::Holds);
    let checks = [
        (Check::Chain, Outcome::not_done("x")),
        (Check::Debug, failed()),
        (Check::Tcb, failed()),
    ];
    assert_eq!(judged(&checks).verdict(), Verdict::Fails(Check::Debug));
    assert_eq!(judged(&checks).failures().count(), 2);
    assert_eq!(judged(&checks[..1]).verdict(), Verdict::Unfinished(Check::Chain));
    // What depends on what the caller gave is no gap in the evidence.
    for check in [Check::HostData, Check::Revocation, Check::ReportData] {
        assert_eq!(judged(&[(check, Outcome::not_done("x"))]).verdict(), Verdict::Holds);
    }
    assert_eq!(judged_on(Platform::Sgx, &[]).verdict(), Verdict::Holds);
    for platform in [Platform::Virtual, Platform::None] {
        assert_eq!(judged_on(platform, &[]).verdict(), Verdict::Unattested);
    }
}

#[test]
fn nobody_is_let_in_on_what_was_not_looked_at() {
    assert_eq!(judged(&[(Check::Chain, Outcome::Passed)]).refusal(), None);
    let excused: Vec<Check> = Check::ALL
        .iter()
        .copied()
        .filter(|check| !refused(*check, Outcome::not_done("x")))
        .collect();
    assert_eq!(excused, [Check::Revocation, Check::SecurityPolicy]);
    for check in Check::ALL {
        assert!(refused(*check, Outcome::failed("x", "x", "x")), "{check}");
    }
}

#[test]
fn only_what_is_harmless_may_be_said_of_somebody_who_is_let_in() {
    let harmless: Vec<Check> = Check::ALL
        .iter()
        .copied()
        .filter(|check| !refused(*check, Outcome::remark("x")))
        .collect();
    let expected = [
        Check::Version,
        Check::RootKey,
        Check::Signature,
        Check::UvmValidity,
        Check::ReportData,
    ];
    assert_eq!(harmless, expected);
}

#[test]
fn a_list_that_was_given_has_to_be_of_use() {
    let not_done = (Check::Revocation, Outcome::not_done("x"));
    let mut judgement = Judgement::new(Platform::Snp, true);
    assert_eq!(judgement.refusal(), None);
    judgement.extend([not_done.clone()]);
    assert_eq!(judgement.refusal().map(|(check, _)| check), Some(Check::Revocation));
    assert_eq!(judged(&[not_done]).refusal(), None);
}

#[test]
fn only_sev_snp_lets_anybody_in() {
    let passed = [(Check::Chain, Outcome::Passed)];
    for platform in [Platform::Sgx, Platform::Virtual, Platform::None] {
        let judgement = judged_on(platform, &passed);
        let (check, outcome) = judgement.refusal().unwrap();
        assert_eq!(check, Check::Format);
        assert!(outcome.text().contains("SEV-SNP"), "{platform:?}");
    }
}

#[test]
fn texts_are_bounded_and_fit_to_be_shown() {
    let hostile = "\u{1b}[2J\n".repeat(10_000);
    let outcome = Outcome::failed(&hostile, &hostile, &hostile);
    assert!(outcome.text().len() < 20_000);
    assert!(outcome.text().chars().all(crate::shown::is_plain));
}

#[test]
fn every_check_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<&str> = Check::ALL.iter().map(|check| check.as_str()).collect();
    assert_eq!(names.len(), Check::ALL.len());
}
